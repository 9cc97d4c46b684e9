#include <criterion/criterion.h>
#include <signal.h>

#include "base/mem.h"
#include "domain/control.h"

static const enum control_kind kinds[] = {CONTROL_AUTHORITY_RELEASED, CONTROL_AUTHORITY_TAKEN, CONTROL_AUTHORITY_SEIZED,
                                          CONTROL_LATE_SETTLED,       CONTROL_KEY_ROTATED,     CONTROL_KEY_RETIRED,
                                          CONTROL_LOG_CONTINUED};

static struct position position_of(const char *text)
{
    struct position position;
    cr_assert_eq(position_parse(bytes_of_string(text), &position, NULL), 0, "%s", text);
    return position;
}

static struct control_authority seizure(void)
{
    return (struct control_authority){.basis = position_of("eu@1024,us@998"),
                                      .previous = BYTES_LITERAL("eu"),
                                      .actor = BYTES_LITERAL("operator"),
                                      .reason = BYTES_LITERAL("region eu is gone"),
                                      .forced = true};
}

static struct control_settled settlement_of(enum settlement settlement)
{
    return (struct control_settled){.region = "eu",
                                    .incarnation = 2,
                                    .index = 77,
                                    .event_id = {1, 2, 3},
                                    .settlement = settlement,
                                    .actor = BYTES_LITERAL("operator"),
                                    .reason = BYTES_LITERAL("paid twice")};
}

static struct buf out;

static void setup(void)
{
    buf_init(&out, CONTROL_PAYLOAD_MAX_BYTES);
}

static void teardown(void)
{
    buf_free(&out);
}

TestSuite(control, .init = setup, .fini = teardown);

static void encode(enum control_kind kind, const struct control_authority *authority)
{
    struct err err = {0};
    buf_clear(&out);
    cr_assert_eq(control_authority_encode(kind, authority, &out, &err), 0, "%s", err.message);
}

static void expect_corrupt(enum control_kind kind, struct bytes payload)
{
    struct control_authority authority = {.forced = true};
    struct err err = {0};
    cr_assert_eq(control_authority_parse(kind, payload, &authority, &err), ERR_CORRUPT);
    cr_assert_eq(err.code, ERR_CORRUPT);
    cr_assert(authority.forced, "outputs are untouched on failure");
}

static void expect_settled_corrupt(struct bytes payload)
{
    struct control_settled settled = {.index = 99};
    cr_assert_eq(control_settled_parse(payload, &settled, NULL), ERR_CORRUPT);
    cr_assert_eq(settled.index, 99, "outputs are untouched on failure");
}

/* --- Kinds and names --- */

Test(control, a_kind_is_known_by_flag_and_type)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct entry entry = {.flags = ENTRY_FLAG_CONTROL, .type = bytes_of_string(control_type(kinds[i]))};
        cr_assert_eq(control_kind_of(&entry), kinds[i]);
        entry.flags = 0;
        cr_assert_eq(control_kind_of(&entry), CONTROL_UNKNOWN, "a client's event of that type is no control event");
    }
}

Test(control, a_type_of_a_newer_version_is_unknown)
{
    const struct entry entry = {.flags = ENTRY_FLAG_CONTROL, .type = BYTES_LITERAL("$KeyBurnt")};
    cr_assert_eq(control_kind_of(&entry), CONTROL_UNKNOWN);
}

Test(control, an_unknown_kind_has_no_type, .signal = SIGABRT)
{
    cr_assert_str_empty(control_type(CONTROL_UNKNOWN));
}

Test(control, changes_of_authority_begin_epochs_and_releases_end_them)
{
    cr_assert_not(control_begins_epoch(CONTROL_AUTHORITY_RELEASED));
    cr_assert(control_begins_epoch(CONTROL_AUTHORITY_TAKEN));
    cr_assert(control_begins_epoch(CONTROL_AUTHORITY_SEIZED));
    cr_assert(control_is_authority(CONTROL_AUTHORITY_RELEASED));
    cr_assert(control_is_authority(CONTROL_AUTHORITY_SEIZED));
    cr_assert_not(control_is_authority(CONTROL_LATE_SETTLED));
    cr_assert_not(control_is_authority(CONTROL_UNKNOWN));
}

