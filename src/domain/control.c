/* Payloads of control events (control.h), in the canonical protobuf form of entry/FORMAT.md: fields ascending, each at
 * most once, defaults left out, shortest varints. The parser reads field by field in order and refuses what is left. */
#include "domain/control.h"

#include "base/assert.h"
#include "entry/wire.h"

static const struct {
    enum control_kind kind;
    const char *type;
} kinds[] = {
    {CONTROL_AUTHORITY_RELEASED, "$AuthorityReleased"},
    {CONTROL_AUTHORITY_TAKEN, "$AuthorityTaken"},
    {CONTROL_AUTHORITY_SEIZED, "$AuthoritySeized"},
    {CONTROL_LATE_SETTLED, "$LateSettled"},
};

enum { KIND_COUNT = sizeof(kinds) / sizeof(kinds[0]) };

enum control_kind control_kind_of(const struct entry *entry)
{
    if ((entry->flags & ENTRY_FLAG_CONTROL) == 0)
        return CONTROL_UNKNOWN;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (bytes_equal(entry->type, bytes_of_string(kinds[i].type)))
            return kinds[i].kind;
    }
    return CONTROL_UNKNOWN;
}

const char *control_type(enum control_kind kind)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (kinds[i].kind == kind)
            return kinds[i].type;
    }
    INVARIANT(!"a kind of control event");
    return "";
}

bool control_begins_epoch(enum control_kind kind)
{
    return kind == CONTROL_AUTHORITY_TAKEN || kind == CONTROL_AUTHORITY_SEIZED;
}

bool control_is_authority(enum control_kind kind)
{
    return kind == CONTROL_AUTHORITY_RELEASED || control_begins_epoch(kind);
}

bool control_name_reserved(struct bytes name)
{
    return name.size_bytes > 0 && (name.data[0] == '$' || bytes_equal(name, bytes_of_string(CONTROL_ALL_PARTITIONS)));
}

const char *settlement_name(enum settlement settlement)
{
    switch (settlement) {
    case SETTLED_ACCEPTED:
        return "accepted";
    case SETTLED_DROPPED:
        return "dropped";
    case SETTLED_REJECTED:
        return "rejected";
    case SETTLED_COMPENSATE:
        return "compensate";
    }
    INVARIANT(!"a settlement");
    return "";
}

/* --- Writing --- */

static int put_text(struct buf *out, uint32_t field, struct bytes value)
{
    uint8_t head[2 * WIRE_VARINT_MAX_BYTES];
    if (value.size_bytes == 0)
        return 0;
    uint8_t *end = wire_put_varint(wire_put_tag(head, field, WIRE_BYTES), value.size_bytes);
    int code = buf_append(out, bytes_of(head, (size_t)(end - head)));
    return code == 0 ? buf_append(out, value) : code;
}

static int put_number(struct buf *out, uint32_t field, uint64_t value)
{
    uint8_t bytes[2 * WIRE_VARINT_MAX_BYTES];
    if (value == 0)
        return 0;
    uint8_t *end = wire_put_varint(wire_put_tag(bytes, field, WIRE_VARINT), value);
    return buf_append(out, bytes_of(bytes, (size_t)(end - bytes)));
}

/* Texts for people may be empty. */
static int check_text(struct bytes text, size_t max_bytes, const char *what, struct err *err)
{
    return text.size_bytes == 0 ? 0 : entry_check_name(text, max_bytes, what, err);
}

static int check_people(struct bytes actor, struct bytes reason, struct err *err)
{
    int code = check_text(actor, CONTROL_ACTOR_MAX_BYTES, "actor", err);
    return code == 0 ? check_text(reason, CONTROL_REASON_MAX_BYTES, "reason", err) : code;
}

static int check_authority_texts(const struct control_authority *authority, struct err *err)
{
    int code = check_people(authority->actor, authority->reason, err);
    if (code == 0)
        code = check_text(authority->successor, POSITION_REGION_MAX_BYTES, "successor", err);
    return code == 0 ? check_text(authority->previous, POSITION_REGION_MAX_BYTES, "previous home", err) : code;
}

static bool shape_fits(enum control_kind kind, const struct control_authority *authority)
{
    bool release = kind == CONTROL_AUTHORITY_RELEASED;
    return (authority->successor.size_bytes > 0) == release && (authority->basis.count == 0 || !release) &&
           (!authority->unfenced || (kind == CONTROL_AUTHORITY_SEIZED && authority->forced));
}

static int check_settled(const struct control_settled *settled, struct err *err)
{
    int code = check_people(settled->actor, settled->reason, err);
    if (code == 0)
        code = entry_check_name(bytes_of_string(settled->region), POSITION_REGION_MAX_BYTES, "region", err);
    if (code == 0 && (settled->incarnation == 0 || settled->settlement < SETTLED_ACCEPTED ||
                      settled->settlement > SETTLED_COMPENSATE))
        code = err_set(err, ERR_INVALID, "a settlement names an incarnation from 1 and a known decision");
    return code;
}

static int finish(struct buf *out, size_t start, int code, struct err *err)
{
    if (code == 0)
        return 0;
    out->size_bytes = start;
    return code == ERR_NO_MEMORY ? err_no_memory(err, "a control event")
                                 : err_set(err, code, "a control event is too large");
}

static int put_basis(struct buf *out, const struct position *basis)
{
    struct buf text;
    buf_init(&text, CONTROL_BASIS_MAX_BYTES);
    int code = position_format(basis, &text);
    if (code == 0)
        code = put_text(out, 2, buf_bytes(&text));
    buf_free(&text);
    return code;
}

