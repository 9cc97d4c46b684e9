/* Canonical varints, tags and lengths (wire.h): a second spelling of the same value is refused, not repaired. */
#include "entry/wire.h"

size_t wire_varint_size(uint64_t value)
{
    size_t size = 1;
    while (value >= 0x80) {
        value >>= 7;
        size++;
    }
    return size;
}

uint8_t *wire_put_varint(uint8_t *out, uint64_t value)
{
    while (value >= 0x80) {
        *out++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}

uint8_t *wire_put_tag(uint8_t *out, uint32_t field, enum wire_type type)
{
    return wire_put_varint(out, (uint64_t)field << 3 | (uint64_t)type);
}

uint8_t *wire_put_bytes(uint8_t *out, uint32_t field, struct bytes value)
{
    out = wire_put_tag(out, field, WIRE_BYTES);
    out = wire_put_varint(out, value.size_bytes);
    if (value.size_bytes > 0)
        memcpy(out, value.data, value.size_bytes);
    return out + value.size_bytes;
}

static void skip(struct bytes *in, size_t size_bytes)
{
    in->data += size_bytes;
    in->size_bytes -= size_bytes;
}

bool wire_take_long_varint(struct bytes *in, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < in->size_bytes && i < WIRE_VARINT_MAX_BYTES; i++) {
        uint8_t byte = in->data[i];
        if (i == WIRE_VARINT_MAX_BYTES - 1 && byte > 1)
            return false; /* over 64 bits */
        value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if ((byte & 0x80) == 0) {
            if (byte == 0 && i > 0)
                return false; /* not the shortest form */
            skip(in, i + 1);
            *ret = value;
            return true;
        }
    }
    return false;
}

bool wire_take_fixed64(struct bytes *in, uint64_t *ret)
{
    if (in->size_bytes < 8)
        return false;
    *ret = get_u64_le(in->data);
    skip(in, 8);
    return true;
}
