/* What verifying costs: each byte is read once, and memory does not grow with the log. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "support.h"
#include "verify/pool.h"
#include "verify/verify.h"

enum { BLOCK_ENTRIES = 50, FEW_BLOCKS = 100, MANY_BLOCKS = 1600, PAYLOAD_BYTES = 100 };

struct cost {
    uint64_t read_bytes;
    uint64_t allocations;
    uint64_t block_bytes;
    uint64_t file_bytes; /* blocks, and the rest of the file, which must be zeros */
};

/* All that this process has read, from whatever. */
static uint64_t bytes_read(void)
{
    uint64_t bytes = 0;
    FILE *file = fopen("/proc/self/io", "re");
    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "rchar: %" SCNu64, &bytes), 1);
    fclose(file);
    return bytes;
}

static struct cost cost_of(size_t block_count)
{
    struct fixture f;
    struct log_report report = {0};
    fixture_init(&f);
    f.options.segment_size_bytes = LOG_SEGMENT_SIZE_DEFAULT_BYTES; /* one segment */
    struct log *log = create_log(&f);
    for (size_t i = 0; i < block_count; i++)
        append_one(log, make_block(&f, BLOCK_ENTRIES, PAYLOAD_BYTES));
    log_close(log);
    struct demands demands = {.disk = f.disk};
    struct cost cost = {.read_bytes = bytes_read(), .allocations = mem_allocation_count()};
    verify_folder(&demands, f.log_folder, &report);
    cost.read_bytes = bytes_read() - cost.read_bytes;
    cost.allocations = mem_allocation_count() - cost.allocations;
    cost.block_bytes = report.bytes;
    cost.file_bytes = file_size(segment_path(&f, 0));
    cr_assert_eq(report.size, block_count * BLOCK_ENTRIES, "%s", report.message);
    report_free(&report);
    fixture_free(&f);
    return cost;
}

/* Beside that: the header, which is looked at twice, and 32 bytes a block, by which runs are cut. */
Test(verify_cost, the_bytes_of_a_log_are_read_once)
{
    struct cost cost = cost_of(MANY_BLOCKS);
    cr_assert_gt(cost.block_bytes, 16 * 1024 * 1024);
    cr_assert_geq(cost.read_bytes, cost.file_bytes);
    cr_assert_lt(cost.read_bytes, cost.file_bytes + cost.block_bytes / 10, "%" PRIu64 " of %" PRIu64, cost.read_bytes,
                 cost.file_bytes);
}

/* Each worker's buffers grow to their size once. */
Test(verify_cost, a_log_of_many_blocks_needs_the_memory_of_one_of_few)
{
    struct cost few = cost_of(FEW_BLOCKS);
    struct cost many = cost_of(MANY_BLOCKS);
    uint64_t buffers = (uint64_t)pool_job_count(pool_worker_count()) * 16;
    cr_assert_lt(many.allocations, few.allocations + buffers, "%" PRIu64 " after %" PRIu64, many.allocations,
                 few.allocations);
}
