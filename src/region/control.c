/* Failover, as an operator asks for it: the checks, and the seizure of what a lost region was the home of. What is
 * planned is in handover.c; what the regions make of either, in homes.c. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "region/region_internal.h"

int control_check_forced(const struct region_control *control, const char *what, struct err *err)
{
    if (control->forced && control->reason.size_bytes > 0)
        return 0;
    return err_set(err, ERR_UNAVAILABLE, "%s; force it only with a reason, which stays in the log", what);
}

/* The first readiness check that fails, unless the operator goes on with a reason, and may. That this region may hold
 * the payloads cannot be forced. */
static int judge(const struct region_control *control, const struct region_failover_report *report, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < report->check_count; i++) {
        const struct region_check *check = &report->checks[i];
        if (!check->ok && check->passes_by_itself)
            code = err_set(err, ERR_BUSY, "%s; retry", check->detail);
        else if (!check->ok)
            code = control_check_forced(control, check->detail, err);
    }
    return code;
}

static int check_failover(const struct region *region, const struct region_control *control, bool *ret_unfenced,
                          struct err *err)
{
    struct region_failover_report *report = control->report;
    const struct region_command *asking = region->inquiry.command;
    if (asking != NULL && asking->control != control)
        return err_set(err, ERR_BUSY, "another failover is being decided here; retry after a pause");
    if (report == NULL && (report = mem_alloc(sizeof(*report))) == NULL)
        return err_no_memory(err, "the evidence");
    int code = region_failover_report(region, control->context, control->region, report, err);
    if (code == 0)
        failover_add_projections(report, control->projections_behind);
    bool may_own = homes_may_own(region, region->config.region, control->context) || PLANTED(own_without_payloads);
    if (code == 0 && !control->dry_run && !may_own)
        code = homes_refuse_residency(region->config.region, control->context, err);
    if (code == 0 && !control->dry_run)
        code = judge(control, report, err);
    *ret_unfenced = code == 0 && report->unfenced && control->forced;
    if (control->report == NULL)
        mem_free(report);
    return code;
}

bool homes_lost_with(const struct authority_now *now, const char *from)
{
    return strcmp(now->region, from) == 0 || (now->released && strcmp(now->successor, from) == 0);
}

/* Whether the command is about this partition: one that the lost region had, but for what it had let go to a region
 * that is there to take it. */
static bool concerned(const struct region *region, const struct region_control *control, struct bytes partition,
                      struct authority_now *ret)
{
    if (authority_now(&region->homes.authority, control->context, partition, ret, NULL) != 0)
        return false;
    size_t successor = homes_peer_named(region, ret->successor);
    bool will_be_taken = ret->released && strcmp(ret->successor, control->region) != 0 &&
                         successor < region->config.peer_count && region->peers[successor].up;
    return homes_lost_with(ret, control->region) && !will_be_taken;
}

int control_refuse(const struct region *region, const struct region_control *control, struct bytes partition,
                   struct err *err)
{
    struct authority_now now;
    int code = authority_now(&region->homes.authority, control->context, partition, &now, err);
    if (code != 0)
        return code;
    if (now.released)
        return err_set(
            err, ERR_WRONG_HOME,
            "partition \"%.*s\" is being handed over from %s to %s already; if %s is lost, fail over from it: "
            "tally failover %.*s --from %s --partition %.*s",
            homes_shown(partition), (const char *)partition.data, now.region, now.successor, now.successor,
            homes_shown(control->context), (const char *)control->context.data, now.successor, homes_shown(partition),
            (const char *)partition.data);
    return err_set(err, ERR_WRONG_HOME, "the home of partition \"%.*s\" is %s, not %s", homes_shown(partition),
                   (const char *)partition.data, now.region,
                   control->type == REGION_HANDOVER ? region->config.region : control->region);
}

/* The epoch that a seizure begins: above whatever may have begun without this region's knowing. A region that something
 * was let go to may have taken it, and a change that waits here for its basis counts elsewhere. */
static uint64_t epoch_above(const struct region *region, const struct authority_now *now, uint64_t waiting)
{
    bool may_be_taken = now->released && strcmp(now->successor, region->config.region) != 0;
    uint64_t known = now->epoch + may_be_taken;
    return (waiting > known ? waiting : known) + 1;
}

/* What all changes of one command say. */
struct changing {
    const struct region_control *control;
    struct position basis;
    uint64_t waiting;
    bool unfenced;
};

