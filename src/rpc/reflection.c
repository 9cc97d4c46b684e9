/* Taking protoc's descriptor set apart by hand: only names, services and imports are needed, and the bytes of each file
 * go to the caller as they are (reflection.h). */
#include "rpc/reflection.h"

#include <stdio.h>

#include "base/assert.h"
#include "entry/wire.h"

/* Field numbers of descriptor.proto. */
enum {
    SET_FILE = 1,
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_SERVICE = 6,
    ANY_NAME = 1,
};

/* What is declared inside what, and where. Each scope's rows end with field 0. */
enum scope { SCOPE_FILE, SCOPE_MESSAGE, SCOPE_ENUM, SCOPE_SERVICE, SCOPE_LEAF };
struct child {
    uint32_t field;
    enum scope scope;
};
static const struct child CHILDREN[][5] = {
    [SCOPE_FILE] = {{4, SCOPE_MESSAGE}, {5, SCOPE_ENUM}, {6, SCOPE_SERVICE}, {7, SCOPE_LEAF}},
    [SCOPE_MESSAGE] = {{2, SCOPE_LEAF}, {3, SCOPE_MESSAGE}, {4, SCOPE_ENUM}, {8, SCOPE_LEAF}},
    [SCOPE_ENUM] = {{2, SCOPE_LEAF}},
    [SCOPE_SERVICE] = {{2, SCOPE_LEAF}},
    [SCOPE_LEAF] = {{0, SCOPE_LEAF}},
};

/* Takes the next field; value is empty for numbers. False at the end, and when the bytes are malformed: then *in is not
 * empty. */
static bool next_field(struct bytes *in, uint32_t *ret_field, struct bytes *ret_value)
{
    struct bytes rest = *in;
    enum wire_type type;
    uint64_t number = 0;
    *ret_value = (struct bytes){0};
    if (rest.size_bytes == 0 || !wire_take_tag(&rest, ret_field, &type))
        return false;
    bool taken = type == WIRE_BYTES    ? wire_take_bytes(&rest, ret_value)
                 : type == WIRE_VARINT ? wire_take_varint(&rest, &number)
                                       : wire_take_fixed64(&rest, &number);
    if (taken)
        *in = rest;
    return taken;
}

/* The first occurrence of a field; empty when there is none. */
static struct bytes find_field(struct bytes message, uint32_t wanted)
{
    uint32_t field = 0;
    struct bytes value;
    while (next_field(&message, &field, &value)) {
        if (field == wanted)
            return value;
    }
    return (struct bytes){0};
}

