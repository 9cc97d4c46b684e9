#include <criterion/criterion.h>

#include "tally/json_scan.h"

static void expect_compact(const char *text, const char *wanted)
{
    struct buf out;
    buf_init(&out, 1024);
    cr_assert(json_scan_valid(bytes_of_string(text)), "%s", text);
    cr_assert_eq(json_scan_compact(bytes_of_string(text), &out), 0);
    cr_expect(bytes_equal(buf_bytes(&out), bytes_of_string(wanted)), "%.*s", (int)out.size_bytes, out.data);
    buf_free(&out);
}

Test(json_scan, compact_removes_white_space_between_parts_only)
{
    expect_compact(" { \"a b\" : [ 1 ,\t2 ] ,\r\n \"c\\\" d\" : \" x \\\\\" } ",
                   "{\"a b\":[1,2],\"c\\\" d\":\" x \\\\\"}");
    expect_compact("  \" \"  ", "\" \"");
}

Test(json_scan, compact_keeps_every_digit)
{
    expect_compact("[ 0.10, 1e5, 123456789012345678901234567890, -0.0 ]",
                   "[0.10,1e5,123456789012345678901234567890,-0.0]");
}

Test(json_scan, compact_leaves_the_buffer_as_it_was_when_it_is_full)
{
    struct buf out;
    buf_init(&out, 4);
    cr_assert_eq(buf_append_string(&out, "ab"), 0);
    cr_expect_eq(json_scan_compact(BYTES_LITERAL("[1,2,3]"), &out), ERR_TOO_LARGE);
    cr_expect_eq(out.size_bytes, 2);
    buf_free(&out);
}

Test(json_scan, what_is_not_json_is_not_valid)
{
    const char *bad[] = {"",   " ",   "{",        "[1,]",     "{\"a\":1,}", "nul",
                         "01", "1 2", "\"\x01\"", "\"\xff\"", "'a'",        "{a:1}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect(!json_scan_valid(bytes_of_string(bad[i])), "%s", bad[i]);
}

static void expect_member(const char *object, const char *name, const char *wanted)
{
    struct bytes value = {0};
    bool found = json_scan_member(bytes_of_string(object), name, &value);
    cr_expect_eq(found, wanted != NULL, "%s in %s", name, object);
    if (found && wanted != NULL)
        cr_expect(bytes_equal(value, bytes_of_string(wanted)), "%.*s", (int)value.size_bytes, value.data);
}

Test(json_scan, member_finds_the_value_at_the_top_level_only)
{
    const char *object = " { \"x\" : { \"payload\" : 1 } , \"s\":\"\\\"payload\\\":2\", \"payload\" : [ {\"a\":\"}\"}, "
                         "2 ] , \"n\":-1.50}";
    expect_member(object, "payload", "[ {\"a\":\"}\"}, 2 ]");
    expect_member(object, "x", "{ \"payload\" : 1 }");
    expect_member(object, "n", "-1.50");
    expect_member(object, "s", "\"\\\"payload\\\":2\"");
    expect_member(object, "a", NULL);
    expect_member("{}", "a", NULL);
    expect_member("[1]", "a", NULL);
    expect_member("", "a", NULL);
}

Test(json_scan, elements_come_one_after_the_other)
{
    struct bytes rest = BYTES_LITERAL(" [ {\"a\":[1,2]} , \"],[\" ,3 ] ");
    struct bytes element = {0};
    cr_assert(json_scan_element(&rest, &element));
    cr_expect(bytes_equal(element, BYTES_LITERAL("{\"a\":[1,2]}")));
    cr_assert(json_scan_element(&rest, &element));
    cr_expect(bytes_equal(element, BYTES_LITERAL("\"],[\"")));
    cr_assert(json_scan_element(&rest, &element));
    cr_expect(bytes_equal(element, BYTES_LITERAL("3")));
    cr_expect(!json_scan_element(&rest, &element));
}

Test(json_scan, an_empty_array_and_other_values_have_no_elements)
{
    const char *none[] = {"[]", " [ ] ", "{\"a\":1}", "3", ""};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        struct bytes rest = bytes_of_string(none[i]);
        struct bytes element = {0};
        cr_expect(!json_scan_element(&rest, &element), "%s", none[i]);
    }
}
