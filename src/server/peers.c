/* Talking to peers. A peer has a thread that says hello when it is told to; a pull has a thread that reads, and one
 * that acknowledges. What comes in goes to the sequencer; what the sequencer wants out is left in a slot (the newest
 * acknowledgement replaces an older one), so it never waits and memory is bounded.
 *
 * Flow control. A pull stops reading while PULL_WINDOW_BLOCKS of its blocks are not stored yet. gRPC's own window then
 * stops the source.
 *
 * A pull's life: opened by the sequencer; ended by the source, by an error, or by a cancel; its thread then reports
 * PULL_CLOSED, and waits in the list until it is joined, at the next open or at the stop. */
#include "base/assert.h"
#include "base/mem.h"
#include "base/queue.h"
#include "client/peer.h"
#include "server/internal.h"

enum { PULL_WINDOW_BLOCKS = 16, PULL_STORE_TIMEOUT_MS = 30000, HELLO_TIMEOUT_MS = 3000, COSIGNATURE_MAX_BYTES = 1024 };

struct pull {
    struct queue_link link;
    struct peer *peer;
    pthread_t thread;
    uint32_t log;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    uint64_t from_index;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct channel_call *call; /* NULL before it is open and after it was closed */
    bool cancelled;
    uint64_t ends[PULL_WINDOW_BLOCKS]; /* where the blocks end that are not stored yet */
    size_t end_first, end_count;
    bool acknowledgement_waiting;
    uint64_t stored_size;
    uint64_t cosigned_size;
    struct buf cosignature;
};

struct peer {
    struct peers *peers;
    size_t number;
    struct channel *channel;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool hello_wanted;
    struct region_lease_question question; /* of the next hello */
    bool last_failed;
    bool stopping;
    /* What the last hello that succeeded claimed of the peer's own log. */
    char own_origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    uint64_t own_size;
    hlc passed;
    uint64_t heard_us;
    struct queue_link pulls; /* the sequencer's, and peers_stop's */
};

struct peers {
    struct server *server;
    struct peer_identity self;
    size_t count;
    struct peer peers[REGION_PEERS_MAX];
};

static struct message *peer_message(const struct peer *peer, enum region_event_type type)
{
    struct message *message = message_new(type);
    if (message == NULL)
        server_die(peer->peers->server, "memory ran out");
    message->event.peer = peer->number;
    return message;
}

/* --- Hello --- */

/* The newest incarnation is the one that grows. */
static void keep_claim(struct peer *peer, const char *region, const struct peer_hello *hello)
{
    uint64_t newest = 0;
    pthread_mutex_lock(&peer->mutex);
    for (size_t i = 0; i < hello->held_count; i++) {
        struct origin origin;
        if (origin_parse(bytes_of_string(hello->held[i].origin), &origin, NULL) != 0 ||
            strcmp(origin.region, region) != 0 || origin.incarnation < newest)
            continue;
        newest = origin.incarnation;
        copy_string(peer->own_origin, sizeof(peer->own_origin), hello->held[i].origin);
        peer->own_size = hello->held[i].size;
    }
    peer->passed = hello->time;
    peer->heard_us = clock_now().mono_us;
    pthread_mutex_unlock(&peer->mutex);
}

static hlc claim_of(struct peer *peer, const struct log *log, uint64_t timeout_us)
{
    uint64_t now_us = clock_now().mono_us;
    hlc passed = 0;
    pthread_mutex_lock(&peer->mutex);
    if (now_us - peer->heard_us > timeout_us)
        passed = UINT64_MAX; /* silent: the others go on without it */
    else if (bytes_equal(log_origin(log), bytes_of_string(peer->own_origin)) && log_durable_size(log) >= peer->own_size)
        passed = peer->passed;
    pthread_mutex_unlock(&peer->mutex);
    return passed;
}

/* Of an incarnation that a later one followed nothing more comes. */
static bool is_ended(const struct server *server, const struct origin *origin)
{
    for (size_t i = 0; i < atomic_load(&server->store.log_count); i++) {
        struct origin other;
        if (origin_parse(log_origin(server->store.logs[i]), &other, NULL) == 0 &&
            strcmp(other.region, origin->region) == 0 && other.incarnation > origin->incarnation)
            return true;
    }
    return false;
}

hlc peers_passed(struct peers *peers, const struct log *log)
{
    const struct region_config *config = &peers->server->config->region;
    struct origin origin;
    if (origin_parse(log_origin(log), &origin, NULL) != 0)
        return 0;
    if (is_ended(peers->server, &origin))
        return UINT64_MAX;
    for (size_t i = 0; i < peers->count; i++) {
        if (strcmp(config->peers[i].region, origin.region) == 0)
            return claim_of(&peers->peers[i], log, config->peer_timeout_us);
    }
    return strcmp(config->region, origin.region) == 0 ? rpc_passed_time(clock_now().wall_us) : UINT64_MAX;
}

