/* Changes of authority (changes.h).
 *
 * The fold answers what counts. An auditor needs the changes that do not count as well: two regions that could not see
 * each other and both seized one epoch have both acted in good faith, and the entries of one of them are late, not
 * forged. So all changes are kept here, by epoch; which of them count is the fold's answer alone. */
#include "verify/changes.h"

#include "base/assert.h"
#include "base/mem.h"

enum { KEY_MAX_BYTES = 2 + 2 * ENTRY_NAME_MAX_BYTES + 8 };

#define ALL_PARTITIONS bytes_of_string(CONTROL_ALL_PARTITIONS)

void changes_init(struct changes *ret, const struct cluster *cluster, const struct context_table *contexts)
{
    *ret = (struct changes){.cluster = cluster};
    authority_table_init(&ret->table, contexts);
    map_init(&ret->by_epoch, CHANGES_MAX, NULL);
}

void changes_free(struct changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        mem_free(changes->list[i]);
    mem_free(changes->list);
    map_free(&changes->by_epoch);
    authority_table_free(&changes->table);
}

static struct bytes put_key(bool begin, struct bytes context, struct bytes partition, uint64_t epoch,
                            uint8_t out[KEY_MAX_BYTES])
{
    size_t size = 0;
    out[size++] = begin;
    out[size++] = (uint8_t)context.size_bytes;
    memcpy(out + size, context.data, context.size_bytes);
    size += context.size_bytes;
    memcpy(out + size, partition.data, partition.size_bytes);
    size += partition.size_bytes;
    put_u64_be(out + size, epoch);
    return bytes_of(out, size + sizeof(uint64_t));
}

static struct change *find(const struct changes *changes, bool begin, struct bytes context, struct bytes partition,
                           uint64_t epoch)
{
    uint8_t key[KEY_MAX_BYTES];
    return map_get(&changes->by_epoch, put_key(begin, context, partition, epoch, key));
}

const struct change *changes_find(const struct changes *changes, bool begin, struct bytes context,
                                  struct bytes partition, uint64_t epoch)
{
    return find(changes, begin, context, partition, epoch);
}

/* --- Adding --- */

static uint8_t *put_bytes(uint8_t *out, struct bytes from, struct bytes *ret)
{
    if (from.size_bytes > 0)
        memcpy(out, from.data, from.size_bytes);
    *ret = bytes_of(out, from.size_bytes);
    return out + from.size_bytes;
}

static struct change *new_change(const struct authority_event *event, size_t log, struct bytes payload)
{
    size_t size = event->context.size_bytes + event->partition.size_bytes + payload.size_bytes;
    struct change *change = mem_alloc_zero(1, sizeof(*change) + size);
    if (change == NULL)
        return NULL;
    change->kind = event->kind;
    change->log = log;
    change->index = event->index;
    change->time = event->time;
    change->epoch = event->epoch;
    uint8_t *out = put_bytes(change->bytes, event->context, &change->context);
    out = put_bytes(out, event->partition, &change->partition);
    put_bytes(out, payload, &change->payload);
    return change;
}

