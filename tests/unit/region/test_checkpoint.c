/* Signing, storing, cosigning and publishing. That only what is durable is signed, only what is stored is cosigned or
 * published, and no size is signed twice, is checked by the fixture at every step. */
#include <criterion/criterion.h>

#include "region/region_internal.h"
#include "unit/region/fixture.h"

/* eu with one event and its checkpoint stored. */
static struct site *signed_site(const char *peers)
{
    struct site *eu = site_accepting(peers);
    site_append(eu, "s", 1);
    site_saved(eu, 0);
    cr_assert_eq(eu->logs[0].note_size, 1);
    return eu;
}

/* us mirrors eu's log, and has cosigned its checkpoint. */
static struct site *mirror_of(const struct site *eu, const char *region)
{
    struct site *mirror = site_new(region, "eu");
    site_tick(mirror, 0);
    site_meet(mirror, eu);
    uint32_t log = site_log_number(mirror, "eu");
    site_send_blocks(mirror, eu, "eu");
    site_written_all(mirror, log);
    site_send_note(mirror, eu, "eu");
    site_saved(mirror, log);
    return mirror;
}

static void cosigned(struct site *eu, const char *peer, uint64_t size, struct bytes line)
{
    site_step(eu, (struct region_event){.type = REGION_ACKNOWLEDGED,
                                        .peer = site_peer(eu, peer),
                                        .size = size,
                                        .cosigned_size = size,
                                        .note = line});
}

/* The line with which a region would cosign eu's stored checkpoint; text may be another one. */
static void cosignature(const struct site *eu, const char *region, struct bytes text, struct buf *ret)
{
    struct note_signer signer;
    struct note note;
    site_cosign_signer(region, &signer);
    cr_assert_eq(note_parse(buf_bytes(&eu->logs[0].note), &note, NULL), 0);
    buf_init(ret, NOTE_MAX_BYTES);
    cr_assert_eq(note_sign(&signer, text.size_bytes == 0 ? note.text : text, 1700000000, ret, NULL), 0);
}

/* --- Signing --- */

Test(checkpoint, is_signed_once_its_entries_are_durable)
{
    struct site *eu = site_alone();
    struct order order;
    struct checkpoint checkpoint;
    order_one(&order, "s", 1, "1");
    site_submit(eu, &order);
    cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0);
    site_written(eu, 0);
    const struct region_effect *effect = site_effect(eu, REGION_SAVE_CHECKPOINT);
    cr_assert_not(effect->published);
    cr_assert_eq(checkpoint_open(buf_bytes(&effect->note), &eu->log_signer.verifier, &checkpoint, NULL), 0);
    cr_assert_eq(checkpoint.size, 1);
    struct merkle_range range = region_own(eu->region)->mirror.chain.range;
    struct hash root = merkle_range_root(&range, eu->sha);
    cr_assert(hash_equal(&checkpoint.root, &root));
    site_free(eu);
}

Test(checkpoint, covers_nothing_that_is_still_being_written)
{
    struct site *eu = site_alone();
    struct order orders[2];
    for (size_t i = 0; i < 2; i++) {
        order_one(&orders[i], "s", i + 1, "1");
        site_submit(eu, &orders[i]);
    }
    site_written(eu, 0);
    cr_assert_eq(site_effect(eu, REGION_WRITE)->size, 2);
    cr_assert_eq(site_effect(eu, REGION_SAVE_CHECKPOINT)->size, 1);
    site_free(eu);
}

Test(checkpoint, is_signed_at_most_once_per_interval_and_then_by_the_timer)
{
    struct site *eu = signed_site("");
    uint64_t signed_us = eu->now.mono_us;
    for (uint64_t i = 2; i < 6; i++) {
        eu->now.mono_us += 1000;
        site_append(eu, "s", i);
        cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0);
    }
    cr_assert_eq(eu->update.deadline_mono_us, signed_us + eu->config.checkpoint_interval_us);
    site_tick(eu, eu->update.deadline_mono_us - eu->now.mono_us);
    cr_assert_eq(site_effect(eu, REGION_SAVE_CHECKPOINT)->size, 5);
    site_free(eu);
}

