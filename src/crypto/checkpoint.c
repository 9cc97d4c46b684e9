/* Checkpoints (c2sp.org/tlog-checkpoint): "origin\nsize\nbase64(root)\n", exactly three lines in our logs. Without
 * extension lines every implementation agrees on what a cosignature covers. */
#include "crypto/keyring.h"

int checkpoint_format(const struct checkpoint *checkpoint, struct buf *out)
{
    char root[BASE64_ENCODED_SIZE(HASH_SIZE) + 1];
    base64_encode(bytes_of(checkpoint->root.bytes, HASH_SIZE), root);
    return buf_append_format(out, "%s\n%llu\n%s\n", checkpoint->origin, (unsigned long long)checkpoint->size, root);
}

/* Takes one line, without its newline, off *text. */
static bool next_line(struct bytes *text, struct bytes *ret_line)
{
    const uint8_t *end = text->size_bytes == 0 ? NULL : memchr(text->data, '\n', text->size_bytes);
    if (end == NULL)
        return false;
    size_t size = (size_t)(end - text->data);
    *ret_line = bytes_of(text->data, size);
    *text = bytes_of(end + 1, text->size_bytes - size - 1);
    return true;
}

static int parse_lines(struct bytes *text, struct checkpoint *ret, struct err *err)
{
    struct bytes origin, size, root;
    struct checkpoint checkpoint = {0};
    if (!next_line(text, &origin) || !next_line(text, &size) || !next_line(text, &root))
        return err_set(err, ERR_INVALID, "a checkpoint must be three lines: origin, size, root");
    if (origin.size_bytes == 0 || origin.size_bytes > NOTE_NAME_MAX_BYTES || !utf8_valid(origin))
        return err_set(err, ERR_INVALID, "a checkpoint's origin must be 1 to %d bytes of UTF-8", NOTE_NAME_MAX_BYTES);
    if (parse_u64((const char *)size.data, size.size_bytes, &checkpoint.size) != 0)
        return err_set(err, ERR_INVALID, "a checkpoint's size must be a decimal number without leading zeros");
    size_t root_size = 0;
    if (base64_decode((const char *)root.data, root.size_bytes, checkpoint.root.bytes, HASH_SIZE, &root_size) != 0 ||
        root_size != HASH_SIZE)
        return err_set(err, ERR_INVALID, "a checkpoint's root must be 32 bytes in base64");
    memcpy(checkpoint.origin, origin.data, origin.size_bytes);
    *ret = checkpoint;
    return 0;
}

int checkpoint_parse(struct bytes text, struct checkpoint *ret, struct err *err)
{
    struct checkpoint checkpoint;
    int code = parse_lines(&text, &checkpoint, err);
    if (code == 0 && text.size_bytes > 0)
        code = err_set(err, ERR_UNSUPPORTED, "a checkpoint with extension lines is not supported");
    if (code == 0)
        *ret = checkpoint;
    return code;
}

int checkpoint_parse_foreign(struct bytes text, struct checkpoint *ret, struct err *err)
{
    struct checkpoint checkpoint;
    struct bytes line;
    int code = parse_lines(&text, &checkpoint, err);
    while (code == 0 && text.size_bytes > 0) {
        if (!next_line(&text, &line) || line.size_bytes == 0)
            code = err_set(err, ERR_INVALID, "a checkpoint's extension lines must not be empty");
    }
    if (code == 0)
        *ret = checkpoint;
    return code;
}

int checkpoint_sign(const struct checkpoint *checkpoint, const struct note_signer *signer, struct buf *out,
                    struct err *err)
{
    struct buf text;
    size_t before_bytes = out->size_bytes;
    buf_init(&text, NOTE_MAX_BYTES);
    int code = checkpoint_format(checkpoint, &text);
    if (code == 0)
        code = buf_append(out, buf_bytes(&text));
    if (code == 0)
        code = buf_append_byte(out, '\n');
    if (code != 0)
        err_set(err, code, "no room for a checkpoint");
    else
        code = note_sign(signer, buf_bytes(&text), 0, out, err);
    if (code != 0)
        out->size_bytes = before_bytes;
    buf_free(&text);
    return code;
}

int checkpoint_open(struct bytes message, const struct note_verifier *log_key, struct checkpoint *ret, struct err *err)
{
    struct keyring ring = {.count = 1, .keys = {*log_key}};
    return keyring_open(message, &ring, log_key->name, ret, err);
}