static void say_hello(struct peer *peer, const struct region_lease_question *question)
{
    struct peers *peers = peer->peers;
    struct peer_hello hello;
    struct err err = {0};
    const char *region = peers->server->config->region.peers[peer->number].region;
    uint64_t asked_us = clock_now().mono_us;
    int code = peer_hello(peer->channel, &peers->self, question, region, HELLO_TIMEOUT_MS, &hello, &err);
    struct message *message = peer_message(peer, code == 0 ? REGION_PEER_HELLO : REGION_PEER_DOWN);
    pthread_mutex_lock(&peer->mutex);
    bool was_failing = peer->last_failed;
    peer->last_failed = code != 0;
    pthread_mutex_unlock(&peer->mutex);
    if (code == 0) {
        keep_claim(peer, region, &hello);
        message->arena = hello.arena; /* moves over, with what held points to */
        message->event.held = hello.held;
        message->event.held_count = hello.held_count;
        message->event.asked_us = asked_us;
        message->event.granted = hello.granted;
        message->event.abstains = hello.abstains;
        message->event.left_us = hello.left_us;
        message->event.certificate_end_s = hello.certificate_end_s;
        message->event.wall_us = hello.wall_us;
    } else {
        message->err = err;
        message->err.code = code;
        if (!was_failing)
            server_say(peers->server, "peer %s: %s", region, err.message);
    }
    message_send(peers->server, message);
}

static void *run_hello(void *context)
{
    struct peer *peer = context;
    pthread_mutex_lock(&peer->mutex);
    while (!peer->stopping) {
        if (!peer->hello_wanted) {
            pthread_cond_wait(&peer->changed, &peer->mutex);
            continue;
        }
        peer->hello_wanted = false;
        struct region_lease_question question = peer->question;
        pthread_mutex_unlock(&peer->mutex);
        say_hello(peer, &question);
        pthread_mutex_lock(&peer->mutex);
    }
    pthread_mutex_unlock(&peer->mutex);
    return NULL;
}

static void want_hello(struct peer *peer, bool only_after_failure)
{
    pthread_mutex_lock(&peer->mutex);
    if (!only_after_failure || peer->last_failed) {
        peer->hello_wanted = true;
        pthread_cond_signal(&peer->changed);
    }
    pthread_mutex_unlock(&peer->mutex);
}

void peers_hello(struct peers *peers, size_t peer, const struct region_lease_question *question)
{
    PRE(peer < peers->count);
    pthread_mutex_lock(&peers->peers[peer].mutex);
    peers->peers[peer].question = *question;
    pthread_mutex_unlock(&peers->peers[peer].mutex);
    want_hello(&peers->peers[peer], false);
}

void peers_contact(struct peers *peers, size_t peer)
{
    PRE(peer < peers->count);
    want_hello(&peers->peers[peer], true);
}

/* --- Pulls --- */

static void forget_stored(struct pull *pull, uint64_t size)
{
    while (pull->end_count > 0 && pull->ends[pull->end_first] <= size) {
        pull->end_first = (pull->end_first + 1) % PULL_WINDOW_BLOCKS;
        pull->end_count--;
    }
}

/* Waits for room in the window. */
static int enter_window(struct pull *pull, uint64_t end, struct err *err)
{
    struct time_now now = clock_now();
    uint64_t until_us = now.mono_us + (uint64_t)PULL_STORE_TIMEOUT_MS * 1000;
    struct timespec until = {.tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000) * 1000};
    int waited = 0;
    int code = 0;
    pthread_mutex_lock(&pull->mutex);
    while (pull->end_count == PULL_WINDOW_BLOCKS && !pull->cancelled && waited == 0)
        waited = pthread_cond_timedwait(&pull->changed, &pull->mutex, &until);
    if (pull->cancelled)
        code = err_set(err, ERR_CANCELLED, "the pull was ended");
    else if (pull->end_count == PULL_WINDOW_BLOCKS)
        code = err_set(err, ERR_TIMEOUT, "blocks were not stored for %d ms", PULL_STORE_TIMEOUT_MS);
    else
        pull->ends[(pull->end_first + pull->end_count++) % PULL_WINDOW_BLOCKS] = end;
    pthread_mutex_unlock(&pull->mutex);
    return code;
}

/* Passes one message on. */
static int receive(struct pull *pull, struct buf *scratch, struct err *err)
{
    struct server *server = pull->peer->peers->server;
    struct message *message = peer_message(pull->peer, REGION_PULL_CHECKPOINT);
    struct block *block = NULL;
    message->event.log = pull->log;
    int code = peer_pull_read(pull->call, scratch, &block, &message->note, err);
    if (code == 0 && block != NULL) {
        message->event.type = REGION_PULL_BLOCK;
        message->event.block = block;
        code = enter_window(pull, block->first_index + block->entry_count, err);
    }
    if (code != 0) {
        message_free(message);
        return code;
    }
    message_send(server, message);
    return 0;
}

