/* One batch of changes to the store, made of canonical operations (index_internal.h).
 *
 * What is in the store is a function of two sets, the effective and the late entries:
 *   - 's' and 'h' hold the effective client entries by stream. 64 versions share a list of what was said about them
 *     (versions.h), so that entries which share a version stand in one list, and taking one away needs no knowledge of
 *     the others.
 *   - 'i' holds per id the first effective entry in (time, origin) order, or else the first late one.
 *   - 'l' holds the items: all late entries, and the effective ones that are not at 'i'; 'x' finds them by id.
 *   - 'c' holds effective entries by causation id, but only for ids that some decision wants compensated ('o'). That is
 *     enough, because only what follows the decision can compensate (late.c), and what follows it is applied after it.
 *   - 'u' has every entry without a version by stream, whichever set it is in.
 * Each operation moves one entry into or out of a set and restores exactly this. So order does not matter, and an
 * operation that is done again after a crash finds its work done.
 *
 * A displaced duplicate is known by what 'i' says of it alone (place, time, fingerprint, version); so that items are
 * the same whichever of two came first, an effective item never has more.
 *
 * Failure: a change that fails is aborted whole. */
#include "base/mem.h"
#include "base/planted.h"
#include "index/versions.h"

/* --- Begin and end --- */

int change_begin(struct change *change, struct index *index, struct err *err)
{
    *change = (struct change){.index = index};
    int code = store_begin(index->store, &change->view, err);
    if (code != 0)
        return code;
    buf_init(&change->value, STORE_VALUE_MAX_BYTES);
    buf_init(&change->found, STORE_VALUE_MAX_BYTES);
    return 0;
}

static void end(struct change *change)
{
    buf_free(&change->found);
    buf_free(&change->value);
}

void change_abort(struct change *change)
{
    store_abort(change->index->store);
    end(change);
}

static int put_value(struct change *change, struct bytes key, int encoded, struct err *err)
{
    if (encoded != 0)
        return err_no_memory(err, "an entry of the index");
    return store_put(change->index->store, key, buf_bytes(&change->value), err);
}

static int put_empty(struct change *change, struct bytes key, struct err *err)
{
    return store_put(change->index->store, key, BYTES_LITERAL(""), err);
}

static int drop(struct change *change, struct bytes key, struct err *err)
{
    return store_remove(change->index->store, key, err);
}

static void count_open(struct change *change)
{
    for (size_t log = 0; log < INDEX_LOGS_MAX; log++) {
        struct open_count *open = &change->index->open[log];
        const struct open_change *by = &change->open[log];
        if (by->count == 0 && by->bytes == 0)
            continue;
        atomic_fetch_add_explicit(&open->count, (uint64_t)by->count, memory_order_release);
        atomic_fetch_add_explicit(&open->bytes, (uint64_t)by->bytes, memory_order_release);
    }
}

int change_commit(struct change *change, struct err *err)
{
    struct index *index = change->index;
    int code = store_commit(index->store, err);
    if (code == 0) {
        atomic_fetch_add_explicit(&index->item_count, (uint64_t)change->items_added, memory_order_release);
        index->owed_count += (uint64_t)change->owed_added;
        index->queued_count += (uint64_t)change->queued_added;
        count_open(change);
    }
    end(change);
    return code;
}

int change_put_meta(struct change *change, char kind, uint32_t number, uint64_t value, struct err *err)
{
    struct key key;
    uint8_t bytes[8];
    put_u64_le(bytes, value);
    return store_put(change->index->store, meta_key(&key, kind, number), bytes_of(bytes, sizeof(bytes)), err);
}

int change_remove_meta(struct change *change, char kind, uint32_t number, struct err *err)
{
    struct key key;
    return drop(change, meta_key(&key, kind, number), err);
}

static int read_back(struct change *change, struct bytes key, bool *ret_found, struct err *err)
{
    return index_read(change->index, change->view, key, &change->found, ret_found, err);
}

