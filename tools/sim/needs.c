/* What a run must have for a planted bug to show. Many bugs need a rare plan: a restored backup, guards, clocks that
 * run apart. Runs without it are passed over when that bug is planted, so that finding it costs seconds; how the others
 * are drawn, and what happens in them, stays as it is. A bug that is not named here shows in most runs. */
#include "base/planted.h"
#include "sim/sim.h"

#ifdef TALLY_PLANTED

static bool moves(const struct world *world)
{
    return world->plan.operate_every_us > 0 && world->plan.operate_every_us < 3 * SIM_S;
}

static bool moves_and_index_lags(const struct world *world)
{
    return moves(world) && world->plan.index_lag_us > 100 * SIM_MS;
}

static bool fenced(const struct world *world)
{
    return world->contexts[0].rules.isolation == ISOLATION_FENCE;
}

static bool fenced_and_moves(const struct world *world)
{
    return fenced(world) && moves(world);
}

static bool about_drift(const struct world *world)
{
    return world->plan.theme == THEME_DRIFT;
}

static bool about_leases(const struct world *world)
{
    return world->plan.theme == THEME_LEASES;
}

static bool about_copies(const struct world *world)
{
    return world->plan.theme == THEME_COPIES;
}

static bool about_guards(const struct world *world)
{
    return world->plan.theme == THEME_GUARDS;
}

static bool has_recovery_point(const struct world *world)
{
    return world->contexts[0].promises.recovery_point.events > 0;
}

static bool system_moves(const struct world *world)
{
    return world->plan.system_moves;
}

static bool compares(const struct world *world)
{
    return world->plan.projections && world->node_count > 1;
}

static bool restores(const struct world *world)
{
    return world->plan.enabled[FAULT_OLD_BACKUP];
}

static bool loses_logs(const struct world *world)
{
    return world->plan.enabled[FAULT_LOST_LOGS];
}

static bool tears(const struct world *world)
{
    return world->plan.enabled[FAULT_POWER];
}

static bool commutes(const struct world *world)
{
    return world->plan.multi_home;
}

static bool overrides(const struct world *world)
{
    return world->plan.overrides;
}

static bool settles(const struct world *world)
{
    return world->plan.settle_every_us > 0 && moves(world);
}

bool needs_are_met(const struct world *world)
{
    static bool (*const needs[PLANTED_NONE + 1])(const struct world *world) = {
        [PLANTED_decide_before_indexed] = moves_and_index_lags,
        [PLANTED_forget_changes] = moves,
        [PLANTED_believe_in_order] = tears,
        [PLANTED_forget_signed] = loses_logs,
        [PLANTED_trust_backup] = restores,
        [PLANTED_lose_silently] = loses_logs,
        [PLANTED_decide_repeated] = settles,
        [PLANTED_accept_without_lease] = fenced_and_moves,
        [PLANTED_count_left_behind] = loses_logs,
        [PLANTED_lease_of_the_ignorant] = about_leases,
        [PLANTED_first_come_stands] = commutes,
        [PLANTED_commutative_overtaken] = commutes,
        [PLANTED_commutative_each_time] = commutes,
        [PLANTED_override_any_type] = overrides,
        [PLANTED_obey_late_definitions] = system_moves,
        [PLANTED_seize_alone] = about_copies,
        [PLANTED_no_drift_bound] = about_drift,
        [PLANTED_find_no_drift] = compares,
        [PLANTED_never_degraded] = about_guards,
        [PLANTED_stay_unarmed] = about_guards,
        [PLANTED_claim_of_others] = about_guards,
        [PLANTED_withdraw_seized] = about_guards,
        [PLANTED_decide_late] = about_guards,
        [PLANTED_seize_from_renewing] = about_guards,
        [PLANTED_past_recovery_point] = has_recovery_point,
    };
    return needs[planted_selected] == NULL || needs[planted_selected](world);
}

#else

bool needs_are_met(const struct world *world)
{
    (void)world;
    return true;
}

#endif
