/* Positions as text and back, and how two of them compare (position.h). Components are kept sorted, so that one
 * position has one spelling. */
#include "domain/position.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "entry/entry.h"

/* Comma, region, dot, incarnation, at, size. */
enum { COMPONENT_MAX_BYTES = 1 + POSITION_REGION_MAX_BYTES + 1 + 20 + 1 + 20 + 1 };

static int compare_logs(const struct position_log *log, const char *region, uint64_t incarnation)
{
    int order = strcmp(log->region, region);
    return order != 0 ? order : (log->incarnation > incarnation) - (log->incarnation < incarnation);
}

/* Where the component is, or belongs. */
static size_t find_place(const struct position *position, const char *region, uint64_t incarnation)
{
    size_t at = 0;
    while (at < position->count && compare_logs(&position->logs[at], region, incarnation) < 0)
        at++;
    return at;
}

uint64_t position_get(const struct position *position, const char *region, uint64_t incarnation)
{
    size_t at = find_place(position, region, incarnation);
    if (at == position->count || compare_logs(&position->logs[at], region, incarnation) != 0)
        return 0;
    return position->logs[at].size;
}

int position_set(struct position *position, const char *region, uint64_t incarnation, uint64_t size)
{
    PRE(strlen(region) <= POSITION_REGION_MAX_BYTES);
    size_t at = find_place(position, region, incarnation);
    bool there = at < position->count && compare_logs(&position->logs[at], region, incarnation) == 0;
    struct position_log *logs = position->logs;
    if (size == 0) {
        if (there)
            memmove(&logs[at], &logs[at + 1], (--position->count - at) * sizeof(*logs));
        return 0;
    }
    if (!there) {
        if (position->count == POSITION_LOGS_MAX)
            return ERR_TOO_LARGE;
        memmove(&logs[at + 1], &logs[at], (position->count++ - at) * sizeof(*logs));
        logs[at] = (struct position_log){.incarnation = incarnation};
        copy_string(logs[at].region, sizeof(logs[at].region), region);
    }
    logs[at].size = size;
    return 0;
}

bool position_covers(const struct position *held, const struct position *wanted)
{
    for (size_t i = 0; i < wanted->count; i++) {
        if (position_get(held, wanted->logs[i].region, wanted->logs[i].incarnation) < wanted->logs[i].size)
            return false;
    }
    return true;
}

bool position_equal(const struct position *a, const struct position *b)
{
    return a->count == b->count && position_covers(a, b) && position_covers(b, a);
}

/* Returns the size. */
static size_t format_component(const struct position_log *log, bool first, char out[COMPONENT_MAX_BYTES])
{
    char incarnation[32] = "";
    if (log->incarnation != 1)
        snprintf(incarnation, sizeof(incarnation), ".%llu", (unsigned long long)log->incarnation);
    int size = snprintf(out, COMPONENT_MAX_BYTES, "%s%s%s@%llu", first ? "" : ",", log->region, incarnation,
                        (unsigned long long)log->size);
    INVARIANT(size > 0 && size < COMPONENT_MAX_BYTES);
    return (size_t)size;
}

int position_format(const struct position *position, struct buf *out)
{
    char component[COMPONENT_MAX_BYTES];
    size_t start = out->size_bytes;
    for (size_t i = 0; i < position->count; i++) {
        size_t size = format_component(&position->logs[i], i == 0, component);
        int code = buf_append(out, bytes_of(component, size));
        if (code != 0) {
            out->size_bytes = start;
            return code;
        }
    }
    return 0;
}

bool position_is_canonical(struct bytes text, const struct position *position)
{
    char component[COMPONENT_MAX_BYTES];
    size_t at = 0;
    for (size_t i = 0; i < position->count; i++) {
        size_t size = format_component(&position->logs[i], i == 0, component);
        if (text.size_bytes - at < size || memcmp(text.data + at, component, size) != 0)
            return false;
        at += size;
    }
    return at == text.size_bytes;
}

/* One "<region>[.<incarnation>]@<size>". */
static int parse_component(struct bytes text, struct position *position)
{
    const uint8_t *at = memchr(text.data, '@', text.size_bytes);
    if (at == NULL)
        return ERR_INVALID;
    struct bytes name = bytes_of(text.data, (size_t)(at - text.data));
    const uint8_t *dot = name.size_bytes == 0 ? NULL : memchr(name.data, '.', name.size_bytes);
    size_t region_size = dot == NULL ? name.size_bytes : (size_t)(dot - name.data);
    uint64_t incarnation = 1;
    uint64_t size = 0;
    if (dot != NULL &&
        (parse_u64((const char *)dot + 1, name.size_bytes - region_size - 1, &incarnation) != 0 || incarnation <= 1))
        return ERR_INVALID;
    if (parse_u64((const char *)at + 1, text.size_bytes - name.size_bytes - 1, &size) != 0 || size == 0)
        return ERR_INVALID;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    char region[POSITION_REGION_MAX_BYTES + 1] = {0};
    if (region_size == 0 || region_size > POSITION_REGION_MAX_BYTES)
        return ERR_INVALID;
    memcpy(region, text.data, region_size);
    snprintf(origin, sizeof(origin), "x/%s/1", region);
    if (strlen(region) != region_size || entry_check_origin(bytes_of_string(origin), NULL) != 0 ||
        position_get(position, region, incarnation) != 0)
        return ERR_INVALID;
    return position_set(position, region, incarnation, size);
}

int position_parse(struct bytes text, struct position *ret, struct err *err)
{
    struct position position = {0};
    struct bytes rest = text;
    while (rest.size_bytes > 0) {
        const uint8_t *comma = memchr(rest.data, ',', rest.size_bytes);
        size_t size = comma == NULL ? rest.size_bytes : (size_t)(comma - rest.data);
        int code = parse_component(bytes_of(rest.data, size), &position);
        bool trailing_comma = comma != NULL && size + 1 == rest.size_bytes;
        if (code == ERR_TOO_LARGE)
            return err_set(err, code, "a position names more than %d logs", POSITION_LOGS_MAX);
        if (code != 0 || trailing_comma)
            return err_set(err, ERR_INVALID, "a position must look like eu@1024,us@998: %.*s",
                           (int)(text.size_bytes > 80 ? 80 : text.size_bytes), (const char *)text.data);
        size += comma == NULL ? 0 : 1;
        rest = bytes_of(rest.data + size, rest.size_bytes - size);
    }
    *ret = position;
    return 0;
}

int origin_parse(struct bytes text, struct origin *ret, struct err *err)
{
    int code = entry_check_origin(text, err);
    if (code != 0)
        return code;
    const uint8_t *first = memchr(text.data, '/', text.size_bytes);
    const uint8_t *second = memrchr(text.data, '/', text.size_bytes);
    struct origin origin = {0};
    memcpy(origin.cluster, text.data, (size_t)(first - text.data));
    memcpy(origin.region, first + 1, (size_t)(second - first - 1));
    size_t before = (size_t)(second - text.data) + 1;
    code = parse_u64((const char *)second + 1, text.size_bytes - before, &origin.incarnation);
    INVARIANT(code == 0);
    *ret = origin;
    return 0;
}

void origin_format(const struct origin *origin, char *out)
{
    snprintf(out, ENTRY_ORIGIN_MAX_BYTES + 1, "%s/%s/%llu", origin->cluster, origin->region,
             (unsigned long long)origin->incarnation);
}
