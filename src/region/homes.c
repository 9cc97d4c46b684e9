/* Homes of partitions (homes.h): deciding writes by the table of authority, and following its changes.
 *
 * Planned move. The home appends a release; from then on it refuses the partition. The successor finds the release in
 * its copy of that log; once its index has applied the log up to and past the release, it appends the taking, with the
 * next epoch and its index's position as the basis. No entry is lost and no two regions accept at once. What the home
 * accepted under earlier incarnations of its log belongs to that: it is with the successor before the release.
 *
 * Loss of a home. A survivor seizes: the same, without a release. Its basis is all that it holds of the lost log; what
 * the lost region had accepted beyond it is late, in every region, by the same rule.
 *
 * Residency (rule 5 of the design). A region that may not hold a context's payloads does not become its home: it
 * neither seizes, nor takes what was released to it, nor accepts an event should the table call it the home all the
 * same; and a home does not release to it. None of this can be forced.
 *
 * A change of this region's own is put to the table only when all entries of the command are in the open block; if
 * memory runs out between the two, the change waits in the queue like those of other logs, and no write is accepted
 * while one of the own log waits.
 *
 * Invariants:
 *  1. Changes of one log are applied in the order of that log, each once its basis is covered by what is durable here.
 *  2. A taking or seizure of this region has a basis that its index has applied, and is appended when the overlay holds
 *     nothing below it.
 *  3. What this region decides as the home of a partition it decides by look-ups made after its index had applied the
 *     change that made it the home: until then the index may show entries of the old home beyond the basis, or, where
 *     the own log came back from peers, lack entries below it. Its own earlier logs are indexed to their end by then.
 *  4. After a crash the table is what the index says, which reflects every durable entry before the region starts. */
#include "region/homes.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "domain/residency.h"
#include "region/region_internal.h"

/* An authority event as received: enough to parse it again. */
struct homes_change {
    struct queue_link link;
    uint64_t index;
    size_t entry_size;
    size_t payload_size;
    uint8_t bytes[]; /* entry, payload */
};

struct homes_take {
    struct queue_link link;
    uint64_t epoch; /* that was released */
    size_t context_size;
    size_t partition_size;
    uint8_t bytes[]; /* context, partition */
};

enum { TAKES_AT_ONCE_MAX = 4096 };

void homes_init(struct homes *homes, const struct context_table *contexts)
{
    authority_table_init(&homes->authority, contexts);
    queue_init(&homes->takes);
    for (size_t i = 0; i < REGION_LOGS_MAX; i++)
        queue_init(&homes->changes[i]);
}

static void free_queue(struct queue_link *queue)
{
    struct queue_link *link = NULL;
    while ((link = queue_pop_front(queue)) != NULL)
        mem_free(link); /* the link is the first member of both kinds */
}

void homes_free(struct homes *homes)
{
    authority_table_free(&homes->authority);
    free_queue(&homes->takes);
    for (size_t i = 0; i < REGION_LOGS_MAX; i++)
        free_queue(&homes->changes[i]);
}

/* --- Takes --- */

static int add_take(struct region *region, struct bytes context, struct bytes partition, uint64_t epoch)
{
    struct homes_take *take = mem_alloc(sizeof(*take) + context.size_bytes + partition.size_bytes);
    if (take == NULL)
        return ERR_NO_MEMORY;
    take->epoch = epoch;
    take->context_size = context.size_bytes;
    take->partition_size = partition.size_bytes;
    memcpy(take->bytes, context.data, context.size_bytes);
    memcpy(take->bytes + context.size_bytes, partition.data, partition.size_bytes);
    queue_push_back(&region->homes.takes, &take->link);
    region->homes.take_count++;
    return 0;
}

static struct bytes take_context(const struct homes_take *take)
{
    return bytes_of(take->bytes, take->context_size);
}

static struct bytes take_partition(const struct homes_take *take)
{
    return bytes_of(take->bytes + take->context_size, take->partition_size);
}

bool homes_may_own(const struct region *region, const char *name, struct bytes context)
{
    return residency_allows(region_contexts(region), bytes_of_string(name), context);
}

