/* The queue: commands that regions took for another home, and what became of them.
 *
 * 'q' holds every such command for ever, 'v' every verdict by the place that it names, and 'w' the commands that are
 * open: those without a verdict that counts. So the open ones are found without a look at all that ever were.
 *
 * Whether a verdict counts follows from the authority that is applied. 'w' is set right whenever that can have changed:
 * when a command is applied (its verdict may be here already, because logs interleave freely), when a verdict is, and,
 * for all commands, after a change of authority (change_reconsider), which is finished at open after a crash like the
 * restoring of items (apply.c). A state that is looked up is derived from the verdicts, never from 'w'.
 *
 * A verdict is no client's entry and is never demoted: it is late when the entry's place is, like a decision about a
 * late event (late.c). Then the command is open again, and the new home decides it. */
#include "base/planted.h"
#include "index/index_internal.h"

enum { RECONSIDER_BATCH = 256 };

static struct bytes open_key(struct key *key, struct index_place place)
{
    return place_key(key, OPEN_PREFIX, place);
}

/* --- The verdict that counts --- */

struct judging {
    struct index *index;
    const struct queued_record *queued;
    struct ruling ruling;
    int code;
};

static bool counts(const struct judging *judging, struct index_place place, const struct verdict_record *verdict)
{
    const struct queued_record *queued = judging->queued;
    return memcmp(verdict->event_id, queued->event_id, ENTRY_ID_SIZE) == 0 &&
           bytes_equal(verdict->context, queued->context) && bytes_equal(verdict->partition, queued->partition) &&
           (PLANTED(late_verdicts) ||
            !index_is_late(judging->index, place, verdict->context, verdict->partition, verdict->epoch));
}

static int see_verdict(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct judging *judging = context;
    struct verdict_record verdict;
    struct index_place place = place_of_key(key);
    if (!verdict_decode(value, &verdict))
        return index_corrupt(judging->index, "a verdict on a queued command cannot be read", err);
    int code = index_check_place(judging->index, place, err);
    if (code != 0 || !counts(judging, place, &verdict))
        return code;
    if (ruling_is_first(judging->index, &judging->ruling, place, verdict.epoch, verdict.time))
        judging->code = verdict.code;
    return 0;
}

static int judge(struct index *index, const struct store_view *view, struct index_place place,
                 const struct queued_record *queued, struct judging *ret, struct err *err)
{
    struct key key;
    const struct origin *origin = logs_parsed_origin(&index->logs, place.log);
    struct bytes prefix = decisions_key(&key, VERDICT_PREFIX, origin->region, origin->incarnation, place.index);
    *ret = (struct judging){.index = index, .queued = queued};
    return store_walk(index->store, view, prefix, prefix, false, see_verdict, ret, err);
}

static int bad_record(struct index *index, struct err *err)
{
    return index_corrupt(index, "a queued command cannot be read", err);
}

/* --- Changing --- */

/* Puts the command into the open ones, or takes it out. */
static int set_open(struct change *change, struct index_place place, const struct queued_record *queued,
                    struct err *err)
{
    struct index *index = change->index;
    struct judging judging;
    struct key key;
    bool was_open = false;
    int code = judge(index, change->view, place, queued, &judging, err);
    if (code == 0)
        code = index_read(index, change->view, open_key(&key, place), &change->found, &was_open, err);
    if (code != 0 || was_open == !judging.ruling.found)
        return code;
    int64_t by = judging.ruling.found ? -1 : 1;
    change->open[place.log].count += by;
    change->open[place.log].bytes += by * (int64_t)queued->size_bytes;
    if (judging.ruling.found)
        return store_remove(index->store, key_bytes(&key), err);
    if (queued_encode(queued, &change->value) != 0)
        return err_no_memory(err, "an entry of the index");
    return store_put(index->store, key_bytes(&key), buf_bytes(&change->value), err);
}