Test(checkpoint, is_not_signed_while_another_is_being_stored)
{
    struct site *eu = site_alone();
    site_append(eu, "s", 1);
    cr_assert(eu->logs[0].saving);
    site_append(eu, "s", 2);
    site_tick(eu, 10 * eu->config.checkpoint_interval_us);
    cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0);
    cr_assert_eq(eu->update.deadline_mono_us, UINT64_MAX, "the report of the save wakes it, not time");
    site_saved(eu, 0);
    cr_assert_eq(site_effect(eu, REGION_SAVE_CHECKPOINT)->size, 2);
    site_free(eu);
}

Test(checkpoint, is_not_signed_again_while_nothing_is_appended)
{
    struct site *eu = signed_site("");
    for (int i = 0; i < 5; i++) {
        site_tick(eu, 10 * eu->config.checkpoint_interval_us);
        cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0);
    }
    site_free(eu);
}

Test(checkpoint, of_one_size_has_one_text_although_a_crash_came_before_it_was_stored)
{
    struct site *eu = site_alone();
    struct buf before;
    buf_init(&before, NOTE_MAX_BYTES);
    site_append(eu, "s", 1);
    cr_assert_eq(buf_append(&before, buf_bytes(&eu->logs[0].saving_note)), 0);
    eu = site_restart(eu);
    site_tick(eu, 1000000);
    cr_assert(bytes_equal(buf_bytes(&site_effect(eu, REGION_SAVE_CHECKPOINT)->note), buf_bytes(&before)));
    buf_free(&before);
    site_free(eu);
}

Test(checkpoint, that_memory_was_too_short_for_is_signed_after_the_interval)
{
    for (uint64_t at = 1; at <= 3; at++) {
        struct site *eu = site_alone();
        struct order order;
        order_one(&order, "s", 1, "1");
        site_submit(eu, &order);
        eu->logs[0].durable_count = 1;
        eu->logs[0].durable_size = 1;
        cr_assert_eq(site_step_failing(eu, (struct region_event){.type = REGION_WRITTEN, .size = 1}, at), 0);
        cr_assert_eq(order.answers, 1);
        cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0);
        cr_assert_eq(eu->update.deadline_mono_us, eu->now.mono_us + eu->config.checkpoint_interval_us);
        site_tick(eu, eu->config.checkpoint_interval_us);
        cr_assert_eq(site_effect(eu, REGION_SAVE_CHECKPOINT)->size, 1);
        site_free(eu);
    }
}

/* --- Mirrors --- */

Test(checkpoint, a_mirror_stores_it_only_after_its_entries)
{
    struct site *eu = signed_site("us");
    struct site *us = site_new("us", "eu");
    site_tick(us, 0);
    site_meet(us, eu);
    uint32_t log = site_log_number(us, "eu");
    site_send_blocks(us, eu, "eu");
    site_send_note(us, eu, "eu");
    cr_assert_eq(site_count(us, REGION_SAVE_CHECKPOINT), 0);
    site_written(us, log);
    cr_assert_eq(site_effect(us, REGION_SAVE_CHECKPOINT)->size, 1);
    cr_assert_eq(us->logs[log].cosigned_size, 0);
    site_saved(us, log);
    cr_assert_eq(site_effect(us, REGION_SEND_ACK)->cosigned_size, 1);
    site_free(us);
    site_free(eu);
}

