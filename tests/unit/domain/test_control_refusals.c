/* Control events, at their limits: nothing is read that would not be written, and nothing written that would not be
 * read. */
#include <criterion/criterion.h>

#include "domain/control.h"
#include "entry/wire.h"

static struct buf out;

static void set_up(void)
{
    buf_init(&out, CONTROL_PAYLOAD_MAX_BYTES);
}

static void tear_down(void)
{
    buf_free(&out);
}

TestSuite(control_refusals, .init = set_up, .fini = tear_down);

/* --- Kinds --- */

/* --- Authority --- */

static struct control_authority full_change(void)
{
    struct control_authority change = {.previous = BYTES_LITERAL("eu"),
                                       .actor = BYTES_LITERAL("operator"),
                                       .reason = BYTES_LITERAL("die Leitung ist tot: \xc3\xa4"),
                                       .forced = true};
    cr_assert_eq(position_parse(BYTES_LITERAL("eu@1024,eu.2@3,us@998"), &change.basis, NULL), 0);
    return change;
}

static void expect_read_back(enum control_kind kind, const struct control_authority *change)
{
    struct control_authority read;
    struct err err = {0};
    cr_assert_eq(control_authority_encode(kind, change, &out, &err), 0, "%s", err.message);
    cr_assert_eq(control_authority_parse(kind, buf_bytes(&out), &read, &err), 0, "%s", err.message);
    cr_assert(bytes_equal(read.successor, change->successor));
    cr_assert(bytes_equal(read.previous, change->previous));
    cr_assert(bytes_equal(read.actor, change->actor));
    cr_assert(bytes_equal(read.reason, change->reason));
    cr_assert_eq(read.forced, change->forced);
    cr_assert(position_equal(&read.basis, &change->basis));
    buf_clear(&out);
}

Test(control_refusals, a_change_is_read_back)
{
    struct control_authority change = full_change();
    expect_read_back(CONTROL_AUTHORITY_TAKEN, &change);
    expect_read_back(CONTROL_AUTHORITY_SEIZED, &change);
}

Test(control_refusals, the_smallest_change_is_empty)
{
    struct control_authority change = {.forced = false};
    expect_read_back(CONTROL_AUTHORITY_TAKEN, &change);
    cr_assert_eq(control_authority_encode(CONTROL_AUTHORITY_TAKEN, &change, &out, NULL), 0);
    cr_assert_eq(out.size_bytes, 0);
}

Test(control_refusals, a_release_is_read_back)
{
    struct control_authority change = {.successor = BYTES_LITERAL("us"), .actor = BYTES_LITERAL("operator")};
    expect_read_back(CONTROL_AUTHORITY_RELEASED, &change);
}

Test(control_refusals, the_largest_change_fits_its_limit)
{
    static char reason[CONTROL_REASON_MAX_BYTES];
    static char actor[CONTROL_ACTOR_MAX_BYTES];
    static char region[POSITION_REGION_MAX_BYTES + 1];
    struct control_authority change = {.forced = true};
    memset(reason, 'r', sizeof(reason));
    memset(actor, 'a', sizeof(actor));
    memset(region, 'x', POSITION_REGION_MAX_BYTES);
    change.reason = bytes_of(reason, sizeof(reason));
    change.actor = bytes_of(actor, sizeof(actor));
    change.previous = bytes_of(region, POSITION_REGION_MAX_BYTES);
    for (uint64_t i = 0; i < POSITION_LOGS_MAX; i++)
        cr_assert_eq(position_set(&change.basis, region, UINT64_MAX - i, UINT64_MAX), 0);
    expect_read_back(CONTROL_AUTHORITY_SEIZED, &change);
}

static void expect_not_written(enum control_kind kind, struct control_authority change)
{
    struct err err = {0};
    cr_assert_eq(buf_append_string(&out, "before"), 0);
    cr_assert_neq(control_authority_encode(kind, &change, &out, &err), 0);
    cr_assert_neq(err.message[0], '\0');
    cr_assert(bytes_equal(buf_bytes(&out), BYTES_LITERAL("before")));
    buf_clear(&out);
}

