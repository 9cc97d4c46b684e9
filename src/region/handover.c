/* A planned move, as an operator asks for it: the home lets go of partitions, a group at a time.
 *
 * Whoever lets go of a partition stops accepting for it, and nobody accepts until the successor has pulled the release,
 * indexed it, taken the partition, and indexed that. The work for one group is that of all its partitions, so it is the
 * size of a group that decides how long each one pauses, and not how many are moved. The next group is let go of when
 * the one before the last was taken: one is always on its way while another is being taken. A successor that dies in
 * the middle has two groups at most that wait for it.
 *
 * The command is answered when its last group was let go of, or after a while with what remains: then it is asked
 * again.
 *
 * Invariants: groups stay open until their last partition is no longer on its way, also after the command's end. */
#include <stdio.h>

#include "base/assert.h"
#include "region/region_internal.h"

enum { ANSWER_AFTER_US = 5 * 1000 * 1000 };

/* What the region accepted under earlier incarnations goes with the partition, too: the successor takes with what it
 * holds, and what it does not hold then would be late. This cannot be forced. */
static int check_earlier_logs(const struct region *region, size_t peer, struct err *err)
{
    for (size_t i = 1; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        if (log->state == REGION_LOG_RETIRED && log->held[peer] < log->durable_size)
            return err_set(err, ERR_BUSY,
                           "region %s holds %llu of %llu entries of %s, an earlier log of this region; retry",
                           region->config.peers[peer].region, (unsigned long long)log->held[peer],
                           (unsigned long long)log->durable_size, log->origin);
    }
    return 0;
}

static int check_successor(const struct region *region, const struct region_control *control, struct err *err)
{
    size_t peer = homes_peer_named(region, control->region);
    char what[REGION_CHECK_DETAIL_MAX_BYTES];
    if (peer == region->config.peer_count)
        return err_set(err, ERR_INVALID, "region \"%.63s\" is not a peer; a partition can only be handed to one",
                       control->region);
    if (!homes_may_own(region, control->region, control->context))
        return homes_refuse_residency(control->region, control->context, err);
    int code = check_earlier_logs(region, peer, err);
    if (code != 0 || region->peers[peer].up)
        return code;
    snprintf(what, sizeof(what), "region %s is not reachable from here: nobody would be the home until it is",
             control->region);
    return control_check_forced(control, what, err);
}

/* Whether the partition is still to be let go of. */
static bool is_to_go(const struct region *region, const struct region_control *control, struct bytes partition,
                     struct authority_now *ret)
{
    return authority_now(&region->homes.authority, control->context, partition, ret, NULL) == 0 && !ret->released &&
           strcmp(ret->region, region->config.region) == 0;
}

/* Or was let go of by this region to that one: a command that was answered half-way is asked again. */
static bool has_gone(const struct region *region, const struct region_control *control, struct bytes partition)
{
    const struct authority_table *table = &region->homes.authority;
    struct authority_now now;
    if (authority_now(table, control->context, partition, &now, NULL) != 0)
        return false;
    if (strcmp(now.region, region->config.region) == 0)
        return strcmp(now.successor, control->region) == 0;
    return strcmp(now.region, control->region) == 0 &&
           authority_was_home(table, control->context, partition, region->config.region);
}

static int check_named(const struct region *region, const struct region_control *control, struct err *err)
{
    size_t to_go = 0;
    for (size_t i = 0; i < control->partition_count; i++) {
        struct authority_now now;
        bool goes = is_to_go(region, control, control->partitions[i], &now);
        if (!goes && !has_gone(region, control, control->partitions[i]))
            return control_refuse(region, control, control->partitions[i], err);
        to_go += goes;
    }
    return to_go == 0 && control->partition_count > 0 ? control_refuse(region, control, control->partitions[0], err)
                                                      : 0;
}

static int check(const struct region *region, const struct region_control *control, struct err *err)
{
    int code = control_check(region, control, err);
    if (code == 0)
        code = check_successor(region, control, err);
    if (code == 0 && region->moving.command != NULL)
        code = err_set(err, ERR_BUSY, "another handover is under way here; retry after a pause");
    return code == 0 ? check_named(region, control, err) : code;
}

int handover_begin(struct region *region, struct region_command *command, struct region_update *update)
{
    struct moving *moving = &region->moving;
    command->control->changed = 0;
    command->control->remaining = 0;
    int code = check(region, command->control, &command->refusal.err);
    if (code != 0)
        return code;
    moving->command = command;
    moving->started_us = region->now.mono_us;
    moving->at = 0;
    handover_move(region, update);
    return 0;
}

/* --- Groups --- */

