/* What the index must answer about a random history (history.h), computed from the whole set of entries. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "domain/queued.h"
#include "unit/index/history.h"

/* One entry of the part that is looked at, in (origin, index) order. */
struct view {
    const struct history_entry *entry;
    size_t log;
    bool control;
    bool loose; /* no version */
    bool late;
};

struct model {
    const struct history *history;
    struct index *index;
    struct view *views;
    size_t count;
    uint32_t numbers[HISTORY_LOGS];
};

static bool precedes(const struct view *a, const struct view *b)
{
    if (a->entry->entry.time != b->entry->entry.time)
        return a->entry->entry.time < b->entry->entry.time;
    int order = strcmp(history_origins[a->log], history_origins[b->log]);
    return order != 0 ? order < 0 : a->entry->entry.index < b->entry->entry.index;
}

/* Whether the contexts let it be accepted anywhere. */
static bool may_be_anywhere(const struct authority_table *table, const struct entry *entry)
{
    const struct context *context = context_find(table->contexts, entry->context);
    return context != NULL && context->rules.topology == TOPOLOGY_MULTI_HOME && context->type_count == 1 &&
           context->types[0].commutative && bytes_equal(entry->type, BYTES_LITERAL("Counted"));
}

static bool is_late(const struct authority_table *table, size_t log, const struct entry *entry)
{
    struct origin origin = history_origin(log);
    if (entry->flags == ENTRY_FLAG_COMMUTATIVE)
        return !may_be_anywhere(table, entry);
    return entry->flags == ENTRY_FLAG_OVERRIDE ||
           authority_is_late(table, entry->context, entry->partition, entry->epoch, origin.region, origin.incarnation,
                             entry->index);
}

static void make_model(struct model *model, const struct history *history, struct index *index,
                       const size_t sizes[HISTORY_LOGS])
{
    static const size_t by_origin[HISTORY_LOGS] = {0, 3, 4, 1, 2};
    struct authority_table table;
    history_authority(history, sizes, &table);
    *model = (struct model){.history = history, .index = index};
    model->views = mem_alloc_zero((size_t)HISTORY_LOGS * HISTORY_ENTRIES_MAX, sizeof(*model->views));
    for (size_t n = 0; n < HISTORY_LOGS; n++) {
        size_t log = by_origin[n];
        cr_assert_eq(index_log(index, bytes_of_string(history_origins[log]), &model->numbers[log], NULL), 0);
        cr_assert_eq(index_applied_size(index, model->numbers[log]), sizes[log]);
        for (size_t i = 0; i < sizes[log]; i++) {
            const struct history_entry *entry = &history->entries[log][i];
            const struct entry *e = &entry->entry;
            model->views[model->count++] =
                (struct view){.entry = entry,
                              .log = log,
                              .control = e->flags == ENTRY_FLAG_CONTROL,
                              .loose = e->flags == ENTRY_FLAG_OVERRIDE || e->flags == ENTRY_FLAG_COMMUTATIVE,
                              .late = is_late(&table, log, e)};
        }
    }
    authority_table_free(&table);
}

static bool has_id(const struct view *view, const uint8_t id[ENTRY_ID_SIZE])
{
    return memcmp(view->entry->entry.event_id, id, ENTRY_ID_SIZE) == 0;
}

static bool counts(const struct view *view)
{
    return view->control || !view->late;
}

/* The entry at which an id must be found. */
static const struct view *place_of_id(const struct model *model, const uint8_t id[ENTRY_ID_SIZE])
{
    const struct view *best = NULL;
    for (size_t i = 0; i < model->count; i++) {
        const struct view *view = &model->views[i];
        if (has_id(view, id) &&
            (best == NULL || (counts(view) && !counts(best)) || (counts(view) == counts(best) && precedes(view, best))))
            best = view;
    }
    return best;
}

