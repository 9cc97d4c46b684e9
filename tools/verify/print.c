/* Reports for people and for programs. Both say the same, one line a check, and neither claims a check that was not
 * made. */
#include "verify/print.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { HASH_TEXT_BYTES = BASE64_ENCODED_SIZE(HASH_SIZE) + 1, TIME_TEXT_BYTES = 32, LINE_BYTES = 1024 };

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
    case VERDICT_POLICY:
        return "policy not met";
    }
    return "?";
}

static const char *area_name(enum area area)
{
    static const char *const names[AREA_COUNT] = {"integrity", "signatures", "completeness", "history",
                                                  "freshness", "payloads",   "authority"};
    return names[area];
}

const char *hash_text(const struct hash *hash, char *out)
{
    base64_encode(bytes_of(hash->bytes, HASH_SIZE), out);
    return out;
}

static const char *time_text(uint64_t time_s, char *out)
{
    time_t seconds = (time_t)time_s;
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL || strftime(out, TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        snprintf(out, TIME_TEXT_BYTES, "%" PRIu64, time_s);
    return out;
}

/* --- What each area says when nothing was found; NULL: it was not checked, and *ret_why says so --- */

static void say(char *out, const char *format, ...) PRINTF_LIKE(2, 3);
static void say(char *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(out, LINE_BYTES, format, args);
    va_end(args);
}

static uint64_t newest_cosignature(const struct log_report *report)
{
    uint64_t newest_s = 0;
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        const struct note_report *note = &report->notes[i];
        if (note->judged && note->root_matches && note->verdict.newest_cosignature_s > newest_s)
            newest_s = note->verdict.newest_cosignature_s;
    }
    return newest_s;
}

static size_t cosigner_count(const struct note_report *note)
{
    size_t count = 0;
    for (size_t i = 0; i < POLICY_WITNESSES_MAX; i++)
        count += note->verdict.cosigned[i];
    return count;
}

static bool describe_signatures(const struct log_report *report, char *out)
{
    const struct note_report *note = report_covering_note(report);
    if (report->policy == NULL) {
        say(out, "no --policy and no --key were given");
        return false;
    }
    if (note == NULL) {
        say(out, "no checkpoint could be held against the entries");
        return false;
    }
    say(out,
        "checkpoint at size %" PRIu64 " signed by %s, cosigned by %zu known; %zu signatures by others prove nothing",
        note->checkpoint.size, report->origin, cosigner_count(note), note->verdict.other_signature_count);
    return true;
}

static bool describe_payloads(const struct log_report *report, char *out)
{
    const struct payload_counts *payloads = &report->payloads;
    if (!report->entries_verified || report->kind == COPY_TLOG) {
        say(out, report->kind == COPY_TLOG ? "a tlog holds entries only, no payloads" : "not all entries were read");
        return false;
    }
    say(out,
        "%" PRIu64 " held and right (%" PRIu64 " of them encrypted), %" PRIu64 " withheld or erased (%" PRIu64
        " of them encrypted)%s",
        payloads->held, payloads->held_encrypted, payloads->withheld, payloads->withheld_encrypted,
        payloads->withheld == 0 ? "" : ": NOT checked, their commitments are");
    return true;
}

static bool describe_completeness(const struct log_report *report, char *out)
{
    uint64_t covered = report_covered(report);
    if (!report->entries_verified || report_covering_note(report) == NULL) {
        say(out, report->entries_verified ? "no checkpoint says how many entries there must be"
                                          : "not all entries were read");
        return false;
    }
    say(out, "all %" PRIu64 " entries that the checkpoint covers are here, and %" PRIu64 " after it, uncommitted",
        covered, report->size > covered ? report->size - covered : 0);
    return true;
}

static bool describe_authority(const struct log_report *report, char *out)
{
    if (!report->entries_verified || !report->entries_are_ours) {
        say(out, report->entries_verified ? "the entries are not in Tallystick's format" : "not all entries were read");
        return false;
    }
    say(out, "epochs never fall in %" PRIu64 " partitions; %" PRIu64 " control entries, what they say is NOT checked",
        report->partition_count, report->control_count);
    return true;
}

