/* Every change of authority in the logs of a cluster: put to the fold that regions obey (domain/authority.h), and kept,
 * because an auditor also asks what the fold does not tell: who may have written under an epoch in good faith, although
 * another region's change is the one that counts. */
#ifndef VERIFY_CHANGES_H
#define VERIFY_CHANGES_H

#include "base/map.h"
#include "domain/authority.h"
#include "verify/cluster.h"

enum { CHANGES_MAX = 1024 * 1024 };

/* Texts lie behind the struct. */
struct change {
    enum control_kind kind;
    size_t log; /* its number in the cluster */
    uint64_t index;
    hlc time;
    uint64_t epoch;
    struct bytes context;
    struct bytes partition;
    struct bytes payload;      /* well formed */
    bool counts;               /* for the fold, which names it in authority_next; set by changes_settle */
    uint64_t late_entry_count; /* clients' entries that are late because of it */
    struct change *next;       /* about the same epoch of the same partition, and of the same sort */
    uint8_t bytes[];
};

struct changes {
    const struct cluster *cluster;
    struct authority_table table;
    struct map by_epoch; /* sort, context, partition and epoch -> the first struct change */
    struct change **list;
    size_t count;
    size_t capacity;
};

/* Both outlive *ret. changes_free in any case. */
void changes_init(struct changes *ret, const struct cluster *cluster, const struct context_table *contexts);
void changes_free(struct changes *changes);
/* Keeps an authority event that is well formed, and puts definitions of contexts to the fold; everything else is
 * ignored. ERR_NO_MEMORY; ERR_TOO_LARGE past a limit
 * of ours or of the fold. */
int changes_add(struct changes *changes, size_t log, const struct chain_entry *entry, struct err *err) MUST_USE;
/* Once all are in: which count. */
void changes_settle(struct changes *changes);

/* The changes that begin this epoch, or else release it, in the order in which they were added; NULL: none. */
const struct change *changes_find(const struct changes *changes, bool begin, struct bytes context,
                                  struct bytes partition, uint64_t epoch);
/* Whether the partition is governed by changes of "*", too. */
bool changes_follow_all(const struct changes *changes, struct bytes context, struct bytes partition);
/* From which index on the log's region may hold this epoch of the partition in good faith: by the contexts, by a
 * definition that creates the context, or by a change of its own that stands before, whether it counts or lost.
 * UINT64_MAX: never. */
uint64_t changes_held_from(const struct changes *changes, struct bytes context, struct bytes partition, uint64_t epoch,
                           size_t log);
/* Whether anybody began this epoch, by the contexts or by a change. */
bool changes_begun(const struct changes *changes, struct bytes context, struct bytes partition, uint64_t epoch);
/* Whether a later log of the entry's region goes on without it. */
bool changes_left_behind(const struct changes *changes, size_t log, uint64_t index);
/* The change, or the later log, because of which this entry, which is late, is: NULL when there is none. */
struct change *changes_overtaking(const struct changes *changes, struct bytes context, struct bytes partition,
                                  uint64_t epoch, size_t log, uint64_t index);
/* Whether `at` is below the basis, or before the event in its own log. */
bool changes_rest_on(const struct authority_event *event, size_t event_log, const struct change *at,
                     const struct changes *changes);

#endif