/* --- Items --- */

static int find_item(struct change *change, struct index_place place, struct item *ret, bool *ret_found,
                     struct err *err)
{
    struct key key;
    int code = read_back(change, place_key(&key, ITEM_PREFIX, place), ret_found, err);
    if (code == 0 && *ret_found && !item_decode(buf_bytes(&change->found), ret))
        return index_corrupt(change->index, "an item of reconciliation cannot be read", err);
    return code;
}

/* Writes an item that is not there yet. */
static int put_item(struct change *change, struct index_place place, const struct item *item, struct err *err)
{
    struct key key;
    int code = put_value(change, place_key(&key, ITEM_PREFIX, place), item_encode(item, &change->value), err);
    if (code == 0)
        code = put_empty(change, id_place_key(&key, ITEM_ID_PREFIX, item->event_id, place), err);
    change->items_added++;
    return code;
}

static int drop_item(struct change *change, struct index_place place, const uint8_t id[ENTRY_ID_SIZE], struct err *err)
{
    struct key key;
    int code = drop(change, place_key(&key, ITEM_PREFIX, place), err);
    if (code == 0)
        code = drop(change, id_place_key(&key, ITEM_ID_PREFIX, id, place), err);
    change->items_added--;
    return code;
}

/* --- Ids --- */

static int put_event(struct change *change, const uint8_t id[ENTRY_ID_SIZE], const struct event_record *event,
                     struct err *err)
{
    struct key key;
    return put_value(change, id_key(&key, EVENT_PREFIX, id), event_encode(id, event, &change->value), err);
}

static struct event_record event_of(struct index_place place, const struct item *item)
{
    return (struct event_record){.place = place,
                                 .time = item->time,
                                 .fingerprint = item->fingerprint,
                                 .stream_version = item->stream_version,
                                 .late = item->late,
                                 .commutative = item->commutative};
}

static struct item duplicate_of(const struct event_record *event, const uint8_t id[ENTRY_ID_SIZE])
{
    struct item item = {.commutative = event->commutative,
                        .time = event->time,
                        .fingerprint = event->fingerprint,
                        .stream_version = event->stream_version};
    memcpy(item.event_id, id, ENTRY_ID_SIZE);
    return item;
}

static bool same_place(struct index_place a, struct index_place b)
{
    return a.log == b.log && a.index == b.index;
}

int change_add_id(struct change *change, struct index_place place, const struct item *item, struct err *err)
{
    struct event_record known;
    bool found = false;
    int code = index_read_event(change->index, change->view, item->event_id, &known, &found, err);
    if (code != 0)
        return code;
    struct event_record event = event_of(place, item);
    event.late = false;
    if (!found || known.late)
        return put_event(change, item->event_id, &event, err);
    INVARIANT(!same_place(known.place, place));
    bool first = index_precedes(change->index, event.time, place, known.time, known.place) &&
                 !(PLANTED(first_come_stands) && item->commutative);
    const struct event_record *loser = first ? &known : &event;
    struct item duplicate = duplicate_of(loser, item->event_id);
    code = put_item(change, loser->place, &duplicate, err);
    if (code == 0 && first)
        code = put_event(change, item->event_id, &event, err);
    return code;
}

/* The items of one id, and the first of each kind. */
struct heirs {
    struct change *change;
    bool any_effective;
    bool any_late;
    struct event_record effective;
    struct event_record late;
};

static int see_heir(void *context, struct bytes key, struct bytes value, struct err *err)
{
    (void)value;
    struct heirs *heirs = context;
    struct index *index = heirs->change->index;
    struct index_place place = place_of_key(key);
    struct item item;
    bool found = false;
    int code = index_check_place(index, place, err);
    if (code == 0)
        code = find_item(heirs->change, place, &item, &found, err);
    if (code == 0 && !found)
        code = index_corrupt(index, "an id names an item that is not there", err);
    if (code != 0)
        return code;
    bool *any = item.late ? &heirs->any_late : &heirs->any_effective;
    struct event_record *best = item.late ? &heirs->late : &heirs->effective;
    if (!*any || index_precedes(index, item.time, place, best->time, best->place))
        *best = event_of(place, &item);
    *any = true;
    return 0;
}

