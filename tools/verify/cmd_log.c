/* tally-verify log, segment, tlog: one copy. */
#include "base/mem.h"
#include "verify/commands.h"
#include "verify/print.h"

typedef void verify_fn(const struct demands *demands, const char *path, struct log_report *ret);

static int verify_one(const struct arguments *arguments, verify_fn *verify)
{
    struct log_report *report = mem_alloc_zero(1, sizeof(*report));
    if (report == NULL) {
        fprintf(stderr, "tally-verify: memory ran out\n");
        return VERDICT_INCOMPLETE;
    }
    verify(&arguments->demands, arguments->operands[0], report);
    if (arguments->json)
        print_json(log_json(report));
    else
        print_log(report);
    int exit_code = (int)report->verdict;
    report_free(report);
    mem_free(report);
    return exit_code;
}

int cmd_log(const struct arguments *arguments)
{
    return verify_one(arguments, verify_folder);
}

int cmd_segment(const struct arguments *arguments)
{
    return verify_one(arguments, verify_segment);
}

int cmd_tlog(const struct arguments *arguments)
{
    return verify_one(arguments, verify_tlog);
}
