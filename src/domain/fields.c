/* Fields of a payload (fields.h). */
#include "domain/fields.h"

#include "entry/wire.h"

int fields_put_member(struct buf *out, uint32_t field, struct bytes value)
{
    uint8_t head[2 * WIRE_VARINT_MAX_BYTES];
    uint8_t *end = wire_put_varint(wire_put_tag(head, field, WIRE_BYTES), value.size_bytes);
    int code = buf_append(out, bytes_of(head, (size_t)(end - head)));
    return code == 0 && value.size_bytes > 0 ? buf_append(out, value) : code;
}

int fields_put_text(struct buf *out, uint32_t field, struct bytes value)
{
    return value.size_bytes == 0 ? 0 : fields_put_member(out, field, value);
}

int fields_put_number(struct buf *out, uint32_t field, uint64_t value)
{
    uint8_t bytes[2 * WIRE_VARINT_MAX_BYTES];
    if (value == 0)
        return 0;
    uint8_t *end = wire_put_varint(wire_put_tag(bytes, field, WIRE_VARINT), value);
    return buf_append(out, bytes_of(bytes, (size_t)(end - bytes)));
}

/* Whether the next field is this one; then it is taken off up to its value. */
static bool next_is(struct fields *fields, uint32_t field, enum wire_type type)
{
    struct bytes rest = fields->rest;
    uint32_t got_field = 0;
    enum wire_type got_type = WIRE_VARINT;
    if (fields->failed || rest.size_bytes == 0)
        return false;
    if (!wire_take_tag(&rest, &got_field, &got_type)) {
        fields->failed = true;
        return false;
    }
    if (got_field != field || got_type != type)
        return false;
    fields->rest = rest;
    return true;
}

bool fields_take_member(struct fields *fields, uint32_t field, struct bytes *ret)
{
    if (!next_is(fields, field, WIRE_BYTES))
        return false;
    if (!wire_take_bytes(&fields->rest, ret))
        fields->failed = true;
    return !fields->failed;
}

struct bytes fields_take_text(struct fields *fields, uint32_t field)
{
    struct bytes value = bytes_of(NULL, 0);
    if (fields_take_member(fields, field, &value) && value.size_bytes == 0)
        fields->failed = true;
    return value;
}

uint64_t fields_take_number(struct fields *fields, uint32_t field)
{
    uint64_t value = 0;
    if (next_is(fields, field, WIRE_VARINT) && (!wire_take_varint(&fields->rest, &value) || value == 0))
        fields->failed = true;
    return value;
}

bool fields_all_read(const struct fields *fields)
{
    return !fields->failed && fields->rest.size_bytes == 0;
}
