/* Homes: planned moves, seizures, and what a region may write at each moment. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "domain/control.h"
#include "entry/frame.h"
#include "unit/region/fixture.h"

/* --- Support --- */

struct wish {
    struct order order; /* first: the fixture counts its answers */
    struct region_control control;
};

static int ask(struct site *site, struct wish *wish, enum region_control_type type, const char *region,
               const char *partition, bool forced)
{
    static struct bytes partitions[1];
    order_init(&wish->order);
    partitions[0] = bytes_of_string(partition);
    wish->control = (struct region_control){.type = type,
                                            .context = BYTES_LITERAL("bank"),
                                            .partition_count = partition[0] == '\0' ? 0 : 1,
                                            .partitions = partitions,
                                            .actor = BYTES_LITERAL("test"),
                                            .reason = forced ? BYTES_LITERAL("a drill") : bytes_of(NULL, 0),
                                            .forced = forced};
    snprintf(wish->control.region, sizeof(wish->control.region), "%s", region);
    wish->order.command.control = &wish->control;
    site_step(site, (struct region_event){.type = REGION_COMMAND, .command = &wish->order.command});
    return wish->order.command.refusal.code;
}

static struct authority_now home_of(const struct site *site, const char *partition)
{
    struct authority_now now;
    cr_assert_eq(
        authority_now(region_authority(site->region), BYTES_LITERAL("bank"), bytes_of_string(partition), &now, NULL),
        0);
    return now;
}

/* Whether one event to partition "north" is accepted now; the code if not. */
static int try_append(struct site *site, const char *stream, uint64_t id, struct order *order)
{
    order_init(order);
    order_one(order, stream, id, "{}");
    site_submit(site, order);
    return order->command.refusal.code;
}

/* Two regions that hold each other's logs, indexed. */
static void exchange(struct site *a, struct site *b)
{
    struct site *sites[] = {a, b};
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < 2; i++) {
            struct site *to = sites[i];
            struct site *from = sites[1 - i];
            site_written_all(from, 0);
            site_indexed(from, 0);
            site_meet(to, from);
            site_send_blocks(to, from, from->config.region);
            uint32_t log = site_log_number(to, from->config.region);
            site_written_all(to, log);
            site_indexed(to, log);
        }
    }
}

static struct site *second(const char *region)
{
    struct site *site = site_new(region, "eu");
    site_tick(site, 0);
    site_hello(site, "eu", NULL, 0);
    cr_assert(region_accepting(site->region));
    return site;
}

/* --- Handover --- */

Test(homes, a_released_partition_accepts_nothing_from_the_moment_of_the_decision)
{
    struct site *eu = site_accepting("us");
    struct wish wish;
    struct order order;
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "us", "north", false), 0);
    cr_assert_eq(wish.control.changed, 1);
    cr_assert_eq(site_count(eu, REGION_ANSWER), 0, "not durable yet");
    cr_assert_eq(try_append(eu, "s", 1, &order), ERR_WRONG_HOME);
    cr_assert_str_eq(order.command.refusal.home_region, "us");
    cr_assert_not_null(strstr(order.command.refusal.err.message, "handed over"));
    site_written(eu, 0);
    cr_assert_eq(site_count(eu, REGION_ANSWER), 1);
    cr_assert(home_of(eu, "north").released);
    cr_assert_not(home_of(eu, "south").released, "others stay");
    site_free(eu);
}

