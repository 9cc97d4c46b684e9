/* tally-verify receipt: one receipt (crypto/receipt.h), with public keys and nothing else. The entry is in the receipt;
 * that it is in the log follows from the hashes, that the log is that of the key from the signature. */
#include "verify/receipt.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "crypto/receipt.h"
#include "entry/entry.h"

static const char *const verdict_names[] = {
    [RECEIPT_VERIFIED] = "verified", [RECEIPT_VIOLATION] = "violation", [RECEIPT_INCOMPLETE] = "incomplete"};

struct receipt_report {
    enum receipt_verdict verdict;
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    struct checkpoint checkpoint;
    struct entry entry; /* borrows from the receipt */
    size_t cosigner_count;
    const struct note_verifier *cosigners[NOTE_SIGNATURES_MAX]; /* whose signatures verified */
};

static const struct note_verifier *find_log_key(const struct receipt_keys *keys, const struct note *note)
{
    struct checkpoint checkpoint;
    if (checkpoint_parse(note->text, &checkpoint, NULL) != 0)
        return NULL;
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->items[i].type == NOTE_KEY_ED25519 && strcmp(keys->items[i].name, checkpoint.origin) == 0)
            return &keys->items[i];
    }
    return NULL;
}

/* A cosignature by a known key that does not verify condemns the note. */
static int check_cosigners(const struct receipt_keys *keys, const struct note *note, struct receipt_report *report,
                           struct err *err)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->items[i].type != NOTE_KEY_COSIGNATURE)
            continue;
        int verified = note_verify(note, &keys->items[i], NULL, err);
        if (verified < 0)
            return verified;
        if (verified > 0 && report->cosigner_count < NOTE_SIGNATURES_MAX)
            report->cosigners[report->cosigner_count++] = &keys->items[i];
    }
    return 0;
}

static int check_entry(const struct receipt *receipt, struct sha256 *sha, struct receipt_report *report,
                       struct err *err)
{
    uint8_t log_id[ENTRY_LOG_ID_SIZE];
    int code = entry_parse(buf_bytes(&receipt->extra), &report->entry, err);
    if (code != 0)
        return code;
    entry_log_id(sha, bytes_of_string(report->checkpoint.origin), log_id);
    if (report->entry.index != receipt->index || memcmp(report->entry.log_id, log_id, sizeof(log_id)) != 0)
        return err_set(err, ERR_CORRUPT, "the entry says that it is entry %" PRIu64 " of %s log", report->entry.index,
                       memcmp(report->entry.log_id, log_id, sizeof(log_id)) == 0 ? "this" : "another");
    return 0;
}

static void conclude(struct receipt_report *report, enum receipt_verdict verdict, const char *message)
{
    report->verdict = verdict;
    snprintf(report->message, sizeof(report->message), "%s", message);
}

static void check(const struct receipt *receipt, const struct receipt_keys *keys, struct sha256 *sha,
                  struct receipt_report *report)
{
    struct note note;
    struct err err = {0};
    int code = note_parse(receipt->note, &note, &err);
    const struct note_verifier *log_key = code == 0 ? find_log_key(keys, &note) : NULL;
    if (code == 0 && log_key == NULL) {
        conclude(report, RECEIPT_INCOMPLETE, "the key file has no key of the log that the receipt names");
        return;
    }
    if (code == 0 && !receipt->has_extra) {
        conclude(report, RECEIPT_INCOMPLETE, "the receipt does not hold its entry");
        return;
    }
    if (code == 0)
        code = receipt_verify(sha, receipt, buf_bytes(&receipt->extra), log_key, &report->checkpoint, &err);
    if (code == 0)
        code = check_cosigners(keys, &note, report, &err);
    if (code == 0)
        code = check_entry(receipt, sha, report, &err);
    conclude(report, code == 0 ? RECEIPT_VERIFIED : RECEIPT_VIOLATION, code == 0 ? "" : err.message);
}

