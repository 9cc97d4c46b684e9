/* ReadStream and ReadLog: bounded reads. Each covers what was durable when it began, so it always ends.
 *
 * Neither decodes an event. A log is read block by block, and runs of elements go into chunks as they stand (chunk.h).
 * A stream's events are looked up in the index; those that follow each other in one block are found in the block at
 * hand.
 *
 * The index runs a little behind the log. A stream's read waits until the own log's entries that were durable when it
 * began are indexed: whoever was answered an append reads it. Mirrors arrive late by nature and are not waited for. */
#include "base/assert.h"
#include "base/mem.h"
#include "rpc/chunk.h"
#include "rpc/demand.h"
#include "rpc/held.h"
#include "rpc/methods.h"
#include "rpc/send.h"

int send_chunk(struct call *call, struct chunk *chunk, struct bytes origin, struct bytes position, bool caught_up,
               struct err *err)
{
    grpc_slice slices[CHUNK_SLICES_MAX];
    size_t count = 0;
    int code = chunk_take(chunk, origin, position, caught_up, slices, &count, err);
    if (code == 0)
        code = call_write(call, slices, count, err);
    return code != 0 ? code : call_check(call, err);
}

/* --- ReadLog --- */

struct log_read {
    struct call *call;
    struct log *log;
    struct log_cursor *cursor;
    struct block_view view;
    struct chunk chunk;
};

static int log_read_send(struct log_read *read, struct err *err)
{
    return send_chunk(read->call, &read->chunk, log_origin(read->log), (struct bytes){0}, false, err);
}

static int log_read_load(struct log_read *read, bool backwards, struct err *err)
{
    struct block *block = NULL;
    int code = backwards ? log_cursor_prev(read->cursor, &block, err) : log_cursor_next(read->cursor, &block, err);
    return code != 0 ? code : block_view_set(&read->view, block, err);
}

static int log_read_forwards(struct log_read *read, uint64_t from, uint64_t count, struct err *err)
{
    uint64_t end = from + count;
    int code = 0;
    while (code == 0 && from < end) {
        if (!block_view_holds(&read->view, from)) {
            code = log_read_load(read, false, err);
            continue;
        }
        uint64_t fits = block_view_fit(&read->view, from, end - from, chunk_room_bytes(&read->chunk));
        code = chunk_add(&read->chunk, read->view.block, block_view_run(&read->view, from, fits), err);
        from += fits;
        if (code == 0 && chunk_full(&read->chunk))
            code = log_read_send(read, err);
    }
    return code;
}

/* from is the first entry to give, then those before it. */
static int log_read_backwards(struct log_read *read, uint64_t from, uint64_t count, struct err *err)
{
    int code = log_read_load(read, false, err);
    if (code != 0)
        return code;
    log_cursor_close(read->cursor);
    read->cursor = NULL;
    code = log_cursor_open(read->log, from, &read->cursor, err);
    for (uint64_t i = 0; code == 0 && i < count;) {
        if (!block_view_holds(&read->view, from - i)) {
            code = log_read_load(read, true, err);
            continue;
        }
        code = chunk_add(&read->chunk, read->view.block, block_view_run(&read->view, from - i, 1), err);
        i++;
        if (code == 0 && chunk_full(&read->chunk))
            code = log_read_send(read, err);
    }
    return code;
}

/* Where to begin and how many entries to give; *ret_count 0 when there is nothing to read. */
static int log_range(const Tally__V1__ReadLogRequest *request, uint64_t size, const char *origin, uint64_t *ret_from,
                     uint64_t *ret_count, struct err *err)
{
    if (request->from_end && !request->backwards)
        return err_set(err, ERR_INVALID, "from_end needs backwards: there is nothing after the end");
    uint64_t from = request->from_index;
    if (request->from_end)
        from = size == 0 ? 0 : size - 1;
    if (from > size || (request->backwards && from == size && size != 0))
        return err_set(err, ERR_INVALID, "log %s has %llu entries here; entry %llu is past its end", origin,
                       (unsigned long long)size, (unsigned long long)from);
    uint64_t count = request->backwards ? from + 1 : size - from;
    if (size == 0)
        count = 0;
    if (request->limit != 0 && request->limit < count)
        count = request->limit;
    *ret_from = from;
    *ret_count = count;
    return 0;
}

