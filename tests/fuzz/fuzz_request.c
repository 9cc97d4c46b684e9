/* Every request message, decoded as the services do it; the first byte says which. Decoded and encoded again it stays
 * the same, and its strings are UTF-8 without NUL. */
#include "fuzz/fuzz.h"
#include "rpc/message.h"
#include "tally/v1/ledger.pb-c.h"
#include "tally/v1/replication.pb-c.h"

static const ProtobufCMessageDescriptor *const types[] = {
    &tally__v1__append_request__descriptor,     &tally__v1__read_stream_request__descriptor,
    &tally__v1__read_log_request__descriptor,   &tally__v1__subscribe_request__descriptor,
    &tally__v1__status_request__descriptor,     &tally__v1__create_projection_request__descriptor,
    &tally__v1__projection_request__descriptor, &tally__v1__list_projections_request__descriptor,
    &tally__v1__hello_request__descriptor,      &tally__v1__pull_request__descriptor,
};

static void check_again(const ProtobufCMessageDescriptor *type, const ProtobufCMessage *message, struct arena *arena)
{
    ProtobufCMessage *again = NULL;
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *first = malloc(size + 1);
    uint8_t *second = malloc(size + 1);
    FUZZ_CHECK(first != NULL && second != NULL);
    FUZZ_CHECK(protobuf_c_message_pack(message, first) == size);
    if (message_unpack(type, bytes_of(first, size), arena, &again, NULL) == 0) { /* else: out of the arena's memory */
        FUZZ_CHECK(protobuf_c_message_get_packed_size(again) == size);
        FUZZ_CHECK(protobuf_c_message_pack(again, second) == size);
        FUZZ_CHECK(memcmp(first, second, size) == 0);
    }
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    const ProtobufCMessageDescriptor *type = types[fuzz_take_byte(&input) % (sizeof(types) / sizeof(types[0]))];
    ProtobufCMessage *message = NULL;
    struct arena arena;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    if (message_unpack(type, input, &arena, &message, NULL) == 0)
        check_again(type, message, &arena);
    arena_free(&arena);
    return 0;
}