Test(control, names_with_a_dollar_and_the_star_are_reserved)
{
    cr_assert(control_name_reserved(BYTES_LITERAL("$control")));
    cr_assert(control_name_reserved(BYTES_LITERAL("$")));
    cr_assert(control_name_reserved(BYTES_LITERAL("*")));
    cr_assert_not(control_name_reserved(BYTES_LITERAL("a$")));
    cr_assert_not(control_name_reserved(BYTES_LITERAL("**")));
    cr_assert_not(control_name_reserved(BYTES_LITERAL("")));
}

Test(control, every_settlement_has_a_name)
{
    cr_assert_str_eq(settlement_name(SETTLED_ACCEPTED), "accepted");
    cr_assert_str_eq(settlement_name(SETTLED_DROPPED), "dropped");
    cr_assert_str_eq(settlement_name(SETTLED_REJECTED), "rejected");
    cr_assert_str_eq(settlement_name(SETTLED_COMPENSATE), "compensate");
}

/* --- Authority --- */

Test(control, a_seizure_comes_back_as_it_was)
{
    struct control_authority authority = seizure();
    struct control_authority back;
    encode(CONTROL_AUTHORITY_SEIZED, &authority);
    cr_assert_eq(control_authority_parse(CONTROL_AUTHORITY_SEIZED, buf_bytes(&out), &back, NULL), 0);
    cr_assert(position_equal(&back.basis, &authority.basis));
    cr_assert(bytes_equal(back.previous, authority.previous));
    cr_assert(bytes_equal(back.actor, authority.actor));
    cr_assert(bytes_equal(back.reason, authority.reason));
    cr_assert(back.forced);
    cr_assert_eq(back.successor.size_bytes, 0);
}

Test(control, the_bytes_of_a_release_are_the_canonical_ones)
{
    const struct control_authority release = {.successor = BYTES_LITERAL("us"), .actor = BYTES_LITERAL("op")};
    struct control_authority back;
    encode(CONTROL_AUTHORITY_RELEASED, &release);
    cr_assert(bytes_equal(buf_bytes(&out), BYTES_LITERAL("\x0A\x02us\x22\x02op")));
    cr_assert_eq(control_authority_parse(CONTROL_AUTHORITY_RELEASED, buf_bytes(&out), &back, NULL), 0);
    cr_assert(bytes_equal(back.successor, BYTES_LITERAL("us")));
    cr_assert_not(back.forced);
}

Test(control, a_taking_may_rest_on_nothing)
{
    struct control_authority back;
    cr_assert_eq(control_authority_parse(CONTROL_AUTHORITY_TAKEN, bytes_of(NULL, 0), &back, NULL), 0);
    cr_assert_eq(back.basis.count, 0);
}

Test(control, every_cut_of_a_seizure_is_another_or_corrupt_never_read_past)
{
    struct control_authority authority = seizure();
    encode(CONTROL_AUTHORITY_SEIZED, &authority);
    for (size_t size = 0; size < out.size_bytes; size++) {
        uint8_t *cut = mem_alloc(size);
        struct control_authority back;
        memcpy(cut, out.data, size);
        int code = control_authority_parse(CONTROL_AUTHORITY_SEIZED, bytes_of(cut, size), &back, NULL);
        cr_assert(code == ERR_CORRUPT || (code == 0 && !back.forced), "%zu bytes", size);
        mem_free(cut);
    }
}

Test(control, what_is_not_canonical_is_corrupt)
{
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x22\x02op\x22\x02op")); /* a field twice */
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x22\x02op\x1A\x02"
                                                          "eu"));       /* descending */
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x22\x00")); /* a default written out */
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x30\x00"));
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x30\x02"));     /* neither false nor true */
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x30\x81\x00")); /* a longer varint than needed */
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x38\x01"));     /* an unknown field */
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x20\x01"));     /* another wire type */
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\xFF"));
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x22\x05op"));
}

