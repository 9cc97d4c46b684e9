#include "unit/index/history.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "domain/definition.h"
#include "domain/queued.h"

enum { EPOCHS = 5, TRIES = 20, CLOCK_SKEW = 60 };

const char *const history_origins[HISTORY_LOGS] = {"t/a/1", "t/b/1", "t/c/1", "t/a/2", "t/a/3"};
static const char *const partitions[] = {"p", "q", "r", "*"};
static const struct context_home homes[] = {{"q", "b"}};
static const struct context configured[] = {
    {.name = "shop", .default_home = "a", .home_count = 1, .homes = homes},
    {.name = CONTEXT_SYSTEM, .default_home = "a"},
};
const struct context_table history_contexts = {.count = 2, .contexts = configured};

struct origin history_origin(size_t log)
{
    struct origin origin;
    cr_assert_eq(origin_parse(bytes_of_string(history_origins[log]), &origin, NULL), 0);
    return origin;
}

static uint64_t below(struct history *history, uint64_t bound)
{
    return prng_below(&history->prng, bound);
}

void history_id(uint64_t number, uint8_t ret[ENTRY_ID_SIZE])
{
    memset(ret, 0xab, ENTRY_ID_SIZE);
    put_u64_be(ret, number);
}

/* --- Making --- */

static void learn(struct authority_table *table, size_t log, const struct history_entry *entry)
{
    struct origin origin = history_origin(log);
    struct authority_event event;
    cr_assert_eq(authority_event_of(&entry->entry, buf_bytes(&entry->payload), &origin, &event, NULL), 0);
    if (event.kind != CONTROL_UNKNOWN)
        cr_assert_eq(authority_apply(table, &event, NULL), 0);
}

static struct history_entry *new_entry(struct history *history, struct history_actor *actor, const char *context,
                                       const char *partition, uint64_t epoch, const char *type)
{
    size_t log = actor->log;
    if (history->counts[log] == HISTORY_ENTRIES_MAX)
        return NULL;
    size_t index = history->counts[log];
    struct history_entry *made = &history->entries[log][index];
    hlc last = index == 0 ? 0 : history->entries[log][index - 1].entry.time;
    history->clock += below(history, 2);
    *made = (struct history_entry){.entry = {.index = index, .epoch = epoch}};
    hlc time = history->clock + below(history, CLOCK_SKEW); /* clocks are as wrong as they like */
    made->entry.time = time > last ? time : last + 1;
    snprintf(made->context, sizeof(made->context), "%s", context);
    snprintf(made->partition, sizeof(made->partition), "%s", partition);
    snprintf(made->type, sizeof(made->type), "%s", type);
    snprintf(made->stream, sizeof(made->stream), "s%u", (unsigned)below(history, HISTORY_STREAMS));
    made->entry.context = bytes_of_string(made->context);
    made->entry.partition = bytes_of_string(made->partition);
    made->entry.type = bytes_of_string(made->type);
    made->entry.stream = bytes_of_string(made->stream);
    made->entry.stream_version = below(history, HISTORY_VERSIONS);
    history_id(below(history, HISTORY_IDS), made->entry.event_id);
    made->fingerprint = 1 + log * 1000 + index;
    buf_init(&made->payload, DEFINITION_PAYLOAD_MAX_BYTES);
    return made;
}

static void appended(struct history *history, struct history_actor *actor, struct history_entry *made)
{
    history->counts[actor->log]++;
    actor->seen[actor->log] = history->counts[actor->log];
    learn(&actor->table, actor->log, made);
}

static void make_control(struct history *history, struct history_entry *made)
{
    made->entry.flags = ENTRY_FLAG_CONTROL;
    made->entry.stream_version = 0;
    snprintf(made->stream, sizeof(made->stream), "%s", CONTROL_STREAM);
    made->entry.stream = bytes_of_string(made->stream);
    if (below(history, 20) != 0)
        history_id(HISTORY_CONTROL_IDS_FROM + history->control_ids++, made->entry.event_id);
}

/* Nobody, in epoch 0, when the actor does not know the context. */
static struct authority_now now_of(const struct history_actor *actor, const char *context, const char *partition)
{
    struct authority_now now;
    int code = authority_now(&actor->table, bytes_of_string(context), bytes_of_string(partition), &now, NULL);
    cr_assert(code == 0 || strcmp(context, "cart") == 0);
    return code == 0 ? now : (struct authority_now){.region = "", .successor = ""};
}

