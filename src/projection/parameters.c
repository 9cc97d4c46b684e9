/* Parameters of a projection's statements (parameters.h). SQLite finds them by itself; for PostgreSQL they are numbered
 * here. A text that PostgreSQL would not accept (a string without end, for one) is passed on as it is: it says so
 * better. */
#include "projection/parameters.h"

#include "base/assert.h"

static const struct {
    const char *name;
    enum parameter_type type;
} kinds[PARAMETER_COUNT] = {
    [PARAMETER_CONTEXT] = {":context", PARAMETER_TEXT},
    [PARAMETER_PARTITION] = {":partition", PARAMETER_TEXT},
    [PARAMETER_STREAM] = {":stream", PARAMETER_TEXT},
    [PARAMETER_VERSION] = {":version", PARAMETER_NUMBER},
    [PARAMETER_TYPE] = {":type", PARAMETER_TEXT},
    [PARAMETER_EVENT_ID] = {":event_id", PARAMETER_TEXT},
    [PARAMETER_TIME_MS] = {":time_ms", PARAMETER_NUMBER},
    [PARAMETER_PAYLOAD] = {":payload", PARAMETER_TEXT},
    [PARAMETER_PAYLOAD_BYTES] = {":payload_bytes", PARAMETER_BYTES},
    [PARAMETER_METADATA] = {":metadata", PARAMETER_TEXT},
    [PARAMETER_METADATA_BYTES] = {":metadata_bytes", PARAMETER_BYTES},
    [PARAMETER_CONTENT_TYPE] = {":content_type", PARAMETER_TEXT},
    [PARAMETER_ORIGIN] = {":origin", PARAMETER_TEXT},
    [PARAMETER_POSITION] = {":position", PARAMETER_NUMBER},
    [PARAMETER_EPOCH] = {":epoch", PARAMETER_NUMBER},
    [PARAMETER_CAUSATION_ID] = {":causation_id", PARAMETER_TEXT},
    [PARAMETER_CORRELATION_ID] = {":correlation_id", PARAMETER_TEXT},
};

enum parameter parameter_find(struct bytes name)
{
    int found = 0;
    while (found < PARAMETER_COUNT && !bytes_equal(name, bytes_of_string(kinds[found].name + 1)))
        found++;
    return (enum parameter)found;
}

const char *parameter_name(enum parameter parameter)
{
    PRE(parameter < PARAMETER_COUNT);
    return kinds[parameter].name;
}

enum parameter_type parameter_type(enum parameter parameter)
{
    PRE(parameter < PARAMETER_COUNT);
    return kinds[parameter].type;
}

/* --- Values --- */

static struct parameter_value of_bytes(struct bytes value)
{
    return (struct parameter_value){.bytes = value};
}

static struct parameter_value of_number(uint64_t value)
{
    return (struct parameter_value){.number = (int64_t)value};
}

static void set_id(struct parameter_value *ret, struct bytes id)
{
    ret->is_null = id.size_bytes != UUID_SIZE;
    if (ret->is_null)
        return;
    uuid_format(id.data, ret->id);
    ret->bytes = bytes_of(ret->id, UUID_TEXT_SIZE);
}

