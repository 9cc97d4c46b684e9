/* Following the logs with one generation (generation.h).
 *
 * A step is one transaction over a stretch of one log. It ends before an entry that begins an epoch, unless the
 * generation knows that entry already and has applied its basis. Such an entry then stands first in a later step, where
 * it waits, or is a conflict, or is applied alone.
 *
 * The question of a conflict is asked entry by entry. Two tables are kept: `table` follows from the events applied (and
 * those told), `ahead` has the event at hand, too. authority_affected_from gives, for each log, a place before which
 * the event changes nothing, in either direction: what becomes late and what becomes effective lies at or past the end
 * or the beginning of some claim from the event's epoch on. From there to the cursor the log is read again, and both
 * tables are asked about each entry of that partition that has statements at all.
 *
 * Invariants:
 *   1. `table` has the authority events of the database, no others.
 *   2. `ahead` has what `table` has, and perhaps more; it is made anew before it is asked when it has more.
 *   3. An entry below the cursor has had its effect if and only if it is not late by `table`.
 *
 * Crash behaviour: everything is in the database, in the transaction that moves the cursor. What a log waits for, and a
 * conflict, are found again at the next step.
 *
 * Failure: the transaction is rolled back and the tables are made anew from the database. When a statement is to blame,
 * what stands before its entry is applied first, so that the generation stops right there: what other logs rest on is
 * applied, and the entry may turn out to be late. */
#include "projection/standing.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

/* --- Reading --- */

int stepping_next_item(struct bytes *elements, struct item *ret, struct err *err)
{
    return frame_next_entry(elements, &ret->frame, &ret->entry, err);
}

int stepping_origin(const struct log *log, char name[ENTRY_ORIGIN_MAX_BYTES + 1], struct origin *ret, struct err *err)
{
    struct bytes text = log_origin(log);
    PRE(text.size_bytes <= ENTRY_ORIGIN_MAX_BYTES);
    memcpy(name, text.data, text.size_bytes);
    name[text.size_bytes] = '\0';
    return origin_parse(text, ret, err);
}

int generation_position(struct generation *generation, struct position *ret, struct err *err)
{
    struct position position = {.count = 0};
    size_t at = 0;
    const char *name = NULL;
    uint64_t size = 0;
    while (projection_db_cursor_next(generation->db, &at, &name, &size)) {
        struct origin origin;
        int code = origin_parse(bytes_of_string(name), &origin, err);
        if (code == 0)
            code = position_set(&position, origin.region, origin.incarnation, size);
        if (code != 0)
            return code;
    }
    *ret = position;
    return 0;
}

/* --- The tables --- */

/* kind is CONTROL_UNKNOWN when it is none that counts: a malformed one is ignored, in every region alike. */
static struct authority_event event_of(const struct item *item, const struct origin *origin)
{
    struct authority_event event = {.kind = CONTROL_UNKNOWN};
    if (authority_event_of(&item->entry, item->frame.payload, origin, &event, NULL) != 0)
        event.kind = CONTROL_UNKNOWN;
    return event;
}

static int add_kept(void *context, const struct projection_authority *kept, struct err *err)
{
    struct generation *generation = context;
    struct item item = {.frame = {.payload = kept->payload}};
    struct origin origin;
    int code = entry_parse(kept->entry, &item.entry, err);
    if (code == 0)
        code = origin_parse(bytes_of_string(kept->origin), &origin, err);
    if (code != 0)
        return err_wrap(err, ERR_CORRUPT, "the projection keeps a damaged authority event of %s; rebuild it",
                        kept->origin);
    if ((item.entry.flags & ENTRY_FLAG_CONTROL) == 0)
        return standing_tell(generation, kept->origin, kept->entry, err);
    struct authority_event event = event_of(&item, &origin);
    if (event.kind == CONTROL_UNKNOWN)
        return err_set(err, ERR_CORRUPT, "the projection keeps a damaged authority event of %s; rebuild it",
                       kept->origin);
    code = authority_apply(&generation->table, &event, err);
    return code == 0 ? authority_apply(&generation->ahead, &event, err) : code;
}

