/* The machine of automatic failover (takeover.h): one order at a time, each decided from what the last answers said.
 *
 * In order of precedence: a pause after a failure; a lease; the registration; renewing the lease; the claim that is
 * held (look, seize, withdraw); looking; a new claim. So nobody claims who has not renewed, and an attempt never holds
 * the renewal back for longer than itself takes.
 *
 * What was seen is forgotten when the region was out of touch for a lease. A claim that is found to be this region's
 * own, from an earlier life or from a transaction whose answer was lost, is taken up again; as nobody can tell whether
 * that life had seized, it is never withdrawn. */
#include "region/takeover.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/planted.h"

enum { VERIFIED_US = 1000 * 1000 }; /* a look, or a claim, that is older is made again before an attempt */

static const char *const state_names[] = {
    [TAKEOVER_OFF] = "off",
    [TAKEOVER_ARMING] = "arming",
    [TAKEOVER_ARMED] = "armed",
    [TAKEOVER_DEGRADED] = "degraded",
};

const char *takeover_state_name(enum takeover_state state)
{
    PRE((size_t)state < sizeof(state_names) / sizeof(state_names[0]));
    return state_names[state];
}

void takeover_init(struct takeover *takeover, const char *region, uint64_t lease_us, uint64_t now_us)
{
    PRE(lease_us > 0);
    memset(takeover, 0, sizeof(*takeover));
    copy_string(takeover->region, sizeof(takeover->region), region);
    takeover->asked_lease_us = lease_us;
    takeover->lease_us = lease_us;
    takeover->started_us = now_us;
}

/* --- What is known --- */

static bool in_touch(const struct takeover *takeover, uint64_t now_us)
{
    return takeover->contact_us != 0 && (now_us < takeover->contact_us + takeover->lease_us || PLANTED(never_degraded));
}

static enum takeover_state state_of(const struct takeover *takeover, uint64_t now_us)
{
    if (!in_touch(takeover, now_us)) {
        bool begins = takeover->contact_us == 0 && now_us < takeover->started_us + takeover->lease_us;
        return begins ? TAKEOVER_ARMING : TAKEOVER_DEGRADED;
    }
    bool settled = now_us >= takeover->since_us + takeover->lease_us;
    return settled && takeover->registered && takeover->looked_us != 0 ? TAKEOVER_ARMED : TAKEOVER_ARMING;
}

static const struct takeover_region *find_region(const struct takeover *takeover, const char *name)
{
    for (size_t i = 0; i < takeover->view.region_count; i++) {
        if (strcmp(takeover->view.regions[i].name, name) == 0)
            return &takeover->view.regions[i];
    }
    return NULL;
}

static const struct takeover_claim *find_claim(const struct takeover *takeover, const char *home, const char *context)
{
    for (size_t i = 0; i < takeover->view.claim_count; i++) {
        const struct takeover_claim *claim = &takeover->view.claims[i];
        if (strcmp(claim->home, home) == 0 && strcmp(claim->context, context) == 0)
            return claim;
    }
    return NULL;
}

static const struct region_loss *find_loss(const struct region_loss *losses, size_t count, const char *home,
                                           const char *context)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(losses[i].region, home) == 0 && strcmp(losses[i].context, context) == 0)
            return &losses[i];
    }
    return NULL;
}

/* --- Answers --- */

static void forget_lease(struct takeover *takeover)
{
    takeover->lease = 0;
    takeover->registered = false;
    takeover->looked_us = 0;
}

static void drop_claim(struct takeover *takeover)
{
    takeover->claimed = false;
    takeover->withdraw = false;
    takeover->may_have_seized = false;
    takeover->tries = 0;
}

static void begin_claim(struct takeover *takeover, uint64_t revision, uint64_t verified_us, bool may_have_seized)
{
    takeover->claimed = true;
    takeover->revision = revision;
    takeover->verified_us = verified_us;
    takeover->may_have_seized = may_have_seized;
    takeover->withdraw = false;
    takeover->tries = 0;
    takeover->try_at_us = 0;
}

static bool is_alive(const struct takeover *takeover, const char *home)
{
    const struct takeover_region *found = find_region(takeover, home);
    return found != NULL && found->lease != 0;
}

