/* Names, key ids and the text forms of keys (declared in note.h). */
#include <sodium.h>
#include <stdio.h>

#include "base/assert.h"
#include "crypto/note.h"

static void require_sodium(void)
{
    INVARIANT(sodium_init() >= 0); /* safe to repeat, from any thread */
}

/* Unicode White_Space above ASCII, as UTF-8. Key names may not hold any (signed-note: "no Unicode spaces"). */
static bool starts_with_wide_space(const uint8_t *at, size_t left)
{
    static const char *const spaces[] = {"\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\xA8",
                                         "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};
    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
        size_t size = strlen(spaces[i]);
        if (left >= size && memcmp(at, spaces[i], size) == 0)
            return true;
    }
    return left >= 3 && at[0] == 0xE2 && at[1] == 0x80 && at[2] >= 0x80 && at[2] <= 0x8A;
}

bool note_name_valid(struct bytes name)
{
    if (name.size_bytes == 0 || !utf8_valid(name))
        return false;
    for (size_t i = 0; i < name.size_bytes; i++) {
        if (name.data[i] <= ' ' || name.data[i] == '+' || starts_with_wide_space(name.data + i, name.size_bytes - i))
            return false;
    }
    return true;
}

/* Our own keys' names are also short, and printable as far as ASCII goes. */
static int check_name(struct bytes name, struct err *err)
{
    if (name.size_bytes == 0 || name.size_bytes > NOTE_NAME_MAX_BYTES)
        return err_set(err, ERR_INVALID, "a key name must be 1 to %d bytes of UTF-8", NOTE_NAME_MAX_BYTES);
    if (!note_name_valid(name) || memchr(name.data, 0x7F, name.size_bytes) != NULL)
        return err_set(err, ERR_INVALID, "a key name must be UTF-8 without spaces, control characters or '+'");
    return 0;
}

static uint32_t compute_key_id(const struct note_verifier *verifier)
{
    uint8_t type = (uint8_t)verifier->type;
    crypto_hash_sha256_state state;
    uint8_t hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, (const uint8_t *)verifier->name, strlen(verifier->name));
    crypto_hash_sha256_update(&state, (const uint8_t *)"\n", 1);
    crypto_hash_sha256_update(&state, &type, 1);
    crypto_hash_sha256_update(&state, verifier->public_key, sizeof(verifier->public_key));
    crypto_hash_sha256_final(&state, hash);
    return get_u32_be(hash);
}

int note_signer_from_seed(const char *name, enum note_key_type type, const uint8_t seed[32], struct note_signer *ret,
                          struct err *err)
{
    require_sodium();
    int code = check_name(bytes_of_string(name), err);
    if (code != 0)
        return code;
    struct note_signer signer = {.verifier.type = type};
    memcpy(signer.verifier.name, name, strlen(name) + 1);
    crypto_sign_seed_keypair(signer.verifier.public_key, signer.secret_key, seed);
    signer.verifier.key_id = compute_key_id(&signer.verifier);
    *ret = signer;
    note_signer_wipe(&signer);
    return 0;
}

void note_signer_wipe(struct note_signer *signer)
{
    sodium_memzero(signer, sizeof(*signer));
}

int note_verifier_rename(struct note_verifier *verifier, const char *name, struct err *err)
{
    require_sodium();
    int code = check_name(bytes_of_string(name), err);
    if (code != 0)
        return code;
    copy_string(verifier->name, sizeof(verifier->name), name);
    verifier->key_id = compute_key_id(verifier);
    return 0;
}

void note_verifier_format(const struct note_verifier *verifier, char *out)
{
    uint8_t key[33];
    key[0] = (uint8_t)verifier->type;
    memcpy(key + 1, verifier->public_key, 32);
    int size = snprintf(out, NOTE_VKEY_MAX_BYTES, "%s+%08x+", verifier->name, (unsigned)verifier->key_id);
    base64_encode(bytes_of(key, sizeof(key)), out + size);
}

/* The three parts of "name+keyid+base64", split at the first two '+': the base64 may hold more of them. */
struct key_text {
    struct bytes name;
    uint32_t key_id;
    uint8_t blob[33];
};

