/* What the index does not show yet. */
#include "region/overlay.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "unit/region/fixture.h"

static const struct region_limits limits = {.unindexed_entries = REGION_UNINDEXED_MAX,
                                            .indexed_steps = OVERLAY_INDEXED_MAX,
                                            .overlay_grace_us = OVERLAY_GRACE_US};

static struct overlay *new_overlay(void)
{
    struct overlay *overlay = mem_alloc(sizeof(*overlay));
    cr_assert_not_null(overlay);
    overlay_init(overlay, &limits);
    return overlay;
}

static void free_overlay(struct overlay *overlay)
{
    overlay_free(overlay);
    mem_free(overlay);
}

static int add_with(struct overlay *overlay, uint32_t log, uint64_t index, const char *stream, uint64_t version,
                    uint64_t id, enum overlay_effect effect)
{
    struct entry entry = {
        .index = index, .context = BYTES_LITERAL("bank"), .stream = bytes_of_string(stream), .stream_version = version};
    event_id_of(id, entry.event_id);
    return overlay_add(overlay, log, &entry, 1000 + id, effect);
}

static int add(struct overlay *overlay, uint32_t log, uint64_t index, const char *stream, uint64_t version, uint64_t id)
{
    enum overlay_effect effect = log == 0 ? OVERLAY_MOVES_HEAD : OVERLAY_TAKES_ID;
    return add_with(overlay, log, index, stream, version, id, effect);
}

static const struct overlay_item *find(const struct overlay *overlay, uint64_t id)
{
    uint8_t key[ENTRY_ID_SIZE];
    event_id_of(id, key);
    return overlay_id(overlay, key);
}

static const struct overlay_item *head(const struct overlay *overlay, const char *stream)
{
    return overlay_head(overlay, BYTES_LITERAL("bank"), bytes_of_string(stream));
}

Test(overlay, finds_ids_and_the_latest_head)
{
    struct overlay *overlay = new_overlay();
    cr_assert_eq(add(overlay, 0, 0, "s", 0, 1), 0);
    cr_assert_eq(add(overlay, 0, 1, "s", 1, 2), 0);
    cr_assert_eq(find(overlay, 1)->index, 0);
    cr_assert_eq(find(overlay, 2)->fingerprint, 1002);
    cr_assert_eq(head(overlay, "s")->stream_version, 1);
    cr_assert_null(find(overlay, 3));
    cr_assert_null(head(overlay, "t"));
    cr_assert_eq(overlay->count, 2);
    free_overlay(overlay);
}

Test(overlay, mirrors_have_no_heads)
{
    struct overlay *overlay = new_overlay();
    cr_assert_eq(add(overlay, 1, 0, "s", 0, 1), 0);
    cr_assert_not_null(find(overlay, 1));
    cr_assert_null(head(overlay, "s"));
    free_overlay(overlay);
}

Test(overlay, the_first_with_an_id_counts)
{
    struct overlay *overlay = new_overlay();
    cr_assert_eq(add(overlay, 1, 0, "s", 0, 1), 0);
    cr_assert_eq(add(overlay, 2, 0, "s", 0, 1), 0);
    cr_assert_eq(find(overlay, 1)->log, 1);
    overlay_undo(overlay, 2, 0);
    cr_assert_eq(find(overlay, 1)->log, 1);
    free_overlay(overlay);
}

Test(overlay, undo_gives_ids_and_heads_back)
{
    struct overlay *overlay = new_overlay();
    cr_assert_eq(add(overlay, 0, 0, "a", 0, 1), 0);
    cr_assert_eq(add(overlay, 0, 1, "b", 0, 2), 0);
    cr_assert_eq(add(overlay, 0, 2, "a", 1, 3), 0);
    cr_assert_eq(add(overlay, 0, 3, "a", 2, 4), 0);
    cr_assert_eq(add(overlay, 0, 4, "c", 0, 5), 0);
    overlay_undo(overlay, 0, 2);
    cr_assert_eq(overlay->count, 2);
    cr_assert_eq(head(overlay, "a")->stream_version, 0);
    cr_assert_eq(head(overlay, "b")->stream_version, 0);
    cr_assert_null(head(overlay, "c"));
    cr_assert_null(find(overlay, 3));
    cr_assert_not_null(find(overlay, 2));
    free_overlay(overlay);
}

