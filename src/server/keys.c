/* Which keys sign, which are known, and what was changed (keys.h).
 *
 * Every private key that is there signs. `tally key rotate` adds a generation, `tally key retire` destroys the older
 * private key; the next start finds what they left. The changes are derived from the files every time, and the region
 * appends those that no log tells yet (region/keys.c): nothing has to be remembered between.
 *
 * Of the log's keys, the region itself believes what it tells its peers to believe: those in keys/region.pub. */
#include "server/keys.h"

#include <stdio.h>

#include "base/mem.h"

/* Of each role the newest changes are told: earlier ones were, when they were new. */
enum { CHANGES_TOLD_MAX = 9, PUBLIC_KEYS_MAX = 2 * KEYRING_MAX };

_Static_assert(2 * CHANGES_TOLD_MAX * KEY_ROLE_COUNT <= REGION_KEY_CHANGES_MAX, "room for what is told");

struct role_keys {
    size_t count;
    struct key_generation generations[KEY_GENERATIONS_MAX];
};

static void name_of(const struct server_config *config, enum key_role role, char out[NOTE_NAME_MAX_BYTES + 1])
{
    static const char *const suffixes[KEY_ROLE_COUNT] = {
        [KEY_LOG] = "/1", [KEY_COSIGN] = "", [KEY_WITNESS] = "/witness"};
    (void)snprintf(out, NOTE_NAME_MAX_BYTES + 1, "%s/%s%s", config->region.cluster, config->region.region,
                   suffixes[role]);
}

static int check_generation(const struct server_config *config, enum key_role role, const char *path,
                            const struct key_generation *generation, struct err *err)
{
    char expected[NOTE_NAME_MAX_BYTES + 1];
    name_of(config, role, expected);
    if (generation->verifier.type != key_role_type(role) || strcmp(generation->verifier.name, expected) != 0)
        return err_set(err, ERR_MISMATCH, "%s is the key of \"%.100s\", but this region needs one of \"%.100s\"", path,
                       generation->verifier.name, expected);
    return 0;
}

/* --- Private keys --- */

static int add_signer(struct server_config *config, struct disk *disk, enum key_role role, const char *path,
                      struct signers *signers, struct err *err)
{
    if (signers->count == SIGNERS_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d private keys of role %s sign: tally key retire the oldest",
                       SIGNERS_MAX, key_role_name(role));
    struct note_signer *signer = &config->signers[role][signers->count];
    int code = keyfile_load(disk, path, signer, err);
    if (code == 0)
        signers->items[signers->count++] = signer;
    return code;
}

