/* Verifying one folder.
 *
 * Order. The notes are read first: what they cover is then fixed, while entries may still be appended behind it. Then
 * every block is read once (sweep.h), by the rules that recovery and mirrors use, and the tree is looked at wherever a
 * note or the auditor's memory names a size. Nothing that was skipped counts as checked.
 *
 * Verdicts. What is there and wrong is a violation. What a checkpoint covers and is not there is incomplete, unless the
 * bytes are there but bad. Bytes after the last whole block that no checkpoint covers are an interrupted write, unless
 * they are a block without gaps: then somebody changed it. */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "log/segment.h"
#include "verify/locate.h"
#include "verify/verify.h"

static struct located look_into(const struct sweep *sweep, const struct log_report *report, const char *segment,
                                uint64_t offset)
{
    struct checkpoint known[NOTE_COUNT] = {0};
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        if (report->notes[i].present)
            known[i] = report->notes[i].checkpoint;
    }
    struct err err = {0};
    struct located located = {.index = sweep->whole.chain.range.size};
    if (locate_damage(sweep->disk, sweep->folder, segment, offset, &sweep->whole.chain, known, NOTE_COUNT, &located,
                      &err) != 0)
        snprintf(located.reason, sizeof(located.reason), "%s", err.message);
    return located;
}

static struct place place_in(uint64_t index, const char *segment, uint64_t offset, const struct located *located)
{
    struct place place = {.has_index = true, .index = index, .offset = offset};
    snprintf(place.file, sizeof(place.file), "%s", segment);
    if (located != NULL && located->has_hashes) {
        place.has_hashes = true;
        place.expected = located->expected;
        place.found = located->found;
    }
    return place;
}

static void judge_scan(const struct sweep *sweep, int code, const struct err *err, struct log_report *report)
{
    const struct scan_result *scan = &sweep->scan;
    if (code == 0) {
        report->entries_verified = true;
    } else if (code != ERR_CORRUPT) {
        report_finding(report, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL, "%s", err->message);
    } else if (scan->bad_segment[0] == '\0') {
        report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, NULL, "%s", err->message);
    } else if (scan->bad_offset == 0) {
        struct place place = place_in(scan->bad_index, scan->bad_segment, 0, NULL);
        report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, &place, "%s", err->message);
    } else {
        struct located located = look_into(sweep, report, scan->bad_segment, scan->bad_offset);
        bool named = located.kind == LOCATED_ENTRY;
        struct place place = place_in(located.index, scan->bad_segment, scan->bad_offset, &located);
        report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, &place,
                       "%s (segment %s, block at offset %" PRIu64 "%s%s)", named ? located.reason : err->message,
                       scan->bad_segment, scan->bad_offset, named ? ": " : "",
                       !named                 ? ""
                       : sweep->entry_refused ? "its checksum is right"
                                              : err->message);
    }
}

static uint64_t largest_note(const struct log_report *report)
{
    uint64_t size = 0;
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        if (report->notes[i].present && report->notes[i].checkpoint.size > size)
            size = report->notes[i].checkpoint.size;
    }
    return size;
}

static void judge_end(const struct sweep *sweep, struct log_report *report)
{
    const struct scan_result *scan = &sweep->scan;
    uint64_t covered = largest_note(report);
    if (scan->torn_tail) {
        struct located located = look_into(sweep, report, scan->torn_segment, scan->torn_offset);
        bool was_there = covered > scan->size && located.kind != LOCATED_CUT_OFF;
        struct place place = place_in(located.index, scan->torn_segment, scan->torn_offset, &located);
        if (was_there || (located.kind != LOCATED_CUT_OFF && located.all_written))
            report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, &place,
                           "the last block is damaged: %s (segment %s, offset %" PRIu64 ")", located.reason,
                           scan->torn_segment, scan->torn_offset);
    }
    struct place place = {.has_index = true, .index = scan->size};
    if (covered > scan->size)
        report_finding(report, AREA_COMPLETENESS, VERDICT_INCOMPLETE, &place,
                       "missing: a checkpoint covers %" PRIu64 " entries, %" PRIu64 " are here", covered, scan->size);
}

static void compare_roots(const struct sweep *sweep, struct log_report *report)
{
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        struct note_report *note = &report->notes[i];
        const struct cut *cut = note->present ? whole_cut_at(&sweep->whole, note->checkpoint.size) : NULL;
        note->root_compared = cut != NULL;
        note->root_matches = cut != NULL && hash_equal(&cut->root, &note->checkpoint.root);
    }
}

/* The first entry that no agreeing checkpoint vouches for is all that a wrong root can tell. */
static void judge_roots(const struct sweep *sweep, struct log_report *report)
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
        struct place place = {.has_index = true,
                              .index = from,
                              .has_hashes = true,
                              .expected = note->checkpoint.root,
                              .found = whole_cut_at(&sweep->whole, note->checkpoint.size)->root};
        if (note->checkpoint.size == 0)
            report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, &place,
                           "%s has another root than that of no entries", note->file_name);
        else
            report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, &place,
                           "the entries do not have the root of %s: something in entries %" PRIu64 " to %" PRIu64
                           " was changed; compare with another copy to find where",
                           note->file_name, from, note->checkpoint.size - 1);
    }
}

static void judge_contents(const struct demands *demands, const struct sweep *sweep, struct log_report *report)
{
    report->payloads = sweep->whole.payloads;
    report_epochs(report, &sweep->whole.authority);
    if (demands->payloads_required && report->payloads.withheld > 0)
        report_finding(report, AREA_PAYLOADS, VERDICT_POLICY, NULL,
                       "%" PRIu64 " payloads are missing (withheld or erased), and all were asked for",
                       report->payloads.withheld);
}

