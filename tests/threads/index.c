/* A stretch of the index: one thread writes batches, others read them meanwhile without a lock. Of a batch that was
 * committed everything must be seen, and of the one that is being written nothing. */
#include <pthread.h>
#include <stdio.h>

#include "base/assert.h"
#include "index/stretch.h"

enum { BATCHES = 3000, KEYS = 8, READERS = 3 };

static const uint8_t hash_key[16];
static struct stretch *stretch;
static atomic_uint_fast64_t committed;
static atomic_bool done;

/* Half of the keys are found in order, half by hash; each batch also writes a new one. */
static struct bytes key_of(uint64_t number, char text[32])
{
    int size = snprintf(text, 32, "%c%llu", number % 2 == 0 ? 'k' : 'u', (unsigned long long)number);
    return bytes_of(text, (size_t)size);
}

static void write_number(uint64_t batch, enum stretch_kind kind, uint64_t key)
{
    char text[32];
    uint8_t value[8];
    put_u64_le(value, batch);
    INVARIANT(stretch_write(stretch, batch, true, kind, key_of(key, text), bytes_of(value, sizeof(value))) == 0);
}

static const struct stretch_record *find(uint64_t seen, struct bytes key)
{
    uint64_t hash = stretch_hash(hash_key, key);
    stretch_ahead(stretch, &hash, 1);
    return stretch_find(stretch, seen, key, hash);
}

static void check(uint64_t seen)
{
    char text[32];
    for (uint64_t i = 0; i < KEYS; i++) {
        const struct stretch_record *record = find(seen, key_of(i, text));
        INVARIANT(record != NULL && get_u64_le(stretch_value(record).data) == seen);
    }
    INVARIANT(find(seen, key_of(KEYS + seen, text)) != NULL);
    const struct stretch_key *key = stretch_next(stretch, BYTES_LITERAL("k"), BYTES_LITERAL("k"), false, false);
    INVARIANT(key != NULL && bytes_equal(stretch_key_bytes(key), BYTES_LITERAL("k0")));
}

static void *read_on(void *context)
{
    uint64_t *count = context;
    while (!atomic_load(&done)) {
        uint64_t seen = atomic_load_explicit(&committed, memory_order_acquire);
        if (seen == 0)
            continue;
        check(seen);
        (*count)++;
    }
    return NULL;
}

int main(void)
{
    pthread_t readers[READERS];
    uint64_t counts[READERS] = {0};
    stretch = stretch_new(hash_key, "u");
    INVARIANT(stretch != NULL);
    for (size_t i = 0; i < READERS; i++)
        INVARIANT(pthread_create(&readers[i], NULL, read_on, &counts[i]) == 0);
    for (uint64_t batch = 1; batch <= BATCHES; batch++) {
        for (uint64_t i = 0; i < KEYS; i++) {
            write_number(batch, STRETCH_PUT, i);
            write_number(batch, STRETCH_PUT, i); /* over its own */
        }
        write_number(batch, STRETCH_APPEND, KEYS + batch);
        atomic_store_explicit(&committed, batch, memory_order_release);
        if (batch % 7 == 0) {
            write_number(batch + 1, STRETCH_PUT, 0);
            stretch_take_back(stretch, batch + 1);
        }
    }
    atomic_store(&done, true);
    uint64_t total = 0;
    for (size_t i = 0; i < READERS; i++) {
        INVARIANT(pthread_join(readers[i], NULL) == 0);
        total += counts[i];
    }
    stretch_release(stretch);
    INVARIANT(total > 0);
    printf("  TSAN   index: %llu reads of %d batches\n", (unsigned long long)total, BATCHES);
    return 0;
}
