#include "unit/region/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "entry/frame.h"

enum { INTERVAL_US = 100 * 1000, HELLO_US = 1000 * 1000, TIMEOUT_US = 5 * 1000 * 1000 };

/* --- Life --- */

static void signer(const char *name, enum note_key_type type, uint8_t salt, struct note_signer *ret)
{
    uint8_t seed[32] = {salt};
    memcpy(seed + 1, name, strlen(name));
    cr_assert_eq(note_signer_from_seed(name, type, seed, ret, NULL), 0);
}

static void origin_of(const char *region, char out[ENTRY_ORIGIN_MAX_BYTES + 1])
{
    snprintf(out, ENTRY_ORIGIN_MAX_BYTES + 1, "demo/%s/1", region);
}

void site_log_signer(const char *region, struct note_signer *ret)
{
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    origin_of(region, origin);
    signer(origin, NOTE_KEY_ED25519, 1, ret);
}

void site_cosign_signer(const char *region, struct note_signer *ret)
{
    char name[64];
    snprintf(name, sizeof(name), "demo/%s", region);
    signer(name, NOTE_KEY_COSIGNATURE, 2, ret);
}

void site_witness_signer(const char *witness, struct note_signer *ret)
{
    char name[64];
    snprintf(name, sizeof(name), "witness.example/%s", witness);
    signer(name, NOTE_KEY_COSIGNATURE, (uint8_t)witness[0], ret);
}

static struct context_table contexts(struct site *site)
{
    static const struct context_home homes[] = {{.partition = "west", .region = "us"}};
    static const struct context_type types[] = {{.type = "Frozen", .override = true}};
    site->table[0] = (struct context){
        .name = "bank", .default_home = "eu", .home_count = 1, .homes = homes, .type_count = 1, .types = types};
    site->table[1] = (struct context){.name = "shop", .default_home = "us"};
    site->table[2] = (struct context){.name = "till", .default_home = "eu"};
    site->table[3] = (struct context){.name = CONTEXT_SYSTEM, .default_home = "eu"};
    return (struct context_table){.count = 4, .contexts = site->table};
}

static void add_peer(struct site *site, const char *name, size_t size)
{
    struct region_peer_config *peer = &site->config.peers[site->config.peer_count++];
    struct note_signer keys;
    snprintf(peer->region, sizeof(peer->region), "%.*s", (int)size, name);
    snprintf(peer->address, sizeof(peer->address), "%.*s.example:7001", (int)size, name);
    site_log_signer(peer->region, &keys);
    peer->log_keys = (struct keyring){1, {keys.verifier}};
    site_cosign_signer(peer->region, &keys);
    peer->cosign_keys = (struct keyring){1, {keys.verifier}};
}

void site_configure(struct site *site, const char *region, const char *peers)
{
    site_log_signer(region, &site->log_signer);
    site_cosign_signer(region, &site->cosign_signer);
    site->config = (struct region_config){.cluster = "demo",
                                          .incarnation = 1,
                                          .log_signers = {1, {&site->log_signer}},
                                          .cosign_signers = {1, {&site->cosign_signer}},
                                          .contexts = site->contexts,
                                          .checkpoint_interval_us = INTERVAL_US,
                                          .hello_interval_us = HELLO_US,
                                          .peer_timeout_us = TIMEOUT_US};
    snprintf(site->config.region, sizeof(site->config.region), "%s", region);
    for (const char *name = peers; *name != '\0'; name += strspn(name, " ")) {
        size_t size = strcspn(name, " ");
        add_peer(site, name, size);
        name += size;
    }
}

/* A site whose region is not made yet. */
static struct site *site_bare(void)
{
    struct site *site = mem_alloc_zero(1, sizeof(*site));
    cr_assert_not_null(site);
    site->contexts = contexts(site);
    site->index = index_memory_new(&site->contexts);
    site->sha = sha256_new();
    cr_assert(site->index != NULL && site->sha != NULL);
    region_update_init(&site->update);
    site->now = (struct time_now){.wall_us = 1700000000000000, .mono_us = 1000000};
    for (size_t i = 0; i < SITE_LOGS_MAX; i++) {
        buf_init(&site->logs[i].saving_note, NOTE_MAX_BYTES);
        buf_init(&site->logs[i].note, NOTE_MAX_BYTES);
        buf_init(&site->logs[i].published, NOTE_MAX_BYTES);
        buf_init(&site->logs[i].cosignature, NOTE_MAX_BYTES);
    }
    return site;
}

