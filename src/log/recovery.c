/* Finding the durable end after a crash.
 *
 * Only the last segment is read: its header has the chain as it stood at its start. Its blocks are checked one after
 * the other, entries and all. The first thing that is not a whole block is judged by what comes after it:
 *   nothing but zeros                            a clean end;
 *   something, but no whole block of this log, or only such as were written together with it
 *                                                a torn tail: the last write was interrupted, nobody was told. It is
 *                                                cut;
 *   a whole block of a later write               damage: a write begins when the one before is durable, so the bad
 *                                                block was once acknowledged. Refuse, and say how to repair.
 * A block that is whole but whose entries break the chain, or that belongs
 * to another log, is damage too: no crash does that. And so is an end that comes before the size of a stored
 * checkpoint: what was signed was acknowledged.
 *
 * What is seen here may not be stable yet: a process that dies between renaming a segment and syncing its folder leaves
 * a name that the next process sees and a power failure takes away, with everything that was acknowledged into it
 * since. So the folder is synced before anything in it is believed, and the file behind the last block is synced in any
 * case.
 *
 * After a cut everything behind it reads as zeros durably before anything is written: bytes of a torn write may have
 * been chosen by a client, and must not be taken for a block by the next recovery. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "log/log_internal.h"

struct recovery {
    struct log *log;
    struct log_recovery *report;
    char path[DISK_PATH_MAX_BYTES];
    struct segment_header header;
    struct segment_walk walk;
};

static int damage(const struct recovery *recovery, const struct err *reason, uint64_t offset, struct err *err)
{
    return err_set(err, ERR_CORRUPT,
                   "log %s is damaged: %s, offset %llu, entry %llu: %s. Acknowledged entries would be lost, so nothing "
                   "was cut. Repair it from a peer's copy: tally repair --data DIR --origin %s --from HOST:PORT; then "
                   "start again",
                   recovery->log->origin, recovery->path, (unsigned long long)offset,
                   (unsigned long long)recovery->log->chain.range.size, reason->message, recovery->log->origin);
}

/* Walks whole blocks and moves the chain past them. Returns what stopped the walk: ERR_END or ERR_CORRUPT (with
 * *reason), or a real failure. */
static int walk_blocks(struct recovery *recovery, struct err *reason)
{
    struct log *log = recovery->log;
    struct chain before = log->chain; /* the last block's start, for a planted bug */
    uint64_t before_offset = recovery->walk.offset;
    for (;;) {
        struct block_header header;
        struct bytes bytes;
        uint64_t offset = recovery->walk.offset;
        struct err broken = {0};
        int code = segment_walk_next(&recovery->walk, log->chain.log_id, &header, &bytes, &broken);
        if (code != 0 && code != ERR_MISMATCH) {
            *reason = broken;
            if (PLANTED(cut_a_block_too_many) && before.range.size > 0) {
                log->chain = before;
                recovery->walk.offset = before_offset;
            }
            return code;
        }
        struct bytes body = {0};
        if (PLANTED(cut_a_block_too_many)) {
            before = log->chain;
            before_offset = offset;
        }
        if (code == 0) {
            recovery->report->scanned_bytes += bytes.size_bytes;
            body = bytes_of(bytes.data + BLOCK_HEADER_BYTES, bytes.size_bytes - BLOCK_HEADER_BYTES);
        }
        if (code == 0 && header.first_index != log->chain.range.size)
            code =
                err_set(&broken, ERR_CORRUPT, "the block starts at entry %llu", (unsigned long long)header.first_index);
        else if (code == 0)
            code = chain_check_block(&log->chain, log->sha, body, header.entry_count, NULL, NULL, NULL, &broken);
        if (code != 0) {
            damage(recovery, &broken, offset, reason);
            return ERR_FORK; /* told apart from a block that is not whole; recover_segment turns it back */
        }
    }
}

static int cut_tail(struct recovery *recovery, struct disk_file *file, struct err *err)
{
    struct log *log = recovery->log;
    uint64_t offset = recovery->walk.offset;
    uint64_t end = recovery->walk.file_size > log->options.segment_size_bytes ? recovery->walk.file_size
                                                                              : log->options.segment_size_bytes;
    int code = disk_truncate(file, offset, err);
    if (code == 0)
        code = disk_allocate(file, end, err);
    return code == 0 ? disk_sync(file, err) : code;
}

/* What a checkpoint covers was acknowledged. When such entries are not there, going on would give their numbers to
 * others: a fork. */