Test(control, the_kind_says_which_fields_there_are)
{
    expect_corrupt(CONTROL_AUTHORITY_RELEASED, bytes_of(NULL, 0));
    expect_corrupt(CONTROL_AUTHORITY_RELEASED, BYTES_LITERAL("\x0A\x02us\x12\x04"
                                                             "eu@1"));
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x0A\x02us"));
    expect_corrupt(CONTROL_AUTHORITY_SEIZED, BYTES_LITERAL("\x12\x04"
                                                           "eu@0"));
}

Test(control, texts_that_encode_would_not_write_are_corrupt)
{
    expect_corrupt(CONTROL_AUTHORITY_RELEASED, BYTES_LITERAL("\x0A\x02u\0"));
    expect_corrupt(CONTROL_AUTHORITY_RELEASED, BYTES_LITERAL("\x0A\x02u\xFF"));
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x1A\x02"
                                                          "e\n"));
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x22\x02o\xFF"));
    expect_corrupt(CONTROL_AUTHORITY_TAKEN, BYTES_LITERAL("\x2A\x02r\x01"));
}

Test(control, texts_are_checked_before_they_are_written)
{
    char long_text[CONTROL_REASON_MAX_BYTES + 1];
    struct control_authority authority = seizure();
    memset(long_text, 'x', sizeof(long_text));
    authority.reason = bytes_of(long_text, sizeof(long_text));
    cr_assert_eq(control_authority_encode(CONTROL_AUTHORITY_SEIZED, &authority, &out, NULL), ERR_TOO_LARGE);
    authority = seizure();
    authority.actor = BYTES_LITERAL("a\nb");
    cr_assert_eq(control_authority_encode(CONTROL_AUTHORITY_SEIZED, &authority, &out, NULL), ERR_INVALID);
    authority = seizure();
    authority.previous = bytes_of(long_text, POSITION_REGION_MAX_BYTES + 1);
    cr_assert_eq(control_authority_encode(CONTROL_AUTHORITY_SEIZED, &authority, &out, NULL), ERR_TOO_LARGE);
    cr_assert_eq(out.size_bytes, 0);
}

Test(control, memory_that_runs_out_leaves_the_buffer_as_it_was)
{
    struct control_authority authority = seizure();
    int code = ERR_NO_MEMORY;
    for (uint64_t at = 1; code != 0; at++) {
        struct buf small;
        buf_init(&small, CONTROL_PAYLOAD_MAX_BYTES);
        mem_fail_at(at);
        code = control_authority_encode(CONTROL_AUTHORITY_SEIZED, &authority, &small, NULL);
        mem_fail_at(0);
        cr_assert(code == 0 || (code == ERR_NO_MEMORY && small.size_bytes == 0), "allocation %d", (int)at);
        buf_free(&small);
    }
}

/* --- Settlements --- */

Test(control, every_settlement_comes_back_as_it_was)
{
    for (int i = SETTLED_ACCEPTED; i <= SETTLED_COMPENSATE; i++) {
        struct control_settled settled = settlement_of((enum settlement)i);
        struct control_settled back;
        buf_clear(&out);
        cr_assert_eq(control_settled_encode(&settled, &out, NULL), 0);
        cr_assert_eq(control_settled_parse(buf_bytes(&out), &back, NULL), 0);
        cr_assert_str_eq(back.region, "eu");
        cr_assert_eq(back.incarnation, 2);
        cr_assert_eq(back.index, 77);
        cr_assert_eq(memcmp(back.event_id, settled.event_id, ENTRY_ID_SIZE), 0);
        cr_assert_eq(back.settlement, settled.settlement);
        cr_assert(bytes_equal(back.actor, settled.actor));
        cr_assert(bytes_equal(back.reason, settled.reason));
    }
}

