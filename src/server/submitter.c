/* Submits the own log's checkpoints to witnesses that are no peers (c2sp.org/tlog-witness): a thread that takes the
 * newest signed one, proves that it extends what each witness knows, and hands the cosignatures to the region, which
 * publishes them (region/checkpoint.c).
 *
 * What a witness knows is learnt from itself: the first submission says 0, and is told the size (409). So nothing of
 * this is stored here. A witness that knows more of the log than was ever signed here, or another history, is an alarm:
 * this region may have lost, or forked, what it had signed.
 *
 * Failure modes. A witness that does not answer, or answers what it should not, is said once and left alone for a pause
 * that grows; the region is told, so that nothing is held back for it. Witnesses are asked one after the other: a slow
 * one delays the others by no more than a timeout, and rarely. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "outside/submission.h"
#include "server/internal.h"

enum {
    WAIT_MS = 250,
    TIMEOUT_MS = 5000,
    PAUSE_FIRST_US = 1000 * 1000,
    PAUSE_MAX_US = 5 * 60 * 1000 * 1000,
};

struct witness_view {
    uint64_t known_size; /* that the witness is believed to know */
    uint64_t retry_us;   /* not before */
    uint64_t pause_us;   /* 0: the last submission went well */
    char error[TALLY_ERROR_MESSAGE_MAX_BYTES];
    struct witness_status status;
};

struct submitter {
    struct server *server;
    pthread_t thread;
    struct http_client *http;
    struct sha256 *sha;
    pthread_mutex_t mutex; /* of each status */
    struct buf note;       /* the newest that was signed */
    struct checkpoint checkpoint;
    struct buf request, answer, lines;
    struct witness_view views[REGION_WITNESSES_MAX];
};

/* --- What is submitted --- */

/* False: there is nothing, or its tiles are not there yet. */
static bool load_newest(struct submitter *submitter)
{
    struct server *server = submitter->server;
    struct tiles *tiles = tiler_tiles(server->tiler, 0);
    struct note *note = mem_alloc(sizeof(*note));
    buf_clear(&submitter->note);
    bool found = note != NULL && tiles != NULL &&
                 log_load_checkpoint(server->store.logs[0], false, &submitter->note, NULL) == 0 &&
                 note_parse(buf_bytes(&submitter->note), note, NULL) == 0 &&
                 checkpoint_parse(note->text, &submitter->checkpoint, NULL) == 0 && submitter->checkpoint.size > 0 &&
                 submitter->checkpoint.size <= tiles_size(tiles);
    mem_free(note);
    return found;
}

static int make_request(struct submitter *submitter, const struct witness_view *view, struct err *err)
{
    struct merkle_proof proof = {.count = 0};
    int code = 0;
    if (view->known_size != 0 && view->known_size != submitter->checkpoint.size)
        code = tiler_prove_consistency(submitter->server->tiler, submitter->sha, view->known_size,
                                       &submitter->checkpoint, &proof, err);
    if (code != 0)
        return code;
    buf_clear(&submitter->request);
    code = submission_format(view->known_size, &proof, buf_bytes(&submitter->note), &submitter->request);
    return code == 0 ? 0 : err_set(err, code, "a submission");
}

/* --- One witness --- */

static int exchange(struct submitter *submitter, size_t at, uint64_t *ret_known, struct err *err)
{
    const struct server_config *config = submitter->server->config;
    char url[HTTP_URL_MAX_BYTES + 1];
    struct http_answer answer;
    int size = snprintf(url, sizeof(url), "%s/add-checkpoint", config->witness_urls[at]);
    PRE(size > 0 && (size_t)size < sizeof(url));
    int code = make_request(submitter, &submitter->views[at], err);
    if (code == 0)
        code = http_post(submitter->http, url, "text/plain; charset=utf-8", buf_bytes(&submitter->request),
                         &submitter->answer, &answer, err);
    buf_clear(&submitter->lines);
    if (code == 0)
        code = submission_judge(&answer, buf_bytes(&submitter->answer), buf_bytes(&submitter->note),
                                &config->region.witnesses[at].keys[0], &submitter->lines, ret_known, err);
    return code;
}

/* Asks again once it has said which size it knows. */
static int submit(struct submitter *submitter, size_t at, struct err *err)
{
    struct witness_view *view = &submitter->views[at];
    uint64_t known = 0;
    int code = exchange(submitter, at, &known, err);
    if (code != ERR_VERSION_CONFLICT)
        return code;
    if (known > submitter->checkpoint.size)
        return err_set(err, ERR_FORK, "it knows %llu entries of the log, and no more than %llu were signed here",
                       (unsigned long long)known, (unsigned long long)submitter->checkpoint.size);
    view->known_size = known;
    return exchange(submitter, at, &known, err);
}

static void hand_over(struct submitter *submitter, size_t at, uint64_t size)
{
    struct message *message = message_new(REGION_WITNESSED);
    if (message == NULL || (size > 0 && buf_append(&message->note, buf_bytes(&submitter->lines)) != 0))
        server_die(submitter->server, "memory ran out");
    message->event.witness = at;
    message->event.size = size;
    message_send(submitter->server, message);
}