static void expect_place(const struct model *model, const struct view *view, struct index_place place)
{
    unsigned long long seed = model->history->seed;
    cr_assert_eq(place.log, model->numbers[view->log], "seed %llu", seed);
    cr_assert_eq(place.index, view->entry->entry.index, "seed %llu", seed);
}

static void check_id(const struct model *model, uint64_t number)
{
    uint8_t id[ENTRY_ID_SIZE];
    struct index_event event;
    history_id(number, id);
    const struct view *expected = place_of_id(model, id);
    int code = index_event(model->index, id, &event, NULL);
    cr_assert_eq(code, expected == NULL ? ERR_NOT_FOUND : 0, "seed %llu, id %llu",
                 (unsigned long long)model->history->seed, (unsigned long long)number);
    if (expected == NULL)
        return;
    expect_place(model, expected, event.place);
    cr_assert_eq(event.late, !counts(expected));
    cr_assert_eq(event.commutative, expected->entry->entry.flags == ENTRY_FLAG_COMMUTATIVE);
    cr_assert_eq(event.stream_version, expected->entry->entry.stream_version);
    cr_assert_eq(event.fingerprint, expected->entry->fingerprint);
}

static bool same_partition(const struct view *a, const struct view *b)
{
    return strcmp(a->entry->context, b->entry->context) == 0 && strcmp(a->entry->partition, b->entry->partition) == 0;
}

static const struct view *place_of_version(const struct model *model, const char *context, const char *stream,
                                           uint64_t version)
{
    const struct view *best = NULL;
    for (size_t i = 0; i < model->count; i++) {
        const struct view *view = &model->views[i];
        if (!view->control && !view->late && !view->loose && strcmp(view->entry->context, context) == 0 &&
            strcmp(view->entry->stream, stream) == 0 && view->entry->entry.stream_version == version &&
            (best == NULL || precedes(view, best)))
            best = view;
    }
    return best;
}

static void check_stream(const struct model *model, const char *context_name, const char *stream)
{
    struct bytes context = bytes_of_string(context_name);
    struct bytes name = bytes_of_string(stream);
    const struct view *expected[HISTORY_VERSIONS];
    size_t count = 0;
    for (uint64_t version = 0; version < HISTORY_VERSIONS; version++) {
        expected[count] = place_of_version(model, context_name, stream, version);
        count += expected[count] != NULL;
    }
    struct index_place places[HISTORY_VERSIONS + 1];
    size_t found = 0;
    cr_assert_eq(index_scan(model->index, context, name, 0, false, places, HISTORY_VERSIONS + 1, &found, NULL), 0);
    cr_assert_eq(found, count, "seed %llu, stream %s", (unsigned long long)model->history->seed, stream);
    for (size_t i = 0; i < count; i++)
        expect_place(model, expected[i], places[i]);
    cr_assert_eq(index_scan(model->index, context, name, UINT64_MAX, true, places, HISTORY_VERSIONS + 1, &found, NULL),
                 0);
    cr_assert_eq(found, count);
    for (size_t i = 0; i < count; i++)
        expect_place(model, expected[count - 1 - i], places[i]);
    struct index_head head;
    cr_assert_eq(index_head(model->index, context, name, &head, NULL), count == 0 ? ERR_NOT_FOUND : 0);
    if (count > 0) {
        cr_assert_eq(head.version, expected[count - 1]->entry->entry.stream_version);
        expect_place(model, expected[count - 1], head.place);
    }
}

