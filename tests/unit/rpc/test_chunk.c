#include <criterion/criterion.h>

#include "rpc/chunk.h"
#include "support.h"

static struct block_view view_of(struct block *block)
{
    struct block_view view = {0};
    cr_assert_eq(block_view_set(&view, block, NULL), 0);
    return view;
}

/* Takes the chunk apart: its bytes as one message. */
static Tally__V1__ReadResponse *take(struct chunk *chunk, struct buf *bytes, const char *origin, const char *position,
                                     bool caught_up, size_t *ret_slice_count)
{
    grpc_slice slices[CHUNK_SLICES_MAX];
    size_t count = 0;
    cr_assert_eq(chunk_take(chunk, bytes_of_string(origin), bytes_of_string(position), caught_up, slices, &count, NULL),
                 0);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(buf_append(bytes, bytes_of(GRPC_SLICE_START_PTR(slices[i]), GRPC_SLICE_LENGTH(slices[i]))), 0);
        grpc_slice_unref(slices[i]);
    }
    *ret_slice_count = count;
    return tally__v1__read_response__unpack(NULL, bytes->size_bytes, bytes->data);
}

Test(chunk, a_whole_block_is_sent_as_its_body_with_the_fields_behind)
{
    struct maker maker;
    struct chunk chunk;
    struct buf bytes;
    size_t slice_count = 0;
    maker_init(&maker, OWN_ORIGIN);
    struct block_view view = view_of(maker_block(&maker, "s", 0, 10, 4096));
    chunk_init(&chunk);
    buf_init(&bytes, CHUNK_MAX_BYTES);
    cr_assert_eq(chunk_add(&chunk, view.block, block_view_run(&view, 0, 10), NULL), 0);
    Tally__V1__ReadResponse *response = take(&chunk, &bytes, OWN_ORIGIN, "eu@10", true, &slice_count);
    cr_assert_not_null(response);
    struct bytes body = block_body(view.block);
    cr_expect_eq(memcmp(bytes.data, body.data, body.size_bytes), 0);
    cr_expect_eq(response->n_events, 10);
    cr_expect_eq(response->events[9]->entry->index, 9);
    cr_expect_str_eq(response->origin, OWN_ORIGIN);
    cr_expect_str_eq(response->position, "eu@10");
    cr_expect(response->caught_up);
    cr_expect_eq(slice_count, 2);
    cr_expect(chunk_empty(&chunk));
    tally__v1__read_response__free_unpacked(response, NULL);
    buf_free(&bytes);
    chunk_free(&chunk);
    block_view_free(&view);
    maker_free(&maker);
}

Test(chunk, borrowed_bytes_outlive_the_reader_of_the_block)
{
    struct maker maker;
    struct chunk chunk;
    struct buf bytes;
    size_t slice_count = 0;
    maker_init(&maker, OWN_ORIGIN);
    struct block_view view = view_of(maker_block(&maker, "s", 0, 4, 8192));
    chunk_init(&chunk);
    buf_init(&bytes, CHUNK_MAX_BYTES);
    cr_assert_eq(chunk_add(&chunk, view.block, block_view_run(&view, 0, 4), NULL), 0);
    block_view_free(&view);
    Tally__V1__ReadResponse *response = take(&chunk, &bytes, OWN_ORIGIN, "", false, &slice_count);
    cr_assert_not_null(response);
    cr_expect_eq(response->n_events, 4);
    cr_expect_str_eq(response->position, "");
    cr_expect_not(response->caught_up);
    tally__v1__read_response__free_unpacked(response, NULL);
    buf_free(&bytes);
    chunk_free(&chunk);
    maker_free(&maker);
}

