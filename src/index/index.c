/* The front of the index: opening, the numbers of logs, and look-ups. change.c says what the store holds, apply.c how
 * entries get there, late.c what becomes of those that came too late.
 *
 * Invariants:
 *   1. One apply is one batch of the store, and the log's new applied size is in it. Batches survive a crash in order.
 * So the applied sizes found are those of exactly the entries found, and every state found is one that once was.
 *   2. A log's number is written before any entry that mentions it (same argument), so no place names an unknown log.
 *   3. The format number is the first thing written: a folder with contents but without it is not an index. The digest
 * of the contexts comes next: an index that was made with other homes has other answers, so it is made again.
 *
 * Crash behaviour: invariant 1. Opening finds applied sizes at or below those before the crash; the caller replays from
 * there. An interrupted restoring is finished.
 *
 * Failure: an apply that fails shows nothing. What is read back is checked for its shape and for known logs; what does
 * not fit is ERR_CORRUPT, and the message says what happens next. */
#include "base/assert.h"
#include "base/mem.h"
#include "index/files.h"
#include "index/versions.h"
#include "platform/clock.h"

enum { FORMAT_NUMBER = 4 };

_Static_assert((int)EVENT_PREFIX == (int)FILES_GROWING, "ids grow with time");

/* The keys that are many, and that are walked to only across a gap in a stream's versions. */
static const char unordered_keys[] = {EVENT_PREFIX, HEAD_PREFIX, VERSION_PREFIX, 0};

/* --- Shared --- */

int index_corrupt(struct index *index, const char *what, struct err *err)
{
    return store_corrupt(index->store, what, err);
}

int index_check_place(struct index *index, struct index_place place, struct err *err)
{
    return place.log < logs_count(&index->logs)
               ? 0
               : index_corrupt(index, "a place names a log that was never numbered", err);
}

int index_read(struct index *index, const struct store_view *view, struct bytes key, struct buf *value, bool *ret_found,
               struct err *err)
{
    return store_get(index->store, view, key, value, ret_found, err);
}

int index_read_event(struct index *index, const struct store_view *view, const uint8_t id[ENTRY_ID_SIZE],
                     struct event_record *ret, bool *ret_found, struct err *err)
{
    struct key key;
    struct buf value;
    bool found = false;
    buf_init(&value, STORE_VALUE_MAX_BYTES);
    int code = store_get(index->store, view, id_key(&key, EVENT_PREFIX, id), &value, &found, err);
    if (code == 0 && found && !event_decode(id, buf_bytes(&value), ret))
        code = index_corrupt(index, "the place of an event cannot be read", err);
    if (code == 0 && found)
        code = index_check_place(index, ret->place, err);
    buf_free(&value);
    if (code == 0)
        *ret_found = found;
    return code;
}

bool index_precedes(struct index *index, hlc time_a, struct index_place a, hlc time_b, struct index_place b)
{
    if (time_a != time_b)
        return time_a < time_b;
    int order = strcmp(index->logs.origins[a.log], index->logs.origins[b.log]);
    return order != 0 ? order < 0 : a.index < b.index;
}

bool ruling_is_first(struct index *index, struct ruling *ruling, struct index_place place, uint64_t epoch, hlc time)
{
    bool first = !ruling->found || epoch < ruling->epoch ||
                 (epoch == ruling->epoch && index_precedes(index, time, place, ruling->time, ruling->place));
    if (first)
        *ruling = (struct ruling){.found = true, .place = place, .epoch = epoch, .time = time};
    return first;
}

uint32_t index_next_log(struct index *index, const char *origin)
{
    uint32_t count = logs_count(&index->logs);
    uint32_t best = count;
    for (uint32_t log = 0; log < count; log++) {
        if (origin != NULL && strcmp(index->logs.origins[log], origin) <= 0)
            continue;
        if (best == count || strcmp(index->logs.origins[log], index->logs.origins[best]) < 0)
            best = log;
    }
    return best;
}

bool index_is_late(struct index *index, struct index_place place, struct bytes context, struct bytes partition,
                   uint64_t epoch)
{
    const struct origin *origin = logs_parsed_origin(&index->logs, place.log);
    return authority_is_late(&index->table, context, partition, epoch, origin->region, origin->incarnation,
                             place.index);
}

/* --- Logs --- */

static int keep_origin(void *context, uint32_t log, struct bytes origin, struct err *err)
{
    struct key key;
    struct index *index = context;
    return store_put_alone(index->store, meta_key(&key, META_ORIGIN, log), origin, err);
}

