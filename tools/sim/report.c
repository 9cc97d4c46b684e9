/* Telling what a run found. */
#include "sim/report.h"

#include <jansson.h>
#include <stdio.h>

#include "base/mem.h"

#ifndef SIM_COMMIT
#define SIM_COMMIT "unknown"
#endif

static void add_counts(struct counts *to, const struct counts *from)
{
    for (int i = 0; i < FAULT_COUNT; i++)
        to->faults[i] += from->faults[i];
    to->steps += from->steps;
    to->crashes += from->crashes;
    to->boots += from->boots;
    to->entries += from->entries;
    to->acknowledged += from->acknowledged;
    to->refused += from->refused;
    to->duplicates += from->duplicates;
    to->checkpoints += from->checkpoints;
    to->cosignatures += from->cosignatures;
    to->reads += from->reads;
    to->projected += from->projected;
    to->proofs += from->proofs;
    to->one_id += from->one_id;
    to->definitions += from->definitions;
    for (int i = 0; i < 3; i++)
        to->changes[i] += from->changes[i];
    to->changes_refused += from->changes_refused;
    to->late += from->late;
    to->lives += from->lives;
    to->copied += from->copied;
    to->degraded += from->degraded;
    for (int i = 0; i <= SETTLED_COMPENSATE; i++)
        to->decisions[i] += from->decisions[i];
    for (int i = 0; i <= INDEX_LATE_COMPENSATED; i++)
        to->states[i] += from->states[i];
    to->entries_lost += from->entries_lost;
    to->left_behind += from->left_behind;
    to->reigns += from->reigns;
    to->overrides += from->overrides;
    to->bounded += from->bounded;
    to->unforced += from->unforced;
    to->takeovers += from->takeovers;
    to->rotations += from->rotations;
    to->comparisons += from->comparisons;
    to->harmed += from->harmed;
}

void totals_add(struct totals *totals, const struct result *result)
{
    totals->seeds++;
    totals->digest += result->digest * (2 * result->seed + 1); /* a sum does not depend on order */
    totals->simulated_us += result->simulated_us;
    add_counts(&totals->counts, &result->counts);
    if (!result->failed)
        return;
    if (totals->failed++ == 0 || result->seed < totals->first_failed_seed) {
        totals->first_failed_seed = result->seed;
        copy_string(totals->failure, sizeof(totals->failure), result->failure);
    }
}

void report_failure(const struct world *world, const char *planted)
{
    uint64_t first = world->trace_count > SIM_TRACE_LINES ? world->trace_count - SIM_TRACE_LINES : 0;
    fprintf(stderr, "\ntally-sim: seed %llu FAILED at commit %s\n", (unsigned long long)world->seed, SIM_COMMIT);
    fprintf(stderr, "the last %llu lines of its trace:\n", (unsigned long long)(world->trace_count - first));
    for (uint64_t i = first; i < world->trace_count; i++)
        fprintf(stderr, "  %s\n", world->trace[i % SIM_TRACE_LINES]);
    fprintf(stderr, "failure: %s\n", world->failure);
    fprintf(stderr, "replay:  tally-sim --seed %llu%s%s --trace\n", (unsigned long long)world->seed,
            planted == NULL ? "" : " --planted ", planted == NULL ? "" : planted);
}

static double hours(uint64_t us)
{
    return (double)us / 3600e6;
}

