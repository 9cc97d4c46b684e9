/* Events as lines of JSON, and the scanner that cuts payloads out of them. A payload is JSON still, and compact. */
#include "fuzz/fuzz.h"
#include "tally/json_scan.h"
#include "tally/ndjson.h"

static void check_scanner(struct bytes text)
{
    struct buf once, twice;
    struct bytes value;
    if (!json_scan_valid(text))
        return;
    buf_init(&once, text.size_bytes + 1);
    buf_init(&twice, text.size_bytes + 1);
    FUZZ_CHECK(json_scan_compact(text, &once) == 0);
    FUZZ_CHECK(json_scan_valid(buf_bytes(&once)));
    FUZZ_CHECK(json_scan_compact(buf_bytes(&once), &twice) == 0);
    FUZZ_CHECK(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
    if (once.data[0] == '{' && json_scan_member(text, "payload", &value))
        FUZZ_CHECK(json_scan_valid(value));
    if (once.data[0] == '[') {
        struct bytes rest = text;
        while (json_scan_element(&rest, &value))
            FUZZ_CHECK(json_scan_valid(value));
    }
    buf_free(&once);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    struct ndjson_event event;
    struct arena arena;
    bool allow_expected = fuzz_take_byte(&input) % 2 == 0;
    if (input.size_bytes == 0)
        return 0;
    arena_init(&arena, 64 * 1024 * 1024);
    if (ndjson_parse(input, allow_expected, &arena, &event, NULL) == 0) {
        FUZZ_CHECK(event.context != NULL && event.stream != NULL && event.event.type != NULL);
        if (strcmp(event.event.content_type, "application/json") == 0 &&
            memmem(input.data, input.size_bytes, "base64", 6) == NULL)
            FUZZ_CHECK(event.event.payload.size == 0 ||
                       json_scan_valid(bytes_of(event.event.payload.data, event.event.payload.size)));
    }
    arena_free(&arena);
    check_scanner(input);
    return 0;
}
