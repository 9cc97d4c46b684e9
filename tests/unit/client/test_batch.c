#include <criterion/criterion.h>

#include "tally/batch.h"

static struct ndjson_event event(uint8_t id, const char *stream)
{
    return (struct ndjson_event){
        .context = "bank", .partition = "eu", .stream = stream, .event = {.id = {id}, .type = "Deposited"}};
}

static struct batch *new_batch(size_t max_events, size_t max_bytes)
{
    struct batch *batch = NULL;
    cr_assert_eq(batch_new(max_events, max_bytes, &batch, NULL), 0);
    return batch;
}

static int add(struct batch *batch, struct ndjson_event added, uint64_t line)
{
    return batch_add(batch, &added, line, NULL);
}

Test(batch, events_are_grouped_by_stream_in_their_order)
{
    struct batch *batch = new_batch(10, 10000);
    const char *streams[] = {"a", "b", "a", "c", "b", "a"};
    for (uint8_t i = 0; i < 6; i++)
        cr_assert_eq(add(batch, event((uint8_t)(i + 1), streams[i]), i + 100u), 0);
    const struct tally_write *writes = NULL;
    size_t count = 0;
    cr_assert_eq(batch_finish(batch, &writes, &count, NULL), 0);
    cr_assert_eq(count, 3);
    cr_expect_str_eq(writes[0].stream, "a");
    cr_assert_eq(writes[0].event_count, 3);
    cr_expect_eq(writes[0].events[0].id[0], 1);
    cr_expect_eq(writes[0].events[1].id[0], 3);
    cr_expect_eq(writes[0].events[2].id[0], 6);
    cr_assert_eq(writes[1].event_count, 2);
    cr_expect_eq(writes[1].events[1].id[0], 5);
    cr_assert_eq(writes[2].event_count, 1);
    uint64_t line = 0;
    cr_expect_eq(batch_event(batch, 3, &line)->id[0], 2);
    cr_expect_eq(line, 101);
    batch_free(batch);
}

Test(batch, the_same_stream_name_in_two_contexts_is_two_streams)
{
    struct batch *batch = new_batch(10, 10000);
    struct ndjson_event other = event(2, "a");
    other.context = "shop";
    cr_assert_eq(add(batch, event(1, "a"), 1), 0);
    cr_assert_eq(add(batch, other, 2), 0);
    const struct tally_write *writes = NULL;
    size_t count = 0;
    cr_assert_eq(batch_finish(batch, &writes, &count, NULL), 0);
    cr_expect_eq(count, 2);
    batch_free(batch);
}

Test(batch, what_must_not_be_in_one_batch_does_not_fit)
{
    struct batch *batch = new_batch(10, 10000);
    struct ndjson_event elsewhere = event(3, "a");
    elsewhere.partition = "us";
    cr_assert_eq(add(batch, event(1, "a"), 1), 0);
    cr_expect_eq(add(batch, event(1, "b"), 2), ERR_TOO_LARGE, "the same id");
    cr_expect_eq(add(batch, elsewhere, 3), ERR_TOO_LARGE, "another partition");
    cr_expect_eq(add(batch, event(3, "a"), 4), 0, "a refused event leaves nothing behind");
    cr_expect_eq(batch_count(batch), 2);
    batch_free(batch);
}

Test(batch, it_fills_up_by_count_and_by_bytes_but_one_event_always_fits)
{
    static const uint8_t payload[2000];
    struct batch *by_count = new_batch(2, 10000);
    struct batch *by_bytes = new_batch(10, 1000);
    struct ndjson_event large = event(1, "a");
    large.event.payload = (struct tally_bytes){.data = payload, .size = sizeof(payload)};
    cr_expect_eq(add(by_count, event(1, "a"), 1), 0);
    cr_expect_eq(add(by_count, event(2, "a"), 2), 0);
    cr_expect_eq(add(by_count, event(3, "a"), 3), ERR_TOO_LARGE);
    cr_expect_eq(add(by_bytes, large, 1), 0);
    cr_expect_eq(add(by_bytes, event(2, "a"), 2), ERR_TOO_LARGE);
    batch_free(by_bytes);
    batch_free(by_count);
}

Test(batch, lines_are_found_by_id)
{
    struct batch *batch = new_batch(10, 10000);
    uint64_t first = 0;
    uint64_t last = 0;
    cr_assert_eq(add(batch, event(1, "a"), 7), 0);
    cr_assert_eq(add(batch, event(2, "b"), 9), 0);
    batch_lines(batch, &first, &last);
    cr_expect_eq(first, 7);
    cr_expect_eq(last, 9);
    cr_expect_eq(batch_find_line(batch, (uint8_t[16]){2}), 9);
    cr_expect_eq(batch_find_line(batch, (uint8_t[16]){3}), 0);
    batch_free(batch);
}
