/* The signed notes beside the segments: the latest checkpoint, and the latest one that peers cosigned (log.h).
 *
 * What a log signed once binds it for ever, so the stored note is compared before it is replaced: never a smaller size,
 * never another root for the same size. The file is replaced by rename, so after a crash there is the old note or the
 * new one. Signatures are the caller's to make and to check. */
#include "crypto/note.h"
#include "log/log_internal.h"

static const char *checkpoint_name(bool published)
{
    return published ? "checkpoint.published" : "checkpoint";
}

int log_load_checkpoint(struct log *log, bool published, struct buf *out, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, log->folder, checkpoint_name(published), err);
    return code != 0 ? code : disk_read_file(log->disk, path, out, err);
}

static int parse_note_checkpoint(struct bytes message, struct checkpoint *ret, struct err *err)
{
    struct note note;
    int code = note_parse(message, &note, err);
    return code != 0 ? code : checkpoint_parse(note.text, ret, err);
}

int log_stored_checkpoint_size(struct log *log, bool published, uint64_t *ret, struct err *err)
{
    struct buf stored;
    struct checkpoint checkpoint;
    buf_init(&stored, NOTE_MAX_BYTES);
    int code = log_load_checkpoint(log, published, &stored, err);
    if (code == 0 && parse_note_checkpoint(buf_bytes(&stored), &checkpoint, err) != 0)
        code = err_wrap(err, ERR_CORRUPT, "%s/%s is damaged", log->folder, checkpoint_name(published));
    buf_free(&stored);
    if (code != 0 && code != ERR_NOT_FOUND)
        return code;
    *ret = code == 0 ? checkpoint.size : 0;
    return 0;
}

int log_save_checkpoint(struct log *log, struct bytes note, bool published, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct checkpoint fresh, stored;
    struct buf old;
    int code = disk_join(path, log->folder, checkpoint_name(published), err);
    if (code == 0)
        code = parse_note_checkpoint(note, &fresh, err);
    if (code != 0)
        return code;
    if (strcmp(fresh.origin, log->origin) != 0)
        return err_set(err, ERR_MISMATCH, "a checkpoint of %s cannot be stored with log %s", fresh.origin, log->origin);
    if (fresh.size > log_durable_size(log))
        return err_set(err, ERR_INVALID, "log %s has %llu entries, a checkpoint of size %llu cannot be stored",
                       log->origin, (unsigned long long)log_durable_size(log), (unsigned long long)fresh.size);
    buf_init(&old, NOTE_MAX_BYTES);
    code = disk_read_file(log->disk, path, &old, err);
    if (code == 0) {
        code = parse_note_checkpoint(buf_bytes(&old), &stored, err);
        if (code == 0 &&
            (fresh.size < stored.size || (fresh.size == stored.size && !hash_equal(&fresh.root, &stored.root))))
            code = err_set(err, ERR_FORK, "log %s: a checkpoint of size %llu is stored, and one of size %llu %s",
                           log->origin, (unsigned long long)stored.size, (unsigned long long)fresh.size,
                           fresh.size < stored.size ? "would go back" : "has another root");
    } else if (code == ERR_NOT_FOUND) {
        code = 0;
    }
    buf_free(&old);
    return code != 0 ? code : disk_replace_file(log->disk, path, note, 0, err);
}
