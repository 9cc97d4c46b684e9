/* ReadResponse as the client takes it apart in place: every event that comes out is a valid entry. */
#include "client/read.h"
#include "entry/entry.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct read_batch batch;
    struct tally_recorded event;
    struct err err = {0};
    int code = read_batch_parse(bytes_of(data, size), &batch, &err);
    if (code != 0) {
        FUZZ_CHECK(code == ERR_CORRUPT);
        return 0;
    }
    FUZZ_CHECK(batch.origin.size_bytes <= size && batch.position.size_bytes <= size);
    while ((code = read_batch_next(&batch, &event, &err)) == 0)
        FUZZ_CHECK(event.payload.size <= size && event.stream.size <= ENTRY_STREAM_MAX_BYTES);
    FUZZ_CHECK(code == ERR_END || code == ERR_CORRUPT || code == ERR_UNSUPPORTED);
    return 0;
}
