/* Laying copies of one log side by side. */
#ifndef VERIFY_COMPARE_H
#define VERIFY_COMPARE_H

#include "verify/copy.h"

struct comparison {
    enum verdict verdict; /* of the two copies and of the comparison */
    bool compared;        /* false when one of the two could not be read */
    bool differs;
    uint64_t first_difference;
    bool has_hashes;
    struct hash leaves[2]; /* of the first entry that differs */
    uint64_t common_size;  /* entries that are the same in both, from 0 */
    char message[VERIFY_MESSAGE_MAX_BYTES];
};

void compare_copies(struct copy *a, struct copy *b, struct comparison *ret);

#endif
