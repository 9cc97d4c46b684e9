/* Checkpoints: what is accepted is what would be written. */
#include "crypto/note.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct checkpoint checkpoint;
    struct buf again;
    if (checkpoint_parse(bytes_of(data, size), &checkpoint, NULL) != 0)
        return 0;
    buf_init(&again, NOTE_MAX_BYTES);
    FUZZ_CHECK(checkpoint_format(&checkpoint, &again) == 0);
    FUZZ_CHECK(bytes_equal(buf_bytes(&again), bytes_of(data, size)));
    buf_free(&again);
    return 0;
}
