/* From a line of JSON to an event (ndjson.h): every name, type and length is checked here, and the error says which. */
#include "ndjson.h"

#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "entry/entry.h"
#include "json_scan.h"

int expectation_parse(const char *text, enum tally_expectation *ret, uint64_t *ret_version, struct err *err)
{
    if (strcmp(text, "any") == 0)
        *ret = TALLY_ANY;
    else if (strcmp(text, "none") == 0)
        *ret = TALLY_NO_STREAM;
    else if (strcmp(text, "exists") == 0)
        *ret = TALLY_EXISTS;
    else if (parse_u64(text, strlen(text), ret_version) == 0)
        *ret = TALLY_VERSION;
    else
        return err_set(err, ERR_INVALID, "expected is \"any\", \"none\", \"exists\" or a version, not \"%.40s\"", text);
    return 0;
}

static int check_names(json_t *object, bool allow_expected, struct err *err)
{
    static const char *const known[] = {"id",       "context",      "partition",      "stream",
                                        "type",     "payload",      "payload_base64", "content_type",
                                        "metadata", "causation_id", "correlation_id"};
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        const char *name = json_object_iter_key(at);
        bool found = allow_expected && strcmp(name, "expected") == 0;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            found = found || strcmp(name, known[i]) == 0;
        if (!found)
            return err_set(err, ERR_INVALID,
                           "unknown name \"%.60s\": known are id, context, partition, stream, type, "
                           "payload, payload_base64, content_type, metadata, causation_id, "
                           "correlation_id",
                           name);
    }
    return 0;
}

/* A text of the object, copied. Missing: ERR_INVALID if required, otherwise *ret is "". */
static int take_text(const json_t *object, const char *name, size_t max_bytes, bool required, struct arena *arena,
                     const char **ret, struct err *err)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL && !required) {
        *ret = "";
        return 0;
    }
    if (!json_is_string(value))
        return err_set(err, ERR_INVALID, value == NULL ? "\"%s\" is missing" : "\"%s\" is not a text", name);
    const char *text = json_string_value(value);
    if (required || text[0] != '\0') {
        int rc = entry_check_name(bytes_of(text, json_string_length(value)), max_bytes, name, err);
        if (rc != 0)
            return rc;
    }
    const char *copy = arena_copy(arena, text, json_string_length(value) + 1);
    if (copy == NULL)
        return err_no_memory(err, "an event");
    *ret = copy;
    return 0;
}

static int take_uuid(const json_t *object, const char *name, uint8_t out[UUID_SIZE], struct err *err)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL)
        return err_set(err, ERR_INVALID, "\"%s\" is missing", name);
    if (!json_is_string(value) || uuid_parse(json_string_value(value), json_string_length(value), out) != 0)
        return err_set(err, ERR_INVALID, "\"%s\" is not a UUID such as 018f3b1c-9c00-7000-8000-0123456789ab", name);
    return 0;
}

static int take_optional_uuid(const json_t *object, const char *name, struct arena *arena, const uint8_t **ret,
                              struct err *err)
{
    *ret = NULL;
    if (json_object_get(object, name) == NULL)
        return 0;
    uint8_t *id = arena_alloc(arena, UUID_SIZE);
    if (id == NULL)
        return err_no_memory(err, "an event");
    int rc = take_uuid(object, name, id, err);
    if (rc == 0)
        *ret = id;
    return rc;
}

/* A member's own text, compacted. */
static int take_raw(struct bytes line, const char *name, size_t max_bytes, struct arena *arena, struct tally_bytes *ret,
                    struct err *err)
{
    struct bytes raw;
    if (!json_scan_member(line, name, &raw))
        return err_set(err, ERR_INVALID, "write the name \"%s\" without escapes", name);
    struct buf compact;
    buf_init(&compact, max_bytes);
    int rc = json_scan_compact(raw, &compact);
    if (rc == ERR_TOO_LARGE)
        rc = err_set(err, rc, "\"%s\" is over %zu bytes", name, max_bytes);
    else if (rc != 0)
        rc = err_no_memory(err, "an event");
    if (rc == 0) {
        void *copy = arena_copy(arena, compact.data, compact.size_bytes);
        *ret = (struct tally_bytes){.data = copy, .size = compact.size_bytes};
        if (copy == NULL)
            rc = err_no_memory(err, "an event");
    }
    buf_free(&compact);
    return rc;
}

