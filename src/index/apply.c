/* Applying, demoting, and restoring: which operation of change.c an entry needs.
 *
 * A client's entry is effective or late by the authority that is applied so far. A change of authority, or the creation
 * of a context, moves entries in both directions. What becomes late is no item yet, and must be read again from the
 * logs: the caller does that before (index_demote). What is late no more is an item, so the index knows it: after a
 * change all items are looked at (index_restore). That is the rare direction: two regions began one epoch, and the one
 * that wins rests on more.
 *
 * Crash behaviour. Between demoting and the change: the items are there early; the caller finds the change not applied,
 * and does both again. Between the change and the end of restoring: a mark that is written with the change says so, and
 * restoring is done again at open, before anything else is applied.
 *
 * Failure: the table may be ahead of the store when a write fails. Applying again is harmless, because the fold takes
 * the same event twice. */
#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "domain/queued.h"
#include "index/index_internal.h"

enum { AHEAD_ENTRIES = 16 };
enum { RESTORE_BATCH_MAX_BYTES = INDEX_RESTORED_MAX * STORE_VALUE_MAX_BYTES };

static void lock_table(struct index *index)
{
    INVARIANT(pthread_rwlock_wrlock(&index->table_lock) == 0);
}

static void unlock_table(struct index *index)
{
    INVARIANT(pthread_rwlock_unlock(&index->table_lock) == 0);
}

static bool stands_alone(const struct entry *entry)
{
    return control_stands_alone(control_kind_of(entry));
}

/* --- Rule 2 --- */

bool index_ready(struct index *index, uint32_t log, const struct index_entry *entry)
{
    struct control_authority change;
    enum control_kind kind = control_kind_of(entry->entry);
    const struct origin *origin = logs_parsed_origin(&index->logs, log);
    if (!control_rests(kind) || control_authority_parse(kind, entry->payload, &change, NULL) != 0 ||
        entry->entry->index >= authority_lived_end(&index->table, origin->region, origin->incarnation))
        return true;
    for (size_t i = 0; i < change.basis.count; i++) {
        const struct position_log *needed = &change.basis.logs[i];
        if (logs_size_of(&index->logs, needed->region, needed->incarnation) < needed->size)
            return false;
    }
    return true;
}

/* --- Classifying --- */

/* What is known about the entries of one log, partition and epoch: mostly the next entry is one of them. */
struct classes {
    const struct authority_table *table;
    const struct origin *origin;
    struct bytes context;
    struct bytes partition;
    uint64_t epoch;
    struct authority_span span;
    bool known;
};

static bool is_late(struct classes *classes, const struct entry *entry)
{
    if ((entry->flags & ENTRY_FLAG_COMMUTATIVE) != 0 && !PLANTED(commutative_overtaken))
        return authority_entry_is_late(classes->table, entry, classes->origin->region, classes->origin->incarnation);
    bool same = classes->known && entry->epoch == classes->epoch && bytes_equal(entry->context, classes->context) &&
                bytes_equal(entry->partition, classes->partition);
    if (!same) {
        classes->known = true;
        classes->context = entry->context;
        classes->partition = entry->partition;
        classes->epoch = entry->epoch;
        classes->span = authority_span(classes->table, entry->context, entry->partition, entry->epoch,
                                       classes->origin->region, classes->origin->incarnation);
    }
    return entry->index < classes->span.begin || entry->index >= classes->span.end;
}

/* --- Applying --- */

static int fold(struct index *index, const struct authority_event *event, struct err *err)
{
    bool alone = control_stands_alone(event->kind); /* then the lock is held already */
    if (!alone)
        lock_table(index);
    int code = authority_apply(&index->table, event, err);
    if (!alone)
        unlock_table(index);
    return code;
}

/* A control event that is not well formed is ignored, as everywhere. */
static int apply_control(struct change *change, struct index_place place, const struct index_entry *entry,
                         const struct origin *origin, struct err *err)
{
    struct item item = item_of(entry, false);
    struct authority_event event;
    struct control_settled settled;
    struct control_decided decided;
    size_t writes = 0;
    size_t events = 0;
    enum control_kind kind = control_kind_of(entry->entry);
    int code = change_add_id(change, place, &item, err);
    if (code != 0)
        return code;
    if (kind == CONTROL_LATE_SETTLED && control_settled_parse(entry->payload, &settled, NULL) == 0)
        return change_add_decision(change, place, entry->entry, &settled, err);
    if (kind == CONTROL_COMMAND_QUEUED && queued_check(entry->payload, &writes, &events, NULL) == 0)
        return change_add_queued(change, place, entry->entry, entry->payload.size_bytes, events, err);
    if (control_decides_command(kind) && control_decided_parse(kind, entry->payload, &decided, NULL) == 0)
        return change_add_verdict(change, place, entry->entry, &decided, err);
    if (!control_governs(kind) || authority_event_of(entry->entry, entry->payload, origin, &event, NULL) != 0)
        return 0;
    code = change_add_authority(change, place, &event, entry->payload, err);
    return code == 0 ? fold(change->index, &event, err) : code;
}

