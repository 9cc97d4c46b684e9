/* Looking at a log's files (data_log.h). */
#include "data_log.h"

#include "datadir.h"

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
    buf_init(&ret->note, NOTE_MAX_BYTES);
    int rc = origin_parse(bytes_of_string(text), &origin, err);
    if (rc == 0)
        rc = datadir_log_folder(data, &origin, ret->folder, err);
    if (rc == 0)
        rc = datadir_keys(data, key_path, &origin, &ret->keys, err);
    if (rc == 0)
        rc = load_checkpoint(ret->folder, &ret->note, err);
    if (rc == 0)
        rc = keyring_open(buf_bytes(&ret->note), &ret->keys, text, &ret->checkpoint, err);
    return rc;
}

void data_log_free(struct data_log *log)
{
    buf_free(&log->note);
}
