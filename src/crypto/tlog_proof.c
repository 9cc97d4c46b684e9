/* Parsing receipts, line by line (tlog_proof.h). */
#include "crypto/tlog_proof.h"

static bool take_line(struct bytes *text, struct bytes *ret)
{
    const uint8_t *end = text->size_bytes == 0 ? NULL : memchr(text->data, '\n', text->size_bytes);
    if (end == NULL)
        return false;
    size_t size = (size_t)(end - text->data);
    *ret = bytes_of(text->data, size);
    *text = bytes_of(end + 1, text->size_bytes - size - 1);
    return true;
}

/* What follows `word` and a space, when the line starts so. */
static bool take_word(struct bytes line, const char *word, struct bytes *ret)
{
    size_t size = strlen(word);
    if (line.size_bytes <= size || memcmp(line.data, word, size) != 0 || line.data[size] != ' ')
        return false;
    *ret = bytes_of(line.data + size + 1, line.size_bytes - size - 1);
    return true;
}

int tlog_proof_parse(struct bytes text, struct tlog_proof *ret, struct err *err)
{
    struct tlog_proof proof = {0};
    struct bytes line, value;
    if (text.size_bytes > TLOG_PROOF_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "a proof of %zu bytes is over the limit of %d", text.size_bytes,
                       TLOG_PROOF_MAX_BYTES);
    if (!take_line(&text, &line) || !bytes_equal(line, BYTES_LITERAL("c2sp.org/tlog-proof@v1")))
        return err_set(err, ERR_INVALID, "not a tlog-proof: the first line must be c2sp.org/tlog-proof@v1");
    if (!take_line(&text, &line))
        return err_set(err, ERR_INVALID, "the proof ends after its first line");
    if (take_word(line, "extra", &proof.extra)) {
        proof.has_extra = true;
        if (!take_line(&text, &line))
            return err_set(err, ERR_INVALID, "the proof ends after the extra line");
    }
    if (!take_word(line, "index", &value) || parse_u64((const char *)value.data, value.size_bytes, &proof.index) != 0)
        return err_set(err, ERR_INVALID, "the proof has no index line: index and a decimal number");
    for (;;) {
        size_t size = 0;
        if (!take_line(&text, &line))
            return err_set(err, ERR_INVALID, "the proof ends before the blank line");
        if (line.size_bytes == 0)
            break;
        if (proof.path.count == MERKLE_PROOF_MAX)
            return err_set(err, ERR_TOO_LARGE, "the proof has more than %d hashes", MERKLE_PROOF_MAX);
        if (base64_decode((const char *)line.data, line.size_bytes, proof.path.hashes[proof.path.count].bytes,
                          HASH_SIZE, &size) != 0 ||
            size != HASH_SIZE)
            return err_set(err, ERR_INVALID, "hash %zu of the proof is not 32 bytes in base64", proof.path.count);
        proof.path.count++;
    }
    proof.note = text;
    *ret = proof;
    return 0;
}