static bool describe_integrity(const struct log_report *report, char *out)
{
    if (!report->entries_verified) {
        say(out, "not all entries were read");
        return false;
    }
    if (report->kind == COPY_TLOG)
        say(out, "%" PRIu64 " entries: bundles, tiles%s agree with the checkpoint's root",
            report->size - report->resumed_at, report->entries_are_ours ? " and the chain" : "");
    else
        say(out,
            "%" PRIu64 " entries in %" PRIu64 " blocks of %" PRIu64 " segments: checksums, chain and payloads agree",
            report->size - report->resumed_at, report->scan.block_count, report->scan.segment_count);
    return true;
}

static bool describe_freshness(const struct log_report *report, char *out)
{
    uint64_t newest_s = newest_cosignature(report);
    char text[TIME_TEXT_BYTES];
    if (newest_s == 0)
        say(out, "no cosignature by a known witness says when the log was seen");
    else
        say(out, "newest cosignature %s, %" PRIu64 " s ago%s", time_text(newest_s, text),
            report->now_s > newest_s ? report->now_s - newest_s : 0,
            report->max_age_given ? "" : "; no --max-age was given");
    return report->max_age_given && newest_s != 0;
}

static bool describe_history(const struct log_report *report, char *out)
{
    if (!report->state_given)
        say(out, "no --state was given: a log that was rolled back as a whole cannot be told");
    else if (report->state_size == 0)
        say(out, "this log was not seen before");
    else
        say(out, "the %" PRIu64 " entries seen before are the first ones%s", report->state_size,
            report->resumed_at > 0 ? ", and were not read again" : "");
    return report->state_given && report->state_size > 0;
}

/* False: it was not checked, and out says why. */
static bool describe(const struct log_report *report, enum area area, char *out)
{
    switch (area) {
    case AREA_INTEGRITY:
        return describe_integrity(report, out);
    case AREA_SIGNATURES:
        return describe_signatures(report, out);
    case AREA_COMPLETENESS:
        return describe_completeness(report, out);
    case AREA_HISTORY:
        return describe_history(report, out);
    case AREA_FRESHNESS:
        return describe_freshness(report, out);
    case AREA_PAYLOADS:
        return describe_payloads(report, out);
    case AREA_AUTHORITY:
        return describe_authority(report, out);
    case AREA_COUNT:
        break;
    }
    return false;
}

static const char *area_result(const struct log_report *report, enum area area, char *out)
{
    const struct finding *finding = &report->areas[area];
    if (finding->verdict == VERDICT_VERIFIED)
        return describe(report, area, out) ? "ok" : "not checked";
    say(out, "%s", finding->message);
    return verdict_name(finding->verdict);
}

/* --- For people --- */

static void print_note(const struct log_report *report, const struct note_report *note)
{
    char root[HASH_TEXT_BYTES], time[TIME_TEXT_BYTES];
    if (!note->present)
        return;
    printf("%-13s size %" PRIu64 ", root %s: %s%s\n", note->file_name[10] == '\0' ? "checkpoint" : "published",
           note->checkpoint.size, hash_text(&note->checkpoint.root, root),
           !note->root_compared  ? "NOT compared with entries"
           : !note->root_matches ? "NOT that of the entries"
           : report->tiles_only  ? "that of the tiles"
                                 : "that of the entries",
           !note->judged              ? ""
           : note->verdict.log_signed ? ", signed"
                                      : ", NOT signed by a known key");
    for (size_t i = 0; i < POLICY_WITNESSES_MAX; i++) {
        if (note->verdict.cosigned[i])
            printf("%-13s cosigned by %s at %s\n", "", report->policy->witnesses[i].name,
                   time_text(note->verdict.cosigned_at_s[i], time));
    }
}

