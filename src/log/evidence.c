/* Keeping evidence (evidence.h). All files are replaced atomically; order of writing is the crash argument: text before
 * note when kept, both copies before the original is removed when resolved. */
#include "log/evidence.h"

#include <stdio.h>

#include "crypto/note.h"

enum { TEXT_MAX_BYTES = 8 * 1024 };

static const char folder_name[] = "evidence";
static const char resolved_name[] = "evidence/resolved";

static int file_path(char out[DISK_PATH_MAX_BYTES], const char *folder, const char *name, const char *suffix,
                     struct err *err)
{
    char file[EVIDENCE_NAME_BYTES + 8];
    snprintf(file, sizeof(file), "%s%s", name, suffix);
    return disk_join(out, folder, file, err);
}

static int check_reason(const char *reason, struct err *err)
{
    size_t size = strlen(reason);
    bool fine = size > 0 && size <= EVIDENCE_REASON_MAX_BYTES && utf8_valid(bytes_of_string(reason));
    for (size_t i = 0; fine && i < size; i++)
        fine = (unsigned char)reason[i] >= 0x20;
    return fine ? 0
                : err_set(err, ERR_INVALID, "a reason is one line of text, of at most %d bytes",
                          EVIDENCE_REASON_MAX_BYTES);
}

/* --- The text --- */

static int write_text(struct disk *disk, const char *folder, const struct evidence *what, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct buf text;
    buf_init(&text, TEXT_MAX_BYTES);
    int code =
        buf_append_format(&text, "kind: %s\nlog: %s\nkept_at_ms: %llu\nreason: %s\n", what->fork ? "fork" : "signature",
                          what->log, (unsigned long long)what->kept_at_ms, what->reason);
    if (code == 0 && what->resolved_at_ms > 0)
        code = buf_append_format(&text, "resolved_at_ms: %llu\nresolution: %s\n",
                                 (unsigned long long)what->resolved_at_ms, what->resolution);
    if (code != 0)
        err_no_memory(err, "the evidence");
    if (code == 0)
        code = file_path(path, folder, what->name, ".txt", err);
    if (code == 0)
        code = disk_replace_file(disk, path, buf_bytes(&text), 0, err);
    buf_free(&text);
    return code;
}

/* The value of a line "<key>: <value>", copied; false when there is none or it does not fit. */
static bool take_value(struct bytes text, const char *key, char *out, size_t out_size)
{
    size_t key_size = strlen(key);
    for (size_t at = 0; at < text.size_bytes;) {
        const char *line = (const char *)text.data + at;
        const char *end = memchr(line, '\n', text.size_bytes - at);
        if (end == NULL)
            return false;
        size_t size = (size_t)(end - line);
        at += size + 1;
        if (size < key_size + 2 || memcmp(line, key, key_size) != 0 || memcmp(line + key_size, ": ", 2) != 0)
            continue;
        size -= key_size + 2;
        if (size >= out_size || memchr(line + key_size + 2, 0, size) != NULL)
            return false;
        memcpy(out, line + key_size + 2, size);
        out[size] = '\0';
        return true;
    }
    return false;
}

static bool take_number(struct bytes text, const char *key, uint64_t *ret)
{
    char digits[24];
    return take_value(text, key, digits, sizeof(digits)) && parse_u64(digits, strlen(digits), ret) == 0;
}

static bool parse_text(struct bytes text, struct evidence *ret)
{
    char kind[16];
    bool fine = take_value(text, "kind", kind, sizeof(kind)) && take_value(text, "log", ret->log, sizeof(ret->log)) &&
                take_number(text, "kept_at_ms", &ret->kept_at_ms) &&
                take_value(text, "reason", ret->reason, sizeof(ret->reason));
    if (!fine || (strcmp(kind, "fork") != 0 && strcmp(kind, "signature") != 0))
        return false;
    ret->fork = strcmp(kind, "fork") == 0;
    if (!take_number(text, "resolved_at_ms", &ret->resolved_at_ms))
        return true;
    return take_value(text, "resolution", ret->resolution, sizeof(ret->resolution));
}

static void describe_unexplained(struct bytes message, struct evidence *ret)
{
    struct note note;
    struct checkpoint checkpoint;
    copy_string(ret->reason, sizeof(ret->reason), "it was kept without a reason");
    if (note_parse(message, &note, NULL) == 0 && checkpoint_parse(note.text, &checkpoint, NULL) == 0) {
        ret->fork = true;
        copy_string(ret->log, sizeof(ret->log), checkpoint.origin);
    }
}

/* --- Reading --- */

static int read_one(struct disk *disk, const char *folder, struct evidence *ret, struct buf *note, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct buf text;
    buf_init(&text, TEXT_MAX_BYTES);
    int code = file_path(path, folder, ret->name, ".note", err);
    if (code == 0)
        code = disk_read_file(disk, path, note, err);
    if (code == 0)
        code = file_path(path, folder, ret->name, ".txt", err);
    if (code != 0)
        goto done;
    code = disk_read_file(disk, path, &text, err);
    if (code == ERR_NOT_FOUND) {
        describe_unexplained(buf_bytes(note), ret);
        code = 0;
    } else if (code == 0 && !parse_text(buf_bytes(&text), ret)) {
        code = err_set(err, ERR_CORRUPT, "%s does not say why the note beside it was kept; move it away", path);
    }
done:
    buf_free(&text);
    return code;
}