static int add_service(struct reflection *reflection, struct bytes package, struct bytes service, struct err *err)
{
    struct bytes name = find_field(service, ANY_NAME);
    char *out = reflection->services[reflection->service_count];
    if (reflection->service_count == REFLECTION_SERVICES_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d services", REFLECTION_SERVICES_MAX);
    int size = snprintf(out, sizeof(reflection->services[0]), "%.*s.%.*s", (int)package.size_bytes,
                        (const char *)package.data, (int)name.size_bytes, (const char *)name.data);
    if (size < 0 || (size_t)size >= sizeof(reflection->services[0]))
        return err_set(err, ERR_TOO_LARGE, "a service's name is too long");
    reflection->service_count++;
    return 0;
}

static int add_file(struct reflection *reflection, struct bytes descriptor, struct err *err)
{
    if (reflection->file_count == REFLECTION_FILES_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d descriptor files", REFLECTION_FILES_MAX);
    struct reflection_file *file = &reflection->files[reflection->file_count];
    *file = (struct reflection_file){.descriptor = descriptor,
                                     .name = find_field(descriptor, ANY_NAME),
                                     .package = find_field(descriptor, FILE_PACKAGE)};
    uint32_t field = 0;
    struct bytes rest = descriptor;
    struct bytes value;
    int code = 0;
    while (code == 0 && next_field(&rest, &field, &value)) {
        if (field == FILE_SERVICE)
            code = add_service(reflection, file->package, value, err);
        if (field != FILE_DEPENDENCY)
            continue;
        if (file->import_count == REFLECTION_IMPORTS_MAX)
            return err_set(err, ERR_TOO_LARGE, "more than %d imports in a file", REFLECTION_IMPORTS_MAX);
        file->imports[file->import_count++] = value;
    }
    if (code == 0 && (rest.size_bytes != 0 || file->name.size_bytes == 0))
        code = err_set(err, ERR_CORRUPT, "a file descriptor is malformed");
    if (code == 0)
        reflection->file_count++;
    return code;
}

int reflection_init(struct reflection *reflection, struct bytes descriptor_set, struct err *err)
{
    reflection->file_count = 0;
    reflection->service_count = 0;
    uint32_t field = 0;
    struct bytes value;
    int code = 0;
    while (code == 0 && next_field(&descriptor_set, &field, &value)) {
        if (field == SET_FILE)
            code = add_file(reflection, value, err);
    }
    if (code == 0 && descriptor_set.size_bytes != 0)
        code = err_set(err, ERR_CORRUPT, "the descriptor set is malformed");
    return code;
}

const struct reflection_file *reflection_find_file(const struct reflection *reflection, struct bytes name)
{
    for (size_t i = 0; i < reflection->file_count; i++) {
        if (bytes_equal(reflection->files[i].name, name))
            return &reflection->files[i];
    }
    return NULL;
}

/* Takes "<prefix>." off the front. */
static bool strip(struct bytes *text, struct bytes prefix)
{
    if (text->size_bytes <= prefix.size_bytes || prefix.size_bytes == 0 ||
        memcmp(text->data, prefix.data, prefix.size_bytes) != 0 || text->data[prefix.size_bytes] != '.')
        return false;
    *text = bytes_of(text->data + prefix.size_bytes + 1, text->size_bytes - prefix.size_bytes - 1);
    return true;
}

static enum scope child_scope(enum scope scope, uint32_t field, bool *ret_found)
{
    for (const struct child *child = CHILDREN[scope]; child->field != 0; child++) {
        if (child->field == field) {
            *ret_found = true;
            return child->scope;
        }
    }
    *ret_found = false;
    return SCOPE_LEAF;
}

/* Whether `symbol`, relative to this descriptor, is declared in it. Each level takes a name off the symbol, so
 * descriptors bound the depth. */
static bool declares(struct bytes descriptor, enum scope scope, struct bytes symbol)
{
    uint32_t field = 0;
    struct bytes value;
    while (next_field(&descriptor, &field, &value)) {
        bool found = false;
        enum scope inner = child_scope(scope, field, &found);
        if (!found)
            continue;
        struct bytes name = find_field(value, ANY_NAME);
        struct bytes rest = symbol;
        if (bytes_equal(name, symbol) || (strip(&rest, name) && declares(value, inner, rest)))
            return true;
    }
    return false;
}

const struct reflection_file *reflection_find_symbol(const struct reflection *reflection, struct bytes symbol)
{
    for (size_t i = 0; i < reflection->file_count; i++) {
        struct bytes rest = symbol;
        const struct reflection_file *file = &reflection->files[i];
        if (strip(&rest, file->package) && declares(file->descriptor, SCOPE_FILE, rest))
            return file;
    }
    return NULL;
}

static bool contains(const struct reflection_file *const *files, size_t count, const struct reflection_file *file)
{
    for (size_t i = 0; i < count; i++) {
        if (files[i] == file)
            return true;
    }
    return false;
}

size_t reflection_closure(const struct reflection *reflection, const struct reflection_file *file,
                          const struct reflection_file **ret_files)
{
    size_t count = 0;
    ret_files[count++] = file;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < ret_files[i]->import_count; j++) {
            const struct reflection_file *import = reflection_find_file(reflection, ret_files[i]->imports[j]);
            if (import != NULL && !contains(ret_files, count, import))
                ret_files[count++] = import;
        }
    }
    POST(count <= REFLECTION_FILES_MAX);
    return count;
}
