/* Tables, JSON lines and errors of all commands (output.h). */
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "entry/entry.h"
#include "json_scan.h"

enum { PAYLOAD_SHOWN_MAX_BYTES = 400, EVENT_JSON_MAX_BYTES = 16 * 1024 * 1024 };

int exit_code(int rc)
{
    if (rc == 0)
        return EXIT_OK;
    return rc == ERR_UNAVAILABLE || rc == ERR_TIMEOUT ? EXIT_UNREACHABLE : EXIT_FAILED;
}

static void write_text(FILE *out, struct bytes text)
{
    bool valid = utf8_valid(text);
    for (size_t i = 0; i < text.size_bytes; i++) {
        uint8_t c = text.data[i];
        /* U+0080 to U+009F are control characters too: C2 80 to C2 9F. */
        bool control = c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xa0 && i > 0 && text.data[i - 1] == 0xc2);
        (void)fputc(control || (c >= 0x80 && !valid) ? '?' : c, out);
    }
}

void print_text(struct bytes text)
{
    write_text(stdout, text);
}

void print_string(const char *text)
{
    write_text(stdout, bytes_of_string(text));
}

int fail(const struct err *err, bool json)
{
    if (json) {
        json_t *value = json_pack("{s:{s:s,s:o}}", "error", "code", tally_error_name(err->code), "message",
                                  json_cstring(err->message));
        if (value != NULL)
            (void)json_dumpf(value, stderr, JSON_COMPACT);
        json_decref(value);
    } else {
        (void)fputs("tally: ", stderr);
        write_text(stderr, bytes_of_string(err->message));
    }
    (void)fputc('\n', stderr);
    return exit_code(err->code);
}

json_t *json_text(struct bytes text)
{
    json_t *value = json_stringn((const char *)text.data, text.size_bytes);
    if (text.size_bytes == 0)
        return json_string("");
    if (value != NULL)
        return value;
    char *cleaned = mem_alloc(text.size_bytes);
    if (cleaned == NULL)
        return NULL;
    for (size_t i = 0; i < text.size_bytes; i++)
        cleaned[i] = text.data[i] < 0x80 ? (char)text.data[i] : '?';
    value = json_stringn(cleaned, text.size_bytes);
    mem_free(cleaned);
    return value;
}

json_t *json_cstring(const char *text)
{
    return json_text(bytes_of_string(text));
}

json_t *json_number(uint64_t value)
{
    char text[24];
    if (value <= INT64_MAX)
        return json_integer((json_int_t)value);
    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    return json_string(text);
}

int print_json(json_t *value, struct err *err)
{
    if (value == NULL)
        return err_no_memory(err, "the output");
    int failed = json_dumpf(value, stdout, JSON_COMPACT);
    json_decref(value);
    (void)fputc('\n', stdout);
    return failed == 0 ? 0 : err_set(err, ERR_IO, "standard output cannot be written");
}

int output_flush(struct err *err)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return err_errno(err, errno == 0 ? EIO : errno, "standard output");
    return 0;
}

/* --- Events --- */

static struct bytes of(struct tally_bytes bytes)
{
    return bytes_of(bytes.data, bytes.size);
}