static void set_status(struct submitter *submitter, size_t at, bool up, uint64_t size)
{
    struct witness_status *status = &submitter->views[at].status;
    pthread_mutex_lock(&submitter->mutex);
    status->up = up;
    if (up)
        status->cosigned_size = size;
    copy_string(status->error, sizeof(status->error), submitter->views[at].error);
    pthread_mutex_unlock(&submitter->mutex);
}

static void succeed(struct submitter *submitter, size_t at)
{
    struct witness_view *view = &submitter->views[at];
    if (view->error[0] != '\0')
        server_say(submitter->server, "witness %s cosigns again", submitter->server->config->witness_names[at]);
    view->error[0] = '\0';
    view->pause_us = 0;
    view->known_size = submitter->checkpoint.size;
    set_status(submitter, at, true, view->known_size);
    hand_over(submitter, at, view->known_size);
}

static void fail(struct submitter *submitter, size_t at, int code, const struct err *err)
{
    struct witness_view *view = &submitter->views[at];
    bool transient = code == ERR_UNAVAILABLE || code == ERR_TIMEOUT || code == ERR_NO_MEMORY;
    if (strcmp(view->error, err->message) != 0)
        server_say(submitter->server, "%switness %s: %s",
                   transient ? "" : "ALARM: ", submitter->server->config->witness_names[at], err->message);
    copy_string(view->error, sizeof(view->error), err->message);
    view->pause_us = view->pause_us == 0 ? PAUSE_FIRST_US : 2 * view->pause_us;
    if (view->pause_us > PAUSE_MAX_US)
        view->pause_us = PAUSE_MAX_US;
    view->retry_us = clock_now().mono_us + view->pause_us;
    view->known_size = 0; /* it is asked anew */
    set_status(submitter, at, false, 0);
    hand_over(submitter, at, 0);
}

static void submit_to_all(struct submitter *submitter)
{
    const struct server *server = submitter->server;
    for (size_t i = 0; i < server->config->region.witness_count && !atomic_load(&server->stopping); i++) {
        struct witness_view *view = &submitter->views[i];
        struct err err = {0};
        bool has_it = view->known_size == submitter->checkpoint.size && view->pause_us == 0;
        if (has_it || clock_now().mono_us < view->retry_us)
            continue;
        int code = submit(submitter, i, &err);
        if (code == 0)
            succeed(submitter, i);
        else if (code != ERR_CANCELLED)
            fail(submitter, i, code, &err);
    }
}

/* --- The thread --- */

static void *run(void *context)
{
    struct submitter *submitter = context;
    uint64_t seen = 0;
    while (!atomic_load(&submitter->server->stopping)) {
        if (load_newest(submitter))
            submit_to_all(submitter);
        seen = server_wait_change(submitter->server, seen, WAIT_MS);
    }
    return NULL;
}

static void free_submitter(struct submitter *submitter)
{
    http_client_free(submitter->http);
    sha256_free(submitter->sha);
    buf_free(&submitter->note);
    buf_free(&submitter->request);
    buf_free(&submitter->answer);
    buf_free(&submitter->lines);
    pthread_mutex_destroy(&submitter->mutex);
    mem_free(submitter);
}

int submitter_start(struct server *server, struct submitter **ret, struct err *err)
{
    const struct http_options options = {.timeout_ms = TIMEOUT_MS, .cancelled = &server->stopping};
    if (server->config->region.witness_count == 0)
        return 0;
    struct submitter *submitter = mem_alloc_zero(1, sizeof(*submitter));
    if (submitter == NULL)
        return err_no_memory(err, "what submits to witnesses");
    submitter->server = server;
    pthread_mutex_init(&submitter->mutex, NULL);
    buf_init(&submitter->note, NOTE_MAX_BYTES);
    buf_init(&submitter->request, SUBMISSION_MAX_BYTES);
    buf_init(&submitter->answer, SUBMISSION_ANSWER_MAX_BYTES);
    buf_init(&submitter->lines, NOTE_MAX_BYTES);
    submitter->sha = sha256_new();
    int code = submitter->sha == NULL ? err_no_memory(err, "what submits to witnesses") : 0;
    if (code == 0)
        code = http_client_new(&options, &submitter->http, err);
    int failure = code == 0 ? pthread_create(&submitter->thread, NULL, run, submitter) : 0;
    if (failure != 0)
        code = err_errno(err, failure, "a thread cannot be started");
    if (code != 0) {
        free_submitter(submitter);
        return code;
    }
    *ret = submitter;
    return 0;
}

void submitter_stop(struct submitter *submitter)
{
    if (submitter == NULL)
        return;
    pthread_join(submitter->thread, NULL);
    free_submitter(submitter);
}

size_t submitter_status(struct server *server, struct witness_status ret[REGION_WITNESSES_MAX])
{
    struct submitter *submitter = server->submitter;
    size_t count = submitter == NULL ? 0 : server->config->region.witness_count;
    for (size_t i = 0; i < count; i++) {
        pthread_mutex_lock(&submitter->mutex);
        ret[i] = submitter->views[i].status;
        pthread_mutex_unlock(&submitter->mutex);
        copy_string(ret[i].name, sizeof(ret[i].name), server->config->witness_names[i]);
    }
    return count;
}
