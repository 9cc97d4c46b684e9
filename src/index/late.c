/* Items of reconciliation: their order, their states, and the digest over all.
 *
 * A state is not stored but derived from what is applied: whether an effective entry has the item's id, which decisions
 * name the item, and what was appended after a decision to compensate. So it cannot disagree with them, and a decision
 * that becomes late, or stops being late, needs nothing to be rewritten.
 *
 * What compensates. An effective entry x compensates an item by the decision d when its causation id is the item's id,
 * it is of the item's context and partition, and it follows d: later in the same log, or under a higher epoch. Ordinary
 * consequences of an event carry its id as their causation id, too, and must not be taken for compensation: they do not
 * follow the decision. "Follows" also means "is applied after", in whatever order the logs are interleaved: d counts,
 * so the change that begins x's epoch rests on d, and before that change is applied x is late. So it is enough to keep
 * causation ids from the decision on (change.c).
 *
 * Items come in (origin, index) order, because a log's number differs from index to index. All reads of one scan are of
 * one moment: the table is locked and the store seen through one view. */
#include "base/mem.h"
#include "base/planted.h"
#include "index/index_internal.h"

/* --- Places in order --- */

static int compare_origins(struct index *index, uint32_t a, uint32_t b)
{
    return strcmp(index->logs.origins[a], index->logs.origins[b]);
}

static int compare_places(struct index *index, struct index_place a, struct index_place b)
{
    int order = compare_origins(index, a.log, b.log);
    return order != 0 ? order : (a.index > b.index) - (a.index < b.index);
}

/* --- Decisions --- */

/* The first decision that counts. */
struct deciding {
    struct index *index;
    const struct item *item;
    struct ruling ruling;
    enum settlement settlement;
};

static bool decides(const struct deciding *deciding, struct index_place place, const struct decision_record *decision)
{
    const struct item *item = deciding->item;
    return memcmp(decision->event_id, item->event_id, ENTRY_ID_SIZE) == 0 &&
           bytes_equal(decision->context, item->context) && bytes_equal(decision->partition, item->partition) &&
           (!index_is_late(deciding->index, place, decision->context, decision->partition, decision->epoch) ||
            PLANTED(obey_overtaken));
}

static int see_decision(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct deciding *deciding = context;
    struct decision_record decision;
    struct index_place place = place_of_key(key);
    if (!decision_decode(value, &decision))
        return index_corrupt(deciding->index, "a decision cannot be read", err);
    int code = index_check_place(deciding->index, place, err);
    if (code != 0 || !decides(deciding, place, &decision))
        return code;
    if (ruling_is_first(deciding->index, &deciding->ruling, place, decision.epoch, decision.time))
        deciding->settlement = decision.settlement;
    return 0;
}

/* --- Compensation --- */

/* The first entry that compensates, in (epoch, origin, index) order. */
struct compensating {
    const struct deciding *decision;
    bool found;
    struct index_place place;
    uint64_t epoch;
};

static int see_caused(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct compensating *compensating = context;
    const struct deciding *decision = compensating->decision;
    const struct ruling *ruling = &decision->ruling;
    struct index *index = decision->index;
    struct caused_record caused;
    struct index_place place = place_of_key(key);
    if (!caused_decode(value, &caused))
        return index_corrupt(index, "an entry with a cause cannot be read", err);
    int code = index_check_place(index, place, err);
    if (code != 0)
        return code;
    bool follows =
        caused.epoch > ruling->epoch || (place.log == ruling->place.log && place.index > ruling->place.index);
    bool here = bytes_equal(caused.context, decision->item->context) &&
                bytes_equal(caused.partition, decision->item->partition);
    bool first = !compensating->found || caused.epoch < compensating->epoch ||
                 (caused.epoch == compensating->epoch && compare_places(index, place, compensating->place) < 0);
    if (follows && here && first) {
        compensating->found = true;
        compensating->place = place;
        compensating->epoch = caused.epoch;
    }
    return 0;
}

/* --- States --- */

