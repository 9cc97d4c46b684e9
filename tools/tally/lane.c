/* The thread of a lane, and its queue of batches (lane.h). What can pass is tried again, with a pause that grows, for
 * as long as the command was told. */
#include "lane.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "platform/clock.h"
#include "platform/mailbox.h"

enum { QUEUE_CAPACITY = 4, RETRY_FIRST_MS = 100, RETRY_MAX_MS = 2000 };

struct lane {
    struct lane_target *target;
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

/* Appends one batch, again and again for retry_for_ms if that can help. */
static int append_batch(struct lane *lane, struct batch *batch, struct err *err)
{
    struct lane_target *target = lane->target;
    const struct tally_write *writes = NULL;
    size_t write_count = 0;
    uint64_t pause_ms = RETRY_FIRST_MS;
    uint64_t begun_us = clock_now().mono_us;
    int rc = batch_finish(batch, &writes, &write_count, err);
    while (rc == 0) {
        struct tally_answer *answer = NULL;
        struct tally_refusal refusal = {0};
        rc = tally_append(target->client, writes, write_count, target->timeout_ms, &answer, &refusal, err);
        if (rc == 0) {
            uint64_t duplicates = 0;
            for (size_t i = 0; i < answer->result_count; i++)
                duplicates += answer->results[i].duplicate;
            atomic_fetch_add(&lane->counts->duplicates, duplicates);
            atomic_fetch_add(&lane->counts->added, answer->result_count - duplicates);
            tally_answer_free(answer);
            say_recovered(target);
            return 0;
        }
        if (!worth_retrying(rc) || clock_now().mono_us - begun_us >= target->retry_for_ms * 1000)
            return explain_refusal(lane, batch, &refusal, rc, err);
        if (rc != ERR_BUSY)
            say_troubled(target, err);
        clock_sleep_ms(pause_ms);
        pause_ms = pause_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : pause_ms * 2;
        rc = 0;
    }
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

int lane_start(struct lane_target *target, struct lane_counts *counts, struct lane **ret, struct err *err)
{
    struct lane *lane = mem_alloc_zero(1, sizeof(*lane));
    if (lane == NULL)
        return err_no_memory(err, "a lane");
    lane->target = target;
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