static void *run_acknowledge(void *context)
{
    struct pull *pull = context;
    struct buf cosignature;
    buf_init(&cosignature, COSIGNATURE_MAX_BYTES);
    pthread_mutex_lock(&pull->mutex);
    while (!pull->cancelled) {
        if (!pull->acknowledgement_waiting) {
            pthread_cond_wait(&pull->changed, &pull->mutex);
            continue;
        }
        uint64_t stored_size = pull->stored_size;
        uint64_t cosigned_size = pull->cosigned_size;
        struct buf taken = pull->cosignature;
        pull->cosignature = cosignature;
        cosignature = taken;
        pull->acknowledgement_waiting = false;
        pull->cosigned_size = 0;
        pthread_mutex_unlock(&pull->mutex);
        int code = peer_pull_acknowledge(pull->call, stored_size, cosigned_size, buf_bytes(&cosignature), NULL);
        buf_clear(&cosignature);
        pthread_mutex_lock(&pull->mutex);
        if (code != 0)
            break; /* the reader learns why */
    }
    pthread_mutex_unlock(&pull->mutex);
    buf_free(&cosignature);
    return NULL;
}

static void cancel(struct pull *pull)
{
    pthread_mutex_lock(&pull->mutex);
    pull->cancelled = true;
    if (pull->call != NULL)
        channel_call_cancel(pull->call);
    pthread_cond_broadcast(&pull->changed);
    pthread_mutex_unlock(&pull->mutex);
}

static int open_call(struct pull *pull, struct buf *scratch, struct err *err)
{
    struct peers *peers = pull->peer->peers;
    struct channel_call *call = NULL;
    int code = peer_pull_open(pull->peer->channel, &peers->self, pull->origin, pull->from_index, &call, err);
    if (code != 0)
        return code;
    pthread_mutex_lock(&pull->mutex);
    pull->call = call;
    if (pull->cancelled)
        channel_call_cancel(call);
    pthread_mutex_unlock(&pull->mutex);
    return peer_pull_introduce(call, &peers->self, peers->server->config->region.peers[pull->peer->number].region,
                               pull->origin, pull->from_index, scratch, err);
}

static int read_all(struct pull *pull, struct buf *scratch, struct err *err)
{
    int code = 0;
    while (code == 0)
        code = receive(pull, scratch, err);
    if (code == ERR_END)
        code = err_set(err, ERR_UNAVAILABLE, "the source ended the pull");
    return code;
}

static void *run_pull(void *context)
{
    struct pull *pull = context;
    struct server *server = pull->peer->peers->server;
    struct err err = {0};
    struct buf scratch;
    pthread_t acknowledger;
    buf_init(&scratch, CHANNEL_MESSAGE_MAX_BYTES);
    int code = open_call(pull, &scratch, &err);
    if (code == 0) {
        if (pthread_create(&acknowledger, NULL, run_acknowledge, pull) != 0)
            server_die(server, "a thread cannot be started");
        code = read_all(pull, &scratch, &err);
        cancel(pull);
        pthread_join(acknowledger, NULL);
    }
    buf_free(&scratch);
    pthread_mutex_lock(&pull->mutex);
    struct channel_call *call = pull->call;
    pull->call = NULL;
    pull->cancelled = true;
    pthread_mutex_unlock(&pull->mutex);
    channel_call_close(call);
    struct message *message = peer_message(pull->peer, REGION_PULL_CLOSED);
    message->event.log = pull->log;
    message->err = err;
    message->err.code = code;
    message_send(server, message);
    return NULL;
}

/* Its thread was joined. */
static void free_pull(struct pull *pull)
{
    queue_remove(&pull->link);
    pthread_cond_destroy(&pull->changed);
    pthread_mutex_destroy(&pull->mutex);
    buf_free(&pull->cosignature);
    mem_free(pull);
}

/* Joins threads that have ended, without waiting: one that is about to end may be waiting for the caller to take its
 * PULL_CLOSED. */
static void reap(struct peer *peer)
{
    for (struct queue_link *link = peer->pulls.next; link != &peer->pulls;) {
        struct pull *pull = QUEUE_ITEM(link, struct pull, link);
        link = link->next;
        if (pthread_tryjoin_np(pull->thread, NULL) == 0)
            free_pull(pull);
    }
}

