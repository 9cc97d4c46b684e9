/* Keys that are being replaced: what signs, what is believed, what the log tells. */
#include <criterion/criterion.h>

#include "region/region_internal.h"
#include "unit/region/fixture.h"

static struct note_signer new_log_key, new_cosign_key;
static struct control_key changes[2];

static void make(const char *name, enum note_key_type type, struct note_signer *ret)
{
    static const uint8_t seed[32] = {77};
    cr_assert_eq(note_signer_from_seed(name, type, seed, ret, NULL), 0);
}

static void setup(void)
{
    make("demo/eu/1", NOTE_KEY_ED25519, &new_log_key);
    make("demo/us", NOTE_KEY_COSIGNATURE, &new_cosign_key);
    for (size_t i = 0; i < 2; i++) {
        changes[i] = (struct control_key){.kind = i == 0 ? CONTROL_KEY_ROTATED : CONTROL_KEY_RETIRED,
                                          .role = BYTES_LITERAL("log")};
        changes[i].new_key.bytes[0] = 1;
    }
}

TestSuite(keys, .init = setup);

static void change(struct site *site, size_t count)
{
    site->config.key_changes = changes;
    site->config.key_change_count = count;
}

/* A region alone with so many changes to tell. */
static struct site *telling(size_t count)
{
    struct site *eu = site_new("eu", "");
    change(eu, count);
    eu = site_restart(eu);
    site_tick(eu, 0);
    return eu;
}

/* The control events of the block that the last step wrote, in order, which must be all of it. */
static size_t written_changes(const struct site *site)
{
    const struct block *block = site_effect(site, REGION_WRITE)->block;
    struct bytes body = block_body(block);
    struct frame frame;
    struct entry entry;
    struct control_key told;
    for (uint32_t i = 0; i < block->entry_count; i++) {
        cr_assert_eq(frame_next_entry(&body, &frame, &entry, NULL), 0);
        cr_assert_eq(control_key_parse(control_kind_of(&entry), frame.payload, &told, NULL), 0);
        cr_expect_eq(told.kind, changes[i].kind);
        cr_expect(hash_equal(&told.new_key, &changes[i].new_key));
        cr_expect(bytes_equal(entry.context, BYTES_LITERAL("$system")));
        cr_expect(bytes_equal(entry.partition, BYTES_LITERAL("*")));
        cr_expect_eq(entry.epoch, 1);
    }
    return block->entry_count;
}

Test(keys, changes_are_told_in_order_once_the_region_accepts)
{
    struct site *eu = site_new("eu", "us");
    change(eu, 2);
    eu = site_restart(eu);
    site_tick(eu, 0);
    cr_expect_eq(site_count(eu, REGION_WRITE), 0, "it waits for its peer");
    site_hello(eu, "us", NULL, 0);
    cr_expect_eq(written_changes(eu), 2);
    site_free(eu);
}

Test(keys, a_change_is_told_once_however_often_the_region_starts)
{
    struct site *eu = telling(1);
    cr_assert_eq(written_changes(eu), 1);
    site_written_all(eu, 0);
    site_tick(eu, 1000);
    cr_expect_eq(site_count(eu, REGION_WRITE), 0);
    eu = site_restart(eu);
    site_tick(eu, 1000);
    cr_expect_eq(site_count(eu, REGION_WRITE), 0);
    change(eu, 2);
    eu = site_restart(eu);
    site_tick(eu, 1000);
    struct block *block = site_effect(eu, REGION_WRITE)->block;
    cr_expect_eq(block->entry_count, 1, "only what is new");
    site_free(eu);
}

Test(keys, a_change_that_was_lost_before_the_disk_is_told_again)
{
    struct site *eu = telling(2);
    cr_assert_eq(written_changes(eu), 2);
    eu = site_restart(eu);
    site_tick(eu, 1000);
    cr_expect_eq(written_changes(eu), 2);
    site_free(eu);
}

Test(keys, a_change_that_memory_was_too_short_for_is_told_later)
{
    struct site *whole = telling(0);
    bool told = false;
    for (uint64_t at = 1; !told && at < 40; at++) {
        struct site *eu = site_new("eu", "");
        change(eu, 1);
        eu = site_restart(eu);
        struct region_event timer = {.type = REGION_TIMER};
        told = site_step_failing(eu, timer, at) == 0 && site_count(eu, REGION_WRITE) == 1;
        if (!told) {
            site_tick(eu, 1000);
            cr_expect_eq(written_changes(eu), 1, "allocation %llu", (unsigned long long)at);
        }
        site_free(eu);
    }
    cr_expect(told, "with enough memory it is told at once");
    site_free(whole);
}

