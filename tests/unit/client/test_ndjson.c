#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "tally/ndjson.h"

#define ID    "\"id\":\"018f3b1c-9c00-7000-8000-0123456789ab\""
#define NAMES ID ",\"context\":\"bank\",\"partition\":\"eu\",\"stream\":\"a/17\",\"type\":\"Deposited\""

static struct arena arena;

static void open_arena(void)
{
    arena_init(&arena, 16 * 1024 * 1024);
}

static void close_arena(void)
{
    arena_free(&arena);
}

TestSuite(ndjson, .init = open_arena, .fini = close_arena);

static struct ndjson_event parse(const char *line, bool allow_expected)
{
    struct ndjson_event event = {0};
    struct err err = {0};
    cr_assert_eq(ndjson_parse(bytes_of_string(line), allow_expected, &arena, &event, &err), 0, "%s", err.message);
    return event;
}

static void expect_refused(const char *line, int code, const char *mention)
{
    struct ndjson_event event = {0};
    struct err err = {0};
    cr_expect_eq(ndjson_parse(bytes_of_string(line), false, &arena, &event, &err), code, "%s: %s", line, err.message);
    cr_expect_not_null(strstr(err.message, mention), "\"%s\" should mention \"%s\"", err.message, mention);
    cr_expect_null(event.context);
}

static void expect_bytes(struct tally_bytes bytes, const char *wanted)
{
    cr_expect(bytes_equal(bytes_of(bytes.data, bytes.size), bytes_of_string(wanted)), "%.*s", (int)bytes.size,
              (const char *)bytes.data);
}

Test(ndjson, a_full_line_fills_every_field)
{
    struct ndjson_event event =
        parse("{" NAMES ", \"payload\" : { \"amount\" : 12.50 }, \"metadata\":{ \"till\" : 4 }, "
              "\"content_type\":\"application/vnd.x+json\", \"causation_id\":\"00000000-0000-0000-0000-000000000001\", "
              "\"correlation_id\":\"00000000-0000-0000-0000-000000000002\"}",
              false);
    cr_expect_eq(event.event.id[0], 0x01);
    cr_expect_eq(event.event.id[15], 0xab);
    cr_expect_str_eq(event.context, "bank");
    cr_expect_str_eq(event.partition, "eu");
    cr_expect_str_eq(event.stream, "a/17");
    cr_expect_str_eq(event.event.type, "Deposited");
    cr_expect_str_eq(event.event.content_type, "application/vnd.x+json");
    expect_bytes(event.event.payload, "{\"amount\":12.50}");
    expect_bytes(event.event.metadata, "{\"till\":4}");
    cr_expect_eq(event.event.causation_id[15], 1);
    cr_expect_eq(event.event.correlation_id[15], 2);
    cr_expect_eq(event.expected, TALLY_ANY);
}

Test(ndjson, a_json_payload_is_kept_digit_by_digit_and_gets_its_content_type)
{
    struct ndjson_event event = parse("{" NAMES ",\"payload\":[0.10,123456789012345678901234567890]}", false);
    expect_bytes(event.event.payload, "[0.10,123456789012345678901234567890]");
    cr_expect_str_eq(event.event.content_type, "application/json");
}

Test(ndjson, a_payload_may_be_any_json_value)
{
    expect_bytes(parse("{" NAMES ",\"payload\":null}", false).event.payload, "null");
    expect_bytes(parse("{" NAMES ",\"payload\":\"t e\"}", false).event.payload, "\"t e\"");
    expect_bytes(parse("{" NAMES ",\"payload\":-1}", false).event.payload, "-1");
}

Test(ndjson, a_base64_payload_is_decoded_and_has_no_content_type_of_its_own)
{
    struct ndjson_event event = parse("{" NAMES ",\"payload_base64\":\"aGVsbG8=\"}", false);
    expect_bytes(event.event.payload, "hello");
    cr_expect_str_eq(event.event.content_type, "");
}

Test(ndjson, an_event_may_go_without_payload)
{
    struct ndjson_event event = parse("{" NAMES "}", false);
    cr_expect_eq(event.event.payload.size, 0);
    cr_expect_null(event.event.causation_id);
}

Test(ndjson, malformed_lines_are_refused)
{
    expect_refused("", ERR_INVALID, "not JSON");
    expect_refused("{", ERR_INVALID, "not JSON");
    expect_refused("{" NAMES "} {", ERR_INVALID, "not JSON");
    expect_refused("[]", ERR_INVALID, "not a JSON object");
    expect_refused("3", ERR_INVALID, "not a JSON object");
    expect_refused("{" NAMES ",\"type\":\"b\"}", ERR_INVALID, "not JSON");
    expect_refused("{" NAMES ",\"payload\":\"\\u0000\"}", ERR_INVALID, "not JSON");
    expect_refused("{" NAMES ",\"payload\":\"\xff\"}", ERR_INVALID, "not JSON");
}

Test(ndjson, each_required_name_is_missed)
{
    expect_refused("{\"context\":\"c\",\"partition\":\"p\",\"stream\":\"s\",\"type\":\"t\"}", ERR_INVALID,
                   "\"id\" is missing");
    expect_refused("{" ID ",\"partition\":\"p\",\"stream\":\"s\",\"type\":\"t\"}", ERR_INVALID,
                   "\"context\" is missing");
    expect_refused("{" ID ",\"context\":\"c\",\"stream\":\"s\",\"type\":\"t\"}", ERR_INVALID,
                   "\"partition\" is missing");
    expect_refused("{" ID ",\"context\":\"c\",\"partition\":\"p\",\"type\":\"t\"}", ERR_INVALID,
                   "\"stream\" is missing");
    expect_refused("{" ID ",\"context\":\"c\",\"partition\":\"p\",\"stream\":\"s\"}", ERR_INVALID,
                   "\"type\" is missing");
}