static int take_base64(const json_t *value, struct arena *arena, struct tally_bytes *ret, struct err *err)
{
    if (!json_is_string(value))
        return err_set(err, ERR_INVALID, "\"payload_base64\" is not a text");
    size_t text_size = json_string_length(value);
    size_t room = text_size / 4 * 3 + BASE64_SLACK_BYTES;
    uint8_t *data = arena_alloc(arena, room);
    if (data == NULL)
        return err_no_memory(err, "an event");
    size_t size = 0;
    if (base64_decode(json_string_value(value), text_size, data, room, &size) != 0)
        return err_set(err, ERR_INVALID, "\"payload_base64\" is not base64 with padding (RFC 4648 section 4)");
    if (size > ENTRY_PAYLOAD_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "\"payload_base64\" holds %zu bytes: at most %d", size,
                       ENTRY_PAYLOAD_MAX_BYTES);
    *ret = (struct tally_bytes){.data = data, .size = size};
    return 0;
}

static int take_payload(const json_t *object, struct bytes line, struct arena *arena, struct tally_event *event,
                        struct err *err)
{
    const json_t *json = json_object_get(object, "payload");
    const json_t *base64 = json_object_get(object, "payload_base64");
    if (json != NULL && base64 != NULL)
        return err_set(err, ERR_INVALID, "either \"payload\" or \"payload_base64\", not both");
    if (base64 != NULL)
        return take_base64(base64, arena, &event->payload, err);
    if (json == NULL)
        return 0;
    if (event->content_type[0] == '\0')
        event->content_type = "application/json";
    return take_raw(line, "payload", ENTRY_PAYLOAD_MAX_BYTES, arena, &event->payload, err);
}

static int take_metadata(const json_t *object, struct bytes line, struct arena *arena, struct tally_event *event,
                         struct err *err)
{
    const json_t *metadata = json_object_get(object, "metadata");
    if (metadata == NULL)
        return 0;
    if (!json_is_object(metadata))
        return err_set(err, ERR_INVALID, "\"metadata\" is not an object");
    return take_raw(line, "metadata", ENTRY_METADATA_MAX_BYTES, arena, &event->metadata, err);
}

static int take_expected(const json_t *object, struct bytes line, struct ndjson_event *event, struct err *err)
{
    const json_t *value = json_object_get(object, "expected");
    struct bytes raw;
    if (value == NULL)
        return 0;
    if (json_is_number(value) && json_scan_member(line, "expected", &raw) &&
        parse_u64((const char *)raw.data, raw.size_bytes, &event->expected_version) == 0) {
        event->expected = TALLY_VERSION;
        return 0;
    }
    if (!json_is_string(value))
        return err_set(err, ERR_INVALID, "\"expected\" is \"any\", \"none\", \"exists\" or a version");
    return expectation_parse(json_string_value(value), &event->expected, &event->expected_version, err);
}

static int parse_object(json_t *object, struct bytes line, bool allow_expected, struct arena *arena,
                        struct ndjson_event *event, struct err *err)
{
    int rc = check_names(object, allow_expected, err);
    if (rc == 0)
        rc = take_uuid(object, "id", event->event.id, err);
    if (rc == 0)
        rc = take_text(object, "context", ENTRY_NAME_MAX_BYTES, true, arena, &event->context, err);
    if (rc == 0)
        rc = take_text(object, "partition", ENTRY_NAME_MAX_BYTES, true, arena, &event->partition, err);
    if (rc == 0)
        rc = take_text(object, "stream", ENTRY_STREAM_MAX_BYTES, true, arena, &event->stream, err);
    if (rc == 0)
        rc = take_text(object, "type", ENTRY_NAME_MAX_BYTES, true, arena, &event->event.type, err);
    if (rc == 0)
        rc = take_text(object, "content_type", ENTRY_NAME_MAX_BYTES, false, arena, &event->event.content_type, err);
    if (rc == 0)
        rc = take_optional_uuid(object, "causation_id", arena, &event->event.causation_id, err);
    if (rc == 0)
        rc = take_optional_uuid(object, "correlation_id", arena, &event->event.correlation_id, err);
    if (rc == 0)
        rc = take_payload(object, line, arena, &event->event, err);
    if (rc == 0)
        rc = take_metadata(object, line, arena, &event->event, err);
    return rc == 0 && allow_expected ? take_expected(object, line, event, err) : rc;
}

int ndjson_parse(struct bytes line, bool allow_expected, struct arena *arena, struct ndjson_event *ret, struct err *err)
{
    json_error_t where;
    json_t *object = json_loadb((const char *)line.data, line.size_bytes,
                                JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY, &where);
    if (object == NULL)
        return err_set(err, ERR_INVALID, "not JSON at column %d: %s", where.column, where.text);
    struct ndjson_event event = {0};
    int rc = json_is_object(object) ? parse_object(object, line, allow_expected, arena, &event, err)
                                    : err_set(err, ERR_INVALID, "not a JSON object: an event is {\"id\":…}");
    json_decref(object);
    if (rc == 0)
        *ret = event;
    return rc;
}
