/* Finding one's way in a data directory (datadir.h). Reads only, but for the lock. */
#include "datadir.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "crypto/keyfile.h"
#include "log/scan.h"

enum { KEYS_MAX = 64 };

struct listing {
    const char *logs_folder;
    struct datadir_log *logs;
    size_t count;
    struct err *err;
};

static int list_log(void *context, const char *name, bool is_dir)
{
    struct listing *listing = context;
    if (!is_dir)
        return 0;
    if (listing->count == DATADIR_LOGS_MAX)
        return err_set(listing->err, ERR_TOO_LARGE, "more than %d logs", DATADIR_LOGS_MAX);
    struct datadir_log *log = &listing->logs[listing->count];
    int code = disk_join(log->folder, listing->logs_folder, name, listing->err);
    if (code == 0)
        code = scan_origin(disk_posix(), log->folder, log->origin, listing->err);
    if (code == ERR_NOT_FOUND)
        return 0; /* a crash left it while it was made */
    if (code == 0)
        listing->count++;
    return code;
}

int datadir_logs(const char *data, struct datadir_log *ret, size_t *ret_count, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    struct listing listing = {.logs_folder = folder, .logs = ret, .err = err};
    int code = disk_join(folder, data, "logs", err);
    if (code == 0)
        code = disk_list(disk_posix(), folder, list_log, &listing, err);
    if (code == ERR_NOT_FOUND)
        code = err_set(err, code, "%s is no data directory: it has no folder logs", data);
    if (code == 0)
        *ret_count = listing.count;
    return code;
}

int datadir_log_folder(const char *data, const struct origin *origin, char out[DISK_PATH_MAX_BYTES], struct err *err)
{
    char name[128];
    (void)snprintf(name, sizeof(name), "logs/%s-%" PRIu64, origin->region, origin->incarnation);
    return disk_join(out, data, name, err);
}

/* Adds the log's public keys among those in a file, renamed to the log's name. ERR_NOT_FOUND: none. */
static int find_keys(const char *path, const struct origin *origin, struct keyring *ret, struct err *err)
{
    struct note_verifier keys[KEYS_MAX];
    struct keyring ring = {.count = 0};
    struct origin named;
    char name[256];
    size_t count = 0;
    origin_format(origin, name);
    int code = keyfile_load_public(disk_posix(), path, keys, KEYS_MAX, &count, err);
    for (size_t i = 0; code == 0 && i < count; i++) {
        if (keys[i].type != NOTE_KEY_ED25519 || origin_parse(bytes_of_string(keys[i].name), &named, NULL) != 0 ||
            strcmp(named.cluster, origin->cluster) != 0 || strcmp(named.region, origin->region) != 0)
            continue;
        code = note_verifier_rename(&keys[i], name, err);
        if (code == 0)
            code = keyring_add(&ring, &keys[i], err);
    }
    if (code == 0 && ring.count == 0)
        code = err_set(err, ERR_NOT_FOUND, "%s holds no key of the log %s: name its file with --key FILE", path, name);
    if (code == 0)
        *ret = ring;
    return code;
}

int datadir_keys(const char *data, const char *key_path, const struct origin *origin, struct keyring *ret,
                 struct err *err)
{
    char name[128];
    char path[DISK_PATH_MAX_BYTES];
    if (key_path != NULL)
        return find_keys(key_path, origin, ret, err);
    int code = disk_join(path, data, "keys/region.pub", err);
    if (code == 0 && find_keys(path, origin, ret, NULL) == 0)
        return 0;
    (void)snprintf(name, sizeof(name), "keys/peer-%s.pub", origin->region);
    if (code == 0)
        code = disk_join(path, data, name, err);
    return code == 0 ? find_keys(path, origin, ret, err) : code;
}

int datadir_checkpoint(const char *folder, const char *name, const char *origin, const struct keyring *keys,
                       struct checkpoint *ret, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct buf note;
    buf_init(&note, NOTE_MAX_BYTES);
    int code = disk_join(path, folder, name, err);
    if (code == 0)
        code = disk_read_file(disk_posix(), path, &note, err);
    if (code == 0) {
        code = keyring_open(buf_bytes(&note), keys, origin, ret, err);
        if (code != 0)
            code = err_wrap(err, code, "%s", path);
    }
    buf_free(&note);
    return code;
}

int datadir_lock(const char *data, struct disk_file **ret, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct disk_file *lock = NULL;
    int code = disk_join(path, data, "LOCK", err);
    if (code == 0)
        code = disk_open(disk_posix(), path, DISK_WRITE | DISK_CREATE, &lock, err);
    if (code == 0)
        code = disk_lock(lock, err);
    if (code != 0) {
        disk_close(lock);
        return code == ERR_LOCKED ? err_set(err, code, "a tallyd runs on %s: stop it first", data) : code;
    }
    *ret = lock;
    return 0;
}
