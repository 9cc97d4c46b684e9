/* What can be done with a command before it reaches the region's thread: its shape and limits, its hashes, its
 * look-ups. */
#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"
#include "region/region_internal.h"

static int refuse_event(struct region_refusal *refusal, int code, size_t number, const char *what)
{
    return err_set(&refusal->err, code, "event %zu of the write: %s", number, what);
}

static bool id_is_zero(const uint8_t id[ENTRY_ID_SIZE])
{
    static const uint8_t zero[ENTRY_ID_SIZE];
    return memcmp(id, zero, ENTRY_ID_SIZE) == 0;
}

static bool optional_id(struct bytes id)
{
    return id.size_bytes == 0 || id.size_bytes == ENTRY_ID_SIZE;
}

static int refuse_reserved(const char *what, struct bytes name, struct err *err)
{
    return err_set(err, ERR_INVALID, "%s \"%.*s\": names that begin with $, and \"*\", are kept for the system", what,
                   (int)(name.size_bytes > 100 ? 100 : name.size_bytes), (const char *)name.data);
}

/* What entry_check_name says, and not one of the system's. */
static int check_name(struct bytes name, size_t max_bytes, const char *what, struct err *err)
{
    int code = entry_check_name(name, max_bytes, what, err);
    return code == 0 && control_name_reserved(name) ? refuse_reserved(what, name, err) : code;
}

static int check_event(const struct region_new_event *event, size_t number, struct region_refusal *refusal)
{
    if (id_is_zero(event->id))
        return refuse_event(refusal, ERR_INVALID, number, "the id must be a UUID other than all zeros");
    if (!optional_id(event->causation_id) || !optional_id(event->correlation_id))
        return refuse_event(refusal, ERR_INVALID, number, "causation and correlation ids must be empty or 16 bytes");
    if (event->metadata.size_bytes > ENTRY_METADATA_MAX_BYTES)
        return refuse_event(refusal, ERR_TOO_LARGE, number, "metadata may have at most 4,096 bytes");
    if (event->payload.size_bytes > ENTRY_PAYLOAD_MAX_BYTES)
        return refuse_event(refusal, ERR_TOO_LARGE, number, "a payload may have at most 1,048,576 bytes");
    int code = check_name(event->type, ENTRY_NAME_MAX_BYTES, "type", &refusal->err);
    if (code == 0 && event->content_type.size_bytes > 0)
        code = entry_check_name(event->content_type, ENTRY_NAME_MAX_BYTES, "content type", &refusal->err);
    return code;
}

static int check_write(const struct region_stream_write *write, size_t number, struct region_refusal *refusal,
                       uint64_t *bytes)
{
    struct err *err = &refusal->err;
    refusal->write_number = number;
    int code = check_name(write->context, ENTRY_NAME_MAX_BYTES, "context", err);
    if (code == 0)
        code = check_name(write->partition, ENTRY_NAME_MAX_BYTES, "partition", err);
    if (code == 0)
        code = check_name(write->stream, ENTRY_STREAM_MAX_BYTES, "stream", err);
    if (code == 0 && write->event_count == 0)
        code = err_set(err, ERR_INVALID, "write %zu has no events; leave it out", number);
    for (size_t i = 0; code == 0 && i < write->event_count; i++) {
        code = check_event(&write->events[i], i, refusal);
        if (code == 0)
            memcpy(refusal->event_id, write->events[i].id, ENTRY_ID_SIZE);
        *bytes += write->events[i].payload.size_bytes + write->events[i].metadata.size_bytes;
    }
    return code;
}

static size_t count_events(const struct region_command *command)
{
    size_t count = 0;
    for (size_t i = 0; i < command->write_count; i++)
        count += command->writes[i].event_count;
    return count;
}

static int check_ids(const struct region_command *command, struct region_refusal *refusal)
{
    struct map ids;
    int code = 0;
    map_init(&ids, REGION_REQUEST_EVENTS_MAX, NULL);
    code = map_reserve(&ids, count_events(command));
    for (size_t w = 0; code == 0 && w < command->write_count; w++) {
        for (size_t i = 0; code == 0 && i < command->writes[w].event_count; i++) {
            struct region_new_event *event = &command->writes[w].events[i];
            struct bytes key = bytes_of(event->id, ENTRY_ID_SIZE);
            refusal->write_number = w;
            void *before = NULL;
            code = map_add(&ids, key, event, &before);
            if (code == 0 && before != NULL) {
                memcpy(refusal->event_id, event->id, ENTRY_ID_SIZE);
                code = err_set(&refusal->err, ERR_INVALID, "one event id stands twice in the request");
            }
        }
    }
    map_free(&ids);
    return code == ERR_NO_MEMORY ? err_no_memory(&refusal->err, "a request's ids") : code;
}

