/* The rules that make a log a chain (block.h): one set, used by recovery, mirrors and verifiers alike. */
#include "base/assert.h"
#include "base/planted.h"
#include "log/block.h"

void chain_init(struct chain *chain, struct sha256 *sha, struct bytes origin)
{
    entry_log_id(sha, origin, chain->log_id);
    chain->prev = entry_genesis(sha, origin);
    chain->last_time = 0;
    merkle_range_init(&chain->range);
}

struct hash chain_append(struct chain *chain, struct sha256 *sha, struct bytes entry, hlc time)
{
    PRE(time > chain->last_time);
    struct hash leaf = merkle_leaf(sha, entry);
    merkle_range_append(&chain->range, sha, &leaf);
    chain->prev = leaf;
    chain->last_time = time;
    return leaf;
}

static int check_entry(const struct chain_tip *tip, const struct entry *entry, struct err *err)
{
    unsigned long long expected = tip->index;
    if (entry->index != expected)
        return err_set(err, ERR_CORRUPT, "the entry says it is number %llu, but entry %llu belongs here",
                       (unsigned long long)entry->index, expected);
    if (memcmp(entry->log_id, tip->log_id, ENTRY_LOG_ID_SIZE) != 0)
        return err_set(err, ERR_CORRUPT, "entry %llu belongs to another log", expected);
    if (!hash_equal(&entry->prev, &tip->prev) && !PLANTED(skip_prev_check)) {
        char want[2 * HASH_SIZE + 1], got[2 * HASH_SIZE + 1];
        hex_encode(bytes_of(tip->prev.bytes, HASH_SIZE), want);
        hex_encode(bytes_of(entry->prev.bytes, HASH_SIZE), got);
        return err_set(err, ERR_CORRUPT, "entry %llu does not follow entry %lld: prev is %s, expected %s", expected,
                       (long long)expected - 1, got, want);
    }
    if (entry->time <= tip->last_time)
        return err_set(err, ERR_CORRUPT, "the time of entry %llu is not after the entry before it", expected);
    return 0;
}

static int check_next(struct chain_tip *tip, struct sha256 *sha, struct bytes *elements, struct chain_entry *ret,
                      struct err *err)
{
    const uint8_t *start = elements->data;
    int code = frame_next_entry(elements, &ret->frame, &ret->entry, err);
    if (code == ERR_END)
        return err_set(err, ERR_CORRUPT, "the block holds fewer entries than it says");
    if (code == 0)
        code = check_entry(tip, &ret->entry, err);
    if (code == 0)
        code = frame_check_and_hash(sha, &ret->frame, &ret->entry, &ret->leaf, err);
    if (code != 0)
        return code;
    ret->element = bytes_of(start, (size_t)(elements->data - start));
    tip->index++;
    tip->prev = ret->leaf;
    tip->last_time = ret->entry.time;
    return 0;
}

int chain_check_links(struct chain_tip *tip, struct sha256 *sha, struct bytes body, uint32_t entry_count,
                      chain_entry_fn *each, void *context, uint64_t *ret_bad_index, struct err *err)
{
    struct chain_tip moved = *tip;
    struct bytes elements = body;
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < entry_count; i++) {
        struct chain_entry entry;
        code = check_next(&moved, sha, &elements, &entry, err);
        if (code == 0 && each != NULL)
            code = each(context, &entry, err);
    }
    if (code == 0 && elements.size_bytes > 0)
        code = err_set(err, ERR_CORRUPT, "the block holds more bytes than its %u entries", (unsigned)entry_count);
    if (code != 0) {
        if (ret_bad_index != NULL)
            *ret_bad_index = moved.index;
        return code;
    }
    *tip = moved;
    return 0;
}

struct growth {
    struct merkle_range range;
    struct sha256 *sha;
    chain_entry_fn *each;
    void *context;
};

static int grow(void *context, const struct chain_entry *entry, struct err *err)
{
    struct growth *growth = context;
    merkle_range_append(&growth->range, growth->sha, &entry->leaf);
    return growth->each == NULL ? 0 : growth->each(growth->context, entry, err);
}

int chain_check_block(struct chain *chain, struct sha256 *sha, struct bytes body, uint32_t entry_count,
                      chain_entry_fn *each, void *context, uint64_t *ret_bad_index, struct err *err)
{
    struct growth growth = {.range = chain->range, .sha = sha, .each = each, .context = context};
    struct chain_tip tip = {.index = chain->range.size, .prev = chain->prev, .last_time = chain->last_time};
    memcpy(tip.log_id, chain->log_id, sizeof(tip.log_id));
    int code = chain_check_links(&tip, sha, body, entry_count, grow, &growth, ret_bad_index, err);
    if (code != 0)
        return code;
    chain->prev = tip.prev;
    chain->last_time = tip.last_time;
    chain->range = growth.range;
    return 0;
}