static struct pull *find_pull(struct peer *peer, uint32_t log)
{
    for (struct queue_link *link = peer->pulls.next; link != &peer->pulls; link = link->next) {
        struct pull *pull = QUEUE_ITEM(link, struct pull, link);
        pthread_mutex_lock(&pull->mutex);
        bool live = !pull->cancelled;
        pthread_mutex_unlock(&pull->mutex);
        if (live && pull->log == log)
            return pull;
    }
    return NULL;
}

void peers_open_pull(struct peers *peers, size_t number, uint32_t log, const char *origin, uint64_t from_index)
{
    PRE(number < peers->count);
    struct peer *peer = &peers->peers[number];
    reap(peer);
    struct pull *pull = mem_alloc_zero(1, sizeof(*pull));
    if (pull == NULL)
        server_die(peers->server, "memory ran out");
    pull->peer = peer;
    pull->log = log;
    pull->from_index = from_index;
    memcpy(pull->origin, origin, strlen(origin) + 1);
    buf_init(&pull->cosignature, COSIGNATURE_MAX_BYTES);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&pull->mutex, NULL);
    pthread_cond_init(&pull->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    queue_push_back(&peer->pulls, &pull->link);
    if (pthread_create(&pull->thread, NULL, run_pull, pull) != 0)
        server_die(peers->server, "a thread cannot be started");
}

void peers_close_pull(struct peers *peers, size_t peer, uint32_t log)
{
    PRE(peer < peers->count);
    struct pull *pull = find_pull(&peers->peers[peer], log);
    if (pull != NULL)
        cancel(pull);
}

void peers_acknowledge(struct peers *peers, size_t peer, uint32_t log, uint64_t size, uint64_t cosigned_size,
                       struct bytes cosignature)
{
    PRE(peer < peers->count);
    struct pull *pull = find_pull(&peers->peers[peer], log);
    if (pull == NULL)
        return;
    pthread_mutex_lock(&pull->mutex);
    pull->stored_size = size;
    pull->acknowledgement_waiting = true;
    forget_stored(pull, size);
    if (cosignature.size_bytes > 0) {
        buf_clear(&pull->cosignature);
        if (buf_append(&pull->cosignature, cosignature) == 0)
            pull->cosigned_size = cosigned_size;
    }
    pthread_cond_broadcast(&pull->changed);
    pthread_mutex_unlock(&pull->mutex);
}

/* --- Life cycle --- */

static int start_peer(struct peers *peers, size_t number, struct err *err)
{
    struct peer *peer = &peers->peers[number];
    peer->peers = peers;
    peer->number = number;
    queue_init(&peer->pulls);
    pthread_mutex_init(&peer->mutex, NULL);
    pthread_cond_init(&peer->changed, NULL);
    peer->heard_us = clock_now().mono_us; /* it has its time to be heard of first */
    int code =
        channel_open(peers->server->config->region.peers[number].address, peers->server->tls, &peer->channel, err);
    if (code != 0)
        return code;
    int failure = pthread_create(&peer->thread, NULL, run_hello, peer);
    return failure == 0 ? 0 : err_errno(err, failure, "a thread cannot be started");
}

int peers_start(struct server *server, struct peers **ret, struct err *err)
{
    const struct region_config *config = &server->config->region;
    struct peers *peers = mem_alloc_zero(1, sizeof(*peers));
    if (peers == NULL)
        return err_no_memory(err, "the peers");
    peers->server = server;
    peers->self = (struct peer_identity){.cluster = config->cluster,
                                         .region = config->region,
                                         .contexts_digest = server->backend.contexts_digest,
                                         .cosigners = config->cosign_signers};
    int code = 0;
    for (; code == 0 && peers->count < config->peer_count; peers->count++)
        code = start_peer(peers, peers->count, err);
    *ret = peers; /* on failure the process ends */
    return code;
}

struct channel *peers_channel(struct peers *peers, size_t peer)
{
    PRE(peer < peers->count);
    return peers->peers[peer].channel;
}

void peers_stop(struct peers *peers)
{
    for (size_t i = 0; i < peers->count; i++) {
        struct peer *peer = &peers->peers[i];
        pthread_mutex_lock(&peer->mutex);
        peer->stopping = true;
        pthread_cond_signal(&peer->changed);
        pthread_mutex_unlock(&peer->mutex);
        pthread_join(peer->thread, NULL);
        for (struct queue_link *link = peer->pulls.next; link != &peer->pulls; link = link->next)
            cancel(QUEUE_ITEM(link, struct pull, link));
        while (!queue_empty(&peer->pulls)) {
            struct pull *pull = QUEUE_ITEM(peer->pulls.next, struct pull, link);
            pthread_join(pull->thread, NULL);
            free_pull(pull);
        }
        channel_close(peer->channel);
        pthread_cond_destroy(&peer->changed);
        pthread_mutex_destroy(&peer->mutex);
    }
    mem_free(peers);
}