Test(homes, the_successor_takes_when_its_index_has_applied_the_release)
{
    struct site *eu = site_accepting("us");
    struct site *us = second("us");
    struct wish wish;
    struct order order;
    site_append(eu, "s", 1);
    exchange(eu, us);
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "us", "", false), 0);
    site_written_all(eu, 0);
    site_meet(us, eu);
    site_send_blocks(us, eu, "eu");
    uint32_t log = site_log_number(us, "eu");
    site_written_all(us, log);
    cr_assert(home_of(us, "north").released, "it is durable, so it counts");
    cr_assert_eq(try_append(us, "t", 2, &order), ERR_UNAVAILABLE, "but not taken before it is indexed");
    cr_assert_eq(site_count(us, REGION_WRITE), 0);
    site_indexed(us, log);
    cr_assert_eq(site_count(us, REGION_WRITE), 1, "the taking goes out by itself");
    cr_assert_str_eq(home_of(us, "north").region, "us");
    cr_assert_eq(home_of(us, "north").epoch, 2);
    site_written_all(us, 0);
    cr_assert_eq(try_append(us, "t", 2, &order), ERR_UNAVAILABLE,
                 "the index may still show what the taking makes late");
    site_indexed(us, 0);
    struct order late;
    order_init(&late);
    order_write(&late, "s", STREAM_AT, 0);
    order_event(&late, 3, "{}");
    site_submit(us, &late);
    cr_assert_eq(late.command.refusal.code, 0, "%s", late.command.refusal.err.message);
    site_written_all(us, 0);
    cr_assert_eq(late.results[0].stream_version, 1, "versions go on where the old home stopped");
    site_free(eu);
    site_free(us);
}

Test(homes, a_partition_whose_change_came_back_waits_for_what_this_rests_on)
{
    struct site *eu = site_accepting("us");
    struct site *us = second("us");
    struct wish wish;
    struct order order;
    site_append(eu, "s", 1);
    exchange(eu, us);
    cr_assert_eq(ask(us, &wish, REGION_FAILOVER, "eu", "north", true), 0, "%s", wish.order.command.refusal.err.message);
    exchange(us, eu);
    site_free(us);
    us = site_new("us", "eu"); /* with another disk */
    site_tick(us, 0);
    site_meet(us, eu);
    uint32_t log = site_log_number(us, "eu");
    site_send_blocks(us, eu, "us");
    site_written_all(us, 0);
    site_send_blocks(us, eu, "eu");
    site_written_all(us, log);
    cr_assert_str_eq(home_of(us, "north").region, "us");
    cr_assert(region_accepting(us->region));
    cr_assert_eq(try_append(us, "s", 2, &order), ERR_UNAVAILABLE, "it would not see the stream's head");
    site_indexed(us, log);
    cr_assert_eq(try_append(us, "s", 2, &order), ERR_UNAVAILABLE);
    site_indexed(us, 0);
    cr_assert_eq(try_append(us, "s", 2, &order), 0);
    cr_assert_eq(order.results[0].stream_version, 1);
    site_free(eu);
    site_free(us);
}

Test(homes, a_partition_comes_back_by_another_handover)
{
    struct site *eu = site_accepting("us");
    struct site *us = second("us");
    struct wish wish;
    struct order order;
    exchange(eu, us);
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "us", "north", false), 0);
    exchange(eu, us);
    cr_assert_str_eq(home_of(eu, "north").region, "us");
    cr_assert_eq(ask(us, &wish, REGION_HANDOVER, "eu", "north", false), 0);
    exchange(us, eu);
    cr_assert_eq(home_of(us, "north").epoch, 3);
    cr_assert_str_eq(home_of(us, "north").region, "eu");
    cr_assert_eq(try_append(eu, "s", 1, &order), 0, "%s", order.command.refusal.err.message);
    site_written_all(eu, 0);
    site_free(eu);
    site_free(us);
}

Test(homes, what_is_not_ours_cannot_be_handed_over)
{
    struct site *eu = site_accepting("us");
    struct wish wish, accepted;
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "us", "west", false), ERR_WRONG_HOME);
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "mars", "north", false), ERR_INVALID);
    cr_assert_eq(ask(eu, &accepted, REGION_HANDOVER, "us", "north", false), 0);
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "us", "north", false), ERR_WRONG_HOME, "already on its way");
    site_written_all(eu, 0);
    site_free(eu);
}

