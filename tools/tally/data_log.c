/* Looking at a log's files (data_log.h). */
#include "data_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crypto/keyfile.h"
#include "domain/position.h"

enum { KEYS_MAX = 64 };

/* All incarnations of a region's log have one key. */
static bool same_region(const char *name, const char *origin)
{
    const char *incarnation = strrchr(origin, '/');
    return incarnation != NULL && strncmp(name, origin, (size_t)(incarnation - origin) + 1) == 0;
}

int data_log_find_key(const char *path, const char *origin, struct note_verifier *ret, struct err *err)
{
    struct note_verifier keys[KEYS_MAX];
    size_t count = 0;
    int rc = keyfile_load_public(disk_posix(), path, keys, KEYS_MAX, &count, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        if (keys[i].type == NOTE_KEY_ED25519 && same_region(keys[i].name, origin)) {
            *ret = keys[i];
            return note_verifier_rename(ret, origin, err);
        }
    }
    return err_set(err, ERR_NOT_FOUND, "%s holds no key of the log %s: name its file with --key FILE", path, origin);
}

/* The region's own public keys, or those kept for the peer. */
static int load_key(const char *data, const char *text, const struct origin *origin, struct note_verifier *ret,
                    struct err *err)
{
    char name[DISK_PATH_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    int rc = disk_join(path, data, "keys/region.pub", err);
    if (rc == 0 && data_log_find_key(path, text, ret, NULL) == 0)
        return 0;
    (void)snprintf(name, sizeof(name), "keys/peer-%s.pub", origin->region);
    if (rc == 0)
        rc = disk_join(path, data, name, err);
    return rc == 0 ? data_log_find_key(path, text, ret, err) : rc;
}

static int read_note(const char *folder, const char *name, struct buf *out, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int rc = disk_join(path, folder, name, err);
    return rc == 0 ? disk_read_file(disk_posix(), path, out, err) : rc;
}

static int load_checkpoint(const char *folder, struct buf *out, struct err *err)
{
    int rc = read_note(folder, "checkpoint.published", out, err);
    if (rc == ERR_NOT_FOUND)
        rc = read_note(folder, "checkpoint", out, err);
    if (rc == ERR_NOT_FOUND)
        rc =
            err_set(err, rc, "%s has no checkpoint yet: is --data the data directory, and has its server been running?",
                    folder);
    return rc;
}

int data_log_open(const char *data, const char *text, const char *key_path, struct data_log *ret, struct err *err)
{
    struct origin origin;
    char name[DISK_PATH_MAX_BYTES];
    buf_init(&ret->note, NOTE_MAX_BYTES);
    int rc = origin_parse(bytes_of_string(text), &origin, err);
    if (rc != 0)
        return rc;
    (void)snprintf(name, sizeof(name), "logs/%s-%" PRIu64, origin.region, origin.incarnation);
    rc = disk_join(ret->folder, data, name, err);
    if (rc == 0 && key_path != NULL)
        rc = data_log_find_key(key_path, text, &ret->key, err);
    else if (rc == 0)
        rc = load_key(data, text, &origin, &ret->key, err);
    if (rc == 0)
        rc = load_checkpoint(ret->folder, &ret->note, err);
    if (rc == 0)
        rc = checkpoint_open(buf_bytes(&ret->note), &ret->key, &ret->checkpoint, err);
    return rc;
}

void data_log_free(struct data_log *log)
{
    buf_free(&log->note);
}
