#include <criterion/criterion.h>

#include "base/buf.h"
#include "base/mem.h"
#include "entry/wire.h"
#include "rpc/message.h"
#include "tally/v1/ledger.pb-c.h"

static int unpack_in(const ProtobufCMessageDescriptor *type, struct bytes encoded, size_t arena_max_bytes,
                     struct err *err)
{
    struct arena arena;
    arena_init(&arena, arena_max_bytes);
    ProtobufCMessage *message = NULL;
    int code = message_unpack(type, encoded, &arena, &message, err);
    cr_assert_eq(message != NULL, code == 0);
    arena_free(&arena);
    return code;
}

static int unpack_append(struct bytes encoded, struct err *err)
{
    return unpack_in(&tally__v1__append_request__descriptor, encoded, 1024 * 1024, err);
}

Test(message, decodes_a_request_into_the_arena)
{
    struct arena arena;
    struct bytes encoded = BYTES_LITERAL("\x0a\x04"
                                         "bank"
                                         "\x12\x02"
                                         "s1"
                                         "\x18\x05");
    ProtobufCMessage *message = NULL;
    arena_init(&arena, 4096);
    cr_assert_eq(message_unpack(&tally__v1__read_stream_request__descriptor, encoded, &arena, &message, NULL), 0);
    const Tally__V1__ReadStreamRequest *request = (const Tally__V1__ReadStreamRequest *)message;
    cr_expect_str_eq(request->context, "bank");
    cr_expect_str_eq(request->stream, "s1");
    cr_expect_eq(request->from_version, 5);
    arena_free(&arena);
}

Test(message, empty_bytes_are_a_message_of_defaults)
{
    cr_expect_eq(unpack_append((struct bytes){0}, NULL), 0);
}

Test(message, every_truncation_is_refused_or_a_shorter_message)
{
    struct bytes whole = BYTES_LITERAL("\x0a\x11\x0a\x04"
                                       "bank"
                                       "\x42\x09\x0a\x02"
                                       "id"
                                       "\x12\x03"
                                       "abc");
    cr_assert_eq(unpack_append(whole, NULL), 0);
    for (size_t size = 1; size < whole.size_bytes; size++)
        cr_expect_eq(unpack_append(bytes_of(whole.data, size), NULL), ERR_INVALID, "%zu bytes", size);
}

Test(message, refuses_a_nul_inside_a_string)
{
    struct err err = {0};
    cr_expect_eq(unpack_append(BYTES_LITERAL("\x0a\x06\x0a\x04"
                                             "a\0bc"),
                               &err),
                 ERR_INVALID);
    cr_expect_not_null(strstr(err.message, "'context'"), "%s", err.message);
}

Test(message, refuses_a_string_that_is_not_utf8)
{
    struct err err = {0};
    cr_expect_eq(unpack_append(BYTES_LITERAL("\x0a\x04\x1a\x02\xc0\x80"), &err), ERR_INVALID);
    cr_expect_not_null(strstr(err.message, "'stream'"), "%s", err.message);
}

Test(message, lets_any_bytes_pass_in_a_bytes_field)
{
    cr_expect_eq(unpack_append(BYTES_LITERAL("\x0a\x08\x42\x06\x2a\x04\x00\xff\xc0\x80"), NULL), 0);
}

Test(message, skips_unknown_fields_of_every_wire_type)
{
    cr_expect_eq(unpack_append(BYTES_LITERAL("\xf8\x06\x01"
                                             "\xf9\x06"
                                             "12345678"
                                             "\xfa\x06\x01x"
                                             "\xfd\x06"
                                             "1234"),
                               NULL),
                 0);
}

Test(message, refuses_groups)
{
    cr_expect_eq(unpack_append(BYTES_LITERAL("\xfb\x06\xfc\x06"), NULL), ERR_INVALID);
}

Test(message, refuses_field_number_zero)
{
    cr_expect_eq(unpack_append(BYTES_LITERAL("\x00\x01"), NULL), ERR_INVALID);
}

Test(message, refuses_a_varint_without_end)
{
    cr_expect_eq(unpack_append(BYTES_LITERAL("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), NULL),
                 ERR_INVALID);
}

Test(message, refuses_more_fields_than_the_limit)
{
    struct buf many;
    struct err err = {0};
    buf_init(&many, 4 * MESSAGE_FIELDS_MAX);
    for (size_t i = 0; i <= MESSAGE_FIELDS_MAX; i++)
        cr_assert_eq(buf_append(&many, BYTES_LITERAL("\x10\x01")), 0);
    cr_expect_eq(unpack_append(buf_bytes(&many), &err), ERR_TOO_LARGE);
    many.size_bytes -= 2;
    cr_expect_eq(unpack_append(buf_bytes(&many), NULL), ERR_TOO_LARGE, "protobuf-c's own book-keeping fills the arena");
    cr_expect_eq(unpack_in(&tally__v1__append_request__descriptor, buf_bytes(&many), (size_t)64 * 1024 * 1024, NULL),
                 0);
    buf_free(&many);
}

Test(message, refuses_what_does_not_fit_the_arena)
{
    struct buf many;
    struct err err = {0};
    buf_init(&many, 64 * 1024);
    for (size_t i = 0; i < 10000; i++)
        cr_assert_eq(buf_append(&many, BYTES_LITERAL("\x0a\x00")), 0);
    cr_expect_eq(unpack_in(&tally__v1__append_request__descriptor, buf_bytes(&many), 256 * 1024, &err), ERR_TOO_LARGE);
    cr_expect_not_null(strstr(err.message, "AppendRequest"), "%s", err.message);
    buf_free(&many);
}

Test(message, a_process_without_memory_does_not_blame_the_request)
{
    struct err err = {0};
    mem_fail_at(1);
    cr_expect_eq(unpack_append(BYTES_LITERAL("\x10\x05"), &err), ERR_NO_MEMORY, "%s", err.message);
    mem_fail_at(0);
    cr_expect_eq(unpack_append(BYTES_LITERAL("\x10\x05"), &err), 0);
}
