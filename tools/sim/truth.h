/* The truth as data: every log, entry by entry, as its owner's disk was first seen to hold it. Private to tools/sim. */
#ifndef SIM_TRUTH_H
#define SIM_TRUTH_H

#include "domain/control.h"
#include "log/block.h"
#include "sim/sim.h"

enum { TRUTH_LOGS_MAX = REGION_LOGS_MAX, TRUTH_ENTRIES_MAX = 1 << 24 };

/* What an authority event says beside its entry. */
struct truth_change {
    size_t log; /* where it is … */
    uint64_t index;
    size_t partition; /* number */
    enum control_kind kind;
    uint64_t epoch;
    hlc time;
    size_t successor; /* of a release: node */
    size_t previous;  /* node */
    struct position basis;
    uint64_t met_at_us[SIM_NODES_MAX]; /* when each process was first seen to hold it and its basis; 0: not yet */
};

struct truth_entry {
    struct hash element; /* hash of the element's bytes */
    struct hash bare;    /* the same where its payload is withheld */
    struct hash leaf;
    struct hash root; /* of the log up to and including this entry */
    uint64_t stream_version;
    uint64_t epoch;
    hlc time;
    uint8_t id[ENTRY_ID_SIZE];
    size_t partition;
    size_t stream;
    bool commutative;
    bool override;
    bool defines;                /* a context */
    const struct op *op;         /* NULL: a control event */
    struct truth_change *change; /* of an authority event */
    struct truth_decision *decision;
};

/* A decision about a late event. */
struct truth_decision {
    size_t log; /* where it is … */
    uint64_t index;
    size_t item_log; /* … and what it is about */
    uint64_t item_index;
    uint8_t item_id[ENTRY_ID_SIZE];
    enum settlement settlement;
};

/* An entry that names another event as its cause. */
struct truth_caused {
    size_t log;
    uint64_t index;
    uint8_t cause[ENTRY_ID_SIZE];
};

struct truth_log {
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct origin parts;
    size_t owner; /* node */
    struct chain chain;
    uint64_t lost_from;           /* entries from here on are lost; UINT64_MAX: none are */
    bool told;                    /* the range must be reported */
    uint64_t signed_size;         /* the largest size of a checkpoint that was stored … */
    uint64_t signing_size;        /* … or that may be */
    bool continues;               /* its first entry is there, and says so, … */
    struct position basis;        /* … of so much of earlier ones */
    uint64_t overrides_announced; /* that are still to come, in this block */
    struct truth_entry *entries;
    size_t capacity;
};

/* One place of an event id. */
struct truth_place {
    size_t log;
    uint64_t index;
    struct truth_place *next;
};

struct truth {
    size_t log_count;
    struct truth_log logs[TRUTH_LOGS_MAX];
    struct map ids; /* event id -> struct truth_place */
    struct truth_change **changes;
    size_t change_count, change_capacity;
    struct truth_decision **decisions;
    size_t decision_count, decision_capacity;
    struct truth_caused *caused;
    size_t caused_count, caused_capacity;
};

static inline uint64_t truth_log_size(const struct truth_log *log)
{
    return log->chain.range.size;
}

/* The places of an id, in the order in which they became durable; NULL when it has none. */
const struct truth_place *truth_places(const struct world *world, const uint8_t id[ENTRY_ID_SIZE]);

#endif
