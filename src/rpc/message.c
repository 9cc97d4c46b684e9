/* Decoding requests with protobuf-c, made safe for bytes that anyone may send.
 *
 * protobuf-c hands out strings as C strings without checking them: a NUL inside would silently cut a name in two, and
 * broken UTF-8 would travel on. And a few bytes on the wire can become a large struct in memory: an empty sub-message
 * costs 2 bytes there and a hundred here. So the bytes are walked once before they are decoded, along the message's
 * descriptor:
 *
 *  1. at most MESSAGE_FIELDS_MAX fields at all levels together, at most MESSAGE_DEPTH_MAX levels;
 *  2. every field that the descriptor calls a string is UTF-8 without NUL;
 *  3. lengths stay inside what encloses them; groups are refused.
 *
 * Decoding then allocates from an arena with a ceiling. Unlike entries (entry/wire.h), requests need not be canonical:
 * clients come in many languages. */
#include "rpc/message.h"

struct walk {
    size_t field_count;
    const char *type_name;
};

enum wire_kind { KIND_VARINT = 0, KIND_FIXED64 = 1, KIND_BYTES = 2, KIND_FIXED32 = 5 };

static bool take_varint(struct bytes *in, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 10 && i < in->size_bytes; i++) {
        value |= (uint64_t)(in->data[i] & 0x7f) << (7 * i);
        if ((in->data[i] & 0x80) == 0) {
            *in = bytes_of(in->data + i + 1, in->size_bytes - i - 1);
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool take_fixed(struct bytes *in, size_t size_bytes, struct bytes *ret)
{
    if (in->size_bytes < size_bytes)
        return false;
    *ret = bytes_of(in->data, size_bytes);
    *in = bytes_of(in->data + size_bytes, in->size_bytes - size_bytes);
    return true;
}

/* The bytes of a KIND_BYTES field, or what was skipped of another. */
static bool take_value(struct bytes *in, unsigned kind, struct bytes *ret)
{
    uint64_t number = 0;
    switch (kind) {
    case KIND_VARINT:
        return take_varint(in, &number);
    case KIND_FIXED64:
        return take_fixed(in, 8, ret);
    case KIND_BYTES:
        return take_varint(in, &number) && number <= in->size_bytes && take_fixed(in, (size_t)number, ret);
    case KIND_FIXED32:
        return take_fixed(in, 4, ret);
    default:
        return false;
    }
}

static int walk_message(struct walk *walk, const ProtobufCMessageDescriptor *type, struct bytes in, unsigned depth,
                        struct err *err)
{
    if (depth == MESSAGE_DEPTH_MAX)
        return err_set(err, ERR_INVALID, "the %s is nested more than %d levels deep", walk->type_name,
                       MESSAGE_DEPTH_MAX);
    while (in.size_bytes > 0) {
        uint64_t tag = 0;
        struct bytes value = {0};
        if (!take_varint(&in, &tag) || tag >> 3 == 0 || tag >> 3 > INT32_MAX || !take_value(&in, tag & 7, &value))
            return err_set(err, ERR_INVALID, "the request is not a well-formed %s message", walk->type_name);
        if (++walk->field_count > MESSAGE_FIELDS_MAX)
            return err_set(err, ERR_TOO_LARGE, "the %s has more than %d fields", walk->type_name, MESSAGE_FIELDS_MAX);
        const ProtobufCFieldDescriptor *field =
            type == NULL ? NULL : protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        if (field == NULL || (tag & 7) != KIND_BYTES)
            continue;
        if (field->type == PROTOBUF_C_TYPE_STRING && !utf8_valid(value))
            return err_set(err, ERR_INVALID, "field '%s' of %s is not valid UTF-8 without NUL bytes", field->name,
                           type->name);
        if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
            int code = walk_message(walk, field->descriptor, value, depth + 1, err);
            if (code != 0)
                return code;
        }
    }
    return 0;
}

struct allocator {
    struct arena *arena;
    bool too_large; /* for the ceiling */
    bool no_memory; /* below it: the process's memory ran out, which is not the request's fault */
};

static void *allocate(void *context, size_t size_bytes)
{
    struct allocator *allocator = context;
    void *memory = arena_alloc(allocator->arena, size_bytes);
    if (memory == NULL && size_bytes > allocator->arena->max_bytes - allocator->arena->used_bytes)
        allocator->too_large = true;
    else if (memory == NULL)
        allocator->no_memory = true;
    return memory;
}

static void release(void *context, void *memory)
{
    (void)context;
    (void)memory;
}

int message_unpack(const ProtobufCMessageDescriptor *type, struct bytes encoded, struct arena *arena,
                   ProtobufCMessage **ret, struct err *err)
{
    struct walk walk = {.type_name = type->short_name};
    int code = walk_message(&walk, type, encoded, 0, err);
    if (code != 0)
        return code;
    struct allocator allocator = {.arena = arena};
    ProtobufCAllocator functions = {.alloc = allocate, .free = release, .allocator_data = &allocator};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &functions, encoded.size_bytes, encoded.data);
    if (message == NULL && allocator.no_memory)
        return err_no_memory(err, "a request");
    if (message == NULL && allocator.too_large)
        return err_set(err, ERR_TOO_LARGE, "the %s needs more memory than a request may take", type->short_name);
    if (message == NULL)
        return err_set(err, ERR_INVALID, "the request is not a well-formed %s message", type->short_name);
    *ret = message;
    return 0;
}
