/* Changing key files (keys.h).
 *
 * keys/region.pub is a function of the other files. It is made anew whenever something changed, so that a crash between
 * two steps is mended by giving the command again. */
#include "keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/keyring.h"
#include "datadir.h"
#include "platform/clock.h"

enum { REGION_PUB_MAX_BYTES = 64 * 1024 };

int keys_make(const char *folder, enum key_role role, uint32_t number, const char *name, char *vkey, struct err *err)
{
    char file[KEY_FILE_NAME_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    uint8_t seed[32];
    struct note_signer signer;
    keyfile_name(role, number, file);
    int code = disk_join(path, folder, file, err);
    if (code != 0)
        return code;
    entropy_fill(seed, sizeof(seed));
    code = note_signer_from_seed(name, key_role_type(role), seed, &signer, err);
    explicit_bzero(seed, sizeof(seed));
    if (code != 0)
        return code;
    code = keyfile_create(disk_posix(), path, &signer, err);
    note_verifier_format(&signer.verifier, vkey);
    note_signer_wipe(&signer);
    return code;
}

int keys_read(const char *data, struct keys **ret, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    struct keys *keys = mem_alloc_zero(1, sizeof(*keys));
    int code = keys == NULL ? err_no_memory(err, "the keys") : disk_join(folder, data, "keys", err);
    for (size_t role = 0; code == 0 && role < KEY_ROLE_COUNT; role++) {
        code = keyfile_generations(disk_posix(), folder, (enum key_role)role, keys->generations[role],
                                   &keys->counts[role], err);
        if (code == 0 && keys->generations[role][0].verifier.name[0] == '\0')
            code = err_set(err, ERR_NOT_FOUND, "%s holds no key of role %s: is it a data directory?", folder,
                           key_role_name((enum key_role)role));
    }
    if (code == 0)
        *ret = keys;
    else
        mem_free(keys);
    return code;
}

size_t keys_signing(const struct keys *keys, enum key_role role, const struct key_generation **ret_oldest)
{
    size_t count = 0;
    for (size_t i = keys->counts[role]; i-- > 0;) {
        if (!keys->generations[role][i].is_private)
            continue;
        *ret_oldest = &keys->generations[role][i];
        count++;
    }
    return count;
}

/* --- Which retired keys are needed --- */

static int ring_of_signing(const struct keys *keys, struct keyring *ret, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < keys->counts[KEY_LOG]; i++) {
        if (keys->generations[KEY_LOG][i].is_private)
            code = keyring_add(ret, &keys->generations[KEY_LOG][i].verifier, err);
    }
    return code;
}

/* Whether the note verifies with `one` and not with `ring`. */
static bool needs(const struct datadir_log *log, const char *name, const struct keyring *ring,
                  const struct keyring *one)
{
    struct checkpoint checkpoint;
    return datadir_checkpoint(log->folder, name, log->origin, one, &checkpoint, NULL) == 0 &&
           datadir_checkpoint(log->folder, name, log->origin, ring, &checkpoint, NULL) != 0;
}

/* What the region remembers to have signed of the log, kept apart from it: signed/<region>-<n>. */
static int needs_signed(const char *data, const struct datadir_log *log, const struct origin *origin,
                        const struct keyring *ring, const struct keyring *one, bool *ret, struct err *err)
{
    char name[128];
    struct datadir_log apart = *log;
    (void)snprintf(name, sizeof(name), "%s-%" PRIu64, origin->region, origin->incarnation);
    int code = disk_join(apart.folder, data, "signed", err);
    if (code == 0)
        *ret = needs(&apart, name, ring, one);
    return code;
}

int keys_needed(const char *data, const struct keys *keys, const struct key_generation *generation, bool *ret,
                struct err *err)
{
    struct keyring ring = {.count = 0};
    struct keyring one = {.count = 1, .keys = {generation->verifier}};
    struct datadir_log *logs = mem_alloc(DATADIR_LOGS_MAX * sizeof(*logs));
    struct origin origin, own;
    size_t count = 0;
    int code = logs == NULL ? err_no_memory(err, "the logs") : ring_of_signing(keys, &ring, err);
    if (code == 0)
        code = origin_parse(bytes_of_string(generation->verifier.name), &own, err);
    if (code == 0)
        code = datadir_logs(data, logs, &count, NULL);
    code = code == ERR_NOT_FOUND ? 0 : code; /* never started: nothing was signed */
    bool needed = false;
    for (size_t i = 0; code == 0 && !needed && i < count; i++) {
        code = origin_parse(bytes_of_string(logs[i].origin), &origin, err);
        if (code != 0 || strcmp(origin.region, own.region) != 0)
            continue;
        code = needs_signed(data, &logs[i], &origin, &ring, &one, &needed, err);
        needed = needed || needs(&logs[i], "checkpoint", &ring, &one) ||
                 needs(&logs[i], "checkpoint.published", &ring, &one);
    }
    mem_free(logs);
    if (code == 0)
        *ret = needed;
    return code;
}

/* --- keys/region.pub --- */

static int add_line(struct buf *out, const char *before, const struct note_verifier *key, struct err *err)
{
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    note_verifier_format(key, vkey);
    return buf_append_format(out, "%s%s\n", before, vkey) == 0 ? 0 : err_no_memory(err, "the public keys");
}

static int add_role(const char *data, const struct keys *keys, enum key_role role, struct buf *out, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < keys->counts[role]; i++) {
        const struct key_generation *generation = &keys->generations[role][i];
        bool needed = false;
        if (!generation->is_private && role == KEY_LOG)
            code = keys_needed(data, keys, generation, &needed, err);
        if (code == 0 && generation->is_private)
            code = add_line(out, "", &generation->verifier, err);
        else if (code == 0 && needed)
            code = add_line(out, "# retired; it alone signed a checkpoint that is kept:\n", &generation->verifier, err);
    }
    return code;
}

int keys_publish(const char *data, const struct keys *keys, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct buf text, before;
    buf_init(&text, REGION_PUB_MAX_BYTES);
    buf_init(&before, REGION_PUB_MAX_BYTES);
    int code = disk_join(path, data, "keys/region.pub", err);
    if (code == 0)
        code = add_role(data, keys, KEY_LOG, &text, err);
    if (code == 0)
        code = add_role(data, keys, KEY_COSIGN, &text, err);
    if (code == 0 &&
        (disk_read_file(disk_posix(), path, &before, NULL) != 0 || !bytes_equal(buf_bytes(&before), buf_bytes(&text))))
        code = disk_replace_file(disk_posix(), path, buf_bytes(&text), 0, err);
    buf_free(&before);
    buf_free(&text);
    return code;
}

int keys_hash(const struct note_verifier *key, char out[2 * HASH_SIZE + 1], struct err *err)
{
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    struct sha256 *sha = sha256_new();
    if (sha == NULL)
        return err_no_memory(err, "a hash context");
    note_verifier_format(key, vkey);
    struct hash hash = sha256_of(sha, bytes_of_string(vkey));
    hex_encode(bytes_of(hash.bytes, HASH_SIZE), out);
    sha256_free(sha);
    return 0;
}
