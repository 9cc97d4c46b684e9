/* Projections: read models made by SQL from events. A projection is one SQL file (FORMAT in README.md beside this
 * file):
 *
 *   -- tally: projection balances          name, [a-z0-9_-]{1,63}
 *   -- tally: order total                   optional: events in one order (generation.h)
 *   -- tally: schema                        statements that make the tables, run once per generation
 *   CREATE TABLE …;
 *   -- tally: on bank CashDeposited         statements for events of this context and type; several sections may name
 * one type INSERT …;
 *   -- tally: on bank *                     for any type of that context not named elsewhere
 *
 * Parameters that statements may use: :context :partition :stream :version :type :event_id (UUID text) :time_ms
 * :payload :metadata :content_type :origin :position (index in its log) :epoch :causation_id :correlation_id. An
 * unknown parameter is refused when the file is read.
 *
 * The cursor (a position) commits in the same database transaction as the rows, so each event takes effect exactly
 * once. A generation is one database file, "<folder>/gen-<n>.sqlite"; the live one is named by "<folder>/live"
 * (replaced atomically). A rebuild fills generation n+1 beside it, then switches. The SQL is "<folder>/projection.sql".
 * When the folder has a file "database", generations are schemas of the PostgreSQL database that it names instead.
 */
#ifndef PROJECTION_PROJECTION_H
#define PROJECTION_PROJECTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "crypto/sha256.h"
#include "entry/entry.h"

enum {
    PROJECTION_NAME_MAX_BYTES = 63,
    PROJECTION_SQL_MAX_BYTES = 256 * 1024,
    PROJECTION_SECTIONS_MAX = 256,
    PROJECTION_ORIGIN_MAX_BYTES = 255,
    PROJECTION_LOGS_MAX = 64,
    PROJECTION_TABLE_MAX_BYTES = 255,
    PROJECTION_NOTE_MAX_BYTES = 300,
    PROJECTION_PREVIEW_ROWS_MAX = 20,             /* shown */
    PROJECTION_PREVIEW_CHANGES_MAX = 1000,        /* looked at */
    PROJECTION_PREVIEW_ROW_MAX_BYTES = 64 * 1024, /* as text */
};

/* --- The parsed file --- */
struct projection_spec;

/* Parses the SQL file. Owned by the caller. ERR_INVALID names the line; ERR_TOO_LARGE. Does not run any SQL. */
int projection_spec_parse(struct bytes sql, struct projection_spec **ret, struct err *err) MUST_USE;
void projection_spec_free(struct projection_spec *spec);
const char *projection_spec_name(const struct projection_spec *spec);
/* The contexts whose sections speak of :payload (or :payload_bytes), be it in a comment, one at a time and perhaps more
 * than once: start with *at = 0. NULL at the end. */
const char *projection_spec_next_payload_context(const struct projection_spec *spec, size_t *at);

/* --- One generation: a database with rows and cursor. One thread. --- */
struct projection_db;

/* An event as the statements see it. Borrowed during the call. */
struct projection_event {
    const char *origin;
    const struct entry *entry;
    struct bytes payload;
    bool has_payload; /* false: withheld or erased; :payload is NULL */
    bool late;        /* only the cursor moves (domain/authority.h) */
};

/* What keeps the SQL of a projection in SQLite from running for ever. PostgreSQL has bounds of its own
 * (projection_server).
 */
struct projection_bounds {
    const atomic_bool *stopping; /* once it is true nothing goes on that takes long (ERR_UNAVAILABLE); may be NULL */
    uint64_t steps_max; /* of SQLite's machine, for the schema or a statement on an event; 0: the default, … */
};
enum {
    PROJECTION_STEPS_MAX = 1000 * 1000 * 1000,    /* … which is some ten seconds of work, or more */
    PROJECTION_VALUE_MAX_BYTES = 64 * 1024 * 1024 /* a text or blob in SQLite, and a row */
};

