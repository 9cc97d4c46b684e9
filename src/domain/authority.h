/* Who is the home of a partition, under which epoch, and which entries came too late: a fold over control events.
 *
 * A partition begins at epoch 1 in the region that the context names. Each change of owner is a control event in the
 * log of the region that becomes the home: it carries the next epoch and a basis, the position that the new home had
 * applied when it took over. From this alone follows which entries count, in every region alike:
 *
 * The HISTORY of a partition is walked from its end. Of the changes that begin its highest epoch, the one with the
 * smallest (hybrid time, region name) is in force; below it, of the changes with the next lower epoch that this one
 * rests on (their entries lie below its basis, or before it in its own log), again the smallest; and so on down to the
 * home of epoch 1. A change that is not in the history counts for nothing: it lost, or whoever is the home now never
 * knew of it. So what counts below a basis is what counted for the one who wrote it, whatever else turns up later, and
 * streams have no gaps.
 *
 *   An entry of partition p, accepted by region r under epoch e at index i of log L, is LATE if
 *     (a) r did not begin epoch e in the history of p, or
 *     (b) a change in the history of p with a higher epoch has a basis whose component for L is i or less
 *         (a log that the basis does not name counts as 0: a new incarnation, for one), or
 *     (c) a later life of r has left it behind (domain/lives.h), which whoever made the next change in the history of p
 *         knew of, or there is no next change.
 *
 * Changes of homes and releases that a life has left behind count for nothing, by the same measure: they are not in the
 * history below a change whose maker knew of the life, nor, when there is none, at its end.
 *
 * Partition "*" holds the changes of all partitions that have none of their own. A change of "*" is one of partition p,
 * too, unless the context gives p a home, or whoever made it knew of a change of p's own: from then on p goes its own
 * way. Two that did not know of each other compete like any others.
 *
 * Order (rule 2). A change, or a life, may be applied only once everything below its basis has been applied; what
 * follows it in its log waits too. What a life has left behind waits for nothing: in which order it comes makes no
 * difference, and what it rests on may be lost. Bases refer only to what the writer had applied, so this cannot
 * deadlock. Changes may be applied in any order that keeps this rule, twice or more: the table is the same.
 *
 * What a change makes late may have been applied before: whoever keeps derived data must take that back before it goes
 * on. authority_affected_from tells from where on in each log, authority_is_late what. The reverse happens, too: when
 * two regions begin one epoch, and the winner rests on more than the loser, what was late under the loser alone is late
 * no more; and when somebody goes on from the loser, not knowing the winner, the loser's entries count again. See
 * index/README.md and projection/projection.h.
 *
 * Commutative events (ENTRY_FLAG_COMMUTATIVE) belong to no epoch, and whoever accepted them they are never overtaken.
 * They count if the context in force lets any region accept their type; until the definition that says so is applied,
 * and when it is overtaken, they are treated as late.
 *
 * Everything is owned by the table. One thread, or readers only. */
#ifndef DOMAIN_AUTHORITY_H
#define DOMAIN_AUTHORITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "domain/context.h"
#include "domain/control.h"
#include "domain/definitions.h"
#include "domain/lives.h"
#include "domain/position.h"

enum {
    AUTHORITY_PARTITIONS_MAX = 1024 * 1024, /* partitions with changes of their own, over all contexts */
    AUTHORITY_EPOCHS_MAX = 1024 * 1024,     /* changes, and releases, of one partition */
};

/* One authority control event, as the fold sees it. Texts are borrowed during the call. */
struct authority_event {
    enum control_kind kind;
    struct bytes context;
    struct bytes partition; /* or "*" */
    uint64_t epoch;         /* released: of the epoch that ends; else: of the epoch that begins */
    const char *region;     /* of the log that holds the event */
    uint64_t incarnation;
    uint64_t index;
    hlc time;
    struct control_authority change;
    struct bytes definition; /* CONTROL_CONTEXT_DEFINED: its payload, which is well formed; partition is its name */
};

#define AUTHORITY_EPOCH_MAX (UINT64_C(1) << 48)

struct authority_partition;

struct authority_table {
    const struct context_table *contexts; /* the contexts now: the table's own, below */
    struct definitions definitions;
    struct map partitions; /* context and partition -> struct authority_partition */
    struct lives lives;
};

/* configuration gives contexts and their homes of epoch 1, and outlives the table; definitions that are applied change
 * and add to it. No allocation yet. The table must stay where it is. */
void authority_table_init(struct authority_table *table, const struct context_table *configuration);
void authority_table_free(struct authority_table *table);

/* Fills ret from an entry and its payload. Returns 0 and kind CONTROL_UNKNOWN when it is neither an authority event nor
 * the definition of a context. ERR_CORRUPT when its payload is not what control_authority_encode or definition_encode
 * writes, or its epoch cannot be (a change begins epoch 2 or more; none is above AUTHORITY_EPOCH_MAX), or a definition
 * does not stand in "$system" under a name that a context may have, or a continuation is not the first entry of a later
 * log than its region's first, or names other logs than earlier ones of its region: folds ignore such an event, all
 * alike, and raise an alarm. */
