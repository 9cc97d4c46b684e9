/* The applier (applier.h).
 *
 * One step takes the first log, in turn, that has something to apply:
 *   - ordinary entries of a block, or of some small ones, are applied in batches, up to the next entry that begins an
 *     epoch;
 *   - such an entry stands first in its turn. If it is not ready, the log waits. If it is, it makes a run with those
 * that follow it in its block, of its context and ready too: what they make late together is taken back first, then
 * they are applied one by one, and the step ends. A handover of many partitions is such runs: one by one, each would
 *     read the block, and the end of every log, again.
 *
 * What becomes late. The applier has a table of its own, which is ahead of the index's by exactly the run at hand.
 * Before each change goes in, authority_affected_from says for each log from where on entries may become late; after
 * the run went in, authority_entry_is_late says of each entry in that range whether it is. Entries that were late
 * before are handed over as well: the index skips them. The order in which entries are demoted does not matter to the
 * index, so the range is read forwards, a block at a time.
 *
 * What a change makes effective again needs no log: the index has it (index/apply.c).
 *
 * Invariants:
 *   1. Between two steps the table has the authority events that the index has applied.
 *   2. A change is applied only after everything that it makes late, and that no later one of its run makes count
 * again, was demoted.
 *
 * Crash behaviour: the index survives as it was after some call. Between the demotions and the change, a new applier
 * finds the change not applied, and demotes again, which changes nothing.
 *
 * Failure: after an error the table may be ahead of the index, so the applier is given up. */
#include "reconcile/applier.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"

struct batch {
    struct entry entries[APPLIER_BATCH_MAX];
    struct index_entry items[APPLIER_BATCH_MAX];
    size_t count;
};

enum { RUN_MAX = 256 };

/* Entries of one block that begin epochs, one after the other, in one context. */
struct run {
    struct entry entries[RUN_MAX];
    struct index_entry items[RUN_MAX];
    struct authority_event event; /* of the first that is well formed */
    size_t count;
};

/* What a log waits for, so that its block is not read again and again meanwhile. */
struct waiting {
    bool waits;
    struct position_log need; /* one of those that are not reached */
};

struct applier {
    struct index *index;
    struct authority_table table;
    struct applier_limits limits;
    struct sha256 *sha;
    size_t next; /* log whose turn it is */
    struct waiting waiting[APPLIER_LOGS_MAX];
    struct batch batch;
    struct run run;
};

/* --- Reading --- */

/* noted: its fingerprint, if the block remembers it, or 0. */
static int next_entry(struct applier *applier, struct bytes *elements, uint64_t noted, struct entry *entry,
                      struct index_entry *ret, struct err *err)
{
    struct frame frame;
    int code = frame_next_entry(elements, &frame, entry, err);
    if (code != 0)
        return code;
    if (control_kind_of(entry) != CONTROL_UNKNOWN && !frame.has_payload)
        return err_set(err, ERR_CORRUPT,
                       "the payload of control entry %llu is not here, so nobody can say who owns what after it",
                       (unsigned long long)entry->index);
    *ret = (struct index_entry){.entry = entry};
    if (frame.has_payload) {
        ret->payload = frame.payload;
        ret->fingerprint = noted != 0 ? noted : entry_fingerprint(applier->sha, entry, frame.payload);
    }
    return 0;
}

static int number_of(struct applier *applier, struct log *log, uint32_t *ret, struct err *err)
{
    return index_log(applier->index, log_origin(log), ret, err);
}

static int origin_of(struct log *log, struct origin *ret)
{
    int code = origin_parse(log_origin(log), ret, NULL);
    INVARIANT(code == 0); /* the log was opened */
    return code;
}

/* --- Waiting --- */

static int reached(struct applier *applier, struct log *const *logs, size_t log_count, const struct position_log *need,
                   bool *ret, struct err *err)
{
    int code = 0;
    bool there = false;
    for (size_t i = 0; code == 0 && i < log_count; i++) {
        struct origin origin;
        uint32_t number = 0;
        code = origin_of(logs[i], &origin);
        if (code != 0 || origin.incarnation != need->incarnation || strcmp(origin.region, need->region) != 0)
            continue;
        code = number_of(applier, logs[i], &number, err);
        there = code == 0 && index_applied_size(applier->index, number) >= need->size;
    }
    if (code == 0)
        *ret = there;
    return code;
}

