/* A generation's database in PostgreSQL, as the files postgres*.c share it: the only ones that know libpq. Private to
 * src/projection. */
#ifndef PROJECTION_POSTGRES_H
#define PROJECTION_POSTGRES_H

#include <libpq-fe.h>

#include "projection/database.h"
#include "projection/parameters.h"

enum {
    POSTGRES_SCHEMA_MAX_BYTES = 63,
    POSTGRES_ARGUMENTS_MAX = PARAMETER_COUNT + 1,
    POSTGRES_SQL_MAX_BYTES = 4 * 1024 * 1024,
};

/* Values in PostgreSQL's binary form, one array a column: for all rows of a batch. */
struct column {
    bool has_null;
    struct buf elements; /* behind room for the array's header */
};

struct postgres_db {
    struct projection_db base; /* first */
    const struct projection_server *server;
    char schema[POSTGRES_SCHEMA_MAX_BYTES + 1];
    uint64_t generation;
    PGconn *connection;
    bool timed; /* the statement under way may take so long only: past that it is to blame */
    struct parameters_used used[PROJECTION_SECTIONS_MAX]; /* each section's */
    struct parameters_used columns;                       /* all sections' */
    size_t batch_rows;
    struct column batch_section;
    struct column batch[PARAMETER_COUNT]; /* by columns.items */
    size_t batch_bytes;
    bool in_flight;  /* a batch was sent and its result is not in */
    bool one_by_one; /* a batch failed: each event is run at once, so that the failure finds its event */
};

static inline struct postgres_db *postgres_of(struct projection_db *db)
{
    return (struct postgres_db *)(void *)db;
}

/* One value of a statement, in binary form. */
struct argument {
    Oid type;
    bool is_null;
    struct bytes value;
};
enum { POSTGRES_TEXT = 25, POSTGRES_BYTEA = 17, POSTGRES_INT8 = 20 }; /* pg_type.dat: types that never change */

/* Waits for the result of what was sent. ERR_UNAVAILABLE when the connection or the server is not there, or the region
 * stops; `otherwise` when the statement is to blame; else as postgres_query. *ret is owned by the caller: PQclear. */
int postgres_wait(struct postgres_db *db, const char *doing, int otherwise, PGresult **ret, struct err *err) MUST_USE;
/* Runs one statement. Results are binary. ret may be NULL. ERR_UNAVAILABLE, ERR_NO_SPACE and ERR_NO_MEMORY never: what
 * the server lacks is waited for (ERR_UNAVAILABLE); ERR_CORRUPT for damage; ERR_PERMISSION; ERR_IO otherwise. */
int postgres_query(struct postgres_db *db, const char *doing, const char *sql, const struct argument *arguments,
                   size_t count, PGresult **ret, struct err *err) MUST_USE;
/* Sends a statement whose rows come one by one, binary: postgres_next hands each out, to be freed with PQclear, and
 * NULL after the last. The last one before it is empty. On failure the connection is of no use until a rollback. */
int postgres_send_rows(struct postgres_db *db, const char *doing, const char *sql, struct err *err) MUST_USE;
int postgres_next(struct postgres_db *db, const char *doing, PGresult **ret, struct err *err) MUST_USE;
/* Statements without arguments and results, several of them separated by ';'. */
int postgres_run(struct postgres_db *db, const char *sql, struct err *err) MUST_USE;
/* The code of a failed result, its message in err behind `doing`. */
int postgres_failed(struct postgres_db *db, const PGresult *result, const char *doing, int otherwise, struct err *err);
/* Appends the name in double quotes, the text in single ones. Errors of buf_append. */
int postgres_quote(struct buf *out, const char *name) MUST_USE;
int postgres_quote_text(struct buf *out, struct bytes text) MUST_USE;
struct bytes postgres_field(const PGresult *result, int row, int column);
/* What the digest's statement selects of one column is binary int8. */
int64_t postgres_number(const PGresult *result, int row, int column);

/* postgres_apply.c */
int postgres_prepare(struct postgres_db *db, struct err *err) MUST_USE;
/* What was sent or gathered is done when it returns, so that another statement can be sent. */
int postgres_settle(struct postgres_db *db, struct err *err) MUST_USE;
int postgres_begin(struct projection_db *db, struct err *err) MUST_USE;
int postgres_apply(struct projection_db *db, size_t section, const struct projection_event *event,
                   struct err *err) MUST_USE;
int postgres_commit(struct projection_db *db, struct err *err) MUST_USE;
void postgres_rollback(struct projection_db *db);
/* postgres_authority.c */
int postgres_learn(struct projection_db *db, const struct projection_authority *event, struct err *err) MUST_USE;
int postgres_knows(struct projection_db *db, const char *origin, uint64_t index, bool *ret, struct err *err) MUST_USE;
int postgres_authority(struct projection_db *db, projection_authority_fn *each, void *context,
                       struct err *err) MUST_USE;
int postgres_keep(struct projection_db *db, const char *name, const char *value, struct err *err) MUST_USE;
int postgres_kept(struct projection_db *db, const char *name, char ret[PROJECTION_NOTE_MAX_BYTES + 1],
                  struct err *err) MUST_USE;
int postgres_same_contexts(struct projection_db *db, const char *digest, bool *ret, struct err *err) MUST_USE;
/* postgres_digest.c */
int postgres_read_begin(struct projection_db *db, struct err *err) MUST_USE;
void postgres_read_end(struct projection_db *db);
int postgres_next_table(struct projection_db *db, char name[PROJECTION_TABLE_MAX_BYTES + 1], struct err *err) MUST_USE;
int postgres_digest_rows(struct projection_db *db, struct digesting *digesting, const char *table,
                         struct err *err) MUST_USE;

#endif
