/* tally-verify checkpoint, proof, consistency: signed notes, and what they vouch for. */
#include <inttypes.h>

#include "base/mem.h"
#include "crypto/receipt.h"
#include "entry/frame.h"
#include "verify/commands.h"
#include "verify/copy.h"
#include "verify/print.h"

/* --- One note --- */

static int read_small_file(const struct arguments *arguments, const char *path, size_t max_bytes, struct buf *ret,
                           struct err *err)
{
    buf_init(ret, max_bytes);
    return disk_read_file(arguments->demands.disk, path, ret, err);
}

/* Takes a note as the checkpoint of a report about nothing else. */
static void judge_note(const struct arguments *arguments, const char *path, struct bytes message,
                       struct log_report *report)
{
    report_begin(report, COPY_TLOG, path, &arguments->demands);
    report->tiles_only = true;
    note_take(report, NOTE_CHECKPOINT, message);
    struct note_report *note = &report->notes[NOTE_CHECKPOINT];
    if (!note->present)
        return;
    report->size = note->checkpoint.size;
    report->root = note->checkpoint.root;
    snprintf(report->origin, sizeof(report->origin), "%s", note->checkpoint.origin);
    notes_judge(&arguments->demands, report);
    if (arguments->demands.policy == NULL)
        report_finding(report, AREA_SIGNATURES, VERDICT_INCOMPLETE, NULL,
                       "without --policy or --key nothing about a note can be checked");
    note->root_matches = true; /* there are no entries to hold it against: quorum and age are judged as they stand */
    notes_judge_policy(&arguments->demands, report);
}

static void print_note_report(const struct arguments *arguments, const struct log_report *report, const char *proven,
                              json_t *details)
{
    const struct note_report *note = &report->notes[NOTE_CHECKPOINT];
    char text[BASE64_ENCODED_SIZE(HASH_SIZE) + 1];
    if (arguments->json) {
        json_t *object = json_pack(
            "{s:s, s:i, s:o, s:s, s:I, s:o, s:b, s:b, s:I, s:I}", "verdict", verdict_name(report->verdict), "exit_code",
            (int)report->verdict, "message", shown_json(report->verdict == VERDICT_VERIFIED ? proven : report->message),
            "log", report->origin, "size", (json_int_t)note->checkpoint.size, "root", hash_json(&note->checkpoint.root),
            "signed", (int)note->verdict.log_signed, "quorum_met", (int)(note->judged && note->verdict.quorum_met),
            "newest_cosignature", (json_int_t)note->verdict.newest_cosignature_s, "other_signatures",
            (json_int_t)note->verdict.other_signature_count);
        json_object_update(object, details);
        json_decref(details);
        print_json(object);
        return;
    }
    json_decref(details);
    printf("log           %s\n", report->origin[0] == '\0' ? "(unknown)" : report->origin);
    if (note->present)
        printf("checkpoint    size %" PRIu64 ", root %s\n", note->checkpoint.size,
               hash_text(&note->checkpoint.root, text));
    if (note->judged)
        printf("signatures    %s by the log; quorum %s; %zu signatures by others prove nothing\n",
               note->verdict.log_signed ? "signed" : "NOT signed",
               !report->policy->has_quorum ? "not asked for"
               : note->verdict.quorum_met  ? "met"
                                           : "NOT met",
               note->verdict.other_signature_count);
    for (size_t i = 0; note->judged && i < report->policy->witness_count; i++) {
        if (note->verdict.cosigned[i])
            printf("cosigned      by %s, %" PRIu64 " s ago\n", report->policy->witnesses[i].name,
                   report->now_s > note->verdict.cosigned_at_s[i] ? report->now_s - note->verdict.cosigned_at_s[i] : 0);
    }
    if (report->verdict == VERDICT_VERIFIED)
        printf("VERIFIED      %s\n", proven);
    else
        printf("%-13s %s\n",
               report->verdict == VERDICT_VIOLATION    ? "VIOLATION"
               : report->verdict == VERDICT_INCOMPLETE ? "INCOMPLETE"
                                                       : "POLICY",
               report->message);
}

static int fail(const struct err *err)
{
    fprintf(stderr, "tally-verify: %s\n", err->message);
    return VERDICT_INCOMPLETE;
}

