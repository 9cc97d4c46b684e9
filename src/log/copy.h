/* Copying a log's files up to a size, beside a running server or from a backup, checking every entry on the way. */
#ifndef LOG_COPY_H
#define LOG_COPY_H

#include "log/scrub.h"

struct log_copy {
    struct disk *disk;
    const char *from; /* folders of one log */
    const char *to;   /* is made; must hold no segment */
    struct sha256 *sha;
    uint64_t size; /* entries to copy: the end of a block */
    struct hash *ret_root;
    uint64_t bytes; /* copied so far */
};

/* Copies segments, each with its header and blocks byte for byte, up to exactly copy->size entries; everything is
 * durable when it returns. The chain, every payload, and the headers of later segments are checked; *ret_root (may be
 * NULL) gets the root at the end, for the caller to compare with a signed one. ERR_CORRUPT names file, offset and
 * entry; ERR_NOT_FOUND when there are fewer entries; ERR_EXISTS when `to` holds segments; disk errors. After a failure
 * `to` is of no use. */
int log_copy(struct log_copy *copy, struct err *err) MUST_USE;

#endif
