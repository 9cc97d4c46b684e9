/* Who answers which path. Paths are matched as they are, after percent-decoding: no dots, no doubled slashes, no
 * trailing slash. GET and HEAD are one: whoever sends the answer leaves the body out. */
#include "admin/route.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

enum { HEX_HASH_SIZE = 2 * HASH_SIZE };

void response_refuse(struct response *response, unsigned status, const char *format, ...)
{
    char text[TALLY_ERROR_MESSAGE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buf_clear(&response->body);
    if (buf_append_format(&response->body, "%s\n", text) != 0)
        buf_clear(&response->body); /* the status says enough */
    response->status = status;
    response->content_type = ADMIN_TEXT;
    response->cache_control = ADMIN_NEVER;
    response->etag[0] = '\0';
    response->security_policy = NULL;
}

void response_fail(struct response *response, int code, const struct err *err)
{
    unsigned status = 500;
    if (code == ERR_NOT_FOUND)
        status = 404;
    else if (code == ERR_INVALID)
        status = 400;
    else if (code == ERR_UNAVAILABLE || code == ERR_BUSY || code == ERR_NO_MEMORY)
        status = 503;
    response_refuse(response, status, "%s", err->message);
    if (status == 503)
        response->retry_after_s = 1;
}

struct admin_status *admin_status_get(struct admin *admin, struct response *response)
{
    struct err err = {0};
    struct admin_status *status = mem_alloc_zero(1, sizeof(*status));
    int code = status == NULL ? err_no_memory(&err, "the status") : 0;
    if (code == 0)
        code = admin->backend->ops->status(admin->backend, status, &err);
    if (code == 0)
        return status;
    mem_free(status);
    response_fail(response, code, &err);
    return NULL;
}

/* The log whose prefix the path has: "/<origin>/". *ret_rest is what follows. */
static bool find_log(struct admin *admin, const char *path, size_t *ret_log, const char **ret_rest)
{
    for (size_t i = 0; i < admin->backend->ops->log_count(admin->backend); i++) {
        struct bytes origin = log_origin(admin->backend->ops->log_at(admin->backend, i));
        if (strlen(path) > origin.size_bytes + 2 && memcmp(path + 1, origin.data, origin.size_bytes) == 0 &&
            path[1 + origin.size_bytes] == '/') {
            *ret_log = i;
            *ret_rest = path + 2 + origin.size_bytes;
            return true;
        }
    }
    return false;
}

static void answer_get(struct admin *admin, const struct request *request, struct response *response)
{
    const char *path = request->path;
    const char *rest = NULL;
    size_t log = 0;
    if (strcmp(path, "/") == 0)
        page_dashboard(response);
    else if (strcmp(path, "/health") == 0)
        page_health(admin, response);
    else if (strcmp(path, "/status") == 0)
        page_status(admin, response);
    else if (strcmp(path, "/metrics") == 0)
        page_metrics(admin, response);
    else if (strlen(path) == 1 + HEX_HASH_SIZE + 11 && strcmp(path + 1 + HEX_HASH_SIZE, "/checkpoint") == 0)
        witness_latest(admin->witness, bytes_of(path + 1, HEX_HASH_SIZE), response);
    else if (find_log(admin, path, &log, &rest))
        tlog_answer(admin, request, log, rest, response);
    else
        response_refuse(response, 404, "there is nothing here: see / for what there is");
}

/* For what caches may keep: the answer's own hash, and 304 for whoever has it. */
static void tag(const struct request *request, struct response *response)
{
    char hex[2 * HASH_SIZE + 1];
    struct hash hash = sha256_of(request->sha, buf_bytes(&response->body));
    hex_encode(bytes_of(hash.bytes, HASH_SIZE), hex);
    snprintf(response->etag, sizeof(response->etag), "\"%.32s\"", hex);
    if (request->if_none_match == NULL || strstr(request->if_none_match, response->etag) == NULL)
        return;
    response->status = 304;
    buf_clear(&response->body);
}

void admin_answer(struct admin *admin, const struct request *request, struct response *response)
{
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    bool submission = strcmp(request->path, "/add-checkpoint") == 0;
    if (submission && strcmp(request->method, "POST") == 0) {
        witness_add_checkpoint(admin->witness, request, response);
    } else if (reads && !submission) {
        answer_get(admin, request, response);
    } else {
        response_refuse(response, 405, "%s does not do that", request->path);
        response->allow = submission ? "POST" : "GET, HEAD";
    }
    if (response->status == 200 && response->cache_control != NULL && strcmp(response->cache_control, ADMIN_NEVER) != 0)
        tag(request, response);
    unsigned class = response->status / 100;
    atomic_fetch_add(&admin->answers[class < ADMIN_STATUS_CLASSES ? class : 0], 1);
}