static int read_log(struct call *call, const Tally__V1__ReadLogRequest *request, struct err *err)
{
    struct log_read read = {.call = call};
    uint64_t from = 0;
    uint64_t count = 0;
    int code = held_find(call->backend, bytes_of_string(request->origin), &read.log, NULL, err);
    if (code != 0)
        return code;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1] = "";
    memcpy(origin, log_origin(read.log).data, log_origin(read.log).size_bytes);
    if (request->demand != NULL)
        code = demand_log(call, request->demand, read.log, err);
    if (code == 0)
        code = log_range(request, log_durable_size(read.log), origin, &from, &count, err);
    if (code != 0 || count == 0)
        return code;
    code = log_cursor_open(read.log, from, &read.cursor, err);
    if (code != 0)
        return code;
    chunk_init(&read.chunk);
    code =
        request->backwards ? log_read_backwards(&read, from, count, err) : log_read_forwards(&read, from, count, err);
    if (code == 0 && !chunk_empty(&read.chunk))
        code = log_read_send(&read, err);
    chunk_free(&read.chunk);
    block_view_free(&read.view);
    if (read.cursor != NULL)
        log_cursor_close(read.cursor);
    return code;
}

int method_read_log(struct call *call, struct err *err)
{
    struct arena arena;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    ProtobufCMessage *message = NULL;
    int code = call_read_request(call, &tally__v1__read_log_request__descriptor, &arena, &message, err);
    if (code == 0)
        code = read_log(call, (const Tally__V1__ReadLogRequest *)message, err);
    arena_free(&arena);
    return code;
}

/* --- ReadStream --- */

struct stream_read {
    struct call *call;
    struct log *logs[INDEX_LOGS_MAX]; /* by the index's numbers, as they turn up */
    struct log *log;                  /* that the chunk and the view are of */
    struct block_view view;
    struct chunk chunk;
    struct index_place places[INDEX_SCAN_MAX];
};

static int stream_read_send(struct stream_read *read, struct err *err)
{
    if (chunk_empty(&read->chunk))
        return 0;
    return send_chunk(read->call, &read->chunk, log_origin(read->log), (struct bytes){0}, false, err);
}

static int stream_read_find_log(struct stream_read *read, uint32_t number, struct log **ret, struct err *err)
{
    if (number >= INDEX_LOGS_MAX)
        return err_set(err, ERR_CORRUPT, "the index names log number %u", (unsigned)number);
    if (read->logs[number] == NULL) {
        char origin[INDEX_ORIGIN_MAX_BYTES + 1];
        int code = index_origin(read->call->backend->index, number, origin, err);
        if (code == 0)
            code = held_find(read->call->backend, bytes_of_string(origin), &read->logs[number], NULL, err);
        if (code != 0)
            return code;
    }
    *ret = read->logs[number];
    return 0;
}

static int stream_read_add(struct stream_read *read, const struct index_place *place, struct err *err)
{
    struct log *log = NULL;
    int code = stream_read_find_log(read, place->log, &log, err);
    if (code == 0 && (log != read->log || chunk_full(&read->chunk)))
        code = stream_read_send(read, err);
    if (code != 0)
        return code;
    if (log != read->log || !block_view_holds(&read->view, place->index)) {
        struct block *block = NULL;
        code = log_read_block(log, place->index, &block, err);
        if (code == 0)
            code = block_view_set(&read->view, block, err);
        if (code != 0)
            return code;
        read->log = log;
    }
    return chunk_add(&read->chunk, read->view.block, block_view_run(&read->view, place->index, 1), err);
}

static int stream_read_run(struct stream_read *read, const Tally__V1__ReadStreamRequest *request, uint64_t from,
                           uint64_t count, struct err *err)
{
    struct bytes context = bytes_of_string(request->context);
    struct bytes stream = bytes_of_string(request->stream);
    while (count > 0) {
        size_t found = 0;
        size_t max = count < INDEX_SCAN_MAX ? (size_t)count : INDEX_SCAN_MAX;
        int code = index_scan(read->call->backend->index, context, stream, from, request->backwards, read->places, max,
                              &found, err);
        if (code == 0 && found == 0)
            code = err_set(err, ERR_CORRUPT, "the index lacks version %llu of stream %s in %s; delete it to rebuild it",
                           (unsigned long long)from, request->stream, request->context);
        for (size_t i = 0; i < found && code == 0; i++)
            code = stream_read_add(read, &read->places[i], err);
        if (code != 0)
            return code;
        count -= found;
        from = request->backwards ? from - found : from + found;
    }
    return stream_read_send(read, err);
}