/* The entries of a stream that have no version, each once, in (time, origin) order. */
static void check_loose(const struct model *model, const char *context, const char *stream)
{
    struct index_place places[3];
    struct index_loose_cursor cursor = {.started = false};
    size_t expected = 0;
    size_t total = 0;
    size_t found = 1;
    struct view last;
    for (size_t i = 0; i < model->count; i++)
        expected += model->views[i].loose && strcmp(model->views[i].entry->context, context) == 0 &&
                    strcmp(model->views[i].entry->stream, stream) == 0;
    while (found > 0) {
        cr_assert_eq(index_loose(model->index, bytes_of_string(context), bytes_of_string(stream), &cursor, places, 3,
                                 &found, NULL),
                     0);
        for (size_t i = 0; i < found; i++) {
            size_t log = 0;
            while (model->numbers[log] != places[i].log)
                log++;
            const struct entry *entry = &model->history->entries[log][places[i].index].entry;
            const struct view view = {.entry = &model->history->entries[log][places[i].index], .log = log};
            cr_assert((entry->flags & ENTRY_FLAGS_LOOSE) != 0);
            cr_assert(bytes_equal(entry->stream, bytes_of_string(stream)));
            cr_assert(total + i == 0 || precedes(&last, &view), "seed %llu", (unsigned long long)model->history->seed);
            last = view;
        }
        total += found;
    }
    cr_assert_eq(total, expected, "seed %llu, stream %s", (unsigned long long)model->history->seed, stream);
}

/* The decision that counts for a late entry. */
static const struct view *decision_on(const struct model *model, const struct view *late,
                                      enum settlement *ret_settlement)
{
    const struct view *best = NULL;
    struct origin origin = history_origin(late->log);
    for (size_t i = 0; i < model->count; i++) {
        const struct view *view = &model->views[i];
        struct control_settled settled;
        if (control_kind_of(&view->entry->entry) != CONTROL_LATE_SETTLED || view->late)
            continue;
        cr_assert_eq(control_settled_parse(buf_bytes(&view->entry->payload), &settled, NULL), 0);
        bool matches = strcmp(settled.region, origin.region) == 0 && settled.incarnation == origin.incarnation &&
                       settled.index == late->entry->entry.index && has_id(late, settled.event_id) &&
                       same_partition(view, late);
        bool first = best == NULL || view->entry->entry.epoch < best->entry->entry.epoch ||
                     (view->entry->entry.epoch == best->entry->entry.epoch && precedes(view, best));
        if (matches && first) {
            best = view;
            *ret_settlement = settled.settlement;
        }
    }
    return best;
}

static const struct view *compensation_of(const struct model *model, const struct view *late,
                                          const struct view *decision)
{
    const struct view *best = NULL; /* views are in (origin, index) order */
    for (size_t i = 0; i < model->count; i++) {
        const struct view *view = &model->views[i];
        const struct entry *entry = &view->entry->entry;
        bool follows = entry->epoch > decision->entry->entry.epoch ||
                       (view->log == decision->log && entry->index > decision->entry->entry.index);
        if (!view->control && !view->late && follows &&
            bytes_equal(entry->causation_id, bytes_of(late->entry->entry.event_id, ENTRY_ID_SIZE)) &&
            same_partition(view, late) && (best == NULL || entry->epoch < best->entry->entry.epoch))
            best = view;
    }
    return best;
}

static void check_decided(const struct model *model, const struct view *view, const struct index_late *item)
{
    enum settlement settlement = SETTLED_ACCEPTED;
    const struct view *decision = decision_on(model, view, &settlement);
    cr_assert_eq(item->decided, decision != NULL, "seed %llu", (unsigned long long)model->history->seed);
    if (decision == NULL) {
        cr_assert_eq(item->state, item->has_effective ? INDEX_LATE_DUPLICATE : INDEX_LATE_OPEN);
        return;
    }
    expect_place(model, decision, item->decision);
    const struct view *compensation = settlement == SETTLED_COMPENSATE ? compensation_of(model, view, decision) : NULL;
    static const enum index_late_state states[] = {[SETTLED_ACCEPTED] = INDEX_LATE_ACCEPTED,
                                                   [SETTLED_DROPPED] = INDEX_LATE_DROPPED,
                                                   [SETTLED_REJECTED] = INDEX_LATE_REJECTED,
                                                   [SETTLED_COMPENSATE] = INDEX_LATE_COMPENSATION_OWED};
    cr_assert_eq(item->state, compensation != NULL ? INDEX_LATE_COMPENSATED : states[settlement], "seed %llu",
                 (unsigned long long)model->history->seed);
    if (compensation != NULL)
        expect_place(model, compensation, item->compensation);
}

