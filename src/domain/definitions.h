/* The contexts there are: those of the configuration, as changed by the definitions made while the system runs. A part
 * of the fold of authority (authority.h), which it depends on: a definition counts unless it is late by the authority
 * of "$system", like any other decision.
 *
 * Of the definitions of one name that count,
 *   - the first of version 1, in (time, region, incarnation, index) order, creates the context, unless the
 *     configuration has it: then that is its version 1, and others are nothing. What is not created does not exist.
 *   - the one with the highest version is in force; of several, the first in the same order. The home that writes
 *     them sees to it that they follow each other.
 * So the contexts are a function of the control events that were applied, whatever their order.
 *
 * Creation alone says homes of epoch 1, so only it decides which entries are late. Entries of a context that was not
 * created are all late; they become effective when its creation arrives. The reverse happens only when "$system" was
 * seized by somebody who did not know of the creation.
 *
 * Which types any region may accept (context_accepts_anywhere) decides in the same way which commutative events count.
 * A home only ever adds to them (redefine.h); a log that says otherwise is read as it says.
 *
 * Every version that was in force once is kept until the table is freed, because others may be reading it. */
#ifndef DOMAIN_DEFINITIONS_H
#define DOMAIN_DEFINITIONS_H

#include "base/map.h"
#include "domain/context.h"

enum {
    DEFINITIONS_MAX = 64 * 1024, /* that a table takes: homes stop long before, at CONTEXT_VERSIONS_MAX of a context */
    CONTEXT_VERSIONS_MAX = 1000,
};

struct authority_table;
struct authority_event;
struct published;

struct definitions {
    const struct context_table *configuration;
    struct context_places places;
    struct context_table table; /* for lookups: follows the definitions */
    struct map names;           /* of contexts that have definitions -> struct defined */
    struct published *published;
    size_t count;
    uint64_t creations; /* counts how often a context came to be, or to be no more */
};

/* configuration outlives it. No allocation yet. The address must not change afterwards. */
void definitions_init(struct definitions *definitions, const struct context_table *configuration);
void definitions_free(struct definitions *definitions);

/* Takes one definition; again changes nothing. `by` judges it. ERR_NO_MEMORY, ERR_TOO_LARGE: to be repeated before
 * anything is asked. */
int definitions_add(struct definitions *definitions, const struct authority_table *by,
                    const struct authority_event *event, struct err *err) MUST_USE;
/* The authority of "$system" has changed. Errors of definitions_add. */
int definitions_refresh(struct definitions *definitions, const struct authority_table *by, struct err *err) MUST_USE;

/* Whether definitions have created, or would create, a context of that name. */
bool definitions_know(const struct definitions *definitions, struct bytes name);
/* Whether some definition of the context, one that counts or one that does not, lets the type be accepted anywhere. */
bool definitions_named_anywhere(const struct definitions *definitions, struct bytes name, struct bytes type);
/* Whether some definition that creates the context, one that counts or one that does not, makes the region the home of
 * the partition under epoch 1. */
bool definitions_named_home(const struct definitions *definitions, struct bytes name, struct bytes partition,
                            const char *region);
/* The part of authority_affected_from that is about definitions, for an event of the context "$system". */
uint64_t definitions_affected_from(const struct definitions *definitions, const struct authority_table *by,
                                   const struct authority_event *event, const char *region, uint64_t incarnation);

#endif