static int change_one(struct region *region, const struct changing *changing, struct bytes partition,
                      const struct authority_now *now, struct err *err)
{
    const struct region_control *control = changing->control;
    struct control_authority change = {.basis = changing->basis,
                                       .previous = bytes_of_string(now->region),
                                       .actor = control->actor,
                                       .reason = control->reason,
                                       .forced = control->forced,
                                       .unfenced = changing->unfenced};
    return homes_append(region, CONTROL_AUTHORITY_SEIZED, control->context, partition,
                        epoch_above(region, now, changing->waiting), &change, err);
}

static int change_named(struct region *region, struct region_control *control, const struct changing *changing,
                        struct err *err)
{
    for (size_t i = 0; i < control->partition_count; i++) {
        struct authority_now now;
        if (!concerned(region, control, control->partitions[i], &now))
            return control_refuse(region, control, control->partitions[i], err);
        int code = change_one(region, changing, control->partitions[i], &now, err);
        if (code != 0)
            return code;
        control->changed++;
    }
    return 0;
}

/* A change of homes fits into so much of a block, whatever it says. */
enum { ROOM_FOR_ANY_BYTES = 2 * CONTROL_PAYLOAD_MAX_BYTES };

static int change_all(struct region *region, struct region_control *control, const struct changing *changing,
                      struct err *err)
{
    struct bytes partition;
    size_t at = 0;
    while (authority_partition_next(&region->homes.authority, control->context, &at, &partition)) {
        struct authority_now now;
        if (!concerned(region, control, partition, &now))
            continue;
        if (control->changed == REGION_CONTROL_PARTITIONS_MAX ||
            block_room_bytes(region->open_block) < ROOM_FOR_ANY_BYTES) {
            control->remaining++;
            continue;
        }
        int code = change_one(region, changing, partition, &now, err);
        if (code != 0)
            return code;
        control->changed++;
    }
    INVARIANT(control->changed > 0 || control->remaining == 0); /* there was room for one */
    if (control->changed == 0)
        return err_set(err, ERR_NOT_FOUND,
                       "no partition of context \"%.*s\" has its home in region %s, or waits for it to take it",
                       homes_shown(control->context), (const char *)control->context.data, control->region);
    return 0;
}

int control_check(const struct region *region, const struct region_control *control, struct err *err)
{
    struct authority_now now;
    int code =
        authority_now(&region->homes.authority, control->context, bytes_of_string(CONTROL_ALL_PARTITIONS), &now, err);
    if (code == 0 && control->partition_count > REGION_CONTROL_PARTITIONS_MAX)
        code = err_set(err, ERR_TOO_LARGE, "at most %d partitions can be named at once", REGION_CONTROL_PARTITIONS_MAX);
    return code;
}

/* Of many partitions that are named, each change is far from the largest; of all, as many are changed as fit. */
static int room_for(struct region *region, const struct region_control *control, struct err *err)
{
    size_t count = control->partition_count;
    return count > 1 ? sequencer_control_room(region, count, CONTROL_PAYLOAD_MAX_BYTES / 16, err)
                     : sequencer_control_room(region, 1, ROOM_FOR_ANY_BYTES, err);
}

int control_seize(struct region *region, struct region_command *command, struct region_update *update)
{
    struct region_control *control = command->control;
    struct err *err = &command->refusal.err;
    control->changed = 0;
    control->remaining = 0;
    struct changing changing = {.control = control};
    int code = control_check(region, control, err);
    if (code == 0)
        code = check_failover(region, control, &changing.unfenced, err);
    if (code == 0 && control->until_us != 0 && region->now.mono_us > control->until_us && !PLANTED(decide_late))
        code = err_set(err, ERR_TIMEOUT, "what the failover rests on is too old: it is decided %llu ms too late",
                       (unsigned long long)((region->now.mono_us - control->until_us) / 1000));
    if (code != 0 || control->dry_run)
        return code;
    changing.waiting = homes_waiting_epoch(region, control->context);
    code = room_for(region, control, err);
    if (code != 0)
        return code;
    overlay_evict_indexed(&region->overlay);
    changing.basis = homes_position(region, true);
    struct sequencer_mark mark = sequencer_mark(region);
    code = control->partition_count > 0 ? change_named(region, control, &changing, err)
                                        : change_all(region, control, &changing, err);
    if (code != 0) {
        sequencer_take_back(region, &mark);
        return code;
    }
    command->ticket = mirror_size(&region_own(region)->mirror);
    homes_apply(region, update);
    region->assist_at_us = 0; /* what is seized is not lost any more */
    return 0;
}
