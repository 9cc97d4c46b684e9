/* Finding where a JSON value ends, without reading it (json_scan.h): jansson has said before that the text is valid. */
#include "json_scan.h"

#include <jansson.h>
#include <string.h>

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip(struct bytes *text, size_t count)
{
    text->data += count;
    text->size_bytes -= count;
}

static void skip_space(struct bytes *text)
{
    while (text->size_bytes > 0 && is_space(text->data[0]))
        skip(text, 1);
}

/* Size of the string that starts at text, with both quotes. */
static size_t string_size(struct bytes text)
{
    size_t i = 1;
    while (i < text.size_bytes && text.data[i] != '"')
        i += text.data[i] == '\\' ? 2 : 1;
    return i < text.size_bytes ? i + 1 : text.size_bytes;
}

/* Size of the value that starts at text: up to the comma or bracket that ends it at its own depth. */
static size_t value_size(struct bytes text)
{
    size_t depth = 0;
    size_t i = 0;
    while (i < text.size_bytes) {
        uint8_t c = text.data[i];
        if (c == '"') {
            i += string_size(bytes_of(text.data + i, text.size_bytes - i));
            continue;
        }
        if (depth == 0 && (c == ',' || c == ']' || c == '}' || is_space(c)))
            break;
        if (c == '[' || c == '{')
            depth++;
        if (c == ']' || c == '}')
            depth--;
        i++;
    }
    return i;
}

bool json_scan_valid(struct bytes text)
{
    if (text.size_bytes == 0)
        return false;
    json_t *value =
        json_loadb((const char *)text.data, text.size_bytes, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    json_decref(value);
    return value != NULL;
}

int json_scan_compact(struct bytes text, struct buf *out)
{
    size_t size_before = out->size_bytes;
    int rc = 0;
    while (rc == 0 && text.size_bytes > 0) {
        size_t size = text.data[0] == '"' ? string_size(text) : 1;
        if (!is_space(text.data[0]))
            rc = buf_append(out, bytes_of(text.data, size));
        skip(&text, size);
    }
    if (rc != 0)
        out->size_bytes = size_before;
    return rc;
}

bool json_scan_member(struct bytes object, const char *name, struct bytes *ret)
{
    skip_space(&object);
    if (object.size_bytes == 0 || object.data[0] != '{')
        return false;
    skip(&object, 1);
    skip_space(&object);
    while (object.size_bytes > 0 && object.data[0] == '"') {
        struct bytes key = bytes_of(object.data + 1, string_size(object) - 2);
        skip(&object, key.size_bytes + 2);
        skip_space(&object);
        if (object.size_bytes == 0)
            return false;
        skip(&object, 1); /* the colon */
        skip_space(&object);
        size_t size = value_size(object);
        if (bytes_equal(key, bytes_of_string(name))) {
            *ret = bytes_of(object.data, size);
            return true;
        }
        skip(&object, size);
        skip_space(&object);
        if (object.size_bytes > 0)
            skip(&object, 1); /* the comma, or the bracket at the end */
        skip_space(&object);
    }
    return false;
}

bool json_scan_element(struct bytes *rest, struct bytes *ret)
{
    skip_space(rest);
    if (rest->size_bytes == 0 || (rest->data[0] != '[' && rest->data[0] != ','))
        return false;
    skip(rest, 1);
    skip_space(rest);
    size_t size = value_size(*rest);
    if (size == 0)
        return false;
    *ret = bytes_of(rest->data, size);
    skip(rest, size);
    return true;
}
