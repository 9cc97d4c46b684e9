/* Receipts: one request, one answer. */
#include <string.h>

#include "base/mem.h"
#include "client/client_internal.h"
#include "tally/v1/ledger.pb-c.h"

enum { PROVE_WAIT_DEFAULT_MS = 30 * 1000, PROVE_ANSWER_GRACE_MS = 5 * 1000 };

/* Starts with the public part, whose address tally_receipt_free gets. */
struct receipt_answer {
    struct tally_receipt public;
    struct arena arena;
};

int tally_prove(struct tally_client *client, const uint8_t event_id[TALLY_ID_SIZE], uint64_t wait_ms,
                struct tally_receipt **ret, struct err *err)
{
    struct receipt_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    if (answer == NULL)
        return err_no_memory(err, "a receipt");
    arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    uint8_t id[TALLY_ID_SIZE];
    memcpy(id, event_id, sizeof(id));
    Tally__V1__ProveRequest request;
    tally__v1__prove_request__init(&request);
    request.event_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
    request.timeout_ms = wait_ms;
    ProtobufCMessage *message = NULL;
    /* The wait happens in the server: the call itself must outlast it. */
    uint64_t deadline_ms = (wait_ms == 0 ? PROVE_WAIT_DEFAULT_MS : wait_ms) + PROVE_ANSWER_GRACE_MS;
    int rc = client_call(client, "/tally.v1.Ledger/Prove", &request.base, &tally__v1__prove_response__descriptor,
                         deadline_ms, &answer->arena, &message, NULL, err);
    if (rc != 0) {
        tally_receipt_free(&answer->public);
        return rc;
    }
    const Tally__V1__ProveResponse *from = (const Tally__V1__ProveResponse *)message;
    answer->public = (struct tally_receipt){
        .origin = from->origin,
        .index = from->index,
        .text = {.data = from->receipt.data, .size = from->receipt.len},
    };
    *ret = &answer->public;
    return 0;
}

void tally_receipt_free(struct tally_receipt *public)
{
    if (public == NULL)
        return;
    struct receipt_answer *answer = (struct receipt_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}
