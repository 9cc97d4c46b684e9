/* Accepting a late event appends the same event again, as its stream's next, at the end of the home's log. So what the
 * projections would say then is what they say now, and the event applied to that: each projection's thread is asked for
 * the rows that would change. Only the version is put right beforehand. Position, origin, epoch and time of the new
 * entry are not known before it is there, so statements that speak of them are given those of the late one. */
#include "rpc/preview.h"

#include "base/mem.h"
#include "entry/frame.h"
#include "rpc/held.h"
#include "rpc/operation.h"

static int no_memory(struct err *err)
{
    return err_no_memory(err, "what projections say");
}

static int fill_rows(const struct projection_preview *preview, struct arena *arena, Tally__V1__ShownProjection *ret,
                     struct err *err)
{
    Tally__V1__ShownRow *rows = arena_alloc_zero(arena, PROJECTION_PREVIEW_ROWS_MAX, sizeof(*rows));
    ret->rows = arena_alloc_zero(arena, PROJECTION_PREVIEW_ROWS_MAX, sizeof(*ret->rows));
    if (rows == NULL || ret->rows == NULL)
        return no_memory(err);
    for (size_t i = 0; i < preview->count; i++) {
        tally__v1__shown_row__init(&rows[i]);
        rows[i].table = preview->rows[i].table;
        if (preview->rows[i].without != NULL)
            rows[i].without = preview->rows[i].without;
        if (preview->rows[i].with != NULL)
            rows[i].with = preview->rows[i].with;
        ret->rows[i] = &rows[i];
    }
    ret->n_rows = preview->count;
    ret->changed = preview->changed;
    return 0;
}

/* One projection; *ret stays NULL when it has no statements for the event. That it cannot say is an answer, too. */
static int ask(struct rpc_backend *backend, const char *name, const struct projection_event *event, struct arena *arena,
               Tally__V1__ShownProjection **ret, struct err *err)
{
    struct rpc_projection_preview *preview = arena_alloc_zero(arena, 1, sizeof(*preview));
    Tally__V1__ShownProjection *shown = arena_alloc_zero(arena, 1, sizeof(*shown));
    struct err why = {0};
    if (preview == NULL || shown == NULL)
        return no_memory(err);
    tally__v1__shown_projection__init(shown);
    int refused = backend->ops->projection_preview(backend, name, event, arena, preview, &why);
    if (refused == 0 && !preview->wanted)
        return 0;
    shown->name = operation_text(arena, name);
    shown->position = operation_position_text(arena, &preview->position);
    shown->error = operation_text(arena, refused == 0 ? "" : why.message);
    if (shown->name == NULL || shown->position == NULL || shown->error == NULL)
        return no_memory(err);
    *ret = shown;
    return refused == 0 ? fill_rows(&preview->rows, arena, shown, err) : 0;
}

static int ask_all(struct call *call, const struct projection_event *event, struct arena *arena,
                   Tally__V1__ShowLateResponse *response, struct err *err)
{
    struct rpc_backend *backend = call->backend;
    struct rpc_projection *found = arena_alloc_zero(arena, RPC_PROJECTIONS_MAX, sizeof(*found));
    size_t count = 0;
    response->projections = arena_alloc_zero(arena, RPC_PROJECTIONS_MAX, sizeof(*response->projections));
    if (found == NULL || response->projections == NULL)
        return no_memory(err);
    int code = backend->ops->projection_list(backend, found, &count, err);
    for (size_t i = 0; code == 0 && i < count; i++) {
        Tally__V1__ShownProjection *shown = NULL;
        code = ask(backend, found[i].name, event, arena, &shown, err);
        if (shown != NULL)
            response->projections[response->n_projections++] = shown;
        if (code == 0)
            code = call_check(call, err);
    }
    return code;
}

/* The version that the event would have. */
static int set_version(struct rpc_backend *backend, const struct index_late *item, struct entry *entry, struct err *err)
{
    struct index_head head;
    if (item->commutative)
        return 0;
    int code = index_head(backend->index, bytes_of_string(item->context), bytes_of_string(item->stream), &head, err);
    if (code != 0 && code != ERR_NOT_FOUND)
        return code;
    entry->stream_version = code == 0 ? head.version + 1 : 0;
    return 0;
}

int preview_fill(struct call *call, const struct index_late *item, struct arena *arena,
                 Tally__V1__ShowLateResponse *response, struct err *err)
{
    struct block *block = NULL;
    struct bytes encoded;
    struct frame frame;
    struct entry entry;
    if (!item->late || item->has_effective)
        return 0;
    int code = held_frame(call->backend, item->origin, item->place.index, &block, &encoded, err);
    if (code != 0)
        return code;
    code = frame_parse(encoded, &frame, err);
    if (code == 0)
        code = entry_parse(frame.entry, &entry, err);
    if (code == 0)
        code = set_version(call->backend, item, &entry, err);
    if (code == 0 && frame.has_payload) {
        const struct projection_event event = {
            .origin = item->origin, .entry = &entry, .payload = frame.payload, .has_payload = true};
        code = ask_all(call, &event, arena, response, err);
    }
    block_release(block);
    return code;
}