static int grow(struct changes *changes, struct err *err)
{
    if (changes->count < changes->capacity)
        return 0;
    if (changes->count == CHANGES_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d changes of authority", CHANGES_MAX);
    size_t capacity = changes->capacity == 0 ? 64 : 2 * changes->capacity;
    struct change **list = mem_resize(changes->list, capacity * sizeof(struct change *));
    if (list == NULL)
        return err_no_memory(err, "the changes of authority");
    changes->list = list;
    changes->capacity = capacity;
    return 0;
}

/* Behind those of the same sort, about the same epoch of the same partition. */
static int put_by_epoch(struct changes *changes, struct change *change, struct err *err)
{
    uint8_t key[KEY_MAX_BYTES];
    bool begin = control_begins_epoch(change->kind);
    struct change *first = find(changes, begin, change->context, change->partition, change->epoch);
    while (first != NULL && first->next != NULL)
        first = first->next;
    if (first != NULL)
        first->next = change;
    else if (map_put(&changes->by_epoch, put_key(begin, change->context, change->partition, change->epoch, key),
                     change) != 0)
        return err_no_memory(err, "a change of authority");
    return 0;
}

int changes_add(struct changes *changes, size_t log, const struct chain_entry *entry, struct err *err)
{
    struct authority_event event;
    if (!control_governs(control_kind_of(&entry->entry)) || !entry->frame.has_payload ||
        authority_event_of(&entry->entry, entry->frame.payload, &changes->cluster->logs[log].origin, &event, NULL) != 0)
        return 0;
    if (event.kind == CONTROL_CONTEXT_DEFINED)
        return authority_apply(&changes->table, &event, err);
    int code = grow(changes, err);
    if (code == 0)
        code = authority_apply(&changes->table, &event, err);
    if (code != 0)
        return code;
    struct change *change = new_change(&event, log, entry->frame.payload);
    if (change == NULL)
        return err_no_memory(err, "a change of authority");
    if (event.kind != CONTROL_LOG_CONTINUED) /* that is about no partition, and begins or releases nothing */
        code = put_by_epoch(changes, change, err);
    if (code != 0) {
        mem_free(change);
        return code;
    }
    changes->list[changes->count++] = change;
    return 0;
}

void changes_settle(struct changes *changes)
{
    struct authority_walk at = {0};
    struct authority_record record;
    for (size_t i = 0; i < changes->count; i++) {
        struct change *change = changes->list[i];
        if (change->kind == CONTROL_LOG_CONTINUED)
            change->counts = !changes_left_behind(changes, change->log, change->index);
    }
    while (authority_next(&changes->table, &at, &record)) {
        size_t log = cluster_find(changes->cluster, record.region, record.incarnation);
        struct change *change = find(changes, true, record.context, record.partition, record.epoch);
        while (change != NULL && (change->log != log || change->index != record.index))
            change = change->next;
        INVARIANT(change != NULL); /* the fold has nothing but what was added here */
        change->counts = true;
    }
}

/* --- Asking --- */

bool changes_follow_all(const struct changes *changes, struct bytes context, struct bytes partition)
{
    return !bytes_equal(partition, ALL_PARTITIONS) && !context_has_home(changes->table.contexts, context, partition);
}

static uint64_t held_by_change(const struct changes *changes, struct bytes context, struct bytes partition,
                               uint64_t epoch, size_t log)
{
    const struct origin *ours = &changes->cluster->logs[log].origin;
    uint64_t from = UINT64_MAX;
    for (const struct change *change = find(changes, true, context, partition, epoch); change != NULL;
         change = change->next) {
        const struct origin *origin = &changes->cluster->logs[change->log].origin;
        if (strcmp(origin->region, ours->region) != 0 || origin->incarnation > ours->incarnation)
            continue;
        uint64_t begin = change->log == log ? change->index : 0;
        from = begin < from ? begin : from;
    }
    return from;
}

uint64_t changes_held_from(const struct changes *changes, struct bytes context, struct bytes partition, uint64_t epoch,
                           size_t log)
{
    struct authority initial;
    const char *region = changes->cluster->logs[log].origin.region;
    bool first = (context_authority(changes->table.contexts, context, partition, &initial, NULL) == 0 &&
                  strcmp(initial.region, region) == 0) ||
                 definitions_named_home(&changes->table.definitions, context, partition, region);
    if (epoch == CONTEXT_EPOCH_FIRST && first)
        return 0;
    uint64_t from = held_by_change(changes, context, partition, epoch, log);
    if (!changes_follow_all(changes, context, partition))
        return from;
    uint64_t all = held_by_change(changes, context, ALL_PARTITIONS, epoch, log);
    return all < from ? all : from;
}

bool changes_begun(const struct changes *changes, struct bytes context, struct bytes partition, uint64_t epoch)
{
    return epoch == CONTEXT_EPOCH_FIRST || find(changes, true, context, partition, epoch) != NULL ||
           (changes_follow_all(changes, context, partition) &&
            find(changes, true, context, ALL_PARTITIONS, epoch) != NULL);
}

static bool concerns(const struct changes *changes, const struct change *change, struct bytes context,
                     struct bytes partition)
{
    return control_begins_epoch(change->kind) && change->counts && bytes_equal(change->context, context) &&
           (bytes_equal(change->partition, partition) ||
            (bytes_equal(change->partition, ALL_PARTITIONS) && changes_follow_all(changes, context, partition)));
}

/* Where a change of a higher epoch ends the entries of this log. */
static uint64_t end_in(const struct changes *changes, const struct change *change, size_t log)
{
    const struct origin *origin = &changes->cluster->logs[log].origin;
    struct control_authority said;
    if (change->log == log)
        return change->index;
    int code = control_authority_parse(change->kind, change->payload, &said, NULL);
    INVARIANT(code == 0);
    return position_get(&said.basis, origin->region, origin->incarnation);
}

bool changes_left_behind(const struct changes *changes, size_t log, uint64_t index)
{
    const struct origin *origin = &changes->cluster->logs[log].origin;
    return index >= authority_lived_end(&changes->table, origin->region, origin->incarnation);
}

/* The latest of the lives that have left the entry behind. */
static struct change *life_that_left(const struct changes *changes, size_t log, uint64_t index)
{
    const struct origin *of = &changes->cluster->logs[log].origin;
    struct change *best = NULL;
    for (size_t i = 0; i < changes->count; i++) {
        struct change *change = changes->list[i];
        const struct origin *origin = &changes->cluster->logs[change->log].origin;
        if (change->kind == CONTROL_LOG_CONTINUED && change->counts && strcmp(origin->region, of->region) == 0 &&
            origin->incarnation > of->incarnation && end_in(changes, change, log) <= index &&
            (best == NULL || origin->incarnation > changes->cluster->logs[best->log].origin.incarnation))
            best = change;
    }
    return best;
}

struct change *changes_overtaking(const struct changes *changes, struct bytes context, struct bytes partition,
                                  uint64_t epoch, size_t log, uint64_t index)
{
    const char *region = changes->cluster->logs[log].origin.region;
    struct change *best = NULL;
    for (size_t i = 0; i < changes->count; i++) {
        struct change *change = changes->list[i];
        if (!concerns(changes, change, context, partition) || change->epoch < epoch)
            continue;
        bool won = change->epoch == epoch && strcmp(changes->cluster->logs[change->log].origin.region, region) != 0;
        bool ended = change->epoch > epoch && end_in(changes, change, log) <= index;
        if ((won || ended) && (best == NULL || change->epoch < best->epoch))
            best = change;
    }
    return best != NULL ? best : life_that_left(changes, log, index);
}

bool changes_rest_on(const struct authority_event *event, size_t event_log, const struct change *at,
                     const struct changes *changes)
{
    const struct origin *origin = &changes->cluster->logs[at->log].origin;
    if (at->log == event_log)
        return at->index < event->index;
    return position_get(&event->change.basis, origin->region, origin->incarnation) > at->index;
}
