/* Reading streams and logs, and following them.
 *
 * A ReadResponse carries a run of events of one log as they stand in the log's files. It is not decoded into objects:
 * the fields are walked in place, and each event goes through the strict parsers of src/entry, which also the log and
 * the verifier use. So an answer's cost is its bytes, and what reaches the caller obeys every rule of an entry.
 *
 * The position of a subscription's message covers all events in it. It becomes the reader's position only once the last
 * of them was returned, so that whoever stores it between two events repeats some after a crash and never skips one. */
#include "client/read.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/time.h"
#include "client/client_internal.h"
#include "entry/entry.h"
#include "entry/frame.h"
#include "entry/wire.h"
#include "tally/v1/ledger.pb-c.h"

enum {
    FIELD_EVENTS = 1,
    FIELD_ORIGIN = 2,
    FIELD_POSITION = 3,
    FIELD_CAUGHT_UP = 4,
    FIELD_AS_OF = 5,
    FIELD_STALENESS = 6,
    FIELD_STALENESS_UNKNOWN = 7,
    FIELD_HOME = 8,
    POSITION_TEXT_MAX_BYTES = 8192,
    HOME_MAX_BYTES = 63,
    DEMAND_WAIT_DEFAULT_MS = 30 * 1000,
};

struct tally_reader {
    struct channel_call *call;
    struct buf message; /* what `batch` borrows from */
    struct read_batch batch;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    char position[POSITION_TEXT_MAX_BYTES + 1];
    char as_of_position[POSITION_TEXT_MAX_BYTES + 1];
    char home[HOME_MAX_BYTES + 1];
    struct tally_as_of as_of; /* position NULL: nothing was said */
};

/* --- One message --- */

/* A field of any kind is taken off *in; its bytes or number are in *ret_bytes or *ret_number. */
static bool take_field(struct bytes *in, uint32_t *ret_field, enum wire_type *ret_type, struct bytes *ret_bytes,
                       uint64_t *ret_number)
{
    if (!wire_take_tag(in, ret_field, ret_type))
        return false;
    switch (*ret_type) {
    case WIRE_VARINT:
        return wire_take_varint(in, ret_number);
    case WIRE_FIXED64:
        return wire_take_fixed64(in, ret_number);
    case WIRE_BYTES:
        return wire_take_bytes(in, ret_bytes);
    }
    return false;
}

/* Fields of the answer to a demand. */
static void take_as_of(uint32_t field, enum wire_type type, struct bytes bytes, uint64_t number,
                       struct read_batch *batch)
{
    if (field == FIELD_AS_OF && type == WIRE_BYTES)
        batch->as_of = bytes;
    if (field == FIELD_HOME && type == WIRE_BYTES)
        batch->home = bytes;
    if (field == FIELD_STALENESS && type == WIRE_VARINT)
        batch->staleness_ms = number;
    if (field == FIELD_STALENESS_UNKNOWN && type == WIRE_VARINT)
        batch->staleness_unknown = number != 0;
}

static int check_texts(const struct read_batch *batch, struct err *err)
{
    if (batch->origin.size_bytes > ENTRY_ORIGIN_MAX_BYTES || batch->position.size_bytes > POSITION_TEXT_MAX_BYTES ||
        batch->as_of.size_bytes > POSITION_TEXT_MAX_BYTES || batch->home.size_bytes > HOME_MAX_BYTES)
        return err_set(err, ERR_CORRUPT, "a ReadResponse whose origin or position is too long");
    if (!utf8_valid(batch->origin) || !utf8_valid(batch->position) || !utf8_valid(batch->as_of) ||
        !utf8_valid(batch->home))
        return err_set(err, ERR_CORRUPT, "a ReadResponse whose origin or position is not UTF-8");
    return 0;
}

int read_batch_parse(struct bytes message, struct read_batch *ret, struct err *err)
{
    struct read_batch batch = {.rest = message};
    struct bytes rest = message;
    while (rest.size_bytes > 0) {
        uint32_t field = 0;
        enum wire_type type = WIRE_VARINT;
        struct bytes bytes = {0};
        uint64_t number = 0;
        if (!take_field(&rest, &field, &type, &bytes, &number))
            return err_set(err, ERR_CORRUPT, "an answer that is not a ReadResponse, at byte %zu",
                           message.size_bytes - rest.size_bytes);
        if (field <= FIELD_POSITION && type != WIRE_BYTES)
            return err_set(err, ERR_CORRUPT, "a ReadResponse whose field %u is a number", (unsigned)field);
        if (field == FIELD_ORIGIN)
            batch.origin = bytes;
        if (field == FIELD_POSITION)
            batch.position = bytes;
        if (field == FIELD_CAUGHT_UP && type == WIRE_VARINT)
            batch.caught_up = number != 0;
        take_as_of(field, type, bytes, number, &batch);
    }
    int rc = check_texts(&batch, err);
    if (rc == 0)
        *ret = batch;
    return rc;
}

