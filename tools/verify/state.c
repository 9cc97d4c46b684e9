/* The state file (state.h):
 *
 *   { "format": "tally-verify state 1",
 *     "logs": [ { "origin", "key": vkey, "size", "root": base64, "range": [base64 …], "note": text } … ] } */
#include "verify/state.h"

#include <jansson.h>
#include <stdio.h>

#include "base/mem.h"

#define FORMAT_NAME "tally-verify state 1"
enum { HASH_TEXT_BYTES = BASE64_ENCODED_SIZE(HASH_SIZE) + 1, EVIDENCE_MAX_BYTES = 16 * 1024 * 1024 };

static void free_log(struct state_log *log)
{
    if (log == NULL)
        return;
    buf_free(&log->note);
    mem_free(log);
}

void state_free(struct state *state)
{
    if (state == NULL)
        return;
    for (size_t i = 0; i < state->count; i++)
        free_log(state->logs[i]);
    mem_free(state);
}

static bool read_hash(const json_t *value, struct hash *ret)
{
    const char *text = json_string_value(value);
    size_t size = 0;
    return text != NULL && base64_decode(text, strlen(text), ret->bytes, HASH_SIZE, &size) == 0 && size == HASH_SIZE;
}

static bool read_text(const json_t *value, char *out, size_t out_size)
{
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) >= out_size)
        return false;
    copy_string(out, out_size, text);
    return true;
}

static bool read_log(const json_t *object, struct state_log *log)
{
    const json_t *range = json_object_get(object, "range");
    json_int_t size = json_integer_value(json_object_get(object, "size"));
    const char *note = json_string_value(json_object_get(object, "note"));
    buf_init(&log->note, NOTE_MAX_BYTES);
    if (!read_text(json_object_get(object, "origin"), log->origin, sizeof(log->origin)) ||
        !read_text(json_object_get(object, "key"), log->vkey, sizeof(log->vkey)) || size <= 0 || note == NULL ||
        !read_hash(json_object_get(object, "root"), &log->root) ||
        json_array_size(range) != merkle_range_hash_count((uint64_t)size) || buf_append_string(&log->note, note) != 0)
        return false;
    log->range.size = (uint64_t)size;
    for (size_t i = 0; i < json_array_size(range); i++) {
        if (!read_hash(json_array_get(range, i), &log->range.hashes[i]))
            return false;
    }
    struct sha256 *sha = sha256_new();
    if (sha == NULL)
        return false;
    struct hash root = merkle_range_root(&log->range, sha);
    sha256_free(sha);
    return hash_equal(&root, &log->root);
}

static int parse(struct state *state, const struct buf *text, struct err *err)
{
    json_error_t error;
    json_t *document = json_loadb((const char *)text->data, text->size_bytes, JSON_REJECT_DUPLICATES, &error);
    const json_t *logs = json_object_get(document, "logs");
    const char *format = json_string_value(json_object_get(document, "format"));
    int code = 0;
    if (format == NULL || strcmp(format, FORMAT_NAME) != 0 || !json_is_array(logs) ||
        json_array_size(logs) > STATE_LOGS_MAX)
        code = err_set(err, ERR_INVALID, "%s is not a state file of this program: name another, or restore it",
                       state->path);
    for (size_t i = 0; code == 0 && i < json_array_size(logs); i++) {
        struct state_log *log = mem_alloc_zero(1, sizeof(*log));
        if (log == NULL) {
            code = err_no_memory(err, "the state");
        } else {
            state->logs[state->count++] = log;
            if (!read_log(json_array_get(logs, i), log) || state_find(state, log->origin, log->vkey) != log)
                code = err_set(err, ERR_INVALID, "record %zu of %s is damaged: restore the file, do not delete it", i,
                               state->path);
        }
    }
    json_decref(document);
    return code;
}

int state_load(struct disk *disk, const char *path, struct state **ret, struct err *err)
{
    struct buf text;
    struct state *state = mem_alloc_zero(1, sizeof(*state));
    if (state == NULL)
        return err_no_memory(err, "the state");
    state->disk = disk;
    state->path = path;
    buf_init(&text, STATE_MAX_BYTES);
    int code = disk_read_file(disk, path, &text, err);
    if (code == ERR_NOT_FOUND)
        code = 0;
    else if (code == 0)
        code = parse(state, &text, err);
    buf_free(&text);
    if (code != 0) {
        state_free(state);
        return code;
    }
    *ret = state;
    return 0;
}