/* Opens (creates: runs the schema) the SQLite file at path; "" makes a temporary database, which is gone when it is
 * closed. bounds are copied; NULL: the defaults. ERR_INVALID when the schema or a statement does not
 * compile, or the schema goes past its bounds: the message has SQLite's own, the section and its line. ERR_MISMATCH
 * when the file was made by another version of the SQL. ERR_CORRUPT when it is damaged, ERR_TOO_LARGE for too many
 * statements; ERR_UNAVAILABLE when the region stops, here and in every other call on such a database; ERR_IO,
 * ERR_NO_SPACE, ERR_NO_MEMORY. */
int projection_db_open(const char *path, const struct projection_spec *spec, const struct projection_bounds *bounds,
                       struct projection_db **ret, struct err *err) MUST_USE;
void projection_db_close(struct projection_db *db);

/* Visits every text and blob of every table of an SQLite file, read only: for audits. `each` gets the table's name and
 * the value, both valid during the call; what it returns, if not 0, ends the visit and is returned. ERR_CORRUPT also
 * for what is no SQLite file, or cannot be opened; ERR_NO_MEMORY. */
typedef int projection_value_fn(void *context, const char *table, struct bytes value, struct err *err);
int projection_file_values(const char *path, projection_value_fn *each, void *context, struct err *err) MUST_USE;

/* A PostgreSQL database that projections may lie in. Borrowed, and outlives what is opened with it. */
struct projection_server {
    const char *name;            /* as operators call it */
    const char *url;             /* passed projection_server_check */
    const atomic_bool *stopping; /* once it is true no call waits any longer (ERR_UNAVAILABLE); may be NULL */
    uint64_t schema_ms;          /* that a schema section may take; 0: PROJECTION_SCHEMA_MS */
};
enum { PROJECTION_SCHEMA_MS = 60 * 1000 };
/* Whether a URL can be used: ERR_INVALID when libpq cannot read it, or when it holds a password, which belongs into a
 * password file. Makes no connection; the message does not repeat the URL. */
int projection_server_check(const char *url, struct err *err) MUST_USE;

enum schema_mode {
    SCHEMA_OPEN,     /* it is there */
    SCHEMA_CREATE,   /* it is not */
    SCHEMA_REPLACE,  /* whatever is there goes first */
    SCHEMA_TEMPORARY /* gone when it is closed; the name counts for nothing */
};
/* Opens a generation in PostgreSQL. ERR_UNAVAILABLE when there is no connection or the server lacks something: try
 * again later, here and in every other call on such a database (close it first). ERR_EXISTS, ERR_NOT_FOUND: the schema.
 * ERR_INVALID, ERR_MISMATCH, ERR_CORRUPT, ERR_TOO_LARGE, ERR_NO_MEMORY as projection_db_open; ERR_MISMATCH also for a
 * database whose encoding is not UTF-8, and, at a commit, when somebody else moved the cursor; ERR_PERMISSION: the
 * role may not do it. */
int projection_schema_open(const struct projection_server *server, const char *schema, enum schema_mode mode,
                           uint64_t generation, const struct projection_spec *spec, struct projection_db **ret,
                           struct err *err) MUST_USE;
/* The three below only for a database that projection_schema_open opened. */
uint64_t projection_schema_generation(struct projection_db *db); /* as stored when it was made */
/* Removes a schema, if there is one, by the connection of db. */
int projection_schema_drop(struct projection_db *db, const char *schema, struct err *err) MUST_USE;
/* Gives db's schema another name in place of the schema that has it, which is dropped: both or neither. */
int projection_schema_rename(struct projection_db *db, const char *name, struct err *err) MUST_USE;

/* Entries of `origin` applied so far, from the cursor table. */
int projection_db_applied(struct projection_db *db, const char *origin, uint64_t *ret_size, struct err *err) MUST_USE;
/* One component of the cursor at a time, in name order: start with *position = 0. False at the end. */
bool projection_db_cursor_next(struct projection_db *db, size_t *position, const char **ret_origin, uint64_t *ret_size);