Test(checkpoint, that_comes_again_is_cosigned_again_but_not_stored_again)
{
    struct site *eu = signed_site("us");
    struct site *us = mirror_of(eu, "us");
    uint32_t log = site_log_number(us, "eu");
    /* The pull broke before the cosignature arrived; the next one begins with the same checkpoint. */
    site_step(us, (struct region_event){.type = REGION_PULL_CLOSED, .log = log});
    site_tick(us, REGION_BACKOFF_FIRST_US);
    cr_assert_eq(site_count(us, REGION_OPEN_PULL), 1);
    site_send_note(us, eu, "eu");
    cr_assert_eq(site_count(us, REGION_SAVE_CHECKPOINT), 0);
    cr_assert_eq(site_effect(us, REGION_SEND_ACK)->cosigned_size, 1);
    site_send_acknowledgement(eu, us);
    cr_assert(site_effect(eu, REGION_SAVE_CHECKPOINT)->published);
    site_free(us);
    site_free(eu);
}

/* us has eu's entries, and gets its checkpoint in a step whose allocation number fail_at fails. */
static struct site *mirror_short_of_memory(const struct site *eu, uint64_t fail_at)
{
    struct site *us = site_new("us", "eu");
    site_tick(us, 0);
    site_meet(us, eu);
    uint32_t log = site_log_number(us, "eu");
    site_send_blocks(us, eu, "eu");
    site_written_all(us, log);
    struct region_event event = {
        .type = REGION_PULL_CHECKPOINT, .log = log, .peer = site_peer(us, "eu"), .note = buf_bytes(&eu->logs[0].note)};
    cr_assert_eq(site_step_failing(us, event, fail_at), 0);
    return us;
}

Test(checkpoint, that_a_mirror_had_no_memory_to_keep_comes_again_with_the_next_pull)
{
    struct site *eu = signed_site("us");
    struct site *us = mirror_short_of_memory(eu, 1);
    uint32_t log = site_log_number(us, "eu");
    cr_assert_eq(site_count(us, REGION_SAVE_CHECKPOINT), 0);
    cr_assert_eq(site_count(us, REGION_CLOSE_PULL), 1);
    site_step(us, (struct region_event){.type = REGION_PULL_CLOSED, .log = log});
    site_tick(us, REGION_BACKOFF_FIRST_US);
    cr_assert_eq(site_count(us, REGION_OPEN_PULL), 1);
    site_send_note(us, eu, "eu");
    cr_assert_eq(site_count(us, REGION_SAVE_CHECKPOINT), 1);
    site_free(us);
    site_free(eu);
}

Test(checkpoint, that_a_mirror_had_no_memory_to_store_is_tried_again_at_the_end_of_the_step)
{
    struct site *eu = signed_site("us");
    struct site *us = mirror_short_of_memory(eu, 2);
    cr_assert_eq(site_count(us, REGION_SAVE_CHECKPOINT), 1);
    cr_assert_eq(site_count(us, REGION_CLOSE_PULL), 0);
    site_free(us);
    site_free(eu);
}

Test(checkpoint, that_a_mirror_had_no_memory_to_cosign_is_cosigned_at_the_next_step)
{
    struct site *eu = signed_site("us");
    struct site *us = mirror_short_of_memory(eu, 0);
    uint32_t log = site_log_number(us, "eu");
    us->logs[log].saving = false; /* as site_saved does, but the step has no memory */
    us->logs[log].note_size = 1;
    struct region_event event = {.type = REGION_CHECKPOINT_SAVED, .log = log, .size = 1};
    cr_assert_eq(site_step_failing(us, event, 1), 0);
    cr_assert_eq(site_count(us, REGION_SEND_ACK), 0);
    site_tick(us, 1);
    cr_assert_eq(site_effect(us, REGION_SEND_ACK)->cosigned_size, 1);
    site_free(us);
    site_free(eu);
}

