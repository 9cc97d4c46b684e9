/* What only the index in files can get wrong: crashes, damage, locks. Plants bad contents with RocksDB itself. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <rocksdb/c.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/index/fixture.h"

static char folder[FOLDER_MAX_BYTES];

static void set_up(void)
{
    folder_make(folder);
}

static void tear_down(void)
{
    folder_remove(folder);
}

TestSuite(rocksdb, .init = set_up, .fini = tear_down);

/* --- Reopening and crashing --- */

Test(rocksdb, reopening_keeps_what_was_applied)
{
    struct index *index = open_rocksdb(folder);
    uint32_t other = number(index, "c/b/1");
    uint32_t log = number(index, "c/a/1");
    apply_run(index, log, 1000);
    index_close(index);

    index = open_rocksdb(folder);
    cr_assert_eq(index_applied_size(index, log), 1000);
    cr_assert_eq(index_applied_size(index, other), 0);
    cr_assert_eq(number(index, "c/a/1"), log);
    cr_assert_eq(number(index, "c/b/1"), other);
    cr_assert_eq(index_sequence(index), 0);
    check_run(index, log, 1010);
    apply_run(index, log, 1000);
    check_run(index, log, 2010);
    index_close(index);
}

struct seen_records {
    size_t count;
    bool found;
    int code;
};

static int see_record(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct seen_records *seen = context;
    (void)err;
    seen->count++;
    seen->found = seen->found || memmem(key.data, key.size_bytes, "order-1", 7) != NULL ||
                  memmem(value.data, value.size_bytes, "order-1", 7) != NULL;
    return seen->code;
}

Test(rocksdb, every_record_that_is_in_files_is_visited)
{
    struct seen_records all = {0};
    struct seen_records first = {.code = ERR_BUSY};
    struct index *index = open_rocksdb(folder);
    apply_one(index, number(index, "c/a/1"), "order-1", 5, 7);
    cr_assert_eq(index_flush(index, NULL), 0);
    cr_assert_eq(index_records(index, see_record, &all, NULL), 0);
    cr_assert(all.found, "of %zu", all.count);
    cr_assert_eq(index_records(index, see_record, &first, NULL), ERR_BUSY);
    cr_assert_eq(first.count, 1);
    index_close(index);
}

Test(rocksdb, an_id_keeps_its_first_place_over_a_reopening)
{
    struct index *index = open_rocksdb(folder);
    uint32_t log = number(index, "c/a/1");
    apply_one(index, log, "order-1", 5, 7);
    index_close(index);
    index = open_rocksdb(folder);
    apply_one(index, log, "order-1", 5, 7);
    apply_one(index, log, "order-1", 4, 8);
    expect_event(index, 7, log, 0);
    expect_head(index, "order-1", 5, log, 0);
    index_close(index);
}

Test(rocksdb, missing_parent_folders_are_made)
{
    char deep[FOLDER_MAX_BYTES + 16];
    snprintf(deep, sizeof(deep), "%s/a/b/index", folder);
    index_close(open_rocksdb(deep));
    cr_assert_eq(access(deep, F_OK), 0);
}

Test(rocksdb, deleting_the_folder_gives_an_empty_index)
{
    char inner[FOLDER_MAX_BYTES + 16];
    snprintf(inner, sizeof(inner), "%s/index", folder);
    struct index *index = open_rocksdb(inner);
    apply_run(index, number(index, "c/a/1"), 100);
    index_close(index);
    folder_remove(inner);
    index = open_rocksdb(inner);
    uint32_t log = number(index, "c/a/1");
    cr_assert_eq(index_applied_size(index, log), 0);
    check_run(index, log, 100);
    index_close(index);
}

struct crash {
    size_t batches;
    size_t batch;
    size_t flush_after; /* batches; 0: never */
};