/* A transaction: begin, any number of applies, commit. apply moves the cursor of event->origin to entry->index + 1,
 * which must be the next (ERR_INVALID otherwise). A statement that fails makes the whole transaction fail: the message
 * names event, section and line; call projection_db_rollback. ERR_INVALID when the statement is to blame (it goes past
 * its bounds, too), ERR_IO, ERR_NO_SPACE, ERR_NO_MEMORY or ERR_CORRUPT when the machine is. Nothing is visible to
 * readers before the commit, which is durable (synchronous FULL). */
int projection_db_begin(struct projection_db *db, struct err *err) MUST_USE;
int projection_db_apply(struct projection_db *db, const struct projection_event *event, struct err *err) MUST_USE;
int projection_db_commit(struct projection_db *db, struct err *err) MUST_USE;
void projection_db_rollback(struct projection_db *db);
/* The transaction that just failed with ERR_INVALID had put statements off, so that any of its events may be to blame.
 * The next one puts nothing off, until one succeeds: its failure belongs to the event applied last. */
bool projection_db_unsure(const struct projection_db *db);
/* Whether some section has statements for the entry; never for a control event. */
bool projection_db_wants(const struct projection_db *db, const struct entry *entry);
/* Whether some section is of the context, whatever its type. */
bool projection_db_names(const struct projection_db *db, struct bytes context);
/* Whether some section that has statements for the entry speaks of :time_ms, :origin or :position, be it in a comment:
 * two entries that say the same may then have different effects. */
bool projection_db_tells_apart(const struct projection_db *db, const struct entry *entry);

/* An authority event in the bytes of its log. Borrowed during the call. */
struct projection_authority {
    const char *origin;
    uint64_t index;
    struct bytes entry;
    struct bytes payload;
};

/* Keeps the event with the generation; again changes nothing. In a transaction. ERR_IO, ERR_NO_SPACE, ERR_NO_MEMORY,
 * ERR_CORRUPT, as the next two. */
int projection_db_learn(struct projection_db *db, const struct projection_authority *event, struct err *err) MUST_USE;
/* Whether it is kept. */
int projection_db_knows(struct projection_db *db, const char *origin, uint64_t index, bool *ret,
                        struct err *err) MUST_USE;
/* Hands out all that are kept, in (origin, index) order. Stops at the first failure, which it returns. */
typedef int projection_authority_fn(void *context, const struct projection_authority *event, struct err *err);
int projection_db_authority(struct projection_db *db, projection_authority_fn *each, void *context,
                            struct err *err) MUST_USE;

/* Numbers that a generation keeps with its rows, by a name of at most PROJECTION_NOTE_MAX_BYTES. Keeping is in a
 * transaction, and takes the place of what was kept; 0 when nothing was. Errors of projection_db_learn. */
int projection_db_keep(struct projection_db *db, const char *name, uint64_t number, struct err *err) MUST_USE;
int projection_db_kept(struct projection_db *db, const char *name, uint64_t *ret, struct err *err) MUST_USE;
/* The same for texts of at most PROJECTION_NOTE_MAX_BYTES; "" when nothing was kept. */
int projection_db_keep_text(struct projection_db *db, const char *name, const char *text, struct err *err) MUST_USE;
int projection_db_kept_text(struct projection_db *db, const char *name, char ret[PROJECTION_NOTE_MAX_BYTES + 1],
                            struct err *err) MUST_USE;
/* Whether the file says "order total". */
bool projection_db_total_order(const struct projection_db *db);

/* A row that an event would change: the name of its table, and the row as a JSON object, column by column, without and
 * with the event; NULL where there is no such row. Blobs, and texts that are not UTF-8, read as in SQL: "x'00ff'". */
struct projection_row {
    char *table;
    char *without;
    char *with;
};

struct projection_preview {
    struct projection_row rows[PROJECTION_PREVIEW_ROWS_MAX];
    size_t count;
    size_t changed; /* rows in all */
};

/* What the contents would be if the event had its effect now, as the next of all: the rows that its statements would
 * change, in the order in which they come to them. Nothing is changed, nothing waits for readers. Its place in its log
 * and event->late are not asked; texts of *ret live in the arena. Not in a transaction. ERR_INVALID: a statement fails,
 * so that the event would stop the projection, or the database cannot say (PostgreSQL, and tables with generated
 * columns); ERR_TOO_LARGE past PROJECTION_PREVIEW_CHANGES_MAX rows, or past the size of one; errors of
 * projection_db_apply. */