/* Remembers what an entry that is not ready waits for. */
static int wait_for(struct applier *applier, struct log *const *logs, size_t log_count, size_t at,
                    const struct index_entry *entry, struct err *err)
{
    struct control_authority change;
    int code = control_authority_parse(control_kind_of(entry->entry), entry->payload, &change, err);
    INVARIANT(code == 0); /* what is malformed is ready */
    for (size_t i = 0; code == 0 && i < change.basis.count; i++) {
        bool there = false;
        code = reached(applier, logs, log_count, &change.basis.logs[i], &there, err);
        if (code == 0 && !there) {
            applier->waiting[at] = (struct waiting){.waits = true, .need = change.basis.logs[i]};
            return 0;
        }
    }
    return code;
}

static int still_waits(struct applier *applier, struct log *const *logs, size_t log_count, size_t at, bool *ret,
                       struct err *err)
{
    struct waiting *waiting = &applier->waiting[at];
    bool there = true;
    int code = waiting->waits ? reached(applier, logs, log_count, &waiting->need, &there, err) : 0;
    if (code != 0)
        return code;
    waiting->waits = !there;
    *ret = !there;
    return 0;
}

/* --- Demoting --- */

static int demote_batch(struct applier *applier, uint32_t number, struct applier_progress *progress, struct err *err)
{
    struct batch *batch = &applier->batch;
    int code = index_demote(applier->index, number, batch->items, batch->count, err);
    progress->demoted += batch->count;
    batch->count = 0;
    return code;
}

/* Of a run of one change, entries of others are not looked at further. */
static bool is_concerned(const struct applier *applier, const struct entry *entry)
{
    const struct run *run = &applier->run;
    if ((entry->flags & ENTRY_FLAG_CONTROL) != 0)
        return false;
    return run->count > 1 ? bytes_equal(entry->context, run->event.context)
                          : authority_concerns(&applier->table, &run->event, entry);
}

/* The entries of one block with from <= index < end that are late by the table. */
static int demote_block(struct applier *applier, const struct origin *origin, uint32_t number,
                        const struct block *block, uint64_t from, uint64_t end, struct applier_progress *progress,
                        struct err *err)
{
    struct batch *batch = &applier->batch;
    struct bytes elements = block_body(block);
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < block->entry_count && block->first_index + i < end; i++) {
        struct entry *entry = &batch->entries[batch->count];
        code = next_entry(applier, &elements, block_fingerprint(block, i), entry, &batch->items[batch->count], err);
        if (code != 0 || entry->index < from || !is_concerned(applier, entry) ||
            !authority_entry_is_late(&applier->table, entry, origin->region, origin->incarnation))
            continue;
        if (++batch->count == applier->limits.batch_entries)
            code = demote_batch(applier, number, progress, err);
    }
    return code == 0 && batch->count > 0 ? demote_batch(applier, number, progress, err) : code;
}

static int demote_log(struct applier *applier, struct log *log, uint64_t from, struct applier_progress *progress,
                      struct err *err)
{
    struct origin origin;
    uint32_t number = 0;
    int code = number_of(applier, log, &number, err);
    if (code == 0)
        code = origin_of(log, &origin);
    uint64_t end = code == 0 ? index_applied_size(applier->index, number) : 0;
    while (code == 0 && from < end) {
        struct block *block = NULL;
        code = log_read_block(log, from, &block, err);
        if (code != 0)
            break;
        code = demote_block(applier, &origin, number, block, from, end, progress, err);
        from = block->first_index + block->entry_count;
        block_release(block);
    }
    return code;
}

static int demote_all(struct applier *applier, struct log *const *logs, const uint64_t *from, size_t log_count,
                      struct applier_progress *progress, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < log_count; i++)
        code = demote_log(applier, logs[i], from[i], progress, err);
    return code;
}

/* --- Applying --- */

static int apply_batch(struct applier *applier, uint32_t number, struct err *err)
{
    struct batch *batch = &applier->batch;
    size_t count = batch->count;
    batch->count = 0;
    return index_apply(applier->index, number, batch->items, count, err);
}

/* Authority events that begin no epoch, and malformed ones, go in with the others. */
static int learn(struct applier *applier, const struct index_entry *entry, const struct origin *origin, struct err *err)
{
    struct authority_event event;
    if (authority_event_of(entry->entry, entry->payload, origin, &event, NULL) != 0 || event.kind == CONTROL_UNKNOWN)
        return 0;
    return authority_apply(&applier->table, &event, err);
}

