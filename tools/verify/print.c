/* Reports for people and for programs. Both say the same, and neither claims a check that was not made. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "verify/verify.h"

enum { ROOT_TEXT_BYTES = BASE64_ENCODED_SIZE(HASH_SIZE) + 1, TIME_TEXT_BYTES = 32 };

const char *verdict_name(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_VERIFIED:
        return "verified";
    case VERDICT_VIOLATION:
        return "violation";
    case VERDICT_USAGE:
        return "usage";
    case VERDICT_INCOMPLETE:
        return "incomplete";
    }
    return "?";
}

static const char *root_text(const struct hash *root, char out[ROOT_TEXT_BYTES])
{
    base64_encode(bytes_of(root->bytes, HASH_SIZE), out);
    return out;
}

static const char *time_text(uint64_t time_s, char out[TIME_TEXT_BYTES])
{
    time_t seconds = (time_t)time_s;
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL || strftime(out, TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        snprintf(out, TIME_TEXT_BYTES, "%" PRIu64, time_s);
    return out;
}

/* How many entries a checkpoint covers whose root is theirs (and, with keys, whose signature was verified). */
static uint64_t covered_count(const struct log_report *report)
{
    uint64_t covered = 0;
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        const struct note_report *note = &report->notes[i];
        bool counts = note->present && note->root_matches && (!report->keys_given || note->signature_verified);
        if (counts && note->checkpoint.size > covered)
            covered = note->checkpoint.size;
    }
    return covered;
}

static void print_note(const struct log_report *report, size_t which)
{
    const struct note_report *note = &report->notes[which];
    const char *label = which == NOTE_CHECKPOINT ? "checkpoint" : "published";
    char text[TIME_TEXT_BYTES];
    if (!note->present) {
        printf("%-11s none\n", label);
        return;
    }
    printf("%-11s size %" PRIu64 ", root %s, ", label, note->checkpoint.size,
           !note->root_compared ? "NOT checked"
           : note->root_matches ? "matches the entries"
                                : "NOT the root of the entries");
    if (!report->keys_given)
        printf("signatures NOT checked (give --key)\n");
    else if (note->signature_verified)
        printf("signed by %s (key %08x)\n", report->origin, (unsigned)note->key_id);
    else
        printf("signature NOT verified\n");
    for (size_t i = 0; i < note->cosigner_count; i++)
        printf("%-11s cosigned by %s at %s\n", "", note->cosigners[i].name, time_text(note->cosigners[i].time_s, text));
    if (report->keys_given && note->other_signature_count > 0)
        printf("%-11s %zu more signatures by keys not given: NOT checked\n", "", note->other_signature_count);
}

void print_log(const struct log_report *report)
{
    char text[ROOT_TEXT_BYTES];
    const struct scan_result *scan = &report->scan;
    printf("log         %s\n", report->origin[0] == '\0' ? "(unknown)" : report->origin);
    printf("folder      %s\n", report->folder);
    printf("read        %" PRIu64 " segments, %" PRIu64 " blocks, %" PRIu64 " bytes\n", scan->segment_count,
           scan->block_count, scan->bytes);
    if (report->entries_verified) {
        printf("entries     %" PRIu64 ": blocks, checksums, chain and payloads are right\n", scan->size);
        printf("root        %s at size %" PRIu64 "\n", root_text(&report->root, text), scan->size);
        printf("payloads    %" PRIu64 " held and right, %" PRIu64 " withheld (NOT checked)\n", report->payloads_held,
               report->payloads_withheld);
    } else {
        printf("entries     %" PRIu64 " read before the verdict was clear\n", scan->size);
    }
    print_note(report, NOTE_CHECKPOINT);
    print_note(report, NOTE_PUBLISHED);
    if (report->entries_verified)
        printf("unsigned    %" PRIu64 " entries lie past the last checkpoint\n", scan->size - covered_count(report));
    if (scan->torn_tail)
        printf("tail        bytes of an unfinished block in %s from offset %" PRIu64
               ": not part of the log, NOT checked\n",
               scan->torn_segment, scan->torn_offset);
    if (report->verdict == VERDICT_VERIFIED && report->keys_given)
        printf("VERIFIED    %" PRIu64 " entries, of which a verified signature covers the first %" PRIu64 "\n",
               scan->size, covered_count(report));
    else if (report->verdict == VERDICT_VERIFIED)
        printf("VERIFIED    %" PRIu64 " entries agree with each other and with the notes; signatures NOT checked\n",
               scan->size);
    else
        printf("%-11s %s\n", report->verdict == VERDICT_VIOLATION ? "VIOLATION" : "INCOMPLETE", report->message);
}

