/* The atlas: who was the home of what, and which entries came too late, worked out from the truth by the plainest
 * reading of the rules in domain/authority.h. It shares no code with it. Private to tools/sim. */
#ifndef SIM_ATLAS_H
#define SIM_ATLAS_H

#include "sim/truth.h"

struct atlas;

/* At a position: `held` has a size for each of the truth's logs. What waits for its basis there is left out. */
struct atlas *atlas_new(struct world *world, const uint64_t *held);
void atlas_free(struct atlas *atlas);
struct world *atlas_world(const struct atlas *atlas);
/* How much of a log can be applied at the position. */
uint64_t atlas_applied(const struct atlas *atlas, size_t log);
/* Of a client's entry, or a decision, below what can be applied. */
bool atlas_late(const struct atlas *atlas, size_t log, uint64_t index);
/* The entry with an id that has its effect: the first in (time, origin) order of those that are not late; false when
 * there is none. */
bool atlas_stands(const struct atlas *atlas, const uint8_t id[ENTRY_ID_SIZE], struct truth_place *ret);
/* Whether a later log of its region goes on without the entry. */
bool atlas_left_behind(const struct atlas *atlas, size_t log, uint64_t index);

struct atlas_home {
    size_t node;
    uint64_t epoch;
    bool released;
    size_t successor;
};
struct atlas_home atlas_home(const struct atlas *atlas, size_t partition);
/* Each partition that was handed over was taken with everything that its home had accepted. */
void atlas_check_handovers(const struct atlas *atlas);

#endif
