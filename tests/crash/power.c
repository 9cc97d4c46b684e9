/* The power fails: a log is written on a disk that remembers (journal_disk.h), then every moment between two operations
 * is tried, each with what was not synced lost, kept, or mixed. Whatever was acknowledged before must be there,
 * unchanged; the log must open by itself, take appends, and open again.
 *
 * To show that the test can fail, it is also run on disks that lie about syncs; there it must find a loss.
 *
 *   power [SEED [ROUNDS]]    ROUNDS mixtures for each moment */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/note.h"
#include "journal_disk.h"
#include "log/log.h"

#define ORIGIN "demo/eu/1"
#define FOLDER "/data/logs/eu-1"

enum { ROUNDS = 12, ENTRIES_A_BLOCK = 2, PAYLOAD_BYTES = 1000 * 1000, PROMISES_MAX = 64 };
/* Small blocks that go into one write. */
enum { TOGETHER = 3, SMALL_PAYLOAD_BYTES = 200, ENTRIES_MAX = ROUNDS * (ENTRIES_A_BLOCK + TOGETHER) };

/* Once this many operations had returned, this was promised. */
struct promise {
    size_t after;
    bool created;
    uint64_t size;
    uint64_t checkpoint_size;
};

struct run {
    struct journal_disk *journal;
    struct sha256 *sha;
    struct chain chain;
    struct hash leaves[ENTRIES_MAX];
    struct promise promises[PROMISES_MAX];
    size_t promise_count;
    struct note_signer signer;
    uint64_t tried;
    uint64_t broken;
};

static const struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_MIN_BYTES, .tail_size_bytes = 4096};

static struct block *make_block(struct chain *chain, struct sha256 *sha, uint32_t entry_count, size_t payload_size,
                                struct hash *leaves)
{
    static uint8_t payload[PAYLOAD_BYTES];
    struct block *block = NULL;
    INVARIANT(block_new(chain->range.size, chain->log_id, &block, NULL) == 0);
    for (uint32_t i = 0; i < entry_count; i++) {
        struct buf encoded;
        struct frame frame = {.has_payload = true};
        memset(payload, (int)chain->range.size + 1, sizeof(payload));
        frame.payload = bytes_of(payload, payload_size);
        struct entry entry = {.index = chain->range.size,
                              .prev = chain->prev,
                              .time = chain->last_time + 1,
                              .context = BYTES_LITERAL("bank"),
                              .partition = BYTES_LITERAL("eu"),
                              .stream = BYTES_LITERAL("s"),
                              .stream_version = chain->range.size,
                              .type = BYTES_LITERAL("Happened"),
                              .epoch = 1,
                              .payload_commitment = entry_payload_commitment(sha, frame.salt, frame.payload),
                              .payload_size_bytes = payload_size};
        memcpy(entry.log_id, chain->log_id, sizeof(entry.log_id));
        put_u64_le(entry.event_id, entry.index);
        buf_init(&encoded, ENTRY_MAX_BYTES);
        INVARIANT(entry_encode(&entry, &encoded, NULL) == 0);
        frame.entry = buf_bytes(&encoded);
        INVARIANT(block_add(block, &frame, NULL) == 0);
        struct hash leaf = chain_append(chain, sha, frame.entry, entry.time);
        if (leaves != NULL)
            leaves[entry.index] = leaf;
        buf_free(&encoded);
    }
    block_seal(block);
    return block;
}

/* --- The run that is remembered --- */

static void promise(struct run *run, uint64_t size, uint64_t checkpoint_size)
{
    INVARIANT(run->promise_count < PROMISES_MAX);
    run->promises[run->promise_count++] = (struct promise){
        .after = journal_disk_length(run->journal), .created = true, .size = size, .checkpoint_size = checkpoint_size};
}

