/* A failover is decided on what the survivors hold and grant now, not on what they told an interval ago: all peers are
 * asked afresh, and when those that are up have answered, or had time to, evidence and decision come from one step.
 *
 * The region that is to be seized from is asked too, and not waited for. One failover at a time: more would overwrite
 * each other's questions about leases. */
#include "base/assert.h"
#include "region/region_internal.h"

enum { INQUIRY_WAIT_US = 2 * 1000 * 1000 };

/* What is refused, or shown, without asking anybody. */
static bool is_hopeless(const struct region *region, const struct region_control *control)
{
    bool is_peer = false;
    for (size_t i = 0; i < region->config.peer_count; i++)
        is_peer = is_peer || strcmp(region->config.peers[i].region, control->region) == 0;
    return !is_peer || (region_own(region)->state != REGION_LOG_ACCEPTING && !control->dry_run);
}

static struct region_lease_question question_of(const struct region *region, const struct region_control *control)
{
    struct region_lease_question question = {.abstain = !control->dry_run};
    const struct context *context = context_find(region_contexts(region), control->context);
    if (context == NULL || lease_of(context) == 0)
        return (struct region_lease_question){.abstain = false};
    question.lease_us = lease_of(context);
    copy_string(question.about, sizeof(question.about), control->region);
    return question;
}

bool inquiry_begin(struct region *region, struct region_command *command, struct region_update *update)
{
    struct inquiry *inquiry = &region->inquiry;
    if (inquiry->command != NULL || is_hopeless(region, command->control))
        return false;
    memset(inquiry, 0, sizeof(*inquiry));
    inquiry->command = command;
    inquiry->started_us = region->now.mono_us;
    inquiry->question = question_of(region, command->control);
    for (size_t i = 0; i < region->config.peer_count; i++) {
        bool lost = strcmp(region->config.peers[i].region, command->control->region) == 0;
        inquiry->awaited[i] = region->peers[i].up && !lost;
        peers_ask(region, i, update);
    }
    return true;
}

void inquiry_heard(struct region *region, const struct region_event *event)
{
    struct inquiry *inquiry = &region->inquiry;
    if (inquiry->command == NULL || event->asked_us < inquiry->started_us)
        return;
    inquiry->answered[event->peer] = true;
    inquiry->abstains[event->peer] = event->abstains;
    inquiry->asked_us[event->peer] = event->asked_us;
    inquiry->left_us[event->peer] = event->left_us;
}

static uint64_t ends_at_us(const struct region *region)
{
    return region->inquiry.started_us + INQUIRY_WAIT_US;
}

static bool is_over(const struct region *region)
{
    const struct inquiry *inquiry = &region->inquiry;
    bool waits = false;
    for (size_t i = 0; i < region->config.peer_count; i++)
        waits = waits || (inquiry->awaited[i] && !inquiry->answered[i] && region->peers[i].up);
    return !waits || region->now.mono_us >= ends_at_us(region);
}

void inquiry_move(struct region *region, struct region_update *update)
{
    struct inquiry *inquiry = &region->inquiry;
    if (inquiry->command == NULL || !is_over(region))
        return;
    sequencer_decide(region, inquiry->command, update);
    inquiry->command = NULL;
}

uint64_t inquiry_deadline_us(const struct region *region)
{
    return region->inquiry.command == NULL ? REGION_NEVER : ends_at_us(region);
}
