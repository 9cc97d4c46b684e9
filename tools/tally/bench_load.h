/* The requests that `tally bench` sends, prepared so that sending costs next to nothing: client and server often share
 * the machine that is being measured.
 *
 * A request is encoded once, with every name, number and payload of a fixed width; before each use only ids, stream
 * numbers and the first bytes of each payload are written over. Answers are looked at on the wire, without decoding
 * them into objects: that all events are there, which were duplicates, and whether it is a refusal. */
#ifndef TALLY_BENCH_LOAD_H
#define TALLY_BENCH_LOAD_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/prng.h"

#define BENCH_STREAM_PREFIX "bench-"

struct load_shape {
    const char *context;
    const char *partition;
    const char *stream; /* NULL: BENCH_STREAM_PREFIX and a number below streams */
    size_t events;      /* of a request */
    size_t payload_bytes;
    uint64_t streams;
};

struct load;

/* The load's ids and payloads follow from the seed and the clock. ERR_TOO_LARGE (past what one request may hold),
 * ERR_NO_MEMORY. */
int load_new(const struct load_shape *shape, uint64_t seed, struct load **ret, struct err *err) MUST_USE;
void load_free(struct load *load);

/* The next request: new ids, the next streams in turn. Valid until the next call. */
struct bytes load_next(struct load *load, uint64_t unix_ms);
/* The same for a request of one event whose payload begins with `stamp`, little-endian. */
struct bytes load_stamped(struct load *load, uint64_t unix_ms, uint64_t stamp);

struct load_answer {
    size_t results;
    size_t duplicates;
    bool refused;
    int code;            /* of the refusal */
    struct bytes reason; /* borrows from the answer */
};
/* ERR_CORRUPT when it is not an AppendResponse. */
int load_check_answer(struct bytes answer, struct load_answer *ret, struct err *err) MUST_USE;

struct load_page {
    size_t events;
    uint64_t first_index; /* of the entries, when there are any */
    uint64_t last_index;
    bool consecutive; /* each index follows the one before it */
    bool caught_up;
    struct bytes last_payload;
};
/* A ReadResponse. ERR_CORRUPT when it is none. */
int load_check_page(struct bytes page, struct load_page *ret, struct err *err) MUST_USE;

#endif
