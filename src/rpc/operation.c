/* What the methods of the service Operations share (operation.h). */
#include "rpc/operation.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "platform/clock.h"
#include "rpc/held.h"

enum { POSITION_TEXT_MAX_BYTES = 16 * 1024 };

int operation_run(struct call *call, const ProtobufCMessageDescriptor *type, operation_fn *operation, struct err *err)
{
    struct arena arena;
    ProtobufCMessage *message = NULL;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    int code = call_read_request(call, type, &arena, &message, err);
    if (code == 0)
        code = operation(call, message, &arena, err);
    arena_free(&arena);
    return code;
}

static void refuse(struct region_command *command, int code, const struct err *err)
{
    command->refusal.code = code;
    command->refusal.err = *err;
}

/* A semaphore, because whoever posts it does not touch it afterwards: since glibc 2.21 sem_post looks at nothing after
 * its addition. */
static void post(struct rpc_append *append)
{
    INVARIANT(sem_post(append->context) == 0);
}

uint64_t operation_number(void)
{
    static atomic_uint_fast64_t next = 1;
    return atomic_fetch_add(&next, 1);
}

/* Whether it was decided within CALL_POLL_MS. */
static bool wait_decided(sem_t *decided)
{
    uint64_t until_us = clock_now().mono_us + CALL_POLL_MS * 1000;
    struct timespec until = {.tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000) * 1000};
    int waited = sem_clockwait(decided, CLOCK_MONOTONIC, &until);
    INVARIANT(waited == 0 || errno == ETIMEDOUT || errno == EINTR);
    return waited == 0;
}

static bool nobody_waits(struct rpc_backend *backend, struct call *call, uint64_t begun_us)
{
    if (backend->ops->stopping(backend))
        return true;
    return call != NULL ? call_cancelled(call)
                        : clock_now().mono_us - begun_us >= OPERATION_PATIENCE_MS * (uint64_t)1000;
}

/* The region lets go of it in any case: what does not wait for copies waits for the disk alone. */
static void wait_for_answer(struct rpc_backend *backend, struct call *call, struct rpc_append *append)
{
    uint64_t begun_us = clock_now().mono_us;
    bool given_up = false;
    while (!wait_decided(append->context)) {
        if (!given_up && nobody_waits(backend, call, begun_us))
            given_up = backend->ops->give_up(backend, append->command.number, NULL) == 0;
    }
}

void operation_decide(struct rpc_backend *backend, struct call *call, struct rpc_append *append)
{
    struct err err = {0};
    sem_t decided;
    INVARIANT(sem_init(&decided, 0, 0) == 0);
    append->done = post;
    append->context = &decided;
    append->command.number = operation_number();
    bool submitted = backend->ops->submit(backend, &append, 1, &err) == 1;
    if (submitted)
        wait_for_answer(backend, call, append);
    else
        refuse(&append->command, err.code, &err);
    INVARIANT(sem_destroy(&decided) == 0);
}

/* Entries that are here and that the projection has not seen. */
static uint64_t entries_behind(struct rpc_backend *backend, const struct rpc_projection *projection)
{
    uint64_t behind = 0;
    size_t count = backend->ops->log_count(backend);
    for (size_t i = 0; i < count; i++) {
        const struct log *log = backend->ops->log_at(backend, i);
        struct origin origin;
        if (log == NULL || origin_parse(log_origin(log), &origin, NULL) != 0)
            continue;
        uint64_t seen = position_get(&projection->position, origin.region, origin.incarnation);
        uint64_t here = log_durable_size(log);
        behind += here > seen ? here - seen : 0;
    }
    return behind;
}

/* Why a projection is not to be relied on, "" if it is. */
static void say_if_behind(struct rpc_backend *backend, const struct rpc_projection *projection, char *out, size_t size)
{
    uint64_t behind = entries_behind(backend, projection);
    out[0] = '\0';
    if (strcmp(projection->state, "live") != 0)
        snprintf(out, size, "projection %s is %.100s", projection->name, projection->state);
    else if (behind > PROJECTION_BEHIND_MAX)
        snprintf(out, size, "projection %s is %llu entries behind", projection->name, (unsigned long long)behind);
}

int operation_projections_behind(struct rpc_backend *backend, struct arena *arena, const char **ret, struct err *err)
{
    struct rpc_projection *projections = arena_alloc_zero(arena, RPC_PROJECTIONS_MAX, sizeof(*projections));
    char *text = arena_alloc_zero(arena, 1, REGION_CHECK_DETAIL_MAX_BYTES);
    size_t count = 0;
    size_t used = 0;
    if (projections == NULL || text == NULL)
        return err_no_memory(err, "the projections");
    int code = backend->ops->projection_list(backend, projections, &count, err);
    for (size_t i = 0; code == 0 && i < count && used < REGION_CHECK_DETAIL_MAX_BYTES; i++) {
        char why[256];
        say_if_behind(backend, &projections[i], why, sizeof(why));
        if (why[0] != '\0')
            used +=
                (size_t)snprintf(text + used, REGION_CHECK_DETAIL_MAX_BYTES - used, "%s%s", used == 0 ? "" : "; ", why);
    }
    if (code == 0)
        *ret = used == 0 ? NULL : text;
    return code;
}

char *operation_text(struct arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text) + 1);
}

char *operation_position_text(struct arena *arena, const struct position *position)
{
    struct buf text;
    char *copy = NULL;
    buf_init(&text, POSITION_TEXT_MAX_BYTES);
    if (position_format(position, &text) == 0 && buf_terminate(&text) == 0)
        copy = operation_text(arena, (const char *)text.data);
    buf_free(&text);
    return copy;
}

char *operation_own_position(struct rpc_backend *backend, uint64_t size, struct arena *arena)
{
    struct position position = {.count = 0};
    if (held_set_position(&position, log_origin(backend->ops->log_at(backend, 0)), size, NULL) != 0)
        return NULL;
    return operation_position_text(arena, &position);
}
