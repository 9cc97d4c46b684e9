/* A batch: from the bytes of an AppendRequest to the answer.
 *
 * Everything that does not depend on order is done here, before the region has it: decoding, shape and limits, salts,
 * commitments, fingerprints and index look-ups. The region then only decides. All memory of a batch comes from one
 * arena that lives as long as the job.
 *
 * Invariant: from a submit that succeeded until append.done the region owns the command and all it points to. So
 * whoever submitted waits for it, even when the client is long gone. */
#include "rpc/append.h"

#include <stdio.h>

#include "base/mem.h"
#include "rpc/held.h"
#include "rpc/operation.h"

static void refuse(struct region_command *command, int code, const struct err *err)
{
    command->refusal.code = code;
    command->refusal.err = *err;
}

static struct bytes text(const char *string)
{
    return bytes_of_string(string);
}

/* Events of a request mostly have the same names. As one string they are compared, here and by the region, where the
 * cache has them. */
static struct bytes text_like(const char *string, struct bytes before)
{
    struct bytes own = text(string);
    return bytes_equal(own, before) ? before : own;
}

static struct bytes binary(ProtobufCBinaryData data)
{
    return bytes_of(data.data, data.len);
}

/* before: an event of the request, or one of zeros. */
static int convert_events(const Tally__V1__StreamWrite *from, size_t write_number, struct region_stream_write *to,
                          const struct region_new_event *before, struct err *err)
{
    for (size_t i = 0; i < from->n_events; i++) {
        const Tally__V1__NewEvent *event = from->events[i];
        if (event->id.len != ENTRY_ID_SIZE)
            return err_set(err, ERR_INVALID, "write %zu, event %zu: the id has %zu bytes; it must have %d (a UUID)",
                           write_number, i, event->id.len, ENTRY_ID_SIZE);
        struct region_new_event *new_event = &to->events[i];
        memcpy(new_event->id, event->id.data, ENTRY_ID_SIZE);
        new_event->type = text_like(event->type, before->type);
        new_event->content_type = text_like(event->content_type, before->content_type);
        before = new_event;
        new_event->metadata = binary(event->metadata);
        new_event->payload = binary(event->payload);
        new_event->causation_id = binary(event->causation_id);
        new_event->correlation_id = binary(event->correlation_id);
    }
    return 0;
}

static int convert_expectation(const Tally__V1__StreamWrite *from, size_t write_number, struct region_stream_write *to,
                               struct err *err)
{
    bool set = true;
    switch (from->expected_case) {
    case TALLY__V1__STREAM_WRITE__EXPECTED_NO_STREAM:
        to->expectation = STREAM_NONE;
        set = from->no_stream != 0;
        break;
    case TALLY__V1__STREAM_WRITE__EXPECTED_STREAM_EXISTS:
        to->expectation = STREAM_EXISTS;
        set = from->stream_exists != 0;
        break;
    case TALLY__V1__STREAM_WRITE__EXPECTED_VERSION:
        to->expectation = STREAM_AT;
        to->expected_version = from->version;
        break;
    case TALLY__V1__STREAM_WRITE__EXPECTED_ANY:
        to->expectation = STREAM_ANY;
        set = from->any != 0;
        break;
    default:
        to->expectation = STREAM_ANY;
        break;
    }
    if (!set)
        return err_set(err, ERR_INVALID, "write %zu: what is expected is set to false; leave it out, or set it to true",
                       write_number);
    return 0;
}

static int count_events(const Tally__V1__AppendRequest *request, size_t *ret, struct err *err)
{
    size_t event_count = 0;
    if (request->n_writes > REGION_REQUEST_WRITES_MAX)
        return err_set(err, ERR_TOO_LARGE, "the request has %zu writes; at most %d", request->n_writes,
                       REGION_REQUEST_WRITES_MAX);
    for (size_t i = 0; i < request->n_writes; i++)
        event_count += request->writes[i]->n_events;
    if (event_count > REGION_REQUEST_EVENTS_MAX)
        return err_set(err, ERR_TOO_LARGE, "the request has %zu events; at most %d", event_count,
                       REGION_REQUEST_EVENTS_MAX);
    *ret = event_count;
    return 0;
}