struct site *site_new(const char *region, const char *peers)
{
    return site_new_promising(region, peers, NULL);
}

static void add_witness(struct site *site, const char *name)
{
    struct note_signer key;
    site_witness_signer(name, &key);
    site->config.witnesses[site->config.witness_count++] = (struct keyring){1, {key.verifier}};
}

static struct site *new_with(const char *region, const char *peers, const struct promises *policy,
                             const struct context_rules *rules, bool witnessed)
{
    struct site *site = site_bare();
    struct region_log_found found = {.checkpoint = {0}};
    if (policy != NULL)
        site->table[0].promises = *policy;
    if (rules != NULL)
        site->table[0].rules = *rules;
    struct err err = {0};
    site_configure(site, region, peers);
    if (witnessed) {
        add_witness(site, "one");
        add_witness(site, "two");
    }
    origin_of(region, found.origin);
    chain_init(&found.chain, site->sha, bytes_of_string(found.origin));
    cr_assert_eq(region_new(&site->config, &found, 1, site->index, &site->region, &err), 0, "%s", err.message);
    return site;
}

struct site *site_new_promising(const char *region, const char *peers, const struct promises *policy)
{
    return new_with(region, peers, policy, NULL, false);
}

struct site *site_new_ruled(const char *region, const char *peers, const struct context_rules *rules)
{
    return new_with(region, peers, NULL, rules, false);
}

struct site *site_new_witnessed(const char *region, const char *peers)
{
    return new_with(region, peers, NULL, NULL, true);
}

/* What is on the disk after a crash: durable blocks and stored notes move to the new site, as logs `first` and up. */
static void move_disk(struct site *site, struct site *before, uint32_t first, struct region_log_found *found)
{
    for (uint32_t i = 0; i < region_log_count(before->region); i++) {
        struct site_log *to = &site->logs[first + i];
        struct site_log *from = &before->logs[i];
        struct region_log_status status;
        region_log_status(before->region, i, &status);
        memcpy(found[i].origin, status.origin, sizeof(status.origin));
        chain_init(&found[i].chain, site->sha, bytes_of_string(status.origin));
        for (size_t b = 0; b < from->durable_count; b++) {
            struct block *block = block_retain(from->blocks[b]);
            cr_assert_eq(chain_check_block(&found[i].chain, site->sha, block_body(block), block->entry_count, NULL,
                                           NULL, NULL, NULL),
                         0);
            to->blocks[b] = block;
        }
        to->block_count = to->durable_count = from->durable_count;
        to->durable_size = from->durable_size;
        to->note_size = from->note_size;
        cr_assert_eq(buf_append(&to->note, buf_bytes(&from->note)), 0);
        found[i].checkpoint = buf_bytes(&to->note);
    }
}

static void index_durable(struct site *site, uint32_t log, const char *origin, size_t blocks_max);

/* A new process of the same region. */
static struct site *successor(const struct site *before)
{
    struct site *site = site_bare();
    site->now = before->now;
    site->config = before->config;
    site->table[0].promises = before->table[0].promises;
    site->table[0].rules = before->table[0].rules;
    site->config.contexts = site->contexts;
    site->log_signer = before->log_signer;
    site->cosign_signer = before->cosign_signer;
    site->config.log_signers = (struct signers){1, {&site->log_signer}};
    site->config.cosign_signers = (struct signers){1, {&site->cosign_signer}};
    return site;
}

struct site *site_next_life(struct site *before, bool indexed)
{
    struct site *site = successor(before);
    struct region_log_found found[SITE_LOGS_MAX] = {0};
    struct err err = {0};
    size_t count = region_log_count(before->region) + 1;
    site->config.incarnation++;
    snprintf(found[0].origin, sizeof(found[0].origin), "demo/%s/%llu", site->config.region,
             (unsigned long long)site->config.incarnation);
    cr_assert_eq(note_verifier_rename(&site->log_signer.verifier, found[0].origin, NULL), 0);
    chain_init(&found[0].chain, site->sha, bytes_of_string(found[0].origin));
    move_disk(site, before, 1, found + 1);
    for (uint32_t i = 1; indexed && i < count; i++)
        index_durable(site, i, found[i].origin, SITE_BLOCKS_MAX);
    site_free(before);
    cr_assert_eq(region_new(&site->config, found, count, site->index, &site->region, &err), 0, "%s", err.message);
    return site;
}

