/* What the files of the client library share. Private to src/client. */
#ifndef CLIENT_CLIENT_INTERNAL_H
#define CLIENT_CLIENT_INTERNAL_H

#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "client/channel.h"
#include "client/decode.h"
#include "client/tls.h"
#include "tally/client.h"

enum {
    ANSWER_MEMORY_MAX_BYTES = 32 * 1024 * 1024, /* decoded, of one answer */
    REQUEST_MEMORY_MAX_BYTES = 32 * 1024 * 1024 /* of the messages that a request is made from */
};

struct tally_client {
    struct channel *channel;
    struct tls *tls;          /* NULL: none */
    atomic_int at_wrong_home; /* enum tally_at_wrong_home */
    const char *override_actor;
    const char *override_reason;
};

/* Appends the encoding. ERR_TOO_LARGE past out->max_bytes, ERR_NO_MEMORY. */
int client_encode(const ProtobufCMessage *message, struct buf *out, struct err *err) MUST_USE;
/* Calls `method` and decodes the answer into arena: *ret lives there. */
int client_call(struct tally_client *client, const char *method, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *answer, uint64_t timeout_ms, struct arena *arena,
                ProtobufCMessage **ret, struct tally_refusal *ret_refusal, struct err *err) MUST_USE;
/* ERR_CORRUPT, or ERR_TOO_LARGE when the arena is full. */
int client_decode(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes, struct arena *arena,
                  ProtobufCMessage **ret, struct err *err) MUST_USE;
/* From the bytes of an ErrorDetail; what cannot be decoded leaves an empty refusal. */
void client_refusal(struct bytes detail, struct tally_refusal *ret);

/* protobuf-c's strings are never const. */
char *client_text(const char *text);

#endif
