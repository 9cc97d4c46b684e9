/* Asking a region for a receipt and keeping it: for tally proof, and for tally append --receipt. */
#ifndef TALLY_RECEIPT_FILE_H
#define TALLY_RECEIPT_FILE_H

#include "base/err.h"
#include "tally/client.h"

struct receipt_request {
    const char *path;    /* written whole or not at all */
    uint64_t timeout_ms; /* to wait for the checkpoint */
};

/* origin and *ret_index get where the event is. Errors of tally_prove; ERR_CORRUPT when the answer is no receipt of
 * that entry; disk errors. */
int receipt_fetch(struct tally_client *client, const uint8_t event_id[TALLY_ID_SIZE],
                  const struct receipt_request *request, char origin[TALLY_NAME_MAX_BYTES + 1], uint64_t *ret_index,
                  struct err *err) MUST_USE;

#endif
