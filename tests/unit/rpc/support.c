#include "support.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "support/files.h"

/* --- Blocks --- */

void maker_init(struct maker *maker, const char *origin)
{
    maker->sha = sha256_new();
    chain_init(&maker->chain, maker->sha, bytes_of_string(origin));
    maker->partition = strcmp(origin, PEER_ORIGIN) == 0 ? "us" : "p";
}

void maker_free(struct maker *maker)
{
    sha256_free(maker->sha);
}

static void add_entry(struct maker *maker, struct block *block, const char *stream, uint64_t version,
                      size_t payload_size_bytes)
{
    uint8_t *payload = mem_alloc(payload_size_bytes);
    memset(payload, 'x', payload_size_bytes);
    struct frame frame = {.has_payload = true, .payload = bytes_of(payload, payload_size_bytes), .salt = {1}};
    struct entry entry = {
        .index = maker->chain.range.size,
        .prev = maker->chain.prev,
        .time = maker->chain.last_time + 1,
        .context = BYTES_LITERAL("bank"),
        .partition = bytes_of_string(maker->partition),
        .stream = bytes_of_string(stream),
        .stream_version = version,
        .type = BYTES_LITERAL("Happened"),
        .epoch = 1,
        .payload_size_bytes = payload_size_bytes,
        .payload_commitment = entry_payload_commitment(maker->sha, frame.salt, frame.payload),
    };
    memcpy(entry.log_id, maker->chain.log_id, ENTRY_LOG_ID_SIZE);
    memcpy(entry.event_id, maker->chain.log_id, 8);
    put_u64_be(entry.event_id + 8, entry.index);
    struct buf encoded;
    buf_init(&encoded, ENTRY_MAX_BYTES);
    cr_assert_eq(entry_encode(&entry, &encoded, NULL), 0);
    frame.entry = buf_bytes(&encoded);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    chain_append(&maker->chain, maker->sha, frame.entry, entry.time);
    buf_free(&encoded);
    mem_free(payload);
}

struct block *maker_block(struct maker *maker, const char *stream, uint64_t first_version, uint32_t entry_count,
                          size_t payload_size_bytes)
{
    struct block *block = NULL;
    cr_assert_eq(block_new(maker->chain.range.size, maker->chain.log_id, &block, NULL), 0);
    for (uint32_t i = 0; i < entry_count; i++)
        add_entry(maker, block, stream, first_version + i, payload_size_bytes);
    block_seal(block);
    return block;
}

/* --- The region behind the services --- */

static struct stage *stage_of(struct rpc_backend *backend)
{
    return (struct stage *)backend;
}

static void append_locked(struct stage *stage, size_t log, const char *stream, uint32_t entry_count,
                          size_t payload_size_bytes)
{
    struct index_head head;
    uint64_t first = 0;
    if (index_head(stage->backend.index, BYTES_LITERAL("bank"), bytes_of_string(stream), &head, NULL) == 0)
        first = head.version + 1;
    struct block *block = maker_block(&stage->makers[log], stream, first, entry_count, payload_size_bytes);
    cr_assert_eq(log_append(stage->logs[log], &block, 1, NULL), 0);
    uint32_t number = 0;
    cr_assert_eq(index_log(stage->backend.index, log_origin(stage->logs[log]), &number, NULL), 0);
    for (uint32_t i = 0; i < entry_count; i++) {
        struct bytes bytes;
        struct frame frame;
        struct entry entry;
        cr_assert_eq(block_find(block, block->first_index + i, &bytes, NULL), 0);
        cr_assert_eq(frame_parse(bytes, &frame, NULL), 0);
        cr_assert_eq(entry_parse(frame.entry, &entry, NULL), 0);
        struct index_entry applied = {.entry = &entry, .fingerprint = 1};
        cr_assert_eq(index_apply(stage->backend.index, number, &applied, 1, NULL), 0);
    }
    block_release(block);
    stage->counter++;
    pthread_cond_broadcast(&stage->changed);
}

