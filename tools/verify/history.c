/* What the auditor saw before (state.h), held against what is seen now.
 *
 * A log that is shorter than it was, or that has another root at the size it had, was rolled back or rewritten. Its own
 * files cannot show that, however sound they are. When two signed notes contradict each other, both are kept.
 *
 * What was verified is remembered under every key of the policy that signed it. So the memory outlives a rotation: an
 * auditor who had both keys in the policy during the overlap may take the old one out. */
#include <inttypes.h>

#include "verify/verify.h"

const struct state_log *history_find(const struct demands *demands, const char *origin)
{
    const struct state_log *found = NULL;
    if (demands->state == NULL || demands->policy == NULL)
        return NULL;
    for (size_t i = 0; i < demands->policy->log_count; i++) {
        char vkey[NOTE_VKEY_MAX_BYTES + 1];
        note_verifier_format(&demands->policy->logs[i], vkey);
        const struct state_log *log = state_find(demands->state, origin, vkey);
        if (log != NULL && (found == NULL || log->range.size > found->range.size))
            found = log;
    }
    return found;
}

static void keep(const struct demands *demands, const struct state_log *seen, struct log_report *report,
                 const char *what)
{
    const struct note_report *now = NULL;
    struct err err = {0};
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        const struct note_report *note = &report->notes[i];
        if (note->present && note->judged && note->verdict.log_signed &&
            (now == NULL || note->checkpoint.size > now->checkpoint.size))
            now = note;
    }
    if (now == NULL)
        return;
    report_evidence(report, buf_bytes(&seen->note), buf_bytes(&now->message), "%s of %s", what, report->origin);
    if (state_keep_evidence(demands->state, report->evidence_reason, buf_bytes(&seen->note), buf_bytes(&now->message),
                            &err) != 0)
        report_finding(report, AREA_HISTORY, VERDICT_INCOMPLETE, NULL, "the evidence could not be kept: %s",
                       err.message);
}

void history_judge(const struct demands *demands, const struct cut *cut, struct log_report *report)
{
    const struct state_log *seen = history_find(demands, report->origin);
    if (seen == NULL)
        return;
    report->state_size = seen->range.size;
    struct place place = {.has_index = true, .index = report->size};
    if (report->size < seen->range.size) {
        report_finding(report, AREA_HISTORY, VERDICT_VIOLATION, &place,
                       "the log was rolled back: it had %" PRIu64
                       " signed entries when it was verified before, %" PRIu64 " are here",
                       seen->range.size, report->size);
        keep(demands, seen, report, "a rollback");
        return;
    }
    if (cut == NULL)
        return; /* the entries could not be read so far, which was reported */
    if (!hash_equal(&cut->root, &seen->root)) {
        place = (struct place){.has_hashes = true, .expected = seen->root, .found = cut->root};
        report_finding(report, AREA_HISTORY, VERDICT_VIOLATION, &place,
                       "the log was rewritten: at size %" PRIu64
                       " it has another root than when it was verified before",
                       seen->range.size);
        keep(demands, seen, report, "two histories");
        return;
    }
    if (report_covered(report) < seen->range.size)
        report_finding(report, AREA_FRESHNESS, VERDICT_POLICY, NULL,
                       "the checkpoint is stale: it covers %" PRIu64 " entries, one seen before covered %" PRIu64,
                       report_covered(report), seen->range.size);
}

void history_remember(const struct demands *demands, const struct merkle_range *range, struct log_report *report)
{
    const struct note_report *note = report_covering_note(report);
    struct err err = {0};
    if (demands->state == NULL || note == NULL || !note->judged || range->size == 0 ||
        range->size != note->checkpoint.size || range->size < report->state_size ||
        (report->verdict != VERDICT_VERIFIED && report->verdict != VERDICT_POLICY))
        return;
    for (size_t i = 0; i < demands->policy->log_count; i++) {
        char vkey[NOTE_VKEY_MAX_BYTES + 1];
        if (!note->verdict.signed_by[i])
            continue;
        note_verifier_format(&demands->policy->logs[i], vkey);
        if (state_put(demands->state, report->origin, vkey, range, &note->checkpoint.root, buf_bytes(&note->message),
                      &err) != 0)
            report_finding(report, AREA_HISTORY, VERDICT_INCOMPLETE, NULL, "%s", err.message);
    }
}
