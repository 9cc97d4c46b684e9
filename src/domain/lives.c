/* The lives of regions (lives.h). A region has few, so each look-up walks its chain. */
#include "domain/lives.h"

#include "base/mem.h"
#include "base/planted.h"

enum { FIRST_CAPACITY = 2 };

struct life {
    uint64_t incarnation;
    size_t basis_count;
    struct position_log *basis; /* owned */
};

struct region_lives {
    size_t count;
    size_t capacity;
    struct life *items; /* ascending by incarnation */
    char name[POSITION_REGION_MAX_BYTES + 1];
};

uint64_t resting_end(const struct resting *resting, const char *region, uint64_t incarnation)
{
    if (strcmp(resting->region, region) == 0 && resting->incarnation == incarnation)
        return resting->index;
    for (size_t i = 0; i < resting->basis_count; i++) {
        if (strcmp(resting->basis[i].region, region) == 0 && resting->basis[i].incarnation == incarnation)
            return resting->basis[i].size;
    }
    return 0;
}

void lives_init(struct lives *lives)
{
    map_init(&lives->regions, LIVES_REGIONS_MAX, NULL);
}

static void free_region(struct region_lives *region)
{
    for (size_t i = 0; i < region->count; i++)
        mem_free(region->items[i].basis);
    mem_free(region->items);
    mem_free(region);
}

void lives_free(struct lives *lives)
{
    size_t at = 0;
    struct bytes key;
    void *value = NULL;
    while (map_next(&lives->regions, &at, &key, &value))
        free_region(value);
    map_free(&lives->regions);
}

/* --- Adding --- */

static int no_memory(struct err *err)
{
    return err_no_memory(err, "the lives of a region");
}

static int find_or_add(struct lives *lives, const char *name, struct region_lives **ret, struct err *err)
{
    struct region_lives *region = map_get(&lives->regions, bytes_of_string(name));
    if (region == NULL) {
        region = mem_alloc_zero(1, sizeof(*region));
        int code = region == NULL ? ERR_NO_MEMORY : map_put(&lives->regions, bytes_of_string(name), region);
        if (code != 0)
            mem_free(region);
        if (code == ERR_TOO_LARGE)
            return err_set(err, code, "more than %d regions begin new logs", LIVES_REGIONS_MAX);
        if (code != 0)
            return no_memory(err);
        copy_string(region->name, sizeof(region->name), name);
    }
    *ret = region;
    return 0;
}

static int make_room(struct region_lives *region, struct err *err)
{
    if (region->count == LIVES_MAX)
        return err_set(err, ERR_TOO_LARGE, "region %s has begun more than %d logs", region->name, LIVES_MAX);
    if (region->count < region->capacity)
        return 0;
    size_t grown = region->capacity == 0 ? FIRST_CAPACITY : 2 * region->capacity;
    struct life *more = mem_resize(region->items, grown * sizeof(*more));
    if (more == NULL)
        return no_memory(err);
    region->items = more;
    region->capacity = grown;
    return 0;
}

int lives_add(struct lives *lives, const struct resting *life, struct err *err)
{
    struct region_lives *region = NULL;
    struct life added = {.incarnation = life->incarnation, .basis_count = life->basis_count};
    int code = find_or_add(lives, life->region, &region, err);
    if (code != 0)
        return code;
    size_t at = region->count;
    while (at > 0 && region->items[at - 1].incarnation > added.incarnation)
        at--;
    if (at > 0 && region->items[at - 1].incarnation == added.incarnation)
        return 0;
    code = make_room(region, err);
    if (code != 0)
        return code;
    if (added.basis_count > 0) {
        added.basis = mem_alloc(added.basis_count * sizeof(*added.basis));
        if (added.basis == NULL)
            return no_memory(err);
        memcpy(added.basis, life->basis, added.basis_count * sizeof(*added.basis));
    }
    memmove(&region->items[at + 1], &region->items[at], (region->count - at) * sizeof(added));
    region->items[at] = added;
    region->count++;
    return 0;
}

/* --- Asking --- */

static struct resting resting_of(const struct region_lives *region, const struct life *life)
{
    return (struct resting){.region = region->name,
                            .incarnation = life->incarnation,
                            .basis_count = life->basis_count,
                            .basis = life->basis};
}

/* The latest life before incarnation `below` that is known to whoever knows what `above` rests on. */
static bool step_down(const struct region_lives *lives, const struct resting *more, const struct resting *above,
                      const char *region, uint64_t below, struct resting *ret)
{
    bool found = false;
    for (size_t i = lives == NULL ? 0 : lives->count; i > 0 && !found; i--) {
        const struct life *life = &lives->items[i - 1];
        if (life->incarnation >= below || (above != NULL && resting_end(above, region, life->incarnation) == 0))
            continue;
        *ret = resting_of(lives, life);
        found = true;
    }
    if (more == NULL || strcmp(more->region, region) != 0 || more->incarnation >= below ||
        (above != NULL && resting_end(above, region, more->incarnation) == 0) ||
        (found && ret->incarnation >= more->incarnation))
        return found;
    *ret = *more;
    return true;
}

uint64_t lives_end(const struct lives *lives, const struct resting *more, const struct resting *above,
                   const char *region, uint64_t incarnation)
{
    if ((lives->regions.live_count == 0 && more == NULL) || PLANTED(count_left_behind))
        return UINT64_MAX;
    const struct region_lives *of = map_get(&lives->regions, bytes_of_string(region));
    uint64_t end = UINT64_MAX;
    struct resting life;
    struct resting next;
    bool found = step_down(of, more, above, region, UINT64_MAX, &life);
    while (found && life.incarnation > incarnation) {
        uint64_t size = resting_end(&life, region, incarnation);
        end = size < end ? size : end;
        found = step_down(of, more, &life, region, life.incarnation, &next);
        life = next;
    }
    return end;
}

bool lives_find(const struct lives *lives, const char *region, uint64_t incarnation, struct resting *ret)
{
    const struct region_lives *of = map_get(&lives->regions, bytes_of_string(region));
    for (size_t i = 0; of != NULL && i < of->count; i++) {
        if (of->items[i].incarnation == incarnation) {
            *ret = resting_of(of, &of->items[i]);
            return true;
        }
    }
    return false;
}
