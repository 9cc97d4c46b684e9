/* The applier over real logs: it keeps rule 2 by itself, takes back what a change makes late, and goes on where it
 * stopped after running out of memory anywhere. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "domain/definition.h"
#include "reconcile/applier.h"
#include "support/files.h"
#include "unit/index/history.h"

/* --- A history in logs --- */

struct cluster {
    struct history history;
    char folder[FILES_PATH_MAX];
    struct sha256 *sha;
    struct chain chains[HISTORY_LOGS];
    struct log *logs[HISTORY_LOGS];
    struct index *index;
    struct applier *applier;
    bool withhold; /* payloads of control events are left out */
};

static void open_applier(struct cluster *cluster)
{
    char path[FILES_PATH_MAX];
    struct err err = {0};
    files_join(cluster->folder, "index", path);
    cr_assert_eq(index_rocksdb_open(path, &history_contexts, &cluster->index, &err), 0, "%s", err.message);
    cr_assert_eq(applier_new(cluster->index, &history_contexts, &cluster->applier, &err), 0, "%s", err.message);
}

static void close_applier(struct cluster *cluster)
{
    applier_free(cluster->applier);
    index_close(cluster->index);
}

static void start_cluster(struct cluster *cluster)
{
    files_temp_folder(cluster->folder);
    cluster->sha = sha256_new();
    cluster->withhold = false;
    struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_MIN_BYTES};
    struct log_recovery recovery;
    struct err err = {0};
    for (size_t i = 0; i < HISTORY_LOGS; i++) {
        char name[16];
        char path[FILES_PATH_MAX];
        struct bytes origin = bytes_of_string(history_origins[i]);
        snprintf(name, sizeof(name), "log-%zu", i);
        files_join(cluster->folder, name, path);
        cr_assert_eq(log_create(disk_posix(), path, origin, &options, &err), 0, "%s", err.message);
        cr_assert_eq(log_open(disk_posix(), path, origin, &options, &cluster->logs[i], &recovery, &err), 0, "%s",
                     err.message);
        chain_init(&cluster->chains[i], cluster->sha, origin);
    }
    open_applier(cluster);
}

static void start_random(struct cluster *cluster, uint64_t seed, size_t steps)
{
    history_make(&cluster->history, seed, steps);
    start_cluster(cluster);
}

static void end_cluster(struct cluster *cluster)
{
    close_applier(cluster);
    for (size_t i = 0; i < HISTORY_LOGS; i++)
        log_close(cluster->logs[i]);
    sha256_free(cluster->sha);
    history_free(&cluster->history);
    files_remove_folder(cluster->folder);
}

static size_t durable(const struct cluster *cluster, size_t log)
{
    return (size_t)log_durable_size(cluster->logs[log]);
}

static void add_entry(struct cluster *cluster, size_t log, size_t index, struct block *block)
{
    struct history_entry *from = &cluster->history.entries[log][index];
    struct entry entry = from->entry;
    struct chain *chain = &cluster->chains[log];
    struct frame frame = {.payload = buf_bytes(&from->payload), .has_payload = true, .salt = {1}};
    struct buf encoded;
    struct err err = {0};
    buf_init(&encoded, ENTRY_MAX_BYTES);
    memcpy(entry.log_id, chain->log_id, ENTRY_LOG_ID_SIZE);
    entry.prev = chain->prev;
    entry.payload_size_bytes = frame.payload.size_bytes;
    entry.payload_commitment = entry_payload_commitment(cluster->sha, frame.salt, frame.payload);
    from->fingerprint = entry_fingerprint(cluster->sha, &entry, frame.payload);
    cr_assert_eq(entry_encode(&entry, &encoded, &err), 0, "%s", err.message);
    frame.entry = buf_bytes(&encoded);
    frame.has_payload = !cluster->withhold || entry.flags == 0;
    cr_assert_eq(block_add(block, &frame, &err), 0, "%s", err.message);
    struct hash leaf = chain_append(chain, cluster->sha, frame.entry, entry.time);
    if (index % 2 == 0 && frame.has_payload)
        block_note(block, block->entry_count - 1, from->fingerprint, &leaf);
    buf_free(&encoded);
}

