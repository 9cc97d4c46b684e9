/* The source side of a pull: what to send next, and what may be believed of the answers. Sends blocks from the puller's
 * size on, as they become durable; behind them the newest stored checkpoint, once all that it covers has been sent,
 * each once and sizes only growing. How messages travel is the caller's business.
 *
 * Payloads that the puller may not hold (domain/residency.h) stay here: payload and salt are left out of their frames,
 * and the block is framed anew. It has the same entries, byte for byte, the same count and the same first index; so the
 * chain, every hash and every size at which a pull may resume are the same, and only its own size and checksum differ.
 *
 * Invariants:
 *  1. Only durable entries leave (the cursor sees no others), in order and without a gap.
 *  2. A checkpoint is sent behind the entries that it covers.
 *  3. The puller cannot acknowledge more than this region holds.
 *  4. A payload leaves only after source_residency_fn said, of its entry, that the puller holds it.
 *
 * Threads: one sends; source_check_acknowledged may be called by another. */
#ifndef REPLICATION_SOURCE_H
#define REPLICATION_SOURCE_H

#include "base/buf.h"
#include "crypto/note.h"
#include "domain/residency.h"
#include "log/log.h"

enum { SOURCE_COSIGNATURE_MAX_BYTES = 4096 };

/* Appends the log's stored note to *out; any error stands for none. */
typedef int source_load_fn(void *context, struct buf *out);
/* What the puller holds of an entry. Asked of each entry whose payload is held here, when its block is to be sent. */
typedef enum residency source_residency_fn(void *context, const struct entry *entry);

struct source {
    struct log *log;
    source_load_fn *load;
    source_residency_fn *residency;
    void *context;
    struct log_cursor *cursor;
    uint64_t sent_size;
    uint64_t sent_checkpoint_size;
    struct buf note;
    struct note *parsed;
};

/* from_index: the puller's size. log outlives the source. ERR_MISMATCH when the log is shorter than that, errors of
 * log_cursor_open. */
int source_open(struct source *source, struct log *log, uint64_t from_index, source_load_fn *load,
                source_residency_fn *residency, void *context, struct err *err) MUST_USE;
/* The usual source_load_fn: reads the note beside the log. context: the struct log. */
int source_load_stored(void *context, struct buf *out);
void source_close(struct source *source);

/* The next block, the caller's reference; it counts as sent. ERR_END when everything durable was sent (for now),
 * ERR_MISMATCH when the puller's size lies inside a block, ERR_UNAVAILABLE when the block has a payload of a context
 * that is not known here: nobody can say yet who may have it, so it is not sent, and the pull is to be opened again
 * later; ERR_NO_MEMORY, errors of log_cursor_next. After an error the source is only to be closed. */
int source_next_block(struct source *source, struct block **ret, struct err *err) MUST_USE;
/* The stored checkpoint, if there is a newer one than was sent and everything it covers was sent: *ret borrows from the
 * source until the next call, and counts as sent. Empty when there is none. */
struct bytes source_next_checkpoint(struct source *source);

/* Whether an acknowledgement can be true: ERR_MISMATCH when more is said to be stored than the log holds, ERR_INVALID
 * when more is cosigned than stored, ERR_TOO_LARGE for the cosignature. */
int source_check_acknowledged(const struct log *log, uint64_t stored_size, uint64_t cosigned_size,
                              struct bytes cosignature, struct err *err) MUST_USE;

#endif