static void took_look(struct takeover *takeover, const struct takeover_answer *answer)
{
    takeover->view = *answer->view;
    takeover->looked_us = answer->sent_us;
    const struct takeover_region *own = find_region(takeover, takeover->region);
    if (own == NULL || !own->known || own->lease != takeover->lease)
        takeover->registered = false; /* somebody removed the key, or wrote another one */
    if (!takeover->claimed)
        return;
    const struct takeover_claim *claim = find_claim(takeover, takeover->home, takeover->context);
    if (claim == NULL || claim->revision != takeover->revision || is_alive(takeover, takeover->home))
        drop_claim(takeover); /* the home is back, and removed it; what is left of it is the home's to remove */
    else
        takeover->verified_us = answer->sent_us;
}

static void took_seizure(struct takeover *takeover, uint64_t now_us, const struct takeover_answer *answer)
{
    if (answer->code == 0) {
        takeover->may_have_seized = !PLANTED(withdraw_seized);
        takeover->refusal.code = 0;
        takeover->tries = 0;
        takeover->verified_us = 0; /* for the rest */
        if (answer->remaining == 0) {
            takeover->takeovers++;
            if (!PLANTED(withdraw_seized))
                drop_claim(takeover);
        }
        return;
    }
    if (answer->code == ERR_NOT_FOUND) {
        drop_claim(takeover); /* nothing is left there to be seized */
        return;
    }
    takeover->refusals++;
    takeover->refusal = answer->err;
    takeover->refusal.code = answer->code;
    takeover->refused_by = answer->check;
    memcpy(takeover->refused_home, takeover->home, sizeof(takeover->home));
    memcpy(takeover->refused_context, takeover->context, sizeof(takeover->context));
    takeover->try_at_us = now_us + TAKEOVER_TRY_US;
    if (++takeover->tries < TAKEOVER_TRIES_MAX)
        return;
    takeover->tries = 0;
    takeover->withdraw = !takeover->may_have_seized;
    takeover->try_at_us = now_us + TAKEOVER_REST_US;
}

static void took_service(struct takeover *takeover, uint64_t now_us, const struct takeover_answer *answer)
{
    uint64_t third_us = answer->sent_us + answer->lease_us / 3;
    if (!in_touch(takeover, now_us))
        takeover->since_us = PLANTED(stay_unarmed) && takeover->contact_us != 0 ? UINT64_MAX / 2 : answer->sent_us;
    takeover->contact_us = answer->sent_us;
    switch (takeover->order.type) {
    case TAKEOVER_GRANT:
        takeover->lease = answer->lease;
        takeover->lease_us = answer->lease_us > 0 ? answer->lease_us : takeover->asked_lease_us;
        takeover->keep_at_us = third_us;
        return;
    case TAKEOVER_KEEP:
        if (answer->lease_us == 0)
            forget_lease(takeover);
        takeover->keep_at_us = third_us;
        return;
    case TAKEOVER_REGISTER:
        takeover->registered = true;
        takeover->look_at_us = 0;
        return;
    case TAKEOVER_LOOK:
        took_look(takeover, answer);
        takeover->look_at_us = answer->sent_us + TAKEOVER_LOOK_US;
        return;
    case TAKEOVER_CLAIM:
        if (answer->granted || PLANTED(seize_from_renewing))
            begin_claim(takeover, answer->revision, answer->sent_us, false);
        takeover->look_at_us = 0;
        return;
    case TAKEOVER_WITHDRAW:
        drop_claim(takeover);
        takeover->rest_until_us = now_us + TAKEOVER_REST_US;
        return;
    case TAKEOVER_PAUSE:
    case TAKEOVER_SEIZE:
        break;
    }
    INVARIANT(!"an order that the service carries out");
}

static void took(struct takeover *takeover, uint64_t now_us, const struct takeover_answer *answer)
{
    enum takeover_order_type type = takeover->order.type;
    if (type == TAKEOVER_PAUSE)
        return;
    if (type == TAKEOVER_SEIZE) {
        took_seizure(takeover, now_us, answer);
        return;
    }
    if (answer->code == 0) {
        took_service(takeover, now_us, answer);
        return;
    }
    takeover->error = answer->err;
    takeover->error.code = answer->code;
    takeover->retry_at_us = now_us + TAKEOVER_RETRY_US;
    if (type == TAKEOVER_REGISTER && answer->code == ERR_NOT_FOUND)
        forget_lease(takeover); /* it has ended */
    if (type == TAKEOVER_CLAIM)
        takeover->look_at_us = 0; /* it may have been granted */
}

/* --- Orders --- */

static void order_claim_of(struct takeover *takeover, enum takeover_order_type type, uint64_t until_us)
{
    takeover->order = (struct takeover_order){.type = type,
                                              .lease = takeover->lease,
                                              .revision = takeover->revision,
                                              .until_us = until_us,
                                              .home = takeover->home,
                                              .context = takeover->context};
}