/* Applies in a process of its own that ends without closing anything. Returns how many entries it applied. */
static size_t apply_and_die(struct crash crash)
{
    size_t *applied = mmap(NULL, sizeof(*applied), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq((void *)applied, MAP_FAILED);
    pid_t child = fork();
    cr_assert_neq(child, -1);
    if (child == 0) {
        struct index *index = open_rocksdb(folder);
        uint32_t log = number(index, "c/a/1");
        for (size_t i = 0; i < crash.batches; i++) {
            apply_run(index, log, crash.batch);
            *applied += crash.batch;
            if (i + 1 == crash.flush_after && index_flush(index, NULL) != 0)
                _exit(2);
        }
        kill(getpid(), SIGKILL);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status), "the child ended with status %x", (unsigned)status);
    cr_assert_eq(WTERMSIG(status), SIGKILL);
    size_t count = *applied;
    munmap(applied, sizeof(*applied));
    return count;
}

Test(rocksdb, a_crash_before_any_flush_leaves_an_index_that_agrees_with_its_position)
{
    apply_and_die((struct crash){.batches = 10, .batch = 20});
    struct index *index = open_rocksdb(folder);
    uint32_t log = number(index, "c/a/1");
    check_run(index, log, 200);
    index_close(index);
}

Test(rocksdb, what_was_flushed_survives_a_crash)
{
    apply_and_die((struct crash){.batches = 10, .batch = 20, .flush_after = 6});
    struct index *index = open_rocksdb(folder);
    uint32_t log = number(index, "c/a/1");
    cr_assert_geq(index_applied_size(index, log), 120);
    check_run(index, log, 200);
    index_close(index);
}

Test(rocksdb, a_crash_after_a_stretch_was_filed_leaves_an_index_that_agrees_with_its_position)
{
    enum { BATCHES = 600, BATCH = 1000 }; /* more than two stretches: the third waits for the first to be in files */
    size_t done = apply_and_die((struct crash){.batches = BATCHES, .batch = BATCH});
    struct index *index = open_rocksdb(folder);
    uint32_t log = number(index, "c/a/1");
    uint64_t applied = index_applied_size(index, log);
    cr_assert_gt(applied, 0, "no stretch is in files: the test needs more entries");
    cr_assert_lt(applied, done, "nothing was lost: the test proves nothing");
    check_run(index, log, done);
    index_close(index);
}

Test(rocksdb, replay_after_a_crash_completes_the_index)
{
    apply_and_die((struct crash){.batches = 10, .batch = 20, .flush_after = 3});
    struct index *index = open_rocksdb(folder);
    uint32_t log = number(index, "c/a/1");
    apply_run(index, log, 200 - index_applied_size(index, log));
    cr_assert_eq(index_applied_size(index, log), 200);
    check_run(index, log, 210);
    index_close(index);
}

/* The path of the largest file of the folder whose name has `part` in it. */
static void find_file(const char *part, char out[FOLDER_MAX_BYTES + 300])
{
    off_t largest = -1;
    DIR *listing = opendir(folder);
    cr_assert_not_null(listing);
    const struct dirent *item;
    out[0] = 0;
    while ((item = readdir(listing)) != NULL) {
        char path[FOLDER_MAX_BYTES + 300];
        struct stat stat_of;
        snprintf(path, sizeof(path), "%s/%s", folder, item->d_name);
        if (strstr(item->d_name, part) == NULL || stat(path, &stat_of) != 0 || stat_of.st_size <= largest)
            continue;
        largest = stat_of.st_size;
        memcpy(out, path, sizeof(path));
    }
    closedir(listing);
    cr_assert_neq(out[0], 0, "no %s file", part);
}

/* A crash amid ingestion leaves a second name of one of RocksDB's files, which the next file of ours would be written
 * over. */
Test(rocksdb, a_file_left_by_a_crash_amid_ingestion_does_no_harm)
{
    struct index *index = open_rocksdb(folder);
    uint32_t log = number(index, "c/a/1");
    apply_run(index, log, 2000);
    index_close(index);
    char path[FOLDER_MAX_BYTES + 300];
    find_file(".sst", path);
    for (int i = 0; i < 3; i++) {
        char left[FOLDER_MAX_BYTES + 300];
        snprintf(left, sizeof(left), "%s/incoming/%d.sst", folder, i);
        cr_assert_eq(link(path, left), 0);
    }
    index = open_rocksdb(folder);
    apply_run(index, log, 500);
    cr_assert_eq(index_flush(index, NULL), 0);
    index_close(index);
    index = open_rocksdb(folder);
    cr_assert_eq(index_applied_size(index, log), 2500);
    check_run(index, log, 2510);
    index_close(index);
}

