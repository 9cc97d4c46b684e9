/* Comparing bytes, numbers in bytes, decimal numbers and UTF-8. Numbers are put together byte by byte: the same on
 * every machine, whatever the alignment, and compilers make one load of it. */
#include "base/bytes.h"

#include "base/assert.h"

int bytes_compare(struct bytes a, struct bytes b)
{
    size_t common = a.size_bytes < b.size_bytes ? a.size_bytes : b.size_bytes;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order;
    return (a.size_bytes > b.size_bytes) - (a.size_bytes < b.size_bytes);
}

void copy_string(char *out, size_t out_size, const char *text)
{
    size_t size = strlen(text) + 1;
    PRE(size <= out_size);
    memcpy(out, text, size);
}

void put_u16_be(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

void put_u32_be(uint8_t *out, uint32_t value)
{
    put_u16_be(out, (uint16_t)(value >> 16));
    put_u16_be(out + 2, (uint16_t)value);
}

void put_u64_be(uint8_t *out, uint64_t value)
{
    put_u32_be(out, (uint32_t)(value >> 32));
    put_u32_be(out + 4, (uint32_t)value);
}

void put_u32_le(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

void put_u64_le(uint8_t *out, uint64_t value)
{
    put_u32_le(out, (uint32_t)value);
    put_u32_le(out + 4, (uint32_t)(value >> 32));
}

uint16_t get_u16_be(const uint8_t *in)
{
    return (uint16_t)(in[0] << 8 | in[1]);
}

uint32_t get_u32_be(const uint8_t *in)
{
    return (uint32_t)get_u16_be(in) << 16 | get_u16_be(in + 2);
}

uint64_t get_u64_be(const uint8_t *in)
{
    return (uint64_t)get_u32_be(in) << 32 | get_u32_be(in + 4);
}

uint32_t get_u32_le(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

uint64_t get_u64_le(const uint8_t *in)
{
    return get_u32_le(in) | (uint64_t)get_u32_le(in + 4) << 32;
}

int parse_u64(const char *text, size_t text_size, uint64_t *ret_value)
{
    if (text_size == 0 || text_size > 20 || (text_size > 1 && text[0] == '0'))
        return ERR_INVALID;
    uint64_t value = 0;
    for (size_t i = 0; i < text_size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return ERR_INVALID;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return ERR_INVALID;
        value = value * 10 + digit;
    }
    *ret_value = value;
    return 0;
}

/* How many bytes the UTF-8 character at the start of `text` has; 0 when there is no valid one (RFC 3629 section 4). */
static size_t utf8_character_size(const uint8_t *text, size_t left)
{
    uint8_t lead = text[0];
    if (lead == 0)
        return 0;
    if (lead < 0x80)
        return 1;
    size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || left < size)
        return 0;
    uint8_t second_min = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t second_max = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (text[1] < second_min || text[1] > second_max)
        return 0;
    for (size_t i = 2; i < size; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    }
    return size;
}

bool utf8_valid(struct bytes text)
{
    size_t at = 0;
    while (at < text.size_bytes) {
        size_t size = utf8_character_size(text.data + at, text.size_bytes - at);
        if (size == 0)
            return false;
        at += size;
    }
    return true;
}