Test(ndjson, values_of_the_wrong_kind_are_refused)
{
    expect_refused("{\"id\":7}", ERR_INVALID, "\"id\" is not a UUID");
    expect_refused("{\"id\":\"018f3b1c9c0070008000-0123456789ab\"}", ERR_INVALID, "UUID");
    expect_refused("{" ID ",\"context\":7}", ERR_INVALID, "\"context\" is not a text");
    expect_refused("{" ID ",\"context\":\"\"}", ERR_INVALID, "context");
    expect_refused("{" ID ",\"context\":\"a\\u0001\"}", ERR_INVALID, "context");
    expect_refused("{" NAMES ",\"metadata\":[]}", ERR_INVALID, "\"metadata\" is not an object");
    expect_refused("{" NAMES ",\"payload_base64\":7}", ERR_INVALID, "payload_base64");
    expect_refused("{" NAMES ",\"payload_base64\":\"aGVsbG8\"}", ERR_INVALID, "base64");
    expect_refused("{" NAMES ",\"payload\":1,\"payload_base64\":\"\"}", ERR_INVALID, "not both");
    expect_refused("{" NAMES ",\"causation_id\":\"x\"}", ERR_INVALID, "causation_id");
    expect_refused("{" NAMES ",\"content_type\":1}", ERR_INVALID, "content_type");
}

Test(ndjson, unknown_names_are_refused)
{
    expect_refused("{" NAMES ",\"partion\":1}", ERR_INVALID, "partion");
    expect_refused("{" NAMES ",\"expected\":1}", ERR_INVALID, "expected");
    expect_refused("{" NAMES ",\"pay\\u006coad\":1}", ERR_INVALID, "without escapes");
}

static char *line_with(const char *before, size_t filler, const char *after)
{
    size_t size = strlen(before) + filler + strlen(after) + 1;
    char *line = mem_alloc(size);
    cr_assert_not_null(line);
    memcpy(line, before, strlen(before));
    memset(line + strlen(before), 'a', filler);
    memcpy(line + strlen(before) + filler, after, strlen(after) + 1);
    return line;
}

Test(ndjson, limits_are_kept_to_the_byte)
{
    char *fits = line_with("{" NAMES ",\"payload\":\"", TALLY_PAYLOAD_MAX_BYTES - 2, "\"}");
    char *over = line_with("{" NAMES ",\"payload\":\"", TALLY_PAYLOAD_MAX_BYTES - 1, "\"}");
    char *metadata = line_with("{" NAMES ",\"metadata\":{\"a\":\"", TALLY_METADATA_MAX_BYTES - 7, "\"}}");
    char *name = line_with("{" ID ",\"context\":\"", TALLY_NAME_MAX_BYTES + 1, "\"}");
    char *stream =
        line_with("{" ID ",\"context\":\"c\",\"partition\":\"p\",\"stream\":\"", TALLY_STREAM_MAX_BYTES + 1, "\"}");
    cr_expect_eq(parse(fits, false).event.payload.size, TALLY_PAYLOAD_MAX_BYTES);
    expect_refused(over, ERR_TOO_LARGE, "payload");
    expect_refused(metadata, ERR_TOO_LARGE, "metadata");
    expect_refused(name, ERR_TOO_LARGE, "context");
    expect_refused(stream, ERR_TOO_LARGE, "stream");
    mem_free(stream);
    mem_free(name);
    mem_free(metadata);
    mem_free(over);
    mem_free(fits);
}

Test(ndjson, expected_is_understood_where_it_is_allowed)
{
    struct ndjson_event event = parse("{" NAMES ",\"expected\":18446744073709551615}", true);
    cr_expect_eq(event.expected, TALLY_VERSION);
    cr_expect_eq(event.expected_version, UINT64_MAX);
    cr_expect_eq(parse("{" NAMES ",\"expected\":\"none\"}", true).expected, TALLY_NO_STREAM);
    cr_expect_eq(parse("{" NAMES ",\"expected\":\"exists\"}", true).expected, TALLY_EXISTS);
    struct ndjson_event untouched = {0};
    const char *bad[] = {"-1", "1.5", "true", "\"nobody\"", "18446744073709551616", "1e3"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[512];
        (void)snprintf(line, sizeof(line), "{" NAMES ",\"expected\":%s}", bad[i]);
        cr_expect_eq(ndjson_parse(bytes_of_string(line), true, &arena, &untouched, NULL), ERR_INVALID, "%s", bad[i]);
    }
}

Test(ndjson, memory_that_runs_out_is_an_error_at_every_place)
{
    const char *line = "{" NAMES ",\"payload\":{\"a\":1},\"metadata\":{\"b\":2},"
                       "\"causation_id\":\"00000000-0000-0000-0000-000000000001\"}";
    struct ndjson_event event;
    bool done = false;
    for (uint64_t at = 1; !done && at < 100; at++) {
        arena_free(&arena);
        arena_init(&arena, 16 * 1024 * 1024);
        mem_fail_at(at);
        int rc = ndjson_parse(bytes_of_string(line), false, &arena, &event, NULL);
        done = rc == 0;
        cr_expect(rc == 0 || rc == ERR_NO_MEMORY, "allocation %d: %s", (int)at, tally_error_name(rc));
    }
    mem_fail_at(0);
    cr_expect(done);
}