Test(homes, a_refused_command_leaves_nothing)
{
    struct site *eu = site_accepting("us");
    struct wish wish;
    struct bytes partitions[] = {BYTES_LITERAL("north"), BYTES_LITERAL("west")};
    order_init(&wish.order);
    wish.control = (struct region_control){.type = REGION_HANDOVER,
                                           .region = "us",
                                           .context = BYTES_LITERAL("bank"),
                                           .partition_count = 2,
                                           .partitions = partitions,
                                           .actor = BYTES_LITERAL("test")};
    wish.order.command.control = &wish.control;
    site_step(eu, (struct region_event){.type = REGION_COMMAND, .command = &wish.order.command});
    cr_assert_eq(wish.order.command.refusal.code, ERR_WRONG_HOME);
    cr_assert_not(home_of(eu, "north").released);
    site_append(eu, "s", 1);
    cr_assert_eq(eu->logs[0].durable_size, 1, "no control event came before it");
    site_free(eu);
}

/* --- Failover --- */

Test(homes, a_region_that_answers_is_not_seized_from_unless_forced_with_a_reason)
{
    struct site *eu = site_accepting("us");
    struct wish wish;
    cr_assert_eq(ask(eu, &wish, REGION_FAILOVER, "us", "west", false), ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(wish.order.command.refusal.err.message, "answers"));
    cr_assert_eq(ask(eu, &wish, REGION_FAILOVER, "us", "west", true), 0, "%s", wish.order.command.refusal.err.message);
    cr_assert_str_eq(home_of(eu, "west").region, "eu");
    cr_assert_eq(home_of(eu, "west").epoch, 2);
    site_written_all(eu, 0);
    site_free(eu);
}

Test(homes, a_seizure_waits_until_the_copy_of_the_lost_log_is_indexed)
{
    struct site *eu = site_accepting("us");
    struct site *us = second("us");
    struct wish wish;
    site_append(eu, "s", 1);
    site_meet(us, eu);
    site_send_blocks(us, eu, "eu");
    uint32_t log = site_log_number(us, "eu");
    site_written_all(us, log);
    site_peer_down(us, "eu");
    cr_assert_eq(ask(us, &wish, REGION_FAILOVER, "eu", "", true), ERR_BUSY, "that cannot be forced");
    site_indexed(us, log);
    cr_assert_eq(ask(us, &wish, REGION_FAILOVER, "eu", "", false), 0, "%s", wish.order.command.refusal.err.message);
    cr_assert_eq(wish.control.changed, 1);
    site_written_all(us, 0);
    cr_assert_str_eq(home_of(us, "north").region, "us");
    site_free(eu);
    site_free(us);
}

Test(homes, an_old_home_fences_itself_when_it_meets_the_higher_epoch)
{
    struct site *eu = site_accepting("us");
    struct site *us = second("us");
    struct wish wish;
    struct order order;
    exchange(eu, us);
    site_append(eu, "tail", 1);
    site_peer_down(us, "eu");
    cr_assert_eq(ask(us, &wish, REGION_FAILOVER, "eu", "", false), 0, "%s", wish.order.command.refusal.err.message);
    site_written_all(us, 0);
    site_indexed(us, 0);
    cr_assert_eq(try_append(eu, "more", 2, &order), 0, "it has not heard of it");
    site_written_all(eu, 0);
    site_meet(eu, us);
    site_send_blocks(eu, us, "us");
    site_written_all(eu, site_log_number(eu, "us"));
    cr_assert_str_eq(home_of(eu, "north").region, "us");
    cr_assert_eq(try_append(eu, "more", 3, &order), ERR_WRONG_HOME);
    cr_assert(
        authority_is_late(region_authority(eu->region), BYTES_LITERAL("bank"), BYTES_LITERAL("north"), 1, "eu", 1, 0));
    site_free(eu);
    site_free(us);
}

