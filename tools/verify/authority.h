/* The rules of ownership that one log can be held to by itself: promise 3 of the store, "one writer per partition per
 * epoch", as far as one copy shows it.
 *
 * Rules: every entry carries an epoch from 1 (the entry's own format), and within one log the epoch of a partition
 * never falls. Control entries are counted; what they say is not interpreted here.
 *
 * A summary is what one thread saw of one partition in a stretch of entries; summaries of consecutive stretches are
 * taken in order. So the threads share nothing, and the order is that of the log. */
#ifndef VERIFY_AUTHORITY_H
#define VERIFY_AUTHORITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "entry/entry.h"

enum {
    AUTHORITY_PARTITIONS_MAX = 1024 * 1024, /* followed; a log with more is reported as not checked */
    AUTHORITY_SLOTS = 256,
};

/* One partition in a stretch. Context and partition are borrowed from the entries. */
struct authority_summary {
    struct bytes context;
    struct bytes partition;
    uint64_t first_index;
    uint64_t first_epoch;
    uint64_t last_epoch;
};

struct authority_fault {
    bool found;
    uint64_t index;
    uint64_t epoch;
    uint64_t epoch_before;
    char partition[2 * ENTRY_NAME_MAX_BYTES + 2]; /* context/partition */
};

/* What a thread gathers about a stretch. A partition may have more than one summary, in order. */
struct authority_stretch {
    struct authority_summary *summaries; /* owned */
    size_t count;
    size_t capacity;
    uint32_t slots[AUTHORITY_SLOTS]; /* by hash of the names: position in summaries + 1, 0 is free */
    uint64_t control_count;
    struct authority_fault fault; /* the first in this stretch */
};

/* The whole log so far. */
struct authority {
    struct map epochs; /* context NUL partition -> the latest epoch */
    bool overflowed;
    uint64_t control_count;
    struct authority_fault fault; /* the first */
};

/* Starts a new stretch in memory that may hold an old one; zeros are fine. */
void authority_stretch_begin(struct authority_stretch *stretch);
void authority_stretch_free(struct authority_stretch *stretch);
/* entry must stay valid until the stretch is taken. ERR_NO_MEMORY. */
int authority_stretch_add(struct authority_stretch *stretch, const struct entry *entry, struct err *err) MUST_USE;

void authority_init(struct authority *authority);
void authority_free(struct authority *authority);
/* The next stretch of the log. ERR_NO_MEMORY. */
int authority_take(struct authority *authority, const struct authority_stretch *stretch, struct err *err) MUST_USE;

#endif
