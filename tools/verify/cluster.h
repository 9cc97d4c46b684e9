/* All logs of a cluster, in copies: every copy verified as `log` does, copies of one log held against each other, and
 * then the entries of all logs read as often as somebody wants, in one fixed order. */
#ifndef VERIFY_CLUSTER_H
#define VERIFY_CLUSTER_H

#include "domain/position.h"
#include "verify/copy.h"

enum { CLUSTER_LOGS_MAX = POSITION_LOGS_MAX, CLUSTER_COPIES_MAX = 256 };

/* The longest copy of a log. */
struct cluster_log {
    struct copy *copy;
    struct origin origin;
    uint64_t size;
};

struct cluster {
    size_t copy_count;
    struct copy *copies[CLUSTER_COPIES_MAX];                         /* owned, and so are their paths */
    char holders[CLUSTER_COPIES_MAX][POSITION_REGION_MAX_BYTES + 1]; /* as the auditor says; "": he does not */
    size_t log_count;
    struct cluster_log logs[CLUSTER_LOGS_MAX]; /* by region, then incarnation */
    bool readable;                             /* every entry of every copy was verified */
    enum verdict verdict;                      /* of all copies together */
    char message[VERIFY_MESSAGE_MAX_BYTES];    /* the first finding of the worst kind */
};

/* Each path is a log's folder, or one with a folder "logs" of such (a data directory, a backup); REGION=PATH says whose
 * it is. ERR_INVALID for a path that says so in another way. What is wrong with copies is a finding in *cluster, which
 * is all zeros before; cluster_close in any case. ERR_NO_MEMORY; ERR_TOO_LARGE past the limits. */
int cluster_open(const struct demands *demands, const char *const *paths, size_t count, struct cluster *cluster,
                 struct err *err) MUST_USE;
void cluster_close(struct cluster *cluster);
void cluster_finding(struct cluster *cluster, enum verdict verdict, const char *format, ...) PRINTF_LIKE(3, 4);

/* The number of a log; CLUSTER_LOGS_MAX when it is not here. */
size_t cluster_find(const struct cluster *cluster, const char *region, uint64_t incarnation);
/* The number of the log that it is a copy of; likewise. */
size_t cluster_log_of(const struct cluster *cluster, const struct copy *copy);

/* Calls `each` for every entry, log by log in order of index. Every entry is checked again, and each log must come to
 * the root that was verified: what is judged is what was verified, even if somebody writes to the files meanwhile.
 * cluster->readable. ERR_IO when files changed or cannot be read; ERR_NO_MEMORY; or what `each` returned. */
typedef int cluster_entry_fn(void *context, size_t log, const struct chain_entry *entry, struct err *err);
int cluster_read(const struct cluster *cluster, struct disk *disk, cluster_entry_fn *each, void *context,
                 struct err *err) MUST_USE;

/* The same for one copy, by its number. */
int cluster_read_copy(const struct cluster *cluster, size_t copy, struct disk *disk, cluster_entry_fn *each,
                      void *context, struct err *err) MUST_USE;

#endif