const struct state_log *state_find(const struct state *state, const char *origin, const char *vkey)
{
    for (size_t i = 0; i < state->count; i++) {
        if (strcmp(state->logs[i]->origin, origin) == 0 && strcmp(state->logs[i]->vkey, vkey) == 0)
            return state->logs[i];
    }
    return NULL;
}

int state_put(struct state *state, const char *origin, const char *vkey, const struct merkle_range *range,
              const struct hash *root, struct bytes note, struct err *err)
{
    struct state_log *log = mem_alloc_zero(1, sizeof(*log));
    size_t at = 0;
    while (at < state->count &&
           (strcmp(state->logs[at]->origin, origin) != 0 || strcmp(state->logs[at]->vkey, vkey) != 0))
        at++;
    if (log == NULL)
        return err_no_memory(err, "the state");
    buf_init(&log->note, NOTE_MAX_BYTES);
    if (at == STATE_LOGS_MAX || buf_append(&log->note, note) != 0) {
        free_log(log);
        return err_set(err, ERR_TOO_LARGE, "%s has no room for another log", state->path);
    }
    copy_string(log->origin, sizeof(log->origin), origin);
    copy_string(log->vkey, sizeof(log->vkey), vkey);
    log->range = *range;
    log->root = *root;
    free_log(at < state->count ? state->logs[at] : NULL);
    state->logs[at] = log;
    state->count += at == state->count;
    state->changed = true;
    return 0;
}

static json_t *hash_json(const struct hash *hash)
{
    char text[HASH_TEXT_BYTES];
    base64_encode(bytes_of(hash->bytes, HASH_SIZE), text);
    return json_string(text);
}

static json_t *log_json(const struct state_log *log)
{
    json_t *range = json_array();
    for (size_t i = 0; i < merkle_range_hash_count(log->range.size); i++)
        json_array_append_new(range, hash_json(&log->range.hashes[i]));
    return json_pack("{s:s, s:s, s:I, s:o, s:o, s:s%}", "origin", log->origin, "key", log->vkey, "size",
                     (json_int_t)log->range.size, "root", hash_json(&log->root), "range", range, "note",
                     (const char *)log->note.data, log->note.size_bytes);
}

static int append_json(const char *text, size_t size, void *context)
{
    return buf_append(context, bytes_of(text, size)) == 0 ? 0 : -1;
}

int state_save(struct state *state, struct err *err)
{
    if (!state->changed)
        return 0;
    json_t *logs = json_array();
    for (size_t i = 0; i < state->count; i++)
        json_array_append_new(logs, log_json(state->logs[i]));
    json_t *document = json_pack("{s:s, s:o}", "format", FORMAT_NAME, "logs", logs);
    struct buf text;
    buf_init(&text, STATE_MAX_BYTES);
    int code = 0;
    if (document == NULL || json_dump_callback(document, append_json, &text, JSON_INDENT(1)) != 0)
        code = err_no_memory(err, "the state");
    if (code == 0)
        code = disk_replace_file(state->disk, state->path, buf_bytes(&text), 0, err);
    state->changed = state->changed && code != 0;
    buf_free(&text);
    json_decref(document);
    return code;
}

int state_keep_evidence(struct state *state, const char *reason, struct bytes a, struct bytes b, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct buf text;
    buf_init(&text, EVIDENCE_MAX_BYTES);
    if ((size_t)snprintf(path, sizeof(path), "%s.evidence", state->path) >= sizeof(path))
        return err_set(err, ERR_TOO_LARGE, "the path %s is too long", state->path);
    int code = disk_read_file(state->disk, path, &text, err);
    if (code == ERR_NOT_FOUND)
        code = 0;
    if (code == 0 && (buf_append_format(&text, "=== %s\n--- one\n", reason) != 0 || buf_append(&text, a) != 0 ||
                      buf_append_string(&text, "--- the other\n") != 0 || buf_append(&text, b) != 0))
        code = err_set(err, ERR_TOO_LARGE, "%s is full: move it away", path);
    if (code == 0)
        code = disk_replace_file(state->disk, path, buf_bytes(&text), 0, err);
    buf_free(&text);
    return code;
}