/* --- Refusing to open --- */

static void expect_refused(int expected, const char *say)
{
    struct index *index = NULL;
    struct err err = {0};
    cr_assert_eq(index_rocksdb_open(folder, &fixture_contexts, &index, &err), expected, "%d: %s", err.code,
                 err.message);
    cr_assert_null(index);
    cr_assert_not_null(strstr(err.message, say), "%s", err.message);
    cr_assert_not_null(strstr(err.message, folder), "%s", err.message);
}

Test(rocksdb, a_folder_open_in_this_process_is_locked)
{
    struct index *index = open_rocksdb(folder);
    expect_refused(ERR_LOCKED, "stop it first");
    index_close(index);
    index_close(open_rocksdb(folder));
}

Test(rocksdb, a_folder_open_in_another_process_is_locked)
{
    int ready[2];
    int alive[2]; /* closed when this test ends, however it ends: then the child ends too */
    char answer;
    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(pipe(alive), 0);
    pid_t child = fork();
    cr_assert_neq(child, -1);
    if (child == 0) {
        close(alive[1]);
        open_rocksdb(folder);
        ssize_t size = write(ready[1], "y", 1);
        if (size == 1)
            size = read(alive[0], &answer, 1);
        _exit(size == 0 ? 0 : 2);
    }
    cr_assert_eq(read(ready[0], &answer, 1), 1);
    expect_refused(ERR_LOCKED, "stop it first");
    kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    index_close(open_rocksdb(folder));
}

Test(rocksdb, a_file_in_place_of_the_folder_is_refused)
{
    char path[FOLDER_MAX_BYTES + 16];
    snprintf(path, sizeof(path), "%s/file", folder);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fclose(file);
    struct index *index = NULL;
    cr_assert_neq(index_rocksdb_open(path, &fixture_contexts, &index, NULL), 0);
    cr_assert_null(index);
}

Test(rocksdb, a_path_that_is_too_long_is_refused)
{
    char path[2000];
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = 0;
    struct index *index = NULL;
    cr_assert_eq(index_rocksdb_open(path, &fixture_contexts, &index, NULL), ERR_TOO_LARGE);
}

static void write_some(void)
{
    struct index *index = open_rocksdb(folder);
    apply_run(index, number(index, "c/a/1"), 2000);
    index_close(index);
}

Test(rocksdb, a_missing_table_is_damage)
{
    write_some();
    char path[FOLDER_MAX_BYTES + 300];
    find_file(".sst", path);
    cr_assert_eq(remove(path), 0);
    expect_refused(ERR_CORRUPT, "made again from the logs");
}

Test(rocksdb, a_cut_table_is_damage)
{
    write_some();
    char path[FOLDER_MAX_BYTES + 300];
    find_file(".sst", path);
    cr_assert_eq(truncate(path, 1000), 0);
    expect_refused(ERR_CORRUPT, "made again from the logs");
}

Test(rocksdb, a_missing_manifest_is_damage)
{
    write_some();
    char path[FOLDER_MAX_BYTES + 300];
    find_file("MANIFEST", path);
    cr_assert_eq(remove(path), 0);
    expect_refused(ERR_CORRUPT, "made again from the logs");
}

Test(rocksdb, a_manifest_of_garbage_is_damage)
{
    write_some();
    char path[FOLDER_MAX_BYTES + 300];
    find_file("MANIFEST", path);
    FILE *file = fopen(path, "w");
    fputs("this is not a manifest, and long enough to be taken for a record of one", file);
    fclose(file);
    expect_refused(ERR_CORRUPT, "made again from the logs");
}

Test(rocksdb, a_current_file_of_garbage_is_damage)
{
    write_some();
    char path[FOLDER_MAX_BYTES + 300];
    find_file("CURRENT", path);
    FILE *file = fopen(path, "w");
    fputs("garbage", file);
    fclose(file);
    expect_refused(ERR_CORRUPT, "made again from the logs");
}

Test(rocksdb, the_index_can_be_rebuilt_after_damage)
{
    write_some();
    char path[FOLDER_MAX_BYTES + 300];
    find_file(".sst", path);
    cr_assert_eq(remove(path), 0);
    expect_refused(ERR_CORRUPT, "made again from the logs");
    folder_remove(folder);
    write_some();
    struct index *index = open_rocksdb(folder);
    check_run(index, number(index, "c/a/1"), 2010);
    index_close(index);
}