Test(control_refusals, texts_that_are_too_long_are_not_written)
{
    static char text[CONTROL_REASON_MAX_BYTES + 1];
    memset(text, 'x', sizeof(text));
    expect_not_written(CONTROL_AUTHORITY_TAKEN, (struct control_authority){.reason = bytes_of(text, sizeof(text))});
    expect_not_written(CONTROL_AUTHORITY_TAKEN,
                       (struct control_authority){.actor = bytes_of(text, CONTROL_ACTOR_MAX_BYTES + 1)});
    expect_not_written(CONTROL_AUTHORITY_TAKEN,
                       (struct control_authority){.previous = bytes_of(text, POSITION_REGION_MAX_BYTES + 1)});
    expect_not_written(CONTROL_AUTHORITY_RELEASED,
                       (struct control_authority){.successor = bytes_of(text, POSITION_REGION_MAX_BYTES + 1)});
}

Test(control_refusals, texts_with_control_characters_or_broken_utf8_are_not_written)
{
    expect_not_written(CONTROL_AUTHORITY_TAKEN, (struct control_authority){.reason = BYTES_LITERAL("a\nb")});
    expect_not_written(CONTROL_AUTHORITY_TAKEN, (struct control_authority){.actor = BYTES_LITERAL("a\0b")});
    expect_not_written(CONTROL_AUTHORITY_TAKEN, (struct control_authority){.previous = BYTES_LITERAL("\xff")});
    expect_not_written(CONTROL_AUTHORITY_RELEASED, (struct control_authority){.successor = BYTES_LITERAL("a\x7f")});
}

Test(control_refusals, a_shape_that_would_not_be_read_is_not_written)
{
    struct control_authority with_basis = full_change();
    with_basis.successor = BYTES_LITERAL("us");
    expect_not_written(CONTROL_AUTHORITY_RELEASED, with_basis);
    expect_not_written(CONTROL_AUTHORITY_TAKEN, with_basis);
    expect_not_written(CONTROL_AUTHORITY_RELEASED, (struct control_authority){.forced = false});
}

static void expect_not_read(enum control_kind kind, struct bytes payload)
{
    struct control_authority change = {.forced = true};
    struct err err = {0};
    cr_assert_eq(control_authority_parse(kind, payload, &change, &err), ERR_CORRUPT);
    cr_assert_neq(err.message[0], '\0');
    cr_assert(change.forced);
}

#define NOT_READ(kind, text) expect_not_read(CONTROL_AUTHORITY_##kind, BYTES_LITERAL(text))

Test(control_refusals, a_payload_that_is_not_canonical_is_not_read)
{
    NOT_READ(TAKEN, "\x1a");             /* cut off */
    NOT_READ(TAKEN, "\x1a\2e");          /* cut off */
    NOT_READ(TAKEN, "\x1a\0");           /* a default that is written */
    NOT_READ(TAKEN, "\x30\0");           /* a default that is written */
    NOT_READ(TAKEN, "\x30\2");           /* neither true nor false */
    NOT_READ(TAKEN, "\x30\x81\0");       /* not the shortest number */
    NOT_READ(TAKEN, "\x22\1x\x1a\2eu");  /* fields that descend */
    NOT_READ(TAKEN, "\x1a\2eu\x1a\2eu"); /* a field twice */
    NOT_READ(TAKEN, "\x38\1");           /* a field that there is not */
    NOT_READ(TAKEN, "\x18\1");           /* the wrong wire type */
    NOT_READ(TAKEN, "\0");               /* no field at all */
}

Test(control_refusals, a_basis_that_is_not_canonical_is_not_read)
{
    NOT_READ(TAKEN, "\x12\1x");
    NOT_READ(TAKEN, "\x12\5us@01");
    NOT_READ(TAKEN, "\x12\4us@0");
    NOT_READ(TAKEN, "\x12\6us.1@4");
    NOT_READ(TAKEN, "\x12\x9us@4,eu@3");
    NOT_READ(TAKEN, "\x12\x9us@4,us@5");
}

Test(control_refusals, a_release_needs_a_successor_and_has_no_basis)
{
    NOT_READ(RELEASED, "");
    NOT_READ(RELEASED, "\x0a\2us\x12\4us@4");
    NOT_READ(TAKEN, "\x0a\2us");
    NOT_READ(SEIZED, "\x0a\2us");
}

Test(control_refusals, texts_that_would_not_be_written_are_not_read)
{
    NOT_READ(RELEASED, "\x0a\3u\0s");
    NOT_READ(RELEASED, "\x0a\1\x01");
    NOT_READ(RELEASED, "\x0a\1\xff");
    NOT_READ(TAKEN, "\x1a\1\x01");
    NOT_READ(TAKEN, "\x22\1\x01");
    NOT_READ(TAKEN, "\x2a\1\xc3");
}

