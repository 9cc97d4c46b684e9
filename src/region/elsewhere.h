/* Commands whose home is elsewhere: keeping them for it, and, at the home, deciding those that others kept (rule 9 of
 * the design; domain/queued.h). Private to src/region. One thread.
 *
 * The queue is the index's (index/index.h), and the index is behind: what this region has just kept is counted here
 * until the index counts it, and what it has just decided is remembered among the decisions (settle.h). */
#ifndef REGION_ELSEWHERE_H
#define REGION_ELSEWHERE_H

#include "base/queue.h"
#include "region/region.h"

/* In the own log and, as far as the region has heard, not in the index. */
struct kept_commands {
    struct queue_link list;
    uint64_t count;
    uint64_t bytes;
};

void elsewhere_init(struct kept_commands *kept);
/* What is left can be used as after elsewhere_init. */
void elsewhere_free(struct kept_commands *kept);

/* Whether all writes are of one partition. ERR_INVALID. */
int elsewhere_one_partition(const struct region_command *command, struct err *err) MUST_USE;
/* Keeps a batch for its home: 0 with command->queued and ticket, or the refusal. A command that was kept before is
 * answered with where it is. */
int elsewhere_queue(struct region *region, struct region_command *command) MUST_USE;
/* Decides a kept command: command->verdict. */
int elsewhere_decide(struct region *region, struct region_command *command) MUST_USE;
/* Entries of the own log from index on were not appended after all. */
void elsewhere_undo(struct region *region, uint64_t index);
/* The index has applied the own log up to size. */
void elsewhere_indexed(struct region *region, uint64_t size);

#endif
