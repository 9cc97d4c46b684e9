/* A late event, read from its log as the write that accepts it. */
#include "region/settle_event.h"

#include <criterion/criterion.h>

#include "entry/frame.h"
#include "support/files.h"
#include "unit/region/fixture.h"

enum { ARENA_MAX_BYTES = 64 * 1024 };

/* eu's log with one event, as a region wrote it, in a real file. */
struct shelf {
    char folder[FILES_PATH_MAX];
    struct site *site;
    struct log *log;
    struct arena arena;
};

static void open_shelf(struct shelf *shelf)
{
    struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_TINY_BYTES};
    struct log_recovery recovery;
    char path[FILES_PATH_MAX];
    files_temp_folder(shelf->folder);
    files_join(shelf->folder, "log", path);
    shelf->site = site_alone();
    site_append(shelf->site, "s", 7);
    arena_init(&shelf->arena, ARENA_MAX_BYTES);
    struct bytes origin = BYTES_LITERAL("demo/eu/1");
    cr_assert_eq(log_create(disk_posix(), path, origin, &options, NULL), 0);
    cr_assert_eq(log_open(disk_posix(), path, origin, &options, &shelf->log, &recovery, NULL), 0);
    cr_assert_eq(log_append(shelf->log, &shelf->site->logs[0].blocks[0], 1, NULL), 0);
}

static void close_shelf(struct shelf *shelf)
{
    log_close(shelf->log);
    arena_free(&shelf->arena);
    site_free(shelf->site);
    files_remove_folder(shelf->folder);
}

Test(settle_event, it_is_what_was_said_under_the_same_commitment)
{
    struct shelf shelf;
    struct region_stream_write write;
    struct bytes elements;
    struct frame frame;
    struct entry entry;
    struct err err = {0};
    open_shelf(&shelf);
    cr_assert_eq(settle_read_event(shelf.log, 0, &shelf.arena, &write, &err), 0, "%s", err.message);
    elements = block_body(shelf.site->logs[0].blocks[0]);
    cr_assert_eq(frame_next_entry(&elements, &frame, &entry, NULL), 0);
    cr_assert_eq(write.event_count, 1);
    cr_assert(bytes_equal(write.stream, BYTES_LITERAL("s")));
    cr_assert(bytes_equal(write.partition, entry.partition));
    cr_assert_eq(write.expectation, STREAM_ANY);
    cr_assert_arr_eq(write.events[0].id, entry.event_id, ENTRY_ID_SIZE);
    struct hash commitment = entry_payload_commitment(shelf.site->sha, write.events[0].salt, write.events[0].payload);
    cr_assert(hash_equal(&commitment, &entry.payload_commitment));
    close_shelf(&shelf);
}

Test(settle_event, an_entry_that_is_not_there_is_an_error)
{
    struct shelf shelf;
    struct region_stream_write write;
    open_shelf(&shelf);
    cr_assert_neq(settle_read_event(shelf.log, 1, &shelf.arena, &write, NULL), 0);
    close_shelf(&shelf);
}
