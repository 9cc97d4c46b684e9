/* Demands of reads (demand.h).
 *
 * A position is what an append returned: for each log the size after its last entry. So the entry that the caller means
 * is the last one below that size. It can be late: its region was taken for lost, and another one seized the partition
 * on a shorter copy; or its region lost it, and goes on in another log without it. When the entry is here the index
 * knows. When it is not, and perhaps never will be, the home's epoch tells whether an entry of this stream's partition
 * could count at all at that index. Both are asked before each wait, because a seizure may arrive while a caller waits.
 */
#include "rpc/demand.h"

#include <stdio.h>

#include "base/assert.h"
#include "entry/frame.h"
#include "platform/clock.h"
#include "rpc/held.h"

enum { WAIT_DEFAULT_MS = 30000, WAIT_MAX_MS = 3600 * 1000, POSITION_TEXT_MAX_BYTES = 16 * 1024 };

/* --- Positions --- */

static int refuse_late(const struct position_log *log, struct err *err)
{
    return err_set(err, ERR_MISMATCH,
                   "the position %.63s@%llu can never be read: its entry %llu is late, whoever is the home now goes on "
                   "from a shorter copy of that log; look it up with tally reconcile, or append again with the same "
                   "ids",
                   log->region, (unsigned long long)log->size, (unsigned long long)(log->size - 1));
}

/* The index's number of the log with that region and incarnation, when this region holds it. */
static bool find_held(struct rpc_backend *backend, const struct position_log *wanted, struct log **ret,
                      uint32_t *ret_number)
{
    for (size_t i = 0; i < backend->ops->log_count(backend); i++) {
        struct log *log = backend->ops->log_at(backend, i);
        struct origin origin;
        held_origin(log, &origin);
        if (strcmp(origin.region, wanted->region) != 0 || origin.incarnation != wanted->incarnation)
            continue;
        *ret = log;
        return index_log(backend->index, log_origin(log), ret_number, NULL) == 0;
    }
    return false;
}

/* However it was settled: its effect, if any, is at another place than the position says. */
static int check_late_here(struct rpc_backend *backend, const struct position_log *wanted, struct err *err)
{
    struct log *log = NULL;
    struct index_late late;
    uint32_t number = 0;
    if (!find_held(backend, wanted, &log, &number) || index_applied_size(backend->index, number) < wanted->size)
        return 0;
    const struct index_place place = {.log = number, .index = wanted->size - 1};
    int code = index_late_at(backend->index, place, &late, err);
    if (code == ERR_NOT_FOUND)
        return 0;
    return code == 0 && late.late ? refuse_late(wanted, err) : code;
}

static int check_late(struct rpc_backend *backend, const struct position *position, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < position->count; i++)
        code = check_late_here(backend, &position->logs[i], err);
    return code;
}

static bool is_here(struct rpc_backend *backend, const struct position_log *wanted)
{
    struct log *log = NULL;
    uint32_t number = 0;
    return find_held(backend, wanted, &log, &number) && index_applied_size(backend->index, number) >= wanted->size;
}

/* Entries that are not here, and if they are of this partition never can count. */
static int check_tails(struct call *call, const struct position *position, struct bytes context, struct bytes partition,
                       struct err *err)
{
    struct rpc_backend *backend = call->backend;
    for (size_t i = 0; partition.size_bytes > 0 && i < position->count; i++) {
        const struct position_log *wanted = &position->logs[i];
        struct origin origin = {.incarnation = wanted->incarnation};
        if (is_here(backend, wanted))
            continue;
        copy_string(origin.region, sizeof(origin.region), wanted->region);
        int code = backend->ops->check_tail(backend, context, partition, &origin, wanted->size - 1, err);
        if (code != 0)
            return code == ERR_EXISTS ? refuse_late(wanted, err) : code;
    }
    return 0;
}

static bool all_here(struct rpc_backend *backend, const struct position *position)
{
    for (size_t i = 0; i < position->count; i++) {
        if (!is_here(backend, &position->logs[i]))
            return false;
    }
    return true;
}

static int wait_position(struct call *call, const struct position *position, uint64_t timeout_ms, struct bytes context,
                         struct bytes partition, struct err *err)
{
    struct rpc_backend *backend = call->backend;
    uint64_t deadline_us = clock_now().mono_us + (timeout_ms == 0 ? WAIT_DEFAULT_MS : timeout_ms) * 1000;
    uint64_t seen = backend->ops->wait_change(backend, 0, 0);
    while (true) {
        int code = check_late(backend, position, err);
        if (code == 0)
            code = check_tails(call, position, context, partition, err);
        if (code != 0 || all_here(backend, position))
            return code;
        uint64_t now_us = clock_now().mono_us;
        if (now_us >= deadline_us)
            return err_set(err, ERR_TIMEOUT,
                           "region %s does not hold all of that position yet; Status says how far it is",
                           backend->config->region);
        code = call_wait_change(call, &seen, (deadline_us - now_us) / 1000 + 1, err);
        if (code != 0)
            return code;
    }
}

static int meet_position(struct call *call, const Tally__V1__ReadDemand *demand, struct bytes context,
                         struct bytes partition, struct err *err)
{
    struct position position;
    if (demand->timeout_ms > WAIT_MAX_MS)
        return err_set(err, ERR_INVALID, "demand: timeout_ms is at most %d", WAIT_MAX_MS);
    if (demand->at_least[0] == '\0')
        return 0;
    int code = position_parse(bytes_of_string(demand->at_least), &position, err);
    if (code != 0)
        return err_wrap(err, code, "at_least");
    return wait_position(call, &position, demand->timeout_ms, context, partition, err);
}

/* --- Age and home --- */