Test(control, a_settlement_without_a_place_an_event_or_a_decision_is_corrupt)
{
    expect_settled_corrupt(bytes_of(NULL, 0));
    expect_settled_corrupt(BYTES_LITERAL("\x0A\x02"
                                         "e\0\x10\x01\x22\x10"
                                         "0123456789abcdef\x28\x01"));
    expect_settled_corrupt(BYTES_LITERAL("\x0A\x02"
                                         "eu\x10\x01\x22\x0F"
                                         "0123456789abcde\x28\x01"));
}

Test(control, a_settlement_that_would_be_corrupt_is_not_written)
{
    struct control_settled settled = settlement_of(SETTLED_ACCEPTED);
    settled.region[0] = '\0';
    cr_assert_eq(control_settled_encode(&settled, &out, NULL), ERR_INVALID);
    settled = settlement_of(SETTLED_ACCEPTED);
    settled.incarnation = 0;
    cr_assert_eq(control_settled_encode(&settled, &out, NULL), ERR_INVALID);
    settled = settlement_of((enum settlement)(SETTLED_COMPENSATE + 1));
    cr_assert_eq(control_settled_encode(&settled, &out, NULL), ERR_INVALID);
    cr_assert_eq(out.size_bytes, 0);
}

/* --- Keys --- */

static struct control_key key_change(void)
{
    struct control_key key = {.kind = CONTROL_KEY_ROTATED, .role = BYTES_LITERAL("log")};
    memset(key.old_key.bytes, 1, HASH_SIZE);
    memset(key.new_key.bytes, 2, HASH_SIZE);
    return key;
}

static void expect_key_corrupt(struct bytes payload)
{
    struct control_key key = {.kind = CONTROL_UNKNOWN};
    cr_assert_eq(control_key_parse(CONTROL_KEY_ROTATED, payload, &key, NULL), ERR_CORRUPT);
    cr_assert_eq(key.kind, CONTROL_UNKNOWN, "outputs are untouched on failure");
}

Test(control, a_change_of_keys_comes_back_as_it_was)
{
    struct control_key key = key_change();
    struct control_key back;
    cr_assert_eq(control_key_encode(&key, &out, NULL), 0);
    cr_assert_eq(control_key_parse(CONTROL_KEY_RETIRED, buf_bytes(&out), &back, NULL), 0);
    cr_expect_eq(back.kind, CONTROL_KEY_RETIRED);
    cr_expect(bytes_equal(back.role, key.role));
    cr_expect(hash_equal(&back.old_key, &key.old_key) && hash_equal(&back.new_key, &key.new_key));
}

Test(control, a_change_of_keys_names_a_role_and_two_keys)
{
    struct control_key key = key_change();
    key.new_key = key.old_key;
    cr_expect_eq(control_key_encode(&key, &out, NULL), ERR_INVALID);
    key = key_change();
    key.role = bytes_of(NULL, 0);
    cr_expect_eq(control_key_encode(&key, &out, NULL), ERR_INVALID);
    cr_expect_eq(out.size_bytes, 0);
}

Test(control, a_change_of_keys_is_refused_when_anything_is_missing_or_left)
{
    struct control_key key = key_change();
    cr_assert_eq(control_key_encode(&key, &out, NULL), 0);
    for (size_t size = 0; size < out.size_bytes; size++)
        expect_key_corrupt(bytes_of(out.data, size));
    cr_assert_eq(buf_append_byte(&out, 0), 0);
    expect_key_corrupt(buf_bytes(&out));
}

Test(control, a_change_of_keys_is_no_change_of_authority)
{
    cr_expect(control_is_key(CONTROL_KEY_ROTATED) && control_is_key(CONTROL_KEY_RETIRED));
    cr_expect(!control_is_key(CONTROL_LATE_SETTLED) && !control_is_authority(CONTROL_KEY_ROTATED));
}
/* --- Verdicts on queued commands --- */

