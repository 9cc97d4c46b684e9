/* The sockets' side: answers over TCP, limits, and input that is no HTTP. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "support.h"

static struct stage stage;
static struct admin *admin;
static uint16_t port;
static char answer_text[256 * 1024];
static struct timeval patience = {.tv_sec = 20};

static void set_up(void)
{
    stage_init(&stage);
    stage_append(&stage, 3);
    stage_show(&stage);
    cr_assert_eq(admin_start(&stage.backend, "127.0.0.1:0", &admin, &port, NULL), 0);
}

static void tear_down(void)
{
    admin_stop(admin);
    stage_free(&stage);
}

TestSuite(http, .init = set_up, .fini = tear_down);

static int dial(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Sends the bytes, no more, and reads to the end. */
static const char *exchange(const void *data, size_t size)
{
    int fd = dial();
    size_t used = 0;
    ssize_t got = 0;
    if (send(fd, data, size, MSG_NOSIGNAL) >= 0)
        shutdown(fd, SHUT_WR);
    while (used < sizeof(answer_text) - 1 &&
           (got = recv(fd, answer_text + used, sizeof(answer_text) - 1 - used, 0)) > 0)
        used += (size_t)got;
    answer_text[used] = '\0';
    close(fd);
    return answer_text;
}

static const char *request(const char *text)
{
    return exchange(text, strlen(text));
}

static void expect_alive(void)
{
    const char *answer = request("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    cr_expect_not_null(strstr(answer, "HTTP/1.1 200 OK\r\n"), "%s", answer);
}

Test(http, answers_with_headers_and_body)
{
    const char *answer = request("GET /" OWN_ORIGIN "/checkpoint HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    cr_expect_not_null(strstr(answer, "HTTP/1.1 200 OK\r\n"));
    cr_expect_not_null(strstr(answer, "Content-Type: text/plain; charset=utf-8\r\n"));
    cr_expect_not_null(strstr(answer, "Cache-Control: no-cache\r\n"));
    cr_expect_not_null(strstr(answer, "ETag: \""));
    cr_expect_not_null(strstr(answer, "\r\n\r\n" OWN_ORIGIN "\n3\n"));
}

Test(http, leaves_the_body_out_for_head)
{
    const char *answer = request("HEAD /" OWN_ORIGIN "/checkpoint HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    cr_expect_not_null(strstr(answer, "HTTP/1.1 200 OK\r\n"));
    cr_expect_null(strstr(answer, OWN_ORIGIN "\n3\n"));
}

Test(http, hands_bodies_over)
{
    const char *answer = request("POST /add-checkpoint HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: "
                                 "close\r\n\r\nold x");
    cr_expect_not_null(strstr(answer, "HTTP/1.1 400 "), "%s", answer);
}

Test(http, refuses_bodies_over_the_limit)
{
    static char large[2 * ADMIN_REQUEST_MAX_BYTES];
    int head = snprintf(large, sizeof(large),
                        "POST /add-checkpoint HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
                        ADMIN_REQUEST_MAX_BYTES + 1);
    memset(large + head, 'a', ADMIN_REQUEST_MAX_BYTES + 1);
    const char *answer = exchange(large, (size_t)head + ADMIN_REQUEST_MAX_BYTES + 1);
    cr_expect_not_null(strstr(answer, "HTTP/1.1 413 "), "%.200s", answer);
    expect_alive();
}

Test(http, refuses_headers_over_the_limit)
{
    static char large[4 * ADMIN_HEADERS_MAX_BYTES];
    int head = snprintf(large, sizeof(large), "GET / HTTP/1.1\r\nHost: a\r\nX-Large: ");
    memset(large + head, 'a', sizeof(large) - (size_t)head);
    const char *answer = exchange(large, sizeof(large));
    cr_expect_null(strstr(answer, "HTTP/1.1 200 "));
    expect_alive();
}

Test(http, survives_what_is_no_http)
{
    static const char *const inputs[] = {
        "",
        "\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /%00%ff%2e%2e/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /add-checkpoint HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST /add-checkpoint HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST /add-checkpoint HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /add-checkpoint HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nold",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        patience = (struct timeval){.tv_usec = 100 * 1000}; /* some wait for more until they are given up */
        request(inputs[i]);
        patience = (struct timeval){.tv_sec = 20};
        expect_alive();
    }
}

Test(http, does_not_share_a_port)
{
    char listen_on[32];
    struct admin *second = NULL;
    struct err err = {0};
    uint16_t other = 0;
    snprintf(listen_on, sizeof(listen_on), "127.0.0.1:%u", (unsigned)port);
    cr_expect_eq(admin_start(&stage.backend, listen_on, &second, &other, &err), ERR_UNAVAILABLE);
    cr_expect_not_null(strstr(err.message, listen_on), "%s", err.message);
    cr_expect_null(second);
}

Test(http, does_not_listen_where_it_cannot)
{
    static const char *const addresses[] = {"192.0.2.1:0", "127.0.0.1", ":80"};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct admin *second = NULL;
        uint16_t other = 0;
        cr_expect_neq(admin_start(&stage.backend, addresses[i], &second, &other, NULL), 0, "%s", addresses[i]);
        cr_expect_null(second);
    }
}

Test(http, listens_on_ipv6)
{
    struct admin *second = NULL;
    uint16_t other = 0;
    struct err err = {0};
    int code = admin_start(&stage.backend, "[::1]:0", &second, &other, &err);
    cr_expect(code == 0 || code == ERR_UNAVAILABLE, "%s", err.message); /* machines without IPv6 exist */
    admin_stop(second);
}

Test(http, more_connections_than_the_limit_do_no_harm)
{
    static int fds[2 * ADMIN_CONNECTIONS_MAX];
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        fds[i] = dial();
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        close(fds[i]);
    expect_alive();
}