struct site *site_restart(struct site *before)
{
    struct site *site = successor(before);
    struct region_log_found found[SITE_LOGS_MAX] = {0};
    struct err err = {0};
    size_t count = region_log_count(before->region);
    move_disk(site, before, 0, found);
    for (size_t blocks = 1; blocks <= SITE_BLOCKS_MAX; blocks++) { /* together: a change in one log rests on others */
        for (uint32_t i = 0; i < count; i++)
            index_durable(site, i, found[i].origin, blocks);
    }
    site_free(before);
    cr_assert_eq(region_new(&site->config, found, count, site->index, &site->region, &err), 0, "%s", err.message);
    return site;
}

void site_free(struct site *site)
{
    region_update_free(&site->update);
    region_free(site->region);
    index_close(site->index);
    sha256_free(site->sha);
    for (size_t i = 0; i < SITE_LOGS_MAX; i++) {
        for (size_t b = 0; b < site->logs[i].block_count; b++)
            block_release(site->logs[i].blocks[b]);
        buf_free(&site->logs[i].saving_note);
        buf_free(&site->logs[i].note);
        buf_free(&site->logs[i].published);
        buf_free(&site->logs[i].cosignature);
    }
    mem_free(site);
}

struct site *site_alone(void)
{
    struct site *site = site_new("eu", "");
    site_tick(site, 0);
    cr_assert(region_accepting(site->region));
    return site;
}

struct site *site_accepting(const char *peers)
{
    return site_promising(peers, NULL);
}

struct site *site_promising(const char *peers, const struct promises *policy)
{
    struct site *site = site_new_promising("eu", peers, policy);
    site_tick(site, 0);
    for (size_t i = 0; i < site->config.peer_count; i++)
        site_hello(site, site->config.peers[i].region, NULL, 0);
    cr_assert(region_accepting(site->region));
    return site;
}

/* --- The rules that hold always --- */

static void check_write(struct site *site, const struct region_effect *effect)
{
    struct site_log *log = &site->logs[effect->log];
    cr_assert_lt(log->block_count, SITE_BLOCKS_MAX);
    cr_assert_eq(effect->size, effect->block->first_index + effect->block->entry_count);
    log->blocks[log->block_count++] = block_retain(effect->block);
    if (effect->log == 0 && region_accepting(site->region))
        cr_assert_eq(log->block_count, log->durable_count + 1, "one write of the own log at a time");
}

static void check_save(struct site *site, const struct region_effect *effect)
{
    struct site_log *log = &site->logs[effect->log];
    cr_assert_not(log->saving, "one save of a log at a time");
    cr_assert_leq(effect->size, log->durable_size, "only what is durable is signed");
    if (effect->published)
        cr_assert_leq(effect->size, log->note_size, "a checkpoint is stored before it is published");
    else
        cr_assert_gt(effect->size, log->note_size, "a size is signed once");
    log->saving = true;
    log->saving_published = effect->published;
    log->saving_size = effect->size;
    buf_clear(&log->saving_note);
    cr_assert_eq(buf_append(&log->saving_note, buf_bytes(&effect->note)), 0);
}

static void check_answer(const struct site *site, const struct region_effect *effect)
{
    struct order *order = (struct order *)(void *)effect->command;
    order->answers++;
    cr_assert_eq(order->answers, 1, "a command is answered once");
    if (effect->command->refusal.code == 0)
        cr_assert_leq(effect->command->ticket, site->logs[0].durable_size,
                      "nothing accepted is answered before its ticket is durable");
}

static void check_acknowledgement(struct site *site, const struct region_effect *effect)
{
    struct site_log *log = &site->logs[effect->log];
    cr_assert_leq(effect->size, log->durable_size, "only what is durable is acknowledged");
    cr_assert_leq(effect->cosigned_size, log->note_size, "only what is stored is cosigned");
    log->acknowledged_size = effect->size;
    if (effect->note.size_bytes > 0) {
        buf_clear(&log->cosignature);
        cr_assert_eq(buf_append(&log->cosignature, buf_bytes(&effect->note)), 0);
        log->cosigned_size = effect->cosigned_size;
    }
}

