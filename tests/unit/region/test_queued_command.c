/* A queued command that was read from its log owns all that it says. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "domain/control.h"
#include "domain/queued.h"
#include "region/queued_command.h"
#include "support/files.h"

#define ORIGIN "demo/us/1"

static struct block *block_of(struct bytes payload, struct sha256 *sha, struct chain *chain)
{
    struct block *block = NULL;
    struct buf encoded;
    struct frame frame = {.has_payload = true, .payload = payload};
    struct entry entry = {.prev = chain->prev,
                          .time = 1,
                          .context = BYTES_LITERAL("bank"),
                          .partition = BYTES_LITERAL("west"),
                          .stream = bytes_of_string(CONTROL_STREAM),
                          .type = bytes_of_string(control_type(CONTROL_COMMAND_QUEUED)),
                          .epoch = 1,
                          .flags = ENTRY_FLAG_CONTROL,
                          .payload_commitment = entry_payload_commitment(sha, frame.salt, payload),
                          .payload_size_bytes = payload.size_bytes};
    memcpy(entry.log_id, chain->log_id, sizeof(entry.log_id));
    entry.event_id[0] = 1;
    buf_init(&encoded, ENTRY_MAX_BYTES);
    cr_assert_eq(entry_encode(&entry, &encoded, NULL), 0);
    frame.entry = buf_bytes(&encoded);
    cr_assert_eq(block_new(0, chain->log_id, &block, NULL), 0);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    block_seal(block);
    buf_free(&encoded);
    return block;
}

static struct log *log_with(struct bytes payload, const char *folder)
{
    struct sha256 *sha = sha256_new();
    struct chain chain;
    struct log *log = NULL;
    struct log_recovery recovery;
    chain_init(&chain, sha, BYTES_LITERAL(ORIGIN));
    struct block *block = block_of(payload, sha, &chain);
    cr_assert_eq(log_create(disk_posix(), folder, BYTES_LITERAL(ORIGIN), NULL, NULL), 0);
    cr_assert_eq(log_open(disk_posix(), folder, BYTES_LITERAL(ORIGIN), NULL, &log, &recovery, NULL), 0);
    cr_assert_eq(log_append(log, &block, 1, NULL), 0);
    block_release(block);
    sha256_free(sha);
    return log;
}

Test(queued_command, what_was_read_outlives_the_list_that_named_it)
{
    char folder[FILES_PATH_MAX];
    char log_folder[FILES_PATH_MAX + 8];
    struct buf payload, events;
    struct arena arena;
    struct region_command command = {.write_count = 0};
    struct queued_event event = {.id = {7}, .type = BYTES_LITERAL("Paid"), .payload = BYTES_LITERAL("1")};
    buf_init(&payload, CONTROL_PAYLOAD_MAX_BYTES);
    buf_init(&events, CONTROL_PAYLOAD_MAX_BYTES);
    cr_assert_eq(queued_put_event(&event, &events), 0);
    struct queued_write write = {.stream = BYTES_LITERAL("s"), .events = buf_bytes(&events)};
    cr_assert_eq(queued_put_write(&write, &payload), 0);
    files_temp_folder(folder);
    snprintf(log_folder, sizeof(log_folder), "%s/log", folder);
    struct log *log = log_with(buf_bytes(&payload), log_folder);

    struct index_queued *queued = mem_alloc_zero(1, sizeof(*queued));
    snprintf(queued->context, sizeof(queued->context), "bank");
    snprintf(queued->partition, sizeof(queued->partition), "west");
    arena_init(&arena, 1024 * 1024);
    cr_assert_eq(queued_command_read(log, queued, &arena, &command, NULL), 0);
    memset(queued, 'x', sizeof(*queued));
    mem_free(queued);
    log_close(log);
    cr_assert_eq(command.write_count, 1);
    cr_expect(bytes_equal(command.writes[0].context, BYTES_LITERAL("bank")));
    cr_expect(bytes_equal(command.writes[0].partition, BYTES_LITERAL("west")));
    cr_expect(bytes_equal(command.writes[0].stream, BYTES_LITERAL("s")));
    cr_assert_eq(command.writes[0].event_count, 1);
    cr_expect(bytes_equal(command.writes[0].events[0].payload, BYTES_LITERAL("1")));
    arena_free(&arena);
    buf_free(&payload);
    buf_free(&events);
    files_remove_folder(folder);
}