/* The next `count` entries of a log become durable, as one block. */
static void append(struct cluster *cluster, size_t log, size_t count)
{
    struct block *block = NULL;
    struct err err = {0};
    size_t first = durable(cluster, log);
    if (first + count > cluster->history.counts[log])
        count = cluster->history.counts[log] - first;
    if (count == 0)
        return;
    cr_assert_eq(block_new(first, cluster->chains[log].log_id, &block, &err), 0, "%s", err.message);
    for (size_t i = 0; i < count; i++)
        add_entry(cluster, log, first + i, block);
    block_seal(block);
    cr_assert_eq(log_append(cluster->logs[log], &block, 1, &err), 0, "%s", err.message);
    block_release(block);
}

static void append_all(struct cluster *cluster, size_t block_size)
{
    for (size_t log = 0; log < HISTORY_LOGS; log++) {
        while (durable(cluster, log) < cluster->history.counts[log])
            append(cluster, log, block_size);
    }
}

static struct applier_progress step(struct cluster *cluster)
{
    struct applier_progress progress;
    struct err err = {0};
    cr_assert_eq(applier_step(cluster->applier, cluster->logs, HISTORY_LOGS, &progress, &err), 0, "%s", err.message);
    return progress;
}

static size_t applied(struct cluster *cluster, size_t log)
{
    uint32_t number = 0;
    cr_assert_eq(index_log(cluster->index, bytes_of_string(history_origins[log]), &number, NULL), 0);
    return (size_t)index_applied_size(cluster->index, number);
}

static void check(struct cluster *cluster)
{
    size_t sizes[HISTORY_LOGS];
    for (size_t log = 0; log < HISTORY_LOGS; log++)
        sizes[log] = applied(cluster, log);
    history_check(&cluster->history, cluster->index, sizes);
}

static void check_complete(struct cluster *cluster)
{
    while (step(cluster).moved)
        continue;
    for (size_t log = 0; log < HISTORY_LOGS; log++)
        cr_assert_eq(applied(cluster, log), cluster->history.counts[log], "seed %llu, log %s",
                     (unsigned long long)cluster->history.seed, history_origins[log]);
    check(cluster);
}

/* --- A history by hand --- */

enum { LOG_A, LOG_B };

static struct history_entry *add(struct cluster *cluster, size_t log, const char *type, uint64_t epoch)
{
    struct history *history = &cluster->history;
    struct history_entry *made = &history->entries[log][history->counts[log]];
    *made = (struct history_entry){.entry = {.index = history->counts[log], .time = ++history->clock, .epoch = epoch}};
    snprintf(made->partition, sizeof(made->partition), "p");
    snprintf(made->type, sizeof(made->type), "%s", type);
    snprintf(made->stream, sizeof(made->stream), "s0");
    snprintf(made->context, sizeof(made->context), "shop");
    made->entry.context = bytes_of_string(made->context);
    made->entry.partition = bytes_of_string(made->partition);
    made->entry.type = bytes_of_string(made->type);
    made->entry.stream = bytes_of_string(made->stream);
    made->entry.stream_version = history->clock % 6;
    memset(made->entry.event_id, 0xab, ENTRY_ID_SIZE);
    put_u64_be(made->entry.event_id, history->clock);
    buf_init(&made->payload, CONTROL_PAYLOAD_MAX_BYTES);
    history->counts[log]++;
    return made;
}

