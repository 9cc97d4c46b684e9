/* The region's own keys: which sign, which are believed, and what the log is to tell. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/keyfile.h"
#include "server/config.h"
#include "support/files.h"

static char folder[FILES_PATH_MAX], path[FILES_PATH_MAX];

static struct note_signer signer_of(const char *name, enum note_key_type type, uint8_t fill)
{
    struct note_signer signer;
    uint8_t seed[32];
    memset(seed, fill, sizeof(seed));
    cr_assert_eq(note_signer_from_seed(name, type, seed, &signer, NULL), 0);
    return signer;
}

static void make(enum key_role role, uint32_t number, uint8_t fill)
{
    static const char *const names[KEY_ROLE_COUNT] = {"bank/eu/1", "bank/eu", "bank/eu/witness"};
    char file[KEY_FILE_NAME_MAX_BYTES], name[64];
    struct note_signer signer = signer_of(names[role], key_role_type(role), fill);
    keyfile_name(role, number, file);
    snprintf(name, sizeof(name), "keys/%s", file);
    cr_assert_eq(keyfile_create(disk_posix(), files_join(folder, name, path), &signer, NULL), 0);
}

static void retire(enum key_role role, uint32_t number)
{
    cr_assert_eq(keyfile_destroy(disk_posix(), files_join(folder, "keys", path), role, number, NULL), 0);
}

static void setup(void)
{
    static const char text[] = "cluster: bank\nregion: eu\nlisten: 127.0.0.1:7401\nhttp_listen: 127.0.0.1:0\n"
                               "contexts:\n  - name: bank\n    default_home: eu\n";
    files_temp_folder(folder);
    cr_assert_eq(disk_make_dir(disk_posix(), files_join(folder, "keys", path), NULL), 0);
    files_write(files_join(folder, "tallyd.yaml", path), bytes_of_string(text));
    for (size_t role = 0; role < KEY_ROLE_COUNT; role++)
        make((enum key_role)role, 1, (uint8_t)(1 + role));
}

static void teardown(void)
{
    files_remove_folder(folder);
}

TestSuite(server_keys, .init = setup, .fini = teardown);

static struct server_config *load(void)
{
    struct server_config *config = NULL;
    struct err err = {0};
    cr_assert_eq(server_config_load(disk_posix(), folder, &config, &err), 0, "%s", err.message);
    return config;
}

static void refused(int code, const char *word)
{
    struct server_config *config = NULL;
    struct err err = {0};
    cr_assert_eq(server_config_load(disk_posix(), folder, &config, &err), code, "%d %s", err.code, err.message);
    cr_assert_not_null(strstr(err.message, word), "\"%s\" is not in \"%s\"", word, err.message);
}

static bool is_key(const struct note_signer *signer, uint8_t fill)
{
    struct note_signer expected = signer_of("x", NOTE_KEY_ED25519, fill);
    return memcmp(signer->verifier.public_key, expected.verifier.public_key, 32) == 0;
}

static struct hash hash_of(const char *name, enum note_key_type type, uint8_t fill)
{
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    struct note_signer signer = signer_of(name, type, fill);
    struct sha256 *sha = sha256_new();
    note_verifier_format(&signer.verifier, vkey);
    struct hash hash = sha256_of(sha, bytes_of_string(vkey));
    sha256_free(sha);
    return hash;
}

Test(server_keys, one_key_of_each_role_signs_and_nothing_is_told)
{
    struct server_config *config = load();
    cr_expect_eq(config->region.log_signers.count, 1);
    cr_expect_eq(config->region.cosign_signers.count, 1);
    cr_expect_eq(config->witness.signers.count, 1);
    cr_expect_eq(config->witness.known.count, 1);
    cr_expect_eq(config->region.key_change_count, 0);
    server_config_free(config);
}

Test(server_keys, a_second_generation_signs_beside_the_first_in_every_incarnation)
{
    make(KEY_LOG, 2, 9);
    struct server_config *config = load();
    cr_assert_eq(config->region.log_signers.count, 2);
    cr_expect(is_key(config->region.log_signers.items[0], 1) && is_key(config->region.log_signers.items[1], 9));
    cr_assert_eq(server_config_set_incarnation(config, 4, NULL), 0);
    for (size_t i = 0; i < 2; i++)
        cr_expect_str_eq(config->region.log_signers.items[i]->verifier.name, "bank/eu/4");
    server_config_free(config);
}

Test(server_keys, changes_are_told_by_hashes_of_public_keys_in_order)
{
    make(KEY_LOG, 2, 9);
    retire(KEY_LOG, 1);
    make(KEY_LOG, 3, 10);
    make(KEY_WITNESS, 2, 11);
    struct server_config *config = load();
    const struct control_key *told = config->region.key_changes;
    static const enum control_kind kinds[] = {CONTROL_KEY_ROTATED, CONTROL_KEY_RETIRED, CONTROL_KEY_ROTATED,
                                              CONTROL_KEY_ROTATED};
    struct hash first = hash_of("bank/eu/1", NOTE_KEY_ED25519, 1), second = hash_of("bank/eu/1", NOTE_KEY_ED25519, 9);
    struct hash third = hash_of("bank/eu/1", NOTE_KEY_ED25519, 10);
    cr_assert_eq(config->region.key_change_count, 4);
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(told[i].kind, kinds[i]);
        cr_expect(bytes_equal(told[i].role, i < 3 ? BYTES_LITERAL("log") : BYTES_LITERAL("witness")));
    }
    cr_expect(hash_equal(&told[0].old_key, &first) && hash_equal(&told[0].new_key, &second));
    cr_expect(hash_equal(&told[1].old_key, &first) && hash_equal(&told[1].new_key, &second));
    cr_expect(hash_equal(&told[2].old_key, &second) && hash_equal(&told[2].new_key, &third));
    server_config_free(config);
}

/* What was told stays the same when more is done later: the log must not tell it twice. */
Test(server_keys, what_is_told_of_a_change_never_changes)
{
    make(KEY_LOG, 2, 9);
    retire(KEY_LOG, 1);
    struct server_config *before = load();
    make(KEY_LOG, 3, 10);
    retire(KEY_LOG, 2);
    struct server_config *after = load();
    cr_assert_eq(before->region.key_change_count, 2);
    cr_assert_eq(after->region.key_change_count, 4);
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(before->key_changes[i].kind, after->key_changes[i].kind);
        cr_expect(hash_equal(&before->key_changes[i].old_key, &after->key_changes[i].old_key));
        cr_expect(hash_equal(&before->key_changes[i].new_key, &after->key_changes[i].new_key));
    }
    server_config_free(before);
    server_config_free(after);
}