static int find_compensation(const struct store_view *view, const struct deciding *decision,
                             struct compensating *compensating, struct err *err)
{
    struct key key;
    struct bytes prefix = id_key(&key, CAUSED_PREFIX, decision->item->event_id);
    *compensating = (struct compensating){.decision = decision};
    return store_walk(decision->index->store, view, prefix, prefix, false, see_caused, compensating, err);
}

static int derive_decided(const struct store_view *view, const struct deciding *decision, struct index_late *late,
                          struct err *err)
{
    struct compensating compensating;
    late->decided = true;
    late->decision = decision->ruling.place;
    switch (decision->settlement) {
    case SETTLED_ACCEPTED:
        late->state = INDEX_LATE_ACCEPTED;
        return 0;
    case SETTLED_DROPPED:
        late->state = INDEX_LATE_DROPPED;
        return 0;
    case SETTLED_REJECTED:
        late->state = INDEX_LATE_REJECTED;
        return 0;
    case SETTLED_COMPENSATE:
        break;
    }
    int code = find_compensation(view, decision, &compensating, err);
    late->state = compensating.found ? INDEX_LATE_COMPENSATED : INDEX_LATE_COMPENSATION_OWED;
    late->compensation = compensating.place;
    return code;
}

static int derive(struct index *index, const struct store_view *view, const struct item *item, struct index_late *late,
                  struct err *err)
{
    struct event_record event;
    struct key key;
    bool found = false;
    int code = index_read_event(index, view, item->event_id, &event, &found, err);
    if (code != 0)
        return code;
    late->has_effective = found && !event.late;
    if (late->has_effective)
        late->effective = event.place;
    late->state = late->has_effective ? INDEX_LATE_DUPLICATE : INDEX_LATE_OPEN;
    if (!item->late)
        return 0;
    const struct origin *origin = logs_parsed_origin(&index->logs, late->place.log);
    struct deciding deciding = {.index = index, .item = item};
    struct bytes prefix = decisions_key(&key, DECISION_PREFIX, origin->region, origin->incarnation, late->place.index);
    code = store_walk(index->store, view, prefix, prefix, false, see_decision, &deciding, err);
    return code == 0 && deciding.ruling.found ? derive_decided(view, &deciding, late, err) : code;
}

static void copy_text(char *out, struct bytes text)
{
    if (text.size_bytes > 0)
        memcpy(out, text.data, text.size_bytes);
    out[text.size_bytes] = '\0';
}

static int describe(struct index *index, const struct store_view *view, struct index_place place,
                    const struct item *item, struct index_late *ret, struct err *err)
{
    *ret = (struct index_late){.place = place,
                               .late = item->late,
                               .override = item->override,
                               .commutative = item->commutative,
                               .time = item->time,
                               .fingerprint = item->fingerprint,
                               .stream_version = item->stream_version,
                               .epoch = item->epoch};
    memcpy(ret->event_id, item->event_id, ENTRY_ID_SIZE);
    copy_string(ret->origin, sizeof(ret->origin), index->logs.origins[place.log]);
    copy_text(ret->context, item->context);
    copy_text(ret->partition, item->partition);
    copy_text(ret->stream, item->stream);
    copy_text(ret->type, item->type);
    return derive(index, view, item, ret, err);
}

/* --- Scanning --- */

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
    struct index_late *ret_items;
    size_t max;
    size_t count;
};

static int see_item(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct scanning *scanning = context;
    struct item item;
    if (!item_decode(value, &item))
        return index_corrupt(scanning->index, "an item of reconciliation cannot be read", err);
    int code =
        describe(scanning->index, scanning->view, place_of_key(key), &item, &scanning->ret_items[scanning->count], err);
    if (code != 0)
        return code;
    return ++scanning->count == scanning->max ? ERR_END : 0;
}

/* Items of one log from an index on. */
static int scan_log(struct scanning *scanning, uint32_t log, uint64_t from_index, struct err *err)
{
    struct key key;
    place_key(&key, ITEM_PREFIX, (struct index_place){log, from_index});
    struct key prefix;
    key_start(&prefix, ITEM_PREFIX);
    key_add_u8(&prefix, (uint8_t)log);
    return store_walk(scanning->index->store, scanning->view, key_bytes(&prefix), key_bytes(&key), false, see_item,
                      scanning, err);
}

