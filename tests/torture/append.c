/* Appending: six batches through region_step and the log, in two waves, with a checkpoint after each write, which a
 * peer cosigns. One batch spans two streams, one repeats another, one expects a wrong version, one uses an id again for
 * something else.
 *
 * A client here does what clients are told to do: what was refused for want of memory is sent again, with the same ids.
 * Acknowledged means: the answer came, with code 0. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "support/files.h"
#include "torture/node.h"
#include "torture/torture.h"
#include "verify/copy.h"

enum { COMMANDS = 6, FIRST_WAVE = 4, EVENTS = 7, EVENTS_A_COMMAND_MAX = 3, WRITES_A_COMMAND_MAX = 2 };

/* The events that are appended once, and where each ends up in its stream. The last one is never accepted. */
static const struct {
    const char *stream;
    uint64_t version;
    size_t payload_size_bytes;
} events[EVENTS + 1] = {{"a", 0, 10}, {"a", 1, 0}, {"a", 2, 5000}, {"b", 0, 100},
                        {"c", 0, 1},  {"c", 1, 2}, {"c", 2, 3},    {"a", 0, 4}};

struct answer {
    struct region_command command;
    struct region_stream_write writes[WRITES_A_COMMAND_MAX];
    struct region_new_event new_events[EVENTS_A_COMMAND_MAX];
    struct region_result results[EVENTS_A_COMMAND_MAX];
    size_t numbers[EVENTS_A_COMMAND_MAX]; /* places in `events` */
    size_t event_count;
    int expected_code;
    int code;
    bool sent, answered;
};

static struct answer answers[COMMANDS];
static struct note_signer log_signer, cosigner, peer_log, peer_cosigner;
static struct region_config config;
static uint8_t payload[5000];
static struct node node;

/* What was acknowledged in the latest run: the entry's index, by event. */
static struct {
    bool acknowledged;
    uint64_t index;
} kept[EVENTS];

/* --- The batches --- */

static void add_event(struct answer *answer, size_t write_number, size_t number, uint8_t salt)
{
    struct region_stream_write *write = &answer->writes[write_number];
    struct region_new_event *event = &answer->new_events[answer->event_count];
    answer->numbers[answer->event_count++] = number;
    if (write->event_count++ == 0)
        write->events = event;
    *event = (struct region_new_event){.type = BYTES_LITERAL("Happened"),
                                       .content_type = BYTES_LITERAL("application/json"),
                                       .metadata = BYTES_LITERAL("{}"),
                                       .payload = bytes_of(payload, events[number].payload_size_bytes)};
    memset(event->id, 0x11 * (int)(number + 1), sizeof(event->id));
    memset(event->salt, salt, sizeof(event->salt));
    write->context = BYTES_LITERAL("bank");
    write->partition = BYTES_LITERAL("p");
    write->stream = bytes_of_string(events[number].stream);
    answer->command.writes = answer->writes;
    answer->command.results = answer->results;
    answer->command.write_count = write_number + 1;
}

static void expect_version(struct answer *answer, size_t write_number, enum stream_expectation expectation,
                           uint64_t version)
{
    answer->writes[write_number].expectation = expectation;
    answer->writes[write_number].expected_version = version;
}

static void make_commands(void)
{
    memset(answers, 0, sizeof(answers));
    add_event(&answers[0], 0, 0, 1);
    add_event(&answers[0], 0, 1, 1);
    expect_version(&answers[0], 0, STREAM_NONE, 0);
    add_event(&answers[1], 0, 2, 1);
    expect_version(&answers[1], 0, STREAM_AT, 1);
    add_event(&answers[1], 1, 3, 1);
    add_event(&answers[2], 0, 0, 1); /* repeats the first */
    add_event(&answers[2], 0, 1, 1);
    expect_version(&answers[2], 0, STREAM_NONE, 0);
    add_event(&answers[3], 0, EVENTS, 1); /* not after version 7, which is not there */
    expect_version(&answers[3], 0, STREAM_AT, 7);
    answers[3].expected_code = ERR_VERSION_CONFLICT;
    add_event(&answers[4], 0, 0, 1);
    answers[4].new_events[0].payload = BYTES_LITERAL("something else");
    answers[4].expected_code = ERR_ID_REUSED;
    for (size_t i = 4; i < EVENTS; i++)
        add_event(&answers[5], 0, i, 1);
}

/* --- One run --- */

static void take_answer(const struct region_effect *effect)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        struct answer *answer = &answers[i];
        if (&answer->command != effect->command)
            continue;
        TORTURE_CHECK(answer->sent && !answer->answered, "command %zu is answered again", i);
        answer->answered = true;
        answer->code = effect->command->refusal.code;
    }
}

static void outside(void *context, const struct region_effect *effect)
{
    (void)context;
    if (effect->type == REGION_ANSWER)
        take_answer(effect);
    TORTURE_CHECK(effect->type != REGION_ALARM, "an alarm: %s", effect->text);
}

static int hear_from_peer(struct err *err)
{
    struct region_event event = {.type = REGION_PEER_HELLO};
    return node_step(&node, &event, err);
}