int change_add_queued(struct change *change, struct index_place place, const struct entry *entry, size_t size_bytes,
                      size_t event_count, struct err *err)
{
    struct key key;
    struct queued_record queued = {.time = entry->time,
                                   .size_bytes = size_bytes,
                                   .event_count = event_count,
                                   .context = entry->context,
                                   .partition = entry->partition};
    memcpy(queued.event_id, entry->event_id, ENTRY_ID_SIZE);
    if (queued_encode(&queued, &change->value) != 0)
        return err_no_memory(err, "an entry of the index");
    int code = store_put(change->index->store, place_key(&key, QUEUED_PREFIX, place), buf_bytes(&change->value), err);
    change->queued_added++;
    return code == 0 ? set_open(change, place, &queued, err) : code;
}

/* The log of that region and incarnation; logs_count when it has no number yet. */
static uint32_t log_of(struct index *index, const struct control_decided *decided)
{
    uint32_t count = logs_count(&index->logs);
    for (uint32_t log = 0; log < count; log++) {
        const struct origin *origin = logs_parsed_origin(&index->logs, log);
        if (origin->incarnation == decided->incarnation && strcmp(origin->region, decided->region) == 0)
            return log;
    }
    return count;
}

int change_add_verdict(struct change *change, struct index_place place, const struct entry *entry,
                       const struct control_decided *decided, struct err *err)
{
    struct index *index = change->index;
    struct key key;
    struct queued_record queued;
    bool found = false;
    struct verdict_record verdict = {.code = decided->code,
                                     .epoch = entry->epoch,
                                     .time = entry->time,
                                     .context = entry->context,
                                     .partition = entry->partition};
    memcpy(verdict.event_id, decided->event_id, ENTRY_ID_SIZE);
    decisions_key(&key, VERDICT_PREFIX, decided->region, decided->incarnation, decided->index);
    key_add_place(&key, place);
    if (verdict_encode(&verdict, &change->value) != 0)
        return err_no_memory(err, "an entry of the index");
    int code = store_put(index->store, key_bytes(&key), buf_bytes(&change->value), err);
    struct index_place command = {.log = log_of(index, decided), .index = decided->index};
    if (code != 0 || command.log == logs_count(&index->logs))
        return code;
    struct buf value;
    buf_init(&value, STORE_VALUE_MAX_BYTES);
    code = index_read(index, change->view, place_key(&key, QUEUED_PREFIX, command), &value, &found, err);
    if (code == 0 && found && !queued_decode(buf_bytes(&value), &queued))
        code = bad_record(index, err);
    if (code == 0 && found)
        code = set_open(change, command, &queued, err);
    buf_free(&value);
    return code;
}

/* --- After a change of authority --- */

struct gathering {
    struct index_place places[RECONSIDER_BATCH];
    size_t count;
};

static int see_place(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct gathering *gathering = context;
    (void)value;
    (void)err;
    gathering->places[gathering->count++] = place_of_key(key);
    return gathering->count == RECONSIDER_BATCH ? ERR_END : 0;
}

static int reconsider(struct change *change, struct index_place place, struct buf *value, struct err *err)
{
    struct index *index = change->index;
    struct queued_record queued;
    struct key key;
    bool found = false;
    int code = index_check_place(index, place, err);
    if (code == 0)
        code = index_read(index, change->view, place_key(&key, QUEUED_PREFIX, place), value, &found, err);
    if (code == 0 && (!found || !queued_decode(buf_bytes(value), &queued)))
        code = bad_record(index, err);
    return code == 0 ? set_open(change, place, &queued, err) : code;
}

int change_reconsider(struct change *change, struct key *from, bool *ret_end, struct err *err)
{
    struct gathering gathering = {.count = 0};
    const uint8_t prefix = QUEUED_PREFIX;
    struct buf value;
    int code = store_walk(change->index->store, change->view, bytes_of(&prefix, 1), key_bytes(from), false, see_place,
                          &gathering, err);
    buf_init(&value, STORE_VALUE_MAX_BYTES);
    for (size_t i = 0; code == 0 && i < gathering.count; i++)
        code = reconsider(change, gathering.places[i], &value, err);
    buf_free(&value);
    *ret_end = gathering.count < RECONSIDER_BATCH;
    if (!*ret_end) {
        struct index_place last = gathering.places[gathering.count - 1];
        place_key(from, QUEUED_PREFIX, (struct index_place){last.log, last.index + 1});
    }
    return code;
}