/* The context that is created while the system runs, and by whom it may be, takes part all the time. */
static const char *some_context(struct history *history)
{
    return below(history, 3) == 0 ? "cart" : "shop";
}

static bool is_home(const struct history_actor *actor, const struct authority_now *now)
{
    return strcmp(now->region, history_origin(actor->log).region) == 0 && !now->released;
}

static void append(struct history *history, struct history_actor *actor, const char *context, const char *partition,
                   uint64_t epoch, const uint8_t *causation_id)
{
    struct history_entry *made = new_entry(history, actor, context, partition, epoch, "Happened");
    if (made == NULL)
        return;
    if (causation_id != NULL)
        memcpy(made->causation_id, causation_id, ENTRY_ID_SIZE);
    else
        history_id(below(history, HISTORY_IDS), made->causation_id);
    if (causation_id != NULL || below(history, 4) == 0)
        made->entry.causation_id = bytes_of(made->causation_id, ENTRY_ID_SIZE);
    uint64_t kind = causation_id == NULL ? below(history, 24) : UINT64_MAX;
    if (kind < 2) {
        made->entry.flags = ENTRY_FLAG_OVERRIDE;
        made->entry.stream_version = 0;
    } else if (kind < 4) { /* of a home that has not heard, or accepted as a late event */
        snprintf(made->type, sizeof(made->type), "Counted");
        made->entry.type = bytes_of_string(made->type);
    }
    appended(history, actor, made);
}

static void append_rightly(struct history *history, struct history_actor *actor)
{
    const char *context = some_context(history);
    const char *partition = partitions[below(history, 3)];
    struct authority_now now = now_of(actor, context, partition);
    if (is_home(actor, &now))
        append(history, actor, context, partition, now.epoch, NULL);
}

static void append_wrongly(struct history *history, struct history_actor *actor)
{
    append(history, actor, some_context(history), partitions[below(history, 3)], 1 + below(history, EPOCHS), NULL);
}

/* Whatever region it is; now and then of a type that no context lets be. */
static void append_anywhere(struct history *history, struct history_actor *actor)
{
    struct history_entry *made = new_entry(history, actor, some_context(history), partitions[below(history, 3)],
                                           ENTRY_EPOCH_OF_NONE, below(history, 10) == 0 ? "Happened" : "Counted");
    if (made == NULL)
        return;
    made->entry.flags = ENTRY_FLAG_COMMUTATIVE;
    made->entry.stream_version = 0;
    if (below(history, 4) == 0) {
        history_id(below(history, HISTORY_IDS), made->causation_id);
        made->entry.causation_id = bytes_of(made->causation_id, ENTRY_ID_SIZE);
    }
    appended(history, actor, made);
}

static struct position seen_by(const struct history_actor *actor)
{
    struct position position = {.count = 0};
    for (size_t log = 0; log < HISTORY_LOGS; log++) {
        struct origin origin = history_origin(log);
        cr_assert_eq(position_set(&position, origin.region, origin.incarnation, actor->seen[log]), 0);
    }
    return position;
}

static void change(struct history *history, struct history_actor *actor, enum control_kind kind, const char *context,
                   const char *partition, uint64_t epoch, const char *successor)
{
    struct control_authority authority = {.successor = bytes_of_string(successor)};
    struct history_entry *made = new_entry(history, actor, context, partition, epoch, control_type(kind));
    if (made == NULL)
        return;
    if (control_begins_epoch(kind))
        authority.basis = seen_by(actor);
    make_control(history, made);
    cr_assert_eq(control_authority_encode(kind, &authority, &made->payload, NULL), 0);
    appended(history, actor, made);
}

static void seize(struct history *history, struct history_actor *actor)
{
    const char *context = below(history, 4) == 0 ? CONTEXT_SYSTEM : some_context(history);
    const char *partition = partitions[below(history, 4)];
    struct authority_now now = now_of(actor, context, partition);
    if (now.epoch > 0)
        change(history, actor, CONTROL_AUTHORITY_SEIZED, context, partition, now.epoch + 1, "");
}

