/* Packing and unpacking of the replication messages; see peer.h. What a peer sends is decoded under a ceiling of
 * memory: two bytes on the wire, an empty message in a list, can otherwise ask for a hundred. Blocks are copied out of
 * the message once, into memory that the writer can hand to the disk. */
#include "client/peer.h"

#include "base/assert.h"
#include "base/mem.h"
#include "client/decode.h"
#include "tally/v1/replication.pb-c.h"

enum { PROTOCOL = 2, PULL_SLACK_BYTES = 4096, PEER_POSITION_MAX_BYTES = 16 * 1024 };

static int pack_hello(const struct peer_identity *self, const struct region_lease_question *question, struct buf *out)
{
    Tally__V1__HelloRequest request;
    struct hash digest = self->contexts_digest;
    tally__v1__hello_request__init(&request);
    request.protocol = PROTOCOL;
    request.cluster = (char *)(uintptr_t)self->cluster;
    request.region = (char *)(uintptr_t)self->region;
    request.contexts_digest = (ProtobufCBinaryData){.len = HASH_SIZE, .data = digest.bytes};
    request.about = (char *)(uintptr_t)question->about;
    request.lease_us = question->lease_us;
    request.abstain = question->abstain;
    int code = buf_reserve(out, tally__v1__hello_request__get_packed_size(&request));
    if (code == 0)
        out->size_bytes += tally__v1__hello_request__pack(&request, out->data + out->size_bytes);
    return code;
}

static int check_hello(const Tally__V1__HelloResponse *response, const struct peer_identity *self,
                       const char *expected_region, struct err *err)
{
    if (response->protocol != PROTOCOL)
        return err_set(err, ERR_MISMATCH, "the peer speaks replication protocol %u, this region speaks %d",
                       response->protocol, PROTOCOL);
    if (strcmp(response->cluster, self->cluster) != 0)
        return err_set(err, ERR_MISMATCH, "the peer belongs to cluster \"%.63s\", this region to \"%s\"",
                       response->cluster, self->cluster);
    if (strcmp(response->region, expected_region) != 0)
        return err_set(err, ERR_MISMATCH, "the peer at this address is region \"%.63s\", the configuration says \"%s\"",
                       response->region, expected_region);
    if (response->contexts_digest.len != HASH_SIZE ||
        memcmp(response->contexts_digest.data, self->contexts_digest.bytes, HASH_SIZE) != 0)
        return err_set(err, ERR_MISMATCH,
                       "region %s has other contexts or homes; make the contexts of all regions' tallyd.yaml equal",
                       expected_region);
    if (response->n_logs > REGION_LOGS_MAX)
        return err_set(err, ERR_TOO_LARGE, "the peer lists %zu logs, at most %d are allowed", response->n_logs,
                       REGION_LOGS_MAX);
    return 0;
}

/* The checkpoint stays where it was decoded, in the hello's arena. */
static int take_held(const Tally__V1__HeldLog *from, struct region_held *held, struct err *err)
{
    size_t origin_size = strlen(from->origin);
    if (origin_size > ENTRY_ORIGIN_MAX_BYTES || entry_check_origin(bytes_of(from->origin, origin_size), NULL) != 0)
        return err_set(err, ERR_CORRUPT, "the peer lists a log with a malformed origin");
    if (from->checkpoint.len > NOTE_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "the peer sent a checkpoint of %zu bytes", from->checkpoint.len);
    memset(held, 0, sizeof(*held));
    memcpy(held->origin, from->origin, origin_size);
    held->size = from->size;
    held->obeyed = from->obeyed;
    held->checkpoint = bytes_of(from->checkpoint.data, from->checkpoint.len);
    return 0;
}

