/* Reading a projection's file. */
#include "projection/spec.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "unit/projection/fixture.h"

#define HEAD "-- tally: projection p\n-- tally: schema\nCREATE TABLE t(a);\n"

static void expect_refused(struct bytes sql, int code, const char *said)
{
    struct projection_spec *spec = NULL;
    struct err err = {0};
    cr_assert_eq(projection_spec_parse(sql, &spec, &err), code, "%s", err.message);
    cr_assert_null(spec);
    expect_says(&err, said);
}

/* The message must name the line, and say what to do. */
static void expect_bad(const char *sql, unsigned line, const char *said)
{
    char where[32];
    snprintf(where, sizeof(where), "line %u: ", line);
    expect_refused(bytes_of_string(sql), ERR_INVALID, where);
    expect_refused(bytes_of_string(sql), ERR_INVALID, said);
}

Test(spec, sections_carry_their_sql_and_their_line)
{
    struct projection_spec *spec =
        spec_of("-- a comment\n\n" HEAD "-- tally: on bank A\nONE;\n-- tally: on shop *\nTWO;\nTHREE;");
    cr_assert_str_eq(projection_spec_name(spec), "p");
    cr_assert_str_eq(spec->schema.sql, "CREATE TABLE t(a);\n");
    cr_assert_eq(spec->schema.line, 5);
    cr_assert_eq(spec->section_count, 2);
    cr_assert_str_eq(spec->sections[0].context, "bank");
    cr_assert_str_eq(spec->sections[0].type, "A");
    cr_assert_str_eq(spec->sections[0].sql, "ONE;\n");
    cr_assert_eq(spec->sections[0].line, 7);
    cr_assert_str_eq(spec->sections[1].sql, "TWO;\nTHREE;");
    projection_spec_free(spec);
}

Test(spec, lines_may_end_with_carriage_returns)
{
    struct projection_spec *spec =
        spec_of("-- tally: projection p\r\n-- tally: schema \r\nX;\r\n-- tally: on bank A \r\nONE;\r\n");
    cr_assert_str_eq(projection_spec_name(spec), "p");
    cr_assert_str_eq(spec->sections[0].type, "A");
    projection_spec_free(spec);
}

Test(spec, a_marker_is_one_at_the_start_of_a_line_only)
{
    struct projection_spec *spec =
        spec_of(HEAD "-- tally: on bank A\nSELECT '\n -- tally: on bank B\n'; -- tally: x\n");
    cr_assert_eq(spec->section_count, 1);
    projection_spec_free(spec);
}

Test(spec, the_digest_is_of_the_whole_file)
{
    struct projection_spec *one = spec_of(DEPOSITS);
    struct projection_spec *same = spec_of(DEPOSITS);
    struct projection_spec *other = spec_of(DEPOSITS "-- a comment\n");
    cr_assert(hash_equal(&one->digest, &same->digest));
    cr_assert_not(hash_equal(&one->digest, &other->digest));
    projection_spec_free(one);
    projection_spec_free(same);
    projection_spec_free(other);
}

Test(spec, the_name_comes_first_once_and_is_checked)
{
    expect_bad("", 1, "there is no \"-- tally: projection NAME\"");
    expect_bad("\n-- tally: schema\n", 2, "the first marker must be");
    expect_bad("-- tally: projection\n", 1, "1 to 63 characters");
    expect_bad("-- tally: projection Balances\n", 1, "1 to 63 characters");
    expect_bad("-- tally: projection ../up\n", 1, "1 to 63 characters");
    expect_bad("-- tally: projection two words\n", 1, "1 to 63 characters");
    expect_bad("-- tally: projection p\n-- tally: projection p\n", 2, "named twice");
    expect_bad("-- tally: projection 0123456789012345678901234567890123456789012345678901234567890123\n", 1,
               "1 to 63 characters");
    struct projection_spec *spec = spec_of("-- tally: projection "
                                           "012345678901234567890123456789012345678901234567890123456789_-z\n"
                                           "-- tally: schema\n-- tally: on bank A\n");
    cr_assert_eq(strlen(projection_spec_name(spec)), PROJECTION_NAME_MAX_BYTES);
    projection_spec_free(spec);
}

Test(spec, there_is_one_schema_section)
{
    expect_bad("-- tally: projection p\n-- tally: on bank A\nX;\n", 4, "no \"-- tally: schema\" section");
    expect_bad(HEAD "-- tally: schema\n", 4, "two schema sections");
    expect_bad("-- tally: projection p\n-- tally: schema CREATE TABLE t(a);\n", 2, "on the next one");
}

Test(spec, there_is_a_section_for_events)
{
    expect_bad(HEAD, 4, "it would never hold anything");
}

Test(spec, a_section_names_context_and_type)
{
    expect_bad(HEAD "-- tally: on\n", 4, "on CONTEXT TYPE");
    expect_bad(HEAD "-- tally: on bank\n", 4, "on CONTEXT TYPE");
    expect_bad(HEAD "-- tally: on bank A B\n", 4, "on CONTEXT TYPE");
    expect_bad(HEAD "-- tally: off bank A\n", 4, "a marker is");
    expect_bad(HEAD "-- tally:\n", 4, "a marker is");
}

Test(spec, sql_before_the_first_section_is_refused)
{
    expect_bad("DROP TABLE t;\n" HEAD, 1, "before the first section");
    expect_bad("-- tally: projection p\n-- fine\n\nSELECT 1;\n", 4, "put \"-- tally: schema\"");
}

