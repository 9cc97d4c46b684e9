/* The contract of disk.h, kept by real files: on the file system of the temporary folder, and on tmpfs, which refuses
 * O_DIRECT on older kernels. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "platform/disk.h"
#include "support/files.h"

enum { PAGE = DISK_ALIGNMENT_BYTES };

static char folder[FILES_PATH_MAX];
static char path[FILES_PATH_MAX];
static uint8_t *pages; /* 4, aligned */
static struct disk *disk;
static struct err err;

static void set_up(void)
{
    disk = disk_posix();
    files_temp_folder(folder);
    files_join(folder, "file", path);
    pages = mem_alloc_aligned(PAGE, (size_t)4 * PAGE);
    for (size_t i = 0; i < (size_t)4 * PAGE; i++)
        pages[i] = (uint8_t)(i % 251 + 1);
}

static void tear_down(void)
{
    mem_free(pages);
    files_remove_folder(folder);
}

TestSuite(disk_posix, .init = set_up, .fini = tear_down);

static struct disk_file *open_file(const char *at, unsigned flags)
{
    struct disk_file *file = NULL;
    cr_assert_eq(disk_open(disk, at, flags, &file, &err), 0, "%s", err.message);
    return file;
}

static uint64_t size_of(struct disk_file *file)
{
    uint64_t size = 0;
    cr_assert_eq(disk_size(file, &size, &err), 0, "%s", err.message);
    return size;
}

static void assert_reads(struct disk_file *file, uint64_t offset, const void *expected, size_t size)
{
    uint8_t *got = mem_alloc(size);
    size_t got_size = 0;
    cr_assert_eq(disk_read(file, offset, got, size, &got_size, &err), 0, "%s", err.message);
    cr_assert_eq(got_size, size);
    cr_assert_eq(memcmp(got, expected, size), 0);
    mem_free(got);
}

/* What was written durably is read back by the same handle, by another one, and after closing. */
static void check_durable_writes(const char *at)
{
    struct disk_file *file = open_file(at, DISK_WRITE | DISK_CREATE | DISK_DURABLE);
    struct disk_file *reader = open_file(at, DISK_READ);
    cr_assert_eq(disk_write(file, 0, pages, (size_t)2 * PAGE, &err), 0, "%s", err.message);
    assert_reads(file, 0, pages, (size_t)2 * PAGE);
    assert_reads(reader, 0, pages, (size_t)2 * PAGE);
    cr_assert_eq(disk_write(file, PAGE, pages + (size_t)2 * PAGE, PAGE, &err), 0, "%s", err.message);
    assert_reads(reader, PAGE, pages + (size_t)2 * PAGE, PAGE);
    assert_reads(reader, 100, pages + 100, 500);
    cr_assert_eq(size_of(file), 2 * PAGE);
    cr_assert_eq(disk_sync(file, &err), 0);
    disk_close(reader);
    disk_close(file);
    file = open_file(at, DISK_READ | DISK_DURABLE);
    assert_reads(file, 0, pages, PAGE);
    cr_assert_not(disk_is_direct(file), "nothing is written through this one");
    disk_close(file);
}

Test(disk_posix, durable_writes_come_back)
{
    check_durable_writes(path);
}

Test(disk_posix, durable_writes_come_back_on_tmpfs)
{
    char in_memory[FILES_PATH_MAX];
    char there[FILES_PATH_MAX];
    if (access("/dev/shm", W_OK) != 0)
        cr_skip_test("no /dev/shm");
    files_temp_folder_in("/dev/shm", in_memory);
    check_durable_writes(files_join(in_memory, "file", there));
    files_remove_folder(in_memory);
}

/* Whether the file system takes O_DIRECT is found out without the code under test. */
static void check_direct_is_told_truly(const char *at)
{
    files_write(at, bytes_of(NULL, 0));
    int fd = open(at, O_RDWR | O_DIRECT | O_CLOEXEC);
    struct disk_file *file = open_file(at, DISK_WRITE | DISK_DURABLE);
    cr_assert_eq(disk_is_direct(file), fd >= 0);
    if (fd >= 0)
        close(fd);
    disk_close(file);
}

