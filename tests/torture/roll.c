/* Rolling: blocks of 1 to 6 MiB, of which the last no longer fits the smallest segment there is. Whatever fails
 * between cutting the full segment and opening the next one, what was acknowledged is found again. */
#include "base/assert.h"
#include "torture/blocks.h"
#include "torture/torture.h"

enum { BLOCKS = 6, PAYLOAD_BYTES = 1024 * 1024 };

static const struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_MIN_BYTES,
                                           .tail_size_bytes = LOG_SEGMENT_SIZE_MIN_BYTES};
static struct blocks source;
static uint64_t acknowledged_size;

static int append_rest(struct log *log, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < source.count; i++) {
        if (source.blocks[i]->first_index < log_durable_size(log))
            continue;
        code = log_append(log, &source.blocks[i], 1, err);
        if (code == 0)
            acknowledged_size = source.sizes[i];
        TORTURE_CHECK(log_durable_size(log) == (code == 0 ? source.sizes[i] : source.blocks[i]->first_index),
                      "the durable size says %llu", (unsigned long long)log_durable_size(log));
    }
    return code;
}

static int open_or_create(const char *folder, struct log **ret, struct err *err)
{
    struct log_recovery recovery;
    int code = log_open(disk_posix(), folder, BYTES_LITERAL(BLOCKS_ORIGIN), &options, ret, &recovery, err);
    if (code != ERR_NOT_FOUND)
        return code;
    code = log_create(disk_posix(), folder, BYTES_LITERAL(BLOCKS_ORIGIN), &options, err);
    return code == 0 ? log_open(disk_posix(), folder, BYTES_LITERAL(BLOCKS_ORIGIN), &options, ret, &recovery, err)
                     : code;
}

static enum torture_outcome run(const char *folder, struct hash *ret_result)
{
    struct log *log = NULL;
    struct err err = {0};
    acknowledged_size = 0;
    if (open_or_create(folder, &log, &err) != 0)
        return TORTURE_REPORTED;
    int code = append_rest(log, &err);
    TORTURE_CHECK(code == 0 || log_append(log, source.blocks, 1, NULL) == ERR_POISONED, "a failed log goes on");
    torture_add_number(ret_result, log_durable_size(log));
    log_close(log);
    return code == 0 ? TORTURE_DONE : TORTURE_REPORTED;
}

static void check(const char *folder)
{
    struct log *log = NULL;
    struct err err = {0};
    int code = open_or_create(folder, &log, &err);
    TORTURE_CHECK(code == 0, "%s", err.message);
    TORTURE_CHECK(log_durable_size(log) >= acknowledged_size, "%llu entries are left of %llu",
                  (unsigned long long)log_durable_size(log), (unsigned long long)acknowledged_size);
    TORTURE_CHECK(append_rest(log, &err) == 0, "%s", err.message);
    log_close(log);
    struct log_recovery recovery;
    code = log_open(disk_posix(), folder, bytes_of(NULL, 0), &options, &log, &recovery, &err);
    TORTURE_CHECK(code == 0, "%s", err.message);
    for (size_t i = 0; i < source.count; i++) {
        struct block *block = NULL;
        code = log_read_block(log, source.blocks[i]->first_index, &block, &err);
        TORTURE_CHECK(code == 0, "%s", err.message);
        TORTURE_CHECK(bytes_equal(block_bytes(block), block_bytes(source.blocks[i])), "block %zu is not the same", i);
        block_release(block);
    }
    log_close(log);
}

static void prepare(const char *folder)
{
    (void)folder;
    blocks_make(&source, BLOCKS, PAYLOAD_BYTES);
}

static void finish(void)
{
    blocks_free(&source);
}

int main(int argc, char **argv)
{
    static const struct torture_scenario scenario = {"roll", prepare, run, check, finish};
    return torture_main(&scenario, argc, argv);
}
