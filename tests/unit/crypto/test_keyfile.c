#include "crypto/keyfile.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "support.h"
#include "support/files.h"

static char folder[FILES_PATH_MAX];
static char path[FILES_PATH_MAX + 16];
static char public_path[FILES_PATH_MAX + 32];
static struct disk *disk;

static void setup(void)
{
    files_temp_folder(folder);
    snprintf(path, sizeof(path), "%s/log.key", folder);
    snprintf(public_path, sizeof(public_path), "%s.pub", path);
    disk = disk_posix();
}

static void teardown(void)
{
    files_remove_folder(folder);
}

TestSuite(keyfile, .init = setup, .fini = teardown);

static unsigned mode_of(const char *file)
{
    struct stat status;
    cr_assert_eq(stat(file, &status), 0, "%s", file);
    return status.st_mode & 07777;
}

static void expect_contents(const char *file, const char *expected)
{
    struct buf contents;
    buf_init(&contents, 4096);
    files_read(file, &contents);
    cr_assert(bytes_equal(buf_bytes(&contents), bytes_of_string(expected)), "%.*s", (int)contents.size_bytes,
              (const char *)contents.data);
    buf_free(&contents);
}

static void write_private(const char *text, mode_t mode)
{
    files_write(path, bytes_of_string(text));
    cr_assert_eq(chmod(path, mode), 0);
}

static void count_file(void *context, const char *file)
{
    (void)file;
    ++*(size_t *)context;
}

static size_t file_count(void)
{
    size_t count = 0;
    files_walk(folder, "", count_file, &count);
    return count;
}

static void expect_load_fails(int code, const char *word)
{
    struct note_signer loaded = {.verifier = {.key_id = 77}};
    EXPECT_FAILURE(keyfile_load(disk, path, &loaded, err), code, word);
    cr_assert_eq(loaded.verifier.key_id, 77, "outputs are untouched on failure");
}

/* --- Private keys --- */

Test(keyfile, what_is_created_is_loaded)
{
    struct note_signer signer = tessera_signer();
    struct note_signer loaded;
    struct err err = {0};
    cr_assert_eq(keyfile_create(disk, path, &signer, &err), 0, "%s", err.message);
    cr_assert_eq(keyfile_load(disk, path, &loaded, &err), 0, "%s", err.message);
    cr_assert_eq(memcmp(loaded.secret_key, signer.secret_key, sizeof(signer.secret_key)), 0);
    cr_assert_str_eq(loaded.verifier.name, TESSERA_ORIGIN);
    expect_contents(path, TESSERA_SECRET_KEY "\n");
    expect_contents(public_path, TESSERA_PUBLIC_KEY "\n");
    cr_assert_eq(file_count(), 2, "nothing else is left");
}

Test(keyfile, only_its_owner_can_read_a_private_key_whatever_the_umask)
{
    struct note_signer signer = tessera_signer();
    mode_t before = umask(0);
    cr_assert_eq(keyfile_create(disk, path, &signer, NULL), 0);
    umask(before);
    cr_assert_eq(mode_of(path), 0600);
    cr_assert_eq(mode_of(public_path) & 0444, 0444, "everybody may read the public key");
}

Test(keyfile, a_key_that_others_can_touch_is_refused_and_the_remedy_told)
{
    const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644, 0660, 0777, 0440};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        write_private(TESSERA_SECRET_KEY "\n", modes[i]);
        expect_load_fails(ERR_PERMISSION, "chmod 600");
        cr_assert_eq(chmod(path, 0600), 0);
    }
}

Test(keyfile, a_key_that_only_its_owner_can_touch_is_taken)
{
    const mode_t modes[] = {0600, 0400, 0700};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        struct note_signer loaded;
        struct err err = {0};
        write_private(TESSERA_SECRET_KEY "\n", modes[i]);
        cr_assert_eq(keyfile_load(disk, path, &loaded, &err), 0, "%03o: %s", (unsigned)modes[i], err.message);
        cr_assert_eq(chmod(path, 0600), 0);
    }
}

