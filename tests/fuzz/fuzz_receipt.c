/* Receipts: what was read and is written again is the text that was read. */
#include "crypto/receipt.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct receipt receipt;
    struct buf again;
    buf_init(&again, 2 * RECEIPT_MAX_BYTES);
    if (size <= RECEIPT_MAX_BYTES && receipt_parse(bytes_of(data, size), &receipt, NULL) == 0) {
        FUZZ_CHECK(receipt.proof.count <= MERKLE_PROOF_MAX);
        FUZZ_CHECK(
            receipt_format(buf_bytes(&receipt.extra), receipt.index, &receipt.proof, receipt.note, &again, NULL) == 0);
        /* An extra line that is there and empty is the one thing that is written in another way: not at all. */
        if (!receipt.has_extra || receipt.extra.size_bytes > 0)
            FUZZ_CHECK(bytes_equal(buf_bytes(&again), bytes_of(data, size)));
    }
    if (size <= RECEIPT_MAX_BYTES)
        receipt_free(&receipt);
    buf_free(&again);
    return 0;
}
