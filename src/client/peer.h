/* Service Replication as a region calls it on its peers: hello, and pulls. Everything that comes back is hostile until
 * checked: sizes, counts and names here, blocks and notes by whoever keeps the log (replication/mirror.h). */
#ifndef CLIENT_PEER_H
#define CLIENT_PEER_H

#include <stdint.h>

#include "base/arena.h"
#include "client/channel.h"
#include "crypto/introduction.h"
#include "crypto/sha256.h"
#include "log/block.h"
#include "region/region.h"

enum { PEER_HELLO_MAX_BYTES = 4 * 1024 * 1024 };

/* Who is calling. Borrowed. */
struct peer_identity {
    const char *cluster;
    const char *region;
    struct hash contexts_digest;
    struct signers cosigners; /* show that it is the region; only for pulls */
};

/* What a peer holds. held and its notes live in arena: peer_hello_free. */
struct peer_hello {
    struct arena arena;
    struct region_held *held;
    size_t held_count;
    hlc time;     /* that what its own log does not hold yet comes after; a claim */
    bool granted; /* and what follows: region.h, HELLO */
    bool abstains;
    uint64_t left_us;
    uint64_t certificate_end_s;
    uint64_t wall_us;
};

/* ERR_MISMATCH when the other side is not `expected_region` of this cluster, speaks another protocol or has other
 * contexts (says both sides); ERR_CORRUPT for a malformed answer; errors of channel_unary. */
int peer_hello(struct channel *channel, const struct peer_identity *self, const struct region_lease_question *question,
               const char *expected_region, uint64_t timeout_ms, struct peer_hello *ret, struct err *err) MUST_USE;
/* The same from the bytes of an answer, which are not needed afterwards. */
int peer_hello_parse(struct bytes answer, const struct peer_identity *self, const char *expected_region,
                     struct peer_hello *ret, struct err *err) MUST_USE;
void peer_hello_free(struct peer_hello *hello);

/* A subject's contents at a position (projection/drift.h). */
struct peer_comparison {
    const char *subject;
    struct hash sql;
    bool has_sql;
    struct position position;
    struct hash digest;
    bool has_digest;
};

/* Asks the peer to compare: subject, sql, position and digest of *asked. *ret gets the position and perhaps the digest
 * of the answer (CompareResponse). ERR_CORRUPT for a malformed answer; errors of channel_unary. */
int peer_compare(struct channel *channel, const struct peer_identity *self, const struct peer_comparison *asked,
                 uint64_t timeout_ms, struct peer_comparison *ret, struct err *err) MUST_USE;
/* The same from the bytes of an answer, which are not needed afterwards. */
int peer_compare_parse(struct bytes answer, struct peer_comparison *ret, struct err *err) MUST_USE;

/* Opens a pull of `origin` from from_index on. *ret is owned by the caller: channel_call_close. Before anything else
 * the source wants to know who pulls: peer_pull_introduce. */
int peer_pull_open(struct channel *channel, const struct peer_identity *self, const char *origin, uint64_t from_index,
                   struct channel_call **ret, struct err *err) MUST_USE;
/* Waits for the question of `source_region` and answers it; the rest as in peer_pull_open. scratch is cleared and
 * reused. ERR_CORRUPT when what comes is no question; the source's refusal; errors of channel_call_read. */
int peer_pull_introduce(struct channel_call *call, const struct peer_identity *self, const char *source_region,
                        const char *origin, uint64_t from_index, struct buf *scratch, struct err *err) MUST_USE;
/* The question in the bytes of a message, appended to *ret_question. ERR_CORRUPT. */
int peer_question_parse(struct bytes message, struct buf *ret_question, struct err *err) MUST_USE;
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
