/* Deciding queued commands (queue.h). The writes are copied out of the payload of the $CommandQueued entry, with fresh
 * salts; that they are what was queued the region checks itself. */
#include "rpc/queue.h"

#include "base/mem.h"
#include "domain/queued.h"
#include "entry/frame.h"
#include "platform/clock.h"
#include "rpc/held.h"
#include "rpc/operation.h"

enum { COMMAND_ARENA_MAX_BYTES = 8 * 1024 * 1024 };

static void fill_events(struct bytes encoded, struct region_new_event *events, size_t *ret_count)
{
    struct queued_event said;
    size_t count = 0;
    for (; queued_next_event(&encoded, &said); count++) {
        struct region_new_event *event = &events[count];
        *event = (struct region_new_event){.type = said.type,
                                           .content_type = said.content_type,
                                           .metadata = said.metadata,
                                           .payload = said.payload,
                                           .causation_id = said.causation_id,
                                           .correlation_id = said.correlation_id};
        memcpy(event->id, said.id, ENTRY_ID_SIZE);
        entropy_fill(event->salt, ENTRY_SALT_SIZE);
    }
    *ret_count = count;
}

/* payload lives as long as the arena. */
static int fill_command(const struct index_queued *queued, struct bytes payload, struct arena *arena,
                        struct region_command *command, struct err *err)
{
    size_t write_count = 0;
    size_t event_count = 0;
    int code = queued_check(payload, &write_count, &event_count, err);
    if (code != 0)
        return code;
    struct region_stream_write *writes = arena_alloc_zero(arena, write_count, sizeof(*writes));
    struct region_new_event *events = arena_alloc_zero(arena, event_count, sizeof(*events));
    command->results = arena_alloc_zero(arena, event_count, sizeof(*command->results));
    if (writes == NULL || events == NULL || command->results == NULL)
        return err_no_memory(err, "a queued command");
    struct queued_write said;
    for (size_t i = 0; queued_next_write(&payload, &said); i++) {
        writes[i] = (struct region_stream_write){.context = bytes_of_string(queued->context),
                                                 .partition = bytes_of_string(queued->partition),
                                                 .stream = said.stream,
                                                 .expectation = said.expectation,
                                                 .expected_version = said.expected_version,
                                                 .events = events};
        fill_events(said.events, events, &writes[i].event_count);
        events += writes[i].event_count;
    }
    command->writes = writes;
    command->write_count = write_count;
    return 0;
}

static int read_command(struct rpc_backend *backend, const struct index_queued *queued, struct rpc_append *append,
                        struct err *err)
{
    struct block *block = NULL;
    struct bytes encoded;
    struct frame frame;
    int code = held_frame(backend, queued->origin, queued->place.index, &block, &encoded, err);
    if (code != 0)
        return code;
    code = frame_parse(encoded, &frame, err);
    void *copy = code == 0 ? arena_copy(&append->arena, frame.payload.data, frame.payload.size_bytes) : NULL;
    if (code == 0 && copy == NULL)
        code = err_no_memory(err, "a queued command");
    if (code == 0)
        code = fill_command(queued, bytes_of(copy, frame.payload.size_bytes), &append->arena, &append->command, err);
    block_release(block);
    return code;
}

static int submit(struct rpc_backend *backend, struct rpc_append *append, struct err *err)
{
    struct region_command *command = &append->command;
    struct sha256 *sha = sha256_new();
    if (sha == NULL)
        return err_no_memory(err, "a queued command");
    int code = region_command_prepare(command, sha, backend->index, err);
    sha256_free(sha);
    if (code != 0)
        return code;
    operation_decide(backend, append);
    if (command->refusal.code != 0)
        return err_set(err, command->refusal.code, "%s", command->refusal.err.message);
    return 0;
}

int queue_decide(struct rpc_backend *backend, const struct index_queued *queued, struct region_verdict *ret_verdict,
                 struct err *err)
{
    struct region_verdict verdict = {.index = queued->place.index};
    struct rpc_append *append = mem_alloc_zero(1, sizeof(*append));
    if (append == NULL)
        return err_no_memory(err, "a queued command");
    arena_init(&append->arena, COMMAND_ARENA_MAX_BYTES);
    copy_string(verdict.origin, sizeof(verdict.origin), queued->origin);
    append->command.verdict = &verdict;
    int code = read_command(backend, queued, append, err);
    if (code == 0)
        code = submit(backend, append, err);
    arena_free(&append->arena);
    mem_free(append);
    if (code == 0)
        *ret_verdict = verdict;
    return code;
}
