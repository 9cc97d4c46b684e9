/* Files by disk or by libcurl (fetch.h). */
#include "verify/fetch.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/mem.h"

struct fetch {
    struct disk *disk;
    CURL *curl; /* NULL for a folder */
    char reason[CURL_ERROR_SIZE];
    char base[DISK_PATH_MAX_BYTES];
};

struct answer {
    struct buf *out;
    bool too_large;
};

bool fetch_is_url(const char *base)
{
    return strncmp(base, "http://", 7) == 0 || strncmp(base, "https://", 8) == 0;
}

static void start_library(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t on_bytes(char *data, size_t one, size_t size, void *context)
{
    struct answer *answer = context;
    (void)one;
    if (buf_append(answer->out, bytes_of(data, size)) == 0)
        return size;
    answer->too_large = true;
    return 0;
}

static bool set_up(struct fetch *fetch)
{
    CURL *curl = fetch->curl;
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)FETCH_REDIRECTS_MAX) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)FETCH_TIMEOUT_MS) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)FETCH_CONNECT_TIMEOUT_MS) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERAGENT, "tally-verify") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, fetch->reason) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes) == CURLE_OK;
}

int fetch_open(struct disk *disk, const char *base, struct fetch **ret, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    size_t size = strlen(base);
    while (size > 1 && base[size - 1] == '/')
        size--;
    if (size >= DISK_PATH_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "a path or URL of %zu bytes is too long", size);
    struct fetch *fetch = mem_alloc_zero(1, sizeof(*fetch));
    if (fetch == NULL)
        return err_no_memory(err, "a source of files");
    fetch->disk = disk;
    memcpy(fetch->base, base, size);
    if (fetch_is_url(base)) {
        pthread_once(&once, start_library);
        fetch->curl = curl_easy_init();
        if (fetch->curl == NULL || !set_up(fetch)) {
            fetch_close(fetch);
            return err_no_memory(err, "an HTTP client");
        }
    }
    *ret = fetch;
    return 0;
}

void fetch_close(struct fetch *fetch)
{
    if (fetch == NULL)
        return;
    curl_easy_cleanup(fetch->curl);
    mem_free(fetch);
}

/* One request. *ret_again: what failed may work the next time. */
static int request(struct fetch *fetch, const char *url, struct buf *out, bool *ret_again, struct err *err)
{
    struct answer answer = {.out = out};
    long status = 0;
    buf_clear(out);
    fetch->reason[0] = '\0';
    *ret_again = false;
    if (curl_easy_setopt(fetch->curl, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(fetch->curl, CURLOPT_WRITEDATA, &answer) != CURLE_OK)
        return err_no_memory(err, "a request");
    CURLcode code = curl_easy_perform(fetch->curl);
    curl_easy_getinfo(fetch->curl, CURLINFO_RESPONSE_CODE, &status);
    if (answer.too_large)
        return err_set(err, ERR_TOO_LARGE, "%s is larger than %zu bytes", url, out->max_bytes);
    if (code != CURLE_OK) {
        *ret_again = true;
        return err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_IO, "cannot get %s: %s", url,
                       fetch->reason[0] != '\0' ? fetch->reason : curl_easy_strerror(code));
    }
    if (status == 404 || status == 410)
        return err_set(err, ERR_NOT_FOUND, "%s is not there (HTTP %ld)", url, status);
    *ret_again = status == 429 || status >= 500;
    return status == 200 ? 0 : err_set(err, ERR_IO, "cannot get %s: HTTP %ld", url, status);
}

int fetch_get(struct fetch *fetch, const char *name, struct buf *out, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, fetch->base, name, err);
    if (code != 0)
        return code;
    if (fetch->curl == NULL) {
        buf_clear(out);
        return disk_read_file(fetch->disk, path, out, err);
    }
    for (int attempt = 1;; attempt++) {
        bool again = false;
        code = request(fetch, path, out, &again, err);
        if (code == 0 || !again || attempt == FETCH_ATTEMPTS)
            return code;
        const struct timespec pause = {.tv_nsec = FETCH_PAUSE_MS * 1000L * 1000L};
        nanosleep(&pause, NULL);
    }
}