static void print_evidence(const struct log_report *report)
{
    if (report->evidence_reason[0] == '\0')
        return;
    printf("evidence      %s; both notes follow\n", report->evidence_reason);
    for (size_t i = 0; i < EVIDENCE_MAX; i++)
        printf("---\n%.*s", (int)report->evidence[i].size_bytes, (const char *)report->evidence[i].data);
    printf("---\n");
}

void print_log(const struct log_report *report)
{
    char text[LINE_BYTES], root[HASH_TEXT_BYTES];
    printf("log           %s\n", report->origin[0] == '\0' ? "(unknown)" : report->origin);
    printf("copy          %s\n", report->path);
    if (report->size > 0)
        printf("size          %" PRIu64 ", root %s\n", report->size, hash_text(&report->root, root));
    for (size_t i = 0; i < NOTE_COUNT; i++)
        print_note(report, &report->notes[i]);
    if (report->scan.torn_tail)
        printf("tail          bytes of an unfinished block in %s from offset %" PRIu64
               ": not part of the log, NOT checked\n",
               report->scan.torn_segment, report->scan.torn_offset);
    for (enum area area = 0; area < AREA_COUNT; area++) {
        const char *result = area_result(report, area, text);
        printf("%-13s %s: %s\n", area_name(area), result, text);
    }
    if (report->place.has_hashes) {
        printf("expected      %s\n", hash_text(&report->place.expected, root));
        printf("found         %s\n", hash_text(&report->place.found, root));
    }
    print_evidence(report);
    if (report->verdict != VERDICT_VERIFIED)
        printf("%-13s %s\n",
               report->verdict == VERDICT_VIOLATION    ? "VIOLATION"
               : report->verdict == VERDICT_INCOMPLETE ? "INCOMPLETE"
                                                       : "POLICY",
               report->message);
    else if (!report->entries_verified)
        printf("CHECKED       the tiles lead to the root of %" PRIu64
               " entries; the entries were NOT read (tlog does that)\n",
               report->size);
    else if (report->resumed_at > 0 && report->size == report->resumed_at)
        printf("VERIFIED      there is nothing to read from entry %" PRIu64 " on; the entries before were NOT read%s\n",
               report->resumed_at, report->state_size > 0 ? ", but have the root that was verified earlier" : "");
    else if (report->resumed_at > 0)
        printf("VERIFIED      entries %" PRIu64 " to %" PRIu64 "; the ones before were NOT read%s\n",
               report->resumed_at, report->size - 1,
               report->state_size > 0 ? ", but have the root that was verified earlier"
                                      : ", and that these follow them was NOT checked");
    else if (report->policy != NULL)
        printf("VERIFIED      %" PRIu64 " entries, of which a verified signature covers the first %" PRIu64 "\n",
               report->size, report_covered(report));
    else
        printf("VERIFIED      %" PRIu64 " entries agree with each other and with the notes; signatures NOT checked\n",
               report->size);
}

/* --- For programs --- */

json_t *shown_json(const char *text)
{
    char ascii[DISK_PATH_MAX_BYTES + LINE_BYTES];
    json_t *shown = json_string(text);
    if (shown != NULL)
        return shown;
    size_t size = 0;
    for (; text[size] != '\0' && size + 1 < sizeof(ascii); size++)
        ascii[size] = (uint8_t)text[size] < 0x80 ? text[size] : '?';
    return json_stringn(ascii, size);
}

json_t *hash_json(const struct hash *hash)
{
    char text[HASH_TEXT_BYTES];
    return json_string(hash_text(hash, text));
}