Test(checkpoint, of_another_key_closes_the_pull_with_an_alarm)
{
    struct site *eu = signed_site("us");
    struct site *us = site_new("us", "eu");
    struct note_signer wrong;
    struct buf note;
    struct checkpoint checkpoint;
    site_tick(us, 0);
    site_meet(us, eu);
    site_send_blocks(us, eu, "eu");
    site_written_all(us, site_log_number(us, "eu"));
    cr_assert_eq(checkpoint_open(buf_bytes(&eu->logs[0].note), &eu->log_signer.verifier, &checkpoint, NULL), 0);
    uint8_t seed[32] = {99};
    cr_assert_eq(note_signer_from_seed("demo/eu/1", NOTE_KEY_ED25519, seed, &wrong, NULL), 0);
    buf_init(&note, NOTE_MAX_BYTES);
    cr_assert_eq(checkpoint_sign(&checkpoint, &wrong, &note, NULL), 0);
    site_step(us, (struct region_event){
                      .type = REGION_PULL_CHECKPOINT, .log = site_log_number(us, "eu"), .note = buf_bytes(&note)});
    cr_assert_eq(site_count(us, REGION_ALARM), 1);
    cr_assert_eq(site_count(us, REGION_CLOSE_PULL), 1);
    cr_assert_eq(site_count(us, REGION_SAVE_CHECKPOINT), 0);
    cr_assert_eq(site_state(us, site_log_number(us, "eu")), REGION_LOG_MIRRORING, "no proof of two histories");
    buf_free(&note);
    site_free(us);
    site_free(eu);
}

Test(checkpoint, of_a_size_that_the_mirror_has_not_reached_is_left)
{
    struct site *eu = signed_site("us");
    struct site *us = site_new("us", "eu");
    site_tick(us, 0);
    site_meet(us, eu);
    site_send_note(us, eu, "eu");
    cr_assert_eq(us->update.effect_count, 0);
    site_free(us);
    site_free(eu);
}

Test(checkpoint, that_a_peer_holds_of_the_own_log_with_another_root_is_a_fork)
{
    struct site *eu = signed_site("us");
    struct site *other = site_accepting("us");
    site_append(other, "s", 2);
    site_saved(other, 0);
    struct region_held held = {.origin = "demo/eu/1", .size = 1, .checkpoint = buf_bytes(&other->logs[0].note)};
    site_hello(eu, "us", &held, 1);
    cr_assert_not_null(strstr(site_effect(eu, REGION_ALARM)->text, "FORK"));
    cr_assert(bytes_equal(buf_bytes(&site_effect(eu, REGION_ALARM)->note), held.checkpoint), "the evidence");
    cr_assert_eq(site_state(eu, 0), REGION_LOG_FORKED);
    site_free(other);
    site_free(eu);
}

/* --- Publishing --- */

Test(checkpoint, is_published_with_the_cosignature_of_a_peer)
{
    struct site *eu = signed_site("us");
    struct site *us = mirror_of(eu, "us");
    struct note note;
    struct note_signer signer;
    site_send_acknowledgement(eu, us);
    const struct region_effect *effect = site_effect(eu, REGION_SAVE_CHECKPOINT);
    cr_assert(effect->published);
    cr_assert_eq(effect->size, 1);
    site_cosign_signer("us", &signer);
    cr_assert_eq(note_parse(buf_bytes(&effect->note), &note, NULL), 0);
    cr_assert_eq(note.signature_count, 2);
    cr_assert_eq(note_verify(&note, &signer.verifier, NULL, NULL), 1);
    cr_assert_eq(note_verify(&note, &eu->log_signer.verifier, NULL, NULL), 1);
    struct region_log_status status;
    region_log_status(eu->region, 0, &status);
    cr_assert_eq(status.published_size, 0, "it is not stored yet");
    site_saved(eu, 0);
    region_log_status(eu->region, 0, &status);
    cr_assert_eq(status.published_size, 1);
    site_free(us);
    site_free(eu);
}

Test(checkpoint, a_peer_counts_once)
{
    struct site *eu = signed_site("us ap");
    struct buf line;
    cosignature(eu, "us", bytes_of(NULL, 0), &line);
    cosigned(eu, "us", 1, buf_bytes(&line));
    site_saved(eu, 0);
    cosigned(eu, "us", 1, buf_bytes(&line));
    cr_assert_eq(eu->update.effect_count, 0);
    buf_free(&line);
    site_free(eu);
}

