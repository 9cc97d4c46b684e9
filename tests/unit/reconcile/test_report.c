/* The figures of a report, over real logs. us seized context "bank" with epoch 2, resting on three entries of eu. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "entry/frame.h"
#include "reconcile/applier.h"
#include "reconcile/report.h"
#include "support/files.h"

enum { LOGS = 2, EU = 0, US = 1, SECOND = 1000 << 16 };

static const char *const origins[LOGS] = {"demo/eu/1", "demo/us/1"};
static const struct context contexts[] = {{.name = "bank", .default_home = "eu"},
                                          {.name = "shop", .default_home = "eu"}};
static const struct context_table table = {.count = 2, .contexts = contexts};

static char folder[FILES_PATH_MAX];
static struct sha256 *sha;
static struct log *logs[LOGS];
static struct chain chains[LOGS];
static struct index *memory_index;
static struct report *report;

static void start(void)
{
    const struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_MIN_BYTES};
    files_temp_folder(folder);
    sha = sha256_new();
    for (size_t i = 0; i < LOGS; i++) {
        char path[FILES_PATH_MAX];
        struct log_recovery recovery;
        files_join(folder, i == EU ? "eu" : "us", path);
        cr_assert_eq(log_create(disk_posix(), path, bytes_of_string(origins[i]), &options, NULL), 0);
        cr_assert_eq(log_open(disk_posix(), path, bytes_of_string(origins[i]), &options, &logs[i], &recovery, NULL), 0);
        chain_init(&chains[i], sha, bytes_of_string(origins[i]));
    }
    memory_index = index_memory_new(&table);
    report = mem_alloc_zero(1, sizeof(*report));
    cr_assert(memory_index != NULL && report != NULL);
}

static void end(void)
{
    mem_free(report);
    index_close(memory_index);
    for (size_t i = 0; i < LOGS; i++)
        log_close(logs[i]);
    sha256_free(sha);
    files_remove_folder(folder);
}

TestSuite(report, .init = start, .fini = end);

/* One entry, one block. */
static void append(size_t log, struct entry entry, struct bytes payload)
{
    struct chain *chain = &chains[log];
    struct frame frame = {.payload = payload, .has_payload = true, .salt = {1}};
    struct block *block = NULL;
    struct buf encoded;
    struct err err = {0};
    entry.index = chain->range.size;
    entry.prev = chain->prev;
    entry.payload_size_bytes = payload.size_bytes;
    entry.payload_commitment = entry_payload_commitment(sha, frame.salt, payload);
    memcpy(entry.log_id, chain->log_id, ENTRY_LOG_ID_SIZE);
    put_u64_be(entry.event_id, 1000 * log + entry.index + 1);
    buf_init(&encoded, ENTRY_MAX_BYTES);
    cr_assert_eq(entry_encode(&entry, &encoded, &err), 0, "%s", err.message);
    frame.entry = buf_bytes(&encoded);
    cr_assert_eq(block_new(entry.index, chain->log_id, &block, NULL), 0);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    block_seal(block);
    cr_assert_eq(log_append(logs[log], &block, 1, NULL), 0);
    chain_append(chain, sha, frame.entry, entry.time);
    block_release(block);
    buf_free(&encoded);
}

static void append_event(size_t log, const char *context, uint64_t epoch, uint64_t second)
{
    append(log,
           (struct entry){.time = (100 + second) * SECOND,
                          .context = bytes_of_string(context),
                          .partition = BYTES_LITERAL("p"),
                          .stream = BYTES_LITERAL("s"),
                          .stream_version = chains[log].range.size,
                          .type = BYTES_LITERAL("Paid"),
                          .epoch = epoch},
           BYTES_LITERAL("x"));
}

static void append_control(enum control_kind kind, struct bytes payload, uint64_t second)
{
    append(US,
           (struct entry){.time = (100 + second) * SECOND,
                          .context = BYTES_LITERAL("bank"),
                          .partition = BYTES_LITERAL("p"),
                          .stream = BYTES_LITERAL(CONTROL_STREAM),
                          .type = bytes_of_string(control_type(kind)),
                          .epoch = 2,
                          .flags = ENTRY_FLAG_CONTROL},
           payload);
}

static void seize(void)
{
    struct control_authority change = {.previous = BYTES_LITERAL("eu")};
    struct buf payload;
    buf_init(&payload, CONTROL_PAYLOAD_MAX_BYTES);
    cr_assert_eq(position_set(&change.basis, "eu", 1, 3), 0);
    cr_assert_eq(control_authority_encode(CONTROL_AUTHORITY_SEIZED, &change, &payload, NULL), 0);
    append_control(CONTROL_AUTHORITY_SEIZED, buf_bytes(&payload), 10);
    buf_free(&payload);
}

static void owe_for(uint64_t index)
{
    struct control_settled settled = {
        .region = "eu", .incarnation = 1, .index = index, .settlement = SETTLED_COMPENSATE};
    struct buf payload;
    buf_init(&payload, CONTROL_PAYLOAD_MAX_BYTES);
    put_u64_be(settled.event_id, index + 1);
    cr_assert_eq(control_settled_encode(&settled, &payload, NULL), 0);
    append_control(CONTROL_LATE_SETTLED, buf_bytes(&payload), 13);
    buf_free(&payload);
}

