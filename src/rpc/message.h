/* Protobuf messages from outside, decoded under limits. */
#ifndef RPC_MESSAGE_H
#define RPC_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

enum {
    MESSAGE_FIELDS_MAX = 200 * 1000, /* over all levels: more than any request within its other limits needs */
    MESSAGE_DEPTH_MAX = 8,
    MESSAGE_ARENA_MAX_BYTES = 4 * 1024 * 1024, /* for requests other than appends */
};

/* Decodes into the arena: *ret and everything in it live as long as the arena does. Every string is valid UTF-8 without
 * NUL. ERR_INVALID, ERR_TOO_LARGE (more fields or memory than allowed), both naming the message type. */
int message_unpack(const ProtobufCMessageDescriptor *type, struct bytes encoded, struct arena *arena,
                   ProtobufCMessage **ret, struct err *err) MUST_USE;

#endif
