#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "domain/position.h"
#include "entry/entry.h"

static struct position parsed(const char *text)
{
    struct position position;
    struct err err = {0};
    cr_assert_eq(position_parse(bytes_of_string(text), &position, &err), 0, "%s", err.message);
    return position;
}

static void expect_text(const struct position *position, const char *text)
{
    struct buf out;
    buf_init(&out, 4096);
    cr_assert_eq(position_format(position, &out), 0);
    cr_assert(bytes_equal(buf_bytes(&out), bytes_of_string(text)), "%.*s, expected %s", (int)out.size_bytes,
              (const char *)out.data, text);
    buf_free(&out);
}

static void expect_refused(struct bytes text)
{
    struct position position = {.count = 63};
    struct err err = {0};
    int code = position_parse(text, &position, &err);
    cr_assert_eq(code, ERR_INVALID, "'%.*s': %s", (int)text.size_bytes, (const char *)text.data,
                 tally_error_name(code));
    cr_assert_not_null(strstr(err.message, "eu@1024,us@998"), "'%s' shows no example", err.message);
    cr_assert(utf8_valid(bytes_of_string(err.message)), "a message is UTF-8");
    cr_assert_eq(position.count, 63, "outputs are untouched on failure");
    cr_assert_eq(position_parse(text, &position, NULL), ERR_INVALID);
}

/* --- Text --- */

Test(position, canonical_texts_come_back_as_they_were)
{
    const char *texts[] = {
        "",
        "eu@1",
        "eu@1024,us@998",
        "eu.2@5",
        "eu@7,eu.2@5,us@1",
        "a-1@18446744073709551615",
        "0@1",
        "eu.18446744073709551615@1",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct position position = parsed(texts[i]);
        expect_text(&position, texts[i]);
    }
}

Test(position, components_say_region_incarnation_and_size)
{
    struct position position = parsed("eu@1024,eu.3@7,us@998");
    cr_assert_eq(position.count, 3);
    cr_assert_eq(position_get(&position, "eu", 1), 1024);
    cr_assert_eq(position_get(&position, "eu", 3), 7);
    cr_assert_eq(position_get(&position, "us", 1), 998);
}

Test(position, the_order_of_a_text_does_not_matter)
{
    struct position position = parsed("us@998,eu.2@1,eu@1024");
    expect_text(&position, "eu@1024,eu.2@1,us@998");
    struct position other = parsed("eu@1024,eu.2@1,us@998");
    cr_assert(position_equal(&position, &other));
}

Test(position, regions_are_ordered_as_text_and_incarnations_as_numbers)
{
    struct position position = parsed("eu.10@1,eu.9@1,eu-west@1,e@1");
    expect_text(&position, "e@1,eu.9@1,eu.10@1,eu-west@1");
}

Test(position, the_longest_region_name_fits)
{
    char region[POSITION_REGION_MAX_BYTES + 2];
    char text[80];
    memset(region, 'r', sizeof(region));
    region[POSITION_REGION_MAX_BYTES] = '\0';
    snprintf(text, sizeof(text), "%s@5", region);
    struct position position = parsed(text);
    cr_assert_eq(position_get(&position, region, 1), 5);
    region[POSITION_REGION_MAX_BYTES] = 'r';
    snprintf(text, sizeof(text), "%.64s@5", region);
    expect_refused(bytes_of_string(text));
}

Test(position, every_other_shape_is_refused)
{
    const char *texts[] = {
        "eu",
        "eu@",
        "@5",
        "@",
        "eu@0",
        "eu@-1",
        "eu@+1",
        "eu@01",
        "eu@1x",
        "eu@ 1",
        "eu @1",
        " eu@1",
        "eu@1 ",
        "eu@1@2",
        "eu@0x10",
        "eu@18446744073709551616",
        "eu@1,",
        ",eu@1",
        ",",
        "eu@1,,us@1",
        "eu@1;us@1",
        "eu@1\n",
        "eu.@1",
        "eu.0@1",
        "eu.1@1",
        "eu.02@1",
        "eu.x@1",
        "eu.-2@1",
        "eu.2.3@1",
        ".2@1",
        "EU@1",
        "e_u@1",
        "-eu@1",
        "e/u@1",
        "\xC3\xA9@1",
        "eu@\xC3\xA9",
        "eu.18446744073709551616@1",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_refused(bytes_of_string(texts[i]));
}

Test(position, a_log_is_named_once)
{
    expect_refused(BYTES_LITERAL("eu@1,eu@1"));
    expect_refused(BYTES_LITERAL("eu@1,us@5,eu@2"));
    expect_refused(BYTES_LITERAL("eu.2@1,eu.2@3"));
}

Test(position, a_name_is_not_read_only_up_to_a_nul)
{
    expect_refused(BYTES_LITERAL("eu\0x@1"));
    expect_refused(BYTES_LITERAL("eu\0@1"));
    expect_refused(BYTES_LITERAL("eu@1\0"));
    expect_refused(BYTES_LITERAL("\0"));
}

Test(position, what_is_no_text_at_all_is_refused_with_a_message_that_is)
{
    expect_refused(BYTES_LITERAL("\xFF\xFE@1"));
    char text[200];
    memset(text, 'x', sizeof(text));
    memcpy(text + 79, "\xE2\x82\xAC", 3); /* the message quotes 80 bytes: one of these three */
    expect_refused(bytes_of(text, sizeof(text)));
}

static size_t many_logs(size_t count, char *out, size_t out_size)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(out + used, out_size - used, "%sr%03zu@%zu", i == 0 ? "" : ",", i, i + 1);
    return used;
}

