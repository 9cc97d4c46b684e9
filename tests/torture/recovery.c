/* Recovery: a log whose last write was torn is opened, which cuts the tail; then the block that was torn is appended
 * again. Opening may fail, but it must never cut more than the tail, and never open a log that is shorter than what was
 * acknowledged. */
#include "base/assert.h"
#include "support/files.h"
#include "torture/blocks.h"
#include "torture/torture.h"

enum { BLOCKS = 4, WRITTEN = 3 };

static struct blocks source;
static struct buf segment;    /* three blocks and most of the fourth */
static struct buf checkpoint; /* of the third */
static uint64_t acknowledged_size;

static void prepare(const char *folder)
{
    char log_folder[FILES_PATH_MAX], path[FILES_PATH_MAX];
    blocks_make(&source, BLOCKS, 3000);
    blocks_write_log(&source, WRITTEN, files_join(folder, "log", log_folder));
    buf_init(&segment, 1024 * 1024);
    buf_init(&checkpoint, NOTE_MAX_BYTES);
    files_read(files_join(log_folder, "00000000000000000000.seg", path), &segment);
    files_read(files_join(log_folder, "checkpoint", path), &checkpoint);
    size_t offset = LOG_SEGMENT_HEADER_BYTES;
    for (size_t i = 0; i < WRITTEN; i++)
        offset += source.blocks[i]->padded_size_bytes;
    size_t torn = source.blocks[WRITTEN]->size_bytes - 5000;
    INVARIANT(offset + torn < segment.size_bytes);
    memcpy(segment.data + offset, source.blocks[WRITTEN]->data, torn);
}

static int reopen(const char *folder, struct log **ret, struct log_recovery *ret_recovery, struct err *err)
{
    return log_open(disk_posix(), folder, BYTES_LITERAL(BLOCKS_ORIGIN), NULL, ret, ret_recovery, err);
}

/* What is left is appended; everything is read back. */
static int go_on(struct log *log, struct hash *ret_result, struct err *err)
{
    struct log_cursor *cursor = NULL;
    struct block *block = NULL;
    int code = 0;
    for (size_t i = 0; code == 0 && i < BLOCKS; i++) {
        if (source.blocks[i]->first_index >= log_durable_size(log))
            code = log_append(log, &source.blocks[i], 1, err);
    }
    if (code != 0)
        return code;
    acknowledged_size = source.sizes[BLOCKS - 1];
    code = log_cursor_open(log, 0, &cursor, err);
    if (code != 0)
        return code;
    while ((code = log_cursor_next(cursor, &block, err)) == 0) {
        torture_add(ret_result, block_bytes(block));
        block_release(block);
    }
    log_cursor_close(cursor);
    return code == ERR_END ? 0 : code;
}

static enum torture_outcome run(const char *folder, struct hash *ret_result)
{
    char path[FILES_PATH_MAX];
    struct log *log = NULL;
    struct log_recovery recovery;
    struct err err = {0};
    files_write(files_join(folder, "00000000000000000000.seg", path), buf_bytes(&segment));
    files_write(files_join(folder, "checkpoint", path), buf_bytes(&checkpoint));
    acknowledged_size = source.sizes[WRITTEN - 1];
    if (reopen(folder, &log, &recovery, &err) != 0) {
        TORTURE_CHECK(err.code != ERR_CORRUPT, "a failure is taken for damage: %s", err.message);
        return TORTURE_REPORTED;
    }
    TORTURE_CHECK(recovery.size == source.sizes[WRITTEN - 1], "%llu entries were found",
                  (unsigned long long)recovery.size);
    torture_add_number(ret_result, recovery.cut_offset);
    int code = go_on(log, ret_result, &err);
    log_close(log);
    return code == 0 ? TORTURE_DONE : TORTURE_REPORTED;
}

static void check(const char *folder)
{
    struct log *log = NULL;
    struct log_recovery recovery;
    struct err err = {0};
    struct hash result = {0};
    int code = reopen(folder, &log, &recovery, &err);
    TORTURE_CHECK(code == 0, "%s", err.message);
    TORTURE_CHECK(recovery.size >= acknowledged_size, "%llu entries are left of %llu",
                  (unsigned long long)recovery.size, (unsigned long long)acknowledged_size);
    TORTURE_CHECK(go_on(log, &result, &err) == 0, "%s", err.message);
    log_close(log);
    struct hash expected = {0};
    for (size_t i = 0; i < BLOCKS; i++)
        torture_add(&expected, block_bytes(source.blocks[i]));
    TORTURE_CHECK(hash_equal(&result, &expected), "the log is not what was appended");
}

static void finish(void)
{
    blocks_free(&source);
    buf_free(&segment);
    buf_free(&checkpoint);
}

int main(int argc, char **argv)
{
    static const struct torture_scenario scenario = {"recovery", prepare, run, check, finish};
    return torture_main(&scenario, argc, argv);
}