Test(disk_posix, tells_whether_writes_are_direct)
{
    check_direct_is_told_truly(path);
    struct disk_file *file = open_file(path, DISK_WRITE);
    cr_assert_not(disk_is_direct(file), "only durable files are");
    disk_close(file);
}

Test(disk_posix, tells_of_the_fallback_on_tmpfs)
{
    char in_memory[FILES_PATH_MAX];
    char there[FILES_PATH_MAX];
    if (access("/dev/shm", W_OK) != 0)
        cr_skip_test("no /dev/shm");
    files_temp_folder_in("/dev/shm", in_memory);
    check_direct_is_told_truly(files_join(in_memory, "file", there));
    files_remove_folder(in_memory);
}

Test(disk_posix, a_durable_write_from_unaligned_memory_is_a_bug, .signal = SIGABRT)
{
    struct disk_file *file = open_file(path, DISK_WRITE | DISK_CREATE | DISK_DURABLE);
    (void)!disk_write(file, 0, pages + 512, PAGE, NULL);
}

Test(disk_posix, a_durable_write_at_an_unaligned_offset_is_a_bug, .signal = SIGABRT)
{
    struct disk_file *file = open_file(path, DISK_WRITE | DISK_CREATE | DISK_DURABLE);
    (void)!disk_write(file, 512, pages, PAGE, NULL);
}

Test(disk_posix, a_durable_write_of_part_of_a_page_is_a_bug, .signal = SIGABRT)
{
    struct disk_file *file = open_file(path, DISK_WRITE | DISK_CREATE | DISK_DURABLE);
    (void)!disk_write(file, 0, pages, PAGE - 1, NULL);
}

Test(disk_posix, other_writes_need_no_alignment)
{
    struct disk_file *file = open_file(path, DISK_WRITE | DISK_CREATE);
    cr_assert_eq(disk_write(file, 3, "abc", 3, &err), 0);
    cr_assert_eq(disk_sync(file, &err), 0);
    assert_reads(file, 0, "\0\0\0abc", 6);
    disk_close(file);
}

Test(disk_posix, a_read_is_short_only_at_the_end)
{
    files_write(path, BYTES_LITERAL("0123456789"));
    struct disk_file *file = open_file(path, DISK_READ);
    char got[20];
    size_t size = 99;
    cr_assert_eq(disk_read(file, 7, got, 20, &size, &err), 0);
    cr_assert_eq(size, 3);
    cr_assert_eq(disk_read(file, 10, got, 20, &size, &err), 0);
    cr_assert_eq(size, 0);
    cr_assert_eq(disk_read(file, 1000000, got, 20, &size, &err), 0);
    cr_assert_eq(size, 0);
    size = 99;
    cr_assert_eq(disk_read(file, (uint64_t)1 << 63, got, 20, &size, &err), ERR_IO, "an offset no file has");
    cr_assert_eq(size, 99);
    disk_close(file);
}

Test(disk_posix, a_file_opened_for_reading_cannot_be_written)
{
    files_write(path, BYTES_LITERAL("x"));
    struct disk_file *file = open_file(path, DISK_READ);
    cr_assert_eq(disk_write(file, 0, "y", 1, &err), ERR_IO);
    cr_assert_not_null(strstr(err.message, path));
    disk_close(file);
}

Test(disk_posix, open_refuses_what_is_missing_and_what_is_there)
{
    struct disk_file *file = NULL;
    cr_assert_eq(disk_open(disk, path, DISK_READ, &file, &err), ERR_NOT_FOUND);
    cr_assert_eq(disk_open(disk, path, DISK_WRITE, &file, &err), ERR_NOT_FOUND);
    cr_assert_null(file);
    files_write(path, BYTES_LITERAL("x"));
    cr_assert_eq(disk_open(disk, path, DISK_WRITE | DISK_CREATE | DISK_EXCLUSIVE, &file, &err), ERR_EXISTS);
    cr_assert_null(file);
    file = open_file(path, DISK_WRITE | DISK_CREATE);
    assert_reads(file, 0, "x", 1);
    disk_close(file);
}