static int convert(struct append_job *job, const Tally__V1__AppendRequest *request, struct err *err)
{
    struct region_command *command = &job->append.command;
    struct arena *arena = &job->append.arena;
    size_t event_count = 0;
    int code = count_events(request, &event_count, err);
    if (code != 0)
        return code;
    struct region_stream_write *writes = arena_alloc_zero(arena, request->n_writes, sizeof(*writes));
    struct region_new_event *events = arena_alloc_zero(arena, event_count, sizeof(*events));
    command->results = arena_alloc_zero(arena, event_count, sizeof(*command->results));
    if (writes == NULL || events == NULL || command->results == NULL)
        return err_no_memory(err, "the request's events");
    command->writes = writes;
    const struct region_stream_write no_write = {0};
    const struct region_new_event no_event = {0};
    const struct region_new_event *last = &no_event;
    for (size_t i = 0; i < request->n_writes && code == 0; i++) {
        const Tally__V1__StreamWrite *from = request->writes[i];
        const struct region_stream_write *before = i == 0 ? &no_write : &writes[i - 1];
        writes[i] = (struct region_stream_write){.context = text_like(from->context, before->context),
                                                 .partition = text_like(from->partition, before->partition),
                                                 .stream = text(from->stream),
                                                 .event_count = from->n_events,
                                                 .events = events};
        command->write_count = i + 1;
        command->refusal.write_number = i;
        code = convert_expectation(from, i, &writes[i], err);
        if (code == 0)
            code = convert_events(from, i, &writes[i], last, err);
        events += from->n_events;
        last = from->n_events > 0 ? events - 1 : last;
    }
    return code;
}

static int decode(struct append_job *job, struct bytes encoded, struct err *err)
{
    if (encoded.size_bytes > REGION_REQUEST_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "the request has %zu bytes; at most %d: split it", encoded.size_bytes,
                       REGION_REQUEST_MAX_BYTES);
    ProtobufCMessage *message = NULL;
    int code = message_unpack(&tally__v1__append_request__descriptor, encoded, &job->append.arena, &message, err);
    if (code != 0)
        return code;
    const Tally__V1__AppendRequest *request = (const Tally__V1__AppendRequest *)message;
    job->tag = request->tag;
    job->forward = request->at_wrong_home == TALLY__V1__AT_WRONG_HOME__AT_WRONG_HOME_FORWARD;
    job->hops = request->hops;
    if (request->at_wrong_home == TALLY__V1__AT_WRONG_HOME__AT_WRONG_HOME_QUEUE)
        job->append.command.elsewhere = REGION_ELSEWHERE_QUEUE;
    else if (request->at_wrong_home == TALLY__V1__AT_WRONG_HOME__AT_WRONG_HOME_OVERRIDE)
        job->append.command.elsewhere = REGION_ELSEWHERE_OVERRIDE;
    else if (!job->forward && request->at_wrong_home != TALLY__V1__AT_WRONG_HOME__AT_WRONG_HOME_REDIRECT)
        return err_set(err, ERR_INVALID, "at_wrong_home %d is none that there is", (int)request->at_wrong_home);
    if (request->emergency != NULL) {
        job->append.command.actor = text(request->emergency->actor);
        job->append.command.reason = text(request->emergency->reason);
    }
    return convert(job, request, err);
}

int append_job_new(struct bytes encoded, struct append_job **ret, struct err *err)
{
    struct append_job *job = mem_alloc_zero(1, sizeof(*job));
    if (job == NULL)
        return err_no_memory(err, "an append");
    arena_init(&job->append.arena, APPEND_ARENA_MAX_BYTES);
    job->append.command.number = operation_number();
    job->size_bytes = encoded.size_bytes;
    struct err why = {0};
    int code = decode(job, encoded, &why);
    if (code != 0)
        refuse(&job->append.command, code, &why);
    *ret = job;
    return 0;
}

void append_job_free(struct append_job *job)
{
    if (job == NULL)
        return;
    arena_free(&job->append.arena);
    mem_free(job);
}

static void draw_salts(struct region_command *command, struct entropy_pool *entropy)
{
    for (size_t w = 0; w < command->write_count; w++) {
        for (size_t i = 0; i < command->writes[w].event_count; i++)
            entropy_take(entropy, command->writes[w].events[i].salt, ENTRY_SALT_SIZE);
    }
}

void append_job_prepare(struct append_job *job, struct rpc_backend *backend, struct append_tools *tools)
{
    struct region_command *command = &job->append.command;
    struct err err = {0};
    if (command->refusal.code != 0)
        return;
    command->refusal.write_number = 0;
    if (region_command_check(command, &command->refusal) != 0)
        return;
    draw_salts(command, &tools->entropy);
    int code = region_command_prepare(command, tools->sha, backend->index, &err);
    if (code != 0)
        refuse(command, code, &err);
}

/* --- The answer --- */