Test(homes, an_id_that_only_a_late_entry_has_is_free_at_the_new_home)
{
    struct site *eu = site_accepting("us");
    struct site *us = second("us");
    struct wish wish;
    struct order order;
    exchange(eu, us);
    site_append(eu, "s", 1);
    site_peer_down(us, "eu");
    cr_assert_eq(ask(us, &wish, REGION_FAILOVER, "eu", "", false), 0);
    site_written_all(us, 0);
    site_indexed(us, 0);
    site_meet(us, eu);
    site_send_blocks(us, eu, "eu");
    uint32_t log = site_log_number(us, "eu");
    site_written_all(us, log);
    cr_assert_eq(try_append(us, "s", 1, &order), 0, "%s", order.command.refusal.err.message);
    site_written_all(us, 0);
    cr_assert_not(order.results[0].duplicate);
    cr_assert_eq(order.results[0].stream_version, 0, "the late entry holds no version");
    site_free(eu);
    site_free(us);
}

/* --- Starting again --- */

Test(homes, homes_survive_a_crash)
{
    struct site *eu = site_accepting("us");
    struct wish wish;
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "us", "north", false), 0);
    site_written_all(eu, 0);
    eu = site_restart(eu);
    cr_assert(home_of(eu, "north").released);
    cr_assert_str_eq(home_of(eu, "north").successor, "us");
    site_free(eu);
}

Test(homes, a_release_that_was_received_before_a_crash_is_taken_after_it)
{
    struct site *eu = site_accepting("us");
    struct site *us = second("us");
    struct wish wish;
    exchange(eu, us);
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "us", "", false), 0);
    site_written_all(eu, 0);
    site_meet(us, eu);
    site_send_blocks(us, eu, "eu");
    site_written_all(us, site_log_number(us, "eu"));
    us = site_restart(us);
    site_tick(us, 0);
    site_meet(us, eu);
    cr_assert(region_accepting(us->region));
    site_written_all(us, 0);
    cr_assert_str_eq(home_of(us, "north").region, "us");
    cr_assert_eq(home_of(us, "north").epoch, 2);
    site_free(eu);
    site_free(us);
}

Test(homes, a_region_reads_what_its_peers_had_before_it_accepts)
{
    struct site *eu = site_accepting("us");
    struct site *us = second("us");
    site_append(eu, "s", 1);
    us = site_restart(us);
    site_tick(us, 0);
    site_meet(us, eu);
    cr_assert_not(region_accepting(us->region), "a partition may have found another home meanwhile");
    site_send_blocks(us, eu, "eu");
    site_written_all(us, site_log_number(us, "eu"));
    cr_assert(region_accepting(us->region));
    site_free(eu);
    site_free(us);
}

/* --- Names of the system --- */

/* --- Earlier lives --- */

/* eu with one entry in its log, which it had to end. us holds nothing of it. */
static struct site *eu_begins_again(bool indexed)
{
    struct site *eu = site_accepting("us");
    site_append(eu, "s", 1);
    eu = site_next_life(eu, indexed);
    site_tick(eu, 0);
    site_hello(eu, "us", NULL, 0);
    cr_assert_eq(region_accepting(eu->region), indexed);
    return eu;
}

Test(homes, a_new_log_begins_once_the_index_has_the_earlier_ones_and_says_what_it_continues)
{
    struct site *eu = eu_begins_again(false);
    struct region_log_status status;
    struct order order;
    region_log_status(eu->region, 0, &status);
    cr_assert_not_null(strstr(status.detail, "continues log demo/eu/1"), "%s", status.detail);
    site_indexed(eu, 1);
    site_tick(eu, 0);
    cr_assert(region_accepting(eu->region));
    struct resting life;
    cr_assert(lives_find(&region_authority(eu->region)->lives, "eu", 2, &life));
    cr_assert_eq(life.basis_count, 1);
    cr_assert_eq(resting_end(&life, "eu", 1), 1);
    cr_assert_eq(try_append(eu, "s", 2, &order), 0, "%s", order.command.refusal.err.message);
    cr_assert_eq(order.results[0].stream_version, 1, "the stream goes on");
    site_free(eu);
}

