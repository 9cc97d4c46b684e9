/* The thread of a lane, and its queue of batches (lane.h). What can pass is tried again, with a pause that grows, for
 * as long as the command was told. */
#include "lane.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "platform/clock.h"
#include "platform/mailbox.h"

enum { QUEUE_CAPACITY = 4, RETRY_FIRST_MS = 100, RETRY_MAX_MS = 2000 };

struct lane {
    struct lane_target *target;
    struct routes *routes;
    struct lane_counts *counts;
    struct mailbox *queue;
    pthread_t thread;
    struct err failure; /* the thread's until it is joined */
};

static bool worth_retrying(int rc)
{
    return rc == ERR_UNAVAILABLE || rc == ERR_BUSY || rc == ERR_TIMEOUT || rc == ERR_POISONED;
}

static void say_troubled(struct lane_target *target, const struct err *err)
{
    if (!atomic_exchange(&target->troubled, true))
        (void)fprintf(stderr, "tally: region %s: %s; retrying for up to %" PRIu64 " s\n", target->region, err->message,
                      target->retry_for_ms / 1000);
}

static void say_recovered(struct lane_target *target)
{
    if (atomic_load(&target->troubled) && atomic_exchange(&target->troubled, false))
        (void)fprintf(stderr, "tally: region %s: goes on\n", target->region);
}

static int explain_refusal(const struct lane *lane, const struct batch *batch, const struct tally_refusal *refusal,
                           int rc, struct err *err)
{
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t line = refusal->has_event_id ? batch_find_line(batch, refusal->event_id) : 0;
    batch_lines(batch, &first, &last);
    if (line != 0)
        return err_wrap(err, rc,
                        "line %" PRIu64 " (nothing of its batch, lines %" PRIu64 " to %" PRIu64
                        " for region %s, was added)",
                        line, first, last, lane->target->region);
    return err_wrap(err, rc, "a batch from lines %" PRIu64 " to %" PRIu64 " for region %s", first, last,
                    lane->target->region);
}

static void count(struct lane *lane, const struct tally_answer *answer)
{
    uint64_t duplicates = 0;
    for (size_t i = 0; i < answer->result_count; i++)
        duplicates += answer->results[i].duplicate;
    atomic_fetch_add(&lane->counts->duplicates, duplicates);
    atomic_fetch_add(&lane->counts->added, answer->result_count - duplicates);
}

static struct tally_client *client_for(const struct lane *lane, const struct tally_write *write)
{
    struct tally_client *learned = routes_find(lane->routes, write->context, write->partition);
    return learned == NULL ? lane->target->client : learned;
}

/* Moves the writes with the home of the first one to the front; returns how many they are, and their home. The order
 * among streams is free. */
static size_t gather(const struct lane *lane, struct tally_write *writes, size_t write_count,
                     struct tally_client **ret_client)
{
    struct tally_client *client = client_for(lane, &writes[0]);
    size_t gathered = 1;
    for (size_t i = 1; i < write_count; i++) {
        if (client_for(lane, &writes[i]) != client)
            continue;
        struct tally_write other = writes[gathered];
        writes[gathered++] = writes[i];
        writes[i] = other;
    }
    *ret_client = client;
    return gathered;
}

/* Whether to try again: what can pass, and a home that has moved, which is learned. */
static bool try_again(struct lane *lane, int rc, const struct tally_refusal *refusal)
{
    if (rc != ERR_WRONG_HOME)
        return worth_retrying(rc);
    return refusal->home_address[0] != '\0' && routes_learn(lane->routes, refusal->context, refusal->partition,
                                                            refusal->home_region, refusal->home_address) == 0;
}

/* Appends the writes of one batch, home by home, again and again for retry_for_ms if that can help. A home that moves
 * while we ask refuses what it has let go of before its successor accepts it: so there is a pause, here too. */
static int append_writes(struct lane *lane, struct batch *batch, struct tally_write *writes, size_t write_count,
                         struct err *err)
{
    struct lane_target *target = lane->target;
    uint64_t pause_ms = RETRY_FIRST_MS;
    uint64_t begun_us = clock_now().mono_us;
    while (write_count > 0) {
        struct tally_client *client = NULL;
        struct tally_answer *answer = NULL;
        struct tally_refusal refusal = {0};
        size_t gathered = gather(lane, writes, write_count, &client);
        int rc = tally_append(client, writes, gathered, target->timeout_ms, &answer, &refusal, err);
        if (rc == 0) {
            count(lane, answer);
            tally_answer_free(answer);
            say_recovered(target);
            writes += gathered;
            write_count -= gathered;
            continue;
        }
        if (!try_again(lane, rc, &refusal) || clock_now().mono_us - begun_us >= target->retry_for_ms * 1000)
            return explain_refusal(lane, batch, &refusal, rc, err);
        if (rc != ERR_BUSY && rc != ERR_WRONG_HOME)
            say_troubled(target, err);
        clock_sleep_ms(refusal.retry_after_ms > pause_ms ? refusal.retry_after_ms : pause_ms);
        pause_ms = pause_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : pause_ms * 2;
    }
    return 0;
}

static int append_batch(struct lane *lane, struct batch *batch, struct err *err)
{
    const struct tally_write *writes = NULL;
    size_t write_count = 0;
    int rc = batch_finish(batch, &writes, &write_count, err);
    if (rc != 0)
        return rc;
    struct tally_write *sorted = mem_alloc(write_count * sizeof(*sorted));
    if (sorted == NULL)
        return err_no_memory(err, "a batch");
    memcpy(sorted, writes, write_count * sizeof(*sorted));
    rc = append_writes(lane, batch, sorted, write_count, err);
    mem_free(sorted);
    return rc;
}

/* After a failure the rest of the queue is thrown away, and nothing more gets in. */
static void *lane_run(void *context)
{
    struct lane *lane = context;
    void *item = NULL;
    while (mailbox_receive(lane->queue, &item, 1, UINT64_MAX) > 0) {
        struct batch *batch = item;
        struct err err = {0}; /* also holds what was retried and then went well */
        if (lane->failure.code == 0 && append_batch(lane, batch, &err) != 0) {
            lane->failure = err;
            mailbox_close(lane->queue);
        }
        batch_free(batch);
    }
    return NULL;
}

int lane_start(struct lane_target *target, struct routes *routes, struct lane_counts *counts, struct lane **ret,
               struct err *err)
{
    struct lane *lane = mem_alloc_zero(1, sizeof(*lane));
    if (lane == NULL)
        return err_no_memory(err, "a lane");
    lane->target = target;
    lane->routes = routes;
    lane->counts = counts;
    lane->queue = mailbox_new(QUEUE_CAPACITY);
    if (lane->queue == NULL) {
        mem_free(lane);
        return err_no_memory(err, "a lane");
    }
    int failed = pthread_create(&lane->thread, NULL, lane_run, lane);
    if (failed != 0) {
        mailbox_free(lane->queue);
        mem_free(lane);
        return err_errno(err, failed, "a thread for the import");
    }
    *ret = lane;
    return 0;
}

int lane_send(struct lane *lane, struct batch *batch)
{
    int rc = mailbox_send(lane->queue, batch);
    if (rc != 0)
        batch_free(batch);
    return rc;
}

int lane_finish(struct lane *lane, struct err *err)
{
    mailbox_close(lane->queue);
    (void)pthread_join(lane->thread, NULL);
    int rc = lane->failure.code;
    if (rc != 0 && err != NULL)
        *err = lane->failure;
    mailbox_free(lane->queue);
    mem_free(lane);
    return rc;
}
