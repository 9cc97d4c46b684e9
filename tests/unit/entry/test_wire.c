#include "entry/wire.h"

#include <criterion/criterion.h>

static const uint64_t edges[] = {0, 1, 127, 128, 300, 16383, 16384, UINT32_MAX, (uint64_t)1 << 63, UINT64_MAX};

Test(wire, varints_come_back_and_have_the_promised_size)
{
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        uint8_t out[WIRE_VARINT_MAX_BYTES];
        uint64_t value = 1;
        size_t size = (size_t)(wire_put_varint(out, edges[i]) - out);
        cr_assert_eq(size, wire_varint_size(edges[i]));
        struct bytes in = bytes_of(out, size);
        cr_assert(wire_take_varint(&in, &value));
        cr_assert_eq(value, edges[i]);
        cr_assert_eq(in.size_bytes, 0);
    }
}

Test(wire, a_cut_off_varint_is_refused_and_takes_nothing)
{
    uint8_t out[WIRE_VARINT_MAX_BYTES];
    uint64_t value = 77;
    size_t size = (size_t)(wire_put_varint(out, UINT64_MAX) - out);
    for (size_t cut = 0; cut < size; cut++) {
        struct bytes in = bytes_of(out, cut);
        cr_assert_not(wire_take_varint(&in, &value));
        cr_assert_eq(in.size_bytes, cut);
    }
    cr_assert_eq(value, 77);
}

Test(wire, longer_than_needed_varints_are_refused)
{
    const uint8_t zero_in_two[] = {0x80, 0x00};
    const uint8_t one_in_three[] = {0x81, 0x80, 0x00};
    uint64_t value = 0;
    struct bytes in = bytes_of(zero_in_two, 2);
    cr_assert_not(wire_take_varint(&in, &value));
    in = bytes_of(one_in_three, 3);
    cr_assert_not(wire_take_varint(&in, &value));
}

Test(wire, varints_over_64_bits_are_refused)
{
    const uint8_t too_big[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02};
    const uint8_t too_long[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01};
    uint64_t value = 0;
    struct bytes in = bytes_of(too_big, sizeof(too_big));
    cr_assert_not(wire_take_varint(&in, &value));
    in = bytes_of(too_long, sizeof(too_long));
    cr_assert_not(wire_take_varint(&in, &value));
}

Test(wire, bytes_longer_than_what_is_left_are_refused)
{
    const uint8_t bad[] = {5, 'a', 'b', 'c', 'd'};
    struct bytes in = bytes_of(bad, sizeof(bad));
    struct bytes value;
    cr_assert_not(wire_take_bytes(&in, &value));
    const uint8_t huge[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 'a'};
    in = bytes_of(huge, sizeof(huge));
    cr_assert_not(wire_take_bytes(&in, &value));
}

Test(wire, bytes_come_back)
{
    uint8_t out[16];
    size_t size = (size_t)(wire_put_bytes(out, 3, BYTES_LITERAL("abc")) - out);
    struct bytes in = bytes_of(out, size);
    struct bytes value;
    uint32_t field = 0;
    enum wire_type type;
    cr_assert(wire_take_tag(&in, &field, &type));
    cr_assert_eq(field, 3);
    cr_assert_eq(type, WIRE_BYTES);
    cr_assert(wire_take_bytes(&in, &value));
    cr_assert(bytes_equal(value, BYTES_LITERAL("abc")));
}

Test(wire, fixed64_needs_eight_bytes)
{
    const uint8_t in_bytes[8] = {1, 0, 0, 0, 0, 0, 0, 0x80};
    uint64_t value = 0;
    struct bytes in = bytes_of(in_bytes, 7);
    cr_assert_not(wire_take_fixed64(&in, &value));
    in = bytes_of(in_bytes, 8);
    cr_assert(wire_take_fixed64(&in, &value));
    cr_assert_eq(value, 0x8000000000000001u);
}

Test(wire, tags_with_field_zero_or_an_unused_wire_type_are_refused)
{
    for (unsigned type = 0; type < 8; type++) {
        for (unsigned field = 0; field < 3; field++) {
            uint8_t tag = (uint8_t)(field << 3 | type);
            struct bytes in = bytes_of(&tag, 1);
            uint32_t ret_field = 0;
            enum wire_type ret_type;
            bool good = field > 0 && (type == WIRE_VARINT || type == WIRE_FIXED64 || type == WIRE_BYTES);
            cr_assert_eq(wire_take_tag(&in, &ret_field, &ret_type), good, "field %u type %u", field, type);
        }
    }
}

Test(wire, field_numbers_over_29_bits_are_refused)
{
    uint8_t out[WIRE_VARINT_MAX_BYTES];
    uint32_t field = 0;
    enum wire_type type;
    struct bytes in = bytes_of(out, (size_t)(wire_put_varint(out, (uint64_t)0x20000000 << 3) - out));
    cr_assert_not(wire_take_tag(&in, &field, &type));
    in = bytes_of(out, (size_t)(wire_put_varint(out, (uint64_t)0x1FFFFFFF << 3) - out));
    cr_assert(wire_take_tag(&in, &field, &type));
    cr_assert_eq(field, 0x1FFFFFFF);
}
