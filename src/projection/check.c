/* Replaying in random interleavings (check.h). Seed 0 takes the logs in turn, a long stretch of each, as the follower
 * does; the others take a random log and a random short stretch each time. Lateness is the same under all: each
 * generation is told everything beforehand. What it may meet is the earlier of two events with one id after the later
 * one (standing.h): then it is told that, too, and begun again. */
#include "projection/check.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/prng.h"
#include "projection/generation.h"

enum { STRETCH_MAX = 200, STRETCH_FOLLOWER = 5000, FRUITLESS_MAX = 100 * PROJECTION_LOGS_MAX };

/* One replay. */
struct replay {
    struct projection_db *db;
    struct generation *generation;
};

static void replay_free(struct replay *replay)
{
    generation_free(replay->generation);
    projection_db_close(replay->db);
    *replay = (struct replay){.db = NULL};
}

static int reached_end(const struct check_subject *subject, struct replay *replay, bool *ret, struct err *err)
{
    struct position position;
    int code = generation_position(replay->generation, &position, err);
    bool reached = true;
    for (size_t i = 0; code == 0 && i < subject->log_count; i++) {
        struct origin origin;
        code = origin_parse(log_origin(subject->logs[i]), &origin, err);
        if (code == 0 && position_get(&position, origin.region, origin.incarnation) < subject->ends[i])
            reached = false;
    }
    if (code == 0)
        *ret = reached;
    return code;
}

static int run_replay(const struct check_subject *subject, uint64_t seed, struct replay *replay, uint64_t *ret_events,
                      struct err *err)
{
    struct prng prng;
    bool total = projection_db_total_order(replay->db);
    hlc ended[PROJECTION_LOGS_MAX];
    for (size_t i = 0; i < subject->log_count; i++)
        ended[i] = HLC_NEVER;
    uint64_t events = 0;
    uint64_t fruitless = 0;
    bool done = false;
    prng_seed(&prng, seed);
    int code = reached_end(subject, replay, &done, err);
    for (uint64_t turn = 0; code == 0 && !done; turn++) {
        size_t at = (size_t)(seed == 0 ? turn % subject->log_count : prng_below(&prng, subject->log_count));
        uint64_t stretch = seed == 0 ? STRETCH_FOLLOWER : 1 + prng_below(&prng, STRETCH_MAX);
        struct generation_progress progress = {.moved = false};
        if (subject->stop != NULL && subject->stop(subject->context))
            return err_set(err, ERR_UNAVAILABLE, "the check was stopped");
        code = total ? generation_step_total(replay->generation, subject->logs, subject->log_count, subject->ends,
                                             ended, stretch, &progress, err)
                     : generation_step(replay->generation, subject->logs, subject->log_count, at, subject->ends[at],
                                       stretch, &progress, err);
        if (code == 0 && generation_conflict(replay->generation, NULL))
            return 0;
        events += progress.events;
        fruitless = progress.moved ? 0 : fruitless + 1;
        if (code == 0 && !progress.moved)
            code = reached_end(subject, replay, &done, err);
        if (code == 0 && !done && fruitless > FRUITLESS_MAX)
            code = err_set(err, ERR_CORRUPT, "the logs cannot be replayed up to the position of the projection");
    }
    if (code == 0)
        *ret_events = events;
    return code;
}

static int replay_told(const struct check_subject *subject, const struct projection_spec *spec, uint64_t seed,
                       struct bytes told, struct replay *ret, uint64_t *ret_events, struct err *err)
{
    struct replay replay = {.db = NULL};
    int code = subject->server == NULL
                   ? projection_db_open("", spec, subject->bounds, &replay.db, err)
                   : projection_schema_open(subject->server, "", SCHEMA_TEMPORARY, 1, spec, &replay.db, err);
    if (code == 0)
        code = generation_new(replay.db, subject->contexts, &replay.generation, err);
    if (code == 0)
        code = generation_tell(replay.generation, told, err);
    if (code == 0)
        code = run_replay(subject, seed, &replay, ret_events, err);
    if (code != 0) {
        replay_free(&replay);
        return code == ERR_INVALID ? err_wrap(err, code, "interleaving of seed %llu", (unsigned long long)seed) : code;
    }
    *ret = replay;
    return 0;
}

/* Each time it is told one event more, and the logs hold finitely many. */
static int replay_new(const struct check_subject *subject, const struct projection_spec *spec, uint64_t seed,
                      struct replay *ret, uint64_t *ret_events, struct err *err)
{
    struct buf told;
    buf_init(&told, GENERATION_AUTHORITY_MAX_BYTES);
    int code = replay_told(subject, spec, seed, subject->known, ret, ret_events, err);
    while (code == 0 && generation_conflict(ret->generation, NULL)) {
        buf_clear(&told);
        code = generation_known(ret->generation, &told, err);
        replay_free(ret);
        if (code == 0)
            code = replay_told(subject, spec, seed, buf_bytes(&told), ret, ret_events, err);
    }
    buf_free(&told);
    return code;
}

static int compare(const struct check_subject *subject, const struct projection_spec *spec, struct replay *first,
                   struct check_result *result, struct err *err)
{
    int code = 0;
    for (uint64_t seed = 1; code == 0 && !result->differs && seed <= subject->seed_count; seed++) {
        struct replay other;
        uint64_t events = 0;
        code = replay_new(subject, spec, seed, &other, &events, err);
        if (code != 0)
            return code;
        code = projection_db_compare(first->db, other.db, result->table, &result->differs, err);
        replay_free(&other);
        result->seed = result->differs ? seed : 0;
        result->seeds_run = seed;
    }
    return code;
}

int projection_check(const struct check_subject *subject, struct check_result *ret, struct err *err)
{
    PRE(subject->log_count <= PROJECTION_LOGS_MAX);
    PRE(subject->seed_count >= 1 && subject->seed_count <= CHECK_SEEDS_MAX);
    struct check_result result = {.differs = false};
    struct projection_spec *spec = NULL;
    struct replay first = {.db = NULL};
    int code = projection_spec_parse(subject->sql, &spec, err);
    if (code != 0)
        return code;
    code = replay_new(subject, spec, 0, &first, &result.event_count, err);
    if (code == 0) {
        code = compare(subject, spec, &first, &result, err);
        replay_free(&first);
    }
    projection_spec_free(spec);
    if (code == 0)
        *ret = result;
    return code;
}
