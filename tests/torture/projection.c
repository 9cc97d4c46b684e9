/* A projection: made, fed in two transactions, rebuilt, switched. SQLite's own memory and files are not failed here;
 * our code around it and the files that say which generation is live are. Acknowledged means: a commit returned. */
#include <stdio.h>

#include "base/assert.h"
#include "projection/projection.h"
#include "support/files.h"
#include "torture/blocks.h"
#include "torture/torture.h"

enum { BLOCKS = 3, ENTRIES = 6, HALF = 3 };

static const char sql[] = "-- tally: projection counts\n"
                          "-- tally: schema\n"
                          "CREATE TABLE counts (stream TEXT PRIMARY KEY, n INTEGER, bytes INTEGER) WITHOUT ROWID;\n"
                          "-- tally: on bank Happened\n"
                          "INSERT INTO counts VALUES (:stream, 1, length(:payload))\n"
                          "  ON CONFLICT (stream) DO UPDATE SET n = n + 1, bytes = bytes + length(:payload);\n";

static struct blocks source;
static uint64_t committed_size;
static bool created;
static struct hash good_digest;

/* Applies the entries that are missing up to `size`, in one transaction. */
static int apply_up_to(struct projection_db *db, uint64_t size, struct err *err)
{
    uint64_t applied = 0;
    int code = projection_db_applied(db, BLOCKS_ORIGIN, &applied, err);
    if (code != 0 || applied >= size)
        return code;
    code = projection_db_begin(db, err);
    if (code != 0)
        return code;
    for (uint64_t i = applied; code == 0 && i < size; i++) {
        struct bytes encoded;
        struct frame frame;
        struct entry entry;
        size_t number = 0;
        while (source.sizes[number] <= i)
            number++;
        INVARIANT(block_find(source.blocks[number], i, &encoded, NULL) == 0);
        INVARIANT(frame_parse(encoded, &frame, NULL) == 0 && entry_parse(frame.entry, &entry, NULL) == 0);
        struct projection_event event = {
            .origin = BLOCKS_ORIGIN, .entry = &entry, .payload = frame.payload, .has_payload = true};
        code = projection_db_apply(db, &event, err);
    }
    if (code == 0)
        code = projection_db_commit(db, err);
    if (code != 0)
        projection_db_rollback(db);
    return code;
}

static int open_or_create(const char *folder, struct projection **ret, struct err *err)
{
    int code = projection_open(folder, NULL, NULL, ret, err);
    return code == ERR_NOT_FOUND ? projection_create(folder, BYTES_LITERAL(sql), NULL, NULL, ret, err) : code;
}

static int feed(struct projection *projection, struct err *err)
{
    for (uint64_t size = HALF; size <= ENTRIES; size += HALF) {
        int code = apply_up_to(projection_live(projection), size, err);
        if (code != 0)
            return code;
        if (size > committed_size)
            committed_size = size;
    }
    int code = projection_rebuild_begin(projection, err);
    if (code == 0)
        code = apply_up_to(projection_next(projection), ENTRIES, err);
    return code == 0 ? projection_rebuild_switch(projection, err) : code;
}

static int finish_result(struct projection *projection, struct hash *ret_result, struct err *err)
{
    struct hash digest;
    uint64_t rows = 0;
    int code = projection_db_digest(projection_live(projection), &digest, &rows, err);
    if (code == 0) {
        torture_add(ret_result, bytes_of(digest.bytes, HASH_SIZE));
        torture_add_number(ret_result, rows);
    }
    return code;
}

static enum torture_outcome run(const char *folder, struct hash *ret_result)
{
    struct projection *projection = NULL;
    char path[FILES_PATH_MAX];
    struct err err = {0};
    committed_size = 0;
    created = false;
    if (open_or_create(files_join(folder, "p", path), &projection, &err) != 0)
        return TORTURE_REPORTED;
    created = true;
    int code = feed(projection, &err);
    if (code == 0)
        code = finish_result(projection, ret_result, &err);
    projection_close(projection);
    return code == 0 ? TORTURE_DONE : TORTURE_REPORTED;
}

static void check(const char *folder)
{
    struct projection *projection = NULL;
    char path[FILES_PATH_MAX];
    struct err err = {0};
    struct hash result = {0};
    uint64_t applied = 0;
    files_join(folder, "p", path);
    int code = projection_open(path, NULL, NULL, &projection, &err);
    TORTURE_CHECK(code == 0 || !created, "a projection that was made cannot be opened: %s", err.message);
    if (code != 0) {
        TORTURE_CHECK(code == ERR_NOT_FOUND, "half a projection is left: %s", err.message);
        code = projection_create(path, BYTES_LITERAL(sql), NULL, NULL, &projection, &err);
        TORTURE_CHECK(code == 0, "%s", err.message);
    }
    code = projection_db_applied(projection_live(projection), BLOCKS_ORIGIN, &applied, &err);
    TORTURE_CHECK(code == 0, "%s", err.message);
    TORTURE_CHECK(applied >= committed_size, "%llu entries are applied, %llu were committed",
                  (unsigned long long)applied, (unsigned long long)committed_size);
    TORTURE_CHECK(feed(projection, &err) == 0, "%s", err.message);
    TORTURE_CHECK(finish_result(projection, &result, &err) == 0, "%s", err.message);
    projection_close(projection);
    if (hash_equal(&good_digest, &(struct hash){0}))
        good_digest = result;
    TORTURE_CHECK(hash_equal(&good_digest, &result), "the contents are not those of the good run");
}

static void prepare(const char *folder)
{
    (void)folder;
    blocks_make(&source, BLOCKS, 100);
    TORTURE_CHECK(source.sizes[BLOCKS - 1] == ENTRIES, "entries");
}

static void finish(void)
{
    blocks_free(&source);
}

int main(int argc, char **argv)
{
    static const struct torture_scenario scenario = {"projection", prepare, run, check, finish};
    return torture_main(&scenario, argc, argv);
}
