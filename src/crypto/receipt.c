/* Receipts (receipt.h): text in one spelling, read line by line. The first blank line ends the proof; everything after
 * it is the note. */
#include "crypto/receipt.h"

#include "base/mem.h"

static const char title[] = "c2sp.org/tlog-proof@v1\n";

static int append_base64_line(const char *before, struct bytes data, struct buf *out)
{
    char *text = mem_alloc(BASE64_ENCODED_SIZE(data.size_bytes) + 1);
    if (text == NULL)
        return ERR_NO_MEMORY;
    base64_encode(data, text);
    int code = buf_append_string(out, before);
    if (code == 0)
        code = buf_append_string(out, text);
    if (code == 0)
        code = buf_append_byte(out, '\n');
    mem_free(text);
    return code;
}

int receipt_format(struct bytes extra, uint64_t index, const struct merkle_proof *proof, struct bytes note,
                   struct buf *out, struct err *err)
{
    size_t before_bytes = out->size_bytes;
    int code = buf_append_string(out, title);
    if (code == 0 && extra.size_bytes > 0)
        code = append_base64_line("extra ", extra, out);
    if (code == 0)
        code = buf_append_format(out, "index %llu\n", (unsigned long long)index);
    for (size_t i = 0; code == 0 && i < proof->count; i++)
        code = append_base64_line("", bytes_of(proof->hashes[i].bytes, HASH_SIZE), out);
    if (code == 0)
        code = buf_append_byte(out, '\n');
    if (code == 0)
        code = buf_append(out, note);
    if (code != 0) {
        out->size_bytes = before_bytes;
        return err_set(err, code, "no room for a receipt");
    }
    return 0;
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

static bool starts_with(struct bytes line, const char *word, struct bytes *ret_rest)
{
    size_t size = strlen(word);
    if (line.size_bytes < size || memcmp(line.data, word, size) != 0)
        return false;
    *ret_rest = bytes_of(line.data + size, line.size_bytes - size);
    return true;
}

static int parse_extra(struct bytes base64, struct receipt *ret, struct err *err)
{
    size_t size = 0;
    size_t room = base64.size_bytes / 4 * 3 + BASE64_SLACK_BYTES;
    if (room > RECEIPT_EXTRA_MAX_BYTES + 2 * BASE64_SLACK_BYTES)
        return err_set(err, ERR_TOO_LARGE, "a receipt's extra data is over %d bytes", RECEIPT_EXTRA_MAX_BYTES);
    int code = buf_reserve(&ret->extra, room);
    if (code != 0)
        return err_no_memory(err, "a receipt");
    if (base64_decode((const char *)base64.data, base64.size_bytes, ret->extra.data, room, &size) != 0)
        return err_set(err, ERR_INVALID, "a receipt's extra data must be base64");
    ret->extra.size_bytes = size;
    ret->has_extra = true;
    return 0;
}

static int parse_hashes(struct bytes *text, struct receipt *ret, struct err *err)
{
    struct bytes line;
    while (next_line(text, &line)) {
        size_t size = 0;
        if (line.size_bytes == 0)
            return 0;
        if (ret->proof.count == MERKLE_PROOF_MAX)
            return err_set(err, ERR_INVALID, "a receipt has more than %d hashes", MERKLE_PROOF_MAX);
        if (base64_decode((const char *)line.data, line.size_bytes, ret->proof.hashes[ret->proof.count].bytes,
                          HASH_SIZE, &size) != 0 ||
            size != HASH_SIZE)
            return err_set(err, ERR_INVALID, "hash %zu of a receipt must be 32 bytes in base64", ret->proof.count);
        ret->proof.count++;
    }
    return err_set(err, ERR_INVALID, "a receipt must have a blank line before its checkpoint");
}

int receipt_parse(struct bytes text, struct receipt *ret, struct err *err)
{
    struct bytes line, rest;
    *ret = (struct receipt){0};
    buf_init(&ret->extra, RECEIPT_EXTRA_MAX_BYTES + 2 * BASE64_SLACK_BYTES);
    if (!starts_with(text, title, &text))
        return err_set(err, ERR_INVALID, "not a receipt: it must start with \"%.22s\"", title);
    if (!next_line(&text, &line))
        return err_set(err, ERR_INVALID, "a receipt must say its index");
    if (starts_with(line, "extra ", &rest)) {
        int code = parse_extra(rest, ret, err);
        if (code != 0)
            return code;
        if (!next_line(&text, &line))
            return err_set(err, ERR_INVALID, "a receipt must say its index");
    }
    if (!starts_with(line, "index ", &rest) || parse_u64((const char *)rest.data, rest.size_bytes, &ret->index) != 0)
        return err_set(err, ERR_INVALID, "a receipt must say its index: \"index\" and a decimal number");
    int code = parse_hashes(&text, ret, err);
    if (code == 0)
        ret->note = text;
    return code;
}

void receipt_free(struct receipt *receipt)
{
    buf_free(&receipt->extra);
}

int receipt_verify(struct sha256 *sha, const struct receipt *receipt, struct bytes entry,
                   const struct note_verifier *log_key, struct checkpoint *ret_checkpoint, struct err *err)
{
    struct checkpoint checkpoint;
    int code = checkpoint_open(receipt->note, log_key, &checkpoint, err);
    if (code != 0)
        return code;
    struct hash leaf = merkle_leaf(sha, entry);
    code = merkle_verify_inclusion(sha, receipt->index, checkpoint.size, &leaf, receipt->proof.hashes,
                                   receipt->proof.count, &checkpoint.root, err);
    if (code == 0)
        *ret_checkpoint = checkpoint;
    return code;
}
