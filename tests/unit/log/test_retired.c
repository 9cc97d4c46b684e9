/* Keys that a log says were retired, and checkpoints that they sign all the same. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "domain/control.h"
#include "verify/verify.h"

static struct policy policy;
static struct demands demands;
static struct log_report report;
static struct retired retired;
static struct note_verifier key;

static void setup(void)
{
    static const uint8_t seed[32] = {1};
    struct note_signer signer;
    memset(&policy, 0, sizeof(policy));
    memset(&retired, 0, sizeof(retired));
    cr_assert_eq(note_signer_from_seed("bank/eu/1", NOTE_KEY_ED25519, seed, &signer, NULL), 0);
    key = signer.verifier;
    policy.logs[policy.log_count++] = key;
    demands = (struct demands){.policy = &policy};
    memset(&report, 0, sizeof(report));
    snprintf(report.origin, sizeof(report.origin), "bank/eu/1");
    report.notes[0] = (struct note_report){.file_name = "checkpoint", .present = true, .judged = true};
    report.notes[0].checkpoint.size = 10;
    report.notes[0].verdict.signed_by[0] = true;
}

TestSuite(retired, .init = setup);

static struct hash hash_of(const struct note_verifier *of)
{
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    struct sha256 *sha = sha256_new();
    note_verifier_format(of, vkey);
    struct hash hash = sha256_of(sha, bytes_of_string(vkey));
    sha256_free(sha);
    return hash;
}

/* An entry that says that the key was retired, or something like it. */
static void tell(uint64_t index, enum control_kind kind, const char *role, uint32_t flags, bool has_payload)
{
    struct control_key change = {.kind = kind, .role = bytes_of_string(role), .old_key = hash_of(&key)};
    struct buf payload;
    buf_init(&payload, 1024);
    cr_assert_eq(control_key_encode(&change, &payload, NULL), 0);
    struct chain_entry entry = {.frame = {.has_payload = has_payload, .payload = buf_bytes(&payload)},
                                .entry = {.index = index, .flags = flags, .type = bytes_of_string(control_type(kind))}};
    retired_add(&retired, &entry);
    buf_free(&payload);
}

static void told(uint64_t index)
{
    tell(index, CONTROL_KEY_RETIRED, "log", ENTRY_FLAG_CONTROL, true);
}

static enum verdict judged(void)
{
    retired_judge(&retired, &demands, &report);
    return report.areas[AREA_SIGNATURES].verdict;
}

Test(retired, a_checkpoint_behind_the_entry_is_a_violation_that_names_it)
{
    told(9);
    cr_expect_eq(judged(), VERDICT_VIOLATION);
    cr_expect(report.place.has_index && report.place.index == 9);
}

Test(retired, a_checkpoint_that_does_not_cover_the_entry_is_none)
{
    told(10);
    cr_expect_eq(judged(), VERDICT_VERIFIED);
}

Test(retired, a_checkpoint_by_another_key_is_none)
{
    told(5);
    report.notes[0].verdict.signed_by[0] = false;
    cr_expect_eq(judged(), VERDICT_VERIFIED);
}

Test(retired, a_key_is_the_same_in_every_incarnation)
{
    told(5);
    snprintf(report.origin, sizeof(report.origin), "bank/eu/4");
    cr_assert_eq(note_verifier_rename(&policy.logs[0], "bank/eu/4", NULL), 0);
    cr_expect_eq(judged(), VERDICT_VIOLATION);
}

Test(retired, only_control_entries_about_logs_keys_that_retire_one_and_are_here_tell_it)
{
    tell(1, CONTROL_KEY_ROTATED, "log", ENTRY_FLAG_CONTROL, true);
    tell(2, CONTROL_KEY_RETIRED, "cosign", ENTRY_FLAG_CONTROL, true);
    tell(3, CONTROL_KEY_RETIRED, "log", 0, true);
    tell(4, CONTROL_KEY_RETIRED, "log", ENTRY_FLAG_CONTROL, false);
    cr_expect_eq(retired.count, 0);
    cr_expect_eq(judged(), VERDICT_VERIFIED);
}

Test(retired, stretches_are_put_together_and_too_many_are_not_forgotten)
{
    struct retired whole = {.count = 0};
    for (uint64_t i = 0; i < RETIRED_MAX; i++)
        told(100 + i);
    retired_take(&whole, &retired);
    cr_expect(whole.count == RETIRED_MAX && !whole.overflowed);
    retired.count = 1;
    retired_take(&whole, &retired);
    cr_expect(whole.count == RETIRED_MAX && whole.overflowed);
    retired = whole;
    cr_expect_eq(judged(), VERDICT_INCOMPLETE);
}

Test(retired, without_a_policy_nothing_is_said)
{
    told(5);
    demands.policy = NULL;
    cr_expect_eq(judged(), VERDICT_VERIFIED);
}