static void add_seizure(struct cluster *cluster, size_t log, uint64_t epoch, const char *basis)
{
    struct control_authority authority = {.successor = bytes_of(NULL, 0)};
    struct history_entry *made = add(cluster, log, control_type(CONTROL_AUTHORITY_SEIZED), epoch);
    made->entry.flags = ENTRY_FLAG_CONTROL;
    made->entry.stream_version = 0;
    snprintf(made->stream, sizeof(made->stream), "%s", CONTROL_STREAM);
    made->entry.stream = bytes_of_string(made->stream);
    cr_assert_eq(position_parse(bytes_of_string(basis), &authority.basis, NULL), 0);
    cr_assert_eq(control_authority_encode(CONTROL_AUTHORITY_SEIZED, &authority, &made->payload, NULL), 0);
}

/* Region a, the home of "$system", creates context "cart" with its home in b. */
static void add_creation(struct cluster *cluster, const char *basis)
{
    const struct context cart = {.name = "cart", .default_home = "b"};
    struct position position;
    const struct definition_source source = {.version = 1, .context = &cart, .basis = &position};
    struct history_entry *made = add(cluster, LOG_A, control_type(CONTROL_CONTEXT_DEFINED), 1);
    made->entry.flags = ENTRY_FLAG_CONTROL;
    made->entry.stream_version = 0;
    snprintf(made->context, sizeof(made->context), CONTEXT_SYSTEM);
    snprintf(made->partition, sizeof(made->partition), "cart");
    snprintf(made->stream, sizeof(made->stream), "%s", CONTROL_STREAM);
    made->entry.context = bytes_of_string(made->context);
    made->entry.partition = bytes_of_string(made->partition);
    made->entry.stream = bytes_of_string(made->stream);
    cr_assert_eq(position_parse(bytes_of_string(basis), &position, NULL), 0);
    cr_assert_eq(definition_encode(&source, &made->payload, NULL), 0);
}

/* Region a appends six events, b seizes after the first four. */
static void start_seized(struct cluster *cluster)
{
    history_make(&cluster->history, 0, 0);
    for (size_t i = 0; i < 6; i++)
        add(cluster, LOG_A, "Happened", 1);
    add_seizure(cluster, LOG_B, 2, "a@4");
    add(cluster, LOG_B, "Happened", 2);
    start_cluster(cluster);
}

Test(applier, without_logs_nothing_moves)
{
    struct cluster cluster;
    struct applier_progress progress = {.moved = true};
    start_seized(&cluster);
    cr_assert_eq(applier_step(cluster.applier, NULL, 0, &progress, NULL), 0);
    cr_assert_not(progress.moved);
    end_cluster(&cluster);
}

Test(applier, a_step_says_which_log_is_applied_up_to_where)
{
    struct cluster cluster;
    start_seized(&cluster);
    append(&cluster, LOG_A, 3);
    struct applier_progress progress = step(&cluster);
    cr_assert(progress.moved);
    cr_assert_eq(progress.log, LOG_A);
    cr_assert_eq(progress.size, 3);
    cr_assert_eq(progress.demoted, 0);
    cr_assert_not(step(&cluster).moved);
    end_cluster(&cluster);
}

Test(applier, a_change_waits_for_its_basis_and_what_follows_it_waits_too)
{
    struct cluster cluster;
    start_seized(&cluster);
    append(&cluster, LOG_A, 3);
    append(&cluster, LOG_B, 2);
    while (step(&cluster).moved)
        continue;
    cr_assert_eq(applied(&cluster, LOG_A), 3);
    cr_assert_eq(applied(&cluster, LOG_B), 0);
    append(&cluster, LOG_A, 1);
    while (step(&cluster).moved)
        continue;
    cr_assert_eq(applied(&cluster, LOG_B), 2);
    check(&cluster);
    end_cluster(&cluster);
}

