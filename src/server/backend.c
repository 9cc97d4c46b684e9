/* What the gRPC services may ask of the server: the table of rpc/rpc.h. Any thread. */
#include "base/assert.h"
#include "base/mem.h"
#include "server/internal.h"

static struct server *server_of(struct rpc_backend *backend)
{
    return (struct server *)(void *)backend; /* its first member */
}

/* How many of so many commands may wait too. */
static size_t take_room(struct server *server, size_t count)
{
    size_t before = atomic_fetch_add(&server->commands_waiting, count);
    size_t room = before >= SERVER_COMMANDS_MAX ? 0 : SERVER_COMMANDS_MAX - before;
    if (count <= room)
        return count;
    atomic_fetch_sub(&server->commands_waiting, count - room);
    return room;
}

static int send_commands(struct server *server, struct rpc_append *const *appends, size_t count, struct err *err)
{
    struct message *message = message_new(REGION_COMMAND);
    if (message == NULL)
        return err_no_memory(err, "a command");
    for (size_t i = 0; i < count; i++)
        appends[i]->next = i + 1 < count ? appends[i + 1] : NULL;
    message->type = MESSAGE_COMMANDS;
    message->appends = appends[0];
    int code = mailbox_try_send(server->mail, message);
    if (code != 0)
        message_free(message);
    if (code == ERR_BUSY)
        return err_set(err, code, "%d messages wait already; retry after a pause", SERVER_MAIL_MAX);
    if (code != 0)
        return err_set(err, ERR_UNAVAILABLE, "region %s is stopping", server->config->region.region);
    return 0;
}

static size_t submit(struct rpc_backend *backend, struct rpc_append *const *appends, size_t count, struct err *err)
{
    struct server *server = server_of(backend);
    size_t taken = take_room(server, count);
    if (taken < count)
        err_set(err, ERR_BUSY, "%d requests wait already; retry after a pause", SERVER_COMMANDS_MAX);
    if (taken == 0 || send_commands(server, appends, taken, err) == 0)
        return taken;
    atomic_fetch_sub(&server->commands_waiting, taken);
    return 0;
}

static int give_up(struct rpc_backend *backend, uint64_t number, struct err *err)
{
    struct message *message = message_new(REGION_GIVE_UP);
    if (message == NULL)
        return err_no_memory(err, "a message");
    message->event.number = number;
    message_send(server_of(backend), message);
    return 0;
}

static size_t log_count(struct rpc_backend *backend)
{
    return atomic_load(&server_of(backend)->store.log_count);
}

static struct log *log_at(struct rpc_backend *backend, size_t log)
{
    return log < log_count(backend) ? server_of(backend)->store.logs[log] : NULL;
}

static uint64_t wait_change(struct rpc_backend *backend, uint64_t seen, uint64_t timeout_ms)
{
    return server_wait_change(server_of(backend), seen, timeout_ms);
}

static bool stopping(struct rpc_backend *backend)
{
    return atomic_load(&server_of(backend)->stopping);
}

/* --- Questions to the region's thread --- */

int server_ask(struct server *server, struct question *question)
{
    struct message *message = message_new(REGION_TIMER);
    if (message == NULL)
        return err_no_memory(question->err, "a question");
    message->type = MESSAGE_QUESTION;
    message->question = question;
    pthread_mutex_init(&question->mutex, NULL);
    pthread_cond_init(&question->finished, NULL);
    int code = mailbox_send(server->mail, message);
    if (code != 0) {
        message_free(message);
        code = err_set(question->err, ERR_UNAVAILABLE, "region %s is stopping", server->config->region.region);
    } else {
        pthread_mutex_lock(&question->mutex);
        while (!question->done)
            pthread_cond_wait(&question->finished, &question->mutex);
        pthread_mutex_unlock(&question->mutex);
        code = question->code;
    }
    pthread_cond_destroy(&question->finished);
    pthread_mutex_destroy(&question->mutex);
    return code;
}

static int ask(struct rpc_backend *backend, struct question *question)
{
    return server_ask(server_of(backend), question);
}

