/* Verifying one folder.
 *
 * Order. The notes are read first: what they cover is then fixed, while entries may still be appended behind it. Then
 * every block is read once, in order: framing and checksums by scan_log, entries and payloads by chain_check_block (the
 * same rules that recovery and mirrors use), and the Merkle root at the sizes that the notes name. Nothing that was
 * skipped counts as checked.
 *
 * Verdicts. What is there and wrong is a violation. What a checkpoint covers and is not there is incomplete, unless the
 * bytes are there but bad. Bytes after the last whole block that no checkpoint covers are an interrupted write, unless
 * they are a block without gaps: then somebody changed it. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "verify/locate.h"
#include "verify/verify.h"

enum { PROGRESS_STEP_BYTES = 32 * 1024 * 1024 };

struct verification {
    struct log_report *report;
    struct sha256 *sha;
    struct chain chain;
    struct merkle_range range; /* grows entry by entry, where the chain grows by blocks */
    bool entry_refused;        /* by the chain's rules, in a block whose checksum is right */
    uint64_t bytes;
    uint64_t bytes_shown;
    bool progress;
};

PRINTF_LIKE(3, 0)
static void record(struct log_report *report, enum verdict verdict, const char *format, va_list args)
{
    if (report->verdict == VERDICT_VIOLATION || (report->verdict != VERDICT_VERIFIED && verdict != VERDICT_VIOLATION))
        return;
    report->verdict = verdict;
    report->has_bad_index = false;
    vsnprintf(report->message, sizeof(report->message), format, args);
}

void report_finding(struct log_report *report, enum verdict verdict, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(report, verdict, format, args);
    va_end(args);
}

void report_finding_at(struct log_report *report, enum verdict verdict, uint64_t bad_index, const char *format, ...)
{
    char message[VERIFY_MESSAGE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (report->verdict == VERDICT_VIOLATION || (report->verdict != VERDICT_VERIFIED && verdict != VERDICT_VIOLATION))
        return;
    report_finding(report, verdict, "index %llu: %s", (unsigned long long)bad_index, message);
    report->has_bad_index = true;
    report->bad_index = bad_index;
}

void log_report_free(struct log_report *report)
{
    mem_free(report->leaves);
    for (size_t i = 0; i < NOTE_COUNT; i++)
        buf_free(&report->notes[i].message);
}

static void show_progress(struct verification *verification, uint64_t more_bytes)
{
    verification->bytes += more_bytes;
    if (!verification->progress || verification->bytes - verification->bytes_shown < PROGRESS_STEP_BYTES)
        return;
    verification->bytes_shown = verification->bytes;
    fprintf(stderr, "\r%llu MB, %llu entries", (unsigned long long)(verification->bytes >> 20),
            (unsigned long long)verification->chain.range.size);
    fflush(stderr);
}

static int remember_leaf(struct log_report *report, const struct hash *leaf, struct err *err)
{
    if (report->leaf_count == report->leaf_capacity) {
        size_t capacity = report->leaf_capacity == 0 ? 1024 : 2 * report->leaf_capacity;
        struct hash *grown = mem_resize(report->leaves, capacity * sizeof(*grown));
        if (grown == NULL)
            return err_no_memory(err, "leaf hashes");
        report->leaves = grown;
        report->leaf_capacity = capacity;
    }
    report->leaves[report->leaf_count++] = *leaf;
    return 0;
}

/* Compares roots wherever a note's size is reached. */
static void compare_roots(struct verification *verification)
{
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        struct note_report *note = &verification->report->notes[i];
        if (!note->present || note->checkpoint.size != verification->range.size)
            continue;
        struct hash root = merkle_range_root(&verification->range, verification->sha);
        note->root_compared = true;
        note->root_matches = hash_equal(&root, &note->checkpoint.root);
    }
}

static int each_entry(void *context, const struct chain_entry *entry, struct err *err)
{
    struct verification *verification = context;
    struct log_report *report = verification->report;
    merkle_range_append(&verification->range, verification->sha, &entry->leaf);
    compare_roots(verification);
    if (entry->frame.has_payload)
        report->payloads_held++;
    else
        report->payloads_withheld++;
    return verification->range.size % LEAF_STRIDE == 0 ? remember_leaf(report, &entry->leaf, err) : 0;
}

static int each_block(void *context, const struct scan_block *block, struct err *err)
{
    struct verification *verification = context;
    int code = chain_check_block(&verification->chain, verification->sha, block->body, block->header.entry_count,
                                 each_entry, verification, NULL, err);
    verification->entry_refused = code == ERR_CORRUPT;
    show_progress(verification, block->body.size_bytes);
    return code;
}

static struct located look_into(struct disk *disk, const struct verification *verification, const char *segment,
                                uint64_t offset)
{
    const struct log_report *report = verification->report;
    struct checkpoint known[NOTE_COUNT] = {0};
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        if (report->notes[i].present)
            known[i] = report->notes[i].checkpoint;
    }
    struct err err = {0};
    struct located located = {.index = verification->chain.range.size};
    if (locate_damage(disk, report->folder, segment, offset, &verification->chain, known, NOTE_COUNT, &located, &err) !=
        0)
        snprintf(located.reason, sizeof(located.reason), "%s", err.message);
    return located;
}

