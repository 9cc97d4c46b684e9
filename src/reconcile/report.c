/* Gathering a report (report.h): one walk over the logs for what was accepted, one over the items for what became of
 * it. Times in a log only grow, so a range of time is a range of the log: its start is found by halving. */
#include "reconcile/report.h"

#include "base/mem.h"
#include "entry/frame.h"

struct gathering {
    struct index *index;
    const struct report_filter *filter;
    struct authority_table table;
    report_check_fn *check;
    void *check_context;
    struct report *report;
};

bool report_wants(const struct report_filter *filter, struct bytes context, uint64_t epoch, hlc time)
{
    bool epoch_fits = filter->epoch == 0 || epoch == filter->epoch || epoch + 1 == filter->epoch;
    return epoch_fits && time >= filter->from && (filter->to == 0 || time < filter->to) &&
           bytes_equal(context, filter->context);
}

/* --- Rows --- */

static int row_of(struct report *report, size_t log, uint64_t epoch, struct report_row **ret, struct err *err)
{
    size_t at = report->row_count;
    while (at > 0 && report->rows[at - 1].log == log && report->rows[at - 1].epoch >= epoch)
        at--;
    if (at < report->row_count && report->rows[at].epoch == epoch && report->rows[at].log == log) {
        *ret = &report->rows[at];
        return 0;
    }
    if (report->row_count == REPORT_ROWS_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d epochs; ask for one epoch or a range of time",
                       REPORT_ROWS_MAX);
    memmove(&report->rows[at + 1], &report->rows[at], (report->row_count - at) * sizeof(report->rows[0]));
    report->rows[at] = (struct report_row){.log = log, .epoch = epoch};
    report->row_count++;
    *ret = &report->rows[at];
    return 0;
}

static int count_entry(struct gathering *gathering, size_t log, const struct origin *origin, const struct entry *entry,
                       uint64_t published_size, struct err *err)
{
    struct report_row *row = NULL;
    uint64_t epoch = (entry->flags & ENTRY_FLAG_COMMUTATIVE) != 0 ? REPORT_NO_EPOCH : entry->epoch;
    if ((entry->flags & ENTRY_FLAG_CONTROL) != 0 ||
        !report_wants(gathering->filter, entry->context, entry->epoch, entry->time))
        return 0;
    int code = row_of(gathering->report, log, epoch, &row, err);
    if (code != 0)
        return code;
    bool late = authority_entry_is_late(&gathering->table, entry, origin->region, origin->incarnation);
    bool override = (entry->flags & ENTRY_FLAG_OVERRIDE) != 0;
    row->overrides += override;
    row->late += !override && late;
    row->effective += !override && !late;
    row->published += entry->index < published_size;
    if (row->first_time == 0)
        row->first_time = entry->time;
    row->last_time = entry->time;
    return 0;
}

static int next_entry(struct bytes *elements, struct entry *ret, struct err *err)
{
    struct frame frame;
    return frame_next_entry(elements, &frame, ret, err);
}

/* The time of the first entry of the block that holds `index`, and that entry's index. */
static int block_time(struct log *log, uint64_t index, uint64_t *ret_first, hlc *ret_time, struct err *err)
{
    struct block *block = NULL;
    struct entry entry;
    int code = log_read_block(log, index, &block, err);
    if (code != 0)
        return code;
    struct bytes elements = block_body(block);
    code = next_entry(&elements, &entry, err);
    if (code == 0) {
        *ret_first = block->first_index;
        *ret_time = entry.time;
    }
    block_release(block);
    return code;
}

/* Some index at or before the first entry that is not older than `from`. */
static int find_start(struct log *log, uint64_t end, hlc from, uint64_t *ret, struct err *err)
{
    uint64_t low = 0;
    while (from != 0 && end - low > 1) {
        uint64_t middle = low + (end - low) / 2;
        uint64_t first = 0;
        hlc time = 0;
        int code = block_time(log, middle, &first, &time, err);
        if (code != 0)
            return code;
        if (time >= from)
            end = first > low ? first : low;
        else
            low = middle;
        if (end == low)
            break;
    }
    *ret = low;
    return 0;
}