static int take_hello(const Tally__V1__HelloResponse *response, struct peer_hello *hello, struct err *err)
{
    hello->held = arena_alloc_zero(&hello->arena, response->n_logs, sizeof(*hello->held));
    if (hello->held == NULL)
        return err_no_memory(err, "a peer's logs");
    for (size_t i = 0; i < response->n_logs; i++) {
        int code = take_held(response->logs[i], &hello->held[i], err);
        if (code != 0)
            return code;
    }
    hello->held_count = response->n_logs;
    hello->time = response->time;
    hello->granted = response->granted;
    hello->abstains = response->abstains;
    hello->left_us = response->left_us;
    hello->certificate_end_s = response->certificate_end_s;
    hello->wall_us = response->wall_us;
    return 0;
}

int peer_hello_parse(struct bytes answer, const struct peer_identity *self, const char *expected_region,
                     struct peer_hello *ret, struct err *err)
{
    struct peer_hello hello = {.held_count = 0};
    arena_init(&hello.arena, 2 * (size_t)PEER_HELLO_MAX_BYTES);
    ProtobufCAllocator allocator = decode_allocator(&hello.arena);
    const Tally__V1__HelloResponse *response =
        tally__v1__hello_response__unpack(&allocator, answer.size_bytes, answer.data);
    int code = response == NULL ? err_set(err, ERR_CORRUPT, "the peer's answer to Hello is malformed")
                                : check_hello(response, self, expected_region, err);
    if (code == 0)
        code = take_hello(response, &hello, err);
    if (code == 0)
        *ret = hello;
    else
        arena_free(&hello.arena);
    return code;
}

int peer_hello(struct channel *channel, const struct peer_identity *self, const struct region_lease_question *question,
               const char *expected_region, uint64_t timeout_ms, struct peer_hello *ret, struct err *err)
{
    struct buf request;
    struct buf answer;
    buf_init(&request, 4096);
    buf_init(&answer, PEER_HELLO_MAX_BYTES);
    int code = pack_hello(self, question, &request);
    if (code == 0)
        code =
            channel_unary(channel, "/tally.v1.Replication/Hello", buf_bytes(&request), timeout_ms, &answer, NULL, err);
    if (code == 0)
        code = peer_hello_parse(buf_bytes(&answer), self, expected_region, ret, err);
    buf_free(&request);
    buf_free(&answer);
    return code;
}

void peer_hello_free(struct peer_hello *hello)
{
    arena_free(&hello->arena);
    hello->held = NULL;
    hello->held_count = 0;
}

static int pack_compare(const struct peer_identity *self, const struct peer_comparison *asked, struct buf *out)
{
    Tally__V1__CompareRequest request;
    struct peer_comparison copy = *asked;
    struct hash contexts = self->contexts_digest;
    struct buf position;
    buf_init(&position, PEER_POSITION_MAX_BYTES);
    tally__v1__compare_request__init(&request);
    request.protocol = PROTOCOL;
    request.cluster = (char *)(uintptr_t)self->cluster;
    request.region = (char *)(uintptr_t)self->region;
    request.contexts_digest = (ProtobufCBinaryData){.len = HASH_SIZE, .data = contexts.bytes};
    request.subject = (char *)(uintptr_t)asked->subject;
    request.sql = (ProtobufCBinaryData){.len = asked->has_sql ? HASH_SIZE : 0, .data = copy.sql.bytes};
    request.digest = (ProtobufCBinaryData){.len = HASH_SIZE, .data = copy.digest.bytes};
    int code = position_format(&asked->position, &position);
    if (code == 0)
        code = buf_terminate(&position);
    request.position = (char *)position.data;
    if (code == 0)
        code = buf_reserve(out, tally__v1__compare_request__get_packed_size(&request));
    if (code == 0)
        out->size_bytes += tally__v1__compare_request__pack(&request, out->data + out->size_bytes);
    buf_free(&position);
    return code;
}