Test(disk_posix, open_takes_no_part_of_a_path_that_is_a_file)
{
    char below[FILES_PATH_MAX];
    struct disk_file *file = NULL;
    files_write(path, BYTES_LITERAL("x"));
    cr_assert_eq(disk_open(disk, files_join(path, "below", below), DISK_READ, &file, &err), ERR_NOT_FOUND);
}

Test(disk_posix, running_out_of_memory_opens_nothing)
{
    struct disk_file *file = NULL;
    mem_fail_at(1);
    cr_assert_eq(disk_open(disk, path, DISK_WRITE | DISK_CREATE, &file, &err), ERR_NO_MEMORY);
    mem_fail_at(0);
    cr_assert_null(file);
    cr_assert_eq(access(path, F_OK), -1);
}

Test(disk_posix, no_handle_is_inherited_by_programs_it_starts)
{
    struct disk_file *file = open_file(path, DISK_WRITE | DISK_CREATE | DISK_DURABLE);
    char link[64], target[FILES_PATH_MAX];
    size_t found = 0;
    for (int fd = 3; fd < 256; fd++) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t size = readlink(link, target, sizeof(target) - 1);
        target[size < 0 ? 0 : size] = '\0';
        if (strcmp(target, path) == 0) {
            cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
            found++;
        }
    }
    cr_assert_geq(found, 1);
    disk_close(file);
}

Test(disk_posix, modes_of_new_files)
{
    char secret[FILES_PATH_MAX];
    uint32_t mode = 0;
    umask(0);
    disk_close(open_file(path, DISK_WRITE | DISK_CREATE));
    disk_close(open_file(files_join(folder, "secret", secret), DISK_WRITE | DISK_CREATE | DISK_PRIVATE));
    cr_assert_eq(disk_mode(disk, path, &mode, &err), 0);
    cr_assert_eq(mode, 0644);
    cr_assert_eq(disk_mode(disk, secret, &mode, &err), 0);
    cr_assert_eq(mode, 0600);
    cr_assert_eq(chmod(secret, 04640), 0);
    cr_assert_eq(disk_mode(disk, secret, &mode, &err), 0);
    cr_assert_eq(mode, 0640);
    cr_assert_eq(disk_mode(disk, "/nonexistent/x", &mode, &err), ERR_NOT_FOUND);
}

Test(disk_posix, allocate_reserves_zeros_and_never_shrinks)
{
    static const uint8_t zeros[PAGE];
    struct disk_file *file = open_file(path, DISK_WRITE | DISK_CREATE | DISK_DURABLE);
    cr_assert_eq(disk_write(file, 0, pages, PAGE, &err), 0);
    cr_assert_eq(disk_allocate(file, (uint64_t)16 * PAGE, &err), 0);
    cr_assert_eq(size_of(file), 16 * PAGE);
    assert_reads(file, 0, pages, PAGE);
    assert_reads(file, (uint64_t)15 * PAGE, zeros, PAGE);
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_geq(status.st_blocks * 512, 16 * PAGE, "blocks are really reserved");
    cr_assert_eq(disk_allocate(file, PAGE, &err), 0);
    cr_assert_eq(size_of(file), 16 * PAGE);
    disk_close(file);
}

/* Not a size that a disk might nearly have: fallocate would fill the disk before it fails. */
Test(disk_posix, allocate_refuses_a_size_that_no_file_can_have)
{
    struct disk_file *file = open_file(path, DISK_WRITE | DISK_CREATE);
    cr_assert_eq(disk_allocate(file, (uint64_t)INT64_MAX - PAGE, &err), ERR_IO);
    cr_assert_not_null(strstr(err.message, path));
    cr_assert_eq(size_of(file), 0);
    disk_close(file);
}

Test(disk_posix, truncate_cuts_and_extends)
{
    struct disk_file *file = open_file(path, DISK_WRITE | DISK_CREATE);
    cr_assert_eq(disk_write(file, 0, "0123456789", 10, &err), 0);
    cr_assert_eq(disk_truncate(file, 4, &err), 0);
    cr_assert_eq(size_of(file), 4);
    cr_assert_eq(disk_truncate(file, 6, &err), 0);
    assert_reads(file, 0, "0123\0\0", 6);
    disk_close(file);
}