/* --- Opening --- */

static int see_open(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct index *index = context;
    struct queued_record queued;
    struct index_place place = place_of_key(key);
    int code = index_check_place(index, place, err);
    if (code != 0)
        return code;
    if (!queued_decode(value, &queued))
        return bad_record(index, err);
    atomic_fetch_add(&index->open[place.log].count, 1);
    atomic_fetch_add(&index->open[place.log].bytes, queued.size_bytes);
    return 0;
}

int queue_load(struct index *index, struct err *err)
{
    const uint8_t prefix = OPEN_PREFIX;
    return store_walk(index->store, STORE_LATEST, bytes_of(&prefix, 1), bytes_of(&prefix, 1), false, see_open, index,
                      err);
}

/* --- Looking --- */

static void copy_text(char *out, struct bytes text)
{
    if (text.size_bytes > 0)
        memcpy(out, text.data, text.size_bytes);
    out[text.size_bytes] = '\0';
}

static int describe(struct index *index, const struct store_view *view, struct index_place place, struct bytes value,
                    struct index_queued *ret, struct err *err)
{
    struct queued_record queued;
    struct judging judging;
    if (!queued_decode(value, &queued))
        return bad_record(index, err);
    int code = judge(index, view, place, &queued, &judging, err);
    if (code != 0)
        return code;
    *ret = (struct index_queued){.place = place,
                                 .time = queued.time,
                                 .size_bytes = queued.size_bytes,
                                 .event_count = queued.event_count,
                                 .state = !judging.ruling.found ? INDEX_QUEUED_OPEN
                                          : judging.code == 0   ? INDEX_QUEUED_ACCEPTED
                                                                : INDEX_QUEUED_REFUSED,
                                 .decision = judging.ruling.place,
                                 .code = judging.code};
    memcpy(ret->event_id, queued.event_id, ENTRY_ID_SIZE);
    copy_string(ret->origin, sizeof(ret->origin), index->logs.origins[place.log]);
    copy_text(ret->context, queued.context);
    copy_text(ret->partition, queued.partition);
    return 0;
}

static void lock_table(struct index *index)
{
    INVARIANT(pthread_rwlock_rdlock(&index->table_lock) == 0);
}

static void unlock_table(struct index *index)
{
    INVARIANT(pthread_rwlock_unlock(&index->table_lock) == 0);
}

struct scanning {
    struct index *index;
    const struct store_view *view;
    uint8_t prefix;
    struct index_queued *ret;
    size_t max;
    size_t count;
};

static int see_queued(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct scanning *scanning = context;
    int code =
        describe(scanning->index, scanning->view, place_of_key(key), value, &scanning->ret[scanning->count], err);
    if (code != 0)
        return code;
    return ++scanning->count == scanning->max ? ERR_END : 0;
}

static int scan_log(struct scanning *scanning, uint32_t log, uint64_t from_index, struct err *err)
{
    struct key key;
    struct key prefix;
    place_key(&key, scanning->prefix, (struct index_place){log, from_index});
    key_start(&prefix, scanning->prefix);
    key_add_u8(&prefix, (uint8_t)log);
    return store_walk(scanning->index->store, scanning->view, key_bytes(&prefix), key_bytes(&key), false, see_queued,
                      scanning, err);
}

static int scan_view(struct scanning *scanning, const struct index_late_cursor *cursor, struct err *err)
{
    struct index *index = scanning->index;
    uint32_t count = logs_count(&index->logs);
    int code = 0;
    for (uint32_t log = 0; code == 0 && cursor->started && cursor->index != UINT64_MAX && log < count; log++) {
        if (strcmp(index->logs.origins[log], cursor->origin) == 0)
            code = scan_log(scanning, log, cursor->index + 1, err);
    }
    uint32_t log = index_next_log(index, cursor->started ? cursor->origin : NULL);
    while (code == 0 && scanning->count < scanning->max && log < count) {
        code = scan_log(scanning, log, 0, err);
        log = index_next_log(index, index->logs.origins[log]);
    }
    return code;
}