/* What building an answer needs at hand. */
struct answer {
    struct rpc_backend *backend;
    struct arena *arena;
    char *own_origin;
    char *origins[INDEX_LOGS_MAX]; /* of duplicates in other logs, by the index's numbers, as they turn up */
    struct position position;
};

static char *copy_text(struct arena *arena, struct bytes value)
{
    char *copy = arena_alloc_zero(arena, 1, value.size_bytes + 1);
    if (copy != NULL && value.size_bytes > 0)
        memcpy(copy, value.data, value.size_bytes);
    return copy;
}

/* The origin of the log that the index calls `number`. */
static int find_origin(struct answer *answer, uint32_t number, char **ret, struct err *err)
{
    if (number >= INDEX_LOGS_MAX)
        return err_set(err, ERR_CORRUPT, "the index names log number %u", (unsigned)number);
    if (answer->origins[number] == NULL) {
        char origin[INDEX_ORIGIN_MAX_BYTES + 1];
        int code = index_origin(answer->backend->index, number, origin, err);
        if (code != 0)
            return code;
        answer->origins[number] = copy_text(answer->arena, bytes_of_string(origin));
        if (answer->origins[number] == NULL)
            return err_no_memory(err, "an answer");
    }
    *ret = answer->origins[number];
    return 0;
}

static int extend_position(struct position *position, const char *origin, uint64_t size, struct err *err)
{
    struct origin parsed;
    int code = origin_parse(bytes_of_string(origin), &parsed, err);
    if (code != 0 || position_get(position, parsed.region, parsed.incarnation) >= size)
        return code;
    return held_set_position(position, bytes_of_string(origin), size, err);
}

static int add_result(struct answer *answer, const struct region_result *from, Tally__V1__AppendResult *to,
                      struct err *err)
{
    tally__v1__append_result__init(to);
    to->index = from->index;
    to->stream_version = from->stream_version;
    to->duplicate = from->duplicate;
    to->commutative = from->commutative;
    if (!from->duplicate)
        return 0;
    char *origin = NULL;
    int code = find_origin(answer, from->place.log, &origin, err);
    if (code != 0)
        return code;
    if (strcmp(origin, answer->own_origin) != 0) {
        to->origin = origin;
        to->index = from->place.index;
    }
    return extend_position(&answer->position, origin, to->index + 1, err);
}

/* A command that is kept for its home has a ticket and no results. */
static int add_results(struct answer *answer, const struct region_command *command, Tally__V1__AppendResponse *ret,
                       struct err *err)
{
    size_t count = 0;
    if (command->queued) {
        ret->ticket = operation_own_position(answer->backend, command->queued_size, answer->arena);
        return ret->ticket == NULL ? err_no_memory(err, "a ticket") : 0;
    }
    for (size_t i = 0; i < command->write_count; i++)
        count += command->writes[i].event_count;
    Tally__V1__AppendResult *results = arena_alloc_zero(answer->arena, count, sizeof(*results));
    ret->results = arena_alloc_zero(answer->arena, count, sizeof(*ret->results));
    if (results == NULL || ret->results == NULL)
        return err_no_memory(err, "an answer");
    for (size_t i = 0; i < count; i++) {
        int code = add_result(answer, &command->results[i], &results[i], err);
        if (code != 0)
            return code;
        ret->results[i] = &results[i];
    }
    ret->n_results = count;
    return 0;
}

int append_job_answer(struct append_job *job, struct rpc_backend *backend, Tally__V1__AppendResponse *ret,
                      struct err *err)
{
    struct answer answer = {.backend = backend, .arena = &job->append.arena};
    tally__v1__append_response__init(ret);
    struct buf position;
    buf_init(&position, 16 * 1024);
    answer.own_origin = copy_text(answer.arena, log_origin(backend->ops->log_at(backend, 0)));
    int code = answer.own_origin == NULL ? err_no_memory(err, "an answer") : 0;
    if (code == 0)
        code = extend_position(&answer.position, answer.own_origin, job->append.command.ticket, err);
    if (code == 0)
        code = add_results(&answer, &job->append.command, ret, err);
    if (code == 0)
        code = position_format(&answer.position, &position);
    if (code == 0) {
        ret->tag = job->tag;
        ret->degraded = job->append.command.degraded;
        ret->copies = job->append.command.copies;
        ret->overridden = job->append.command.overridden;
        ret->origin = answer.own_origin;
        ret->position = copy_text(answer.arena, buf_bytes(&position));
        if (ret->position == NULL)
            code = err_no_memory(err, "an answer");
    }
    buf_free(&position);
    return code;
}
