/* When a region may go on with its log, and what it begins when it may not (region/incarnation.c). */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "region/region.h"

enum { PEERS = 2, SECOND_US = 1000000, WAIT_US = 5 * SECOND_US };

static struct note_signer log_signer, cosign_signer;
static struct region_config config;
static struct index *memory;
static struct region *region;
static struct region_update update;
static struct sha256 *sha;
static uint64_t now_us;

static void signer(const char *name, enum note_key_type type, uint8_t seed_byte, struct note_signer *ret)
{
    uint8_t seed[32];
    memset(seed, seed_byte, sizeof(seed));
    cr_assert_eq(note_signer_from_seed(name, type, seed, ret, NULL), 0);
}

static void setup(void)
{
    struct note_signer peer;
    signer("bank/eu/1", NOTE_KEY_ED25519, 1, &log_signer);
    signer("bank/eu", NOTE_KEY_COSIGNATURE, 2, &cosign_signer);
    config = (struct region_config){.cluster = "bank",
                                    .region = "eu",
                                    .incarnation = 1,
                                    .log_signers = {1, {&log_signer}},
                                    .cosign_signers = {1, {&cosign_signer}},
                                    .peer_count = PEERS,
                                    .checkpoint_interval_us = SECOND_US,
                                    .hello_interval_us = SECOND_US,
                                    .peer_timeout_us = 3 * SECOND_US,
                                    .isolation_wait_us = WAIT_US};
    for (size_t i = 0; i < PEERS; i++) {
        snprintf(config.peers[i].region, sizeof(config.peers[i].region), "%s", i == 0 ? "us" : "ap");
        signer(i == 0 ? "bank/us/1" : "bank/ap/1", NOTE_KEY_ED25519, (uint8_t)(10 + i), &peer);
        config.peers[i].log_keys = (struct keyring){1, {peer.verifier}};
        signer(i == 0 ? "bank/us" : "bank/ap", NOTE_KEY_COSIGNATURE, (uint8_t)(20 + i), &peer);
        config.peers[i].cosign_keys = (struct keyring){1, {peer.verifier}};
    }
    memory = index_memory_new(&config.contexts);
    cr_assert_not_null(memory);
    sha = sha256_new();
    region_update_init(&update);
    now_us = 100 * SECOND_US;
}

static void teardown(void)
{
    region_free(region);
    region = NULL;
    index_close(memory);
    sha256_free(sha);
    region_update_free(&update);
}

TestSuite(incarnation, .init = setup, .fini = teardown);

/* A note over `size` entries that the own key signed, under the name of that incarnation. */
static struct buf signed_note(const char *origin, uint64_t size)
{
    struct note_signer key = log_signer;
    struct checkpoint checkpoint = {.size = size};
    struct buf note;
    buf_init(&note, NOTE_MAX_BYTES);
    snprintf(checkpoint.origin, sizeof(checkpoint.origin), "%s", origin);
    memset(checkpoint.root.bytes, (int)size, HASH_SIZE);
    cr_assert_eq(note_verifier_rename(&key.verifier, origin, NULL), 0);
    cr_assert_eq(checkpoint_sign(&checkpoint, &key, &note, NULL), 0);
    return note;
}

/* An empty own log, of which `signed_size` entries are remembered as signed. */
static void start(uint64_t signed_size)
{
    struct region_log_found found = {.checkpoint = bytes_of(NULL, 0)};
    struct buf note = signed_note("bank/eu/1", signed_size);
    struct err err = {0};
    snprintf(found.origin, sizeof(found.origin), "bank/eu/%llu", (unsigned long long)config.incarnation);
    if (config.incarnation > 1)
        cr_assert_eq(note_verifier_rename(&log_signer.verifier, found.origin, NULL), 0);
    chain_init(&found.chain, sha, bytes_of_string(found.origin));
    if (signed_size > 0)
        found.signed_note = buf_bytes(&note);
    cr_assert_eq(region_new(&config, &found, 1, memory, &region, &err), 0, "%s", err.message);
    buf_free(&note);
}

/* An own log, incarnation 2, of one entry, which says how much of the first log it continues. Of that `earlier_size`
 * entries are stored. */
