/* The list of finished subtrees is the stack of those that still grow (subtree.h): a leaf that ends a subtree of height
 * h merges it with the one before, which is its left sibling whenever it has the same height. */
#include "verify/subtree.h"

#include "base/mem.h"

void subtree_begin(struct subtree_run *run, uint64_t first_index, unsigned height_max)
{
    run->count = 0;
    run->piece = 0;
    run->next_index = first_index;
    run->height_max = height_max;
}

void subtree_free(struct subtree_run *run)
{
    mem_free(run->nodes);
}

void subtree_cut(struct subtree_run *run)
{
    run->piece = run->count;
}

int subtree_add(struct subtree_run *run, struct sha256 *sha, const struct hash *leaf, struct err *err)
{
    if (run->count == run->capacity) {
        size_t capacity = run->capacity == 0 ? 256 : 2 * run->capacity;
        struct subtree *grown = mem_resize(run->nodes, capacity * sizeof(*grown));
        if (grown == NULL)
            return err_no_memory(err, "subtrees");
        run->nodes = grown;
        run->capacity = capacity;
    }
    struct subtree node = {.height = 0, .root = *leaf};
    uint64_t number = run->next_index++; /* of the node among those of its height */
    while ((number & 1) != 0 && run->count > run->piece && run->nodes[run->count - 1].height == node.height &&
           node.height < run->height_max) {
        node.root = merkle_node(sha, &run->nodes[--run->count].root, &node.root);
        node.height++;
        number >>= 1;
    }
    run->nodes[run->count++] = node;
    return 0;
}
