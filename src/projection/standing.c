/* Which of the entries with one id stands (standing.h).
 *
 * A generation goes forwards only, through logs that interleave freely, so it may apply the later of two entries first.
 * It notes with its rows, for each id, the entry that stands so far: time, origin, and the fingerprint of what it says.
 * When an earlier one comes,
 *   - and says the same, in sections that do not ask which entry it is (:time_ms, :origin, :position), then its effect
 *     is there already: only the note changes;
 *   - else it is a conflict, and the next generation is told of that entry, as it is told of changes of homes: it
 *     leaves the other one out from the start, and is complete once it has passed what it was told.
 * So the contents are those of the entries that stand among those below the position, whatever order they came in.
 *
 * Failure modes: a payload that is withheld has no fingerprint; then every earlier entry is a conflict. */
#include "projection/standing.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/planted.h"

struct told {
    struct told *next; /* with the same id */
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    size_t size_bytes;
    uint8_t entry[];
};

/* As a note has it. */
struct standing_entry {
    hlc time;
    uint64_t fingerprint;
    const char *origin;
};

enum { NUMBER_DIGITS = 20 };
_Static_assert(2 * (NUMBER_DIGITS + 1) + ENTRY_ORIGIN_MAX_BYTES <= PROJECTION_NOTE_MAX_BYTES, "a note fits");

bool standing_asked(const struct authority_table *table, const struct entry *entry)
{
    return (entry->flags & ENTRY_FLAG_CONTROL) == 0 &&
           context_frees_more(context_find(table->contexts, entry->context), NULL) && !PLANTED(commutative_each_time);
}

static bool precedes(const struct standing_entry *a, const struct standing_entry *b)
{
    return a->time != b->time ? a->time < b->time : strcmp(a->origin, b->origin) < 0;
}

/* --- Notes --- */

static void note_name(const struct entry *entry, char out[PROJECTION_NOTE_MAX_BYTES + 1])
{
    snprintf(out, PROJECTION_NOTE_MAX_BYTES + 1, "event %016llx%016llx",
             (unsigned long long)get_u64_be(entry->event_id), (unsigned long long)get_u64_be(entry->event_id + 8));
}

static bool take_number(const char **text, uint64_t *ret)
{
    const char *end = strchr(*text, ' ');
    if (end == NULL || parse_u64(*text, (size_t)(end - *text), ret) != 0)
        return false;
    *text = end + 1;
    return true;
}

/* The origin stays in the text. */
static int parse_note(const char *text, struct standing_entry *ret, struct err *err)
{
    struct standing_entry noted;
    if (!take_number(&text, &noted.time) || !take_number(&text, &noted.fingerprint))
        return err_set(err, ERR_CORRUPT, "the projection keeps a damaged note of an event; rebuild it");
    noted.origin = text;
    *ret = noted;
    return 0;
}

int standing_note(const struct step *step, const struct item *item, const char *note, struct err *err)
{
    char name[PROJECTION_NOTE_MAX_BYTES + 1];
    note_name(&item->entry, name);
    return projection_db_keep_text(step->generation->db, name, note, err);
}

/* --- What was told --- */

int standing_tell(struct generation *generation, const char *origin, struct bytes entry, struct err *err)
{
    struct entry parsed;
    int code = entry_parse(entry, &parsed, err);
    if (code != 0)
        return code;
    struct bytes id = bytes_of(parsed.event_id, ENTRY_ID_SIZE);
    struct told *told = mem_alloc(sizeof(*told) + entry.size_bytes);
    if (told == NULL)
        return err_no_memory(err, "an event that a projection is told of");
    told->next = map_get(&generation->told, id);
    told->size_bytes = entry.size_bytes;
    copy_string(told->origin, sizeof(told->origin), origin);
    memcpy(told->entry, entry.data, entry.size_bytes);
    if (map_put(&generation->told, id, told) != 0) {
        mem_free(told);
        return err_no_memory(err, "an event that a projection is told of");
    }
    return 0;
}

void standing_forget(struct generation *generation)
{
    size_t at = 0;
    struct bytes id;
    void *value = NULL;
    while (map_next(&generation->told, &at, &id, &value)) {
        for (struct told *told = value, *next = NULL; told != NULL; told = next) {
            next = told->next;
            mem_free(told);
        }
    }
    map_free(&generation->told);
    map_init(&generation->told, GENERATION_TOLD_MAX, NULL);
}

/* Whether an entry that was told of stands before this one. */
static int is_told_earlier(const struct generation *generation, const struct entry *entry,
                           const struct standing_entry *made, bool *ret, struct err *err)
{
    const struct told *told = map_get(&generation->told, bytes_of(entry->event_id, ENTRY_ID_SIZE));
    bool earlier = false;
    int code = 0;
    for (; code == 0 && told != NULL && !earlier; told = told->next) {
        struct entry parsed;
        struct origin origin;
        code = entry_parse(bytes_of(told->entry, told->size_bytes), &parsed, err);
        if (code == 0)
            code = origin_parse(bytes_of_string(told->origin), &origin, err);
        const struct standing_entry other = {.time = code == 0 ? parsed.time : 0, .origin = told->origin};
        earlier = code == 0 && precedes(&other, made) && standing_asked(&generation->table, &parsed) &&
                  !authority_entry_is_late(&generation->table, &parsed, origin.region, origin.incarnation);
    }
    if (code == 0)
        *ret = earlier;
    return code;
}

/* --- Deciding --- */

int standing_decide(const struct step *step, const struct item *item, enum standing *ret, char *ret_note,
                    struct err *err)
{
    const struct generation *generation = step->generation;
    char name[PROJECTION_NOTE_MAX_BYTES + 1];
    char text[PROJECTION_NOTE_MAX_BYTES + 1];
    struct standing_entry noted = {.time = 0};
    bool told_earlier = false;
    const struct standing_entry made = {
        .time = item->entry.time,
        .fingerprint =
            item->frame.has_payload ? entry_fingerprint(generation->sha, &item->entry, item->frame.payload) : 0,
        .origin = step->name};
    int code = is_told_earlier(generation, &item->entry, &made, &told_earlier, err);
    note_name(&item->entry, name);
    if (code == 0)
        code = projection_db_kept_text(generation->db, name, text, err);
    if (code == 0 && text[0] != '\0')
        code = parse_note(text, &noted, err);
    if (code != 0)
        return code;
    snprintf(ret_note, PROJECTION_NOTE_MAX_BYTES + 1, "%llu %llu %s", (unsigned long long)made.time,
             (unsigned long long)made.fingerprint, made.origin);
    if (told_earlier || (text[0] != '\0' && !precedes(&made, &noted)))
        *ret = STANDING_NOT;
    else if (text[0] == '\0')
        *ret = STANDING_RUNS;
    else if (made.fingerprint != 0 && made.fingerprint == noted.fingerprint &&
             !projection_db_tells_apart(generation->db, &item->entry))
        *ret = STANDING_TAKES;
    else
        *ret = STANDING_CONFLICT;
    return 0;
}
