/* Messages to the sequencer, lines to the operator, and the one condition that readers wait on. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/internal.h"

enum { MESSAGE_ARENA_MAX_BYTES = 16 * 1024 * 1024 };

/* What is said quotes names and answers from outside: they must not begin a line of their own, nor be obeyed by a
 * terminal. */
static void replace_controls(char *text)
{
    for (; *text != '\0'; text++) {
        uint8_t byte = (uint8_t)text[0];
        uint8_t next = (uint8_t)text[1];
        if (byte < 0x20 || byte == 0x7f) {
            text[0] = '?';
        } else if (byte == 0xc2 && next >= 0x80 && next < 0xa0) { /* U+0080 to U+009F */
            text[0] = '?';
            text[1] = '?';
        }
    }
}

__attribute__((format(printf, 2, 0))) static void say(const struct server *server, const char *format, va_list args)
{
    char text[2 * TALLY_ERROR_MESSAGE_MAX_BYTES];
    uint64_t now_s = clock_now().wall_us / 1000000;
    time_t seconds = (time_t)now_s;
    struct tm parts;
    char stamp[32] = "";
    if (gmtime_r(&seconds, &parts) != NULL)
        strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &parts);
    vsnprintf(text, sizeof(text), format, args);
    replace_controls(text);
    fprintf(stderr, "%s tallyd[%s]: %s\n", stamp, server->config->region.region, text);
}

void server_say(const struct server *server, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(server, format, args);
    va_end(args);
}

void server_die(const struct server *server, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(server, format, args);
    va_end(args);
    _exit(1);
}

void server_changed(struct server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->change_counter++;
    pthread_mutex_unlock(&server->mutex);
    pthread_cond_broadcast(&server->changed);
}

uint64_t server_wait_change(struct server *server, uint64_t seen, uint64_t timeout_ms)
{
    struct time_now now = clock_now();
    uint64_t until_us = now.mono_us + timeout_ms * 1000;
    struct timespec until = {.tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000) * 1000};
    int waited = 0;
    pthread_mutex_lock(&server->mutex);
    while (server->change_counter == seen && !atomic_load(&server->stopping) && waited == 0)
        waited = pthread_cond_timedwait(&server->changed, &server->mutex, &until);
    uint64_t counter = server->change_counter;
    pthread_mutex_unlock(&server->mutex);
    return counter;
}

struct message *message_new(enum region_event_type type)
{
    struct message *message = mem_alloc_zero(1, sizeof(*message));
    if (message == NULL)
        return NULL;
    message->event.type = type;
    buf_init(&message->note, NOTE_MAX_BYTES);
    arena_init(&message->arena, MESSAGE_ARENA_MAX_BYTES);
    return message;
}

void message_free(struct message *message)
{
    if (message->event.block != NULL)
        block_release(message->event.block);
    buf_free(&message->note);
    arena_free(&message->arena);
    mem_free(message);
}

void message_send(struct server *server, struct message *message)
{
    if (message == NULL)
        server_die(server, "memory ran out");
    if (mailbox_send(server->mail, message) != 0)
        message_free(message);
}
