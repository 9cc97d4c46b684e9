/* Emergency overrides: events that a region accepts although it is not the home of their partition (rule 8 of the
 * design). Private to src/region. One thread. */
#ifndef REGION_OVERRIDE_H
#define REGION_OVERRIDE_H

#include "region/region.h"

/* Appends a batch whose home is elsewhere as overrides: 0 with command->overridden, results and ticket, or the refusal.
 * An event that is in some log already, with or without effect, is a repetition. */
int override_append(struct region *region, struct region_command *command) MUST_USE;

#endif