/* Turns around one byte in each 512 of the first half of the table, where entries are, but not in its first blocks,
 * which opening reads. */
static void damage_table(void)
{
    char path[FOLDER_MAX_BYTES + 300];
    find_file(".sst", path);
    int file = open(path, O_RDWR);
    cr_assert_neq(file, -1);
    struct stat stat;
    cr_assert_eq(fstat(file, &stat), 0);
    for (off_t at = 8292; at < stat.st_size / 2; at += 512) {
        uint8_t byte;
        cr_assert_eq(pread(file, &byte, 1, at), 1);
        byte ^= 0x10;
        cr_assert_eq(pwrite(file, &byte, 1, at), 1);
    }
    close(file);
}

Test(rocksdb, turned_bits_in_a_table_are_found_when_read_and_never_give_wrong_answers)
{
    write_some();
    damage_table();
    struct index *index = NULL;
    struct err err = {0};
    cr_assert_eq(index_rocksdb_open(folder, &fixture_contexts, &index, &err), 0, "%s", err.message);
    size_t damaged = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        uint8_t id[ENTRY_ID_SIZE];
        struct index_event event;
        id_of(i, id);
        int code = index_event(index, id, &event, &err);
        if (code == 0)
            cr_assert_eq(event.place.index, i);
        else
            cr_assert_eq(code, ERR_CORRUPT, "%s", err.message);
        damaged += code != 0;
    }
    cr_assert_gt(damaged, 0);
    cr_assert_not_null(strstr(err.message, "made again from the logs"), "%s", err.message);
    index_close(index);
}

/* --- Contents that do not fit --- */

/* Writes key and value into the closed index behind its back. */
static void plant(const char *key, size_t key_size, const char *value, size_t value_size)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_writeoptions_t *write_options = rocksdb_writeoptions_create();
    rocksdb_flushoptions_t *flush_options = rocksdb_flushoptions_create();
    char *message = NULL;
    rocksdb_t *db = rocksdb_open(options, folder, &message);
    cr_assert_null(message, "%s", message);
    rocksdb_put(db, write_options, key, key_size, value, value_size, &message);
    cr_assert_null(message, "%s", message);
    rocksdb_flush(db, flush_options, &message);
    cr_assert_null(message, "%s", message);
    rocksdb_close(db);
    rocksdb_flushoptions_destroy(flush_options);
    rocksdb_writeoptions_destroy(write_options);
    rocksdb_options_destroy(options);
}

#define PLANT(key, value) plant(key, sizeof(key) - 1, value, sizeof(value) - 1)

Test(rocksdb, another_format_is_refused)
{
    write_some();
    PLANT("mf\0\0\0\0", "\1\0\0\0");
    expect_refused(ERR_CORRUPT, "its format is not the one of this version");
}

Test(rocksdb, an_index_that_was_made_with_other_homes_is_refused)
{
    static const struct context other = {.name = "shop", .default_home = "b"};
    static const struct context_table table = {.count = 1, .contexts = &other};
    struct index *index = NULL;
    struct err err = {0};
    write_some();
    cr_assert_eq(index_rocksdb_open(folder, &table, &index, &err), ERR_CORRUPT);
    cr_assert_not_null(strstr(err.message, "other contexts or homes"), "%s", err.message);
    index_close(open_rocksdb(folder));
}

Test(rocksdb, a_format_number_of_the_wrong_size_is_refused)
{
    write_some();
    PLANT("mf\0\0\0\0", "\1");
    expect_refused(ERR_CORRUPT, "made again from the logs");
}

Test(rocksdb, a_database_that_is_not_an_index_is_refused)
{
    PLANT("hello", "world");
    expect_refused(ERR_CORRUPT, "no format number");
}

Test(rocksdb, an_origin_that_is_empty_is_refused)
{
    write_some();
    PLANT("mo\0\0\0\0", "");
    expect_refused(ERR_CORRUPT, "name of a log");
}

Test(rocksdb, an_origin_with_a_nul_is_refused)
{
    write_some();
    PLANT("mo\0\0\0\0", "c/a\0/1");
    expect_refused(ERR_CORRUPT, "name of a log");
}