void stage_append(struct stage *stage, size_t log, const char *stream, uint32_t entry_count, size_t payload_size_bytes)
{
    pthread_mutex_lock(&stage->mutex);
    append_locked(stage, log, stream, entry_count, payload_size_bytes);
    pthread_mutex_unlock(&stage->mutex);
}

static void decide_locked(struct stage *stage, struct rpc_append *append)
{
    struct region_command *command = &append->command;
    size_t result = 0;
    if (stage->refuse_with != 0) {
        command->refusal.code = stage->refuse_with;
        err_set(&command->refusal.err, stage->refuse_with, "refused for the test");
        snprintf(command->refusal.expected, sizeof(command->refusal.expected), "none");
        snprintf(command->refusal.actual, sizeof(command->refusal.actual), "4");
    }
    for (size_t i = 0; i < command->write_count && command->refusal.code == 0; i++) {
        char stream[ENTRY_STREAM_MAX_BYTES + 1] = "";
        if (command->writes[i].event_count > 0) /* a decision about late events may have empty writes */
            memcpy(stream, command->writes[i].stream.data, command->writes[i].stream.size_bytes);
        for (size_t j = 0; j < command->writes[i].event_count; j++) {
            command->results[result++].index = log_durable_size(stage->logs[0]);
            append_locked(stage, 0, stream, 1, command->writes[i].events[j].payload.size_bytes);
        }
    }
    if (command->define != NULL && command->refusal.code == 0)
        command->define->version = command->define->expected_version + 1;
    if (command->settle != NULL && command->refusal.code == 0)
        command->settle->settled = command->settle->item_count;
    command->ticket = log_durable_size(stage->logs[0]);
    rpc_append_done(append);
}

static size_t submit(struct rpc_backend *backend, struct rpc_append *const *appends, size_t count, struct err *err)
{
    struct stage *stage = stage_of(backend);
    if (atomic_load(&stage->stopping)) {
        err_set(err, ERR_UNAVAILABLE, "stopping");
        return 0;
    }
    pthread_mutex_lock(&stage->mutex);
    for (size_t i = 0; i < count; i++) {
        stage->submitted++;
        pthread_cond_broadcast(&stage->changed);
        if (stage->hold)
            stage->held = appends[i];
        else
            decide_locked(stage, appends[i]);
    }
    pthread_mutex_unlock(&stage->mutex);
    return count;
}

void stage_release(struct stage *stage)
{
    pthread_mutex_lock(&stage->mutex);
    decide_locked(stage, stage->held);
    stage->held = NULL;
    pthread_mutex_unlock(&stage->mutex);
}

void stage_wait_submitted(struct stage *stage, size_t count)
{
    pthread_mutex_lock(&stage->mutex);
    while (stage->submitted < count)
        pthread_cond_wait(&stage->changed, &stage->mutex);
    pthread_mutex_unlock(&stage->mutex);
}

void stage_wait_given_up(struct stage *stage, size_t count)
{
    pthread_mutex_lock(&stage->mutex);
    while (stage->given_up < count)
        pthread_cond_wait(&stage->changed, &stage->mutex);
    pthread_mutex_unlock(&stage->mutex);
}

static size_t log_count(struct rpc_backend *backend)
{
    struct stage *stage = stage_of(backend);
    pthread_mutex_lock(&stage->mutex);
    size_t count = stage->log_count;
    pthread_mutex_unlock(&stage->mutex);
    return count;
}

static struct log *log_at(struct rpc_backend *backend, size_t log)
{
    return log < log_count(backend) ? stage_of(backend)->logs[log] : NULL;
}

static uint64_t wait_change(struct rpc_backend *backend, uint64_t seen, uint64_t timeout_ms)
{
    struct stage *stage = stage_of(backend);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    uint64_t nanoseconds = (uint64_t)until.tv_nsec + timeout_ms % 1000 * 1000000;
    until.tv_sec += (time_t)(timeout_ms / 1000 + nanoseconds / 1000000000);
    until.tv_nsec = (long)(nanoseconds % 1000000000);
    pthread_mutex_lock(&stage->mutex);
    while (timeout_ms > 0 && stage->counter == seen && !atomic_load(&stage->stopping) &&
           pthread_cond_timedwait(&stage->changed, &stage->mutex, &until) == 0) {
    }
    uint64_t counter = stage->counter;
    pthread_mutex_unlock(&stage->mutex);
    return counter;
}

