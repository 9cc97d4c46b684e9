/* tally-verify compare: two or more copies of one log, each against the longest. When every copy is a prefix of the
 * longest, they are prefixes of each other. */
#include <inttypes.h>

#include "base/mem.h"
#include "verify/commands.h"
#include "verify/compare.h"
#include "verify/print.h"

static void print_leaves(const struct comparison *comparison, const struct copy *a, const struct copy *b)
{
    char text[BASE64_ENCODED_SIZE(HASH_SIZE) + 1], file[COPY_FILE_BYTES];
    const struct copy *const copies[] = {a, b};
    for (size_t i = 0; comparison->has_hashes && i < 2; i++) {
        uint64_t offset = 0;
        copy_where(copies[i], comparison->first_difference, file, &offset);
        printf("leaf          %s in %s, %s, offset %" PRIu64 "\n", hash_text(&comparison->leaves[i], text),
               copies[i]->report.path, file, offset);
    }
}

/* Where the first entry that differs is in each copy. */
static json_t *places_json(const struct comparison *comparison, const struct copy *a, const struct copy *b)
{
    const struct copy *const copies[] = {a, b};
    json_t *places = json_array();
    for (size_t i = 0; comparison->has_hashes && i < 2; i++) {
        char file[COPY_FILE_BYTES];
        uint64_t offset = 0;
        copy_where(copies[i], comparison->first_difference, file, &offset);
        json_array_append_new(places,
                              json_pack("{s:o, s:s, s:I, s:o}", "copy", shown_json(copies[i]->report.path), "file",
                                        file, "offset", (json_int_t)offset, "leaf", hash_json(&comparison->leaves[i])));
    }
    return places;
}

static json_t *comparison_json(const struct comparison *comparison, const struct copy *a, const struct copy *b)
{
    return json_pack("{s:o, s:o, s:b, s:I, s:o, s:o, s:o}", "a", shown_json(a->report.path), "b",
                     shown_json(b->report.path), "compared", (int)comparison->compared, "common_size",
                     (json_int_t)comparison->common_size, "first_difference",
                     comparison->differs ? json_integer((json_int_t)comparison->first_difference) : json_null(),
                     "places", places_json(comparison, a, b), "message", shown_json(comparison->message));
}

static size_t longest(const struct copy *copies, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        bool better = copies[i].usable && (!copies[best].usable || copies[i].size > copies[best].size);
        best = better ? i : best;
    }
    return best;
}

static enum verdict compare_all(const struct arguments *arguments, struct copy *copies)
{
    size_t count = arguments->operand_count;
    size_t reference = longest(copies, count);
    enum verdict verdict = VERDICT_VERIFIED;
    json_t *list = json_array();
    struct comparison first_bad = {0};
    struct comparison *comparison = mem_alloc_zero(count, sizeof(*comparison));
    if (comparison == NULL) {
        fprintf(stderr, "tally-verify: memory ran out\n");
        json_decref(list);
        return VERDICT_INCOMPLETE;
    }
    for (size_t i = 0; i < count; i++) {
        if (i == reference)
            continue;
        compare_copies(&copies[i], &copies[reference], &comparison[i]);
        if (comparison[i].verdict != VERDICT_VERIFIED && verdict_worse(verdict, comparison[i].verdict) != verdict)
            first_bad = comparison[i];
        verdict = verdict_worse(verdict, comparison[i].verdict);
        json_array_append_new(list, comparison_json(&comparison[i], &copies[i], &copies[reference]));
    }
    if (arguments->json) {
        json_t *reports = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(reports, log_json(&copies[i].report));
        print_json(json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "verdict", verdict_name(verdict), "exit_code",
                             (int)verdict, "message", shown_json(first_bad.message), "first_difference",
                             first_bad.differs ? json_integer((json_int_t)first_bad.first_difference) : json_null(),
                             "comparisons", list, "copies", reports));
        mem_free(comparison);
        return verdict;
    }
    for (size_t i = 0; i < count; i++) {
        print_log(&copies[i].report);
        printf("\n");
    }
    for (size_t i = 0; i < count; i++) {
        if (i == reference)
            continue;
        print_leaves(&comparison[i], &copies[i], &copies[reference]);
        printf("%-13s %s\n",
               !comparison[i].compared ? "INCOMPLETE"
               : comparison[i].differs ? "DIFFERENT"
                                       : "SAME",
               comparison[i].message);
    }
    json_decref(list);
    mem_free(comparison);
    return verdict;
}

int cmd_compare(const struct arguments *arguments)
{
    struct err err = {0};
    int code = 0;
    int exit_code = VERDICT_INCOMPLETE;
    struct copy *copies = mem_alloc_zero(arguments->operand_count, sizeof(*copies));
    if (copies == NULL)
        code = err_no_memory(&err, "the copies");
    for (size_t i = 0; code == 0 && i < arguments->operand_count; i++)
        code = copy_open(&arguments->demands, arguments->operands[i], &copies[i], &err);
    if (code == 0)
        exit_code = (int)compare_all(arguments, copies);
    else
        fprintf(stderr, "tally-verify: %s\n", err.message);
    for (size_t i = 0; copies != NULL && i < arguments->operand_count; i++)
        copy_close(&copies[i]);
    mem_free(copies);
    return exit_code;
}
