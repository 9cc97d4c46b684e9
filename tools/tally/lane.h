/* A lane of an import: one thread that appends batches to one region, one after the other, until each is answered.
 *
 * A region has several lanes, and all events of a stream go through the same one. So batches are under way together,
 * and yet the order within a stream holds whatever fails in between: a lane never begins a batch before the one in
 * front of it is in.
 *
 * When a partition turns out to have another home, the same lane sends its events there (routes.h): the order holds
 * across the change, too. */
#ifndef TALLY_LANE_H
#define TALLY_LANE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "batch.h"
#include "routes.h"
#include "tally/client.h"

/* A region that events go to. Shared by its lanes; owned by the import. */
struct lane_target {
    const char *region;
    const char *address;
    struct tally_client *client;
    uint64_t timeout_ms;
    uint64_t retry_for_ms;
    atomic_bool troubled; /* a lane is retrying, and said so */
};

/* What all lanes have done. */
struct lane_counts {
    atomic_uint_fast64_t added;
    atomic_uint_fast64_t duplicates;
};

struct lane;

/* Starts the thread. target, routes and counts outlive the lane. */
int lane_start(struct lane_target *target, struct routes *routes, struct lane_counts *counts, struct lane **ret,
               struct err *err) MUST_USE;
/* Takes the batch over; waits while the lane has enough to do. ERR_CANCELLED when the lane has failed: lane_finish
 * tells why. */
int lane_send(struct lane *lane, struct batch *batch) MUST_USE;
/* Lets it work off what it has, waits for that, and frees it. The first failure, with the lines of the batch at fault.
 */
int lane_finish(struct lane *lane, struct err *err) MUST_USE;

#endif
