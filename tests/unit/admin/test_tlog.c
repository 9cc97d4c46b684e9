/* A log as tiles: what is there, what is not, and that nothing damaged gets out. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "support.h"

#define PREFIX "/" OWN_ORIGIN "/"

static struct stage stage;

static void set_up(void)
{
    stage_init(&stage);
}

static void tear_down(void)
{
    stage_free(&stage);
}

TestSuite(tlog, .init = set_up, .fini = tear_down);

Test(tlog, before_a_checkpoint_there_is_nothing)
{
    stage_append(&stage, 3);
    cr_expect_eq(get(&stage, PREFIX "checkpoint")->status, 404);
    cr_expect_eq(get(&stage, PREFIX "tile/0/000.p/3")->status, 404);
    cr_expect_eq(get(&stage, PREFIX "tile/entries/000.p/3")->status, 404);
}

Test(tlog, the_checkpoint_is_given_verbatim_and_checked_again_each_time)
{
    stage_append(&stage, 3);
    stage_show(&stage);
    struct response *response = get(&stage, PREFIX "checkpoint");
    cr_expect_eq(response->status, 200);
    cr_expect(bytes_equal(buf_bytes(&response->body), buf_bytes(&stage.note)));
    cr_expect_str_eq(response->content_type, "text/plain; charset=utf-8");
    cr_expect_str_eq(response->cache_control, "no-cache");
}

Test(tlog, a_tile_is_kept_for_ever)
{
    stage_append(&stage, 256);
    stage_show(&stage);
    struct response *response = get(&stage, PREFIX "tile/0/000");
    cr_expect_eq(response->status, 200);
    cr_expect_eq(response->body.size_bytes, TILE_FULL_SIZE);
    cr_expect_str_eq(response->content_type, "application/octet-stream");
    cr_expect_not_null(strstr(response->cache_control, "immutable"));
}

Test(tlog, only_what_the_checkpoint_covers_is_there)
{
    stage_append(&stage, 300);
    stage_show(&stage);
    stage_append(&stage, 300);
    cr_expect_eq(get(&stage, PREFIX "tile/0/000")->status, 200);
    cr_expect_eq(get(&stage, PREFIX "tile/0/001.p/44")->status, 200);
    cr_expect_eq(get(&stage, PREFIX "tile/0/001.p/45")->status, 404);
    cr_expect_eq(get(&stage, PREFIX "tile/0/001")->status, 404);
    cr_expect_eq(get(&stage, PREFIX "tile/1/000.p/1")->status, 200);
    cr_expect_eq(get(&stage, PREFIX "tile/1/000.p/2")->status, 404);
    cr_expect_eq(get(&stage, PREFIX "tile/entries/001.p/44")->status, 200);
    cr_expect_eq(get(&stage, PREFIX "tile/entries/001.p/45")->status, 404);
}

Test(tlog, the_partial_tiles_of_earlier_sizes_stay)
{
    stage_append(&stage, 700);
    stage_show(&stage);
    cr_expect_eq(get(&stage, PREFIX "tile/0/000.p/17")->status, 200);
    cr_expect_eq(get(&stage, PREFIX "tile/entries/001.p/200")->status, 200);
}

Test(tlog, paths_that_are_no_tiles_are_malformed)
{
    static const char *const paths[] = {PREFIX "tile/",          PREFIX "tile/0",           PREFIX "tile/0/0",
                                        PREFIX "tile/0/000.p/0", PREFIX "tile/0/000.p/256", PREFIX "tile/00/000",
                                        PREFIX "tile/0/0000",    PREFIX "tile/-1/000",      PREFIX "tile/0/x000/000",
                                        PREFIX "tile/0/000/",    PREFIX "tile/entries/1",   PREFIX "tile/0/../0/000"};
    stage_append(&stage, 300);
    stage_show(&stage);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        cr_expect_eq(get(&stage, paths[i])->status, 400, "%s", paths[i]);
}

/* Entry bundles from blocks of several sizes: the leaves of what is given are those of the tile. */
Test(tlog, a_bundle_has_the_entries_of_its_tile)
{
    struct buf leaves;
    buf_init(&leaves, TILE_FULL_SIZE);
    stage_append(&stage, 100);
    stage_append(&stage, 1);
    stage_append(&stage, 350);
    stage_append(&stage, 149);
    stage_show(&stage);
    struct response *response = get(&stage, PREFIX "tile/entries/001");
    cr_assert_eq(response->status, 200);
    for (size_t at = 0; at < response->body.size_bytes;) {
        size_t size = get_u16_be(response->body.data + at);
        struct hash leaf = merkle_leaf(stage.sha, bytes_of(response->body.data + at + 2, size));
        cr_assert_eq(buf_append(&leaves, bytes_of(leaf.bytes, HASH_SIZE)), 0);
        at += 2 + size;
    }
    cr_assert_eq(leaves.size_bytes, TILE_FULL_SIZE);
    cr_expect(bytes_equal(buf_bytes(&get(&stage, PREFIX "tile/0/001")->body), buf_bytes(&leaves)));
    buf_free(&leaves);
}

static void damage_tiles(const char *level, off_t offset)
{
    char path[300];
    uint8_t byte = 0;
    snprintf(path, sizeof(path), "%s/tiles/%s", stage.folder, level);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

Test(tlog, a_damaged_tile_is_not_given_out_but_reported)
{
    stage_append(&stage, 300);
    stage_show(&stage);
    damage_tiles("0", 40);
    cr_expect_eq(get(&stage, PREFIX "tile/0/000")->status, 500);
    cr_expect_eq(stage.damage_reports, 1);
    cr_expect_eq(get(&stage, PREFIX "tile/0/001.p/44")->status, 200);
}

Test(tlog, entries_that_are_not_those_of_their_tile_are_not_given_out)
{
    stage_append(&stage, 300);
    stage_show(&stage);
    damage_tiles("0", 290 * HASH_SIZE); /* on the right edge there is no hash above it */
    cr_expect_eq(get(&stage, PREFIX "tile/entries/001.p/44")->status, 500);
    cr_expect_eq(stage.damage_reports, 1);
    cr_expect_eq(get(&stage, "/health")->status, 503);
    cr_expect_not_null(strstr(body_text(get(&stage, "/health")), "damaged"));
}

Test(tlog, tiles_that_are_being_made_can_be_asked_for_later)
{
    stage_append(&stage, 3);
    stage_show(&stage);
    stage.refuse_with = ERR_UNAVAILABLE;
    struct response *response = get(&stage, PREFIX "tile/0/000.p/3");
    cr_expect_eq(response->status, 503);
    cr_expect_gt(response->retry_after_s, 0);
}
