/* Parsing, verifying and signing notes (note.h).
 *
 *   <text, ends with \n> \n <signature line>+       the LAST "\n\n" separates; the text may hold blank lines
 *   signature line = "— " name " " base64( key id, 4 bytes big-endian || signature ) "\n"
 *
 * A line by an unknown key is ignored; a line by a known key that does not verify condemns the whole note. */
#include "crypto/note.h"

#include <sodium.h>
#include <stdio.h>

#include "base/assert.h"

static const char line_start[] = "\xE2\x80\x94 ";

enum {
    ED25519_SIGNATURE_SIZE = 64,
    COSIGNATURE_SIZE = 8 + ED25519_SIGNATURE_SIZE,
    SIGNATURE_BLOB_MAX = 4 + COSIGNATURE_SIZE,
};

static int check_text(struct bytes text, struct err *err)
{
    if (!utf8_valid(text))
        return err_set(err, ERR_INVALID, "a note must be UTF-8");
    for (size_t i = 0; i < text.size_bytes; i++) {
        if (text.data[i] < 0x20 && text.data[i] != '\n')
            return err_set(err, ERR_INVALID, "a note must not hold control characters (offset %zu)", i);
    }
    return 0;
}

/* Where the signature lines start: after the last blank line. 0 when there is none. */
static size_t find_signatures(struct bytes message)
{
    for (size_t at = message.size_bytes; at >= 2; at--) {
        if (message.data[at - 1] == '\n' && message.data[at - 2] == '\n')
            return at;
    }
    return 0;
}

static int parse_signature_line(struct bytes line, struct note *note, size_t *storage_used, struct err *err)
{
    size_t start_size = sizeof(line_start) - 1;
    if (line.size_bytes < start_size || memcmp(line.data, line_start, start_size) != 0)
        return err_set(err, ERR_INVALID, "a signature line must start with an em dash and a space");
    const uint8_t *name = line.data + start_size;
    size_t left = line.size_bytes - start_size - 1; /* without the newline */
    const uint8_t *space = memchr(name, ' ', left);
    if (space == NULL || !note_name_valid(bytes_of(name, (size_t)(space - name))))
        return err_set(err, ERR_INVALID, "a signature line must be: em dash, name, base64");
    size_t name_size = (size_t)(space - name);
    size_t base64_size = left - name_size - 1;
    uint8_t *blob = note->storage + *storage_used;
    size_t blob_size = 0;
    size_t left_bytes = sizeof(note->storage) - *storage_used;
    if (base64_decode((const char *)space + 1, base64_size, blob, left_bytes, &blob_size) != 0 || blob_size < 5)
        return err_set(err, ERR_INVALID, "a signature must be base64 of a key id and a signature");
    *storage_used += blob_size;
    note->signatures[note->signature_count++] = (struct note_signature){
        .name = bytes_of(name, name_size),
        .key_id = get_u32_be(blob),
        .blob = bytes_of(blob + 4, blob_size - 4),
        .line = line,
    };
    return 0;
}

int note_parse(struct bytes message, struct note *ret, struct err *err)
{
    if (message.size_bytes > NOTE_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "a note of %zu bytes is over the limit of %d", message.size_bytes,
                       NOTE_MAX_BYTES);
    int code = check_text(message, err);
    if (code != 0)
        return code;
    size_t at = find_signatures(message);
    if (at < 3 || at == message.size_bytes || message.data[message.size_bytes - 1] != '\n')
        return err_set(err, ERR_INVALID, "a note must be text, a blank line and signature lines");
    ret->text = bytes_of(message.data, at - 1);
    ret->signature_count = 0;
    size_t storage_used = 0;
    while (at < message.size_bytes) {
        const uint8_t *end = memchr(message.data + at, '\n', message.size_bytes - at);
        struct bytes line = bytes_of(message.data + at, (size_t)(end - (message.data + at)) + 1);
        if (ret->signature_count == NOTE_SIGNATURES_MAX)
            return err_set(err, ERR_TOO_LARGE, "a note with more than %d signatures", NOTE_SIGNATURES_MAX);
        code = parse_signature_line(line, ret, &storage_used, err);
        if (code != 0)
            return code;
        at += line.size_bytes;
    }
    return 0;
}

