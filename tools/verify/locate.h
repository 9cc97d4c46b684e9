/* Looking into a damaged block, to name the entry at fault. */
#ifndef VERIFY_LOCATE_H
#define VERIFY_LOCATE_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/note.h"
#include "log/block.h"
#include "platform/disk.h"

enum located_kind {
    LOCATED_BLOCK, /* no entry could be singled out: the header, the checksum or the padding; index is the block's first
                    */
    LOCATED_ENTRY, /* index is the entry whose bytes are wrong */
    LOCATED_CUT_OFF, /* what is there is sound, but the file ends inside the block; index is the first entry that is not
                        there */
};

struct located {
    enum located_kind kind;
    uint64_t index;
    bool all_written; /* no part of the block is missing, so that it is not an interrupted write */
    char reason[TALLY_ERROR_MESSAGE_MAX_BYTES];
    bool has_hashes; /* of the entry, as the next one names it and as its bytes are */
    struct hash expected;
    struct hash found;
};

/* The block at `offset` of folder/segment, which was refused. `chain` is where the log stood before it. `known` are
 * checkpoints that may help (size 0: none). ERR_IO, ERR_NO_MEMORY, or why the file cannot be opened. */
int locate_damage(struct disk *disk, const char *folder, const char *segment, uint64_t offset,
                  const struct chain *chain, const struct checkpoint *known, size_t known_count, struct located *ret,
                  struct err *err) MUST_USE;

#endif
