/* Payloads of $ContextDefined (definition.h).
 *
 * A list is parsed twice: once to see that it is well formed and sorted, without memory, and once to copy it into the
 * block of memory that is the context, whose size is known by then. */
#include "domain/definition.h"

#include <assert.h>

#include "base/assert.h"
#include "base/mem.h"
#include "domain/fields.h"
#include "entry/entry.h"

enum field {
    FIELD_VERSION = 1,
    FIELD_BASIS,
    FIELD_DEFAULT_HOME,
    FIELD_HOMES,
    FIELD_TOPOLOGY,
    FIELD_ISOLATION,
    FIELD_LEASE_MS,
    FIELD_FAILOVER,
    FIELD_PAYLOAD_REGIONS,
    FIELD_TYPES,
    FIELD_PEERS,
    FIELD_WHEN_AWAY,
    FIELD_BOUND_EVENTS,
    FIELD_BOUND_SECONDS,
    FIELD_BOUND_THEN,
    FIELD_ACTOR,
    FIELD_REASON,
};

/* What the numbers of proto/tally/v1/control.proto are here. */
static_assert(TOPOLOGY_HOME_AFFINITY == 0 && TOPOLOGY_ACTIVE_PASSIVE == 1 && TOPOLOGY_MULTI_HOME == 2, "in logs");
static_assert(ISOLATION_ACCEPT == 0 && ISOLATION_FENCE == 1, "in logs");
static_assert(FAILOVER_MANUAL == 0 && FAILOVER_ASSISTED == 1 && FAILOVER_AUTOMATIC == 2, "in logs");
static_assert(AWAY_REFUSE == 0 && AWAY_DEGRADE == 1, "in logs");
static_assert(BOUND_WARN == 0 && BOUND_THROTTLE == 1 && BOUND_REFUSE == 2, "in logs");
static_assert(LATE_MANUAL == 0 && LATE_ACCEPT == 1 && LATE_DROP_DUPLICATE == 2 && LATE_COMPENSATE == 3, "in logs");

/* --- Members of lists --- */

struct home_member {
    struct bytes partition;
    struct bytes region;
};

struct type_member {
    struct bytes type;
    uint64_t late;
    uint64_t override;
    uint64_t commutative;
};

static bool is_region(struct bytes name)
{
    return entry_check_name(name, POSITION_REGION_MAX_BYTES, "region", NULL) == 0;
}

static bool is_name(struct bytes name)
{
    return entry_check_name(name, ENTRY_NAME_MAX_BYTES, "name", NULL) == 0;
}

static bool take_home(struct bytes encoded, struct home_member *ret)
{
    struct fields fields = {.rest = encoded};
    ret->partition = fields_take_text(&fields, 1);
    ret->region = fields_take_text(&fields, 2);
    return fields_all_read(&fields) && is_name(ret->partition) && is_region(ret->region);
}

/* A rule that says what no rule would say is left out. */
static bool take_type(struct bytes encoded, struct type_member *ret)
{
    struct fields fields = {.rest = encoded};
    ret->type = fields_take_text(&fields, 1);
    ret->late = fields_take_number(&fields, 2);
    ret->override = fields_take_number(&fields, 3);
    ret->commutative = fields_take_number(&fields, 4);
    return fields_all_read(&fields) && is_name(ret->type) && ret->late <= LATE_COMPENSATE && ret->override <= 1 &&
           ret->commutative <= 1 && (ret->late != 0 || ret->override != 0 || ret->commutative != 0);
}

/* The name that a member of a list is sorted by. */
static bool take_name(enum field field, struct bytes encoded, struct bytes *ret)
{
    struct home_member home;
    struct type_member type;
    bool fits = false;
    if (field == FIELD_HOMES) {
        fits = take_home(encoded, &home);
        *ret = home.partition;
    } else if (field == FIELD_TYPES) {
        fits = take_type(encoded, &type);
        *ret = type.type;
    } else {
        fits = is_region(encoded);
        *ret = encoded;
    }
    return fits;
}

/* --- Writing --- */

struct writing {
    struct buf *out;
    int code;
};

static void put_number(struct writing *writing, enum field field, uint64_t value)
{
    if (writing->code == 0)
        writing->code = fields_put_number(writing->out, field, value);
}

static void put_text(struct writing *writing, enum field field, struct bytes value)
{
    if (writing->code == 0)
        writing->code = fields_put_text(writing->out, field, value);
}

static int encode_home(const struct context_home *home, struct buf *out)
{
    int code = fields_put_text(out, 1, bytes_of_string(home->partition));
    return code == 0 ? fields_put_text(out, 2, bytes_of_string(home->region)) : code;
}

