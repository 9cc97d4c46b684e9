/* tally repair: what is damaged in a data directory is fetched from a peer. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "client/peer.h"
#include "commands.h"
#include "connect.h"
#include "damage.h"
#include "domain/residency.h"
#include "output.h"
#include "server/config.h"

enum { STATUS_TIMEOUT_MS = 10000 };

struct repair_options {
    const char *data;
    const char *from;
    const char *origin;
    const char *key;
    bool dry_run;
    bool json;
};

/* The peer, as the fetching side sees it. */
struct source {
    struct channel *channel;
    struct peer_identity self;
    const struct server_config *config; /* of the directory */
    char region[64];                    /* as it says itself */
    const char *origin;
};

/* --- Fetching --- */

/* A pull of the log, as this region; scratch is the reader's. */
static int open_pull(struct source *source, uint64_t from_index, struct buf *scratch, struct channel_call **ret,
                     struct err *err)
{
    struct channel_call *call = NULL;
    int code = peer_pull_open(source->channel, &source->self, source->origin, from_index, &call, err);
    if (code != 0)
        return code;
    code = peer_pull_introduce(call, &source->self, source->region, source->origin, from_index, scratch, err);
    if (code != 0) {
        channel_call_close(call);
        return code;
    }
    *ret = call;
    return 0;
}

/* What the peer sends must be as this region has to keep it: no payload that it may not hold, each that it is to hold.
 */
static int check_residency(const struct region_config *region, const struct block *block, struct err *err)
{
    struct bytes elements = block_body(block);
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < block->entry_count; i++) {
        struct frame frame;
        struct entry entry;
        code = frame_next_entry(&elements, &frame, &entry, err);
        if (code != 0)
            break;
        enum residency residency = residency_of(&region->contexts, bytes_of_string(region->region), &entry);
        if ((residency == RESIDENCY_HELD && !frame.has_payload) ||
            (residency == RESIDENCY_WITHHELD && frame.has_payload))
            code =
                err_set(err, ERR_MISMATCH, "entry %llu comes %s its payload, and region %s %s; repair it from another",
                        (unsigned long long)entry.index, frame.has_payload ? "with" : "without", region->region,
                        frame.has_payload ? "may not hold it" : "is to hold it");
    }
    return code;
}

/* Reads a pull until `each` has seen end_index. */
static int read_until(const struct source *source, struct channel_call *call, uint64_t end_index, struct buf *scratch,
                      mend_block_fn *each, void *each_context, struct err *err)
{
    struct buf note;
    uint64_t reached = 0;
    int code = 0;
    buf_init(&note, NOTE_MAX_BYTES);
    while (code == 0 && reached < end_index) {
        struct block *block = NULL;
        buf_clear(&note);
        code = peer_pull_read(call, scratch, &block, &note, err);
        if (code != 0 || block == NULL)
            continue;
        reached = block->first_index + block->entry_count;
        code = check_residency(&source->config->region, block, err);
        if (code == 0)
            code = each(each_context, block, err);
        block_release(block);
    }
    buf_free(&note);
    return code;
}

static int fetch_from(struct source *source, uint64_t from_index, uint64_t end_index, mend_block_fn *each,
                      void *each_context, struct err *err)
{
    struct channel_call *call = NULL;
    struct buf scratch;
    buf_init(&scratch, CHANNEL_MESSAGE_MAX_BYTES);
    int code = open_pull(source, from_index, &scratch, &call, err);
    if (code == 0) {
        code = read_until(source, call, end_index, &scratch, each, each_context, err);
        channel_call_close(call);
    }
    buf_free(&scratch);
    return code;
}

/* Where the peer's blocks begin elsewhere it says so before it sends one; then its log is read from the start. */
static int fetch(void *context, uint64_t first_index, uint64_t end_index, mend_block_fn *each, void *each_context,
                 struct err *err)
{
    struct source *source = context;
    int code = fetch_from(source, first_index, end_index, each, each_context, err);
    return code == ERR_MISMATCH && first_index > 0 ? fetch_from(source, 0, end_index, each, each_context, err) : code;
}

