/* Commit blocks as a peer sends them: the first byte says whether the checksum is made right. A block that the chain's
 * rules accept moves the chain by its count, and is found again entry by entry. */
#include "fuzz/fuzz.h"
#include "fuzz/seal.h"

static void check_entries(const struct block *block, struct sha256 *sha)
{
    struct chain chain;
    uint64_t bad_index = 0;
    chain_init(&chain, sha, BYTES_LITERAL("demo/eu/1"));
    struct chain before = chain;
    int code = chain_check_block(&chain, sha, block_body(block), block->entry_count, NULL, NULL, &bad_index, NULL);
    if (code != 0) {
        FUZZ_CHECK(memcmp(&chain, &before, sizeof(chain)) == 0);
        FUZZ_CHECK(bad_index <= block->entry_count); /* the count itself: bytes are left over */
        return;
    }
    FUZZ_CHECK(chain.range.size == block->entry_count);
    for (uint64_t i = 0; i < block->entry_count && block->first_index == 0; i++) {
        struct bytes encoded;
        FUZZ_CHECK(block_find(block, i, &encoded, NULL) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    bool seal = fuzz_take_byte(&input) % 2 == 0;
    uint8_t *copy = malloc(size + 1);
    struct sha256 *sha = sha256_new();
    struct block *block = NULL;
    struct block_header header;
    if (copy == NULL || sha == NULL)
        abort();
    if (input.size_bytes > 0)
        memcpy(copy, input.data, input.size_bytes);
    if (seal)
        seal_block(copy, input.size_bytes);
    struct bytes bytes = bytes_of(copy, input.size_bytes);
    int checked = block_check(bytes, &header, NULL);
    int taken = block_from_bytes(bytes, &block, NULL);
    FUZZ_CHECK(checked == taken);
    if (taken == 0) {
        FUZZ_CHECK(bytes_equal(block_bytes(block), bytes));
        FUZZ_CHECK(block->entry_count == header.entry_count && block->first_index == header.first_index);
        check_entries(block, sha);
        block_release(block);
    }
    sha256_free(sha);
    free(copy);
    return 0;
}
