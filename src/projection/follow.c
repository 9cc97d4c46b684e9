/* Following the logs (follow.h). Whole blocks are applied, so a client's atomic batch is seen whole or not at all: both
 * lie in one transaction. */
#include "projection/follow.h"

static int apply_element(struct projection_db *db, const char *origin, struct bytes *elements, uint64_t from,
                         struct err *err)
{
    struct bytes encoded;
    struct frame frame;
    struct entry entry;
    int code = frame_next_element(elements, &encoded, err);
    if (code == 0)
        code = frame_parse(encoded, &frame, err);
    if (code == 0)
        code = entry_parse(frame.entry, &entry, err);
    if (code != 0 || entry.index < from)
        return code;
    struct projection_event event = {
        .origin = origin, .entry = &entry, .payload = frame.payload, .has_payload = frame.has_payload};
    return projection_db_apply(db, &event, err);
}

/* Applies whole blocks from `from` on, until about PROJECTION_TRANSACTION_EVENTS_MAX events are in the transaction. */
static int apply_blocks(struct projection_db *db, struct log *log, const char *origin, uint64_t from, struct err *err)
{
    uint64_t end = log_durable_size(log);
    uint64_t next = from;
    int code = 0;
    while (code == 0 && next < end && next - from < PROJECTION_TRANSACTION_EVENTS_MAX) {
        struct block *block = NULL;
        code = log_read_block(log, next, &block, err);
        if (code != 0)
            return code;
        struct bytes elements = block_body(block);
        for (uint32_t i = 0; code == 0 && i < block->entry_count; i++)
            code = apply_element(db, origin, &elements, from, err);
        next = block->first_index + block->entry_count;
        block_release(block);
    }
    return code;
}

int projection_follow(struct projection_db *db, struct log *log, bool *ret_moved, struct err *err)
{
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1] = "";
    struct bytes name = log_origin(log);
    uint64_t applied = 0;
    memcpy(origin, name.data, name.size_bytes);
    int code = projection_db_applied(db, origin, &applied, err);
    if (code != 0 || applied >= log_durable_size(log))
        return code;
    code = projection_db_begin(db, err);
    if (code != 0)
        return code;
    code = apply_blocks(db, log, origin, applied, err);
    if (code == 0)
        code = projection_db_commit(db, err);
    if (code != 0) {
        projection_db_rollback(db);
        return code;
    }
    *ret_moved = true;
    return 0;
}

int projection_position(struct projection_db *db, struct position *ret, struct err *err)
{
    struct position position = {.count = 0};
    size_t at = 0;
    const char *origin = NULL;
    uint64_t size = 0;
    while (projection_db_cursor_next(db, &at, &origin, &size)) {
        struct origin parts;
        int code = origin_parse(bytes_of_string(origin), &parts, err);
        if (code == 0)
            code = position_set(&position, parts.region, parts.incarnation, size);
        if (code != 0)
            return code;
    }
    *ret = position;
    return 0;
}

int projection_switch_when_caught_up(struct projection *projection, bool *ret_switched, struct err *err)
{
    struct position live;
    struct position next;
    int code = projection_position(projection_live(projection), &live, err);
    if (code == 0)
        code = projection_position(projection_next(projection), &next, err);
    if (code != 0 || !position_covers(&next, &live))
        return code;
    code = projection_rebuild_switch(projection, err);
    *ret_switched = code == 0;
    return code;
}