/* Who the peer is, and what it holds of the log: 0 when nothing that was signed. */
static int ask_peer(const char *address, struct source *source, uint64_t *ret, struct err *err)
{
    struct tally_client *client = NULL;
    struct tally_status *status = NULL;
    int code = connect_client(address, &client, err);
    if (code == 0)
        code = tally_status_get(client, STATUS_TIMEOUT_MS, &status, err);
    for (size_t i = 0; code == 0 && i < status->log_count; i++) {
        if (strcmp(status->logs[i].origin, source->origin) == 0 && status->logs[i].checkpoint_size > 0)
            *ret = status->logs[i].size;
    }
    if (code == 0)
        copy_string(source->region, sizeof(source->region), status->region);
    tally_status_free(status);
    tally_client_close(client);
    return code;
}

/* A pull from the peer's own end begins with its checkpoint. */
static int fetch_checkpoint(struct source *source, const char *data, const char *key_path, const char *address,
                            struct mend *mend, struct err *err)
{
    struct origin origin;
    struct keyring keys;
    struct checkpoint checkpoint;
    struct channel_call *call = NULL;
    struct buf scratch;
    struct buf note;
    uint64_t size = 0;
    int code = ask_peer(address, source, &size, err);
    if (code != 0 || size == 0)
        return code;
    buf_init(&scratch, CHANNEL_MESSAGE_MAX_BYTES);
    buf_init(&note, NOTE_MAX_BYTES);
    code = open_pull(source, size, &scratch, &call, err);
    while (code == 0 && note.size_bytes == 0) {
        struct block *block = NULL;
        code = peer_pull_read(call, &scratch, &block, &note, err);
        if (code == 0 && block != NULL)
            block_release(block);
    }
    channel_call_close(call);
    if (code == 0)
        code = origin_parse(bytes_of_string(source->origin), &origin, err);
    if (code == 0)
        code = datadir_keys(data, key_path, &origin, &keys, err);
    if (code == 0)
        code = keyring_open(buf_bytes(&note), &keys, source->origin, &checkpoint, err);
    if (code == 0)
        mend->goals[mend->goal_count++] = (struct scrub_goal){.size = checkpoint.size, .root = checkpoint.root};
    buf_free(&note);
    buf_free(&scratch);
    return code;
}

/* --- One log --- */

static int mend_log(const struct repair_options *options, struct source *source, struct mend *mend, struct err *err)
{
    int code = fetch_checkpoint(source, options->data, options->key, options->from, mend, err);
    mend->fetch = fetch;
    mend->context = source;
    if (code == 0)
        code = mend_stage(mend, err);
    return code == 0 ? mend_commit(mend, err) : code;
}

static uint64_t covered_by(const struct mend *mend)
{
    uint64_t size = 0;
    for (size_t i = 0; i < mend->goal_count; i++) {
        if (mend->goals[i].matches && mend->goals[i].size > size)
            size = mend->goals[i].size;
    }
    return size;
}

static int show(const struct repair_options *options, const struct mend *mend, struct err *err)
{
    bool repaired = mend->finding_count > 0 && !options->dry_run;
    if (options->json) {
        json_t *ranges = json_array();
        for (size_t i = 0; i < mend->finding_count; i++)
            (void)json_array_append_new(ranges, json_pack("{s:o,s:o}", "first_index",
                                                          json_number(mend->findings[i].first_index), "end_index",
                                                          json_number(mend->findings[i].end_index)));
        return print_json(json_pack("{s:s,s:o,s:b,s:o}", "origin", mend->origin, "damaged", ranges, "repaired",
                                    repaired, "verified_by_checkpoint", json_number(repaired ? covered_by(mend) : 0)),
                          err);
    }
    printf("log %s: %zu damaged %s\n", mend->origin, mend->finding_count,
           mend->finding_count == 1 ? "place" : "places");
    damage_print(mend);
    if (repaired)
        printf("  repaired from %s: the chain fits on both sides, and the root is the one signed for %" PRIu64
               " entries\n  the damaged files are kept in %s\n",
               options->from, covered_by(mend), mend->evidence);
    else if (mend->finding_count > 0)
        printf("  dry run: nothing was fetched or changed\n");
    return 0;
}

static int repair_log(const struct repair_options *options, const struct datadir_log *log, struct sha256 *sha,
                      struct source *source, struct err *err)
{
    struct mend mend;
    uint64_t size = 0;
    char evidence[DISK_PATH_MAX_BYTES];
    int code = disk_join(evidence, options->data, "evidence", err);
    if (code != 0)
        return code;
    source->origin = log->origin;
    code = damage_prepare(options->data, options->key, log, evidence, sha, &mend, err);
    if (code == 0)
        code = mend_find(&mend, err);
    if (code == 0 && mend.finding_count > 0 && !options->dry_run) {
        code = mend_log(options, source, &mend, err);
        if (code != 0)
            code = err_wrap(err, code, "log %s was left as it is", log->origin);
    }
    if (code == 0 && mend.finding_count == 0 && damage_root_differs(&mend, &size))
        code = err_set(err, ERR_CORRUPT,
                       "every block of log %s is whole, but the root signed for %" PRIu64
                       " entries is another one: it was rewritten, and no place of it can be repaired; compare it with "
                       "a peer's (tally-verify compare), and keep it as evidence",
                       log->origin, size);
    if (code == 0)
        code = show(options, &mend, err);
    mend_free(&mend);
    return code;
}

