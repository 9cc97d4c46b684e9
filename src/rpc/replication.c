/* The source side of replication: Hello, Pull and Compare.
 *
 * All begin with the same questions, because every field is hostile until checked: same protocol, same cluster, a peer
 * that this region is configured with and that is not itself; Hello and Compare also compare the contexts. A difference
 * is ERR_MISMATCH with what both sides have, so that the operator of either can act.
 *
 * A pull has a third question: that the caller is the region it says it is (crypto/introduction.h), because what it is
 * sent depends on it.
 *
 * What Pull sends, and what it believes of the answers, is decided in replication/source.c. Here it becomes messages: a
 * stretch of blocks at a time, then the checkpoint behind it. Meanwhile a second thread reads what the puller has
 * stored and cosigned. */
#include "base/assert.h"
#include "crypto/introduction.h"
#include "entry/wire.h"
#include "platform/clock.h"
#include "replication/source.h"
#include "rpc/held.h"
#include "rpc/methods.h"
#include "tally/v1/replication.pb-c.h"

enum {
    HELLO_ARENA_MAX_BYTES = REGION_LOGS_MAX * (NOTE_MAX_BYTES + 4096),
    PULL_STRETCH_BLOCKS = 64,
    COMPARE_ARENA_MAX_BYTES = 128 * 1024,
};

/* Who asks, as it says itself. */
struct asker {
    uint32_t protocol;
    const char *cluster;
    const char *region;
};

static int check_asker(const struct rpc_backend *backend, const struct asker *asker, struct err *err)
{
    const struct region_config *config = backend->config;
    if (asker->protocol != RPC_PROTOCOL)
        return err_set(err, ERR_MISMATCH, "region %s speaks replication protocol %d, the caller %u: upgrade the older",
                       config->region, RPC_PROTOCOL, (unsigned)asker->protocol);
    int code = entry_check_name(bytes_of_string(asker->cluster), sizeof(config->cluster) - 1, "cluster", err);
    if (code == 0)
        code = entry_check_name(bytes_of_string(asker->region), sizeof(config->region) - 1, "region", err);
    if (code != 0)
        return code;
    if (strcmp(asker->cluster, config->cluster) != 0)
        return err_set(err, ERR_MISMATCH,
                       "region %s is of cluster %s, the caller of cluster %s: check the peers' addresses",
                       config->region, config->cluster, asker->cluster);
    if (strcmp(asker->region, config->region) == 0)
        return err_set(err, ERR_MISMATCH,
                       "the caller says it is region %s, and so is this one: check the peers' addresses",
                       config->region);
    for (size_t i = 0; i < config->peer_count; i++) {
        if (strcmp(asker->region, config->peers[i].region) == 0)
            return 0;
    }
    return err_set(err, ERR_MISMATCH, "region %s has %zu peers, and region %s is not one of them: add it to the peers",
                   config->region, config->peer_count, asker->region);
}

static int check_contexts(const struct rpc_backend *backend, const struct asker *asker, ProtobufCBinaryData digest,
                          struct err *err)
{
    char ours[2 * HASH_SIZE + 1];
    char theirs[2 * HASH_SIZE + 1];
    if (digest.len != HASH_SIZE)
        return err_set(err, ERR_INVALID, "the contexts' digest has %zu bytes; it must have %d", digest.len, HASH_SIZE);
    if (memcmp(digest.data, backend->contexts_digest.bytes, HASH_SIZE) == 0)
        return 0;
    hex_encode(bytes_of(backend->contexts_digest.bytes, HASH_SIZE), ours);
    hex_encode(bytes_of(digest.data, HASH_SIZE), theirs);
    return err_set(err, ERR_MISMATCH,
                   "the contexts differ: region %s has digest %.16s, region %s has %.16s; every region must be "
                   "configured with the same",
                   backend->config->region, ours, asker->region, theirs);
}

static void append_note(struct rpc_backend *backend, size_t log, struct buf *note)
{
    buf_clear(note);
    if (backend->ops->checkpoint(backend, log, false, note, NULL) != 0)
        buf_clear(note);
}

