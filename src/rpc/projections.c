/* The projection methods: thin, the backend does the work. What is here is checking names, and waiting for a position.
 */
#include "base/mem.h"
#include "platform/clock.h"
#include "rpc/methods.h"

enum {
    PROJECTION_WAIT_DEFAULT_MS = 30000,
    PROJECTION_CHECK_DEFAULT_SEEDS = 10,
    PROJECTION_WAIT_MAX_MS = 3600 * 1000,
    POSITION_TEXT_MAX_BYTES = 16 * 1024,
};

static char *copy_text(struct arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text) + 1);
}

static char *position_text(struct arena *arena, const struct position *position)
{
    struct buf text;
    char *copy = NULL;
    buf_init(&text, POSITION_TEXT_MAX_BYTES);
    if (position_format(position, &text) == 0 && buf_terminate(&text) == 0)
        copy = copy_text(arena, (const char *)text.data);
    buf_free(&text);
    return copy;
}

static int fill_projection(Tally__V1__ProjectionStatus *to, const struct rpc_projection *from, struct arena *arena,
                           struct err *err)
{
    tally__v1__projection_status__init(to);
    to->name = copy_text(arena, from->name);
    to->generation = from->generation;
    to->position = position_text(arena, &from->position);
    to->state = copy_text(arena, from->state);
    to->error = copy_text(arena, from->error);
    to->rebuild_position = position_text(arena, &from->rebuild_position);
    to->file = copy_text(arena, from->file);
    to->database = copy_text(arena, from->database);
    if (to->name == NULL || to->position == NULL || to->state == NULL || to->error == NULL ||
        to->rebuild_position == NULL || to->file == NULL || to->database == NULL)
        return err_no_memory(err, "a projection's status");
    return 0;
}

static int answer_projection(struct call *call, const struct rpc_projection *projection, struct arena *arena,
                             struct err *err)
{
    Tally__V1__ProjectionStatus response;
    int code = fill_projection(&response, projection, arena, err);
    return code != 0 ? code : call_answer(call, &response.base);
}

/* Waits until the projection has reached the position that the request asks for, and leaves its state in *projection.
 */
static int wait_for_position(struct call *call, const Tally__V1__ProjectionRequest *request,
                             struct rpc_projection *projection, struct err *err)
{
    struct rpc_backend *backend = call->backend;
    struct position wanted;
    int code = position_parse(bytes_of_string(request->at_least), &wanted, err);
    uint64_t timeout_ms = request->timeout_ms == 0 ? PROJECTION_WAIT_DEFAULT_MS : request->timeout_ms;
    if (timeout_ms > PROJECTION_WAIT_MAX_MS)
        timeout_ms = PROJECTION_WAIT_MAX_MS;
    uint64_t deadline_us = clock_now().mono_us + timeout_ms * 1000;
    uint64_t seen = backend->ops->wait_change(backend, 0, 0);
    while (code == 0) {
        code = backend->ops->projection_get(backend, request->name, projection, err);
        if (code != 0 || position_covers(&projection->position, &wanted))
            break;
        if (strcmp(projection->state, "failed") == 0)
            return err_set(err, ERR_UNAVAILABLE, "projection %s has failed and will not get to %s: %s", request->name,
                           request->at_least, projection->error);
        uint64_t now_us = clock_now().mono_us;
        if (now_us >= deadline_us)
            return err_set(err, ERR_TIMEOUT, "projection %s did not reach %s within %llu ms", request->name,
                           request->at_least, (unsigned long long)timeout_ms);
        code = call_wait_change(call, &seen, (deadline_us - now_us) / 1000 + 1, err);
    }
    return code;
}

static int create_projection(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const char *sql = ((const Tally__V1__CreateProjectionRequest *)message)->sql;
    const char *database = ((const Tally__V1__CreateProjectionRequest *)message)->database;
    size_t size_bytes = strlen(sql);
    if (size_bytes == 0)
        return err_set(err, ERR_INVALID, "sql is empty: send the text of the projection's file");
    if (size_bytes > PROJECTION_SQL_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "sql has %zu bytes; at most %d", size_bytes, PROJECTION_SQL_MAX_BYTES);
    struct rpc_projection *projection = arena_alloc_zero(arena, 1, sizeof(*projection));
    if (projection == NULL)
        return err_no_memory(err, "a projection's status");
    int code =
        call->backend->ops->projection_create(call->backend, bytes_of(sql, size_bytes), database, projection, err);
    return code != 0 ? code : answer_projection(call, projection, arena, err);
}

static int rebuild_projection(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const Tally__V1__ProjectionRequest *request = (const Tally__V1__ProjectionRequest *)message;
    if (request->at_least[0] != '\0')
        return err_set(err, ERR_INVALID, "a rebuild does not wait for a position: ask GetProjection with at_least");
    struct rpc_projection *projection = arena_alloc_zero(arena, 1, sizeof(*projection));
    if (projection == NULL)
        return err_no_memory(err, "a projection's status");
    int code = call->backend->ops->projection_rebuild(call->backend, request->name, projection, err);
    return code != 0 ? code : answer_projection(call, projection, arena, err);
}