Test(homes, a_partition_is_handed_over_only_to_one_that_holds_the_earlier_logs)
{
    struct site *eu = eu_begins_again(true);
    struct wish wish;
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "us", "north", true), ERR_BUSY, "not even with a reason");
    const struct region_held held = {.origin = "demo/eu/1", .size = 1};
    site_hello(eu, "us", &held, 1);
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "us", "north", false), 0);
    site_free(eu);
}

/* The first block of a log, made here. */
struct made {
    struct sha256 *sha;
    struct chain chain;
    struct block *block;
};

static struct made block_of(struct sha256 *sha, const char *origin)
{
    struct made made = {.sha = sha};
    chain_init(&made.chain, sha, bytes_of_string(origin));
    cr_assert_eq(block_new(0, made.chain.log_id, &made.block, NULL), 0);
    return made;
}

static void add_change(struct made *made, enum control_kind kind, const char *partition, uint64_t epoch,
                       const struct control_authority *change)
{
    struct buf payload, encoded;
    uint64_t index = made->chain.range.size;
    buf_init(&payload, CONTROL_PAYLOAD_MAX_BYTES);
    buf_init(&encoded, ENTRY_MAX_BYTES);
    cr_assert_eq(control_authority_encode(kind, change, &payload, NULL), 0);
    struct frame frame = {.payload = buf_bytes(&payload), .has_payload = true, .salt = {1}};
    struct entry entry = {.index = index,
                          .time = 1 + index,
                          .event_id = {1, (uint8_t)index},
                          .epoch = epoch,
                          .flags = ENTRY_FLAG_CONTROL,
                          .context = BYTES_LITERAL("bank"),
                          .partition = bytes_of_string(partition),
                          .stream = BYTES_LITERAL(CONTROL_STREAM),
                          .type = bytes_of_string(control_type(kind)),
                          .prev = made->chain.prev,
                          .payload_size_bytes = payload.size_bytes,
                          .payload_commitment = entry_payload_commitment(made->sha, frame.salt, buf_bytes(&payload))};
    memcpy(entry.log_id, made->chain.log_id, ENTRY_LOG_ID_SIZE);
    memcpy(entry.event_id + 8, made->chain.log_id, ENTRY_LOG_ID_SIZE);
    cr_assert_eq(entry_encode(&entry, &encoded, NULL), 0);
    frame.entry = buf_bytes(&encoded);
    cr_assert_eq(block_add(made->block, &frame, NULL), 0);
    chain_append(&made->chain, made->sha, frame.entry, entry.time);
    buf_free(&encoded);
    buf_free(&payload);
}

/* The log of a peer has the block, and this site receives it and makes it durable. */
static void receive(struct site *site, const char *peer, struct made *made)
{
    struct region_held held = {.size = made->chain.range.size};
    snprintf(held.origin, sizeof(held.origin), "demo/%s/1", peer);
    site_hello(site, peer, &held, 1);
    uint32_t log = site_log_number(site, peer);
    block_seal(made->block);
    site_step(site, (struct region_event){
                        .type = REGION_PULL_BLOCK, .peer = site_peer(site, peer), .log = log, .block = made->block});
    block_release(made->block);
    cr_assert_eq(site_count(site, REGION_ALARM), 0);
    site_written_all(site, log);
}

/* The first block of us's log: it seizes what eu has, on this basis. */
static struct block *seizure_of_us(struct sha256 *sha, const char *basis)
{
    struct control_authority change = {.previous = BYTES_LITERAL("eu"), .actor = BYTES_LITERAL("test")};
    struct made made = block_of(sha, "demo/us/1");
    cr_assert_eq(position_parse(bytes_of_string(basis), &change.basis, NULL), 0);
    add_change(&made, CONTROL_AUTHORITY_SEIZED, "north", 2, &change);
    block_seal(made.block);
    return made.block;
}

