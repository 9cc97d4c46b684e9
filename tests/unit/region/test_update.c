/* The list of effects. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "region/region_internal.h"

Test(update, a_new_one_is_empty_and_wants_no_timer)
{
    struct region_update update;
    region_update_init(&update);
    cr_assert_eq(update.effect_count, 0);
    cr_assert_eq(update.deadline_mono_us, UINT64_MAX);
    region_update_free(&update);
}

Test(update, room_made_before_is_kept)
{
    struct region_update update;
    region_update_init(&update);
    cr_assert_eq(region_update_reserve(&update, 3, NULL), 0);
    struct region_effect *effects = update.effects;
    cr_assert_eq(region_update_reserve(&update, 2, NULL), 0);
    cr_assert_eq(update.effects, effects);
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(region_add(&update, REGION_HELLO), &effects[i]);
    region_update_clear(&update);
    cr_assert_eq(update.effect_count, 0);
    cr_assert_eq(update.effect_capacity, 3);
    region_update_free(&update);
}

Test(update, room_that_grows_one_by_one_is_made_a_few_times_only)
{
    struct region_update update;
    region_update_init(&update);
    uint64_t before = mem_allocation_count();
    for (size_t count = 1; count <= 1000; count++)
        cr_assert_eq(region_update_reserve(&update, count, NULL), 0);
    cr_assert_leq(mem_allocation_count() - before, 11);
    region_update_free(&update);
}

Test(update, clear_lets_go_of_blocks_and_notes)
{
    struct region_update update;
    struct block *block = NULL;
    const uint8_t log_id[ENTRY_LOG_ID_SIZE] = {1};
    region_update_init(&update);
    cr_assert_eq(region_update_reserve(&update, 1, NULL), 0);
    cr_assert_eq(block_new(0, log_id, &block, NULL), 0);
    struct region_effect *effect = region_add(&update, REGION_WRITE);
    effect->block = block_retain(block);
    cr_assert_eq(buf_append_string(&effect->note, "note"), 0);
    region_update_clear(&update);
    cr_assert_eq(block->reference_count, 1);
    block_release(block);
    region_update_free(&update);
}

Test(update, an_alarm_carries_its_log_its_text_and_its_evidence)
{
    struct region_update update;
    region_update_init(&update);
    cr_assert_eq(region_update_reserve(&update, 1, NULL), 0);
    region_alarm(&update, 3, BYTES_LITERAL("evidence"), "log %d", 3);
    cr_assert_eq(update.effects[0].type, REGION_ALARM);
    cr_assert_eq(update.effects[0].log, 3);
    cr_assert_str_eq(update.effects[0].text, "log 3");
    cr_assert(bytes_equal(buf_bytes(&update.effects[0].note), BYTES_LITERAL("evidence")));
    region_update_free(&update);
}

Test(update, evidence_that_is_too_large_does_not_cost_the_alarm)
{
    static const uint8_t large[NOTE_MAX_BYTES + 1];
    struct region_update update;
    region_update_init(&update);
    cr_assert_eq(region_update_reserve(&update, 1, NULL), 0);
    region_alarm(&update, 0, bytes_of(large, sizeof(large)), "loud");
    cr_assert_str_eq(update.effects[0].text, "loud");
    cr_assert_eq(update.effects[0].note.size_bytes, 0);
    region_update_free(&update);
}
