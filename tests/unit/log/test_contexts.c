/* The auditor's file of contexts: what is read, and what is refused with its line. */
#include <criterion/criterion.h>

#include "verify/contexts.h"

static struct contexts contexts;

static const char *home_of(const char *context, const char *partition)
{
    struct authority found = {.region = "nobody"};
    int code = context_authority(&contexts.table, bytes_of_string(context), bytes_of_string(partition), &found, NULL);
    return code == 0 ? found.region : "no such context";
}

static void refuse(const char *text, int code, const char *words)
{
    struct err err = {0};
    cr_assert_eq(contexts_parse(bytes_of_string(text), &contexts, &err), code, "%s", text);
    cr_assert(strstr(err.message, words) != NULL, "'%s' lacks '%s'", err.message, words);
}

Test(contexts, homes_of_contexts_and_partitions_are_read)
{
    static const char text[] = "# homes\n\ncontext bank home eu\npartition bank/us home us\ncontext cards home ap";
    cr_assert_eq(contexts_parse(bytes_of_string(text), &contexts, NULL), 0);
    cr_assert_str_eq(home_of("bank", "de"), "eu");
    cr_assert_str_eq(home_of("bank", "us"), "us");
    cr_assert_str_eq(home_of("cards", "us"), "ap");
    cr_assert(contexts_know(&contexts, BYTES_LITERAL("cards")));
    cr_assert_not(contexts_know(&contexts, BYTES_LITERAL("card")));
    contexts_free(&contexts);
}

Test(contexts, names_may_hold_blanks_and_slashes_and_the_longest_context_fits)
{
    static const char text[] = "context a home eu\ncontext a/b home us\npartition a/b/c home ap\n"
                               "partition a/x home y home ap\n";
    cr_assert_eq(contexts_parse(bytes_of_string(text), &contexts, NULL), 0);
    cr_assert_str_eq(home_of("a/b", "c"), "ap");
    cr_assert_str_eq(home_of("a", "b/c"), "eu");
    cr_assert_str_eq(home_of("a", "x home y"), "ap");
    contexts_free(&contexts);
}

Test(contexts, many_partitions_are_kept)
{
    struct buf text;
    buf_init(&text, 64 * 1024);
    cr_assert_eq(buf_append_string(&text, "context bank home eu\n"), 0);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(buf_append_format(&text, "partition bank/p%d home r%d\n", i, i), 0);
    cr_assert_eq(contexts_parse(buf_bytes(&text), &contexts, NULL), 0);
    cr_assert_str_eq(home_of("bank", "p0"), "r0");
    cr_assert_str_eq(home_of("bank", "p999"), "r999");
    contexts_free(&contexts);
    buf_free(&text);
}

Test(contexts, a_type_may_be_overridden_or_accepted_anywhere_or_both)
{
    static const char text[] = "context bank home eu\ntype bank/Frozen override\ntype bank/Counted commutative\n"
                               "context shop home eu\ntype shop/Counted override\ntype shop/Counted commutative\n";
    cr_assert_eq(contexts_parse(bytes_of_string(text), &contexts, NULL), 0);
    const struct context *bank = context_find(&contexts.table, BYTES_LITERAL("bank"));
    const struct context *shop = context_find(&contexts.table, BYTES_LITERAL("shop"));
    cr_expect(context_accepts_anywhere(bank, BYTES_LITERAL("Counted")));
    cr_expect_not(context_accepts_anywhere(bank, BYTES_LITERAL("Frozen")));
    cr_expect(context_type_find(bank, BYTES_LITERAL("Frozen"))->override);
    cr_expect(context_accepts_anywhere(shop, BYTES_LITERAL("Counted")));
    cr_expect(context_type_find(shop, BYTES_LITERAL("Counted"))->override);
    contexts_free(&contexts);
    refuse("context bank home eu\ntype bank/Counted commutative\ntype bank/Counted commutative\n", ERR_INVALID,
           "two rules");
    refuse("context bank home eu\ntype bank/Counted quickly\n", ERR_INVALID, "line 2");
}

Test(contexts, what_is_not_a_file_of_contexts_is_refused_with_its_line)
{
    refuse("context bank eu\n", ERR_INVALID, "line 1");
    refuse("context bank home eu\n home us\n", ERR_INVALID, "line 2");
    refuse("context bank home eu\npartition bank us\n", ERR_INVALID, "line 2");
    refuse("partition bank/p home eu\n", ERR_INVALID, "declared before");
    refuse("context bank home eu\ncontext bank home us\n", ERR_INVALID, "twice");
    refuse("context bank home eu\npartition bank/p home eu\npartition bank/p home us\n", ERR_INVALID, "two homes");
    refuse("context $x home eu\n", ERR_INVALID, "kept for the system");
    refuse("context \xff home eu\n", ERR_INVALID, "UTF-8");
}
