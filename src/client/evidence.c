/* Evidence that a region kept: pages put together. Names are checked, for they decide what a page goes on behind; the
 * rest is text and bytes for people. */
#include <string.h>

#include "base/mem.h"
#include "client/client_internal.h"
#include "tally/v1/operations.pb-c.h"

enum { NAME_SIZE = 64, ITEMS_MAX = 10000, MEMORY_MAX_BYTES = 512 * 1024 * 1024 };

/* Starts with the public part, whose address the free function gets. */
struct evidence_answer {
    struct tally_evidence public;
    struct tally_evidence_item *items;
    struct arena arena;
};

static int check_name(const char *name, const char *after, struct err *err)
{
    if (strlen(name) != NAME_SIZE || strspn(name, "0123456789abcdef") != NAME_SIZE || strcmp(name, after) <= 0)
        return err_set(err, ERR_CORRUPT, "the region sent evidence whose names are not in order");
    return 0;
}

static int add_page(struct evidence_answer *answer, const Tally__V1__ListEvidenceResponse *page, const char **after,
                    struct err *err)
{
    size_t count = answer->public.count + page->n_items;
    if (count > ITEMS_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d pieces of evidence", ITEMS_MAX);
    struct tally_evidence_item *items = mem_resize(answer->items, (count + 1) * sizeof(*items));
    if (items == NULL)
        return err_no_memory(err, "the evidence");
    answer->items = items;
    answer->public.items = items;
    for (size_t i = 0; i < page->n_items; i++) {
        const Tally__V1__EvidenceItem *from = page->items[i];
        int rc = check_name(from->name, *after, err);
        if (rc != 0)
            return rc;
        *after = from->name;
        items[answer->public.count++] = (struct tally_evidence_item){.name = from->name,
                                                                     .log = from->log,
                                                                     .fork = from->fork,
                                                                     .kept_at_ms = from->kept_at_ms,
                                                                     .reason = from->reason,
                                                                     .resolved_at_ms = from->resolved_at_ms,
                                                                     .resolution = from->resolution,
                                                                     .note = from->note.data,
                                                                     .note_size_bytes = from->note.len};
    }
    return 0;
}

int tally_evidence_get(struct tally_client *client, bool resolved, uint64_t timeout_ms, struct tally_evidence **ret,
                       struct err *err)
{
    struct evidence_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    const char *after = "";
    bool more = true;
    int rc = 0;
    if (answer == NULL)
        return err_no_memory(err, "the evidence");
    arena_init(&answer->arena, MEMORY_MAX_BYTES);
    while (rc == 0 && more) {
        ProtobufCMessage *message = NULL;
        Tally__V1__ListEvidenceRequest request;
        tally__v1__list_evidence_request__init(&request);
        request.resolved = resolved;
        request.after = client_text(after);
        rc = client_call(client, "/tally.v1.Operations/ListEvidence", &request.base,
                         &tally__v1__list_evidence_response__descriptor, timeout_ms, &answer->arena, &message, NULL,
                         err);
        const Tally__V1__ListEvidenceResponse *page = (const Tally__V1__ListEvidenceResponse *)message;
        if (rc == 0 && page->more && page->n_items == 0)
            rc = err_set(err, ERR_CORRUPT, "the region sent an empty page of evidence, and says that there is more");
        if (rc == 0) {
            more = page->more;
            rc = add_page(answer, page, &after, err);
        }
    }
    if (rc != 0) {
        tally_evidence_free(&answer->public);
        return rc;
    }
    *ret = &answer->public;
    return 0;
}

void tally_evidence_free(struct tally_evidence *public)
{
    if (public == NULL)
        return;
    struct evidence_answer *answer = (struct evidence_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer->items);
    mem_free(answer);
}
