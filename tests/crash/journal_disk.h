/* A disk in memory that remembers everything that was done to it, and can be brought back as it may look after the
 * power failed at any moment: what was synced is there, what was not is there or not, each part by itself, and a write
 * under way is torn at sectors.
 *
 * The model is that of platform/disk.h and no kinder: a write to a DISK_DURABLE file is durable when it returns, other
 * writes, allocations and truncations with the next sync of their file, names with the next sync_dir of their folder.
 */
#ifndef TEST_CRASH_JOURNAL_DISK_H
#define TEST_CRASH_JOURNAL_DISK_H

#include "base/prng.h"
#include "platform/disk.h"

/* Faults to plant: the disk lies. */
enum journal_lie {
    JOURNAL_LIE_SYNC = 1,     /* a sync makes nothing durable */
    JOURNAL_LIE_SYNC_DIR = 2, /* nor does that of a folder */
    JOURNAL_LIE_DURABLE = 4,  /* durable writes are cached */
};

struct journal_disk;

struct journal_disk *journal_disk_new(unsigned lies);
void journal_disk_free(struct journal_disk *journal);
/* As a disk; lives as long. One thread. */
struct disk *journal_disk_of(struct journal_disk *journal);
/* Operations so far. */
size_t journal_disk_length(const struct journal_disk *journal);

enum journal_mood { JOURNAL_ALL_LOST, JOURNAL_NOTHING_LOST, JOURNAL_BY_CHANCE };

/* The disk after the power failed once `cut` operations had returned and the next was under way. The caller frees it.
 */
struct journal_disk *journal_disk_cut(const struct journal_disk *journal, size_t cut, enum journal_mood mood,
                                      struct prng *prng);

#endif
