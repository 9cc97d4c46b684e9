/* One writer and four readers on one log, under ThreadSanitizer: readers that chase the durable end, across segments,
 * in memory and in files, see every entry once and in order, and nothing that is not durable. A program of its own,
 * because Criterion does not start under ThreadSanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/assert.h"
#include "log/log.h"
#include "platform/clock.h"
#include "support/files.h"

#define ORIGIN "demo/eu/1"

enum { READERS = 4, BLOCKS = 300, ENTRIES_A_BLOCK = 4, PAYLOAD_BYTES = 30000, TOTAL = BLOCKS * ENTRIES_A_BLOCK };

static struct log *shared;
static atomic_bool writer_done;

static void make_entry(struct chain *chain, struct sha256 *sha, struct block *block, struct bytes payload)
{
    struct buf encoded;
    struct frame frame = {.payload = payload, .has_payload = true};
    struct entry entry = {
        .index = chain->range.size,
        .prev = chain->prev,
        .time = chain->last_time + 1,
        .context = BYTES_LITERAL("bank"),
        .partition = BYTES_LITERAL("eu"),
        .stream = BYTES_LITERAL("s"),
        .stream_version = chain->range.size,
        .type = BYTES_LITERAL("Happened"),
        .epoch = 1,
        .payload_commitment = entry_payload_commitment(sha, frame.salt, payload),
        .payload_size_bytes = payload.size_bytes,
    };
    memcpy(entry.log_id, chain->log_id, sizeof(entry.log_id));
    put_u64_le(entry.event_id, entry.index);
    buf_init(&encoded, ENTRY_MAX_BYTES);
    INVARIANT(entry_encode(&entry, &encoded, NULL) == 0);
    frame.entry = buf_bytes(&encoded);
    INVARIANT(block_add(block, &frame, NULL) == 0);
    (void)chain_append(chain, sha, frame.entry, entry.time);
    buf_free(&encoded);
}

static void *write_all(void *context)
{
    static uint8_t payload[PAYLOAD_BYTES];
    struct sha256 *sha = sha256_new();
    struct chain chain;
    (void)context;
    INVARIANT(sha != NULL);
    chain_init(&chain, sha, log_origin(shared));
    for (int i = 0; i < BLOCKS; i++) {
        struct block *block = NULL;
        INVARIANT(block_new(chain.range.size, chain.log_id, &block, NULL) == 0);
        for (int e = 0; e < ENTRIES_A_BLOCK; e++)
            make_entry(&chain, sha, block, bytes_of(payload, sizeof(payload)));
        block_seal(block);
        INVARIANT(log_append(shared, &block, 1, NULL) == 0);
        block_release(block);
    }
    sha256_free(sha);
    atomic_store(&writer_done, true);
    return NULL;
}

static void *chase(void *context)
{
    struct log_cursor *cursor = NULL;
    uint64_t next = 0;
    (void)context;
    INVARIANT(log_cursor_open(shared, 0, &cursor, NULL) == 0);
    while (next < TOTAL) {
        struct block *block = NULL;
        bool last_look = atomic_load(&writer_done);
        int code = log_cursor_next(cursor, &block, NULL);
        if (code == ERR_END) {
            INVARIANT(!last_look);
            clock_sleep_ms(1);
            continue;
        }
        INVARIANT(code == 0);
        INVARIANT(block->first_index == next);
        next += block->entry_count;
        INVARIANT(next <= log_durable_size(shared));
        block_release(block);
    }
    log_cursor_close(cursor);
    return NULL;
}

static void *look_up(void *context)
{
    uint64_t step = 1;
    (void)context;
    while (!atomic_load(&writer_done)) {
        uint64_t size = log_durable_size(shared);
        struct block *block = NULL;
        struct bytes frame;
        step = step * 7 + 3;
        if (size == 0)
            continue;
        INVARIANT(log_read_block(shared, step % size, &block, NULL) == 0);
        INVARIANT(block_find(block, step % size, &frame, NULL) == 0);
        block_release(block);
    }
    return NULL;
}

int main(void)
{
    const struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_MIN_BYTES,
                                        .tail_size_bytes = 1024 * 1024};
    char folder[FILES_PATH_MAX];
    char log_folder[FILES_PATH_MAX];
    struct log_recovery recovery;
    pthread_t writer;
    pthread_t readers[READERS];
    files_temp_folder(folder);
    files_join(folder, "log", log_folder);
    INVARIANT(log_create(disk_posix(), log_folder, BYTES_LITERAL(ORIGIN), &options, NULL) == 0);
    INVARIANT(log_open(disk_posix(), log_folder, BYTES_LITERAL(ORIGIN), &options, &shared, &recovery, NULL) == 0);
    for (size_t i = 0; i < READERS; i++)
        INVARIANT(pthread_create(&readers[i], NULL, i % 2 == 0 ? chase : look_up, NULL) == 0);
    INVARIANT(pthread_create(&writer, NULL, write_all, NULL) == 0);
    INVARIANT(pthread_join(writer, NULL) == 0);
    for (size_t i = 0; i < READERS; i++)
        INVARIANT(pthread_join(readers[i], NULL) == 0);
    log_close(shared);
    files_remove_folder(folder);
    printf("  TSAN   log: %d entries written under the eyes of %d readers\n", TOTAL, READERS);
    return 0;
}