Test(keyfile, a_key_is_never_overwritten)
{
    struct note_signer signer = tessera_signer();
    struct note_signer other = make_signer("other", NOTE_KEY_ED25519, 1);
    cr_assert_eq(keyfile_create(disk, path, &signer, NULL), 0);
    EXPECT_FAILURE(keyfile_create(disk, path, &other, err), ERR_EXISTS, "log.key exists already");
    expect_contents(path, TESSERA_SECRET_KEY "\n");
    expect_contents(public_path, TESSERA_PUBLIC_KEY "\n");
}

/* The old public key is what old signatures are checked with, also when its private half was moved away. */
Test(keyfile, a_public_key_is_never_overwritten_either)
{
    struct note_signer signer = make_signer("other", NOTE_KEY_ED25519, 1);
    files_write(public_path, BYTES_LITERAL(TESSERA_PUBLIC_KEY "\n"));
    EXPECT_FAILURE(keyfile_create(disk, path, &signer, err), ERR_EXISTS, "log.key.pub exists already");
    expect_contents(public_path, TESSERA_PUBLIC_KEY "\n");
    cr_assert_eq(file_count(), 1, "no private key was written");
}

Test(keyfile, a_path_without_room_for_its_public_name_writes_nothing)
{
    char long_path[DISK_PATH_MAX_BYTES];
    struct note_signer signer = tessera_signer();
    copy_string(long_path, sizeof(long_path), folder);
    size_t used = strlen(long_path);
    for (bool slash = true; used < sizeof(long_path) - 4; slash = !slash)
        long_path[used++] = slash ? '/' : '.';
    long_path[used++] = 'k';
    long_path[used] = '\0';
    EXPECT_FAILURE(keyfile_create(disk, long_path, &signer, err), ERR_TOO_LARGE, "path too long");
    cr_assert_eq(file_count(), 0);
}

Test(keyfile, a_missing_folder_is_reported)
{
    struct note_signer signer = tessera_signer();
    snprintf(path, sizeof(path), "%s/missing/log.key", folder);
    EXPECT_FAILURE(keyfile_create(disk, path, &signer, err), ERR_NOT_FOUND, "missing/log.key");
    expect_load_fails(ERR_NOT_FOUND, "private key");
}

Test(keyfile, memory_that_runs_out_is_reported_wherever_it_does)
{
    struct note_signer signer = tessera_signer();
    uint64_t before = mem_allocation_count();
    cr_assert_eq(keyfile_create(disk, path, &signer, NULL), 0);
    uint64_t allocations = mem_allocation_count() - before;
    cr_assert_geq(allocations, 1);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(unlink(public_path), 0);
    for (uint64_t at = 1; at <= allocations; at++) {
        mem_fail_at(at);
        EXPECT_FAILURE(keyfile_create(disk, path, &signer, err), ERR_NO_MEMORY, "memory ran out");
        cr_assert_eq(file_count(), 0, "allocation %llu left half a pair", (unsigned long long)at);
    }
}

Test(keyfile, a_last_newline_more_or_less_does_not_matter)
{
    struct note_signer loaded;
    write_private(TESSERA_SECRET_KEY, 0600);
    cr_assert_eq(keyfile_load(disk, path, &loaded, NULL), 0);
    write_private(TESSERA_SECRET_KEY "\n\n", 0600);
    cr_assert_eq(keyfile_load(disk, path, &loaded, NULL), 0);
}

Test(keyfile, a_damaged_private_key_is_refused_by_name)
{
    const char *texts[] = {"",
                           "\n",
                           "hello\n",
                           TESSERA_PUBLIC_KEY "\n",
                           TESSERA_SECRET_KEY "\n" TESSERA_SECRET_KEY "\n",
                           "PRIVATE+KEY+" TESSERA_ORIGIN "+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eh\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        write_private(texts[i], 0600);
        expect_load_fails(ERR_INVALID, "log.key");
    }
}

Test(keyfile, a_private_key_file_is_limited)
{
    uint8_t *many = mem_alloc(64 * 1024 + 1);
    memset(many, '\n', 64 * 1024 + 1);
    files_write(path, bytes_of(many, 64 * 1024 + 1));
    cr_assert_eq(chmod(path, 0600), 0);
    expect_load_fails(ERR_TOO_LARGE, "65536");
    mem_free(many);
}

