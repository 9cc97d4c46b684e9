/* tally projection: create, rebuild, digest, check, status. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "commands.h"
#include "connect.h"
#include "output.h"
#include "platform/disk.h"
#include "tally/client.h"

enum { SQL_MAX_BYTES = 1024 * 1024 };

static json_t *projection_json(const struct tally_projection *projection)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "name", json_cstring(projection->name), "state",
                     json_cstring(projection->state), "generation", json_number(projection->generation), "position",
                     json_cstring(projection->position), "rebuild_position", json_cstring(projection->rebuild_position),
                     "error", json_cstring(projection->error), "file", json_cstring(projection->file), "database",
                     json_cstring(projection->database));
}

static void print_line(const struct tally_projection *projection)
{
    print_string(projection->name);
    printf(": ");
    print_string(projection->state);
    printf(", generation %" PRIu64 ", at ", projection->generation);
    print_string(projection->position[0] != '\0' ? projection->position : "(start)");
    if (projection->rebuild_position[0] != '\0') {
        printf(", rebuilding at ");
        print_string(projection->rebuild_position);
    }
    if (projection->error[0] != '\0') {
        printf(", error: ");
        print_string(projection->error);
    }
    bool in_database = projection->database[0] != '\0';
    printf(in_database ? "\n  database " : "\n  file ");
    print_string(in_database ? projection->database : projection->file);
    if (in_database) {
        printf(", schema ");
        print_string(projection->name);
    }
    putchar('\n');
}

static int print_projections(const struct tally_projections *projections, bool json, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < projections->count; i++) {
        if (json)
            rc = print_json(projection_json(&projections->items[i]), err);
        else
            print_line(&projections->items[i]);
    }
    if (projections->count == 0 && !json)
        puts("no projections: make one with tally projection create FILE");
    return rc;
}

static int create(struct tally_client *client, const char *file, const char *database, uint64_t timeout_ms,
                  struct tally_projections **ret, struct err *err)
{
    struct buf sql;
    buf_init(&sql, SQL_MAX_BYTES);
    int rc = disk_read_file(disk_posix(), file, &sql, err);
    if (rc == 0 && memchr(sql.data, '\0', sql.size_bytes) != NULL)
        rc = err_set(err, ERR_INVALID, "%s is not a text file", file);
    if (rc == 0 && buf_terminate(&sql) != 0)
        rc = err_no_memory(err, "the SQL file");
    if (rc == 0)
        rc = tally_projection_create(client, (const char *)sql.data, database, timeout_ms, ret, err);
    buf_free(&sql);
    return rc;
}

static int digest(struct tally_client *client, const char *name, const char *wait, const struct common *common,
                  struct err *err)
{
    struct tally_projection_digest *digest = NULL;
    int rc = tally_projection_digest_get(client, name, wait, common->timeout_ms, &digest, err);
    if (rc != 0)
        return rc;
    if (common->json) {
        rc = print_json(json_pack("{s:o,s:o,s:o,s:o,s:o}", "name", json_cstring(digest->name), "digest",
                                  json_cstring(digest->digest), "position", json_cstring(digest->position), "row_count",
                                  json_number(digest->row_count), "generation", json_number(digest->generation)),
                        err);
    } else {
        print_string(digest->digest);
        printf("  ");
        print_string(digest->name);
        printf(" at ");
        print_string(digest->position[0] != '\0' ? digest->position : "(start)");
        printf(", %" PRIu64 " rows, generation %" PRIu64 "\n", digest->row_count, digest->generation);
    }
    tally_projection_digest_free(digest);
    return rc;
}

/* A difference is printed, and is a failure, too. */
static int print_check(const struct tally_projection_check *check, bool json, struct err *err)
{
    int rc = 0;
    if (json)
        rc = print_json(json_pack("{s:o,s:o,s:o,s:o,s:b,s:o,s:o}", "name", json_cstring(check->name), "position",
                                  json_cstring(check->position), "event_count", json_number(check->event_count),
                                  "seeds", json_number(check->seeds), "differs", check->differs, "seed",
                                  json_number(check->seed), "table", json_cstring(check->table)),
                        err);
    else if (!check->differs)
        printf("equal in %" PRIu64 " interleavings of %" PRIu64 " entries, up to %s\n", check->seeds,
               check->event_count, check->position[0] != '\0' ? check->position : "(start)");
    if (rc != 0 || !check->differs)
        return rc;
    return err_set(err, ERR_MISMATCH,
                   "table %.200s differs in the interleaving of seed %" PRIu64
                   ": the statements do not commute between "
                   "logs, so regions will not agree; see src/projection/README.md, rules for the SQL",
                   check->table, check->seed);
}