static void print_text(const char *label, struct bytes text)
{
    printf("%-11s %.*s\n", label, (int)text.size_bytes, (const char *)text.data);
}

static void print_report(const char *path, const struct receipt_report *report)
{
    if (report->verdict != RECEIPT_VERIFIED) {
        printf("%s  %s: %s\n", report->verdict == RECEIPT_VIOLATION ? "VIOLATION" : "INCOMPLETE", path,
               report->message);
        return;
    }
    char id[UUID_TEXT_SIZE + 1];
    uuid_format(report->entry.event_id, id);
    printf("log         %s\nentry       %" PRIu64 "\nevent       %s\n", report->checkpoint.origin, report->entry.index,
           id);
    print_text("context", report->entry.context);
    print_text("stream", report->entry.stream);
    printf("version     %" PRIu64 "\n", report->entry.stream_version);
    print_text("type", report->entry.type);
    printf("checkpoint  size %" PRIu64 ", signed by the log\n", report->checkpoint.size);
    for (size_t i = 0; i < report->cosigner_count; i++)
        printf("%-11s cosigned by %s\n", "", report->cosigners[i]->name);
    printf("VERIFIED    the event is in the log; its payload is not part of a receipt and was NOT checked\n");
}

static json_t *text_json(struct bytes text)
{
    return json_stringn((const char *)text.data, text.size_bytes);
}

static void print_report_json(const char *path, const struct receipt_report *report)
{
    json_t *out = json_pack("{s:s,s:s,s:s}", "receipt", path, "verdict", verdict_names[report->verdict], "message",
                            report->message);
    if (report->verdict == RECEIPT_VERIFIED) {
        char id[UUID_TEXT_SIZE + 1];
        json_t *cosigners = json_array();
        uuid_format(report->entry.event_id, id);
        for (size_t i = 0; i < report->cosigner_count; i++)
            (void)json_array_append_new(cosigners, json_string(report->cosigners[i]->name));
        json_t *more = json_pack("{s:s,s:I,s:s,s:o,s:o,s:I,s:o,s:I,s:o}", "origin", report->checkpoint.origin, "index",
                                 (json_int_t)report->entry.index, "event", id, "context",
                                 text_json(report->entry.context), "stream", text_json(report->entry.stream), "version",
                                 (json_int_t)report->entry.stream_version, "type", text_json(report->entry.type),
                                 "checkpoint_size", (json_int_t)report->checkpoint.size, "cosigners", cosigners);
        (void)json_object_update(out, more);
        json_decref(more);
    }
    (void)json_dumpf(out, stdout, 0);
    putchar('\n');
    json_decref(out);
}

enum receipt_verdict verify_receipt(struct disk *disk, const char *path, const struct receipt_keys *keys, bool json)
{
    struct receipt_report report = {.verdict = RECEIPT_INCOMPLETE};
    struct receipt receipt = {0};
    struct buf text;
    struct err err = {0};
    struct sha256 *sha = sha256_new();
    buf_init(&text, RECEIPT_MAX_BYTES);
    int code = sha == NULL ? err_no_memory(&err, "a receipt") : disk_read_file(disk, path, &text, &err);
    if (code != 0) {
        conclude(&report, code == ERR_TOO_LARGE ? RECEIPT_VIOLATION : RECEIPT_INCOMPLETE, err.message);
    } else {
        code = receipt_parse(buf_bytes(&text), &receipt, &err);
        if (code != 0)
            conclude(&report, code == ERR_NO_MEMORY ? RECEIPT_INCOMPLETE : RECEIPT_VIOLATION, err.message);
        else
            check(&receipt, keys, sha, &report);
    }
    if (json)
        print_report_json(path, &report);
    else
        print_report(path, &report);
    receipt_free(&receipt);
    buf_free(&text);
    sha256_free(sha);
    return report.verdict;
}