static void order(struct takeover *takeover, enum takeover_order_type type)
{
    takeover->order = (struct takeover_order){.type = type, .lease = takeover->lease};
}

/* What holds a loss back, by what is known now; TAKEOVER_NOTHING: it may be claimed. */
static enum takeover_stage stage_of(const struct takeover *takeover, uint64_t now_us, const struct region_loss *loss)
{
    const struct takeover_region *home = find_region(takeover, loss->region);
    const struct takeover_claim *claim = find_claim(takeover, loss->region, loss->context);
    if (takeover->claimed && strcmp(takeover->home, loss->region) == 0 && strcmp(takeover->context, loss->context) == 0)
        return takeover->refusal.code != 0 ? TAKEOVER_REFUSED : TAKEOVER_CLAIMED;
    if (state_of(takeover, now_us) != TAKEOVER_ARMED)
        return TAKEOVER_UNARMED;
    if (home == NULL || !home->known)
        return TAKEOVER_UNKNOWN;
    if (home->lease != 0 && !PLANTED(seize_from_renewing))
        return TAKEOVER_RENEWS;
    if (claim != NULL)
        return strcmp(claim->by, takeover->region) == 0 || PLANTED(claim_of_others) ? TAKEOVER_CLAIMED
                                                                                    : TAKEOVER_OTHERS;
    if (loss->check != NULL)
        return TAKEOVER_NOT_READY;
    return TAKEOVER_NOTHING;
}

static void name_claim(struct takeover *takeover, const struct region_loss *loss)
{
    if (strcmp(takeover->refused_home, loss->region) != 0 || strcmp(takeover->refused_context, loss->context) != 0)
        takeover->refusal.code = 0;
    copy_string(takeover->home, sizeof(takeover->home), loss->region);
    copy_string(takeover->context, sizeof(takeover->context), loss->context);
}

/* The first loss that may be claimed, behind the one that was refused last: a context whose checks keep failing does
 * not hold others up. A claim that is ours already is taken up. False: there is none. */
static bool order_next_claim(struct takeover *takeover, uint64_t now_us, const struct region_loss *losses, size_t count)
{
    size_t start = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(losses[i].region, takeover->refused_home) == 0 &&
            strcmp(losses[i].context, takeover->refused_context) == 0)
            start = i + 1;
    }
    for (size_t i = 0; i < count; i++) {
        const struct region_loss *loss = &losses[(start + i) % count];
        enum takeover_stage stage = stage_of(takeover, now_us, loss);
        if (stage == TAKEOVER_CLAIMED) {
            name_claim(takeover, loss);
            begin_claim(takeover, find_claim(takeover, loss->region, loss->context)->revision, takeover->looked_us,
                        true);
            order(takeover, TAKEOVER_LOOK);
            return true;
        }
        if (stage == TAKEOVER_NOTHING && now_us >= takeover->rest_until_us) {
            name_claim(takeover, loss);
            order_claim_of(takeover, TAKEOVER_CLAIM, 0);
            return true;
        }
    }
    return false;
}

/* Goes on with the claim that is held. False: there is nothing to do now. */
static bool order_for_claim(struct takeover *takeover, uint64_t now_us, const struct region_loss *losses, size_t count)
{
    bool lost = find_loss(losses, count, takeover->home, takeover->context) != NULL;
    if (!lost && takeover->may_have_seized) {
        drop_claim(takeover); /* it is all seized, or somebody else moved it */
        return false;
    }
    if (!lost || takeover->withdraw) {
        order_claim_of(takeover, TAKEOVER_WITHDRAW, 0);
        return true;
    }
    if (now_us < takeover->try_at_us || !in_touch(takeover, now_us))
        return false;
    if (now_us >= takeover->verified_us + VERIFIED_US)
        order(takeover, TAKEOVER_LOOK);
    else
        order_claim_of(takeover, TAKEOVER_SEIZE, takeover->verified_us + TAKEOVER_DECIDE_US);
    return true;
}

static void order_pause(struct takeover *takeover, uint64_t until_us)
{
    takeover->order = (struct takeover_order){.type = TAKEOVER_PAUSE, .until_us = until_us};
}

