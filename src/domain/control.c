/* Payloads of control events (control.h), in the canonical protobuf form of entry/FORMAT.md: fields ascending, each at
 * most once, defaults left out, shortest varints. The parsers read field by field in order and refuse what is left. */
#include "domain/control.h"

#include "base/assert.h"
#include "domain/fields.h"

static const struct {
    enum control_kind kind;
    const char *type;
} kinds[] = {
    {CONTROL_AUTHORITY_RELEASED, "$AuthorityReleased"},
    {CONTROL_AUTHORITY_TAKEN, "$AuthorityTaken"},
    {CONTROL_AUTHORITY_SEIZED, "$AuthoritySeized"},
    {CONTROL_LATE_SETTLED, "$LateSettled"},
    {CONTROL_KEY_ROTATED, "$KeyRotated"},
    {CONTROL_KEY_RETIRED, "$KeyRetired"},
    {CONTROL_COMMAND_QUEUED, "$CommandQueued"},
    {CONTROL_COMMAND_ACCEPTED, "$CommandAccepted"},
    {CONTROL_COMMAND_REFUSED, "$CommandRefused"},
    {CONTROL_OVERRIDE_MADE, "$OverrideMade"},
    {CONTROL_CONTEXT_DEFINED, "$ContextDefined"},
    {CONTROL_LOG_CONTINUED, "$LogContinued"},
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

bool control_rests(enum control_kind kind)
{
    return control_begins_epoch(kind) || kind == CONTROL_LOG_CONTINUED;
}

bool control_is_authority(enum control_kind kind)
{
    return kind == CONTROL_AUTHORITY_RELEASED || control_rests(kind);
}

bool control_governs(enum control_kind kind)
{
    return control_is_authority(kind) || kind == CONTROL_CONTEXT_DEFINED;
}

bool control_stands_alone(enum control_kind kind)
{
    return control_rests(kind) || kind == CONTROL_CONTEXT_DEFINED;
}

bool control_is_key(enum control_kind kind)
{
    return kind == CONTROL_KEY_ROTATED || kind == CONTROL_KEY_RETIRED;
}

bool control_decides_command(enum control_kind kind)
{
    return kind == CONTROL_COMMAND_ACCEPTED || kind == CONTROL_COMMAND_REFUSED;
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
    bool people = authority->previous.size_bytes > 0 || authority->actor.size_bytes > 0 || authority->forced;
    return (kind != CONTROL_LOG_CONTINUED || !people) && (authority->successor.size_bytes > 0) == release &&
           (authority->basis.count == 0 || !release) &&
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

static int check_key(const struct control_key *key, struct err *err)
{
    int code = entry_check_name(key->role, CONTROL_KEY_ROLE_MAX_BYTES, "role of a key", err);
    if (code == 0 && hash_equal(&key->old_key, &key->new_key))
        code = err_set(err, ERR_INVALID, "a change of keys names two keys");
    return code;
}

static int check_decided(const struct control_decided *decided, struct err *err)
{
    int code = check_text(decided->message, CONTROL_REASON_MAX_BYTES, "message", err);
    if (code == 0)
        code = entry_check_name(bytes_of_string(decided->region), POSITION_REGION_MAX_BYTES, "region", err);
    if (code == 0 && (decided->incarnation == 0 || decided->code > 0 || decided->code < -CONTROL_CODE_MAX ||
                      (decided->code != 0) != (decided->message.size_bytes > 0)))
        code = err_set(err, ERR_INVALID, "a verdict names an incarnation from 1, and code and message when it refuses");
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
        code = fields_put_text(out, 2, buf_bytes(&text));
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
                       "forced seizure is unfenced; a continuation has a basis and a reason, and nothing else");
    code = fields_put_text(out, 1, authority->successor);
    if (code == 0)
        code = put_basis(out, &authority->basis);
    if (code == 0)
        code = fields_put_text(out, 3, authority->previous);
    if (code == 0)
        code = fields_put_text(out, 4, authority->actor);
    if (code == 0)
        code = fields_put_text(out, 5, authority->reason);
    if (code == 0)
        code = fields_put_number(out, 6, authority->forced);
    if (code == 0)
        code = fields_put_number(out, 7, authority->unfenced);
    return finish(out, start, code, err);
}

int control_settled_encode(const struct control_settled *settled, struct buf *out, struct err *err)
{
    size_t start = out->size_bytes;
    int code = check_settled(settled, err);
    if (code != 0)
        return code;
    code = fields_put_text(out, 1, bytes_of_string(settled->region));
    if (code == 0)
        code = fields_put_number(out, 2, settled->incarnation);
    if (code == 0)
        code = fields_put_number(out, 3, settled->index);
    if (code == 0)
        code = fields_put_text(out, 4, bytes_of(settled->event_id, ENTRY_ID_SIZE));
    if (code == 0)
        code = fields_put_number(out, 5, settled->settlement);
    if (code == 0)
        code = fields_put_text(out, 6, settled->actor);
    if (code == 0)
        code = fields_put_text(out, 7, settled->reason);
    return finish(out, start, code, err);
}

int control_decided_encode(const struct control_decided *decided, struct buf *out, struct err *err)
{
    size_t start = out->size_bytes;
    int code = check_decided(decided, err);
    if (code != 0)
        return code;
    code = fields_put_text(out, 1, bytes_of_string(decided->region));
    if (code == 0)
        code = fields_put_number(out, 2, decided->incarnation);
    if (code == 0)
        code = fields_put_number(out, 3, decided->index);
    if (code == 0)
        code = fields_put_text(out, 4, bytes_of(decided->event_id, ENTRY_ID_SIZE));
    if (code == 0)
        code = fields_put_number(out, 5, (uint64_t)-decided->code);
    if (code == 0)
        code = fields_put_text(out, 6, decided->message);
    return finish(out, start, code, err);
}

int control_key_encode(const struct control_key *key, struct buf *out, struct err *err)
{
    PRE(control_is_key(key->kind));
    size_t start = out->size_bytes;
    int code = check_key(key, err);
    if (code != 0)
        return code;
    code = fields_put_text(out, 1, key->role);
    if (code == 0)
        code = fields_put_text(out, 2, bytes_of(key->old_key.bytes, HASH_SIZE));
    if (code == 0)
        code = fields_put_text(out, 3, bytes_of(key->new_key.bytes, HASH_SIZE));
    return finish(out, start, code, err);
}

static int check_override(const struct control_override *override, struct err *err)
{
    if (override->event_count == 0 || override->reason.size_bytes == 0)
        return err_set(err, ERR_INVALID, "an override needs events, and a reason");
    return check_people(override->actor, override->reason, err);
}

int control_override_encode(const struct control_override *override, struct buf *out, struct err *err)
{
    size_t start = out->size_bytes;
    int code = check_override(override, err);
    if (code != 0)
        return code;
    code = fields_put_number(out, 1, override->event_count);
    if (code == 0)
        code = fields_put_text(out, 2, override->actor);
    if (code == 0)
        code = fields_put_text(out, 3, override->reason);
    return finish(out, start, code, err);
}

/* --- Reading --- */

static int not_canonical(struct err *err)
{
    return err_set(err, ERR_CORRUPT, "the payload of a control event is not in canonical form");
}

int control_authority_parse(enum control_kind kind, struct bytes payload, struct control_authority *ret,
                            struct err *err)
{
    PRE(control_is_authority(kind));
    struct fields reading = {.rest = payload};
    struct control_authority authority = {.successor = fields_take_text(&reading, 1)};
    struct bytes basis = fields_take_text(&reading, 2);
    authority.previous = fields_take_text(&reading, 3);
    authority.actor = fields_take_text(&reading, 4);
    authority.reason = fields_take_text(&reading, 5);
    uint64_t forced = fields_take_number(&reading, 6);
    authority.forced = forced == 1;
    uint64_t unfenced = fields_take_number(&reading, 7);
    authority.unfenced = unfenced == 1;
    if (!fields_all_read(&reading) || forced > 1 || unfenced > 1)
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
    struct fields reading = {.rest = payload};
    struct control_settled settled = {.index = 0};
    struct bytes region = fields_take_text(&reading, 1);
    settled.incarnation = fields_take_number(&reading, 2);
    settled.index = fields_take_number(&reading, 3);
    struct bytes id = fields_take_text(&reading, 4);
    uint64_t settlement = fields_take_number(&reading, 5);
    settled.actor = fields_take_text(&reading, 6);
    settled.reason = fields_take_text(&reading, 7);
    if (!fields_all_read(&reading))
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

int control_key_parse(enum control_kind kind, struct bytes payload, struct control_key *ret, struct err *err)
{
    PRE(control_is_key(kind));
    struct fields reading = {.rest = payload};
    struct control_key key = {.kind = kind, .role = fields_take_text(&reading, 1)};
    struct bytes old_key = fields_take_text(&reading, 2);
    struct bytes new_key = fields_take_text(&reading, 3);
    if (!fields_all_read(&reading))
        return not_canonical(err);
    if (old_key.size_bytes != HASH_SIZE || new_key.size_bytes != HASH_SIZE)
        return err_set(err, ERR_CORRUPT, "a change of keys names no keys");
    memcpy(key.old_key.bytes, old_key.data, HASH_SIZE);
    memcpy(key.new_key.bytes, new_key.data, HASH_SIZE);
    if (check_key(&key, err) != 0)
        return err_wrap(err, ERR_CORRUPT, "the payload of a change of keys");
    *ret = key;
    return 0;
}

int control_decided_parse(enum control_kind kind, struct bytes payload, struct control_decided *ret, struct err *err)
{
    PRE(control_decides_command(kind));
    struct fields reading = {.rest = payload};
    struct control_decided decided = {.index = 0};
    struct bytes region = fields_take_text(&reading, 1);
    decided.incarnation = fields_take_number(&reading, 2);
    decided.index = fields_take_number(&reading, 3);
    struct bytes id = fields_take_text(&reading, 4);
    uint64_t code = fields_take_number(&reading, 5);
    decided.message = fields_take_text(&reading, 6);
    if (!fields_all_read(&reading))
        return not_canonical(err);
    if (region.size_bytes == 0 || region.size_bytes > POSITION_REGION_MAX_BYTES || id.size_bytes != ENTRY_ID_SIZE ||
        memchr(region.data, 0, region.size_bytes) != NULL || code > CONTROL_CODE_MAX ||
        (code == 0) != (kind == CONTROL_COMMAND_ACCEPTED))
        return err_set(err, ERR_CORRUPT, "a verdict names no place, no command, or a code that does not fit its type");
    memcpy(decided.region, region.data, region.size_bytes);
    memcpy(decided.event_id, id.data, ENTRY_ID_SIZE);
    decided.code = -(int)code;
    if (check_decided(&decided, err) != 0)
        return err_wrap(err, ERR_CORRUPT, "the payload of a verdict");
    *ret = decided;
    return 0;
}

int control_override_parse(struct bytes payload, struct control_override *ret, struct err *err)
{
    struct fields reading = {.rest = payload};
    struct control_override override = {.event_count = fields_take_number(&reading, 1)};
    override.actor = fields_take_text(&reading, 2);
    override.reason = fields_take_text(&reading, 3);
    if (!fields_all_read(&reading))
        return not_canonical(err);
    if (check_override(&override, err) != 0)
        return err_wrap(err, ERR_CORRUPT, "the payload of an override");
    *ret = override;
    return 0;
}
