/* Evidence through the service: a page at a time, all of it, in order. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "support.h"
#include "tally/v1/operations.pb-c.h"

static struct stage stage;
static struct buf answer;

static void start(void)
{
    stage_init(&stage);
    buf_init(&answer, 16 * 1024 * 1024);
}

static void end(void)
{
    buf_free(&answer);
    stage_free(&stage);
}

TestSuite(rpc_evidence, .init = start, .fini = end);

static void keep(const char *text, size_t size_bytes, bool fork)
{
    struct evidence what = {.fork = fork, .kept_at_ms = 5, .log = "bank/us/1", .reason = "it contradicts"};
    struct sha256 *sha = sha256_new();
    struct buf note;
    struct err err = {0};
    buf_init(&note, 1024 * 1024);
    cr_assert_eq(buf_append_string(&note, text), 0);
    while (note.size_bytes < size_bytes)
        cr_assert_eq(buf_append_byte(&note, '\0'), 0);
    cr_assert_eq(evidence_keep(disk_posix(), stage.folder, buf_bytes(&note), sha, &what, &err), 0, "%s", err.message);
    buf_free(&note);
    sha256_free(sha);
}

static Tally__V1__ListEvidenceResponse *list(const char *after, bool resolved)
{
    struct outside outside;
    Tally__V1__ListEvidenceRequest request;
    tally__v1__list_evidence_request__init(&request);
    request.after = (char *)(uintptr_t)after;
    request.resolved = resolved;
    buf_clear(&answer);
    cr_assert_eq(outside_unary(&outside, stage.port, "/tally.v1.Operations/ListEvidence", &request.base, &answer),
                 GRPC_STATUS_OK, "%s", outside.message);
    outside_close(&outside);
    Tally__V1__ListEvidenceResponse *page =
        tally__v1__list_evidence_response__unpack(NULL, answer.size_bytes, answer.data);
    cr_assert_not_null(page);
    return page;
}

static void done(Tally__V1__ListEvidenceResponse *page)
{
    tally__v1__list_evidence_response__free_unpacked(page, NULL);
}

Test(rpc_evidence, there_is_none_at_first)
{
    Tally__V1__ListEvidenceResponse *page = list("", false);
    cr_expect(page->n_items == 0 && !page->more);
    done(page);
}

Test(rpc_evidence, everything_about_an_item_is_told)
{
    keep("a note\n", 0, true);
    Tally__V1__ListEvidenceResponse *page = list("", false);
    cr_assert_eq(page->n_items, 1);
    const Tally__V1__EvidenceItem *item = page->items[0];
    cr_expect_eq(strlen(item->name), 64);
    cr_expect_str_eq(item->log, "bank/us/1");
    cr_expect(item->fork);
    cr_expect_eq(item->kept_at_ms, 5);
    cr_expect_str_eq(item->reason, "it contradicts");
    cr_expect_eq(item->resolved_at_ms, 0);
    cr_expect(bytes_equal(bytes_of(item->note.data, item->note.len), BYTES_LITERAL("a note\n")));
    char name[65];
    snprintf(name, sizeof(name), "%s", item->name);
    done(page);
    cr_assert_eq(evidence_resolve(disk_posix(), stage.folder, name, "looked at", 9, NULL), 0);
    page = list("", false);
    cr_expect_eq(page->n_items, 0);
    done(page);
    page = list("", true);
    cr_assert_eq(page->n_items, 1);
    cr_expect_str_eq(page->items[0]->resolution, "looked at");
    cr_expect_eq(page->items[0]->resolved_at_ms, 9);
    done(page);
}

/* Reads every page; returns how many items, each behind the one before, and how many pages there were. */
static size_t read_all(size_t *ret_pages)
{
    char after[65] = "";
    size_t count = 0;
    bool more = true;
    for (*ret_pages = 0; more; ++*ret_pages) {
        Tally__V1__ListEvidenceResponse *page = list(after, false);
        more = page->more;
        cr_assert(page->n_items > 0 || !more);
        for (size_t i = 0; i < page->n_items; i++) {
            cr_expect_gt(strcmp(page->items[i]->name, after), 0);
            snprintf(after, sizeof(after), "%s", page->items[i]->name);
        }
        count += page->n_items;
        done(page);
    }
    return count;
}

Test(rpc_evidence, many_come_in_pages)
{
    size_t pages = 0;
    for (int i = 0; i < 130; i++) {
        char text[32];
        snprintf(text, sizeof(text), "note %d\n", i);
        keep(text, 0, false);
    }
    cr_expect_eq(read_all(&pages), 130);
    cr_expect_eq(pages, 3);
}

Test(rpc_evidence, large_ones_come_in_pages_too)
{
    size_t pages = 0;
    for (int i = 0; i < 40; i++) {
        char text[32];
        snprintf(text, sizeof(text), "note %d\n", i);
        keep(text, NOTE_MAX_BYTES, true);
    }
    cr_expect_eq(read_all(&pages), 40);
    cr_expect_gt(pages, 2);
}