static int encode_type(const struct context_type *type, struct buf *out)
{
    int code = fields_put_text(out, 1, bytes_of_string(type->type));
    if (code == 0)
        code = fields_put_number(out, 2, type->late);
    if (code == 0)
        code = fields_put_number(out, 3, type->override);
    return code == 0 ? fields_put_number(out, 4, type->commutative) : code;
}

/* The name of a member of one of the three lists; NULL for a type that has nothing to say. */
static const char *name_of(const struct context *context, enum field field, size_t at)
{
    if (field == FIELD_HOMES)
        return context->homes[at].partition;
    if (field == FIELD_PAYLOAD_REGIONS)
        return context->rules.payload_regions[at];
    const struct context_type *type = &context->types[at];
    return type->late == LATE_MANUAL && !type->override && !type->commutative ? NULL : type->type;
}

static int encode_member(const struct context *context, enum field field, size_t at, struct buf *out)
{
    if (field == FIELD_HOMES)
        return encode_home(&context->homes[at], out);
    if (field == FIELD_TYPES)
        return encode_type(&context->types[at], out);
    return buf_append(out, bytes_of_string(context->rules.payload_regions[at]));
}

/* The least name above `last` (NULL: the least); count when there is none. */
static size_t next_in_order(const struct context *context, enum field field, size_t count, const char *last)
{
    size_t best = count;
    for (size_t i = 0; i < count; i++) {
        const char *name = name_of(context, field, i);
        bool above = name != NULL && (last == NULL || strcmp(name, last) > 0);
        if (above && (best == count || strcmp(name, name_of(context, field, best)) < 0))
            best = i;
    }
    return best;
}

static void put_list(struct writing *writing, const struct context *context, enum field field, size_t count)
{
    struct buf member;
    const char *last = NULL;
    buf_init(&member, DEFINITION_PAYLOAD_MAX_BYTES);
    for (size_t at = next_in_order(context, field, count, last); writing->code == 0 && at < count;
         at = next_in_order(context, field, count, last)) {
        buf_clear(&member);
        writing->code = encode_member(context, field, at, &member);
        if (writing->code == 0)
            writing->code = fields_put_member(writing->out, field, buf_bytes(&member));
        last = name_of(context, field, at);
    }
    buf_free(&member);
}

static void put_basis(struct writing *writing, const struct position *basis)
{
    struct buf text;
    buf_init(&text, CONTROL_BASIS_MAX_BYTES);
    if (writing->code == 0)
        writing->code = position_format(basis, &text);
    put_text(writing, FIELD_BASIS, buf_bytes(&text));
    buf_free(&text);
}

static void put_homes(struct writing *writing, const struct definition_source *source)
{
    if (source->version != 1)
        return;
    put_basis(writing, source->basis);
    put_text(writing, FIELD_DEFAULT_HOME, bytes_of_string(source->context->default_home));
    put_list(writing, source->context, FIELD_HOMES, source->context->home_count);
}

int definition_encode(const struct definition_source *source, struct buf *out, struct err *err)
{
    const struct context *context = source->context;
    const struct context_rules *rules = &context->rules;
    const struct promises *promises = &context->promises;
    struct definition written;
    size_t start = out->size_bytes;
    struct writing writing = {.out = out};
    put_number(&writing, FIELD_VERSION, source->version);
    put_homes(&writing, source);
    put_number(&writing, FIELD_TOPOLOGY, rules->topology);
    put_number(&writing, FIELD_ISOLATION, rules->isolation);
    put_number(&writing, FIELD_LEASE_MS, rules->lease_ms);
    put_number(&writing, FIELD_FAILOVER, rules->failover);
    put_list(&writing, context, FIELD_PAYLOAD_REGIONS, rules->payload_region_count);
    put_list(&writing, context, FIELD_TYPES, context->type_count);
    put_number(&writing, FIELD_PEERS, promises->durability.peers);
    put_number(&writing, FIELD_WHEN_AWAY, promises->durability.when_away);
    put_number(&writing, FIELD_BOUND_EVENTS, promises->recovery_point.events);
    put_number(&writing, FIELD_BOUND_SECONDS, promises->recovery_point.seconds);
    put_number(&writing, FIELD_BOUND_THEN, promises->recovery_point.then);
    put_text(&writing, FIELD_ACTOR, source->actor);
    put_text(&writing, FIELD_REASON, source->reason);
    int code = writing.code;
    if (code == ERR_NO_MEMORY)
        code = err_no_memory(err, "the definition of a context");
    else if (code != 0 || out->size_bytes - start > DEFINITION_PAYLOAD_MAX_BYTES)
        code = err_set(err, ERR_TOO_LARGE, "the definition of context %.64s takes more than %d bytes", context->name,
                       DEFINITION_PAYLOAD_MAX_BYTES);
    else if (definition_parse(bytes_of(out->data + start, out->size_bytes - start), &written, NULL) != 0)
        code = err_set(err, ERR_INVALID,
                       "the definition of context %.64s has a name, a number or a text that cannot be written",
                       context->name);
    if (code != 0)
        out->size_bytes = start;
    return code;
}