int index_log(struct index *index, struct bytes origin, uint32_t *ret_log, struct err *err)
{
    PRE(origin.size_bytes > 0 && origin.size_bytes <= INDEX_ORIGIN_MAX_BYTES);
    return logs_number(&index->logs, origin, keep_origin, index, ret_log, err);
}

int index_origin(struct index *index, uint32_t log, char ret[INDEX_ORIGIN_MAX_BYTES + 1], struct err *err)
{
    return logs_origin(&index->logs, log, ret, err);
}

uint64_t index_applied_size(struct index *index, uint32_t log)
{
    return log < INDEX_LOGS_MAX ? logs_applied_size(&index->logs, log) : 0;
}

uint64_t index_sequence(struct index *index)
{
    return logs_sequence(&index->logs);
}

/* --- Look-ups --- */

static int read_head(struct index *index, const struct store_view *view, struct bytes key, struct head_record *ret,
                     struct err *err)
{
    struct buf value;
    bool found = false;
    buf_init(&value, STORE_VALUE_MAX_BYTES);
    int code = store_get(index->store, view, key, &value, &found, err);
    if (code == 0 && !found)
        code = ERR_NOT_FOUND;
    if (code == 0 && !head_decode(buf_bytes(&value), ret))
        code = index_corrupt(index, "a stream's head cannot be read", err);
    if (code == 0)
        code = index_check_place(index, ret->place, err);
    buf_free(&value);
    return code;
}

int index_head(struct index *index, struct bytes context, struct bytes stream, struct index_head *ret, struct err *err)
{
    struct key key;
    struct head_record head;
    int code = read_head(index, STORE_LATEST, head_key(&key, context, stream), &head, err);
    if (code == 0)
        *ret = (struct index_head){.version = head.version, .place = head.place};
    return code;
}

int index_event(struct index *index, const uint8_t id[ENTRY_ID_SIZE], struct index_event *ret, struct err *err)
{
    struct event_record event;
    bool found = false;
    int code = index_read_event(index, STORE_LATEST, id, &event, &found, err);
    if (code != 0)
        return code;
    if (!found)
        return ERR_NOT_FOUND;
    *ret = (struct index_event){.place = event.place,
                                .fingerprint = event.fingerprint,
                                .stream_version = event.stream_version,
                                .late = event.late,
                                .commutative = event.commutative};
    return 0;
}

struct scan {
    struct index_place *ret_places;
    size_t max;
    size_t count;
};

static int see_version(void *context, const struct version *version)
{
    struct scan *scan = context;
    scan->ret_places[scan->count++] = version->place;
    return scan->count == scan->max ? ERR_END : 0;
}

/* The head says how far versions go, so that nothing need be looked for behind it. */
static int scan_view(struct index *index, const struct store_view *view, struct bytes context, struct bytes stream,
                     uint64_t from_version, bool backwards, struct scan *scan, struct err *err)
{
    struct key key;
    struct head_record head;
    int code = read_head(index, view, head_key(&key, context, stream), &head, err);
    if (code == ERR_NOT_FOUND || (code == 0 && !backwards && from_version > head.version))
        return 0;
    if (code != 0)
        return code;
    uint64_t from = from_version > head.version ? head.version : from_version;
    return versions_walk(index, view, context, stream, from, backwards ? 0 : head.version, see_version, scan, err);
}

int index_scan(struct index *index, struct bytes context, struct bytes stream, uint64_t from_version, bool backwards,
               struct index_place *ret_places, size_t max, size_t *ret_count, struct err *err)
{
    PRE(max >= 1 && max <= INDEX_SCAN_MAX);
    struct scan scan = {.ret_places = ret_places, .max = max};
    struct store_view *view = NULL;
    int code = store_view_open(index->store, &view, err);
    if (code != 0)
        return code;
    code = scan_view(index, view, context, stream, from_version, backwards, &scan, err);
    store_view_close(index->store, view);
    if (code == 0)
        *ret_count = scan.count;
    return code;
}

/* --- Entries without a version --- */

/* Keys sort by the numbers of logs, which differ from index to index: entries of one time, of which each log has one at
 * most, are put in order here. */
struct loose_scan {
    struct index *index;
    struct index_place *ret_places;
    size_t max;
    size_t count;
    size_t same_from; /* the first with the time of the last */
    hlc time;         /* of the last */
    const struct index_loose_cursor *cursor;
};

