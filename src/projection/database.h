/* The narrow interface behind which a generation's database lies. database.c has what all have in common: the cursor,
 * which sections an event meets, the digest. sqlite.h and postgres.h implement the rest. Private to src/projection.
 *
 * An implementation embeds struct projection_db first and fills ops and spec when it opens. */
#ifndef PROJECTION_DATABASE_H
#define PROJECTION_DATABASE_H

#include "base/buf.h"
#include "projection/spec.h"

enum { CURSOR_MAX = PROJECTION_LOGS_MAX };

struct cursor_part {
    char origin[PROJECTION_ORIGIN_MAX_BYTES + 1];
    uint64_t size;
};

/* Hashing goes row by row: each row's bytes are gathered and folded into the hash so far. */
struct digesting {
    struct sha256 *sha;
    struct hash hash;
    struct buf row;
    uint64_t row_count;
};

/* A value: behind its type and length. Types: i integer (8 bytes, little-endian), r real (8 bytes), n NULL, t text,
 * b bytes; c a column's name, T a table's. ERR_TOO_LARGE, ERR_NO_MEMORY. */
int digest_add(struct digesting *digesting, char type, struct bytes value) MUST_USE;
int digest_add_integer(struct digesting *digesting, int64_t value) MUST_USE;
int digest_add_real(struct digesting *digesting, double value) MUST_USE;
/* The row is complete (the first one holds the names). */
void digest_fold(struct digesting *digesting);

struct projection_db;

/* All errors as projection.h has them for the function of that name. */
struct database_ops {
    int (*begin)(struct projection_db *db, struct err *err);
    /* The statements of one section on one event. May put them off until the commit; a failure that may belong to an
     * earlier event sets db->unsure. */
    int (*run)(struct projection_db *db, size_t section, const struct projection_event *event, struct err *err);
    /* Makes rows, and the parts of db->cursor that differ from db->committed, durable. */
    int (*commit)(struct projection_db *db, struct err *err);
    void (*rollback)(struct projection_db *db);
    int (*learn)(struct projection_db *db, const struct projection_authority *event, struct err *err);
    int (*knows)(struct projection_db *db, const char *origin, uint64_t index, bool *ret, struct err *err);
    int (*authority)(struct projection_db *db, projection_authority_fn *each, void *context, struct err *err);
    int (*keep)(struct projection_db *db, const char *name, const char *value, struct err *err);
    int (*kept)(struct projection_db *db, const char *name, char ret[PROJECTION_NOTE_MAX_BYTES + 1], struct err *err);
    int (*same_contexts)(struct projection_db *db, const char *digest, bool *ret, struct err *err);
    /* In a transaction, which the caller takes back. NULL: this kind of database cannot tell which rows change. */
    int (*preview)(struct projection_db *db, const struct projection_event *event, struct arena *arena,
                   struct projection_preview *ret, struct err *err);
    /* A transaction that only reads, and sees one state. */
    int (*read_begin)(struct projection_db *db, struct err *err);
    void (*read_end)(struct projection_db *db);
    /* The name of the first table of the projection's own after `name` ("": the first of all), by bytes; "" when there
     * is none. */
    int (*next_table)(struct projection_db *db, char name[PROJECTION_TABLE_MAX_BYTES + 1], struct err *err);
    /* Names of the columns, a fold; then each row, by all columns in order, and a fold. */
    int (*digest_rows)(struct projection_db *db, struct digesting *digesting, const char *table, struct err *err);
    void (*close)(struct projection_db *db);
};

struct projection_db {
    const struct database_ops *ops;
    const struct projection_spec *spec;
    struct cursor_part cursor[CURSOR_MAX]; /* by name; as in the transaction at hand */
    size_t cursor_count;
    struct cursor_part committed[CURSOR_MAX];
    size_t committed_count;
    bool in_transaction;
    bool unsure; /* projection_db_unsure */
};

/* For opening: one part of the stored cursor, in name order; then the cursor is as committed. ERR_TOO_LARGE. */
int database_read_part(struct projection_db *db, const char *origin, uint64_t size, struct err *err) MUST_USE;
void database_read_end(struct projection_db *db);
/* The part of `origin` that is committed; 0 when there is none. */
uint64_t database_committed(const struct projection_db *db, const char *origin);

#endif