Test(server_keys, of_many_generations_the_newest_changes_are_told)
{
    for (uint32_t number = 2; number <= 30; number++) {
        make(KEY_COSIGN, number, (uint8_t)(50 + number));
        retire(KEY_COSIGN, number - 1);
    }
    struct server_config *config = load();
    struct hash newest = hash_of("bank/eu", NOTE_KEY_COSIGNATURE, 80);
    cr_assert_eq(config->region.key_change_count, 18);
    cr_expect(hash_equal(&config->key_changes[17].new_key, &newest));
    cr_expect_eq(config->region.cosign_signers.count, 1);
    server_config_free(config);
}

Test(server_keys, the_newest_private_key_must_be_there)
{
    make(KEY_LOG, 2, 9);
    retire(KEY_LOG, 2);
    refused(ERR_NOT_FOUND, "log-2.key");
}

Test(server_keys, more_than_two_that_sign_are_refused)
{
    make(KEY_COSIGN, 2, 9);
    make(KEY_COSIGN, 3, 10);
    refused(ERR_TOO_LARGE, "tally key retire");
}

Test(server_keys, a_later_generation_must_be_of_this_region_too)
{
    struct note_signer other = signer_of("bank/us/1", NOTE_KEY_ED25519, 9);
    cr_assert_eq(keyfile_create(disk_posix(), files_join(folder, "keys/log-2.key", path), &other, NULL), 0);
    refused(ERR_MISMATCH, "bank/us/1");
}

Test(server_keys, no_generation_of_the_witness_is_one_of_the_mirror)
{
    make(KEY_COSIGN, 2, 9);
    make(KEY_WITNESS, 2, 9);
    refused(ERR_MISMATCH, "each needs its own");
}

Test(server_keys, retired_keys_stay_known_as_region_pub_and_the_files_say)
{
    char vkey[NOTE_VKEY_MAX_BYTES + 1], text[NOTE_VKEY_MAX_BYTES + 64];
    struct note_signer first = signer_of("bank/eu/1", NOTE_KEY_ED25519, 1);
    make(KEY_LOG, 2, 9);
    retire(KEY_LOG, 1);
    make(KEY_WITNESS, 2, 10);
    retire(KEY_WITNESS, 1);
    struct server_config *config = load();
    cr_expect_eq(config->region.retired_log_keys.count, 0, "nothing says that it is needed");
    cr_expect_eq(config->witness.signers.count, 1);
    cr_expect_eq(config->witness.known.count, 2, "what the witness remembers may be signed with it");
    server_config_free(config);
    note_verifier_format(&first.verifier, vkey);
    snprintf(text, sizeof(text), "# retired\n%s\n", vkey);
    files_write(files_join(folder, "keys/region.pub", path), bytes_of_string(text));
    config = load();
    cr_assert_eq(config->region.retired_log_keys.count, 1);
    cr_expect_eq(config->region.retired_log_keys.keys[0].key_id, first.verifier.key_id);
    server_config_free(config);
}
