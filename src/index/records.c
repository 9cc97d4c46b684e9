/* Values of the store (records.h): little-endian fixed fields first, then varints, then texts behind their u16 length.
 * Nothing may follow. */
#include "index/records.h"

#include "base/assert.h"
#include "domain/definition.h"
#include "entry/wire.h"

enum { LATE_BIT = 0x80, REMOVED_BIT = 0x80, COMMUTATIVE_BIT = 0x40, LOG_MASK = 0x3f };
enum { ITEM_DUPLICATE, ITEM_LATE, ITEM_OVERRIDE, ITEM_LATE_COMMUTATIVE, ITEM_DUPLICATE_COMMUTATIVE };

_Static_assert((int)INDEX_LOGS_MAX <= (int)LOG_MASK + 1, "a log's number fits its bits");

/* --- Pieces --- */

/* Remembers the first failure, so that callers may put one piece after the other. */
struct writing {
    struct buf *out;
    int code;
};

static struct writing writing_start(struct buf *out)
{
    buf_clear(out);
    return (struct writing){.out = out};
}

static void put(struct writing *writing, struct bytes bytes)
{
    if (writing->code == 0)
        writing->code = buf_append(writing->out, bytes);
}

static void put_u8(struct writing *writing, uint8_t value)
{
    put(writing, bytes_of(&value, 1));
}

static void put_u64(struct writing *writing, uint64_t value)
{
    uint8_t bytes[8];
    put_u64_le(bytes, value);
    put(writing, bytes_of(bytes, sizeof(bytes)));
}

static void put_varint(struct writing *writing, uint64_t value)
{
    uint8_t bytes[WIRE_VARINT_MAX_BYTES];
    put(writing, bytes_of(bytes, (size_t)(wire_put_varint(bytes, value) - bytes)));
}

static void put_text(struct writing *writing, struct bytes text)
{
    uint8_t size[2];
    PRE(text.size_bytes <= UINT16_MAX);
    put_u16_be(size, (uint16_t)text.size_bytes);
    put(writing, bytes_of(size, sizeof(size)));
    put(writing, text);
}

struct taking {
    struct bytes rest;
    bool failed;
};

static struct bytes take(struct taking *taking, size_t size_bytes)
{
    if (taking->failed || taking->rest.size_bytes < size_bytes) {
        taking->failed = true;
        return bytes_of(NULL, 0);
    }
    struct bytes taken = bytes_of(taking->rest.data, size_bytes);
    taking->rest = bytes_of(taking->rest.data + size_bytes, taking->rest.size_bytes - size_bytes);
    return taken;
}

static uint8_t take_u8(struct taking *taking)
{
    struct bytes taken = take(taking, 1);
    return taking->failed ? 0 : taken.data[0];
}

static uint64_t take_u64(struct taking *taking)
{
    struct bytes taken = take(taking, 8);
    return taking->failed ? 0 : get_u64_le(taken.data);
}

static uint64_t take_varint(struct taking *taking)
{
    uint64_t value = 0;
    if (!taking->failed && !wire_take_varint(&taking->rest, &value))
        taking->failed = true;
    return value;
}

static struct bytes take_text(struct taking *taking, size_t max_bytes)
{
    struct bytes size = take(taking, 2);
    size_t size_bytes = taking->failed ? 0 : get_u16_be(size.data);
    if (size_bytes > max_bytes)
        taking->failed = true;
    return take(taking, size_bytes);
}

static void take_id(struct taking *taking, uint8_t ret[ENTRY_ID_SIZE])
{
    struct bytes taken = take(taking, ENTRY_ID_SIZE);
    if (!taking->failed)
        memcpy(ret, taken.data, ENTRY_ID_SIZE);
}

static bool finished(const struct taking *taking)
{
    return !taking->failed && taking->rest.size_bytes == 0;
}

/* --- Events, heads, versions --- */

/* Ids that their makers drew as UUIDv7 begin with Unix milliseconds, and so is an entry's time, but for its last 16
 * bits: what is left of it is short. Any other id gives a long number, and no wrong one. */
static uint64_t time_of_id(const uint8_t id[ENTRY_ID_SIZE])
{
    return get_u64_be(id) & ~(uint64_t)UINT16_MAX;
}

