/* tally scrub: reads every log of a data directory again. */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "commands.h"
#include "damage.h"
#include "output.h"

struct scrub_options {
    const char *key;
    bool json;
};

static json_t *findings_json(const struct mend *mend)
{
    json_t *list = json_array();
    for (size_t i = 0; i < mend->finding_count; i++) {
        const struct scrub_finding *finding = &mend->findings[i];
        char file[64];
        (void)snprintf(file, sizeof(file), "%020" PRIu64 ".seg", finding->segment);
        (void)json_array_append_new(
            list, json_pack("{s:s,s:o,s:o,s:o,s:o}", "file", file, "offset", json_number(finding->offset),
                            "first_index", json_number(finding->first_index), "end_index",
                            json_number(finding->end_index), "what", json_cstring(finding->what)));
    }
    return list;
}

/* One log, one paragraph or one line of JSON. *ret_clean is false when something is wrong with it. */
static int show(const struct mend *mend, bool json, bool *ret_clean, struct err *err)
{
    uint64_t size = 0;
    bool differs = damage_root_differs(mend, &size);
    *ret_clean = mend->finding_count == 0 && !differs;
    if (json)
        return print_json(json_pack("{s:s,s:o,s:b,s:o,s:b}", "origin", mend->origin, "size", json_number(mend->size),
                                    "clean", *ret_clean, "damaged", findings_json(mend), "root_differs", differs),
                          err);
    printf("log %s: %" PRIu64 " entries in %zu %s, %s", mend->origin, mend->size, mend->segment_count,
           mend->segment_count == 1 ? "segment" : "segments",
           mend->finding_count == 0 ? "every block, entry and payload is intact" : "DAMAGED");
    if (differs)
        printf(", but the root signed for %" PRIu64 " entries is ANOTHER one", size);
    putchar('\n');
    damage_print(mend);
    if (mend->finding_count > 0)
        printf("  repair it, with the region stopped: tally repair --data DIR --origin %s --from HOST:PORT\n",
               mend->origin);
    return 0;
}

static int scrub_one(const char *data, const struct scrub_options *options, const struct datadir_log *log,
                     struct sha256 *sha, bool *ret_clean, struct err *err)
{
    struct mend mend;
    int code = damage_prepare(data, options->key, log, "", sha, &mend, err);
    if (code == 0)
        code = mend_find(&mend, err);
    if (code == 0)
        code = show(&mend, options->json, ret_clean, err);
    mend_free(&mend);
    return code;
}

static int scrub_all(const char *data, const struct scrub_options *options, bool *ret_clean, struct err *err)
{
    size_t count = 0;
    struct datadir_log *logs = mem_alloc(DATADIR_LOGS_MAX * sizeof(*logs));
    struct sha256 *sha = sha256_new();
    int code = logs == NULL || sha == NULL ? err_no_memory(err, "a scrub") : 0;
    if (code == 0)
        code = datadir_logs(data, logs, &count, err);
    for (size_t i = 0; code == 0 && i < count; i++) {
        bool clean = true;
        code = scrub_one(data, options, &logs[i], sha, &clean, err);
        *ret_clean = *ret_clean && clean;
    }
    sha256_free(sha);
    mem_free(logs);
    return code;
}

static int run_scrub(const struct command *command, int argc, char **argv)
{
    struct scrub_options options = {0};
    const struct option table[] = {
        {"key", "FILE", OPTION_TEXT, &options.key, "public keys of the logs (default: from DIR/keys)"},
        {"json", NULL, OPTION_FLAG, &options.json, "one JSON object a log"},
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 1, 1, &arguments, &exit_with))
        return exit_with;
    struct err err = {0};
    bool clean = true;
    int code = scrub_all(arguments.items[0], &options, &clean, &err);
    if (code == 0)
        code = output_flush(&err);
    if (code != 0)
        return fail(&err, options.json);
    return clean ? EXIT_OK : EXIT_FAILED;
}

const struct command command_scrub = {
    .name = "scrub",
    .arguments = "DIR",
    .summary = "reads every log of a data directory again, and says what is damaged",
    .help = "Reads all segments, hashes every entry and payload again, and compares the chain, the tree in each "
            "segment's\n"
            "header and the root of the stored checkpoints. Writes nothing; the server may be running. A region does "
            "the\n"
            "same in the background (scrub_mib_per_s). Exit code 1 when something is damaged.\n\n"
            "Example:\n"
            "  tally scrub /var/lib/tally/eu",
    .run = run_scrub,
};
