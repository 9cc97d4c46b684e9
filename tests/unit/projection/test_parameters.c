/* What PostgreSQL is given of a section's text, and what is refused. */
#include <criterion/criterion.h>

#include "projection/parameters.h"
#include "unit/projection/fixture.h"

static void expect_numbered(const char *sql, const char *expected, size_t parameter_count)
{
    struct buf out;
    struct parameters_used used;
    struct err err = {0};
    buf_init(&out, 4096);
    cr_assert_eq(parameters_number(sql, 1, &out, &used, &err), 0, "%s: %s", sql, err.message);
    cr_assert_eq(buf_terminate(&out), 0);
    cr_assert_str_eq((const char *)out.data, expected);
    cr_assert_eq(used.count, parameter_count, "%s", sql);
    buf_free(&out);
}

static void expect_refused(const char *sql, unsigned line, const char *says)
{
    struct buf out;
    struct parameters_used used;
    struct err err = {0};
    buf_init(&out, 4096);
    cr_assert_eq(parameters_number(sql, line, &out, &used, &err), ERR_INVALID, "%s", sql);
    expect_says(&err, says);
    buf_free(&out);
}

Test(parameters, are_numbered_in_the_order_in_which_they_come)
{
    expect_numbered("f(:stream, :payload, :stream);", "f($1, $2, $1);", 2);
    expect_numbered(":time_ms:: text", "$1:: text", 1);
    expect_numbered("a=:epoch", "a=$1", 1);
}

Test(parameters, are_not_looked_for_where_postgresql_sees_none)
{
    static const char *const texts[] = {"':stream'",
                                        "'it''s :stream'",
                                        "\":stream\"",
                                        "E'\\' :stream'",
                                        "$$ :stream $$",
                                        "$a$ $b$ :stream $a$",
                                        "-- :stream\n",
                                        "/* /* :a */ :stream */",
                                        "x::text",
                                        "a[1 : 2]",
                                        "b:=1",
                                        "e',:stream'",
                                        "'unended :stream",
                                        "$$ unended :stream",
                                        "/* unended :stream",
                                        "U&'d\\0061t:stream'"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_numbered(texts[i], texts[i], 0);
}

Test(parameters, are_found_behind_what_only_looks_like_a_string)
{
    expect_numbered("'a\\' || :stream", "'a\\' || $1", 1); /* a backslash means nothing in a plain string */
    expect_numbered("like'%' || :type", "like'%' || $1", 1);
    expect_numbered("$ :type", "$ $1", 1);
    expect_numbered("a$b$ :type $b$", "a$b$ $1 $b$", 1); /* a name may hold dollars */
}

Test(parameters, of_unknown_names_are_refused_with_their_line)
{
    expect_refused("\n\nf(:colour)", 7, "line 9: there is no parameter :colour");
    expect_refused("f($1)", 3, "line 3: parameters have names");
}

Test(parameters, what_differs_between_regions_is_refused)
{
    expect_refused("insert into t values(NOW())", 2, "line 2: now would give another answer");
    expect_refused("select gen_random_uuid()", 1, "gen_random_uuid");
    expect_refused("select current_timestamp", 1, "current_timestamp");
    expect_numbered("\"now\", 'now', known, random_walk", "\"now\", 'now', known, random_walk", 0);
}

Test(parameters, tables_of_ours_are_refused)
{
    expect_refused("delete from _tally_cursor", 1, "_tally_");
    expect_refused("delete from _TALLY_meta", 1, "_tally_");
    expect_refused("delete from \"_tally_cursor\"", 1, "_tally_");
}

Test(parameters, every_one_has_a_value_of_its_type)
{
    struct event event;
    uint8_t cause[UUID_SIZE] = {1};
    event_init(&event, ORIGIN_EU, 7, "s", "paid");
    event.entry.causation_id = bytes_of(cause, sizeof(cause));
    event.entry.metadata = BYTES_LITERAL("m");
    event.entry.content_type = BYTES_LITERAL("c");
    static const char *const expected[PARAMETER_COUNT] = {[PARAMETER_CONTEXT] = "bank",
                                                          [PARAMETER_PARTITION] = "north",
                                                          [PARAMETER_STREAM] = "s",
                                                          [PARAMETER_TYPE] = "Deposited",
                                                          [PARAMETER_EVENT_ID] = "00000000-0000-0008-0000-000000000000",
                                                          [PARAMETER_PAYLOAD] = "paid",
                                                          [PARAMETER_PAYLOAD_BYTES] = "paid",
                                                          [PARAMETER_METADATA] = "m",
                                                          [PARAMETER_METADATA_BYTES] = "m",
                                                          [PARAMETER_CONTENT_TYPE] = "c",
                                                          [PARAMETER_ORIGIN] = ORIGIN_EU,
                                                          [PARAMETER_CAUSATION_ID] =
                                                              "01000000-0000-0000-0000-000000000000"};
    static const int64_t numbers[PARAMETER_COUNT] = {
        [PARAMETER_VERSION] = 7, [PARAMETER_TIME_MS] = 1700000000007, [PARAMETER_POSITION] = 7, [PARAMETER_EPOCH] = 1};
    for (int i = 0; i < PARAMETER_COUNT; i++) {
        struct parameter_value value;
        parameter_of(&event.event, (enum parameter)i, &value);
        if (parameter_type((enum parameter)i) == PARAMETER_NUMBER)
            cr_assert_eq(value.number, numbers[i], "%s", parameter_name((enum parameter)i));
        else if (i == PARAMETER_CORRELATION_ID)
            cr_assert(value.is_null);
        else
            cr_assert(bytes_equal(value.bytes, bytes_of_string(expected[i])), "%s", parameter_name((enum parameter)i));
        cr_assert_eq(parameter_find(bytes_of_string(parameter_name((enum parameter)i) + 1)), i);
    }
}
