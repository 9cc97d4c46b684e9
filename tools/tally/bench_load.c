/* Prepared requests and cheap looks at answers (bench_load.h), on protobuf's wire format itself. Field numbers are
 * those of proto/tally/v1/ledger.proto and event.proto. */
#include "bench_load.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "entry/wire.h"
#include "platform/clock.h"
#include "tally/client.h"

enum {
    STREAM_DIGITS = 10,
    STAMP_BYTES = 8,
    EVENT_FIXED_BYTES = 256, /* id, type, tags, lengths and the names of its write, which are short */
    NAMES_MAX_BYTES = 3 * TALLY_STREAM_MAX_BYTES,
};

static const char event_type[] = "Measured";
static const char content_type[] = "application/octet-stream";

struct load {
    struct load_shape shape;
    struct prng prng;
    uint64_t next_stream;
    size_t writes;
    struct buf request;
    size_t *stream_at; /* of each write: where the digits of its stream stand */
    size_t *id_at;     /* of each event */
    size_t *payload_at;
};

/* --- Requests --- */

static size_t put_text(uint8_t *out, size_t at, uint32_t field, struct bytes text)
{
    return (size_t)(wire_put_bytes(out + at, field, text) - out);
}

static size_t text_size(struct bytes text)
{
    return text.size_bytes == 0 ? 0 : 1 + wire_varint_size(text.size_bytes) + text.size_bytes;
}

static size_t event_size(const struct load *load)
{
    return text_size(bytes_of(NULL, TALLY_ID_SIZE)) + text_size(bytes_of_string(event_type)) +
           text_size(bytes_of_string(content_type)) + text_size(bytes_of(NULL, load->shape.payload_bytes));
}

static size_t put_event(struct load *load, size_t number, const uint8_t *payload, size_t at)
{
    static const uint8_t no_id[TALLY_ID_SIZE];
    uint8_t *out = load->request.data;
    at = (size_t)(wire_put_varint(wire_put_tag(out + at, 8, WIRE_BYTES), event_size(load)) - out);
    at = put_text(out, at, 1, bytes_of(no_id, sizeof(no_id)));
    load->id_at[number] = at - TALLY_ID_SIZE;
    at = put_text(out, at, 2, bytes_of_string(event_type));
    at = put_text(out, at, 3, bytes_of_string(content_type));
    if (load->shape.payload_bytes > 0)
        at = put_text(out, at, 5, bytes_of(payload, load->shape.payload_bytes));
    load->payload_at[number] = at - load->shape.payload_bytes;
    return at;
}

static struct bytes stream_name(const struct load *load, char out[TALLY_STREAM_MAX_BYTES + 1])
{
    if (load->shape.stream != NULL)
        return bytes_of_string(load->shape.stream);
    (void)snprintf(out, TALLY_STREAM_MAX_BYTES + 1, BENCH_STREAM_PREFIX "%0*d", STREAM_DIGITS, 0);
    return bytes_of_string(out);
}

/* One write and its events from *number on. */
static size_t put_write(struct load *load, size_t write, size_t events, size_t *number, const uint8_t *payload,
                        size_t at)
{
    char name[TALLY_STREAM_MAX_BYTES + 1];
    uint8_t *out = load->request.data;
    struct bytes context = bytes_of_string(load->shape.context);
    struct bytes partition = bytes_of_string(load->shape.partition);
    struct bytes stream = stream_name(load, name);
    size_t event_bytes = event_size(load);
    size_t size = text_size(context) + text_size(partition) + text_size(stream) +
                  events * (1 + wire_varint_size(event_bytes) + event_bytes);
    at = (size_t)(wire_put_varint(wire_put_tag(out + at, 1, WIRE_BYTES), size) - out);
    at = put_text(out, at, 1, context);
    at = put_text(out, at, 2, partition);
    at = put_text(out, at, 3, stream);
    load->stream_at[write] = at - STREAM_DIGITS;
    for (size_t i = 0; i < events; i++)
        at = put_event(load, (*number)++, payload, at);
    return at;
}

static int encode(struct load *load, struct err *err)
{
    size_t event_max = load->shape.payload_bytes + EVENT_FIXED_BYTES;
    uint8_t *payload = mem_alloc(load->shape.payload_bytes + 1);
    int rc = buf_reserve(&load->request, load->shape.events * event_max + load->writes * NAMES_MAX_BYTES);
    if (payload == NULL || rc != 0) {
        mem_free(payload);
        return err_no_memory(err, "a prepared request");
    }
    prng_fill(&load->prng, payload, load->shape.payload_bytes);
    size_t at = 0;
    size_t number = 0;
    for (size_t write = 0; write < load->writes; write++) {
        size_t events = load->shape.events / load->writes + (write < load->shape.events % load->writes);
        at = put_write(load, write, events, &number, payload, at);
    }
    POST(number == load->shape.events && at <= load->request.capacity_bytes);
    load->request.size_bytes = at;
    mem_free(payload);
    return 0;
}

