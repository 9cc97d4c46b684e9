/* Subscribe: every entry of every log once, in order within its log, from a position on and then live.
 *
 * There is one loop for catching up and for the live part, so there is no seam between them to lose or repeat an entry
 * at: each log has the index of the next entry to deliver, a round gives every log one chunk, and only a round that
 * found nothing new waits for a change. The change counter is read before the round, so what becomes durable during the
 * round ends the wait at once. Logs that appear later join with their component of the position, or 0.
 *
 * The position in each message counts what has been looked at: entries that a filter left out are behind it too. */
#include "base/assert.h"
#include "base/mem.h"
#include "rpc/held.h"
#include "rpc/methods.h"
#include "rpc/send.h"

enum {
    POSITION_TEXT_MAX_BYTES = 16 * 1024,
    ROUND_BLOCKS_MAX =
        256, /* that a log gets in a round: a filter that lets nothing pass still looks up from its work */
};

struct source {
    struct log *log;
    struct log_cursor *cursor; /* NULL until there is something to read */
    uint64_t next_index;
    struct block_view view;
};

struct subscription {
    struct call *call;
    struct bytes context; /* empty: all */
    struct bytes stream;  /* empty: all of the context */
    struct position position;
    struct buf position_text;
    struct chunk chunk;
    bool caught_up;
    size_t source_count;
    struct source sources[REGION_LOGS_MAX];
};

static void free_subscription(struct subscription *subscription)
{
    for (size_t i = 0; i < subscription->source_count; i++) {
        block_view_free(&subscription->sources[i].view);
        if (subscription->sources[i].cursor != NULL)
            log_cursor_close(subscription->sources[i].cursor);
    }
    chunk_free(&subscription->chunk);
    buf_free(&subscription->position_text);
    mem_free(subscription);
}

static void add_sources(struct subscription *subscription)
{
    struct rpc_backend *backend = subscription->call->backend;
    size_t count = backend->ops->log_count(backend);
    for (size_t i = subscription->source_count; i < count && i < REGION_LOGS_MAX; i++) {
        struct origin origin;
        struct log *log = backend->ops->log_at(backend, i);
        held_origin(log, &origin);
        uint64_t next = position_get(&subscription->position, origin.region, origin.incarnation);
        subscription->sources[i] = (struct source){.log = log, .next_index = next};
        subscription->source_count = i + 1;
    }
}

static int send_position(struct subscription *subscription, struct bytes origin, bool caught_up, struct err *err)
{
    struct buf *text = &subscription->position_text;
    buf_clear(text);
    int code = position_format(&subscription->position, text);
    if (code != 0)
        return err_set(err, code, "the position cannot be written");
    return send_chunk(subscription->call, &subscription->chunk, origin, buf_bytes(text), caught_up, err);
}

/* Whether the filter lets the element pass; the entry's own bytes say what it is. */
static int matches(const struct subscription *subscription, struct bytes element, bool *ret, struct err *err)
{
    struct frame frame;
    struct entry entry;
    int code = frame_next_entry(&element, &frame, &entry, err);
    if (code != 0)
        return code;
    *ret = bytes_equal(entry.context, subscription->context) &&
           (subscription->stream.size_bytes == 0 || bytes_equal(entry.stream, subscription->stream));
    return 0;
}

/* Puts what passes of the block at hand into the chunk, until it is full. */
static int add_filtered(struct subscription *subscription, struct source *source, struct err *err)
{
    while (block_view_holds(&source->view, source->next_index) && !chunk_full(&subscription->chunk)) {
        struct bytes element = block_view_run(&source->view, source->next_index, 1);
        bool wanted = false;
        int code = matches(subscription, element, &wanted, err);
        if (code == 0 && wanted)
            code = chunk_add(&subscription->chunk, source->view.block, element, err);
        if (code != 0)
            return err_wrap(err, code, "entry %llu", (unsigned long long)source->next_index);
        source->next_index++;
    }
    return 0;
}

static int add_all(struct subscription *subscription, struct source *source, struct err *err)
{
    uint64_t count =
        block_view_fit(&source->view, source->next_index, UINT64_MAX, chunk_room_bytes(&subscription->chunk));
    struct bytes run = block_view_run(&source->view, source->next_index, count);
    int code = chunk_add(&subscription->chunk, source->view.block, run, err);
    if (code == 0)
        source->next_index += count;
    return code;
}

