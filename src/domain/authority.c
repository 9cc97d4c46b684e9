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

static int compare_claims(hlc time_a, const char *region_a, hlc time_b, const char *region_b)
{
    int order = (time_a > time_b) - (time_a < time_b);
    return order != 0 ? order : strcmp(region_a, region_b);
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
    if (rival != NULL && compare_claims(rival->time, rival->region, mine->time, mine->region) <= 0)
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
    if (claim->begun && compare_claims(claim->time, claim->region, event->time, event->region) <= 0)
        return 0; /* the same, or a better one */
    const struct position *basis = &event->change.basis;
    struct position_log *logs = NULL;
    if (basis->count > 0) {
        logs = mem_alloc(basis->count * sizeof(*logs));
        if (logs == NULL)
            return err_no_memory(err, "the basis of an epoch");
        memcpy(logs, basis->logs, basis->count * sizeof(*logs));
    }
    mem_free(claim->basis);
    claim->begun = true;
    claim->kind = event->kind;
    copy_string(claim->region, sizeof(claim->region), event->region);
    claim->incarnation = event->incarnation;
    claim->index = event->index;
    claim->time = event->time;
    claim->basis = logs;
    claim->basis_count = basis->count;
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
    struct release *release = find_release(claim, event->region);
    if (release != NULL && release->time <= event->time)
        return 0;
    if (release == NULL) {
        if (claim->release_count == RELEASES_MAX)
            return err_set(err, ERR_TOO_LARGE, "more than %d regions released one epoch", RELEASES_MAX);
        release = mem_resize(claim->releases, (claim->release_count + 1) * sizeof(*release));
        if (release == NULL)
            return err_no_memory(err, "a release");
        claim->releases = release;
        release += claim->release_count++;
    }
    *release = (struct release){.time = event->time};
    copy_string(release->region, sizeof(release->region), event->region);
    memcpy(release->successor, event->change.successor.data, event->change.successor.size_bytes);
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

bool authority_is_late(const struct authority_table *table, struct bytes context, struct bytes partition,
                       uint64_t epoch, const char *region, uint64_t incarnation, uint64_t index)
{
    struct governing record = governing(table, context, partition);
    if (!was_home(table, &record, context, partition, epoch, region))
        return true;
    for (const struct claim *claim = next_winner(&record, epoch); claim != NULL;
         claim = next_winner(&record, claim->epoch)) {
        bool own_log = strcmp(claim->region, region) == 0 && claim->incarnation == incarnation;
        uint64_t end = own_log ? claim->index : basis_size(claim, region, incarnation);
        if (index >= end)
            return true;
    }
    return false;
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