Test(position, logs_are_limited)
{
    char text[2048];
    struct position position = {0};
    struct err err = {0};
    size_t size = many_logs(POSITION_LOGS_MAX, text, sizeof(text));
    cr_assert_eq(position_parse(bytes_of(text, size), &position, &err), 0, "%s", err.message);
    cr_assert_eq(position.count, POSITION_LOGS_MAX);
    expect_text(&position, text);
    size = many_logs(POSITION_LOGS_MAX + 1, text, sizeof(text));
    cr_assert_eq(position_parse(bytes_of(text, size), &position, &err), ERR_TOO_LARGE);
    cr_assert_not_null(strstr(err.message, "64"), "%s", err.message);
}

Test(position, a_text_that_does_not_fit_leaves_the_buffer_as_it_was)
{
    struct position position = parsed("eu@1024,us@998");
    struct buf out;
    buf_init(&out, 12);
    cr_assert_eq(buf_append_string(&out, "at "), 0);
    cr_assert_eq(position_format(&position, &out), ERR_TOO_LARGE);
    cr_assert(bytes_equal(buf_bytes(&out), BYTES_LITERAL("at ")));
    buf_free(&out);
}

/* --- One component --- */

Test(position, a_log_that_is_not_named_has_size_zero)
{
    struct position position = parsed("eu@1024,us@998");
    cr_assert_eq(position_get(&position, "asia", 1), 0);
    cr_assert_eq(position_get(&position, "eu", 2), 0);
    cr_assert_eq(position_get(&position, "zz", 1), 0);
    cr_assert_eq(position_get(&position, "e", 1), 0);
}

Test(position, set_adds_changes_and_removes)
{
    struct position position = {0};
    cr_assert_eq(position_set(&position, "us", 1, 5), 0);
    cr_assert_eq(position_set(&position, "eu", 2, 6), 0);
    cr_assert_eq(position_set(&position, "eu", 1, 7), 0);
    expect_text(&position, "eu@7,eu.2@6,us@5");
    cr_assert_eq(position_set(&position, "eu", 2, 9), 0);
    expect_text(&position, "eu@7,eu.2@9,us@5");
    cr_assert_eq(position_set(&position, "eu", 1, 0), 0);
    expect_text(&position, "eu.2@9,us@5");
    cr_assert_eq(position_set(&position, "us", 1, 0), 0);
    cr_assert_eq(position_set(&position, "eu", 2, 0), 0);
    expect_text(&position, "");
}

Test(position, removing_what_is_not_there_changes_nothing)
{
    struct position position = parsed("eu@7");
    cr_assert_eq(position_set(&position, "us", 1, 0), 0);
    cr_assert_eq(position_set(&position, "a", 1, 0), 0);
    expect_text(&position, "eu@7");
}

Test(position, a_full_position_still_changes_and_refuses_only_new_logs)
{
    struct position position = {0};
    char region[16];
    for (size_t i = 0; i < POSITION_LOGS_MAX; i++) {
        snprintf(region, sizeof(region), "r%03zu", i);
        cr_assert_eq(position_set(&position, region, 1, 1), 0);
    }
    cr_assert_eq(position_set(&position, "zz", 1, 1), ERR_TOO_LARGE);
    cr_assert_eq(position.count, POSITION_LOGS_MAX);
    cr_assert_eq(position_get(&position, "zz", 1), 0);
    cr_assert_eq(position_set(&position, "r000", 1, 9), 0);
    cr_assert_eq(position_get(&position, "r000", 1), 9);
    cr_assert_eq(position_set(&position, "zz", 1, 0), 0);
    cr_assert_eq(position_set(&position, "r031", 1, 0), 0);
    cr_assert_eq(position_set(&position, "zz", 1, 1), 0);
    cr_assert_eq(position_get(&position, "r063", 1), 1);
}