static int fill_held(struct rpc_backend *backend, size_t number, const struct region_lease_answer *lease,
                     struct buf *note, Tally__V1__HeldLog *held, struct arena *arena, struct err *err)
{
    struct log *log = backend->ops->log_at(backend, number);
    struct bytes origin = log_origin(log);
    append_note(backend, number, note);
    tally__v1__held_log__init(held);
    held->size = log_durable_size(log);
    held->obeyed = number < lease->log_count ? lease->obeyed[number] : 0;
    held->origin = arena_alloc_zero(arena, 1, origin.size_bytes + 1);
    held->checkpoint.len = note->size_bytes;
    held->checkpoint.data = arena_copy(arena, note->data, note->size_bytes);
    if (held->origin == NULL || held->checkpoint.data == NULL)
        return err_no_memory(err, "the logs held");
    memcpy(held->origin, origin.data, origin.size_bytes);
    return 0;
}

static int fill_logs(struct rpc_backend *backend, const struct region_lease_answer *lease,
                     Tally__V1__HelloResponse *response, struct arena *arena, struct err *err)
{
    size_t count = backend->ops->log_count(backend);
    Tally__V1__HeldLog *logs = arena_alloc_zero(arena, count, sizeof(*logs));
    response->logs = arena_alloc_zero(arena, count, sizeof(*response->logs));
    if (logs == NULL || response->logs == NULL)
        return err_no_memory(err, "the logs held");
    struct buf note;
    buf_init(&note, NOTE_MAX_BYTES);
    int code = 0;
    for (size_t i = 0; i < count && code == 0; i++) {
        code = fill_held(backend, i, lease, &note, &logs[i], arena, err);
        response->logs[i] = &logs[i];
    }
    response->n_logs = count;
    buf_free(&note);
    return code;
}

/* Before the sizes are looked at: what the region that is asked about may still have sent is among them then. */
static int ask_lease(struct rpc_backend *backend, const Tally__V1__HelloRequest *request,
                     struct region_lease_answer *ret, struct err *err)
{
    struct region_lease_question question = {.lease_us = request->lease_us, .abstain = request->abstain};
    if (strlen(request->about) >= sizeof(question.about) || request->lease_us > (uint64_t)RULES_LEASE_MAX_MS * 1000)
        return err_set(err, ERR_INVALID, "a region's name is at most %zu bytes long, and a lease at most %d ms",
                       sizeof(question.about) - 1, RULES_LEASE_MAX_MS);
    copy_string(question.about, sizeof(question.about), request->about);
    return backend->ops->lease(backend, request->region, &question, ret, err);
}

static int hello(struct call *call, const Tally__V1__HelloRequest *request, struct arena *arena, struct err *err)
{
    struct rpc_backend *backend = call->backend;
    struct asker asker = {.protocol = request->protocol, .cluster = request->cluster, .region = request->region};
    int code = check_asker(backend, &asker, err);
    if (code == 0)
        code = check_contexts(backend, &asker, request->contexts_digest, err);
    if (code != 0)
        return code;
    backend->ops->peer_contact(backend, request->region);
    struct region_lease_answer lease;
    code = ask_lease(backend, request, &lease, err);
    if (code != 0)
        return code;
    Tally__V1__HelloResponse response;
    tally__v1__hello_response__init(&response);
    response.protocol = RPC_PROTOCOL;
    response.cluster = request->cluster; /* equal to ours, as just checked */
    response.region = arena_copy(arena, backend->config->region, strlen(backend->config->region) + 1);
    response.contexts_digest = request->contexts_digest;
    response.wall_us = clock_now().wall_us;
    response.time = rpc_passed_time(response.wall_us); /* before the sizes are taken */
    if (response.region == NULL)
        return err_no_memory(err, "an answer");
    response.granted = lease.granted;
    response.abstains = lease.abstains;
    response.left_us = lease.left_us;
    struct certificate_status certificate;
    backend->ops->certificate(backend, &certificate);
    response.certificate_end_s = certificate.certificate.end_s;
    code = fill_logs(backend, &lease, &response, arena, err);
    return code != 0 ? code : call_answer(call, &response.base);
}

int method_hello(struct call *call, struct err *err)
{
    struct arena arena;
    arena_init(&arena, HELLO_ARENA_MAX_BYTES);
    ProtobufCMessage *message = NULL;
    int code = call_read_request(call, &tally__v1__hello_request__descriptor, &arena, &message, err);
    if (code == 0)
        code = hello(call, (const Tally__V1__HelloRequest *)message, &arena, err);
    arena_free(&arena);
    return code;
}

