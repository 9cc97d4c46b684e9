/* The rules of ownership that one log can be held to by itself: promise 3 of the store, "one writer per partition per
 * epoch", as far as one copy shows it.
 *
 * Rules: every entry carries an epoch from 1 (the entry's own format), and within one log the epoch of a partition
 * never falls. Control entries are counted; what they say is not interpreted here.
 *
 * A summary is what one thread saw of one partition in a stretch of entries; summaries of consecutive stretches are
 * taken in order. So the threads share nothing, and the order is that of the log. */
#ifndef VERIFY_EPOCHS_H
#define VERIFY_EPOCHS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "entry/entry.h"

enum {
    EPOCHS_PARTITIONS_MAX = 1024 * 1024, /* followed; a log with more is reported as not checked */
    EPOCHS_SLOTS = 256,
};

/* One partition in a stretch. Context and partition are borrowed from the entries. */
struct epochs_summary {
    struct bytes context;
    struct bytes partition;
    uint64_t first_index;
    uint64_t first_epoch;
    uint64_t last_epoch;
};

struct epochs_fault {
    bool found;
    uint64_t index;
    uint64_t epoch;
    uint64_t epoch_before;
    char partition[2 * ENTRY_NAME_MAX_BYTES + 2]; /* context/partition */
};

/* What a thread gathers about a stretch. A partition may have more than one summary, in order. */
struct epochs_stretch {
    struct epochs_summary *summaries; /* owned */
    size_t count;
    size_t capacity;
    uint32_t slots[EPOCHS_SLOTS]; /* by hash of the names: position in summaries + 1, 0 is free */
    uint64_t control_count;
    struct epochs_fault fault; /* the first in this stretch */
};

/* The whole log so far. */
struct epochs {
    struct map latest; /* context NUL partition -> the latest epoch */
    bool overflowed;
    uint64_t control_count;
    struct epochs_fault fault; /* the first */
};

/* Starts a new stretch in memory that may hold an old one; zeros are fine. */
void epochs_stretch_begin(struct epochs_stretch *stretch);
void epochs_stretch_free(struct epochs_stretch *stretch);
/* entry must stay valid until the stretch is taken. ERR_NO_MEMORY. */
int epochs_stretch_add(struct epochs_stretch *stretch, const struct entry *entry, struct err *err) MUST_USE;

void epochs_init(struct epochs *epochs);
void epochs_free(struct epochs *epochs);
/* The next stretch of the log. ERR_NO_MEMORY. */
int epochs_take(struct epochs *epochs, const struct epochs_stretch *stretch, struct err *err) MUST_USE;

#endif
