/* How errors travel: a gRPC status with a message for people, and an ErrorDetail for machines in the trailing metadata
 * "tally-error-bin". */
#ifndef RPC_ERRORS_H
#define RPC_ERRORS_H

#include <grpc/grpc.h>

#include "region/region.h"
#include "tally/v1/ledger.pb-c.h"

/* Per TALLY_ERROR_MAP; 0 is GRPC_STATUS_OK, a code that is not in the map GRPC_STATUS_UNKNOWN. */
grpc_status_code error_status(int code);

/* An ErrorDetail with what it points to. Made in place: never copy it. */
struct error_detail {
    Tally__V1__ErrorDetail message;
    struct region_refusal refusal;
    char context[ENTRY_NAME_MAX_BYTES + 1];
    char partition[ENTRY_NAME_MAX_BYTES + 1];
    char stream[ENTRY_STREAM_MAX_BYTES + 1];
};

/* command may be NULL; it is only used during the call. */
void error_detail_init(struct error_detail *detail, const struct region_refusal *refusal,
                       const struct region_command *command);
/* For an error that no command brought about. */
void error_detail_init_plain(struct error_detail *detail, int code, const struct err *err);
/* The packed bytes, in a slice that the caller owns. */
grpc_slice error_detail_pack(const struct error_detail *detail);

/* The operation that ends a call, and what it points to until it was started. */
struct status_op {
    grpc_slice text;
    grpc_metadata trailer;
};
/* detail NULL: all is well. Fills *operation, which borrows from *ret. */
void status_op_begin(const struct error_detail *detail, struct status_op *ret, grpc_op *operation);
void status_op_end(struct status_op *status);

#endif