int load_new(const struct load_shape *shape, uint64_t seed, struct load **ret, struct err *err)
{
    PRE(shape->events >= 1 && shape->streams >= 1);
    if (shape->events > TALLY_BATCH_EVENTS_MAX || shape->events * shape->payload_bytes > TALLY_BATCH_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "a request holds at most %d events and %d bytes: make the batch smaller",
                       TALLY_BATCH_EVENTS_MAX, TALLY_BATCH_MAX_BYTES);
    struct load *load = mem_alloc_zero(1, sizeof(*load));
    if (load == NULL)
        return err_no_memory(err, "a load");
    load->shape = *shape;
    load->writes = shape->stream != NULL ? 1 : shape->events < shape->streams ? shape->events : (size_t)shape->streams;
    prng_seed(&load->prng, seed);
    load->next_stream = prng_below(&load->prng, shape->streams);
    buf_init(&load->request, SIZE_MAX / 2);
    load->stream_at = mem_alloc_zero(load->writes, sizeof(*load->stream_at));
    load->id_at = mem_alloc_zero(shape->events, sizeof(*load->id_at));
    load->payload_at = mem_alloc_zero(shape->events, sizeof(*load->payload_at));
    int rc = load->stream_at == NULL || load->id_at == NULL || load->payload_at == NULL ? err_no_memory(err, "a load")
                                                                                        : encode(load, err);
    if (rc != 0) {
        load_free(load);
        return rc;
    }
    *ret = load;
    return 0;
}

void load_free(struct load *load)
{
    if (load == NULL)
        return;
    buf_free(&load->request);
    mem_free(load->payload_at);
    mem_free(load->id_at);
    mem_free(load->stream_at);
    mem_free(load);
}

static void put_stream(struct load *load, size_t write)
{
    uint8_t *digits = load->request.data + load->stream_at[write];
    uint64_t number = load->next_stream;
    load->next_stream = (number + 1) % load->shape.streams;
    for (size_t i = STREAM_DIGITS; i > 0; i--, number /= 10)
        digits[i - 1] = (uint8_t)('0' + number % 10);
}

struct bytes load_stamped(struct load *load, uint64_t unix_ms, uint64_t stamp)
{
    uint8_t random[16];
    for (size_t write = 0; load->shape.stream == NULL && write < load->writes; write++)
        put_stream(load, write);
    for (size_t i = 0; i < load->shape.events; i++) {
        put_u64_le(random, prng_next(&load->prng));
        put_u64_le(random + 8, stamp);
        uuid_v7(unix_ms, random, load->request.data + load->id_at[i]);
        if (load->shape.payload_bytes >= STAMP_BYTES)
            memcpy(load->request.data + load->payload_at[i], random + 8, STAMP_BYTES);
    }
    return buf_bytes(&load->request);
}

struct bytes load_next(struct load *load, uint64_t unix_ms)
{
    return load_stamped(load, unix_ms, prng_next(&load->prng));
}

/* --- Answers --- */

/* The value of one field: numbers in *number, the rest in *bytes. */
static bool take_field(struct bytes *in, uint32_t *field, uint64_t *number, struct bytes *bytes)
{
    enum wire_type type;
    *bytes = bytes_of(NULL, 0);
    *number = 0;
    if (!wire_take_tag(in, field, &type))
        return false;
    if (type == WIRE_BYTES)
        return wire_take_bytes(in, bytes);
    return type == WIRE_VARINT ? wire_take_varint(in, number) : wire_take_fixed64(in, number);
}

static bool take_result(struct bytes result, struct load_answer *answer)
{
    uint32_t field = 0;
    uint64_t number = 0;
    struct bytes bytes;
    answer->results++;
    while (result.size_bytes > 0) {
        if (!take_field(&result, &field, &number, &bytes))
            return false;
        answer->duplicates += field == 3 && number != 0;
    }
    return true;
}

static bool take_refusal(struct bytes detail, struct load_answer *answer)
{
    uint32_t field = 0;
    uint64_t number = 0;
    struct bytes bytes;
    answer->refused = true;
    while (detail.size_bytes > 0) {
        if (!take_field(&detail, &field, &number, &bytes))
            return false;
        if (field == 2)
            answer->reason = bytes;
        if (field == 12)
            answer->code = (int)(int64_t)number;
    }
    return true;
}

int load_check_answer(struct bytes answer, struct load_answer *ret, struct err *err)
{
    struct load_answer found = {0};
    uint32_t field = 0;
    uint64_t number = 0;
    struct bytes bytes;
    bool good = true;
    while (good && answer.size_bytes > 0) {
        good = take_field(&answer, &field, &number, &bytes);
        if (good && field == 2)
            good = take_result(bytes, &found);
        if (good && field == 5)
            good = take_refusal(bytes, &found);
    }
    if (!good)
        return err_set(err, ERR_CORRUPT, "the server's answer is not an AppendResponse");
    *ret = found;
    return 0;
}

/* The index is an entry's first field; left out when it is 0. */
static bool take_event(struct bytes event, struct load_page *page)
{
    uint32_t field = 0;
    uint64_t number = 0;
    uint64_t index = 0;
    struct bytes bytes;
    struct bytes ignored;
    page->last_payload = bytes_of(NULL, 0);
    while (event.size_bytes > 0) {
        if (!take_field(&event, &field, &number, &bytes))
            return false;
        if (field == 2)
            page->last_payload = bytes;
        if (field == 1 && bytes.size_bytes > 0 && !take_field(&bytes, &field, &index, &ignored))
            return false;
    }
    if (page->events == 0)
        page->first_index = index;
    else
        page->consecutive = page->consecutive && index == page->last_index + 1;
    page->last_index = index;
    page->events++;
    return true;
}

int load_check_page(struct bytes page, struct load_page *ret, struct err *err)
{
    struct load_page found = {.consecutive = true};
    uint32_t field = 0;
    uint64_t number = 0;
    struct bytes bytes;
    bool good = true;
    while (good && page.size_bytes > 0) {
        good = take_field(&page, &field, &number, &bytes);
        if (good && field == 1)
            good = take_event(bytes, &found);
        found.caught_up = found.caught_up || (field == 4 && number != 0);
    }
    if (!good)
        return err_set(err, ERR_CORRUPT, "the server's answer is not a ReadResponse");
    *ret = found;
    return 0;
}