int peer_compare_parse(struct bytes answer, struct peer_comparison *ret, struct err *err)
{
    struct peer_comparison found = {.subject = ""};
    struct arena arena;
    arena_init(&arena, 2 * (size_t)PEER_POSITION_MAX_BYTES);
    ProtobufCAllocator allocator = decode_allocator(&arena);
    const Tally__V1__CompareResponse *response =
        tally__v1__compare_response__unpack(&allocator, answer.size_bytes, answer.data);
    int code = response == NULL || (response->digest.len != 0 && response->digest.len != HASH_SIZE)
                   ? err_set(err, ERR_CORRUPT, "the peer's answer to Compare is malformed")
                   : position_parse(bytes_of_string(response->position), &found.position, err);
    if (code == 0 && response->digest.len != 0) {
        found.has_digest = true;
        memcpy(found.digest.bytes, response->digest.data, HASH_SIZE);
    }
    if (code == 0)
        *ret = found;
    arena_free(&arena);
    return code;
}

int peer_compare(struct channel *channel, const struct peer_identity *self, const struct peer_comparison *asked,
                 uint64_t timeout_ms, struct peer_comparison *ret, struct err *err)
{
    struct buf request;
    struct buf answer;
    buf_init(&request, 2 * (size_t)PEER_POSITION_MAX_BYTES);
    buf_init(&answer, 2 * (size_t)PEER_POSITION_MAX_BYTES);
    int code = pack_compare(self, asked, &request);
    if (code == 0)
        code = channel_unary(channel, "/tally.v1.Replication/Compare", buf_bytes(&request), timeout_ms, &answer, NULL,
                             err);
    else
        code = err_no_memory(err, "a comparison");
    if (code == 0)
        code = peer_compare_parse(buf_bytes(&answer), ret, err);
    buf_free(&request);
    buf_free(&answer);
    return code;
}

static int write_request(struct channel_call *call, const Tally__V1__PullRequest *request, struct err *err)
{
    struct buf packed;
    buf_init(&packed, NOTE_MAX_BYTES);
    int code = buf_reserve(&packed, tally__v1__pull_request__get_packed_size(request));
    if (code == 0) {
        packed.size_bytes = tally__v1__pull_request__pack(request, packed.data);
        code = channel_call_write(call, buf_bytes(&packed), err);
    }
    buf_free(&packed);
    return code;
}

int peer_pull_open(struct channel *channel, const struct peer_identity *self, const char *origin, uint64_t from_index,
                   struct channel_call **ret, struct err *err)
{
    Tally__V1__PullRequest request;
    struct channel_call *call = NULL;
    tally__v1__pull_request__init(&request);
    int code = channel_call_open(channel, "/tally.v1.Replication/Pull", 0, &call, err);
    if (code != 0)
        return code;
    request.protocol = PROTOCOL;
    request.cluster = (char *)(uintptr_t)self->cluster;
    request.region = (char *)(uintptr_t)self->region;
    request.origin = (char *)(uintptr_t)origin;
    request.from_index = from_index;
    code = write_request(call, &request, err);
    if (code == ERR_UNAVAILABLE) { /* the call has ended already: reading tells why */
        struct buf nothing;
        buf_init(&nothing, 1024);
        int why = channel_call_read(call, &nothing, NULL, err);
        code = why < 0 && why != ERR_END ? why : code;
        buf_free(&nothing);
    }
    if (code != 0) {
        channel_call_close(call);
        return code;
    }
    *ret = call;
    return 0;
}

int peer_question_parse(struct bytes message, struct buf *ret_question, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 2 * message.size_bytes + PULL_SLACK_BYTES);
    ProtobufCAllocator allocator = decode_allocator(&arena);
    const Tally__V1__PullResponse *response =
        tally__v1__pull_response__unpack(&allocator, message.size_bytes, message.data);
    int code = 0;
    if (response == NULL || response->question.len != INTRODUCTION_QUESTION_BYTES || response->block.len > 0 ||
        response->checkpoint.len > 0)
        code = err_set(err, ERR_CORRUPT, "a pull must begin with a question of %d bytes", INTRODUCTION_QUESTION_BYTES);
    else if ((code = buf_append(ret_question, bytes_of(response->question.data, response->question.len))) != 0)
        err_set(err, code, "no room for a peer's question");
    arena_free(&arena);
    return code;
}

