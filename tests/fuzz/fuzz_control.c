/* Payloads of control events. What is read is written again as the same bytes: there is one form. The first byte says
 * which kind. */
#include "domain/control.h"
#include "fuzz/fuzz.h"

static int encode_again(enum control_kind kind, struct bytes payload, struct buf *out)
{
    struct control_authority authority;
    struct control_settled settled;
    struct control_key key;
    if (control_is_key(kind))
        return control_key_parse(kind, payload, &key, NULL) == 0 ? control_key_encode(&key, out, NULL) : ERR_NOT_FOUND;
    if (kind == CONTROL_LATE_SETTLED)
        return control_settled_parse(payload, &settled, NULL) == 0 ? control_settled_encode(&settled, out, NULL)
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
    enum control_kind kind = (enum control_kind)(CONTROL_AUTHORITY_RELEASED + data[0] % CONTROL_KEY_RETIRED);
    struct bytes payload = bytes_of(data + 1, size - 1);
    buf_init(&out, 1024 * 1024);
    int code = encode_again(kind, payload, &out);
    FUZZ_CHECK(code == 0 || code == ERR_NOT_FOUND);
    FUZZ_CHECK(code != 0 || bytes_equal(buf_bytes(&out), payload));
    buf_free(&out);
    return 0;
}
