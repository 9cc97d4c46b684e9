#include "support.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct note_signer tessera_signer(void)
{
    struct note_signer signer;
    struct err err = {0};
    int code = note_signer_parse(BYTES_LITERAL(TESSERA_SECRET_KEY), &signer, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    return signer;
}

struct note_signer make_signer(const char *name, enum note_key_type type, uint8_t fill)
{
    uint8_t seed[32];
    struct note_signer signer;
    struct err err = {0};
    memset(seed, fill, sizeof(seed));
    cr_assert_eq(note_signer_from_seed(name, type, seed, &signer, &err), 0, "%s", err.message);
    return signer;
}

struct note_verifier parse_vkey(const char *text)
{
    struct note_verifier verifier;
    struct err err = {0};
    cr_assert_eq(note_verifier_parse(bytes_of_string(text), &verifier, &err), 0, "%s", err.message);
    return verifier;
}

struct hash hash_of_hex(const char *hex)
{
    struct hash hash;
    cr_assert_eq(hex_decode(hex, strlen(hex), hash.bytes, HASH_SIZE), 0, "%s", hex);
    return hash;
}

struct hash slow_root(struct sha256 *sha, const struct hash *leaves, uint64_t count)
{
    if (count == 0)
        return sha256_of(sha, bytes_of(NULL, 0));
    if (count == 1)
        return leaves[0];
    uint64_t left = 1;
    while (2 * left < count)
        left *= 2;
    struct hash a = slow_root(sha, leaves, left);
    struct hash b = slow_root(sha, leaves + left, count - left);
    const struct bytes parts[] = {BYTES_LITERAL("\x01"), bytes_of(a.bytes, HASH_SIZE), bytes_of(b.bytes, HASH_SIZE)};
    return sha256_parts(sha, parts, 3);
}

struct hash numbered_leaf(struct sha256 *sha, uint64_t number)
{
    char text[24];
    int size = snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    return merkle_leaf(sha, bytes_of(text, (size_t)size));
}

void make_note(const char *text, const struct note_signer *const *signers, size_t count, struct buf *out)
{
    struct err err = {0};
    buf_init(out, 4 * NOTE_MAX_BYTES);
    cr_assert_eq(buf_append_string(out, text), 0);
    cr_assert_eq(buf_append_byte(out, '\n'), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(note_sign(signers[i], bytes_of_string(text), 1700000000, out, &err), 0, "%s", err.message);
}

struct bytes signatures_of(struct bytes message)
{
    size_t at = message.size_bytes;
    while (at >= 2 && (message.data[at - 1] != '\n' || message.data[at - 2] != '\n'))
        at--;
    cr_assert_geq(at, 2, "a message without a blank line");
    return bytes_of(message.data + at, message.size_bytes - at);
}