static int answer_question(struct channel_call *call, const struct peer_identity *self,
                           const struct introduction *introduction, struct err *err)
{
    Tally__V1__PullRequest request;
    struct buf line;
    tally__v1__pull_request__init(&request);
    buf_init(&line, INTRODUCTION_MAX_BYTES);
    int code = introduction_sign(introduction, &self->cosigners, &line, err);
    if (code == 0) {
        request.introduction = (ProtobufCBinaryData){.len = line.size_bytes, .data = line.data};
        code = write_request(call, &request, err);
    }
    buf_free(&line);
    return code;
}

int peer_pull_introduce(struct channel_call *call, const struct peer_identity *self, const char *source_region,
                        const char *origin, uint64_t from_index, struct buf *scratch, struct err *err)
{
    struct buf question;
    buf_init(&question, INTRODUCTION_QUESTION_BYTES);
    buf_clear(scratch);
    int code = channel_call_read(call, scratch, NULL, err);
    if (code == ERR_END)
        code = err_set(err, ERR_CORRUPT, "the pull ended before its first message");
    if (code == 0)
        code = peer_question_parse(buf_bytes(scratch), &question, err);
    if (code == 0) {
        struct introduction introduction = {.cluster = self->cluster,
                                            .from = self->region,
                                            .to = source_region,
                                            .origin = origin,
                                            .from_index = from_index,
                                            .question = buf_bytes(&question)};
        code = answer_question(call, self, &introduction, err);
    }
    buf_free(&question);
    return code;
}

static int take_pulled(const Tally__V1__PullResponse *response, struct block **ret_block, struct buf *ret_note,
                       struct err *err)
{
    struct block *block = NULL;
    int code = 0;
    if ((response->block.len > 0) + (response->checkpoint.len > 0) + (response->question.len > 0) > 1)
        code = err_set(err, ERR_CORRUPT, "a message of the pull carries more than one thing");
    else if (response->block.len > 0)
        code = block_from_bytes(bytes_of(response->block.data, response->block.len), &block, err);
    else if (response->checkpoint.len == 0 || response->checkpoint.len > NOTE_MAX_BYTES)
        code = err_set(err, ERR_CORRUPT, "a message of the pull is empty, or its checkpoint is too large");
    else if ((code = buf_append(ret_note, bytes_of(response->checkpoint.data, response->checkpoint.len))) != 0)
        err_set(err, code, "no room for a peer's checkpoint");
    if (code == 0)
        *ret_block = block;
    return code;
}

int peer_pull_parse(struct bytes message, struct block **ret_block, struct buf *ret_note, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 2 * message.size_bytes + PULL_SLACK_BYTES);
    ProtobufCAllocator allocator = decode_allocator(&arena);
    const Tally__V1__PullResponse *response =
        tally__v1__pull_response__unpack(&allocator, message.size_bytes, message.data);
    int code = response == NULL ? err_set(err, ERR_CORRUPT, "a message of the pull is malformed")
                                : take_pulled(response, ret_block, ret_note, err);
    arena_free(&arena);
    return code;
}

int peer_pull_read(struct channel_call *call, struct buf *scratch, struct block **ret_block, struct buf *ret_note,
                   struct err *err)
{
    buf_clear(scratch);
    int code = channel_call_read(call, scratch, NULL, err);
    return code != 0 ? code : peer_pull_parse(buf_bytes(scratch), ret_block, ret_note, err);
}

int peer_pull_acknowledge(struct channel_call *call, uint64_t stored_size, uint64_t cosigned_size,
                          struct bytes cosignature, struct err *err)
{
    Tally__V1__PullRequest request;
    tally__v1__pull_request__init(&request);
    request.stored_size = stored_size;
    request.cosigned_size = cosigned_size;
    request.cosignature =
        (ProtobufCBinaryData){.len = cosignature.size_bytes, .data = (uint8_t *)(uintptr_t)cosignature.data};
    return write_request(call, &request, err);
}