static json_t *note_json(const struct log_report *report, size_t which)
{
    const struct note_report *note = &report->notes[which];
    char text[ROOT_TEXT_BYTES];
    if (!note->present)
        return json_null();
    json_t *cosigners = json_array();
    for (size_t i = 0; i < note->cosigner_count; i++)
        json_array_append_new(cosigners, json_pack("{s:s, s:I}", "name", note->cosigners[i].name, "time",
                                                   (json_int_t)note->cosigners[i].time_s));
    return json_pack("{s:I, s:s, s:o, s:s, s:o, s:I}", "size", (json_int_t)note->checkpoint.size, "root",
                     root_text(&note->checkpoint.root, text), "root_matches",
                     note->root_compared ? json_boolean(note->root_matches) : json_null(), "signature",
                     !report->keys_given        ? "not checked"
                     : note->signature_verified ? "verified"
                                                : "not verified",
                     "cosigners", cosigners, "other_signatures", (json_int_t)note->other_signature_count);
}

static json_t *log_json(const struct log_report *report)
{
    char text[ROOT_TEXT_BYTES];
    const struct scan_result *scan = &report->scan;
    json_t *object = json_pack(
        "{s:s, s:i, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o}", "verdict",
        verdict_name(report->verdict), "exit_code", (int)report->verdict, "log", report->origin, "folder",
        report->folder, "signatures_checked", (int)report->keys_given, "entries_verified",
        (int)report->entries_verified, "size", (json_int_t)scan->size, "segments", (json_int_t)scan->segment_count,
        "blocks", (json_int_t)scan->block_count, "bytes", (json_int_t)scan->bytes, "payloads_held",
        (json_int_t)report->payloads_held, "payloads_withheld", (json_int_t)report->payloads_withheld,
        "unsigned_entries", (json_int_t)(scan->size - covered_count(report)), "torn_tail", (int)scan->torn_tail,
        "checkpoint", note_json(report, NOTE_CHECKPOINT), "published", note_json(report, NOTE_PUBLISHED));
    json_object_set_new(object, "root",
                        report->entries_verified ? json_string(root_text(&report->root, text)) : json_null());
    json_object_set_new(object, "message", json_string(report->message));
    json_object_set_new(object, "bad_index",
                        report->has_bad_index ? json_integer((json_int_t)report->bad_index) : json_null());
    return object;
}

static void print_json(json_t *object)
{
    if (object == NULL || json_dumpf(object, stdout, JSON_INDENT(2)) != 0)
        fprintf(stderr, "tally-verify: cannot write the report\n");
    printf("\n");
    json_decref(object);
}

void print_log_json(const struct log_report *report)
{
    print_json(log_json(report));
}

void print_comparison(const struct log_report *a, const struct log_report *b, const struct comparison *comparison)
{
    print_log(a);
    printf("\n");
    print_log(b);
    printf("\n");
    if (!comparison->compared)
        printf("INCOMPLETE  ");
    else
        printf("%s", comparison->differs ? "DIFFERENT   " : "SAME        ");
    printf("%s\n", comparison->message);
}

void print_comparison_json(const struct log_report *a, const struct log_report *b, const struct comparison *comparison)
{
    json_t *object = json_pack("{s:s, s:i, s:b, s:I, s:s, s:o, s:o}", "verdict", verdict_name(comparison->verdict),
                               "exit_code", (int)comparison->verdict, "compared", (int)comparison->compared,
                               "common_size", (json_int_t)comparison->common_size, "message", comparison->message, "a",
                               log_json(a), "b", log_json(b));
    json_object_set_new(object, "first_difference",
                        comparison->differs ? json_integer((json_int_t)comparison->first_difference) : json_null());
    print_json(object);
}