/* --- Reading --- */

/* A whole list: well formed, and sorted. *ret_members is what of the payload it takes. */
static bool take_list(struct fields *fields, enum field field, size_t max, size_t *ret_count, struct bytes *ret_members)
{
    const uint8_t *start = fields->rest.data;
    struct bytes encoded;
    struct bytes last = bytes_of(NULL, 0);
    size_t count = 0;
    while (fields_take_member(fields, field, &encoded)) {
        struct bytes name;
        if (count == max || !take_name(field, encoded, &name) || (count > 0 && bytes_compare(last, name) >= 0))
            return false;
        last = name;
        count++;
    }
    *ret_count = count;
    *ret_members = bytes_of(start, count == 0 ? 0 : (size_t)(fields->rest.data - start));
    return !fields->failed;
}

static bool take_homes(struct fields *fields, struct definition *ret)
{
    struct bytes basis = fields_take_text(fields, FIELD_BASIS);
    ret->default_home = fields_take_text(fields, FIELD_DEFAULT_HOME);
    if (!take_list(fields, FIELD_HOMES, CONTEXT_HOMES_MAX, &ret->home_count, &ret->homes) ||
        position_parse(basis, &ret->basis, NULL) != 0 || !position_is_canonical(basis, &ret->basis))
        return false;
    return ret->version == 1 ? is_region(ret->default_home)
                             : basis.size_bytes == 0 && ret->default_home.size_bytes == 0 && ret->home_count == 0;
}

/* A number up to `max`. */
static uint64_t take_up_to(struct fields *fields, enum field field, uint64_t max)
{
    uint64_t value = fields_take_number(fields, field);
    fields->failed = fields->failed || value > max;
    return value;
}

static void take_rules(struct fields *fields, struct context_rules *ret)
{
    ret->topology = (enum topology)take_up_to(fields, FIELD_TOPOLOGY, TOPOLOGY_MULTI_HOME);
    ret->isolation = (enum isolation)take_up_to(fields, FIELD_ISOLATION, ISOLATION_FENCE);
    ret->lease_ms = (uint32_t)take_up_to(fields, FIELD_LEASE_MS, RULES_LEASE_MAX_MS);
    ret->failover = (enum failover_mode)take_up_to(fields, FIELD_FAILOVER, FAILOVER_AUTOMATIC);
}

static void take_promises(struct fields *fields, struct promises *ret)
{
    struct recovery_point *point = &ret->recovery_point;
    ret->durability.peers = (uint32_t)take_up_to(fields, FIELD_PEERS, PROMISES_PEERS_MAX);
    ret->durability.when_away = (enum when_away)take_up_to(fields, FIELD_WHEN_AWAY, AWAY_DEGRADE);
    point->events = take_up_to(fields, FIELD_BOUND_EVENTS, PROMISES_EVENTS_MAX);
    point->seconds = take_up_to(fields, FIELD_BOUND_SECONDS, PROMISES_SECONDS_MAX);
    point->then = (enum bound_action)take_up_to(fields, FIELD_BOUND_THEN, BOUND_REFUSE);
}

static bool is_text(struct bytes text, size_t max_bytes)
{
    return text.size_bytes == 0 || entry_check_name(text, max_bytes, "text", NULL) == 0;
}