/* --- Compare --- */

static int take_comparison(const Tally__V1__CompareRequest *request, struct rpc_comparison *asked, struct err *err)
{
    bool late = strcmp(request->subject, DRIFT_LATE_EVENTS) == 0;
    if (request->digest.len != HASH_SIZE || request->sql.len != (late ? 0 : HASH_SIZE))
        return err_set(err, ERR_INVALID, "digest has %zu bytes and sql %zu; they must have %d and %d",
                       request->digest.len, request->sql.len, HASH_SIZE, late ? 0 : HASH_SIZE);
    int code = entry_check_name(bytes_of_string(request->subject), DRIFT_NAME_MAX_BYTES, "subject", err);
    if (code == 0)
        code = position_parse(bytes_of_string(request->position), &asked->position, err);
    if (code != 0)
        return code;
    asked->region = request->region;
    asked->subject = request->subject;
    asked->has_digest = true;
    memcpy(asked->digest.bytes, request->digest.data, HASH_SIZE);
    if (!late)
        memcpy(asked->sql.bytes, request->sql.data, HASH_SIZE);
    return 0;
}

static int answer_comparison(struct call *call, struct rpc_comparison *found, struct err *err)
{
    Tally__V1__CompareResponse response;
    struct buf position;
    buf_init(&position, COMPARE_ARENA_MAX_BYTES);
    tally__v1__compare_response__init(&response);
    int code = position_format(&found->position, &position);
    if (code == 0)
        code = buf_terminate(&position);
    response.position = (char *)position.data;
    response.digest = (ProtobufCBinaryData){.len = found->has_digest ? HASH_SIZE : 0, .data = found->digest.bytes};
    code = code == 0 ? call_answer(call, &response.base) : err_no_memory(err, "an answer");
    buf_free(&position);
    return code;
}

static int compare(struct call *call, const Tally__V1__CompareRequest *request, struct arena *arena, struct err *err)
{
    struct rpc_backend *backend = call->backend;
    struct asker asker = {.protocol = request->protocol, .cluster = request->cluster, .region = request->region};
    struct rpc_comparison *asked = arena_alloc_zero(arena, 1, sizeof(*asked));
    struct rpc_comparison *found = arena_alloc_zero(arena, 1, sizeof(*found));
    if (asked == NULL || found == NULL)
        return err_no_memory(err, "a comparison");
    int code = check_asker(backend, &asker, err);
    if (code == 0)
        code = check_contexts(backend, &asker, request->contexts_digest, err);
    if (code == 0)
        code = take_comparison(request, asked, err);
    if (code == 0)
        code = backend->ops->compare(backend, asked, found, err);
    return code == 0 ? answer_comparison(call, found, err) : code;
}

int method_compare(struct call *call, struct err *err)
{
    struct arena arena;
    arena_init(&arena, COMPARE_ARENA_MAX_BYTES);
    ProtobufCMessage *message = NULL;
    int code = call_read_request(call, &tally__v1__compare_request__descriptor, &arena, &message, err);
    if (code == 0)
        code = compare(call, (const Tally__V1__CompareRequest *)message, &arena, err);
    arena_free(&arena);
    return code;
}

/* --- Pull --- */

struct pull {
    struct call *call;
    struct log *log;
    size_t log_number;
    struct source source;
    char region[sizeof(((struct region_config *)NULL)->region)]; /* the puller */
    pthread_mutex_t mutex;
    bool reader_ended;
    int reader_code; /* ERR_END when the puller said no more */
    struct err reader_err;
};

static int acknowledge(struct pull *pull, const Tally__V1__PullRequest *request, struct err *err)
{
    struct rpc_backend *backend = pull->call->backend;
    struct bytes cosignature = bytes_of(request->cosignature.data, request->cosignature.len);
    int code = source_check_acknowledged(pull->log, request->stored_size, request->cosigned_size, cosignature, err);
    if (code != 0)
        return err_wrap(err, code, "region %s", pull->region);
    return backend->ops->acknowledged(backend, pull->region, pull->log_number, request->stored_size,
                                      request->cosigned_size, cosignature, err);
}

