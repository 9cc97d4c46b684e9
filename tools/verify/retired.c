/* Retired keys (retired.h). */
#include "verify/retired.h"

#include <inttypes.h>

#include "domain/control.h"
#include "domain/position.h"
#include "verify/verify.h"

static void add(struct retired *retired, uint64_t index, const struct hash *key)
{
    if (retired->count == RETIRED_MAX) {
        retired->overflowed = true;
        return;
    }
    retired->items[retired->count].index = index;
    retired->items[retired->count++].key = *key;
}

void retired_add(struct retired *retired, const struct chain_entry *entry)
{
    struct control_key change;
    if (control_kind_of(&entry->entry) == CONTROL_KEY_RETIRED && entry->frame.has_payload &&
        control_key_parse(CONTROL_KEY_RETIRED, entry->frame.payload, &change, NULL) == 0 &&
        bytes_equal(change.role, BYTES_LITERAL("log")))
        add(retired, entry->entry.index, &change.old_key);
}

void retired_take(struct retired *retired, const struct retired *from)
{
    for (size_t i = 0; i < from->count; i++)
        add(retired, from->items[i].index, &from->items[i].key);
    retired->overflowed = retired->overflowed || from->overflowed;
}

/* The name by which the log's region tells of a key: that of the first incarnation. ERR_INVALID: not of our logs. */
static int hash_of(const struct note_verifier *key, const char *origin, struct sha256 *sha, struct hash *ret)
{
    struct origin parts;
    struct note_verifier first = *key;
    char name[NOTE_NAME_MAX_BYTES + 1];
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    int code = origin_parse(bytes_of_string(origin), &parts, NULL);
    if (code != 0)
        return code;
    parts.incarnation = 1;
    origin_format(&parts, name);
    code = note_verifier_rename(&first, name, NULL);
    if (code != 0)
        return code;
    note_verifier_format(&first, vkey);
    *ret = sha256_of(sha, bytes_of_string(vkey));
    return 0;
}

static void judge_note(const struct retired *retired, const struct policy *policy, const struct note_report *note,
                       struct sha256 *sha, struct log_report *report)
{
    struct hash key;
    for (size_t i = 0; i < policy->log_count; i++) {
        if (!note->verdict.signed_by[i] || hash_of(&policy->logs[i], report->origin, sha, &key) != 0)
            continue;
        for (size_t k = 0; k < retired->count; k++) {
            struct place place = {.has_index = true, .index = retired->items[k].index};
            if (hash_equal(&retired->items[k].key, &key) && retired->items[k].index < note->checkpoint.size)
                report_finding(report, AREA_SIGNATURES, VERDICT_VIOLATION, &place,
                               "%s is signed with a key (id %08x) that the log retired at entry %" PRIu64
                               ": somebody kept it",
                               note->file_name, (unsigned)policy->logs[i].key_id, retired->items[k].index);
        }
    }
}

void retired_judge(const struct retired *retired, const struct demands *demands, struct log_report *report)
{
    struct sha256 *sha = demands->policy == NULL || retired->count == 0 ? NULL : sha256_new();
    if (retired->overflowed)
        report_finding(report, AREA_SIGNATURES, VERDICT_INCOMPLETE, NULL,
                       "more than %d keys were retired: the others were not followed", RETIRED_MAX);
    if (demands->policy == NULL || retired->count == 0)
        return;
    if (sha == NULL) {
        report_finding(report, AREA_SIGNATURES, VERDICT_INCOMPLETE, NULL, "memory ran out");
        return;
    }
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        if (report->notes[i].present && report->notes[i].judged)
            judge_note(retired, demands->policy, &report->notes[i], sha, report);
    }
    sha256_free(sha);
}