/* Whether the partition is let go to this region, which may take it. */
static bool awaits_us(const struct region *region, struct bytes context, struct bytes partition,
                      struct authority_now *ret)
{
    return authority_now(&region->homes.authority, context, partition, ret, NULL) == 0 && ret->released &&
           strcmp(ret->successor, region->config.region) == 0 && homes_may_own(region, region->config.region, context);
}

static int find_take(struct region *region, struct bytes context, struct bytes partition)
{
    struct authority_now now;
    return awaits_us(region, context, partition, &now) ? add_take(region, context, partition, now.epoch) : 0;
}

/* Of all that is governed apart in a context. */
static int find_takes_in(struct region *region, struct bytes context)
{
    struct bytes partition;
    size_t at = 0;
    int code = 0;
    while (code == 0 && authority_partition_next(&region->homes.authority, context, &at, &partition))
        code = find_take(region, context, partition);
    return code;
}

static int find_takes(struct region *region)
{
    const struct context_table *contexts = region_contexts(region);
    int code = 0;
    for (size_t i = 0; code == 0 && i < context_count(contexts); i++) {
        if (context_at(contexts, i) != NULL)
            code = find_takes_in(region, bytes_of_string(context_at(contexts, i)->name));
    }
    return code;
}

int homes_load(struct region *region, struct err *err)
{
    int code = index_authority(region->index, &region->homes.authority, err);
    if (code == 0)
        code = find_takes(region);
    return code == ERR_NO_MEMORY ? err_no_memory(err, "the homes of partitions") : code;
}

/* --- Changes --- */

int homes_received(struct region *region, uint32_t log, const struct chain_entry *entry)
{
    struct homes *homes = &region->homes;
    enum control_kind kind = control_kind_of(&entry->entry);
    if (!control_governs(kind) || (PLANTED(forget_definitions) && kind == CONTROL_CONTEXT_DEFINED && log != 0))
        return 0;
    if (homes->change_count >= REGION_CHANGES_PENDING_MAX)
        return ERR_BUSY;
    struct bytes payload = entry->frame.payload;
    struct homes_change *change = mem_alloc(sizeof(*change) + entry->frame.entry.size_bytes + payload.size_bytes);
    if (change == NULL)
        return ERR_NO_MEMORY;
    change->index = entry->entry.index;
    change->entry_size = entry->frame.entry.size_bytes;
    change->payload_size = payload.size_bytes;
    memcpy(change->bytes, entry->frame.entry.data, change->entry_size);
    if (change->payload_size > 0)
        memcpy(change->bytes + change->entry_size, payload.data, change->payload_size);
    queue_push_back(&homes->changes[log], &change->link);
    homes->change_count++;
    homes->log_change_count[log]++;
    if (log == 0)
        homes->own_end = change->index + 1;
    return 0;
}

/* Look-ups that were made before may have seen what the change has made late, or not seen what it has made count. */
void homes_indexed(struct region *region, uint32_t log)
{
    uint64_t indexed_size = region->logs[log]->indexed_size;
    if (indexed_size < region->homes.governed[log] || indexed_size < region->homes.continued[log] ||
        (log == 0 && indexed_size < region->homes.own_end))
        overlay_evict_indexed(&region->overlay);
}

static void drop_change(struct region *region, uint32_t log, struct homes_change *change)
{
    queue_remove(&change->link);
    mem_free(change);
    region->homes.change_count--;
    region->homes.log_change_count[log]--;
}

void homes_undo(struct region *region, uint32_t log, uint64_t index)
{
    struct queue_link *changes = &region->homes.changes[log];
    while (!queue_empty(changes)) {
        struct homes_change *last = QUEUE_ITEM(changes->prev, struct homes_change, link);
        if (last->index < index)
            return;
        drop_change(region, log, last);
    }
}

static int parse_change(const struct region *region, uint32_t log, const struct homes_change *change,
                        struct authority_event *ret, struct err *err)
{
    struct entry entry;
    int code = entry_parse(bytes_of(change->bytes, change->entry_size), &entry, err);
    INVARIANT(code == 0); /* it was parsed when it was received */
    return authority_event_of(&entry, bytes_of(change->bytes + change->entry_size, change->payload_size),
                              &region->logs[log]->parts, ret, err);
}

