/* A generation's database as the files sqlite*.c share it: the only ones that know SQLite. Private to src/projection.
 */
#ifndef PROJECTION_SQLITE_H
#define PROJECTION_SQLITE_H

#include <sqlite3.h>

#include "projection/spec.h"

enum { STATEMENTS_MAX = 1024, CURSOR_MAX = PROJECTION_LOGS_MAX };

struct cursor_part {
    char origin[PROJECTION_ORIGIN_MAX_BYTES + 1];
    uint64_t size;
};

struct compiled {
    sqlite3_stmt *statement;
    const struct projection_section *section;
};

struct projection_db {
    sqlite3 *sqlite;
    const struct projection_spec *spec;
    struct compiled statements[STATEMENTS_MAX];
    size_t statement_count;
    sqlite3_stmt *move_cursor;
    struct cursor_part cursor[CURSOR_MAX]; /* by name; as in the transaction at hand */
    size_t cursor_count;
    struct cursor_part committed[CURSOR_MAX];
    size_t committed_count;
    bool guarded; /* the authorizer refuses what a projection may not do */
    bool in_transaction;
};

/* What SQLite says of the failure at hand, behind what was being done. */
int sqlite_failed(struct projection_db *db, const char *doing, struct err *err);
/* Statements without parameters and results. */
int sqlite_run(struct projection_db *db, const char *sql, struct err *err) MUST_USE;
/* One statement, to be finalized by the caller. */
int sqlite_prepare(struct projection_db *db, const char *sql, sqlite3_stmt **ret, struct err *err) MUST_USE;

#endif
