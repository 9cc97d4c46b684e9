/* One definition of a context: the payload of a $ContextDefined control event.
 *
 * It stands in the context "$system", in the partition that has the name of the context that it is about, in the log of
 * that partition's home. Version 1 creates a context and says its homes of epoch 1; they never change (whoever wants
 * others hands partitions over), so later versions leave them out. Everything else is said anew by each version.
 *
 * The payload is the message ContextDefined of proto/tally/v1/control.proto in canonical form: of equal definitions
 * there is one encoding. Members of lists are sorted, so that none can stand there twice. Whether a policy makes sense
 * is asked before it is written (definitions.h); the parser only refuses what no encoder writes.
 *
 * A parsed definition borrows from its payload and has needed no memory: whether an event counts must not depend on
 * that. definition_build makes of it what lookups use. */
#ifndef DOMAIN_DEFINITION_H
#define DOMAIN_DEFINITION_H

#include "domain/context.h"
#include "domain/control.h"
#include "domain/position.h"

enum { DEFINITION_PAYLOAD_MAX_BYTES = 60 * 1024 };

#define DEFINITION_VERSION_MAX (UINT64_C(1) << 32)

struct definition {
    uint64_t version;      /* from 1 */
    struct bytes actor;    /* who asked */
    struct bytes reason;   /* why, in words */
    struct position basis; /* version 1: what its writer had applied. Entries of the context lie at or past it */
    /* The policy; lists as they are encoded. Version 1: the homes. */
    struct bytes default_home;
    size_t home_count;
    struct bytes homes;
    size_t payload_region_count;
    struct bytes payload_regions;
    size_t type_count;
    struct bytes types;
    struct context_rules rules; /* without payload_regions */
    struct promises promises;
};

/* What a definition is made from: the policy is `context` (of version 2 and later without its homes). */
struct definition_source {
    uint64_t version;
    const struct context *context;
    const struct position *basis; /* version 1 only */
    struct bytes actor;
    struct bytes reason;
};

/* Appends the payload; the order of homes, types and regions does not matter. ERR_INVALID for what the parser would
 * refuse, ERR_TOO_LARGE, ERR_NO_MEMORY; then *out is unchanged. */
int definition_encode(const struct definition_source *source, struct buf *out, struct err *err) MUST_USE;

/* ERR_CORRUPT for anything that encode would not have written. *ret borrows from payload. */
int definition_parse(struct bytes payload, struct definition *ret, struct err *err) MUST_USE;

/* The definition as a context of that name, in one piece of memory of its own: mem_free. Its homes are the definition's
 * (version 1), its source is empty but for actor and reason. NULL when memory runs out. */
struct context *definition_build(struct bytes name, const struct definition *definition);

#endif