static bool stopping(struct rpc_backend *backend)
{
    return atomic_load(&stage_of(backend)->stopping);
}

static int status(struct rpc_backend *backend, struct rpc_status *ret, struct err *err)
{
    (void)err;
    struct stage *stage = stage_of(backend);
    ret->accepting = true;
    ret->log_count = log_count(backend);
    for (size_t i = 0; i < ret->log_count; i++) {
        memcpy(ret->logs[i].origin, log_origin(stage->logs[i]).data, log_origin(stage->logs[i]).size_bytes);
        ret->logs[i].state = i == 0 ? REGION_LOG_ACCEPTING : REGION_LOG_MIRRORING;
        ret->logs[i].size = log_durable_size(stage->logs[i]);
        ret->logs[i].known_size = ret->logs[i].size + 2;
        ret->logs[i].queued_open = 9;
    }
    ret->peer_count = 1;
    ret->peers[0] = (struct region_peer_status){.up = true, .heard = true, .mirrored_size = 1};
    ret->now_mono_us = 5000000;
    ret->peers[0].last_contact_mono_us = 3000000;
    return 0;
}

static int checkpoint(struct rpc_backend *backend, size_t log, bool published, struct buf *out, struct err *err)
{
    struct stage *stage = stage_of(backend);
    pthread_mutex_lock(&stage->mutex);
    int code = log == 0 && !published && stage->note.size_bytes > 0 ? buf_append(out, buf_bytes(&stage->note))
                                                                    : err_set(err, ERR_NOT_FOUND, "no note");
    pthread_mutex_unlock(&stage->mutex);
    return code;
}

/* No real receipt: "log 0, entry 3". */
static int prove(struct rpc_backend *backend, size_t log, uint64_t index, struct buf *out, struct err *err)
{
    struct stage *stage = stage_of(backend);
    pthread_mutex_lock(&stage->mutex);
    bool provable = index < stage->provable_size;
    pthread_mutex_unlock(&stage->mutex);
    if (!provable)
        return err_set(err, ERR_UNAVAILABLE, "no checkpoint covers it");
    return buf_append_format(out, "log %zu, entry %llu", log, (unsigned long long)index);
}

static int acknowledged(struct rpc_backend *backend, const char *peer_region, size_t log, uint64_t size,
                        uint64_t cosigned_size, struct bytes cosignature, struct err *err)
{
    (void)err;
    (void)cosignature;
    struct stage *stage = stage_of(backend);
    cr_assert_str_eq(peer_region, "us");
    cr_assert_eq(log, 0);
    pthread_mutex_lock(&stage->mutex);
    stage->acknowledgements++;
    stage->acknowledged_size = size;
    stage->cosigned_size = cosigned_size;
    pthread_cond_broadcast(&stage->changed);
    pthread_mutex_unlock(&stage->mutex);
    return 0;
}

static void peer_contact(struct rpc_backend *backend, const char *peer_region)
{
    (void)backend;
    cr_assert_str_eq(peer_region, "us");
}

