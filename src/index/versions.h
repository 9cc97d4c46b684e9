/* The versions of a stream: which entries have them, and where those are. Private to src/index.
 *
 * VERSIONS_A_KEY versions share a key of the store, whose value is a list of what was said about them: this entry has
 * the version, or has it no more. What is new is appended without looking; who reads takes the last word about each
 * entry. So adding costs no look-up, taking away needs no knowledge of the others, and both may be done again. */
#ifndef INDEX_VERSIONS_H
#define INDEX_VERSIONS_H

#include "index/index_internal.h"

enum {
    VERSIONS_A_KEY = 64,
    VERSIONS_MAX_BYTES = 16 * 1024 * 1024, /* of a list, so that one of a hostile log is no way to fill the memory */
};

/* The key of the list that is about that version. */
struct bytes versions_list_key(struct key *key, struct bytes context, struct bytes stream, uint64_t version);

/* An entry and its place in a stream. */
struct version {
    uint64_t version;
    hlc time;
    struct index_place place;
};

/* In the store's open batch. Errors of store_append. */
int versions_add(struct index *index, struct bytes context, struct bytes stream, const struct version *version,
                 struct err *err) MUST_USE;
int versions_remove(struct index *index, struct bytes context, struct bytes stream, const struct version *version,
                    struct err *err) MUST_USE;

/* Visits from `from` upwards to `last`, or downwards to `last`: each version that an entry has, and of several entries
 * the one that is first in order. Answers like a store_walk_fn's. */
typedef int versions_fn(void *context, const struct version *version);
/* ERR_CORRUPT for what no one wrote; ERR_TOO_LARGE past VERSIONS_MAX_BYTES; errors of the store. */
int versions_walk(struct index *index, const struct store_view *view, struct bytes context, struct bytes stream,
                  uint64_t from, uint64_t last, versions_fn *each, void *each_context, struct err *err) MUST_USE;

/* The highest version at or below `from` that an entry has: false in *ret_found when there is none. Lists past
 * VERSIONS_MAX_BYTES are passed over, so that a hostile log cannot stop whoever applies it. Other errors of
 * versions_walk. */
int versions_highest(struct index *index, const struct store_view *view, struct bytes context, struct bytes stream,
                     uint64_t from, struct version *ret, bool *ret_found, struct err *err) MUST_USE;

#endif