static void close_groups(struct region *region)
{
    struct moving *moving = &region->moving;
    while (moving->group_count > 0) {
        const struct moving_group *oldest = &moving->groups[0];
        struct authority_now now;
        if (authority_now(&region->homes.authority, bytes_of_string(oldest->context),
                          bytes_of_string(oldest->partition), &now, NULL) == 0 &&
            now.released && now.epoch == oldest->epoch && strcmp(now.region, region->config.region) == 0)
            return;
        moving->groups[0] = moving->groups[1];
        moving->group_count--;
    }
}

/* The next partition that is to go; false: there is none. */
static bool next(struct region *region, struct bytes *ret, struct authority_now *ret_now)
{
    struct moving *moving = &region->moving;
    const struct region_control *control = moving->command->control;
    if (control->partition_count == 0) {
        while (authority_partition_next(&region->homes.authority, control->context, &moving->at, ret)) {
            if (is_to_go(region, control, *ret, ret_now))
                return true;
        }
        return false;
    }
    while (moving->at < control->partition_count) {
        *ret = control->partitions[moving->at++];
        if (is_to_go(region, control, *ret, ret_now))
            return true;
    }
    return false;
}

static int release(struct region *region, struct bytes partition, const struct authority_now *now)
{
    const struct region_control *control = region->moving.command->control;
    const struct control_authority change = {.successor = bytes_of_string(control->region),
                                             .previous = bytes_of_string(now->region),
                                             .actor = control->actor,
                                             .reason = control->reason,
                                             .forced = control->forced};
    return homes_append(region, CONTROL_AUTHORITY_RELEASED, control->context, partition, now->epoch, &change, NULL);
}

static void note_last(struct moving_group *group, struct bytes context, struct bytes partition, uint64_t epoch)
{
    snprintf(group->context, sizeof(group->context), "%.*s", (int)context.size_bytes, (const char *)context.data);
    snprintf(group->partition, sizeof(group->partition), "%.*s", (int)partition.size_bytes,
             (const char *)partition.data);
    group->epoch = epoch;
}

/* Lets go of one group. False: there is no room or no memory now, and nothing was let go of, or nothing is left;
 * *ret_done: that. */
static bool release_group(struct region *region, struct region_update *update, bool *ret_done)
{
    struct moving *moving = &region->moving;
    struct region_command *command = moving->command;
    struct moving_group group;
    size_t at_before = moving->at;
    size_t count = 0;
    struct bytes partition;
    struct authority_now now;
    if (sequencer_control_room(region, HANDOVER_GROUP, CONTROL_PAYLOAD_MAX_BYTES / 8, NULL) != 0)
        return false;
    struct sequencer_mark mark = sequencer_mark(region);
    while (count < HANDOVER_GROUP && next(region, &partition, &now)) {
        if (release(region, partition, &now) != 0) {
            sequencer_take_back(region, &mark);
            moving->at = at_before;
            return false;
        }
        note_last(&group, command->control->context, partition, now.epoch);
        count++;
    }
    *ret_done = count < HANDOVER_GROUP;
    if (count == 0)
        return false;
    command->control->changed += count;
    command->ticket = mirror_size(&region_own(region)->mirror);
    moving->groups[moving->group_count++] = group;
    homes_apply(region, update);
    sequencer_flush(region, update);
    return true;
}

static size_t count_left(struct region *region)
{
    struct bytes partition;
    struct authority_now now;
    size_t count = 0;
    while (next(region, &partition, &now))
        count++;
    return count;
}

static int conclude(struct region *region, bool done, struct err *err)
{
    struct region_control *control = region->moving.command->control;
    if (!done)
        control->remaining = count_left(region);
    if (done && control->changed == 0 && control->partition_count == 0)
        return err_set(err, ERR_NOT_FOUND, "no partition of context \"%.*s\" has its home in region %s",
                       homes_shown(control->context), (const char *)control->context.data, region->config.region);
    if (!done && control->changed == 0)
        return err_set(
            err, ERR_UNAVAILABLE,
            "region %s does not take what was let go to it, and so nothing more is: it has to be started, or "
            "failed over from",
            control->region);
    return 0;
}

void handover_move(struct region *region, struct region_update *update)
{
    struct moving *moving = &region->moving;
    bool done = false;
    close_groups(region);
    if (moving->command == NULL)
        return;
    bool accepting = region_own(region)->state == REGION_LOG_ACCEPTING;
    while (accepting && !done && moving->group_count < HANDOVER_GROUPS_OPEN && release_group(region, update, &done))
        continue;
    if (accepting && !done && region->now.mono_us < handover_deadline_us(region))
        return;
    struct region_command *command = moving->command;
    int code = conclude(region, done, &command->refusal.err);
    moving->command = NULL;
    sequencer_finish(region, command, code, update);
}

uint64_t handover_deadline_us(const struct region *region)
{
    return region->moving.command == NULL ? REGION_NEVER : region->moving.started_us + ANSWER_AFTER_US;
}