static int scan_view(struct scanning *scanning, const struct index_late_cursor *cursor, struct err *err)
{
    struct index *index = scanning->index;
    int code = 0;
    if (cursor->started && cursor->index != UINT64_MAX) {
        for (uint32_t log = 0; code == 0 && log < logs_count(&index->logs); log++) {
            if (strcmp(index->logs.origins[log], cursor->origin) == 0)
                code = scan_log(scanning, log, cursor->index + 1, err);
        }
    }
    uint32_t log = index_next_log(index, cursor->started ? cursor->origin : NULL);
    while (code == 0 && scanning->count < scanning->max && log < logs_count(&index->logs)) {
        code = scan_log(scanning, log, 0, err);
        log = index_next_log(index, index->logs.origins[log]);
    }
    return code;
}

int index_late_scan(struct index *index, struct index_late_cursor *cursor, struct index_late *ret_items, size_t max,
                    size_t *ret_count, struct err *err)
{
    PRE(max >= 1 && max <= INDEX_LATE_SCAN_MAX);
    struct store_view *view = NULL;
    lock_table(index);
    int code = store_view_open(index->store, &view, err);
    struct scanning scanning = {.index = index, .view = view, .ret_items = ret_items, .max = max};
    if (code == 0) {
        code = scan_view(&scanning, cursor, err);
        store_view_close(index->store, view);
    }
    unlock_table(index);
    if (code != 0)
        return code;
    *ret_count = scanning.count;
    if (scanning.count > 0) {
        const struct index_late *last = &ret_items[scanning.count - 1];
        cursor->started = true;
        copy_string(cursor->origin, sizeof(cursor->origin), last->origin);
        cursor->index = last->place.index;
    }
    return 0;
}

int index_late_at(struct index *index, struct index_place place, struct index_late *ret, struct err *err)
{
    struct key key;
    struct item item;
    struct index_late late;
    struct store_view *view = NULL;
    struct buf value;
    bool found = false;
    buf_init(&value, STORE_VALUE_MAX_BYTES);
    lock_table(index);
    int code = store_view_open(index->store, &view, err);
    if (code == 0) {
        code = index_read(index, view, place_key(&key, ITEM_PREFIX, place), &value, &found, err);
        if (code == 0 && !found)
            code = err_set(err, ERR_NOT_FOUND, "the entry there is not late, and no duplicate");
        if (code == 0 && !item_decode(buf_bytes(&value), &item))
            code = index_corrupt(index, "an item of reconciliation cannot be read", err);
        if (code == 0)
            code = describe(index, view, place, &item, &late, err);
        store_view_close(index->store, view);
    }
    unlock_table(index);
    buf_free(&value);
    if (code == 0)
        *ret = late;
    return code;
}

uint64_t index_late_count(struct index *index)
{
    return atomic_load_explicit(&index->item_count, memory_order_acquire);
}

const char *index_late_state_name(enum index_late_state state)
{
    static const char *const names[] = {
        [INDEX_LATE_OPEN] = "open",
        [INDEX_LATE_DUPLICATE] = "duplicate",
        [INDEX_LATE_ACCEPTED] = "accepted",
        [INDEX_LATE_DROPPED] = "dropped",
        [INDEX_LATE_REJECTED] = "rejected",
        [INDEX_LATE_COMPENSATION_OWED] = "compensation owed",
        [INDEX_LATE_COMPENSATED] = "compensated",
    };
    PRE((size_t)state < sizeof(names) / sizeof(names[0]));
    return names[state];
}

const char *index_late_kind_name(const struct index_late *item)
{
    return item->override ? "override" : item->late ? "late" : "duplicate";
}

/* --- Digest --- */

struct digesting {
    struct index *index;
    const struct store_view *view;
    struct sha256 *sha;
    struct hash hash; /* of all items so far */
};