int cmd_checkpoint(const struct arguments *arguments)
{
    struct buf message;
    struct err err = {0};
    struct log_report *report = mem_alloc_zero(1, sizeof(*report));
    int code = report == NULL ? err_no_memory(&err, "the report") : 0;
    if (code == 0)
        code = read_small_file(arguments, arguments->operands[0], NOTE_MAX_BYTES, &message, &err);
    if (code != 0) {
        mem_free(report);
        return fail(&err);
    }
    judge_note(arguments, arguments->operands[0], buf_bytes(&message), report);
    print_note_report(arguments, report, "the checkpoint is signed as the policy asks; no entry was looked at",
                      json_object());
    int exit_code = (int)report->verdict;
    report_free(report);
    buf_free(&message);
    mem_free(report);
    return exit_code;
}

/* --- Receipts --- */

/* The entry that the receipt is about: its bytes, or an event's frame, whose payload is then held against it. */
static int read_subject(const struct arguments *arguments, struct sha256 *sha, const struct receipt *receipt,
                        struct buf *bytes, struct bytes *ret_entry, bool *ret_payload_checked, struct err *err)
{
    struct frame frame;
    struct entry entry;
    *ret_payload_checked = false;
    if (arguments->event_path == NULL && arguments->entry_path == NULL) {
        *ret_entry = buf_bytes(&receipt->extra);
        return receipt->has_extra ? 0
                                  : err_set(err, ERR_NOT_FOUND,
                                            "the receipt does not carry its entry: give it with --entry or --event");
    }
    const char *path = arguments->event_path != NULL ? arguments->event_path : arguments->entry_path;
    int code = disk_read_file(arguments->demands.disk, path, bytes, err);
    *ret_entry = buf_bytes(bytes);
    if (code != 0 || arguments->event_path == NULL)
        return code;
    code = frame_parse(buf_bytes(bytes), &frame, err);
    if (code == 0)
        code = entry_parse(frame.entry, &entry, err);
    if (code == 0)
        code = frame_check_payload(sha, &frame, &entry, err);
    if (code == 0) {
        *ret_entry = frame.entry;
        *ret_payload_checked = frame.has_payload;
    }
    return code == 0 ? 0 : err_wrap(err, code, "%s", path);
}

static void judge_inclusion(struct sha256 *sha, const struct receipt *receipt, struct bytes entry,
                            struct log_report *report)
{
    const struct checkpoint *checkpoint = &report->notes[NOTE_CHECKPOINT].checkpoint;
    struct err err = {0};
    struct hash leaf = merkle_leaf(sha, entry);
    const struct place place = {.has_index = true, .index = receipt->index};
    if (merkle_verify_inclusion(sha, receipt->index, checkpoint->size, &leaf, receipt->proof.hashes,
                                receipt->proof.count, &checkpoint->root, &err) != 0)
        report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, &place, "%s", err.message);
}

/* What the report says of the entry, for programs. */
static json_t *entry_json(const struct receipt *receipt, struct bytes bytes, bool payload_checked)
{
    struct entry entry;
    json_t *object =
        json_pack("{s:I, s:b}", "index", (json_int_t)receipt->index, "payload_checked", (int)payload_checked);
    if (bytes.size_bytes > 0 && entry_parse(bytes, &entry, NULL) == 0) {
        char id[UUID_TEXT_SIZE + 1];
        uuid_format(entry.event_id, id);
        json_object_set_new(object, "event", json_string(id));
        json_object_set_new(object, "type", json_stringn((const char *)entry.type.data, entry.type.size_bytes));
    }
    return object;
}