void time_format(uint64_t unix_ms, char out[TIME_TEXT_MAX_BYTES])
{
    const size_t out_size = TIME_TEXT_MAX_BYTES;
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;
    size_t used = gmtime_r(&seconds, &parts) == NULL ? 0 : strftime(out, out_size, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(out + used, out_size - used, ".%03uZ", (unsigned)(unix_ms % 1000));
}

static bool is_json(struct bytes content_type)
{
    return bytes_equal(content_type, BYTES_LITERAL("application/json"));
}

static int print_event_line(const struct tally_recorded *event, const char *late_state)
{
    char time[TIME_TEXT_MAX_BYTES];
    time_format(event->time_unix_ms, time);
    if (late_state != NULL) {
        printf("late, ");
        print_string(late_state);
        printf(": ");
    }
    if (event->override && late_state == NULL)
        printf("override, not decided: ");
    print_string(event->origin);
    printf(" %" PRIu64 " %s ", event->index, time);
    print_text(of(event->context));
    putchar('/');
    print_text(of(event->stream));
    if (event->override || event->commutative)
        putchar(' ');
    else
        printf("@%" PRIu64 " ", event->stream_version);
    print_text(of(event->type));
    putchar(' ');
    struct bytes payload = of(event->payload);
    if (!event->payload_held)
        printf("(payload of %" PRIu64 " bytes is not held here)", event->payload_size);
    else if (!utf8_valid(payload))
        printf("(%zu bytes)", payload.size_bytes);
    else if (payload.size_bytes > PAYLOAD_SHOWN_MAX_BYTES)
        printf("(%zu bytes of text)", payload.size_bytes);
    else
        print_text(payload);
    putchar('\n');
    return 0;
}

static json_t *json_base64(struct bytes bytes)
{
    char *text = mem_alloc(BASE64_ENCODED_SIZE(bytes.size_bytes) + 1);
    if (text == NULL)
        return NULL;
    base64_encode(bytes, text);
    json_t *value = json_string(text);
    mem_free(text);
    return value;
}

static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static bool set_optional_id(json_t *object, const char *key, struct tally_bytes id)
{
    char text[UUID_TEXT_SIZE + 1];
    if (id.size != UUID_SIZE)
        return true;
    uuid_format(id.data, text);
    return set(object, key, json_string(text));
}

static json_t *event_object(const struct tally_recorded *event, const char *late_state)
{
    char time[TIME_TEXT_MAX_BYTES];
    char id[UUID_TEXT_SIZE + 1];
    time_format(event->time_unix_ms, time);
    uuid_format(event->event_id, id);
    json_t *object = json_object();
    bool made = object != NULL && set(object, "origin", json_cstring(event->origin)) &&
                set(object, "index", json_number(event->index)) && set(object, "time", json_string(time)) &&
                set(object, "id", json_string(id)) && set(object, "context", json_text(of(event->context))) &&
                set(object, "partition", json_text(of(event->partition))) &&
                set(object, "stream", json_text(of(event->stream))) &&
                set(object, "version", json_number(event->stream_version)) &&
                set(object, "type", json_text(of(event->type))) && set(object, "epoch", json_number(event->epoch)) &&
                set(object, "control", json_boolean(event->control)) &&
                set(object, "override", json_boolean(event->override)) &&
                set(object, "commutative", json_boolean(event->commutative)) &&
                set_optional_id(object, "causation_id", event->causation_id) &&
                set_optional_id(object, "correlation_id", event->correlation_id) &&
                set(object, "content_type", json_text(of(event->content_type))) &&
                set(object, "payload_size", json_number(event->payload_size));
    if (made && late_state != NULL)
        made = set(object, "late", json_cstring(late_state));
    if (made && event->metadata.size > 0)
        made = set(object, "metadata", json_text(of(event->metadata)));
    if (made)
        return object;
    json_decref(object);
    return NULL;
}

/* Valid JSON payloads are put in as they stand, so that no number changes its digits on the way through. */
static int event_append_payload(const struct tally_recorded *event, struct buf *line)
{
    struct bytes payload = of(event->payload);
    if (!event->payload_held)
        return buf_append_string(line, ",\"payload_held\":false");
    if (is_json(of(event->content_type)) && json_scan_valid(payload)) {
        int rc = buf_append_string(line, ",\"payload\":");
        return rc == 0 ? json_scan_compact(payload, line) : rc;
    }
    json_t *base64 = json_base64(payload);
    const char *text = json_string_value(base64);
    int rc = text == NULL ? ERR_NO_MEMORY : buf_append_string(line, ",\"payload_base64\":\"");
    if (rc == 0)
        rc = buf_append_string(line, text);
    if (rc == 0)
        rc = buf_append_byte(line, '"');
    json_decref(base64);
    return rc;
}

static int print_event_json(const struct tally_recorded *event, const char *late_state, struct err *err)
{
    struct buf line;
    buf_init(&line, EVENT_JSON_MAX_BYTES);
    json_t *object = event_object(event, late_state);
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    int rc = text == NULL ? ERR_NO_MEMORY : buf_append(&line, bytes_of(text, strlen(text) - 1));
    if (rc == 0)
        rc = event_append_payload(event, &line);
    if (rc == 0)
        rc = buf_append_string(&line, "}\n");
    if (rc == 0)
        (void)fwrite(line.data, 1, line.size_bytes, stdout);
    else
        rc = err_set(err, rc, "an event does not fit into the output buffer");
    mem_free(text);
    json_decref(object);
    buf_free(&line);
    return rc;
}

int print_event(const struct tally_recorded *event, const char *late_state, bool json, struct err *err)
{
    return json ? print_event_json(event, late_state, err) : print_event_line(event, late_state);
}