static int see_loose(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct loose_scan *scan = context;
    struct index_place place = place_of_key(key);
    (void)value;
    int code = index_check_place(scan->index, place, err);
    if (code != 0)
        return code;
    hlc time = get_u64_be(key.data + key.size_bytes - KEY_PLACE_BYTES - 8);
    if (scan->count == scan->max && time != scan->time)
        return ERR_END;
    if (scan->cursor->started && !index_precedes(scan->index, scan->cursor->time, scan->cursor->place, time, place))
        return 0;
    if (time != scan->time)
        scan->same_from = scan->count;
    scan->time = time;
    size_t at = scan->count;
    while (at > scan->same_from && index_precedes(scan->index, time, place, time, scan->ret_places[at - 1]))
        at--;
    scan->count += scan->count < scan->max;
    if (at < scan->count) {
        memmove(&scan->ret_places[at + 1], &scan->ret_places[at], (scan->count - 1 - at) * sizeof(place));
        scan->ret_places[at] = place;
    }
    return 0;
}

int index_loose(struct index *index, struct bytes context, struct bytes stream, struct index_loose_cursor *cursor,
                struct index_place *ret_places, size_t max, size_t *ret_count, struct err *err)
{
    PRE(max >= 1 && max <= INDEX_SCAN_MAX);
    struct key prefix;
    struct key from;
    struct loose_scan scan = {.index = index, .ret_places = ret_places, .max = max, .cursor = cursor};
    stream_entries_key(&prefix, LOOSE_PREFIX, context, stream);
    loose_key(&from, context, stream, cursor->time, (struct index_place){0, 0});
    int code =
        store_walk(index->store, STORE_LATEST, key_bytes(&prefix), key_bytes(&from), false, see_loose, &scan, err);
    if (code != 0)
        return code;
    *ret_count = scan.count;
    if (scan.count > 0)
        *cursor = (struct index_loose_cursor){.started = true, .time = scan.time, .place = ret_places[scan.count - 1]};
    return 0;
}

const struct context_table *index_contexts(const struct index *index)
{
    return index->table.contexts;
}

int index_flush(struct index *index, struct err *err)
{
    return index->store->ops->flush(index->store, err);
}

/* --- Opening and closing --- */

static int see_any(void *context, struct bytes key, struct bytes value, struct err *err)
{
    (void)key;
    (void)value;
    (void)err;
    bool *any = context;
    *any = true;
    return ERR_END;
}

static int start_format(struct index *index, struct err *err)
{
    struct key key;
    uint8_t value[4];
    bool any = false;
    int code = store_walk(index->store, STORE_LATEST, BYTES_LITERAL(""), BYTES_LITERAL(""), false, see_any, &any, err);
    if (code != 0)
        return code;
    if (any)
        return index_corrupt(index, "it has contents but no format number", err);
    put_u32_le(value, FORMAT_NUMBER);
    return store_put_alone(index->store, meta_key(&key, META_FORMAT, 0), bytes_of(value, sizeof(value)), err);
}

static int check_format(struct index *index, struct buf *value, struct err *err)
{
    struct key key;
    bool found = false;
    int code = store_get(index->store, STORE_LATEST, meta_key(&key, META_FORMAT, 0), value, &found, err);
    if (code != 0)
        return code;
    if (!found)
        return start_format(index, err);
    if (value->size_bytes != 4 || get_u32_le(value->data) != FORMAT_NUMBER)
        return index_corrupt(index, "its format is not the one of this version", err);
    return 0;
}

static int check_contexts(struct index *index, struct buf *value, struct err *err)
{
    struct key key;
    bool found = false;
    struct sha256 *sha = sha256_new();
    if (sha == NULL)
        return err_no_memory(err, "the index");
    struct hash digest = context_table_digest(index->table.contexts, sha);
    sha256_free(sha);
    struct bytes digest_bytes = bytes_of(digest.bytes, HASH_SIZE);
    int code = store_get(index->store, STORE_LATEST, meta_key(&key, META_CONTEXTS, 0), value, &found, err);
    if (code != 0)
        return code;
    if (!found)
        return store_put_alone(index->store, key_bytes(&key), digest_bytes, err);
    return bytes_equal(buf_bytes(value), digest_bytes)
               ? 0
               : index_corrupt(index, "it was made with other contexts or homes", err);
}

static int load_log(struct index *index, uint32_t log, struct buf *value, bool *ret_found, struct err *err)
{
    struct key key;
    uint32_t given = log;
    int code = store_get(index->store, STORE_LATEST, meta_key(&key, META_ORIGIN, log), value, ret_found, err);
    if (code != 0 || !*ret_found)
        return code;
    if (value->size_bytes == 0 || value->size_bytes > INDEX_ORIGIN_MAX_BYTES ||
        memchr(value->data, 0, value->size_bytes) != NULL ||
        logs_number(&index->logs, buf_bytes(value), NULL, NULL, &given, NULL) != 0)
        return index_corrupt(index, "the name of a log cannot be read", err);
    if (given != log)
        return index_corrupt(index, "two numbers belong to one log", err);
    bool applied = false;
    code = store_get(index->store, STORE_LATEST, meta_key(&key, META_APPLIED, log), value, &applied, err);
    if (code != 0 || !applied)
        return code;
    if (value->size_bytes != 8)
        return index_corrupt(index, "the applied size of a log cannot be read", err);
    logs_set_applied_size(&index->logs, log, get_u64_le(value->data));
    return 0;
}

