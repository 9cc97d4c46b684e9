/* Our codes as gRPC statuses, and refusals as ErrorDetail messages (errors.h). One table in include/tally/error.h maps
 * them. */
#include "rpc/errors.h"

#include <stdio.h>

grpc_status_code error_status(int code)
{
    switch (code) {
    case TALLY_OK:
        return GRPC_STATUS_OK;
#define ERROR_STATUS_CASE(name, value, status, meaning)                                                                \
    case ERR_##name:                                                                                                   \
        return GRPC_STATUS_##status;
        TALLY_ERROR_MAP(ERROR_STATUS_CASE)
#undef ERROR_STATUS_CASE
    default:
        return GRPC_STATUS_UNKNOWN;
    }
}

/* Whether an error of this kind is about one write of the command, rather than about the command or the server as a
 * whole. */
static bool concerns_a_write(int code)
{
    return code == ERR_INVALID || code == ERR_TOO_LARGE || code == ERR_NOT_FOUND || code == ERR_VERSION_CONFLICT ||
           code == ERR_ID_REUSED || code == ERR_WRONG_HOME;
}

/* A name that is over its limit is what was refused: it is not repeated. */
static char *copy_name(struct bytes name, char *out, size_t capacity_bytes)
{
    if (name.size_bytes < capacity_bytes && name.size_bytes > 0) {
        memcpy(out, name.data, name.size_bytes);
        out[name.size_bytes] = '\0';
    }
    return out;
}

static void describe_write(struct error_detail *detail, const struct region_stream_write *write)
{
    Tally__V1__ErrorDetail *message = &detail->message;
    message->context = copy_name(write->context, detail->context, sizeof(detail->context));
    message->partition = copy_name(write->partition, detail->partition, sizeof(detail->partition));
    message->stream = copy_name(write->stream, detail->stream, sizeof(detail->stream));
}

void error_detail_init(struct error_detail *detail, const struct region_refusal *refusal,
                       const struct region_command *command)
{
    *detail = (struct error_detail){.refusal = *refusal};
    Tally__V1__ErrorDetail *message = &detail->message;
    tally__v1__error_detail__init(message);
    union {
        const char *in;
        char *out;
    } name = {.in = tally_error_name(refusal->code)}; /* protobuf-c's strings are not const; packing only reads */
    message->code = name.out;
    message->number = refusal->code;
    message->message = detail->refusal.err.message;
    message->retry_after_ms = refusal->retry_after_ms;
    if (!concerns_a_write(refusal->code))
        return;
    if (command != NULL && refusal->write_number < command->write_count) {
        message->write_number = (uint32_t)refusal->write_number;
        describe_write(detail, &command->writes[refusal->write_number]);
    }
    message->expected = detail->refusal.expected;
    message->actual = detail->refusal.actual;
    message->home_region = detail->refusal.home_region;
    message->home_address = detail->refusal.home_address;
    if (refusal->code == ERR_ID_REUSED)
        message->event_id = (ProtobufCBinaryData){.len = ENTRY_ID_SIZE, .data = detail->refusal.event_id};
}

void error_detail_init_plain(struct error_detail *detail, int code, const struct err *err)
{
    struct region_refusal refusal = {.code = code};
    if (err->message[0] != '\0')
        refusal.err = *err;
    else
        err_set(&refusal.err, code, "%s", tally_error_meaning(code));
    error_detail_init(detail, &refusal, NULL);
}

grpc_slice error_detail_pack(const struct error_detail *detail)
{
    grpc_slice slice = grpc_slice_malloc(tally__v1__error_detail__get_packed_size(&detail->message));
    tally__v1__error_detail__pack(&detail->message, GRPC_SLICE_START_PTR(slice));
    return slice;
}

void status_op_begin(const struct error_detail *detail, struct status_op *ret, grpc_op *operation)
{
    *ret = (struct status_op){
        .text = grpc_empty_slice(),
        .trailer = {.key = grpc_slice_from_static_string("tally-error-bin"), .value = grpc_empty_slice()}};
    if (detail != NULL) {
        ret->text = grpc_slice_from_copied_string(detail->refusal.err.message);
        ret->trailer.value = error_detail_pack(detail);
    }
    *operation = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    operation->data.send_status_from_server.trailing_metadata_count = detail != NULL ? 1 : 0;
    operation->data.send_status_from_server.trailing_metadata = &ret->trailer;
    operation->data.send_status_from_server.status = error_status(detail == NULL ? 0 : detail->refusal.code);
    operation->data.send_status_from_server.status_details = &ret->text;
}

void status_op_end(struct status_op *status)
{
    grpc_slice_unref(status->text);
    grpc_slice_unref(status->trailer.value);
}
