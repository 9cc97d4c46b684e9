/* The fold of authority (authority.h).
 *
 * A partition keeps every claim that it heard of, ordered by (epoch, time, region, incarnation, index), and of each
 * epoch and region the earliest release. Nothing is ever dropped, so the table after a set of events is the same
 * whatever their order and however often each came.
 *
 * Which claims win is asked at every look-up, not stored. The history of a partition is walked from its end: the first
 * claim of the highest epoch, below it the first of those that this one rests on, and so on. Most look-ups are about
 * the present epoch and take one step.
 *
 * Failure: memory is had before anything is changed. */
#include "domain/authority.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "domain/definition.h"

enum { KEY_MAX_BYTES = 1 + 2 * ENTRY_NAME_MAX_BYTES, FIRST_CAPACITY = 2, RELEASES_MAX = 64 };

/* The earliest release of an epoch by one region. */
struct release {
    uint64_t epoch;
    char region[POSITION_REGION_MAX_BYTES + 1];
    char successor[POSITION_REGION_MAX_BYTES + 1];
    hlc time;
};

struct claim {
    uint64_t epoch;
    enum control_kind kind;
    char region[POSITION_REGION_MAX_BYTES + 1];
    uint64_t incarnation;
    uint64_t index;
    hlc time;
    bool unfenced;
    size_t basis_count;
    const struct position_log *basis; /* owned by the table */
};

/* Key: u8 size of context, context, partition. */
struct authority_partition {
    size_t count;
    size_t capacity;
    struct claim *claims; /* ascending by (epoch, time, region, incarnation, index) */
    size_t release_count;
    size_t release_capacity;
    struct release *releases; /* ascending by (epoch, region) */
};

void authority_table_init(struct authority_table *table, const struct context_table *configuration)
{
    definitions_init(&table->definitions, configuration);
    table->contexts = &table->definitions.table;
    map_init(&table->partitions, AUTHORITY_PARTITIONS_MAX, NULL);
}

static void free_partition(struct authority_partition *partition)
{
    for (size_t i = 0; i < partition->count; i++)
        mem_free((void *)(uintptr_t)partition->claims[i].basis);
    mem_free(partition->claims);
    mem_free(partition->releases);
    mem_free(partition);
}

void authority_table_free(struct authority_table *table)
{
    size_t at = 0;
    struct bytes key;
    void *value = NULL;
    while (map_next(&table->partitions, &at, &key, &value))
        free_partition(value);
    map_free(&table->partitions);
    definitions_free(&table->definitions);
}

/* --- Finding --- */

static struct bytes put_key(struct bytes context, struct bytes partition, uint8_t out[KEY_MAX_BYTES])
{
    PRE(context.size_bytes <= ENTRY_NAME_MAX_BYTES && partition.size_bytes <= ENTRY_NAME_MAX_BYTES);
    out[0] = (uint8_t)context.size_bytes;
    memcpy(out + 1, context.data, context.size_bytes);
    memcpy(out + 1 + context.size_bytes, partition.data, partition.size_bytes);
    return bytes_of(out, 1 + context.size_bytes + partition.size_bytes);
}

static struct authority_partition *find(const struct authority_table *table, struct bytes context,
                                        struct bytes partition)
{
    uint8_t key[KEY_MAX_BYTES];
    return map_get(&table->partitions, put_key(context, partition, key));
}