int control_authority_encode(enum control_kind kind, const struct control_authority *authority, struct buf *out,
                             struct err *err)
{
    PRE(control_is_authority(kind));
    size_t start = out->size_bytes;
    int code = check_authority_texts(authority, err);
    if (code != 0)
        return code;
    if (!shape_fits(kind, authority))
        return err_set(err, ERR_INVALID,
                       "a release names its successor and has no basis; a change names no successor; only a "
                       "forced seizure is unfenced");
    code = put_text(out, 1, authority->successor);
    if (code == 0)
        code = put_basis(out, &authority->basis);
    if (code == 0)
        code = put_text(out, 3, authority->previous);
    if (code == 0)
        code = put_text(out, 4, authority->actor);
    if (code == 0)
        code = put_text(out, 5, authority->reason);
    if (code == 0)
        code = put_number(out, 6, authority->forced);
    if (code == 0)
        code = put_number(out, 7, authority->unfenced);
    return finish(out, start, code, err);
}

int control_settled_encode(const struct control_settled *settled, struct buf *out, struct err *err)
{
    size_t start = out->size_bytes;
    int code = check_settled(settled, err);
    if (code != 0)
        return code;
    code = put_text(out, 1, bytes_of_string(settled->region));
    if (code == 0)
        code = put_number(out, 2, settled->incarnation);
    if (code == 0)
        code = put_number(out, 3, settled->index);
    if (code == 0)
        code = put_text(out, 4, bytes_of(settled->event_id, ENTRY_ID_SIZE));
    if (code == 0)
        code = put_number(out, 5, settled->settlement);
    if (code == 0)
        code = put_text(out, 6, settled->actor);
    if (code == 0)
        code = put_text(out, 7, settled->reason);
    return finish(out, start, code, err);
}

/* --- Reading --- */

/* What is left of a payload, and whether it was well formed so far. */
struct reading {
    struct bytes rest;
    bool failed;
};

/* Whether the next field is this one; then it is taken off up to its value. */
static bool next_is(struct reading *reading, uint32_t field, enum wire_type type)
{
    struct bytes rest = reading->rest;
    uint32_t got_field = 0;
    enum wire_type got_type = WIRE_VARINT;
    if (reading->failed || rest.size_bytes == 0)
        return false;
    if (!wire_take_tag(&rest, &got_field, &got_type)) {
        reading->failed = true;
        return false;
    }
    if (got_field != field || got_type != type)
        return false;
    reading->rest = rest;
    return true;
}

static struct bytes take_text(struct reading *reading, uint32_t field)
{
    struct bytes value = bytes_of(NULL, 0);
    if (next_is(reading, field, WIRE_BYTES) && (!wire_take_bytes(&reading->rest, &value) || value.size_bytes == 0))
        reading->failed = true;
    return value;
}

static uint64_t take_number(struct reading *reading, uint32_t field)
{
    uint64_t value = 0;
    if (next_is(reading, field, WIRE_VARINT) && (!wire_take_varint(&reading->rest, &value) || value == 0))
        reading->failed = true;
    return value;
}

static bool all_read(const struct reading *reading)
{
    return !reading->failed && reading->rest.size_bytes == 0;
}

static int not_canonical(struct err *err)
{
    return err_set(err, ERR_CORRUPT, "the payload of a control event is not in canonical form");
}

int control_authority_parse(enum control_kind kind, struct bytes payload, struct control_authority *ret,
                            struct err *err)
{
    PRE(control_is_authority(kind));
    struct reading reading = {.rest = payload};
    struct control_authority authority = {.successor = take_text(&reading, 1)};
    struct bytes basis = take_text(&reading, 2);
    authority.previous = take_text(&reading, 3);
    authority.actor = take_text(&reading, 4);
    authority.reason = take_text(&reading, 5);
    uint64_t forced = take_number(&reading, 6);
    uint64_t unfenced = take_number(&reading, 7);
    authority.forced = forced == 1;
    authority.unfenced = unfenced == 1;
    if (!all_read(&reading) || forced > 1 || unfenced > 1)
        return not_canonical(err);
    if (check_authority_texts(&authority, err) != 0)
        return err_wrap(err, ERR_CORRUPT, "the payload of a control event");
    if (position_parse(basis, &authority.basis, NULL) != 0 || !position_is_canonical(basis, &authority.basis) ||
        !shape_fits(kind, &authority))
        return err_set(err, ERR_CORRUPT, "an authority event names no successor, or a basis that is not a position");
    *ret = authority;
    return 0;
}

int control_settled_parse(struct bytes payload, struct control_settled *ret, struct err *err)
{
    struct reading reading = {.rest = payload};
    struct control_settled settled = {.index = 0};
    struct bytes region = take_text(&reading, 1);
    settled.incarnation = take_number(&reading, 2);
    settled.index = take_number(&reading, 3);
    struct bytes id = take_text(&reading, 4);
    uint64_t settlement = take_number(&reading, 5);
    settled.actor = take_text(&reading, 6);
    settled.reason = take_text(&reading, 7);
    if (!all_read(&reading))
        return not_canonical(err);
    if (region.size_bytes == 0 || region.size_bytes > POSITION_REGION_MAX_BYTES || id.size_bytes != ENTRY_ID_SIZE ||
        memchr(region.data, 0, region.size_bytes) != NULL || settlement > SETTLED_COMPENSATE)
        return err_set(err, ERR_CORRUPT, "a settlement names no place, no event or no known decision");
    memcpy(settled.region, region.data, region.size_bytes);
    memcpy(settled.event_id, id.data, ENTRY_ID_SIZE);
    settled.settlement = (enum settlement)settlement;
    if (check_settled(&settled, err) != 0)
        return err_wrap(err, ERR_CORRUPT, "the payload of a settlement");
    *ret = settled;
    return 0;
}