Test(rocksdb, an_origin_that_is_too_long_is_refused)
{
    write_some();
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    memset(origin, 'x', sizeof(origin));
    plant("mo\0\0\0\0", 6, origin, sizeof(origin));
    expect_refused(ERR_CORRUPT, "name of a log");
}

Test(rocksdb, one_origin_with_two_numbers_is_refused)
{
    write_some();
    PLANT("mo\0\0\0\1", "c/a/1");
    expect_refused(ERR_CORRUPT, "two numbers");
}

Test(rocksdb, an_applied_size_of_the_wrong_size_is_refused)
{
    write_some();
    PLANT("ma\0\0\0\0", "\1\2\3");
    expect_refused(ERR_CORRUPT, "applied size");
}

/* What each look-up of order-1, and applying to it, answers after key and value were planted. */
static int head_of_order(struct index *index, struct err *err)
{
    struct index_head head;
    return index_head(index, BYTES_LITERAL("shop"), BYTES_LITERAL("order-1"), &head, err);
}

static int scan_order(struct index *index, struct err *err)
{
    struct index_place places[4];
    size_t count;
    return index_scan(index, BYTES_LITERAL("shop"), BYTES_LITERAL("order-1"), 0, false, places, 4, &count, err);
}

static int event_seven(struct index *index, struct err *err)
{
    uint8_t id[ENTRY_ID_SIZE];
    struct index_event event;
    id_of(7, id);
    return index_event(index, id, &event, err);
}

static int apply_seven(struct index *index, struct err *err)
{
    struct entry entry = entry_of(index_applied_size(index, 0), "order-1", 0, 7);
    struct index_entry item = {.entry = &entry, .fingerprint = 1};
    return index_apply(index, 0, &item, 1, err);
}

static void expect_damage(int (*look_up)(struct index *index, struct err *err))
{
    struct index *index = open_rocksdb(folder);
    struct err err = {0};
    cr_assert_eq(look_up(index, &err), ERR_CORRUPT, "%s", err.message);
    cr_assert_not_null(strstr(err.message, "made again from the logs"), "%s", err.message);
    index_close(index);
}

#define EIGHT         "\0\0\0\0\0\0\0\0"
#define HEAD_KEY      "h\0\4shoporder-1"
#define VERSION_KEY   "s\0\15\0\4shoporder-1" EIGHT
#define LOW           "\0"
#define EVENT_KEY     "i\0\0\0\0\0\0\0\7\xee\xee\xee\xee\xee\xee\xee\xee"
#define KNOWN_LOG     "\0"
#define UNKNOWN_LOG   "\77"
#define VARINT        "\0"
#define BROKEN_VARINT "\x80"

Test(rocksdb, planted_values_that_fit_are_found)
{
    write_some();
    PLANT(HEAD_KEY, KNOWN_LOG EIGHT VARINT VARINT);
    PLANT(VERSION_KEY, KNOWN_LOG LOW EIGHT VARINT);
    PLANT(EVENT_KEY, KNOWN_LOG EIGHT VARINT VARINT VARINT);
    struct index *index = open_rocksdb(folder);
    cr_assert_eq(head_of_order(index, NULL), 0);
    cr_assert_eq(scan_order(index, NULL), 0);
    cr_assert_eq(event_seven(index, NULL), 0);
    cr_assert_eq(apply_seven(index, NULL), 0);
    index_close(index);
}

Test(rocksdb, a_head_of_the_wrong_size_is_damage)
{
    write_some();
    PLANT(HEAD_KEY, KNOWN_LOG EIGHT VARINT);
    expect_damage(head_of_order);
    expect_damage(apply_seven);
}

Test(rocksdb, a_head_in_an_unknown_log_is_damage)
{
    write_some();
    PLANT(HEAD_KEY, UNKNOWN_LOG EIGHT VARINT VARINT);
    expect_damage(head_of_order);
    expect_damage(apply_seven);
}

Test(rocksdb, an_event_of_the_wrong_size_is_damage)
{
    write_some();
    PLANT(EVENT_KEY, KNOWN_LOG EIGHT VARINT VARINT VARINT VARINT);
    expect_damage(event_seven);
    expect_damage(apply_seven);
}