Test(applier, a_change_waits_for_a_log_that_is_not_there_yet)
{
    struct cluster cluster;
    struct applier_progress progress;
    start_seized(&cluster);
    append_all(&cluster, 10);
    struct log *const only_b[] = {cluster.logs[LOG_B]};
    cr_assert_eq(applier_step(cluster.applier, only_b, 1, &progress, NULL), 0);
    cr_assert_not(progress.moved);
    struct log *const both[] = {cluster.logs[LOG_B], cluster.logs[LOG_A]};
    do {
        cr_assert_eq(applier_step(cluster.applier, both, 2, &progress, NULL), 0);
    } while (progress.moved);
    cr_assert_eq(applied(&cluster, LOG_B), 2);
    end_cluster(&cluster);
}

Test(applier, what_was_applied_past_the_basis_is_taken_back)
{
    struct cluster cluster;
    start_seized(&cluster);
    append(&cluster, LOG_A, 10);
    while (step(&cluster).moved)
        continue;
    cr_assert_eq(index_late_count(cluster.index), 0);
    append(&cluster, LOG_B, 10);
    struct applier_progress progress = step(&cluster);
    cr_assert_eq(progress.log, LOG_B);
    cr_assert_eq(progress.size, 1);
    cr_assert_eq(progress.demoted, 2);
    cr_assert_eq(index_late_count(cluster.index), 2);
    check_complete(&cluster);
    end_cluster(&cluster);
}

Test(applier, the_winner_of_two_seizures_rests_on_more_and_restores_what_the_loser_made_late)
{
    struct cluster cluster;
    history_make(&cluster.history, 0, 0);
    for (size_t i = 0; i < 6; i++)
        add(&cluster, LOG_A, "Happened", 1);
    add_seizure(&cluster, LOG_B, 2, "a@5"); /* the earlier one wins, and is applied later */
    add_seizure(&cluster, 2, 2, "a@1");
    start_cluster(&cluster);
    append(&cluster, LOG_A, 10);
    append(&cluster, 2, 10);
    while (step(&cluster).moved)
        continue;
    cr_assert_eq(index_late_count(cluster.index), 5);
    append(&cluster, LOG_B, 10);
    check_complete(&cluster);
    cr_assert_eq(index_late_count(cluster.index), 1);
    end_cluster(&cluster);
}

/* a creates "cart", whose home b accepts three events. */
static void start_created(struct cluster *cluster)
{
    history_make(&cluster->history, 0, 0);
    add_creation(cluster, "");
    for (size_t i = 0; i < 3; i++) {
        struct history_entry *made = add(cluster, LOG_B, "Happened", 1);
        snprintf(made->context, sizeof(made->context), "cart");
        made->entry.context = bytes_of_string(made->context);
    }
}

Test(applier, entries_of_a_context_are_taken_back_when_its_creation_is_overtaken)
{
    struct cluster cluster;
    start_created(&cluster);
    add_seizure(&cluster, 2, 2, "b@3"); /* c knows what was accepted, and not why it was */
    struct history_entry *seizure = &cluster.history.entries[2][0];
    snprintf(seizure->context, sizeof(seizure->context), CONTEXT_SYSTEM);
    snprintf(seizure->partition, sizeof(seizure->partition), CONTROL_ALL_PARTITIONS);
    seizure->entry.context = bytes_of_string(seizure->context);
    seizure->entry.partition = bytes_of_string(seizure->partition);
    start_cluster(&cluster);
    append(&cluster, LOG_A, 10);
    append(&cluster, LOG_B, 10);
    while (step(&cluster).moved)
        continue;
    cr_assert_eq(index_late_count(cluster.index), 0);
    append(&cluster, 2, 10);
    struct applier_progress progress = step(&cluster);
    cr_assert_eq(progress.demoted, 3);
    cr_assert_eq(index_late_count(cluster.index), 3);
    cr_assert_null(context_find(index_contexts(cluster.index), BYTES_LITERAL("cart")));
    check_complete(&cluster);
    end_cluster(&cluster);
}