static void check_item(const struct model *model, const struct view *view, const struct index_late *item)
{
    const struct entry *entry = &view->entry->entry;
    const struct view *first = place_of_id(model, entry->event_id);
    bool late = !counts(view);
    expect_place(model, view, item->place);
    cr_assert_str_eq(item->origin, history_origins[view->log]);
    cr_assert_eq(memcmp(item->event_id, entry->event_id, ENTRY_ID_SIZE), 0);
    cr_assert_eq(item->late, late);
    cr_assert_eq(item->override, (entry->flags & ENTRY_FLAG_OVERRIDE) != 0);
    cr_assert_eq(item->commutative, (entry->flags & ENTRY_FLAG_COMMUTATIVE) != 0);
    cr_assert_str_eq(index_late_kind_name(item), item->override ? "override" : late ? "late" : "duplicate");
    cr_assert_eq(item->time, entry->time);
    cr_assert_eq(item->stream_version, entry->stream_version);
    cr_assert_eq(item->epoch, late ? entry->epoch : 0);
    cr_assert_str_eq(item->context, late ? view->entry->context : "");
    cr_assert_str_eq(item->partition, late ? view->entry->partition : "");
    cr_assert_str_eq(item->stream, late ? view->entry->stream : "");
    cr_assert_str_eq(item->type, late ? view->entry->type : "");
    cr_assert_eq(item->has_effective, counts(first));
    if (item->has_effective)
        expect_place(model, first, item->effective);
    if (late)
        check_decided(model, view, item);
    else
        cr_assert_eq(item->state, INDEX_LATE_DUPLICATE);
}

static void check_items(const struct model *model)
{
    struct index_late *items = mem_alloc(INDEX_LATE_SCAN_MAX * sizeof(*items));
    struct index_late_cursor cursor = {.started = false};
    size_t at = 0;
    size_t count = 0;
    size_t total = 0;
    for (size_t i = 0; i < model->count; i++) {
        const struct view *view = &model->views[i];
        if (counts(view) && place_of_id(model, view->entry->entry.event_id) == view)
            continue;
        if (at == count) {
            cr_assert_eq(index_late_scan(model->index, &cursor, items, 1 + total % 37, &count, NULL), 0);
            cr_assert_gt(count, 0, "seed %llu", (unsigned long long)model->history->seed);
            at = 0;
        }
        check_item(model, view, &items[at++]);
        total++;
    }
    cr_assert_eq(at, count, "seed %llu: an item too many", (unsigned long long)model->history->seed);
    cr_assert_eq(index_late_scan(model->index, &cursor, items, 1, &count, NULL), 0);
    cr_assert_eq(count, 0);
    cr_assert_eq(index_late_count(model->index), total);
    mem_free(items);
}

/* The verdict that counts for a queued command. */
static const struct view *verdict_on(const struct model *model, const struct view *queued, int *ret_code)
{
    const struct view *best = NULL;
    struct origin origin = history_origin(queued->log);
    for (size_t i = 0; i < model->count; i++) {
        const struct view *view = &model->views[i];
        struct control_decided decided;
        enum control_kind kind = control_kind_of(&view->entry->entry);
        if (!control_decides_command(kind) || view->late)
            continue;
        cr_assert_eq(control_decided_parse(kind, buf_bytes(&view->entry->payload), &decided, NULL), 0);
        bool matches = strcmp(decided.region, origin.region) == 0 && decided.incarnation == origin.incarnation &&
                       decided.index == queued->entry->entry.index && has_id(queued, decided.event_id) &&
                       strcmp(view->entry->partition, queued->entry->partition) == 0;
        bool first = best == NULL || view->entry->entry.epoch < best->entry->entry.epoch ||
                     (view->entry->entry.epoch == best->entry->entry.epoch && precedes(view, best));
        if (matches && first) {
            best = view;
            *ret_code = decided.code;
        }
    }
    return best;
}