static int answer_status(struct server *server, struct question *question)
{
    struct rpc_status *ret = question->ret;
    ret->accepting = region_accepting(server->region);
    ret->now_mono_us = clock_now().mono_us;
    ret->log_count = region_log_count(server->region);
    for (size_t i = 0; i < ret->log_count; i++)
        region_log_status(server->region, (uint32_t)i, &ret->logs[i]);
    ret->peer_count = server->config->region.peer_count;
    for (size_t i = 0; i < ret->peer_count; i++)
        region_peer_status(server->region, i, &ret->peers[i]);
    ret->context_count = context_count(region_contexts(server->region));
    for (size_t i = 0; i < ret->context_count; i++)
        region_context_status(server->region, i, &ret->contexts[i]);
    return 0;
}

static int status(struct rpc_backend *backend, struct rpc_status *ret, struct err *err)
{
    struct question question = {.answer = answer_status, .ret = ret, .err = err};
    int code = ask(backend, &question);
    if (code == 0)
        scrubber_status(server_of(backend), ret);
    if (code == 0)
        guard_status(server_of(backend), &ret->takeover);
    if (code == 0)
        keeper_status(server_of(backend), &ret->certificate);
    if (code == 0)
        ret->drift_count = drift_verdicts(server_of(backend)->drift, NULL, ret->drifts, RPC_DRIFTS_MAX);
    return code;
}

static void certificate(struct rpc_backend *backend, struct certificate_status *ret)
{
    keeper_status(server_of(backend), ret);
}

static void fill_home(struct rpc_home *home, struct bytes partition, const struct authority_now *now)
{
    memset(home, 0, sizeof(*home));
    memcpy(home->partition, partition.data, partition.size_bytes);
    copy_string(home->region, sizeof(home->region), now->region);
    copy_string(home->successor, sizeof(home->successor), now->successor);
    home->epoch = now->epoch;
    home->released = now->released;
}

static int answer_homes(struct server *server, struct question *question)
{
    const struct authority_table *table = region_authority(server->region);
    struct rpc_homes *ret = question->ret;
    struct authority_now now;
    struct bytes partition;
    size_t at = (size_t)question->from;
    ret->count = 0;
    int code = authority_now(table, question->context, bytes_of_string(CONTROL_ALL_PARTITIONS), &now, question->err);
    while (code == 0 && ret->count < RPC_HOMES_MAX &&
           authority_partition_next(table, question->context, &at, &partition)) {
        code = authority_now(table, question->context, partition, &now, question->err);
        if (code == 0)
            fill_home(&ret->homes[ret->count++], partition, &now);
    }
    ret->next = ret->count == RPC_HOMES_MAX ? at : 0;
    return code;
}

static int homes(struct rpc_backend *backend, struct bytes context, uint64_t from, struct rpc_homes *ret,
                 struct err *err)
{
    struct question question = {.answer = answer_homes, .context = context, .from = from, .ret = ret, .err = err};
    return ask(backend, &question);
}

static int answer_lease(struct server *server, struct question *question)
{
    region_lease_asked(server->region, clock_now(), question->from, question->lease, question->ret);
    return 0;
}

static bool any_fenced(const struct context_table *contexts)
{
    for (size_t i = 0; i < contexts->count; i++) {
        if (contexts->contexts[i].rules.isolation == ISOLATION_FENCE)
            return true;
    }
    return false;
}

static int lease(struct rpc_backend *backend, const char *peer_region, const struct region_lease_question *asked,
                 struct region_lease_answer *ret, struct err *err)
{
    const struct region_config *config = &server_of(backend)->config->region;
    struct question question = {.answer = answer_lease, .lease = asked, .from = 0, .ret = ret, .err = err};
    memset(ret, 0, sizeof(*ret));
    if (!any_fenced(&config->contexts))
        return 0;
    while (question.from < config->peer_count && strcmp(config->peers[question.from].region, peer_region) != 0)
        question.from++;
    PRE(question.from < config->peer_count); /* the services have checked who asks */
    return ask(backend, &question);
}

