/* The comparer: a thread that finds out whether this region and its peers agree on what follows from the logs
 * (projection/drift.h), and the answers to peers that ask. Of two regions the one whose name comes first asks; both
 * keep the verdict, so both raise the alarm.
 *
 * A comparison of a projection: hold ours where it stands, take the digest, ask the peer. It goes there, or says where
 * both can meet; then ours goes there, and the peer is asked once more. Each side lets go by itself after HOLD_MS. The
 * queue of late events cannot be held; it is compared when both happen to have applied the same, which is whenever the
 * logs rest for a moment.
 *
 * Cost: a digest reads all of a projection. A round is followed by a pause of PAUSE_TIMES times what its digests took,
 * and of at least PAUSE_MIN_MS, so comparing takes a few percent of one processor however large they are. What does not
 * change is compared as well: a hand may have changed it. */
#include "base/assert.h"
#include "base/mem.h"
#include "client/peer.h"
#include "server/projector.h"

enum {
    PAUSE_MIN_MS = 2000,
    PAUSE_MAX_MS = 600 * 1000,
    PAUSE_TIMES = 20,
    LOOK_MS = 50,
    CALL_MS = 3000,
    MEETINGS = 2,
};

struct drift {
    struct server *server;
    pthread_t thread;
    pthread_mutex_t mutex; /* table */
    struct drift_table table;
    uint64_t digest_us; /* spent in this round; the thread's own */
};

static void record(struct drift *drift, const char *subject, const char *region, const struct position *position,
                   const struct hash *ours, const struct hash *theirs)
{
    char digests[2][2 * HASH_SIZE + 1];
    struct buf at;
    buf_init(&at, 16 * 1024);
    pthread_mutex_lock(&drift->mutex);
    enum drift_news news = drift_record(&drift->table, subject, region, position, ours, theirs);
    pthread_mutex_unlock(&drift->mutex);
    hex_encode(bytes_of(ours->bytes, HASH_SIZE), digests[0]);
    hex_encode(bytes_of(theirs->bytes, HASH_SIZE), digests[1]);
    const char *text = position_format(position, &at) == 0 && buf_terminate(&at) == 0 ? (char *)at.data : "?";
    if (position->count == 0)
        text = "(start)";
    if (news == DRIFT_BEGAN)
        server_say(drift->server, "ALARM: drift: %s differs from region %s at %s: here %s, there %s", subject, region,
                   text, digests[0], digests[1]);
    else if (news == DRIFT_ENDED)
        server_say(drift->server, "drift has ended: %s is equal to region %s's at %s", subject, region, text);
    if (news != DRIFT_NOTHING_NEW)
        server_changed(drift->server);
    buf_free(&at);
}

size_t drift_verdicts(struct drift *drift, const char *subject, struct drift_verdict *ret, size_t max)
{
    pthread_mutex_lock(&drift->mutex);
    size_t count = drift_list(&drift->table, subject, ret, max);
    pthread_mutex_unlock(&drift->mutex);
    return count;
}

/* --- A projection, at a position --- */

static bool stands_at(struct worker *worker, const struct position *at)
{
    struct rpc_projection *status = mem_alloc_zero(1, sizeof(*status));
    if (status == NULL)
        return false;
    worker_status(worker, status);
    bool there = position_equal(&status->position, at);
    mem_free(status);
    return there;
}

static int wait_there(struct worker *worker, const struct position *at, struct err *err)
{
    struct server *server = worker->server;
    uint64_t until_us = clock_now().mono_us + (uint64_t)HOLD_MS * 1000;
    uint64_t seen = 0;
    while (!stands_at(worker, at)) {
        if (atomic_load(&server->stopping))
            return err_set(err, ERR_UNAVAILABLE, "the region stops");
        if (clock_now().mono_us >= until_us)
            return err_set(err, ERR_TIMEOUT, "projection %s did not reach the position", worker->name);
        seen = server_wait_change(server, seen, LOOK_MS);
    }
    return 0;
}

