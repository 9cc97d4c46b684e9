/* Borrowed bytes, and numbers in bytes. `struct bytes` owns nothing: whoever hands one out says until when it is
 * valid. Multi-byte numbers on disk and on the wire are little-endian unless a specification says otherwise. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct bytes {
    const uint8_t *data; /* may be NULL when size_bytes is 0 */
    size_t size_bytes;
};

#define BYTES_LITERAL(text) ((struct bytes){(const uint8_t *)(text), sizeof(text) - 1})

static inline struct bytes bytes_of(const void *data, size_t size_bytes)
{
    return (struct bytes){(const uint8_t *)data, size_bytes};
}

static inline struct bytes bytes_of_string(const char *text)
{
    return bytes_of(text, strlen(text));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size_bytes == b.size_bytes &&
           (a.size_bytes == 0 || a.data == b.data || memcmp(a.data, b.data, a.size_bytes) == 0);
}

/* memcmp order, a shorter prefix first: <0, 0 or >0. */
int bytes_compare(struct bytes a, struct bytes b);

/* Copies a C string into a room of out_size bytes that is known to hold it, NUL included. */
void copy_string(char *out, size_t out_size, const char *text);

void put_u16_be(uint8_t *out, uint16_t value);
void put_u32_be(uint8_t *out, uint32_t value);
void put_u64_be(uint8_t *out, uint64_t value);
void put_u32_le(uint8_t *out, uint32_t value);
void put_u64_le(uint8_t *out, uint64_t value);
uint16_t get_u16_be(const uint8_t *in);
uint32_t get_u32_be(const uint8_t *in);
uint64_t get_u64_be(const uint8_t *in);
uint32_t get_u32_le(const uint8_t *in);
uint64_t get_u64_le(const uint8_t *in);

/* Lower-case hex. out holds 2 * size + 1 bytes and is NUL-terminated. */
void hex_encode(struct bytes in, char *out);
/* Exactly 2 * out_size hex digits, either case; ERR_INVALID otherwise. */
int hex_decode(const char *text, size_t text_size, uint8_t *out, size_t out_size) MUST_USE;

/* RFC 4648 section 4: standard alphabet, padding required, no white space, unused bits zero. */
enum { BASE64_SLACK_BYTES = 4 };
#define BASE64_ENCODED_SIZE(n) ((((n) + 2) / 3) * 4)
void base64_encode(struct bytes in, char *out /* BASE64_ENCODED_SIZE(n) + 1 bytes, NUL-terminated */);
/* *ret_size gets the decoded size. ERR_INVALID for anything not canonical, ERR_TOO_LARGE if it does not fit. */
int base64_decode(const char *text, size_t text_size, uint8_t *out, size_t out_max_bytes, size_t *ret_size) MUST_USE;

/* RFC 3629: no surrogates, no overlong forms, at most U+10FFFF. NUL bytes are refused too: names travel as C strings.
 */
bool utf8_valid(struct bytes text);

/* Decimal digits only, no sign, no leading zeros (but "0" itself), no overflow; ERR_INVALID otherwise. */
int parse_u64(const char *text, size_t text_size, uint64_t *ret_value) MUST_USE;

/* RFC 9562 text form, 36 characters, either case; ERR_INVALID otherwise. */
enum { UUID_TEXT_SIZE = 36, UUID_SIZE = 16 };
int uuid_parse(const char *text, size_t text_size, uint8_t out[UUID_SIZE]) MUST_USE;
void uuid_format(const uint8_t in[UUID_SIZE], char out[UUID_TEXT_SIZE + 1]);

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), reflected, initial and final XOR all ones. crc32c(0, "123456789") ==
 * 0xe3069283. Pass the result of one call as `crc` of the next to continue. Uses SSE4.2 when the CPU has it. */
uint32_t crc32c(uint32_t crc, struct bytes data);

#endif