bool homes_await(const struct region *region, const struct origin *origin)
{
    for (uint32_t log = 0; log < region->log_count; log++) {
        const struct queue_link *changes = &region->homes.changes[log];
        struct authority_event event;
        if (queue_empty(changes))
            continue;
        const struct homes_change *change = QUEUE_ITEM(changes->next, struct homes_change, link);
        if (parse_change(region, log, change, &event, NULL) == 0 && control_rests(event.kind) &&
            position_get(&event.change.basis, origin->region, origin->incarnation) > 0)
            return true;
    }
    return false;
}

struct position homes_position(const struct region *region, bool indexed)
{
    struct position position = {.count = 0};
    for (size_t i = 0; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        uint64_t size = indexed ? log->indexed_size : log->durable_size;
        int code = position_set(&position, log->parts.region, log->parts.incarnation, size);
        INVARIANT(code == 0); /* POSITION_LOGS_MAX is REGION_LOGS_MAX */
    }
    return position;
}

/* How far the changes of each log are applied, in their order: what rests on more waits, also where it is durable. */
static struct position obeyed_position(const struct region *region)
{
    struct position position = homes_position(region, false);
    for (uint32_t log = 0; log < region->log_count && region->homes.change_count > 0; log++) {
        const struct region_log *of = region->logs[log];
        if (queue_empty(&region->homes.changes[log]) || homes_first_change(region, log) >= of->durable_size)
            continue;
        int code = position_set(&position, of->parts.region, of->parts.incarnation, homes_first_change(region, log));
        INVARIANT(code == 0); /* it makes no component more */
    }
    return position;
}

/* Contexts came to be, or to be no more: until the index has the change, too, nothing is decided about those that were
 * created. A life has left entries behind: until the index has that, too, nothing is decided at all. */
static void note(struct region *region, uint64_t *end, uint32_t log, const struct authority_event *event)
{
    if (*end <= event->index)
        *end = event->index + 1;
    if (region->logs[log]->indexed_size > event->index)
        overlay_evict_indexed(&region->overlay);
}

/* What a change lets this region take. A release of "*" is one of each partition that follows it and has changes of its
 * own, too; and one that comes to have some is taken by itself from then on. */
static int find_takes_by(struct region *region, const struct authority_event *event)
{
    bool to_us = bytes_equal(event->change.successor, bytes_of_string(region->config.region));
    if (event->kind == CONTROL_LOG_CONTINUED)
        return find_takes(region);
    if (event->kind == CONTROL_AUTHORITY_RELEASED && to_us &&
        bytes_equal(event->partition, bytes_of_string(CONTROL_ALL_PARTITIONS)))
        return find_takes_in(region, event->context);
    bool may = control_begins_epoch(event->kind) || (event->kind == CONTROL_AUTHORITY_RELEASED && to_us);
    return may ? find_take(region, event->context, event->partition) : 0;
}

static int put_to_table(struct region *region, uint32_t log, const struct authority_event *event)
{
    struct authority_now before;
    char region_before[POSITION_REGION_MAX_BYTES + 1];
    if (authority_now(&region->homes.authority, event->context, event->partition, &before, NULL) != 0)
        before = (struct authority_now){.region = "", .successor = ""}; /* of a context that is not known here */
    copy_string(region_before, sizeof(region_before), before.region);
    bool let_go_to_it = before.released && strcmp(before.successor, event->region) == 0;
    uint64_t creations = region->homes.authority.definitions.creations;
    int code = authority_apply(&region->homes.authority, event, NULL);
    if (code == 0 && control_begins_epoch(event->kind))
        lease_obeyed(region, log, event, &before, region_before, let_go_to_it);
    if (creations != region->homes.authority.definitions.creations)
        note(region, &region->homes.governed[log], log, event);
    if (event->kind == CONTROL_LOG_CONTINUED && log != 0)
        note(region, &region->homes.continued[log], log, event);
    if (event->kind == CONTROL_CONTEXT_DEFINED) {
        lease_know_contexts(region);
        region->assist_at_us = 0; /* its failover may be another one now */
    }
    return code == 0 ? find_takes_by(region, event) : code;
}

