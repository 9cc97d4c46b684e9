/* ListEvidence: what the region kept (log/evidence.h), a page at a time. A page ends when it is full; the next one
 * begins behind its last name, so what is kept meanwhile is in its place or was before it. */
#include "rpc/methods.h"
#include "rpc/operation.h"
#include "tally/v1/operations.pb-c.h"

enum { PAGE_ITEMS_MAX = 64, PAGE_NOTES_MAX_BYTES = 1024 * 1024 };

struct page {
    const char *after;
    struct arena *arena;
    Tally__V1__EvidenceItem *items[PAGE_ITEMS_MAX];
    size_t count;
    size_t note_bytes;
    struct err *err;
};

static Tally__V1__EvidenceItem *item_new(const struct evidence *evidence, struct bytes note, struct arena *arena)
{
    Tally__V1__EvidenceItem *item = arena_alloc_zero(arena, 1, sizeof(*item));
    if (item == NULL)
        return NULL;
    tally__v1__evidence_item__init(item);
    item->name = operation_text(arena, evidence->name);
    item->log = operation_text(arena, evidence->log);
    item->fork = evidence->fork;
    item->kept_at_ms = evidence->kept_at_ms;
    item->reason = operation_text(arena, evidence->reason);
    item->resolved_at_ms = evidence->resolved_at_ms;
    item->resolution = operation_text(arena, evidence->resolution);
    item->note.len = note.size_bytes;
    item->note.data = arena_copy(arena, note.data, note.size_bytes);
    bool whole = item->name != NULL && item->log != NULL && item->reason != NULL && item->resolution != NULL;
    return whole && (item->note.data != NULL || note.size_bytes == 0) ? item : NULL;
}

static int add(void *context, const struct evidence *evidence, struct bytes note)
{
    struct page *page = context;
    if (strcmp(evidence->name, page->after) <= 0)
        return 0;
    if (page->count == PAGE_ITEMS_MAX || (page->count > 0 && page->note_bytes + note.size_bytes > PAGE_NOTES_MAX_BYTES))
        return ERR_END;
    Tally__V1__EvidenceItem *item = item_new(evidence, note, page->arena);
    if (item == NULL)
        return err_no_memory(page->err, "the evidence");
    page->items[page->count++] = item;
    page->note_bytes += note.size_bytes;
    return 0;
}

static int list_evidence(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const Tally__V1__ListEvidenceRequest *request = (const Tally__V1__ListEvidenceRequest *)message;
    struct page page = {.after = request->after, .arena = arena, .err = err};
    int code = call->backend->ops->evidence(call->backend, request->resolved, add, &page, err);
    if (code != 0 && code != ERR_END)
        return code;
    Tally__V1__ListEvidenceResponse response;
    tally__v1__list_evidence_response__init(&response);
    response.items = page.items;
    response.n_items = page.count;
    response.more = code == ERR_END;
    return call_answer(call, &response.base);
}

int method_list_evidence(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__list_evidence_request__descriptor, list_evidence, err);
}
