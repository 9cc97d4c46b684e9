/* Creating and changing contexts: decided by the home of the partition of "$system" that has the context's name.
 *
 * A definition is a control event like a change of owner: it counts here from the moment it stands in the own log
 * (homes.c applies it at the end of the step), and in other regions when they have stored and applied it. Whoever asks
 * says which version is in force, so two operators cannot change a context at once without one of them hearing of it.
 *
 * What is refused: domain/redefine.h has what a promise forbids, context_check_cluster what this cluster cannot do. */
#include <stdio.h>

#include "base/planted.h"
#include "domain/definition.h"
#include "domain/redefine.h"
#include "region/region_internal.h"

/* --- Deciding --- */

static int check_version(const struct context *found, const struct region_define *define,
                         struct region_refusal *refusal)
{
    const char *name = define->context->name;
    if (found == NULL && define->expected_version != 0)
        return err_set(&refusal->err, ERR_NOT_FOUND, "there is no context %.64s; make it with `tally context create`",
                       name);
    if (found != NULL && define->expected_version == 0)
        return err_set(&refusal->err, ERR_EXISTS,
                       "context %.64s exists, its version is %llu; change it with `tally context set`", name,
                       (unsigned long long)context_version(found));
    if (found == NULL || context_version(found) == define->expected_version || PLANTED(accept_any_version))
        return 0;
    snprintf(refusal->expected, sizeof(refusal->expected), "%llu", (unsigned long long)define->expected_version);
    snprintf(refusal->actual, sizeof(refusal->actual), "%llu", (unsigned long long)context_version(found));
    return err_set(&refusal->err, ERR_VERSION_CONFLICT,
                   "context %.64s is at version %s, not %s: somebody has changed it (`tally context show %.64s`)", name,
                   refusal->actual, refusal->expected, name);
}

static int check_limits(const struct region *region, const struct context *found, struct err *err)
{
    if (found == NULL && context_count(region_contexts(region)) >= CONTEXTS_MAX)
        return err_set(err, ERR_TOO_LARGE, "there are %d contexts, which is the limit", CONTEXTS_MAX);
    if (found != NULL && context_version(found) >= CONTEXT_VERSIONS_MAX)
        return err_set(err, ERR_TOO_LARGE, "context %.64s has had %d versions, which is the limit", found->name,
                       CONTEXT_VERSIONS_MAX);
    return 0;
}

/* Whether partitions have changes of owner of their own: they are walked after "*" and the context's own homes. */
static bool partitions_apart(const struct region *region, const struct context *context)
{
    struct bytes partition;
    size_t count = 0;
    size_t at = 0;
    while (authority_partition_next(&region->homes.authority, bytes_of_string(context->name), &at, &partition))
        count++;
    return count > 1 + context->home_count;
}

/* A context that is made again, after its creation was overtaken, may have left entries behind, and their payloads. */
static int check_redefine(const struct region *region, const struct context *found, const struct context *wanted,
                          const struct redefine_facts *facts, struct err *err)
{
    const struct context *known = context_known(region_contexts(region), bytes_of_string(wanted->name));
    if (found == NULL)
        return known == NULL ? 0 : redefine_check_residency(known, wanted, facts, err);
    return redefine_check(found, wanted, facts, err);
}

static int encode(const struct context *context, uint64_t version, const struct position *basis,
                  const struct region_define *define, struct buf *out, struct err *err)
{
    const struct definition_source source = {
        .version = version, .context = context, .basis = basis, .actor = define->actor, .reason = define->reason};
    return definition_encode(&source, out, err);
}

/* Whether two contexts say the same: then they have one encoding. */
static int is_same(const struct context *found, const struct region_define *define, bool *ret, struct err *err)
{
    const struct position nothing = {.count = 0};
    struct buf before, after;
    buf_init(&before, DEFINITION_PAYLOAD_MAX_BYTES);
    buf_init(&after, DEFINITION_PAYLOAD_MAX_BYTES);
    int code = encode(found, 1, &nothing, define, &before, err);
    if (code == 0)
        code = encode(define->context, 1, &nothing, define, &after, err);
    *ret = code == 0 && bytes_equal(buf_bytes(&before), buf_bytes(&after));
    buf_free(&after);
    buf_free(&before);
    return code;
}

/* Sets define->already when it is in force, because it was asked before or because it says nothing new. */
static int check_all(struct region *region, struct region_command *command, const struct context *found)
{
    struct region_define *define = command->define;
    struct err *err = &command->refusal.err;
    uint64_t expected = define->expected_version;
    const char *regions[REGION_PEERS_MAX + 1] = {region->config.region};
    const struct redefine_facts facts = {.partitions_apart = found != NULL && partitions_apart(region, found),
                                         .region_count = region->config.peer_count + 1,
                                         .regions = regions};
    for (size_t i = 0; i < region->config.peer_count; i++)
        regions[i + 1] = region->config.peers[i].region;
    int code = context_check(define->context, err);
    if (code == 0)
        code = context_check_cluster(define->context, regions, facts.region_count, err);
    if (code == 0 && found != NULL)
        code = is_same(found, define, &define->already, err);
    if (define->already && (context_version(found) == expected || context_version(found) == expected + 1))
        return code;
    define->already = false;
    if (code == 0)
        code = check_version(found, define, &command->refusal);
    if (code == 0)
        code = check_limits(region, found, err);
    return code == 0 ? check_redefine(region, found, define->context, &facts, err) : code;
}

static int append_definition(struct region *region, const struct region_define *define, uint64_t epoch, struct err *err)
{
    struct position basis = homes_position(region, true);
    struct buf payload;
    int code = sequencer_control_room(region, 1, DEFINITION_PAYLOAD_MAX_BYTES, err);
    if (code != 0)
        return code;
    buf_init(&payload, DEFINITION_PAYLOAD_MAX_BYTES);
    code = encode(define->context, define->version, &basis, define, &payload, err);
    const struct control_event event = {.kind = CONTROL_CONTEXT_DEFINED,
                                        .context = BYTES_LITERAL(CONTEXT_SYSTEM),
                                        .partition = bytes_of_string(define->context->name),
                                        .epoch = epoch,
                                        .payload = buf_bytes(&payload)};
    if (code == 0)
        code = sequencer_control(region, &event, err);
    buf_free(&payload);
    return code;
}

int contexts_define(struct region *region, struct region_command *command)
{
    struct region_define *define = command->define;
    struct err *err = &command->refusal.err;
    struct bytes name = bytes_of_string(define->context->name);
    const struct region_stream_write about = {.context = BYTES_LITERAL(CONTEXT_SYSTEM), .partition = name};
    const struct context *found = context_find(region_contexts(region), name);
    uint64_t epoch = 0;
    define->already = false;
    if (control_name_reserved(name))
        return err_set(err, ERR_INVALID, "context %.64s: names that begin with $, and \"*\", are kept for the system",
                       define->context->name);
    int code = homes_decide(region, &about, &epoch, &command->refusal);
    if (code == 0)
        code = check_all(region, command, found);
    if (code != 0)
        return code;
    define->version = define->already ? context_version(found) : define->expected_version + 1;
    if (!define->already && !define->dry_run)
        code = append_definition(region, define, epoch, err);
    command->ticket = mirror_size(&region_own(region)->mirror);
    return code;
}