int projection_db_preview(struct projection_db *db, const struct projection_event *event, struct arena *arena,
                          struct projection_preview *ret, struct err *err) MUST_USE;

/* One hash of the contents: SHA-256 over, for each user table in name order (cursor and other tables whose names start
 * with "_tally_" or "sqlite_" left out), its name, column names and all rows in the order of all columns, every value
 * behind its type and length. Equal contents give equal digests, whatever order rows were written in. Runs in one read
 * transaction; *ret_row_count may be NULL. */
int projection_db_digest(struct projection_db *db, struct hash *ret, uint64_t *ret_row_count, struct err *err) MUST_USE;

/* Compares two generations of one projection table by table: *ret_table names the first in which they differ. Errors of
 * projection_db_digest. */
int projection_db_compare(struct projection_db *a, struct projection_db *b,
                          char ret_table[PROJECTION_TABLE_MAX_BYTES + 1], bool *ret_differs, struct err *err) MUST_USE;

/* Whether the database was filled with contexts of this digest (context_table_digest); the first call decides, durably.
 * Not in a transaction. Errors of projection_db_learn. */
int projection_db_same_contexts(struct projection_db *db, const struct hash *contexts, bool *ret,
                                struct err *err) MUST_USE;

/* --- A projection in its folder: file, generations, live pointer. One thread. --- */
struct projection;

enum { PROJECTION_SERVERS_MAX = 16, PROJECTION_SERVER_NAME_MAX_BYTES = 63, PROJECTION_SCHEMA_NAME_MAX_BYTES = 58 };

/* The PostgreSQL databases that there are, by name. Borrowed, and outlive what is opened with them. */
struct projection_servers {
    const struct projection_server *items;
    size_t count;
};

/* Creates the folder with the SQL in it and generation 1, in an SQLite file beside it, or, when server is not NULL, in
 * a schema of that database with the projection's name (at most PROJECTION_SCHEMA_NAME_MAX_BYTES). bounds as for
 * projection_db_open, for all generations. ERR_EXISTS; errors of parse and of the database's opening: then nothing is
 * left behind. */
int projection_create(const char *folder, struct bytes sql, const struct projection_server *server,
                      const struct projection_bounds *bounds, struct projection **ret, struct err *err) MUST_USE;
/* Removes what projection_create has just made, and closes it: for whoever cannot use it. Returns code, which err says
 * why of, with a word about what could not be removed. */
int projection_take_back(struct projection *projection, int code, struct err *err);
/* servers may be NULL: none. bounds as for projection_create. ERR_NOT_FOUND also when the folder names a database that
 * is not among them. */
int projection_open(const char *folder, const struct projection_servers *servers,
                    const struct projection_bounds *bounds, struct projection **ret, struct err *err) MUST_USE;
/* The database that the folder names, "" for SQLite. ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY. */
int projection_folder_server(const char *folder, char ret[PROJECTION_SERVER_NAME_MAX_BYTES + 1],
                             struct err *err) MUST_USE;
/* NULL: it lies in SQLite files. */
const struct projection_server *projection_server_of(const struct projection *projection);
void projection_close(struct projection *projection);

const char *projection_name(const struct projection *projection);
const struct hash *projection_sql_digest(const struct projection *projection); /* SHA-256 of the file */
const struct projection_spec *projection_spec_of(const struct projection *projection);
uint64_t projection_generation(const struct projection *projection); /* live one, from 1 */
struct projection_db *projection_live(struct projection *projection);
/* The generation being rebuilt, or NULL. */
struct projection_db *projection_next(struct projection *projection);
/* Starts (or starts again) the next generation, empty. The live one stays readable and keeps being applied. */
int projection_rebuild_begin(struct projection *projection, struct err *err) MUST_USE;
/* Makes the next generation live, durably, and removes the old file. */
int projection_rebuild_switch(struct projection *projection, struct err *err) MUST_USE;

#endif