/* The digest at hold->ret_at, which is *hold->at or past it. */
static int digest_at_hold(struct worker *worker, struct hold *hold, struct hash *ret, uint64_t *ret_us, struct err *err)
{
    struct request holding = {.type = REQUEST_HOLD, .hold = hold, .err = err};
    struct rpc_projection_digest digest;
    struct request digesting = {.type = REQUEST_DIGEST, .ret_digest = &digest, .err = err};
    int code = worker_ask(worker, &holding);
    if (code != 0 || (hold->at != NULL && !position_equal(&hold->ret_at, hold->at)))
        return code;
    code = wait_there(worker, &hold->ret_at, err);
    uint64_t begun_us = clock_now().mono_us;
    if (code == 0)
        code = worker_ask(worker, &digesting);
    *ret_us += clock_now().mono_us - begun_us;
    if (code == 0 && !position_equal(&digest.position, &hold->ret_at))
        code = err_set(err, ERR_TIMEOUT, "projection %s went on meanwhile", worker->name);
    return code == 0 ? hex_decode(digest.digest, 2 * (size_t)HASH_SIZE, ret->bytes, HASH_SIZE) : code;
}

static void let_go(struct worker *worker)
{
    struct request request = {.type = REQUEST_RELEASE};
    int code = worker_ask(worker, &request);
    (void)code; /* it lets go by itself a moment later */
}

/* --- The queue of late events --- */

static int applied_position(struct server *server, struct position *ret, struct err *err)
{
    int code = 0;
    ret->count = 0;
    for (size_t i = 0; code == 0 && i < atomic_load(&server->store.log_count); i++) {
        struct bytes name = log_origin(server->store.logs[i]);
        struct origin origin;
        uint32_t number = 0;
        code = origin_parse(name, &origin, err);
        if (code == 0)
            code = index_log(server->index, name, &number, err);
        if (code == 0)
            code = position_set(ret, origin.region, origin.incarnation, index_applied_size(server->index, number));
    }
    return code;
}

/* Position and digest belong together if nothing was applied meanwhile. ERR_BUSY otherwise. */
static int digest_late(struct server *server, struct position *ret_position, struct hash *ret, struct err *err)
{
    struct sha256 *sha = sha256_new();
    uint64_t before = index_sequence(server->index);
    int code = sha == NULL ? err_no_memory(err, "a digest") : applied_position(server, ret_position, err);
    if (code == 0)
        code = index_late_digest(server->index, sha, ret, err);
    if (code == 0 && index_sequence(server->index) != before)
        code = err_set(err, ERR_BUSY, "the index moves on");
    sha256_free(sha);
    return code;
}

/* --- Answering --- */

static int compare_late(struct server *server, const struct rpc_comparison *asked, struct rpc_comparison *ret,
                        struct err *err)
{
    int code = digest_late(server, &ret->position, &ret->digest, err);
    if (code != 0)
        return code;
    ret->has_digest = position_equal(&ret->position, &asked->position);
    if (ret->has_digest)
        record(server->drift, DRIFT_LATE_EVENTS, asked->region, &ret->position, &ret->digest, &asked->digest);
    return 0;
}

int drift_compare(struct rpc_backend *backend, const struct rpc_comparison *asked, struct rpc_comparison *ret,
                  struct err *err)
{
    struct server *server = (struct server *)(void *)backend;
    if (strcmp(asked->subject, DRIFT_LATE_EVENTS) == 0)
        return compare_late(server, asked, ret, err);
    struct worker *worker = projector_find(server->projector, asked->subject);
    struct hold hold = {.peer = asked->region, .at = &asked->position, .sql = &asked->sql};
    uint64_t spent_us = 0;
    if (worker == NULL)
        return err_set(err, ERR_NOT_FOUND, "region %s has no projection %.63s", server->config->region.region,
                       asked->subject);
    int code = digest_at_hold(worker, &hold, &ret->digest, &spent_us, err);
    if (code != 0)
        return code;
    ret->position = hold.ret_at;
    ret->has_digest = position_equal(&hold.ret_at, &asked->position);
    if (!ret->has_digest)
        return 0; /* held there until the peer comes, or a moment has passed */
    let_go(worker);
    record(server->drift, asked->subject, asked->region, &ret->position, &ret->digest, &asked->digest);
    return 0;
}

/* --- Asking --- */

static int ask_peer(struct drift *drift, size_t peer, const struct peer_comparison *asked, struct peer_comparison *ret)
{
    struct server *server = drift->server;
    const struct peer_identity self = {.cluster = server->config->region.cluster,
                                       .region = server->config->region.region,
                                       .contexts_digest = server->backend.contexts_digest};
    return peer_compare(peers_channel(server->peers, peer), &self, asked, CALL_MS, ret, NULL);
}