/* Takes the change into the run and its event into the table; lowers from[] to what it may make late. A malformed one
 * has no effect but its id. */
static int join_run(struct applier *applier, struct log *const *logs, size_t log_count, const struct origin *origin,
                    const struct entry *entry, const struct index_entry *item, uint64_t *from, struct err *err)
{
    struct run *run = &applier->run;
    struct authority_event event;
    struct entry *kept = &run->entries[run->count];
    *kept = *entry;
    run->items[run->count] = *item;
    run->items[run->count].entry = kept;
    if (authority_event_of(kept, item->payload, origin, &event, NULL) != 0) {
        run->count++;
        return 0;
    }
    for (size_t i = 0; i < log_count; i++) {
        struct origin of;
        int code = origin_of(logs[i], &of);
        uint64_t affected = code == 0 ? authority_affected_from(&applier->table, &event, of.region, of.incarnation) : 0;
        if (code != 0)
            return code;
        from[i] = affected < from[i] ? affected : from[i];
    }
    if (run->event.kind == CONTROL_UNKNOWN)
        run->event = event;
    run->count++;
    return authority_apply(&applier->table, &event, err);
}

/* Whether the next entry of the block goes on with the run. Who is the home of "$system" decides about entries of other
 * contexts, too: such changes stand alone, and so do definitions. */
static bool goes_on(const struct applier *applier, uint32_t number, const struct entry *entry,
                    const struct index_entry *item)
{
    const struct run *run = &applier->run;
    return run->count < RUN_MAX && control_begins_epoch(control_kind_of(&run->entries[0])) &&
           control_begins_epoch(control_kind_of(entry)) && bytes_equal(entry->context, run->entries[0].context) &&
           !bytes_equal(entry->context, bytes_of_string(CONTEXT_SYSTEM)) && index_ready(applier->index, number, item);
}

static int apply_run(struct applier *applier, struct log *const *logs, size_t log_count, size_t at, uint32_t number,
                     const struct index_entry *first, struct bytes elements, struct applier_progress *progress,
                     struct err *err)
{
    struct run *run = &applier->run;
    struct origin origin;
    struct entry entry = *first->entry;
    struct index_entry item = *first;
    uint64_t from[APPLIER_LOGS_MAX];
    for (size_t i = 0; i < log_count; i++)
        from[i] = UINT64_MAX;
    run->count = 0;
    run->event = (struct authority_event){.kind = CONTROL_UNKNOWN};
    int code = origin_of(logs[at], &origin);
    bool more = code == 0;
    while (code == 0 && more) {
        code = join_run(applier, logs, log_count, &origin, &entry, &item, from, err);
        more = code == 0 && elements.size_bytes > 0;
        if (more)
            code = next_entry(applier, &elements, 0, &entry, &item, err);
        more = more && code == 0 && goes_on(applier, number, &entry, &item);
    }
    if (code == 0 && !PLANTED(demote_nothing))
        code = demote_all(applier, logs, from, log_count, progress, err);
    if (code == 0)
        code = index_apply(applier->index, number, run->items, run->count, err);
    if (code == 0 && run->event.kind == CONTROL_LOG_CONTINUED)
        memset(applier->waiting, 0, sizeof(applier->waiting)); /* what is left behind waits no more */
    return code;
}

/* Adds what the block has from `from` on to the batch: up to an entry that begins an epoch, and then *ret_more is
 * false. Such an entry, when it is the first, begins a run. */
static int gather_block(struct applier *applier, struct log *const *logs, size_t log_count, size_t at, uint32_t number,
                        const struct block *block, uint64_t from, struct applier_progress *progress, bool *ret_more,
                        struct err *err)
{
    struct batch *batch = &applier->batch;
    struct bytes elements = block_body(block);
    struct origin origin;
    int code = origin_of(logs[at], &origin);
    for (uint32_t i = 0; code == 0 && i < block->entry_count; i++) {
        struct entry *entry = &batch->entries[batch->count];
        struct index_entry *item = &batch->items[batch->count];
        code = next_entry(applier, &elements, block_fingerprint(block, i), entry, item, err);
        if (code != 0 || entry->index < from)
            continue;
        if (control_stands_alone(control_kind_of(entry))) {
            *ret_more = false;
            if (batch->count > 0)
                return 0;
            if (!index_ready(applier->index, number, item))
                return wait_for(applier, logs, log_count, at, item, err);
            return apply_run(applier, logs, log_count, at, number, item, elements, progress, err);
        }
        code = learn(applier, item, &origin, err);
        if (code == 0 && ++batch->count == applier->limits.batch_entries)
            code = apply_batch(applier, number, err);
    }
    return code;
}