static void warn_of_release(const struct region *region, uint32_t log, const struct authority_event *event,
                            struct region_update *update)
{
    if (event->kind == CONTROL_AUTHORITY_RELEASED &&
        bytes_equal(event->change.successor, bytes_of_string(region->config.region)) &&
        !homes_may_own(region, region->config.region, event->context))
        region_alarm(update, log, bytes_of(NULL, 0),
                     "region %s hands partition \"%.*s\" of context \"%.*s\" to this region, which may not hold its "
                     "payloads and does not take it: nobody is its home until a region that may seizes it",
                     region->logs[log]->parts.region, homes_shown(event->partition),
                     (const char *)event->partition.data, homes_shown(event->context),
                     (const char *)event->context.data);
}

uint64_t homes_first_change(const struct region *region, uint32_t log)
{
    const struct queue_link *changes = &region->homes.changes[log];
    PRE(!queue_empty(changes));
    return QUEUE_ITEM(changes->next, struct homes_change, link)->index;
}

/* The next change of a log, if its time has come. Whether there was one. */
static bool apply_next(struct region *region, uint32_t log, const struct position *durable,
                       struct region_update *update)
{
    struct queue_link *changes = &region->homes.changes[log];
    struct err err = {0};
    struct authority_event event;
    if (queue_empty(changes))
        return false;
    struct homes_change *change = QUEUE_ITEM(changes->next, struct homes_change, link);
    if (log != 0 && change->index >= region->logs[log]->durable_size)
        return false;
    int code = parse_change(region, log, change, &event, &err);
    if (code == 0 && log != 0 && !authority_ready(&region->homes.authority, &event, durable))
        return false;
    if (code == 0)
        code = put_to_table(region, log, &event);
    if (code == 0)
        warn_of_release(region, log, &event, update);
    if (code == ERR_NO_MEMORY)
        return false; /* tried again at the next step */
    if (code != 0)
        region_alarm(update, log, bytes_of(NULL, 0), "entry %llu of log %s is not obeyed: %s",
                     (unsigned long long)change->index, region->logs[log]->origin, err.message);
    drop_change(region, log, change);
    return true;
}

bool homes_waits(const struct region *region, uint32_t log, struct homes_wait *ret)
{
    const struct queue_link *changes = &region->homes.changes[log];
    struct authority_event event;
    if (queue_empty(changes))
        return false;
    const struct homes_change *change = QUEUE_ITEM(changes->next, struct homes_change, link);
    struct position durable = obeyed_position(region);
    if (parse_change(region, log, change, &event, NULL) != 0 ||
        authority_ready(&region->homes.authority, &event, &durable))
        return false;
    const struct position *basis = &event.change.basis;
    for (size_t i = 0; i < basis->count; i++) {
        uint64_t have = position_get(&durable, basis->logs[i].region, basis->logs[i].incarnation);
        if (have >= basis->logs[i].size)
            continue;
        *ret = (struct homes_wait){.index = change->index,
                                   .incarnation = basis->logs[i].incarnation,
                                   .size = basis->logs[i].size,
                                   .have = have};
        copy_string(ret->region, sizeof(ret->region), basis->logs[i].region);
        return true;
    }
    return false;
}

void homes_held_up(const struct region *region, size_t *ret_entries, size_t *ret_changes)
{
    *ret_entries = 0;
    *ret_changes = 0;
    for (uint32_t log = 0; log < region->log_count && region->homes.change_count > 0; log++) {
        struct homes_wait wait;
        if (!homes_waits(region, log, &wait))
            continue;
        *ret_entries += mirror_size(&region->logs[log]->mirror) - wait.index;
        *ret_changes += region->homes.log_change_count[log];
    }
}

void homes_apply(struct region *region, struct region_update *update)
{
    bool moved = region->homes.change_count > 0;
    while (moved) {
        struct position durable = obeyed_position(region);
        moved = false;
        for (uint32_t log = 0; log < region->log_count; log++) {
            while (update->effect_count + REGION_EFFECTS_SLACK / 2 < update->effect_capacity &&
                   apply_next(region, log, &durable, update))
                moved = true;
        }
    }
}

