/* A disk in memory that keeps the contract of platform/disk.h and no more than that: what was not synced may be gone
 * after a power failure, whole or by sectors; names that were not synced with their folder may be gone or back; a write
 * that was under way may have happened in part. One seed, one behaviour. */
#ifndef SIM_SIM_DISK_H
#define SIM_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "platform/disk.h"

enum { SIM_DISK_SECTOR_BYTES = 512, SIM_DISK_NEVER = 0 };

struct sim_disk;

/* What goes wrong, in chances out of a million for each operation. */
struct sim_disk_faults {
    uint32_t write_error_ppm;
    uint32_t sync_error_ppm;
    uint64_t full_at_bytes; /* UINT64_MAX: never */
};

/* What happened so far. */
struct sim_disk_counts {
    uint64_t operations;
    uint64_t write_errors;
    uint64_t sync_errors;
    uint64_t full;
    uint64_t torn_writes;
    uint64_t lost_sectors;
    uint64_t lost_names;
};

struct sim_disk *sim_disk_new(uint64_t seed);
void sim_disk_free(struct sim_disk *disk);
struct disk *sim_disk_seam(struct sim_disk *disk);

void sim_disk_set_faults(struct sim_disk *disk, const struct sim_disk_faults *faults);
const struct sim_disk_counts *sim_disk_counts(const struct sim_disk *disk);

/* The operation number `at` from now (1 = the next one that changes something) is cut short, and every one after it
 * fails, until sim_disk_restart. SIM_DISK_NEVER switches it off. */
void sim_disk_stop_at(struct sim_disk *disk, uint64_t at);
bool sim_disk_stopped(const struct sim_disk *disk);

/* The process using it is gone: open files are forgotten. power_lost: what was not synced is lost at random. */
void sim_disk_restart(struct sim_disk *disk, bool power_lost);
/* Everything is gone. No file may be open. */
void sim_disk_erase(struct sim_disk *disk);

/* Flips one bit of a file's stable bytes below size_bytes; false when there is no such file. */
bool sim_disk_rot(struct sim_disk *disk, const char *path, uint64_t offset, unsigned bit);
/* Puts a copy of a file of another disk in the place of this one's: an operator's repair. */
void sim_disk_copy_file(struct sim_disk *to, const char *to_path, struct sim_disk *from, const char *from_path);

#endif