void parameter_of(const struct projection_event *event, enum parameter parameter, struct parameter_value *ret)
{
    const struct entry *entry = event->entry;
    *ret = (struct parameter_value){.is_null = false};
    switch (parameter) {
    case PARAMETER_CONTEXT:
        *ret = of_bytes(entry->context);
        return;
    case PARAMETER_PARTITION:
        *ret = of_bytes(entry->partition);
        return;
    case PARAMETER_STREAM:
        *ret = of_bytes(entry->stream);
        return;
    case PARAMETER_VERSION:
        *ret = of_number(entry->stream_version);
        return;
    case PARAMETER_TYPE:
        *ret = of_bytes(entry->type);
        return;
    case PARAMETER_EVENT_ID:
        set_id(ret, bytes_of(entry->event_id, ENTRY_ID_SIZE));
        return;
    case PARAMETER_TIME_MS:
        *ret = of_number(hlc_unix_ms(entry->time));
        return;
    case PARAMETER_PAYLOAD:
    case PARAMETER_PAYLOAD_BYTES:
        *ret = of_bytes(event->payload);
        ret->is_null = !event->has_payload;
        return;
    case PARAMETER_METADATA:
    case PARAMETER_METADATA_BYTES:
        *ret = of_bytes(entry->metadata);
        return;
    case PARAMETER_CONTENT_TYPE:
        *ret = of_bytes(entry->content_type);
        return;
    case PARAMETER_ORIGIN:
        *ret = of_bytes(bytes_of_string(event->origin));
        return;
    case PARAMETER_POSITION:
        *ret = of_number(entry->index);
        return;
    case PARAMETER_EPOCH:
        *ret = of_number(entry->epoch);
        return;
    case PARAMETER_CAUSATION_ID:
        set_id(ret, entry->causation_id);
        return;
    case PARAMETER_CORRELATION_ID:
        set_id(ret, entry->correlation_id);
        return;
    case PARAMETER_COUNT:
        break;
    }
    INVARIANT(!"a known parameter"); /* checked when the statements were made */
}

/* --- Numbering --- */

struct scan {
    const char *at;
    unsigned line;
    struct buf *out;
    struct parameters_used used;
    struct err *err;
};

static bool begins_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || ((unsigned char)c & 0x80) != 0;
}

static bool goes_on_name(char c)
{
    return begins_name(c) || (c >= '0' && c <= '9') || c == '$';
}

static size_t name_size(const char *text)
{
    size_t size = 0;
    while (goes_on_name(text[size]))
        size++;
    return size;
}

static int take(struct scan *scan, size_t size)
{
    for (size_t i = 0; i < size; i++)
        scan->line += scan->at[i] == '\n';
    int code = buf_append(scan->out, bytes_of(scan->at, size));
    scan->at += size;
    return code == 0 ? 0 : err_set(scan->err, code, "a projection's section has too much text");
}

/* Up to and with the end mark, or all there is. */
static size_t until(const char *from, const char *mark, size_t mark_size)
{
    const char *end = from;
    while (*end != '\0' && strncmp(end, mark, mark_size) != 0)
        end++;
    return (size_t)(end - from) + (*end == '\0' ? 0 : mark_size);
}

/* A string or a quoted name; a doubled quote is two of them side by side, which comes to the same. */
static size_t quoted_size(const char *text, bool backslashes)
{
    size_t size = 1;
    while (text[size] != '\0' && text[size] != text[0])
        size += backslashes && text[size] == '\\' && text[size + 1] != '\0' ? 2 : 1;
    return text[size] == '\0' ? size : size + 1;
}

static size_t comment_size(const char *text)
{
    size_t size = 2;
    for (unsigned depth = 1; depth > 0 && text[size] != '\0';) {
        bool opens = text[size] == '/' && text[size + 1] == '*';
        bool closes = text[size] == '*' && text[size + 1] == '/';
        depth += opens;
        depth -= closes;
        size += opens || closes ? 2 : 1;
    }
    return size;
}

static bool word_is(struct bytes word, const char *other)
{
    return word.size_bytes == strlen(other) && strncasecmp((const char *)word.data, other, word.size_bytes) == 0;
}

static int check_word(const struct scan *scan, struct bytes word)
{
    static const char *const refused[] = {"random",
                                          "setseed",
                                          "gen_random_uuid",
                                          "now",
                                          "timeofday",
                                          "current_date",
                                          "current_time",
                                          "current_timestamp",
                                          "localtime",
                                          "localtimestamp",
                                          "clock_timestamp",
                                          "statement_timestamp",
                                          "transaction_timestamp"};
    if (word.size_bytes >= 7 && strncasecmp((const char *)word.data, "_tally_", 7) == 0)
        return err_set(scan->err, ERR_INVALID, "line %u: names that begin with _tally_ are not a projection's to use",
                       scan->line);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (word_is(word, refused[i]))
            return err_set(scan->err, ERR_INVALID,
                           "line %u: %s would give another answer in another region; use :time_ms and :event_id, or "
                           "quote the name of a column",
                           scan->line, refused[i]);
    }
    return 0;
}

