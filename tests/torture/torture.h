/* Enumeration of failures: a scenario is run once without faults, which counts its allocations, its calls to the disk
 * and to libraries, and then again for each of them: that one fails, and in a second pass that one and every one after
 * it. After each failed run the scenario is opened again without faults and must find all that was acknowledged.
 *
 * What is checked at every point by torture.c: that the fault was met, that nothing allocated and no file is left over,
 * that a run that reports success has the same result as the good run. What is checked by the scenario: that nothing
 * acknowledged is lost, and that the work can be finished afterwards with the same result.
 *
 * Memory: base/mem.h's functions are replaced at link time (--wrap) by ones that count and fail; what libraries
 * allocate themselves is not ours to fail. Disk: disk_posix() is replaced in the same way by a fault_disk in front of
 * the real one. One thread. */
#ifndef TORTURE_TORTURE_H
#define TORTURE_TORTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/sha256.h"
#include "platform/disk.h"
#include "support/fault_disk.h"

enum { TORTURE_DISK_RESERVE_BYTES = 64 * 1024 }; /* of files written ahead: a smaller log has fewer points */

/* How a run ended. */
enum torture_outcome {
    TORTURE_REPORTED,  /* it gave up and said so */
    TORTURE_RECOVERED, /* a failure was reported on the way, and the run went on and did all its work */
    TORTURE_DONE,      /* all its work, nothing was reported */
};

struct torture_scenario {
    const char *name;
    /* Once, before all runs, without faults: what runs start from. `folder` stays until the end; *shared is handed to
     * the others. */
    void (*prepare)(const char *folder);
    /* One run in a fresh, empty folder. Fills *ret_result with everything that an outsider can see of its success:
     * compared with the good run unless the outcome is TORTURE_REPORTED. */
    enum torture_outcome (*run)(const char *folder, struct hash *ret_result);
    /* After the run, without faults, in the same folder. Dies through TORTURE_CHECK. */
    void (*check)(const char *folder);
    void (*finish)(void);
};

/* A broken expectation: says what, at which point, and how to run that point alone; then aborts. */
#define TORTURE_CHECK(condition, ...)                                                                                  \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            torture_die(__FILE__, __LINE__, #condition, __VA_ARGS__);                                                  \
    } while (0)
_Noreturn void torture_die(const char *file, int line, const char *condition, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* The arguments: none for every point, or "memory|disk|library once|on <number>" for one. Returns the exit code. */
int torture_main(const struct torture_scenario *scenario, int argc, char **argv);

/* Adds to a result: the digest of everything that was added, in order. */
void torture_add(struct hash *result, struct bytes bytes);
void torture_add_number(struct hash *result, uint64_t number);

extern struct fault_calls torture_memory;  /* of base/mem.h */
extern int64_t torture_live_allocations;   /* made through base/mem.h and not freed */
extern struct fault_calls torture_library; /* of RocksDB, and of SQLite on its files */
void torture_libraries_init(void);
extern struct fault_disk torture_disk;

#endif
