/* Drift: regions compare what they derived from the logs, for equal positions must give equal contents. A subject is a
 * projection, by its name, or the queue of late events, by the name DRIFT_LATE_EVENTS.
 *
 * Two regions seldom stand at one position of their own accord, so they meet: one holds where it is and says so; the
 * other goes on to there and holds, or, when it is past that in some log, names the first position that both can still
 * reach (drift_meet), and both go there. What is held is let go after a moment, whatever becomes of the other side.
 *
 * Here are the pure parts: where to meet, and the verdicts. */
#ifndef PROJECTION_DRIFT_H
#define PROJECTION_DRIFT_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/sha256.h"
#include "domain/position.h"

#define DRIFT_LATE_EVENTS "late events"
enum {
    DRIFT_VERDICTS_MAX = 1100, /* more than projections and their peers */
    DRIFT_NAME_MAX_BYTES = 63,
    DRIFT_POSITION_MAX_BYTES = 511, /* of its text: cut off behind that */
};

/* The first position at or past both. ERR_TOO_LARGE when it has too many logs. */
int drift_meet(const struct position *a, const struct position *b, struct position *ret) MUST_USE;

/* What the last comparison of a subject with a region found. */
struct drift_verdict {
    char subject[DRIFT_NAME_MAX_BYTES + 1];
    char region[DRIFT_NAME_MAX_BYTES + 1];
    bool differs;
    uint64_t comparisons; /* made so far */
    char position[DRIFT_POSITION_MAX_BYTES + 1];
    char ours[2 * HASH_SIZE + 1];
    char theirs[2 * HASH_SIZE + 1];
};

struct drift_table {
    size_t count;
    struct drift_verdict verdicts[DRIFT_VERDICTS_MAX];
};

enum drift_news { DRIFT_NOTHING_NEW, DRIFT_BEGAN, DRIFT_ENDED };

/* Keeps what a comparison at `position` found, and says whether it is news. Names of at most DRIFT_NAME_MAX_BYTES. A
 * verdict that finds no room is not kept, and is news each time it differs. */
enum drift_news drift_record(struct drift_table *table, const char *subject, const char *region,
                             const struct position *position, const struct hash *ours, const struct hash *theirs);
/* Copies up to `max` verdicts of a subject (NULL: of all), those that differ first; returns how many. */
size_t drift_list(const struct drift_table *table, const char *subject, struct drift_verdict *ret, size_t max);

#endif