/* --- Taking --- */

int homes_append(struct region *region, enum control_kind kind, struct bytes context, struct bytes partition,
                 uint64_t epoch, const struct control_authority *change, struct err *err)
{
    struct buf payload;
    buf_init(&payload, CONTROL_PAYLOAD_MAX_BYTES);
    int code = control_authority_encode(kind, change, &payload, err);
    struct control_event event = {
        .kind = kind, .context = context, .partition = partition, .epoch = epoch, .payload = buf_bytes(&payload)};
    if (code == 0)
        code = sequencer_control(region, &event, err);
    buf_free(&payload);
    return code;
}

/* Whether the index has applied all that is here, and not left behind, of the earlier logs of the region that this log
 * is of. */
static bool earlier_logs_are_indexed(const struct region *region, const struct region_log *of)
{
    for (size_t i = 1; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        uint64_t end = authority_lived_end(&region->homes.authority, log->parts.region, log->parts.incarnation);
        if (log->owner == of->owner && log->parts.incarnation < of->parts.incarnation &&
            log->indexed_size < (log->durable_size < end ? log->durable_size : end))
            return false;
    }
    return true;
}

/* Whether the index has applied what this region knows of lives: what they have left behind, and what counts again. */
static bool lives_are_indexed(const struct region *region)
{
    bool indexed = true;
    for (size_t i = 0; i < region->log_count; i++)
        indexed = indexed && region->logs[i]->indexed_size >= region->homes.continued[i];
    return indexed;
}

bool homes_are_indexed(const struct region *region)
{
    const struct region_log *own = region_own(region);
    return queue_empty(&region->homes.changes[0]) && own->indexed_size >= region->homes.own_end &&
           lives_are_indexed(region) && earlier_logs_are_indexed(region, own);
}

/* Whether the index has applied the release and everything before it. */
static bool take_is_ready(const struct region *region, const struct authority_now *now)
{
    for (size_t i = 0; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        if (log->parts.incarnation == now->release_incarnation && strcmp(log->parts.region, now->region) == 0)
            return (log->indexed_size > now->release_index && lives_are_indexed(region) &&
                    earlier_logs_are_indexed(region, log)) ||
                   PLANTED(take_at_once);
    }
    return false;
}

/* Whether it was overtaken by another change: then there is nothing to take. */
static bool is_overtaken(const struct region *region, const struct homes_take *take, struct authority_now *ret)
{
    return !awaits_us(region, take_context(take), take_partition(take), ret) || ret->epoch != take->epoch;
}

static bool first_is_ready(const struct region *region)
{
    const struct homes_take *first = QUEUE_ITEM(region->homes.takes.next, struct homes_take, link);
    struct authority_now now;
    return is_overtaken(region, first, &now) || take_is_ready(region, &now);
}

/* ERR_BUSY: not yet. */
static int take_one(struct region *region, const struct homes_take *take, const struct position *basis)
{
    struct authority_now now;
    if (is_overtaken(region, take, &now))
        return 0;
    if (!take_is_ready(region, &now))
        return ERR_BUSY;
    const struct control_authority change = {
        .basis = *basis, .previous = bytes_of_string(now.region), .actor = BYTES_LITERAL("handover")};
    int code = sequencer_control_room(region, 1, CONTROL_PAYLOAD_MAX_BYTES, NULL);
    return code == 0 ? homes_append(region, CONTROL_AUTHORITY_TAKEN, take_context(take), take_partition(take),
                                    now.epoch + 1, &change, NULL)
                     : code;
}