static void decide(struct takeover *takeover, uint64_t now_us, const struct region_loss *losses, size_t count)
{
    bool fresh = takeover->looked_us != 0 && now_us < takeover->looked_us + VERIFIED_US;
    if (now_us < takeover->retry_at_us)
        order_pause(takeover, takeover->retry_at_us);
    else if (takeover->lease == 0)
        order(takeover, TAKEOVER_GRANT);
    else if (!takeover->registered)
        order(takeover, TAKEOVER_REGISTER);
    else if (now_us >= takeover->keep_at_us)
        order(takeover, TAKEOVER_KEEP);
    else if (takeover->claimed && order_for_claim(takeover, now_us, losses, count))
        return;
    else if (now_us >= takeover->look_at_us)
        order(takeover, TAKEOVER_LOOK);
    else if (takeover->claimed || !fresh || !order_next_claim(takeover, now_us, losses, count))
        order_pause(takeover,
                    takeover->keep_at_us < takeover->look_at_us ? takeover->keep_at_us : takeover->look_at_us);
}

void takeover_step(struct takeover *takeover, uint64_t now_us, const struct takeover_answer *answer,
                   const struct region_loss *losses, size_t loss_count, struct takeover_order *ret)
{
    if (answer != NULL)
        took(takeover, now_us, answer);
    if (!in_touch(takeover, now_us))
        takeover->looked_us = 0;
    decide(takeover, now_us, losses, loss_count);
    *ret = takeover->order;
}

/* --- What an operator sees --- */

static void describe_loss(const struct takeover *takeover, const struct region_loss *loss, struct takeover_status *ret)
{
    const struct takeover_claim *claim = find_claim(takeover, loss->region, loss->context);
    char *out = ret->loss;
    size_t size = sizeof(ret->loss);
    int used = snprintf(out, size, "context %.64s: region %.63s is lost, and ", loss->context, loss->region);
    PRE(used > 0 && (size_t)used < size);
    out += used;
    size -= (size_t)used;
    switch (ret->stage) {
    case TAKEOVER_UNARMED:
        snprintf(out, size, "nobody seizes by himself: automatic failover is %s", takeover_state_name(ret->state));
        return;
    case TAKEOVER_UNKNOWN:
        snprintf(out, size, "never registered, so nothing tells whether it is alive: not seized");
        return;
    case TAKEOVER_RENEWS:
        snprintf(out, size, "not seized: its lease has not ended, so it may be alive, and only be cut off from here");
        return;
    case TAKEOVER_NOT_READY:
        snprintf(out, size, "NOT seized: check %.30s fails: %.250s", loss->check, loss->detail);
        return;
    case TAKEOVER_OTHERS:
        snprintf(out, size, "region %.63s has the claim of revision %llu", claim->by,
                 (unsigned long long)claim->revision);
        return;
    case TAKEOVER_CLAIMED:
        snprintf(out, size, "this region has the claim of revision %llu",
                 (unsigned long long)(takeover->claimed ? takeover->revision : claim->revision));
        return;
    case TAKEOVER_REFUSED:
        snprintf(out, size, "NOT seized: %.300s", takeover->refusal.message);
        return;
    case TAKEOVER_NOTHING:
        snprintf(out, size, "is about to be claimed");
        return;
    }
    INVARIANT(!"a known stage");
}

void takeover_status(const struct takeover *takeover, uint64_t now_us, const struct region_loss *losses,
                     size_t loss_count, struct takeover_status *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->state = state_of(takeover, now_us);
    ret->revision = takeover->view.revision;
    ret->takeovers = takeover->takeovers;
    ret->refusals = takeover->refusals;
    ret->contact_us = takeover->contact_us;
    ret->lease_us = takeover->lease_us;
    if (ret->state == TAKEOVER_DEGRADED)
        snprintf(ret->detail, sizeof(ret->detail), "the service is out of reach: %.400s",
                 takeover->error.code != 0 ? takeover->error.message : "it was not asked");
    else if (ret->state == TAKEOVER_ARMING)
        copy_string(ret->detail, sizeof(ret->detail), "in touch for less than a lease");
    if (loss_count == 0)
        return;
    const struct region_loss *loss =
        takeover->claimed ? find_loss(losses, loss_count, takeover->home, takeover->context) : NULL;
    loss = loss == NULL ? &losses[0] : loss;
    ret->stage = stage_of(takeover, now_us, loss);
    bool rests = ret->stage == TAKEOVER_NOTHING && now_us < takeover->rest_until_us && takeover->refusal.code != 0;
    ret->stage = rests ? TAKEOVER_REFUSED : ret->stage;
    ret->check = ret->stage == TAKEOVER_REFUSED ? takeover->refused_by : loss->check;
    copy_string(ret->context, sizeof(ret->context), loss->context);
    copy_string(ret->home, sizeof(ret->home), loss->region);
    describe_loss(takeover, loss, ret);
}