/* Past the last entry of the log that can be in the range: *ret_past. */
static int count_block(struct gathering *gathering, size_t log, const struct origin *origin, const struct block *block,
                       uint64_t end, uint64_t published_size, bool *ret_past, struct err *err)
{
    struct bytes elements = block_body(block);
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < block->entry_count && block->first_index + i < end; i++) {
        struct entry entry;
        code = next_entry(&elements, &entry, err);
        if (code == 0 && gathering->filter->to != 0 && entry.time >= gathering->filter->to) {
            *ret_past = true;
            return 0;
        }
        if (code == 0)
            code = count_entry(gathering, log, origin, &entry, published_size, err);
    }
    return code;
}

static int count_log(struct gathering *gathering, struct log *log, size_t number, uint64_t published_size,
                     struct err *err)
{
    struct origin origin;
    uint64_t next = 0;
    bool past = false;
    int code = origin_parse(log_origin(log), &origin, err);
    if (code != 0)
        return code;
    uint64_t end = position_get(&gathering->report->position, origin.region, origin.incarnation);
    code = find_start(log, end, gathering->filter->from, &next, err);
    while (code == 0 && next < end && !past) {
        struct block *block = NULL;
        code = gathering->check(gathering->check_context, err);
        if (code == 0)
            code = log_read_block(log, next, &block, err);
        if (code != 0)
            return code;
        next = block->first_index; /* the first block of a range may begin before it: no entry counts twice */
        code = count_block(gathering, number, &origin, block, end, published_size, &past, err);
        next += block->entry_count;
        block_release(block);
    }
    return code;
}

/* --- Items --- */

static void count_item(struct gathering *gathering, const struct index_late *item)
{
    struct report *report = gathering->report;
    if (!item->late || !report_wants(gathering->filter, bytes_of_string(item->context), item->epoch, item->time))
        return;
    report->states[item->state]++;
    if (item->state != INDEX_LATE_COMPENSATION_OWED)
        return;
    if (report->owed_count < REPORT_OWED_MAX)
        report->owed[report->owed_count++] = *item;
    else
        report->more_owed = true;
}

static int count_items(struct gathering *gathering, struct err *err)
{
    struct index_late_cursor cursor = {.started = false};
    size_t count = 1;
    struct index_late *items = mem_alloc_zero(INDEX_LATE_SCAN_MAX, sizeof(*items));
    int code = items == NULL ? err_no_memory(err, "a report") : 0;
    while (code == 0 && count > 0) {
        code = index_late_scan(gathering->index, &cursor, items, INDEX_LATE_SCAN_MAX, &count, err);
        for (size_t i = 0; code == 0 && i < count; i++)
            count_item(gathering, &items[i]);
        if (code == 0)
            code = gathering->check(gathering->check_context, err);
    }
    mem_free(items);
    return code;
}

/* --- All --- */

static int take_position(struct index *index, struct log *const *logs, size_t log_count, struct position *ret,
                         struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < log_count; i++) {
        struct origin origin;
        uint32_t number = 0;
        code = origin_parse(log_origin(logs[i]), &origin, err);
        if (code == 0)
            code = index_log(index, log_origin(logs[i]), &number, err);
        if (code == 0)
            code = position_set(ret, origin.region, origin.incarnation, index_applied_size(index, number));
    }
    return code;
}

int report_gather(struct index *index, const struct context_table *contexts, struct log *const *logs,
                  const uint64_t *published_sizes, size_t log_count, const struct report_filter *filter,
                  report_check_fn *check, void *check_context, struct report *ret, struct err *err)
{
    struct gathering gathering = {
        .index = index, .filter = filter, .check = check, .check_context = check_context, .report = ret};
    memset(ret, 0, sizeof(*ret));
    authority_table_init(&gathering.table, contexts);
    int code = take_position(index, logs, log_count, &ret->position, err);
    if (code == 0)
        code = index_authority(index, &gathering.table, err);
    for (size_t i = 0; code == 0 && i < log_count; i++)
        code = count_log(&gathering, logs[i], i, published_sizes[i], err);
    if (code == 0)
        code = count_items(&gathering, err);
    authority_table_free(&gathering.table);
    return code;
}