static void take_released(struct region *region, struct region_update *update)
{
    struct queue_link *takes = &region->homes.takes;
    size_t taken = 0;
    if (queue_empty(takes) || region_own(region)->state != REGION_LOG_ACCEPTING || !first_is_ready(region))
        return;
    struct position basis = homes_position(region, true);
    overlay_evict_indexed(&region->overlay);
    for (; taken < TAKES_AT_ONCE_MAX && !queue_empty(takes); taken++) {
        struct homes_take *take = QUEUE_ITEM(takes->next, struct homes_take, link);
        if (take_one(region, take, &basis) != 0)
            break; /* until the index, the disk or memory allows it */
        queue_remove(&take->link);
        mem_free(take);
        region->homes.take_count--;
    }
    homes_apply(region, update);
    sequencer_flush(region, update);
}

void homes_move(struct region *region, struct region_update *update)
{
    homes_apply(region, update);
    take_released(region, update);
}

/* --- Writes --- */

int homes_refuse_residency(const char *name, struct bytes context, struct err *err)
{
    return err_set(err, ERR_MISMATCH,
                   "region %s may not hold payloads of context \"%.*s\" (payload_regions), so it cannot become the "
                   "home of its partitions; this cannot be forced: choose a region that may",
                   name, homes_shown(context), (const char *)context.data);
}

bool homes_late(const struct region *region, uint32_t log, const struct entry *entry)
{
    const struct origin *origin = &region->logs[log]->parts;
    return (entry->flags & ENTRY_FLAG_CONTROL) == 0 &&
           authority_entry_is_late(&region->homes.authority, entry, origin->region, origin->incarnation);
}

bool homes_late_item(const struct region *region, const struct overlay_item *item)
{
    const struct origin *origin = &region->logs[item->log]->parts;
    struct bytes context = bytes_of(item->bytes + item->stream_key_size, item->context_size);
    struct bytes partition = bytes_of(context.data + context.size_bytes, item->partition_size);
    if (item->commutative)
        return !context_accepts_anywhere(context_find(region_contexts(region), context),
                                         bytes_of(partition.data + partition.size_bytes, item->type_size));
    return item->log != 0 && item->context_size > 0 &&
           authority_is_late(&region->homes.authority, context, partition, item->epoch, origin->region,
                             origin->incarnation, item->index);
}

int homes_shown(struct bytes name)
{
    return (int)(name.size_bytes > HOMES_NAME_SHOWN_MAX ? HOMES_NAME_SHOWN_MAX : name.size_bytes);
}

size_t homes_peer_named(const struct region *region, const char *name)
{
    size_t peer = 0;
    while (peer < region->config.peer_count && strcmp(region->config.peers[peer].region, name) != 0)
        peer++;
    return peer;
}

static int refuse_elsewhere(const struct region *region, const struct region_stream_write *write,
                            const struct authority_now *now, struct region_refusal *refusal)
{
    const char *home = now->released ? now->successor : now->region;
    snprintf(refusal->home_region, sizeof(refusal->home_region), "%s", home);
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (strcmp(region->config.peers[i].region, home) == 0)
            memcpy(refusal->home_address, region->config.peers[i].address, sizeof(refusal->home_address));
    }
    bool to_us = strcmp(home, region->config.region) == 0;
    if (to_us)
        return err_set(&refusal->err, ERR_UNAVAILABLE,
                       "partition \"%.*s\" of context \"%.*s\" is on its way from region %s to this one; retry",
                       homes_shown(write->partition), (const char *)write->partition.data, homes_shown(write->context),
                       (const char *)write->context.data, now->region);
    size_t successor = homes_peer_named(region, home);
    if (now->released && successor < region->config.peer_count && !region->peers[successor].up)
        return err_set(
            &refusal->err, ERR_WRONG_HOME,
            "partition \"%.*s\" of context \"%.*s\" is being handed over to region %s, at %s, which does not "
            "answer here; it takes over when it is back, or an operator fails over from it",
            homes_shown(write->partition), (const char *)write->partition.data, homes_shown(write->context),
            (const char *)write->context.data, home, refusal->home_address);
    return err_set(
        &refusal->err, ERR_WRONG_HOME, "partition \"%.*s\" of context \"%.*s\" %s region %s, at %s; send it there",
        homes_shown(write->partition), (const char *)write->partition.data, homes_shown(write->context),
        (const char *)write->context.data, now->released ? "is being handed over to" : "has its home in", home,
        refusal->home_address[0] == '\0' ? "an address that this region does not know" : refusal->home_address);
}