static void check_effects(struct site *site)
{
    for (size_t i = 0; i < site->update.effect_count; i++) {
        const struct region_effect *effect = &site->update.effects[i];
        if (effect->type == REGION_HELLO)
            site->asked_us[effect->peer] = site->now.mono_us;
        if (effect->type == REGION_WRITE)
            check_write(site, effect);
        else if (effect->type == REGION_SAVE_CHECKPOINT)
            check_save(site, effect);
        else if (effect->type == REGION_ANSWER)
            check_answer(site, effect);
        else if (effect->type == REGION_SEND_ACK)
            check_acknowledgement(site, effect);
    }
    cr_assert(site->update.deadline_mono_us > site->now.mono_us || site->update.effect_count > 0,
              "a deadline in the past without an effect would be a busy loop");
}

/* --- Events --- */

int site_step_failing(struct site *site, struct region_event event, uint64_t fail_at)
{
    struct err err = {0};
    event.now = site->now;
    mem_fail_at(fail_at);
    int code = region_step(site->region, &event, &site->update, &err);
    mem_fail_at(0);
    if (code == 0)
        check_effects(site);
    return code;
}

void site_step(struct site *site, struct region_event event)
{
    cr_assert_eq(site_step_failing(site, event, 0), 0);
}

void site_tick(struct site *site, uint64_t us)
{
    site->now.mono_us += us;
    site->now.wall_us += us;
    site_step(site, (struct region_event){.type = REGION_TIMER});
}

static void hello(struct site *site, const char *peer, const struct region_held *held, size_t held_count,
                  const struct region_lease_answer *answer)
{
    size_t number = site_peer(site, peer);
    site_step(site, (struct region_event){.type = REGION_PEER_HELLO,
                                          .peer = number,
                                          .asked_us = site->asked_us[number],
                                          .granted = answer != NULL && answer->granted,
                                          .abstains = answer != NULL && answer->abstains,
                                          .left_us = answer == NULL ? 0 : answer->left_us,
                                          .held = held,
                                          .held_count = held_count});
}

void site_hello(struct site *site, const char *peer, const struct region_held *held, size_t held_count)
{
    hello(site, peer, held, held_count, NULL);
}

void site_peer_down(struct site *site, const char *peer)
{
    struct err err = {.code = ERR_UNAVAILABLE, .message = "no route"};
    site_step(site, (struct region_event){.type = REGION_PEER_DOWN, .peer = site_peer(site, peer), .err = &err});
}

void site_written(struct site *site, uint32_t log)
{
    struct site_log *disk = &site->logs[log];
    cr_assert_lt(disk->durable_count, disk->block_count, "there is nothing to become durable");
    const struct block *block = disk->blocks[disk->durable_count++];
    disk->durable_size = block->first_index + block->entry_count;
    site_step(site, (struct region_event){.type = REGION_WRITTEN, .log = log, .size = disk->durable_size});
}

void site_written_all(struct site *site, uint32_t log)
{
    while (site->logs[log].durable_count < site->logs[log].block_count)
        site_written(site, log);
}

void site_saved(struct site *site, uint32_t log)
{
    struct site_log *disk = &site->logs[log];
    cr_assert(disk->saving, "there is nothing to be saved");
    struct buf *note = disk->saving_published ? &disk->published : &disk->note;
    buf_clear(note);
    cr_assert_eq(buf_append(note, buf_bytes(&disk->saving_note)), 0);
    if (!disk->saving_published)
        disk->note_size = disk->saving_size;
    disk->saving = false;
    site_step(site, (struct region_event){.type = REGION_CHECKPOINT_SAVED, .log = log, .size = disk->saving_size});
}

/* False: the entry begins an epoch, and what it rests on is not applied yet. */
static bool apply_element(struct site *site, uint32_t number, uint64_t noted, struct bytes *elements)
{
    struct frame frame;
    struct entry entry;
    cr_assert_eq(frame_next_entry(elements, &frame, &entry, NULL), 0);
    struct index_entry item = {
        .entry = &entry, .fingerprint = entry_fingerprint(site->sha, &entry, frame.payload), .payload = frame.payload};
    cr_assert(noted == 0 || noted == item.fingerprint, "entry %llu was noted with another fingerprint than it has",
              (unsigned long long)entry.index);
    if (entry.index < index_applied_size(site->index, number))
        return true;
    if (!index_ready(site->index, number, &item))
        return false;
    cr_assert_eq(index_apply(site->index, number, &item, 1, NULL), 0);
    return true;
}

