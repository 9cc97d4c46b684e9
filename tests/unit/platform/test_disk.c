/* The checked front of the disk seam and whole small files, over real files. */
#include <criterion/criterion.h>
#include <signal.h>

#include "base/mem.h"
#include "platform/disk.h"
#include "support/files.h"

static char folder[FILES_PATH_MAX];
static char path[FILES_PATH_MAX];
static struct disk *disk;
static struct err err;

static void set_up(void)
{
    disk = disk_posix();
    files_temp_folder(folder);
    files_join(folder, "file", path);
}

static void tear_down(void)
{
    files_remove_folder(folder);
}

TestSuite(disk, .init = set_up, .fini = tear_down);

static void assert_contents(const char *of, const char *expected)
{
    struct buf contents;
    buf_init(&contents, 1 << 20);
    cr_assert_eq(disk_read_file(disk, of, &contents, &err), 0, "%s", err.message);
    cr_assert(bytes_equal(buf_bytes(&contents), bytes_of_string(expected)));
    buf_free(&contents);
}

static uint32_t mode_of(const char *of)
{
    uint32_t mode = 0;
    cr_assert_eq(disk_mode(disk, of, &mode, &err), 0, "%s", err.message);
    return mode;
}

static int ignore_entry(void *context, const char *name, bool is_dir)
{
    (void)context;
    (void)name;
    (void)is_dir;
    return 0;
}

Test(disk, a_path_over_the_limit_is_refused_by_every_operation)
{
    char longer[DISK_PATH_MAX_BYTES + 1];
    struct disk_file *file = NULL;
    uint32_t mode = 7;
    struct buf out;
    memset(longer, 'x', DISK_PATH_MAX_BYTES);
    for (size_t i = 100; i < DISK_PATH_MAX_BYTES; i += 100)
        longer[i] = '/';
    longer[DISK_PATH_MAX_BYTES] = '\0';
    buf_init(&out, 100);
    cr_assert_eq(disk_open(disk, longer, DISK_READ, &file, &err), ERR_TOO_LARGE);
    cr_assert_null(file);
    cr_assert_eq(disk_make_dir(disk, longer, &err), ERR_TOO_LARGE);
    cr_assert_eq(disk_sync_dir(disk, longer, &err), ERR_TOO_LARGE);
    cr_assert_eq(disk_list(disk, longer, ignore_entry, NULL, &err), ERR_TOO_LARGE);
    cr_assert_eq(disk_rename(disk, longer, path, &err), ERR_TOO_LARGE);
    cr_assert_eq(disk_rename(disk, path, longer, &err), ERR_TOO_LARGE);
    cr_assert_eq(disk_remove(disk, longer, &err), ERR_TOO_LARGE);
    cr_assert_eq(disk_mode(disk, longer, &mode, &err), ERR_TOO_LARGE);
    cr_assert_eq(mode, 7);
    cr_assert_eq(disk_read_file(disk, longer, &out, &err), ERR_TOO_LARGE);
    cr_assert_eq(disk_replace_file(disk, longer, BYTES_LITERAL("x"), 0, &err), ERR_TOO_LARGE);
    longer[DISK_PATH_MAX_BYTES - 3] = '\0';
    cr_assert_eq(disk_replace_file(disk, longer, BYTES_LITERAL("x"), 0, &err), ERR_TOO_LARGE, "\".tmp\" counts");
}

Test(disk, join_puts_a_slash_between_and_knows_the_limit)
{
    char out[DISK_PATH_MAX_BYTES];
    char name[DISK_PATH_MAX_BYTES];
    cr_assert_eq(disk_join(out, "a/b", "c", &err), 0);
    cr_assert_str_eq(out, "a/b/c");
    memset(name, 'x', sizeof(name));
    name[DISK_PATH_MAX_BYTES - 3] = '\0'; /* "a/" and the NUL fit exactly */
    cr_assert_eq(disk_join(out, "a", name, &err), 0);
    cr_assert_eq(strlen(out), DISK_PATH_MAX_BYTES - 1);
    cr_assert_eq(disk_join(out, "ab", name, &err), ERR_TOO_LARGE);
}

Test(disk, exclusive_without_create_is_a_bug, .signal = SIGABRT)
{
    struct disk_file *file = NULL;
    (void)!disk_open(disk, path, DISK_WRITE | DISK_EXCLUSIVE, &file, NULL);
}

Test(disk, create_without_write_is_a_bug, .signal = SIGABRT)
{
    struct disk_file *file = NULL;
    (void)!disk_open(disk, path, DISK_READ | DISK_CREATE, &file, NULL);
}

Test(disk, closing_nothing_is_fine)
{
    disk_close(NULL);
}

Test(disk, read_file_appends)
{
    struct buf out;
    buf_init(&out, 100);
    files_write(path, BYTES_LITERAL("world"));
    cr_assert_eq(buf_append_string(&out, "hello "), 0);
    cr_assert_eq(disk_read_file(disk, path, &out, &err), 0);
    cr_assert(bytes_equal(buf_bytes(&out), BYTES_LITERAL("hello world")));
    buf_free(&out);
}

Test(disk, read_file_of_an_empty_file_gives_nothing)
{
    files_write(path, bytes_of(NULL, 0));
    assert_contents(path, "");
}