void report_totals(const struct totals *totals, uint64_t wall_us)
{
    const struct counts *counts = &totals->counts;
    printf("%llu seeds, %.1f simulated hours in %.1f s, digest %016llx\n", (unsigned long long)totals->seeds,
           hours(totals->simulated_us), (double)wall_us / 1e6, (unsigned long long)totals->digest);
    printf("%llu entries, %llu events acknowledged (%llu of them repeated), %llu requests refused\n",
           (unsigned long long)counts->entries, (unsigned long long)counts->acknowledged,
           (unsigned long long)counts->duplicates, (unsigned long long)counts->refused);
    printf("%llu steps, %llu starts, %llu ends of a process, %llu checkpoints, %llu cosignatures, %llu proofs, %llu "
           "entries "
           "read\n",
           (unsigned long long)counts->steps, (unsigned long long)counts->boots, (unsigned long long)counts->crashes,
           (unsigned long long)counts->checkpoints, (unsigned long long)counts->cosignatures,
           (unsigned long long)counts->proofs, (unsigned long long)counts->reads);
    printf("homes: %llu released, %llu taken, %llu seized, %llu requests of operators refused, %llu events late, "
           "%llu definitions of contexts, %llu reigns behind leases, %llu overrides, %llu seizures by guards, "
           "%llu keys rotated\n",
           (unsigned long long)counts->changes[0], (unsigned long long)counts->changes[1],
           (unsigned long long)counts->changes[2], (unsigned long long)counts->changes_refused,
           (unsigned long long)counts->late, (unsigned long long)counts->definitions,
           (unsigned long long)counts->reigns, (unsigned long long)counts->overrides,
           (unsigned long long)counts->takeovers, (unsigned long long)counts->rotations);
    printf(
        "%llu events acknowledged on the copies that were asked for, %llu on fewer; %llu seizures that rest on them; "
        "%llu entries behind recovery points\n",
        (unsigned long long)counts->copied, (unsigned long long)counts->degraded, (unsigned long long)counts->unforced,
        (unsigned long long)counts->bounded);
    printf("%llu comparisons of projections, of which %llu were changed by hand\n",
           (unsigned long long)counts->comparisons, (unsigned long long)counts->harmed);
    printf("decided:");
    for (int i = SETTLED_ACCEPTED; i <= SETTLED_COMPENSATE; i++)
        printf("%s %s %llu", i == SETTLED_ACCEPTED ? "" : ",", settlement_name((enum settlement)i),
               (unsigned long long)counts->decisions[i]);
    printf("; late in the end:");
    for (int i = 0; i <= INDEX_LATE_COMPENSATED; i++)
        printf("%s %s %llu", i == 0 ? "" : ",", index_late_state_name((enum index_late_state)i),
               (unsigned long long)counts->states[i]);
    printf("\n%llu new incarnations, which left %llu entries behind; %llu entries lost with the disks that had them "
           "alone\n",
           (unsigned long long)counts->lives, (unsigned long long)counts->left_behind,
           (unsigned long long)counts->entries_lost);
    printf("faults:");
    for (int i = 0; i < FAULT_COUNT; i++)
        printf("%s %s %llu", i == 0 ? "" : ",", fault_names[i], (unsigned long long)counts->faults[i]);
    printf("\n");
    if (totals->failed == 0)
        printf("every oracle holds\n");
    else
        printf("%llu seeds FAILED, the first is %llu: %s\n", (unsigned long long)totals->failed,
               (unsigned long long)totals->first_failed_seed, totals->failure);
}

static void put(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

void report_totals_json(const struct totals *totals, uint64_t wall_us)
{
    const struct counts *counts = &totals->counts;
    json_t *root = json_object();
    json_t *faults = json_object();
    char digest[17];
    snprintf(digest, sizeof(digest), "%016llx", (unsigned long long)totals->digest);
    put(root, "seeds", totals->seeds);
    put(root, "failed", totals->failed);
    put(root, "simulated_ms", totals->simulated_us / 1000);
    put(root, "wall_ms", wall_us / 1000);
    put(root, "entries", counts->entries);
    put(root, "acknowledged", counts->acknowledged);
    put(root, "duplicates", counts->duplicates);
    put(root, "refused", counts->refused);
    put(root, "steps", counts->steps);
    put(root, "starts", counts->boots);
    put(root, "crashes", counts->crashes);
    put(root, "checkpoints", counts->checkpoints);
    put(root, "cosignatures", counts->cosignatures);
    put(root, "proofs", counts->proofs);
    put(root, "same_id_at_once", counts->one_id);
    put(root, "entries_read", counts->reads);
    put(root, "released", counts->changes[0]);
    put(root, "taken", counts->changes[1]);
    put(root, "seized", counts->changes[2]);
    put(root, "late", counts->late);
    put(root, "definitions", counts->definitions);
    put(root, "overrides", counts->overrides);
    put(root, "incarnations", counts->lives);
    put(root, "entries_lost", counts->entries_lost);
    put(root, "entries_left_behind", counts->left_behind);
    put(root, "reigns_behind_leases", counts->reigns);
    put(root, "seized_by_guards", counts->takeovers);
    put(root, "keys_rotated", counts->rotations);
    put(root, "projections_compared", counts->comparisons);
    put(root, "projections_changed_by_hand", counts->harmed);
    for (int i = 0; i < FAULT_COUNT; i++)
        put(faults, fault_names[i], counts->faults[i]);
    json_object_set_new(root, "faults", faults);
    json_object_set_new(root, "digest", json_string(digest));
    json_object_set_new(root, "commit", json_string(SIM_COMMIT));
    if (totals->failed > 0) {
        put(root, "first_failed_seed", totals->first_failed_seed);
        json_object_set_new(root, "failure", json_string(totals->failure));
    }
    json_dumpf(root, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(root);
}
