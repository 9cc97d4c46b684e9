/* Whether payloads lie only where they may (domain/residency.h): in the copies of whose folders the auditor has said
 * which region holds them. */
#ifndef VERIFY_RESIDENCY_H
#define VERIFY_RESIDENCY_H

#include "domain/context.h"
#include "verify/cluster.h"

struct residency_result {
    bool asked;                /* some context names payload_regions */
    uint64_t copies_read;      /* again, because their holder may not hold all payloads */
    uint64_t copies_of_nobody; /* nobody said whose they are: NOT checked */
};

/* An entry whose payload `copy` holds, and the region that has it may not. */
typedef void residency_found_fn(void *context, size_t copy, const struct entry *entry);

/* Goes over the copies whose holder may not hold all payloads. cluster->readable; contexts: as the logs leave them.
 * Errors of cluster_read. */
int residency_check(const struct cluster *cluster, struct disk *disk, const struct context_table *contexts,
                    residency_found_fn *found, void *context, struct residency_result *ret, struct err *err) MUST_USE;

#endif
