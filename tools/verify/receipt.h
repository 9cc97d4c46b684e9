/* One receipt, checked with public keys and nothing else. */
#ifndef VERIFY_RECEIPT_H
#define VERIFY_RECEIPT_H

#include <stdbool.h>

#include "crypto/note.h"
#include "platform/disk.h"

/* Also the exit codes, like those of the tool's other commands. */
enum receipt_verdict { RECEIPT_VERIFIED = 0, RECEIPT_VIOLATION = 1, RECEIPT_INCOMPLETE = 3 };

struct receipt_keys {
    const struct note_verifier *items;
    size_t count;
};

/* Checks the file and prints the report. */
enum receipt_verdict verify_receipt(struct disk *disk, const char *path, const struct receipt_keys *keys, bool json);

#endif