static void hand_over(struct history *history, struct history_actor *actor)
{
    const char *context = some_context(history);
    const char *partition = partitions[below(history, 3)];
    struct authority_now now = now_of(actor, context, partition);
    struct origin successor = history_origin(below(history, 3));
    if (is_home(actor, &now))
        change(history, actor, CONTROL_AUTHORITY_RELEASED, context, partition, now.epoch, successor.region);
    else if (now.released && strcmp(now.successor, history_origin(actor->log).region) == 0)
        change(history, actor, CONTROL_AUTHORITY_TAKEN, context, partition, now.epoch + 1, "");
}

/* The home of "$system" creates and changes "cart", and changes "shop"; now and then somebody else does, too. */
static void define(struct history *history, struct history_actor *actor)
{
    static const struct context_type counted = {.type = "Counted", .commutative = true};
    const char *name = below(history, 4) == 0 ? "shop" : "cart";
    struct authority_now now = now_of(actor, CONTEXT_SYSTEM, name);
    const struct context *found = context_find(actor->table.contexts, bytes_of_string(name));
    struct origin home = history_origin(below(history, 3));
    struct context wanted = {.name = name, .default_home = home.region};
    if (below(history, 3) != 0) {
        wanted.rules.topology = TOPOLOGY_MULTI_HOME;
        wanted.type_count = 1;
        wanted.types = &counted;
    }
    struct position basis = seen_by(actor);
    const struct definition_source source = {
        .version = found == NULL ? 1 : context_version(found) + 1, .context = &wanted, .basis = &basis};
    if (!is_home(actor, &now) && below(history, 10) != 0)
        return;
    struct history_entry *made =
        new_entry(history, actor, CONTEXT_SYSTEM, name, now.epoch, control_type(CONTROL_CONTEXT_DEFINED));
    if (made == NULL)
        return;
    make_control(history, made);
    cr_assert_eq(definition_encode(&source, &made->payload, NULL), 0);
    appended(history, actor, made);
}

/* Some entry that the actor has seen; for a while one is looked for that is late. */
static const struct history_entry *some_late(struct history *history, struct history_actor *actor, size_t *ret_log)
{
    const struct history_entry *found = NULL;
    for (size_t tries = 0; tries < TRIES; tries++) {
        size_t log = below(history, HISTORY_LOGS);
        if (actor->seen[log] == 0)
            continue;
        const struct history_entry *entry = &history->entries[log][below(history, actor->seen[log])];
        struct origin origin = history_origin(log);
        if ((entry->entry.flags & ENTRY_FLAG_CONTROL) != 0)
            continue;
        found = entry;
        *ret_log = log;
        if (authority_entry_is_late(&actor->table, &entry->entry, origin.region, origin.incarnation))
            break;
    }
    return found;
}

static void settle(struct history *history, struct history_actor *actor)
{
    size_t log = 0;
    const struct history_entry *late = some_late(history, actor, &log);
    if (late == NULL)
        return;
    struct authority_now now = now_of(actor, late->context, late->partition);
    struct control_settled settled = {.index = late->entry.index,
                                      .settlement = (enum settlement)(SETTLED_ACCEPTED + below(history, 4))};
    struct origin origin = history_origin(log);
    if (!is_home(actor, &now))
        return;
    snprintf(settled.region, sizeof(settled.region), "%s", origin.region);
    settled.incarnation = origin.incarnation;
    memcpy(settled.event_id, late->entry.event_id, ENTRY_ID_SIZE);
    if (below(history, 15) == 0)
        settled.event_id[0] ^= 1;
    struct history_entry *made =
        new_entry(history, actor, late->context, late->partition, now.epoch, control_type(CONTROL_LATE_SETTLED));
    if (made == NULL)
        return;
    make_control(history, made);
    cr_assert_eq(control_settled_encode(&settled, &made->payload, NULL), 0);
    appended(history, actor, made);
    if (settled.settlement == SETTLED_COMPENSATE && below(history, 2) == 0)
        append(history, actor, late->context, late->partition, now.epoch, late->entry.event_id);
}