static void start_continuing(const char *basis, size_t earlier_size)
{
    struct region_log_found logs[2] = {{.origin = "bank/eu/2"}, {.origin = "bank/eu/1"}};
    struct control_authority change = {.basis.count = 0};
    struct buf payload, encoded;
    struct block *block = NULL;
    struct chain chain;
    struct err err = {0};
    config.incarnation = 2;
    cr_assert_eq(note_verifier_rename(&log_signer.verifier, logs[0].origin, NULL), 0);
    chain_init(&chain, sha, bytes_of_string(logs[0].origin));
    buf_init(&payload, CONTROL_PAYLOAD_MAX_BYTES);
    buf_init(&encoded, ENTRY_MAX_BYTES);
    cr_assert_eq(position_parse(bytes_of_string(basis), &change.basis, NULL), 0);
    cr_assert_eq(control_authority_encode(CONTROL_LOG_CONTINUED, &change, &payload, NULL), 0);
    struct frame frame = {.payload = buf_bytes(&payload), .has_payload = true, .salt = {1}};
    struct entry entry = {.time = 1,
                          .event_id = {1},
                          .epoch = CONTEXT_EPOCH_FIRST,
                          .flags = ENTRY_FLAG_CONTROL,
                          .context = BYTES_LITERAL(CONTROL_SYSTEM_CONTEXT),
                          .partition = BYTES_LITERAL(CONTROL_ALL_PARTITIONS),
                          .stream = BYTES_LITERAL(CONTROL_STREAM),
                          .type = bytes_of_string(control_type(CONTROL_LOG_CONTINUED)),
                          .prev = chain.prev,
                          .payload_size_bytes = payload.size_bytes,
                          .payload_commitment = entry_payload_commitment(sha, frame.salt, buf_bytes(&payload))};
    memcpy(entry.log_id, chain.log_id, ENTRY_LOG_ID_SIZE);
    cr_assert_eq(entry_encode(&entry, &encoded, NULL), 0);
    frame.entry = buf_bytes(&encoded);
    cr_assert_eq(block_new(0, chain.log_id, &block, NULL), 0);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    block_seal(block);
    chain_append(&chain, sha, frame.entry, entry.time);
    logs[0].chain = chain;
    chain_init(&logs[1].chain, sha, bytes_of_string(logs[1].origin));
    for (size_t i = 0; i < earlier_size; i++)
        chain_append(&logs[1].chain, sha, frame.entry, i + 1);
    cr_assert_eq(region_new(&config, logs, earlier_size > 0 ? 2 : 1, memory, &region, &err), 0, "%s", err.message);
    cr_assert_eq(region_found_block(region, 0, block, &err), 0, "%s", err.message);
    block_release(block);
    buf_free(&encoded);
    buf_free(&payload);
}

static void step(struct region_event event)
{
    event.now = (struct time_now){.mono_us = now_us, .wall_us = 1700000000ull * SECOND_US + now_us};
    cr_assert_eq(region_step(region, &event, &update, NULL), 0);
}

static void tick(void)
{
    step((struct region_event){.type = REGION_TIMER});
}

static void hears(size_t peer, const char *origin, uint64_t size, struct bytes checkpoint)
{
    struct region_held held = {.size = size, .checkpoint = checkpoint};
    snprintf(held.origin, sizeof(held.origin), "%s", origin);
    step((struct region_event){
        .type = REGION_PEER_HELLO, .peer = peer, .held = &held, .held_count = origin[0] == '\0' ? 0 : 1});
}

static void misses(size_t peer)
{
    struct err err = {.code = ERR_UNAVAILABLE};
    step((struct region_event){.type = REGION_PEER_DOWN, .peer = peer, .err = &err});
}

/* The incarnation that the last step began; 0: none. */
static uint64_t begun(void)
{
    for (size_t i = 0; i < update.effect_count; i++) {
        if (update.effects[i].type == REGION_BEGIN_INCARNATION)
            return update.effects[i].size;
    }
    return 0;
}

static bool begun_fresh(void)
{
    for (size_t i = 0; i < update.effect_count; i++) {
        if (update.effects[i].type == REGION_BEGIN_INCARNATION)
            return update.effects[i].fresh;
    }
    return false;
}

static const char *begun_why(void)
{
    for (size_t i = 0; i < update.effect_count; i++) {
        if (update.effects[i].type == REGION_BEGIN_INCARNATION)
            return update.effects[i].text;
    }
    return "";
}

static enum region_log_state own_state(void)
{
    struct region_log_status status;
    region_log_status(region, 0, &status);
    return status.state;
}