/* Taking back what a change makes late is the applier's, which these tests do without. */
static void index_durable(struct site *site, uint32_t log, const char *origin, size_t blocks_max)
{
    struct site_log *disk = &site->logs[log];
    uint32_t number = 0;
    bool ready = true;
    cr_assert_eq(index_log(site->index, bytes_of_string(origin), &number, NULL), 0);
    for (size_t i = 0; i < disk->durable_count && i < blocks_max; i++) {
        struct bytes elements = block_body(disk->blocks[i]);
        for (uint32_t n = 0; ready && n < disk->blocks[i]->entry_count; n++)
            ready = apply_element(site, number, block_fingerprint(disk->blocks[i], n), &elements);
    }
    disk->indexed_size = index_applied_size(site->index, number);
}

void site_indexed(struct site *site, uint32_t log)
{
    struct region_log_status status;
    region_log_status(site->region, log, &status);
    index_durable(site, log, status.origin, SITE_BLOCKS_MAX);
    site_step(site, (struct region_event){.type = REGION_INDEXED, .log = log, .size = site->logs[log].indexed_size});
}

/* --- What the last step did --- */

size_t site_count(const struct site *site, enum region_effect_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < site->update.effect_count; i++)
        count += site->update.effects[i].type == type;
    return count;
}

const struct region_effect *site_effect(const struct site *site, enum region_effect_type type)
{
    for (size_t i = 0; i < site->update.effect_count; i++) {
        if (site->update.effects[i].type == type)
            return &site->update.effects[i];
    }
    cr_assert_fail("the last step had no effect of type %d", (int)type);
    abort(); /* not reached */
}

uint32_t site_log_number(const struct site *site, const char *region)
{
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    origin_of(region, origin);
    for (uint32_t i = 0; i < region_log_count(site->region); i++) {
        struct region_log_status status;
        region_log_status(site->region, i, &status);
        if (strcmp(status.origin, origin) == 0)
            return i;
    }
    cr_assert_fail("%s does not know the log %s", site->config.region, origin);
    abort(); /* not reached */
}

size_t site_peer(const struct site *site, const char *peer)
{
    for (size_t i = 0; i < site->config.peer_count; i++) {
        if (strcmp(site->config.peers[i].region, peer) == 0)
            return i;
    }
    cr_assert_fail("%s has no peer %s", site->config.region, peer);
    abort(); /* not reached */
}

enum region_log_state site_state(const struct site *site, uint32_t log)
{
    struct region_log_status status;
    region_log_status(site->region, log, &status);
    return status.state;
}

/* --- Two sites --- */

void site_meet(struct site *to, const struct site *from)
{
    site_meet_granting(to, from, NULL);
}

void site_meet_granting(struct site *to, const struct site *from, const struct region_lease_answer *answer)
{
    struct region_held held[SITE_LOGS_MAX] = {0};
    size_t count = region_log_count(from->region);
    for (uint32_t i = 0; i < count; i++) {
        struct region_log_status status;
        region_log_status(from->region, i, &status);
        memcpy(held[i].origin, status.origin, sizeof(status.origin));
        held[i].size = status.size;
        held[i].checkpoint = buf_bytes(&from->logs[i].note);
        held[i].obeyed = answer == NULL ? 0 : answer->obeyed[i];
    }
    hello(to, from->config.region, held, count, answer);
}

void site_send_blocks(struct site *to, const struct site *from, const char *region)
{
    uint32_t log = site_log_number(to, region);
    const struct site_log *source = &from->logs[site_log_number(from, region)];
    const struct site_log *have = &to->logs[log];
    uint64_t next = 0;
    if (have->block_count > 0)
        next = have->blocks[have->block_count - 1]->first_index + have->blocks[have->block_count - 1]->entry_count;
    for (size_t i = 0; i < source->durable_count; i++) {
        if (source->blocks[i]->first_index >= next)
            site_step(to, (struct region_event){.type = REGION_PULL_BLOCK,
                                                .peer = site_peer(to, from->config.region),
                                                .log = log,
                                                .block = source->blocks[i]});
    }
}

