/* Where two regions meet, and what they found (drift.h). */
#include "projection/drift.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/planted.h"

int drift_meet(const struct position *a, const struct position *b, struct position *ret)
{
    struct position meet = *a;
    for (size_t i = 0; i < b->count; i++) {
        const struct position_log *log = &b->logs[i];
        if (position_get(&meet, log->region, log->incarnation) >= log->size)
            continue;
        int code = position_set(&meet, log->region, log->incarnation, log->size);
        if (code != 0)
            return code;
    }
    *ret = meet;
    return 0;
}

static struct drift_verdict *find(struct drift_table *table, const char *subject, const char *region)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->verdicts[i].subject, subject) == 0 && strcmp(table->verdicts[i].region, region) == 0)
            return &table->verdicts[i];
    }
    if (table->count == DRIFT_VERDICTS_MAX)
        return NULL;
    struct drift_verdict *verdict = &table->verdicts[table->count++];
    memset(verdict, 0, sizeof(*verdict));
    copy_string(verdict->subject, sizeof(verdict->subject), subject);
    copy_string(verdict->region, sizeof(verdict->region), region);
    return verdict;
}

static void write_position(const struct position *position, char out[DRIFT_POSITION_MAX_BYTES + 1])
{
    struct buf text;
    buf_init(&text, 16 * 1024);
    if (position_format(position, &text) != 0 || buf_terminate(&text) != 0)
        out[0] = '\0';
    else
        snprintf(out, DRIFT_POSITION_MAX_BYTES + 1, "%s", (const char *)text.data);
    buf_free(&text);
}

enum drift_news drift_record(struct drift_table *table, const char *subject, const char *region,
                             const struct position *position, const struct hash *ours, const struct hash *theirs)
{
    bool differs = !hash_equal(ours, theirs) && !PLANTED(find_no_drift);
    struct drift_verdict *verdict = find(table, subject, region);
    if (verdict == NULL)
        return differs ? DRIFT_BEGAN : DRIFT_NOTHING_NEW;
    bool differed = verdict->differs;
    verdict->differs = differs;
    verdict->comparisons++;
    write_position(position, verdict->position);
    hex_encode(bytes_of(ours->bytes, HASH_SIZE), verdict->ours);
    hex_encode(bytes_of(theirs->bytes, HASH_SIZE), verdict->theirs);
    if (differs == differed)
        return DRIFT_NOTHING_NEW;
    return differs ? DRIFT_BEGAN : DRIFT_ENDED;
}

size_t drift_list(const struct drift_table *table, const char *subject, struct drift_verdict *ret, size_t max)
{
    size_t count = 0;
    for (int differs = 1; differs >= 0; differs--) {
        for (size_t i = 0; i < table->count && count < max; i++) {
            const struct drift_verdict *verdict = &table->verdicts[i];
            if (verdict->differs == differs && (subject == NULL || strcmp(verdict->subject, subject) == 0))
                ret[count++] = *verdict;
        }
    }
    return count;
}