/* Any region keeps a command for a home. */
static void queue_command(struct history *history, struct history_actor *actor)
{
    const char *partition = partitions[below(history, 3)];
    struct history_entry *made = new_entry(history, actor, "shop", partition, now_of(actor, "shop", partition).epoch,
                                           control_type(CONTROL_COMMAND_QUEUED));
    struct queued_event event = {.id = {1}, .type = BYTES_LITERAL("Happened")};
    struct buf events;
    if (made == NULL)
        return;
    make_control(history, made);
    buf_init(&events, CONTROL_PAYLOAD_MAX_BYTES);
    for (size_t n = 1 + below(history, 3); n > 0; n--)
        cr_assert_eq(queued_put_event(&event, &events), 0);
    struct queued_write write = {.stream = BYTES_LITERAL("s0"), .events = buf_bytes(&events)};
    cr_assert_eq(queued_put_write(&write, &made->payload), 0);
    if (below(history, 20) == 0)
        cr_assert_eq(buf_append_byte(&made->payload, 1), 0); /* malformed: ignored */
    buf_free(&events);
    appended(history, actor, made);
}

/* Some command that the actor has seen. */
static const struct history_entry *some_queued(struct history *history, struct history_actor *actor, size_t *ret_log)
{
    for (size_t tries = 0; tries < TRIES; tries++) {
        size_t log = below(history, HISTORY_LOGS);
        if (actor->seen[log] == 0)
            continue;
        const struct history_entry *entry = &history->entries[log][below(history, actor->seen[log])];
        *ret_log = log;
        if (control_kind_of(&entry->entry) == CONTROL_COMMAND_QUEUED)
            return entry;
    }
    return NULL;
}

static void judge_queued(struct history *history, struct history_actor *actor)
{
    size_t log = 0;
    const struct history_entry *queued = some_queued(history, actor, &log);
    if (queued == NULL)
        return;
    struct authority_now now = now_of(actor, "shop", queued->partition);
    bool refused = below(history, 3) == 0;
    struct control_decided decided = {.index = queued->entry.index, .code = refused ? ERR_VERSION_CONFLICT : 0};
    struct origin origin = history_origin(log);
    if (!is_home(actor, &now))
        return;
    if (refused)
        decided.message = BYTES_LITERAL("not so");
    snprintf(decided.region, sizeof(decided.region), "%s", origin.region);
    decided.incarnation = origin.incarnation;
    memcpy(decided.event_id, queued->entry.event_id, ENTRY_ID_SIZE);
    if (below(history, 15) == 0)
        decided.event_id[0] ^= 1;
    struct history_entry *made = new_entry(history, actor, "shop", queued->partition, now.epoch,
                                           control_type(refused ? CONTROL_COMMAND_REFUSED : CONTROL_COMMAND_ACCEPTED));
    if (made == NULL)
        return;
    make_control(history, made);
    cr_assert_eq(control_decided_encode(&decided, &made->payload, NULL), 0);
    appended(history, actor, made);
}

static bool covered(const struct history_actor *actor, size_t of_log, const struct history_entry *entry)
{
    struct control_authority authority;
    enum control_kind kind = control_kind_of(&entry->entry);
    struct origin of = history_origin(of_log);
    if (!control_rests(kind) || entry->entry.index >= authority_lived_end(&actor->table, of.region, of.incarnation))
        return true;
    cr_assert_eq(control_authority_parse(kind, buf_bytes(&entry->payload), &authority, NULL), 0);
    for (size_t log = 0; log < HISTORY_LOGS; log++) {
        struct origin origin = history_origin(log);
        if (position_get(&authority.basis, origin.region, origin.incarnation) > actor->seen[log])
            return false;
    }
    return true;
}

/* Takes in the next entry of a log, if it may. */
static bool see(const struct history *history, struct history_actor *actor, size_t log)
{
    const struct history_entry *next = &history->entries[log][actor->seen[log]];
    if (!covered(actor, log, next))
        return false;
    learn(&actor->table, log, next);
    actor->seen[log]++;
    return true;
}

static void replicate(struct history *history, struct history_actor *actor)
{
    size_t log = below(history, HISTORY_LOGS);
    for (size_t n = 1 + below(history, 8); n > 0 && actor->seen[log] < history->counts[log]; n--) {
        if (!see(history, actor, log))
            return;
    }
}

/* The actor has lost all but so much of each log, and knows what follows from that. */
static void lose(const struct history *history, struct history_actor *actor, const size_t left[HISTORY_LOGS])
{
    bool moved = true;
    authority_table_free(&actor->table);
    authority_table_init(&actor->table, &history_contexts);
    memset(actor->seen, 0, sizeof(actor->seen));
    while (moved) {
        moved = false;
        for (size_t log = 0; log < HISTORY_LOGS; log++) {
            while (actor->seen[log] < left[log] && see(history, actor, log))
                moved = true;
        }
    }
}

