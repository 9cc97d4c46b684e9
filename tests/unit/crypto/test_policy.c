/* Trust policies: what parses, and what a quorum makes of a note. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "crypto/policy.h"

enum { WITNESSES = 3 };

static struct policy policy;
static struct note_signer log_signer, witnesses[WITNESSES];
static char log_vkey[NOTE_VKEY_MAX_BYTES + 1], vkeys[WITNESSES][NOTE_VKEY_MAX_BYTES + 1];
static const char text[] = "bank/eu/1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

static void setup(void)
{
    uint8_t seed[32] = {1};
    cr_assert_eq(note_signer_from_seed("bank/eu/1", NOTE_KEY_ED25519, seed, &log_signer, NULL), 0);
    note_verifier_format(&log_signer.verifier, log_vkey);
    for (uint8_t i = 0; i < WITNESSES; i++) {
        char name[16];
        seed[0] = (uint8_t)(10 + i);
        snprintf(name, sizeof(name), "bank/w%d", i);
        cr_assert_eq(note_signer_from_seed(name, NOTE_KEY_COSIGNATURE, seed, &witnesses[i], NULL), 0);
        note_verifier_format(&witnesses[i].verifier, vkeys[i]);
    }
}

TestSuite(policy, .init = setup);

/* Keys, then `rest`. */
static int parse(const char *rest, struct err *err)
{
    char lines[8192];
    int size = snprintf(lines, sizeof(lines),
                        "# auditor\n\nlog %s https://eu.example.com\nwitness a %s\nwitness b %s\nwitness c %s\n%s",
                        log_vkey, vkeys[0], vkeys[1], vkeys[2], rest);
    return policy_parse(bytes_of(lines, (size_t)size), &policy, err);
}

/* The verdict on a note signed by the log and by the witnesses whose bits are set. */
static struct policy_verdict judge(unsigned cosigners)
{
    static struct note note;
    struct policy_verdict verdict;
    struct buf message;
    buf_init(&message, NOTE_MAX_BYTES);
    cr_assert_eq(buf_append_string(&message, text), 0);
    cr_assert_eq(buf_append_byte(&message, '\n'), 0);
    cr_assert_eq(note_sign(&log_signer, BYTES_LITERAL(text), 0, &message, NULL), 0);
    for (unsigned i = 0; i < WITNESSES; i++) {
        if ((cosigners & 1u << i) != 0)
            cr_assert_eq(note_sign(&witnesses[i], BYTES_LITERAL(text), 1700000000 + i, &message, NULL), 0);
    }
    cr_assert_eq(note_parse(buf_bytes(&message), &note, NULL), 0);
    cr_assert_eq(policy_check(&policy, &note, "bank/eu/1", &verdict, NULL), 0);
    buf_free(&message);
    return verdict;
}

Test(policy, a_quorum_counts_members_and_groups_of_groups)
{
    cr_assert_eq(parse("group two 2 a b\ngroup top any two c\nquorum top\n", NULL), 0);
    static const bool met[8] = {false, false, false, true, true, true, true, true};
    for (unsigned cosigners = 0; cosigners < 8; cosigners++)
        cr_assert_eq(judge(cosigners).quorum_met, met[cosigners], "cosigners %u", cosigners);
}

Test(policy, all_any_and_a_single_witness)
{
    cr_assert_eq(parse("group g all a b c\nquorum g\n", NULL), 0);
    cr_assert(judge(7).quorum_met);
    cr_assert_not(judge(6).quorum_met);
    cr_assert_eq(parse("group g any a b c\nquorum g\n", NULL), 0);
    cr_assert(judge(4).quorum_met);
    cr_assert_not(judge(0).quorum_met);
    cr_assert_eq(parse("quorum b\n", NULL), 0);
    cr_assert(judge(2).quorum_met);
    cr_assert_not(judge(5).quorum_met);
    cr_assert_eq(parse("quorum none\n", NULL), 0);
    cr_assert(judge(0).quorum_met);
}

Test(policy, the_newest_cosignature_and_strangers_are_told)
{
    cr_assert_eq(parse("quorum none\n", NULL), 0);
    struct policy_verdict verdict = judge(5);
    cr_assert(verdict.log_signed);
    cr_assert_eq(verdict.newest_cosignature_s, 1700000002);
    cr_assert_eq(verdict.other_signature_count, 0);
    policy.witness_count = 1;
    verdict = judge(5);
    cr_assert_eq(verdict.newest_cosignature_s, 1700000000);
    cr_assert_eq(verdict.other_signature_count, 1);
}

Test(policy, what_is_not_a_policy_is_refused_with_its_line)
{
    static const char *const bad[] = {
        "",
        "quorum none\nquorum none\n",
        "quorum d\n",
        "quorum\n",
        "group g 0 a b\nquorum none\n",
        "group g 3 a b\nquorum none\n",
        "group g some a b\nquorum none\n",
        "group g all d\nquorum none\n",
        "group g all a a\nquorum none\n",
        "group g all a\ngroup h all a\nquorum none\n",
        "group g all g\nquorum none\n",
        "group a all b\nquorum none\n",
        "group none all b\nquorum none\n",
        "group g all\nquorum none\n",
        "witness d nonsense\nquorum none\n",
        "log nonsense\nquorum none\n",
        "trust everybody\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {0};
        cr_assert_eq(parse(bad[i], &err), ERR_INVALID, "%s", bad[i]);
        cr_assert(strstr(err.message, "line") != NULL, "%s", err.message);
    }
}

Test(policy, a_key_of_the_wrong_kind_or_given_to_two_witnesses_is_refused)
{
    char lines[2048];
    int size = snprintf(lines, sizeof(lines), "log %s\nquorum none\n", vkeys[0]);
    cr_assert_eq(policy_parse(bytes_of(lines, (size_t)size), &policy, NULL), ERR_INVALID);
    size = snprintf(lines, sizeof(lines), "witness a %s\nquorum none\n", log_vkey);
    cr_assert_eq(policy_parse(bytes_of(lines, (size_t)size), &policy, NULL), ERR_INVALID);
    size = snprintf(lines, sizeof(lines), "witness a %s\nwitness b %s\nquorum none\n", vkeys[0], vkeys[0]);
    cr_assert_eq(policy_parse(bytes_of(lines, (size_t)size), &policy, NULL), ERR_INVALID);
}

Test(policy, the_simple_form_sorts_keys_and_drops_repeats)
{
    const struct note_verifier keys[] = {witnesses[0].verifier, log_signer.verifier, witnesses[0].verifier};
    cr_assert_eq(policy_from_keys(keys, 3, &policy, NULL), 0);
    cr_assert_eq(policy.log_count, 1);
    cr_assert_eq(policy.witness_count, 1);
    cr_assert_not(policy.has_quorum);
}
