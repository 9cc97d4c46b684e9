/* Learned homes (routes.h): a short list, looked through under a mutex. */
#include "routes.h"
#include "connect.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

struct route {
    char context[TALLY_NAME_MAX_BYTES + 1];
    char partition[TALLY_NAME_MAX_BYTES + 1];
    size_t region;
};

struct route_region {
    char name[64];
    struct tally_client *client;
};

struct routes {
    const struct option_values *to;
    pthread_mutex_t mutex;
    size_t count;
    struct route *routes[ROUTES_MAX];
    size_t region_count;
    struct route_region regions[ROUTE_REGIONS_MAX];
};

const char *routes_given_address(const struct option_values *to, const char *region)
{
    size_t size = strlen(region);
    for (size_t i = 0; i < to->count; i++)
        if (strncmp(to->items[i], region, size) == 0 && to->items[i][size] == '=')
            return to->items[i] + size + 1;
    return NULL;
}

int routes_new(const struct option_values *to, struct routes **ret, struct err *err)
{
    struct routes *routes = mem_alloc_zero(1, sizeof(*routes));
    if (routes == NULL)
        return err_no_memory(err, "the import");
    routes->to = to;
    (void)pthread_mutex_init(&routes->mutex, NULL);
    *ret = routes;
    return 0;
}

void routes_free(struct routes *routes)
{
    if (routes == NULL)
        return;
    for (size_t i = 0; i < routes->count; i++)
        mem_free(routes->routes[i]);
    for (size_t i = 0; i < routes->region_count; i++)
        tally_client_close(routes->regions[i].client);
    (void)pthread_mutex_destroy(&routes->mutex);
    mem_free(routes);
}

static struct route *find(struct routes *routes, const char *context, const char *partition)
{
    for (size_t i = 0; i < routes->count; i++) {
        struct route *route = routes->routes[i];
        if (strcmp(route->context, context) == 0 && strcmp(route->partition, partition) == 0)
            return route;
    }
    return NULL;
}

struct tally_client *routes_find(struct routes *routes, const char *context, const char *partition)
{
    (void)pthread_mutex_lock(&routes->mutex);
    const struct route *route = find(routes, context, partition);
    struct tally_client *client = route == NULL ? NULL : routes->regions[route->region].client;
    (void)pthread_mutex_unlock(&routes->mutex);
    return client;
}

static int find_region(struct routes *routes, const char *name, const char *address, size_t *ret)
{
    size_t at = 0;
    while (at < routes->region_count && strcmp(routes->regions[at].name, name) != 0)
        at++;
    if (at == ROUTE_REGIONS_MAX)
        return ERR_TOO_LARGE;
    if (at == routes->region_count) {
        const char *given = routes_given_address(routes->to, name);
        int rc = connect_client(given == NULL ? address : given, &routes->regions[at].client, NULL);
        if (rc != 0)
            return rc;
        (void)snprintf(routes->regions[at].name, sizeof(routes->regions[at].name), "%s", name);
        routes->region_count++;
    }
    *ret = at;
    return 0;
}

static int add(struct routes *routes, const char *context, const char *partition, struct route **ret)
{
    if (routes->count == ROUTES_MAX)
        return ERR_TOO_LARGE;
    struct route *route = mem_alloc_zero(1, sizeof(*route));
    if (route == NULL)
        return ERR_NO_MEMORY;
    (void)snprintf(route->context, sizeof(route->context), "%s", context);
    (void)snprintf(route->partition, sizeof(route->partition), "%s", partition);
    routes->routes[routes->count++] = route;
    *ret = route;
    return 0;
}

int routes_learn(struct routes *routes, const char *context, const char *partition, const char *region,
                 const char *address)
{
    size_t home = 0;
    (void)pthread_mutex_lock(&routes->mutex);
    struct route *route = find(routes, context, partition);
    int rc = find_region(routes, region, address, &home);
    if (rc == 0 && route == NULL)
        rc = add(routes, context, partition, &route);
    if (rc == 0)
        route->region = home;
    (void)pthread_mutex_unlock(&routes->mutex);
    return rc;
}
