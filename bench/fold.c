/* fold LOG_FOLDER: rebuilds a read model by replay without SQL, and says how long it took.
 *
 * The read model is that of the projections that `make bench` measures beside it, and a little more: a row a stream,
 * with how many events it has, the version of the last one, and a balance, to which each event adds the first eight
 * bytes of its payload. It is the shape of an account in a service written in C that keeps its balances in memory and
 * makes them from the log at its start.
 *
 * Read is what lies on disk, through the log's own reader: each block is checked against its CRC, each frame for its
 * form, and here each stream's versions are held to follow one another. Entries were checked when they were written, so
 * of them only the head is taken apart, and nothing is hashed: that is tally-verify's work. One thread. Which entries
 * are late is not asked, so this is for a log whose partitions had one home all along; a fold over several logs asks
 * domain/authority.h.
 *
 * Prints one object of JSON. Exit 1 with a message when the log cannot be read or a version is out of order. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/map.h"
#include "log/scan.h"
#include "platform/clock.h"

enum {
    STREAMS_MAX = 16 * 1000 * 1000,
    AMOUNT_BYTES = 8,
    KEY_MAX_BYTES = ENTRY_NAME_MAX_BYTES + 1 + ENTRY_STREAM_MAX_BYTES
};

struct account {
    uint64_t events;
    uint64_t version;
    uint64_t balance;
};

struct fold {
    struct map accounts;
    struct arena arena;
    uint64_t events;
    uint64_t control_events;
};

/* A stream's name counts within its context; names hold no zero byte. */
static struct bytes key_of(const struct entry *entry, uint8_t out[KEY_MAX_BYTES])
{
    size_t context_bytes = entry->context.size_bytes;
    memcpy(out, entry->context.data, context_bytes);
    out[context_bytes] = 0;
    memcpy(out + context_bytes + 1, entry->stream.data, entry->stream.size_bytes);
    return bytes_of(out, context_bytes + 1 + entry->stream.size_bytes);
}

static int find_account(struct fold *fold, const struct entry *entry, struct account **ret, struct err *err)
{
    uint8_t space[KEY_MAX_BYTES];
    struct bytes key = key_of(entry, space);
    struct account *account = map_get(&fold->accounts, key);
    if (account == NULL) {
        account = arena_alloc_zero(&fold->arena, 1, sizeof(*account));
        int code = account == NULL ? ERR_NO_MEMORY : map_put(&fold->accounts, key, account);
        if (code != 0)
            return err_set(err, code, "no room for stream %zu", fold->accounts.live_count + 1);
    }
    *ret = account;
    return 0;
}

static int apply(struct fold *fold, const struct frame *frame, const struct entry *entry, struct err *err)
{
    struct account *account = NULL;
    if ((entry->flags & ENTRY_FLAG_CONTROL) != 0) {
        fold->control_events++;
        return 0;
    }
    int code = find_account(fold, entry, &account, err);
    if (code != 0)
        return code;
    if (entry->stream_version != account->events)
        return err_set(err, ERR_CORRUPT, "entry %" PRIu64 ": version %" PRIu64 " of a stream with %" PRIu64 " events",
                       entry->index, entry->stream_version, account->events);
    account->events++;
    account->version = entry->stream_version;
    if (frame->payload.size_bytes >= AMOUNT_BYTES)
        account->balance += get_u64_le(frame->payload.data);
    fold->events++;
    return 0;
}

static int apply_block(void *context, const struct scan_block *block, struct err *err)
{
    struct bytes elements = block->body;
    struct bytes encoded;
    struct frame frame;
    struct entry entry;
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < block->header.entry_count; i++) {
        code = frame_next_element(&elements, &encoded, err);
        if (code == 0)
            code = frame_parse(encoded, &frame, err);
        if (code == 0)
            code = entry_parse_head(frame.entry, &entry, err);
        if (code == 0)
            code = apply(context, &frame, &entry, err);
    }
    return code;
}

static uint64_t total(const struct fold *fold)
{
    size_t position = 0;
    struct bytes key;
    void *value = NULL;
    uint64_t sum = 0;
    while (map_next(&fold->accounts, &position, &key, &value))
        sum += ((const struct account *)value)->balance;
    return sum;
}

int main(int argc, char **argv)
{
    struct fold fold = {0};
    struct scan_result result = {0};
    struct err err = {0};
    if (argc != 2) {
        (void)fprintf(stderr, "usage: fold LOG_FOLDER\n");
        return 2;
    }
    map_init(&fold.accounts, STREAMS_MAX, NULL);
    arena_init(&fold.arena, (size_t)STREAMS_MAX * sizeof(struct account));
    uint64_t begun_us = clock_now().mono_us;
    int code = scan_log(disk_posix(), argv[1], NULL, apply_block, &fold, &result, &err);
    uint64_t took_us = clock_now().mono_us - begun_us;
    if (code != 0)
        (void)fprintf(stderr, "fold: %s%s%s\n", result.bad_segment, result.bad_segment[0] == '\0' ? "" : ": ",
                      err.message);
    else
        printf("{\"events\": %" PRIu64 ", \"control_events\": %" PRIu64 ", \"streams\": %zu, \"total\": %" PRIu64
               ", \"seconds\": %.6f}\n",
               fold.events, fold.control_events, fold.accounts.live_count, total(&fold), (double)took_us / 1e6);
    map_free(&fold.accounts);
    arena_free(&fold.arena);
    return code == 0 ? 0 : 1;
}
