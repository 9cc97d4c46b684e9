/* Which keys come twice, among more keys than fit into memory.
 *
 * The caller goes through all its keys again and again, and gives every one to unique_add, in the same way each time.
 * The first pass marks each key in a filter; a key whose marks are there already has come before, or looks as if it
 * had, and becomes a candidate. If there are any, the second pass looks at candidates only, and compares them exactly.
 * With as many keys as the filter is made for, hardly any key becomes a candidate by chance, and without repetitions
 * one pass is mostly all. When there are more keys, or more candidates than there is room for, each pass takes a range
 * of hashes, and the next range comes after it. So memory is fixed, nothing is written to any disk, and time grows as
 * the keys do, up to some fifty million of them, and by two passes for each fifty million more.
 *
 * Hashes for the filter are keyed with a seed that whoever made the keys does not know: else he could make keys that
 * look alike, and time grow. What is told to be equal is equal in 16 bytes of SHA-256. */
#ifndef VERIFY_UNIQUE_H
#define VERIFY_UNIQUE_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/sha256.h"

enum { UNIQUE_KEY_BYTES = 16, UNIQUE_SEED_BYTES = 16, UNIQUE_LINE_BITS = 512 };

/* How much is held at once. */
struct unique_room {
    size_t lines;      /* of the filter, of UNIQUE_LINE_BITS; a power of two */
    size_t candidates; /* at least 2 */
    size_t records;    /* at least 1; more than candidates are enough, but for different keys with one 64-bit hash */
};
/* 64 MiB of filter, and 28 MiB. */
extern const struct unique_room unique_room_default;

struct unique_record {
    uint8_t key[UNIQUE_KEY_BYTES];
    uint64_t place; /* the caller's; the order of places is the order in which keys came */
};

/* Two places have one key; first is its first place, and second a later one. Called once for each later place. */
typedef int unique_twice_fn(void *context, uint64_t first, uint64_t second, struct err *err);

struct unique {
    struct unique_room room;
    uint8_t seed[UNIQUE_SEED_BYTES];
    struct sha256 *sha;
    uint64_t *filter;     /* lines, owned */
    uint64_t *candidates; /* hashes; in the second pass in order, each once */
    size_t candidate_count;
    struct unique_record *records;
    size_t record_count;
    bool matching;  /* the second pass of a range */
    uint64_t begin; /* the range */
    uint64_t last;  /* inclusive */
    uint64_t width; /* of the next range, less one */
    unique_twice_fn *twice;
    void *context;
};

/* keys_expected: how many keys a pass will have; for speed only. unique_free in any case. ERR_NO_MEMORY. */
int unique_init(struct unique *ret, const struct unique_room *room, const uint8_t seed[UNIQUE_SEED_BYTES],
                uint64_t keys_expected, unique_twice_fn *twice, void *context, struct err *err) MUST_USE;
void unique_free(struct unique *unique);
/* In order of places. Returns what `twice` returned; ERR_TOO_LARGE when there is no room for records. */
int unique_add(struct unique *unique, struct bytes key, uint64_t place, struct err *err) MUST_USE;
/* Ends a pass: *ret_more says whether there must be another. Returns what `twice` returned, 0 else. */
int unique_end(struct unique *unique, bool *ret_more, struct err *err) MUST_USE;

#endif
