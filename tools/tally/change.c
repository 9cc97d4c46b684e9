/* What handover and failover share (change.h). */
#include "change.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "connect.h"
#include "entry/entry.h"
#include "lines.h"
#include "output.h"
#include "platform/clock.h"

struct change_patience change_patience(uint64_t timeout_ms)
{
    return (struct change_patience){.until_us = clock_now().mono_us + timeout_ms * 1000};
}

bool change_again(struct change_patience *patience, int code, const struct err *err)
{
    enum { PAUSE_MS = 100 };
    if (code != ERR_BUSY || clock_now().mono_us >= patience->until_us)
        return false;
    if (!patience->told)
        fprintf(stderr, "waiting: %s\n", err->message);
    patience->told = true;
    clock_sleep_ms(PAUSE_MS);
    return true;
}

/* --- Names of a file --- */

enum { NAMES_MAX_BYTES = 256 * 1024 * 1024, WAIT_MS = 1000 };

static void forget(struct change_names *names)
{
    mem_free(names->items);
    buf_free(&names->text);
}

/* Behind each other in names->text, each with its NUL. An empty line is none. */
static int read_names(const char *path, struct change_names *names, struct err *err)
{
    struct lines lines;
    struct bytes line;
    buf_init(&names->text, NAMES_MAX_BYTES);
    int rc = lines_open(path, ENTRY_NAME_MAX_BYTES, &lines, err);
    if (rc != 0)
        return rc;
    while (rc == 0 || rc == ERR_BUSY) {
        rc = lines_next(&lines, WAIT_MS, &line, err);
        if (rc != 0 || line.size_bytes == 0)
            continue;
        rc = entry_check_name(line, ENTRY_NAME_MAX_BYTES, "partition", err);
        if (rc == 0 && names->read_count == CHANGE_NAMES_MAX)
            rc = err_set(err, ERR_TOO_LARGE, "more than %d partitions", CHANGE_NAMES_MAX);
        if (rc == 0)
            rc = buf_append(&names->text, line);
        if (rc == 0)
            rc = buf_append(&names->text, bytes_of("", 1));
        if (rc != 0)
            rc = err_wrap(err, rc, "%s, line %" PRIu64, path, lines.number);
        names->read_count += rc == 0;
    }
    lines_close(&lines);
    if (rc != ERR_END)
        return rc;
    return names->read_count > 0 ? 0 : err_set(err, ERR_INVALID, "%s names no partition", path);
}

/* Whether the partition is still to leave the region: it is its home, or was let go to it. */
static bool is_to_leave(const struct tally_home_status *home, const char *region)
{
    return strcmp(home->released ? home->successor : home->region, region) == 0 || strcmp(home->region, region) == 0;
}

/* Each name once, and none whose home is another region than `from` already. */
static int take_names(const struct tally_homes *homes, const char *from, const char *to, struct change_names *names,
                      struct err *err)
{
    struct map known;
    struct map taken;
    int rc = 0;
    map_init(&known, homes->count + 1, NULL);
    map_init(&taken, names->read_count + 1, NULL);
    names->items = mem_alloc(names->read_count * sizeof(*names->items));
    for (size_t i = 0; rc == 0 && i < homes->count; i++)
        rc = map_put(&known, bytes_of_string(homes->homes[i].partition), (void *)(uintptr_t)(i + 1));
    const char *name = (const char *)names->text.data;
    for (size_t i = 0; rc == 0 && names->items != NULL && i < names->read_count; i++, name += strlen(name) + 1) {
        uintptr_t number = (uintptr_t)map_get(&known, bytes_of_string(name)); /* in homes, from 1 */
        if (number == 0)                                                      /* it has no home of its own */
            number = (uintptr_t)map_get(&known, bytes_of_string("*"));
        const struct tally_home_status *home = number == 0 ? NULL : &homes->homes[number - 1];
        if (map_get(&taken, bytes_of_string(name)) != NULL)
            continue;
        bool leaves = from != NULL ? home == NULL || is_to_leave(home, from)
                                   : home == NULL || (strcmp(home->region, to) != 0 && !home->released);
        if (leaves)
            names->items[names->count++] = name;
        names->skip_count += !leaves;
        rc = map_put(&taken, bytes_of_string(name), names->text.data);
    }
    map_free(&known);
    map_free(&taken);
    return rc == 0 && names->items != NULL ? 0 : err_no_memory(err, "the partitions");
}

static int load_names(struct tally_client *client, const char *context, struct change_options *options, struct err *err)
{
    struct change_names *names = &options->names;
    struct tally_homes *homes = NULL;
    int rc = read_names(options->partitions_from, names, err);
    if (rc == 0)
        rc = tally_homes_get(client, context, options->common.timeout_ms, &homes, err);
    if (rc == 0)
        rc = take_names(homes, options->leaves ? options->region : NULL, options->region, names, err);
    tally_homes_free(homes);
    if (rc != 0)
        return rc;
    if (names->skip_count > 0)
        fprintf(stderr, "%zu of %zu partitions %s: left out\n", names->skip_count, names->read_count,
                options->leaves ? "have another home already" : "are there, or on their way, already");
    return 0;
}

int change_groups(struct tally_client *client, const struct tally_change *change, const struct change_options *options,
                  const char *done_word, change_group_fn *group, const void *context, uint64_t *changed,
                  struct err *err)
{
    const struct change_names *names = &options->names;
    if (options->partitions_from == NULL)
        return group(client, change, context, changed, err);
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < names->count; at += CHANGE_GROUP) {
        struct tally_change part = *change;
        part.partitions = names->items + at;
        part.partition_count = names->count - at < CHANGE_GROUP ? names->count - at : CHANGE_GROUP;
        rc = group(client, &part, context, changed, err);
        fprintf(stderr, "%s %" PRIu64 " of %zu partitions\n", done_word, *changed, names->count);
    }
    if (rc != 0)
        fprintf(stderr, "%zu partitions are left; what is done stays done: give the same command again to go on\n",
                (size_t)(names->count - *changed));
    return rc;
}

/* --- The command --- */

static struct tally_change change_of(const struct change_options *options, const char *context)
{
    return (struct tally_change){.context = context,
                                 .partitions = options->partitions.items,
                                 .partition_count = options->partitions.count,
                                 .region = options->region,
                                 .actor = options->actor,
                                 .reason = options->reason,
                                 .force = options->force};
}

int change_run(const struct command *command, struct change_options *change, const struct option *options,
               size_t option_count, int argc, char **argv, change_fn *carry_out)
{
    struct arguments arguments;
    struct tally_client *client = NULL;
    struct err err = {0};
    int exit_with = 0;
    if (!options_parse(command, options, option_count, argc, argv, 1, 1, &arguments, &exit_with))
        return exit_with;
    if (change->region == NULL)
        return usage_error(command, "say which region: --%s REGION", options[0].name);
    if (change->partitions_from != NULL && change->partitions.count > 0)
        return usage_error(command, "--partition and --partitions-from exclude each other");
    if (change->force && change->reason == NULL)
        return usage_error(command, "--force needs --reason TEXT, which stays in the log");
    struct tally_change wanted = change_of(change, arguments.items[0]);
    int rc = connect_client(server_address(change->common.server), &client, &err);
    if (rc == 0 && change->partitions_from != NULL)
        rc = load_names(client, arguments.items[0], change, &err);
    if (rc == 0)
        rc = carry_out(client, &wanted, change, &err);
    if (rc == 0)
        rc = output_flush(&err);
    tally_client_close(client);
    forget(&change->names);
    return rc == 0 ? EXIT_OK : fail(&err, change->common.json);
}
