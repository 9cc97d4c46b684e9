#include "log/evidence.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "support/files.h"

static char data[FILES_PATH_MAX];
static struct sha256 *sha;

static void setup(void)
{
    files_temp_folder(data);
    sha = sha256_new();
}

static void teardown(void)
{
    sha256_free(sha);
    files_remove_folder(data);
}

TestSuite(evidence, .init = setup, .fini = teardown);

struct seen {
    size_t count;
    struct evidence last;
    size_t note_size;
};

static int see(void *context, const struct evidence *evidence, struct bytes note)
{
    struct seen *seen = context;
    seen->count++;
    seen->last = *evidence;
    seen->note_size = note.size_bytes;
    return 0;
}

static struct seen look(bool resolved)
{
    struct seen seen = {.count = 0};
    struct err err = {0};
    cr_assert_eq(evidence_each(disk_posix(), data, resolved, see, &seen, &err), 0, "%s", err.message);
    return seen;
}

static struct evidence keep(const char *note, bool fork, const char *log, const char *reason)
{
    struct evidence what = {.fork = fork, .kept_at_ms = 1795561375123};
    struct err err = {0};
    snprintf(what.log, sizeof(what.log), "%s", log);
    snprintf(what.reason, sizeof(what.reason), "%s", reason);
    cr_assert_eq(evidence_keep(disk_posix(), data, bytes_of_string(note), sha, &what, &err), 0, "%s", err.message);
    return what;
}

Test(evidence, is_kept_with_its_reason)
{
    struct evidence kept = keep("a note", true, "bank/eu/1", "two histories: of one log");
    struct seen seen = look(false);
    cr_assert_eq(seen.count, 1);
    cr_assert_str_eq(seen.last.name, kept.name);
    cr_assert_str_eq(seen.last.log, "bank/eu/1");
    cr_assert_str_eq(seen.last.reason, "two histories: of one log");
    cr_assert(seen.last.fork);
    cr_assert_eq(seen.last.kept_at_ms, 1795561375123);
    cr_assert_eq(seen.last.resolved_at_ms, 0);
    cr_assert_eq(seen.note_size, 6);
}

Test(evidence, there_is_none_without_a_folder)
{
    cr_assert_eq(look(false).count, 0);
    cr_assert_eq(look(true).count, 0);
}

Test(evidence, of_one_note_is_kept_once_and_for_the_first_reason)
{
    keep("a note", true, "bank/eu/1", "first");
    keep("a note", false, "bank/eu/1", "second");
    struct seen seen = look(false);
    cr_assert_eq(seen.count, 1);
    cr_assert_str_eq(seen.last.reason, "first");
}

Test(evidence, that_is_resolved_moves_away_with_the_operators_reason)
{
    struct evidence kept = keep("a note", true, "bank/eu/1", "two histories");
    struct err err = {0};
    cr_assert_eq(evidence_resolve(disk_posix(), data, kept.name, "a test", 1795561376000, &err), 0, "%s", err.message);
    cr_assert_eq(look(false).count, 0);
    struct seen seen = look(true);
    cr_assert_eq(seen.count, 1);
    cr_assert_str_eq(seen.last.reason, "two histories");
    cr_assert_str_eq(seen.last.resolution, "a test");
    cr_assert_eq(seen.last.resolved_at_ms, 1795561376000);
    cr_assert_eq(evidence_resolve(disk_posix(), data, kept.name, "again", 1, NULL), ERR_NOT_FOUND);
}

Test(evidence, is_not_resolved_without_a_name_or_a_reason)
{
    struct evidence kept = keep("a note", true, "bank/eu/1", "two histories");
    cr_assert_eq(evidence_resolve(disk_posix(), data, kept.name, "", 1, NULL), ERR_INVALID);
    cr_assert_eq(evidence_resolve(disk_posix(), data, kept.name, "two\nlines", 1, NULL), ERR_INVALID);
    cr_assert_eq(evidence_resolve(disk_posix(), data, "../../etc/passwd", "reason", 1, NULL), ERR_INVALID);
    cr_assert_eq(look(false).count, 1);
}

Test(evidence, without_its_text_counts_as_a_fork_of_the_log_that_it_names)
{
    struct evidence kept = keep("bank/eu/1\n3\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\xE2\x80\x94 bank/eu/1 "
                                "AAAAAAAA\n",
                                false, "bank/eu/1", "any");
    char path[2 * FILES_PATH_MAX];
    snprintf(path, sizeof(path), "%s/evidence/%s.txt", data, kept.name);
    cr_assert_eq(remove(path), 0);
    struct seen seen = look(false);
    cr_assert_eq(seen.count, 1);
    cr_assert(seen.last.fork);
    cr_assert_str_eq(seen.last.log, "bank/eu/1");
}

Test(evidence, with_a_text_that_says_nothing_is_refused)
{
    struct evidence kept = keep("a note", true, "bank/eu/1", "two histories");
    char path[2 * FILES_PATH_MAX];
    struct seen seen = {.count = 0};
    snprintf(path, sizeof(path), "%s/evidence/%s.txt", data, kept.name);
    files_write(path, BYTES_LITERAL("kind: fork\n"));
    cr_assert_eq(evidence_each(disk_posix(), data, false, see, &seen, NULL), ERR_CORRUPT);
}

Test(evidence, a_full_folder_still_takes_forks)
{
    char folder[FILES_PATH_MAX];
    struct evidence what = {.fork = false, .kept_at_ms = 1, .reason = "a bad signature"};
    keep("first", false, "bank/eu/1", "a bad signature");
    files_join(data, "evidence", folder);
    for (size_t i = 1; i < EVIDENCE_FILES_MAX; i++) {
        char path[2 * FILES_PATH_MAX];
        snprintf(path, sizeof(path), "%s/%zu.note", folder, i);
        files_write(path, BYTES_LITERAL("x"));
    }
    cr_assert_eq(evidence_keep(disk_posix(), data, BYTES_LITERAL("more"), sha, &what, NULL), ERR_TOO_LARGE);
    keep("a fork", true, "bank/eu/1", "two histories");
}