static int load_logs(struct index *index, struct buf *value, struct err *err)
{
    bool found = true;
    int code = 0;
    for (uint32_t log = 0; code == 0 && found && log < INDEX_LOGS_MAX; log++)
        code = load_log(index, log, value, &found, err);
    return code;
}

static int see_one(void *context, struct bytes key, struct bytes value, struct err *err)
{
    (void)key;
    (void)value;
    (void)err;
    uint64_t *count = context;
    (*count)++;
    return 0;
}

static int count_keys(struct index *index, uint8_t prefix, uint64_t *ret, struct err *err)
{
    *ret = 0;
    return store_walk(index->store, STORE_LATEST, bytes_of(&prefix, 1), bytes_of(&prefix, 1), false, see_one, ret, err);
}

static int load(struct index *index, struct buf *value, struct err *err)
{
    struct key key;
    uint64_t items = 0;
    bool restoring = false;
    int code = check_format(index, value, err);
    if (code == 0)
        code = check_contexts(index, value, err);
    if (code == 0)
        code = load_logs(index, value, err);
    if (code == 0)
        code = index_authority(index, &index->table, err);
    if (code == 0)
        code = count_keys(index, ITEM_PREFIX, &items, err);
    if (code == 0)
        code = count_keys(index, OWED_PREFIX, &index->owed_count, err);
    if (code == 0)
        code = count_keys(index, QUEUED_PREFIX, &index->queued_count, err);
    if (code == 0)
        code = queue_load(index, err);
    atomic_store(&index->item_count, items);
    if (code == 0)
        code = store_get(index->store, STORE_LATEST, meta_key(&key, META_RESTORING, 0), value, &restoring, err);
    return code == 0 && restoring ? index_restore(index, err) : code;
}

static void free_index(struct index *index)
{
    index->store->ops->close(index->store);
    authority_table_free(&index->table);
    INVARIANT(pthread_rwlock_destroy(&index->table_lock) == 0);
    logs_free(&index->logs);
    mem_free(index);
}

/* Takes over the store, also when it fails. */
static int index_over(struct store *store, const struct context_table *contexts, struct index **ret, struct err *err)
{
    struct index *index = mem_alloc_zero(1, sizeof(*index));
    if (index == NULL) {
        store->ops->close(store);
        return err_no_memory(err, "the index");
    }
    index->store = store;
    logs_init(&index->logs);
    INVARIANT(pthread_rwlock_init(&index->table_lock, NULL) == 0);
    authority_table_init(&index->table, contexts);
    index->restored_max = INDEX_RESTORED_MAX;
    struct buf value;
    buf_init(&value, STORE_VALUE_MAX_BYTES);
    int code = load(index, &value, err);
    buf_free(&value);
    if (code != 0) {
        free_index(index);
        return code;
    }
    *ret = index;
    return 0;
}

int index_rocksdb_open(const char *folder, const struct context_table *contexts, struct index **ret, struct err *err)
{
    struct store *store = NULL;
    int code = store_files_open(folder, unordered_keys, &store, err);
    return code == 0 ? index_over(store, contexts, ret, err) : code;
}

struct index *index_memory_new(const struct context_table *contexts)
{
    struct index *index = NULL;
    struct store *store = store_memory_new();
    if (store == NULL || index_over(store, contexts, &index, NULL) != 0)
        return NULL;
    return index;
}

void index_limit(struct index *index, const struct index_limits *limits)
{
    if (limits->restored > 0 && limits->restored < INDEX_RESTORED_MAX)
        index->restored_max = limits->restored;
}

void index_close(struct index *index)
{
    if (index == NULL)
        return;
    int code = index_flush(index, NULL);
    (void)code; /* What could not be flushed is replayed. */
    free_index(index);
}

int index_records(struct index *index, index_record_fn *each, void *context, struct err *err)
{
    struct store_view *view = NULL;
    const struct bytes all = {.data = NULL, .size_bytes = 0};
    int code = store_view_open(index->store, &view, err);
    if (code != 0)
        return code;
    code = store_walk(index->store, view, all, all, false, each, context, err);
    store_view_close(index->store, view);
    return code;
}
