/* Real logs in a temporary folder, of a cluster "demo" whose context "bank" lives in eu, for the tests of what follows
 * logs. Everything that is appended has a time after everything before it, whatever its log. */
#ifndef UNIT_PROJECTION_LOGS_H
#define UNIT_PROJECTION_LOGS_H

#include "domain/authority.h"
#include "log/log.h"
#include "support/files.h"

enum { LOGS_MAX = 4 };

extern const struct context_table logs_contexts;

struct logs {
    char folder[FILES_PATH_MAX];
    struct sha256 *sha;
    size_t count;
    struct log *logs[LOGS_MAX];
    struct chain chains[LOGS_MAX];
    struct origin origins[LOGS_MAX];
    hlc time;
};

/* Logs 0 … of eu, us, ap, and of a second incarnation of us. */
void logs_open(struct logs *logs, size_t count);
void logs_close(struct logs *logs);

/* Where the next entry of a log goes. */
uint64_t logs_size(const struct logs *logs, size_t at);

/* A "Deposited" of stream "s" with this id and payload. */
void deposit(struct logs *logs, size_t at, const char *partition, uint64_t epoch, uint64_t id, const char *payload);
/* The same of another type. */
void append_event(struct logs *logs, size_t at, const char *type, const char *partition, uint64_t epoch, uint64_t id,
                  const char *payload);
/* The region of the log takes the partition over, on this basis. */
void seize(struct logs *logs, size_t at, const char *partition, uint64_t epoch, const char *basis);
void seize_at(struct logs *logs, size_t at, const char *partition, uint64_t epoch, const struct position *basis);
void release_to(struct logs *logs, size_t at, const char *partition, uint64_t epoch, const char *successor);
/* An event of partition "north" of another context than "bank"; and the creation of one. */
void deposit_in(struct logs *logs, size_t at, const char *context, uint64_t id);
void create_context(struct logs *logs, size_t at, const char *name, const char *home, const char *basis);
/* A commutative "Counted" of context "bank". */
void count_anywhere(struct logs *logs, size_t at, uint64_t id, const char *payload);
/* The version of context "bank" that lets any region accept "Counted", or takes that back. */
void let_count_anywhere(struct logs *logs, size_t at, uint64_t version, bool anywhere);
/* A seizure that is no such thing: its payload is not one, or is not there. */
void append_broken_seizure(struct logs *logs, size_t at, bool has_payload);

#endif