Test(disk, read_file_refuses_more_than_the_buffer_may_hold)
{
    struct buf out;
    buf_init(&out, 4);
    files_write(path, BYTES_LITERAL("world"));
    cr_assert_eq(disk_read_file(disk, path, &out, &err), ERR_TOO_LARGE);
    cr_assert_not_null(strstr(err.message, path));
    cr_assert_not_null(strstr(err.message, "limit of 4"));
    cr_assert_eq(out.size_bytes, 0);
    buf_free(&out);
}

Test(disk, read_file_says_what_is_missing)
{
    struct buf out;
    buf_init(&out, 4);
    cr_assert_eq(disk_read_file(disk, path, &out, &err), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err.message, path));
}

Test(disk, read_file_refuses_a_folder)
{
    struct buf out;
    buf_init(&out, 100);
    cr_assert_eq(disk_read_file(disk, folder, &out, &err), ERR_INVALID);
    buf_free(&out);
}

Test(disk, every_failing_allocation_of_read_file_is_reported)
{
    files_write(path, BYTES_LITERAL("world"));
    for (uint64_t at = 1; at <= 2; at++) {
        struct buf out;
        buf_init(&out, 100);
        mem_fail_at(at);
        cr_assert_eq(disk_read_file(disk, path, &out, &err), ERR_NO_MEMORY);
        cr_assert_eq(err.code, ERR_NO_MEMORY);
        mem_fail_at(0);
        cr_assert_eq(out.size_bytes, 0);
        buf_free(&out);
    }
}

Test(disk, replace_file_makes_and_replaces)
{
    cr_assert_eq(disk_replace_file(disk, path, BYTES_LITERAL("old and longer"), 0, &err), 0);
    assert_contents(path, "old and longer");
    cr_assert_eq(disk_replace_file(disk, path, BYTES_LITERAL("new"), 0, &err), 0);
    assert_contents(path, "new");
    cr_assert_eq(disk_replace_file(disk, path, bytes_of(NULL, 0), 0, &err), 0);
    assert_contents(path, "");
    cr_assert_eq(err.code, 0, "a success leaves no message: %s", err.message);
}

Test(disk, replace_file_leaves_no_temporary_file)
{
    char temporary[FILES_PATH_MAX];
    uint32_t mode;
    cr_assert_eq(disk_replace_file(disk, path, BYTES_LITERAL("x"), 0, &err), 0);
    cr_assert_eq(disk_mode(disk, files_join(folder, "file.tmp", temporary), &mode, NULL), ERR_NOT_FOUND);
}

Test(disk, replace_file_takes_over_after_a_crash)
{
    char temporary[FILES_PATH_MAX];
    files_write(files_join(folder, "file.tmp", temporary), BYTES_LITERAL("half of what was to be wri"));
    cr_assert_eq(disk_replace_file(disk, path, BYTES_LITERAL("whole"), DISK_PRIVATE, &err), 0);
    assert_contents(path, "whole");
    cr_assert_eq(mode_of(path), 0600, "the leftover's mode is not taken over");
}

Test(disk, replace_file_private_is_for_the_owner_only)
{
    cr_assert_eq(disk_replace_file(disk, path, BYTES_LITERAL("secret"), DISK_PRIVATE, &err), 0);
    cr_assert_eq(mode_of(path), 0600);
}

Test(disk, replace_file_fails_whole_when_the_folder_is_missing)
{
    char missing[FILES_PATH_MAX];
    cr_assert_eq(disk_replace_file(disk, files_join(folder, "no/file", missing), BYTES_LITERAL("x"), 0, &err),
                 ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err.message, missing));
}

Test(disk, replace_file_keeps_the_old_contents_when_it_fails)
{
    char temporary[FILES_PATH_MAX];
    files_write(path, BYTES_LITERAL("old"));
    cr_assert_eq(disk_make_dir(disk, files_join(folder, "file.tmp", temporary), &err), 0);
    files_write(files_join(folder, "file.tmp/inside", temporary), BYTES_LITERAL("x"));
    cr_assert_neq(disk_replace_file(disk, path, BYTES_LITERAL("new"), 0, &err), 0, "a folder is in the way");
    cr_assert_neq(err.code, 0);
    assert_contents(path, "old");
}

Test(disk, replace_file_cannot_replace_a_folder)
{
    char taken[FILES_PATH_MAX];
    char temporary[FILES_PATH_MAX];
    uint32_t mode;
    cr_assert_eq(disk_make_dir(disk, files_join(folder, "taken", taken), &err), 0);
    cr_assert_neq(disk_replace_file(disk, taken, BYTES_LITERAL("x"), 0, &err), 0);
    cr_assert_eq(disk_mode(disk, files_join(folder, "taken.tmp", temporary), &mode, NULL), ERR_NOT_FOUND);
}

Test(disk, every_failing_allocation_of_replace_file_keeps_the_old_contents)
{
    files_write(path, BYTES_LITERAL("old"));
    mem_fail_at(1);
    cr_assert_eq(disk_replace_file(disk, path, BYTES_LITERAL("new"), 0, &err), ERR_NO_MEMORY);
    mem_fail_at(0);
    assert_contents(path, "old");
    cr_assert_eq(disk_replace_file(disk, path, BYTES_LITERAL("new"), 0, &err), 0);
    assert_contents(path, "new");
}