/* Returns the peer's code: ERR_UNAVAILABLE and ERR_TIMEOUT may mean that it is not there. */
static int compare_projection(struct drift *drift, struct worker *worker, size_t peer)
{
    const char *region = drift->server->config->region.peers[peer].region;
    struct hold hold = {.peer = region};
    struct peer_comparison asked = {.subject = worker->name, .has_sql = true};
    struct peer_comparison found = {.has_digest = false};
    int code = 0;
    for (int i = 0; code == 0 && i < MEETINGS && !found.has_digest; i++) {
        code = digest_at_hold(worker, &hold, &asked.digest, &drift->digest_us, NULL);
        if (code != 0 || (hold.at != NULL && !position_equal(&hold.ret_at, hold.at)))
            break;
        asked.position = hold.ret_at;
        asked.sql = hold.ret_sql;
        code = ask_peer(drift, peer, &asked, &found);
        hold.at = &found.position;
    }
    let_go(worker);
    if (code == 0 && found.has_digest && position_equal(&found.position, &asked.position))
        record(drift, worker->name, region, &asked.position, &asked.digest, &found.digest);
    return code;
}

static int compare_queue(struct drift *drift, size_t peer)
{
    struct peer_comparison asked = {.subject = DRIFT_LATE_EVENTS};
    struct peer_comparison found = {.has_digest = false};
    uint64_t begun_us = clock_now().mono_us;
    int code = digest_late(drift->server, &asked.position, &asked.digest, NULL);
    drift->digest_us += clock_now().mono_us - begun_us;
    if (code != 0)
        return 0;
    code = ask_peer(drift, peer, &asked, &found);
    if (code == 0 && found.has_digest && position_equal(&found.position, &asked.position))
        record(drift, DRIFT_LATE_EVENTS, drift->server->config->region.peers[peer].region, &asked.position,
               &asked.digest, &found.digest);
    return code;
}

static bool is_away(int code)
{
    return code == ERR_UNAVAILABLE || code == ERR_TIMEOUT || code == ERR_MISMATCH || code == ERR_UNSUPPORTED;
}

/* The queue first: its answer tells whether the peer is there at all. */
static void compare_with(struct drift *drift, size_t peer)
{
    struct server *server = drift->server;
    struct worker *worker = NULL;
    if (is_away(compare_queue(drift, peer)))
        return;
    for (size_t i = 0; !atomic_load(&server->stopping) && (worker = projector_worker(server->projector, i)) != NULL;
         i++)
        (void)!compare_projection(drift, worker, peer);
}

static void pause_round(struct drift *drift)
{
    uint64_t pause_ms = drift->digest_us / 1000 * PAUSE_TIMES;
    if (pause_ms < PAUSE_MIN_MS)
        pause_ms = PAUSE_MIN_MS;
    if (pause_ms > PAUSE_MAX_MS)
        pause_ms = PAUSE_MAX_MS;
    uint64_t until_us = clock_now().mono_us + pause_ms * 1000;
    while (!atomic_load(&drift->server->stopping) && clock_now().mono_us < until_us)
        clock_sleep_ms(LOOK_MS);
}

static void *run(void *context)
{
    struct drift *drift = context;
    const struct region_config *config = &drift->server->config->region;
    while (!atomic_load(&drift->server->stopping)) {
        drift->digest_us = 0;
        for (size_t i = 0; i < config->peer_count && !atomic_load(&drift->server->stopping); i++) {
            if (strcmp(config->region, config->peers[i].region) < 0)
                compare_with(drift, i);
        }
        pause_round(drift);
    }
    return NULL;
}

int drift_start(struct server *server, struct drift **ret, struct err *err)
{
    struct drift *drift = mem_alloc_zero(1, sizeof(*drift));
    if (drift == NULL)
        return err_no_memory(err, "the comparisons with peers");
    drift->server = server;
    pthread_mutex_init(&drift->mutex, NULL);
    *ret = drift;
    int failure = pthread_create(&drift->thread, NULL, run, drift);
    return failure == 0 ? 0 : err_errno(err, failure, "a thread cannot be started");
}

void drift_stop(struct drift *drift)
{
    pthread_join(drift->thread, NULL);
    pthread_mutex_destroy(&drift->mutex);
    mem_free(drift);
}
