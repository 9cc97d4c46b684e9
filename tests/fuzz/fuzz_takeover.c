/* Three machines of automatic failover (region/takeover.h) on one service, whose answers get lost, and which may lose
 * everything; regions that crash, restart, hear of each other or not, and refuse to seize. The input is the schedule.
 * What must hold: of one loss of one home (from one registration of it to the next) one region seizes in a context,
 * and nobody seizes from a home that the service has held alive since before the seizure rests on what it said. */
#include "fuzz/fuzz.h"
#include "region/takeover.h"

enum { REGIONS = 3, CONTEXTS = 2, LEASES_MAX = 4096, CLAIMS_MAX = 4096, LEASE_US = 2 * 1000 * 1000, NOBODY = REGIONS };

static const char *const names[REGIONS] = {"eu", "us", "ap"};
static const char *const contexts[CONTEXTS] = {"bank", "shop"};

struct claim {
    size_t by; /* NOBODY: none */
    uint64_t revision;
};

struct machine {
    struct takeover takeover;
    struct takeover_order order;
    struct takeover_answer answer;
    bool answered;
    bool down;
    bool deaf[REGIONS];    /* does not hear of that one */
    bool unready;          /* its checks fail */
    size_t home[CONTEXTS]; /* as it knows */
    bool refuses;          /* and say so only when it is asked to seize */
    bool piecemeal;        /* it seizes a part at a time, and the loss stays */
};

static struct {
    uint64_t now_us, revision, lease_count, claim_count;
    uint64_t lease_ends_us[LEASES_MAX];
    bool known[REGIONS];
    uint64_t alive[REGIONS]; /* the lease; 0: none */
    uint64_t alive_since_us[REGIONS];
    uint64_t lives[REGIONS]; /* registrations that found no key */
    struct claim claims[REGIONS][CONTEXTS];
    uint64_t life_of_claim[CLAIMS_MAX]; /* by revision */
    size_t seizer[REGIONS][CONTEXTS];   /* of this life */
    uint64_t seized_life[REGIONS][CONTEXTS];
    size_t home[CONTEXTS]; /* in truth */
    struct machine machines[REGIONS];
    struct takeover_view view;
} world;

static size_t place_of(const char *name, const char *const *of, size_t count)
{
    size_t at = 0;
    while (at < count && strcmp(of[at], name) != 0)
        at++;
    FUZZ_CHECK(at < count);
    return at;
}

static void start(size_t at)
{
    struct machine *machine = &world.machines[at];
    takeover_init(&machine->takeover, names[at], LEASE_US, world.now_us);
    machine->answered = false;
}

static void begin(void)
{
    memset(&world, 0, sizeof(world));
    world.now_us = 1000 * 1000;
    for (size_t i = 0; i < REGIONS; i++) {
        for (size_t c = 0; c < CONTEXTS; c++)
            world.claims[i][c].by = NOBODY;
        start(i);
    }
}

/* --- The service --- */

static bool lease_lives(uint64_t lease)
{
    return lease != 0 && world.lease_ends_us[lease] > world.now_us;
}

static void end_leases(void)
{
    for (size_t i = 0; i < REGIONS; i++) {
        if (world.alive[i] != 0 && !lease_lives(world.alive[i]))
            world.alive[i] = 0;
    }
}

static void lose_everything(void)
{
    for (size_t i = 0; i < REGIONS; i++) {
        world.known[i] = false;
        world.alive[i] = 0;
        for (size_t c = 0; c < CONTEXTS; c++)
            world.claims[i][c].by = NOBODY;
    }
    memset(world.lease_ends_us, 0, sizeof(world.lease_ends_us));
}

static void put_alive(size_t at, uint64_t lease)
{
    if (world.alive[at] == 0) {
        world.lives[at]++;
        world.alive_since_us[at] = world.now_us;
    }
    world.known[at] = true;
    world.alive[at] = lease;
    for (size_t c = 0; c < CONTEXTS; c++)
        world.claims[at][c].by = NOBODY;
}

static void fill_view(void)
{
    world.view = (struct takeover_view){.revision = world.revision};
    for (size_t i = 0; i < REGIONS; i++) {
        if (world.known[i]) {
            struct takeover_region *region = &world.view.regions[world.view.region_count++];
            copy_string(region->name, sizeof(region->name), names[i]);
            region->known = true;
            region->lease = world.alive[i];
        }
        for (size_t c = 0; c < CONTEXTS; c++) {
            if (world.claims[i][c].by == NOBODY)
                continue;
            struct takeover_claim *claim = &world.view.claims[world.view.claim_count++];
            copy_string(claim->home, sizeof(claim->home), names[i]);
            copy_string(claim->context, sizeof(claim->context), contexts[c]);
            copy_string(claim->by, sizeof(claim->by), names[world.claims[i][c].by]);
            claim->revision = world.claims[i][c].revision;
        }
    }
}

static void claim(size_t at, const struct takeover_order *order, struct takeover_answer *ret)
{
    size_t home = place_of(order->home, names, REGIONS);
    struct claim *claim = &world.claims[home][place_of(order->context, contexts, CONTEXTS)];
    ret->granted = world.known[home] && world.alive[home] == 0 && claim->by == NOBODY && order->lease != 0 &&
                   world.alive[at] == order->lease && world.revision + 1 < CLAIMS_MAX;
    if (!ret->granted)
        return;
    *claim = (struct claim){.by = at, .revision = ++world.revision};
    world.life_of_claim[claim->revision] = world.lives[home];
    ret->revision = claim->revision;
}

static void withdraw(const struct takeover_order *order)
{
    struct claim *claim =
        &world.claims[place_of(order->home, names, REGIONS)][place_of(order->context, contexts, CONTEXTS)];
    if (claim->by != NOBODY && claim->revision == order->revision)
        claim->by = NOBODY;
}

