/* Deciding queued commands (queue.h): the writes as they were queued (region/queued_command.h), with fresh salts. */
#include "rpc/queue.h"

#include "base/mem.h"
#include "platform/clock.h"
#include "region/queued_command.h"
#include "rpc/held.h"
#include "rpc/operation.h"

enum { COMMAND_ARENA_MAX_BYTES = 8 * 1024 * 1024 };

static int read_command(struct rpc_backend *backend, const struct index_queued *queued, struct rpc_append *append,
                        struct err *err)
{
    struct region_command *command = &append->command;
    struct log *log = NULL;
    int code = held_find(backend, bytes_of_string(queued->origin), &log, NULL, err);
    if (code == 0)
        code = queued_command_read(log, queued, &append->arena, command, err);
    for (size_t w = 0; code == 0 && w < command->write_count; w++) {
        for (size_t i = 0; i < command->writes[w].event_count; i++)
            entropy_fill(command->writes[w].events[i].salt, ENTRY_SALT_SIZE);
    }
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
    operation_decide(backend, NULL, append);
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
