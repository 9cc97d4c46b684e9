/* Payloads of queued commands (queued.h), in the canonical form of entry/FORMAT.md: message CommandQueued of
 * proto/tally/v1/control.proto. */
#include "domain/queued.h"

#include "domain/control.h"
#include "domain/fields.h"

enum { FIELD_WRITE = 1, FIELD_EVENT = 4 };

/* --- Writing --- */

/* The message in *message as a member of *out. */
static int put_message(struct buf *out, uint32_t field, struct buf *message, int code)
{
    if (code == 0)
        code = fields_put_member(out, field, buf_bytes(message));
    buf_free(message);
    return code;
}

int queued_put_event(const struct queued_event *event, struct buf *out)
{
    const struct bytes parts[] = {bytes_of(event->id, ENTRY_ID_SIZE),
                                  event->type,
                                  event->content_type,
                                  event->metadata,
                                  event->payload,
                                  event->causation_id,
                                  event->correlation_id};
    struct buf message;
    int code = 0;
    buf_init(&message, out->max_bytes);
    for (uint32_t i = 0; code == 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
        code = fields_put_text(&message, i + 1, parts[i]);
    return put_message(out, FIELD_EVENT, &message, code);
}

int queued_put_write(const struct queued_write *write, struct buf *out)
{
    struct buf message;
    buf_init(&message, out->max_bytes);
    int code = fields_put_text(&message, 1, write->stream);
    if (code == 0)
        code = fields_put_number(&message, 2, write->expectation);
    if (code == 0)
        code = fields_put_number(&message, 3, write->expected_version);
    if (code == 0)
        code = buf_append(&message, write->events);
    return put_message(out, FIELD_WRITE, &message, code);
}

/* --- Reading --- */

static bool parse_event(struct bytes message, struct queued_event *ret)
{
    struct fields reading = {.rest = message};
    struct queued_event event = {.type = {.data = NULL}};
    struct bytes id = fields_take_text(&reading, 1);
    event.type = fields_take_text(&reading, 2);
    event.content_type = fields_take_text(&reading, 3);
    event.metadata = fields_take_text(&reading, 4);
    event.payload = fields_take_text(&reading, 5);
    event.causation_id = fields_take_text(&reading, 6);
    event.correlation_id = fields_take_text(&reading, 7);
    if (!fields_all_read(&reading) || id.size_bytes != ENTRY_ID_SIZE)
        return false;
    memcpy(event.id, id.data, ENTRY_ID_SIZE);
    *ret = event;
    return true;
}

static bool parse_write(struct bytes message, struct queued_write *ret)
{
    struct fields reading = {.rest = message};
    struct queued_write write = {.stream = fields_take_text(&reading, 1)};
    uint64_t expectation = fields_take_number(&reading, 2);
    write.expected_version = fields_take_number(&reading, 3);
    write.expectation = (enum stream_expectation)expectation;
    write.events = reading.rest;
    if (reading.failed || expectation > STREAM_AT || (write.expected_version != 0 && expectation != STREAM_AT))
        return false;
    *ret = write;
    return true;
}

bool queued_next_write(struct bytes *payload, struct queued_write *ret)
{
    struct fields reading = {.rest = *payload};
    struct bytes message;
    if (!fields_take_member(&reading, FIELD_WRITE, &message) || !parse_write(message, ret))
        return false;
    *payload = reading.rest;
    return true;
}

bool queued_next_event(struct bytes *events, struct queued_event *ret)
{
    struct fields reading = {.rest = *events};
    struct bytes message;
    if (!fields_take_member(&reading, FIELD_EVENT, &message) || !parse_event(message, ret))
        return false;
    *events = reading.rest;
    return true;
}

/* --- Checking --- */

static bool is_client_name(struct bytes name, size_t max_bytes)
{
    return entry_check_name(name, max_bytes, "a name", NULL) == 0 && !control_name_reserved(name);
}

static bool is_optional_id(struct bytes id)
{
    return id.size_bytes == 0 || id.size_bytes == ENTRY_ID_SIZE;
}

static bool event_is_valid(const struct queued_event *event)
{
    bool named = is_client_name(event->type, ENTRY_NAME_MAX_BYTES) &&
                 (event->content_type.size_bytes == 0 ||
                  entry_check_name(event->content_type, ENTRY_NAME_MAX_BYTES, "a content type", NULL) == 0);
    return named && event->metadata.size_bytes <= ENTRY_METADATA_MAX_BYTES && is_optional_id(event->causation_id) &&
           is_optional_id(event->correlation_id);
}

static bool check_events(struct bytes events, size_t *count)
{
    struct queued_event event;
    size_t before = *count;
    while (*count <= QUEUED_EVENTS_MAX && queued_next_event(&events, &event)) {
        if (!event_is_valid(&event))
            return false;
        (*count)++;
    }
    return events.size_bytes == 0 && *count > before && *count <= QUEUED_EVENTS_MAX;
}

int queued_check(struct bytes payload, size_t *ret_writes, size_t *ret_events, struct err *err)
{
    struct queued_write write;
    size_t writes = 0;
    size_t events = 0;
    bool valid = payload.size_bytes <= QUEUED_PAYLOAD_MAX_BYTES;
    while (valid && queued_next_write(&payload, &write)) {
        valid = is_client_name(write.stream, ENTRY_STREAM_MAX_BYTES) && check_events(write.events, &events);
        writes++;
    }
    if (!valid || writes == 0 || payload.size_bytes > 0)
        return err_set(err, ERR_CORRUPT, "the payload of a queued command is none that a region writes");
    *ret_writes = writes;
    *ret_events = events;
    return 0;
}
