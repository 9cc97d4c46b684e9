#include <criterion/criterion.h>
#include <stdio.h>

#include "rpc/errors.h"

static Tally__V1__ErrorDetail *unpack(const struct error_detail *detail)
{
    grpc_slice slice = error_detail_pack(detail);
    Tally__V1__ErrorDetail *message =
        tally__v1__error_detail__unpack(NULL, GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
    grpc_slice_unref(slice);
    cr_assert_not_null(message);
    return message;
}

static struct region_refusal refusal_of(int code)
{
    struct region_refusal refusal = {.code = code, .write_number = 1, .event_id = {1, 2, 3}};
    err_set(&refusal.err, code, "what went wrong");
    snprintf(refusal.expected, sizeof(refusal.expected), "none");
    snprintf(refusal.actual, sizeof(refusal.actual), "7");
    snprintf(refusal.home_region, sizeof(refusal.home_region), "us");
    snprintf(refusal.home_address, sizeof(refusal.home_address), "us.example:7000");
    return refusal;
}

static struct region_stream_write WRITES[] = {
    {.context = {(const uint8_t *)"c0", 2},
     .partition = {(const uint8_t *)"p0", 2},
     .stream = {(const uint8_t *)"s0", 2}},
    {.context = {(const uint8_t *)"c1", 2},
     .partition = {(const uint8_t *)"p1", 2},
     .stream = {(const uint8_t *)"s1", 2}},
};
static const struct region_command COMMAND = {.write_count = 2, .writes = WRITES};

Test(errors, every_code_travels_as_its_status)
{
    cr_expect_eq(error_status(0), GRPC_STATUS_OK);
    cr_expect_eq(error_status(ERR_INVALID), GRPC_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(error_status(ERR_VERSION_CONFLICT), GRPC_STATUS_ABORTED);
    cr_expect_eq(error_status(ERR_WRONG_HOME), GRPC_STATUS_FAILED_PRECONDITION);
    cr_expect_eq(error_status(ERR_BUSY), GRPC_STATUS_RESOURCE_EXHAUSTED);
    cr_expect_eq(error_status(ERR_FORK), GRPC_STATUS_DATA_LOSS);
    cr_expect_eq(error_status(ERR_END), GRPC_STATUS_OUT_OF_RANGE);
    cr_expect_eq(error_status(-1000), GRPC_STATUS_UNKNOWN);
}

Test(errors, a_version_conflict_names_the_write_and_both_versions)
{
    struct error_detail detail;
    struct region_refusal refusal = refusal_of(ERR_VERSION_CONFLICT);
    error_detail_init(&detail, &refusal, &COMMAND);
    Tally__V1__ErrorDetail *message = unpack(&detail);
    cr_expect_str_eq(message->code, "VERSION_CONFLICT");
    cr_expect_eq(message->number, ERR_VERSION_CONFLICT);
    cr_expect_str_eq(message->message, "what went wrong");
    cr_expect_eq(message->write_number, 1);
    cr_expect_str_eq(message->context, "c1");
    cr_expect_str_eq(message->partition, "p1");
    cr_expect_str_eq(message->stream, "s1");
    cr_expect_str_eq(message->expected, "none");
    cr_expect_str_eq(message->actual, "7");
    cr_expect_eq(message->event_id.len, 0);
    tally__v1__error_detail__free_unpacked(message, NULL);
}

Test(errors, a_wrong_home_names_the_right_one)
{
    struct error_detail detail;
    struct region_refusal refusal = refusal_of(ERR_WRONG_HOME);
    error_detail_init(&detail, &refusal, &COMMAND);
    Tally__V1__ErrorDetail *message = unpack(&detail);
    cr_expect_str_eq(message->home_region, "us");
    cr_expect_str_eq(message->home_address, "us.example:7000");
    tally__v1__error_detail__free_unpacked(message, NULL);
}

Test(errors, a_reused_id_is_given_back)
{
    struct error_detail detail;
    struct region_refusal refusal = refusal_of(ERR_ID_REUSED);
    error_detail_init(&detail, &refusal, &COMMAND);
    Tally__V1__ErrorDetail *message = unpack(&detail);
    cr_assert_eq(message->event_id.len, ENTRY_ID_SIZE);
    cr_expect_eq(memcmp(message->event_id.data, refusal.event_id, ENTRY_ID_SIZE), 0);
    tally__v1__error_detail__free_unpacked(message, NULL);
}

Test(errors, a_full_queue_is_no_fault_of_a_write)
{
    struct error_detail detail;
    struct region_refusal refusal = refusal_of(ERR_BUSY);
    error_detail_init(&detail, &refusal, &COMMAND);
    Tally__V1__ErrorDetail *message = unpack(&detail);
    cr_expect_eq(message->write_number, 0);
    cr_expect_str_eq(message->context, "");
    cr_expect_str_eq(message->expected, "");
    tally__v1__error_detail__free_unpacked(message, NULL);
}

Test(errors, a_write_number_past_the_command_names_nothing)
{
    struct error_detail detail;
    struct region_refusal refusal = refusal_of(ERR_INVALID);
    refusal.write_number = 2;
    error_detail_init(&detail, &refusal, &COMMAND);
    cr_expect_str_eq(detail.message.context, "");
    error_detail_init(&detail, &refusal, NULL);
    cr_expect_str_eq(detail.message.context, "");
}

Test(errors, a_name_over_its_limit_is_not_repeated)
{
    static char name[ENTRY_STREAM_MAX_BYTES + 2];
    memset(name, 'x', sizeof(name) - 1);
    struct region_stream_write write = {.context = bytes_of(name, ENTRY_NAME_MAX_BYTES),
                                        .partition = bytes_of(name, ENTRY_NAME_MAX_BYTES + 1),
                                        .stream = bytes_of(name, ENTRY_STREAM_MAX_BYTES + 1)};
    struct region_command command = {.write_count = 1, .writes = &write};
    struct region_refusal refusal = refusal_of(ERR_TOO_LARGE);
    struct error_detail detail;
    refusal.write_number = 0;
    error_detail_init(&detail, &refusal, &command);
    cr_expect_eq(strlen(detail.message.context), ENTRY_NAME_MAX_BYTES);
    cr_expect_str_eq(detail.message.partition, "");
    cr_expect_str_eq(detail.message.stream, "");
}

Test(errors, an_error_without_a_message_gets_its_meaning)
{
    struct error_detail detail;
    struct err err = {0};
    error_detail_init_plain(&detail, ERR_TIMEOUT, &err);
    cr_expect_str_eq(detail.message.message, tally_error_meaning(ERR_TIMEOUT));
    err_set(&err, ERR_TIMEOUT, "too late");
    error_detail_init_plain(&detail, ERR_TIMEOUT, &err);
    cr_expect_str_eq(detail.message.message, "too late");
}
