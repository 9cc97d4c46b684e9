/* Introductions (introduction.h): a text, and signature lines under it. */
#include "crypto/introduction.h"

#include <stdio.h>

#include "base/mem.h"

#define FIRST_LINE "tallystick-pull/v1"

enum { TEXT_MAX_BYTES = 2048 };

static int put_text(const struct introduction *introduction, struct buf *out, struct err *err)
{
    char number[32];
    char question[BASE64_ENCODED_SIZE(INTRODUCTION_QUESTION_BYTES) + 1];
    if (introduction->question.size_bytes != INTRODUCTION_QUESTION_BYTES)
        return err_set(err, ERR_INVALID, "the question has %zu bytes; it must have %d",
                       introduction->question.size_bytes, INTRODUCTION_QUESTION_BYTES);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)introduction->from_index);
    base64_encode(introduction->question, question);
    const char *const lines[] = {FIRST_LINE,       introduction->cluster, introduction->from,
                                 introduction->to, introduction->origin,  number,
                                 question};
    int code = 0;
    for (size_t i = 0; code == 0 && i < sizeof(lines) / sizeof(lines[0]); i++) {
        code = buf_append_string(out, lines[i]);
        if (code == 0)
            code = buf_append_byte(out, '\n');
    }
    return code == 0 ? 0 : err_set(err, code, "no room for an introduction");
}

int introduction_sign(const struct introduction *introduction, const struct signers *signers, struct buf *out,
                      struct err *err)
{
    struct buf text;
    buf_init(&text, TEXT_MAX_BYTES);
    int code = put_text(introduction, &text, err);
    if (code == 0)
        code = signers_sign(signers, buf_bytes(&text), 0, out, err);
    buf_free(&text);
    return code;
}

static int check_note(struct bytes message, const struct keyring *keys, const char *from, struct err *err)
{
    struct note *note = mem_alloc(sizeof(*note));
    if (note == NULL)
        return err_no_memory(err, "an introduction");
    bool signed_by = note_parse(message, note, NULL) == 0 && note->signature_count <= SIGNERS_MAX &&
                     keyring_verify(note, keys, NULL, NULL) > 0;
    mem_free(note);
    if (signed_by)
        return 0;
    return err_set(err, ERR_PERMISSION,
                   "whoever calls itself region %s cannot show it: its answer is not signed with a cosigning key that "
                   "this region has of it",
                   from);
}

int introduction_check(const struct introduction *introduction, struct bytes lines, const struct keyring *keys,
                       struct err *err)
{
    struct buf message;
    buf_init(&message, TEXT_MAX_BYTES + INTRODUCTION_MAX_BYTES);
    int code = put_text(introduction, &message, err);
    if (code == 0)
        code = buf_append_byte(&message, '\n');
    if (code == 0)
        code = buf_append(&message, lines);
    if (code == 0)
        code = check_note(buf_bytes(&message), keys, introduction->from, err);
    else if (code == ERR_TOO_LARGE)
        code = err_set(err, ERR_PERMISSION, "an introduction of %zu bytes is none", lines.size_bytes);
    buf_free(&message);
    return code;
}
