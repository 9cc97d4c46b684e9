/* Bytes as text: hex, base64, UUIDs (declared in bytes.h). Decoders accept exactly one spelling of each value, so that
 * two texts differ whenever what they stand for differs. */
#include "base/assert.h"
#include "base/bytes.h"

static const char hex_digits[] = "0123456789abcdef";

void hex_encode(struct bytes in, char *out)
{
    for (size_t i = 0; i < in.size_bytes; i++) {
        out[2 * i] = hex_digits[in.data[i] >> 4];
        out[2 * i + 1] = hex_digits[in.data[i] & 15];
    }
    out[2 * in.size_bytes] = '\0';
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

int hex_decode(const char *text, size_t text_size, uint8_t *out, size_t out_size)
{
    if (text_size != 2 * out_size)
        return ERR_INVALID;
    for (size_t i = 0; i < text_size; i++) {
        if (hex_value(text[i]) < 0)
            return ERR_INVALID;
    }
    for (size_t i = 0; i < out_size; i++)
        out[i] = (uint8_t)(hex_value(text[2 * i]) << 4 | hex_value(text[2 * i + 1]));
    return 0;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct bytes in, char *out)
{
    size_t at = 0;
    for (size_t i = 0; i < in.size_bytes; i += 3) {
        size_t left = in.size_bytes - i;
        uint32_t group = (uint32_t)in.data[i] << 16;
        group |= left > 1 ? (uint32_t)in.data[i + 1] << 8 : 0;
        group |= left > 2 ? in.data[i + 2] : 0;
        out[at++] = base64_digits[group >> 18 & 63];
        out[at++] = base64_digits[group >> 12 & 63];
        out[at++] = left > 1 ? base64_digits[group >> 6 & 63] : '=';
        out[at++] = left > 2 ? base64_digits[group & 63] : '=';
    }
    out[at] = '\0';
}

static int base64_value(char digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - '0' + 52;
    return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

int base64_decode(const char *text, size_t text_size, uint8_t *out, size_t out_max_bytes, size_t *ret_size)
{
    if (text_size % 4 != 0)
        return ERR_INVALID;
    size_t padding = 0;
    while (padding < 2 && padding < text_size && text[text_size - 1 - padding] == '=')
        padding++;
    size_t digits = text_size - padding;
    size_t size = text_size / 4 * 3 - padding;
    for (size_t i = 0; i < digits; i++) {
        if (base64_value(text[i]) < 0)
            return ERR_INVALID;
    }
    unsigned unused_mask = padding == 0 ? 0 : padding == 1 ? 3 : 15;
    if (padding > 0 && ((unsigned)base64_value(text[digits - 1]) & unused_mask) != 0)
        return ERR_INVALID;
    if (size > out_max_bytes)
        return ERR_TOO_LARGE;
    uint32_t bits = 0;
    unsigned bit_count = 0;
    size_t at = 0;
    for (size_t i = 0; i < digits; i++) {
        bits = bits << 6 | (uint32_t)base64_value(text[i]);
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            out[at++] = (uint8_t)(bits >> bit_count);
        }
    }
    POST(at == size);
    *ret_size = size;
    return 0;
}

int uuid_parse(const char *text, size_t text_size, uint8_t out[UUID_SIZE])
{
    static const uint8_t group_sizes[] = {4, 2, 2, 2, 6};
    if (text_size != UUID_TEXT_SIZE)
        return ERR_INVALID;
    uint8_t id[UUID_SIZE];
    size_t text_at = 0;
    size_t id_at = 0;
    for (size_t group = 0; group < sizeof(group_sizes); group++) {
        if (group > 0 && text[text_at++] != '-')
            return ERR_INVALID;
        if (hex_decode(text + text_at, 2 * (size_t)group_sizes[group], id + id_at, group_sizes[group]) != 0)
            return ERR_INVALID;
        text_at += 2 * (size_t)group_sizes[group];
        id_at += group_sizes[group];
    }
    memcpy(out, id, UUID_SIZE);
    return 0;
}

void uuid_format(const uint8_t in[UUID_SIZE], char out[UUID_TEXT_SIZE + 1])
{
    size_t at = 0;
    for (size_t i = 0; i < UUID_SIZE; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[at++] = '-';
        out[at++] = hex_digits[in[i] >> 4];
        out[at++] = hex_digits[in[i] & 15];
    }
    out[at] = '\0';
}
