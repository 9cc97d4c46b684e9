/* The table of logs that both indexes share (logs.h): written under the mutex, read without it. */
#include "index/logs.h"

#include "base/assert.h"

void logs_init(struct logs *logs)
{
    memset(logs->origins, 0, sizeof(logs->origins));
    atomic_init(&logs->count, 0);
    atomic_init(&logs->sequence, 0);
    for (size_t i = 0; i < INDEX_LOGS_MAX; i++)
        atomic_init(&logs->applied[i], 0);
    INVARIANT(pthread_mutex_init(&logs->giving, NULL) == 0);
}

void logs_free(struct logs *logs)
{
    INVARIANT(pthread_mutex_destroy(&logs->giving) == 0);
}

uint32_t logs_count(struct logs *logs)
{
    return (uint32_t)atomic_load_explicit(&logs->count, memory_order_acquire);
}

static bool find(struct logs *logs, struct bytes origin, uint32_t *ret_log)
{
    uint32_t count = logs_count(logs);
    for (uint32_t log = 0; log < count; log++) {
        if (bytes_equal(bytes_of_string(logs->origins[log]), origin)) {
            *ret_log = log;
            return true;
        }
    }
    return false;
}

static int give(struct logs *logs, struct bytes origin, logs_keep_fn *keep, void *context, uint32_t *ret_log,
                struct err *err)
{
    if (find(logs, origin, ret_log))
        return 0;
    uint32_t log = logs_count(logs);
    struct origin parsed;
    int code = origin_parse(origin, &parsed, err);
    if (code != 0)
        return code;
    if (log == INDEX_LOGS_MAX)
        return err_set(err, ERR_TOO_LARGE, "the index has numbers for %d logs already; %.*s is one too many",
                       INDEX_LOGS_MAX, (int)origin.size_bytes, (const char *)origin.data);
    code = keep == NULL ? 0 : keep(context, log, origin, err);
    if (code != 0)
        return code;
    logs->parsed[log] = parsed;
    memcpy(logs->origins[log], origin.data, origin.size_bytes);
    atomic_store_explicit(&logs->count, log + 1, memory_order_release);
    *ret_log = log;
    return 0;
}

int logs_number(struct logs *logs, struct bytes origin, logs_keep_fn *keep, void *context, uint32_t *ret_log,
                struct err *err)
{
    PRE(origin.size_bytes > 0);
    PRE(origin.size_bytes <= INDEX_ORIGIN_MAX_BYTES);
    PRE(memchr(origin.data, 0, origin.size_bytes) == NULL);
    if (find(logs, origin, ret_log))
        return 0;
    INVARIANT(pthread_mutex_lock(&logs->giving) == 0);
    int code = give(logs, origin, keep, context, ret_log, err);
    INVARIANT(pthread_mutex_unlock(&logs->giving) == 0);
    return code;
}

int logs_origin(struct logs *logs, uint32_t log, char ret[INDEX_ORIGIN_MAX_BYTES + 1], struct err *err)
{
    if (log >= logs_count(logs))
        return err_set(err, ERR_NOT_FOUND, "the index gave no log the number %u", log);
    memcpy(ret, logs->origins[log], INDEX_ORIGIN_MAX_BYTES + 1);
    return 0;
}

const struct origin *logs_parsed_origin(struct logs *logs, uint32_t log)
{
    PRE(log < logs_count(logs));
    return &logs->parsed[log];
}

uint64_t logs_size_of(struct logs *logs, const char *region, uint64_t incarnation)
{
    uint32_t count = logs_count(logs);
    for (uint32_t log = 0; log < count; log++) {
        if (logs->parsed[log].incarnation == incarnation && strcmp(logs->parsed[log].region, region) == 0)
            return logs_applied_size(logs, log);
    }
    return 0;
}

uint64_t logs_applied_size(struct logs *logs, uint32_t log)
{
    PRE(log < INDEX_LOGS_MAX);
    return atomic_load_explicit(&logs->applied[log], memory_order_acquire);
}

void logs_set_applied_size(struct logs *logs, uint32_t log, uint64_t size)
{
    PRE(log < logs_count(logs));
    atomic_store_explicit(&logs->applied[log], size, memory_order_release);
}

uint64_t logs_sequence(struct logs *logs)
{
    return atomic_load_explicit(&logs->sequence, memory_order_acquire);
}

void logs_check_next(struct logs *logs, uint32_t log, const struct index_entry *entries, size_t count)
{
    PRE(log < logs_count(logs));
    uint64_t next = logs_applied_size(logs, log);
    for (size_t i = 0; i < count; i++)
        PRE(entries[i].entry->index == next + i);
}

void logs_advance(struct logs *logs, uint32_t log, size_t count)
{
    atomic_fetch_add_explicit(&logs->applied[log], count, memory_order_release);
    atomic_fetch_add_explicit(&logs->sequence, count, memory_order_release);
}

void logs_changed(struct logs *logs, size_t count)
{
    atomic_fetch_add_explicit(&logs->sequence, count, memory_order_release);
}
