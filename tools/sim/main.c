/* tally-sim: regions under a simulated clock, disk and network, with faults. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/planted.h"
#include "platform/clock.h"
#include "sim/jobs.h"

enum { EXIT_HOLDS = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_BROKEN = 3 };
enum { PLANTED_SEEDS_MAX = 2000 };

static const char help[] =
    "tally-sim runs Tallystick's own code, two to five regions in one process, under a simulated clock, disk and\n"
    "network that one seed drives: crashes, torn writes, partitions, lying sources, lost disks. Oracles watch every\n"
    "step. The same seed gives the same run, on any machine and at any optimisation.\n"
    "\n"
    "  tally-sim                          one seed, number 1\n"
    "  tally-sim --seed 42 --trace        replays seed 42 and prints what happens\n"
    "  tally-sim --seeds 1000 --jobs 2    seeds 1 to 1000 in two processes\n"
    "  tally-sim --minutes 10 --jobs 2    as many as ten minutes allow\n"
    "  tally-sim --planted list           the bugs that MODE=planted can switch on\n"
    "  tally-sim --planted NAME           switches one on, and runs until an oracle sees it\n"
    "\n"
    "  --seed S        run this seed alone\n"
    "  --seeds N       run N seeds\n"
    "  --first S       the first of them (default 1)\n"
    "  --minutes M     start no seed after M minutes; without --seeds, run until then\n"
    "  --jobs N        processes (default 1)\n"
    "  --trace         print every line of the trace\n"
    "  --planted NAME  a planted bug; without --seeds at most 2000 seeds\n"
    "  --json          the totals as one JSON object\n"
    "  --help          this text\n"
    "\n"
    "A failure is told on standard error: the seed, the commit, the last hundred lines of its trace, and the line "
    "that\n"
    "replays it. See tools/sim/README.md for what is simulated and what is checked.\n"
    "\n"
    "Exit codes: 0 every oracle holds (with --planted: the bug was found), 1 one does not (with --planted: nothing "
    "was\n"
    "found), 2 wrong usage, 3 a process could not be run.\n";

struct arguments {
    struct job_options jobs;
    uint64_t minutes;
    bool seeds_given;
    bool json;
};

static int usage(const char *problem, const char *what)
{
    fprintf(stderr, "tally-sim: %s%s\nTry: tally-sim --help\n", problem, what);
    return EXIT_USAGE;
}

static bool take_number(const char *text, uint64_t least, uint64_t *ret)
{
    return parse_u64(text, strlen(text), ret) == 0 && *ret >= least;
}

static bool take_option(int option, struct arguments *ret)
{
    switch (option) {
    case 's':
        ret->jobs.seed_count = 1;
        ret->seeds_given = true;
        return take_number(optarg, 0, &ret->jobs.first_seed);
    case 'n':
        ret->seeds_given = true;
        return take_number(optarg, 1, &ret->jobs.seed_count);
    case 'f':
        return take_number(optarg, 0, &ret->jobs.first_seed);
    case 'm':
        return take_number(optarg, 1, &ret->minutes);
    case 'j':
        return take_number(optarg, 1, &ret->jobs.worker_count);
    case 't':
        ret->jobs.trace = true;
        return true;
    case 'p':
        ret->jobs.planted = optarg;
        return true;
    case 'J':
        ret->json = true;
        return true;
    default:
        return false;
    }
}

/* Returns -1 to go on, else the exit code. */
static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},    {"seeds", required_argument, NULL, 'n'},
        {"first", required_argument, NULL, 'f'},   {"minutes", required_argument, NULL, 'm'},
        {"jobs", required_argument, NULL, 'j'},    {"trace", no_argument, NULL, 't'},
        {"planted", required_argument, NULL, 'p'}, {"json", no_argument, NULL, 'J'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_HOLDS;
        }
        if (!take_option(option, ret))
            return usage("that is not an option, or its value is not a whole number", "");
    }
    if (optind < argc)
        return usage("unexpected argument ", argv[optind]);
    return -1;
}

static int list_planted(void)
{
    for (size_t i = 0; planted_name(i) != NULL; i++)
        printf("%-24s %s\n", planted_name(i), planted_meaning(i));
    return EXIT_HOLDS;
}

/* Returns -1 to go on. */
static int select_planted(const char *name)
{
    int code = planted_select(name);
    if (code == ERR_NOT_FOUND)
        return usage("no such planted bug; `tally-sim --planted list` names them: ", name);
    if (code == ERR_UNSUPPORTED)
        return usage("this build has no planted bugs; build it with `make MODE=planted sim-binary`", "");
    return -1;
}

static int tell_planted(const char *name, const struct totals *totals)
{
    if (totals->failed == 0) {
        printf("planted %s: NOT found in %llu seeds\n", name, (unsigned long long)totals->seeds);
        return EXIT_FAILED;
    }
    printf("planted %s: found by seed %llu: %s\n", name, (unsigned long long)totals->first_failed_seed,
           totals->failure);
    return EXIT_HOLDS;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.jobs = {.first_seed = 1, .seed_count = 1, .worker_count = 1}};
    struct totals totals = {0};
    int exit_code = parse_arguments(argc, argv, &arguments);
    if (exit_code >= 0)
        return exit_code;
    const char *planted = arguments.jobs.planted;
    if (planted != NULL && strcmp(planted, "list") == 0)
        return list_planted();
    if (planted != NULL && (exit_code = select_planted(planted)) >= 0)
        return exit_code;
    if (!arguments.seeds_given)
        arguments.jobs.seed_count = arguments.minutes > 0 ? UINT64_MAX / 2 : planted != NULL ? PLANTED_SEEDS_MAX : 1;
    uint64_t start_us = clock_now().mono_us;
    arguments.jobs.until_mono_us = arguments.minutes == 0 ? UINT64_MAX : start_us + arguments.minutes * 60 * SIM_S;
    arguments.jobs.progress = isatty(STDERR_FILENO) && !arguments.jobs.trace;
    if (jobs_run(&arguments.jobs, &totals) != 0)
        return EXIT_BROKEN;
    uint64_t wall_us = clock_now().mono_us - start_us;
    if (arguments.json)
        report_totals_json(&totals, wall_us);
    else if (planted == NULL)
        report_totals(&totals, wall_us);
    if (planted != NULL)
        return tell_planted(planted, &totals);
    return totals.failed > 0 ? EXIT_FAILED : EXIT_HOLDS;
}