/* What a cosignature signs: header, time, then the text. Cosigned notes are checkpoints, so this is small. */
enum { COSIGNED_MAX_BYTES = 1024 };

static int cosigned_message(struct bytes text, uint64_t time_s, uint8_t *out, size_t *ret_size, struct err *err)
{
    int head = snprintf((char *)out, COSIGNED_MAX_BYTES, "cosignature/v1\ntime %llu\n", (unsigned long long)time_s);
    if ((size_t)head + text.size_bytes > COSIGNED_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "a checkpoint of %zu bytes is too long to cosign", text.size_bytes);
    memcpy(out + head, text.data, text.size_bytes);
    *ret_size = (size_t)head + text.size_bytes;
    return 0;
}

static bool signature_valid(const struct note_verifier *verifier, struct bytes text, struct bytes blob,
                            uint64_t *ret_time_s)
{
    if (verifier->type == NOTE_KEY_ED25519)
        return blob.size_bytes == ED25519_SIGNATURE_SIZE &&
               crypto_sign_verify_detached(blob.data, text.data, text.size_bytes, verifier->public_key) == 0;
    uint8_t message[COSIGNED_MAX_BYTES];
    size_t size = 0;
    if (blob.size_bytes != COSIGNATURE_SIZE ||
        cosigned_message(text, get_u64_be(blob.data), message, &size, NULL) != 0 ||
        crypto_sign_verify_detached(blob.data + 8, message, size, verifier->public_key) != 0)
        return false;
    *ret_time_s = get_u64_be(blob.data);
    return true;
}

int note_verify(const struct note *note, const struct note_verifier *verifier, uint64_t *ret_time_s, struct err *err)
{
    INVARIANT(sodium_init() >= 0);
    int verified = 0;
    uint64_t latest_s = 0;
    for (size_t i = 0; i < note->signature_count; i++) {
        const struct note_signature *signature = &note->signatures[i];
        uint64_t time_s = 0;
        if (signature->key_id != verifier->key_id || !bytes_equal(signature->name, bytes_of_string(verifier->name)))
            continue;
        if (!signature_valid(verifier, note->text, signature->blob, &time_s))
            return err_set(err, ERR_CORRUPT, "the signature of %s does not verify: the note is forged or damaged",
                           verifier->name);
        latest_s = time_s > latest_s ? time_s : latest_s;
        verified++;
    }
    if (verified > 0 && ret_time_s != NULL)
        *ret_time_s = latest_s;
    return verified;
}

int note_sign(const struct note_signer *signer, struct bytes text, uint64_t time_s, struct buf *out, struct err *err)
{
    INVARIANT(sodium_init() >= 0);
    PRE(text.size_bytes > 0 && text.data[text.size_bytes - 1] == '\n');
    uint8_t blob[SIGNATURE_BLOB_MAX];
    size_t blob_size = 4;
    put_u32_be(blob, signer->verifier.key_id);
    if (signer->verifier.type == NOTE_KEY_ED25519) {
        crypto_sign_detached(blob + 4, NULL, text.data, text.size_bytes, signer->secret_key);
        blob_size += ED25519_SIGNATURE_SIZE;
    } else {
        uint8_t message[COSIGNED_MAX_BYTES];
        size_t size = 0;
        int code = cosigned_message(text, time_s, message, &size, err);
        if (code != 0)
            return code;
        put_u64_be(blob + 4, time_s);
        crypto_sign_detached(blob + 12, NULL, message, size, signer->secret_key);
        blob_size += COSIGNATURE_SIZE;
    }
    char base64[BASE64_ENCODED_SIZE(SIGNATURE_BLOB_MAX) + 1];
    base64_encode(bytes_of(blob, blob_size), base64);
    int code = buf_append_format(out, "%s%s %s\n", line_start, signer->verifier.name, base64);
    return code == 0 ? 0 : err_set(err, code, "no room for a signature");
}