static int projection_get(struct rpc_backend *backend, const char *name, struct rpc_projection *ret, struct err *err)
{
    struct stage *stage = stage_of(backend);
    if (strcmp(name, "balances") != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no projection %s", name);
    snprintf(ret->name, sizeof(ret->name), "%s", name);
    snprintf(ret->state, sizeof(ret->state), "live");
    pthread_mutex_lock(&stage->mutex);
    int code = position_set(&ret->position, "eu", 1, stage->projection_size);
    pthread_mutex_unlock(&stage->mutex);
    return code;
}

static int projection_list(struct rpc_backend *backend, struct rpc_projection *ret, size_t *ret_count, struct err *err)
{
    *ret_count = 1;
    return projection_get(backend, "balances", &ret[0], err);
}

/* What the event comes with, as a row; one of stream "odd" cannot be had. */
static int projection_preview(struct rpc_backend *backend, const char *name, const struct projection_event *event,
                              struct arena *arena, struct rpc_projection_preview *ret, struct err *err)
{
    char row[100];
    (void)backend;
    (void)name;
    ret->wanted = !bytes_equal(event->entry->stream, bytes_of_string("ignored"));
    if (bytes_equal(event->entry->stream, bytes_of_string("odd")))
        return err_set(err, ERR_INVALID, "it is odd");
    snprintf(row, sizeof(row), "{\"version\":%llu}", (unsigned long long)event->entry->stream_version);
    ret->rows.count = 1;
    ret->rows.changed = 2;
    ret->rows.rows[0].table = arena_copy(arena, "versions", sizeof("versions"));
    ret->rows.rows[0].with = arena_copy(arena, row, strlen(row) + 1);
    return 0;
}

static int create_projection(struct rpc_backend *backend, struct bytes sql, const char *database,
                             struct rpc_projection *ret, struct err *err)
{
    (void)database;
    (void)sql;
    return projection_get(backend, "balances", ret, err);
}

static int projection_digest(struct rpc_backend *backend, const char *name, struct rpc_projection_digest *ret,
                             struct err *err)
{
    (void)backend;
    (void)name;
    (void)err;
    snprintf(ret->digest, sizeof(ret->digest), "abcd");
    ret->row_count = 7;
    return 0;
}

static int projection_check(struct rpc_backend *backend, const char *name, uint64_t seeds,
                            struct rpc_projection_check *ret, struct err *err)
{
    (void)backend;
    (void)name;
    (void)err;
    *ret = (struct rpc_projection_check){.event_count = 9, .seeds = seeds, .differs = true, .seed = 2};
    snprintf(ret->table, sizeof(ret->table), "sums");
    return 0;
}

/* Has other SQL than all zeros, and stands at eu@5. */
static int compare(struct rpc_backend *backend, const struct rpc_comparison *asked, struct rpc_comparison *ret,
                   struct err *err)
{
    static const struct hash ours;
    (void)backend;
    if (!hash_equal(&asked->sql, &ours))
        return err_set(err, ERR_MISMATCH, "other SQL here");
    int code = position_set(&ret->position, "eu", 1, 5);
    ret->has_digest = position_equal(&ret->position, &asked->position);
    ret->digest = asked->digest;
    return code;
}

static int give_up(struct rpc_backend *backend, uint64_t number, struct err *err)
{
    struct stage *stage = (struct stage *)(void *)backend;
    (void)err;
    cr_expect_gt(number, 0);
    pthread_mutex_lock(&stage->mutex);
    stage->given_up++;
    pthread_cond_broadcast(&stage->changed);
    pthread_mutex_unlock(&stage->mutex);
    return 0;
}

static int freshness(struct rpc_backend *backend, struct bytes context, struct bytes partition, const char *home,
                     struct region_freshness *ret, struct err *err)
{
    struct stage *stage = (struct stage *)(void *)backend;
    (void)partition;
    (void)err;
    *ret = (struct region_freshness){.staleness_us = stage->staleness_us, .at_home = stage->staleness_us == 0};
    snprintf(ret->home, sizeof(ret->home), "%s", context.size_bytes > 0 ? "us" : home);
    return 0;
}

static int check_tail(struct rpc_backend *backend, struct bytes context, struct bytes partition,
                      const struct origin *log, uint64_t index, struct err *err)
{
    struct stage *stage = (struct stage *)(void *)backend;
    (void)context;
    (void)err;
    cr_expect(bytes_equal(partition, BYTES_LITERAL("p")));
    return strcmp(log->region, "us") == 0 && index >= stage->late_from ? ERR_EXISTS : 0;
}

static int evidence(struct rpc_backend *backend, bool resolved, evidence_fn *each, void *context, struct err *err)
{
    return evidence_each(disk_posix(), stage_of(backend)->folder, resolved, each, context, err);
}

static int lease(struct rpc_backend *backend, const char *peer_region, const struct region_lease_question *question,
                 struct region_lease_answer *ret, struct err *err)
{
    (void)backend;
    (void)err;
    bool about_eu = strcmp(question->about, "eu") == 0;
    *ret = (struct region_lease_answer){.granted = strcmp(peer_region, "eu") != 0,
                                        .abstains = about_eu && question->abstain,
                                        .left_us = about_eu ? question->lease_us : 0,
                                        .log_count = 1,
                                        .obeyed = {7}};
    return 0;
}

static void certificate(struct rpc_backend *backend, struct certificate_status *ret)
{
    (void)backend;
    *ret = (struct certificate_status){.state = CERTIFICATE_VALID, .certificate = {.end_s = 1234567890}};
}

static const struct rpc_backend_ops OPS = {
    .certificate = certificate,
    .evidence = evidence,
    .submit = submit,
    .give_up = give_up,
    .freshness = freshness,
    .check_tail = check_tail,
    .lease = lease,
    .log_count = log_count,
    .log_at = log_at,
    .wait_change = wait_change,
    .stopping = stopping,
    .status = status,
    .checkpoint = checkpoint,
    .prove = prove,
    .acknowledged = acknowledged,
    .peer_contact = peer_contact,
    .projection_create = create_projection,
    .projection_rebuild = projection_get,
    .projection_get = projection_get,
    .projection_list = projection_list,
    .projection_digest = projection_digest,
    .projection_preview = projection_preview,
    .projection_check = projection_check,
    .compare = compare,
};

/* --- The stage --- */

void stage_add_log(struct stage *stage)
{
    char folder[300];
    size_t number = stage->log_count;
    const char *origin = number == 0 ? OWN_ORIGIN : PEER_ORIGIN;
    struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_MIN_BYTES};
    struct log_recovery recovery;
    snprintf(folder, sizeof(folder), "%s/log%zu", stage->folder, number);
    maker_init(&stage->makers[number], origin);
    cr_assert_eq(log_create(disk_posix(), folder, bytes_of_string(origin), &options, NULL), 0);
    cr_assert_eq(
        log_open(disk_posix(), folder, bytes_of_string(origin), &options, &stage->logs[number], &recovery, NULL), 0);
    pthread_mutex_lock(&stage->mutex);
    stage->log_count++;
    stage->counter++;
    pthread_cond_broadcast(&stage->changed);
    pthread_mutex_unlock(&stage->mutex);
}