int authority_event_of(const struct entry *entry, struct bytes payload, const struct origin *origin,
                       struct authority_event *ret, struct err *err) MUST_USE;

/* Whether everything that the event rests on is below `applied`, or the event was left behind by a life that the table
 * has. Always true for a release and a definition. */
bool authority_ready(const struct authority_table *table, const struct authority_event *event,
                     const struct position *applied);

/* From which index on entries of this log were left behind by a later life of its region; UINT64_MAX: none. */
uint64_t authority_lived_end(const struct authority_table *table, const char *region, uint64_t incarnation);

/* Applies one event. The same event again changes nothing. Events of contexts that the table does not know are kept all
 * the same. ERR_NO_MEMORY, ERR_TOO_LARGE (limits above, and of definitions.h): the event is to be applied again before
 * the table is asked anything. */
int authority_apply(struct authority_table *table, const struct authority_event *event, struct err *err) MUST_USE;

/* The home now: the region whose change is in force. `released`: it has let go, and only `successor` may take; the
 * release is in a log of `region`. Texts are valid until the next authority_apply. ERR_NOT_FOUND when there is no such
 * context. */
struct authority_now {
    const char *region;
    uint64_t epoch;
    uint64_t incarnation; /* of the log with the change that began the epoch, and its place there; … */
    uint64_t index;       /* … 0 and 0 when the context gave the home */
    hlc time;             /* of that change; 0 when the context gave the home */
    bool released;
    bool unfenced; /* begun by a seizure whose home accepts without a lease */
    const char *successor;
    uint64_t release_incarnation; /* released: of the log with the release, and its place there */
    uint64_t release_index;
};
int authority_now(const struct authority_table *table, struct bytes context, struct bytes partition,
                  struct authority_now *ret, struct err *err) MUST_USE;

/* Whether the region was, or is, the home of the partition under some epoch. */
bool authority_was_home(const struct authority_table *table, struct bytes context, struct bytes partition,
                        const char *region);

/* Whether a client's entry has no effect: it is late by the rule at the top, or an override, or a commutative event of
 * a type that its context does not let be accepted anywhere. */
bool authority_entry_is_late(const struct authority_table *table, const struct entry *entry, const char *region,
                             uint64_t incarnation);
/* The rule at the top, for a client's entry of a home or a decision (authority events themselves are never late). */
bool authority_is_late(const struct authority_table *table, struct bytes context, struct bytes partition,
                       uint64_t epoch, const char *region, uint64_t incarnation, uint64_t index);
/* The same of an entry whose epoch is not at hand: whether the region was the home at that place of its log under no
 * epoch of the history. What a region has under one epoch and what it has under another do not overlap in its log. */
bool authority_was_away(const struct authority_table *table, struct bytes context, struct bytes partition,
                        const char *region, uint64_t incarnation, uint64_t index);
/* authority_is_late for all entries of one log with this partition and epoch: those with begin <= index < end are not
 * late. */
struct authority_span {
    uint64_t begin;
    uint64_t end;
};
struct authority_span authority_span(const struct authority_table *table, struct bytes context, struct bytes partition,
                                     uint64_t epoch, const char *region, uint64_t incarnation);

/* From which index on entries of this log can become late, or late no more, when the event, which the table does not
 * have yet, is applied after what it rests on; UINT64_MAX: none can. Only entries that authority_concerns are
 * concerned. */
uint64_t authority_affected_from(const struct authority_table *table, const struct authority_event *event,
                                 const char *region, uint64_t incarnation);
/* Whether the event can make an entry late, or late no more: it is of the event's context and partition ("*": of any
 * partition), or of a context that the event defines, or whose definition it may overtake. The table has the event, or
 * not. */
bool authority_concerns(const struct authority_table *table, const struct authority_event *event,
                        const struct entry *entry);
/* authority_affected_from for entries of the event's own context alone. */
uint64_t authority_own_affected_from(const struct authority_table *table, const struct authority_event *event,
                                     const char *region, uint64_t incarnation);

/* Walks the partitions of a context that are governed apart from each other: "*", those that the context gives a home,
 * and those that have changes or releases of their own. Start with *at = 0; false at the end. *ret is valid until the
 * next authority_apply. */
bool authority_partition_next(const struct authority_table *table, struct bytes context, size_t *at, struct bytes *ret);

/* Walks the changes in the histories of all partitions, in the order in which these were first met, epochs ascending.
 * Start with *at zeroed; false at the end. Borrowed until the next authority_apply. */
struct authority_walk {
    size_t partition;
    size_t epoch;
};
struct authority_record {
    struct bytes context;
    struct bytes partition;
    uint64_t epoch;
    enum control_kind kind; /* taken or seized */
    const char *region;
    uint64_t incarnation;
    uint64_t index;
    hlc time;
    size_t basis_count;
    const struct position_log *basis;
    bool released; /* this epoch was let go … */
    const char *successor;
};
bool authority_next(const struct authority_table *table, struct authority_walk *at, struct authority_record *ret);

#endif