/* The entry that had the id's place is late now, and an item already: the first effective duplicate takes the place
 * over, or else the first late entry. */
static int hand_over_id(struct change *change, const uint8_t id[ENTRY_ID_SIZE], struct err *err)
{
    struct heirs heirs = {.change = change};
    struct key key;
    struct bytes prefix = id_key(&key, ITEM_ID_PREFIX, id);
    int code = store_walk(change->index->store, change->view, prefix, prefix, false, see_heir, &heirs, err);
    if (code != 0)
        return code;
    INVARIANT(heirs.any_late);
    if (!heirs.any_effective)
        return put_event(change, id, &heirs.late, err);
    code = drop_item(change, heirs.effective.place, id, err);
    return code == 0 ? put_event(change, id, &heirs.effective, err) : code;
}

/* --- Streams --- */

static int find_head(struct change *change, struct bytes key, struct head_record *ret, bool *ret_found, struct err *err)
{
    int code = read_back(change, key, ret_found, err);
    if (code != 0 || !*ret_found)
        return code;
    if (!head_decode(buf_bytes(&change->found), ret))
        return index_corrupt(change->index, "a stream's head cannot be read", err);
    return index_check_place(change->index, ret->place, err);
}

static struct version version_of(struct index_place place, const struct item *item)
{
    return (struct version){.version = item->stream_version, .time = item->time, .place = place};
}

static int add_version(struct change *change, struct index_place place, const struct item *item, struct err *err)
{
    struct key key;
    struct head_record head;
    bool found = false;
    struct version version = version_of(place, item);
    int code = versions_add(change->index, item->context, item->stream, &version, err);
    if (code == 0)
        code = find_head(change, head_key(&key, item->context, item->stream), &head, &found, err);
    bool higher = !found || item->stream_version > head.version ||
                  (item->stream_version == head.version &&
                   index_precedes(change->index, item->time, place, head.time, head.place));
    if (code != 0 || !higher)
        return code;
    head = (struct head_record){.place = place, .time = item->time, .version = item->stream_version};
    return put_value(change, key_bytes(&key), head_encode(&head, &change->value), err);
}

static int drop_version(struct change *change, struct index_place place, const struct item *item, struct err *err)
{
    struct key key;
    struct head_record head;
    bool found = false;
    struct version version = version_of(place, item);
    int code = versions_remove(change->index, item->context, item->stream, &version, err);
    if (code == 0)
        code = find_head(change, head_key(&key, item->context, item->stream), &head, &found, err);
    if (code != 0 || !found || !same_place(head.place, place))
        return code;
    code = versions_highest(change->index, change->view, item->context, item->stream, version.version, &version, &found,
                            err);
    if (code != 0)
        return code;
    if (!found)
        return drop(change, key_bytes(&key), err);
    head = (struct head_record){.place = version.place, .time = version.time, .version = version.version};
    return put_value(change, key_bytes(&key), head_encode(&head, &change->value), err);
}

/* --- Causes --- */

static int add_cause(struct change *change, struct index_place place, const struct item *item, struct err *err)
{
    struct key key;
    bool owed = false;
    if (item->causation_id.size_bytes == 0 || change->index->owed_count + (uint64_t)change->owed_added == 0)
        return 0;
    int code = read_back(change, id_key(&key, OWED_PREFIX, item->causation_id.data), &owed, err);
    if (code != 0 || !owed)
        return code;
    struct caused_record caused = {.epoch = item->epoch, .context = item->context, .partition = item->partition};
    return put_value(change, id_place_key(&key, CAUSED_PREFIX, item->causation_id.data, place),
                     caused_encode(&caused, &change->value), err);
}