int definition_parse(struct bytes payload, struct definition *ret, struct err *err)
{
    struct fields fields = {.rest = payload};
    struct definition parsed = {.version = fields_take_number(&fields, FIELD_VERSION)};
    bool fits = payload.size_bytes <= DEFINITION_PAYLOAD_MAX_BYTES && parsed.version >= 1 &&
                parsed.version <= DEFINITION_VERSION_MAX && take_homes(&fields, &parsed);
    if (fits)
        take_rules(&fields, &parsed.rules);
    fits = fits && take_list(&fields, FIELD_PAYLOAD_REGIONS, RULES_PAYLOAD_REGIONS_MAX, &parsed.payload_region_count,
                             &parsed.payload_regions);
    fits = fits && take_list(&fields, FIELD_TYPES, CONTEXT_TYPES_MAX, &parsed.type_count, &parsed.types);
    if (fits) {
        take_promises(&fields, &parsed.promises);
        parsed.actor = fields_take_text(&fields, FIELD_ACTOR);
        parsed.reason = fields_take_text(&fields, FIELD_REASON);
    }
    if (!fits || !fields_all_read(&fields) || !is_text(parsed.actor, CONTROL_ACTOR_MAX_BYTES) ||
        !is_text(parsed.reason, CONTROL_REASON_MAX_BYTES))
        return err_set(err, ERR_CORRUPT, "the payload of the definition of a context is not in canonical form");
    *ret = parsed;
    return 0;
}

/* --- Building --- */

/* One block: the context, its source, its arrays, its texts. */
struct block {
    struct context context;
    struct context_source source;
};

static const char *put(char **end, struct bytes text)
{
    char *start = *end;
    if (text.size_bytes > 0)
        memcpy(start, text.data, text.size_bytes);
    start[text.size_bytes] = '\0';
    *end = start + text.size_bytes + 1;
    return start;
}

static bool next_member(struct fields *list, enum field field, struct bytes *ret)
{
    bool taken = fields_take_member(list, field, ret);
    INVARIANT(!list->failed); /* it was parsed */
    return taken;
}

static void build_homes(const struct definition *definition, struct context_home *homes, char **texts)
{
    struct fields list = {.rest = definition->homes};
    struct bytes encoded;
    struct home_member member;
    for (size_t i = 0; next_member(&list, FIELD_HOMES, &encoded); i++) {
        bool taken = take_home(encoded, &member);
        INVARIANT(taken);
        homes[i].partition = put(texts, member.partition);
        homes[i].region = put(texts, member.region);
    }
}

static void build_types(const struct definition *definition, struct context_type *types, char **texts)
{
    struct fields list = {.rest = definition->types};
    struct bytes encoded;
    struct type_member member;
    for (size_t i = 0; next_member(&list, FIELD_TYPES, &encoded); i++) {
        bool taken = take_type(encoded, &member);
        INVARIANT(taken);
        types[i] = (struct context_type){.type = put(texts, member.type),
                                         .late = (enum late_policy)member.late,
                                         .override = member.override == 1,
                                         .commutative = member.commutative == 1};
    }
}

static void build_payload_regions(const struct definition *definition, const char **regions, char **texts)
{
    struct fields list = {.rest = definition->payload_regions};
    struct bytes encoded;
    for (size_t i = 0; next_member(&list, FIELD_PAYLOAD_REGIONS, &encoded); i++)
        regions[i] = put(texts, encoded);
}

struct context *definition_build(struct bytes name, const struct definition *definition)
{
    size_t arrays = definition->home_count * sizeof(struct context_home) +
                    definition->payload_region_count * sizeof(char *) +
                    definition->type_count * sizeof(struct context_type);
    /* Each text of a list has a tag and a length in front of it, which is more than the zero behind it here. */
    size_t texts_max = definition->homes.size_bytes + definition->payload_regions.size_bytes +
                       definition->types.size_bytes + name.size_bytes + definition->default_home.size_bytes +
                       definition->actor.size_bytes + definition->reason.size_bytes + 4;
    struct block *block = mem_alloc_zero(1, sizeof(*block) + arrays + texts_max);
    if (block == NULL)
        return NULL;
    struct context_home *homes = (struct context_home *)(void *)(block + 1);
    const char **regions = (const char **)(void *)(homes + definition->home_count);
    struct context_type *types = (struct context_type *)(void *)(regions + definition->payload_region_count);
    char *texts = (char *)(types + definition->type_count);
    build_homes(definition, homes, &texts);
    build_payload_regions(definition, regions, &texts);
    build_types(definition, types, &texts);
    struct context *context = &block->context;
    context->name = put(&texts, name);
    context->default_home = put(&texts, definition->default_home);
    context->home_count = definition->home_count;
    context->homes = homes;
    context->type_count = definition->type_count;
    context->types = types;
    context->rules = definition->rules;
    context->rules.payload_region_count = definition->payload_region_count;
    context->rules.payload_regions = regions;
    context->promises = definition->promises;
    context->changed = definition->version - 1;
    context->source = &block->source;
    block->source.actor = put(&texts, definition->actor);
    block->source.reason = put(&texts, definition->reason);
    POST((size_t)(texts - (char *)(types + definition->type_count)) <= texts_max);
    return context;
}