/* Small numbers of either sign become small numbers (as in Protocol Buffers). */
static uint64_t zigzag(uint64_t difference)
{
    return difference << 1 ^ (difference >> 63 != 0 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t number)
{
    return number >> 1 ^ ((number & 1) != 0 ? UINT64_MAX : 0);
}

int event_encode(const uint8_t id[ENTRY_ID_SIZE], const struct event_record *event, struct buf *out)
{
    struct writing writing = writing_start(out);
    put_u8(&writing,
           (uint8_t)(event->place.log | (event->late ? LATE_BIT : 0) | (event->commutative ? COMMUTATIVE_BIT : 0)));
    put_u64(&writing, event->fingerprint);
    put_varint(&writing, zigzag(event->time - time_of_id(id)));
    put_varint(&writing, event->place.index);
    put_varint(&writing, event->stream_version);
    return writing.code;
}

bool event_decode(const uint8_t id[ENTRY_ID_SIZE], struct bytes in, struct event_record *ret)
{
    struct taking taking = {.rest = in};
    uint8_t log = take_u8(&taking);
    struct event_record event = {
        .place.log = log & LOG_MASK, .late = (log & LATE_BIT) != 0, .commutative = (log & COMMUTATIVE_BIT) != 0};
    event.fingerprint = take_u64(&taking);
    event.time = time_of_id(id) + unzigzag(take_varint(&taking));
    event.place.index = take_varint(&taking);
    event.stream_version = take_varint(&taking);
    *ret = event;
    return finished(&taking);
}

int head_encode(const struct head_record *head, struct buf *out)
{
    struct writing writing = writing_start(out);
    put_u8(&writing, (uint8_t)head->place.log);
    put_u64(&writing, head->time);
    put_varint(&writing, head->place.index);
    put_varint(&writing, head->version);
    return writing.code;
}

bool head_decode(struct bytes in, struct head_record *ret)
{
    struct taking taking = {.rest = in};
    struct head_record head = {.place.log = take_u8(&taking)};
    head.time = take_u64(&taking);
    head.place.index = take_varint(&taking);
    head.version = take_varint(&taking);
    *ret = head;
    return finished(&taking);
}

size_t version_encode(const struct version_record *version, uint8_t out[VERSION_RECORD_MAX_BYTES])
{
    out[0] = (uint8_t)(version->place.log | (version->removed ? REMOVED_BIT : 0));
    out[1] = version->low;
    put_u64_le(out + 2, version->time);
    return (size_t)(wire_put_varint(out + 10, version->place.index) - out);
}

bool version_take(struct bytes *in, struct version_record *ret)
{
    struct taking taking = {.rest = *in};
    uint8_t log = take_u8(&taking);
    struct version_record version = {.place.log = log & LOG_MASK, .removed = (log & REMOVED_BIT) != 0};
    version.low = take_u8(&taking);
    version.time = take_u64(&taking);
    version.place.index = take_varint(&taking);
    *ret = version;
    *in = taking.rest;
    return !taking.failed;
}

/* --- Items, decisions, compensations --- */

struct item item_of(const struct index_entry *entry, bool late)
{
    const struct entry *from = entry->entry;
    bool override = (from->flags & ENTRY_FLAG_OVERRIDE) != 0;
    struct item item = {.late = late || override,
                        .override = override,
                        .commutative = (from->flags & ENTRY_FLAG_COMMUTATIVE) != 0,
                        .time = from->time,
                        .fingerprint = entry->fingerprint,
                        .stream_version = from->stream_version,
                        .epoch = from->epoch,
                        .context = from->context,
                        .partition = from->partition,
                        .stream = from->stream,
                        .type = from->type,
                        .causation_id = from->causation_id};
    memcpy(item.event_id, from->event_id, ENTRY_ID_SIZE);
    return item;
}

static uint8_t kind_of(const struct item *item)
{
    if (item->commutative)
        return item->late ? ITEM_LATE_COMMUTATIVE : ITEM_DUPLICATE_COMMUTATIVE;
    return item->override ? ITEM_OVERRIDE : item->late ? ITEM_LATE : ITEM_DUPLICATE;
}

int item_encode(const struct item *item, struct buf *out)
{
    struct writing writing = writing_start(out);
    put_u8(&writing, kind_of(item));
    put(&writing, bytes_of(item->event_id, ENTRY_ID_SIZE));
    put_u64(&writing, item->time);
    put_u64(&writing, item->fingerprint);
    put_varint(&writing, item->stream_version);
    if (item->late) {
        put_varint(&writing, item->epoch);
        put_text(&writing, item->context);
        put_text(&writing, item->partition);
        put_text(&writing, item->stream);
        put_text(&writing, item->type);
        put_text(&writing, item->causation_id);
    }
    return writing.code;
}

bool item_decode(struct bytes in, struct item *ret)
{
    struct taking taking = {.rest = in};
    uint8_t kind = take_u8(&taking);
    struct item item = {.late = kind != ITEM_DUPLICATE && kind != ITEM_DUPLICATE_COMMUTATIVE,
                        .override = kind == ITEM_OVERRIDE,
                        .commutative = kind == ITEM_LATE_COMMUTATIVE || kind == ITEM_DUPLICATE_COMMUTATIVE};
    take_id(&taking, item.event_id);
    item.time = take_u64(&taking);
    item.fingerprint = take_u64(&taking);
    item.stream_version = take_varint(&taking);
    if (item.late) {
        item.epoch = take_varint(&taking);
        item.context = take_text(&taking, ENTRY_NAME_MAX_BYTES);
        item.partition = take_text(&taking, ENTRY_NAME_MAX_BYTES);
        item.stream = take_text(&taking, ENTRY_STREAM_MAX_BYTES);
        item.type = take_text(&taking, ENTRY_NAME_MAX_BYTES);
        item.causation_id = take_text(&taking, ENTRY_ID_SIZE);
    }
    *ret = item;
    return finished(&taking) && kind <= ITEM_DUPLICATE_COMMUTATIVE &&
           (item.causation_id.size_bytes == 0 || item.causation_id.size_bytes == ENTRY_ID_SIZE);
}

int decision_encode(const struct decision_record *decision, struct buf *out)
{
    struct writing writing = writing_start(out);
    put_u8(&writing, (uint8_t)decision->settlement);
    put(&writing, bytes_of(decision->event_id, ENTRY_ID_SIZE));
    put_u64(&writing, decision->time);
    put_varint(&writing, decision->epoch);
    put_text(&writing, decision->context);
    put_text(&writing, decision->partition);
    return writing.code;
}

bool decision_decode(struct bytes in, struct decision_record *ret)
{
    struct taking taking = {.rest = in};
    struct decision_record decision = {.settlement = (enum settlement)take_u8(&taking)};
    take_id(&taking, decision.event_id);
    decision.time = take_u64(&taking);
    decision.epoch = take_varint(&taking);
    decision.context = take_text(&taking, ENTRY_NAME_MAX_BYTES);
    decision.partition = take_text(&taking, ENTRY_NAME_MAX_BYTES);
    *ret = decision;
    return finished(&taking) && decision.settlement >= SETTLED_ACCEPTED && decision.settlement <= SETTLED_COMPENSATE;
}

int caused_encode(const struct caused_record *caused, struct buf *out)
{
    struct writing writing = writing_start(out);
    put_varint(&writing, caused->epoch);
    put_text(&writing, caused->context);
    put_text(&writing, caused->partition);
    return writing.code;
}

bool caused_decode(struct bytes in, struct caused_record *ret)
{
    struct taking taking = {.rest = in};
    struct caused_record caused = {.epoch = take_varint(&taking)};
    caused.context = take_text(&taking, ENTRY_NAME_MAX_BYTES);
    caused.partition = take_text(&taking, ENTRY_NAME_MAX_BYTES);
    *ret = caused;
    return finished(&taking);
}

/* --- The queue --- */

int queued_encode(const struct queued_record *queued, struct buf *out)
{
    struct writing writing = writing_start(out);
    put(&writing, bytes_of(queued->event_id, ENTRY_ID_SIZE));
    put_u64(&writing, queued->time);
    put_varint(&writing, queued->size_bytes);
    put_varint(&writing, queued->event_count);
    put_text(&writing, queued->context);
    put_text(&writing, queued->partition);
    return writing.code;
}

bool queued_decode(struct bytes in, struct queued_record *ret)
{
    struct taking taking = {.rest = in};
    struct queued_record queued = {.time = 0};
    take_id(&taking, queued.event_id);
    queued.time = take_u64(&taking);
    queued.size_bytes = take_varint(&taking);
    queued.event_count = take_varint(&taking);
    queued.context = take_text(&taking, ENTRY_NAME_MAX_BYTES);
    queued.partition = take_text(&taking, ENTRY_NAME_MAX_BYTES);
    *ret = queued;
    return finished(&taking);
}

int verdict_encode(const struct verdict_record *verdict, struct buf *out)
{
    struct writing writing = writing_start(out);
    put_varint(&writing, (uint64_t)-verdict->code);
    put(&writing, bytes_of(verdict->event_id, ENTRY_ID_SIZE));
    put_u64(&writing, verdict->time);
    put_varint(&writing, verdict->epoch);
    put_text(&writing, verdict->context);
    put_text(&writing, verdict->partition);
    return writing.code;
}

bool verdict_decode(struct bytes in, struct verdict_record *ret)
{
    struct taking taking = {.rest = in};
    uint64_t code = take_varint(&taking);
    struct verdict_record verdict = {.code = code > CONTROL_CODE_MAX ? 0 : -(int)code};
    take_id(&taking, verdict.event_id);
    verdict.time = take_u64(&taking);
    verdict.epoch = take_varint(&taking);
    verdict.context = take_text(&taking, ENTRY_NAME_MAX_BYTES);
    verdict.partition = take_text(&taking, ENTRY_NAME_MAX_BYTES);
    *ret = verdict;
    return finished(&taking) && code <= CONTROL_CODE_MAX;
}

/* --- Authority --- */

int authority_encode(const struct authority_event_record *event, struct buf *out)
{
    struct writing writing = writing_start(out);
    put_u8(&writing, (uint8_t)event->kind);
    put_u64(&writing, event->time);
    put_varint(&writing, event->epoch);
    put_text(&writing, event->context);
    put_text(&writing, event->partition);
    put_text(&writing, event->payload);
    return writing.code;
}

bool authority_decode(struct bytes in, struct authority_event_record *ret)
{
    struct taking taking = {.rest = in};
    struct authority_event_record event = {.kind = (enum control_kind)take_u8(&taking)};
    event.time = take_u64(&taking);
    event.epoch = take_varint(&taking);
    event.context = take_text(&taking, ENTRY_NAME_MAX_BYTES);
    event.partition = take_text(&taking, ENTRY_NAME_MAX_BYTES);
    event.payload = take_text(&taking, DEFINITION_PAYLOAD_MAX_BYTES);
    *ret = event;
    return finished(&taking) && control_governs(event.kind);
}
