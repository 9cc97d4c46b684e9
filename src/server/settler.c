/* The settler: a thread that asks the region for the decisions that nobody has to be asked for: those that the
 * contexts' rules make about late events (reconcile/policy.h), and those about commands that other regions have kept
 * for this one (queue.c). It has no state that must survive: the open items are in the index, and what is decided is
 * not open any more.
 *
 * It looks only when the region accepts and the index has applied everything that is durable here: a duplicate that is
 * on its way into the index must not be appended again for want of a moment's patience. (The region would refuse it.)
 * Its rate is bounded: one page of items, then a pause. What cannot be decided now waits for another run, and with it
 * all of its context, so that a context whose peers are away holds up no other. */
#include "base/map.h"
#include "base/mem.h"
#include "reconcile/policy.h"
#include "rpc/settle.h"
#include "server/internal.h"

enum {
    WAIT_MS = 250,
    PAUSE_MS = 50,
    GATHER_MS = 5, /* a look at each group commit would cost more than it finds */
};

struct page {
    struct index_late items[INDEX_LATE_SCAN_MAX];
    struct policy_decision decisions[POLICY_DECISIONS_MAX];
    struct settle_place places[POLICY_DECISIONS_MAX];
};

static bool has_rules(const struct context_table *contexts)
{
    for (size_t i = 0; i < context_count(contexts); i++) {
        const struct context *context = context_at(contexts, i);
        for (size_t t = 0; context != NULL && t < context->type_count; t++) {
            if (context->types[t].late != LATE_MANUAL)
                return true;
        }
    }
    return false;
}

static bool all_applied(struct server *server)
{
    for (size_t i = 0; i < atomic_load(&server->store.log_count); i++) {
        uint32_t number = 0;
        if (index_log(server->index, log_origin(server->store.logs[i]), &number, NULL) != 0 ||
            index_applied_size(server->index, number) < log_durable_size(server->store.logs[i]))
            return false;
    }
    return true;
}

/* Nothing can be decided now. */
static bool is_overload(int code)
{
    return code == ERR_BUSY || code == ERR_NO_MEMORY;
}

/* Likewise, or nothing in this context: its copies are not made, say. */
static bool is_transient(int code)
{
    return is_overload(code) || code == ERR_UNAVAILABLE || code == ERR_WRONG_HOME || code == ERR_TIMEOUT;
}

static int ask(struct server *server, enum settlement settlement, const struct settle_place *places, size_t count,
               struct err *err)
{
    struct settle_outcome outcome;
    const struct settle_request request = {.settlement = settlement,
                                           .actor = BYTES_LITERAL("policy"),
                                           .reason = BYTES_LITERAL("event_types of the context"),
                                           .place_count = count,
                                           .places = places};
    int code = settle_places(&server->backend, &request, &outcome, err);
    if (outcome.settled > 0)
        server_say(server, "settled %llu late events as their context says: %s", (unsigned long long)outcome.settled,
                   settlement_name(settlement));
    return code;
}

/* All together; if that is refused for one of them, each alone, so that it does not hold back the others. */
static int ask_all(struct server *server, enum settlement settlement, const struct settle_place *places, size_t count)
{
    struct err err = {0};
    int code = count == 0 ? 0 : ask(server, settlement, places, count, &err);
    for (size_t i = 0; i < count && code != 0 && !is_transient(code); i++) {
        int alone = ask(server, settlement, &places[i], 1, &err);
        if (is_transient(alone))
            return alone;
        if (alone != 0)
            server_say(server, "a late event waits for a person: %s", err.message);
    }
    return is_transient(code) ? code : 0;
}

static bool is_alike(const struct policy_decision *a, const struct policy_decision *b)
{
    return a->settlement == b->settlement && strcmp(a->context, b->context) == 0;
}

/* Those that are alike are asked for together: that has a context and a settlement of its own. */
static int settle_alike(struct server *server, struct page *page, size_t from, size_t count)
{
    size_t places = 0;
    for (size_t i = from; i < count; i++) {
        const struct policy_decision *decision = &page->decisions[i];
        if (is_alike(&page->decisions[from], decision))
            page->places[places++] = (struct settle_place){.origin = decision->origin, .index = decision->place.index};
    }
    return ask_all(server, page->decisions[from].settlement, page->places, places);
}

/* Whether one like it stands before it, and was decided with it. */
static bool is_done(const struct page *page, size_t at)
{
    size_t before = 0;
    while (before < at && !is_alike(&page->decisions[before], &page->decisions[at]))
        before++;
    return before < at;
}

/* Contexts that have to wait are remembered, by name. */
static int settle_page(struct server *server, struct page *page, size_t count, struct map *waiting)
{
    for (size_t i = 0; i < count && !atomic_load(&server->stopping); i++) {
        struct bytes context = bytes_of_string(page->decisions[i].context);
        if (is_done(page, i) || map_get(waiting, context) != NULL)
            continue;
        int code = settle_alike(server, page, i, count);
        if (is_overload(code))
            return code;
        if (code != 0 && map_put(waiting, context, page) != 0)
            return ERR_NO_MEMORY;
    }
    return 0;
}

/* One run over all items. 0: everything that can be decided is. */
static int run_over_items(struct server *server, struct page *page)
{
    const struct region_config *config = &server->config->region;
    struct index_late_cursor cursor = {.started = false};
    struct authority_table authority;
    struct map waiting;
    bool end = false;
    authority_table_init(&authority, &config->contexts);
    map_init(&waiting, CONTEXT_PLACES_MAX, NULL);
    int code = index_authority(server->index, &authority, NULL);
    while (code == 0 && !end && !atomic_load(&server->stopping)) {
        size_t count = 0;
        code = policy_next(server->index, authority.contexts, &authority, config->region, &cursor, page->items,
                           page->decisions, &count, &end, NULL);
        if (code == 0 && count > 0) {
            code = settle_page(server, page, count, &waiting);
            clock_sleep_ms(PAUSE_MS);
        }
    }
    if (code == 0 && waiting.live_count > 0)
        code = ERR_UNAVAILABLE;
    map_free(&waiting);
    authority_table_free(&authority);
    return code;
}

void *settler_run(void *context)
{
    struct server *server = context;
    uint64_t seen = 0;
    uint64_t looked_at = UINT64_MAX;
    struct page *page = mem_alloc_zero(1, sizeof(*page));
    if (page == NULL)
        server_die(server, "memory ran out");
    while (!atomic_load(&server->stopping)) {
        uint64_t sequence = index_sequence(server->index);
        queue_run(server);
        if (sequence != looked_at && index_late_count(server->index) > 0 && has_rules(index_contexts(server->index)) &&
            atomic_load(&server->accepting) && all_applied(server) && run_over_items(server, page) == 0)
            looked_at = sequence;
        seen = server_wait_change(server, seen, WAIT_MS);
        clock_sleep_ms(GATHER_MS);
    }
    mem_free(page);
    return NULL;
}