static struct tally_bytes borrowed(struct bytes bytes)
{
    return (struct tally_bytes){.data = bytes.data, .size = bytes.size_bytes};
}

static void recorded_fill(const struct frame *frame, const struct entry *entry, struct tally_recorded *ret)
{
    *ret = (struct tally_recorded){
        .index = entry->index,
        .time_unix_ms = hlc_unix_ms(entry->time),
        .time_counter = (uint32_t)(entry->time & 0xffff),
        .context = borrowed(entry->context),
        .partition = borrowed(entry->partition),
        .stream = borrowed(entry->stream),
        .stream_version = entry->stream_version,
        .type = borrowed(entry->type),
        .epoch = entry->epoch,
        .control = (entry->flags & ENTRY_FLAG_CONTROL) != 0,
        .override = (entry->flags & ENTRY_FLAG_OVERRIDE) != 0,
        .commutative = (entry->flags & ENTRY_FLAG_COMMUTATIVE) != 0,
        .causation_id = borrowed(entry->causation_id),
        .correlation_id = borrowed(entry->correlation_id),
        .content_type = borrowed(entry->content_type),
        .metadata = borrowed(entry->metadata),
        .payload_held = frame->has_payload,
        .payload_size = entry->payload_size_bytes,
        .payload = borrowed(frame->payload),
        .entry = borrowed(frame->entry),
    };
    memcpy(ret->event_id, entry->event_id, TALLY_ID_SIZE);
}

int read_recorded(struct bytes bytes, struct tally_recorded *ret, struct err *err)
{
    struct frame frame;
    struct entry entry;
    int rc = frame_parse(bytes, &frame, err);
    if (rc == 0)
        rc = entry_parse(frame.entry, &entry, err);
    if (rc != 0)
        return err_wrap(err, rc, "the server sent an event that breaks the rules");
    recorded_fill(&frame, &entry, ret);
    return 0;
}

int read_batch_next(struct read_batch *batch, struct tally_recorded *ret, struct err *err)
{
    while (batch->rest.size_bytes > 0) {
        uint32_t field = 0;
        enum wire_type type = WIRE_VARINT;
        struct bytes bytes = {0};
        uint64_t number = 0;
        bool taken = take_field(&batch->rest, &field, &type, &bytes, &number);
        INVARIANT(taken);
        if (field != FIELD_EVENTS)
            continue;
        return read_recorded(bytes, ret, err);
    }
    return err_set(err, ERR_END, "no more events in this message");
}

/* --- Readers --- */

static int reader_open(struct tally_client *client, const char *method, const ProtobufCMessage *request,
                       uint64_t silence_ms, struct tally_reader **ret, struct err *err)
{
    struct tally_reader *reader = mem_alloc_zero(1, sizeof(*reader));
    if (reader == NULL)
        return err_no_memory(err, "a reader");
    buf_init(&reader->message, CHANNEL_MESSAGE_MAX_BYTES);
    int rc = client_encode(request, &reader->message, err);
    if (rc == 0)
        rc = channel_call_open(client->channel, method, silence_ms, &reader->call, err);
    if (rc != 0)
        goto free_reader;
    rc = channel_call_write(reader->call, buf_bytes(&reader->message), err);
    if (rc == 0)
        rc = channel_call_writes_done(reader->call, err);
    if (rc != 0) {
        buf_clear(&reader->message);
        rc = channel_call_read(reader->call, &reader->message, NULL, err);
        if (rc == 0 || rc == ERR_END)
            rc = err_set(err, ERR_CORRUPT, "the server ended %s before it had the request", method);
        channel_call_close(reader->call);
        goto free_reader;
    }
    buf_clear(&reader->message);
    *ret = reader;
    return 0;

free_reader:
    buf_free(&reader->message);
    mem_free(reader);
    return rc;
}

static Tally__V1__ReadDemand *demand_message(const struct tally_demand *demand, Tally__V1__ReadDemand *storage)
{
    if (demand == NULL)
        return NULL;
    tally__v1__read_demand__init(storage);
    storage->at_least = client_text(demand->at_least);
    storage->max_staleness_ms = demand->max_staleness_ms;
    storage->home_only = demand->home_only;
    storage->timeout_ms = demand->timeout_ms;
    return storage;
}