static int check_streams(const struct region_command *command, struct region_refusal *refusal)
{
    struct map streams;
    struct buf key;
    int code = 0;
    map_init(&streams, REGION_REQUEST_WRITES_MAX, NULL);
    code = map_reserve(&streams, command->write_count);
    buf_init(&key, 2 + ENTRY_NAME_MAX_BYTES + ENTRY_STREAM_MAX_BYTES);
    for (size_t w = 0; code == 0 && w < command->write_count; w++) {
        struct region_stream_write *write = &command->writes[w];
        buf_clear(&key);
        code = buf_append_byte(&key, (uint8_t)write->context.size_bytes);
        if (code == 0)
            code = buf_append(&key, write->context);
        if (code == 0)
            code = buf_append(&key, write->stream);
        refusal->write_number = w;
        void *before = NULL;
        if (code == 0)
            code = map_add(&streams, buf_bytes(&key), write, &before);
        if (code == 0 && before != NULL)
            code = err_set(&refusal->err, ERR_INVALID,
                           "stream %.*s stands twice in the request; put its events into one write",
                           (int)(write->stream.size_bytes < 100 ? write->stream.size_bytes : 100),
                           (const char *)write->stream.data);
    }
    buf_free(&key);
    map_free(&streams);
    return code == ERR_NO_MEMORY ? err_no_memory(&refusal->err, "a request's streams") : code;
}

static int check_all(const struct region_command *command, struct region_refusal *refusal)
{
    uint64_t bytes = 0;
    int code = 0;
    if (command->write_count == 0)
        return err_set(&refusal->err, ERR_INVALID, "the request is empty; it needs at least one write with one event");
    if (command->write_count > REGION_REQUEST_WRITES_MAX || count_events(command) > REGION_REQUEST_EVENTS_MAX)
        return err_set(&refusal->err, ERR_TOO_LARGE, "the request has %zu events, at most %d are allowed; split it",
                       count_events(command), REGION_REQUEST_EVENTS_MAX);
    for (size_t i = 0; code == 0 && i < command->write_count; i++)
        code = check_write(&command->writes[i], i, refusal, &bytes);
    if (code == 0 && bytes > REGION_REQUEST_MAX_BYTES)
        code = err_set(&refusal->err, ERR_TOO_LARGE, "the request has %llu bytes, at most %d are allowed; split it",
                       (unsigned long long)bytes, REGION_REQUEST_MAX_BYTES);
    if (code == 0)
        code = check_ids(command, refusal);
    if (code == 0)
        code = check_streams(command, refusal);
    return code;
}

int region_command_check(const struct region_command *command, struct region_refusal *refusal)
{
    memset(refusal, 0, sizeof(*refusal));
    int code = check_all(command, refusal);
    refusal->code = code;
    if (code == 0)
        memset(refusal, 0, sizeof(*refusal));
    return code;
}

size_t command_ahead(const struct region_command *command, struct command_cursor *cursor,
                     struct index_asked ret[COMMAND_AHEAD_EVENTS])
{
    size_t count = 0;
    while (count < COMMAND_AHEAD_EVENTS && cursor->write < command->write_count) {
        const struct region_stream_write *write = &command->writes[cursor->write];
        if (cursor->event < write->event_count)
            ret[count++] = (struct index_asked){.context = write->context,
                                                .stream = cursor->event == 0 ? write->stream : bytes_of(NULL, 0),
                                                .id = write->events[cursor->event].id};
        if (++cursor->event >= write->event_count)
            *cursor = (struct command_cursor){.write = cursor->write + 1};
    }
    return count;
}

static int prepare_event(const struct region_stream_write *write, struct region_new_event *event, struct sha256 *sha,
                         struct index *index, struct err *err)
{
    struct entry said = {.context = write->context,
                         .partition = write->partition,
                         .stream = write->stream,
                         .type = event->type,
                         .content_type = event->content_type,
                         .metadata = event->metadata,
                         .causation_id = event->causation_id,
                         .correlation_id = event->correlation_id};
    event->fingerprint = entry_fingerprint_and_commitment(sha, &said, event->salt, event->payload, &event->commitment);
    int code = index_event(index, event->id, &event->seen, err);
    event->known = code == 0;
    return code == ERR_NOT_FOUND ? 0 : code;
}

/* Event `event` of write `write` is next: when nothing from it on has been announced to the index, some are. */
static void look_ahead(const struct region_command *command, struct index *index, size_t write, size_t event,
                       struct command_cursor *ahead)
{
    struct index_asked asked[COMMAND_AHEAD_EVENTS];
    if (ahead->write == write && ahead->event == event)
        index_ahead(index, asked, command_ahead(command, ahead, asked));
}

int region_command_prepare(struct region_command *command, struct sha256 *sha, struct index *index, struct err *err)
{
    struct command_cursor ahead = {0};
    command->index_sequence = index_sequence(index);
    for (size_t w = 0; w < command->write_count; w++) {
        struct region_stream_write *write = &command->writes[w];
        look_ahead(command, index, w, 0, &ahead);
        int code = index_head(index, write->context, write->stream, &write->head, err);
        write->head_known = code == 0;
        if (code == ERR_NOT_FOUND)
            code = 0;
        for (size_t i = 0; code == 0 && i < write->event_count; i++) {
            look_ahead(command, index, w, i, &ahead);
            code = prepare_event(write, &write->events[i], sha, index, err);
        }
        if (code != 0)
            return code;
    }
    return 0;
}