Test(chunk, copied_and_borrowed_runs_keep_their_order)
{
    struct maker maker;
    struct chunk chunk;
    struct buf bytes;
    size_t slice_count = 0;
    maker_init(&maker, OWN_ORIGIN);
    struct block_view small = view_of(maker_block(&maker, "s", 0, 3, 10));
    struct block_view large = view_of(maker_block(&maker, "s", 3, 2, 40000));
    struct block_view last = view_of(maker_block(&maker, "s", 5, 1, 10));
    chunk_init(&chunk);
    buf_init(&bytes, CHUNK_MAX_BYTES);
    cr_assert_eq(chunk_add(&chunk, small.block, block_view_run(&small, 0, 2), NULL), 0);
    cr_assert_eq(chunk_add(&chunk, small.block, block_view_run(&small, 2, 1), NULL), 0);
    cr_assert_eq(chunk_add(&chunk, large.block, block_view_run(&large, 3, 2), NULL), 0);
    cr_assert_eq(chunk_add(&chunk, last.block, block_view_run(&last, 5, 1), NULL), 0);
    Tally__V1__ReadResponse *response = take(&chunk, &bytes, OWN_ORIGIN, "", false, &slice_count);
    cr_assert_not_null(response);
    cr_assert_eq(response->n_events, 6);
    for (uint64_t i = 0; i < 6; i++)
        cr_expect_eq(response->events[i]->entry->index, i);
    cr_expect_eq(slice_count, 3);
    tally__v1__read_response__free_unpacked(response, NULL);
    buf_free(&bytes);
    chunk_free(&chunk);
    block_view_free(&small);
    block_view_free(&large);
    block_view_free(&last);
    maker_free(&maker);
}

Test(chunk, is_full_before_its_slices_run_out)
{
    struct maker maker;
    struct chunk chunk;
    struct buf bytes;
    size_t slice_count = 0;
    maker_init(&maker, OWN_ORIGIN);
    struct block_view view = view_of(maker_block(&maker, "s", 0, 2, CHUNK_BORROW_MIN_BYTES));
    struct bytes run = block_view_run(&view, 0, 1);
    chunk_init(&chunk);
    chunk.size_bytes = 1; /* as if the runs were shorter, so that only slices count */
    while (!chunk_full(&chunk)) {
        cr_assert_eq(chunk_add(&chunk, view.block, bytes_of(run.data, 1), NULL), 0);
        cr_assert_eq(chunk_add(&chunk, view.block, run, NULL), 0);
        chunk.size_bytes = 1;
    }
    buf_init(&bytes, CHUNK_MAX_BYTES);
    grpc_slice slices[CHUNK_SLICES_MAX];
    cr_assert_eq(chunk_take(&chunk, BYTES_LITERAL(OWN_ORIGIN), (struct bytes){0}, false, slices, &slice_count, NULL),
                 0);
    cr_expect_leq(slice_count, CHUNK_SLICES_MAX);
    cr_expect_gt(slice_count, CHUNK_SLICES_MAX - 5);
    for (size_t i = 0; i < slice_count; i++)
        grpc_slice_unref(slices[i]);
    buf_free(&bytes);
    chunk_free(&chunk);
    block_view_free(&view);
    maker_free(&maker);
}

Test(chunk, fit_counts_whole_elements_and_at_least_one)
{
    struct maker maker;
    maker_init(&maker, OWN_ORIGIN);
    struct block_view view = view_of(maker_block(&maker, "s", 0, 100, 50));
    size_t one = block_view_run(&view, 40, 1).size_bytes;
    cr_expect_eq(block_view_fit(&view, 40, 60, 0), 1);
    cr_expect_eq(block_view_fit(&view, 40, 60, 3 * one), 3);
    cr_expect_eq(block_view_fit(&view, 40, 60, 4 * one - 1), 3);
    cr_expect_eq(block_view_fit(&view, 40, 2, 3 * one), 2);
    cr_expect_eq(block_view_fit(&view, 40, UINT64_MAX, SIZE_MAX), 60);
    cr_expect_eq(block_view_fit(&view, 99, UINT64_MAX, SIZE_MAX), 1);
    block_view_free(&view);
    maker_free(&maker);
}

Test(chunk, a_view_refuses_a_block_whose_count_is_not_its_elements)
{
    for (int difference = -1; difference <= 1; difference += 2) {
        struct maker maker;
        struct block_view view = {0};
        struct err err = {0};
        maker_init(&maker, OWN_ORIGIN);
        struct block *block = maker_block(&maker, "s", 0, 5, 10);
        block->entry_count = (uint32_t)((int)block->entry_count + difference);
        cr_expect_eq(block_view_set(&view, block, &err), ERR_CORRUPT);
        cr_expect_null(view.block);
        block_view_free(&view);
        maker_free(&maker);
    }
}
