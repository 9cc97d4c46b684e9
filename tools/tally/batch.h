/* A batch under construction: events in the order they came, grouped by stream into writes when it is finished.
 *
 * The server wants each stream at most once in a batch, and the order of events within a stream is all that matters. An
 * event whose id is in the batch already does not fit: sent in the next one, it is answered as a duplicate. */
#ifndef TALLY_BATCH_H
#define TALLY_BATCH_H

#include "base/arena.h"
#include "base/err.h"
#include "ndjson.h"
#include "tally/client.h"

struct batch;

/* Owned by the caller: batch_free. max_bytes counts names and payloads; one event always fits. */
int batch_new(size_t max_events, size_t max_bytes, struct batch **ret, struct err *err) MUST_USE;
void batch_free(struct batch *batch);

/* Where the strings of events to be added go: they live as long as the batch. */
struct arena *batch_arena(struct batch *batch);
/* ERR_TOO_LARGE: it does not fit, begin another batch; ERR_NO_MEMORY. The expectation of a stream is that of its first
 * event. */
int batch_add(struct batch *batch, const struct ndjson_event *event, uint64_t line, struct err *err) MUST_USE;
size_t batch_count(const struct batch *batch);

/* Groups the events; nothing can be added afterwards. The answer's results are in the order of batch_event. */
int batch_finish(struct batch *batch, const struct tally_write **ret, size_t *ret_count, struct err *err) MUST_USE;
/* After batch_finish: the event at this place of the answer, and the line it came from. */
const struct tally_event *batch_event(const struct batch *batch, size_t at, uint64_t *ret_line);
/* The line of an event by id; 0 when it is not in the batch. */
uint64_t batch_find_line(const struct batch *batch, const uint8_t id[TALLY_ID_SIZE]);
/* The first and the last line in the batch. */
void batch_lines(const struct batch *batch, uint64_t *ret_first, uint64_t *ret_last);

#endif
