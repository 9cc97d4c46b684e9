/* The checked front of both indexes. */
#include "index/index.h"

#include "base/assert.h"

void index_close(struct index *index)
{
    if (index != NULL)
        index->ops->close(index);
}

int index_log(struct index *index, struct bytes origin, uint32_t *ret_log, struct err *err)
{
    PRE(origin.size_bytes > 0 && origin.size_bytes <= INDEX_ORIGIN_MAX_BYTES);
    return index->ops->log(index, origin, ret_log, err);
}

int index_origin(struct index *index, uint32_t log, char ret[INDEX_ORIGIN_MAX_BYTES + 1], struct err *err)
{
    return index->ops->origin(index, log, ret, err);
}

uint64_t index_applied_size(struct index *index, uint32_t log)
{
    return log < INDEX_LOGS_MAX ? index->ops->applied_size(index, log) : 0;
}

uint64_t index_sequence(struct index *index)
{
    return index->ops->sequence(index);
}

int index_apply(struct index *index, uint32_t log, const struct index_entry *entries, size_t count, struct err *err)
{
    PRE(log < INDEX_LOGS_MAX);
    if (count == 0)
        return 0;
    PRE(entries[0].entry->index == index_applied_size(index, log));
    return index->ops->apply(index, log, entries, count, err);
}

int index_flush(struct index *index, struct err *err)
{
    return index->ops->flush(index, err);
}

int index_head(struct index *index, struct bytes context, struct bytes stream, struct index_head *ret, struct err *err)
{
    return index->ops->head(index, context, stream, ret, err);
}

int index_event(struct index *index, const uint8_t id[ENTRY_ID_SIZE], struct index_event *ret, struct err *err)
{
    return index->ops->event(index, id, ret, err);
}

int index_scan(struct index *index, struct bytes context, struct bytes stream, uint64_t from_version, bool backwards,
               struct index_place *ret_places, size_t max, size_t *ret_count, struct err *err)
{
    PRE(max >= 1 && max <= INDEX_SCAN_MAX);
    return index->ops->scan(index, context, stream, from_version, backwards, ret_places, max, ret_count, err);
}