Test(disk_posix, a_lock_is_exclusive_until_the_file_is_closed)
{
    struct disk_file *first = open_file(path, DISK_WRITE | DISK_CREATE);
    struct disk_file *second = open_file(path, DISK_WRITE);
    cr_assert_eq(disk_lock(first, &err), 0);
    cr_assert_eq(disk_lock(second, &err), ERR_LOCKED);
    cr_assert_not_null(strstr(err.message, path));
    disk_close(first);
    cr_assert_eq(disk_lock(second, &err), 0);
    disk_close(second);
}

Test(disk_posix, a_lock_is_let_go_when_its_process_dies)
{
    files_write(path, BYTES_LITERAL("x"));
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct disk_file *file = NULL;
        bool locked = disk_open(disk, path, DISK_WRITE, &file, NULL) == 0 && disk_lock(file, NULL) == 0;
        (void)!write(ready[1], locked ? "y" : "n", 1);
        for (;;)
            pause();
    }
    char answer = 0;
    cr_assert_eq(read(ready[0], &answer, 1), 1);
    cr_assert_eq(answer, 'y');
    struct disk_file *file = open_file(path, DISK_WRITE);
    cr_assert_eq(disk_lock(file, &err), ERR_LOCKED);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    cr_assert_eq(disk_lock(file, &err), 0, "%s", err.message);
    disk_close(file);
}

Test(disk_posix, make_dir_makes_parents_and_accepts_what_is_there)
{
    char deep[FILES_PATH_MAX];
    struct stat status;
    files_join(folder, "a/b/c/d", deep);
    cr_assert_eq(disk_make_dir(disk, deep, &err), 0, "%s", err.message);
    cr_assert_eq(disk_make_dir(disk, deep, &err), 0, "%s", err.message);
    cr_assert_eq(stat(deep, &status), 0);
    cr_assert(S_ISDIR(status.st_mode));
    files_join(folder, "e/f/", deep);
    cr_assert_eq(disk_make_dir(disk, deep, &err), 0, "%s", err.message);
    cr_assert_eq(stat(deep, &status), 0);
    cr_assert_eq(disk_make_dir(disk, "/", &err), 0);
}

Test(disk_posix, make_dir_takes_names_without_a_slash)
{
    struct stat status;
    cr_assert_eq(chdir(folder), 0);
    cr_assert_eq(disk_make_dir(disk, "plain", &err), 0, "%s", err.message);
    cr_assert_eq(stat("plain", &status), 0);
    cr_assert_eq(disk_replace_file(disk, "note", BYTES_LITERAL("x"), 0, &err), 0, "%s", err.message);
}

Test(disk_posix, make_dir_refuses_where_a_file_is)
{
    char below[FILES_PATH_MAX];
    files_write(path, BYTES_LITERAL("x"));
    cr_assert_eq(disk_make_dir(disk, path, &err), ERR_EXISTS);
    cr_assert_eq(disk_make_dir(disk, files_join(path, "below", below), &err), ERR_NOT_FOUND);
}

Test(disk_posix, sync_dir_needs_a_folder)
{
    char missing[FILES_PATH_MAX];
    files_write(path, BYTES_LITERAL("x"));
    cr_assert_eq(disk_sync_dir(disk, folder, &err), 0);
    cr_assert_eq(disk_sync_dir(disk, path, &err), ERR_NOT_FOUND);
    cr_assert_eq(disk_sync_dir(disk, files_join(folder, "no", missing), &err), ERR_NOT_FOUND);
}

static int collect(void *context, const char *name, bool is_dir)
{
    struct buf *names = context;
    return buf_append_format(names, "%s%s ", name, is_dir ? "/" : "");
}