static void forget_tables(struct generation *generation)
{
    authority_table_free(&generation->table);
    authority_table_free(&generation->ahead);
    standing_forget(generation);
    authority_table_init(&generation->table, generation->contexts);
    authority_table_init(&generation->ahead, generation->contexts);
    generation->current = false;
}

static int read_tables(struct generation *generation, struct err *err)
{
    if (generation->current)
        return 0;
    forget_tables(generation);
    int code = projection_db_authority(generation->db, add_kept, generation, err);
    generation->current = code == 0;
    return code;
}

/* --- Pauses --- */

int stepping_paused(const struct step *step, uint64_t index, bool *ret, struct err *err)
{
    struct pause *pause = &step->generation->pauses[step->at];
    struct position position;
    if (pause->why == PAUSE_NONE || pause->index != index) {
        *ret = false;
        return 0;
    }
    if (pause->why == PAUSE_CONFLICT) {
        *ret = true;
        return 0;
    }
    int code = generation_position(step->generation, &position, err);
    if (code == 0)
        *ret = position_get(&position, pause->need.region, pause->need.incarnation) < pause->need.size;
    return code;
}

static void wait_for(const struct step *step, const struct authority_event *event, const struct position *position)
{
    const struct position *basis = &event->change.basis;
    for (size_t i = 0; i < basis->count; i++) {
        const struct position_log *need = &basis->logs[i];
        if (position_get(position, need->region, need->incarnation) < need->size) {
            step->generation->pauses[step->at] =
                (struct pause){.why = PAUSE_BASIS, .index = event->index, .need = *need};
            return;
        }
    }
    INVARIANT(!"something that is not reached");
}

/* What a life has left behind waits no more. */
static void forget_waits(struct generation *generation)
{
    for (size_t i = 0; i < sizeof(generation->pauses) / sizeof(generation->pauses[0]); i++) {
        if (generation->pauses[i].why == PAUSE_BASIS)
            generation->pauses[i].why = PAUSE_NONE;
    }
}

/* --- Conflicts --- */

static bool is_of_system(const struct authority_event *event)
{
    return bytes_equal(event->context, bytes_of_string(CONTEXT_SYSTEM));
}

static bool is_concerned(const struct generation *generation, const struct authority_event *event,
                         const struct entry *entry)
{
    bool decided_by_id = standing_asked(&generation->ahead, entry) || standing_asked(&generation->table, entry);
    return (projection_db_wants(generation->db, entry) ||
            (decided_by_id && projection_db_names(generation->db, entry->context))) &&
           (is_of_system(event) || authority_concerns(&generation->ahead, event, entry));
}

static bool is_late(const struct authority_table *table, const struct entry *entry, const struct origin *origin)
{
    return authority_entry_is_late(table, entry, origin->region, origin->incarnation);
}

bool stepping_is_late(const struct generation *generation, const struct entry *entry, const struct origin *origin)
{
    return is_late(&generation->table, entry, origin);
}

/* Where an event that `ahead` has, and `table` has not, begins to make a difference in a log. A type that may be
 * accepted anywhere from now on does so in all that is applied: nobody has asked yet which of an id stands. */
static uint64_t affected_from(const struct generation *generation, const struct authority_event *event,
                              const struct origin *origin)
{
    if (event->kind == CONTROL_CONTEXT_DEFINED &&
        context_frees_more(context_find(generation->ahead.contexts, event->partition),
                           context_find(generation->table.contexts, event->partition)))
        return 0;
    return authority_affected_from(&generation->table, event, origin->region, origin->incarnation);
}

/* What the search for a conflict found. */
struct finding {
    bool found;
    const char *what; /* happens to the entry */
    char name[ENTRY_ORIGIN_MAX_BYTES + 1];
    uint64_t index;
};

