/* Random histories of a cluster, and what an index must answer about any part of one.
 *
 * Three regions append to five logs (one region loses what its newest entries were, and begins a new log, twice on the
 * way), replicate from each other in the order of rule 2, hand partitions over, seize them (also at the same time, also
 * "*"), decide about what came late, and compensate. Beside context "shop" there is "cart", which is created and
 * changed on the way, perhaps more than once. Streams and ids are few, so that they collide; some entries carry an
 * epoch that nobody gave them. Both contexts come to let type "Counted" be accepted anywhere, and a home that does not
 * obey takes that back; regions accept such events whether they may or not.
 *
 * The expected answers are computed from the whole set of entries, without any of the index's shortcuts. */
#ifndef UNIT_INDEX_HISTORY_H
#define UNIT_INDEX_HISTORY_H

#include "base/prng.h"
#include "index/index.h"

enum {
    HISTORY_LOGS = 5,
    HISTORY_ACTORS = 3,
    HISTORY_ENTRIES_MAX = 400, /* of one log */
    HISTORY_NAME_BYTES = 16,
    HISTORY_STREAMS = 4,
    HISTORY_VERSIONS = 6,
    HISTORY_IDS = 120,
    HISTORY_CONTROL_IDS_FROM = 1000,
};

extern const struct context_table history_contexts;
extern const char *const history_origins[HISTORY_LOGS];

struct history_entry {
    struct entry entry; /* borrows from here */
    char context[HISTORY_NAME_BYTES];
    char partition[HISTORY_NAME_BYTES];
    char stream[HISTORY_NAME_BYTES];
    char type[32];
    uint8_t causation_id[ENTRY_ID_SIZE];
    struct buf payload;
    uint64_t fingerprint;
};

struct history_actor {
    size_t log; /* own */
    size_t seen[HISTORY_LOGS];
    struct authority_table table;
};

struct history {
    struct prng prng;
    uint64_t seed;
    hlc clock;
    uint64_t control_ids;
    struct history_actor actors[HISTORY_ACTORS];
    size_t counts[HISTORY_LOGS];
    struct history_entry *entries[HISTORY_LOGS];
};

void history_make(struct history *history, uint64_t seed, size_t steps);
void history_free(struct history *history);

struct origin history_origin(size_t log);
void history_id(uint64_t number, uint8_t ret[ENTRY_ID_SIZE]);

/* An entry as the index takes it. */
struct index_entry history_item(const struct history *history, size_t log, size_t index);
/* The authority that follows from the first sizes[i] entries of each log. */
void history_authority(const struct history *history, const size_t sizes[HISTORY_LOGS], struct authority_table *table);
/* control_stands_alone */
bool history_stands_alone(const struct history *history, size_t log, size_t index);

/* Checks every answer of an index that has applied sizes[i] entries of each log. */
void history_check(const struct history *history, struct index *index, const size_t sizes[HISTORY_LOGS]);

#endif
