/* The stored checkpoints: compare and swap. */
#include <criterion/criterion.h>

#include "crypto/note.h"
#include "support.h"

static struct fixture f;
static struct log *log_under_test;
static struct hash root_of_3;
static struct hash other_root;

static void setup(void)
{
    fixture_init(&f);
    log_under_test = create_log(&f);
    append_one(log_under_test, make_block(&f, 3, 10));
    root_of_3 = merkle_range_root(&f.chain.range, f.sha);
    other_root = root_of_3;
    other_root.bytes[0] ^= 1;
    append_one(log_under_test, make_block(&f, 3, 10));
}

static void teardown(void)
{
    log_close(log_under_test);
    fixture_free(&f);
}

TestSuite(notes, .init = setup, .fini = teardown);

static uint64_t stored_size(bool published)
{
    struct buf message;
    struct note note;
    struct checkpoint checkpoint;
    buf_init(&message, NOTE_MAX_BYTES);
    cr_assert_eq(log_load_checkpoint(log_under_test, published, &message, NULL), 0);
    cr_assert_eq(note_parse(buf_bytes(&message), &note, NULL), 0);
    cr_assert_eq(checkpoint_parse(note.text, &checkpoint, NULL), 0);
    buf_free(&message);
    return checkpoint.size;
}

Test(notes, nothing_is_stored_at_first)
{
    struct buf message;
    buf_init(&message, NOTE_MAX_BYTES);
    cr_assert_eq(log_load_checkpoint(log_under_test, false, &message, NULL), ERR_NOT_FOUND);
    cr_assert_eq(log_load_checkpoint(log_under_test, true, &message, NULL), ERR_NOT_FOUND);
    cr_assert_eq(message.size_bytes, 0);
}

Test(notes, grow_and_survive_reopening)
{
    save_checkpoint(&f, log_under_test, 3, &root_of_3, false, 0);
    save_checkpoint(&f, log_under_test, 6, &other_root, false, 0);
    log_close(log_under_test);
    log_under_test = open_log(&f, NULL);
    cr_assert_eq(stored_size(false), 6);
}

Test(notes, never_go_back)
{
    save_checkpoint(&f, log_under_test, 6, &other_root, false, 0);
    save_checkpoint(&f, log_under_test, 3, &root_of_3, false, ERR_FORK);
    cr_assert_eq(stored_size(false), 6);
}

Test(notes, one_size_has_one_root)
{
    save_checkpoint(&f, log_under_test, 3, &root_of_3, false, 0);
    save_checkpoint(&f, log_under_test, 3, &other_root, false, ERR_FORK);
    save_checkpoint(&f, log_under_test, 3, &root_of_3, false, 0);
}

Test(notes, the_published_one_is_apart)
{
    save_checkpoint(&f, log_under_test, 6, &other_root, false, 0);
    save_checkpoint(&f, log_under_test, 3, &root_of_3, true, 0);
    save_checkpoint(&f, log_under_test, 3, &other_root, true, ERR_FORK);
    cr_assert_eq(stored_size(false), 6);
    cr_assert_eq(stored_size(true), 3);
}

Test(notes, cover_only_what_is_durable)
{
    save_checkpoint(&f, log_under_test, 7, &root_of_3, false, ERR_INVALID);
    struct buf message;
    buf_init(&message, NOTE_MAX_BYTES);
    cr_assert_eq(log_load_checkpoint(log_under_test, false, &message, NULL), ERR_NOT_FOUND);
}

Test(notes, of_another_log_are_refused)
{
    static const uint8_t seed[32] = {1};
    struct note_signer signer;
    struct checkpoint checkpoint = {.origin = "demo/us/1", .size = 1};
    struct buf note;
    buf_init(&note, NOTE_MAX_BYTES);
    cr_assert_eq(note_signer_from_seed("demo/us/1", NOTE_KEY_ED25519, seed, &signer, NULL), 0);
    cr_assert_eq(checkpoint_sign(&checkpoint, &signer, &note, NULL), 0);
    cr_assert_eq(log_save_checkpoint(log_under_test, buf_bytes(&note), false, NULL), ERR_MISMATCH);
    cr_assert_eq(log_save_checkpoint(log_under_test, BYTES_LITERAL("no note"), false, NULL), ERR_INVALID);
    buf_free(&note);
}

Test(notes, a_crash_between_writing_and_renaming_keeps_the_old_note)
{
    struct fault_disk fault;
    struct log *log = NULL;
    struct log_recovery recovery;
    save_checkpoint(&f, log_under_test, 3, &root_of_3, false, 0);
    for (int operation = FAULT_WRITE; operation < FAULT_KINDS; operation++) {
        if (operation == FAULT_ALLOCATE || operation == FAULT_TRUNCATE || operation == FAULT_SYNC_DIR)
            continue; /* not part of replacing a file, or after the rename */
        fault_disk_init(&fault, f.disk);
        cr_assert_eq(log_open(&fault.disk, f.log_folder, bytes_of(NULL, 0), &f.options, &log, &recovery, NULL), 0);
        memset(fault.done, 0, sizeof(fault.done));
        fault.fail_at[operation] = 1;
        save_checkpoint(&f, log, 6, &other_root, false, ERR_IO);
        log_close(log);
        cr_assert_eq(stored_size(false), 3, "operation %d", operation);
    }
    save_checkpoint(&f, log_under_test, 6, &other_root, false, 0);
    cr_assert_eq(stored_size(false), 6);
}