Test(incarnation, a_log_that_peers_know_nothing_more_of_goes_on)
{
    start(0);
    hears(0, "bank/eu/1", 0, bytes_of(NULL, 0));
    cr_expect_not(region_accepting(region), "ap has neither answered nor failed");
    misses(1);
    cr_expect(region_accepting(region));
}

Test(incarnation, signed_entries_that_no_peer_holds_end_the_log)
{
    start(7);
    hears(0, "", 0, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 0);
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 2);
    cr_expect(begun_fresh());
    cr_expect_eq(own_state(), REGION_LOG_RETIRED);
    tick();
    cr_expect_eq(begun(), 0, "said once");
}

Test(incarnation, a_peer_s_checkpoint_counts_like_the_own_memory)
{
    struct buf note = signed_note("bank/eu/1", 5);
    start(0);
    hears(0, "bank/eu/1", 0, buf_bytes(&note));
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 2);
    buf_free(&note);
}

Test(incarnation, a_peer_that_holds_more_is_pulled_from_first)
{
    start(7);
    hears(0, "bank/eu/1", 7, bytes_of(NULL, 0));
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 0);
    cr_expect_eq(own_state(), REGION_LOG_RESTORING);
}

Test(incarnation, lost_entries_are_waited_for_while_a_peer_is_away)
{
    start(7);
    hears(0, "", 0, bytes_of(NULL, 0));
    misses(1);
    now_us += 100 * WAIT_US;
    tick();
    cr_expect_eq(begun(), 0);
    cr_expect_eq(own_state(), REGION_LOG_WAITING);
    hears(1, "bank/eu/1", 7, bytes_of(NULL, 0));
    cr_expect_eq(own_state(), REGION_LOG_RESTORING);
}

Test(incarnation, with_nobody_reachable_fence_waits_for_ever)
{
    start(0);
    misses(0);
    misses(1);
    now_us += 100 * WAIT_US;
    tick();
    cr_expect_eq(begun(), 0);
    cr_expect_eq(own_state(), REGION_LOG_WAITING);
}

Test(incarnation, with_nobody_reachable_accept_begins_a_log_whose_number_is_the_time)
{
    config.accept_isolated = true;
    start(0);
    misses(0);
    misses(1);
    cr_expect_eq(begun(), 0, "not before the wait is over");
    cr_expect_eq(update.deadline_mono_us <= now_us + WAIT_US, true);
    now_us += WAIT_US;
    tick();
    cr_expect_eq(begun(), (1700000000ull * SECOND_US + now_us) / 1000);
    cr_expect(begun_fresh());
}

Test(incarnation, one_peer_that_answers_is_enough_not_to_be_isolated)
{
    config.accept_isolated = true;
    start(0);
    misses(0);
    hears(1, "bank/eu/1", 0, bytes_of(NULL, 0));
    now_us += WAIT_US;
    tick();
    cr_expect_eq(begun(), 0);
    cr_expect(region_accepting(region));
}

Test(incarnation, a_fresh_one_needs_nobody_to_tell_but_looks_whether_anybody_is_there)
{
    config.incarnation = 2;
    config.fresh = true;
    start(0);
    tick();
    cr_expect_not(region_accepting(region), "a peer that answers may know of other homes");
    misses(0);
    misses(1);
    cr_expect(region_accepting(region));
}

Test(incarnation, where_the_clock_was_set_back_the_next_numbers_are_left_out)
{
    config.accept_isolated = true;
    config.incarnation = 1800000000000;
    start(0);
    misses(0);
    misses(1);
    now_us += WAIT_US + 1234;
    tick();
    cr_expect_eq(begun(), 1800000000001 + now_us % SECOND_US);
    cr_expect_gt(begun(), 1800000000001, "which an earlier life may have used");
}

Test(incarnation, a_later_one_that_a_peer_holds_is_taken_over)
{
    start(7);
    hears(0, "bank/eu/4", 3, bytes_of(NULL, 0));
    hears(1, "bank/eu/2", 3, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 4);
    cr_expect_not(begun_fresh());
}

/* --- What it continues --- */

Test(incarnation, a_later_log_says_what_it_continues_before_anything_else)
{
    struct resting life;
    config.incarnation = 2;
    start(0);
    hears(0, "", 0, bytes_of(NULL, 0));
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_assert(region_accepting(region));
    cr_assert(lives_find(&region_authority(region)->lives, "eu", 2, &life));
    cr_assert_eq(life.basis_count, 0, "it knows of no earlier one");
    size_t writes = 0;
    for (size_t i = 0; i < update.effect_count; i++) {
        const struct region_effect *effect = &update.effects[i];
        if (effect->type != REGION_WRITE)
            continue;
        writes++;
        cr_assert_eq(effect->block->first_index, 0);
        cr_assert_eq(effect->block->entry_count, 1);
    }
    cr_assert_eq(writes, 1);
}

