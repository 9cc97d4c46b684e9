/* The list of projections, in a server that has nothing else. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <unistd.h>

#include "../../support/files.h"
#include "base/mem.h"
#include "server/projector.h"

#define SQL                                                                                                            \
    "-- tally: projection sums\n-- tally: schema\nCREATE TABLE sums(id TEXT PRIMARY KEY);\n-- tally: on bank *\n"      \
    "INSERT INTO sums(id) VALUES(:event_id);\n"

static struct server_config config = {.region = {.region = "eu"}};
static struct server server;

static void start(void)
{
    struct err err = {0};
    char folder[FILES_PATH_MAX];
    cr_redirect_stderr();
    files_temp_folder(folder);
    snprintf(config.folder, sizeof(config.folder), "%.*s", (int)sizeof(config.folder) - 1, folder);
    server =
        (struct server){.config = &config, .disk = disk_posix(), .index = index_memory_new(&config.region.contexts)};
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&server.mutex, NULL);
    pthread_cond_init(&server.changed, &attributes);
    pthread_condattr_destroy(&attributes);
    cr_assert_not_null(server.index);
    cr_assert_eq(projector_start(&server, &server.projector, &err), 0, "%s", err.message);
}

static void end(void)
{
    projector_stop(server.projector);
    index_close(server.index);
    pthread_cond_destroy(&server.changed);
    pthread_mutex_destroy(&server.mutex);
    files_remove_folder(config.folder);
}

TestSuite(projector, .init = start, .fini = end);

Test(projector, a_projection_that_cannot_be_made_leaves_nothing_behind)
{
    struct rpc_projection made;
    char folder[DISK_PATH_MAX_BYTES];
    int code = ERR_NO_MEMORY;
    cr_assert_eq(disk_join(folder, config.folder, "projections/sums", NULL), 0);
    for (uint64_t at = 1; code == ERR_NO_MEMORY; at++) {
        struct err err = {0};
        cr_assert_lt(at, 1000);
        mem_fail_at(at);
        code = projector_create(&server.backend, BYTES_LITERAL(SQL), "", &made, &err);
        mem_fail_at(0);
        if (code != 0)
            cr_assert_neq(access(folder, F_OK), 0, "allocation %d: %s", (int)at, err.message);
    }
    cr_expect_eq(code, 0);
    cr_expect_str_eq(made.name, "sums");
}