static int repair_all(const struct repair_options *options, struct source *source, struct sha256 *sha,
                      struct datadir_log *logs, struct err *err)
{
    size_t count = 0;
    bool any = false;
    int code = datadir_logs(options->data, logs, &count, err);
    for (size_t i = 0; code == 0 && i < count; i++) {
        if (options->origin != NULL && strcmp(options->origin, logs[i].origin) != 0)
            continue;
        any = true;
        code = repair_log(options, &logs[i], sha, source, err);
    }
    if (code == 0 && !any)
        code = err_set(err, ERR_NOT_FOUND, "%s holds no log %s", options->data,
                       options->origin == NULL ? "" : options->origin);
    return code;
}

static int repair(const struct repair_options *options, struct err *err)
{
    struct source source = {.channel = NULL};
    struct disk_file *lock = NULL;
    struct server_config *config = NULL;
    struct sha256 *sha = sha256_new();
    struct datadir_log *logs = mem_alloc(DATADIR_LOGS_MAX * sizeof(*logs));
    int code = sha == NULL || logs == NULL ? err_no_memory(err, "a repair") : 0;
    if (code == 0)
        code = datadir_lock(options->data, &lock, err);
    if (code == 0)
        code = server_config_load(disk_posix(), options->data, &config, err);
    if (code == 0) {
        source.config = config;
        connect_set_fallback(&config->tls);
        source.self = (struct peer_identity){.cluster = config->region.cluster,
                                             .region = config->region.region,
                                             .cosigners = config->region.cosign_signers};
    }
    if (code == 0 && options->from != NULL)
        code = connect_channel(options->from, &source.channel, err);
    if (code == 0)
        code = repair_all(options, &source, sha, logs, err);
    channel_close(source.channel);
    server_config_free(config);
    disk_close(lock);
    mem_free(logs);
    sha256_free(sha);
    return code;
}

static int run_repair(const struct command *command, int argc, char **argv)
{
    struct repair_options options = {0};
    const struct option table[] = {
        {"data", "DIR", OPTION_TEXT, &options.data, "required; the region's data directory, its server stopped"},
        {"from", "HOST:PORT", OPTION_TEXT, &options.from, "a peer that holds the log; required without --dry-run"},
        {"origin", "ORIGIN", OPTION_TEXT, &options.origin, "only this log, such as bank/eu/1 (default: all)"},
        {"key", "FILE", OPTION_TEXT, &options.key, "public keys of the logs (default: from DIR/keys)"},
        {"dry-run", NULL, OPTION_FLAG, &options.dry_run, "say what would be fetched, and change nothing"},
        {"json", NULL, OPTION_FLAG, &options.json, "one JSON object a log"},
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 0, 0, &arguments, &exit_with))
        return exit_with;
    if (options.data == NULL || (options.from == NULL && !options.dry_run))
        return usage_error(command, "--data and --from are required");
    struct err err = {0};
    int code = repair(&options, &err);
    if (code == 0)
        code = output_flush(&err);
    return code == 0 ? EXIT_OK : fail(&err, options.json);
}

const struct command command_repair = {
    .name = "repair",
    .arguments = "",
    .summary = "fetches what is damaged in a data directory from a peer",
    .help = "Finds damaged ranges in the logs, fetches exactly these from a peer, and replaces the damaged files. What "
            "came is\n"
            "believed only when the chain fits on both sides and the root is one that the log's key signed. Each file "
            "is\n"
            "replaced whole or not at all, and the damaged one is kept in DIR/evidence. The server must be stopped.\n\n"
            "Examples:\n"
            "  tally repair --data /var/lib/tally/eu --dry-run\n"
            "  tally repair --data /var/lib/tally/eu --from us.example:7401\n"
            "  tally repair --data /var/lib/tally/eu --origin bank/eu/1 --from us.example:7401",
    .connects = true,
    .run = run_repair,
};