/* The peer has stored all that is durable, and cosigns the checkpoint that was stored last. */
static int cosign(struct err *err)
{
    struct fault_calls paused = torture_memory; /* the peer's memory is its own */
    struct region_log_status status;
    struct buf text, line;
    region_log_status(node.region, 0, &status);
    if (status.checkpoint_size != status.size)
        return 0; /* nothing to cosign yet */
    struct checkpoint checkpoint = {.origin = "demo/eu/1", .size = status.checkpoint_size};
    struct chain chain;
    torture_memory.fail_call = 0;
    log_chain(node.logs[0], &chain);
    checkpoint.root = merkle_range_root(&chain.range, node.sha);
    buf_init(&text, NOTE_MAX_BYTES);
    buf_init(&line, NOTE_MAX_BYTES);
    INVARIANT(checkpoint_format(&checkpoint, &text) == 0);
    INVARIANT(note_sign(&peer_cosigner, buf_bytes(&text), 1, &line, NULL) == 0);
    struct region_event event = {
        .type = REGION_ACKNOWLEDGED, .size = status.size, .note = buf_bytes(&line), .cosigned_size = checkpoint.size};
    torture_memory = paused;
    int code = node_step(&node, &event, err);
    buf_free(&text);
    buf_free(&line);
    return code == 0 ? node_work(&node, err) : code;
}

/* Sends one batch. The answer may come later. */
static void send(struct answer *answer)
{
    struct err err = {0};
    struct region_event event = {.type = REGION_COMMAND, .command = &answer->command};
    answer->sent = true;
    answer->answered = false;
    int code = region_command_check(&answer->command, &answer->command.refusal);
    if (code == 0)
        code = region_command_prepare(&answer->command, node.sha, node.index, &err);
    if (code == 0)
        code = node_step(&node, &event, &err);
    if (code != 0) {
        answer->answered = true;
        answer->code = code;
    }
}

static void keep_acknowledged(const struct answer *answer)
{
    for (size_t i = 0; answer->answered && answer->code == 0 && i < answer->event_count; i++) {
        size_t number = answer->numbers[i];
        uint64_t index = answer->results[i].index;
        TORTURE_CHECK(!kept[number].acknowledged || kept[number].index == index,
                      "event %zu is acknowledged at %llu and at %llu", number, (unsigned long long)kept[number].index,
                      (unsigned long long)index);
        TORTURE_CHECK(answer->results[i].stream_version == events[number].version, "event %zu has version %llu", number,
                      (unsigned long long)answer->results[i].stream_version);
        kept[number].acknowledged = true;
        kept[number].index = index;
    }
}

static bool is_final(const struct answer *answer)
{
    return answer->answered && answer->code == answer->expected_code;
}

/* Sends the batches that have no final answer, in order, and waits. */
static int send_wave(size_t first, size_t last, size_t *ret_missing, struct err *err)
{
    bool disturbed = false;
    for (size_t i = first; i < last; i++) {
        if (!is_final(&answers[i]))
            send(&answers[i]);
    }
    int code = node_work(&node, err);
    if (code == 0)
        code = cosign(err);
    *ret_missing = 0;
    for (size_t i = first; i < last; i++) {
        struct answer *answer = &answers[i];
        TORTURE_CHECK(answer->answered || code != 0, "command %zu is never answered", i);
        keep_acknowledged(answer);
        if (is_final(answer))
            continue;
        TORTURE_CHECK(!answer->answered || answer->code == ERR_NO_MEMORY || answer->code == ERR_IO || disturbed,
                      "command %zu is answered %s: %s", i, tally_error_name(answer->code),
                      answer->command.refusal.err.message);
        disturbed = true;
        (*ret_missing)++;
    }
    return code;
}

/* Everything that the own log holds, by event. */
static int read_back(struct hash *ret_result, struct err *err)
{
    bool seen[EVENTS] = {false};
    struct block *block = NULL;
    for (uint64_t i = 0; i < log_durable_size(node.logs[0]); i++) {
        struct bytes encoded;
        struct frame frame;
        struct entry entry;
        int code = log_read_block(node.logs[0], i, &block, err);
        if (code != 0)
            return code;
        INVARIANT(block_find(block, i, &encoded, NULL) == 0 && frame_parse(encoded, &frame, NULL) == 0 &&
                  entry_parse(frame.entry, &entry, NULL) == 0);
        size_t number = entry.event_id[0] / 0x11u - 1u;
        TORTURE_CHECK(number < EVENTS && !seen[number], "entry %llu is of an event that is there twice",
                      (unsigned long long)i);
        seen[number] = true;
        TORTURE_CHECK(entry.stream_version == events[number].version &&
                          bytes_equal(entry.stream, bytes_of_string(events[number].stream)) &&
                          bytes_equal(frame.payload, bytes_of(payload, events[number].payload_size_bytes)),
                      "entry %llu is not what was sent", (unsigned long long)i);
        TORTURE_CHECK(!kept[number].acknowledged || kept[number].index == i, "event %zu was acknowledged at %llu",
                      number, (unsigned long long)kept[number].index);
        block_release(block);
    }
    for (size_t i = 0; i < EVENTS; i++) {
        TORTURE_CHECK(seen[i] || !kept[i].acknowledged, "event %zu was acknowledged, and is gone", i);
        torture_add_number(ret_result, seen[i] ? 1 : 0);
    }
    return 0;
}

