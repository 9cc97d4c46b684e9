/* A position: a vector of log sizes, one per origin, written "eu@1024,us@998" when only regions and first incarnations
 * are meant. The general form of a component is "<region>@<size>" for incarnation 1 and "<region>.<incarnation>@<size>"
 * for later ones, because all logs of a position belong to one cluster. Components are ordered by region, then
 * incarnation; a size of 0 is left out, so the start of everything is the empty text. */
#ifndef DOMAIN_POSITION_H
#define DOMAIN_POSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

enum { POSITION_LOGS_MAX = 64, POSITION_REGION_MAX_BYTES = 63 };

struct position_log {
    char region[POSITION_REGION_MAX_BYTES + 1];
    uint64_t incarnation; /* from 1 */
    uint64_t size;
};

/* Plain data, copy freely. */
struct position {
    size_t count;
    struct position_log logs[POSITION_LOGS_MAX];
};

/* ERR_INVALID when not of the form above, a log is named twice, or sizes are 0; ERR_TOO_LARGE past POSITION_LOGS_MAX.
 */
int position_parse(struct bytes text, struct position *ret, struct err *err) MUST_USE;
/* Appends the text (canonical order). */
int position_format(const struct position *position, struct buf *out) MUST_USE;
/* Whether text, from which position was parsed, is just what position_format writes. No allocation: whether an event
 * counts must not depend on memory. */
bool position_is_canonical(struct bytes text, const struct position *position);
/* 0 when the log is not named. */
uint64_t position_get(const struct position *position, const char *region, uint64_t incarnation);
/* Sets one component, keeping order; size 0 removes it. ERR_TOO_LARGE. */
int position_set(struct position *position, const char *region, uint64_t incarnation, uint64_t size) MUST_USE;
/* Whether every component of `wanted` is reached by `held`. */
bool position_covers(const struct position *held, const struct position *wanted);
bool position_equal(const struct position *a, const struct position *b);

/* An origin "<cluster>/<region>/<incarnation>" taken apart. ERR_INVALID per entry_check_origin. */
struct origin {
    char cluster[64];
    char region[POSITION_REGION_MAX_BYTES + 1];
    uint64_t incarnation;
};
int origin_parse(struct bytes text, struct origin *ret, struct err *err) MUST_USE;
/* out holds 256 bytes. */
void origin_format(const struct origin *origin, char *out);

#endif
