/* How a region starts from its disk: the folders, the order, and what stops it. */
#include "region/store.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "log/evidence.h"
#include "support/files.h"
#include "unit/region/fixture.h"

static char folder[FILES_PATH_MAX];
static struct store store;
static size_t opened_count;

static void begin(void)
{
    files_temp_folder(folder);
    opened_count = 0;
}

static void end(void)
{
    store_close(&store);
    files_remove_folder(folder);
}

TestSuite(store, .init = begin, .fini = end);

static void count_opened(void *context, const char *path, const struct log_recovery *recovery)
{
    (void)context;
    cr_assert_not_null(strstr(path, "/logs/"));
    cr_assert_eq(recovery->size, 0);
    opened_count++;
}

static int open_store(const char *origin, struct err *err)
{
    store_close(&store);
    store = (struct store){
        .disk = disk_posix(), .folder = folder, .log_options = {.segment_size_bytes = LOG_SEGMENT_SIZE_TINY_BYTES}};
    return store_open(&store, origin, count_opened, NULL, err);
}

static bool is_log(size_t log, const char *origin)
{
    return bytes_equal(log_origin(store.logs[log]), bytes_of_string(origin));
}

Test(store, the_first_start_makes_the_own_log)
{
    struct err err = {0};
    cr_assert_eq(open_store("demo/eu/1", &err), 0, "%s", err.message);
    cr_assert_eq(atomic_load(&store.log_count), 1);
    cr_assert(is_log(0, "demo/eu/1"));
    cr_assert_eq(opened_count, 1);
}

Test(store, a_log_of_an_earlier_life_that_is_gone_is_kept_empty_when_something_of_it_was_signed)
{
    struct err err = {0};
    char path[FILES_PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/signed", folder);
    cr_assert_eq(disk_make_dir(disk_posix(), path, &err), 0, "%s", err.message);
    const char *const remembered[] = {"eu-1", "eu-3", "us-1", "eu-x"};
    for (size_t i = 0; i < sizeof(remembered) / sizeof(remembered[0]); i++) {
        snprintf(path, sizeof(path), "%s/signed/%s", folder, remembered[i]);
        cr_assert_eq(disk_replace_file(disk_posix(), path, BYTES_LITERAL("a note"), 0, &err), 0, "%s", err.message);
    }
    cr_assert_eq(open_store("demo/eu/3", &err), 0, "%s", err.message);
    cr_assert_eq(atomic_load(&store.log_count), 2);
    cr_assert(is_log(0, "demo/eu/3"));
    cr_assert(is_log(1, "demo/eu/1"));
}

Test(store, mirrors_are_found_again_behind_the_own_log)
{
    struct err err = {0};
    cr_assert_eq(open_store("demo/us/1", &err), 0);
    cr_assert_eq(store_add_log(&store, "demo/eu/1", &err), 0, "%s", err.message);
    cr_assert_eq(store_add_log(&store, "demo/ap/1", &err), 0, "%s", err.message);
    cr_assert_eq(open_store("demo/us/1", &err), 0);
    cr_assert_eq(atomic_load(&store.log_count), 3);
    cr_assert(is_log(0, "demo/us/1"));
    cr_assert(is_log(1, "demo/ap/1")); /* by name */
    cr_assert(is_log(2, "demo/eu/1"));
}

/* A process died between making the folder and its first segment. */
Test(store, a_mirror_that_was_being_made_is_passed_over)
{
    char half[FILES_PATH_MAX];
    struct err err = {0};
    cr_assert_eq(open_store("demo/us/1", &err), 0);
    files_join(folder, "logs/eu-1", half);
    cr_assert_eq(disk_make_dir(disk_posix(), half, &err), 0);
    cr_assert_eq(open_store("demo/us/1", &err), 0, "%s", err.message);
    cr_assert_eq(atomic_load(&store.log_count), 1);
    cr_assert_eq(store_add_log(&store, "demo/eu/1", &err), 0, "%s", err.message);
}

Test(store, a_log_of_another_cluster_stops_the_start)
{
    struct err err = {0};
    cr_assert_eq(open_store("demo/us/1", &err), 0);
    cr_assert_eq(store_add_log(&store, "other/eu/1", &err), 0);
    cr_assert_eq(open_store("demo/us/1", &err), ERR_MISMATCH);
    cr_assert_not_null(strstr(err.message, "another cluster"));
}

Test(store, the_region_is_made_from_what_was_found)
{
    struct site *site = site_alone(); /* for its configuration */
    struct index *index = index_memory_new(&site->contexts);
    struct region *region = NULL;
    struct err err = {0};
    cr_assert_eq(open_store("demo/eu/1", &err), 0);
    cr_assert_eq(store_make_region(&store, &site->config, index, &region, &err), 0, "%s", err.message);
    cr_assert_eq(region_log_count(region), 1);
    region_free(region);
    index_close(index);
    site_free(site);
}

/* The region that a store with evidence of this kind about its own log makes, and the log's state in it. */
static enum region_log_state state_with_evidence(bool fork, const char *log, bool resolved)
{
    struct site *site = site_alone(); /* for its configuration */
    struct index *index = index_memory_new(&site->contexts);
    struct evidence what = {.fork = fork, .kept_at_ms = 1, .reason = "two histories"};
    struct region_log_status status;
    struct region *region = NULL;
    struct err err = {0};
    copy_string(what.log, sizeof(what.log), log);
    cr_assert_eq(open_store("demo/eu/1", &err), 0);
    cr_assert_eq(evidence_keep(disk_posix(), folder, BYTES_LITERAL("a note"), site->sha, &what, &err), 0);
    if (resolved)
        cr_assert_eq(evidence_resolve(disk_posix(), folder, what.name, "a test", 2, &err), 0, "%s", err.message);
    cr_assert_eq(store_make_region(&store, &site->config, index, &region, &err), 0, "%s", err.message);
    region_log_status(region, 0, &status);
    cr_assert((status.state == REGION_LOG_FORKED) == (strcmp(status.detail, "two histories") == 0));
    region_free(region);
    index_close(index);
    site_free(site);
    return status.state;
}

Test(store, a_log_of_which_a_fork_was_kept_starts_forked)
{
    cr_assert_eq(state_with_evidence(true, "demo/eu/1", false), REGION_LOG_FORKED);
}

Test(store, a_fork_that_was_resolved_is_over)
{
    cr_assert_eq(state_with_evidence(true, "demo/eu/1", true), REGION_LOG_WAITING);
}

Test(store, evidence_of_another_log_is_no_fork)
{
    cr_assert_eq(state_with_evidence(true, "demo/us/1", false), REGION_LOG_WAITING);
}

Test(store, evidence_of_a_bad_signature_is_no_fork)
{
    cr_assert_eq(state_with_evidence(false, "demo/eu/1", false), REGION_LOG_WAITING);
}