static int search_block(const struct generation *generation, const struct authority_event *event,
                        const struct origin *origin, const struct block *block, uint64_t from, uint64_t end,
                        struct finding *finding, struct err *err)
{
    struct bytes elements = block_body(block);
    int code = 0;
    for (uint32_t i = 0; code == 0 && !finding->found && i < block->entry_count && block->first_index + i < end; i++) {
        struct item item;
        code = stepping_next_item(&elements, &item, err);
        if (code != 0 || item.entry.index < from || !is_concerned(generation, event, &item.entry))
            continue;
        bool late = is_late(&generation->ahead, &item.entry, origin);
        if (late != is_late(&generation->table, &item.entry, origin))
            finding->what = late ? "late, which had its effect" : "effective, which was left out as late";
        else if (!late &&
                 standing_asked(&generation->ahead, &item.entry) != standing_asked(&generation->table, &item.entry))
            finding->what =
                "of a context where any region may accept some types, and whether its id stands was not asked";
        finding->found = finding->what != NULL;
        finding->index = item.entry.index;
    }
    return code;
}

static int search_log(const struct generation *generation, const struct authority_event *event, struct log *log,
                      struct finding *finding, struct err *err)
{
    struct origin origin;
    uint64_t end = 0;
    int code = stepping_origin(log, finding->name, &origin, err);
    if (code == 0)
        code = projection_db_applied(generation->db, finding->name, &end, err);
    uint64_t from = code == 0 ? affected_from(generation, event, &origin) : 0;
    while (code == 0 && !finding->found && from < end) {
        struct block *block = NULL;
        code = log_read_block(log, from, &block, err);
        if (code != 0)
            return code;
        code = search_block(generation, event, &origin, block, from, end, finding, err);
        from = block->first_index + block->entry_count;
        block_release(block);
    }
    return code;
}

static int append_row(struct buf *out, const struct projection_authority *event)
{
    struct bytes parts[] = {bytes_of_string(event->origin), event->entry, event->payload};
    uint8_t number[8];
    size_t before = out->size_bytes;
    put_u64_le(number, event->index);
    int code = buf_append(out, bytes_of(number, sizeof(number)));
    for (size_t i = 0; code == 0 && i < sizeof(parts) / sizeof(parts[0]); i++) {
        put_u64_le(number, parts[i].size_bytes);
        code = buf_append(out, bytes_of(number, sizeof(number)));
        if (code == 0)
            code = buf_append(out, parts[i]);
    }
    if (code != 0)
        out->size_bytes = before;
    return code;
}

static struct projection_authority row_of(const struct step *step, const struct item *item)
{
    return (struct projection_authority){
        .origin = step->name, .index = item->entry.index, .entry = item->frame.entry, .payload = item->frame.payload};
}

/* What the next generation is told begins with this. */
static int stop_at(const struct step *step, const struct item *item, struct err *err)
{
    struct generation *generation = step->generation;
    struct projection_authority row = row_of(step, item);
    buf_clear(&generation->conflict);
    if (append_row(&generation->conflict, &row) != 0)
        return err_no_memory(err, "a conflict of a projection");
    generation->has_conflict = true;
    generation->pauses[step->at] = (struct pause){.why = PAUSE_CONFLICT, .index = item->entry.index};
    return 0;
}

static int stop_at_change(const struct step *step, const struct item *item, const struct finding *finding,
                          struct err *err)
{
    struct generation *generation = step->generation;
    snprintf(generation->reason, sizeof(generation->reason), "entry %llu of %.130s makes entry %llu of %.130s %s",
             (unsigned long long)item->entry.index, step->name, (unsigned long long)finding->index, finding->name,
             finding->what);
    return stop_at(step, item, err);
}

/* Nothing may be in the transaction. */
static int stop_at_id(struct step *step, const struct item *item, struct err *err)
{
    struct generation *generation = step->generation;
    step->over = true;
    if (step->count > 0)
        return 0;
    snprintf(generation->reason, sizeof(generation->reason),
             "entry %llu of %.200s was accepted before another one with its id, which had its effect",
             (unsigned long long)item->entry.index, step->name);
    return stop_at(step, item, err);
}