static void serve(size_t at, const struct takeover_order *order, struct takeover_answer *ret)
{
    switch (order->type) {
    case TAKEOVER_GRANT:
        FUZZ_CHECK(world.lease_count + 1 < LEASES_MAX);
        ret->lease = ++world.lease_count;
        world.lease_ends_us[ret->lease] = world.now_us + LEASE_US;
        ret->lease_us = LEASE_US;
        return;
    case TAKEOVER_KEEP:
        if (lease_lives(order->lease)) {
            world.lease_ends_us[order->lease] = world.now_us + LEASE_US;
            ret->lease_us = LEASE_US;
        }
        return;
    case TAKEOVER_REGISTER:
        ret->code = lease_lives(order->lease) ? 0 : ERR_NOT_FOUND;
        if (ret->code == 0)
            put_alive(at, order->lease);
        return;
    case TAKEOVER_LOOK:
        fill_view();
        ret->view = &world.view;
        return;
    case TAKEOVER_CLAIM:
        claim(at, order, ret);
        return;
    case TAKEOVER_WITHDRAW:
        withdraw(order);
        return;
    case TAKEOVER_PAUSE:
    case TAKEOVER_SEIZE:
        return;
    }
}

/* --- Regions --- */

static void seize(size_t at, const struct takeover_order *order, struct takeover_answer *ret)
{
    struct machine *machine = &world.machines[at];
    size_t home = place_of(order->home, names, REGIONS);
    size_t context = place_of(order->context, contexts, CONTEXTS);
    uint64_t life = world.life_of_claim[order->revision];
    if (world.now_us > order->until_us || machine->refuses || machine->home[context] != home) {
        ret->code = machine->home[context] != home ? ERR_NOT_FOUND : ERR_UNAVAILABLE;
        return;
    }
    FUZZ_CHECK(life != 0);
    FUZZ_CHECK(world.alive[home] == 0 || world.alive_since_us[home] + TAKEOVER_DECIDE_US >= order->until_us);
    FUZZ_CHECK(world.seized_life[home][context] != life || world.seizer[home][context] == at);
    if (life > world.seized_life[home][context])
        world.seized_life[home][context] = life;
    world.seizer[home][context] = at;
    ret->remaining = machine->piecemeal;
    if (machine->piecemeal)
        return;
    machine->home[context] = at;
    world.home[context] = at;
}

static size_t losses_of(size_t at, struct region_loss losses[CONTEXTS])
{
    const struct machine *machine = &world.machines[at];
    size_t count = 0;
    for (size_t c = 0; c < CONTEXTS; c++) {
        size_t home = machine->home[c];
        if (home == at || !machine->deaf[home])
            continue;
        memset(&losses[count], 0, sizeof(losses[count]));
        copy_string(losses[count].region, sizeof(losses[count].region), names[home]);
        copy_string(losses[count].context, sizeof(losses[count].context), contexts[c]);
        losses[count].check = machine->unready ? "survivors" : NULL;
        count++;
    }
    return count;
}

enum { FAULT_NONE, FAULT_BEFORE, FAULT_AFTER, FAULT_SLOW };

/* One order is decided and carried out; its answer comes with the next step. */
static void step(size_t at, unsigned fault, uint64_t slow_us)
{
    struct machine *machine = &world.machines[at];
    struct region_loss losses[CONTEXTS];
    struct takeover_status status;
    if (machine->down)
        return;
    size_t count = losses_of(at, losses);
    takeover_step(&machine->takeover, world.now_us, machine->answered ? &machine->answer : NULL, losses, count,
                  &machine->order);
    takeover_status(&machine->takeover, world.now_us, losses, count, &status);
    machine->answered = true;
    machine->answer = (struct takeover_answer){.sent_us = world.now_us};
    if (fault == FAULT_SLOW) /* it is carried out after a while */
        world.now_us += slow_us;
    end_leases();
    if (machine->order.type == TAKEOVER_SEIZE)
        seize(at, &machine->order, &machine->answer);
    else if (fault != FAULT_BEFORE)
        serve(at, &machine->order, &machine->answer);
    if (machine->order.type != TAKEOVER_SEIZE && (fault == FAULT_BEFORE || fault == FAULT_AFTER))
        machine->answer.code = ERR_TIMEOUT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    begin();
    while (input.size_bytes > 0 && world.lease_count + 2 < LEASES_MAX) {
        uint8_t what = fuzz_take_byte(&input);
        size_t at = what % REGIONS;
        size_t other = what / 16 % REGIONS;
        struct machine *machine = &world.machines[at];
        end_leases();
        switch (what / REGIONS % 16) {
        case 0:
            machine->down = !machine->down;
            start(at);
            break;
        case 1:
            machine->deaf[other] = !machine->deaf[other];
            break;
        case 2:
            memcpy(machine->home, world.home, sizeof(machine->home));
            break;
        case 3:
            machine->refuses = !machine->refuses;
            break;
        case 4:
            machine->unready = !machine->unready;
            break;
        case 5:
            world.now_us += LEASE_US / 2;
            break;
        case 6:
            world.now_us += LEASE_US * 2;
            break;
        case 7:
            step(at, FAULT_BEFORE, 0);
            break;
        case 8:
            step(at, FAULT_AFTER, 0);
            break;
        case 9:
            step(at, FAULT_SLOW, (uint64_t)fuzz_take_byte(&input) * 50000);
            break;
        case 10:
            if (what >= 222)
                lose_everything();
            else
                machine->piecemeal = !machine->piecemeal;
            break;
        default:
            world.now_us += 100000;
            step(at, FAULT_NONE, 0);
        }
    }
    return 0;
}