static int check_stored_checkpoints(const struct recovery *recovery, struct err *err)
{
    struct log *log = recovery->log;
    for (int published = 0; published <= 1; published++) {
        uint64_t size = 0;
        int code = log_stored_checkpoint_size(log, published == 1, &size, err);
        if (code != 0)
            return code;
        if (size > log->chain.range.size) {
            struct err reason = {0};
            err_set(&reason, ERR_CORRUPT, "a stored checkpoint covers %llu entries", (unsigned long long)size);
            return damage(recovery, &reason, recovery->walk.offset, err);
        }
    }
    return 0;
}

static int judge_end(struct recovery *recovery, struct disk_file *file, int stopped, const struct err *reason,
                     struct err *err)
{
    bool found = false;
    bool dirty = false;
    uint64_t found_offset = 0;
    struct log *log = recovery->log;
    int code = segment_walk_search(&recovery->walk, log->chain.log_id, log->chain.range.size,
                                   PLANTED(believe_in_order) ? SEARCH_ANY : SEARCH_LATER_WRITTEN, &found, &found_offset,
                                   &dirty, err);
    if (code != 0)
        return code;
    if (found) {
        struct err zeros = {0};
        err_set(&zeros, ERR_CORRUPT, "a block is missing (zeros)");
        return damage(recovery, stopped == ERR_END ? &zeros : reason, recovery->walk.offset, err);
    }
    code = check_stored_checkpoints(recovery, err);
    if (code != 0)
        return code;
    if (dirty) {
        recovery->report->cut_bytes = recovery->walk.file_size - recovery->walk.offset;
        recovery->report->cut_offset = recovery->walk.offset;
        segment_name(recovery->header.first_index, recovery->report->cut_segment);
    }
    return cut_tail(recovery, file, err);
}

static int recover_segment(struct recovery *recovery, const char *name, struct bytes expected_origin, struct err *err)
{
    struct log *log = recovery->log;
    struct disk_file *file = NULL;
    unsigned flags = DISK_WRITE | (PLANTED(sync_nothing) ? 0 : DISK_DURABLE);
    int code = segment_open(log->disk, log->folder, name, flags, &file, &recovery->header, err);
    if (code != 0)
        return code;
    log->active = file;
    log->chain = recovery->header.chain;
    log->active_first_index = recovery->header.first_index;
    copy_string(log->origin, sizeof(log->origin), recovery->header.origin);
    if (expected_origin.size_bytes > 0 && !bytes_equal(expected_origin, bytes_of_string(log->origin)))
        return err_set(err, ERR_MISMATCH, "%s holds log %s, expected %.*s", log->folder, log->origin,
                       (int)expected_origin.size_bytes, (const char *)expected_origin.data);
    code = segment_walk_init(&recovery->walk, file, err);
    struct err reason = {0};
    int stopped = code == 0 ? walk_blocks(recovery, &reason) : code;
    if (stopped == ERR_END || stopped == ERR_CORRUPT)
        code = judge_end(recovery, file, stopped, &reason, err);
    else if (code == 0)
        code = err_set(err, stopped == ERR_FORK ? ERR_CORRUPT : stopped, "%s", reason.message);
    log->active_offset = recovery->walk.offset;
    recovery->report->direct = disk_is_direct(file);
    segment_walk_free(&recovery->walk);
    return code;
}

static int load_segments(struct log *log, struct err *err)
{
    int code = segment_list(log->disk, log->folder, &log->segments, &log->segment_count, err);
    if (code != 0)
        return code;
    log->segment_capacity = log->segment_count;
    if (log->segments[0] != 0)
        return err_set(err, ERR_CORRUPT, "%s: the first segment starts at entry %llu, not 0; restore the missing files",
                       log->folder, (unsigned long long)log->segments[0]);
    return 0;
}

int log_recover(struct log *log, struct bytes expected_origin, struct log_recovery *ret, struct err *err)
{
    struct log_recovery report = {0};
    int code = disk_sync_dir(log->disk, log->folder, err);
    if (code == 0)
        code = load_segments(log, err);
    if (code != 0)
        return code;
    struct recovery *recovery = mem_alloc_zero(1, sizeof(*recovery));
    if (recovery == NULL)
        return err_no_memory(err, "recovery");
    recovery->log = log;
    recovery->report = &report;
    char name[SEGMENT_NAME_BYTES + 1];
    segment_name(log->segments[log->segment_count - 1], name);
    code = disk_join(recovery->path, log->folder, name, err);
    if (code == 0)
        code = recover_segment(recovery, name, expected_origin, err);
    mem_free(recovery);
    if (code != 0)
        return code;
    report.size = log->chain.range.size;
    *ret = report;
    return 0;
}