Test(incarnation, the_first_log_of_a_region_continues_nothing)
{
    struct resting life;
    start(0);
    hears(0, "", 0, bytes_of(NULL, 0));
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_assert(region_accepting(region));
    cr_assert_not(lives_find(&region_authority(region)->lives, "eu", 1, &life));
}

Test(incarnation, a_log_that_continues_what_nobody_has_ends_too)
{
    start_continuing("eu@9", 0);
    hears(0, "bank/eu/1", 0, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 0);
    hears(1, "bank/eu/2", 1, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 3);
    cr_expect(begun_fresh());
    cr_expect_not_null(strstr(begun_why(), "LOST: entries 0 to 8 of log bank/eu/1"), "%s", begun_why());
}

Test(incarnation, what_a_log_continues_is_waited_for_while_a_peer_is_away)
{
    struct region_log_status status;
    start_continuing("eu@9", 0);
    hears(0, "", 0, bytes_of(NULL, 0));
    misses(1);
    now_us += 100 * WAIT_US;
    tick();
    cr_expect_eq(begun(), 0);
    cr_expect_eq(own_state(), REGION_LOG_WAITING);
    region_log_status(region, 0, &status);
    cr_expect_not_null(strstr(status.detail, "continues 9 entries of bank/eu/1"), "%s", status.detail);
    hears(1, "bank/eu/1", 9, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 0, "it is pulled");
    cr_expect_not(region_accepting(region));
}

Test(incarnation, a_log_that_continues_what_is_here_goes_on)
{
    start_continuing("", 0);
    hears(0, "", 0, bytes_of(NULL, 0));
    hears(1, "bank/eu/2", 1, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 0);
    cr_expect(region_accepting(region));
}

/* Nobody seized from eu: it goes on in a later log, without the tail of the first. */
Test(incarnation, what_a_later_life_left_behind_is_late_though_its_region_is_the_home)
{
    struct context bank = {.name = "bank", .default_home = "eu"};
    const struct bytes context = BYTES_LITERAL("bank");
    const struct bytes partition = BYTES_LITERAL("p");
    config.contexts = (struct context_table){.count = 1, .contexts = &bank};
    start_continuing("", 0);
    hears(0, "", 0, bytes_of(NULL, 0));
    hears(1, "bank/eu/2", 1, bytes_of(NULL, 0));
    cr_assert(region_accepting(region));
    cr_expect(region_tail_is_late(region, context, partition, "eu", 1, 0));
    cr_expect(region_tail_is_late(region, context, partition, "eu", 1, 7));
    cr_expect_not(region_tail_is_late(region, context, partition, "eu", 2, 7), "it may come");
    cr_expect_not(region_tail_is_late(region, context, partition, "us", 1, 7), "it may come to be the home");
}

Test(incarnation, whether_what_is_stored_here_is_late_is_the_index_s_to_say)
{
    struct context bank = {.name = "bank", .default_home = "eu"};
    config.contexts = (struct context_table){.count = 1, .contexts = &bank};
    start_continuing("", 3);
    hears(0, "", 0, bytes_of(NULL, 0));
    misses(1);
    cr_expect_not(region_tail_is_late(region, BYTES_LITERAL("bank"), BYTES_LITERAL("p"), "eu", 1, 2));
    cr_expect(region_tail_is_late(region, BYTES_LITERAL("bank"), BYTES_LITERAL("p"), "eu", 1, 3));
}

Test(incarnation, what_a_later_life_continues_is_not_late_before_it_comes)
{
    struct context bank = {.name = "bank", .default_home = "eu"};
    config.contexts = (struct context_table){.count = 1, .contexts = &bank};
    start_continuing("eu@9", 0);
    hears(0, "", 0, bytes_of(NULL, 0));
    misses(1);
    cr_expect_not(region_tail_is_late(region, BYTES_LITERAL("bank"), BYTES_LITERAL("p"), "eu", 1, 8));
}

Test(incarnation, a_number_that_leaves_no_room_for_others_is_not_believed)
{
    start(0);
    hears(0, "bank/eu/18446744073709551615", 3, bytes_of(NULL, 0));
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 0);
    cr_expect(region_accepting(region));
}

