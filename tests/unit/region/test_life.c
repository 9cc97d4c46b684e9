/* What a region remembers of its lives on its disk, and how the next one begins. */
#include "region/life.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "support/files.h"

static char folder[FILES_PATH_MAX];
static struct store store;
static struct note_signer signer;

static void begin(void)
{
    uint8_t seed[32] = {1};
    files_temp_folder(folder);
    store = (struct store){
        .disk = disk_posix(), .folder = folder, .log_options = {.segment_size_bytes = LOG_SEGMENT_SIZE_TINY_BYTES}};
    cr_assert_eq(note_signer_from_seed("demo/eu/1", NOTE_KEY_ED25519, seed, &signer, NULL), 0);
}

static void end(void)
{
    files_remove_folder(folder);
}

TestSuite(life, .init = begin, .fini = end);

static const char *path_of(const char *name)
{
    static char path[FILES_PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void put_file(const char *name, struct bytes contents)
{
    cr_assert_eq(disk_replace_file(disk_posix(), path_of(name), contents, 0, NULL), 0);
}

static bool is_there(const char *name)
{
    uint32_t mode = 0;
    return disk_mode(disk_posix(), path_of(name), &mode, NULL) == 0;
}

static void make_folder(const char *name)
{
    cr_assert_eq(disk_make_dir(disk_posix(), path_of(name), NULL), 0);
}

static struct buf note_of(uint64_t size)
{
    struct checkpoint checkpoint = {.origin = "demo/eu/1", .size = size};
    struct buf note;
    buf_init(&note, NOTE_MAX_BYTES);
    cr_assert_eq(checkpoint_sign(&checkpoint, &signer, &note, NULL), 0);
    return note;
}

static void remember(uint64_t size)
{
    struct buf note = note_of(size);
    cr_assert_eq(life_remember_signed(&store, "demo/eu/1", buf_bytes(&note), NULL), 0);
    buf_free(&note);
}

/* 0: nothing is remembered. */
static uint64_t remembered(void)
{
    struct buf kept;
    struct note note;
    struct checkpoint checkpoint = {.size = 0};
    buf_init(&kept, NOTE_MAX_BYTES);
    if (disk_read_file(disk_posix(), path_of("signed/eu-1"), &kept, NULL) == 0) {
        cr_assert_eq(note_parse(buf_bytes(&kept), &note, NULL), 0);
        cr_assert_eq(checkpoint_parse(note.text, &checkpoint, NULL), 0);
    }
    buf_free(&kept);
    return checkpoint.size;
}

static uint64_t found(void)
{
    uint64_t incarnation = 0;
    struct err err = {0};
    cr_assert_eq(life_find_incarnation(&store, "eu", &incarnation, &err), 0, "%s", err.message);
    return incarnation;
}

Test(life, a_new_disk_is_in_the_first_incarnation_and_gets_its_folders)
{
    cr_assert_eq(found(), 1);
    cr_assert(is_there("logs"));
    cr_assert(is_there("signed"));
}

Test(life, the_largest_incarnation_of_logs_and_signed_is_the_present_one)
{
    make_folder("logs/eu-2");
    make_folder("logs/us-9");
    make_folder("logs/eu-x");
    cr_assert_eq(found(), 2);
    put_file("signed/eu-7", BYTES_LITERAL("a note"));
    cr_assert_eq(found(), 7);
}

Test(life, what_was_signed_is_remembered_and_never_goes_back)
{
    (void)found();
    remember(5);
    cr_assert_eq(remembered(), 5);
    remember(9);
    remember(7);
    cr_assert_eq(remembered(), 9);
}

Test(life, a_note_of_the_size_that_is_remembered_is_written_again)
{
    struct buf note = note_of(5);
    struct buf kept;
    (void)found();
    remember(5);
    cr_assert_eq(buf_append(&note, BYTES_LITERAL("\xe2\x80\x94 other AAAAAAAA\n")), 0);
    cr_assert_eq(life_remember_signed(&store, "demo/eu/1", buf_bytes(&note), NULL), 0);
    buf_init(&kept, NOTE_MAX_BYTES);
    cr_assert_eq(disk_read_file(disk_posix(), path_of("signed/eu-1"), &kept, NULL), 0);
    cr_assert(bytes_equal(buf_bytes(&kept), buf_bytes(&note)), "what is there may not be durable");
    buf_free(&kept);
    buf_free(&note);
}

Test(life, notes_beside_a_log_that_is_gone_become_what_is_remembered)
{
    struct buf note = note_of(12);
    (void)found();
    make_folder("logs/eu-1");
    put_file("logs/eu-1/checkpoint", buf_bytes(&note));
    cr_assert_eq(life_forget_lost_log(&store, "demo/eu/1", NULL), 0);
    cr_assert_eq(remembered(), 12);
    cr_assert_not(is_there("logs/eu-1/checkpoint"));
    buf_free(&note);
}

Test(life, notes_beside_a_log_that_is_there_stay)
{
    struct buf note = note_of(12);
    (void)found();
    make_folder("logs/eu-1");
    put_file("logs/eu-1/00000000000000000000.seg", BYTES_LITERAL("a segment"));
    put_file("logs/eu-1/checkpoint", buf_bytes(&note));
    cr_assert_eq(life_forget_lost_log(&store, "demo/eu/1", NULL), 0);
    cr_assert_eq(remembered(), 0);
    cr_assert(is_there("logs/eu-1/checkpoint"));
    buf_free(&note);
}

Test(life, a_log_that_is_not_there_at_all_leaves_nothing_to_forget)
{
    (void)found();
    cr_assert_eq(life_forget_lost_log(&store, "demo/eu/1", NULL), 0);
    cr_assert_eq(remembered(), 0);
}

static bool marked(void)
{
    bool restored = false;
    cr_assert_eq(life_find_mark(&store, &restored, NULL), 0);
    return restored;
}

Test(life, the_mark_of_a_restore_goes_when_a_log_begins_that_is_nobody_s_yet)
{
    (void)found();
    cr_assert_not(marked());
    put_file(LIFE_RESTORED_MARK, BYTES_LITERAL("restored from a backup\n"));
    cr_assert(marked());
    cr_assert_eq(life_begin(&store, "demo/eu/1", 2, false, NULL), 0);
    cr_assert(marked(), "peers hold entries of that log: it is a part of what was restored");
    cr_assert_eq(life_begin(&store, "demo/eu/2", 3, true, NULL), 0);
    cr_assert_not(marked());
    cr_assert_eq(found(), 3);
}

Test(life, a_log_may_be_begun_twice)
{
    (void)found();
    cr_assert_eq(life_begin(&store, "demo/eu/1", 2, true, NULL), 0);
    cr_assert_eq(life_begin(&store, "demo/eu/1", 2, true, NULL), 0);
    cr_assert_eq(found(), 2);
}
