/* Settling places (settle.h). The places are taken in chunks that fit one command of the region. The events to accept
 * are copied out of their blocks (region/settle_event.h). What the region needs to be sure of (that it is a late event,
 * that the content is that of the item) it checks itself. */
#include "rpc/settle.h"

#include "base/mem.h"
#include "region/settle_event.h"
#include "rpc/held.h"
#include "rpc/operation.h"

enum { CHUNK_ARENA_MAX_BYTES = 16 * 1024 * 1024 };

struct chunk_of_places {
    struct rpc_backend *backend;
    const struct settle_request *request;
    struct rpc_append *append;
    size_t payload_bytes;
};

/* --- Reading what is accepted --- */

static int read_event(struct chunk_of_places *chunk, const struct settle_place *place,
                      struct region_stream_write *write, struct err *err)
{
    struct log *log = NULL;
    int code = held_find(chunk->backend, bytes_of_string(place->origin), &log, NULL, err);
    if (code == 0)
        code = settle_read_event(log, place->index, &chunk->append->arena, write, err);
    if (code == 0 && write->event_count > 0)
        chunk->payload_bytes += write->events[0].payload.size_bytes;
    return code;
}

/* --- One command --- */

static int add_place(struct chunk_of_places *chunk, const struct settle_place *place, struct err *err)
{
    struct region_command *command = &chunk->append->command;
    struct region_settle *settle = command->settle;
    struct region_stream_write *write = &command->writes[command->write_count];
    struct region_settle_item *item = &settle->items[settle->item_count];
    int code = 0;
    if (place->origin[0] == '\0' || strlen(place->origin) > ENTRY_ORIGIN_MAX_BYTES)
        return err_set(err, ERR_INVALID, "a place needs the origin of a log");
    if (settle->settlement == SETTLED_ACCEPTED)
        code = read_event(chunk, place, write, err);
    else if (chunk->request->compensation != NULL)
        *write = *chunk->request->compensation;
    if (code != 0)
        return code;
    copy_string(item->origin, sizeof(item->origin), place->origin);
    item->index = place->index;
    settle->item_count++;
    command->write_count++;
    return 0;
}

/* Takes places from *next on, as many as fit. */
static int fill_chunk(struct chunk_of_places *chunk, size_t *next, struct err *err)
{
    const struct settle_request *request = chunk->request;
    struct region_command *command = &chunk->append->command;
    struct arena *arena = &chunk->append->arena;
    size_t max = request->place_count - *next;
    max = max < SETTLE_CHUNK_ITEMS_MAX ? max : SETTLE_CHUNK_ITEMS_MAX;
    struct region_settle *settle = arena_alloc_zero(arena, 1, sizeof(*settle));
    command->writes = arena_alloc_zero(arena, max, sizeof(*command->writes));
    command->results = arena_alloc_zero(arena, max, sizeof(*command->results));
    struct region_settle_item *items = arena_alloc_zero(arena, max, sizeof(*items));
    if (settle == NULL || command->writes == NULL || command->results == NULL || items == NULL)
        return err_no_memory(err, "a decision");
    *settle = (struct region_settle){
        .settlement = request->settlement, .actor = request->actor, .reason = request->reason, .items = items};
    command->settle = settle;
    int code = 0;
    while (code == 0 && settle->item_count < max && chunk->payload_bytes < SETTLE_CHUNK_MAX_BYTES) {
        code = add_place(chunk, &request->places[*next], err);
        *next += code == 0;
    }
    return code;
}

static int submit_chunk(struct rpc_backend *backend, struct call *call, struct rpc_append *append,
                        struct settle_outcome *outcome, struct err *err)
{
    struct region_command *command = &append->command;
    struct sha256 *sha = sha256_new();
    if (sha == NULL)
        return err_no_memory(err, "a decision");
    int code = region_command_prepare(command, sha, backend->index, err);
    sha256_free(sha);
    if (code != 0)
        return code;
    operation_decide(backend, call, append);
    if (command->refusal.code != 0) {
        outcome->refusal = command->refusal;
        return err_set(err, command->refusal.code, "%s", command->refusal.err.message);
    }
    outcome->settled += command->settle->settled;
    for (size_t i = 0; i < command->settle->item_count; i++)
        outcome->already += command->settle->items[i].already;
    if (command->ticket > outcome->ticket)
        outcome->ticket = command->ticket;
    return 0;
}

int settle_places(struct rpc_backend *backend, const struct settle_request *request, struct settle_outcome *ret,
                  struct err *err)
{
    struct rpc_append *append = mem_alloc_zero(1, sizeof(*append));
    size_t next = 0;
    int code = append == NULL ? err_no_memory(err, "a decision") : 0;
    memset(ret, 0, sizeof(*ret));
    while (code == 0 && next < request->place_count) {
        struct chunk_of_places chunk = {.backend = backend, .request = request, .append = append};
        memset(append, 0, sizeof(*append));
        arena_init(&append->arena, CHUNK_ARENA_MAX_BYTES);
        code = fill_chunk(&chunk, &next, err);
        if (code == 0)
            code = submit_chunk(backend, request->call, append, ret, err);
        arena_free(&append->arena);
    }
    mem_free(append);
    return code;
}
