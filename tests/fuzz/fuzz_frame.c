/* Frames and the elements around them: canonical in the same way. */
#include "entry/frame.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size);
    struct bytes encoded;
    struct frame frame;
    while (frame_next_element(&rest, &encoded, NULL) == 0) {
        struct buf again;
        if (frame_parse(encoded, &frame, NULL) != 0)
            continue;
        buf_init(&again, FRAME_ELEMENT_MAX_BYTES);
        FUZZ_CHECK(frame_encode_element(&frame, &again) == 0);
        FUZZ_CHECK(again.size_bytes == frame_element_size(&frame));
        struct bytes element = bytes_of(rest.data - again.size_bytes, again.size_bytes);
        FUZZ_CHECK(again.size_bytes <= size && bytes_equal(buf_bytes(&again), element));
        buf_free(&again);
    }
    return 0;
}
