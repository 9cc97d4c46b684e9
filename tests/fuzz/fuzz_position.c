/* Positions and origins. A position may be written in any order; written again it is in the one order, and then stays.
 */
#include "domain/position.h"
#include "entry/entry.h"
#include "fuzz/fuzz.h"

static void check_position(struct bytes input)
{
    struct position *position = malloc(sizeof(*position));
    struct position *again = malloc(sizeof(*again));
    struct buf text;
    if (position == NULL || again == NULL)
        abort();
    buf_init(&text, 1024 * 1024);
    if (position_parse(input, position, NULL) == 0) {
        FUZZ_CHECK(position->count <= POSITION_LOGS_MAX);
        FUZZ_CHECK(position_format(position, &text) == 0);
        FUZZ_CHECK(position_parse(buf_bytes(&text), again, NULL) == 0);
        FUZZ_CHECK(position_equal(position, again) && position_covers(position, again));
        FUZZ_CHECK(text.size_bytes == input.size_bytes);
        for (size_t i = 0; i < position->count; i++) {
            const struct position_log *log = &position->logs[i];
            FUZZ_CHECK(log->size > 0 && position_get(again, log->region, log->incarnation) == log->size);
        }
    }
    buf_free(&text);
    free(position);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    struct origin origin;
    char text[256];
    int parsed = origin_parse(input, &origin, NULL);
    FUZZ_CHECK((parsed == 0) == (entry_check_origin(input, NULL) == 0));
    if (parsed == 0) {
        origin_format(&origin, text);
        FUZZ_CHECK(bytes_equal(input, bytes_of_string(text)));
    }
    check_position(input);
    return 0;
}
