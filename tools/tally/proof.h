/* A receipt made from a log's files, without the server. */
#ifndef TALLY_PROOF_H
#define TALLY_PROOF_H

#include "data_log.h"
#include "entry/entry.h"

/* Finds the event in the log and appends its receipt (crypto/receipt.h) to *out. Every entry up to the checkpoint is
 * checked on the way. ERR_NOT_FOUND: not among the entries that the checkpoint covers. ERR_CORRUPT: the log does not
 * match it. */
int proof_from_files(const struct data_log *log, const uint8_t event_id[ENTRY_ID_SIZE], struct buf *out,
                     uint64_t *ret_index, struct err *err) MUST_USE;

#endif
