/* Following a log (mirror.h). The rules of a block are those of chain_check_block, the same that recovery and the
 * verifier use; added here are the block's own header, and the ring of boundaries, which forgets the oldest. */
#include "replication/mirror.h"

#include "base/assert.h"
#include "base/mem.h"

static struct mirror_boundary *boundary_at(const struct mirror *mirror, size_t position)
{
    return &mirror->boundaries[(mirror->boundary_first + position) % mirror->boundary_max];
}

int mirror_init(struct mirror *mirror, const struct chain *chain, size_t boundary_max, struct sha256 *sha,
                struct err *err)
{
    PRE(boundary_max >= 1 && boundary_max <= MIRROR_BOUNDARIES_MAX);
    struct mirror_boundary *boundaries = mem_alloc(boundary_max * sizeof(*boundaries));
    if (boundaries == NULL)
        return err_no_memory(err, "a log's boundaries");
    *mirror = (struct mirror){.chain = *chain, .boundaries = boundaries, .boundary_max = boundary_max};
    mirror_mark_boundary(mirror, sha);
    return 0;
}

void mirror_free(struct mirror *mirror)
{
    mem_free(mirror->boundaries);
    mirror->boundaries = NULL;
}

void mirror_mark_boundary(struct mirror *mirror, struct sha256 *sha)
{
    if (mirror->boundary_count == mirror->boundary_max) {
        mirror->boundary_first = (mirror->boundary_first + 1) % mirror->boundary_max;
        mirror->boundary_count--;
    }
    struct mirror_boundary *boundary = boundary_at(mirror, mirror->boundary_count++);
    boundary->size = mirror->chain.range.size;
    boundary->root = merkle_range_root(&mirror->chain.range, sha);
}

bool mirror_root(const struct mirror *mirror, uint64_t size, struct hash *ret)
{
    size_t low = 0;
    size_t high = mirror->boundary_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct mirror_boundary *boundary = boundary_at(mirror, middle);
        if (boundary->size == size) {
            *ret = boundary->root;
            return true;
        }
        if (boundary->size < size)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

int mirror_check_block(struct mirror *mirror, struct sha256 *sha, const struct block *block, chain_entry_fn *each,
                       void *context, struct err *err)
{
    PRE(block->first_index == mirror_size(mirror));
    struct block_header header;
    uint64_t bad_index = block->first_index;
    int code = block_parse_header(block->data, &header, err);
    if (code != 0)
        return code;
    if (memcmp(header.log_id, mirror->chain.log_id, ENTRY_LOG_ID_SIZE) != 0)
        return err_set(err, ERR_CORRUPT, "the block at entry %llu belongs to another log",
                       (unsigned long long)bad_index);
    code =
        chain_check_block(&mirror->chain, sha, block_body(block), block->entry_count, each, context, &bad_index, err);
    if (code != 0)
        return err_wrap(err, code, "entry %llu", (unsigned long long)bad_index);
    mirror_mark_boundary(mirror, sha);
    return 0;
}