static uint64_t sign(struct run *run, struct log *log)
{
    struct checkpoint checkpoint = {.size = run->chain.range.size,
                                    .root = merkle_range_root(&run->chain.range, run->sha)};
    struct buf note;
    buf_init(&note, NOTE_MAX_BYTES);
    memcpy(checkpoint.origin, ORIGIN, sizeof(ORIGIN));
    INVARIANT(checkpoint_sign(&checkpoint, &run->signer, &note, NULL) == 0);
    INVARIANT(log_save_checkpoint(log, buf_bytes(&note), false, NULL) == 0);
    INVARIANT(log_save_checkpoint(log, buf_bytes(&note), true, NULL) == 0);
    buf_free(&note);
    return checkpoint.size;
}

static void append_together(struct run *run, struct log *log)
{
    struct block *blocks[TOGETHER];
    for (size_t i = 0; i < TOGETHER; i++)
        blocks[i] = make_block(&run->chain, run->sha, 1, SMALL_PAYLOAD_BYTES, run->leaves);
    INVARIANT(log_append(log, blocks, TOGETHER, NULL) == 0);
    for (size_t i = 0; i < TOGETHER; i++)
        block_release(blocks[i]);
}

/* Creates, appends, signs now and then; segments fill up and are sealed on the way. */
static void write_log(struct run *run)
{
    struct disk *disk = journal_disk_of(run->journal);
    struct log *log = NULL;
    struct log_recovery recovery;
    uint64_t signed_size = 0;
    INVARIANT(log_create(disk, FOLDER, BYTES_LITERAL(ORIGIN), &options, NULL) == 0);
    INVARIANT(log_open(disk, FOLDER, BYTES_LITERAL(ORIGIN), &options, &log, &recovery, NULL) == 0);
    promise(run, 0, 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct block *block = make_block(&run->chain, run->sha, ENTRIES_A_BLOCK, PAYLOAD_BYTES, run->leaves);
        INVARIANT(log_append(log, &block, 1, NULL) == 0);
        block_release(block);
        promise(run, run->chain.range.size, signed_size);
        append_together(run, log);
        promise(run, run->chain.range.size, signed_size);
        if (i % 3 == 2) {
            signed_size = sign(run, log);
            promise(run, run->chain.range.size, signed_size);
        }
    }
    log_close(log);
}

/* --- Every moment --- */

static struct promise promised_at(const struct run *run, size_t cut)
{
    struct promise latest = {.after = 0};
    for (size_t i = 0; i < run->promise_count; i++) {
        if (run->promises[i].after <= cut)
            latest = run->promises[i];
    }
    return latest;
}

/* Reads everything and compares leaf by leaf; moves *chain to the end. */
static bool entries_match(struct run *run, struct log *log, struct chain *chain, struct err *err)
{
    struct log_cursor *cursor = NULL;
    struct block *block = NULL;
    int code = log_cursor_open(log, 0, &cursor, err);
    while (code == 0 && (code = log_cursor_next(cursor, &block, err)) == 0) {
        code = chain_check_block(chain, run->sha, block_body(block), block->entry_count, NULL, NULL, NULL, err);
        block_release(block);
        if (code == 0 && !hash_equal(&chain->prev, &run->leaves[chain->range.size - 1]))
            code = err_set(err, ERR_CORRUPT, "entry %llu is another one", (unsigned long long)chain->range.size - 1);
    }
    log_cursor_close(cursor);
    return code == ERR_END;
}

static bool note_holds(struct log *log, uint64_t least, struct err *err)
{
    struct buf text;
    struct note *note = mem_alloc(sizeof(*note));
    struct checkpoint checkpoint = {.size = 0};
    buf_init(&text, NOTE_MAX_BYTES);
    int code = log_load_checkpoint(log, false, &text, err);
    if (code == 0)
        code = note_parse(buf_bytes(&text), note, err);
    if (code == 0)
        code = checkpoint_parse(note->text, &checkpoint, err);
    buf_free(&text);
    mem_free(note);
    if (code == ERR_NOT_FOUND)
        code = 0;
    return code == 0 && checkpoint.size >= least && checkpoint.size <= log_durable_size(log);
}

