/* Payloads of control events. What is read is written again as the same bytes: there is one form. The first byte says
 * which kind. */
#include "domain/control.h"
#include "domain/queued.h"
#include "fuzz/fuzz.h"

/* A queued command is read, and written, piece by piece. */
static int queue_again(struct bytes payload, struct buf *out)
{
    size_t writes = 0;
    size_t events = 0;
    struct queued_write write;
    struct queued_event event;
    struct buf encoded;
    if (queued_check(payload, &writes, &events, NULL) != 0)
        return ERR_NOT_FOUND;
    FUZZ_CHECK(writes >= 1 && events >= writes && events <= QUEUED_EVENTS_MAX);
    buf_init(&encoded, 2 * QUEUED_PAYLOAD_MAX_BYTES);
    for (; queued_next_write(&payload, &write); writes--) {
        struct bytes left = write.events;
        buf_clear(&encoded);
        for (; queued_next_event(&left, &event); events--)
            FUZZ_CHECK(queued_put_event(&event, &encoded) == 0);
        FUZZ_CHECK(bytes_equal(buf_bytes(&encoded), write.events));
        FUZZ_CHECK(queued_put_write(&write, out) == 0);
    }
    FUZZ_CHECK(writes == 0 && events == 0);
    buf_free(&encoded);
    return 0;
}

static int encode_again(enum control_kind kind, struct bytes payload, struct buf *out)
{
    struct control_authority authority;
    struct control_settled settled;
    struct control_decided decided;
    struct control_key key;
    if (control_is_key(kind))
        return control_key_parse(kind, payload, &key, NULL) == 0 ? control_key_encode(&key, out, NULL) : ERR_NOT_FOUND;
    if (kind == CONTROL_LATE_SETTLED)
        return control_settled_parse(payload, &settled, NULL) == 0 ? control_settled_encode(&settled, out, NULL)
                                                                   : ERR_NOT_FOUND;
    if (kind == CONTROL_COMMAND_QUEUED)
        return queue_again(payload, out);
    if (control_decides_command(kind))
        return control_decided_parse(kind, payload, &decided, NULL) == 0 ? control_decided_encode(&decided, out, NULL)
                                                                         : ERR_NOT_FOUND;
    return control_authority_parse(kind, payload, &authority, NULL) == 0
               ? control_authority_encode(kind, &authority, out, NULL)
               : ERR_NOT_FOUND;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out;
    if (size == 0)
        return 0;
    enum control_kind kind = (enum control_kind)(CONTROL_AUTHORITY_RELEASED + data[0] % CONTROL_COMMAND_REFUSED);
    struct bytes payload = bytes_of(data + 1, size - 1);
    buf_init(&out, 2 * QUEUED_PAYLOAD_MAX_BYTES);
    int code = encode_again(kind, payload, &out);
    FUZZ_CHECK(code == 0 || code == ERR_NOT_FOUND);
    FUZZ_CHECK(code != 0 || bytes_equal(buf_bytes(&out), payload));
    buf_free(&out);
    return 0;
}
