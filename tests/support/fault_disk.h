/* A disk in front of another one, which fails on command. Two ways to say what fails:
 *  - by kind: the n-th durable operation of a kind fails, and then every durable one does, as on a machine that lost
 * its disk. What the failing write leaves behind is chosen: nothing, or its first bytes, as a torn write would.
 *  - by number: of all operations, reads and openings included, call number numbered.fail_call fails, alone or with
 * everything after it. A write that fails in this way leaves its first half behind: nothing may be concluded from it.
 * It counts open files too, so that one that was forgotten shows. One thread. */
#ifndef SUPPORT_FAULT_DISK_H
#define SUPPORT_FAULT_DISK_H

#include "platform/disk.h"

enum fault_operation {
    FAULT_WRITE,
    FAULT_SYNC,
    FAULT_ALLOCATE,
    FAULT_TRUNCATE,
    FAULT_RENAME,
    FAULT_SYNC_DIR,
    FAULT_KINDS
};

/* Calls of one kind, of which one fails, or all from one on. */
struct fault_calls {
    uint64_t calls;
    uint64_t fail_call; /* counted from 1; 0: never */
    bool fail_after;    /* and every call after it */
    uint64_t injected;
};

/* Counts one call, and says whether it fails. */
static inline bool fault_calls_next(struct fault_calls *calls)
{
    uint64_t call = ++calls->calls;
    bool now = calls->fail_call != 0 && (call == calls->fail_call || (calls->fail_after && call > calls->fail_call));
    calls->injected += now ? 1 : 0;
    return now;
}

struct fault_disk {
    struct disk disk; /* first */
    struct disk *inner;
    uint64_t done[FAULT_KINDS];
    uint64_t fail_at[FAULT_KINDS]; /* counted from 1; 0: never */
    bool crashed;                  /* after a failure by kind every durable operation fails */
    size_t torn_bytes;             /* how much of the write that fails by kind reaches the file */

    struct fault_calls numbered;
    size_t open_files;
    uint64_t reserve_max_bytes; /* disk_allocate makes files no longer than this; 0: no limit */
};

void fault_disk_init(struct fault_disk *fault, struct disk *inner);

#endif