int index_queue_scan(struct index *index, struct index_late_cursor *cursor, bool open_only, struct index_queued *ret,
                     size_t max, size_t *ret_count, struct err *err)
{
    PRE(max >= 1 && max <= INDEX_QUEUE_SCAN_MAX);
    struct store_view *view = NULL;
    lock_table(index);
    int code = store_view_open(index->store, &view, err);
    struct scanning scanning = {
        .index = index, .view = view, .prefix = open_only ? OPEN_PREFIX : QUEUED_PREFIX, .ret = ret, .max = max};
    if (code == 0) {
        code = scan_view(&scanning, cursor, err);
        store_view_close(index->store, view);
    }
    unlock_table(index);
    if (code != 0)
        return code;
    *ret_count = scanning.count;
    if (scanning.count > 0) {
        const struct index_queued *last = &ret[scanning.count - 1];
        cursor->started = true;
        copy_string(cursor->origin, sizeof(cursor->origin), last->origin);
        cursor->index = last->place.index;
    }
    return 0;
}

int index_queue_at(struct index *index, struct index_place place, struct index_queued *ret, struct err *err)
{
    struct key key;
    struct store_view *view = NULL;
    struct index_queued queued;
    struct buf value;
    bool found = false;
    buf_init(&value, STORE_VALUE_MAX_BYTES);
    lock_table(index);
    int code = store_view_open(index->store, &view, err);
    if (code == 0) {
        code = index_read(index, view, place_key(&key, QUEUED_PREFIX, place), &value, &found, err);
        if (code == 0 && !found)
            code = err_set(err, ERR_NOT_FOUND, "the entry there is no queued command");
        if (code == 0)
            code = describe(index, view, place, buf_bytes(&value), &queued, err);
        store_view_close(index->store, view);
    }
    unlock_table(index);
    buf_free(&value);
    if (code == 0)
        *ret = queued;
    return code;
}

/* --- Order --- */

struct seeking {
    struct index *index;
    struct bytes context;
    struct bytes partition;
    uint64_t end;
    bool found;
    uint64_t at;
};

static int see_in_order(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct seeking *seeking = context;
    struct queued_record queued;
    struct index_place place = place_of_key(key);
    if (place.index >= seeking->end)
        return ERR_END;
    if (!queued_decode(value, &queued))
        return bad_record(seeking->index, err);
    seeking->at = place.index;
    seeking->found = bytes_equal(queued.context, seeking->context) && bytes_equal(queued.partition, seeking->partition);
    return seeking->found ? ERR_END : 0;
}

int index_queue_first(struct index *index, struct bytes context, struct bytes partition, struct index_place from,
                      uint64_t end, uint64_t *ret_index, struct err *err)
{
    struct key key;
    struct key prefix;
    struct seeking seeking = {.index = index, .context = context, .partition = partition, .end = end};
    key_start(&prefix, OPEN_PREFIX);
    key_add_u8(&prefix, (uint8_t)from.log);
    int code = store_walk(index->store, STORE_LATEST, key_bytes(&prefix), open_key(&key, from), false, see_in_order,
                          &seeking, err);
    if (code == 0 && !seeking.found)
        return err_set(err, ERR_NOT_FOUND, "no command of the partition is open there");
    if (code == 0)
        *ret_index = seeking.at;
    return code;
}

struct index_queue_size index_queue_open(struct index *index, uint32_t log)
{
    PRE(log < INDEX_LOGS_MAX);
    const struct open_count *open = &index->open[log];
    return (struct index_queue_size){.count = atomic_load_explicit(&open->count, memory_order_acquire),
                                     .bytes = atomic_load_explicit(&open->bytes, memory_order_acquire)};
}

const char *index_queued_state_name(enum index_queued_state state)
{
    static const char *const names[] = {
        [INDEX_QUEUED_OPEN] = "queued", [INDEX_QUEUED_ACCEPTED] = "accepted", [INDEX_QUEUED_REFUSED] = "refused"};
    PRE((size_t)state < sizeof(names) / sizeof(names[0]));
    return names[state];
}
