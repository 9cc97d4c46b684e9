/* What all databases of projections have in common (database.h): the cursor in memory, which sections an event meets,
 * and the digest's course over the tables. Tables are hashed in name order, rows in the order of their values, so that
 * the order in which they were written does not show. */
#include "projection/database.h"

#include <stdio.h>

#include "base/assert.h"

/* --- Cursor --- */

static struct cursor_part *find_part(struct projection_db *db, const char *origin)
{
    for (size_t i = 0; i < db->cursor_count; i++) {
        if (strcmp(db->cursor[i].origin, origin) == 0)
            return &db->cursor[i];
    }
    return NULL;
}

uint64_t database_committed(const struct projection_db *db, const char *origin)
{
    for (size_t i = 0; i < db->committed_count; i++) {
        if (strcmp(db->committed[i].origin, origin) == 0)
            return db->committed[i].size;
    }
    return 0;
}

int database_read_part(struct projection_db *db, const char *origin, uint64_t size, struct err *err)
{
    if (db->cursor_count == CURSOR_MAX || strlen(origin) > PROJECTION_ORIGIN_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "the database's cursor has more than %d logs, or a name that is too long",
                       CURSOR_MAX);
    struct cursor_part *part = &db->cursor[db->cursor_count++];
    copy_string(part->origin, sizeof(part->origin), origin);
    part->size = size;
    return 0;
}

void database_read_end(struct projection_db *db)
{
    memcpy(db->committed, db->cursor, sizeof(db->cursor));
    db->committed_count = db->cursor_count;
}

int projection_db_applied(struct projection_db *db, const char *origin, uint64_t *ret_size, struct err *err)
{
    const struct cursor_part *part = find_part(db, origin);
    (void)err;
    *ret_size = part == NULL ? 0 : part->size;
    return 0;
}

bool projection_db_cursor_next(struct projection_db *db, size_t *position, const char **ret_origin, uint64_t *ret_size)
{
    if (*position >= db->cursor_count)
        return false;
    *ret_origin = db->cursor[*position].origin;
    *ret_size = db->cursor[*position].size;
    (*position)++;
    return true;
}

static int move_cursor(struct projection_db *db, const struct projection_event *event, struct err *err)
{
    struct cursor_part *part = find_part(db, event->origin);
    if (event->entry->index != (part == NULL ? 0 : part->size))
        return err_set(err, ERR_INVALID, "entry %llu of %s does not follow the %llu applied",
                       (unsigned long long)event->entry->index, event->origin,
                       (unsigned long long)(part == NULL ? 0 : part->size));
    if (part == NULL) {
        if (db->cursor_count == CURSOR_MAX)
            return err_set(err, ERR_TOO_LARGE, "events of more than %d logs", CURSOR_MAX);
        size_t place = 0;
        while (place < db->cursor_count && strcmp(db->cursor[place].origin, event->origin) < 0)
            place++;
        memmove(&db->cursor[place + 1], &db->cursor[place], (db->cursor_count - place) * sizeof(db->cursor[0]));
        part = &db->cursor[place];
        db->cursor_count++;
        memset(part, 0, sizeof(*part));
        snprintf(part->origin, sizeof(part->origin), "%s", event->origin);
    }
    part->size = event->entry->index + 1;
    return 0;
}

/* --- Applying --- */

int projection_db_begin(struct projection_db *db, struct err *err)
{
    PRE(!db->in_transaction);
    db->unsure = false;
    int code = db->ops->begin(db, err);
    db->in_transaction = code == 0;
    return code;
}

int projection_db_apply(struct projection_db *db, const struct projection_event *event, struct err *err)
{
    PRE(db->in_transaction);
    const struct entry *entry = event->entry;
    int code = move_cursor(db, event, err);
    if (code != 0 || event->late || (entry->flags & ENTRY_FLAG_CONTROL) != 0)
        return code;
    for (size_t i = 0; code == 0 && i < db->spec->section_count; i++) {
        if (projection_section_applies(db->spec, &db->spec->sections[i], entry->context, entry->type))
            code = db->ops->run(db, i, event, err);
    }
    return code;
}

bool projection_db_wants(const struct projection_db *db, const struct entry *entry)
{
    if ((entry->flags & ENTRY_FLAG_CONTROL) != 0)
        return false;
    for (size_t i = 0; i < db->spec->section_count; i++) {
        if (projection_section_applies(db->spec, &db->spec->sections[i], entry->context, entry->type))
            return true;
    }
    return false;
}

