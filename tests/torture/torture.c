/* The enumeration (torture.h): the good run, then one run for each call that can fail, twice. */
#include "torture/torture.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/fault_disk.h"
#include "support/files.h"

enum kind { KIND_MEMORY, KIND_DISK, KIND_LIBRARY, KIND_COUNT };

static const char *const kind_names[KIND_COUNT] = {"memory", "disk", "library"};

/* The point at hand, for messages. */
static struct {
    const char *program;
    enum kind kind;
    bool after;
    uint64_t number; /* 0: the good run */
} point;

static struct sha256 *digesting;
static char work_folder[FILES_PATH_MAX]; /* what runs start from, and the folder of each run */

static uint64_t calls[KIND_COUNT]; /* of the latest run */

static struct {
    uint64_t points[KIND_COUNT];
    uint64_t outcomes[3];
} tally;

static void describe_point(char *out, size_t size)
{
    if (point.number == 0)
        snprintf(out, size, "the good run: %s", point.program);
    else
        snprintf(out, size, "run it alone: %s %s %s %llu", point.program, kind_names[point.kind],
                 point.after ? "on" : "once", (unsigned long long)point.number);
}

/* Whoever aborts (an assert of ours, a sanitizer) leaves the point behind. */
static void on_abort(int signal_number)
{
    char text[512];
    (void)signal_number;
    signal(SIGABRT, SIG_DFL);
    describe_point(text, sizeof(text));
    (void)!write(STDERR_FILENO, text, strlen(text));
    (void)!write(STDERR_FILENO, "\n  files: ", 10);
    (void)!write(STDERR_FILENO, work_folder, strlen(work_folder));
    (void)!write(STDERR_FILENO, "\n", 1);
    abort();
}

void torture_die(const char *file, int line, const char *condition, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s:%d: not true: %s: ", file, line, condition);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

void torture_add(struct hash *result, struct bytes bytes)
{
    struct bytes parts[] = {bytes_of(result->bytes, HASH_SIZE), bytes};
    *result = sha256_parts(digesting, parts, 2);
}

void torture_add_number(struct hash *result, uint64_t number)
{
    uint8_t encoded[8];
    put_u64_le(encoded, number);
    torture_add(result, bytes_of(encoded, sizeof(encoded)));
}

static struct fault_calls *calls_of(enum kind kind)
{
    return kind == KIND_MEMORY ? &torture_memory : kind == KIND_DISK ? &torture_disk.numbered : &torture_library;
}

static void arm(void)
{
    for (int kind = 0; kind < KIND_COUNT; kind++)
        *calls_of((enum kind)kind) = (struct fault_calls){0};
    calls_of(point.kind)->fail_call = point.number;
    calls_of(point.kind)->fail_after = point.after;
}

static void disarm(void)
{
    for (int kind = 0; kind < KIND_COUNT; kind++)
        calls_of((enum kind)kind)->fail_call = 0;
}

/* One run with its checks. Returns its outcome. */
static enum torture_outcome run_point(const struct torture_scenario *scenario, struct hash *ret_result)
{
    char folder[FILES_PATH_MAX];
    files_temp_folder_in(work_folder, folder);
    int64_t live = torture_live_allocations;
    memset(ret_result, 0, sizeof(*ret_result));
    arm();
    enum torture_outcome outcome = scenario->run(folder, ret_result);
    disarm();
    uint64_t injected = 0;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        calls[kind] = calls_of((enum kind)kind)->calls;
        injected += calls_of((enum kind)kind)->injected;
    }
    TORTURE_CHECK((injected > 0) == (point.number > 0), "%llu failures were injected", (unsigned long long)injected);
    TORTURE_CHECK(torture_live_allocations == live, "%lld allocations are left over",
                  (long long)(torture_live_allocations - live));
    TORTURE_CHECK(torture_disk.open_files == 0, "%zu files are left open", torture_disk.open_files);
    scenario->check(folder);
    TORTURE_CHECK(torture_live_allocations == live, "after checking %lld allocations are left over",
                  (long long)(torture_live_allocations - live));
    files_remove_folder(folder);
    return outcome;
}

static void try_point(const struct torture_scenario *scenario, const struct hash *good)
{
    struct hash result;
    enum torture_outcome outcome = run_point(scenario, &result);
    TORTURE_CHECK(outcome == TORTURE_REPORTED || hash_equal(&result, good),
                  "the run says that it did everything, but its result is not that of the good run");
    tally.outcomes[outcome]++;
}

static void try_all(const struct torture_scenario *scenario, const struct hash *good)
{
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        for (uint64_t number = 1; number <= tally.points[kind]; number++) {
            point.kind = (enum kind)kind;
            point.number = number;
            point.after = false;
            try_point(scenario, good);
            point.after = true;
            try_point(scenario, good);
        }
    }
    printf(
        "  TORTURE %-11s %llu allocations, %llu disk calls, %llu library calls, each failed alone and with all after "
        "it: %llu reported, %llu recovered, %llu same result\n",
        scenario->name, (unsigned long long)tally.points[KIND_MEMORY], (unsigned long long)tally.points[KIND_DISK],
        (unsigned long long)tally.points[KIND_LIBRARY], (unsigned long long)tally.outcomes[TORTURE_REPORTED],
        (unsigned long long)tally.outcomes[TORTURE_RECOVERED], (unsigned long long)tally.outcomes[TORTURE_DONE]);
}

static bool parse_point(int argc, char **argv)
{
    if (argc != 4)
        return false;
    while (point.kind < KIND_COUNT && strcmp(argv[1], kind_names[point.kind]) != 0)
        point.kind++;
    if (point.kind == KIND_COUNT)
        return false;
    point.after = strcmp(argv[2], "on") == 0;
    return parse_u64(argv[3], strlen(argv[3]), &point.number) == 0 && point.number > 0;
}

int torture_main(const struct torture_scenario *scenario, int argc, char **argv)
{
    struct hash good;
    char prepared[FILES_PATH_MAX];
    const char *memory_disk = "/dev/shm"; /* nothing here has to survive the machine */
    bool in_memory = getenv("TMPDIR") == NULL && access(memory_disk, W_OK) == 0;
    point.program = argv[0];
    signal(SIGABRT, on_abort);
    (void)disk_posix();
    digesting = sha256_new();
    torture_libraries_init();
    TORTURE_CHECK(digesting != NULL, "no memory");
    if (in_memory)
        files_temp_folder_in(memory_disk, work_folder);
    else
        files_temp_folder(work_folder);
    files_temp_folder_in(work_folder, prepared);
    scenario->prepare(prepared);
    enum torture_outcome outcome = run_point(scenario, &good);
    memcpy(tally.points, calls, sizeof(calls));
    TORTURE_CHECK(outcome == TORTURE_DONE, "the good run does not end well");
    if (argc == 1) {
        try_all(scenario, &good);
    } else if (parse_point(argc, argv)) {
        try_point(scenario, &good);
    } else {
        fprintf(stderr, "usage: %s [memory|disk|library once|on NUMBER]\n", argv[0]);
        return 2;
    }
    scenario->finish();
    sha256_free(digesting);
    files_remove_folder(work_folder);
    return 0;
}