static int apply_entry(struct change *change, uint32_t log, const struct index_entry *entry, struct classes *classes,
                       struct err *err)
{
    struct index_place place = {.log = log, .index = entry->entry->index};
    if ((entry->entry->flags & ENTRY_FLAG_CONTROL) != 0)
        return apply_control(change, place, entry, classes->origin, err);
    struct item item = item_of(entry, is_late(classes, entry->entry) && !PLANTED(late_moves_heads));
    return item.late ? change_add_late(change, place, &item, err) : change_add_effective(change, place, &item, err);
}

static int apply_batch(struct index *index, uint32_t log, const struct index_entry *entries, size_t count,
                       bool restoring, struct err *err)
{
    struct change change;
    struct classes classes = {.table = &index->table, .origin = logs_parsed_origin(&index->logs, log)};
    int code = change_begin(&change, index, err);
    if (code != 0)
        return code;
    for (size_t i = 0; code == 0 && i < count; i++) {
        if (i % AHEAD_ENTRIES == 0)
            index_ahead_of_entries(index, entries + i, count - i < AHEAD_ENTRIES ? count - i : AHEAD_ENTRIES);
        code = apply_entry(&change, log, &entries[i], &classes, err);
    }
    if (code == 0)
        code = change_put_meta(&change, META_APPLIED, log, entries[0].entry->index + count, err);
    if (code == 0 && restoring)
        code = change_put_meta(&change, META_RESTORING, 0, 1, err);
    if (code != 0) {
        change_abort(&change);
        return code;
    }
    code = change_commit(&change, err);
    if (code == 0)
        logs_advance(&index->logs, log, count);
    return code;
}

/* What several changes together make count again is looked for once, when the table has them all. */
static int apply_changes(struct index *index, uint32_t log, const struct index_entry *entries, size_t count,
                         struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        PRE(count == 1 || control_begins_epoch(control_kind_of(entries[i].entry)));
        PRE(index_ready(index, log, &entries[i]));
    }
    bool items = index_late_count(index) > 0 || index->queued_count > 0;
    lock_table(index);
    int code = apply_batch(index, log, entries, count, items, err);
    if (code == 0 && items)
        code = index_restore(index, err);
    unlock_table(index);
    return code;
}

int index_apply(struct index *index, uint32_t log, const struct index_entry *entries, size_t count, struct err *err)
{
    if (count == 0)
        return 0;
    logs_check_next(&index->logs, log, entries, count);
    if (stands_alone(entries[0].entry))
        return apply_changes(index, log, entries, count, err);
    for (size_t i = 1; i < count; i++)
        PRE(!stands_alone(entries[i].entry));
    return apply_batch(index, log, entries, count, false, err);
}

/* --- Demoting --- */

int index_demote(struct index *index, uint32_t log, const struct index_entry *entries, size_t count, struct err *err)
{
    struct change change;
    uint64_t applied = index_applied_size(index, log);
    if (count == 0)
        return 0;
    int code = change_begin(&change, index, err);
    if (code != 0)
        return code;
    for (size_t i = 0; code == 0 && i < count; i++) {
        const struct entry *entry = entries[i].entry;
        PRE(entry->index < applied);
        struct item item = item_of(&entries[i], true);
        if ((entry->flags & ENTRY_FLAG_CONTROL) == 0)
            code = change_demote(&change, (struct index_place){log, entry->index}, &item, err);
    }
    if (code != 0) {
        change_abort(&change);
        return code;
    }
    code = change_commit(&change, err);
    if (code == 0)
        logs_changed(&index->logs, count);
    return code;
}

/* --- Restoring --- */

/* Whether an item that was put aside has to stay there. */
static bool stays_late(struct index *index, struct index_place place, const struct item *item)
{
    if (item->commutative)
        return !context_accepts_anywhere(context_find(index->table.contexts, item->context), item->type);
    return item->override || index_is_late(index, place, item->context, item->partition, item->epoch);
}

/* Items that are late no more, copied. */
struct restoring {
    struct index *index;
    struct arena arena;
    size_t count;
    struct restored {
        struct index_place place;
        struct item item;
    } restored[INDEX_RESTORED_MAX];
};