Test(position, a_region_name_over_the_limit_is_our_own_bug, .signal = SIGABRT)
{
    struct position position = {0};
    char region[POSITION_REGION_MAX_BYTES + 2];
    memset(region, 'r', sizeof(region) - 1);
    region[sizeof(region) - 1] = '\0';
    cr_assert_eq(position_set(&position, region, 1, 1), 0);
}

/* --- Comparing --- */

static bool covers(const char *held, const char *wanted)
{
    struct position a = parsed(held);
    struct position b = parsed(wanted);
    return position_covers(&a, &b);
}

Test(position, covers_asks_for_every_component)
{
    cr_assert(covers("eu@5,us@7", "eu@5,us@7"));
    cr_assert(covers("eu@6,us@7", "eu@5,us@7"));
    cr_assert(covers("eu@5,us@7", "eu@5"));
    cr_assert_not(covers("eu@5,us@6", "eu@5,us@7"));
    cr_assert_not(covers("eu@4,us@9", "eu@5,us@7"));
    cr_assert_not(covers("eu@5", "eu@5,us@7"));
}

Test(position, everything_covers_the_start_and_the_start_covers_only_itself)
{
    cr_assert(covers("", ""));
    cr_assert(covers("eu@1", ""));
    cr_assert_not(covers("", "eu@1"));
}

Test(position, incarnations_are_logs_of_their_own)
{
    cr_assert_not(covers("eu@9", "eu.2@1"));
    cr_assert_not(covers("eu.2@9", "eu@1"));
    cr_assert(covers("eu@1,eu.2@9", "eu.2@9"));
}

Test(position, equal_means_the_same_components)
{
    struct position a = parsed("eu@5,us@7");
    struct position b = parsed("us@7,eu@5");
    struct position smaller = parsed("eu@5,us@6");
    struct position fewer = parsed("eu@5");
    struct position other = parsed("eu@5,us.2@7");
    cr_assert(position_equal(&a, &b));
    cr_assert_not(position_equal(&a, &smaller));
    cr_assert_not(position_equal(&smaller, &a));
    cr_assert_not(position_equal(&a, &fewer));
    cr_assert_not(position_equal(&fewer, &a));
    cr_assert_not(position_equal(&a, &other));
}

/* --- Origins --- */

Test(origin, comes_apart_and_together)
{
    const char *texts[] = {"demo/eu/1", "a/b/18446744073709551615", "demo-1/eu-west/42"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct origin origin;
        char out[ENTRY_ORIGIN_MAX_BYTES + 1];
        cr_assert_eq(origin_parse(bytes_of_string(texts[i]), &origin, NULL), 0, "%s", texts[i]);
        origin_format(&origin, out);
        cr_assert_str_eq(out, texts[i]);
    }
}

Test(origin, has_a_cluster_a_region_and_an_incarnation)
{
    struct origin origin;
    cr_assert_eq(origin_parse(BYTES_LITERAL("demo/eu/12"), &origin, NULL), 0);
    cr_assert_str_eq(origin.cluster, "demo");
    cr_assert_str_eq(origin.region, "eu");
    cr_assert_eq(origin.incarnation, 12);
}

Test(origin, the_longest_names_fit)
{
    char text[256];
    char out[256];
    char name[64];
    struct origin origin;
    memset(name, 'n', 63);
    name[63] = '\0';
    snprintf(text, sizeof(text), "%s/%s/18446744073709551615", name, name);
    cr_assert_eq(origin_parse(bytes_of_string(text), &origin, NULL), 0);
    cr_assert_str_eq(origin.cluster, name);
    cr_assert_str_eq(origin.region, name);
    origin_format(&origin, out);
    cr_assert_str_eq(out, text);
}

Test(origin, every_other_shape_is_refused)
{
    const char *texts[] = {"",           "demo",        "demo/eu",     "demo/eu/",   "demo/eu/0",
                           "demo/eu/01", "demo//1",     "/eu/1",       "demo/eu/1/", "demo/eu/1/2",
                           "demo/eu/x",  "Demo/eu/1",   "demo/e u/1",  "-demo/eu/1", "demo/-eu/1",
                           "demo/eu/-1", "demo/eu/1\n", "demo/eu.2/1", "d@mo/eu/1",  "demo/eu/18446744073709551616"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct origin origin = {.incarnation = 77};
        struct err err = {0};
        cr_assert_eq(origin_parse(bytes_of_string(texts[i]), &origin, &err), ERR_INVALID, "'%s'", texts[i]);
        cr_assert_not_null(strstr(err.message, "<cluster>/<region>/<incarnation>"), "%s", err.message);
        cr_assert_eq(origin.incarnation, 77);
    }
    struct origin origin;
    cr_assert_eq(origin_parse(BYTES_LITERAL("demo/e\0u/1"), &origin, NULL), ERR_INVALID);
}
