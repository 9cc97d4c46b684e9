/* Backups of a data directory: what tally backup and tally restore share. */
#ifndef TALLY_BACKUP_H
#define TALLY_BACKUP_H

#include "datadir.h"

/* Written last into a backup: a folder without it is no whole backup. */
#define BACKUP_MANIFEST "BACKUP.json"
/* Written into a restored data directory; the region removes it when its next log begins (region/life.h). */
#define RESTORED_MARK "RESTORED"

enum { BACKUP_FILE_MAX_BYTES = 1024 * 1024 };

struct backup_log {
    char origin[256];
    uint64_t size;
    struct hash root;
};

/* Copies one small file, mode 0644 or private, durably; a missing one is ERR_NOT_FOUND. */
int backup_copy_file(const char *from, const char *to, const char *name, bool private, struct err *err) MUST_USE;
/* Copies the files of a folder below `from` whose name ends in suffix ("": all) to the same folder below `to`. Without
 * the folder there is nothing to copy. */
int backup_copy_folder(const char *from, const char *to, const char *folder, const char *suffix, bool private,
                       struct err *err) MUST_USE;
/* Copies the log up to the size of its checkpoint, with its notes, and compares the signed root: *ret says what was
 * copied. A log that has no checkpoint yet is copied empty. from and to are data directories or backups. ERR_CORRUPT.
 */
int backup_copy_log(const char *from, const char *to, const char *key_path, const struct datadir_log *log,
                    struct backup_log *ret, struct err *err) MUST_USE;
/* ERR_EXISTS when there is anything in the folder; makes it when it is missing. */
int backup_require_empty(const char *folder, struct err *err) MUST_USE;

#endif