static enum torture_outcome work(struct hash *ret_result)
{
    struct err err = {0};
    bool repeated = false;
    size_t missing = 0;
    if (hear_from_peer(&err) != 0)
        return TORTURE_REPORTED;
    for (size_t first = 0; first < COMMANDS; first += FIRST_WAVE) {
        size_t last = first == 0 ? FIRST_WAVE : COMMANDS;
        int code = send_wave(first, last, &missing, &err);
        if (code == 0 && missing > 0) {
            repeated = true;
            code = send_wave(first, last, &missing, &err);
        }
        if (code != 0 || missing > 0)
            return TORTURE_REPORTED;
    }
    if (read_back(ret_result, &err) != 0)
        return TORTURE_REPORTED;
    return repeated ? TORTURE_RECOVERED : TORTURE_DONE;
}

static enum torture_outcome run(const char *folder, struct hash *ret_result)
{
    struct err err = {0};
    memset(kept, 0, sizeof(kept));
    make_commands();
    if (node_open(&node, folder, &config, outside, NULL, &err) != 0)
        return TORTURE_REPORTED;
    enum torture_outcome outcome = work(ret_result);
    node_close(&node);
    return outcome;
}

static void verify(const char *folder)
{
    struct copy *copy = calloc(1, sizeof(*copy));
    struct policy *policy = calloc(1, sizeof(*policy));
    const struct note_verifier keys[] = {log_signer.verifier, peer_cosigner.verifier};
    struct err err = {0};
    char path[FILES_PATH_MAX];
    INVARIANT(copy != NULL && policy != NULL && policy_from_keys(keys, 2, policy, NULL) == 0);
    const struct demands demands = {.disk = disk_posix(), .policy = policy};
    TORTURE_CHECK(copy_open(&demands, files_join(folder, "eu-1", path), copy, &err) == 0, "%s", err.message);
    const struct log_report *report = &copy->report;
    TORTURE_CHECK(report->verdict == VERDICT_VERIFIED, "%s", report->message);
    TORTURE_CHECK(report->notes[NOTE_CHECKPOINT].root_matches, "nothing was signed");
    TORTURE_CHECK(!report->notes[NOTE_PUBLISHED].present || report->notes[NOTE_PUBLISHED].root_matches, "published");
    copy_close(copy);
    free(policy);
    free(copy);
}

static void check(const char *folder)
{
    struct err err = {0};
    struct hash result = {0};
    int code = node_open(&node, folder, &config, outside, NULL, &err);
    TORTURE_CHECK(code == 0, "%s", err.message);
    TORTURE_CHECK(read_back(&result, &err) == 0, "%s", err.message);
    make_commands();
    enum torture_outcome outcome = work(&result);
    TORTURE_CHECK(outcome == TORTURE_DONE, "what is left cannot be appended");
    for (size_t i = 0; i < EVENTS; i++)
        TORTURE_CHECK(kept[i].acknowledged, "event %zu is not there in the end", i);
    node_close(&node);
    verify(folder);
}

static void prepare(const char *folder)
{
    static const struct context contexts[] = {{.name = "bank", .default_home = "eu"}};
    static const uint8_t seeds[4][32] = {{1}, {2}, {3}, {4}};
    (void)folder;
    INVARIANT(note_signer_from_seed("demo/eu/1", NOTE_KEY_ED25519, seeds[0], &log_signer, NULL) == 0);
    INVARIANT(note_signer_from_seed("demo/eu", NOTE_KEY_COSIGNATURE, seeds[1], &cosigner, NULL) == 0);
    INVARIANT(note_signer_from_seed("demo/us/1", NOTE_KEY_ED25519, seeds[2], &peer_log, NULL) == 0);
    INVARIANT(note_signer_from_seed("demo/us", NOTE_KEY_COSIGNATURE, seeds[3], &peer_cosigner, NULL) == 0);
    config = (struct region_config){
        .cluster = "demo",
        .region = "eu",
        .incarnation = 1,
        .log_signers = {1, {&log_signer}},
        .cosign_signers = {1, {&cosigner}},
        .contexts = {.count = 1, .contexts = contexts},
        .peer_count = 1,
        .peers = {{.region = "us", .log_keys = {1, {peer_log.verifier}}, .cosign_keys = {1, {peer_cosigner.verifier}}}},
        .hello_interval_us = 1000 * 1000,
        .peer_timeout_us = 3600ull * 1000 * 1000};
    memset(payload, 'x', sizeof(payload));
}

static void finish(void)
{
}

int main(int argc, char **argv)
{
    static const struct torture_scenario scenario = {"append", prepare, run, check, finish};
    return torture_main(&scenario, argc, argv);
}