static int on_node(void *context, unsigned height, uint64_t first_index, const struct hash *root, struct err *err)
{
    struct log_report *report = context;
    (void)first_index;
    (void)err;
    sampler_add(&report->sampler, height, root);
    return 0;
}

static void run_sweep(const struct demands *demands, struct sweep *sweep, struct log_report *report)
{
    struct err err = {0};
    struct progress progress;
    progress_begin(&progress, "entries", largest_note(report));
    sweep->progress = &progress;
    int code = sweep_run(sweep, &err);
    progress_end(&progress);
    report->scan = sweep->scan;
    report->size = sweep->scan.size;
    report->bytes = sweep->scan.bytes;
    judge_scan(sweep, code, &err, report);
    compare_roots(sweep, report);
    judge_contents(demands, sweep, report);
    if (report->entries_verified) {
        judge_end(sweep, report);
        judge_roots(sweep, report);
    }
}

/* Everything that can be told once the origin is known and the notes are judged. */
static void read_entries(const struct demands *demands, struct sha256 *sha, struct sweep *sweep,
                         struct log_report *report)
{
    const struct state_log *seen = history_find(demands, report->origin);
    chain_init(&sweep->whole.chain, sha, bytes_of_string(report->origin));
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        if (report->notes[i].present)
            whole_add_cut(&sweep->whole, report->notes[i].checkpoint.size);
    }
    if (seen != NULL) {
        whole_add_cut(&sweep->whole, seen->range.size);
        if (demands->resume) {
            /* From the segment with the last entry that was seen: where a segment begins behind it, that header alone
             * would say what it follows. */
            sweep->span.from_index = seen->range.size - 1;
            sweep->whole.on_node = NULL;
            report->resumed_at = seen->range.size;
        }
    }
    run_sweep(demands, sweep, report);
    report->root = merkle_range_root(&sweep->whole.chain.range, sha);
    if (report->entries_verified || sweep->scan.size < largest_note(report))
        history_judge(demands, seen == NULL ? NULL : whole_cut_at(&sweep->whole, seen->range.size), report);
    retired_judge(&sweep->whole.retired, demands, report);
    notes_judge_policy(demands, report);
    const struct cut *covered = whole_cut_at(&sweep->whole, report_covered(report));
    if (report->entries_verified && covered != NULL)
        history_remember(demands, &covered->range, report);
}

static void with_sweep(const struct demands *demands, const char *folder, struct log_report *report,
                       void (*go)(const struct demands *, struct sha256 *, struct sweep *, struct log_report *))
{
    struct err err = {0};
    struct sha256 *sha = sha256_new();
    struct sweep *sweep = mem_alloc_zero(1, sizeof(*sweep));
    int code = sha == NULL || sweep == NULL ? err_no_memory(&err, "the check") : sampler_init(&report->sampler, &err);
    if (code != 0) {
        report_finding(report, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL, "%s", err.message);
    } else {
        sweep->disk = demands->disk;
        sweep->folder = folder;
        sweep->whole.node_height_max = SAMPLER_HEIGHT_MIN;
        sweep->whole.on_node = on_node;
        sweep->whole.context = report;
        sweep->end_index = UINT64_MAX;
        epochs_init(&sweep->whole.authority);
        go(demands, sha, sweep, report);
        epochs_free(&sweep->whole.authority);
    }
    mem_free(sweep);
    sha256_free(sha);
}

void verify_folder(const struct demands *demands, const char *folder, struct log_report *ret)
{
    struct err err = {0};
    report_begin(ret, COPY_FOLDER, folder, demands);
    ret->entries_are_ours = true;
    note_load(demands->disk, NOTE_CHECKPOINT, ret);
    note_load(demands->disk, NOTE_PUBLISHED, ret);
    int code = scan_origin(demands->disk, folder, ret->origin, &err);
    const struct place first = {.has_index = true};
    if (code == ERR_CORRUPT)
        report_finding(ret, AREA_INTEGRITY, VERDICT_VIOLATION, &first, "%s", err.message);
    else if (code == ERR_NOT_FOUND)
        report_finding(ret, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL,
                       "%s (the logs of a data directory are in its folders logs/<name>)", err.message);
    else if (code != 0)
        report_finding(ret, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL, "%s", err.message);
    if (code != 0)
        return;
    notes_judge(demands, ret);
    with_sweep(demands, folder, ret, read_entries);
}

static void read_segment(const struct demands *demands, struct sha256 *sha, struct sweep *sweep,
                         struct log_report *report)
{
    sweep->span = (struct scan_span){.from_index = report->resumed_at, .one_segment = true};
    chain_init(&sweep->whole.chain, sha, bytes_of_string(report->origin));
    sweep->whole.on_node = NULL;
    run_sweep(demands, sweep, report);
    snprintf(report->origin, sizeof(report->origin), "%s", sweep->scan.origin);
    report->root = merkle_range_root(&sweep->whole.chain.range, sha);
}

void verify_segment(const struct demands *demands, const char *path, struct log_report *ret)
{
    char folder[DISK_PATH_MAX_BYTES];
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    report_begin(ret, COPY_FOLDER, path, demands);
    ret->entries_are_ours = true;
    snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path + 1), slash == NULL ? "." : path);
    if (segment_parse_name(name, &ret->resumed_at) != 0) {
        report_finding(ret, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL,
                       "%s is not a segment's name, which is its first index in 20 digits and .seg", name);
        return;
    }
    with_sweep(demands, folder, ret, read_segment);
}
