/* How far a long check has come: on standard error, only when that is a terminal. */
#ifndef VERIFY_PROGRESS_H
#define VERIFY_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool shown;
    bool used;
    const char *unit;
    uint64_t total; /* 0: not known */
    uint64_t done;
    uint64_t bytes;
    uint64_t begin_us;
    uint64_t last_us;
};

/* unit: a plural, such as "entries". */
void progress_begin(struct progress *progress, const char *unit, uint64_t total);
void progress_add(struct progress *progress, uint64_t units, uint64_t bytes);
/* Wipes the line. */
void progress_end(struct progress *progress);

#endif
