/* A receipt from files takes two passes over the log: one finds the event's index, one computes the path. The path of
 * index i in a tree of n entries is the roots of at most 64 ranges of leaves that are known once i is; each is gathered
 * in a compact range as its leaves come by. So memory is constant, and each entry passes the checks of recovery and
 * mirrors. */
#include "proof.h"

#include <inttypes.h>

#include "base/mem.h"
#include "crypto/receipt.h"
#include "log/block.h"
#include "log/scan.h"

struct gathered {
    uint64_t start;
    uint64_t count;
    struct merkle_range range;
};

struct pass {
    const struct data_log *log;
    struct sha256 *sha;
    struct chain chain;
    const uint8_t *event_id;
    uint64_t at;    /* entries seen */
    bool found;     /* the first pass is over … */
    uint64_t index; /* … and this is where */
    struct buf entry;
    size_t range_count;
    struct gathered ranges[MERKLE_PROOF_MAX];
    struct merkle_range whole;
};

static int find_event(void *context, const struct chain_entry *entry, struct err *err)
{
    struct pass *pass = context;
    if (pass->at++ >= pass->log->checkpoint.size)
        return ERR_END;
    if (memcmp(entry->entry.event_id, pass->event_id, ENTRY_ID_SIZE) != 0)
        return 0;
    pass->found = true;
    pass->index = entry->entry.index;
    int rc = buf_append(&pass->entry, entry->frame.entry);
    return rc == 0 ? ERR_END : err_no_memory(err, "a receipt");
}

static int gather(void *context, const struct chain_entry *entry, struct err *err)
{
    struct pass *pass = context;
    (void)err;
    uint64_t index = pass->at++;
    if (index >= pass->log->checkpoint.size)
        return ERR_END;
    merkle_range_append(&pass->whole, pass->sha, &entry->leaf);
    for (size_t i = 0; i < pass->range_count; i++) {
        struct gathered *range = &pass->ranges[i];
        if (index >= range->start && index - range->start < range->count)
            merkle_range_append(&range->range, pass->sha, &entry->leaf);
    }
    return 0;
}

struct walk {
    struct pass *pass;
    chain_entry_fn *each;
};

static int on_block(void *context, const struct scan_block *block, struct err *err)
{
    struct walk *walk = context;
    struct pass *pass = walk->pass;
    int rc =
        chain_check_block(&pass->chain, pass->sha, block->body, block->header.entry_count, walk->each, pass, NULL, err);
    if (rc == ERR_CORRUPT)
        rc = err_wrap(err, rc, "%s at offset %" PRIu64, block->segment, block->offset);
    return rc;
}

static int run_pass(struct pass *pass, chain_entry_fn *each, struct err *err)
{
    struct walk walk = {.pass = pass, .each = each};
    struct scan_result result;
    pass->at = 0;
    chain_init(&pass->chain, pass->sha, bytes_of_string(pass->log->checkpoint.origin));
    int rc = scan_log(disk_posix(), pass->log->folder, &pass->chain, on_block, &walk, &result, err);
    return rc == ERR_END ? 0 : rc;
}

/* RFC 6962 section 2.1.1, from the root down: the sibling of each step is a range of the path. */
static void plan_ranges(struct pass *pass)
{
    uint64_t start = 0;
    uint64_t count = pass->log->checkpoint.size;
    while (count > 1) {
        uint64_t left = (uint64_t)1 << (63 - (unsigned)__builtin_clzll(count - 1));
        bool in_left = pass->index - start < left;
        struct gathered *range = &pass->ranges[pass->range_count++];
        range->start = in_left ? start + left : start;
        range->count = in_left ? count - left : left;
        start = in_left ? start : start + left;
        count = in_left ? left : count - left;
    }
}

static int finish(struct pass *pass, struct buf *out, struct err *err)
{
    struct merkle_proof proof = {.count = pass->range_count};
    struct hash root = merkle_range_root(&pass->whole, pass->sha);
    if (pass->whole.size < pass->log->checkpoint.size || !hash_equal(&root, &pass->log->checkpoint.root))
        return err_set(err, ERR_CORRUPT,
                       "%s does not match its checkpoint of size %" PRIu64 ": check it with tally-verify log",
                       pass->log->folder, pass->log->checkpoint.size);
    for (size_t i = 0; i < pass->range_count; i++)
        proof.hashes[pass->range_count - 1 - i] = merkle_range_root(&pass->ranges[i].range, pass->sha);
    return receipt_format(buf_bytes(&pass->entry), pass->index, &proof, buf_bytes(&pass->log->note), out, err);
}

int proof_from_files(const struct data_log *log, const uint8_t event_id[ENTRY_ID_SIZE], struct buf *out,
                     uint64_t *ret_index, struct err *err)
{
    struct pass *pass = mem_alloc_zero(1, sizeof(*pass));
    if (pass == NULL)
        return err_no_memory(err, "a receipt");
    pass->log = log;
    pass->event_id = event_id;
    pass->sha = sha256_new();
    buf_init(&pass->entry, ENTRY_MAX_BYTES);
    int rc = pass->sha == NULL ? err_no_memory(err, "a receipt") : 0;
    if (rc == 0)
        rc = run_pass(pass, find_event, err);
    if (rc == 0 && !pass->found)
        rc = err_set(err, ERR_NOT_FOUND,
                     "log %s has no event with that id among the %" PRIu64 " entries that its checkpoint covers",
                     log->checkpoint.origin, log->checkpoint.size);
    if (rc == 0) {
        plan_ranges(pass);
        rc = run_pass(pass, gather, err);
    }
    if (rc == 0)
        rc = finish(pass, out, err);
    if (rc == 0)
        *ret_index = pass->index;
    buf_free(&pass->entry);
    sha256_free(pass->sha);
    mem_free(pass);
    return rc;
}
