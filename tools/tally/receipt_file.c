/* A receipt is looked at before it is kept: it must be of the event that was asked for, and lead to the root in its
 * checkpoint. Signatures are for whoever has the keys: tally-verify proof. */
#include "receipt_file.h"

#include <string.h>

#include "crypto/receipt.h"
#include "entry/entry.h"
#include "platform/disk.h"

static int check_path(const struct receipt *receipt, const uint8_t event_id[TALLY_ID_SIZE], struct sha256 *sha,
                      struct err *err)
{
    struct note note;
    struct checkpoint checkpoint;
    struct entry entry;
    int rc = note_parse(receipt->note, &note, err);
    if (rc == 0)
        rc = checkpoint_parse(note.text, &checkpoint, err);
    if (rc == 0)
        rc = entry_parse(buf_bytes(&receipt->extra), &entry, err);
    if (rc == 0 && (entry.index != receipt->index || memcmp(entry.event_id, event_id, TALLY_ID_SIZE) != 0))
        rc = err_set(err, ERR_CORRUPT, "it is of another event");
    if (rc != 0)
        return rc;
    struct hash leaf = merkle_leaf(sha, buf_bytes(&receipt->extra));
    return merkle_verify_inclusion(sha, receipt->index, checkpoint.size, &leaf, receipt->proof.hashes,
                                   receipt->proof.count, &checkpoint.root, err);
}

static int check(struct bytes text, const uint8_t event_id[TALLY_ID_SIZE], struct err *err)
{
    struct receipt receipt;
    struct sha256 *sha = sha256_new();
    struct err why = {0};
    int rc = sha == NULL ? err_no_memory(err, "a receipt") : receipt_parse(text, &receipt, &why);
    if (rc == 0)
        rc = check_path(&receipt, event_id, sha, &why);
    if (sha != NULL)
        receipt_free(&receipt);
    sha256_free(sha);
    if (rc != 0 && rc != ERR_NO_MEMORY)
        rc = err_set(err, ERR_CORRUPT, "the region answered with a receipt that does not hold: %s", why.message);
    return rc;
}

int receipt_fetch(struct tally_client *client, const uint8_t event_id[TALLY_ID_SIZE],
                  const struct receipt_request *request, char origin[TALLY_NAME_MAX_BYTES + 1], uint64_t *ret_index,
                  struct err *err)
{
    struct tally_receipt *receipt = NULL;
    int rc = tally_prove(client, event_id, request->timeout_ms, &receipt, err);
    if (rc != 0)
        return rc;
    struct bytes text = bytes_of(receipt->text.data, receipt->text.size);
    rc = check(text, event_id, err);
    if (rc == 0 && strlen(receipt->origin) > TALLY_NAME_MAX_BYTES)
        rc = err_set(err, ERR_CORRUPT, "the region answered with an origin of %zu bytes", strlen(receipt->origin));
    if (rc == 0)
        rc = disk_replace_file(disk_posix(), request->path, text, 0, err);
    if (rc == 0) {
        copy_string(origin, TALLY_NAME_MAX_BYTES + 1, receipt->origin);
        *ret_index = receipt->index;
    }
    tally_receipt_free(receipt);
    return rc;
}
