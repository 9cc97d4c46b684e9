/* The guard of automatic failover, beside a region's thread that only answers. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include "base/mem.h"
#include "server/internal.h"

static atomic_size_t asked;

/* Until the mail is closed: nothing is lost. */
static void *answer_questions(void *context)
{
    struct server *server = context;
    void *item = NULL;
    while (mailbox_receive(server->mail, &item, 1, UINT64_MAX) == 1) {
        struct message *message = item;
        struct question *question = message->question;
        cr_expect_eq(message->type, MESSAGE_QUESTION);
        message_free(message);
        pthread_mutex_lock(&question->mutex);
        question->done = true;
        atomic_fetch_add(&asked, 1);
        pthread_cond_signal(&question->finished);
        pthread_mutex_unlock(&question->mutex);
    }
    return NULL;
}

/* Starts a guard whose thread's first allocation fails. */
static void start_short_of_memory(struct server *server)
{
    struct err err = {0};
    int code = ERR_NO_MEMORY;
    for (uint64_t at = 1; code == ERR_NO_MEMORY; at++) {
        cr_assert_lt(at, 100);
        mem_fail_at(at);
        code = guard_start(server, &server->guard, &err);
    }
    cr_assert_eq(code, 0, "%s", err.message);
}

Test(takeover, a_guard_that_is_short_of_memory_goes_on_guarding, .timeout = 60)
{
    static struct server_config config = {.region.region = "eu",
                                          .etcd = {.endpoint_count = 1,
                                                   .endpoints = {"http://127.0.0.1:1"},
                                                   .prefix = "/t",
                                                   .cluster = "c",
                                                   .region = "eu",
                                                   .lease_s = 5}};
    static struct server server = {.config = &config};
    pthread_t region;
    cr_redirect_stderr();
    server.mail = mailbox_new(16);
    cr_assert_not_null(server.mail);
    cr_assert_eq(pthread_create(&region, NULL, answer_questions, &server), 0);
    start_short_of_memory(&server);
    while (atomic_load(&asked) == 0)
        clock_sleep_ms(1);
    mem_fail_at(0);
    atomic_store(&server.stopping, true);
    guard_stop(server.guard);
    mailbox_close(server.mail);
    pthread_join(region, NULL);
    mailbox_free(server.mail);
}