bool projection_db_names(const struct projection_db *db, struct bytes context)
{
    for (size_t i = 0; i < db->spec->section_count; i++) {
        if (bytes_equal(bytes_of_string(db->spec->sections[i].context), context))
            return true;
    }
    return false;
}

bool projection_db_tells_apart(const struct projection_db *db, const struct entry *entry)
{
    static const char *const spoken_of[] = {":time_ms", ":origin", ":position"};
    for (size_t i = 0; i < db->spec->section_count; i++) {
        const struct projection_section *section = &db->spec->sections[i];
        for (size_t n = 0; n < sizeof(spoken_of) / sizeof(spoken_of[0]); n++) {
            if (strstr(section->sql, spoken_of[n]) != NULL &&
                projection_section_applies(db->spec, section, entry->context, entry->type))
                return true;
        }
    }
    return false;
}

int projection_db_commit(struct projection_db *db, struct err *err)
{
    PRE(db->in_transaction);
    int code = db->ops->commit(db, err);
    if (code != 0)
        return code;
    db->in_transaction = false;
    database_read_end(db);
    return 0;
}

void projection_db_rollback(struct projection_db *db)
{
    db->ops->rollback(db);
    db->in_transaction = false;
    memcpy(db->cursor, db->committed, sizeof(db->cursor));
    db->cursor_count = db->committed_count;
}

int projection_db_preview(struct projection_db *db, const struct projection_event *event, struct arena *arena,
                          struct projection_preview *ret, struct err *err)
{
    if (db->ops->preview == NULL)
        return err_set(err, ERR_INVALID,
                       "the projection lies in PostgreSQL, where nobody can tell which rows an event would change");
    int code = projection_db_begin(db, err);
    if (code != 0)
        return code;
    *ret = (struct projection_preview){.count = 0};
    code = db->ops->preview(db, event, arena, ret, err);
    projection_db_rollback(db);
    return code;
}

bool projection_db_unsure(const struct projection_db *db)
{
    return db->unsure;
}

void projection_db_close(struct projection_db *db)
{
    if (db != NULL)
        db->ops->close(db);
}

/* --- Authority --- */

int projection_db_learn(struct projection_db *db, const struct projection_authority *event, struct err *err)
{
    PRE(db->in_transaction);
    return db->ops->learn(db, event, err);
}

int projection_db_knows(struct projection_db *db, const char *origin, uint64_t index, bool *ret, struct err *err)
{
    return db->ops->knows(db, origin, index, ret, err);
}

int projection_db_authority(struct projection_db *db, projection_authority_fn *each, void *context, struct err *err)
{
    return db->ops->authority(db, each, context, err);
}

int projection_db_same_contexts(struct projection_db *db, const struct hash *contexts, bool *ret, struct err *err)
{
    PRE(!db->in_transaction);
    char text[2 * HASH_SIZE + 1];
    hex_encode(bytes_of(contexts->bytes, HASH_SIZE), text);
    return db->ops->same_contexts(db, text, ret, err);
}

int projection_db_keep(struct projection_db *db, const char *name, uint64_t number, struct err *err)
{
    PRE(db->in_transaction && strlen(name) <= PROJECTION_NOTE_MAX_BYTES);
    char value[24];
    snprintf(value, sizeof(value), "%llu", (unsigned long long)number);
    return db->ops->keep(db, name, value, err);
}

int projection_db_kept(struct projection_db *db, const char *name, uint64_t *ret, struct err *err)
{
    char text[PROJECTION_NOTE_MAX_BYTES + 1];
    uint64_t number = 0;
    int code = db->ops->kept(db, name, text, err);
    if (code == 0 && text[0] != '\0' && parse_u64(text, strlen(text), &number) != 0)
        code = err_set(err, ERR_CORRUPT, "the projection keeps a damaged number; rebuild it");
    if (code == 0)
        *ret = number;
    return code;
}

int projection_db_keep_text(struct projection_db *db, const char *name, const char *text, struct err *err)
{
    PRE(db->in_transaction && strlen(name) <= PROJECTION_NOTE_MAX_BYTES && strlen(text) <= PROJECTION_NOTE_MAX_BYTES);
    return db->ops->keep(db, name, text, err);
}

int projection_db_kept_text(struct projection_db *db, const char *name, char ret[PROJECTION_NOTE_MAX_BYTES + 1],
                            struct err *err)
{
    return db->ops->kept(db, name, ret, err);
}

bool projection_db_total_order(const struct projection_db *db)
{
    return db->spec->total_order;
}

