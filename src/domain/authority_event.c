/* What an entry says about authority (authority.h): read from its bytes, and refused where it cannot stand. Every fold
 * ignores alike what is refused here, so this must depend on the entry, its payload and its log alone. */
#include "domain/authority.h"
#include "domain/definition.h"

static int parse_payload(struct bytes payload, struct authority_event *event, struct err *err)
{
    struct definition definition;
    if (event->kind != CONTROL_CONTEXT_DEFINED)
        return control_authority_parse(event->kind, payload, &event->change, err);
    int code = definition_parse(payload, &definition, err);
    event->definition = payload;
    return code;
}

/* A log says at its very beginning what it continues: earlier logs of its region, and no others. */
static int check_continued(const struct entry *entry, const struct authority_event *event, const struct origin *origin,
                           struct err *err)
{
    const struct position *basis = &event->change.basis;
    bool fits = entry->index == 0 && origin->incarnation > 1 && entry->epoch == CONTEXT_EPOCH_FIRST &&
                bytes_equal(entry->context, bytes_of_string(CONTEXT_SYSTEM)) &&
                bytes_equal(entry->partition, bytes_of_string(CONTROL_ALL_PARTITIONS));
    for (size_t i = 0; i < basis->count; i++)
        fits = fits && strcmp(basis->logs[i].region, origin->region) == 0 &&
               basis->logs[i].incarnation < origin->incarnation;
    return fits ? 0
                : err_set(err, ERR_CORRUPT,
                          "what says which logs another one continues stands where it cannot, or names other logs than "
                          "earlier ones of its region");
}

/* Whether the entry stands where an event of its kind may stand. */
static int check_place(const struct entry *entry, enum control_kind kind, struct err *err)
{
    uint64_t least = control_begins_epoch(kind) ? CONTEXT_EPOCH_FIRST + 1 : CONTEXT_EPOCH_FIRST;
    if (entry->epoch < least || entry->epoch > AUTHORITY_EPOCH_MAX)
        return err_set(err, ERR_CORRUPT, "an authority event names epoch %llu, which cannot be",
                       (unsigned long long)entry->epoch);
    if (kind == CONTROL_CONTEXT_DEFINED &&
        (!bytes_equal(entry->context, bytes_of_string(CONTEXT_SYSTEM)) || control_name_reserved(entry->partition)))
        return err_set(err, ERR_CORRUPT, "the definition of a context stands where it cannot");
    return 0;
}

static int governing_event_of(const struct entry *entry, enum control_kind kind, struct bytes payload,
                              const struct origin *origin, struct authority_event *ret, struct err *err)
{
    struct authority_event event = {.kind = kind};
    int code = parse_payload(payload, &event, err);
    if (code == 0)
        code = check_place(entry, kind, err);
    if (code == 0 && kind == CONTROL_LOG_CONTINUED)
        code = check_continued(entry, &event, origin, err);
    if (code != 0)
        return code;
    event.context = entry->context;
    event.partition = entry->partition;
    event.epoch = entry->epoch;
    event.region = origin->region;
    event.incarnation = origin->incarnation;
    event.index = entry->index;
    event.time = entry->time;
    *ret = event;
    return 0;
}

int authority_event_of(const struct entry *entry, struct bytes payload, const struct origin *origin,
                       struct authority_event *ret, struct err *err)
{
    enum control_kind kind = control_kind_of(entry);
    if (!control_governs(kind)) { /* nearly every entry: nothing as large as an event is even cleared for it */
        ret->kind = CONTROL_UNKNOWN;
        return 0;
    }
    return governing_event_of(entry, kind, payload, origin, ret, err);
}