static enum verdict judge_proof(const struct arguments *arguments, struct sha256 *sha, struct bytes text,
                                struct log_report *report)
{
    struct receipt receipt = {0};
    struct buf subject;
    struct bytes entry = {0};
    struct err err = {0};
    bool payload_checked = false;
    int code = receipt_parse(text, &receipt, &err);
    if (code != 0) {
        receipt_free(&receipt);
        enum verdict verdict = code == ERR_NO_MEMORY ? VERDICT_INCOMPLETE : VERDICT_VIOLATION;
        printf("%-13s %s: %s\n", verdict == VERDICT_VIOLATION ? "VIOLATION" : "INCOMPLETE", arguments->operands[0],
               err.message);
        return verdict;
    }
    buf_init(&subject, FRAME_MAX_BYTES);
    judge_note(arguments, arguments->operands[0], receipt.note, report);
    code = read_subject(arguments, sha, &receipt, &subject, &entry, &payload_checked, &err);
    if (code == ERR_CORRUPT || code == ERR_UNSUPPORTED)
        report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, NULL, "%s", err.message);
    else if (code != 0)
        report_finding(report, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL, "%s", err.message);
    else if (report->notes[NOTE_CHECKPOINT].present)
        judge_inclusion(sha, &receipt, entry, report);
    if (arguments->demands.payloads_required && !payload_checked)
        report_finding(report, AREA_PAYLOADS, VERDICT_POLICY, NULL,
                       "the payload was asked for, and is not here: give the event with --event");
    char proven[512];
    snprintf(proven, sizeof(proven), "this is entry %" PRIu64 " of %s%s", receipt.index, report->origin,
             payload_checked ? ", with this payload" : "; its payload was NOT looked at");
    print_note_report(arguments, report, proven, entry_json(&receipt, entry, payload_checked));
    buf_free(&subject);
    receipt_free(&receipt);
    return report->verdict;
}

int cmd_proof(const struct arguments *arguments)
{
    struct buf text;
    struct err err = {0};
    if (arguments->demands.policy == NULL || (arguments->entry_path != NULL && arguments->event_path != NULL)) {
        fprintf(stderr, "tally-verify: %s\nTry: tally-verify --help\n",
                arguments->demands.policy == NULL
                    ? "a receipt proves nothing without the log's key: give --policy or --key"
                    : "give --entry or --event, not both");
        return VERDICT_USAGE;
    }
    struct log_report *report = mem_alloc_zero(1, sizeof(*report));
    struct sha256 *sha = sha256_new();
    int exit_code = VERDICT_INCOMPLETE;
    buf_init(&text, RECEIPT_MAX_BYTES);
    int code = report == NULL || sha == NULL
                   ? err_no_memory(&err, "the report")
                   : disk_read_file(arguments->demands.disk, arguments->operands[0], &text, &err);
    exit_code = code == 0 ? (int)judge_proof(arguments, sha, buf_bytes(&text), report) : fail(&err);
    if (report != NULL)
        report_free(report);
    buf_free(&text);
    sha256_free(sha);
    mem_free(report);
    return exit_code;
}

/* --- Two checkpoints over one copy --- */

static void hold_against(struct copy *copy, struct log_report *report)
{
    const struct checkpoint *checkpoint = &report->notes[NOTE_CHECKPOINT].checkpoint;
    struct hash root;
    struct err err = {0};
    if (strcmp(checkpoint->origin, copy->report.origin) != 0) {
        report_finding(report, AREA_SIGNATURES, VERDICT_VIOLATION, NULL, "the note is of log %s, the copy of log %s",
                       checkpoint->origin, copy->report.origin);
        return;
    }
    if (checkpoint->size > copy->size) {
        report_finding(report, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL,
                       "the note covers %" PRIu64 " entries, the copy has %" PRIu64, checkpoint->size, copy->size);
        return;
    }
    int code = copy_root_at(copy, checkpoint->size, &root, &err);
    const struct place place = {.has_hashes = true, .expected = checkpoint->root, .found = root};
    if (code != 0)
        report_finding(report, AREA_COMPLETENESS, code == ERR_CORRUPT ? VERDICT_VIOLATION : VERDICT_INCOMPLETE, NULL,
                       "%s", err.message);
    else if (!hash_equal(&root, &checkpoint->root))
        report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, &place,
                       "the copy does not have the root of the note at size %" PRIu64, checkpoint->size);
}

static void hold_notes_together(struct log_report *older, struct log_report *newer)
{
    struct note_report *a = &older->notes[NOTE_CHECKPOINT];
    struct note_report *b = &newer->notes[NOTE_CHECKPOINT];
    if (a->checkpoint.size == b->checkpoint.size && !hash_equal(&a->checkpoint.root, &b->checkpoint.root)) {
        report_finding(newer, AREA_SIGNATURES, VERDICT_VIOLATION, NULL,
                       "two roots for one size, %" PRIu64 ": keep both notes, they are evidence", a->checkpoint.size);
        report_evidence(newer, buf_bytes(&a->message), buf_bytes(&b->message), "two roots for size %" PRIu64 " of %s",
                        a->checkpoint.size, older->origin);
    } else if (a->checkpoint.size > b->checkpoint.size) {
        report_finding(newer, AREA_SIGNATURES, VERDICT_INCOMPLETE, NULL,
                       "the first note is the newer one: name the older one first");
    }
}