/* --- Digest --- */

enum { ROW_MAX_BYTES = 256 * 1024 * 1024 };

int digest_add(struct digesting *digesting, char type, struct bytes value)
{
    uint8_t size[8];
    put_u64_le(size, value.size_bytes);
    int code = buf_append_byte(&digesting->row, (uint8_t)type);
    if (code == 0)
        code = buf_append(&digesting->row, bytes_of(size, sizeof(size)));
    return code == 0 ? buf_append(&digesting->row, value) : code;
}

int digest_add_integer(struct digesting *digesting, int64_t value)
{
    uint8_t number[8];
    put_u64_le(number, (uint64_t)value);
    return digest_add(digesting, 'i', bytes_of(number, sizeof(number)));
}

int digest_add_real(struct digesting *digesting, double value)
{
    uint8_t number[8];
    double real = value + 0.0; /* so that -0.0 and 0.0, which are equal, look equal */
    memcpy(number, &real, sizeof(number));
    return digest_add(digesting, 'r', bytes_of(number, sizeof(number)));
}

void digest_fold(struct digesting *digesting)
{
    struct bytes parts[] = {bytes_of(digesting->hash.bytes, HASH_SIZE), buf_bytes(&digesting->row)};
    digesting->hash = sha256_parts(digesting->sha, parts, 2);
    buf_clear(&digesting->row);
}

static int digest_table(struct projection_db *db, struct digesting *digesting, const char *table, struct err *err)
{
    int code = digest_add(digesting, 'T', bytes_of_string(table));
    return code == 0 ? db->ops->digest_rows(db, digesting, table, err) : code;
}

static int digest_tables(struct projection_db *db, struct digesting *digesting, struct err *err)
{
    char name[PROJECTION_TABLE_MAX_BYTES + 1] = "";
    int code = db->ops->next_table(db, name, err);
    while (code == 0 && name[0] != '\0') {
        code = digest_table(db, digesting, name, err);
        if (code == 0)
            code = db->ops->next_table(db, name, err);
    }
    return code;
}

/* The digest of one table, or of all when it is NULL. */
static int digest_contents(struct projection_db *db, const char *table, struct hash *ret, uint64_t *ret_row_count,
                           struct err *err)
{
    PRE(!db->in_transaction);
    struct digesting digesting = {.sha = sha256_new()};
    if (digesting.sha == NULL)
        return err_no_memory(err, "a digest");
    digesting.hash = sha256_of(digesting.sha, BYTES_LITERAL("tallystick-projection-v1\n"));
    buf_init(&digesting.row, ROW_MAX_BYTES);
    int code = db->ops->read_begin(db, err);
    if (code == 0) {
        code = table == NULL ? digest_tables(db, &digesting, err) : digest_table(db, &digesting, table, err);
        db->ops->read_end(db);
    }
    buf_free(&digesting.row);
    sha256_free(digesting.sha);
    if (code == ERR_TOO_LARGE || code == ERR_NO_MEMORY)
        return err_set(err, code, "a row is too large for the digest");
    if (code != 0)
        return code;
    *ret = digesting.hash;
    *ret_row_count = digesting.row_count;
    return 0;
}

int projection_db_digest(struct projection_db *db, struct hash *ret, uint64_t *ret_row_count, struct err *err)
{
    uint64_t row_count = 0;
    int code = digest_contents(db, NULL, ret, &row_count, err);
    if (code == 0 && ret_row_count != NULL)
        *ret_row_count = row_count;
    return code;
}

int projection_db_compare(struct projection_db *a, struct projection_db *b,
                          char ret_table[PROJECTION_TABLE_MAX_BYTES + 1], bool *ret_differs, struct err *err)
{
    char name[PROJECTION_TABLE_MAX_BYTES + 1] = "";
    bool differs = false;
    int code = a->ops->next_table(a, name, err);
    while (code == 0 && !differs && name[0] != '\0') {
        struct hash hashes[2];
        uint64_t row_count = 0;
        code = digest_contents(a, name, &hashes[0], &row_count, err);
        if (code == 0)
            code = digest_contents(b, name, &hashes[1], &row_count, err);
        differs = code == 0 && !hash_equal(&hashes[0], &hashes[1]);
        if (code == 0 && !differs)
            code = a->ops->next_table(a, name, err);
    }
    if (code != 0)
        return code;
    copy_string(ret_table, PROJECTION_TABLE_MAX_BYTES + 1, name);
    *ret_differs = differs;
    return 0;
}