/* A commutative event stands when it is no item of reconciliation; an override is shown until somebody decides. */
static int stream_shows_loose(struct index *index, struct index_place place, bool *ret, struct err *err)
{
    struct index_late late;
    int code = index_late_at(index, place, &late, err);
    if (code != 0 && code != ERR_NOT_FOUND)
        return code;
    *ret = code == ERR_NOT_FOUND || (late.override && late.state == INDEX_LATE_OPEN);
    return 0;
}

/* Of the events without a version, those that readers see. */
static int stream_read_loose(struct stream_read *read, const Tally__V1__ReadStreamRequest *request, uint64_t most,
                             bool *ret_any, struct err *err)
{
    struct index *index = read->call->backend->index;
    struct index_loose_cursor cursor = {.started = false};
    bool shows = false;
    size_t found = INDEX_SCAN_MAX;
    int code = 0;
    while (code == 0 && most > 0 && found == INDEX_SCAN_MAX) {
        code = index_loose(index, bytes_of_string(request->context), bytes_of_string(request->stream), &cursor,
                           read->places, INDEX_SCAN_MAX, &found, err);
        for (size_t i = 0; code == 0 && i < found && most > 0; i++) {
            code = stream_shows_loose(index, read->places[i], &shows, err);
            if (code != 0 || !shows)
                continue;
            code = stream_read_add(read, &read->places[i], err);
            *ret_any = true;
            most--;
        }
    }
    return code == 0 ? stream_read_send(read, err) : code;
}

static int check_stream_names(const Tally__V1__ReadStreamRequest *request, struct err *err)
{
    int code = entry_check_name(bytes_of_string(request->context), ENTRY_NAME_MAX_BYTES, "context", err);
    return code != 0 ? code : entry_check_name(bytes_of_string(request->stream), ENTRY_STREAM_MAX_BYTES, "stream", err);
}

/* Where to begin and how many events to give, of versions 0 to last. */
static int stream_range(const Tally__V1__ReadStreamRequest *request, uint64_t last, uint64_t *ret_from,
                        uint64_t *ret_count, struct err *err)
{
    if (request->from_end && !request->backwards)
        return err_set(err, ERR_INVALID, "from_end needs backwards: there is nothing after the end");
    if (request->loose && request->backwards)
        return err_set(err, ERR_INVALID, "loose events come after the others: not backwards");
    uint64_t from = request->from_version;
    uint64_t count = 0;
    if (request->backwards) {
        if (request->from_end || from > last)
            from = last;
        count = from + 1;
    } else if (from <= last) {
        count = last - from + 1;
    }
    if (request->limit != 0 && request->limit < count)
        count = request->limit;
    *ret_from = from;
    *ret_count = count;
    return 0;
}

static int no_stream(const Tally__V1__ReadStreamRequest *request, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no stream %s in context %s", request->stream, request->context);
}

static int read_stream(struct call *call, const Tally__V1__ReadStreamRequest *request, struct err *err)
{
    struct index_head head;
    uint64_t from = 0;
    uint64_t count = 0;
    int code = check_stream_names(request, err);
    if (code == 0)
        code = held_wait_indexed(call, err);
    if (code == 0 && request->demand != NULL)
        code = demand_stream(call, request->demand, bytes_of_string(request->context), bytes_of_string(request->stream),
                             err);
    if (code == 0)
        code = index_head(call->backend->index, bytes_of_string(request->context), bytes_of_string(request->stream),
                          &head, err);
    bool exists = code == 0;
    if (code == ERR_NOT_FOUND && !request->loose)
        return no_stream(request, err);
    if (exists)
        code = stream_range(request, head.version, &from, &count, err);
    if (code != 0 && code != ERR_NOT_FOUND)
        return code;
    struct stream_read *read = mem_alloc_zero(1, sizeof(*read));
    if (read == NULL)
        return err_no_memory(err, "a stream's read");
    read->call = call;
    chunk_init(&read->chunk);
    code = stream_read_run(read, request, from, count, err);
    if (code == 0 && request->loose)
        code =
            stream_read_loose(read, request, request->limit == 0 ? UINT64_MAX : request->limit - count, &exists, err);
    if (code == 0 && !exists)
        code = no_stream(request, err);
    chunk_free(&read->chunk);
    block_view_free(&read->view);
    mem_free(read);
    return code;
}

int method_read_stream(struct call *call, struct err *err)
{
    struct arena arena;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    ProtobufCMessage *message = NULL;
    int code = call_read_request(call, &tally__v1__read_stream_request__descriptor, &arena, &message, err);
    if (code == 0)
        code = read_stream(call, (const Tally__V1__ReadStreamRequest *)message, err);
    arena_free(&arena);
    return code;
}