/* --- Public keys --- */

static size_t load_public(const char *text, struct note_verifier *out, size_t max)
{
    size_t count = 77;
    struct err err = {0};
    files_write(public_path, bytes_of_string(text));
    cr_assert_eq(keyfile_load_public(disk, public_path, out, max, &count, &err), 0, "%s", err.message);
    return count;
}

static void expect_public_fails(const char *text, size_t max, int code, const char *word)
{
    struct note_verifier keys[4];
    size_t count = 77;
    files_write(public_path, bytes_of_string(text));
    EXPECT_FAILURE(keyfile_load_public(disk, public_path, keys, max, &count, err), code, word);
    cr_assert_eq(count, 77, "outputs are untouched on failure");
}

#define SECOND_KEY "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"

Test(keyfile, public_keys_stand_one_a_line)
{
    struct note_verifier keys[2];
    cr_assert_eq(load_public("# of the log\n" TESSERA_PUBLIC_KEY "\n\n# another\n" SECOND_KEY "\n", keys, 2), 2);
    cr_assert_str_eq(keys[0].name, TESSERA_ORIGIN);
    cr_assert_str_eq(keys[1].name, "PeterNeumann");
    cr_assert_eq(load_public(TESSERA_PUBLIC_KEY, keys, 2), 1, "the last newline may be missing");
}

Test(keyfile, a_file_without_keys_has_none)
{
    struct note_verifier key;
    cr_assert_eq(load_public("", &key, 1), 0);
    cr_assert_eq(load_public("# nothing yet\n\n", &key, 1), 0);
}

Test(keyfile, a_bad_line_is_named)
{
    expect_public_fails("# a\n" TESSERA_PUBLIC_KEY "\nhello\n", 4, ERR_INVALID, "line 3");
    expect_public_fails(TESSERA_PUBLIC_KEY "\r\n", 4, ERR_INVALID, "line 1");
    expect_public_fails(TESSERA_PUBLIC_KEY "\n " SECOND_KEY "\n", 4, ERR_INVALID, "line 2");
    expect_public_fails(TESSERA_SECRET_KEY "\n", 4, ERR_INVALID, "line 1");
}

Test(keyfile, more_keys_than_there_is_room_for_are_refused)
{
    expect_public_fails(TESSERA_PUBLIC_KEY "\n" SECOND_KEY "\n", 1, ERR_TOO_LARGE, "more than 1 keys");
    struct note_verifier key;
    cr_assert_eq(load_public(TESSERA_PUBLIC_KEY "\n# a comment is no key\n", &key, 1), 1);
}

Test(keyfile, a_missing_public_key_file_is_reported)
{
    struct note_verifier key;
    size_t count = 77;
    EXPECT_FAILURE(keyfile_load_public(disk, public_path, &key, 1, &count, err), ERR_NOT_FOUND, "public key file");
    cr_assert_eq(count, 77);
}

/* --- Generations --- */

static void make_generation(uint32_t number, uint8_t fill)
{
    struct note_signer signer = make_signer("bank/eu/1", NOTE_KEY_ED25519, fill);
    char name[KEY_FILE_NAME_MAX_BYTES];
    keyfile_name(KEY_LOG, number, name);
    cr_assert_eq(keyfile_create(disk, files_join(folder, name, path), &signer, NULL), 0);
}

static size_t generations(struct key_generation *out)
{
    size_t count = 99;
    struct err err = {0};
    cr_assert_eq(keyfile_generations(disk, folder, KEY_LOG, out, &count, &err), 0, "%s", err.message);
    return count;
}

Test(keyfile, generations_have_names_and_roles_types)
{
    char name[KEY_FILE_NAME_MAX_BYTES];
    enum key_role role = KEY_LOG;
    keyfile_name(KEY_WITNESS, 1, name);
    cr_expect_str_eq(name, "witness.key");
    keyfile_name(KEY_COSIGN, 12, name);
    cr_expect_str_eq(name, "cosign-12.key");
    cr_expect(key_role_parse("cosign", &role) && role == KEY_COSIGN);
    cr_expect(!key_role_parse("transport", &role) && role == KEY_COSIGN);
    cr_expect_eq(key_role_type(KEY_LOG), NOTE_KEY_ED25519);
    cr_expect_eq(key_role_type(KEY_WITNESS), NOTE_KEY_COSIGNATURE);
}