/* ap seized "north" in vain; eu, which knew nothing of that, hands over everything, under a higher epoch. */
static void hand_over_what_was_seized_in_vain(bool before)
{
    struct site *us = site_new("us", "eu ap");
    const struct control_authority seizure = {.actor = BYTES_LITERAL("test")};
    const struct control_authority release = {.successor = BYTES_LITERAL("us"), .actor = BYTES_LITERAL("test")};
    struct made of_ap = block_of(us->sha, "demo/ap/1");
    struct made of_eu = block_of(us->sha, "demo/eu/1");
    add_change(&of_ap, CONTROL_AUTHORITY_SEIZED, "north", 2, &seizure);
    add_change(&of_eu, CONTROL_AUTHORITY_SEIZED, "*", 3, &seizure);
    add_change(&of_eu, CONTROL_AUTHORITY_RELEASED, "*", 3, &release);
    site_tick(us, 0);
    site_hello(us, "eu", NULL, 0);
    site_hello(us, "ap", NULL, 0);
    cr_assert(region_accepting(us->region));
    if (before)
        receive(us, "ap", &of_ap);
    receive(us, "eu", &of_eu);
    if (!before)
        receive(us, "ap", &of_ap);
    cr_assert(home_of(us, "north").released);
    site_indexed(us, site_log_number(us, "ap"));
    site_indexed(us, site_log_number(us, "eu"));
    cr_expect_str_eq(home_of(us, "south").region, "us");
    cr_expect_str_eq(home_of(us, "north").region, "us", "\"*\" speaks of it no more, so it is taken by itself");
    cr_expect_eq(home_of(us, "north").epoch, 4);
    site_free(us);
}

Test(homes, a_partition_that_another_seized_in_vain_is_taken_with_all_the_others)
{
    hand_over_what_was_seized_in_vain(true);
}

Test(homes, a_partition_that_turns_out_to_be_seized_in_vain_is_taken_too)
{
    hand_over_what_was_seized_in_vain(false);
}

Test(homes, a_log_that_a_change_rests_on_is_kept_though_only_another_peer_names_it)
{
    struct site *eu = site_accepting("us ap");
    const struct region_held held[] = {{.origin = "demo/us/1", .size = 1}, {.origin = "demo/ap/2", .size = 3}};
    site_hello(eu, "us", held, 2);
    cr_assert_eq(region_log_count(eu->region), 2, "us cannot vouch for a log of ap");
    struct block *block = seizure_of_us(eu->sha, "ap.2@3");
    site_step(eu,
              (struct region_event){.type = REGION_PULL_BLOCK, .peer = site_peer(eu, "us"), .log = 1, .block = block});
    block_release(block);
    cr_assert_eq(site_count(eu, REGION_ALARM), 0);
    site_written_all(eu, 1);
    cr_assert_str_eq(home_of(eu, "north").region, "eu", "the seizure waits");
    site_hello(eu, "us", held, 2);
    cr_assert_eq(region_log_count(eu->region), 3);
    site_free(eu);
}

Test(homes, clients_cannot_use_the_systems_names)
{
    static const char *const names[] = {"$control", "$", "*"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct order order;
        struct region_refusal refusal;
        order_init(&order);
        order_one(&order, "s", 1, "{}");
        order.writes[0].partition = bytes_of_string(names[i]);
        cr_assert_eq(region_command_check(&order.command, &refusal), ERR_INVALID, "%s", names[i]);
        order.writes[0].partition = BYTES_LITERAL("north");
        order.writes[0].stream = bytes_of_string(names[i]);
        cr_assert_eq(region_command_check(&order.command, &refusal), ERR_INVALID, "%s", names[i]);
        order.writes[0].stream = BYTES_LITERAL("s");
        order.events[0][0].type = bytes_of_string(names[i]);
        cr_assert_eq(region_command_check(&order.command, &refusal), ERR_INVALID, "%s", names[i]);
    }
}