/* eu: three events that count, one of another context, two that came too late; us: a seizure, two events, a decision.
 */
static void append_story(void)
{
    struct applier *applier = NULL;
    struct applier_progress progress = {.moved = true};
    for (uint64_t i = 0; i < 3; i++)
        append_event(EU, "bank", 1, i);
    append_event(EU, "shop", 1, 3);
    append_event(EU, "bank", 1, 4);
    append_event(EU, "bank", 1, 5);
    seize();
    append_event(US, "bank", 2, 11);
    append_event(US, "bank", 2, 12);
    owe_for(4);
    cr_assert_eq(applier_new(memory_index, &table, &applier, NULL), 0);
    while (progress.moved)
        cr_assert_eq(applier_step(applier, logs, LOGS, &progress, NULL), 0);
    applier_free(applier);
}

static int go_on(void *context, struct err *err)
{
    (void)err;
    ++*(int *)context;
    return 0;
}

static int gather(struct report_filter filter, uint64_t eu_published)
{
    const uint64_t published[LOGS] = {eu_published, 0};
    int checks = 0;
    filter.context = BYTES_LITERAL("bank");
    int code = report_gather(memory_index, &table, logs, published, LOGS, &filter, go_on, &checks, report, NULL);
    cr_assert_gt(checks, 0, "a long look can be ended");
    return code;
}

static void expect_row(size_t at, size_t log, uint64_t epoch, uint64_t effective, uint64_t late)
{
    cr_assert_lt(at, report->row_count);
    cr_expect_eq(report->rows[at].log, log);
    cr_expect_eq(report->rows[at].epoch, epoch);
    cr_expect_eq(report->rows[at].effective, effective);
    cr_expect_eq(report->rows[at].late, late);
}

Test(report, counts_by_log_and_epoch_what_counts_and_what_came_too_late)
{
    append_story();
    cr_assert_eq(gather((struct report_filter){.epoch = 0}, 0), 0);
    cr_assert_eq(report->row_count, 2);
    expect_row(0, EU, 1, 3, 2);
    expect_row(1, US, 2, 2, 0);
    cr_expect_eq(position_get(&report->position, "eu", 1), 6);
    cr_expect_eq(position_get(&report->position, "us", 1), 4);
}

Test(report, published_is_what_lies_below_the_published_size)
{
    append_story();
    cr_assert_eq(gather((struct report_filter){.epoch = 0}, 5), 0);
    cr_expect_eq(report->rows[0].published, 4, "three that count and one that came too late");
    cr_expect_eq(report->rows[1].published, 0);
}

Test(report, an_epoch_brings_the_one_before_it_and_no_other)
{
    append_story();
    cr_assert_eq(gather((struct report_filter){.epoch = 2}, 0), 0);
    cr_expect_eq(report->row_count, 2);
    cr_assert_eq(gather((struct report_filter){.epoch = 3}, 0), 0);
    cr_assert_eq(report->row_count, 1);
    expect_row(0, US, 2, 2, 0);
    cr_expect_eq(report->states[INDEX_LATE_COMPENSATION_OWED], 0, "an item of epoch 1");
}

Test(report, a_range_of_time_begins_and_ends_exactly)
{
    append_story();
    for (uint64_t from = 0; from <= 6; from++) {
        for (uint64_t to = from + 1; to <= 7; to++) {
            const struct report_filter filter = {.from = (100 + from) * SECOND, .to = (100 + to) * SECOND};
            uint64_t expected = 0;
            for (uint64_t second = from; second < to; second++)
                expected += second <= 2 || second == 4 || second == 5;
            cr_assert_eq(gather(filter, 0), 0);
            uint64_t counted = report->row_count == 0 ? 0 : report->rows[0].effective + report->rows[0].late;
            cr_assert_eq(counted, expected, "from %llu to %llu", (unsigned long long)from, (unsigned long long)to);
        }
    }
}

Test(report, tells_states_and_what_is_owed)
{
    append_story();
    cr_assert_eq(gather((struct report_filter){.epoch = 0}, 0), 0);
    cr_expect_eq(report->states[INDEX_LATE_OPEN], 1);
    cr_expect_eq(report->states[INDEX_LATE_COMPENSATION_OWED], 1);
    cr_assert_eq(report->owed_count, 1);
    cr_expect_eq(report->owed[0].place.index, 4);
    cr_expect_str_eq(report->owed[0].origin, "demo/eu/1");
    cr_expect_not(report->more_owed);
}

static int give_up(void *context, struct err *err)
{
    (void)context;
    return err_set(err, ERR_CANCELLED, "enough");
}

Test(report, ends_when_told_to)
{
    const struct report_filter filter = {.context = BYTES_LITERAL("bank")};
    const uint64_t published[LOGS] = {0, 0};
    append_story();
    cr_expect_eq(report_gather(memory_index, &table, logs, published, LOGS, &filter, give_up, NULL, report, NULL),
                 ERR_CANCELLED);
}

Test(report, of_empty_logs_is_empty)
{
    cr_assert_eq(gather((struct report_filter){.epoch = 0}, 0), 0);
    cr_expect_eq(report->row_count, 0);
    cr_expect_eq(report->position.count, 0);
}