void site_send_note(struct site *to, const struct site *from, const char *region)
{
    const struct site_log *source = &from->logs[site_log_number(from, region)];
    site_step(to, (struct region_event){.type = REGION_PULL_CHECKPOINT,
                                        .peer = site_peer(to, from->config.region),
                                        .log = site_log_number(to, region),
                                        .note = buf_bytes(&source->note)});
}

void site_send_acknowledgement(struct site *to, const struct site *from)
{
    const struct site_log *log = &from->logs[site_log_number(from, to->config.region)];
    site_step(to, (struct region_event){.type = REGION_ACKNOWLEDGED,
                                        .peer = site_peer(to, from->config.region),
                                        .size = log->acknowledged_size,
                                        .note = buf_bytes(&log->cosignature),
                                        .cosigned_size = log->cosigned_size});
}

/* --- Commands --- */

void event_id_of(uint64_t number, uint8_t ret[ENTRY_ID_SIZE])
{
    memset(ret, 0xee, ENTRY_ID_SIZE);
    put_u64_be(ret, number);
}

void order_init(struct order *order)
{
    memset(order, 0, sizeof(*order));
    order->command.writes = order->writes;
    order->command.results = order->results;
}

struct region_stream_write *order_write(struct order *order, const char *stream, enum stream_expectation expectation,
                                        uint64_t expected_version)
{
    cr_assert_lt(order->command.write_count, ORDER_WRITES_MAX);
    struct region_stream_write *write = &order->writes[order->command.write_count];
    *write = (struct region_stream_write){.context = BYTES_LITERAL("bank"),
                                          .partition = BYTES_LITERAL("north"),
                                          .stream = bytes_of_string(stream),
                                          .expectation = expectation,
                                          .expected_version = expected_version,
                                          .events = order->events[order->command.write_count]};
    order->command.write_count++;
    return write;
}

struct region_new_event *order_event(struct order *order, uint64_t id, const char *payload)
{
    struct region_stream_write *write = &order->writes[order->command.write_count - 1];
    cr_assert_lt(write->event_count, ORDER_EVENTS_MAX);
    struct region_new_event *event = &write->events[write->event_count++];
    event->type = BYTES_LITERAL("Deposited");
    event->payload = bytes_of_string(payload);
    event_id_of(id, event->id);
    return event;
}

void order_one(struct order *order, const char *stream, uint64_t id, const char *payload)
{
    order_init(order);
    order_write(order, stream, STREAM_ANY, 0);
    order_event(order, id, payload);
}

void site_prepare(struct site *site, struct order *order)
{
    struct region_refusal refusal;
    struct err err = {0};
    cr_assert_eq(region_command_check(&order->command, &refusal), 0, "%s", refusal.err.message);
    cr_assert_eq(region_command_prepare(&order->command, site->sha, site->index, &err), 0, "%s", err.message);
}

void site_decide(struct site *site, struct order *order)
{
    site_step(site, (struct region_event){.type = REGION_COMMAND, .command = &order->command});
    const struct region_lease_answer said = {.granted = true, .abstains = site->abstains};
    bool failover = order->command.control != NULL && order->command.control->type == REGION_FAILOVER;
    for (size_t i = 0; failover && i < site->config.peer_count; i++) {
        struct region_peer_status status;
        region_peer_status(site->region, i, &status);
        if (order->answers == 0 && status.up &&
            strcmp(site->config.peers[i].region, order->command.control->region) != 0)
            hello(site, site->config.peers[i].region, NULL, 0, &said); /* as nothing has changed */
    }
}

void site_submit(struct site *site, struct order *order)
{
    site_prepare(site, order);
    site_decide(site, order);
}

void site_create(struct site *site, struct order *order, struct region_define *define, const struct context *context)
{
    order_init(order);
    *define = (struct region_define){.context = context, .actor = BYTES_LITERAL("test")};
    order->command.define = define;
    site_step(site, (struct region_event){.type = REGION_COMMAND, .command = &order->command});
    cr_assert_eq(order->command.refusal.code, 0, "%s", order->command.refusal.err.message);
}

void site_append(struct site *site, const char *stream, uint64_t id)
{
    struct order order;
    order_one(&order, stream, id, "1");
    site_submit(site, &order);
    site_written_all(site, 0);
    cr_assert_eq(order.answers, 1);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
}