/* The server waits for the demand first, and then says itself that it cannot be met. */
static uint64_t silence_allowed_ms(const struct tally_range *range)
{
    const struct tally_demand *demand = range->demand;
    if (range->timeout_ms == 0 || demand == NULL)
        return range->timeout_ms;
    return range->timeout_ms + (demand->timeout_ms == 0 ? DEMAND_WAIT_DEFAULT_MS : demand->timeout_ms);
}

int tally_read_stream(struct tally_client *client, const char *context, const char *stream,
                      const struct tally_range *range, struct tally_reader **ret, struct err *err)
{
    Tally__V1__ReadDemand demand;
    Tally__V1__ReadStreamRequest request;
    tally__v1__read_stream_request__init(&request);
    request.context = client_text(context);
    request.stream = client_text(stream);
    request.from_version = range->from;
    request.from_end = range->from_end;
    request.backwards = range->backwards;
    request.limit = range->limit;
    request.loose = range->loose;
    request.demand = demand_message(range->demand, &demand);
    return reader_open(client, "/tally.v1.Ledger/ReadStream", &request.base, silence_allowed_ms(range), ret, err);
}

int tally_read_log(struct tally_client *client, const char *origin, const struct tally_range *range,
                   struct tally_reader **ret, struct err *err)
{
    Tally__V1__ReadDemand demand;
    Tally__V1__ReadLogRequest request;
    tally__v1__read_log_request__init(&request);
    request.origin = client_text(origin);
    request.from_index = range->from;
    request.from_end = range->from_end;
    request.backwards = range->backwards;
    request.limit = range->limit;
    request.demand = demand_message(range->demand, &demand);
    return reader_open(client, "/tally.v1.Ledger/ReadLog", &request.base, silence_allowed_ms(range), ret, err);
}

int tally_subscribe(struct tally_client *client, const char *position, const char *context, const char *stream,
                    struct tally_reader **ret, struct err *err)
{
    Tally__V1__SubscribeRequest request;
    tally__v1__subscribe_request__init(&request);
    request.position = client_text(position);
    request.context = client_text(context);
    request.stream = client_text(stream);
    return reader_open(client, "/tally.v1.Ledger/Subscribe", &request.base, 0, ret, err);
}

static void text_keep(char *out, struct bytes text)
{
    if (text.size_bytes > 0)
        memcpy(out, text.data, text.size_bytes);
    out[text.size_bytes] = '\0';
}

static void as_of_keep(struct tally_reader *reader)
{
    const struct read_batch *batch = &reader->batch;
    if (batch->as_of.size_bytes == 0 && batch->home.size_bytes == 0)
        return;
    text_keep(reader->as_of_position, batch->as_of);
    text_keep(reader->home, batch->home);
    reader->as_of = (struct tally_as_of){.position = reader->as_of_position,
                                         .home = reader->home,
                                         .staleness_ms = batch->staleness_ms,
                                         .staleness_unknown = batch->staleness_unknown};
}

int tally_reader_next(struct tally_reader *reader, enum tally_item *ret_item, struct tally_recorded *ret,
                      struct err *err)
{
    for (;;) {
        int rc = read_batch_next(&reader->batch, ret, err);
        if (rc == 0) {
            ret->origin = reader->origin;
            *ret_item = TALLY_ITEM_EVENT;
            return 0;
        }
        if (rc != ERR_END)
            return rc;
        if (reader->batch.position.size_bytes > 0)
            text_keep(reader->position, reader->batch.position);
        if (reader->batch.caught_up) {
            reader->batch.caught_up = false;
            *ret_item = TALLY_ITEM_CAUGHT_UP;
            return 0;
        }
        reader->batch = (struct read_batch){0};
        buf_clear(&reader->message);
        rc = channel_call_read(reader->call, &reader->message, NULL, err);
        if (rc == 0)
            rc = read_batch_parse(buf_bytes(&reader->message), &reader->batch, err);
        if (rc != 0)
            return rc;
        text_keep(reader->origin, reader->batch.origin);
        as_of_keep(reader);
    }
}

const struct tally_as_of *tally_reader_as_of(const struct tally_reader *reader)
{
    return reader->as_of.position == NULL ? NULL : &reader->as_of;
}

const char *tally_reader_position(const struct tally_reader *reader)
{
    return reader->position;
}

void tally_reader_cancel(struct tally_reader *reader)
{
    channel_call_cancel(reader->call);
}

void tally_reader_close(struct tally_reader *reader)
{
    if (reader == NULL)
        return;
    channel_call_close(reader->call);
    buf_free(&reader->message);
    mem_free(reader);
}