static json_t *note_json(const struct log_report *report, const struct note_report *note)
{
    if (!note->present)
        return json_null();
    json_t *cosigners = json_array();
    for (size_t i = 0; i < POLICY_WITNESSES_MAX; i++) {
        if (note->verdict.cosigned[i])
            json_array_append_new(cosigners, json_pack("{s:s, s:I}", "name", report->policy->witnesses[i].name, "time",
                                                       (json_int_t)note->verdict.cosigned_at_s[i]));
    }
    return json_pack("{s:I, s:o, s:o, s:s, s:o, s:I}", "size", (json_int_t)note->checkpoint.size, "root",
                     hash_json(&note->checkpoint.root), "root_matches",
                     note->root_compared ? json_boolean(note->root_matches) : json_null(), "signature",
                     report->policy == NULL     ? "not checked"
                     : note->verdict.log_signed ? "verified"
                                                : "not verified",
                     "cosigners", cosigners, "other_signatures", (json_int_t)note->verdict.other_signature_count);
}

static json_t *place_json(const struct log_report *report)
{
    const struct place *place = &report->place;
    if (report->verdict == VERDICT_VERIFIED || (!place->has_index && !place->has_hashes))
        return json_null();
    json_t *object = json_object();
    if (place->has_index)
        json_object_set_new(object, "index", json_integer((json_int_t)place->index));
    if (place->file[0] != '\0') {
        json_object_set_new(object, "file", json_string(place->file));
        json_object_set_new(object, "offset", json_integer((json_int_t)place->offset));
    }
    if (place->has_hashes) {
        json_object_set_new(object, "expected", hash_json(&place->expected));
        json_object_set_new(object, "found", hash_json(&place->found));
    }
    return object;
}

static json_t *checks_json(const struct log_report *report)
{
    json_t *checks = json_object();
    for (enum area area = 0; area < AREA_COUNT; area++) {
        char text[LINE_BYTES];
        const char *result = area_result(report, area, text);
        json_object_set_new(checks, area_name(area),
                            json_pack("{s:s, s:o}", "result", result, "text", shown_json(text)));
    }
    return checks;
}

json_t *log_json(const struct log_report *report)
{
    const struct scan_result *scan = &report->scan;
    const struct payload_counts *payloads = &report->payloads;
    uint64_t covered = report_covered(report);
    json_t *object = json_pack(
        "{s:s, s:i, s:o, s:s, s:o, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o, s:o, s:o}", "verdict",
        verdict_name(report->verdict), "exit_code", (int)report->verdict, "message", shown_json(report->message), "log",
        report->origin, "copy", shown_json(report->path), "signatures_checked", report->policy != NULL,
        "entries_verified", (int)report->entries_verified, "size", (json_int_t)report->size, "verified_to",
        (json_int_t)covered, "uncommitted_tail", (json_int_t)(report->size > covered ? report->size - covered : 0),
        "resumed_at", (json_int_t)report->resumed_at, "bytes", (json_int_t)report->bytes, "torn_tail",
        (int)scan->torn_tail, "root", report->entries_verified ? hash_json(&report->root) : json_null(), "checks",
        checks_json(report), "checkpoint", note_json(report, &report->notes[NOTE_CHECKPOINT]), "published",
        note_json(report, &report->notes[NOTE_PUBLISHED]));
    json_object_set_new(object, "first_bad", place_json(report));
    json_object_set_new(object, "payloads",
                        json_pack("{s:I, s:I, s:I, s:I}", "held", (json_int_t)payloads->held, "held_encrypted",
                                  (json_int_t)payloads->held_encrypted, "withheld", (json_int_t)payloads->withheld,
                                  "withheld_encrypted", (json_int_t)payloads->withheld_encrypted));
    json_t *evidence = json_array();
    for (size_t i = 0; report->evidence_reason[0] != '\0' && i < EVIDENCE_MAX; i++)
        json_array_append_new(evidence,
                              json_stringn((const char *)report->evidence[i].data, report->evidence[i].size_bytes));
    json_object_set_new(object, "evidence", evidence);
    return object;
}

void print_json(json_t *object)
{
    if (object == NULL || json_dumpf(object, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) != 0)
        fprintf(stderr, "tally-verify: cannot write the report\n");
    printf("\n");
    json_decref(object);
}
