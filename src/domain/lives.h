/* The lives of regions, and what a later one leaves behind. A part of the fold of authority (authority.h).
 *
 * A region whose log must end goes on in a new one. The first entry of that, $LogContinued, has a basis: how much of
 * each earlier log of its region the new life rests on. That is all that the region knew of its own past. What lies
 * beyond, with a peer who was away, say, it has LEFT BEHIND: it goes on without it, under epochs that began before, so
 * both could not count.
 *
 *   Whoever knows of a life counts nothing of what that one left behind: neither a client's entry, nor a decision, nor
 * a change of homes. Whoever seized from the region and did not know of the life goes on from what it knew, instead:
 *   its basis names the earlier log, and not the later one.
 *
 * So lives, like claims, form a chain that is read backwards: of the lives that somebody knows the latest; below it the
 * latest of those that this one rests on; and so on. A log that has ended counts as far as each life of the chain that
 * came after it says. A life that the chain passes over was left behind itself.
 *
 * A log of a later incarnation that does not begin with such an entry was written by an earlier version: it says
 * nothing, and leaves nothing behind.
 *
 * Everything is owned by the table, which does not depend on the order in which lives are added. */
#ifndef DOMAIN_LIVES_H
#define DOMAIN_LIVES_H

#include <stdbool.h>

#include "base/map.h"
#include "domain/position.h"

enum {
    LIVES_REGIONS_MAX = 64,
    LIVES_MAX = 4096, /* of one region */
};

/* Something in a log that rests on a position: a change of homes, or a life (index 0). Borrowed. */
struct resting {
    const char *region;
    uint64_t incarnation;
    uint64_t index;
    size_t basis_count;
    const struct position_log *basis;
};

struct lives {
    struct map regions;
};

/* How much of a log it rests on: of its own all that comes before it. */
uint64_t resting_end(const struct resting *resting, const char *region, uint64_t incarnation);

/* No allocation yet. */
void lives_init(struct lives *lives);
void lives_free(struct lives *lives);

/* The same life again changes nothing. ERR_NO_MEMORY, ERR_TOO_LARGE; then nothing has changed. */
int lives_add(struct lives *lives, const struct resting *life, struct err *err) MUST_USE;

/* What counts of a log, for who knows what `above` rests on (NULL: everything that is in the table, and `more`, which
 * may be NULL): entries below the returned index. UINT64_MAX: no life has left anything of it behind. */
uint64_t lives_end(const struct lives *lives, const struct resting *more, const struct resting *above,
                   const char *region, uint64_t incarnation);

/* The life that begins this log. False: it does not say. *ret borrows from the table until the next lives_add. */
bool lives_find(const struct lives *lives, const char *region, uint64_t incarnation, struct resting *ret);

#endif