static int drop_cause(struct change *change, struct index_place place, const struct item *item, struct err *err)
{
    struct key key;
    if (item->causation_id.size_bytes == 0)
        return 0;
    return drop(change, id_place_key(&key, CAUSED_PREFIX, item->causation_id.data, place), err);
}

/* --- Operations --- */

static int put_loose(struct change *change, struct index_place place, const struct item *item, struct err *err)
{
    struct key key;
    return put_empty(change, loose_key(&key, item->context, item->stream, item->time, place), err);
}

int change_add_effective(struct change *change, struct index_place place, const struct item *item, struct err *err)
{
    int code = change_add_id(change, place, item, err);
    if (code == 0)
        code = item->commutative ? put_loose(change, place, item, err) : add_version(change, place, item, err);
    return code == 0 ? add_cause(change, place, item, err) : code;
}

int change_add_late(struct change *change, struct index_place place, const struct item *item, struct err *err)
{
    PRE(item->late);
    struct event_record known;
    bool found = false;
    int code = put_item(change, place, item, err);
    if (code == 0 && ((item->override && !PLANTED(override_unseen)) || item->commutative))
        code = put_loose(change, place, item, err);
    if (code == 0)
        code = index_read_event(change->index, change->view, item->event_id, &known, &found, err);
    if (code != 0)
        return code;
    bool first = !found || (known.late && index_precedes(change->index, item->time, place, known.time, known.place));
    struct event_record event = event_of(place, item);
    return first ? put_event(change, item->event_id, &event, err) : 0;
}

int change_demote(struct change *change, struct index_place place, const struct item *item, struct err *err)
{
    PRE(item->late);
    struct item known;
    bool listed = false;
    int code = find_item(change, place, &known, &listed, err);
    if (code != 0 || (listed && known.late))
        return code;
    code = item->commutative ? 0 : drop_version(change, place, item, err);
    if (code == 0)
        code = drop_cause(change, place, item, err);
    if (code == 0 && listed)
        code = drop_item(change, place, item->event_id, err);
    if (code == 0)
        code = put_item(change, place, item, err);
    return code == 0 && !listed ? hand_over_id(change, item->event_id, err) : code;
}

int change_restore(struct change *change, struct index_place place, const struct item *item, struct err *err)
{
    int code = drop_item(change, place, item->event_id, err);
    return code == 0 ? change_add_effective(change, place, item, err) : code;
}

int change_add_decision(struct change *change, struct index_place place, const struct entry *entry,
                        const struct control_settled *settled, struct err *err)
{
    struct key key;
    struct decision_record decision = {.settlement = settled->settlement,
                                       .epoch = entry->epoch,
                                       .time = entry->time,
                                       .context = entry->context,
                                       .partition = entry->partition};
    memcpy(decision.event_id, settled->event_id, ENTRY_ID_SIZE);
    decisions_key(&key, DECISION_PREFIX, settled->region, settled->incarnation, settled->index);
    key_add_place(&key, place);
    int code = put_value(change, key_bytes(&key), decision_encode(&decision, &change->value), err);
    if (code != 0 || settled->settlement != SETTLED_COMPENSATE)
        return code;
    bool known = false;
    code = read_back(change, id_key(&key, OWED_PREFIX, settled->event_id), &known, err);
    if (code != 0 || known)
        return code;
    change->owed_added++;
    return put_empty(change, key_bytes(&key), err);
}

int change_add_authority(struct change *change, struct index_place place, const struct authority_event *event,
                         struct bytes payload, struct err *err)
{
    struct key key;
    struct authority_event_record record = {.kind = event->kind,
                                            .epoch = event->epoch,
                                            .time = event->time,
                                            .context = event->context,
                                            .partition = event->partition,
                                            .payload = payload};
    return put_value(change, place_key(&key, AUTHORITY_PREFIX, place), authority_encode(&record, &change->value), err);
}
