/* A generation's database in SQLite, as the files sqlite*.c share it: the only ones that know SQLite. Private to
 * src/projection.
 */
#ifndef PROJECTION_SQLITE_H
#define PROJECTION_SQLITE_H

#include <sqlite3.h>

#include "projection/database.h"
#include "projection/parameters.h"

enum { STATEMENTS_MAX = 1024 };

struct compiled {
    sqlite3_stmt *statement;
    size_t section;
    int parameter_count;
    enum parameter parameters[PARAMETER_COUNT]; /* in SQLite's numbering, from 1 */
};

struct sqlite_db {
    struct projection_db base; /* first */
    sqlite3 *sqlite;
    struct compiled statements[STATEMENTS_MAX]; /* by section */
    size_t statement_count;
    sqlite3_stmt *move_cursor;
    bool guarded; /* the authorizer refuses what a projection may not do */
    struct projection_bounds bounds;
    bool bounded;   /* the projection's own SQL runs */
    uint64_t steps; /* that it has taken, or a little less */
    char why[128];  /* sqlite_why */
};

static inline struct sqlite_db *sqlite_of(struct projection_db *db)
{
    return (struct sqlite_db *)(void *)db;
}

/* Around the projection's own SQL: it counts as one as to its bounds. */
void sqlite_bound(struct sqlite_db *db);
void sqlite_unbound(struct sqlite_db *db);
/* What SQLite says of the failure at hand; before sqlite_unbound. Valid until the next call on db. */
const char *sqlite_why(struct sqlite_db *db);
/* The same, behind what was being done. */
int sqlite_failed(struct sqlite_db *db, const char *doing, struct err *err);
/* Statements without parameters and results. */
int sqlite_run(struct sqlite_db *db, const char *sql, struct err *err) MUST_USE;
/* One statement, to be finalized by the caller. */
int sqlite_prepare(struct sqlite_db *db, const char *sql, sqlite3_stmt **ret, struct err *err) MUST_USE;
/* Appends the statements of a section to db->statements. ERR_INVALID, ERR_TOO_LARGE. */
int sqlite_compile_section(struct sqlite_db *db, size_t number, struct err *err) MUST_USE;
int sqlite_run_statement(struct sqlite_db *db, const struct compiled *compiled, const struct projection_event *event,
                         struct err *err) MUST_USE;

/* sqlite_authority.c */
int sqlite_learn(struct projection_db *db, const struct projection_authority *event, struct err *err) MUST_USE;
int sqlite_knows(struct projection_db *db, const char *origin, uint64_t index, bool *ret, struct err *err) MUST_USE;
int sqlite_authority(struct projection_db *db, projection_authority_fn *each, void *context, struct err *err) MUST_USE;
int sqlite_keep(struct projection_db *db, const char *name, const char *value, struct err *err) MUST_USE;
int sqlite_kept(struct projection_db *db, const char *name, char ret[PROJECTION_NOTE_MAX_BYTES + 1],
                struct err *err) MUST_USE;
int sqlite_same_contexts(struct projection_db *db, const char *digest, bool *ret, struct err *err) MUST_USE;
/* sqlite_digest.c */
int sqlite_read_begin(struct projection_db *db, struct err *err) MUST_USE;
void sqlite_read_end(struct projection_db *db);
int sqlite_next_table(struct projection_db *db, char name[PROJECTION_TABLE_MAX_BYTES + 1], struct err *err) MUST_USE;
int sqlite_digest_rows(struct projection_db *db, struct digesting *digesting, const char *table,
                       struct err *err) MUST_USE;
/* sqlite_preview.c */
int sqlite_preview(struct projection_db *db, const struct projection_event *event, struct arena *arena,
                   struct projection_preview *ret, struct err *err) MUST_USE;

#endif
