/* The fold of authority (authority.h).
 *
 * A partition keeps every claim that it heard of, ordered by (epoch, time, region, incarnation, index), and of each
 * epoch and log the earliest release. Nothing is ever dropped, so the table after a set of events is the same
 * whatever their order and however often each came.
 *
 * Which claims win is asked at every look-up, not stored. The history of a partition is walked from its end: the first
 * claim of the highest epoch, below it the first of those that this one rests on, and so on. Most look-ups are about
 * the present epoch and take one step. Of what lives leave behind each step counts what the claim above it knew.
 *
 * Failure: memory is had before anything is changed. */
#include "domain/authority.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"

enum { KEY_MAX_BYTES = 1 + 2 * ENTRY_NAME_MAX_BYTES, FIRST_CAPACITY = 2, RELEASES_MAX = 64 };

/* The earliest release of an epoch in one log. */
struct release {
    uint64_t epoch;
    char region[POSITION_REGION_MAX_BYTES + 1];
    uint64_t incarnation;
    uint64_t index;
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
    struct release *releases; /* ascending by (epoch, region, incarnation) */
};

void authority_table_init(struct authority_table *table, const struct context_table *configuration)
{
    definitions_init(&table->definitions, configuration);
    table->contexts = &table->definitions.table;
    map_init(&table->partitions, AUTHORITY_PARTITIONS_MAX, NULL);
    lives_init(&table->lives);
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
    lives_free(&table->lives);
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

static struct resting resting_of(const struct claim *claim)
{
    return (struct resting){.region = claim->region,
                            .incarnation = claim->incarnation,
                            .index = claim->index,
                            .basis_count = claim->basis_count,
                            .basis = claim->basis};
}

/* The end of what a claim takes over from a log. */
static uint64_t end_in(const struct claim *claim, const char *region, uint64_t incarnation)
{
    const struct resting resting = resting_of(claim);
    return resting_end(&resting, region, incarnation);
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
    const struct lives *lives;
    const struct resting *more; /* a life that the table does not have yet, or NULL */
};

static struct history history_of(const struct authority_table *table, struct bytes context, struct bytes partition)
{
    const struct bytes star = bytes_of_string(CONTROL_ALL_PARTITIONS);
    struct history history = {.own = find(table, context, partition), .lives = &table->lives};
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

/* What counts of a log under the epoch below `above`, a claim of the history, or at its end (NULL), by the lives that
 * whoever made that claim knew. */
static uint64_t lived_end(const struct history *history, const struct claim *above, const char *region,
                          uint64_t incarnation)
{
    struct resting resting;
    if (above != NULL)
        resting = resting_of(above);
    return lives_end(history->lives, history->more, above == NULL ? NULL : &resting, region, incarnation);
}

/* Whether a claim counts for whoever made the one above it: it was known, and not left behind. */
static bool is_below(const struct history *history, const struct claim *claim, const struct claim *above)
{
    return (above == NULL || rests_on(above, claim)) &&
           claim->index < lived_end(history, above, claim->region, claim->incarnation);
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
        if (is_below(history, claim, above) && (take_own || speaks_of(claim, history->own)) &&
            (best == NULL || compare_claims(claim, best) < 0))
            best = claim;
    }
    return best;
}

static bool is_of(const struct authority_partition *record, const struct claim *claim)
{
    return record != NULL && claim >= record->claims && claim < record->claims + record->count;
}

/* --- Readiness --- */

bool authority_ready(const struct authority_table *table, const struct authority_event *event,
                     const struct position *applied)
{
    return !control_rests(event->kind) || position_covers(applied, &event->change.basis) ||
           event->index >= authority_lived_end(table, event->region, event->incarnation);
}

uint64_t authority_lived_end(const struct authority_table *table, const char *region, uint64_t incarnation)
{
    return lives_end(&table->lives, NULL, NULL, region, incarnation);
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

/* Where the release of an epoch in a log is, or belongs. */
static size_t place_of_release(const struct authority_partition *partition, uint64_t epoch, const char *region,
                               uint64_t incarnation)
{
    size_t at = partition->release_count;
    for (; at > 0; at--) {
        const struct release *before = &partition->releases[at - 1];
        int order = compare_numbers(before->epoch, epoch);
        if (order == 0)
            order = strcmp(before->region, region);
        if (order == 0)
            order = compare_numbers(before->incarnation, incarnation);
        if (order < 0)
            break;
    }
    return at;
}

static int compare_releases(const struct release *a, const struct release *b)
{
    int order = compare_numbers(a->time, b->time);
    return order != 0 ? order : strcmp(a->successor, b->successor);
}

/* The earliest release of an epoch by a region that counts for whoever made the claim above it. */
static const struct release *find_release(const struct history *history, const struct authority_partition *partition,
                                          const struct claim *above, uint64_t epoch, const char *region)
{
    const struct release *first = NULL;
    if (partition == NULL)
        return NULL;
    for (size_t at = place_of_release(partition, epoch, region, 0); at < partition->release_count; at++) {
        const struct release *release = &partition->releases[at];
        if (release->epoch != epoch || strcmp(release->region, region) != 0)
            break;
        if (release->index < lived_end(history, above, region, release->incarnation) &&
            (first == NULL || compare_releases(release, first) < 0))
            first = release;
    }
    return first;
}

static size_t count_releases(const struct authority_partition *partition, uint64_t epoch)
{
    size_t count = 0;
    for (size_t at = place_of_release(partition, epoch, "", 0);
         at < partition->release_count && partition->releases[at].epoch == epoch; at++)
        count++;
    return count;
}

static int add_release(struct authority_partition *partition, const struct authority_event *event, struct err *err)
{
    PRE(event->change.successor.size_bytes <= POSITION_REGION_MAX_BYTES);
    struct release made = {
        .epoch = event->epoch, .incarnation = event->incarnation, .index = event->index, .time = event->time};
    copy_string(made.region, sizeof(made.region), event->region);
    memcpy(made.successor, event->change.successor.data, event->change.successor.size_bytes);
    size_t at = place_of_release(partition, made.epoch, made.region, made.incarnation);
    struct release *known = at < partition->release_count ? &partition->releases[at] : NULL;
    if (known != NULL && known->epoch == made.epoch && strcmp(known->region, made.region) == 0 &&
        known->incarnation == made.incarnation) {
        if (compare_releases(&made, known) < 0)
            *known = made;
        return 0;
    }
    if (count_releases(partition, made.epoch) == RELEASES_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d logs release one epoch", RELEASES_MAX);
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

static struct resting life_of(const struct authority_event *event)
{
    return (struct resting){.region = event->region,
                            .incarnation = event->incarnation,
                            .basis_count = event->change.basis.count,
                            .basis = event->change.basis.logs};
}

int authority_apply(struct authority_table *table, const struct authority_event *event, struct err *err)
{
    PRE(control_governs(event->kind));
    PRE(event->epoch >= CONTEXT_EPOCH_FIRST);
    struct authority_partition *partition = NULL;
    if (event->kind == CONTROL_CONTEXT_DEFINED)
        return definitions_add(&table->definitions, table, event, err);
    if (event->kind == CONTROL_LOG_CONTINUED) {
        const struct resting life = life_of(event);
        int added = lives_add(&table->lives, &life, err);
        return added == 0 ? definitions_refresh(&table->definitions, table, err) : added;
    }
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
        now.time = claim->time;
        now.unfenced = claim->unfenced;
    }
    const struct release *release = find_release(&history, history.own, NULL, now.epoch, now.region);
    if (release == NULL && (claim == NULL || is_of(history.all, claim)))
        release = find_release(&history, history.all, NULL, now.epoch, now.region);
    now.released = release != NULL;
    now.successor = release == NULL ? "" : release->successor;
    now.release_incarnation = release == NULL ? 0 : release->incarnation;
    now.release_index = release == NULL ? 0 : release->index;
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
    const struct claim *above = NULL;
    const struct claim *claim = step_down(&history, NULL);
    for (; claim != NULL && claim->epoch > epoch; above = claim, claim = step_down(&history, claim))
        span.end = least_of(span.end, end_in(claim, region, incarnation));
    span.end = least_of(span.end, lived_end(&history, above, region, incarnation));
    if (claim != NULL && claim->epoch == epoch && strcmp(claim->region, region) == 0)
        span.begin = begin_in(claim, incarnation);
    else if (epoch != CONTEXT_EPOCH_FIRST || !is_first_home(table, context, partition, region))
        return (struct authority_span){0, 0};
    return span;
}

bool authority_was_away(const struct authority_table *table, struct bytes context, struct bytes partition,
                        const char *region, uint64_t incarnation, uint64_t index)
{
    struct history history = history_of(table, context, partition);
    const struct claim *above = NULL;
    const struct claim *claim = step_down(&history, NULL);
    uint64_t end = UINT64_MAX;
    for (; claim != NULL; above = claim, claim = step_down(&history, claim)) {
        bool below = index < end && index < lived_end(&history, above, region, incarnation);
        if (below && strcmp(claim->region, region) == 0 && index >= begin_in(claim, incarnation))
            return false;
        end = least_of(end, end_in(claim, region, incarnation));
    }
    return index >= end || index >= lived_end(&history, above, region, incarnation) ||
           !is_first_home(table, context, partition, region);
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

bool authority_entry_is_late(const struct authority_table *table, const struct entry *entry, const char *region,
                             uint64_t incarnation)
{
    if ((entry->flags & ENTRY_FLAG_COMMUTATIVE) != 0)
        return !context_accepts_anywhere(context_find(table->contexts, entry->context), entry->type);
    return (entry->flags & ENTRY_FLAG_OVERRIDE) != 0 ||
           authority_is_late(table, entry->context, entry->partition, entry->epoch, region, incarnation, entry->index);
}

/* --- What an event can make late --- */

/* The least place where a claim of a history, and those below it, begin or end something in a log. */
static uint64_t bounds_of(const struct history *history, const struct claim *claim, const char *region,
                          uint64_t incarnation)
{
    uint64_t least = UINT64_MAX;
    for (; claim != NULL; claim = step_down(history, claim)) {
        least = least_of(least, end_in(claim, region, incarnation));
        least = least_of(least, lived_end(history, claim, region, incarnation));
        if (strcmp(claim->region, region) == 0)
            least = least_of(least, begin_in(claim, incarnation));
    }
    return least;
}

/* Nothing when two ends are one, else the lower one: what lies between counts by one of them alone. */
static uint64_t differ_from(uint64_t a, uint64_t b)
{
    return a == b ? UINT64_MAX : least_of(a, b);
}

/* What a claim changes in one history. Nothing, unless it comes to be the one in force. If it rests on the one that
 * was, only what lies beyond its basis, and what lives have left behind that it does not know of; else the history is
 * another one from here on, and whatever either says of a log may have changed. */
static uint64_t affected_in(const struct history *history, const struct claim *made, const char *region,
                            uint64_t incarnation)
{
    const struct claim *before = step_down(history, NULL);
    if (before != NULL &&
        (made->epoch < before->epoch || (made->epoch == before->epoch && compare_claims(made, before) >= 0)))
        return UINT64_MAX;
    if (!is_below(history, made, NULL))
        return UINT64_MAX;
    uint64_t least = end_in(made, region, incarnation);
    if (strcmp(made->region, region) == 0)
        least = least_of(least, begin_in(made, incarnation)); /* a later incarnation may have gone on under it */
    least = least_of(least, differ_from(lived_end(history, NULL, region, incarnation),
                                        lived_end(history, made, region, incarnation)));
    if (step_down(history, made) == before)
        return least;
    least = least_of(least, lived_end(history, made, region, incarnation));
    least = least_of(least, bounds_of(history, before, region, incarnation));
    return least_of(least, bounds_of(history, step_down(history, made), region, incarnation));
}

/* What a life changes in one history: where a change of homes was left behind, or is left behind no more, whatever
 * either history says. */
static uint64_t affected_by_life(const struct history *before, const struct resting *life, const char *region,
                                 uint64_t incarnation)
{
    struct history after = *before;
    after.more = life;
    const struct claim *was = step_down(before, NULL);
    const struct claim *is = step_down(&after, NULL);
    if (was == is)
        return UINT64_MAX;
    uint64_t ends =
        least_of(lived_end(before, NULL, region, incarnation), lived_end(&after, NULL, region, incarnation));
    return least_of(ends,
                    least_of(bounds_of(before, was, region, incarnation), bounds_of(&after, is, region, incarnation)));
}

static uint64_t affected_by_lives(const struct authority_table *table, const struct resting *life, const char *region,
                                  uint64_t incarnation)
{
    uint64_t least = differ_from(lives_end(&table->lives, NULL, NULL, region, incarnation),
                                 lives_end(&table->lives, life, NULL, region, incarnation));
    size_t at = 0;
    struct bytes key;
    void *value = NULL;
    while (map_next(&table->partitions, &at, &key, &value)) {
        struct bytes context = bytes_of(key.data + 1, key.data[0]);
        struct bytes partition = bytes_of(key.data + 1 + key.data[0], key.size_bytes - 1 - key.data[0]);
        struct history history = history_of(table, context, partition);
        least = least_of(least, affected_by_life(&history, life, region, incarnation));
    }
    return least;
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
        struct history history = {.own = value, .all = star, .lives = &table->lives};
        if (value != star && bytes_equal(bytes_of(key.data + 1, key.data[0]), context) &&
            !context_has_home(table->contexts, context, partition) && speaks_of(made, value))
            least = least_of(least, affected_in(&history, made, region, incarnation));
    }
    return least;
}

uint64_t authority_own_affected_from(const struct authority_table *table, const struct authority_event *event,
                                     const char *region, uint64_t incarnation)
{
    if (event->kind == CONTROL_LOG_CONTINUED) {
        const struct resting life = life_of(event);
        return affected_by_lives(table, &life, region, incarnation);
    }
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
    if (event->kind == CONTROL_LOG_CONTINUED)
        return true;
    if (is_of_system(event) && (all || bytes_equal(event->partition, entry->context)) &&
        (event->kind == CONTROL_CONTEXT_DEFINED || (entry->flags & ENTRY_FLAG_COMMUTATIVE) != 0 ||
         definitions_know(&table->definitions, entry->context)))
        return true;
    return control_is_authority(event->kind) && bytes_equal(entry->context, event->context) &&
           (all || bytes_equal(entry->partition, event->partition));
}

/* --- Walking --- */

/* Whether the claim is in the history; *ret_above is the one above it, NULL at the end. */
static bool is_in(const struct history *history, const struct claim *wanted, const struct claim **ret_above)
{
    const struct claim *claim = step_down(history, NULL);
    *ret_above = NULL;
    while (claim != NULL && claim->epoch > wanted->epoch) {
        *ret_above = claim;
        claim = step_down(history, claim);
    }
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
        const struct claim *above = NULL;
        while (at->epoch < partition->count && !is_in(&history, &partition->claims[at->epoch], &above))
            at->epoch++;
        if (at->epoch == partition->count) {
            at->partition = next;
            at->epoch = 0;
            continue;
        }
        const struct claim *claim = &partition->claims[at->epoch++];
        const struct release *release = find_release(&history, partition, above, claim->epoch, claim->region);
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
