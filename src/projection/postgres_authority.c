/* The authority events that a generation in PostgreSQL knows, as sqlite_authority.c keeps them. */
#include <stdio.h>

#include "projection/postgres.h"

int postgres_learn(struct projection_db *base, const struct projection_authority *event, struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    uint8_t index[8];
    PGresult *result = NULL;
    put_u64_be(index, event->index);
    const struct argument arguments[] = {{.type = POSTGRES_TEXT, .value = bytes_of_string(event->origin)},
                                         {.type = POSTGRES_INT8, .value = bytes_of(index, sizeof(index))},
                                         {.type = POSTGRES_BYTEA, .value = event->entry},
                                         {.type = POSTGRES_BYTEA, .value = event->payload}};
    int code = postgres_settle(db, err);
    if (code == 0)
        code = postgres_query(db, "keeping an authority event",
                              "INSERT INTO _tally_authority(origin, idx, entry, payload) VALUES($1, $2, $3, $4) ON "
                              "CONFLICT DO NOTHING",
                              arguments, 4, &result, err);
    PQclear(result);
    return code;
}

int postgres_knows(struct projection_db *base, const char *origin, uint64_t index, bool *ret, struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    uint8_t number[8];
    PGresult *result = NULL;
    put_u64_be(number, index);
    const struct argument arguments[] = {{.type = POSTGRES_TEXT, .value = bytes_of_string(origin)},
                                         {.type = POSTGRES_INT8, .value = bytes_of(number, sizeof(number))}};
    int code = postgres_settle(db, err);
    if (code == 0)
        code =
            postgres_query(db, "looking for an authority event",
                           "SELECT 1 FROM _tally_authority WHERE origin = $1 AND idx = $2", arguments, 2, &result, err);
    if (code == 0)
        *ret = PQntuples(result) > 0;
    PQclear(result);
    return code;
}

/* In stretches, so that memory stays small however many there are. */
int postgres_authority(struct projection_db *base, projection_authority_fn *each, void *context, struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    char origin[PROJECTION_ORIGIN_MAX_BYTES + 1] = "";
    uint8_t index[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}; /* -1: before the first */
    int code = postgres_settle(db, err);
    for (int rows = 1; code == 0 && rows > 0;) {
        const struct argument after[] = {{.type = POSTGRES_TEXT, .value = bytes_of_string(origin)},
                                         {.type = POSTGRES_INT8, .value = bytes_of(index, sizeof(index))}};
        PGresult *result = NULL;
        code = postgres_query(db, "reading the authority events",
                              "SELECT origin, idx, entry, payload FROM _tally_authority WHERE (origin, idx) > ($1 "
                              "COLLATE \"C\", $2) ORDER BY origin, idx LIMIT 100",
                              after, 2, &result, err);
        rows = code == 0 ? PQntuples(result) : 0;
        for (int row = 0; code == 0 && row < rows; row++) {
            const struct projection_authority event = {.origin = PQgetvalue(result, row, 0),
                                                       .index = (uint64_t)postgres_number(result, row, 1),
                                                       .entry = postgres_field(result, row, 2),
                                                       .payload = postgres_field(result, row, 3)};
            snprintf(origin, sizeof(origin), "%s", event.origin);
            put_u64_be(index, event.index);
            code = each(context, &event, err);
        }
        PQclear(result);
    }
    return code;
}

int postgres_keep(struct projection_db *base, const char *name, const char *value, struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    const struct argument arguments[] = {{.type = POSTGRES_TEXT, .value = bytes_of_string(name)},
                                         {.type = POSTGRES_TEXT, .value = bytes_of_string(value)}};
    int code = postgres_settle(db, err);
    return code != 0 ? code
                     : postgres_query(db, "keeping a number",
                                      "INSERT INTO _tally_meta(key, value) VALUES($1, $2) ON CONFLICT (key) DO UPDATE "
                                      "SET value = excluded.value",
                                      arguments, 2, NULL, err);
}

int postgres_kept(struct projection_db *base, const char *name, char ret[PROJECTION_NOTE_MAX_BYTES + 1],
                  struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    const struct argument key = {.type = POSTGRES_TEXT, .value = bytes_of_string(name)};
    PGresult *result = NULL;
    int code = postgres_settle(db, err);
    if (code == 0)
        code =
            postgres_query(db, "reading a note", "SELECT value FROM _tally_meta WHERE key = $1", &key, 1, &result, err);
    const char *text = code == 0 && PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "";
    if (code == 0 && strlen(text) > PROJECTION_NOTE_MAX_BYTES)
        code = err_set(err, ERR_CORRUPT, "the projection keeps a damaged note; rebuild it");
    if (code == 0)
        copy_string(ret, PROJECTION_NOTE_MAX_BYTES + 1, text);
    PQclear(result);
    return code;
}

int postgres_same_contexts(struct projection_db *base, const char *digest, bool *ret, struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    const struct argument contexts = {.type = POSTGRES_TEXT, .value = bytes_of_string(digest)};
    PGresult *result = NULL;
    int code = postgres_query(db, "keeping the contexts' digest",
                              "INSERT INTO _tally_meta(key, value) VALUES('contexts', $1) ON CONFLICT DO NOTHING",
                              &contexts, 1, NULL, err);
    if (code == 0)
        code = postgres_query(db, "reading the contexts' digest",
                              "SELECT 1 FROM _tally_meta WHERE key = 'contexts' AND value = $1", &contexts, 1, &result,
                              err);
    if (code == 0)
        *ret = PQntuples(result) > 0;
    PQclear(result);
    return code;
}
