/* Findings, and what they add up to. */
#include <stdarg.h>
#include <stdio.h>

#include "verify/verify.h"

static int rank(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_VERIFIED:
        return 0;
    case VERDICT_POLICY:
        return 1;
    case VERDICT_INCOMPLETE:
        return 2;
    case VERDICT_VIOLATION:
        return 3;
    case VERDICT_USAGE:
        return 4;
    }
    return 4;
}

enum verdict verdict_worse(enum verdict a, enum verdict b)
{
    return rank(a) >= rank(b) ? a : b;
}

void report_begin(struct log_report *report, enum copy_kind kind, const char *path, const struct demands *demands)
{
    memset(report, 0, sizeof(*report));
    report->kind = kind;
    report->path = path;
    report->policy = demands->policy;
    report->max_age_given = demands->has_max_age;
    report->payloads_required = demands->payloads_required;
    report->state_given = demands->state != NULL;
    report->now_s = demands->now_s;
    for (size_t i = 0; i < NOTE_COUNT; i++)
        buf_init(&report->notes[i].message, NOTE_MAX_BYTES);
    for (size_t i = 0; i < EVIDENCE_MAX; i++)
        buf_init(&report->evidence[i], NOTE_MAX_BYTES);
}

void report_free(struct log_report *report)
{
    for (size_t i = 0; i < NOTE_COUNT; i++)
        buf_free(&report->notes[i].message);
    for (size_t i = 0; i < EVIDENCE_MAX; i++)
        buf_free(&report->evidence[i]);
    sampler_free(&report->sampler);
}

void report_finding(struct log_report *report, enum area area, enum verdict verdict, const struct place *place,
                    const char *format, ...)
{
    char text[VERIFY_MESSAGE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct finding finding = {.verdict = verdict};
    if (place != NULL && place->has_index)
        snprintf(finding.message, sizeof(finding.message), "index %llu: %.*s", (unsigned long long)place->index,
                 VERIFY_MESSAGE_MAX_BYTES - 32, text);
    else
        snprintf(finding.message, sizeof(finding.message), "%s", text);
    if (rank(verdict) > rank(report->areas[area].verdict))
        report->areas[area] = finding;
    if (rank(verdict) <= rank(report->verdict))
        return;
    report->verdict = verdict;
    memcpy(report->message, finding.message, sizeof(report->message));
    report->place = place == NULL ? (struct place){0} : *place;
}

void report_evidence(struct log_report *report, struct bytes a, struct bytes b, const char *format, ...)
{
    if (report->evidence_reason[0] != '\0' || buf_append(&report->evidence[0], a) != 0 ||
        buf_append(&report->evidence[1], b) != 0)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(report->evidence_reason, sizeof(report->evidence_reason), format, args);
    va_end(args);
}

void report_epochs(struct log_report *report, const struct epochs *authority)
{
    report->control_count = authority->control_count;
    report->partition_count = authority->latest.live_count;
    if (authority->fault.found) {
        const struct place place = {.has_index = true, .index = authority->fault.index};
        report_finding(report, AREA_AUTHORITY, VERDICT_VIOLATION, &place,
                       "partition %s has epoch %llu after epoch %llu", authority->fault.partition,
                       (unsigned long long)authority->fault.epoch, (unsigned long long)authority->fault.epoch_before);
    }
    if (authority->overflowed)
        report_finding(report, AREA_AUTHORITY, VERDICT_INCOMPLETE, NULL,
                       "more than %d partitions: the epochs of the others were not followed", EPOCHS_PARTITIONS_MAX);
}

const struct note_report *report_covering_note(const struct log_report *report)
{
    const struct note_report *best = NULL;
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        const struct note_report *note = &report->notes[i];
        bool counts = note->present && note->root_matches && (report->policy == NULL || note->verdict.log_signed);
        if (counts && (best == NULL || note->checkpoint.size >= best->checkpoint.size))
            best = note;
    }
    return best;
}

uint64_t report_covered(const struct log_report *report)
{
    const struct note_report *note = report_covering_note(report);
    return note == NULL ? 0 : note->checkpoint.size;
}