struct walk {
    struct disk *disk;
    const char *folder;
    evidence_fn *each;
    void *context;
    struct err *err;
};

/* "<sha256>.note" */
static bool take_name(const char *file, char out[EVIDENCE_NAME_BYTES + 1])
{
    uint8_t hash[HASH_SIZE];
    if (strlen(file) != EVIDENCE_NAME_BYTES + 5 || strcmp(file + EVIDENCE_NAME_BYTES, ".note") != 0 ||
        hex_decode(file, EVIDENCE_NAME_BYTES, hash, HASH_SIZE) != 0)
        return false;
    memcpy(out, file, EVIDENCE_NAME_BYTES);
    out[EVIDENCE_NAME_BYTES] = '\0';
    return true;
}

static int visit(void *context, const char *name, bool is_dir)
{
    const struct walk *walk = context;
    struct evidence evidence = {.fork = false};
    struct buf note;
    if (is_dir || !take_name(name, evidence.name))
        return 0;
    buf_init(&note, NOTE_MAX_BYTES);
    int code = read_one(walk->disk, walk->folder, &evidence, &note, walk->err);
    if (code == ERR_NOT_FOUND) /* an operator has just moved it away */
        code = 0;
    else if (code == 0)
        code = walk->each(walk->context, &evidence, buf_bytes(&note));
    buf_free(&note);
    return code;
}

int evidence_each(struct disk *disk, const char *data, bool resolved, evidence_fn *each, void *context, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    struct walk walk = {.disk = disk, .folder = folder, .each = each, .context = context, .err = err};
    int code = disk_join(folder, data, resolved ? resolved_name : folder_name, err);
    if (code == 0)
        code = disk_list(disk, folder, visit, &walk, err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

/* --- Keeping --- */

static int count_name(void *context, const char *name, bool is_dir)
{
    size_t size = strlen(name);
    if (!is_dir && size > 5 && strcmp(name + size - 5, ".note") == 0)
        ++*(size_t *)context;
    return 0;
}

int evidence_keep(struct disk *disk, const char *data, struct bytes note, struct sha256 *sha, struct evidence *what,
                  struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    uint32_t mode = 0;
    size_t count = 0;
    struct hash hash = sha256_of(sha, note);
    hex_encode(bytes_of(hash.bytes, HASH_SIZE), what->name);
    int code = check_reason(what->reason, err);
    if (code == 0)
        code = disk_join(folder, data, folder_name, err);
    if (code == 0)
        code = file_path(path, folder, what->name, ".note", err);
    if (code == 0)
        code = disk_make_dir(disk, folder, err);
    if (code != 0 || disk_mode(disk, path, &mode, NULL) == 0)
        return code;
    code = disk_list(disk, folder, count_name, &count, err);
    if (code == 0 && count >= (what->fork ? EVIDENCE_FORK_FILES_MAX : EVIDENCE_FILES_MAX))
        code = err_set(err, ERR_TOO_LARGE, "%zu notes are there already; look at them with tally evidence", count);
    if (code == 0)
        code = write_text(disk, folder, what, err);
    return code == 0 ? disk_replace_file(disk, path, note, 0, err) : code;
}

/* --- Resolving --- */

static int remove_from(struct disk *disk, const char *folder, const char *name, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = file_path(path, folder, name, ".note", err);
    if (code == 0)
        code = disk_remove(disk, path, err);
    if (code == 0)
        code = disk_sync_dir(disk, folder, err);
    if (code == 0)
        code = file_path(path, folder, name, ".txt", err);
    if (code == 0)
        code = disk_remove(disk, path, err);
    if (code == 0 || code == ERR_NOT_FOUND)
        code = disk_sync_dir(disk, folder, err);
    return code;
}

int evidence_resolve(struct disk *disk, const char *data, const char *name, const char *reason, uint64_t now_ms,
                     struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    char resolved[DISK_PATH_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    char file[EVIDENCE_NAME_BYTES + 8];
    struct evidence evidence = {.fork = false};
    struct buf note;
    snprintf(file, sizeof(file), "%.*s.note", EVIDENCE_NAME_BYTES, name);
    if (strlen(name) != EVIDENCE_NAME_BYTES || !take_name(file, evidence.name))
        return err_set(err, ERR_INVALID, "\"%.80s\" is no name of evidence: see tally evidence list", name);
    int code = check_reason(reason, err);
    if (code != 0)
        return code;
    buf_init(&note, NOTE_MAX_BYTES);
    code = disk_join(folder, data, folder_name, err);
    if (code == 0)
        code = disk_join(resolved, data, resolved_name, err);
    if (code == 0)
        code = file_path(path, resolved, name, ".note", err);
    if (code == 0)
        code = read_one(disk, folder, &evidence, &note, err);
    if (code == 0)
        code = disk_make_dir(disk, resolved, err);
    evidence.resolved_at_ms = now_ms;
    copy_string(evidence.resolution, sizeof(evidence.resolution), reason);
    if (code == 0)
        code = write_text(disk, resolved, &evidence, err);
    if (code == 0)
        code = disk_replace_file(disk, path, buf_bytes(&note), 0, err);
    if (code == 0)
        code = remove_from(disk, folder, name, err);
    buf_free(&note);
    return code;
}