Test(keyfile, generations_are_found_in_order_and_say_which_sign)
{
    struct key_generation found[KEY_GENERATIONS_MAX];
    make_generation(1, 1);
    make_generation(2, 2);
    make_generation(3, 3);
    make_generation(5, 5); /* behind a gap: not one of them */
    cr_assert_eq(keyfile_destroy(disk, folder, KEY_LOG, 1, NULL), 0);
    cr_assert_eq(generations(found), 3);
    for (uint32_t i = 0; i < 3; i++) {
        struct note_signer expected = make_signer("bank/eu/1", NOTE_KEY_ED25519, (uint8_t)(i + 1));
        cr_expect_eq(found[i].number, i + 1);
        cr_expect_eq(found[i].is_private, i > 0);
        cr_expect_eq(memcmp(found[i].verifier.public_key, expected.verifier.public_key, 32), 0);
    }
}

Test(keyfile, a_private_key_alone_counts_only_as_the_first_generation)
{
    struct key_generation found[KEY_GENERATIONS_MAX];
    make_generation(1, 1);
    make_generation(2, 2);
    cr_assert_eq(unlink(files_join(folder, "log-2.key.pub", path)), 0);
    cr_assert_eq(generations(found), 1);
    cr_assert_eq(unlink(files_join(folder, "log.key.pub", path)), 0);
    cr_assert_eq(generations(found), 1);
    cr_expect(found[0].is_private);
    cr_expect_str_eq(found[0].verifier.name, "bank/eu/1");
    cr_assert_eq(unlink(files_join(folder, "log.key", path)), 0);
    cr_assert_eq(generations(found), 1);
    cr_expect(!found[0].is_private);
    cr_expect_str_eq(found[0].verifier.name, "");
}

Test(keyfile, two_halves_of_different_keys_are_no_generation)
{
    struct key_generation found[KEY_GENERATIONS_MAX];
    char other[FILES_PATH_MAX];
    size_t count = 0;
    make_generation(1, 1);
    make_generation(2, 2);
    cr_assert_eq(rename(files_join(folder, "log-2.key.pub", other), files_join(folder, "log.key.pub", path)), 0);
    EXPECT_FAILURE(keyfile_generations(disk, folder, KEY_LOG, found, &count, err), ERR_MISMATCH, "public half");
}

Test(keyfile, a_generation_that_others_can_read_is_refused)
{
    struct key_generation found[KEY_GENERATIONS_MAX];
    size_t count = 0;
    make_generation(1, 1);
    cr_assert_eq(chmod(files_join(folder, "log.key", path), 0640), 0);
    EXPECT_FAILURE(keyfile_generations(disk, folder, KEY_LOG, found, &count, err), ERR_PERMISSION, "chmod 600");
}

/* A second name for the file shows what became of its bytes. */
Test(keyfile, what_is_destroyed_is_overwritten_and_gone)
{
    char link_path[FILES_PATH_MAX];
    struct buf left;
    make_generation(1, 1);
    cr_assert_eq(link(files_join(folder, "log.key", path), files_join(folder, "link", link_path)), 0);
    cr_assert_eq(keyfile_destroy(disk, folder, KEY_LOG, 1, NULL), 0);
    cr_expect_eq(access(path, F_OK), -1);
    cr_expect_eq(access(files_join(folder, "log.key.pub", path), F_OK), 0, "the public half stays");
    buf_init(&left, 4096);
    files_read(link_path, &left);
    cr_assert_gt(left.size_bytes, 0);
    for (size_t i = 0; i < left.size_bytes; i++)
        cr_assert_eq(left.data[i], 0);
    buf_free(&left);
    cr_expect_eq(keyfile_destroy(disk, folder, KEY_LOG, 1, NULL), ERR_NOT_FOUND);
}
