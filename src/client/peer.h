/* Service Replication as a region calls it on its peers: hello, and pulls. Everything that comes back is hostile until
 * checked: sizes, counts and names here, blocks and notes by whoever keeps the log (replication/mirror.h). */
#ifndef CLIENT_PEER_H
#define CLIENT_PEER_H

#include <stdint.h>

#include "base/arena.h"
#include "client/channel.h"
#include "crypto/sha256.h"
#include "log/block.h"
#include "region/region.h"

enum { PEER_HELLO_MAX_BYTES = 4 * 1024 * 1024 };

/* Who is calling. Borrowed. */
struct peer_identity {
    const char *cluster;
    const char *region;
    struct hash contexts_digest;
};

/* What a peer holds. held and its notes live in arena: peer_hello_free. */
struct peer_hello {
    struct arena arena;
    struct region_held *held;
    size_t held_count;
    bool granted; /* and what follows: region.h, HELLO */
    bool abstains;
    uint64_t left_us;
};

/* ERR_MISMATCH when the other side is not `expected_region` of this cluster, speaks another protocol or has other
 * contexts (says both sides); ERR_CORRUPT for a malformed answer; errors of channel_unary. */
int peer_hello(struct channel *channel, const struct peer_identity *self, const struct region_lease_question *question,
               const char *expected_region, uint64_t timeout_ms, struct peer_hello *ret, struct err *err) MUST_USE;
/* The same from the bytes of an answer, which are not needed afterwards. */
int peer_hello_parse(struct bytes answer, const struct peer_identity *self, const char *expected_region,
                     struct peer_hello *ret, struct err *err) MUST_USE;
void peer_hello_free(struct peer_hello *hello);

/* Opens a pull of `origin` from from_index on. *ret is owned by the caller: channel_call_close. */
int peer_pull_open(struct channel *channel, const struct peer_identity *self, const char *origin, uint64_t from_index,
                   struct channel_call **ret, struct err *err) MUST_USE;
/* The next message: either *ret_block (the caller's reference; header and CRC checked) or, with *ret_block NULL, a
 * checkpoint appended to *ret_note. scratch is cleared and reused. ERR_CORRUPT, ERR_END, errors of channel_call_read.
 */
int peer_pull_read(struct channel_call *call, struct buf *scratch, struct block **ret_block, struct buf *ret_note,
                   struct err *err) MUST_USE;
/* The same from the bytes of one message, which are not needed afterwards. */
int peer_pull_parse(struct bytes message, struct block **ret_block, struct buf *ret_note, struct err *err) MUST_USE;
/* Tells the source what is stored. cosignature may be empty. */
int peer_pull_acknowledge(struct channel_call *call, uint64_t stored_size, uint64_t cosigned_size,
                          struct bytes cosignature, struct err *err) MUST_USE;

#endif
