/* Signed notes: the checkpoint, and the published one with its cosignatures. A line by a key that the policy does not
 * have proves nothing and is only counted; a line by a known key that does not verify condemns the whole note. */
#include <inttypes.h>

#include "verify/verify.h"

void note_take(struct log_report *report, size_t which, struct bytes message)
{
    struct note_report *found = &report->notes[which];
    struct note note;
    struct err err = {0};
    found->file_name = which == NOTE_CHECKPOINT ? "checkpoint" : "checkpoint.published";
    buf_clear(&found->message);
    int code = buf_append(&found->message, message);
    if (code != 0) {
        report_finding(report, AREA_SIGNATURES, VERDICT_INCOMPLETE, NULL, "no room for %s", found->file_name);
        return;
    }
    code = note_parse(buf_bytes(&found->message), &note, &err);
    if (code == 0)
        code = report->kind == COPY_FOLDER ? checkpoint_parse(note.text, &found->checkpoint, &err)
                                           : checkpoint_parse_foreign(note.text, &found->checkpoint, &err);
    if (code == 0)
        found->present = true;
    else
        report_finding(report, AREA_SIGNATURES, VERDICT_VIOLATION, NULL, "%s is not a signed checkpoint: %s",
                       found->file_name, err.message);
}

void note_load(struct disk *disk, size_t which, struct log_report *report)
{
    const char *name = which == NOTE_CHECKPOINT ? "checkpoint" : "checkpoint.published";
    char path[DISK_PATH_MAX_BYTES];
    struct err err = {0};
    struct buf message;
    buf_init(&message, NOTE_MAX_BYTES);
    int code = disk_join(path, report->path, name, &err);
    if (code == 0)
        code = disk_read_file(disk, path, &message, &err);
    if (code == 0)
        note_take(report, which, buf_bytes(&message));
    else if (code != ERR_NOT_FOUND)
        report_finding(report, AREA_SIGNATURES, code == ERR_TOO_LARGE ? VERDICT_VIOLATION : VERDICT_INCOMPLETE, NULL,
                       "%s", err.message);
    buf_free(&message);
}

static void judge_signatures(const struct policy *policy, struct note_report *found, struct log_report *report)
{
    struct note note;
    struct err err = {0};
    if (note_parse(buf_bytes(&found->message), &note, &err) != 0)
        return; /* note_take has said so */
    if (policy_check(policy, &note, report->origin, &found->verdict, &err) != 0) {
        report_finding(report, AREA_SIGNATURES, VERDICT_VIOLATION, NULL, "%s: %s", found->file_name, err.message);
        return;
    }
    found->judged = true;
    if (!found->verdict.log_known)
        report_finding(report, AREA_SIGNATURES, VERDICT_INCOMPLETE, NULL,
                       "no key named %s was given, so the signature of %s cannot be checked", report->origin,
                       found->file_name);
    else if (!found->verdict.log_signed)
        report_finding(report, AREA_SIGNATURES, VERDICT_VIOLATION, NULL, "%s is not signed by a key of %s",
                       found->file_name, report->origin);
}

static bool is_signed(const struct log_report *report, const struct note_report *note)
{
    return note->present && (report->policy == NULL || note->verdict.log_signed);
}

/* Two notes of one size with two roots: one log cannot have both, whatever its entries are. */
static void judge_contradiction(struct log_report *report)
{
    const struct note_report *a = &report->notes[NOTE_CHECKPOINT];
    const struct note_report *b = &report->notes[NOTE_PUBLISHED];
    if (!is_signed(report, a) || !is_signed(report, b) || a->checkpoint.size != b->checkpoint.size ||
        hash_equal(&a->checkpoint.root, &b->checkpoint.root))
        return;
    report_finding(report, AREA_SIGNATURES, VERDICT_VIOLATION, NULL,
                   "%s and %s have two roots for one size, %" PRIu64 ": keep both, they are evidence", a->file_name,
                   b->file_name, a->checkpoint.size);
    report_evidence(report, buf_bytes(&a->message), buf_bytes(&b->message), "two roots for size %" PRIu64 " of %s",
                    a->checkpoint.size, report->origin);
}

void notes_judge(const struct demands *demands, struct log_report *report)
{
    bool any = false;
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        struct note_report *found = &report->notes[i];
        if (!found->present)
            continue;
        any = true;
        if (strcmp(found->checkpoint.origin, report->origin) != 0)
            report_finding(report, AREA_SIGNATURES, VERDICT_VIOLATION, NULL,
                           "%s is of log %s, but the segments are of log %s", found->file_name,
                           found->checkpoint.origin, report->origin);
        else if (demands->policy != NULL)
            judge_signatures(demands->policy, found, report);
    }
    judge_contradiction(report);
    if (demands->policy != NULL && !any)
        report_finding(report, AREA_SIGNATURES, VERDICT_INCOMPLETE, NULL,
                       "there is no checkpoint in %s, so no signature vouches for its entries", report->path);
}

static void judge_age(const struct demands *demands, uint64_t newest_s, struct log_report *report)
{
    if (newest_s == 0)
        report_finding(report, AREA_FRESHNESS, VERDICT_POLICY, NULL,
                       "no cosignature by a known witness says when the log was seen");
    else if (newest_s > demands->now_s && newest_s - demands->now_s > demands->max_age_s)
        report_finding(report, AREA_FRESHNESS, VERDICT_POLICY, NULL,
                       "the newest cosignature lies %" PRIu64 " s in the future: a clock is wrong",
                       newest_s - demands->now_s);
    else if (newest_s < demands->now_s && demands->now_s - newest_s > demands->max_age_s)
        report_finding(report, AREA_FRESHNESS, VERDICT_POLICY, NULL,
                       "the newest cosignature is %" PRIu64 " s old, allowed are %" PRIu64, demands->now_s - newest_s,
                       demands->max_age_s);
}

void notes_judge_policy(const struct demands *demands, struct log_report *report)
{
    uint64_t newest_s = 0;
    bool quorum_met = false;
    if (demands->policy == NULL)
        return;
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        const struct note_report *note = &report->notes[i];
        if (!note->present || !note->root_matches || !note->judged || !note->verdict.log_signed)
            continue;
        quorum_met = quorum_met || note->verdict.quorum_met;
        if (note->verdict.newest_cosignature_s > newest_s)
            newest_s = note->verdict.newest_cosignature_s;
    }
    if (!quorum_met && demands->policy->has_quorum)
        report_finding(report, AREA_SIGNATURES, VERDICT_POLICY, NULL,
                       "no checkpoint carries the cosignatures that the policy's quorum asks for");
    if (demands->has_max_age)
        judge_age(demands, newest_s, report);
}
