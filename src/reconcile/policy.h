/* Which late events can be settled without a person: a pure look at the index.
 *
 * A context says per event type what its home does about an event that came too late (domain/context.h). Only items
 * that are open are concerned: a duplicate needs no decision, and what was decided stays decided. Only the home of an
 * item's partition decides, so only one region acts on it, and what the others would do is the same. */
#ifndef RECONCILE_POLICY_H
#define RECONCILE_POLICY_H

#include "index/index.h"

enum { POLICY_DECISIONS_MAX = INDEX_LATE_SCAN_MAX };

struct policy_decision {
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    struct index_place place;
    char context[ENTRY_NAME_MAX_BYTES + 1];
    enum settlement settlement;
};

/* The decision for one item: false when there is none to be made by `region` now. */
bool policy_decide(const struct context_table *contexts, const struct authority_table *authority, const char *region,
                   const struct index_late *item, enum settlement *ret);

/* Decisions that `region` is to make about the next items after the cursor, of one scan; moves the cursor. *ret has
 * room for POLICY_DECISIONS_MAX. *ret_end: there are no items after these. Items whose payload is not held here are
 * left out when the decision needs it. items is working space for INDEX_LATE_SCAN_MAX. Errors of index_late_scan. */
int policy_next(struct index *index, const struct context_table *contexts, const struct authority_table *authority,
                const char *region, struct index_late_cursor *cursor, struct index_late *items,
                struct policy_decision *ret, size_t *ret_count, bool *ret_end, struct err *err) MUST_USE;

#endif