static void judge_scan(struct disk *disk, struct verification *verification, int code, const struct err *err)
{
    struct log_report *report = verification->report;
    const struct scan_result *scan = &report->scan;
    if (code == 0) {
        report->entries_verified = true;
    } else if (code != ERR_CORRUPT) {
        report_finding(report, VERDICT_INCOMPLETE, "%s", err->message);
    } else if (scan->bad_segment[0] == '\0') {
        report_finding(report, VERDICT_VIOLATION, "%s", err->message);
    } else if (scan->bad_offset == 0) {
        report_finding_at(report, VERDICT_VIOLATION, scan->bad_index, "%s", err->message);
    } else {
        struct located located = look_into(disk, verification, scan->bad_segment, scan->bad_offset);
        bool named = located.kind == LOCATED_ENTRY;
        report_finding_at(report, VERDICT_VIOLATION, located.index, "%s (segment %s, block at offset %llu%s%s)",
                          named ? located.reason : err->message, scan->bad_segment,
                          (unsigned long long)scan->bad_offset, named ? ": " : "",
                          !named                        ? ""
                          : verification->entry_refused ? "its checksum is right"
                                                        : err->message);
    }
}

static uint64_t covered_size(const struct log_report *report)
{
    uint64_t size = 0;
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        if (report->notes[i].present && report->notes[i].checkpoint.size > size)
            size = report->notes[i].checkpoint.size;
    }
    return size;
}

static void judge_end(struct disk *disk, struct verification *verification)
{
    struct log_report *report = verification->report;
    const struct scan_result *scan = &report->scan;
    uint64_t covered = covered_size(report);
    if (scan->torn_tail) {
        struct located located = look_into(disk, verification, scan->torn_segment, scan->torn_offset);
        bool was_there = covered > scan->size && located.kind != LOCATED_CUT_OFF;
        if (was_there || (located.kind != LOCATED_CUT_OFF && located.all_written))
            report_finding_at(report, VERDICT_VIOLATION, located.index,
                              "the last block is damaged: %s (segment %s, offset %llu)", located.reason,
                              scan->torn_segment, (unsigned long long)scan->torn_offset);
    }
    if (covered > scan->size)
        report_finding_at(report, VERDICT_INCOMPLETE, scan->size,
                          "missing: a checkpoint covers %llu entries, %llu are here", (unsigned long long)covered,
                          (unsigned long long)scan->size);
}

/* The first entry that no agreeing checkpoint vouches for is all that a wrong root can tell. */
static void judge_roots(struct log_report *report)
{
    uint64_t agreed = 0;
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        const struct note_report *note = &report->notes[i];
        if (note->present && note->root_matches && note->checkpoint.size > agreed)
            agreed = note->checkpoint.size;
    }
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        const struct note_report *note = &report->notes[i];
        if (!note->root_compared || note->root_matches)
            continue;
        uint64_t from = agreed < note->checkpoint.size ? agreed : 0;
        report_finding_at(
            report, VERDICT_VIOLATION, from,
            "the entries do not have the root of %s: something in entries %llu to %llu was changed; compare with "
            "another copy to find where",
            note->file_name, (unsigned long long)from, (unsigned long long)note->checkpoint.size - 1);
    }
}

static void scan(struct disk *disk, struct verification *verification)
{
    struct log_report *report = verification->report;
    struct err err = {0};
    chain_init(&verification->chain, verification->sha, bytes_of_string(report->origin));
    merkle_range_init(&verification->range);
    compare_roots(verification);
    int code = scan_log(disk, report->folder, &verification->chain, each_block, verification, &report->scan, &err);
    if (verification->bytes_shown > 0)
        fprintf(stderr, "\r\033[K");
    report->root = merkle_range_root(&verification->chain.range, verification->sha);
    judge_scan(disk, verification, code, &err);
    if (report->entries_verified) {
        judge_end(disk, verification);
        judge_roots(report);
    }
}

void verify_log(struct disk *disk, const char *folder, const struct key_set *keys, struct log_report *ret)
{
    struct verification verification = {.report = ret, .progress = isatty(STDERR_FILENO) == 1};
    struct err err = {0};
    ret->folder = folder;
    ret->keys_given = keys->given;
    note_load(disk, NOTE_CHECKPOINT, ret);
    note_load(disk, NOTE_PUBLISHED, ret);
    int code = scan_origin(disk, folder, ret->origin, &err);
    if (code == ERR_CORRUPT)
        report_finding_at(ret, VERDICT_VIOLATION, 0, "%s", err.message);
    else if (code == ERR_NOT_FOUND)
        report_finding(ret, VERDICT_INCOMPLETE, "%s (the logs of a data directory are in its folders logs/<name>)",
                       err.message);
    else if (code != 0)
        report_finding(ret, VERDICT_INCOMPLETE, "%s", err.message);
    if (code != 0)
        return;
    note_check(keys, NOTE_CHECKPOINT, ret);
    note_check(keys, NOTE_PUBLISHED, ret);
    if (keys->given && !ret->notes[NOTE_CHECKPOINT].present && !ret->notes[NOTE_PUBLISHED].present)
        report_finding(ret, VERDICT_INCOMPLETE, "there is no checkpoint in %s, so no signature vouches for its entries",
                       folder);
    verification.sha = sha256_new();
    if (verification.sha == NULL)
        report_finding(ret, VERDICT_INCOMPLETE, "memory ran out");
    else
        scan(disk, &verification);
    sha256_free(verification.sha);
}
