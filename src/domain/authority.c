/* The fold of authority (authority.h).
 *
 * A partition keeps, for every epoch that some region began, the claim that wins it, ordered by epoch; and every
 * release that it heard of. Claims that lose are forgotten: nothing depends on them. So the table after a set of events
 * is the same whatever their order and however often each came:
 *   - the winner of an epoch is a minimum over (time, region, incarnation, index), and
 *   - a release belongs to the epoch that it ends, and counts only when it comes from the region that won that epoch;
 * the earliest place in that region's log is kept, again a minimum.
 *
 * Whether a partition's own claims count is asked at every look-up (governing), not stored: a claim of "*" that arrives
 * later can only change the answer for epochs at or above the one it begins.
 *
 * Failure: memory is had before anything is changed. */
#include "domain/authority.h"

#include "base/assert.h"
#include "base/mem.h"

enum { KEY_MAX_BYTES = 1 + 2 * ENTRY_NAME_MAX_BYTES, CLAIMS_FIRST = 2, RELEASES_MAX = 64 };

/* The earliest release of an epoch by one region. */
struct release {
    char region[POSITION_REGION_MAX_BYTES + 1];
    char successor[POSITION_REGION_MAX_BYTES + 1];
    hlc time;
};

struct claim {
    uint64_t epoch;
    bool begun; /* some region began it; false: only a release of it is known yet */
    enum control_kind kind;
    char region[POSITION_REGION_MAX_BYTES + 1];
    uint64_t incarnation;
    uint64_t index;
    hlc time;
    size_t basis_count;
    struct position_log *basis; /* owned */
    size_t release_count;
    struct release *releases; /* owned; one a region */
};

/* Key: u8 size of context, context, partition. */
struct authority_partition {
    size_t count;
    size_t capacity;
    struct claim *claims; /* by epoch, ascending, each epoch once */
};

void authority_table_init(struct authority_table *table, const struct context_table *contexts)
{
    table->contexts = contexts;
    map_init(&table->partitions, AUTHORITY_PARTITIONS_MAX, NULL);
}