Test(checkpoint, a_second_peer_is_published_too)
{
    struct site *eu = signed_site("us ap");
    struct note note;
    const char *peers[] = {"us", "ap"};
    for (size_t i = 0; i < 2; i++) {
        struct buf line;
        cosignature(eu, peers[i], bytes_of(NULL, 0), &line);
        cosigned(eu, peers[i], 1, buf_bytes(&line));
        cr_assert(site_effect(eu, REGION_SAVE_CHECKPOINT)->published);
        site_saved(eu, 0);
        buf_free(&line);
    }
    cr_assert_eq(note_parse(buf_bytes(&eu->logs[0].published), &note, NULL), 0);
    cr_assert_eq(note.signature_count, 3);
    site_free(eu);
}

/* A pull that moved to a source that is behind: what is stored never goes back, so the older one must not even be
 * tried.
 */
Test(checkpoint, an_older_one_that_comes_while_a_newer_one_is_being_stored_is_left)
{
    struct site *eu = signed_site("us");
    struct site *us = mirror_of(eu, "us");
    uint32_t log = site_log_number(us, "eu");
    struct buf older;
    site_append(eu, "s", 2);
    site_tick(eu, 10 * 1000 * 1000);
    site_saved(eu, 0);
    buf_init(&older, NOTE_MAX_BYTES);
    cr_assert_eq(buf_append(&older, buf_bytes(&eu->logs[0].note)), 0);
    site_append(eu, "s", 3);
    site_tick(eu, 10 * 1000 * 1000);
    site_saved(eu, 0);
    site_send_blocks(us, eu, "eu");
    site_written_all(us, log);
    site_send_note(us, eu, "eu");
    cr_assert_eq(us->logs[log].saving_size, 3);
    site_step(us,
              (struct region_event){
                  .type = REGION_PULL_CHECKPOINT, .peer = site_peer(us, "eu"), .log = log, .note = buf_bytes(&older)});
    site_saved(us, log);
    cr_assert_eq(site_count(us, REGION_SAVE_CHECKPOINT), 0);
    buf_free(&older);
    site_free(us);
    site_free(eu);
}

/* Without memory a cosignature cannot be checked, and that says nothing about the peer. */
Test(checkpoint, a_cosignature_that_memory_does_not_suffice_for_is_no_alarm)
{
    for (uint64_t fail_at = 1; fail_at <= 12; fail_at++) {
        struct site *eu = signed_site("us");
        struct buf line;
        cosignature(eu, "us", bytes_of(NULL, 0), &line);
        struct region_event event = {.type = REGION_ACKNOWLEDGED,
                                     .peer = site_peer(eu, "us"),
                                     .size = 1,
                                     .cosigned_size = 1,
                                     .note = buf_bytes(&line)};
        if (site_step_failing(eu, event, fail_at) == 0)
            cr_assert_eq(site_count(eu, REGION_ALARM), 0, "allocation %llu", (unsigned long long)fail_at);
        buf_free(&line);
        site_free(eu);
    }
}

/* A line that must not count: an alarm, and nothing is published. */
static void expect_forged(struct site *eu, struct bytes line)
{
    cosigned(eu, "us", 1, line);
    cr_assert_eq(site_count(eu, REGION_ALARM), 1);
    cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0);
}

/* Lines on a longer text, which they bring: put together with the note's they look like its signatures. */
Test(checkpoint, a_cosignature_that_brings_text_of_its_own_is_refused)
{
    struct site *eu = signed_site("us");
    struct note note;
    struct buf text, line, lines;
    buf_init(&text, NOTE_MAX_BYTES);
    buf_init(&lines, NOTE_MAX_BYTES);
    cr_assert_eq(note_parse(buf_bytes(&eu->logs[0].note), &note, NULL), 0);
    cr_assert_eq(buf_append(&text, note.text), 0);
    cr_assert_eq(buf_append_string(&text, "\nmore\n"), 0);
    cosignature(eu, "us", buf_bytes(&text), &line);
    cr_assert_eq(buf_append_string(&lines, "more\n\n"), 0);
    cr_assert_eq(buf_append(&lines, buf_bytes(&line)), 0);
    expect_forged(eu, buf_bytes(&lines));
    buf_free(&text);
    buf_free(&line);
    buf_free(&lines);
    site_free(eu);
}

