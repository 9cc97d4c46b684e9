/* grpc.reflection.v1 and v1alpha: the two have the same messages. Answers files with everything that they import. */
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "rpc/methods.h"
#include "rpc/server.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

/* Everything that an answer points to. */
struct answer {
    reflection_response response;
    Grpc__Reflection__V1__FileDescriptorResponse files;
    ProtobufCBinaryData descriptors[REFLECTION_FILES_MAX];
    Grpc__Reflection__V1__ListServiceResponse list;
    Grpc__Reflection__V1__ServiceResponse services[REFLECTION_SERVICES_MAX];
    Grpc__Reflection__V1__ServiceResponse *service_pointers[REFLECTION_SERVICES_MAX];
    char service_names[REFLECTION_SERVICES_MAX][256];
    Grpc__Reflection__V1__ErrorResponse error;
    struct err err;
};

static void answer_error(struct answer *answer, int code)
{
    grpc__reflection__v1__error_response__init(&answer->error);
    answer->error.error_code = (int32_t)error_status(code);
    answer->error.error_message = answer->err.message;
    answer->response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    answer->response.error_response = &answer->error;
}

static void answer_file(struct answer *answer, const struct reflection *reflection, const struct reflection_file *file)
{
    const struct reflection_file *files[REFLECTION_FILES_MAX];
    if (file == NULL) {
        answer_error(answer, err_set(&answer->err, ERR_NOT_FOUND, "no file or symbol of that name is served here"));
        return;
    }
    grpc__reflection__v1__file_descriptor_response__init(&answer->files);
    answer->files.n_file_descriptor_proto = reflection_closure(reflection, file, files);
    for (size_t i = 0; i < answer->files.n_file_descriptor_proto; i++) {
        union {
            const uint8_t *in;
            uint8_t *out;
        } data = {.in = files[i]->descriptor.data}; /* protobuf-c's bytes are not const; packing only reads */
        answer->descriptors[i] = (ProtobufCBinaryData){.len = files[i]->descriptor.size_bytes, .data = data.out};
    }
    answer->files.file_descriptor_proto = answer->descriptors;
    answer->response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    answer->response.file_descriptor_response = &answer->files;
}

static void answer_list(struct answer *answer, const struct reflection *reflection)
{
    grpc__reflection__v1__list_service_response__init(&answer->list);
    memcpy(answer->service_names, reflection->services, sizeof(answer->service_names));
    for (size_t i = 0; i < reflection->service_count; i++) {
        grpc__reflection__v1__service_response__init(&answer->services[i]);
        answer->services[i].name = answer->service_names[i];
        answer->service_pointers[i] = &answer->services[i];
    }
    answer->list.n_service = reflection->service_count;
    answer->list.service = answer->service_pointers;
    answer->response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    answer->response.list_services_response = &answer->list;
}

static void fill(struct answer *answer, const struct reflection *reflection, reflection_request *request)
{
    grpc__reflection__v1__server_reflection_response__init(&answer->response);
    answer->response.valid_host = request->host;
    answer->response.original_request = request;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        answer_file(answer, reflection, reflection_find_file(reflection, bytes_of_string(request->file_by_filename)));
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        answer_file(answer, reflection,
                    reflection_find_symbol(reflection, bytes_of_string(request->file_containing_symbol)));
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        answer_list(answer, reflection);
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        answer_error(answer, err_set(&answer->err, ERR_NOT_FOUND, "the services here have no extensions"));
        return;
    default:
        answer_error(answer, err_set(&answer->err, ERR_INVALID, "the reflection request asks for nothing"));
        return;
    }
}

static int answer_next(struct call *call, struct arena *arena, struct answer *answer, struct err *err)
{
    struct call_message message;
    int code = call_read(call, &message, err);
    if (code != 0)
        return code;
    ProtobufCMessage *request = NULL;
    code = message_unpack(&grpc__reflection__v1__server_reflection_request__descriptor, message.bytes, arena, &request,
                          err);
    call_message_free(&message);
    if (code != 0)
        return code;
    fill(answer, rpc_server_reflection(call->server), (reflection_request *)request);
    return call_write_message(call, &answer->response.base, err);
}

int method_reflection(struct call *call, struct err *err)
{
    struct arena arena;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    struct answer *answer = arena_alloc_zero(&arena, 1, sizeof(*answer));
    int code = answer == NULL ? err_no_memory(err, "an answer") : 0;
    while (code == 0) {
        struct arena request;
        arena_init(&request, MESSAGE_ARENA_MAX_BYTES);
        code = answer_next(call, &request, answer, err);
        arena_free(&request);
    }
    arena_free(&arena);
    return code == ERR_END ? 0 : code;
}
