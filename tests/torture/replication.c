/* Replication: region us meets eu, makes a copy of its log, pulls blocks and checkpoints, stores them and acknowledges.
 * Meanwhile it keeps a log of its own. Acknowledged means: the size that us told eu it had stored, and the checkpoint
 * that it cosigned.
 *
 * The peer is played by the scenario: it has the whole log from the start, answers hellos, and sends what is asked for.
 * A node that died is opened again by `check`, which lets it finish and compares the copy byte for byte. */
#include "base/assert.h"
#include "support/files.h"
#include "torture/blocks.h"
#include "torture/node.h"
#include "torture/torture.h"

enum { BLOCKS = 5, ROUNDS_MAX = 400 };

static struct blocks source;
static struct note_signer us_log, us_cosign, eu_log, eu_cosign;
static struct region_config config;
static struct node node;

/* The peer's side: what it was asked for and told. */
static struct {
    bool hello_wanted;
    bool pulling;
    bool closed;
    uint32_t log;
    size_t next_block;
    bool checkpoint_due;
    uint64_t acknowledged_size;
    uint64_t cosigned_size;
} peer;

static void check_cosignature(const struct region_effect *effect)
{
    struct note note;
    struct buf whole;
    size_t block = 0;
    while (block < BLOCKS && source.sizes[block] != effect->cosigned_size)
        block++;
    TORTURE_CHECK(block < BLOCKS, "a size is cosigned that nobody signed");
    buf_init(&whole, NOTE_MAX_BYTES);
    struct fault_calls paused = torture_memory; /* this memory is the test's: it neither fails nor counts */
    torture_memory.fail_call = 0;
    INVARIANT(buf_append(&whole, source.texts[block]) == 0 && buf_append_byte(&whole, '\n') == 0 &&
              buf_append(&whole, buf_bytes(&effect->note)) == 0);
    INVARIANT(note_parse(buf_bytes(&whole), &note, NULL) == 0);
    TORTURE_CHECK(note_verify(&note, &us_cosign.verifier, NULL, NULL) == 1, "the cosignature does not verify");
    buf_free(&whole);
    torture_memory = paused;
}

static void outside(void *context, const struct region_effect *effect)
{
    (void)context;
    switch (effect->type) {
    case REGION_HELLO:
        peer.hello_wanted = true;
        return;
    case REGION_OPEN_PULL:
        TORTURE_CHECK(!peer.pulling, "a second pull is opened");
        peer.pulling = true;
        peer.log = effect->log;
        peer.next_block = 0;
        while (peer.next_block < BLOCKS && source.blocks[peer.next_block]->first_index < effect->size)
            peer.next_block++;
        TORTURE_CHECK(peer.next_block == BLOCKS || source.blocks[peer.next_block]->first_index == effect->size,
                      "entry %llu does not start a block", (unsigned long long)effect->size);
        peer.checkpoint_due = peer.next_block > 0; /* a pull begins with the newest one that is covered */
        return;
    case REGION_CLOSE_PULL:
        peer.pulling = false;
        peer.closed = true;
        return;
    case REGION_SEND_ACK:
        TORTURE_CHECK(effect->size <= log_durable_size(node.logs[effect->log]), "more is acknowledged than is stored");
        if (effect->size > peer.acknowledged_size)
            peer.acknowledged_size = effect->size;
        if (effect->note.size_bytes > 0) {
            check_cosignature(effect);
            peer.cosigned_size = effect->cosigned_size;
        }
        return;
    case REGION_ALARM:
        torture_die(__FILE__, __LINE__, "no alarm", "%s", effect->text);
    default:
        return;
    }
}

/* --- The peer acts --- */

static int say_hello(struct err *err)
{
    struct region_held held = {.size = source.sizes[BLOCKS - 1], .checkpoint = source.notes[BLOCKS - 1]};
    struct region_event event = {.type = REGION_PEER_HELLO, .held = &held, .held_count = 1};
    memcpy(held.origin, BLOCKS_ORIGIN, sizeof(BLOCKS_ORIGIN));
    peer.hello_wanted = false;
    return node_step(&node, &event, err);
}

static int send_next(struct err *err)
{
    struct region_event event = {.log = peer.log};
    if (peer.checkpoint_due) {
        event.type = REGION_PULL_CHECKPOINT;
        event.note = source.notes[peer.next_block - 1];
        peer.checkpoint_due = false;
        return node_step(&node, &event, err);
    }
    /* As a peer's thread does: a block of its own, made from the bytes that came in. */
    event.type = REGION_PULL_BLOCK;
    int code = block_from_bytes(block_bytes(source.blocks[peer.next_block]), &event.block, err);
    if (code != 0)
        return code;
    peer.next_block++;
    peer.checkpoint_due = true;
    code = node_step(&node, &event, err);
    block_release(event.block);
    return code;
}

static int act(struct err *err)
{
    struct region_event event = {.type = REGION_TIMER};
    if (peer.hello_wanted)
        return say_hello(err);
    if (peer.closed) {
        peer.closed = false;
        event.type = REGION_PULL_CLOSED;
        event.log = peer.log;
        return node_step(&node, &event, err);
    }
    if (peer.pulling && (peer.checkpoint_due || peer.next_block < BLOCKS))
        return send_next(err);
    node.now_us += 50 * 1000; /* nothing to do: time passes */
    return node_step(&node, &event, err);
}

