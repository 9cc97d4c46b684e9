/* The client's common part: a channel, and calls of one request and one answer. */
#include "client/client_internal.h"

#include <string.h>

#include "base/mem.h"
#include "platform/clock.h"
#include "tally/v1/ledger.pb-c.h"

/* tls may be NULL; it is the client's from here on, also on failure. */
static int open_with(const char *address, struct tls *tls, struct tally_client **ret, struct err *err)
{
    struct tally_client *client = mem_alloc_zero(1, sizeof(*client));
    int rc = client == NULL ? err_no_memory(err, "a client") : channel_open(address, tls, &client->channel, err);
    if (rc != 0) {
        mem_free(client);
        tls_free(tls);
        return rc;
    }
    client->tls = tls;
    *ret = client;
    return 0;
}

int tally_client_open(const char *address, struct tally_client **ret, struct err *err)
{
    return open_with(address, NULL, ret, err);
}

int tally_client_open_tls(const char *address, const struct tally_tls *files, struct tally_client **ret,
                          struct err *err)
{
    struct tls *tls = NULL;
    int rc = tls_open(disk_posix(), files, TLS_CLIENT, clock_now(), &tls, err);
    return rc == 0 ? open_with(address, tls, ret, err) : rc;
}

void tally_client_close(struct tally_client *client)
{
    if (client == NULL)
        return;
    channel_close(client->channel);
    tls_free(client->tls);
    mem_free(client);
}

void tally_client_set_at_wrong_home(struct tally_client *client, enum tally_at_wrong_home at_wrong_home)
{
    atomic_store(&client->at_wrong_home, (int)at_wrong_home);
}

void tally_client_set_override(struct tally_client *client, const char *actor, const char *reason)
{
    client->override_actor = actor;
    client->override_reason = reason;
}

char *client_text(const char *text)
{
    static char empty[1];
    union {
        const char *borrowed;
        char *unused_as_mutable;
    } cast = {.borrowed = text};
    return text == NULL ? empty : cast.unused_as_mutable;
}

int client_encode(const ProtobufCMessage *message, struct buf *out, struct err *err)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    int rc = buf_reserve(out, size);
    if (rc != 0)
        return err_set(err, rc, "a request of %zu bytes does not fit: at most %zu", size, out->max_bytes);
    if (size > 0)
        out->size_bytes += protobuf_c_message_pack(message, out->data + out->size_bytes);
    return 0;
}

int client_decode(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes, struct arena *arena,
                  ProtobufCMessage **ret, struct err *err)
{
    ProtobufCAllocator allocator = decode_allocator(arena);
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &allocator, bytes.size_bytes, bytes.data);
    if (message == NULL)
        return err_set(err, ERR_CORRUPT, "an answer of %zu bytes is not a %s, or needs more memory than the limit",
                       bytes.size_bytes, descriptor->name);
    *ret = message;
    return 0;
}

static void copy_text(char *out, size_t out_size, const char *text)
{
    size_t size = strnlen(text, out_size - 1);
    memcpy(out, text, size);
    out[size] = '\0';
}

void client_refusal(struct bytes bytes, struct tally_refusal *ret)
{
    *ret = (struct tally_refusal){0};
    struct arena arena;
    arena_init(&arena, 64 * 1024);
    ProtobufCMessage *message = NULL;
    if (client_decode(&tally__v1__error_detail__descriptor, bytes, &arena, &message, NULL) == 0) {
        const Tally__V1__ErrorDetail *detail = (const Tally__V1__ErrorDetail *)message;
        ret->write_number = detail->write_number;
        copy_text(ret->context, sizeof(ret->context), detail->context);
        copy_text(ret->partition, sizeof(ret->partition), detail->partition);
        copy_text(ret->stream, sizeof(ret->stream), detail->stream);
        copy_text(ret->expected, sizeof(ret->expected), detail->expected);
        copy_text(ret->actual, sizeof(ret->actual), detail->actual);
        copy_text(ret->home_region, sizeof(ret->home_region), detail->home_region);
        copy_text(ret->home_address, sizeof(ret->home_address), detail->home_address);
        ret->retry_after_ms = detail->retry_after_ms;
        ret->has_event_id = detail->event_id.len == TALLY_ID_SIZE;
        if (ret->has_event_id)
            memcpy(ret->event_id, detail->event_id.data, TALLY_ID_SIZE);
    }
    arena_free(&arena);
}

int client_call(struct tally_client *client, const char *method, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *answer, uint64_t timeout_ms, struct arena *arena,
                ProtobufCMessage **ret, struct tally_refusal *ret_refusal, struct err *err)
{
    struct buf sent;
    struct buf received;
    struct buf detail;
    buf_init(&sent, CHANNEL_MESSAGE_MAX_BYTES);
    buf_init(&received, CHANNEL_MESSAGE_MAX_BYTES);
    buf_init(&detail, CHANNEL_MESSAGE_MAX_BYTES);
    int rc = client_encode(request, &sent, err);
    if (rc == 0) {
        rc = channel_unary(client->channel, method, buf_bytes(&sent), timeout_ms, &received, &detail, err);
        if (rc != 0 && ret_refusal != NULL)
            client_refusal(buf_bytes(&detail), ret_refusal);
    }
    if (rc == 0)
        rc = client_decode(answer, buf_bytes(&received), arena, ret, err);
    buf_free(&detail);
    buf_free(&received);
    buf_free(&sent);
    return rc;
}