static bool takes_appends(struct run *run, struct disk *disk, struct log **log, struct chain *chain, struct err *err)
{
    struct log_recovery recovery;
    struct block *block = make_block(chain, run->sha, 1, PAYLOAD_BYTES, NULL);
    int code = log_append(*log, &block, 1, err);
    block_release(block);
    log_close(*log);
    *log = NULL;
    if (code == 0)
        code = log_open(disk, FOLDER, BYTES_LITERAL(ORIGIN), &options, log, &recovery, err);
    return code == 0 && log_durable_size(*log) == chain->range.size;
}

static bool survives(struct run *run, struct journal_disk *after, const struct promise *promised, struct err *err)
{
    struct disk *disk = journal_disk_of(after);
    struct log *log = NULL;
    struct log_recovery recovery;
    struct chain chain;
    int code = log_open(disk, FOLDER, BYTES_LITERAL(ORIGIN), &options, &log, &recovery, err);
    if (code == ERR_NOT_FOUND && !promised->created)
        return true;
    if (code != 0)
        return false;
    chain_init(&chain, run->sha, BYTES_LITERAL(ORIGIN));
    bool good = log_durable_size(log) >= promised->size && entries_match(run, log, &chain, err) &&
                note_holds(log, promised->checkpoint_size, err) && takes_appends(run, disk, &log, &chain, err);
    if (!good && err->message[0] == '\0')
        err_set(err, ERR_CORRUPT, "%llu entries are there", (unsigned long long)recovery.size);
    log_close(log);
    return good;
}

static void try_cut(struct run *run, size_t cut, enum journal_mood mood, struct prng *prng, bool expected)
{
    struct promise promised = promised_at(run, cut);
    struct err err = {0};
    struct journal_disk *after = journal_disk_cut(run->journal, cut, mood, prng);
    run->tried++;
    if (!survives(run, after, &promised, &err)) {
        run->broken++;
        if (expected)
            fprintf(stderr, "power: after %zu operations, with %llu entries acknowledged: %s\n", cut,
                    (unsigned long long)promised.size, err.message);
    }
    journal_disk_free(after);
}

/* Returns how many moments lost something. */
static uint64_t run_all(unsigned lies, uint64_t seed, int rounds)
{
    static const uint8_t key_seed[32] = {1};
    struct run *run = mem_alloc_zero(1, sizeof(*run));
    struct prng prng;
    INVARIANT(run != NULL);
    prng_seed(&prng, seed);
    run->sha = sha256_new();
    run->journal = journal_disk_new(lies);
    INVARIANT(note_signer_from_seed(ORIGIN, NOTE_KEY_ED25519, key_seed, &run->signer, NULL) == 0);
    chain_init(&run->chain, run->sha, BYTES_LITERAL(ORIGIN));
    write_log(run);
    for (size_t cut = 0; cut <= journal_disk_length(run->journal) && (lies == 0 || run->broken == 0); cut++) {
        try_cut(run, cut, JOURNAL_ALL_LOST, &prng, lies == 0);
        try_cut(run, cut, JOURNAL_NOTHING_LOST, &prng, lies == 0);
        for (int i = 0; i < rounds; i++)
            try_cut(run, cut, JOURNAL_BY_CHANCE, &prng, lies == 0);
    }
    uint64_t broken = run->broken;
    printf("  power: %zu operations, the power failed %llu times, something acknowledged was lost %llu times%s\n",
           journal_disk_length(run->journal), (unsigned long long)run->tried, (unsigned long long)broken,
           lies == 0 ? "" : " (on a disk that lies)");
    journal_disk_free(run->journal);
    sha256_free(run->sha);
    mem_free(run);
    return broken;
}

int main(int argc, char **argv)
{
    static const unsigned lies[] = {JOURNAL_LIE_SYNC, JOURNAL_LIE_SYNC_DIR, JOURNAL_LIE_DURABLE};
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 2;
    bool good = run_all(0, seed, rounds) == 0;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        if (run_all(lies[i], seed, 0) == 0) {
            fprintf(stderr, "power: a disk that lies (%u) was not noticed\n", lies[i]);
            good = false;
        }
    }
    if (!good)
        fprintf(stderr, "power: FAILED, seed %llu: power %llu %d\n", (unsigned long long)seed, (unsigned long long)seed,
                rounds);
    return good ? 0 : 1;
}
