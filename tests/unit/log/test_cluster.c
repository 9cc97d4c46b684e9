/* All logs of a cluster: finding copies, and reading what was verified. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "support.h"
#include "verify/cluster.h"

static struct fixture f;
static struct demands demands;
static struct cluster *cluster;
static uint64_t next_index;

static void write_blocks(const char *folder, size_t count)
{
    snprintf(f.log_folder, sizeof(f.log_folder), "%s/%s", f.folder, folder);
    chain_init(&f.chain, f.sha, BYTES_LITERAL(TEST_ORIGIN));
    prng_seed(&f.prng, 1);
    struct log *log = create_log(&f);
    for (size_t i = 0; i < count; i++)
        append_one(log, make_block(&f, 2, 50));
    log_close(log);
}

static void setup(void)
{
    fixture_init(&f);
    cluster = mem_alloc_zero(1, sizeof(*cluster));
    demands = (struct demands){.disk = f.disk};
    cr_assert_eq(disk_make_dir(f.disk, log_path(&f, ".."), NULL), 0);
}

static void teardown(void)
{
    cluster_close(cluster);
    mem_free(cluster);
    fixture_free(&f);
}

TestSuite(cluster, .init = setup, .fini = teardown);

static void open_at(const char *folder)
{
    char path[400];
    snprintf(path, sizeof(path), "%s/%s", f.folder, folder);
    const char *paths[] = {path};
    cr_assert_eq(cluster_open(&demands, paths, 1, cluster, NULL), 0);
}

static int on_entry(void *context, size_t log, const struct chain_entry *entry, struct err *err)
{
    (void)context;
    (void)err;
    cr_assert_eq(log, 0);
    cr_assert_eq(entry->entry.index, next_index);
    next_index++;
    return 0;
}

Test(cluster, the_logs_of_a_data_directory_are_found_and_the_longest_copy_is_read)
{
    write_blocks("data/logs/a", 2);
    write_blocks("data/logs/b", 3);
    open_at("data");
    cr_assert_eq(cluster->copy_count, 2);
    cr_assert_eq(cluster->log_count, 1);
    cr_assert_eq(cluster->verdict, VERDICT_VERIFIED, "%s", cluster->message);
    cr_assert_eq(cluster_find(cluster, "eu", 1), 0);
    cr_assert_eq(cluster_find(cluster, "eu", 2), CLUSTER_LOGS_MAX);
    cr_assert_eq(cluster_read(cluster, f.disk, on_entry, NULL, NULL), 0);
    cr_assert_eq(next_index, 6);
}

Test(cluster, the_block_of_an_entry_is_named)
{
    char name[COPY_FILE_BYTES];
    uint64_t offset = 0;
    write_blocks("log", 2);
    open_at("log");
    copy_where(cluster->logs[0].copy, 1, name, &offset);
    cr_assert_str_eq(name, "00000000000000000000.seg");
    cr_assert_eq(offset, LOG_SEGMENT_HEADER_BYTES);
    copy_where(cluster->logs[0].copy, 3, name, &offset);
    cr_assert_eq(offset, LOG_SEGMENT_HEADER_BYTES + BLOCK_ALIGNMENT_BYTES);
}

Test(cluster, copies_that_differ_are_a_violation)
{
    write_blocks("data/logs/a", 2);
    prng_seed(&f.prng, 2);
    snprintf(f.log_folder, sizeof(f.log_folder), "%s/data/logs/b", f.folder);
    chain_init(&f.chain, f.sha, BYTES_LITERAL(TEST_ORIGIN));
    struct log *log = create_log(&f);
    append_one(log, make_block(&f, 2, 60));
    log_close(log);
    open_at("data");
    cr_assert_eq(cluster->verdict, VERDICT_VIOLATION);
    cr_assert(strstr(cluster->message, "differ") != NULL, "%s", cluster->message);
}

Test(cluster, a_log_that_changed_since_it_was_verified_is_not_read)
{
    struct err err = {0};
    write_blocks("log", 2);
    open_at("log");
    cr_assert(cluster->readable);
    cr_assert_eq(unlink(segment_path(&f, 0)), 0);
    cr_assert_eq(rmdir(f.log_folder), 0);
    write_blocks("log", 1);
    cr_assert_eq(cluster_read(cluster, f.disk, on_entry, NULL, &err), ERR_IO);
    cr_assert(strstr(err.message, "changed while it was being read") != NULL, "%s", err.message);
}

Test(cluster, what_cannot_be_verified_is_not_readable)
{
    write_blocks("log", 2);
    flip_byte(segment_path(&f, 0), LOG_SEGMENT_HEADER_BYTES + 200);
    open_at("log");
    cr_assert_not(cluster->readable);
    cr_assert_neq(cluster->verdict, VERDICT_VERIFIED);
    cluster_close(cluster);
    memset(cluster, 0, sizeof(*cluster));
    open_at("nothing");
    cr_assert_not(cluster->readable);
    cr_assert_eq(cluster->verdict, VERDICT_INCOMPLETE);
}