static bool is_whole(void)
{
    return node.log_count == 2 && log_durable_size(node.logs[1]) == source.sizes[BLOCKS - 1] &&
           peer.cosigned_size == source.sizes[BLOCKS - 1];
}

static int replicate(struct err *err)
{
    int code = 0;
    bool memory_returns = torture_memory.fail_call == 0 || !torture_memory.fail_after;
    for (int round = 0; code == 0 && !is_whole(); round++) {
        if (round == ROUNDS_MAX) { /* a region without memory asks again and again, as it should */
            TORTURE_CHECK(!memory_returns, "the copy is not made: %llu entries acknowledged",
                          (unsigned long long)peer.acknowledged_size);
            return err_no_memory(err, "the copy");
        }
        code = act(err);
        if (code == 0)
            code = node_work(&node, err);
    }
    return code;
}

static void compare_copy(uint64_t size)
{
    struct block *block = NULL;
    struct err err = {0};
    for (size_t i = 0; i < BLOCKS && source.sizes[i] <= size; i++) {
        int code = log_read_block(node.logs[1], source.blocks[i]->first_index, &block, &err);
        TORTURE_CHECK(code == 0, "%s", err.message);
        TORTURE_CHECK(bytes_equal(block_bytes(block), block_bytes(source.blocks[i])), "block %zu is not the same", i);
        block_release(block);
    }
}

/* --- The scenario --- */

static enum torture_outcome run(const char *folder, struct hash *ret_result)
{
    struct err err = {0};
    memset(&peer, 0, sizeof(peer));
    if (node_open(&node, folder, &config, outside, NULL, &err) != 0)
        return TORTURE_REPORTED;
    int code = replicate(&err);
    if (code == 0)
        torture_add_number(ret_result, log_durable_size(node.logs[1]));
    node_close(&node);
    return code == 0 ? TORTURE_DONE : TORTURE_REPORTED;
}

static void check(const char *folder)
{
    struct err err = {0};
    uint64_t acknowledged_size = peer.acknowledged_size;
    uint64_t cosigned_size = peer.cosigned_size;
    struct region_log_status status;
    memset(&peer, 0, sizeof(peer));
    int code = node_open(&node, folder, &config, outside, NULL, &err);
    TORTURE_CHECK(code == 0, "%s", err.message);
    if (acknowledged_size > 0) {
        TORTURE_CHECK(node.log_count == 2 && log_durable_size(node.logs[1]) >= acknowledged_size,
                      "%llu entries were acknowledged", (unsigned long long)acknowledged_size);
        region_log_status(node.region, 1, &status);
        TORTURE_CHECK(status.checkpoint_size >= cosigned_size, "the checkpoint of size %llu was cosigned",
                      (unsigned long long)cosigned_size);
        compare_copy(acknowledged_size);
    }
    peer.cosigned_size = 0;
    for (int round = 0;
         round < ROUNDS_MAX && (node.log_count < 2 || log_durable_size(node.logs[1]) < source.sizes[BLOCKS - 1]);
         round++)
        TORTURE_CHECK(act(&err) == 0 && node_work(&node, &err) == 0, "%s", err.message);
    TORTURE_CHECK(log_durable_size(node.logs[1]) == source.sizes[BLOCKS - 1], "the copy cannot be finished");
    compare_copy(source.sizes[BLOCKS - 1]);
    node_close(&node);
}

static void prepare(const char *folder)
{
    static const struct context contexts[] = {{.name = "bank", .default_home = "us"}};
    static const uint8_t seeds[3][32] = {{2}, {3}, {4}};
    (void)folder;
    blocks_make(&source, BLOCKS, 300);
    eu_log = source.signer;
    INVARIANT(note_signer_from_seed("demo/us/1", NOTE_KEY_ED25519, seeds[0], &us_log, NULL) == 0);
    INVARIANT(note_signer_from_seed("demo/us", NOTE_KEY_COSIGNATURE, seeds[1], &us_cosign, NULL) == 0);
    INVARIANT(note_signer_from_seed("demo/eu", NOTE_KEY_COSIGNATURE, seeds[2], &eu_cosign, NULL) == 0);
    config = (struct region_config){
        .cluster = "demo",
        .region = "us",
        .incarnation = 1,
        .log_signers = {1, {&us_log}},
        .cosign_signers = {1, {&us_cosign}},
        .contexts = {.count = 1, .contexts = contexts},
        .peer_count = 1,
        .peers = {{.region = "eu", .log_keys = {1, {eu_log.verifier}}, .cosign_keys = {1, {eu_cosign.verifier}}}},
        .hello_interval_us = 1000 * 1000,
        .peer_timeout_us = 3600ull * 1000 * 1000,
    };
}

static void finish(void)
{
    blocks_free(&source);
}

int main(int argc, char **argv)
{
    static const struct torture_scenario scenario = {"replication", prepare, run, check, finish};
    return torture_main(&scenario, argc, argv);
}