static int read_note_report(const struct arguments *arguments, size_t which, struct log_report *report, struct err *err)
{
    struct buf message;
    int code = read_small_file(arguments, arguments->operands[which], NOTE_MAX_BYTES, &message, err);
    if (code == 0)
        judge_note(arguments, arguments->operands[which], buf_bytes(&message), report);
    buf_free(&message);
    return code;
}

/* What was found in the copy. Signatures and ages are asked of the two notes that were named: a copy needs no note of
 * its own, and only a violation in one counts. *ret_message is that of the finding. */
static enum verdict verdict_of_copy(const struct log_report *copy, const char **ret_message)
{
    enum verdict verdict = VERDICT_VERIFIED;
    for (enum area area = 0; area < AREA_COUNT; area++) {
        const struct finding *finding = &copy->areas[area];
        bool of_its_notes = area == AREA_SIGNATURES || area == AREA_FRESHNESS;
        if ((of_its_notes && finding->verdict != VERDICT_VIOLATION) ||
            verdict_worse(verdict, finding->verdict) == verdict)
            continue;
        verdict = finding->verdict;
        *ret_message = finding->message;
    }
    return verdict;
}

static enum verdict judge_consistency(const struct arguments *arguments, struct copy *copy, struct log_report *older,
                                      struct log_report *newer)
{
    if (older->notes[NOTE_CHECKPOINT].present && newer->notes[NOTE_CHECKPOINT].present) {
        hold_notes_together(older, newer);
        if (copy->usable) {
            hold_against(copy, older);
            hold_against(copy, newer);
        } else {
            report_finding(newer, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL, "the copy could not be read through: %s",
                           copy->report.message);
        }
    }
    const char *message = "";
    enum verdict verdict = verdict_of_copy(&copy->report, &message);
    verdict = verdict_worse(verdict_worse(older->verdict, newer->verdict), verdict);
    const char *proven = "the older checkpoint's entries are the first of the newer one's";
    if (arguments->json) {
        json_t *evidence = json_array();
        for (size_t i = 0; newer->evidence_reason[0] != '\0' && i < EVIDENCE_MAX; i++)
            json_array_append_new(evidence,
                                  json_stringn((const char *)newer->evidence[i].data, newer->evidence[i].size_bytes));
        print_json(json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "verdict", verdict_name(verdict), "exit_code",
                             (int)verdict, "message",
                             shown_json(verdict == VERDICT_VERIFIED ? proven
                                        : older->verdict == verdict ? older->message
                                        : newer->verdict == verdict ? newer->message
                                                                    : message),
                             "older", log_json(older), "newer", log_json(newer), "copy", log_json(&copy->report),
                             "evidence", evidence));
        return verdict;
    }
    print_log(&copy->report);
    printf("\n");
    print_note_report(arguments, older, "signed as the policy asks, and the copy has its root", json_object());
    print_note_report(arguments, newer, "signed as the policy asks, and the copy has its root", json_object());
    for (size_t i = 0; newer->evidence_reason[0] != '\0' && i < EVIDENCE_MAX; i++)
        printf("--- evidence\n%.*s", (int)newer->evidence[i].size_bytes, (const char *)newer->evidence[i].data);
    if (verdict == VERDICT_VERIFIED)
        printf("CONSISTENT    %s\n", proven);
    return verdict;
}

int cmd_consistency(const struct arguments *arguments)
{
    struct err err = {0};
    struct log_report *reports = mem_alloc_zero(2, sizeof(*reports));
    struct copy *copy = mem_alloc_zero(1, sizeof(*copy));
    int exit_code = VERDICT_INCOMPLETE;
    int code = reports == NULL || copy == NULL ? err_no_memory(&err, "the report") : 0;
    for (size_t i = 0; code == 0 && i < 2; i++)
        code = read_note_report(arguments, i, &reports[i], &err);
    if (code == 0)
        code = copy_open(&arguments->demands, arguments->operands[2], copy, &err);
    if (code == 0)
        exit_code = (int)judge_consistency(arguments, copy, &reports[0], &reports[1]);
    else
        fail(&err);
    for (size_t i = 0; reports != NULL && i < 2; i++)
        report_free(&reports[i]);
    if (copy != NULL)
        copy_close(copy);
    mem_free(copy);
    mem_free(reports);
    return exit_code;
}
