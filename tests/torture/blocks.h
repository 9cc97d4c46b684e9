/* A log that was made before the torture begins: blocks of valid entries, and a signed checkpoint at the end of each.
 */
#ifndef TORTURE_BLOCKS_H
#define TORTURE_BLOCKS_H

#include "crypto/note.h"
#include "log/log.h"

#define BLOCKS_REGION "eu"
#define BLOCKS_ORIGIN "demo/" BLOCKS_REGION "/1"

enum { BLOCKS_MAX = 8 };

struct blocks {
    struct note_signer signer; /* of the log */
    size_t count;
    struct block *blocks[BLOCKS_MAX]; /* block i has i + 1 entries */
    uint64_t sizes[BLOCKS_MAX];       /* of the log behind each */
    struct bytes texts[BLOCKS_MAX];   /* checkpoints, unsigned */
    struct bytes notes[BLOCKS_MAX];   /* signed */
    struct buf storage[2 * BLOCKS_MAX];
};

/* Without faults. Entry i is version i / 3 of stream "s<i % 3>", of type "Happened" in context "bank". */
void blocks_make(struct blocks *blocks, size_t count, size_t payload_size_bytes);
void blocks_free(struct blocks *blocks);
/* Writes the first `count` of them, and the checkpoint of the last one (not when count is 0), as a log in the folder.
 */
void blocks_write_log(const struct blocks *blocks, size_t count, const char *folder);

#endif
