/* The numbers of the logs and how far each is applied: the part that both indexes keep in memory. Private to src/index.
 *
 * Numbers are given out under a mutex and never change; count is published last, so readers need no lock. */
#ifndef INDEX_LOGS_H
#define INDEX_LOGS_H

#include <pthread.h>
#include <stdatomic.h>

#include "index/index.h"

struct logs {
    pthread_mutex_t giving;
    atomic_uint_fast32_t count;
    atomic_uint_fast64_t sequence;
    atomic_uint_fast64_t applied[INDEX_LOGS_MAX];
    char origins[INDEX_LOGS_MAX][INDEX_ORIGIN_MAX_BYTES + 1];
    struct origin parsed[INDEX_LOGS_MAX];
};

/* Makes a new number durable enough before anybody learns it. Failing keeps it from being given out. */
typedef int logs_keep_fn(void *context, uint32_t log, struct bytes origin, struct err *err);

void logs_init(struct logs *logs);
void logs_free(struct logs *logs);

/* index_log. keep may be NULL. Adds the errors of keep; ERR_INVALID when it is no origin. */
int logs_number(struct logs *logs, struct bytes origin, logs_keep_fn *keep, void *context, uint32_t *ret_log,
                struct err *err) MUST_USE;
/* index_origin. */
int logs_origin(struct logs *logs, uint32_t log, char ret[INDEX_ORIGIN_MAX_BYTES + 1], struct err *err) MUST_USE;
uint32_t logs_count(struct logs *logs);
/* Valid as long as logs. The log has a number. */
const struct origin *logs_parsed_origin(struct logs *logs, uint32_t log);
uint64_t logs_applied_size(struct logs *logs, uint32_t log);
/* Of a log by its region and incarnation; 0 when it has no number. */
uint64_t logs_size_of(struct logs *logs, const char *region, uint64_t incarnation);
/* What the index was opened with; does not count in the sequence. */
void logs_set_applied_size(struct logs *logs, uint32_t log, uint64_t size);
uint64_t logs_sequence(struct logs *logs);

/* Asserts what index_apply's caller owes: a known log, entries that follow its applied size and each other. */
void logs_check_next(struct logs *logs, uint32_t log, const struct index_entry *entries, size_t count);
/* Publishes that `count` more entries of the log can be looked up. */
void logs_advance(struct logs *logs, uint32_t log, size_t count);
/* Publishes that `count` entries have other answers now. */
void logs_changed(struct logs *logs, size_t count);

#endif
