/* The auditor's verdict on authority: every entry was accepted by the home of its epoch.
 *
 * First all changes of authority of all logs are folded, then every entry is judged by what follows from them. An entry
 * counts (effective), or came too late (an honest region can do that: it had not seen yet that it was overtaken), or no
 * region that obeys the rules can have written it: a violation. What cannot be judged is said, and makes the verdict
 * incomplete. */
#ifndef VERIFY_JUDGE_H
#define VERIFY_JUDGE_H

#include "verify/changes.h"
#include "verify/contexts.h"
#include "verify/residency.h"
#include "verify/unique.h"
#include "verify/versions.h"

enum { JUDGE_SHARES_MAX = 1024 * 1024 };

/* What an entry can violate. */
enum rule {
    RULE_EPOCH,       /* nobody began its epoch */
    RULE_HOME,        /* the log's region was not the home under its epoch, or not yet */
    RULE_RELEASE,     /* a release by a region that was not the home */
    RULE_TAKING,      /* no release of the epoch before, to this region, that the taking rests on */
    RULE_BASIS,       /* the basis claims more of a log than there is */
    RULE_SETTLEMENT,  /* a decision about a late event or a queued command by a region that was not the home */
    RULE_OVERRIDE,    /* an emergency override of a type that the context does not let be overridden */
    RULE_COMMUTATIVE, /* a commutative event of a type that the context does not let be accepted anywhere */
    RULE_PAYLOAD,     /* a control entry's payload is malformed */
    RULE_VERSION,     /* two entries that count are one version of a stream */
    RULE_ID,          /* two entries that count have one event id */
    RULE_DEFINITION,  /* a definition of a context by a region that was not the home of "$system", or one that does not
                         follow the version before */
    RULE_RESIDENCY,   /* a home that may not hold the context's payloads, or a payload that lies where it may not */
    RULE_COUNT,
};

/* The entries of one log under one epoch of one partition. Texts lie behind the struct. */
struct share {
    struct bytes context;
    struct bytes partition;
    uint64_t epoch;
    size_t log;
    bool begun;                 /* somebody began the epoch */
    uint64_t held_from;         /* changes_held_from */
    struct authority_span span; /* what counts */
    uint64_t effective_count;   /* clients' entries */
    uint64_t late_count;
    struct change *overtaken_by; /* because of which they are late; NULL: none is */
    uint8_t bytes[];
};

struct violation {
    bool found;
    enum rule rule;
    size_t log;
    uint64_t index;
    const struct copy *copy; /* in which it is to be seen */
    char message[VERIFY_MESSAGE_MAX_BYTES];
};

struct judge {
    const struct cluster *cluster; /* readable */
    struct disk *disk;
    const struct contexts *contexts;
    struct changes changes;
    struct versions versions;
    struct residency_result residency;
    struct map shares;
    struct share *latest; /* entries of one share come in rows */
    struct unique unique;
    bool again; /* a further pass, for what comes twice: nothing is judged anew */

    uint64_t pass_count;
    uint64_t effective_count;
    uint64_t late_count;
    uint64_t decision_count;
    uint64_t late_decision_count;
    uint64_t override_count;
    uint64_t commutative_count; /* of the effective and the late ones */
    uint64_t definition_count;  /* of contexts */
    uint64_t late_definition_count;
    uint64_t unknown_control_count; /* of types that a newer version writes: not judged */
    uint64_t unjudged_count;
    char unjudged[VERIFY_MESSAGE_MAX_BYTES]; /* why the first was not */
    uint64_t violation_counts[RULE_COUNT];
    struct violation first; /* in the order of logs and indexes */
};

/* All outlive *ret. room: unique_room_default, but for tests. judge_free in any case. ERR_NO_MEMORY. */
int judge_init(struct judge *ret, const struct cluster *cluster, struct disk *disk, const struct contexts *contexts,
               const struct unique_room *room, struct err *err) MUST_USE;
void judge_free(struct judge *judge);
/* Reads and judges everything. ERR_NO_MEMORY, ERR_TOO_LARGE (limits), ERR_IO (cluster_read): nothing may be said then
 * but that. */
int judge_run(struct judge *judge, struct err *err) MUST_USE;
const char *rule_name(enum rule rule);

#endif
