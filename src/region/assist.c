/* Contexts whose failover is `assisted` or `automatic`: when a region that is the home of partitions does not answer,
 * every other one says so, says whether a failover would pass its checks, and says the command. It says it again when
 * that changes. Nothing is done by itself here: for `automatic`, takeover.h acts on what this finds.
 *
 * The checks are looked at as they stand with what the peers said last; the failover itself asks them afresh. */
#include <stdio.h>

#include "base/mem.h"
#include "region/region_internal.h"

enum { LOOK_EVERY_US = 1000 * 1000 };

static const struct region_check *first_failed(const struct region_failover_report *report)
{
    for (size_t i = 0; i < report->check_count; i++) {
        if (!report->checks[i].ok)
            return &report->checks[i];
    }
    return NULL;
}

static void advise(const struct region *region, const struct context *context, size_t peer,
                   const struct region_failover_report *report, struct context_state *state)
{
    const struct region_check *failed = first_failed(report);
    const char *name = region->config.peers[peer].region;
    int used = snprintf(state->advice, sizeof(state->advice),
                        "region %.63s, the home of %llu partitions of context %.64s, is lost; ", name,
                        (unsigned long long)report->partition_count, context->name);
    size_t left = sizeof(state->advice) - (size_t)used;
    if (failed == NULL)
        snprintf(state->advice + used, left, "ready: tally failover %.64s --from %.63s --reason WHY --server %.100s",
                 context->name, name, region->config.address);
    else
        snprintf(state->advice + used, left,
                 "NOT ready (%.30s): tally failover %.64s --from %.63s --dry-run --server %.100s", failed->name,
                 context->name, name, region->config.address);
    state->ready = failed == NULL;
    state->lost = peer;
    state->failed = failed == NULL ? (struct region_check){.ok = true} : *failed;
}

/* The first peer that is lost and the home of something. */
static void look(struct region *region, size_t at, struct region_failover_report *report, struct region_update *update)
{
    const struct context *context = context_at(region_contexts(region), at);
    struct context_state *state = &region->states[at];
    char before[sizeof(state->advice)];
    memcpy(before, state->advice, sizeof(before));
    state->advice[0] = '\0';
    state->ready = false;
    for (size_t i = 0; state->advice[0] == '\0' && i < region->config.peer_count; i++) {
        if (!region->peers[i].up && region->peers[i].reported &&
            region_failover_report(region, bytes_of_string(context->name), region->config.peers[i].region, report,
                                   NULL) == 0 &&
            report->partition_count > 0)
            advise(region, context, i, report, state);
    }
    if (strcmp(before, state->advice) != 0 && state->advice[0] != '\0')
        region_alarm(update, 0, bytes_of(NULL, 0), "%s", state->advice);
}

void assist_watch(struct region *region, struct region_update *update)
{
    struct region_failover_report *report = NULL;
    if (region->now.mono_us < region->assist_at_us)
        return;
    region->assist_at_us = REGION_NEVER;
    for (size_t i = 0; i < context_count(region_contexts(region)); i++) {
        const struct context *context = context_at(region_contexts(region), i);
        if (context == NULL || context->rules.failover == FAILOVER_MANUAL) {
            region->states[i].advice[0] = '\0'; /* it may have been another before */
            region->states[i].ready = false;
            continue;
        }
        region->assist_at_us = region->now.mono_us + LOOK_EVERY_US;
        if (report == NULL && (report = mem_alloc(sizeof(*report))) == NULL)
            return; /* looked at again in a while */
        if (update->effect_count + REGION_EFFECTS_SLACK / 2 < update->effect_capacity)
            look(region, i, report, update);
    }
    mem_free(report);
}

size_t region_losses(const struct region *region, struct region_loss ret[CONTEXT_PLACES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < context_count(region_contexts(region)); i++) {
        const struct context *context = context_at(region_contexts(region), i);
        const struct context_state *state = &region->states[i];
        if (context == NULL || context->rules.failover != FAILOVER_AUTOMATIC || state->advice[0] == '\0')
            continue;
        struct region_loss *loss = &ret[count++];
        copy_string(loss->context, sizeof(loss->context), context->name);
        copy_string(loss->region, sizeof(loss->region), region->config.peers[state->lost].region);
        loss->check = state->failed.name;
        memcpy(loss->detail, state->failed.detail, sizeof(loss->detail));
    }
    return count;
}