static void free_partition(struct authority_partition *partition)
{
    for (size_t i = 0; i < partition->count; i++) {
        mem_free(partition->claims[i].basis);
        mem_free(partition->claims[i].releases);
    }
    mem_free(partition->claims);
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

/* The first claim whose epoch is not below. */
static size_t place_of(const struct authority_partition *partition, uint64_t epoch)
{
    size_t at = 0;
    while (at < partition->count && partition->claims[at].epoch < epoch)
        at++;
    return at;
}

static const struct claim *claim_at(const struct authority_partition *partition, uint64_t epoch)
{
    if (partition == NULL)
        return NULL;
    size_t at = place_of(partition, epoch);
    return at < partition->count && partition->claims[at].epoch == epoch && partition->claims[at].begun
               ? &partition->claims[at]
               : NULL;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* (time, region), and then what tells two incarnations of one region apart: without it the winner would be whichever
 * came first. */
static int compare_claims(const struct claim *a, const struct claim *b)
{
    int order = compare_numbers(a->time, b->time);
    if (order == 0)
        order = strcmp(a->region, b->region);
    if (order == 0)
        order = compare_numbers(a->incarnation, b->incarnation);
    return order != 0 ? order : compare_numbers(a->index, b->index);
}

/* What governs one partition: `all` below epoch `from`, `own` from there on. `own` may hold a release of an epoch below
 * `from`, too. Either may be NULL. */
struct governing {
    const struct authority_partition *all;
    const struct authority_partition *own;
    uint64_t from;
};

static const struct claim *first_begun(const struct authority_partition *partition)
{
    for (size_t i = 0; i < partition->count; i++) {
        if (partition->claims[i].begun)
            return &partition->claims[i];
    }
    return NULL;
}

static struct governing governing(const struct authority_table *table, struct bytes context, struct bytes partition)
{
    const struct authority_partition *own = find(table, context, partition);
    const struct authority_partition *all = find(table, context, bytes_of_string(CONTROL_ALL_PARTITIONS));
    if (bytes_equal(partition, bytes_of_string(CONTROL_ALL_PARTITIONS)) ||
        context_has_home(table->contexts, context, partition))
        return (struct governing){.own = own, .from = CONTEXT_EPOCH_FIRST};
    const struct claim *mine = own == NULL ? NULL : first_begun(own);
    const struct claim *rival = mine == NULL ? NULL : claim_at(all, mine->epoch);
    if (mine == NULL)
        return (struct governing){.all = all, .own = own, .from = UINT64_MAX};
    if (rival != NULL && compare_claims(rival, mine) <= 0)
        return (struct governing){.all = all, .from = UINT64_MAX};
    return (struct governing){.all = all, .own = own, .from = mine->epoch};
}

static const struct claim *winner(const struct governing *governing, uint64_t epoch)
{
    return claim_at(epoch >= governing->from ? governing->own : governing->all, epoch);
}

/* The first begun claim of a record with an epoch in [least, end). */
static const struct claim *first_in(const struct authority_partition *record, uint64_t least, uint64_t end)
{
    for (size_t i = record == NULL ? 0 : place_of(record, least); record != NULL && i < record->count; i++) {
        if (record->claims[i].epoch >= end)
            return NULL;
        if (record->claims[i].begun)
            return &record->claims[i];
    }
    return NULL;
}

/* The first winning claim with an epoch above `epoch`; NULL when there is none. */
static const struct claim *next_winner(const struct governing *governing, uint64_t epoch)
{
    uint64_t least = epoch + 1;
    const struct claim *claim = first_in(governing->all, least, governing->from);
    if (claim != NULL)
        return claim;
    return first_in(governing->own, least > governing->from ? least : governing->from, UINT64_MAX);
}

/* --- Events --- */

int authority_event_of(const struct entry *entry, struct bytes payload, const struct origin *origin,
                       struct authority_event *ret, struct err *err)
{
    struct authority_event event = {.kind = control_kind_of(entry)};
    if (!control_is_authority(event.kind)) {
        ret->kind = CONTROL_UNKNOWN;
        return 0;
    }
    int code = control_authority_parse(event.kind, payload, &event.change, err);
    if (code != 0)
        return code;
    uint64_t least = control_begins_epoch(event.kind) ? CONTEXT_EPOCH_FIRST + 1 : CONTEXT_EPOCH_FIRST;
    if (entry->epoch < least || entry->epoch > AUTHORITY_EPOCH_MAX)
        return err_set(err, ERR_CORRUPT, "an authority event names epoch %llu, which cannot be",
                       (unsigned long long)entry->epoch);
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

/* The claim of an epoch, made when missing. */
static int claim_of(struct authority_partition *partition, uint64_t epoch, struct claim **ret, struct err *err)
{
    size_t at = place_of(partition, epoch);
    if (at < partition->count && partition->claims[at].epoch == epoch) {
        *ret = &partition->claims[at];
        return 0;
    }
    if (partition->count == AUTHORITY_EPOCHS_MAX)
        return err_set(err, ERR_TOO_LARGE, "a partition has changed its owner more than %d times",
                       AUTHORITY_EPOCHS_MAX);
    if (partition->count == partition->capacity) {
        size_t capacity = partition->capacity == 0 ? CLAIMS_FIRST : 2 * partition->capacity;
        struct claim *claims = mem_resize(partition->claims, capacity * sizeof(*claims));
        if (claims == NULL)
            return err_no_memory(err, "the owners of partitions");
        partition->claims = claims;
        partition->capacity = capacity;
    }
    memmove(&partition->claims[at + 1], &partition->claims[at], (partition->count - at) * sizeof(struct claim));
    partition->claims[at] = (struct claim){.epoch = epoch};
    partition->count++;
    *ret = &partition->claims[at];
    return 0;
}

static int begin_epoch(struct claim *claim, const struct authority_event *event, struct err *err)
{
    struct claim begun = *claim;
    begun.begun = true;
    begun.kind = event->kind;
    copy_string(begun.region, sizeof(begun.region), event->region);
    begun.incarnation = event->incarnation;
    begun.index = event->index;
    begun.time = event->time;
    if (claim->begun && compare_claims(claim, &begun) <= 0)
        return 0; /* the same, or a better one */
    const struct position *basis = &event->change.basis;
    begun.basis = NULL;
    begun.basis_count = basis->count;
    if (basis->count > 0) {
        begun.basis = mem_alloc(basis->count * sizeof(*begun.basis));
        if (begun.basis == NULL)
            return err_no_memory(err, "the basis of an epoch");
        memcpy(begun.basis, basis->logs, basis->count * sizeof(*begun.basis));
    }
    mem_free(claim->basis);
    *claim = begun;
    return 0;
}

static struct release *find_release(const struct claim *claim, const char *region)
{
    for (size_t i = 0; i < claim->release_count; i++) {
        if (strcmp(claim->releases[i].region, region) == 0)
            return &claim->releases[i];
    }
    return NULL;
}

static int release(struct claim *claim, const struct authority_event *event, struct err *err)
{
    PRE(event->change.successor.size_bytes <= POSITION_REGION_MAX_BYTES);
    struct release made = {.time = event->time};
    copy_string(made.region, sizeof(made.region), event->region);
    memcpy(made.successor, event->change.successor.data, event->change.successor.size_bytes);
    struct release *known = find_release(claim, event->region);
    if (known != NULL) {
        int order = compare_numbers(known->time, made.time);
        if (order > 0 || (order == 0 && strcmp(known->successor, made.successor) > 0))
            *known = made;
        return 0;
    }
    if (claim->release_count == RELEASES_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d regions released one epoch", RELEASES_MAX);
    struct release *releases = mem_resize(claim->releases, (claim->release_count + 1) * sizeof(*releases));
    if (releases == NULL)
        return err_no_memory(err, "a release");
    releases[claim->release_count++] = made;
    claim->releases = releases;
    return 0;
}

int authority_apply(struct authority_table *table, const struct authority_event *event, struct err *err)
{
    PRE(control_is_authority(event->kind));
    PRE(event->epoch >= CONTEXT_EPOCH_FIRST);
    struct authority_partition *partition = NULL;
    struct claim *claim = NULL;
    int code = find_or_add(table, event, &partition, err);
    if (code == 0)
        code = claim_of(partition, event->epoch, &claim, err);
    if (code != 0)
        return code;
    if (control_begins_epoch(event->kind))
        return begin_epoch(claim, event, err);
    return release(claim, event, err);
}

/* --- Asking --- */

/* The release of an epoch by the region that is its home. */
static const struct release *release_of(const struct governing *governing, uint64_t epoch, const char *region)
{
    const struct authority_partition *records[] = {governing->own, epoch < governing->from ? governing->all : NULL};
    for (size_t r = 0; r < 2; r++) {
        size_t at = records[r] == NULL ? 0 : place_of(records[r], epoch);
        if (records[r] == NULL || at == records[r]->count || records[r]->claims[at].epoch != epoch)
            continue;
        const struct release *release = find_release(&records[r]->claims[at], region);
        if (release != NULL)
            return release;
    }
    return NULL;
}

int authority_now(const struct authority_table *table, struct bytes context, struct bytes partition,
                  struct authority_now *ret, struct err *err)
{
    struct authority initial;
    int code = context_authority(table->contexts, context, partition, &initial, err);
    if (code != 0)
        return code;
    struct governing record = governing(table, context, partition);
    struct authority_now now = {.region = initial.region, .epoch = initial.epoch};
    const struct claim *claim = NULL;
    while ((claim = next_winner(&record, now.epoch)) != NULL) {
        now.region = claim->region;
        now.epoch = claim->epoch;
    }
    const struct release *release = release_of(&record, now.epoch, now.region);
    now.released = release != NULL;
    now.successor = release == NULL ? "" : release->successor;
    *ret = now;
    return 0;
}

static uint64_t basis_size(const struct claim *claim, const char *region, uint64_t incarnation)
{
    for (size_t i = 0; i < claim->basis_count; i++) {
        if (strcmp(claim->basis[i].region, region) == 0 && claim->basis[i].incarnation == incarnation)
            return claim->basis[i].size;
    }
    return 0;
}

static bool was_home(const struct authority_table *table, const struct governing *record, struct bytes context,
                     struct bytes partition, uint64_t epoch, const char *region)
{
    struct authority initial;
    const struct claim *claim = winner(record, epoch);
    if (claim != NULL)
        return strcmp(claim->region, region) == 0;
    return epoch == CONTEXT_EPOCH_FIRST &&
           context_authority(table->contexts, context, partition, &initial, NULL) == 0 &&
           strcmp(initial.region, region) == 0;
}

/* In the log of a change nothing before it is of its epoch, nor in an earlier incarnation of that region. */
static uint64_t begin_in(const struct claim *claim, uint64_t incarnation)
{
    if (incarnation == claim->incarnation)
        return claim->index;
    return incarnation < claim->incarnation ? UINT64_MAX : 0;
}

static uint64_t end_in(const struct claim *claim, const char *region, uint64_t incarnation)
{
    bool own_log = strcmp(claim->region, region) == 0 && claim->incarnation == incarnation;
    return own_log ? claim->index : basis_size(claim, region, incarnation);
}

bool authority_was_home(const struct authority_table *table, struct bytes context, struct bytes partition,
                        const char *region)
{
    struct governing record = governing(table, context, partition);
    if (was_home(table, &record, context, partition, CONTEXT_EPOCH_FIRST, region))
        return true;
    for (const struct claim *claim = next_winner(&record, CONTEXT_EPOCH_FIRST); claim != NULL;
         claim = next_winner(&record, claim->epoch)) {
        if (strcmp(claim->region, region) == 0)
            return true;
    }
    return false;
}

struct authority_span authority_span(const struct authority_table *table, struct bytes context, struct bytes partition,
                                     uint64_t epoch, const char *region, uint64_t incarnation)
{
    struct governing record = governing(table, context, partition);
    if (!was_home(table, &record, context, partition, epoch, region))
        return (struct authority_span){0, 0};
    const struct claim *begun = winner(&record, epoch);
    struct authority_span span = {.begin = begun == NULL ? 0 : begin_in(begun, incarnation), .end = UINT64_MAX};
    for (const struct claim *claim = next_winner(&record, epoch); claim != NULL;
         claim = next_winner(&record, claim->epoch)) {
        uint64_t end = end_in(claim, region, incarnation);
        span.end = end < span.end ? end : span.end;
    }
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
        if (!same || bytes_equal(partition, all) || context_has_home(table->contexts, context, partition) ||
            governing(table, context, partition).own == NULL)
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

static uint64_t least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Entries become late when a claim with a higher epoch begins to count (from its end in the log on) and when the claim
 * that begins their epoch counts no more (from its own place on). Either may happen to any claim from `epoch` on. */
static uint64_t affected_by(const struct authority_partition *record, uint64_t epoch, const char *region,
                            uint64_t incarnation)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = record == NULL ? 0 : place_of(record, epoch); record != NULL && i < record->count; i++) {
        const struct claim *claim = &record->claims[i];
        if (!claim->begun)
            continue;
        least = least_of(least, end_in(claim, region, incarnation));
        if (strcmp(claim->region, region) == 0)
            least = least_of(least, begin_in(claim, incarnation));
    }
    return least;
}

/* Partitions that are governed by their own claims up to now, but will not be when "*" begins their first epoch, too.
 */
static uint64_t affected_own(const struct authority_table *table, const struct authority_event *event,
                             const char *region, uint64_t incarnation)
{
    uint64_t least = UINT64_MAX;
    size_t at = 0;
    struct bytes key;
    void *value = NULL;
    while (map_next(&table->partitions, &at, &key, &value)) {
        if (!bytes_equal(bytes_of(key.data + 1, key.data[0]), event->context))
            continue;
        const struct claim *first = first_begun(value);
        if (first != NULL && first->epoch == event->epoch)
            least = least_of(least, affected_by(value, event->epoch, region, incarnation));
    }
    return least;
}

uint64_t authority_affected_from(const struct authority_table *table, const struct authority_event *event,
                                 const char *region, uint64_t incarnation)
{
    if (!control_begins_epoch(event->kind))
        return UINT64_MAX;
    struct bytes star = bytes_of_string(CONTROL_ALL_PARTITIONS);
    bool own_log = strcmp(event->region, region) == 0 && event->incarnation == incarnation;
    uint64_t least = own_log ? event->index : position_get(&event->change.basis, region, incarnation);
    const struct authority_partition *own = find(table, event->context, event->partition);
    least = least_of(least, affected_by(own, event->epoch, region, incarnation));
    if (bytes_equal(event->partition, star))
        return least_of(least, affected_own(table, event, region, incarnation));
    return least_of(least, affected_by(find(table, event->context, star), event->epoch, region, incarnation));
}

/* --- Walking --- */

bool authority_next(const struct authority_table *table, struct authority_walk *at, struct authority_record *ret)
{
    struct bytes key;
    void *value = NULL;
    size_t next = at->partition;
    while (map_next(&table->partitions, &next, &key, &value)) {
        const struct authority_partition *partition = value;
        while (at->epoch < partition->count && !partition->claims[at->epoch].begun)
            at->epoch++;
        if (at->epoch == partition->count) {
            at->partition = next;
            at->epoch = 0;
            continue;
        }
        const struct claim *claim = &partition->claims[at->epoch++];
        const struct release *release = find_release(claim, claim->region);
        struct bytes context = bytes_of(key.data + 1, key.data[0]);
        *ret = (struct authority_record){
            .context = context,
            .partition = bytes_of(key.data + 1 + context.size_bytes, key.size_bytes - 1 - context.size_bytes),
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