static int see_item(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct restoring *restoring = context;
    struct index *index = restoring->index;
    struct restored *restored = &restoring->restored[restoring->count];
    struct index_place place = place_of_key(key);
    struct item item;
    if (!item_decode(value, &item))
        return index_corrupt(index, "an item of reconciliation cannot be read", err);
    int code = index_check_place(index, place, err);
    if (code != 0 || !item.late || stays_late(index, place, &item))
        return code;
    void *copy = arena_copy(&restoring->arena, value.data, value.size_bytes);
    if (copy == NULL)
        return err_no_memory(err, "items of reconciliation");
    bool decoded = item_decode(bytes_of(copy, value.size_bytes), &restored->item);
    INVARIANT(decoded);
    restored->place = place;
    restored->item.late = false;
    restoring->count++;
    return restoring->count == restoring->index->restored_max ? ERR_END : 0;
}

static int restore_batch(struct restoring *restoring, bool last, struct err *err)
{
    struct change change;
    int code = change_begin(&change, restoring->index, err);
    if (code != 0)
        return code;
    for (size_t i = 0; code == 0 && i < restoring->count; i++)
        code = change_restore(&change, restoring->restored[i].place, &restoring->restored[i].item, err);
    if (code == 0 && last)
        code = change_remove_meta(&change, META_RESTORING, 0, err);
    if (code != 0) {
        change_abort(&change);
        return code;
    }
    code = change_commit(&change, err);
    if (code == 0)
        logs_changed(&restoring->index->logs, restoring->count);
    return code;
}

/* Opens commands again whose verdict is late now, and closes those whose verdict counts again. */
static int reconsider_queue(struct index *index, struct err *err)
{
    struct key from;
    int code = 0;
    bool last = index->queued_count == 0;
    place_key(&from, QUEUED_PREFIX, (struct index_place){0, 0});
    while (code == 0 && !last) {
        struct change change;
        code = change_begin(&change, index, err);
        if (code != 0)
            return code;
        code = change_reconsider(&change, &from, &last, err);
        if (code == 0)
            code = change_commit(&change, err);
        else
            change_abort(&change);
    }
    return code;
}

int index_restore(struct index *index, struct err *err)
{
    int code = reconsider_queue(index, err);
    if (code != 0)
        return code;
    struct restoring *restoring = mem_alloc(sizeof(*restoring));
    if (restoring == NULL)
        return err_no_memory(err, "items of reconciliation");
    restoring->index = index;
    arena_init(&restoring->arena, RESTORE_BATCH_MAX_BYTES);
    struct key from;
    place_key(&from, ITEM_PREFIX, (struct index_place){0, 0});
    bool last = false;
    while (code == 0 && !last) {
        restoring->count = 0;
        arena_reset(&restoring->arena);
        const uint8_t prefix = ITEM_PREFIX;
        code = store_walk(index->store, STORE_LATEST, bytes_of(&prefix, 1), key_bytes(&from), false, see_item,
                          restoring, err);
        last = restoring->count < restoring->index->restored_max;
        if (code == 0)
            code = restore_batch(restoring, last, err);
        if (!last)
            place_key(&from, ITEM_PREFIX, restoring->restored[restoring->index->restored_max - 1].place);
    }
    arena_free(&restoring->arena);
    mem_free(restoring);
    return code;
}

/* --- Authority, stored --- */

struct replaying {
    struct index *index;
    struct authority_table *into;
};

static int see_authority(void *context, struct bytes key, struct bytes value, struct err *err)
{
    struct replaying *replaying = context;
    struct index *index = replaying->index;
    struct authority_event_record record;
    struct index_place place = place_of_key(key);
    int code = index_check_place(index, place, err);
    if (code != 0)
        return code;
    struct authority_event event;
    if (!authority_decode(value, &record))
        return index_corrupt(index, "an authority event cannot be read", err);
    const struct entry entry = {.index = place.index,
                                .time = record.time,
                                .context = record.context,
                                .partition = record.partition,
                                .type = bytes_of_string(control_type(record.kind)),
                                .epoch = record.epoch,
                                .flags = ENTRY_FLAG_CONTROL};
    const struct origin *origin = logs_parsed_origin(&index->logs, place.log);
    if (authority_event_of(&entry, record.payload, origin, &event, NULL) != 0)
        return index_corrupt(index, "an authority event cannot be read", err);
    return authority_apply(replaying->into, &event, err);
}

int index_authority(struct index *index, struct authority_table *into, struct err *err)
{
    struct replaying replaying = {.index = index, .into = into};
    const uint8_t prefix = AUTHORITY_PREFIX;
    return store_walk(index->store, STORE_LATEST, bytes_of(&prefix, 1), bytes_of(&prefix, 1), false, see_authority,
                      &replaying, err);
}
