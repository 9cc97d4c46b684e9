/* The stream heads that were written last, in memory: most look-ups ask for them, and RocksDB takes microseconds to
 * find a key in a memtable.
 *
 * What is found here is what the store holds. The thread that applies writes here what it committed, before it says so
 * (index_sequence); nobody else does, so a reader never puts back what it read before a change. */
#ifndef INDEX_HEADS_H
#define INDEX_HEADS_H

#include <pthread.h>

#include "base/arena.h"
#include "base/map.h"
#include "index/records.h"

enum { HEADS_GENERATION_MAX = 64 * 1024 }; /* two generations of so many streams */

struct heads_generation {
    struct map map; /* head key -> struct head_record in the arena */
    struct arena arena;
};

struct heads {
    pthread_mutex_t mutex;
    struct heads_generation young, old;
    uint8_t hash_key[16]; /* outsiders choose streams */
    size_t generation_max;
};

void heads_init(struct heads *heads, const uint8_t hash_key[16]);
void heads_free(struct heads *heads);
/* Fewer streams a generation than HEADS_GENERATION_MAX, at least 1. Before any is set. */
void heads_limit(struct heads *heads, size_t generation_max);

/* Any thread. False: it may be in the store. */
bool heads_find(struct heads *heads, struct bytes key, struct head_record *ret);
/* The applying thread, after the commit. When memory runs out everything is forgotten. */
void heads_set(struct heads *heads, struct bytes key, const struct head_record *head);
void heads_remove(struct heads *heads, struct bytes key);

#endif
