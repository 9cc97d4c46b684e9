/* add-checkpoint, from the side of the log (submission.h). The witness is a stranger: its answer is bounded, has one
 * form for each status, and counts only by the signature of the key that the operator configured for it. */
#include "outside/submission.h"

#include "base/mem.h"

int submission_format(uint64_t old_size, const struct merkle_proof *proof, struct bytes note, struct buf *out)
{
    char line[BASE64_ENCODED_SIZE(HASH_SIZE) + 1];
    if (proof->count > SUBMISSION_PROOF_MAX)
        return ERR_TOO_LARGE;
    int code = buf_append_format(out, "old %llu\n", (unsigned long long)old_size);
    for (size_t i = 0; code == 0 && i < proof->count; i++) {
        base64_encode(bytes_of(proof->hashes[i].bytes, HASH_SIZE), line);
        code = buf_append_format(out, "%s\n", line);
    }
    if (code == 0)
        code = buf_append_byte(out, '\n');
    return code == 0 ? buf_append(out, note) : code;
}

/* --- 200 --- */

static int corrupt(struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "it answers what no witness does: %s", what);
}

/* The note's text with the witness's lines under it, as a note. */
static int put_together(struct bytes text, struct bytes body, struct buf *whole, struct note *ret, struct err *err)
{
    if (buf_append(whole, text) != 0 || buf_append_byte(whole, '\n') != 0 || buf_append(whole, body) != 0)
        return err_no_memory(err, "a cosignature");
    return note_parse(buf_bytes(whole), ret, NULL) == 0 ? 0 : corrupt(err, "no signature lines");
}

static int take_lines(const struct note *note, const struct note_verifier *key, struct buf *lines, struct err *err)
{
    int verified = note_verify(note, key, NULL, NULL);
    if (verified < 0)
        return corrupt(err, "a signature that does not verify");
    if (verified != 1)
        return corrupt(err, verified == 0 ? "nothing by the key that is configured" : "two lines by one key");
    for (size_t i = 0; i < note->signature_count; i++) {
        if (note->signatures[i].key_id == key->key_id &&
            bytes_equal(note->signatures[i].name, bytes_of_string(key->name)) &&
            buf_append(lines, note->signatures[i].line) != 0)
            return err_no_memory(err, "a cosignature");
    }
    return 0;
}

static int judge_lines(struct bytes body, struct bytes message, const struct note_verifier *key, struct buf *lines,
                       struct err *err)
{
    struct note *note = mem_alloc(sizeof(*note));
    struct note *signed_note = mem_alloc(sizeof(*signed_note));
    struct buf whole;
    buf_init(&whole, NOTE_MAX_BYTES);
    int code = note == NULL || signed_note == NULL ? err_no_memory(err, "a cosignature") : 0;
    if (code == 0)
        code = note_parse(message, signed_note, err);
    if (code == 0)
        code = put_together(signed_note->text, body, &whole, note, err);
    if (code == 0 && !bytes_equal(note->text, signed_note->text))
        code = corrupt(err, "text of its own"); /* and signatures on that */
    if (code == 0)
        code = take_lines(note, key, lines, err);
    buf_free(&whole);
    mem_free(signed_note);
    mem_free(note);
    return code;
}

/* --- 409 --- */

static int judge_size(const struct http_answer *answer, struct bytes body, uint64_t *ret_size, struct err *err)
{
    if (strcmp(answer->content_type, "text/x.tlog.size") != 0 || body.size_bytes < 2 ||
        body.data[body.size_bytes - 1] != '\n' ||
        parse_u64((const char *)body.data, body.size_bytes - 1, ret_size) != 0)
        return corrupt(err, "409 without the size that it knows");
    return err_set(err, ERR_VERSION_CONFLICT, "it knows the log at size %llu", (unsigned long long)*ret_size);
}

int submission_judge(const struct http_answer *answer, struct bytes body, struct bytes note,
                     const struct note_verifier *key, struct buf *lines, uint64_t *ret_size, struct err *err)
{
    switch (answer->status) {
    case 200:
        return judge_lines(body, note, key, lines, err);
    case 400:
        return err_set(err, ERR_INVALID, "it does not understand what was sent (HTTP 400)");
    case 403:
        return err_set(err, ERR_PERMISSION, "it does not know the key of this log (HTTP 403)");
    case 404:
        return err_set(err, ERR_NOT_FOUND, "it does not witness this log (HTTP 404)");
    case 409:
        return judge_size(answer, body, ret_size, err);
    case 422:
        return err_set(err, ERR_FORK, "it holds another history of this log (HTTP 422)");
    default:
        return err_set(err, ERR_UNAVAILABLE, "HTTP %ld", answer->status);
    }
}