/* The region that has the log goes on in the next one, mostly without the end of some of its own. It says what it
 * continues, unless an earlier version wrote the log: then nothing of it was lost. */
static void begin_life(struct history *history, size_t log)
{
    struct history_actor *actor = &history->actors[0];
    struct control_authority life = {.basis.count = 0};
    struct origin of = history_origin(log);
    size_t left[HISTORY_LOGS];
    memcpy(left, actor->seen, sizeof(left));
    if (history->seed % 4 != 3) {
        for (size_t i = 0; i < HISTORY_LOGS; i++) {
            if (strcmp(history_origin(i).region, of.region) == 0 && below(history, 3) != 0)
                left[i] -= below(history, left[i] + 1) / (1 + below(history, 6));
        }
        lose(history, actor, left);
    }
    actor->log = log;
    if (history->seed % 4 == 3)
        return;
    struct history_entry *made =
        new_entry(history, actor, CONTEXT_SYSTEM, "*", CONTEXT_EPOCH_FIRST, control_type(CONTROL_LOG_CONTINUED));
    for (size_t i = 0; i < HISTORY_LOGS; i++) {
        struct origin origin = history_origin(i);
        if (i != log && strcmp(origin.region, of.region) == 0)
            cr_assert_eq(position_set(&life.basis, origin.region, origin.incarnation, actor->seen[i]), 0);
    }
    make_control(history, made);
    cr_assert_eq(control_authority_encode(CONTROL_LOG_CONTINUED, &life, &made->payload, NULL), 0);
    appended(history, actor, made);
}

static void step(struct history *history)
{
    struct history_actor *actor = &history->actors[below(history, HISTORY_ACTORS)];
    uint64_t what = below(history, 100);
    if (what < 30)
        replicate(history, actor);
    else if (what < 50)
        append_rightly(history, actor);
    else if (what < 58)
        append_anywhere(history, actor);
    else if (what < 65)
        append_wrongly(history, actor);
    else if (what < 69)
        queue_command(history, actor);
    else if (what < 72)
        judge_queued(history, actor);
    else if (what < (history->seed % 2 == 0 ? 76 : 82))
        seize(history, actor);
    else if (what < 86)
        hand_over(history, actor);
    else if (what < 89)
        define(history, actor);
    else
        settle(history, actor);
}

void history_make(struct history *history, uint64_t seed, size_t steps)
{
    *history = (struct history){.seed = seed, .clock = 1};
    prng_seed(&history->prng, seed);
    for (size_t log = 0; log < HISTORY_LOGS; log++)
        history->entries[log] = mem_alloc_zero(HISTORY_ENTRIES_MAX, sizeof(struct history_entry));
    for (size_t i = 0; i < HISTORY_ACTORS; i++) {
        history->actors[i].log = i;
        authority_table_init(&history->actors[i].table, &history_contexts);
    }
    for (size_t i = 0; i < steps; i++) {
        if (i == steps / 2)
            begin_life(history, 3);
        if (i == steps / 4 * 3)
            begin_life(history, 4);
        step(history);
    }
}

void history_free(struct history *history)
{
    for (size_t i = 0; i < HISTORY_ACTORS; i++)
        authority_table_free(&history->actors[i].table);
    for (size_t log = 0; log < HISTORY_LOGS; log++) {
        for (size_t i = 0; i < history->counts[log]; i++)
            buf_free(&history->entries[log][i].payload);
        mem_free(history->entries[log]);
    }
}

/* --- Asking --- */

struct index_entry history_item(const struct history *history, size_t log, size_t index)
{
    const struct history_entry *entry = &history->entries[log][index];
    return (struct index_entry){
        .entry = &entry->entry, .fingerprint = entry->fingerprint, .payload = buf_bytes(&entry->payload)};
}

bool history_stands_alone(const struct history *history, size_t log, size_t index)
{
    return control_stands_alone(control_kind_of(&history->entries[log][index].entry));
}

void history_authority(const struct history *history, const size_t sizes[HISTORY_LOGS], struct authority_table *table)
{
    authority_table_init(table, &history_contexts);
    for (size_t log = 0; log < HISTORY_LOGS; log++) {
        for (size_t i = 0; i < sizes[log]; i++)
            learn(table, log, &history->entries[log][i]);
    }
}