/* Applies the event to `ahead`, and looks for entries on which the two tables differ. */
static int search(struct step *step, const struct authority_event *event, struct finding *finding, struct err *err)
{
    struct generation *generation = step->generation;
    generation->current = false; /* until both have it, or neither */
    int code = authority_apply(&generation->ahead, event, err);
    for (size_t i = 0; code == 0 && !finding->found && i < step->log_count; i++)
        code = search_log(generation, event, step->logs[i], finding, err);
    return code;
}

/* --- Applying --- */

static int apply_item(struct step *step, const struct item *item, bool learn, struct err *err)
{
    struct generation *generation = step->generation;
    char note[PROJECTION_NOTE_MAX_BYTES + 1] = "";
    enum standing standing = STANDING_RUNS;
    bool late = is_late(&generation->table, &item->entry, &step->origin);
    bool asked = !late && standing_asked(&generation->table, &item->entry) &&
                 projection_db_names(generation->db, item->entry.context);
    int code = asked ? standing_decide(step, item, &standing, note, err) : 0;
    if (code == 0 && standing == STANDING_CONFLICT)
        return stop_at_id(step, item, err);
    if (code == 0 && step->count == 0)
        code = projection_db_begin(generation->db, err);
    if (code != 0)
        return code;
    step->count++;
    struct projection_event event = {.origin = step->name,
                                     .entry = &item->entry,
                                     .payload = item->frame.payload,
                                     .has_payload = item->frame.has_payload,
                                     .late = late || standing != STANDING_RUNS};
    struct projection_authority row = row_of(step, item);
    code = projection_db_apply(generation->db, &event, err);
    if (code == 0 && asked && standing != STANDING_NOT)
        code = standing_note(step, item, note, err);
    return code == 0 && learn ? projection_db_learn(generation->db, &row, err) : code;
}

/* An entry that begins an epoch, or defines a context, and is not known yet; nothing is in the transaction. */
static int apply_alone(struct step *step, const struct item *item, const struct authority_event *event, struct err *err)
{
    struct generation *generation = step->generation;
    struct finding finding = {.what = NULL};
    step->over = true;
    int code = search(step, event, &finding, err);
    if (code == 0 && finding.found)
        return stop_at_change(step, item, &finding, err);
    if (code == 0)
        code = authority_apply(&generation->table, event, err);
    if (code == 0)
        code = apply_item(step, item, true, err);
    if (code == 0 && event->kind == CONTROL_LOG_CONTINUED)
        forget_waits(generation);
    generation->current = code == 0;
    return code;
}

static int apply_authority(struct step *step, const struct item *item, const struct authority_event *event,
                           struct err *err)
{
    struct generation *generation = step->generation;
    struct position position;
    bool known = false;
    int code = generation_position(generation, &position, err);
    if (code == 0)
        code = projection_db_knows(generation->db, step->name, event->index, &known, err);
    if (code != 0)
        return code;
    bool ready = authority_ready(&generation->table, event, &position);
    if (ready && known)
        return apply_item(step, item, false, err);
    if (!control_stands_alone(event->kind)) {
        generation->current = false;
        code = apply_item(step, item, true, err);
        if (code == 0)
            code = authority_apply(&generation->table, event, err);
        if (code == 0)
            code = authority_apply(&generation->ahead, event, err);
        generation->current = code == 0;
        return code;
    }
    if (ready && step->count == 0)
        return apply_alone(step, item, event, err);
    if (!ready && step->count == 0)
        wait_for(step, event, &position);
    step->over = true;
    return 0;
}

int stepping_apply(struct step *step, const struct item *item, struct err *err)
{
    bool control = control_governs(control_kind_of(&item->entry));
    if (control && !item->frame.has_payload)
        return err_set(err, ERR_CORRUPT,
                       "the payload of control entry %llu of %s is not here, so nobody can say what is late after it",
                       (unsigned long long)item->entry.index, step->name);
    struct authority_event event = event_of(item, &step->origin);
    return event.kind == CONTROL_UNKNOWN ? apply_item(step, item, false, err)
                                         : apply_authority(step, item, &event, err);
}