int homes_check_created(const struct region *region, struct bytes name, struct err *err)
{
    const struct context *context = context_find(region_contexts(region), name);
    bool indexed = true;
    for (size_t i = 0; context != NULL && context->created != NULL && i < region->log_count; i++)
        indexed = indexed && region->logs[i]->indexed_size >= region->homes.governed[i];
    return indexed ? 0
                   : err_set(err, ERR_UNAVAILABLE,
                             "context \"%.*s\" was created just now, and the index of this region does not show that "
                             "yet; retry",
                             homes_shown(name), (const char *)name.data);
}

/* Whether the index has applied the change that made this region the home. */
static bool is_indexed(const struct region *region, const struct authority_now *now)
{
    return now->incarnation != region->config.incarnation || now->index < region_own(region)->indexed_size ||
           PLANTED(decide_before_indexed);
}

int homes_decide(struct region *region, const struct region_stream_write *write, uint64_t *ret_epoch,
                 struct region_refusal *refusal)
{
    struct authority_now now;
    int code = authority_now(&region->homes.authority, write->context, write->partition, &now, &refusal->err);
    if (code != 0)
        return code;
    if ((now.released && !PLANTED(keep_releasing)) || strcmp(now.region, region->config.region) != 0)
        return refuse_elsewhere(region, write, &now, refusal);
    if (!homes_may_own(region, region->config.region, write->context))
        return homes_refuse_residency(region->config.region, write->context, &refusal->err);
    if (!queue_empty(&region->homes.changes[0]))
        return err_set(&refusal->err, ERR_BUSY, "a change of homes is not applied yet; retry after a pause");
    if (!earlier_logs_are_indexed(region, region_own(region)))
        return err_set(&refusal->err, ERR_UNAVAILABLE,
                       "the index has not applied all of this region's earlier logs, with which partition \"%.*s\" of "
                       "context \"%.*s\" goes on; retry",
                       homes_shown(write->partition), (const char *)write->partition.data, homes_shown(write->context),
                       (const char *)write->context.data);
    if (!lives_are_indexed(region))
        return err_set(&refusal->err, ERR_UNAVAILABLE,
                       "a region has begun a new log just now, and the index of this region does not show yet what of "
                       "its earlier ones counts; retry");
    if (!is_indexed(region, &now))
        return err_set(&refusal->err, ERR_UNAVAILABLE,
                       "this region has just become the home of partition \"%.*s\" of context \"%.*s\", and its index "
                       "does not show that yet; retry",
                       homes_shown(write->partition), (const char *)write->partition.data, homes_shown(write->context),
                       (const char *)write->context.data);
    code = homes_check_created(region, write->context, &refusal->err);
    if (code != 0)
        return code;
    code = lease_check(region, context_find(region_contexts(region), write->context), &now, &refusal->err);
    if (code != 0)
        return code;
    *ret_epoch = now.epoch;
    return 0;
}

bool homes_wrote(const struct region *region, const struct region_stream_write *write, uint32_t index_log)
{
    char text[INDEX_ORIGIN_MAX_BYTES + 1];
    struct origin origin;
    return index_origin(region->index, index_log, text, NULL) == 0 &&
           origin_parse(bytes_of_string(text), &origin, NULL) == 0 &&
           authority_was_home(&region->homes.authority, write->context, write->partition, origin.region);
}

uint64_t homes_waiting_epoch(const struct region *region, struct bytes context)
{
    uint64_t largest = 0;
    for (uint32_t log = 0; log < region->log_count && region->homes.change_count > 0; log++) {
        const struct queue_link *end = &region->homes.changes[log];
        for (struct queue_link *link = end->next; link != end; link = link->next) {
            struct authority_event event;
            const struct homes_change *change = QUEUE_ITEM(link, struct homes_change, link);
            if (parse_change(region, log, change, &event, NULL) == 0 && bytes_equal(event.context, context) &&
                event.epoch > largest && event.epoch < AUTHORITY_EPOCH_MAX)
                largest = event.epoch;
        }
    }
    return largest;
}
