/* The HTTP client against a server that answers what the test says: what it sends, and that nothing hurts it. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "outside/http.h"

enum { ANSWER_MAX_BYTES = 1000, TIMEOUT_MS = 60 * 1000 };

static int listener;
static char url[64];
static pthread_t thread;
static const char *to_send;
static size_t repetitions;
static char received[4096];
static struct http_client *client;
static struct buf out;
static struct http_answer answer;

/* Reads one request with a body that ends in '!', sends what it is told to, and closes. */
static void *serve(void *context)
{
    size_t size = 0;
    (void)context;
    int connection = accept(listener, NULL, NULL);
    if (connection < 0)
        return NULL;
    while (size < sizeof(received) - 1 && (size == 0 || received[size - 1] != '!')) {
        ssize_t count = recv(connection, received + size, sizeof(received) - 1 - size, 0);
        if (count <= 0)
            break;
        size += (size_t)count;
    }
    received[size] = '\0';
    for (size_t i = 0; to_send != NULL && i < repetitions; i++) {
        if (send(connection, to_send, strlen(to_send), MSG_NOSIGNAL) < 0)
            break;
    }
    if (to_send == NULL) { /* silent until the other side goes */
        char byte;
        ssize_t count = recv(connection, &byte, 1, 0);
        cr_expect_leq(count, 0);
    }
    close(connection);
    return NULL;
}

static void open_client(uint64_t timeout_ms, const atomic_bool *cancelled)
{
    const struct http_options options = {.timeout_ms = timeout_ms, .cancelled = cancelled};
    cr_assert_eq(http_client_new(&options, &client, NULL), 0);
    buf_init(&out, ANSWER_MAX_BYTES);
}

static void serve_with(const char *text, size_t times)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    to_send = text;
    repetitions = times;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(listener, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/path", ntohs(address.sin_port));
    cr_assert_eq(pthread_create(&thread, NULL, serve, NULL), 0);
}

static int post(struct err *err)
{
    return http_post(client, url, "application/json", BYTES_LITERAL("{}!"), &out, &answer, err);
}

static void tear_down(void)
{
    http_client_free(client);
    pthread_join(thread, NULL);
    close(listener);
    buf_free(&out);
}

Test(http, posts_and_takes_the_answer_whatever_its_status)
{
    struct err err = {0};
    serve_with("HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 3\r\n\r\n17\n", 1);
    open_client(TIMEOUT_MS, NULL);
    cr_assert_eq(post(&err), 0, "%s", err.message);
    cr_expect_eq(answer.status, 409);
    cr_expect_str_eq(answer.content_type, "text/x.tlog.size");
    cr_expect(bytes_equal(buf_bytes(&out), BYTES_LITERAL("17\n")));
    tear_down();
    cr_expect_eq(strncmp(received, "POST /path HTTP/1.1\r\n", 21), 0, "%s", received);
    cr_expect_not_null(strstr(received, "\r\nContent-Type: application/json\r\n"), "%s", received);
    cr_expect_not_null(strstr(received, "\r\n\r\n{}!"), "%s", received);
}

Test(http, an_answer_without_end_is_broken_off)
{
    struct err err = {0};
    serve_with("HTTP/1.1 200 OK\r\n\r\n0123456789012345678901234567890123456789", 1000);
    open_client(TIMEOUT_MS, NULL);
    cr_assert_eq(post(&err), ERR_TOO_LARGE);
    cr_expect_not_null(strstr(err.message, "larger than 1000 bytes"), "%s", err.message);
    tear_down();
}

Test(http, a_silent_server_is_waited_for_no_longer_than_said)
{
    struct err err = {0};
    serve_with(NULL, 0);
    open_client(300, NULL);
    cr_assert_eq(post(&err), ERR_TIMEOUT, "%s", err.message);
    tear_down();
}

Test(http, an_exchange_can_be_cancelled)
{
    static atomic_bool cancelled = true;
    serve_with(NULL, 0);
    open_client(TIMEOUT_MS, &cancelled);
    cr_assert_eq(post(NULL), ERR_CANCELLED);
    shutdown(listener, SHUT_RDWR); /* the connection may never have been made */
    tear_down();
}

Test(http, nobody_there_is_unavailable_and_named)
{
    struct err err = {0};
    serve_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1);
    open_client(TIMEOUT_MS, NULL);
    cr_assert_eq(post(NULL), 0);
    tear_down();
    open_client(TIMEOUT_MS, NULL);
    cr_assert_eq(post(&err), ERR_UNAVAILABLE);
    cr_expect_not_null(strstr(err.message, url), "%s", err.message);
    http_client_free(client);
    buf_free(&out);
}

Test(http, what_is_no_http_is_refused)
{
    serve_with("SSH-2.0-OpenSSH_9.2p1 Debian\r\n", 1);
    open_client(TIMEOUT_MS, NULL);
    cr_assert_eq(post(NULL), ERR_UNAVAILABLE);
    tear_down();
}

Test(http, redirects_are_not_followed)
{
    serve_with("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", 1);
    open_client(TIMEOUT_MS, NULL);
    cr_assert_eq(post(NULL), 0);
    cr_expect_eq(answer.status, 302);
    tear_down();
}

Test(http, only_http_is_spoken)
{
    struct err err = {0};
    open_client(TIMEOUT_MS, NULL);
    cr_assert_eq(http_post(client, "file:///etc/passwd", "text/plain", BYTES_LITERAL("!"), &out, &answer, &err),
                 ERR_UNAVAILABLE);
    cr_expect_eq(out.size_bytes, 0);
    http_client_free(client);
    buf_free(&out);
}