static int read_pull_request(struct call *call, struct arena *arena, const Tally__V1__PullRequest **ret,
                             struct err *err)
{
    struct call_message message;
    int code = call_read(call, &message, err);
    if (code != 0)
        return code;
    ProtobufCMessage *request = NULL;
    code = message_unpack(&tally__v1__pull_request__descriptor, message.bytes, arena, &request, err);
    call_message_free(&message);
    if (code == 0)
        *ret = (const Tally__V1__PullRequest *)request;
    return code;
}

static void *read_acknowledgements(void *context)
{
    struct pull *pull = context;
    struct err err = {0};
    struct arena arena;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    int code = 0;
    while (code == 0) {
        const Tally__V1__PullRequest *request = NULL;
        arena_reset(&arena);
        code = read_pull_request(pull->call, &arena, &request, &err);
        if (code == 0)
            code = acknowledge(pull, request, &err);
    }
    arena_free(&arena);
    pthread_mutex_lock(&pull->mutex);
    pull->reader_ended = true;
    pull->reader_code = code;
    pull->reader_err = err;
    pthread_mutex_unlock(&pull->mutex);
    return NULL;
}

/* 0 while the reader goes on, else why it ended. */
static int check_reader(struct pull *pull, struct err *err)
{
    pthread_mutex_lock(&pull->mutex);
    int code = pull->reader_ended ? err_set(err, pull->reader_code, "%s", pull->reader_err.message) : 0;
    pthread_mutex_unlock(&pull->mutex);
    return code;
}

static void release_block(void *block)
{
    block_release(block);
}

/* PullResponse.block: the tag, and the block's own memory. Takes over the reference. */
static int send_block(struct pull *pull, struct block *block, struct err *err)
{
    struct bytes bytes = block_bytes(block);
    uint8_t head[2 * WIRE_VARINT_MAX_BYTES];
    uint8_t *end = wire_put_varint(wire_put_tag(head, 1, WIRE_BYTES), bytes.size_bytes);
    grpc_slice slices[] = {
        grpc_slice_from_copied_buffer((const char *)head, (size_t)(end - head)),
        grpc_slice_new_with_user_data(block->data, bytes.size_bytes, release_block, block),
    };
    return call_write(pull->call, slices, 2, err);
}

/* Sends what is durable, at most a stretch. ERR_END when all of it has been sent. */
static int send_stretch(struct pull *pull, struct err *err)
{
    for (size_t i = 0; i < PULL_STRETCH_BLOCKS; i++) {
        struct block *block = NULL;
        int code = source_next_block(&pull->source, &block, err);
        if (code != 0)
            return code;
        code = send_block(pull, block, err);
        if (code != 0)
            return code;
    }
    return 0;
}

static int load_note(void *context, struct buf *out)
{
    const struct pull *pull = context;
    struct rpc_backend *backend = pull->call->backend;
    return backend->ops->checkpoint(backend, pull->log_number, false, out, NULL);
}

static int send_checkpoint(struct pull *pull, struct err *err)
{
    struct bytes note = source_next_checkpoint(&pull->source);
    if (note.size_bytes == 0)
        return 0;
    Tally__V1__PullResponse response;
    tally__v1__pull_response__init(&response);
    response.checkpoint = (ProtobufCBinaryData){.len = note.size_bytes, .data = (uint8_t *)(uintptr_t)note.data};
    return call_write_message(pull->call, &response.base, err);
}

static int send_all(struct pull *pull, struct err *err)
{
    struct rpc_backend *backend = pull->call->backend;
    uint64_t seen = 0;
    for (;;) {
        seen = backend->ops->wait_change(backend, seen, 0);
        int code = send_stretch(pull, err);
        bool idle = code == ERR_END;
        if (code == 0 || idle)
            code = send_checkpoint(pull, err);
        uint64_t before = seen;
        while (code == 0 && idle && seen == before) {
            code = call_wait_change(pull->call, &seen, CALL_POLL_MS, err);
            if (code == 0)
                code = check_reader(pull, err);
        }
        if (code == 0)
            code = call_check(pull->call, err);
        if (code == 0)
            code = check_reader(pull, err);
        if (code != 0)
            return code;
    }
}

static enum residency puller_residency(void *context, const struct entry *entry)
{
    const struct pull *pull = context;
    return residency_of(index_contexts(pull->call->backend->index), bytes_of_string(pull->region), entry);
}