/* How many claims have a lower epoch; partition may be NULL. */
static size_t count_below(const struct authority_partition *partition, uint64_t epoch)
{
    size_t low = 0;
    size_t high = partition == NULL ? 0 : partition->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (partition->claims[middle].epoch < epoch)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* (time, region), and then what tells two claims of one region apart: without it the winner would be whichever came
 * first. */
static int compare_claims(const struct claim *a, const struct claim *b)
{
    int order = compare_numbers(a->time, b->time);
    if (PLANTED(order_by_index))
        order = compare_numbers(a->index, b->index);
    if (order == 0)
        order = strcmp(a->region, b->region);
    if (order == 0)
        order = compare_numbers(a->incarnation, b->incarnation);
    return order != 0 ? order : compare_numbers(a->index, b->index);
}

static uint64_t basis_size(const struct claim *claim, const char *region, uint64_t incarnation)
{
    for (size_t i = 0; i < claim->basis_count; i++) {
        if (strcmp(claim->basis[i].region, region) == 0 && claim->basis[i].incarnation == incarnation)
            return claim->basis[i].size;
    }
    return 0;
}

/* The end of what a claim takes over from a log. */
static uint64_t end_in(const struct claim *claim, const char *region, uint64_t incarnation)
{
    bool own_log = strcmp(claim->region, region) == 0 && claim->incarnation == incarnation;
    return own_log ? claim->index : basis_size(claim, region, incarnation);
}

/* Whether whoever made `claim` knew the other one. */
static bool rests_on(const struct claim *claim, const struct claim *other)
{
    return other->index < end_in(claim, other->region, other->incarnation);
}

/* --- Histories --- */

/* What a partition's history is made of: its own claims, and those of "*" (NULL where the context gives the partition a
 * home, and for "*" itself). Either may be NULL. */
struct history {
    const struct authority_partition *own;
    const struct authority_partition *all;
};

static struct history history_of(const struct authority_table *table, struct bytes context, struct bytes partition)
{
    const struct bytes star = bytes_of_string(CONTROL_ALL_PARTITIONS);
    struct history history = {.own = find(table, context, partition)};
    if (!bytes_equal(partition, star) && !context_has_home(table->contexts, context, partition))
        history.all = find(table, context, star);
    return history;
}

/* A claim of "*" speaks of a partition only if whoever made it knew of none of the partition's own. */
static bool speaks_of(const struct claim *all, const struct authority_partition *own)
{
    for (size_t i = 0; own != NULL && i < own->count; i++) {
        if (rests_on(all, &own->claims[i]))
            return false;
    }
    return true;
}

/* The step down from a claim of the history; from its end (NULL) to the claim that is in force. NULL at the bottom. */
static const struct claim *step_down(const struct history *history, const struct claim *above)
{
    uint64_t end = above == NULL ? UINT64_MAX : above->epoch;
    size_t own_left = count_below(history->own, end);
    size_t all_left = count_below(history->all, end);
    const struct claim *best = NULL;
    while (own_left > 0 || all_left > 0) {
        const struct claim *own = own_left > 0 ? &history->own->claims[own_left - 1] : NULL;
        const struct claim *all = all_left > 0 ? &history->all->claims[all_left - 1] : NULL;
        bool take_own = all == NULL || (own != NULL && own->epoch >= all->epoch);
        const struct claim *claim = take_own ? own : all;
        if (best != NULL && claim->epoch < best->epoch)
            break;
        *(take_own ? &own_left : &all_left) -= 1;
        if ((above == NULL || rests_on(above, claim)) && (take_own || speaks_of(claim, history->own)) &&
            (best == NULL || compare_claims(claim, best) < 0))
            best = claim;
    }
    return best;
}

static bool is_of(const struct authority_partition *record, const struct claim *claim)
{
    return record != NULL && claim >= record->claims && claim < record->claims + record->count;
}

/* --- Events --- */

static int parse_payload(struct bytes payload, struct authority_event *event, struct err *err)
{
    struct definition definition;
    if (event->kind != CONTROL_CONTEXT_DEFINED)
        return control_authority_parse(event->kind, payload, &event->change, err);
    int code = definition_parse(payload, &definition, err);
    event->definition = payload;
    return code;
}

/* Whether the entry stands where an event of its kind may stand. */
static int check_place(const struct entry *entry, enum control_kind kind, struct err *err)
{
    uint64_t least = control_begins_epoch(kind) ? CONTEXT_EPOCH_FIRST + 1 : CONTEXT_EPOCH_FIRST;
    if (entry->epoch < least || entry->epoch > AUTHORITY_EPOCH_MAX)
        return err_set(err, ERR_CORRUPT, "an authority event names epoch %llu, which cannot be",
                       (unsigned long long)entry->epoch);
    if (kind == CONTROL_CONTEXT_DEFINED &&
        (!bytes_equal(entry->context, bytes_of_string(CONTEXT_SYSTEM)) || control_name_reserved(entry->partition)))
        return err_set(err, ERR_CORRUPT, "the definition of a context stands where it cannot");
    return 0;
}

static int governing_event_of(const struct entry *entry, enum control_kind kind, struct bytes payload,
                              const struct origin *origin, struct authority_event *ret, struct err *err)
{
    struct authority_event event = {.kind = kind};
    int code = parse_payload(payload, &event, err);
    if (code == 0)
        code = check_place(entry, kind, err);
    if (code != 0)
        return code;
    event.context = entry->context;
    event.partition = entry->partition;
    event.epoch = entry->epoch;
    event.region = origin->region;
    event.incarnation = origin->incarnation;
    event.index = entry->index;
    event.time = entry->time;
    *ret = event;
    return 0;
}

int authority_event_of(const struct entry *entry, struct bytes payload, const struct origin *origin,
                       struct authority_event *ret, struct err *err)
{
    enum control_kind kind = control_kind_of(entry);
    if (!control_governs(kind)) { /* nearly every entry: nothing as large as an event is even cleared for it */
        ret->kind = CONTROL_UNKNOWN;
        return 0;
    }
    return governing_event_of(entry, kind, payload, origin, ret, err);
}

bool authority_ready(const struct authority_event *event, const struct position *applied)
{
    return !control_begins_epoch(event->kind) || position_covers(applied, &event->change.basis);
}

/* --- Applying --- */

static int find_or_add(struct authority_table *table, const struct authority_event *event,
                       struct authority_partition **ret, struct err *err)
{
    uint8_t key[KEY_MAX_BYTES];
    struct bytes name = put_key(event->context, event->partition, key);
    struct authority_partition *partition = map_get(&table->partitions, name);
    if (partition == NULL) {
        partition = mem_alloc_zero(1, sizeof(*partition));
        int code = partition == NULL ? ERR_NO_MEMORY : map_put(&table->partitions, name, partition);
        if (code != 0)
            mem_free(partition);
        if (code == ERR_TOO_LARGE)
            return err_set(err, code, "more than %d partitions have owners of their own", AUTHORITY_PARTITIONS_MAX);
        if (code != 0)
            return err_no_memory(err, "the owners of partitions");
    }
    *ret = partition;
    return 0;
}

/* Room for one more; *items and *capacity grow together. */
static int make_room(void **items, size_t *capacity, size_t count, size_t item_size, struct err *err)
{
    if (count == AUTHORITY_EPOCHS_MAX)
        return err_set(err, ERR_TOO_LARGE, "a partition has changed its owner more than %d times",
                       AUTHORITY_EPOCHS_MAX);
    if (count < *capacity)
        return 0;
    size_t grown = *capacity == 0 ? FIRST_CAPACITY : 2 * *capacity;
    void *more = mem_resize(*items, grown * item_size);
    if (more == NULL)
        return err_no_memory(err, "the owners of partitions");
    *items = more;
    *capacity = grown;
    return 0;
}

/* The event as a claim whose basis is the event's own. */
static struct claim claim_of(const struct authority_event *event)
{
    struct claim claim = {.epoch = event->epoch,
                          .kind = event->kind,
                          .incarnation = event->incarnation,
                          .index = event->index,
                          .time = event->time,
                          .unfenced = event->change.unfenced,
                          .basis_count = event->change.basis.count,
                          .basis = event->change.basis.logs};
    copy_string(claim.region, sizeof(claim.region), event->region);
    return claim;
}

static int add_claim(struct authority_partition *partition, const struct authority_event *event, struct err *err)
{
    struct claim claim = claim_of(event);
    struct position_log *basis = NULL;
    size_t at = count_below(partition, claim.epoch);
    while (at < partition->count && partition->claims[at].epoch == claim.epoch &&
           compare_claims(&partition->claims[at], &claim) < 0)
        at++;
    if (at < partition->count && partition->claims[at].epoch == claim.epoch &&
        compare_claims(&partition->claims[at], &claim) == 0)
        return 0; /* the same event again */
    void *claims = partition->claims;
    int code = make_room(&claims, &partition->capacity, partition->count, sizeof(claim), err);
    partition->claims = claims;
    if (code != 0)
        return code;
    if (claim.basis_count > 0) {
        basis = mem_alloc(claim.basis_count * sizeof(*basis));
        if (basis == NULL)
            return err_no_memory(err, "the basis of an epoch");
        memcpy(basis, claim.basis, claim.basis_count * sizeof(*basis));
    }
    claim.basis = basis;
    memmove(&partition->claims[at + 1], &partition->claims[at], (partition->count - at) * sizeof(claim));
    partition->claims[at] = claim;
    partition->count++;
    return 0;
}

/* Where the release of an epoch by a region is, or belongs. */
static size_t place_of_release(const struct authority_partition *partition, uint64_t epoch, const char *region)
{
    size_t at = partition->release_count;
    while (at > 0 &&
           (partition->releases[at - 1].epoch > epoch ||
            (partition->releases[at - 1].epoch == epoch && strcmp(partition->releases[at - 1].region, region) >= 0)))
        at--;
    return at;
}

static const struct release *find_release(const struct authority_partition *partition, uint64_t epoch,
                                          const char *region)
{
    if (partition == NULL)
        return NULL;
    size_t at = place_of_release(partition, epoch, region);
    bool found = at < partition->release_count && partition->releases[at].epoch == epoch &&
                 strcmp(partition->releases[at].region, region) == 0;
    return found ? &partition->releases[at] : NULL;
}

static size_t count_releases(const struct authority_partition *partition, uint64_t epoch)
{
    size_t count = 0;
    for (size_t at = place_of_release(partition, epoch, "");
         at < partition->release_count && partition->releases[at].epoch == epoch; at++)
        count++;
    return count;
}

static int add_release(struct authority_partition *partition, const struct authority_event *event, struct err *err)
{
    PRE(event->change.successor.size_bytes <= POSITION_REGION_MAX_BYTES);
    struct release made = {.epoch = event->epoch, .time = event->time};
    copy_string(made.region, sizeof(made.region), event->region);
    memcpy(made.successor, event->change.successor.data, event->change.successor.size_bytes);
    size_t at = place_of_release(partition, made.epoch, made.region);
    if (find_release(partition, made.epoch, made.region) != NULL) {
        struct release *known = &partition->releases[at];
        int order = compare_numbers(known->time, made.time);
        if (order > 0 || (order == 0 && strcmp(known->successor, made.successor) > 0))
            *known = made;
        return 0;
    }
    if (count_releases(partition, made.epoch) == RELEASES_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d regions released one epoch", RELEASES_MAX);
    void *releases = partition->releases;
    int code = make_room(&releases, &partition->release_capacity, partition->release_count, sizeof(made), err);
    partition->releases = releases;
    if (code != 0)
        return code;
    memmove(&partition->releases[at + 1], &partition->releases[at], (partition->release_count - at) * sizeof(made));
    partition->releases[at] = made;
    partition->release_count++;
    return 0;
}

static bool is_of_system(const struct authority_event *event)
{
    return bytes_equal(event->context, bytes_of_string(CONTEXT_SYSTEM));
}

int authority_apply(struct authority_table *table, const struct authority_event *event, struct err *err)
{
    PRE(control_governs(event->kind));
    PRE(event->epoch >= CONTEXT_EPOCH_FIRST);
    struct authority_partition *partition = NULL;
    if (event->kind == CONTROL_CONTEXT_DEFINED)
        return definitions_add(&table->definitions, table, event, err);
    int code = find_or_add(table, event, &partition, err);
    if (code == 0)
        code =
            control_begins_epoch(event->kind) ? add_claim(partition, event, err) : add_release(partition, event, err);
    return code == 0 && is_of_system(event) ? definitions_refresh(&table->definitions, table, err) : code;
}

/* --- Asking --- */

int authority_now(const struct authority_table *table, struct bytes context, struct bytes partition,
                  struct authority_now *ret, struct err *err)
{
    struct authority initial;
    int code = context_authority(table->contexts, context, partition, &initial, err);
    if (code != 0)
        return code;
    struct history history = history_of(table, context, partition);
    const struct claim *claim = step_down(&history, NULL);
    struct authority_now now = {.region = initial.region, .epoch = initial.epoch};
    if (claim != NULL) {
        now.region = claim->region;
        now.epoch = claim->epoch;
        now.incarnation = claim->incarnation;
        now.index = claim->index;
        now.unfenced = claim->unfenced;
    }
    const struct release *release = find_release(history.own, now.epoch, now.region);
    if (release == NULL && (claim == NULL || is_of(history.all, claim)))
        release = find_release(history.all, now.epoch, now.region);
    now.released = release != NULL;
    now.successor = release == NULL ? "" : release->successor;
    *ret = now;
    return 0;
}

static bool is_first_home(const struct authority_table *table, struct bytes context, struct bytes partition,
                          const char *region)
{
    struct authority initial;
    return context_authority(table->contexts, context, partition, &initial, NULL) == 0 &&
           strcmp(initial.region, region) == 0;
}

bool authority_was_home(const struct authority_table *table, struct bytes context, struct bytes partition,
                        const char *region)
{
    struct history history = history_of(table, context, partition);
    const struct claim *claim = NULL;
    while ((claim = step_down(&history, claim)) != NULL) {
        if (strcmp(claim->region, region) == 0)
            return true;
    }
    return is_first_home(table, context, partition, region);
}

/* In the log of a change nothing before it is of its epoch, nor in an earlier incarnation of that region. */
static uint64_t begin_in(const struct claim *claim, uint64_t incarnation)
{
    if (incarnation == claim->incarnation)
        return claim->index;
    return incarnation < claim->incarnation ? UINT64_MAX : 0;
}

static uint64_t least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

struct authority_span authority_span(const struct authority_table *table, struct bytes context, struct bytes partition,
                                     uint64_t epoch, const char *region, uint64_t incarnation)
{
    struct history history = history_of(table, context, partition);
    struct authority_span span = {.begin = 0, .end = UINT64_MAX};
    const struct claim *claim = step_down(&history, NULL);
    for (; claim != NULL && claim->epoch > epoch; claim = step_down(&history, claim))
        span.end = least_of(span.end, end_in(claim, region, incarnation));
    if (claim != NULL && claim->epoch == epoch && strcmp(claim->region, region) == 0)
        span.begin = begin_in(claim, incarnation);
    else if (epoch != CONTEXT_EPOCH_FIRST || !is_first_home(table, context, partition, region))
        return (struct authority_span){0, 0};
    return span;
}

bool authority_partition_next(const struct authority_table *table, struct bytes context, size_t *at, struct bytes *ret)
{
    const struct bytes all = bytes_of_string(CONTROL_ALL_PARTITIONS);
    size_t listed = context_home_count(table->contexts, context);
    struct bytes key;
    void *value = NULL;
    if (*at <= listed) {
        *ret = *at == 0 ? all : context_home_partition(table->contexts, context, *at - 1);
        (*at)++;
        return true;
    }
    size_t next = *at - listed - 1;
    while (map_next(&table->partitions, &next, &key, &value)) {
        struct bytes partition = bytes_of(key.data + 1 + key.data[0], key.size_bytes - 1 - key.data[0]);
        bool same = bytes_equal(bytes_of(key.data + 1, key.data[0]), context);
        *at = next + listed + 1;
        const struct authority_partition *record = value;
        if (!same || bytes_equal(partition, all) || context_has_home(table->contexts, context, partition) ||
            (record->count == 0 && record->release_count == 0))
            continue;
        *ret = partition;
        return true;
    }
    return false;
}

bool authority_is_late(const struct authority_table *table, struct bytes context, struct bytes partition,
                       uint64_t epoch, const char *region, uint64_t incarnation, uint64_t index)
{
    struct authority_span span = authority_span(table, context, partition, epoch, region, incarnation);
    return index < span.begin || index >= span.end;
}

/* --- What an event can make late --- */

/* The least place where a claim of a history, and those below it, begin or end something in a log. */
static uint64_t bounds_of(const struct history *history, const struct claim *claim, const char *region,
                          uint64_t incarnation)
{
    uint64_t least = UINT64_MAX;
    for (; claim != NULL; claim = step_down(history, claim)) {
        least = least_of(least, end_in(claim, region, incarnation));
        if (strcmp(claim->region, region) == 0)
            least = least_of(least, begin_in(claim, incarnation));
    }
    return least;
}

/* What a claim changes in one history. Nothing, unless it comes to be the one in force. If it rests on the one that
 * was, only what lies beyond its basis; else the history is another one from here on, and whatever either says of a log
 * may have changed. */
static uint64_t affected_in(const struct history *history, const struct claim *made, const char *region,
                            uint64_t incarnation)
{
    const struct claim *before = step_down(history, NULL);
    if (before != NULL &&
        (made->epoch < before->epoch || (made->epoch == before->epoch && compare_claims(made, before) >= 0)))
        return UINT64_MAX;
    uint64_t least = end_in(made, region, incarnation);
    if (strcmp(made->region, region) == 0)
        least = least_of(least, begin_in(made, incarnation)); /* a later incarnation may have gone on under it */
    if (before == NULL || (made->epoch > before->epoch && rests_on(made, before)))
        return least;
    least = least_of(least, bounds_of(history, before, region, incarnation));
    return least_of(least, bounds_of(history, step_down(history, made), region, incarnation));
}

/* A change of "*" in the histories of the partitions that have claims of their own, which it does not know. */
static uint64_t affected_own(const struct authority_table *table, struct bytes context, const struct claim *made,
                             const char *region, uint64_t incarnation)
{
    const struct authority_partition *star = find(table, context, bytes_of_string(CONTROL_ALL_PARTITIONS));
    uint64_t least = UINT64_MAX;
    size_t at = 0;
    struct bytes key;
    void *value = NULL;
    while (map_next(&table->partitions, &at, &key, &value)) {
        struct bytes partition = bytes_of(key.data + 1 + key.data[0], key.size_bytes - 1 - key.data[0]);
        struct history history = {.own = value, .all = star};
        if (value != star && bytes_equal(bytes_of(key.data + 1, key.data[0]), context) &&
            !context_has_home(table->contexts, context, partition) && speaks_of(made, value))
            least = least_of(least, affected_in(&history, made, region, incarnation));
    }
    return least;
}

uint64_t authority_own_affected_from(const struct authority_table *table, const struct authority_event *event,
                                     const char *region, uint64_t incarnation)
{
    if (!control_begins_epoch(event->kind))
        return UINT64_MAX;
    struct claim made = claim_of(event);
    struct history history = history_of(table, event->context, event->partition);
    uint64_t least = affected_in(&history, &made, region, incarnation);
    if (bytes_equal(event->partition, bytes_of_string(CONTROL_ALL_PARTITIONS)))
        least = least_of(least, affected_own(table, event->context, &made, region, incarnation));
    return least;
}

uint64_t authority_affected_from(const struct authority_table *table, const struct authority_event *event,
                                 const char *region, uint64_t incarnation)
{
    uint64_t own = authority_own_affected_from(table, event, region, incarnation);
    if (!is_of_system(event))
        return own;
    return least_of(own, definitions_affected_from(&table->definitions, table, event, region, incarnation));
}

bool authority_concerns(const struct authority_table *table, const struct authority_event *event,
                        const struct entry *entry)
{
    bool all = bytes_equal(event->partition, bytes_of_string(CONTROL_ALL_PARTITIONS));
    if (is_of_system(event) && (all || bytes_equal(event->partition, entry->context)) &&
        (event->kind == CONTROL_CONTEXT_DEFINED || definitions_know(&table->definitions, entry->context)))
        return true;
    return control_is_authority(event->kind) && bytes_equal(entry->context, event->context) &&
           (all || bytes_equal(entry->partition, event->partition));
}

/* --- Walking --- */

static bool is_in(const struct history *history, const struct claim *wanted)
{
    const struct claim *claim = step_down(history, NULL);
    while (claim != NULL && claim->epoch > wanted->epoch)
        claim = step_down(history, claim);
    return claim == wanted;
}

bool authority_next(const struct authority_table *table, struct authority_walk *at, struct authority_record *ret)
{
    struct bytes key;
    void *value = NULL;
    size_t next = at->partition;
    while (map_next(&table->partitions, &next, &key, &value)) {
        const struct authority_partition *partition = value;
        struct bytes context = bytes_of(key.data + 1, key.data[0]);
        struct bytes name = bytes_of(key.data + 1 + context.size_bytes, key.size_bytes - 1 - context.size_bytes);
        struct history history = history_of(table, context, name);
        while (at->epoch < partition->count && !is_in(&history, &partition->claims[at->epoch]))
            at->epoch++;
        if (at->epoch == partition->count) {
            at->partition = next;
            at->epoch = 0;
            continue;
        }
        const struct claim *claim = &partition->claims[at->epoch++];
        const struct release *release = find_release(partition, claim->epoch, claim->region);
        *ret = (struct authority_record){.context = context,
                                         .partition = name,
                                         .epoch = claim->epoch,
                                         .kind = claim->kind,
                                         .region = claim->region,
                                         .incarnation = claim->incarnation,
                                         .index = claim->index,
                                         .time = claim->time,
                                         .basis_count = claim->basis_count,
                                         .basis = claim->basis,
                                         .released = release != NULL,
                                         .successor = release == NULL ? "" : release->successor};
        return true;
    }
    return false;
}
