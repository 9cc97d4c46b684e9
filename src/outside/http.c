/* POST by libcurl (http.h). The only file of src that includes it. */
#include "outside/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"

struct http_client {
    CURL *curl;
    const atomic_bool *cancelled;
    char reason[CURL_ERROR_SIZE];
};

struct receiving {
    struct buf *out;
    int code; /* why the rest was not taken */
};

static void start_library(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t on_bytes(char *data, size_t one, size_t size, void *context)
{
    struct receiving *receiving = context;
    (void)one;
    receiving->code = buf_append(receiving->out, bytes_of(data, size));
    return receiving->code == 0 ? size : 0;
}

static int on_progress(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    const struct http_client *client = context;
    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return client->cancelled != NULL && atomic_load(client->cancelled);
}

static bool set_file(CURL *curl, CURLoption option, const char *file)
{
    return file == NULL || curl_easy_setopt(curl, option, file) == CURLE_OK;
}

static bool set_up(struct http_client *client, const struct http_options *options)
{
    CURL *curl = client->curl;
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERAGENT, "tallyd") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->reason) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client) == CURLE_OK &&
           set_file(curl, CURLOPT_CAINFO, options->ca_file) && set_file(curl, CURLOPT_SSLCERT, options->cert_file) &&
           set_file(curl, CURLOPT_SSLKEY, options->key_file);
}

int http_client_new(const struct http_options *options, struct http_client **ret, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct http_client *client = mem_alloc_zero(1, sizeof(*client));
    if (client == NULL)
        return err_no_memory(err, "an HTTP client");
    pthread_once(&once, start_library);
    client->cancelled = options->cancelled;
    client->curl = curl_easy_init();
    if (client->curl == NULL || !set_up(client, options)) {
        http_client_free(client);
        return err_no_memory(err, "an HTTP client");
    }
    *ret = client;
    return 0;
}

void http_client_free(struct http_client *client)
{
    if (client == NULL)
        return;
    curl_easy_cleanup(client->curl);
    mem_free(client);
}

static int explain(const struct http_client *client, const char *url, CURLcode failure,
                   const struct receiving *receiving, struct err *err)
{
    if (receiving->code == ERR_TOO_LARGE)
        return err_set(err, ERR_TOO_LARGE, "the answer of %.200s is larger than %zu bytes", url,
                       receiving->out->max_bytes);
    if (receiving->code != 0 || failure == CURLE_OUT_OF_MEMORY)
        return err_no_memory(err, "an answer");
    int code = failure == CURLE_OPERATION_TIMEDOUT    ? ERR_TIMEOUT
               : failure == CURLE_ABORTED_BY_CALLBACK ? ERR_CANCELLED
                                                      : ERR_UNAVAILABLE;
    return err_set(err, code, "%.200s: %.200s", url,
                   client->reason[0] != '\0' ? client->reason : curl_easy_strerror(failure));
}

static int perform(struct http_client *client, const char *url, struct bytes body, struct curl_slist *headers,
                   struct buf *out, struct err *err)
{
    struct receiving receiving = {.out = out};
    CURL *curl = client->curl;
    buf_clear(out);
    client->reason[0] = '\0';
    if (curl_easy_setopt(curl, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size_bytes) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.size_bytes == 0 ? "" : (const char *)body.data) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &receiving) != CURLE_OK)
        return err_no_memory(err, "a request");
    CURLcode failure = curl_easy_perform(curl);
    return failure == CURLE_OK ? 0 : explain(client, url, failure, &receiving, err);
}

int http_post(struct http_client *client, const char *url, const char *content_type, struct bytes body, struct buf *out,
              struct http_answer *ret, struct err *err)
{
    char type[HTTP_TYPE_MAX_BYTES + 32];
    const char *told = NULL;
    snprintf(type, sizeof(type), "Content-Type: %.100s", content_type);
    struct curl_slist *first = curl_slist_append(NULL, type);
    struct curl_slist *headers = first == NULL ? NULL : curl_slist_append(first, "Expect:"); /* no 100-continue */
    if (headers == NULL) {
        curl_slist_free_all(first);
        return err_no_memory(err, "a request");
    }
    int code = perform(client, url, body, headers, out, err);
    if (code == 0) {
        memset(ret, 0, sizeof(*ret));
        curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &ret->status);
        if (curl_easy_getinfo(client->curl, CURLINFO_CONTENT_TYPE, &told) == CURLE_OK && told != NULL)
            snprintf(ret->content_type, sizeof(ret->content_type), "%s", told);
    }
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    return code;
}
