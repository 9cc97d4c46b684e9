/* When the room is full, two roots each become one of the height above (sampler.h). */
#include "verify/sampler.h"

#include "base/assert.h"
#include "base/mem.h"

int sampler_init(struct sampler *sampler, struct err *err)
{
    struct hash *roots = mem_alloc(SAMPLER_ROOTS_MAX * sizeof(*roots));
    struct sha256 *sha = sha256_new();
    if (roots == NULL || sha == NULL) {
        sha256_free(sha);
        mem_free(roots);
        return err_no_memory(err, "the picture of a tree");
    }
    *sampler = (struct sampler){.sha = sha, .height = SAMPLER_HEIGHT_MIN, .roots = roots};
    return 0;
}

void sampler_free(struct sampler *sampler)
{
    sha256_free(sampler->sha);
    mem_free(sampler->roots);
    sampler->sha = NULL;
    sampler->roots = NULL;
}

void sampler_add(struct sampler *sampler, unsigned height, const struct hash *root)
{
    PRE(height <= SAMPLER_HEIGHT_MIN);
    merkle_range_append_subtree(&sampler->part, sampler->sha, height, root);
    if (sampler->part.size < (uint64_t)1 << sampler->height)
        return;
    INVARIANT(sampler->part.size == (uint64_t)1 << sampler->height);
    sampler->roots[sampler->count++] = sampler->part.hashes[0];
    merkle_range_init(&sampler->part);
    if (sampler->count < SAMPLER_ROOTS_MAX)
        return;
    for (size_t i = 0; i < SAMPLER_ROOTS_MAX / 2; i++)
        sampler->roots[i] = merkle_node(sampler->sha, &sampler->roots[2 * i], &sampler->roots[2 * i + 1]);
    sampler->count /= 2;
    sampler->height++;
}