static const struct keyring *cosign_keys_of(const struct rpc_backend *backend, const char *region)
{
    size_t peer = 0;
    while (strcmp(backend->config->peers[peer].region, region) != 0)
        peer++; /* check_asker has found it */
    return &backend->config->peers[peer].cosign_keys;
}

/* Asks, and reads the answer. */
static int ask_who(struct pull *pull, const Tally__V1__PullRequest *request, struct arena *arena, struct err *err)
{
    const struct rpc_backend *backend = pull->call->backend;
    uint8_t question[INTRODUCTION_QUESTION_BYTES];
    Tally__V1__PullResponse response;
    const Tally__V1__PullRequest *answer = NULL;
    entropy_fill(question, sizeof(question));
    tally__v1__pull_response__init(&response);
    response.question = (ProtobufCBinaryData){.len = sizeof(question), .data = question};
    int code = call_write_message(pull->call, &response.base, err);
    if (code == 0)
        code = read_pull_request(pull->call, arena, &answer, err);
    if (code == ERR_END)
        return err_set(err, ERR_INVALID, "the pull ended without an answer to the question who pulls");
    if (code != 0)
        return code;
    struct introduction introduction = {.cluster = backend->config->cluster,
                                        .from = request->region,
                                        .to = backend->config->region,
                                        .origin = request->origin,
                                        .from_index = request->from_index,
                                        .question = bytes_of(question, sizeof(question))};
    return introduction_check(&introduction, bytes_of(answer->introduction.data, answer->introduction.len),
                              cosign_keys_of(backend, request->region), err);
}

/* The first message says who pulls what from where. */
static int begin_pull(struct pull *pull, const Tally__V1__PullRequest *request, struct arena *arena, struct err *err)
{
    struct rpc_backend *backend = pull->call->backend;
    struct asker asker = {.protocol = request->protocol, .cluster = request->cluster, .region = request->region};
    int code = check_asker(backend, &asker, err);
    if (code == 0 && request->origin[0] == '\0')
        code = err_set(err, ERR_INVALID, "the first message of a pull must name an origin");
    if (code == 0)
        code = held_find(backend, bytes_of_string(request->origin), &pull->log, &pull->log_number, err);
    if (code == 0)
        code = ask_who(pull, request, arena, err);
    if (code != 0)
        return code;
    memcpy(pull->region, request->region, strlen(request->region) + 1);
    backend->ops->peer_contact(backend, pull->region);
    code = source_open(&pull->source, pull->log, request->from_index, load_note, puller_residency, pull, err);
    return code == 0 ? 0 : err_wrap(err, code, "region %s", request->region);
}

static int run_pull(struct pull *pull, struct err *err)
{
    pthread_t reader;
    if (pthread_create(&reader, NULL, read_acknowledgements, pull) != 0)
        return err_set(err, ERR_BUSY, "no thread for this call: too many are running");
    struct err why = {0};
    int code = send_all(pull, &why);
    if (code == ERR_END)
        code = 0;
    call_finish(pull->call, code, &why, CALL_FINISH_TIMEOUT_MS);
    pthread_join(reader, NULL);
    return code != 0 ? err_set(err, code, "%s", why.message) : 0;
}

static int pull_log(struct call *call, struct arena *arena, struct err *err)
{
    struct pull *pull = arena_alloc_zero(arena, 1, sizeof(*pull));
    if (pull == NULL)
        return err_no_memory(err, "a pull");
    pull->call = call;
    const Tally__V1__PullRequest *first = NULL;
    int code = read_pull_request(call, arena, &first, err);
    if (code == ERR_END)
        return err_set(err, ERR_INVALID, "the pull names no origin: it ended before its first message");
    if (code == 0)
        code = begin_pull(pull, first, arena, err);
    if (code != 0)
        return code;
    INVARIANT(pthread_mutex_init(&pull->mutex, NULL) == 0);
    code = run_pull(pull, err);
    pthread_mutex_destroy(&pull->mutex);
    source_close(&pull->source);
    return code;
}

int method_pull(struct call *call, struct err *err)
{
    struct arena arena;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    int code = pull_log(call, &arena, err);
    arena_free(&arena);
    return code;
}
