/* Temporary folders, events and short cuts for the tests of projections. */
#ifndef UNIT_PROJECTION_FIXTURE_H
#define UNIT_PROJECTION_FIXTURE_H

#include "projection/projection.h"
#include "support/files.h"

/* A projection of one table, deposit(id TEXT, stream TEXT, payload), filled from context "bank", type "Deposited". */
#define DEPOSITS                                                                                                       \
    "-- tally: projection deposits\n"                                                                                  \
    "-- tally: schema\n"                                                                                               \
    "CREATE TABLE deposit(id TEXT, stream TEXT, payload);\n"                                                           \
    "-- tally: on bank Deposited\n"                                                                                    \
    "INSERT INTO deposit VALUES(:event_id, :stream, :payload);\n"

struct projection_spec *spec_of(const char *sql);

/* Event number `index` of a log: context "bank", type "Deposited". Change what the test is about. */
struct event {
    struct projection_event event;
    struct entry entry;
};
void event_init(struct event *event, const char *origin, uint64_t index, const char *stream, const char *payload);

/* A new database of this SQL at path; the spec is left in *ret_spec, free both. */
struct projection_db *open_db(const char *path, const char *sql, struct projection_spec **ret_spec);
/* One event in a transaction of its own; the test fails when it is refused. */
void apply(struct projection_db *db, const char *origin, uint64_t index, const char *stream, const char *payload);
/* What applying the event in a transaction says; rolled back when it fails. */
int try_apply(struct projection_db *db, const struct event *event, struct err *err);

uint64_t applied(struct projection_db *db, const char *origin);
struct hash digest(struct projection_db *db, uint64_t *ret_row_count);
uint64_t row_count(struct projection_db *db);

void expect_says(const struct err *err, const char *part);

#define ORIGIN_EU "demo/eu/1"

/* A path in a temporary folder. */
struct db_place {
    char folder[FILES_PATH_MAX];
    char path[FILES_PATH_MAX];
};
void db_place_init(struct db_place *place);

/* A file with this schema, and these statements for "on bank Deposited". Valid until the next call. */
const char *sql_of(const char *schema, const char *statements);

/* A database at such a place. */
struct opened {
    struct db_place place;
    struct projection_spec *spec;
    struct projection_db *db;
};
void db_open_new(struct opened *opened, const char *sql);
/* As after a crash. */
void db_reopen(struct opened *opened);
void db_close_and_remove(struct opened *opened);

/* --- PostgreSQL: the server that tests/support/postgres.sh started --- */

extern struct projection_server test_server;
/* A schema of this name, made afresh. The spec is left in *ret_spec, free both. */
struct projection_db *open_schema(const char *schema, const char *sql, struct projection_spec **ret_spec);
/* What making it says. */
int try_schema(const char *schema, const char *sql, struct err *err);
/* Runs SQL on the server by psql; what it prints, without the last line break, until the next call. */
const char *psql(const char *sql);

#endif