static int get_projection(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    struct rpc_projection *projection = arena_alloc_zero(arena, 1, sizeof(*projection));
    if (projection == NULL)
        return err_no_memory(err, "a projection's status");
    int code = wait_for_position(call, (const Tally__V1__ProjectionRequest *)message, projection, err);
    return code != 0 ? code : answer_projection(call, projection, arena, err);
}

static int digest_projection(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const Tally__V1__ProjectionRequest *request = (const Tally__V1__ProjectionRequest *)message;
    struct rpc_projection *projection = arena_alloc_zero(arena, 1, sizeof(*projection));
    struct rpc_projection_digest *digest = arena_alloc_zero(arena, 1, sizeof(*digest));
    if (projection == NULL || digest == NULL)
        return err_no_memory(err, "a projection's digest");
    int code = wait_for_position(call, request, projection, err);
    if (code == 0)
        code = call->backend->ops->projection_digest(call->backend, request->name, digest, err);
    if (code != 0)
        return code;
    Tally__V1__ProjectionDigest response;
    tally__v1__projection_digest__init(&response);
    response.name = request->name;
    response.digest = digest->digest;
    response.row_count = digest->row_count;
    response.generation = digest->generation;
    response.position = position_text(arena, &digest->position);
    return response.position == NULL ? err_no_memory(err, "a projection's digest") : call_answer(call, &response.base);
}

static int check_projection(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const Tally__V1__CheckProjectionRequest *request = (const Tally__V1__CheckProjectionRequest *)message;
    uint64_t seeds = request->seeds == 0 ? PROJECTION_CHECK_DEFAULT_SEEDS : request->seeds;
    if (seeds > RPC_CHECK_SEEDS_MAX)
        return err_set(err, ERR_INVALID, "%llu seeds; at most %d", (unsigned long long)seeds, RPC_CHECK_SEEDS_MAX);
    struct rpc_projection_check *check = arena_alloc_zero(arena, 1, sizeof(*check));
    if (check == NULL)
        return err_no_memory(err, "a projection's check");
    int code = call->backend->ops->projection_check(call->backend, request->name, seeds, check, err);
    if (code != 0)
        return code;
    Tally__V1__ProjectionCheck response;
    tally__v1__projection_check__init(&response);
    response.name = request->name;
    response.position = position_text(arena, &check->position);
    response.event_count = check->event_count;
    response.seeds = check->seeds;
    response.differs = check->differs;
    response.seed = check->seed;
    response.table = check->table;
    return response.position == NULL ? err_no_memory(err, "a projection's check") : call_answer(call, &response.base);
}

static int list_projections(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    (void)message;
    size_t count = 0;
    struct rpc_projection *found = arena_alloc_zero(arena, RPC_PROJECTIONS_MAX, sizeof(*found));
    Tally__V1__ProjectionStatus *statuses = arena_alloc_zero(arena, RPC_PROJECTIONS_MAX, sizeof(*statuses));
    Tally__V1__ProjectionStatus **pointers = arena_alloc_zero(arena, RPC_PROJECTIONS_MAX, sizeof(*pointers));
    if (found == NULL || statuses == NULL || pointers == NULL)
        return err_no_memory(err, "the projections' status");
    int code = call->backend->ops->projection_list(call->backend, found, &count, err);
    for (size_t i = 0; i < count && code == 0; i++) {
        code = fill_projection(&statuses[i], &found[i], arena, err);
        pointers[i] = &statuses[i];
    }
    if (code != 0)
        return code;
    Tally__V1__ListProjectionsResponse response;
    tally__v1__list_projections_response__init(&response);
    response.n_projections = count;
    response.projections = pointers;
    return call_answer(call, &response.base);
}

typedef int projection_fn(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err);

static int run(struct call *call, const ProtobufCMessageDescriptor *type, projection_fn *method, struct err *err)
{
    struct arena arena;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    ProtobufCMessage *message = NULL;
    int code = call_read_request(call, type, &arena, &message, err);
    if (code == 0 && type == &tally__v1__projection_request__descriptor)
        code = entry_check_name(bytes_of_string(((const Tally__V1__ProjectionRequest *)message)->name),
                                PROJECTION_NAME_MAX_BYTES, "projection name", err);
    if (code == 0 && type == &tally__v1__check_projection_request__descriptor)
        code = entry_check_name(bytes_of_string(((const Tally__V1__CheckProjectionRequest *)message)->name),
                                PROJECTION_NAME_MAX_BYTES, "projection name", err);
    if (code == 0)
        code = method(call, message, &arena, err);
    arena_free(&arena);
    return code;
}

int method_create_projection(struct call *call, struct err *err)
{
    return run(call, &tally__v1__create_projection_request__descriptor, create_projection, err);
}

int method_rebuild_projection(struct call *call, struct err *err)
{
    return run(call, &tally__v1__projection_request__descriptor, rebuild_projection, err);
}

int method_get_projection(struct call *call, struct err *err)
{
    return run(call, &tally__v1__projection_request__descriptor, get_projection, err);
}

int method_digest_projection(struct call *call, struct err *err)
{
    return run(call, &tally__v1__projection_request__descriptor, digest_projection, err);
}

int method_check_projection(struct call *call, struct err *err)
{
    return run(call, &tally__v1__check_projection_request__descriptor, check_projection, err);
}

int method_list_projections(struct call *call, struct err *err)
{
    return run(call, &tally__v1__list_projections_request__descriptor, list_projections, err);
}