Test(checkpoint, forged_cosignatures_are_refused)
{
    struct site *eu = signed_site("us ap");
    struct buf line;
    cosignature(eu, "ap", bytes_of(NULL, 0), &line); /* signed by another peer */
    expect_forged(eu, buf_bytes(&line));
    buf_free(&line);
    cosignature(eu, "us", BYTES_LITERAL("demo/eu/1\n1\nAAAA\n"), &line); /* for another text */
    expect_forged(eu, buf_bytes(&line));
    buf_free(&line);
    cosignature(eu, "us", bytes_of(NULL, 0), &line);
    size_t size = line.size_bytes;
    cr_assert_eq(buf_append(&line, bytes_of(line.data, 0)), 0);
    struct buf twice;
    buf_init(&twice, NOTE_MAX_BYTES);
    cr_assert_eq(buf_append(&twice, buf_bytes(&line)), 0);
    cr_assert_eq(buf_append(&twice, buf_bytes(&line)), 0);
    expect_forged(eu, buf_bytes(&twice)); /* two lines */
    line.data[size - 3] = line.data[size - 3] == 'A' ? 'B' : 'A';
    line.data[size - 9] = line.data[size - 9] == 'A' ? 'B' : 'A';
    expect_forged(eu, buf_bytes(&line));
    expect_forged(eu, BYTES_LITERAL("nonsense"));
    buf_free(&twice);
    buf_free(&line);
    cosignature(eu, "us", bytes_of(NULL, 0), &line);
    cosigned(eu, "us", 1, buf_bytes(&line));
    cr_assert(site_effect(eu, REGION_SAVE_CHECKPOINT)->published, "the true one still counts");
    buf_free(&line);
    site_free(eu);
}

Test(checkpoint, a_cosignature_that_there_is_no_memory_to_check_is_no_forgery)
{
    for (uint64_t at = 1; at <= 2; at++) {
        struct site *eu = signed_site("us");
        struct buf line;
        cosignature(eu, "us", bytes_of(NULL, 0), &line);
        struct region_event event = {.type = REGION_ACKNOWLEDGED,
                                     .peer = site_peer(eu, "us"),
                                     .size = 1,
                                     .cosigned_size = 1,
                                     .note = buf_bytes(&line)};
        cr_assert_eq(site_step_failing(eu, event, at), 0);
        cr_assert_eq(site_count(eu, REGION_ALARM), 0);
        cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0);
        cosigned(eu, "us", 1, buf_bytes(&line));
        cr_assert(site_effect(eu, REGION_SAVE_CHECKPOINT)->published);
        buf_free(&line);
        site_free(eu);
    }
}

Test(checkpoint, a_cosignature_of_a_size_that_was_never_signed_changes_nothing)
{
    struct site *eu = signed_site("us");
    struct buf line;
    cosignature(eu, "us", bytes_of(NULL, 0), &line);
    site_append(eu, "s", 2);
    cosigned(eu, "us", 2, buf_bytes(&line));
    cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0);
    buf_free(&line);
    site_free(eu);
}

Test(checkpoint, a_cosignature_that_comes_before_the_store_waits_for_it)
{
    struct site *eu = site_accepting("us");
    struct note note;
    struct note_signer signer;
    struct buf line;
    site_append(eu, "s", 1);
    cr_assert(eu->logs[0].saving);
    site_cosign_signer("us", &signer);
    cr_assert_eq(note_parse(buf_bytes(&eu->logs[0].saving_note), &note, NULL), 0);
    buf_init(&line, NOTE_MAX_BYTES);
    cr_assert_eq(note_sign(&signer, note.text, 1700000000, &line, NULL), 0);
    cosigned(eu, "us", 1, buf_bytes(&line));
    cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0);
    site_saved(eu, 0);
    cr_assert(site_effect(eu, REGION_SAVE_CHECKPOINT)->published);
    buf_free(&line);
    site_free(eu);
}