/* Both regions append, each to a partition of its own. */
static const struct context_home HOMES[] = {{"us", "us"}};
static const struct context CONTEXTS[] = {{.name = "bank", .default_home = "eu", .home_count = 1, .homes = HOMES}};

static void stage_cosigner(struct note_signer *ret)
{
    static const uint8_t seed[32] = {3};
    cr_assert_eq(note_signer_from_seed("bank/us", NOTE_KEY_COSIGNATURE, seed, ret, NULL), 0);
}

void stage_init(struct stage *stage)
{
    *stage = (struct stage){.backend = {.ops = &OPS, .config = &stage->config},
                            .config = {.cluster = "bank",
                                       .region = "eu",
                                       .address = "eu.example:7000",
                                       .incarnation = 1,
                                       .contexts = {.count = 1, .contexts = CONTEXTS},
                                       .peer_count = 1}};
    snprintf(stage->config.peers[0].region, sizeof(stage->config.peers[0].region), "us");
    snprintf(stage->config.peers[0].address, sizeof(stage->config.peers[0].address), "us.example:7000");
    stage_cosigner(&stage->peer_cosigner);
    stage->config.peers[0].cosign_keys = (struct keyring){.count = 1, .keys = {stage->peer_cosigner.verifier}};
    stage->contexts[0] = (struct context){.name = "bank", .default_home = "eu", .home_count = 1, .homes = HOMES};
    stage->config.contexts = (struct context_table){.count = 1, .contexts = stage->contexts};
    stage->backend.index = index_memory_new(&stage->config.contexts);
    memset(stage->backend.contexts_digest.bytes, 7, HASH_SIZE);
    pthread_mutex_init(&stage->mutex, NULL);
    pthread_cond_init(&stage->changed, NULL);
    buf_init(&stage->note, NOTE_MAX_BYTES);
    files_temp_folder_within(stage->folder, sizeof(stage->folder));
    stage_add_log(stage);
    struct err err = {0};
    cr_assert_eq(rpc_server_start(&stage->backend, "127.0.0.1:0", &stage->server, &stage->port, &err), 0, "%s",
                 err.message);
    rpc_server_set_serving(stage->server, true);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

void stage_free(struct stage *stage)
{
    atomic_store(&stage->stopping, true);
    stage_change(stage);
    if (stage->server != NULL)
        rpc_server_stop(stage->server);
    for (size_t i = 0; i < stage->log_count; i++) {
        log_close(stage->logs[i]);
        maker_free(&stage->makers[i]);
    }
    index_close(stage->backend.index);
    buf_free(&stage->note);
    pthread_cond_destroy(&stage->changed);
    pthread_mutex_destroy(&stage->mutex);
    cr_assert_eq(nftw(stage->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

void stage_change(struct stage *stage)
{
    pthread_mutex_lock(&stage->mutex);
    stage->counter++;
    pthread_cond_broadcast(&stage->changed);
    pthread_mutex_unlock(&stage->mutex);
}

void stage_store_note(struct stage *stage, uint64_t size)
{
    struct note_signer signer;
    uint8_t seed[32] = {1};
    struct checkpoint text = {.origin = OWN_ORIGIN, .size = size};
    cr_assert_eq(note_signer_from_seed(OWN_ORIGIN, NOTE_KEY_ED25519, seed, &signer, NULL), 0);
    pthread_mutex_lock(&stage->mutex);
    buf_clear(&stage->note);
    cr_assert_eq(checkpoint_sign(&text, &signer, &stage->note, NULL), 0);
    stage->counter++;
    pthread_cond_broadcast(&stage->changed);
    pthread_mutex_unlock(&stage->mutex);
}

/* --- The client --- */

enum { TAG_OPEN = 1, TAG_STATUS, TAG_READ, TAG_WRITE };

static void *tag(int number)
{
    return (void *)(intptr_t)number;
}

static bool wait_for(struct outside *outside, int number)
{
    gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(60, GPR_TIMESPAN));
    grpc_event event = grpc_completion_queue_pluck(outside->queue, tag(number), deadline, NULL);
    cr_assert_eq(event.type, GRPC_OP_COMPLETE, "the server does not answer");
    return event.success != 0;
}

void outside_open(struct outside *outside, uint16_t port, const char *method, uint64_t timeout_ms)
{
    *outside = (struct outside){.status_text = grpc_empty_slice()};
    grpc_init();
    char target[64];
    snprintf(target, sizeof(target), "127.0.0.1:%u", (unsigned)port);
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    outside->channel = grpc_channel_create(target, credentials, NULL);
    grpc_channel_credentials_release(credentials);
    outside->queue = grpc_completion_queue_create_for_pluck(NULL);
    gpr_timespec deadline = timeout_ms == 0 ? gpr_inf_future(GPR_CLOCK_MONOTONIC)
                                            : gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                                           gpr_time_from_millis((int64_t)timeout_ms, GPR_TIMESPAN));
    grpc_slice path = grpc_slice_from_copied_string(method);
    outside->call = grpc_channel_create_call(outside->channel, NULL, 0, outside->queue, path, NULL, deadline, NULL);
    grpc_slice_unref(path);
    grpc_metadata_array_init(&outside->headers);
    grpc_metadata_array_init(&outside->trailers);
    grpc_op open[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    open[1].data.recv_initial_metadata.recv_initial_metadata = &outside->headers;
    cr_assert_eq(grpc_call_start_batch(outside->call, open, 2, tag(TAG_OPEN), NULL), GRPC_CALL_OK);
    grpc_op last = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    last.data.recv_status_on_client.trailing_metadata = &outside->trailers;
    last.data.recv_status_on_client.status = &outside->status;
    last.data.recv_status_on_client.status_details = &outside->status_text;
    cr_assert_eq(grpc_call_start_batch(outside->call, &last, 1, tag(TAG_STATUS), NULL), GRPC_CALL_OK);
}

void outside_write(struct outside *outside, struct bytes message)
{
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)message.data, message.size_bytes);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    grpc_op write = {.op = GRPC_OP_SEND_MESSAGE};
    write.data.send_message.send_message = buffer;
    cr_assert_eq(grpc_call_start_batch(outside->call, &write, 1, tag(TAG_WRITE), NULL), GRPC_CALL_OK);
    wait_for(outside, TAG_WRITE);
    grpc_byte_buffer_destroy(buffer);
}

void outside_write_message(struct outside *outside, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = mem_alloc(size);
    protobuf_c_message_pack(message, packed);
    outside_write(outside, bytes_of(packed, size));
    mem_free(packed);
}

void outside_writes_done(struct outside *outside)
{
    grpc_op done = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    cr_assert_eq(grpc_call_start_batch(outside->call, &done, 1, tag(TAG_WRITE), NULL), GRPC_CALL_OK);
    wait_for(outside, TAG_WRITE);
}

bool outside_read(struct outside *outside, struct buf *out)
{
    grpc_byte_buffer *received = NULL;
    grpc_op read = {.op = GRPC_OP_RECV_MESSAGE};
    read.data.recv_message.recv_message = &received;
    cr_assert_eq(grpc_call_start_batch(outside->call, &read, 1, tag(TAG_READ), NULL), GRPC_CALL_OK);
    wait_for(outside, TAG_READ);
    if (received == NULL)
        return false;
    grpc_byte_buffer_reader reader;
    cr_assert(grpc_byte_buffer_reader_init(&reader, received));
    grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
    buf_clear(out);
    cr_assert_eq(buf_append(out, bytes_of(GRPC_SLICE_START_PTR(all), GRPC_SLICE_LENGTH(all))), 0);
    grpc_slice_unref(all);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(received);
    return true;
}

void outside_cancel(struct outside *outside)
{
    grpc_call_cancel(outside->call, NULL);
}

grpc_status_code outside_finish(struct outside *outside)
{
    wait_for(outside, TAG_STATUS);
    size_t size = GRPC_SLICE_LENGTH(outside->status_text);
    cr_assert_lt(size, sizeof(outside->message));
    memcpy(outside->message, GRPC_SLICE_START_PTR(outside->status_text), size);
    for (size_t i = 0; i < outside->trailers.count; i++) {
        const grpc_metadata *trailer = &outside->trailers.metadata[i];
        if (grpc_slice_str_cmp(trailer->key, "tally-error-bin") == 0)
            outside->detail = tally__v1__error_detail__unpack(NULL, GRPC_SLICE_LENGTH(trailer->value),
                                                              GRPC_SLICE_START_PTR(trailer->value));
    }
    return outside->status;
}

void outside_close(struct outside *outside)
{
    wait_for(outside, TAG_OPEN);
    grpc_slice_unref(outside->status_text);
    if (outside->detail != NULL)
        tally__v1__error_detail__free_unpacked(outside->detail, NULL);
    grpc_metadata_array_destroy(&outside->headers);
    grpc_metadata_array_destroy(&outside->trailers);
    grpc_call_unref(outside->call);
    grpc_completion_queue_shutdown(outside->queue);
    gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    while (grpc_completion_queue_pluck(outside->queue, NULL, never, NULL).type != GRPC_QUEUE_SHUTDOWN) {
    }
    grpc_completion_queue_destroy(outside->queue);
    grpc_channel_destroy(outside->channel);
    grpc_shutdown();
}

grpc_status_code outside_unary(struct outside *outside, uint16_t port, const char *method,
                               const ProtobufCMessage *request, struct buf *answer)
{
    outside_open(outside, port, method, 30000);
    outside_write_message(outside, request);
    outside_writes_done(outside);
    outside_read(outside, answer);
    return outside_finish(outside);
}