/* Brings the block of the source's next entry into view. ERR_END when it is not durable yet. */
static int load(struct source *source, struct err *err)
{
    if (source->next_index >= log_durable_size(source->log))
        return ERR_END;
    int code = 0;
    if (source->cursor == NULL)
        code = log_cursor_open(source->log, source->next_index, &source->cursor, err);
    struct block *block = NULL;
    if (code == 0)
        code = log_cursor_next(source->cursor, &block, err);
    return code != 0 ? code : block_view_set(&source->view, block, err);
}

/* One chunk of one log. *moved: there was something to read. */
static int deliver(struct subscription *subscription, struct source *source, bool *moved, struct err *err)
{
    uint64_t first = source->next_index;
    int code = 0;
    size_t blocks = 0;
    while (code == 0 && !chunk_full(&subscription->chunk) && blocks < ROUND_BLOCKS_MAX) {
        if (!block_view_holds(&source->view, source->next_index)) {
            code = load(source, err);
            blocks++;
            continue;
        }
        code = subscription->context.size_bytes == 0 ? add_all(subscription, source, err)
                                                     : add_filtered(subscription, source, err);
    }
    if (code != 0 && code != ERR_END)
        return code;
    if (source->next_index == first)
        return 0;
    *moved = true;
    code = held_set_position(&subscription->position, log_origin(source->log), source->next_index, err);
    if (code != 0 || chunk_empty(&subscription->chunk))
        return code;
    return send_position(subscription, log_origin(source->log), false, err);
}

static int run_subscription(struct subscription *subscription, struct err *err)
{
    struct call *call = subscription->call;
    struct rpc_backend *backend = call->backend;
    uint64_t seen = 0;
    for (;;) {
        seen = backend->ops->wait_change(backend, seen, 0);
        add_sources(subscription);
        bool moved = false;
        int code = 0;
        for (size_t i = 0; i < subscription->source_count && code == 0; i++)
            code = deliver(subscription, &subscription->sources[i], &moved, err);
        if (code == 0 && !moved && !subscription->caught_up) {
            subscription->caught_up = true;
            code = send_position(subscription, (struct bytes){0}, true, err);
        }
        uint64_t before = seen;
        while (code == 0 && !moved && seen == before)
            code = call_wait_change(call, &seen, CALL_POLL_MS, err);
        if (code == 0)
            code = call_check(call, err);
        if (code != 0)
            return code;
    }
}

static int check_filter(const Tally__V1__SubscribeRequest *request, struct err *err)
{
    int code = 0;
    if (request->context[0] == '\0' && request->stream[0] != '\0')
        return err_set(err, ERR_INVALID, "a stream is only known within its context: set context too");
    if (request->context[0] != '\0')
        code = entry_check_name(bytes_of_string(request->context), ENTRY_NAME_MAX_BYTES, "context", err);
    if (code == 0 && request->stream[0] != '\0')
        code = entry_check_name(bytes_of_string(request->stream), ENTRY_STREAM_MAX_BYTES, "stream", err);
    return code;
}

static int subscribe(struct call *call, const Tally__V1__SubscribeRequest *request, struct err *err)
{
    int code = check_filter(request, err);
    if (code != 0)
        return code;
    struct subscription *subscription = mem_alloc_zero(1, sizeof(*subscription));
    if (subscription == NULL)
        return err_no_memory(err, "a subscription");
    subscription->call = call;
    subscription->context = bytes_of_string(request->context);
    subscription->stream = bytes_of_string(request->stream);
    chunk_init(&subscription->chunk);
    buf_init(&subscription->position_text, POSITION_TEXT_MAX_BYTES);
    code = position_parse(bytes_of_string(request->position), &subscription->position, err);
    if (code == 0)
        code = run_subscription(subscription, err);
    free_subscription(subscription);
    return code;
}

int method_subscribe(struct call *call, struct err *err)
{
    struct arena arena;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    ProtobufCMessage *message = NULL;
    int code = call_read_request(call, &tally__v1__subscribe_request__descriptor, &arena, &message, err);
    if (code == 0)
        code = subscribe(call, (const Tally__V1__SubscribeRequest *)message, err);
    arena_free(&arena);
    return code;
}