static int parse_key_text(struct bytes text, struct key_text *ret, struct err *err)
{
    const uint8_t *first = text.size_bytes == 0 ? NULL : memchr(text.data, '+', text.size_bytes);
    if (first == NULL)
        return err_set(err, ERR_INVALID, "a key must look like name+keyid+base64");
    size_t name_size = (size_t)(first - text.data);
    struct bytes rest = bytes_of(first + 1, text.size_bytes - name_size - 1);
    uint8_t id[4];
    if (rest.size_bytes < 9 || rest.data[8] != '+' || hex_decode((const char *)rest.data, 8, id, 4) != 0)
        return err_set(err, ERR_INVALID, "a key must look like name+keyid+base64, with 8 hex digits as key id");
    size_t size = 0;
    if (base64_decode((const char *)rest.data + 9, rest.size_bytes - 9, ret->blob, sizeof(ret->blob), &size) != 0 ||
        size != sizeof(ret->blob))
        return err_set(err, ERR_INVALID, "the last part of a key must be 33 bytes in base64");
    ret->name = bytes_of(text.data, name_size);
    ret->key_id = get_u32_be(id);
    return check_name(ret->name, err);
}

int note_verifier_parse(struct bytes text, struct note_verifier *ret, struct err *err)
{
    require_sodium();
    struct key_text parts;
    int code = parse_key_text(text, &parts, err);
    if (code != 0)
        return code;
    struct note_verifier verifier = {.type = (enum note_key_type)parts.blob[0], .key_id = parts.key_id};
    if (verifier.type != NOTE_KEY_ED25519 && verifier.type != NOTE_KEY_COSIGNATURE)
        return err_set(err, ERR_INVALID, "key type 0x%02x is not supported: 0x01 (Ed25519) and 0x04 (cosignature) are",
                       parts.blob[0]);
    memcpy(verifier.name, parts.name.data, parts.name.size_bytes);
    memcpy(verifier.public_key, parts.blob + 1, 32);
    if (compute_key_id(&verifier) != verifier.key_id)
        return err_set(err, ERR_INVALID, "the key id of %s does not belong to its key: the text was changed",
                       verifier.name);
    if (crypto_core_ed25519_is_valid_point(verifier.public_key) != 1)
        return err_set(err, ERR_INVALID, "the key of %s is not a canonical point of the main subgroup", verifier.name);
    *ret = verifier;
    return 0;
}

static const char private_prefix[] = "PRIVATE+KEY+";

int note_signer_format(const struct note_signer *signer, struct buf *out)
{
    uint8_t key[33];
    char text[BASE64_ENCODED_SIZE(sizeof(key)) + 1];
    key[0] = (uint8_t)signer->verifier.type;
    memcpy(key + 1, signer->secret_key, 32);
    base64_encode(bytes_of(key, sizeof(key)), text);
    char head[sizeof(private_prefix) + NOTE_NAME_MAX_BYTES + 16];
    snprintf(head, sizeof(head), "%s%s+%08x+", private_prefix, signer->verifier.name,
             (unsigned)signer->verifier.key_id);
    int code = buf_reserve(out, strlen(head) + strlen(text) + 1);
    if (code == 0)
        code = buf_append_string(out, head);
    if (code == 0)
        code = buf_append_string(out, text);
    if (code == 0)
        code = buf_append_byte(out, '\n');
    sodium_memzero(key, sizeof(key));
    sodium_memzero(text, sizeof(text));
    return code;
}

int note_signer_parse(struct bytes text, struct note_signer *ret, struct err *err)
{
    size_t prefix_size = sizeof(private_prefix) - 1;
    if (text.size_bytes < prefix_size || memcmp(text.data, private_prefix, prefix_size) != 0)
        return err_set(err, ERR_INVALID, "a private key must start with %s", private_prefix);
    struct key_text parts;
    int code = parse_key_text(bytes_of(text.data + prefix_size, text.size_bytes - prefix_size), &parts, err);
    if (code != 0) {
        sodium_memzero(&parts, sizeof(parts));
        return code;
    }
    char name[NOTE_NAME_MAX_BYTES + 1] = {0};
    memcpy(name, parts.name.data, parts.name.size_bytes);
    struct note_signer signer;
    if (parts.blob[0] != NOTE_KEY_ED25519 && parts.blob[0] != NOTE_KEY_COSIGNATURE)
        code = err_set(err, ERR_INVALID, "private key type 0x%02x is not supported", parts.blob[0]);
    if (code == 0)
        code = note_signer_from_seed(name, (enum note_key_type)parts.blob[0], parts.blob + 1, &signer, err);
    uint32_t claimed_id = parts.key_id;
    sodium_memzero(&parts, sizeof(parts));
    if (code != 0)
        return code;
    if (signer.verifier.key_id != claimed_id)
        code = err_set(err, ERR_INVALID, "the key id of private key %s does not belong to it", name);
    else
        *ret = signer;
    note_signer_wipe(&signer);
    return code;
}
