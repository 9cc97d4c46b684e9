/* A late event as the write that accepts it: copied out of its block with the same id, content and salt, so that its
 * commitment is the same, too. For whoever builds a command that settles (region.h, struct region_settle). */
#ifndef REGION_SETTLE_EVENT_H
#define REGION_SETTLE_EVENT_H

#include "base/arena.h"
#include "log/log.h"
#include "region/region.h"

/* The entry at the index as a write with one event, or without one when its payload is not held. It lives in the arena.
 * Errors of log_read_block; ERR_NO_MEMORY. Any thread. */
int settle_read_event(struct log *log, uint64_t index, struct arena *arena, struct region_stream_write *ret,
                      struct err *err) MUST_USE;

#endif
