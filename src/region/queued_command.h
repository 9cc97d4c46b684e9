/* A queued command as the batch that decides it, copied out of the payload of its $CommandQueued entry. For whoever
 * builds a command with a verdict (region.h, struct region_verdict). */
#ifndef REGION_QUEUED_COMMAND_H
#define REGION_QUEUED_COMMAND_H

#include "base/arena.h"
#include "log/log.h"
#include "region/region.h"

/* Fills writes, events and room for results; they live in the arena. The events have no salts yet. log is the one that
 * the command is in. Errors of log_read_block; ERR_CORRUPT; ERR_NO_MEMORY. Any thread. */
int queued_command_read(struct log *log, const struct index_queued *queued, struct arena *arena,
                        struct region_command *command, struct err *err) MUST_USE;

#endif
