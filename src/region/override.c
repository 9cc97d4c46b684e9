/* Overrides (override.h): what cannot wait for the home, such as a card that must be frozen where it was stolen.
 *
 * The events are appended to the own log with ENTRY_FLAG_OVERRIDE, without a stream version, under the epoch of the
 * home as this region knows it, and behind a $OverrideMade entry with who and why. They have no effect on any stream:
 * readers see them beside it, marked (rpc/read.c), and in every region they are open items of reconciliation from the
 * start (index/index.h), which the home settles like late events (settle.c). Which types may do so the context says, at
 * this moment.
 *
 * An event that is known already, whether it has effect or not, is not appended again: so a repetition finds its first
 * override, wherever that was made. All of a batch stands in one block. */
#include "region/override.h"

#include "base/assert.h"
#include "base/planted.h"
#include "domain/residency.h"
#include "region/region_internal.h"

enum { OVERRIDE_PAYLOAD_MAX_BYTES = CONTROL_ACTOR_MAX_BYTES + CONTROL_REASON_MAX_BYTES + 64, SHOWN_MAX = 100 };

static int shown(struct bytes name)
{
    return (int)(name.size_bytes > SHOWN_MAX ? SHOWN_MAX : name.size_bytes);
}

static int check_type(const struct context *context, const struct region_new_event *event, struct err *err)
{
    const struct context_type *type = context_type_find(context, event->type);
    if ((type != NULL && type->override) || PLANTED(override_any_type))
        return 0;
    return err_set(
        err, ERR_PERMISSION,
        "context %.100s does not let events of type \"%.*s\" be accepted away from home: queue it, or ask the "
        "home",
        context->name, shown(event->type), (const char *)event->type.data);
}

static int check_write(const struct region *region, const struct region_stream_write *write, struct err *err)
{
    const struct context *context = context_find(region_contexts(region), write->context);
    int code = 0;
    if (context == NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no context \"%.*s\"", shown(write->context),
                       (const char *)write->context.data);
    if (!residency_allows(region_contexts(region), bytes_of_string(region->config.region), write->context))
        return err_set(err, ERR_PERMISSION, "region %s may not hold payloads of context %.100s (payload_regions)",
                       region->config.region, context->name);
    if (write->expectation != STREAM_ANY)
        return err_set(err, ERR_INVALID,
                       "an override takes no part in its stream's versions: expect any, the home decides");
    code = homes_check_created(region, write->context, err);
    for (size_t i = 0; code == 0 && i < write->event_count; i++)
        code = check_type(context, &write->events[i], err);
    return code;
}

static int check_command(const struct region *region, struct region_command *command)
{
    struct region_refusal *refusal = &command->refusal;
    int code = elsewhere_one_partition(command, &refusal->err);
    if (code == 0 && command->reason.size_bytes == 0)
        code = err_set(&refusal->err, ERR_INVALID, "an override needs a reason, which stays in the log");
    for (size_t i = 0; code == 0 && i < command->write_count; i++) {
        refusal->write_number = i;
        code = check_write(region, &command->writes[i], &refusal->err);
    }
    return code;
}

static int count_new(struct region *region, struct region_command *command, uint64_t *ret)
{
    uint64_t count = 0;
    for (size_t w = 0; w < command->write_count; w++) {
        const struct region_stream_write *write = &command->writes[w];
        for (size_t i = 0; i < write->event_count; i++) {
            struct sighting sighting;
            int code = sequencer_look(region, command, &write->events[i], true, &sighting, &command->refusal.err);
            if (code != 0)
                return code;
            count += !sighting.seen || PLANTED(override_each_time);
        }
    }
    *ret = count;
    return 0;
}

static int append_reason(struct region *region, struct region_command *command, uint64_t count, uint64_t epoch)
{
    struct err *err = &command->refusal.err;
    const struct region_stream_write *first = &command->writes[0];
    const struct control_override override = {.event_count = count, .actor = command->actor, .reason = command->reason};
    struct buf payload;
    buf_init(&payload, OVERRIDE_PAYLOAD_MAX_BYTES);
    int code = control_override_encode(&override, &payload, err);
    const struct control_event event = {.kind = CONTROL_OVERRIDE_MADE,
                                        .context = first->context,
                                        .partition = first->partition,
                                        .epoch = epoch,
                                        .payload = buf_bytes(&payload)};
    if (code == 0)
        code = sequencer_control(region, &event, err);
    buf_free(&payload);
    return code;
}

static int append_event(struct region *region, struct region_command *command, const struct region_stream_write *write,
                        const struct region_new_event *event, uint64_t epoch, struct region_result *result)
{
    struct sighting sighting;
    int code = sequencer_look(region, command, event, true, &sighting, &command->refusal.err);
    if (code != 0)
        return code;
    if (!sighting.seen || PLANTED(override_each_time))
        return sequencer_append(region, command, write, event, ENTRY_FLAG_OVERRIDE, 0, epoch, result);
    code = sequencer_repeat(command, event, &sighting, result);
    return code == 0 ? durability_repetition(region, command, &sighting.place) : code;
}

static int append_all(struct region *region, struct region_command *command, uint64_t epoch)
{
    struct region_result *result = command->results;
    uint64_t count = 0;
    int code = count_new(region, command, &count);
    if (code == 0 && count > 0)
        code = append_reason(region, command, count, epoch);
    for (size_t w = 0; code == 0 && w < command->write_count; w++) {
        struct region_stream_write *write = &command->writes[w];
        write->epoch = epoch;
        command->refusal.write_number = w;
        code = durability_decide(region, command, write, count == 0);
        for (size_t i = 0; code == 0 && i < write->event_count; i++)
            code = append_event(region, command, write, &write->events[i], epoch, result++);
    }
    return code;
}

int override_append(struct region *region, struct region_command *command)
{
    struct region_refusal *refusal = &command->refusal;
    const struct region_stream_write *first = &command->writes[0];
    struct authority_now now;
    memset(refusal, 0, sizeof(*refusal));
    command->copies = 0;
    command->degraded = false;
    command->ticket = 0;
    int code = check_command(region, command);
    if (code == 0)
        code = authority_now(&region->homes.authority, first->context, first->partition, &now, &refusal->err);
    if (code == 0)
        code = sequencer_room(region, command, 1, OVERRIDE_PAYLOAD_MAX_BYTES, &refusal->err);
    if (code != 0)
        return code;
    struct sequencer_mark mark = sequencer_mark(region);
    code = append_all(region, command, now.epoch);
    if (code != 0)
        sequencer_take_back(region, &mark);
    command->overridden = code == 0;
    return code;
}