Test(incarnation, earlier_ones_are_completed_from_peers)
{
    struct region_log_status status;
    config.incarnation = 3;
    start(0);
    hears(0, "bank/eu/2", 9, bytes_of(NULL, 0));
    cr_assert_eq(region_log_count(region), 2);
    region_log_status(region, 1, &status);
    cr_expect_str_eq(status.origin, "bank/eu/2");
    cr_expect_eq(status.state, REGION_LOG_RETIRED);
    bool pulled = false;
    for (size_t i = 0; i < update.effect_count; i++)
        pulled = pulled || (update.effects[i].type == REGION_OPEN_PULL && update.effects[i].log == 1);
    cr_expect(pulled);
}

Test(incarnation, what_an_earlier_one_lost_is_reported)
{
    struct region_log_status status;
    struct buf note = signed_note("bank/eu/1", 5);
    config.incarnation = 2;
    start(0);
    hears(0, "bank/eu/1", 3, buf_bytes(&note));
    region_log_status(region, 1, &status);
    cr_expect_eq(status.lost_to, status.lost_from, "it is being completed");
    hears(0, "bank/eu/1", 0, buf_bytes(&note));
    region_log_status(region, 1, &status);
    cr_expect_eq(status.lost_from, 0);
    cr_expect_eq(status.lost_to, 5);
    buf_free(&note);
}

Test(incarnation, a_peer_s_later_log_is_kept_when_its_region_names_it_or_its_key_signed_it)
{
    start(0);
    hears(1, "bank/us/2", 4, bytes_of(NULL, 0));
    cr_expect_eq(region_log_count(region), 1, "ap cannot vouch for a log of us");
    hears(0, "bank/us/2", 4, bytes_of(NULL, 0));
    cr_expect_eq(region_log_count(region), 2);
}

Test(incarnation, a_restored_region_of_one_does_not_go_on_with_its_log)
{
    config.restored = true;
    config.peer_count = 0;
    start(0);
    tick();
    cr_expect_gt(begun(), 1000000, "a number that no earlier life can have used");
    cr_expect_not(region_accepting(region));
}

Test(incarnation, a_restored_region_does_not_go_on_with_its_log_though_its_peers_hold_no_more)
{
    config.restored = true;
    start(0);
    hears(0, "bank/eu/1", 0, bytes_of(NULL, 0));
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_expect_gt(begun(), 1000000, "what was signed after the backup may be with readers alone");
    cr_expect_not(region_accepting(region));
}

Test(incarnation, a_restored_region_pulls_back_a_later_life_before_that_ends_too)
{
    config.restored = true;
    start(0);
    hears(0, "bank/eu/3", 5, bytes_of(NULL, 0));
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 3);
    cr_expect_not(begun_fresh(), "peers hold entries of it");
}

Test(incarnation, nothing_is_accepted_before_what_peers_hold_of_an_earlier_life_is_back)
{
    config.incarnation = 2;
    start(0);
    hears(0, "bank/eu/1", 5, bytes_of(NULL, 0));
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_expect_not(region_accepting(region));
    cr_expect_eq(begun(), 0);
    misses(0);
    cr_expect(region_accepting(region), "a peer that is gone again is not waited for");
}

Test(incarnation, a_restored_region_waits_for_the_peers_that_have_not_answered)
{
    config.restored = true;
    start(0);
    hears(0, "bank/eu/1", 0, bytes_of(NULL, 0));
    misses(1);
    cr_expect_eq(begun(), 0);
    cr_expect_not(region_accepting(region));
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_expect_gt(begun(), 1000000);
}

Test(incarnation, a_log_does_not_end_before_what_a_peer_held_of_an_earlier_one_is_back_though_that_peer_is_gone)
{
    config.incarnation = 2;
    config.restored = true;
    start(0);
    hears(0, "bank/eu/1", 5, bytes_of(NULL, 0));
    misses(1);
    misses(0);
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 0);
}

Test(incarnation, a_restored_region_pulls_back_what_its_peers_hold_first)
{
    config.restored = true;
    start(0);
    hears(0, "bank/eu/1", 3, bytes_of(NULL, 0));
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_expect_eq(begun(), 0);
    cr_expect_not(region_accepting(region));
}

/* --- Places for logs --- */