static int check(struct tally_client *client, const char *name, uint64_t seeds, const struct common *common,
                 struct err *err)
{
    struct tally_projection_check *check = NULL;
    int rc = tally_projection_check(client, name, seeds, common->timeout_ms, &check, err);
    if (rc == 0)
        rc = print_check(check, common->json, err);
    tally_projection_check_free(check);
    return rc;
}

/* What is asked besides the action and its NAME or FILE. */
struct wishes {
    const char *wait;
    const char *database;
    uint64_t seeds;
};

static int execute(struct tally_client *client, const char *action, const char *name, const struct wishes *wishes,
                   const struct common *common, struct err *err)
{
    struct tally_projections *projections = NULL;
    int rc = 0;
    if (strcmp(action, "digest") == 0)
        return digest(client, name, wishes->wait, common, err);
    if (strcmp(action, "check") == 0)
        return check(client, name, wishes->seeds, common, err);
    if (strcmp(action, "create") == 0)
        rc = create(client, name, wishes->database, common->timeout_ms, &projections, err);
    else if (strcmp(action, "rebuild") == 0)
        rc = tally_projection_rebuild(client, name, common->timeout_ms, &projections, err);
    else if (name != NULL)
        rc = tally_projection_get(client, name, wishes->wait, common->timeout_ms, &projections, err);
    else
        rc = tally_projection_list(client, common->timeout_ms, &projections, err);
    if (rc == 0)
        rc = print_projections(projections, common->json, err);
    tally_projections_free(projections);
    return rc;
}

static bool action_known(const char *action)
{
    return strcmp(action, "create") == 0 || strcmp(action, "rebuild") == 0 || strcmp(action, "digest") == 0 ||
           strcmp(action, "check") == 0 || strcmp(action, "status") == 0;
}

static int run_projection(const struct command *command, int argc, char **argv)
{
    struct common common = {.timeout_ms = COMMON_TIMEOUT_MS};
    struct wishes wishes = {.wait = NULL};
    const struct option options[] = {
        {"database", "NAME", OPTION_TEXT, &wishes.database,
         "create: in PostgreSQL, the database of that name in the region's tallyd.yaml (default: SQLite)"},
        {"wait", "POSITION", OPTION_TEXT, &wishes.wait,
         "digest, status NAME: answer once the projection has reached it, for at most --timeout-ms"},
        {"seeds", "N", OPTION_NUMBER, &wishes.seeds, "check: how many interleavings to try (default 10)"},
        OPTION_SERVER(common),
        OPTION_TIMEOUT(common),
        OPTION_JSON(common),
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(options), argc, argv, 1, 2, &arguments, &exit_with))
        return exit_with;
    const char *action = arguments.items[0];
    const char *name = arguments.count > 1 ? arguments.items[1] : NULL;
    if (!action_known(action))
        return usage_error(command, "\"%s\" is not create, rebuild, digest, check or status", action);
    if (name == NULL && strcmp(action, "status") != 0)
        return usage_error(command, "%s wants %s", action, strcmp(action, "create") == 0 ? "a FILE" : "a NAME");
    if (wishes.seeds != 0 && strcmp(action, "check") != 0)
        return usage_error(command, "--seeds goes with check NAME");
    if (wishes.database != NULL && strcmp(action, "create") != 0)
        return usage_error(command, "--database goes with create FILE");
    if (wishes.wait != NULL && (name == NULL || (strcmp(action, "digest") != 0 && strcmp(action, "status") != 0)))
        return usage_error(command, "--wait goes with digest NAME and status NAME");
    struct err err = {0};
    struct tally_client *client = NULL;
    int rc = connect_client(server_address(common.server), &client, &err);
    if (rc == 0)
        rc = execute(client, action, name, &wishes, &common, &err);
    if (rc == 0)
        rc = output_flush(&err);
    tally_client_close(client);
    return rc == 0 ? EXIT_OK : fail(&err, common.json);
}

const struct command command_projection = {
    .name = "projection",
    .arguments = "create FILE | rebuild NAME | digest NAME | check NAME | status [NAME]",
    .summary = "read models: create, rebuild, compare",
    .help = "create   makes a projection from a SQL file, which says how each type of event changes its tables: in\n"
            "         SQLite, in a file of the region, or in PostgreSQL, in a schema of the projection's name\n"
            "rebuild  replays all events into a new generation beside the live one, then switches\n"
            "digest   one hash over the contents: equal position, equal digest, in every region\n"
            "check    replays the logs in random interleavings and compares the contents; exit 1 when they differ.\n"
            "         Takes as long as that many rebuilds: give it time with --timeout-ms\n"
            "status   where projections are\n\n"
            "Examples:\n"
            "  tally projection create balances.sql\n"
            "  tally projection create balances-pg.sql --database reporting\n"
            "  tally projection digest balances --wait eu@1024,us@998\n"
            "  tally projection check balances --seeds 20 --timeout-ms 600000\n"
            "  tally projection status --json",
    .connects = true,
    .run = run_projection,
};