Test(overlay, what_is_without_effect_has_its_id_until_another_takes_it_and_again_when_that_is_undone)
{
    enum { OTHERS = 3000 }; /* the tables grow between */
    struct overlay *overlay = new_overlay();
    cr_assert_eq(add_with(overlay, 1, 0, "a", 0, 1, OVERLAY_WITHOUT_EFFECT), 0);
    cr_assert_eq(add_with(overlay, 2, 0, "a", 0, 1, OVERLAY_WITHOUT_EFFECT), 0);
    cr_assert_eq(find(overlay, 1)->log, 1);
    cr_assert(find(overlay, 1)->without_effect);
    cr_assert_eq(add(overlay, 0, 0, "a", 0, 1), 0);
    for (uint64_t i = 1; i <= OTHERS; i++)
        cr_assert_eq(add(overlay, 0, i, "b", i - 1, 1 + i), 0);
    cr_assert_eq(find(overlay, 1)->log, 0);
    cr_assert_not(find(overlay, 1)->without_effect);
    overlay_undo(overlay, 0, 0);
    cr_assert_not_null(find(overlay, 1));
    cr_assert_eq(find(overlay, 1)->log, 1);
    cr_assert_null(head(overlay, "a"));
    free_overlay(overlay);
}

Test(overlay, undo_of_one_log_leaves_the_others)
{
    struct overlay *overlay = new_overlay();
    cr_assert_eq(add(overlay, 0, 0, "a", 0, 1), 0);
    cr_assert_eq(add(overlay, 1, 0, "a", 0, 2), 0);
    overlay_undo(overlay, 1, 0);
    cr_assert_not_null(find(overlay, 1));
    cr_assert_null(find(overlay, 2));
    free_overlay(overlay);
}

Test(overlay, what_is_indexed_stays_for_a_while)
{
    struct overlay *overlay = new_overlay();
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(add(overlay, 0, i, "s", i, i + 1), 0);
    overlay_indexed(overlay, 0, 2, 40, 1000);
    overlay_evict(overlay, 1000 + OVERLAY_GRACE_US - 1);
    cr_assert_eq(overlay->count, 3);
    cr_assert_eq(overlay->evicted_sequence, 0);
    overlay_evict(overlay, 1000 + OVERLAY_GRACE_US);
    cr_assert_eq(overlay->count, 1);
    cr_assert_eq(overlay->evicted_sequence, 40);
    cr_assert_null(find(overlay, 2));
    cr_assert_eq(head(overlay, "s")->stream_version, 2, "the head is not indexed yet");
    free_overlay(overlay);
}

Test(overlay, an_undo_after_the_head_before_was_let_go_leaves_none)
{
    struct overlay *overlay = new_overlay();
    cr_assert_eq(add(overlay, 0, 0, "s", 0, 1), 0);
    overlay_indexed(overlay, 0, 1, 1, 0);
    overlay_evict(overlay, OVERLAY_GRACE_US);
    cr_assert_eq(add(overlay, 0, 1, "s", 1, 2), 0);
    overlay_undo(overlay, 0, 1);
    cr_assert_null(head(overlay, "s"), "the index has it");
    cr_assert_eq(overlay->count, 0);
    free_overlay(overlay);
}

Test(overlay, many_reports_of_the_index_let_go_earlier_instead_of_growing)
{
    struct overlay *overlay = new_overlay();
    cr_assert_eq(add(overlay, 0, 0, "s", 0, 1), 0);
    for (uint64_t i = 0; i < OVERLAY_INDEXED_MAX; i++)
        overlay_indexed(overlay, 0, 1, i + 1, 0);
    cr_assert_eq(overlay->count, 1);
    overlay_indexed(overlay, 0, 1, OVERLAY_INDEXED_MAX + 1, 0);
    cr_assert_eq(overlay->count, 0);
    cr_assert_eq(overlay->evicted_sequence, 1);
    free_overlay(overlay);
}

Test(overlay, a_full_one_takes_no_more)
{
    struct overlay *overlay = new_overlay();
    overlay->count = REGION_UNINDEXED_MAX; /* as if it held so many */
    cr_assert_eq(add(overlay, 0, 0, "s", 0, 1), ERR_BUSY);
    cr_assert_null(find(overlay, 1));
    overlay->count = 0;
    free_overlay(overlay);
}