/* Takes blocks together as long as they are small: with one event a block, a batch for each would cost the index ten
 * times what its entry does. A block that cannot be read is the next step's, when others were taken before it. */
static int apply_blocks(struct applier *applier, struct log *const *logs, size_t log_count, size_t at, uint32_t number,
                        struct applier_progress *progress, struct err *err)
{
    struct block *blocks[APPLIER_BLOCKS_MAX];
    size_t block_count = 0;
    size_t size_bytes = 0;
    uint64_t next = index_applied_size(applier->index, number);
    uint64_t end = log_durable_size(logs[at]);
    bool more = true;
    int code = 0;
    applier->batch.count = 0;
    while (code == 0 && more && next < end && block_count < applier->limits.blocks &&
           size_bytes < APPLIER_BLOCKS_BYTES) {
        code = log_read_block(logs[at], next, &blocks[block_count], err);
        if (code != 0) {
            code = block_count > 0 ? 0 : code;
            break;
        }
        const struct block *block = blocks[block_count++];
        size_bytes += block->size_bytes;
        code = gather_block(applier, logs, log_count, at, number, block, next, progress, &more, err);
        next = block->first_index + block->entry_count;
    }
    if (code == 0 && applier->batch.count > 0)
        code = apply_batch(applier, number, err);
    while (block_count > 0)
        block_release(blocks[--block_count]);
    return code;
}

static int step_log(struct applier *applier, struct log *const *logs, size_t log_count, size_t at,
                    struct applier_progress *progress, struct err *err)
{
    uint32_t number = 0;
    int code = number_of(applier, logs[at], &number, err);
    if (code != 0)
        return code;
    bool waits = false;
    uint64_t before = index_applied_size(applier->index, number);
    if (before >= log_durable_size(logs[at]))
        return 0;
    code = still_waits(applier, logs, log_count, at, &waits, err);
    if (code != 0 || waits)
        return code;
    code = apply_blocks(applier, logs, log_count, at, number, progress, err);
    progress->log = at;
    progress->size = index_applied_size(applier->index, number);
    progress->moved = progress->size > before;
    progress->applied = progress->size - before;
    return code;
}

int applier_step(struct applier *applier, struct log *const *logs, size_t log_count, struct applier_progress *ret,
                 struct err *err)
{
    PRE(log_count <= APPLIER_LOGS_MAX);
    struct applier_progress progress = {.moved = false};
    int code = 0;
    for (size_t tries = 0; code == 0 && !progress.moved && tries < log_count; tries++) {
        applier->next = (applier->next + 1) % log_count;
        code = step_log(applier, logs, log_count, applier->next, &progress, err);
    }
    if (code == 0)
        *ret = progress;
    return code;
}

/* --- Making --- */

static size_t limited(size_t limit, size_t most)
{
    return limit == 0 || limit > most ? most : limit;
}

void applier_limit(struct applier *applier, const struct applier_limits *limits)
{
    applier->limits = (struct applier_limits){.batch_entries = limited(limits->batch_entries, APPLIER_BATCH_MAX),
                                              .blocks = limited(limits->blocks, APPLIER_BLOCKS_MAX)};
}

int applier_new(struct index *index, const struct context_table *contexts, struct applier **ret, struct err *err)
{
    struct applier *applier = mem_alloc_zero(1, sizeof(*applier));
    if (applier == NULL)
        return err_no_memory(err, "the applier");
    applier->index = index;
    authority_table_init(&applier->table, contexts);
    applier->sha = sha256_new();
    int code = applier->sha == NULL ? err_no_memory(err, "the applier") : 0;
    applier_limit(applier, &(struct applier_limits){0});
    if (code == 0)
        code = index_authority(index, &applier->table, err);
    if (code != 0) {
        applier_free(applier);
        return code;
    }
    *ret = applier;
    return 0;
}

void applier_free(struct applier *applier)
{
    if (applier == NULL)
        return;
    sha256_free(applier->sha);
    authority_table_free(&applier->table);
    mem_free(applier);
}
