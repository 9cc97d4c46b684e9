#include "support.h"

#include <criterion/criterion.h>

struct entry sample_entry(void)
{
    struct entry entry = {
        .index = 300,
        .log_id = {1, 2, 3, 4, 5, 6, 7, 8},
        .time = (uint64_t)1700000000000 << 16 | 5,
        .event_id = {0xAA, 0xBB},
        .context = BYTES_LITERAL("payments"),
        .partition = BYTES_LITERAL("DE"),
        .stream = BYTES_LITERAL("account-7"),
        .stream_version = 4,
        .type = BYTES_LITERAL("Deposited"),
        .epoch = 2,
        .flags = ENTRY_FLAG_CONTROL,
        .causation_id = BYTES_LITERAL("0123456789abcdef"),
        .correlation_id = BYTES_LITERAL("fedcba9876543210"),
        .content_type = BYTES_LITERAL("application/json"),
        .metadata = BYTES_LITERAL("{}"),
        .payload_size_bytes = 11,
        .subject_key_id = BYTES_LITERAL("key-1"),
    };
    memset(entry.prev.bytes, 0x11, HASH_SIZE);
    memset(entry.payload_commitment.bytes, 0x22, HASH_SIZE);
    return entry;
}

struct bytes encode_sample(const struct entry *entry, struct buf *out)
{
    struct err err = {0};
    buf_init(out, 1024 * 1024);
    cr_assert_eq(entry_encode(entry, out, &err), 0, "%s", err.message);
    return buf_bytes(out);
}