Test(spec, names_have_limits)
{
    char sql[1024];
    char name[ENTRY_NAME_MAX_BYTES + 2];
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    snprintf(sql, sizeof(sql), HEAD "-- tally: on %s A\n", name);
    expect_bad(sql, 4, "more than 255 bytes");
    snprintf(sql, sizeof(sql), HEAD "-- tally: on bank %s\n", name);
    expect_bad(sql, 4, "more than 255 bytes");
    name[ENTRY_NAME_MAX_BYTES] = '\0';
    snprintf(sql, sizeof(sql), HEAD "-- tally: on %s A\n", name);
    projection_spec_free(spec_of(sql));
}

Test(spec, the_systems_own_events_are_refused)
{
    expect_bad(HEAD "-- tally: on bank $LateSettled\n", 4, "the system's own events");
    expect_bad(HEAD "-- tally: on $system Happened\n", 4, "the system's own events");
}

Test(spec, the_number_of_sections_has_a_limit)
{
    struct buf sql;
    buf_init(&sql, PROJECTION_SQL_MAX_BYTES);
    cr_assert_eq(buf_append_string(&sql, HEAD), 0);
    for (int i = 0; i < PROJECTION_SECTIONS_MAX; i++)
        cr_assert_eq(buf_append_format(&sql, "-- tally: on bank T%d\n", i), 0);
    struct projection_spec *spec = NULL;
    cr_assert_eq(projection_spec_parse(buf_bytes(&sql), &spec, NULL), 0);
    projection_spec_free(spec);
    cr_assert_eq(buf_append_string(&sql, "-- tally: on bank more\n"), 0);
    expect_refused(buf_bytes(&sql), ERR_INVALID, "line 260: more than 256 sections");
    buf_free(&sql);
}

Test(spec, a_file_has_a_size_limit_and_is_text)
{
    char *large = mem_alloc(PROJECTION_SQL_MAX_BYTES + 1);
    memset(large, '\n', PROJECTION_SQL_MAX_BYTES + 1);
    expect_refused(bytes_of(large, PROJECTION_SQL_MAX_BYTES + 1), ERR_TOO_LARGE, "at most 262144");
    mem_free(large);
    expect_refused(BYTES_LITERAL(HEAD "-- tally: on bank \xff\n"), ERR_INVALID, "not UTF-8");
    expect_refused(BYTES_LITERAL(DEPOSITS "\0-- tally: on bank Lost\n"), ERR_INVALID, "not UTF-8");
    expect_refused(bytes_of(NULL, 0), ERR_INVALID, "there is no");
}

static bool applies(const struct projection_spec *spec, size_t section, const char *context, const char *type)
{
    return projection_section_applies(spec, &spec->sections[section], bytes_of_string(context), bytes_of_string(type));
}

Test(spec, a_star_stands_for_types_that_nobody_names)
{
    struct projection_spec *spec = spec_of(HEAD "-- tally: on bank A\n-- tally: on bank *\n-- tally: on shop B\n");
    cr_assert(applies(spec, 0, "bank", "A"));
    cr_assert_not(applies(spec, 0, "bank", "B"));
    cr_assert_not(applies(spec, 0, "shop", "A"));
    cr_assert_not(applies(spec, 1, "bank", "A"));
    cr_assert(applies(spec, 1, "bank", "B"), "shop names B, bank does not");
    cr_assert_not(applies(spec, 1, "shop", "C"));
    cr_assert_not(applies(spec, 1, "ban", "C"));
    projection_spec_free(spec);
}

Test(spec, order_total_stands_once_before_the_schema)
{
    struct projection_spec *spec = NULL;
    static const char *const refused[] = {
        "-- tally: projection p\n-- tally: order partial\n-- tally: schema\n-- tally: on c T\nSELECT 1;\n",
        "-- tally: projection p\n-- tally: order total now\n-- tally: schema\n-- tally: on c T\nSELECT 1;\n",
        "-- tally: projection p\n-- tally: schema\n-- tally: order total\n-- tally: on c T\nSELECT 1;\n",
        "-- tally: projection p\n-- tally: order total\n-- tally: order total\n-- tally: schema\n-- tally: on c T\n",
        "-- tally: order total\n-- tally: projection p\n-- tally: schema\n-- tally: on c T\nSELECT 1;\n",
    };
    const char *sql = "-- tally: projection p\n-- tally: order total\n-- tally: schema\n-- tally: on c T\nSELECT 1;\n";
    cr_assert_eq(projection_spec_parse(bytes_of_string(sql), &spec, NULL), 0);
    cr_assert(spec->total_order);
    projection_spec_free(spec);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        cr_assert_eq(projection_spec_parse(bytes_of_string(refused[i]), &spec, NULL), ERR_INVALID, "%s", refused[i]);
}

Test(spec, it_is_known_whose_payloads_the_statements_take)
{
    struct projection_spec *spec = NULL;
    size_t at = 0;
    cr_assert_eq(projection_spec_parse(BYTES_LITERAL("-- tally: projection p\n-- tally: schema\nCREATE TABLE t(a);\n"
                                                     "-- tally: on bank A\nINSERT INTO t VALUES(:stream);\n"
                                                     "-- tally: on shop *\nSELECT 1; INSERT INTO t VALUES(:payload);\n"
                                                     "-- tally: on till B\nSELECT 1; -- not :payload_bytes\n"),
                                       &spec, NULL),
                 0);
    cr_assert_str_eq(projection_spec_next_payload_context(spec, &at), "shop");
    cr_assert_str_eq(projection_spec_next_payload_context(spec, &at), "till", "rather one too many");
    cr_assert_null(projection_spec_next_payload_context(spec, &at));
    projection_spec_free(spec);
}
