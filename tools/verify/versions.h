/* The versions of contexts that the logs define, held against each other. The fold (domain/definitions.h) takes the
 * highest one that counts and asks nothing more; the home that writes them sees to it that they follow each other, and
 * whether it did is the auditor's question:
 *
 *   - No version is given twice by definitions that count, and none is left out below one that does.
 *   - No region leaves payload_regions, for nothing takes back what it holds (domain/redefine.h). */
#ifndef VERIFY_VERSIONS_H
#define VERIFY_VERSIONS_H

#include "base/map.h"
#include "domain/context.h"

struct version_item {
    uint64_t version;
    size_t log;
    uint64_t index;
    bool counts;
    struct context *context; /* owned: what the definition says */
};

struct version_list {
    struct bytes name; /* the bytes are the first item's context's */
    size_t count;
    size_t capacity;
    struct version_item *items; /* as they were added */
};

struct versions {
    struct map by_name; /* -> struct version_list */
};

void versions_init(struct versions *versions);
void versions_free(struct versions *versions);
/* Keeps what a definition says; payloads that are malformed are ignored. ERR_NO_MEMORY; ERR_TOO_LARGE past
 * CONTEXT_PLACES_MAX names. */
int versions_add(struct versions *versions, struct bytes name, struct bytes payload, size_t log, uint64_t index,
                 struct err *err) MUST_USE;
/* The definition at this place counts. */
void versions_count(struct versions *versions, struct bytes name, size_t log, uint64_t index);
/* Whether the context, in any version, or as `configuration` has it, lets events of the type be accepted away from
 * home. */
bool versions_let_override(const struct versions *versions, const struct context_table *configuration,
                           struct bytes context, struct bytes type);

/* What is wrong with one that counts. */
enum version_fault {
    VERSION_REPEATED,  /* `other` is the same version of the context, and counts */
    VERSION_GAP,       /* nothing that counts is the version before */
    VERSION_NO_FIRST,  /* the same, where the version before is the first: the configuration may have had it */
    VERSION_TAKES_OUT, /* `reason` says which region leaves payload_regions; `other` (NULL: the configuration) had it */
};
typedef void versions_fault_fn(void *context, enum version_fault fault, const struct version_item *item,
                               const struct version_item *other, const char *reason);

/* Names every fault. regions: of the cluster. */
void versions_judge(const struct versions *versions, const struct context_table *configuration,
                    const char *const *regions, size_t region_count, versions_fault_fn *fault, void *context);

#endif