Test(checkpoint, only_the_latest_few_may_still_be_cosigned)
{
    struct site *eu = signed_site("us");
    struct buf line;
    cosignature(eu, "us", bytes_of(NULL, 0), &line);
    for (uint64_t i = 0; i < REGION_KEPT_NOTES_MAX; i++) {
        site_append(eu, "s", i + 2);
        site_tick(eu, eu->config.checkpoint_interval_us);
        site_saved(eu, 0);
    }
    cosigned(eu, "us", 1, buf_bytes(&line));
    cr_assert_eq(eu->update.effect_count, 0);
    buf_free(&line);
    site_free(eu);
}

/* --- Witnesses that are no peers --- */

/* eu, with one event and its checkpoint stored, and two witnesses. */
static struct site *witnessed_site(const char *peers)
{
    struct site *eu = site_new_witnessed("eu", peers);
    site_tick(eu, 0);
    for (size_t i = 0; i < eu->config.peer_count; i++)
        site_hello(eu, eu->config.peers[i].region, NULL, 0);
    site_append(eu, "s", 1);
    site_saved(eu, 0);
    return eu;
}

static void witness_says(struct site *eu, size_t witness, uint64_t size, const char *signed_by)
{
    struct note_signer signer;
    struct note note;
    struct buf line;
    buf_init(&line, NOTE_MAX_BYTES);
    site_witness_signer(signed_by, &signer);
    cr_assert_eq(note_parse(buf_bytes(&eu->logs[0].note), &note, NULL), 0);
    cr_assert_eq(note_sign(&signer, note.text, 1700000000, &line, NULL), 0);
    site_step(eu, (struct region_event){
                      .type = REGION_WITNESSED, .witness = witness, .size = size, .note = buf_bytes(&line)});
    buf_free(&line);
}

static void peer_says(struct site *eu, uint64_t size)
{
    struct buf line;
    cosignature(eu, "us", bytes_of(NULL, 0), &line);
    cosigned(eu, "us", size, buf_bytes(&line));
    buf_free(&line);
}

static bool published_has(const struct site *eu, const char *line)
{
    const struct region_effect *effect = site_effect(eu, REGION_SAVE_CHECKPOINT);
    cr_assert(effect->published);
    return memmem(effect->note.data, effect->note.size_bytes, line, strlen(line)) != NULL;
}

Test(checkpoint, a_witness_adds_its_line_to_what_a_peer_has_cosigned)
{
    struct site *eu = witnessed_site("us");
    peer_says(eu, 1);
    cr_assert(published_has(eu, " demo/us "));
    site_saved(eu, 0);
    witness_says(eu, 0, 1, "one");
    cr_assert(published_has(eu, " demo/us ") && published_has(eu, " witness.example/one "));
    site_free(eu);
}

Test(checkpoint, what_only_a_witness_has_cosigned_is_not_published_where_there_are_peers)
{
    struct site *eu = witnessed_site("us");
    witness_says(eu, 0, 1, "one");
    cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0);
    peer_says(eu, 1);
    cr_assert(published_has(eu, " witness.example/one "));
    site_free(eu);
}

Test(checkpoint, a_region_without_peers_publishes_what_a_witness_has_cosigned)
{
    struct site *eu = witnessed_site("");
    witness_says(eu, 1, 1, "two");
    cr_assert(published_has(eu, " witness.example/two "));
    site_free(eu);
}

Test(checkpoint, a_line_by_another_key_than_the_witnesss_is_an_alarm)
{
    struct site *eu = witnessed_site("");
    witness_says(eu, 0, 1, "two");
    cr_assert_eq(site_count(eu, REGION_ALARM), 1);
    cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0);
    site_free(eu);
}

