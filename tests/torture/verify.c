/* tally-verify on a sound log, on a damaged one and on a shorter copy, and comparing the first with the others. A
 * verifier that could not look must say so: it never calls verified what it did not check, and never a violation what
 * it could not read. */
#include <stdlib.h>

#include "base/assert.h"
#include "support/files.h"
#include "torture/blocks.h"
#include "torture/torture.h"
#include "verify/compare.h"

enum { BLOCKS = 4 };

static char sound[FILES_PATH_MAX], damaged[FILES_PATH_MAX], shorter[FILES_PATH_MAX];
static struct policy *keys;
static struct copy *copies; /* the three */

static void damage_log(const char *folder)
{
    char path[FILES_PATH_MAX];
    struct buf bytes;
    buf_init(&bytes, 1024 * 1024);
    files_read(files_join(folder, "00000000000000000000.seg", path), &bytes);
    bytes.data[LOG_SEGMENT_HEADER_BYTES + BLOCK_HEADER_BYTES + 200] ^= 1;
    files_write(path, buf_bytes(&bytes));
    buf_free(&bytes);
}

static void prepare(const char *folder)
{
    struct blocks source;
    blocks_make(&source, BLOCKS, 500);
    blocks_write_log(&source, BLOCKS, files_join(folder, "sound", sound));
    blocks_write_log(&source, BLOCKS, files_join(folder, "damaged", damaged));
    blocks_write_log(&source, BLOCKS - 1, files_join(folder, "shorter", shorter));
    damage_log(damaged);
    keys = calloc(1, sizeof(*keys));
    copies = calloc(3, sizeof(*copies));
    INVARIANT(keys != NULL && copies != NULL);
    keys->log_count = 1;
    keys->logs[0] = source.signer.verifier;
    blocks_free(&source);
}

static void add_report(struct hash *result, const struct log_report *report)
{
    torture_add_number(result, report->verdict);
    torture_add(result, bytes_of_string(report->message));
    torture_add_number(result, report->scan.size);
    torture_add(result, bytes_of(report->root.bytes, HASH_SIZE));
    torture_add_number(result, report->payloads.held);
    for (size_t i = 0; i < NOTE_COUNT; i++) {
        torture_add_number(result, report->notes[i].present);
        torture_add_number(result, report->notes[i].root_matches);
        torture_add_number(result, report->notes[i].verdict.log_signed);
    }
}

static enum torture_outcome run(const char *folder, struct hash *ret_result)
{
    const struct demands demands = {.disk = disk_posix(), .policy = keys};
    const char *const folders[3] = {sound, damaged, shorter};
    struct comparison with_damaged, with_shorter;
    int code = 0;
    (void)folder;
    memset(copies, 0, 3 * sizeof(*copies));
    for (size_t i = 0; code == 0 && i < 3; i++)
        code = copy_open(&demands, folders[i], &copies[i], NULL);
    if (code == 0) {
        compare_copies(&copies[0], &copies[1], &with_damaged);
        compare_copies(&copies[0], &copies[2], &with_shorter);
    }
    bool incomplete = code != 0 || with_shorter.verdict == VERDICT_INCOMPLETE;
    for (size_t i = 0; i < 3; i++) {
        incomplete = incomplete || copies[i].report.verdict == VERDICT_INCOMPLETE;
        copy_close(&copies[i]);
    }
    if (code != 0)
        return TORTURE_REPORTED;
    const struct log_report *reports[3] = {&copies[0].report, &copies[1].report, &copies[2].report};
    TORTURE_CHECK(reports[0]->verdict != VERDICT_VIOLATION, "a false alarm: %s", reports[0]->message);
    TORTURE_CHECK(reports[2]->verdict != VERDICT_VIOLATION, "a false alarm: %s", reports[2]->message);
    TORTURE_CHECK(reports[1]->verdict != VERDICT_VERIFIED, "the damaged log is verified");
    TORTURE_CHECK(with_damaged.verdict != VERDICT_VERIFIED, "a damaged log is the same as a sound one");
    TORTURE_CHECK(with_shorter.verdict != VERDICT_VIOLATION, "a false alarm: %s", with_shorter.message);
    add_report(ret_result, reports[0]);
    add_report(ret_result, reports[2]);
    torture_add_number(ret_result, reports[1]->verdict); /* a violation outranks a note that could not be read */
    torture_add_number(ret_result, with_shorter.common_size);
    return incomplete ? TORTURE_REPORTED : TORTURE_DONE;
}

static void check(const char *folder)
{
    struct hash result = {0};
    TORTURE_CHECK(run(folder, &result) == TORTURE_DONE, "the folders cannot be verified any more");
}

static void finish(void)
{
    free(keys);
    free(copies);
}

int main(int argc, char **argv)
{
    static const struct torture_scenario scenario = {"verify", prepare, run, check, finish};
    return torture_main(&scenario, argc, argv);
}