Test(disk_posix, list_is_in_byte_order_and_tells_folders)
{
    static const char *const files[] = {"b", "a", "B", "10", "9", ".hidden", "\xC3\xA9", "z"};
    struct buf names;
    char full[FILES_PATH_MAX];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        files_write(files_join(folder, files[i], full), BYTES_LITERAL("x"));
    cr_assert_eq(disk_make_dir(disk, files_join(folder, "c", full), &err), 0);
    cr_assert_eq(symlink("nowhere", files_join(folder, "dangling", full)), 0);
    buf_init(&names, 1000);
    cr_assert_eq(disk_list(disk, folder, collect, &names, &err), 0);
    cr_assert_eq(buf_terminate(&names), 0);
    cr_assert_str_eq((const char *)names.data, ".hidden 10 9 B a b c/ dangling z \xC3\xA9 ");
    buf_free(&names);
}

static int stop_at_second(void *context, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    int *count = context;
    return ++*count == 2 ? ERR_END : 0;
}

Test(disk_posix, list_stops_when_the_callback_says_so)
{
    char full[FILES_PATH_MAX];
    for (const char *name = "a\0b\0c\0"; *name != '\0'; name += 2)
        files_write(files_join(folder, name, full), BYTES_LITERAL("x"));
    int count = 0;
    cr_assert_eq(disk_list(disk, folder, stop_at_second, &count, &err), ERR_END);
    cr_assert_eq(count, 2);
}

Test(disk_posix, list_of_nothing)
{
    char missing[FILES_PATH_MAX];
    int count = 0;
    cr_assert_eq(disk_list(disk, folder, stop_at_second, &count, &err), 0);
    cr_assert_eq(count, 0);
    cr_assert_eq(disk_list(disk, files_join(folder, "no", missing), stop_at_second, &count, &err), ERR_NOT_FOUND);
}

Test(disk_posix, remove_removes_a_folder_that_is_empty)
{
    char inner[FILES_PATH_MAX];
    char file[FILES_PATH_MAX];
    files_join(folder, "inner", inner);
    files_join(inner, "file", file);
    cr_assert_eq(disk_make_dir(disk, inner, &err), 0, "%s", err.message);
    files_write(file, BYTES_LITERAL("x"));
    cr_assert_neq(disk_remove(disk, inner, &err), 0);
    cr_assert_eq(disk_remove(disk, file, &err), 0, "%s", err.message);
    cr_assert_eq(disk_remove(disk, inner, &err), 0, "%s", err.message);
    cr_assert_neq(access(inner, F_OK), 0);
}

Test(disk_posix, rename_replaces_and_remove_removes)
{
    char other[FILES_PATH_MAX];
    files_join(folder, "other", other);
    files_write(path, BYTES_LITERAL("new"));
    files_write(other, BYTES_LITERAL("old"));
    cr_assert_eq(disk_rename(disk, path, other, &err), 0);
    cr_assert_eq(access(path, F_OK), -1);
    struct disk_file *file = open_file(other, DISK_READ);
    assert_reads(file, 0, "new", 3);
    disk_close(file);
    cr_assert_eq(disk_remove(disk, other, &err), 0);
    cr_assert_eq(disk_remove(disk, other, &err), ERR_NOT_FOUND);
    cr_assert_eq(disk_rename(disk, other, path, &err), ERR_NOT_FOUND);
}

Test(disk_posix, a_full_disk_is_its_own_error)
{
    struct disk_file *full = open_file("/dev/full", DISK_WRITE);
    cr_assert_eq(disk_write(full, 0, "x", 1, &err), ERR_NO_SPACE);
    cr_assert_not_null(strstr(err.message, "/dev/full"));
    disk_close(full);
}

Test(disk_posix, only_regular_files_have_a_size)
{
    struct disk_file *device = open_file("/dev/null", DISK_WRITE);
    uint64_t size = 77;
    cr_assert_eq(disk_size(device, &size, &err), ERR_INVALID);
    cr_assert_eq(size, 77);
    disk_close(device);
}

Test(disk_posix, what_is_no_file_is_refused_and_waits_for_nobody)
{
    struct disk_file *file = NULL;
    char pipe[FILES_PATH_MAX];
    files_join(folder, "pipe", pipe);
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    const char *const places[] = {pipe, folder, "/dev/zero"};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        cr_assert_eq(disk_open(disk, places[i], DISK_READ, &file, &err), ERR_INVALID, "%s", places[i]);
        cr_assert_not_null(strstr(err.message, "not a regular file"), "%s", err.message);
        cr_assert_null(file);
    }
}