static int answer_freshness(struct server *server, struct question *question)
{
    struct region_freshness *ret = question->ret;
    if (question->context.size_bytes > 0)
        return region_freshness(server->region, question->context, question->partition, ret, question->err);
    *ret = (struct region_freshness){.staleness_us = region_log_staleness(server->region, question->region),
                                     .at_home = strcmp(question->region, server->config->region.region) == 0};
    copy_string(ret->home, sizeof(ret->home), question->region);
    return 0;
}

static int freshness(struct rpc_backend *backend, struct bytes context, struct bytes partition, const char *home,
                     struct region_freshness *ret, struct err *err)
{
    struct question question = {
        .answer = answer_freshness, .context = context, .partition = partition, .region = home, .ret = ret, .err = err};
    return ask(backend, &question);
}

static int answer_tail(struct server *server, struct question *question)
{
    bool late = region_tail_is_late(server->region, question->context, question->partition, question->log->region,
                                    question->log->incarnation, question->from);
    return late ? ERR_EXISTS : 0;
}

static int check_tail(struct rpc_backend *backend, struct bytes context, struct bytes partition,
                      const struct origin *log, uint64_t index, struct err *err)
{
    struct question question = {
        .answer = answer_tail, .context = context, .partition = partition, .log = log, .from = index, .err = err};
    return ask(backend, &question);
}

static int evidence(struct rpc_backend *backend, bool resolved, evidence_fn *each, void *context, struct err *err)
{
    struct server *server = server_of(backend);
    return evidence_each(server->disk, server->config->folder, resolved, each, context, err);
}

static int checkpoint(struct rpc_backend *backend, size_t log, bool published, struct buf *out, struct err *err)
{
    struct log *found = log_at(backend, log);
    if (found == NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no log %zu", log);
    return log_load_checkpoint(found, published, out, err);
}

static int prove(struct rpc_backend *backend, size_t log, uint64_t index, struct buf *out, struct err *err)
{
    return tiler_prove(server_of(backend)->tiler, log, index, out, err);
}

static int acknowledged(struct rpc_backend *backend, const char *peer_region, size_t log, uint64_t size,
                        uint64_t cosigned_size, struct bytes cosignature, struct err *err)
{
    struct server *server = server_of(backend);
    const struct region_config *config = &server->config->region;
    size_t peer = 0;
    while (peer < config->peer_count && strcmp(config->peers[peer].region, peer_region) != 0)
        peer++;
    if (peer == config->peer_count || log >= log_count(backend))
        return err_set(err, ERR_INVALID, "region \"%.63s\" is not a peer", peer_region);
    struct message *message = message_new(REGION_ACKNOWLEDGED);
    if (message == NULL)
        return err_no_memory(err, "an acknowledgement");
    int code = buf_append(&message->note, cosignature);
    if (code != 0) {
        message_free(message);
        return err_set(err, code, "a cosignature of %zu bytes", cosignature.size_bytes);
    }
    message->event.peer = peer;
    message->event.log = (uint32_t)log;
    message->event.size = size;
    message->event.cosigned_size = cosigned_size;
    message_send(server, message);
    return 0;
}

static void peer_contact(struct rpc_backend *backend, const char *peer_region)
{
    struct server *server = server_of(backend);
    const struct region_config *config = &server->config->region;
    for (size_t i = 0; i < config->peer_count; i++) {
        if (strcmp(config->peers[i].region, peer_region) == 0)
            peers_contact(server->peers, i);
    }
}

const struct rpc_backend_ops server_backend_ops = {
    .submit = submit,
    .give_up = give_up,
    .log_count = log_count,
    .log_at = log_at,
    .wait_change = wait_change,
    .stopping = stopping,
    .status = status,
    .certificate = certificate,
    .homes = homes,
    .freshness = freshness,
    .check_tail = check_tail,
    .evidence = evidence,
    .lease = lease,
    .checkpoint = checkpoint,
    .prove = prove,
    .acknowledged = acknowledged,
    .peer_contact = peer_contact,
    .projection_create = projector_create,
    .projection_rebuild = projector_rebuild,
    .projection_get = projector_get,
    .projection_list = projector_list,
    .projection_digest = projector_digest,
    .projection_preview = projector_preview,
    .projection_check = projector_check,
    .compare = drift_compare,
};