/* The witness "one" answers; then the next checkpoint is signed, stored, and cosigned by us. */
static struct site *waiting_site(void)
{
    struct site *eu = witnessed_site("us");
    witness_says(eu, 0, 1, "one");
    peer_says(eu, 1);
    site_saved(eu, 0);
    site_tick(eu, 2000 * 1000);
    site_append(eu, "s", 2);
    site_saved(eu, 0);
    cr_assert_eq(eu->logs[0].note_size, 2);
    peer_says(eu, 2);
    cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0, "it is held back");
    return eu;
}

Test(checkpoint, what_is_published_waits_for_witnesses_that_answer)
{
    struct site *eu = waiting_site();
    witness_says(eu, 0, 2, "one");
    cr_assert(published_has(eu, " demo/us ") && published_has(eu, " witness.example/one "));
    site_free(eu);
}

Test(checkpoint, it_waits_for_no_longer_than_two_seconds)
{
    struct site *eu = waiting_site();
    cr_assert_leq(eu->update.deadline_mono_us, eu->now.mono_us + REGION_WITNESS_WAIT_US);
    site_tick(eu, REGION_WITNESS_WAIT_US);
    cr_assert(published_has(eu, " demo/us "));
    cr_assert_not(published_has(eu, " witness.example/one "));
    site_free(eu);
}

Test(checkpoint, it_does_not_wait_for_a_witness_that_fails)
{
    struct site *eu = waiting_site();
    site_step(eu, (struct region_event){.type = REGION_WITNESSED, .witness = 0, .size = 0});
    cr_assert(published_has(eu, " demo/us "));
    site_free(eu);
}

/* --- Signatures that a mirror cannot check --- */

/* eu's checkpoint with a second line under the log's name, by a key that us does not know, of which a bit may flip. */
static void rotating_note(const struct site *eu, bool damaged, struct buf *ret)
{
    struct note_signer next;
    struct checkpoint checkpoint;
    struct buf text;
    uint8_t seed[32] = {98};
    cr_assert_eq(checkpoint_open(buf_bytes(&eu->logs[0].note), &eu->log_signer.verifier, &checkpoint, NULL), 0);
    cr_assert_eq(note_signer_from_seed("demo/eu/1", NOTE_KEY_ED25519, seed, &next, NULL), 0);
    buf_init(&text, NOTE_MAX_BYTES);
    buf_init(ret, NOTE_MAX_BYTES);
    cr_assert_eq(checkpoint_format(&checkpoint, &text), 0);
    cr_assert_eq(buf_append(ret, buf_bytes(&eu->logs[0].note)), 0);
    cr_assert_eq(note_sign(&next, buf_bytes(&text), 0, ret, NULL), 0);
    if (damaged)
        ret->data[ret->size_bytes - 12] ^= 1;
    buf_free(&text);
}

static void keeps_what_it_checked(bool damaged)
{
    struct site *eu = signed_site("us");
    struct site *us = site_new("us", "eu");
    struct buf note;
    site_tick(us, 0);
    site_meet(us, eu);
    uint32_t log = site_log_number(us, "eu");
    site_send_blocks(us, eu, "eu");
    site_written_all(us, log);
    rotating_note(eu, damaged, &note);
    site_step(us, (struct region_event){.type = REGION_PULL_CHECKPOINT, .log = log, .note = buf_bytes(&note)});
    cr_assert_eq(site_count(us, REGION_ALARM), 0);
    cr_assert(bytes_equal(buf_bytes(&site_effect(us, REGION_SAVE_CHECKPOINT)->note), buf_bytes(&eu->logs[0].note)),
              "the line by the known key, and no other under the log's name");
    buf_free(&note);
    site_free(us);
    site_free(eu);
}

/* Found by the simulator: once us was brought the next key, it would not start with a note of which that key's line was
 * damaged on the way. */
Test(checkpoint, a_mirror_keeps_no_line_under_the_logs_name_that_it_cannot_check)
{
    keeps_what_it_checked(true);
    keeps_what_it_checked(false);
}