static int check_freshness(struct call *call, const Tally__V1__ReadDemand *demand,
                           const struct region_freshness *freshness, struct err *err)
{
    if (demand->home_only && !freshness->at_home) {
        struct region_refusal refusal = {.code = ERR_WRONG_HOME};
        copy_string(refusal.home_region, sizeof(refusal.home_region), freshness->home);
        copy_string(refusal.home_address, sizeof(refusal.home_address), freshness->home_address);
        err_set(&refusal.err, ERR_WRONG_HOME, "the home is region %s, at %s; read there, or without home_only",
                freshness->home,
                freshness->home_address[0] == '\0' ? "an address unknown here" : freshness->home_address);
        return call_fail_refused(call, &refusal, NULL, err);
    }
    if (demand->max_staleness_ms == 0 || freshness->staleness_us / 1000 <= demand->max_staleness_ms)
        return 0;
    if (freshness->staleness_us == REGION_STALENESS_UNKNOWN)
        return err_set(err, ERR_UNAVAILABLE, "region %s has not heard of region %s, the home, since it started",
                       call->backend->config->region, freshness->home);
    return err_set(err, ERR_UNAVAILABLE,
                   "what region %s holds of region %s may be %llu ms old, and the read allows %llu",
                   call->backend->config->region, freshness->home, (unsigned long long)(freshness->staleness_us / 1000),
                   (unsigned long long)demand->max_staleness_ms);
}

/* What is indexed here. */
static int position_here(struct rpc_backend *backend, struct buf *out, struct err *err)
{
    struct position position = {.count = 0};
    int code = 0;
    for (size_t i = 0; code == 0 && i < backend->ops->log_count(backend); i++) {
        struct log *log = backend->ops->log_at(backend, i);
        uint32_t number = 0;
        code = index_log(backend->index, log_origin(log), &number, err);
        if (code == 0)
            code = held_set_position(&position, log_origin(log), index_applied_size(backend->index, number), err);
    }
    if (code == 0 && (position_format(&position, out) != 0 || buf_terminate(out) != 0))
        code = err_no_memory(err, "a position");
    return code;
}

static int say_as_of(struct call *call, const struct region_freshness *freshness, struct err *err)
{
    struct region_freshness said = *freshness;
    Tally__V1__ReadResponse response;
    struct buf position;
    buf_init(&position, POSITION_TEXT_MAX_BYTES);
    int code = position_here(call->backend, &position, err);
    if (code == 0) {
        tally__v1__read_response__init(&response);
        response.as_of = (char *)position.data;
        response.staleness_unknown = said.staleness_us == REGION_STALENESS_UNKNOWN;
        response.staleness_ms = response.staleness_unknown ? 0 : said.staleness_us / 1000;
        response.home = said.home;
        code = call_write_message(call, &response.base, err);
    }
    buf_free(&position);
    return code;
}

static int meet_freshness(struct call *call, const Tally__V1__ReadDemand *demand, struct bytes context,
                          struct bytes partition, const char *home, struct err *err)
{
    struct region_freshness freshness = {.staleness_us = 0};
    int code = call->backend->ops->freshness(call->backend, context, partition, home, &freshness, err);
    if (code == 0)
        code = check_freshness(call, demand, &freshness, err);
    return code == 0 ? say_as_of(call, &freshness, err) : code;
}

/* --- Streams and logs --- */

/* The partition of a stream, as one of its entries here says; empty when there is none. */
static int find_partition(struct rpc_backend *backend, struct bytes context, struct bytes stream,
                          char out[ENTRY_NAME_MAX_BYTES + 1], struct err *err)
{
    struct index_head head;
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    struct log *log = NULL;
    struct block *block = NULL;
    out[0] = '\0';
    int code = index_head(backend->index, context, stream, &head, err);
    if (code == ERR_NOT_FOUND)
        return 0;
    if (code == 0)
        code = index_origin(backend->index, head.place.log, origin, err);
    if (code == 0)
        code = held_find(backend, bytes_of_string(origin), &log, NULL, err);
    if (code == 0)
        code = log_read_block(log, head.place.index, &block, err);
    if (code != 0)
        return code;
    struct bytes elements = block_body(block);
    struct frame frame;
    struct entry entry;
    for (uint64_t at = block->first_index; code == 0 && at <= head.place.index; at++) {
        struct bytes encoded;
        code = frame_next_element(&elements, &encoded, err);
        if (code == 0 && at == head.place.index)
            code = frame_parse(encoded, &frame, err);
    }
    if (code == 0)
        code = entry_parse(frame.entry, &entry, err);
    if (code == 0) {
        memcpy(out, entry.partition.data, entry.partition.size_bytes);
        out[entry.partition.size_bytes] = '\0';
    }
    block_release(block);
    return code;
}

int demand_stream(struct call *call, const Tally__V1__ReadDemand *demand, struct bytes context, struct bytes stream,
                  struct err *err)
{
    char partition[ENTRY_NAME_MAX_BYTES + 1];
    int code = find_partition(call->backend, context, stream, partition, err);
    if (code == 0)
        code = meet_position(call, demand, context, bytes_of_string(partition), err);
    if (code == 0 && partition[0] == '\0')
        code = find_partition(call->backend, context, stream, partition, err);
    return code == 0 ? meet_freshness(call, demand, context, bytes_of_string(partition), NULL, err) : code;
}

int demand_log(struct call *call, const Tally__V1__ReadDemand *demand, struct log *log, struct err *err)
{
    struct origin origin;
    held_origin(log, &origin);
    int code = meet_position(call, demand, bytes_of(NULL, 0), bytes_of(NULL, 0), err);
    return code == 0 ? meet_freshness(call, demand, bytes_of(NULL, 0), bytes_of(NULL, 0), origin.region, err) : code;
}