/* The own log, and empty ones of us up to so many logs. */
static void start_with_logs(size_t count)
{
    static struct region_log_found logs[REGION_LOGS_MAX];
    struct err err = {0};
    for (size_t i = 0; i < count; i++) {
        logs[i] = (struct region_log_found){.checkpoint = bytes_of(NULL, 0)};
        snprintf(logs[i].origin, sizeof(logs[i].origin), i == 0 ? "bank/eu/1" : "bank/us/%zu", i);
        chain_init(&logs[i].chain, sha, bytes_of_string(logs[i].origin));
    }
    cr_assert_eq(region_new(&config, logs, count, memory, &region, &err), 0, "%s", err.message);
}

static size_t count_effects(enum region_effect_type type, const char *part)
{
    size_t count = 0;
    for (size_t i = 0; i < update.effect_count; i++)
        count += update.effects[i].type == type && (part == NULL || strstr(update.effects[i].text, part) != NULL);
    return count;
}

Test(incarnation, without_a_place_for_the_next_log_it_waits_and_says_so)
{
    config.accept_isolated = true;
    start_with_logs(REGION_LOGS_MAX);
    misses(0);
    misses(1);
    now_us += WAIT_US;
    misses(0);
    cr_expect_eq(count_effects(REGION_ALARM, "there is no place for the next"), 1);
    misses(1);
    cr_expect_eq(count_effects(REGION_ALARM, NULL), 0, "once is enough");
    cr_expect_eq(begun(), 0, "no start would succeed any more");
    cr_expect_eq(own_state(), REGION_LOG_WAITING);
    struct region_log_status status;
    region_log_status(region, 0, &status);
    cr_expect_not_null(strstr(status.detail, "64 logs are here, which is the limit"), "%s", status.detail);
}

Test(incarnation, with_one_place_left_the_next_log_is_begun)
{
    config.accept_isolated = true;
    start_with_logs(REGION_LOGS_MAX - 1);
    misses(0);
    misses(1);
    now_us += WAIT_US;
    misses(0);
    cr_expect_gt(begun(), 1);
}

/* A peer names ever new logs of a region, of which none is signed. How many are kept. */
static size_t name_logs(size_t peer, const char *of, size_t count)
{
    size_t kept = 0;
    for (size_t i = 2; i < count + 2; i++) {
        char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
        snprintf(origin, sizeof(origin), "bank/%s/%zu", of, i);
        hears(peer, origin, 1, bytes_of(NULL, 0));
        kept += count_effects(REGION_CREATE_LOG, NULL);
    }
    return kept;
}

Test(incarnation, a_region_that_has_many_logs_is_believed_another_once_it_is_signed)
{
    struct checkpoint checkpoint = {.size = 3, .origin = "bank/us/99"};
    struct note_signer key;
    struct buf note;
    start(0);
    cr_expect_eq(name_logs(0, "us", 30), 16);
    hears(0, "bank/us/99", 3, bytes_of(NULL, 0));
    cr_expect_eq(count_effects(REGION_CREATE_LOG, NULL), 0);
    signer("bank/us/1", NOTE_KEY_ED25519, 10, &key);
    buf_init(&note, NOTE_MAX_BYTES);
    cr_assert_eq(note_verifier_rename(&key.verifier, "bank/us/99", NULL), 0);
    cr_assert_eq(checkpoint_sign(&checkpoint, &key, &note, NULL), 0);
    hears(0, "bank/us/99", 3, buf_bytes(&note));
    cr_expect_eq(count_effects(REGION_CREATE_LOG, NULL), 1);
    buf_free(&note);
}

Test(incarnation, a_log_without_a_place_is_told_of_once)
{
    start_with_logs(56); /* all that peers may take */
    hears(1, "bank/ap/1", 5, bytes_of(NULL, 0));
    cr_expect_eq(count_effects(REGION_CREATE_LOG, NULL), 0);
    cr_expect_eq(count_effects(REGION_ALARM, "log bank/ap/1, which peer ap holds, is not copied to here"), 1);
    hears(1, "bank/ap/1", 6, bytes_of(NULL, 0));
    cr_expect_eq(count_effects(REGION_ALARM, NULL), 0);
}

Test(incarnation, logs_of_this_region_leave_one_place)
{
    config.incarnation = 1000;
    start(0);
    cr_expect_eq(name_logs(0, "eu", 100), REGION_LOGS_MAX - 2);
    hears(1, "", 0, bytes_of(NULL, 0));
    cr_expect_eq(own_state(), REGION_LOG_WAITING, "they are to be pulled");
}