static struct control_decided verdict_of(int code)
{
    struct control_decided decided = {
        .region = "us", .incarnation = 3, .index = 41, .event_id = {9, 8, 7}, .code = code};
    if (code != 0)
        decided.message = BYTES_LITERAL("the stream is at 4");
    return decided;
}

static enum control_kind kind_of_verdict(int code)
{
    return code == 0 ? CONTROL_COMMAND_ACCEPTED : CONTROL_COMMAND_REFUSED;
}

Test(control, every_verdict_comes_back_as_it_was)
{
    static const int codes[] = {0, ERR_VERSION_CONFLICT, -CONTROL_CODE_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct control_decided decided = verdict_of(codes[i]);
        struct control_decided back;
        buf_clear(&out);
        cr_assert_eq(control_decided_encode(&decided, &out, NULL), 0);
        cr_assert_eq(control_decided_parse(kind_of_verdict(codes[i]), buf_bytes(&out), &back, NULL), 0);
        cr_assert_str_eq(back.region, "us");
        cr_assert_eq(back.incarnation, 3);
        cr_assert_eq(back.index, 41);
        cr_assert_eq(memcmp(back.event_id, decided.event_id, ENTRY_ID_SIZE), 0);
        cr_assert_eq(back.code, codes[i]);
        cr_assert(bytes_equal(back.message, decided.message));
    }
}

static void expect_no_verdict(enum control_kind kind, struct bytes payload)
{
    struct control_decided decided = {.index = 99};
    cr_assert_eq(control_decided_parse(kind, payload, &decided, NULL), ERR_CORRUPT);
    cr_assert_eq(decided.index, 99, "outputs are untouched on failure");
}

Test(control, a_verdict_says_what_its_type_says)
{
    struct control_decided decided = verdict_of(0);
    cr_assert_eq(control_decided_encode(&decided, &out, NULL), 0);
    expect_no_verdict(CONTROL_COMMAND_REFUSED, buf_bytes(&out));
    decided = verdict_of(ERR_INVALID);
    buf_clear(&out);
    cr_assert_eq(control_decided_encode(&decided, &out, NULL), 0);
    expect_no_verdict(CONTROL_COMMAND_ACCEPTED, buf_bytes(&out));
    cr_assert_eq(buf_append_byte(&out, 0), 0);
    expect_no_verdict(CONTROL_COMMAND_REFUSED, buf_bytes(&out));
    expect_no_verdict(CONTROL_COMMAND_ACCEPTED, BYTES_LITERAL(""));
    expect_no_verdict(CONTROL_COMMAND_ACCEPTED, BYTES_LITERAL("\x0A\x02us\x10\x01\x22\x0F"
                                                              "0123456789abcde"));
}

Test(control, a_verdict_that_would_not_be_read_is_not_written)
{
    struct control_decided decided = verdict_of(0);
    decided.region[0] = '\0';
    cr_expect_eq(control_decided_encode(&decided, &out, NULL), ERR_INVALID);
    decided = verdict_of(0);
    decided.incarnation = 0;
    cr_expect_eq(control_decided_encode(&decided, &out, NULL), ERR_INVALID);
    decided = verdict_of(1);
    cr_expect_eq(control_decided_encode(&decided, &out, NULL), ERR_INVALID, "a code that is no error");
    decided = verdict_of(-CONTROL_CODE_MAX - 1);
    cr_expect_eq(control_decided_encode(&decided, &out, NULL), ERR_INVALID);
    decided = verdict_of(ERR_INVALID);
    decided.message = bytes_of(NULL, 0);
    cr_expect_eq(control_decided_encode(&decided, &out, NULL), ERR_INVALID, "a refusal without a reason");
    decided = verdict_of(ERR_INVALID);
    decided.message = BYTES_LITERAL("a\nb");
    cr_expect_eq(control_decided_encode(&decided, &out, NULL), ERR_INVALID);
    cr_expect_eq(out.size_bytes, 0);
}