Test(control_refusals, a_region_that_is_too_long_is_not_read)
{
    uint8_t payload[2 + 64] = {0x0a, 64};
    memset(payload + 2, 'x', 64);
    expect_not_read(CONTROL_AUTHORITY_RELEASED, bytes_of(payload, sizeof(payload)));
    payload[0] = 0x1a;
    expect_not_read(CONTROL_AUTHORITY_TAKEN, bytes_of(payload, sizeof(payload)));
}

/* --- Settlements --- */

static struct control_settled full_settled(void)
{
    return (struct control_settled){.region = "eu",
                                    .incarnation = 2,
                                    .index = 77,
                                    .event_id = {1, 2, 3},
                                    .settlement = SETTLED_COMPENSATE,
                                    .actor = BYTES_LITERAL("operator"),
                                    .reason = BYTES_LITERAL("paid twice")};
}

static void expect_settled_not_written(struct control_settled settled)
{
    struct err err = {0};
    cr_assert_neq(control_settled_encode(&settled, &out, &err), 0);
    cr_assert_neq(err.message[0], '\0');
    cr_assert_eq(out.size_bytes, 0);
}

Test(control_refusals, a_settlement_that_would_not_be_read_is_not_written)
{
    struct control_settled settled = full_settled();
    settled.region[0] = '\0';
    expect_settled_not_written(settled);
    settled = full_settled();
    settled.region[0] = '\x01';
    expect_settled_not_written(settled);
    settled = full_settled();
    settled.incarnation = 0;
    expect_settled_not_written(settled);
    settled = full_settled();
    settled.reason = BYTES_LITERAL("a\tb");
    expect_settled_not_written(settled);
}

static void expect_settled_not_read(struct bytes payload)
{
    struct control_settled settled = {.index = 5};
    struct err err = {0};
    cr_assert_eq(control_settled_parse(payload, &settled, &err), ERR_CORRUPT);
    cr_assert_neq(err.message[0], '\0');
    cr_assert_eq(settled.index, 5);
}

#define ID            "0123456789abcdef"
#define NO_SETTLED(s) expect_settled_not_read(BYTES_LITERAL(s))

Test(control_refusals, a_settlement_that_is_not_canonical_is_not_read)
{
    struct control_settled settled;
    cr_assert_eq(control_settled_parse(BYTES_LITERAL("\x0a\2eu\x10\2\x22\x10" ID "\x28\1"), &settled, NULL), 0);
    NO_SETTLED("");
    NO_SETTLED("\x10\2\x22\x10" ID "\x28\1");   /* no region */
    NO_SETTLED("\x0a\2eu\x22\x10" ID "\x28\1"); /* no incarnation */
    NO_SETTLED("\x0a\2eu\x10\2\x28\1");         /* no id */
    NO_SETTLED("\x0a\2eu\x10\2\x22\x0f"
               "0123456789abcde"
               "\x28\1");                                     /* an id too short */
    NO_SETTLED("\x0a\2eu\x10\2\x22\x10" ID);                  /* no decision */
    NO_SETTLED("\x0a\2eu\x10\2\x22\x10" ID "\x28\5");         /* an unknown decision */
    NO_SETTLED("\x0a\2eu\x10\2\x18\0\x22\x10" ID "\x28\1");   /* a default that is written */
    NO_SETTLED("\x0a\2eu\x10\2\x22\x10" ID "\x28\1\x40\1");   /* a field that there is not */
    NO_SETTLED("\x0a\3e\0u\x10\2\x22\x10" ID "\x28\1");       /* a region with a NUL */
    NO_SETTLED("\x0a\2eu\x10\2\x22\x10" ID "\x28\1\x32\1\n"); /* an actor with a control character */
}

Test(control_refusals, a_settlement_of_a_region_with_too_long_a_name_is_not_read)
{
    uint8_t payload[2 + 64 + 2 + 18 + 2] = {0x0a, 64};
    memset(payload + 2, 'x', 64);
    memcpy(payload + 66, "\x10\2\x22\x10" ID "\x28\1", 22);
    expect_settled_not_read(bytes_of(payload, sizeof(payload)));
}
