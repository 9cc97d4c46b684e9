#include "unit/index/fixture.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "support/files.h"

void folder_make(char out[FOLDER_MAX_BYTES])
{
    files_temp_folder_within(out, FOLDER_MAX_BYTES);
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

void folder_remove(const char *folder)
{
    cr_assert_eq(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* The longest name a context may have. */
static const char longest_context[ENTRY_NAME_MAX_BYTES + 1] = LONGEST_CONTEXT;

/* Each region is the home of the partition that has its name; "a" of all others. */
static const struct context_home homes[] = {{"b", "b"}, {"c", "c"}, {"d", "d"}};
static const struct context contexts[] = {
    {.name = "shop", .default_home = "a", .home_count = 3, .homes = homes},
    {.name = "ab", .default_home = "a"},
    {.name = longest_context, .default_home = "a"},
};
const struct context_table fixture_contexts = {.count = 3, .contexts = contexts};

struct index *open_rocksdb(const char *folder)
{
    struct index *index = NULL;
    struct err err = {0};
    cr_assert_eq(index_rocksdb_open(folder, &fixture_contexts, &index, &err), 0, "%s", err.message);
    return index;
}

uint32_t number(struct index *index, const char *origin)
{
    uint32_t log = UINT32_MAX;
    struct err err = {0};
    cr_assert_eq(index_log(index, bytes_of_string(origin), &log, &err), 0, "%s", err.message);
    return log;
}

void id_of(uint64_t number, uint8_t ret[ENTRY_ID_SIZE])
{
    memset(ret, 0xee, ENTRY_ID_SIZE);
    put_u64_be(ret, number);
}

struct entry entry_of(uint64_t index, const char *stream, uint64_t version, uint64_t id)
{
    struct entry entry = {
        .index = index,
        .time = 1 + index,
        .epoch = 1,
        .type = BYTES_LITERAL("Happened"),
        .partition = BYTES_LITERAL("p"),
        .context = BYTES_LITERAL("shop"),
        .stream = bytes_of_string(stream),
        .stream_version = version,
    };
    id_of(id, entry.event_id);
    return entry;
}

struct bytes home_partition(struct index *index, uint32_t log)
{
    static const char *const names[] = {"b", "c", "d"};
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    struct origin parsed;
    cr_assert_eq(index_origin(index, log, origin, NULL), 0);
    cr_assert_eq(origin_parse(bytes_of_string(origin), &parsed, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(parsed.region, names[i]) == 0)
            return bytes_of_string(names[i]);
    }
    return BYTES_LITERAL("p");
}

void apply_one(struct index *index, uint32_t log, const char *stream, uint64_t version, uint64_t id)
{
    struct entry entry = entry_of(index_applied_size(index, log), stream, version, id);
    entry.partition = home_partition(index, log);
    struct index_entry item = {.entry = &entry, .fingerprint = 1000 + id};
    struct err err = {0};
    cr_assert_eq(index_apply(index, log, &item, 1, &err), 0, "%s", err.message);
}

void apply_run(struct index *index, uint32_t log, size_t count)
{
    struct entry *entries = mem_alloc_zero(count, sizeof(*entries));
    struct index_entry *items = mem_alloc_zero(count, sizeof(*items));
    uint64_t first = index_applied_size(index, log);
    for (size_t i = 0; i < count; i++) {
        entries[i] = entry_of(first + i, "many", first + i, first + i);
        items[i] = (struct index_entry){.entry = &entries[i], .fingerprint = 1000 + first + i};
    }
    struct err err = {0};
    cr_assert_eq(index_apply(index, log, items, count, &err), 0, "%s", err.message);
    mem_free(items);
    mem_free(entries);
}

static void check_versions(struct index *index, uint32_t log, uint64_t applied)
{
    struct index_place *places = mem_alloc(INDEX_SCAN_MAX * sizeof(*places));
    uint64_t seen = 0;
    size_t count = 0;
    do {
        cr_assert_eq(index_scan(index, BYTES_LITERAL("shop"), BYTES_LITERAL("many"), seen, false, places,
                                INDEX_SCAN_MAX, &count, NULL),
                     0);
        for (size_t i = 0; i < count; i++) {
            cr_assert_eq(places[i].log, log);
            cr_assert_eq(places[i].index, seen + i);
        }
        seen += count;
    } while (count > 0);
    cr_assert_eq(seen, applied);
    mem_free(places);
}

void check_run(struct index *index, uint32_t log, uint64_t end)
{
    uint64_t applied = index_applied_size(index, log);
    cr_assert_leq(applied, end);
    for (uint64_t i = 0; i < applied; i++)
        expect_event(index, i, log, i);
    for (uint64_t i = applied; i < end; i++)
        expect_no_event(index, i);
    check_versions(index, log, applied);
    if (applied > 0)
        expect_head(index, "many", applied - 1, log, applied - 1);
    else
        expect_no_head(index, "many");
}

void expect_head(struct index *index, const char *stream, uint64_t version, uint32_t log, uint64_t place)
{
    struct index_head head;
    struct err err = {0};
    cr_assert_eq(index_head(index, BYTES_LITERAL("shop"), bytes_of_string(stream), &head, &err), 0, "%s: %s", stream,
                 err.message);
    cr_assert_eq(head.version, version);
    cr_assert_eq(head.place.log, log);
    cr_assert_eq(head.place.index, place);
}

void expect_no_head(struct index *index, const char *stream)
{
    struct index_head head;
    cr_assert_eq(index_head(index, BYTES_LITERAL("shop"), bytes_of_string(stream), &head, NULL), ERR_NOT_FOUND, "%s",
                 stream);
}

void expect_event(struct index *index, uint64_t id, uint32_t log, uint64_t place)
{
    uint8_t bytes[ENTRY_ID_SIZE];
    id_of(id, bytes);
    struct index_event event;
    struct err err = {0};
    cr_assert_eq(index_event(index, bytes, &event, &err), 0, "%llu: %s", (unsigned long long)id, err.message);
    cr_assert_eq(event.place.log, log);
    cr_assert_eq(event.place.index, place);
    cr_assert_eq(event.fingerprint, 1000 + id);
}

void expect_no_event(struct index *index, uint64_t id)
{
    uint8_t bytes[ENTRY_ID_SIZE];
    id_of(id, bytes);
    struct index_event event;
    cr_assert_eq(index_event(index, bytes, &event, NULL), ERR_NOT_FOUND, "%llu", (unsigned long long)id);
}