static int apply_block(struct step *step, const struct block *block, uint64_t from, struct err *err)
{
    struct bytes elements = block_body(block);
    int code = 0;
    for (uint32_t i = 0; code == 0 && !step->over && i < block->entry_count; i++) {
        struct item item;
        code = stepping_next_item(&elements, &item, err);
        if (code != 0 || item.entry.index < from)
            continue;
        if (item.entry.index >= step->end || step->count == step->events_max)
            step->over = true;
        else
            code = stepping_apply(step, &item, err);
    }
    return code;
}

/* Context: where the log's cursor stands. */
static int apply_from(struct step *step, void *context, struct err *err)
{
    uint64_t from = *(const uint64_t *)context;
    int code = 0;
    while (code == 0 && !step->over && from < step->end && step->count < step->events_max) {
        struct block *block = NULL;
        code = log_read_block(step->logs[step->at], from, &block, err);
        if (code != 0)
            return code;
        code = apply_block(step, block, from, err);
        from = block->first_index + block->entry_count;
        block_release(block);
    }
    return code;
}

int stepping_transaction(struct step *step, stepping_fn *apply, void *context, uint64_t *ret_count, struct err *err)
{
    struct generation *generation = step->generation;
    int code = read_tables(generation, err);
    if (code == 0)
        code = apply(step, context, err);
    *ret_count = step->count;
    if (code == 0 && step->count > 0)
        code = projection_db_commit(generation->db, err);
    if (code == 0)
        return 0;
    if (step->count > 0)
        projection_db_rollback(generation->db);
    generation->current = false;
    generation->floor_count = 0;
    return code;
}

int generation_step(struct generation *generation, struct log *const *logs, size_t log_count, size_t at, uint64_t end,
                    uint64_t events_max, struct generation_progress *ret, struct err *err)
{
    PRE(log_count <= PROJECTION_LOGS_MAX);
    PRE(at < log_count && events_max > 0);
    uint64_t durable = log_durable_size(logs[at]);
    struct step step = {.generation = generation,
                        .logs = logs,
                        .log_count = log_count,
                        .at = at,
                        .end = end < durable ? end : durable,
                        .events_max = events_max};
    uint64_t applied = 0;
    uint64_t count = 0;
    bool paused = false;
    int code = stepping_origin(logs[at], step.name, &step.origin, err);
    if (code == 0)
        code = projection_db_applied(generation->db, step.name, &applied, err);
    if (generation->other_contexts)
        paused = true;
    else if (code == 0 && applied < step.end)
        code = stepping_paused(&step, applied, &paused, err);
    if (code == 0 && applied < step.end && !paused) {
        struct step again = step;
        struct step shorter = step;
        code = stepping_transaction(&step, apply_from, &applied, &count, err);
        if (code == ERR_INVALID && projection_db_unsure(generation->db))
            code = stepping_transaction(&again, apply_from, &applied, &count, err);
        if (code == ERR_INVALID && count > 1) {
            shorter.events_max = count - 1;
            code = stepping_transaction(&shorter, apply_from, &applied, &count, err);
        }
    }
    if (code == 0)
        *ret = (struct generation_progress){.moved = count > 0, .events = count};
    return code;
}

/* --- What is known --- */

bool generation_conflict(const struct generation *generation, const char **ret_reason)
{
    if (generation->has_conflict && ret_reason != NULL)
        *ret_reason = generation->reason;
    return generation->has_conflict;
}

struct completeness {
    struct projection_db *db;
    bool complete;
};

static int check_passed(void *context, const struct projection_authority *event, struct err *err)
{
    struct completeness *completeness = context;
    uint64_t applied = 0;
    int code = projection_db_applied(completeness->db, event->origin, &applied, err);
    completeness->complete = completeness->complete && applied > event->index;
    return code;
}

int generation_complete(struct generation *generation, bool *ret, struct err *err)
{
    struct completeness completeness = {.db = generation->db, .complete = true};
    int code = projection_db_authority(generation->db, check_passed, &completeness, err);
    if (code == 0)
        *ret = completeness.complete;
    return code;
}

static int append_known(void *context, const struct projection_authority *event, struct err *err)
{
    int code = append_row(context, event);
    return code == 0 ? 0 : err_set(err, code, "the authority events of a projection do not fit in memory");
}