Test(rocksdb, an_event_in_an_unknown_log_is_damage)
{
    write_some();
    PLANT(EVENT_KEY, UNKNOWN_LOG EIGHT VARINT VARINT VARINT);
    expect_damage(event_seven);
}

/* A stream with a head, so that its versions are looked at. */
static void plant_versions(const char *value, size_t size)
{
    write_some();
    PLANT(HEAD_KEY, KNOWN_LOG EIGHT VARINT VARINT);
    plant(VERSION_KEY, sizeof(VERSION_KEY) - 1, value, size);
}

#define PLANT_VERSIONS(value) plant_versions(value, sizeof(value) - 1)

Test(rocksdb, a_version_that_is_no_number_is_damage)
{
    PLANT_VERSIONS(KNOWN_LOG LOW EIGHT BROKEN_VARINT);
    expect_damage(scan_order);
}

Test(rocksdb, a_list_of_versions_that_ends_too_soon_is_damage)
{
    PLANT_VERSIONS(KNOWN_LOG LOW EIGHT VARINT KNOWN_LOG LOW);
    expect_damage(scan_order);
}

Test(rocksdb, a_version_in_an_unknown_log_is_damage)
{
    PLANT_VERSIONS(UNKNOWN_LOG LOW EIGHT VARINT);
    expect_damage(scan_order);
}

Test(rocksdb, a_version_that_belongs_into_another_list_is_damage)
{
    PLANT_VERSIONS(KNOWN_LOG "\100" EIGHT VARINT);
    expect_damage(scan_order);
}

Test(rocksdb, a_key_of_versions_that_is_too_long_is_damage)
{
    write_some();
    PLANT(HEAD_KEY, KNOWN_LOG EIGHT VARINT VARINT);
    PLANT(VERSION_KEY "\0", KNOWN_LOG LOW EIGHT VARINT);
    expect_damage(scan_order);
}

/* A million entries of a hostile log have one version of one stream: it cannot be scanned, but who applies the log goes
 * on, also when its head is taken back. */
Test(rocksdb, a_list_of_versions_without_end_stops_nobody_who_applies)
{
    enum { RECORD_BYTES = 11, RECORDS = 1600 * 1000 };
    static const char record[RECORD_BYTES] = {0, 5};
    char *list = malloc((size_t)RECORD_BYTES * RECORDS);
    cr_assert_not_null(list);
    for (size_t i = 0; i < RECORDS; i++)
        memcpy(list + i * RECORD_BYTES, record, RECORD_BYTES);
    write_some();
    PLANT(HEAD_KEY, KNOWN_LOG EIGHT VARINT "\5"); /* its place is that of the log's first entry */
    plant(VERSION_KEY, sizeof(VERSION_KEY) - 1, list, (size_t)RECORD_BYTES * RECORDS);
    free(list);
    struct index *index = open_rocksdb(folder);
    cr_assert_eq(head_of_order(index, NULL), 0);
    cr_assert_eq(scan_order(index, NULL), ERR_TOO_LARGE);
    struct entry entry = entry_of(0, "order-1", 5, 0);
    struct index_entry item = {.entry = &entry};
    struct err err = {0};
    cr_assert_eq(index_demote(index, 0, &item, 1, &err), 0, "%s", err.message);
    cr_assert_eq(head_of_order(index, NULL), ERR_NOT_FOUND);
    cr_assert_eq(index_late_count(index), 1);
    index_close(index);
}

Test(rocksdb, an_apply_that_finds_damage_applies_nothing)
{
    write_some();
    PLANT(HEAD_KEY, EIGHT);
    struct index *index = open_rocksdb(folder);
    struct entry entries[] = {entry_of(2000, "order-9", 0, 90000), entry_of(2001, "order-1", 0, 90001)};
    struct index_entry items[] = {{.entry = &entries[0]}, {.entry = &entries[1]}};
    cr_assert_eq(index_apply(index, 0, items, 2, NULL), ERR_CORRUPT);
    cr_assert_eq(index_applied_size(index, 0), 2000);
    cr_assert_eq(index_sequence(index), 0);
    expect_no_head(index, "order-9");
    expect_no_event(index, 90000);
    index_close(index);
}