enum { DIGEST_PLACES = 4, DIGEST_NUMBERS = 2 + 3 * DIGEST_PLACES, DIGEST_TEXTS = 4 + DIGEST_PLACES };

/* Origins, not the numbers of logs, which differ from index to index. */
static size_t add_place(struct index *index, bool there, struct index_place place, uint64_t *numbers,
                        struct bytes *text)
{
    *text = bytes_of_string(there ? index->logs.origins[place.log] : "");
    numbers[0] = there;
    numbers[1] = there ? place.index : 0;
    numbers[2] = text->size_bytes;
    return 3;
}

static void add_to_digest(struct digesting *digesting, const struct index_late *late)
{
    struct index *index = digesting->index;
    const struct bytes names[] = {bytes_of_string(late->context), bytes_of_string(late->partition),
                                  bytes_of_string(late->stream), bytes_of_string(late->type)};
    struct bytes origins[DIGEST_PLACES];
    uint64_t numbers[DIGEST_NUMBERS + 8];
    size_t count = 0;
    count += add_place(index, true, late->place, numbers + count, &origins[0]);
    count += add_place(index, late->has_effective, late->effective, numbers + count, &origins[1]);
    count += add_place(index, late->decided, late->decision, numbers + count, &origins[2]);
    count += add_place(index, late->state == INDEX_LATE_COMPENSATED, late->compensation, numbers + count, &origins[3]);
    numbers[count++] = (uint64_t)late->late + late->override + 4 * (uint64_t)late->commutative;
    numbers[count++] = (uint64_t)late->state;
    numbers[count++] = late->time;
    numbers[count++] = late->stream_version;
    numbers[count++] = late->epoch;
    for (size_t i = 0; i < 4; i++)
        numbers[count++] = names[i].size_bytes;
    uint8_t bytes[8 * (DIGEST_NUMBERS + 8)];
    for (size_t i = 0; i < count; i++)
        put_u64_le(bytes + 8 * i, numbers[i]);
    const struct bytes parts[] = {BYTES_LITERAL("tallystick-item-v1\0"),
                                  bytes_of(digesting->hash.bytes, HASH_SIZE),
                                  bytes_of(late->event_id, ENTRY_ID_SIZE),
                                  bytes_of(bytes, 8 * count),
                                  origins[0],
                                  origins[1],
                                  origins[2],
                                  origins[3],
                                  names[0],
                                  names[1],
                                  names[2],
                                  names[3]};
    digesting->hash = sha256_parts(digesting->sha, parts, sizeof(parts) / sizeof(parts[0]));
}

static int digest_item(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct digesting *digesting = context;
    struct item item;
    struct index_late late;
    if (!item_decode(value, &item))
        return index_corrupt(digesting->index, "an item of reconciliation cannot be read", err);
    int code = describe(digesting->index, digesting->view, place_of_key(key), &item, &late, err);
    if (code == 0)
        add_to_digest(digesting, &late);
    return code;
}

static int digest_view(struct digesting *digesting, struct err *err)
{
    struct index *index = digesting->index;
    int code = 0;
    for (uint32_t log = index_next_log(index, NULL); code == 0 && log < logs_count(&index->logs);
         log = index_next_log(index, index->logs.origins[log])) {
        struct key prefix;
        key_start(&prefix, ITEM_PREFIX);
        key_add_u8(&prefix, (uint8_t)log);
        code = store_walk(index->store, digesting->view, key_bytes(&prefix), key_bytes(&prefix), false, digest_item,
                          digesting, err);
    }
    return code;
}

int index_late_digest(struct index *index, struct sha256 *sha, struct hash *ret, struct err *err)
{
    struct store_view *view = NULL;
    lock_table(index);
    int code = store_view_open(index->store, &view, err);
    struct digesting digesting = {.index = index, .view = view, .sha = sha};
    if (code == 0) {
        code = digest_view(&digesting, err);
        store_view_close(index->store, view);
    }
    unlock_table(index);
    if (code == 0)
        *ret = digesting.hash;
    return code;
}