Test(keys, while_two_sign_a_checkpoint_has_a_line_of_each)
{
    struct site *eu = site_new("eu", "");
    struct checkpoint checkpoint;
    eu = site_restart(eu);
    eu->region->config.log_signers = (struct signers){2, {&eu->log_signer, &new_log_key}};
    site_tick(eu, 0);
    site_append(eu, "s", 1);
    struct bytes note = buf_bytes(&eu->logs[0].saving_note);
    cr_expect_eq(checkpoint_open(note, &eu->log_signer.verifier, &checkpoint, NULL), 0);
    cr_expect_eq(checkpoint_open(note, &new_log_key.verifier, &checkpoint, NULL), 0);
    site_free(eu);
}

/* eu with a checkpoint of size 1, and the lines with which us cosigns it by these keys. */
static struct site *cosigned_by(const struct signers *signers, bool knows_new, struct buf *lines)
{
    struct site *eu = site_accepting("us");
    struct note note;
    if (knows_new)
        cr_assert_eq(keyring_add(&eu->region->config.peers[0].cosign_keys, &new_cosign_key.verifier, NULL), 0);
    site_append(eu, "s", 1);
    site_saved(eu, 0);
    cr_assert_eq(note_parse(buf_bytes(&eu->logs[0].note), &note, NULL), 0);
    buf_init(lines, NOTE_MAX_BYTES);
    cr_assert_eq(signers_sign(signers, note.text, 1700000000, lines, NULL), 0);
    return eu;
}

static void acknowledge(struct site *eu, struct bytes lines)
{
    site_step(eu, (struct region_event){.type = REGION_ACKNOWLEDGED, .size = 1, .cosigned_size = 1, .note = lines});
}

/* Signatures in the note that is published; 0: none is. */
static size_t published(const struct site *eu)
{
    struct note note;
    if (site_count(eu, REGION_SAVE_CHECKPOINT) == 0)
        return 0;
    cr_assert_eq(note_parse(buf_bytes(&site_effect(eu, REGION_SAVE_CHECKPOINT)->note), &note, NULL), 0);
    return note.signature_count;
}

Test(keys, of_two_cosignatures_those_by_known_keys_are_published)
{
    struct note_signer old;
    struct buf lines;
    site_cosign_signer("us", &old);
    const struct signers both = {2, {&old, &new_cosign_key}};
    for (int knows_new = 0; knows_new < 2; knows_new++) {
        struct site *eu = cosigned_by(&both, knows_new == 1, &lines);
        acknowledge(eu, buf_bytes(&lines));
        cr_expect_eq(published(eu), knows_new == 1 ? 3 : 2);
        cr_expect_eq(site_count(eu, REGION_ALARM), 0);
        buf_free(&lines);
        site_free(eu);
    }
}

Test(keys, cosignatures_by_unknown_keys_alone_are_an_alarm)
{
    const struct signers only_new = {1, {&new_cosign_key}};
    struct buf lines;
    struct site *eu = cosigned_by(&only_new, false, &lines);
    acknowledge(eu, buf_bytes(&lines));
    cr_expect_eq(published(eu), 0);
    cr_expect_eq(site_count(eu, REGION_ALARM), 1);
    buf_free(&lines);
    site_free(eu);
}

Test(keys, a_bad_line_by_one_known_key_spoils_the_good_one)
{
    struct note_signer old;
    struct buf lines;
    site_cosign_signer("us", &old);
    const struct signers both = {2, {&old, &new_cosign_key}};
    struct site *eu = cosigned_by(&both, true, &lines);
    uint8_t *byte = &lines.data[lines.size_bytes - 20];
    *byte = *byte == 'A' ? 'B' : 'A';
    acknowledge(eu, buf_bytes(&lines));
    cr_expect_eq(published(eu), 0);
    cr_expect_eq(site_count(eu, REGION_ALARM), 1);
    buf_free(&lines);
    site_free(eu);
}

/* An earlier incarnation was signed with a key that does not sign any more. */
Test(keys, a_retired_key_of_this_region_is_believed_when_it_is_given)
{
    struct site *eu = site_alone();
    struct checkpoint checkpoint = {.origin = "demo/eu/1", .size = 5}, opened;
    struct buf note;
    buf_init(&note, NOTE_MAX_BYTES);
    cr_assert_eq(checkpoint_sign(&checkpoint, &new_log_key, &note, NULL), 0);
    cr_expect_eq(checkpoint_open_of(eu->region, region_own(eu->region), buf_bytes(&note), &opened, NULL), ERR_CORRUPT);
    eu->config.retired_log_keys = (struct keyring){1, {new_log_key.verifier}};
    eu = site_restart(eu);
    cr_expect_eq(checkpoint_open_of(eu->region, region_own(eu->region), buf_bytes(&note), &opened, NULL), 0);
    buf_free(&note);
    site_free(eu);
}