static int load_private(struct server_config *config, struct disk *disk, const char *folder, enum key_role role,
                        const struct role_keys *keys, struct signers *signers, struct err *err)
{
    char name[KEY_FILE_NAME_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    int code = 0;
    for (size_t i = 0; code == 0 && i < keys->count; i++) {
        const struct key_generation *generation = &keys->generations[i];
        keyfile_name(role, generation->number, name);
        code = disk_join(path, folder, name, err);
        if (code == 0 && !generation->is_private && i + 1 == keys->count)
            code = err_set(err, ERR_NOT_FOUND, "the private key %s does not exist: restore it", path);
        if (code == 0)
            code = check_generation(config, role, path, generation, err);
        if (code == 0 && generation->is_private)
            code = add_signer(config, disk, role, path, signers, err);
    }
    return code;
}

/* --- What was changed --- */

static struct hash hash_of(struct sha256 *sha, const struct note_verifier *key)
{
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    note_verifier_format(key, vkey);
    return sha256_of(sha, bytes_of_string(vkey));
}

static void add_change(struct server_config *config, struct sha256 *sha, enum control_kind kind, enum key_role role,
                       const struct key_generation *before)
{
    config->key_changes[config->region.key_change_count++] =
        (struct control_key){.kind = kind,
                             .role = bytes_of_string(key_role_name(role)),
                             .old_key = hash_of(sha, &before[0].verifier),
                             .new_key = hash_of(sha, &before[1].verifier)};
}

static int add_changes(struct server_config *config, enum key_role role, const struct role_keys *keys, struct err *err)
{
    struct sha256 *sha = sha256_new();
    if (sha == NULL)
        return err_no_memory(err, "a hash context");
    size_t first = keys->count > CHANGES_TOLD_MAX + 1 ? keys->count - CHANGES_TOLD_MAX - 1 : 0;
    for (size_t i = first; i + 1 < keys->count; i++) {
        const struct key_generation *before = &keys->generations[i];
        add_change(config, sha, CONTROL_KEY_ROTATED, role, before);
        if (!before->is_private)
            add_change(config, sha, CONTROL_KEY_RETIRED, role, before);
    }
    sha256_free(sha);
    return 0;
}

/* --- Public keys that stay known --- */

static int know_log_keys(struct server_config *config, struct disk *disk, const char *folder, struct err *err)
{
    struct note_verifier keys[PUBLIC_KEYS_MAX];
    char path[DISK_PATH_MAX_BYTES];
    char name[NOTE_NAME_MAX_BYTES + 1];
    size_t count = 0;
    name_of(config, KEY_LOG, name);
    int code = disk_join(path, folder, "region.pub", err);
    if (code == 0)
        code = keyfile_load_public(disk, path, keys, PUBLIC_KEYS_MAX, &count, err);
    if (code == ERR_NOT_FOUND)
        code = 0; /* a copy for others: what signs is known without it */
    for (size_t i = 0; code == 0 && i < count; i++) {
        if (keys[i].type == NOTE_KEY_ED25519 && strcmp(keys[i].name, name) == 0)
            code = keyring_add(&config->region.retired_log_keys, &keys[i], err);
    }
    return code;
}

static int know_witness_keys(struct server_config *config, const struct role_keys *keys, struct err *err)
{
    int code = 0;
    for (size_t i = keys->count > KEYRING_MAX ? keys->count - KEYRING_MAX : 0; code == 0 && i < keys->count; i++)
        code = keyring_add(&config->witness.known, &keys->generations[i].verifier, err);
    return code;
}

/* --- All of it --- */

static int load_role(struct server_config *config, struct disk *disk, const char *folder, enum key_role role,
                     struct signers *signers, struct err *err)
{
    struct role_keys *keys = mem_alloc_zero(1, sizeof(*keys));
    if (keys == NULL)
        return err_no_memory(err, "the keys");
    int code = keyfile_generations(disk, folder, role, keys->generations, &keys->count, err);
    if (code == 0)
        code = load_private(config, disk, folder, role, keys, signers, err);
    if (code == 0)
        code = add_changes(config, role, keys, err);
    if (code == 0 && role == KEY_WITNESS)
        code = know_witness_keys(config, keys, err);
    mem_free(keys);
    return code;
}

/* A witness vouches for less than a mirror. */
static int check_apart(const struct server_config *config, struct err *err)
{
    const struct signers *mirror = &config->region.cosign_signers;
    const struct signers *witness = &config->witness.signers;
    for (size_t i = 0; i < mirror->count * witness->count; i++) {
        const struct note_verifier *a = &mirror->items[i % mirror->count]->verifier;
        const struct note_verifier *b = &witness->items[i / mirror->count]->verifier;
        if (memcmp(a->public_key, b->public_key, sizeof(a->public_key)) == 0)
            return err_set(err, ERR_MISMATCH,
                           "keys/witness.key and keys/cosign.key are one key: a witness vouches for less than a "
                           "mirror, so each needs its own");
    }
    return 0;
}

int keys_load(struct server_config *config, struct disk *disk, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    int code = disk_join(folder, config->folder, "keys", err);
    if (code == 0)
        code = load_role(config, disk, folder, KEY_LOG, &config->region.log_signers, err);
    if (code == 0)
        code = load_role(config, disk, folder, KEY_COSIGN, &config->region.cosign_signers, err);
    if (code == 0 && config->http_listen[0] != '\0')
        code = load_role(config, disk, folder, KEY_WITNESS, &config->witness.signers, err);
    if (code == 0)
        code = know_log_keys(config, disk, folder, err);
    if (code == 0)
        code = check_apart(config, err);
    config->region.key_changes = config->key_changes;
    return code;
}

void keys_wipe(struct server_config *config)
{
    for (size_t role = 0; role < KEY_ROLE_COUNT; role++) {
        for (size_t i = 0; i < SIGNERS_MAX; i++)
            note_signer_wipe(&config->signers[role][i]);
    }
}
