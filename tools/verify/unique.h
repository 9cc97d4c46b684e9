/* Which keys come twice, among more keys than fit into memory.
 *
 * The caller goes through all its keys again and again, and gives every one to unique_add, in the same way each time.
 * A pass keeps those of its range (of hashes), sorts them, and finds the equal ones. When more fall into the range than
 * there is room for, the range is cut short, and a later pass takes the rest. So memory is fixed, nothing is written to
 * any disk, and time is what grows: one pass for each UNIQUE_RECORDS_MAX keys. Keys are compared by the first 16 bytes
 * of their SHA-256; who wants many keys in one range only makes the ranges shorter. */
#ifndef VERIFY_UNIQUE_H
#define VERIFY_UNIQUE_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/sha256.h"

enum { UNIQUE_KEY_BYTES = 16, UNIQUE_RECORDS_MAX = 1024 * 1024 };

struct unique_record {
    uint8_t key[UNIQUE_KEY_BYTES];
    uint64_t place; /* the caller's; the order of places is the order in which keys came */
};

/* Two places have one key; first is its first place, and second a later one. Called once for each later place, in the
 * order of hashes; of a key that alone fills all the room, at least for the second. */
typedef int unique_twice_fn(void *context, uint64_t first, uint64_t second, struct err *err);

struct unique {
    struct unique_record *records; /* owned */
    size_t count;
    size_t capacity;
    uint64_t begin; /* the range of this pass: of the first 8 bytes of keys, big-endian */
    uint64_t last;  /* inclusive */
    uint64_t width; /* of the next pass, less one */
    unique_twice_fn *twice;
    void *context;
};

/* capacity: records held at once, at least 4. ERR_NO_MEMORY. */
int unique_init(struct unique *unique, size_t capacity, unique_twice_fn *twice, void *context,
                struct err *err) MUST_USE;
void unique_free(struct unique *unique);
/* In order of places. ERR_TOO_LARGE when too many different keys have hashes that begin alike. */
int unique_add(struct unique *unique, const struct hash *hash, uint64_t place, struct err *err) MUST_USE;
/* Ends a pass: *ret_more says whether there must be another. Returns what `twice` returned, 0 else. */
int unique_end(struct unique *unique, bool *ret_more, struct err *err) MUST_USE;

#endif
