/* Entries: whatever is accepted is the canonical encoding of what it says. */
#include "entry/entry.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct entry entry;
    struct buf again;
    if (entry_parse(bytes_of(data, size), &entry, NULL) != 0)
        return 0;
    struct entry head;
    FUZZ_CHECK(entry_parse_head(bytes_of(data, size), &head, NULL) == 0);
    FUZZ_CHECK(bytes_equal(head.context, entry.context) && bytes_equal(head.type, entry.type) &&
               head.flags == entry.flags && head.index == entry.index);
    buf_init(&again, ENTRY_MAX_BYTES);
    FUZZ_CHECK(entry_validate(&entry, NULL) == 0);
    FUZZ_CHECK(entry_encode(&entry, &again, NULL) == 0);
    FUZZ_CHECK(bytes_equal(buf_bytes(&again), bytes_of(data, size)));
    buf_free(&again);
    return 0;
}