static void check_queued(const struct model *model, const struct view *view, size_t events,
                         const struct index_queued *queued)
{
    int code = 0;
    const struct view *verdict = verdict_on(model, view, &code);
    expect_place(model, view, queued->place);
    cr_assert_str_eq(queued->origin, history_origins[view->log]);
    cr_assert_str_eq(queued->context, "shop");
    cr_assert_str_eq(queued->partition, view->entry->partition);
    cr_assert(has_id(view, queued->event_id));
    cr_assert_eq(queued->time, view->entry->entry.time);
    cr_assert_eq(queued->event_count, events);
    cr_assert_eq(queued->size_bytes, view->entry->payload.size_bytes);
    cr_assert_eq(queued->state,
                 verdict == NULL ? INDEX_QUEUED_OPEN
                 : code == 0     ? INDEX_QUEUED_ACCEPTED
                                 : INDEX_QUEUED_REFUSED,
                 "seed %llu", (unsigned long long)model->history->seed);
    cr_assert_eq(queued->code, code);
    if (verdict != NULL)
        expect_place(model, verdict, queued->decision);
}

static void expect_queue(const struct model *model, bool open_only)
{
    struct index_queued *found = mem_alloc(INDEX_QUEUE_SCAN_MAX * sizeof(*found));
    struct index_late_cursor cursor = {.started = false};
    uint64_t open[HISTORY_LOGS] = {0};
    size_t count = 0;
    size_t total = 0;
    for (size_t i = 0; i < model->count; i++) {
        const struct view *view = &model->views[i];
        size_t writes = 0;
        size_t events = 0;
        int code = 0;
        if (control_kind_of(&view->entry->entry) != CONTROL_COMMAND_QUEUED ||
            queued_check(buf_bytes(&view->entry->payload), &writes, &events, NULL) != 0)
            continue;
        bool is_open = verdict_on(model, view, &code) == NULL;
        open[view->log] += is_open;
        if (open_only && !is_open)
            continue;
        cr_assert_eq(index_queue_scan(model->index, &cursor, open_only, found, 1 + total % 3, &count, NULL), 0);
        cr_assert_gt(count, 0, "seed %llu", (unsigned long long)model->history->seed);
        check_queued(model, view, events, &found[0]);
        cursor.index = found[0].place.index; /* one after the other, whatever a scan may bring */
        copy_string(cursor.origin, sizeof(cursor.origin), found[0].origin);
        total++;
    }
    cr_assert_eq(index_queue_scan(model->index, &cursor, open_only, found, 1, &count, NULL), 0);
    cr_assert_eq(count, 0, "seed %llu: a command too many", (unsigned long long)model->history->seed);
    for (size_t log = 0; log < HISTORY_LOGS; log++)
        cr_assert_eq(index_queue_open(model->index, model->numbers[log]).count, open[log], "seed %llu",
                     (unsigned long long)model->history->seed);
    mem_free(found);
}

void history_check(const struct history *history, struct index *index, const size_t sizes[HISTORY_LOGS])
{
    struct model model;
    make_model(&model, history, index, sizes);
    for (uint64_t id = 0; id < HISTORY_IDS; id++)
        check_id(&model, id);
    for (uint64_t id = 0; id < history->control_ids; id++)
        check_id(&model, HISTORY_CONTROL_IDS_FROM + id);
    for (unsigned i = 0; i < HISTORY_STREAMS; i++) {
        char stream[HISTORY_NAME_BYTES];
        snprintf(stream, sizeof(stream), "s%u", i);
        check_stream(&model, "shop", stream);
        check_stream(&model, "cart", stream);
        check_loose(&model, "shop", stream);
        check_loose(&model, "cart", stream);
    }
    check_stream(&model, "shop", CONTROL_STREAM);
    check_items(&model);
    expect_queue(&model, false);
    expect_queue(&model, true);
    mem_free(model.views);
}