int generation_known(struct generation *generation, struct buf *out, struct err *err)
{
    int code = projection_db_authority(generation->db, append_known, out, err);
    if (code == 0 && buf_append(out, buf_bytes(&generation->conflict)) != 0)
        return err_no_memory(err, "the authority events of a projection");
    return code;
}

/* Rows come from append_row alone, so what is read here is there. */
static uint64_t take_number(struct bytes *rows)
{
    PRE(rows->size_bytes >= 8);
    uint64_t number = get_u64_le(rows->data);
    *rows = bytes_of(rows->data + 8, rows->size_bytes - 8);
    return number;
}

static struct bytes take_part(struct bytes *rows)
{
    uint64_t size_bytes = take_number(rows);
    PRE(rows->size_bytes >= size_bytes);
    struct bytes part = bytes_of(rows->data, (size_t)size_bytes);
    *rows = bytes_of(rows->data + size_bytes, rows->size_bytes - (size_t)size_bytes);
    return part;
}

static int learn_rows(struct projection_db *db, struct bytes rows, struct err *err)
{
    int code = 0;
    while (code == 0 && rows.size_bytes > 0) {
        char name[ENTRY_ORIGIN_MAX_BYTES + 1] = "";
        struct projection_authority event = {.origin = name, .index = take_number(&rows)};
        struct bytes origin = take_part(&rows);
        PRE(origin.size_bytes <= ENTRY_ORIGIN_MAX_BYTES);
        memcpy(name, origin.data, origin.size_bytes);
        event.entry = take_part(&rows);
        event.payload = take_part(&rows);
        code = projection_db_learn(db, &event, err);
    }
    return code;
}

int generation_tell(struct generation *generation, struct bytes known, struct err *err)
{
    int code = projection_db_begin(generation->db, err);
    if (code != 0)
        return code;
    code = learn_rows(generation->db, known, err);
    if (code == 0)
        code = projection_db_commit(generation->db, err);
    if (code != 0)
        projection_db_rollback(generation->db);
    generation->current = false;
    return code;
}

/* --- Making --- */

/* The contexts say who is home in epoch 1, so with others other entries are late: that, too, is a conflict. */
static int compare_contexts(struct generation *generation, struct err *err)
{
    bool same = false;
    struct sha256 *sha = sha256_new();
    if (sha == NULL)
        return err_no_memory(err, "a projection's generation");
    struct hash contexts = context_table_digest(generation->contexts, sha);
    sha256_free(sha);
    int code = projection_db_same_contexts(generation->db, &contexts, &same, err);
    if (code != 0 || same)
        return code;
    generation->other_contexts = true;
    generation->has_conflict = true;
    copy_string(generation->reason, sizeof(generation->reason), "the contexts and homes of the configuration changed");
    return 0;
}

int generation_new(struct projection_db *db, const struct context_table *contexts, struct generation **ret,
                   struct err *err)
{
    struct generation *generation = mem_alloc_zero(1, sizeof(*generation));
    if (generation == NULL)
        return err_no_memory(err, "a projection's generation");
    generation->db = db;
    generation->contexts = contexts;
    buf_init(&generation->conflict, ENTRY_MAX_BYTES + ENTRY_PAYLOAD_MAX_BYTES + 1024);
    authority_table_init(&generation->table, contexts);
    authority_table_init(&generation->ahead, contexts);
    map_init(&generation->told, GENERATION_TOLD_MAX, NULL);
    generation->sha = sha256_new();
    int code = generation->sha == NULL ? err_no_memory(err, "a projection's generation") : 0;
    if (code == 0)
        code = compare_contexts(generation, err);
    if (code == 0)
        code = read_tables(generation, err);
    if (code != 0) {
        generation_free(generation);
        return code;
    }
    *ret = generation;
    return 0;
}

void generation_free(struct generation *generation)
{
    if (generation == NULL)
        return;
    authority_table_free(&generation->table);
    authority_table_free(&generation->ahead);
    standing_forget(generation);
    sha256_free(generation->sha);
    buf_free(&generation->conflict);
    mem_free(generation);
}