Test(applier, entries_of_a_context_count_once_its_creation_has_arrived)
{
    struct cluster cluster;
    start_created(&cluster);
    start_cluster(&cluster);
    append(&cluster, LOG_B, 10);
    while (step(&cluster).moved)
        continue;
    cr_assert_eq(applied(&cluster, LOG_B), 3, "they do not hold up their log");
    cr_assert_eq(index_late_count(cluster.index), 3);
    cr_assert_null(context_find(index_contexts(cluster.index), BYTES_LITERAL("cart")));
    append(&cluster, LOG_A, 10);
    check_complete(&cluster);
    cr_assert_eq(index_late_count(cluster.index), 0);
    close_applier(&cluster);
    open_applier(&cluster);
    cr_assert_str_eq(context_find(index_contexts(cluster.index), BYTES_LITERAL("cart"))->default_home, "b");
    check(&cluster);
    end_cluster(&cluster);
}

Test(applier, a_control_event_without_its_payload_is_refused)
{
    struct cluster cluster;
    struct applier_progress progress;
    struct err err = {0};
    start_seized(&cluster);
    cluster.withhold = true;
    append_all(&cluster, 10);
    int code = 0;
    do {
        code = applier_step(cluster.applier, cluster.logs, HISTORY_LOGS, &progress, &err);
    } while (code == 0 && progress.moved);
    cr_assert_eq(code, ERR_CORRUPT);
    cr_assert_not_null(strstr(err.message, "payload of control entry 0"), "%s", err.message);
    cr_assert_eq(applied(&cluster, LOG_B), 0);
    end_cluster(&cluster);
}

/* --- Random histories --- */

enum { SEEDS = 6, STEPS = 700 };

Test(applier, logs_that_grow_in_any_order_give_what_the_set_of_entries_says, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct cluster cluster;
        struct prng prng;
        start_random(&cluster, 1000 + seed, STEPS);
        prng_seed(&prng, seed);
        for (size_t i = 0; i < 250; i++) {
            append(&cluster, prng_below(&prng, HISTORY_LOGS), 1 + prng_below(&prng, 20));
            if (prng_below(&prng, 3) == 0)
                step(&cluster);
            if (i % 60 == 59) {
                close_applier(&cluster);
                open_applier(&cluster);
                check(&cluster);
            }
        }
        append_all(&cluster, 7);
        check_complete(&cluster);
        end_cluster(&cluster);
    }
}

Test(applier, tiny_limits_change_nothing_but_the_number_of_steps, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct cluster cluster;
        start_random(&cluster, 2000 + seed, STEPS);
        applier_limit(cluster.applier, &(struct applier_limits){.batch_entries = 1, .blocks = 1});
        index_limit(cluster.index, &(struct index_limits){.restored = 1});
        append_all(&cluster, 3);
        check_complete(&cluster);
        end_cluster(&cluster);
    }
}

/* Memory runs out at every place of every step in turn; each time a new applier and a reopened index go on. */
Test(applier, a_new_applier_goes_on_after_a_failure_anywhere, .timeout = 300)
{
    struct cluster cluster;
    start_random(&cluster, 77, 250);
    append_all(&cluster, 5);
    uint64_t failures = 0;
    uint64_t fail_at = 1;
    bool moved = true;
    while (moved) {
        struct applier_progress progress;
        mem_fail_at(fail_at);
        int code = applier_step(cluster.applier, cluster.logs, HISTORY_LOGS, &progress, NULL);
        mem_fail_at(0);
        if (code == 0) {
            moved = progress.moved;
            fail_at = 1;
            continue;
        }
        cr_assert_eq(code, ERR_NO_MEMORY);
        failures++;
        fail_at += 1 + failures % 2;
        close_applier(&cluster);
        open_applier(&cluster);
    }
    cr_assert_gt(failures, 100, "only %llu", (unsigned long long)failures);
    check_complete(&cluster);
    end_cluster(&cluster);
}