static int take_word(struct scan *scan)
{
    size_t size = name_size(scan->at);
    bool escapes = size == 1 && (scan->at[0] == 'e' || scan->at[0] == 'E') && scan->at[1] == '\'';
    if (escapes)
        return take(scan, 1 + quoted_size(scan->at + 1, true));
    int code = check_word(scan, bytes_of(scan->at, size));
    return code == 0 ? take(scan, size) : code;
}

static int take_quoted_name(struct scan *scan)
{
    size_t size = quoted_size(scan->at, false);
    if (size > 8 && strncasecmp(scan->at + 1, "_tally_", 7) == 0)
        return err_set(scan->err, ERR_INVALID, "line %u: names that begin with _tally_ are not a projection's to use",
                       scan->line);
    return take(scan, size);
}

/* $tag$ … $tag$, or a lone $. */
static int take_dollar(struct scan *scan)
{
    size_t tag = 1;
    if (scan->at[1] >= '0' && scan->at[1] <= '9')
        return err_set(scan->err, ERR_INVALID, "line %u: parameters have names: write :stream, not $1", scan->line);
    while (goes_on_name(scan->at[tag]) && scan->at[tag] != '$')
        tag++;
    if (scan->at[tag] != '$')
        return take(scan, 1);
    tag++;
    return take(scan, tag + until(scan->at + tag, scan->at, tag));
}

static size_t number_of(struct parameters_used *used, enum parameter parameter)
{
    size_t number = 0;
    while (number < used->count && used->items[number] != parameter)
        number++;
    if (number == used->count)
        used->items[used->count++] = parameter;
    return number + 1;
}

static int take_colon(struct scan *scan)
{
    if (!begins_name(scan->at[1]))
        return take(scan, scan->at[1] == ':' ? 2 : 1); /* a cast, a slice */
    size_t size = name_size(scan->at + 1);
    enum parameter parameter = parameter_find(bytes_of(scan->at + 1, size));
    if (parameter == PARAMETER_COUNT)
        return err_set(scan->err, ERR_INVALID, "line %u: there is no parameter %.*s", scan->line,
                       size > 60 ? 60 : (int)size + 1, scan->at);
    scan->at += 1 + size;
    int code = buf_append_format(scan->out, "$%zu", number_of(&scan->used, parameter));
    return code == 0 ? 0 : err_set(scan->err, code, "a projection's section has too much text");
}

static int take_next(struct scan *scan)
{
    const char *at = scan->at;
    if (begins_name(at[0]))
        return take_word(scan);
    if (at[0] >= '0' && at[0] <= '9')
        return take(scan, name_size(at));
    if (at[0] == '\'')
        return take(scan, quoted_size(at, false));
    if (at[0] == '"')
        return take_quoted_name(scan);
    if (at[0] == '$')
        return take_dollar(scan);
    if (at[0] == ':')
        return take_colon(scan);
    if (at[0] == '-' && at[1] == '-')
        return take(scan, until(at, "\n", 1));
    if (at[0] == '/' && at[1] == '*')
        return take(scan, comment_size(at));
    return take(scan, 1);
}

int parameters_number(const char *sql, unsigned line, struct buf *out, struct parameters_used *ret, struct err *err)
{
    struct scan scan = {.at = sql, .line = line, .out = out, .err = err};
    int code = 0;
    while (code == 0 && *scan.at != '\0')
        code = take_next(&scan);
    if (code == 0)
        *ret = scan.used;
    return code;
}
