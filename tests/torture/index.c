/* Rebuilding the index: RocksDB's files are gone, and the logs are replayed into new ones by the server's own code
 * (indexer_catch_up). What RocksDB allocates and writes itself is not failed here; what ours does around it is. The
 * index is derived, so nothing can be lost: but one that says it is up to the log must answer as the log does. */
#include <stdlib.h>

#include "base/assert.h"
#include "server/internal.h"
#include "support/files.h"
#include "torture/blocks.h"
#include "torture/torture.h"

enum { BLOCKS = 4, ENTRIES = 10, STREAMS = 3 };

static const struct context bank = {.name = "bank", .default_home = BLOCKS_REGION};
static struct server_config config = {.region.contexts = {.count = 1, .contexts = &bank}};
static char folder_of_log[FILES_PATH_MAX];
static struct server *server;
static struct sha256 *sha;

static void prepare(const char *folder)
{
    struct blocks source;
    blocks_make(&source, BLOCKS, 100);
    TORTURE_CHECK(source.sizes[BLOCKS - 1] == ENTRIES, "entries");
    blocks_write_log(&source, BLOCKS, files_join(folder, "log", folder_of_log));
    blocks_free(&source);
    server = calloc(1, sizeof(*server));
    sha = sha256_new();
    INVARIANT(server != NULL && sha != NULL);
}

/* Everything that the index is asked for, answered. */
static int look_up(struct index *index, struct hash *ret_result, struct err *err)
{
    struct index_event event;
    struct index_head head;
    struct index_place places[ENTRIES];
    size_t count = 0;
    int code = 0;
    for (uint64_t i = 0; code == 0 && i < ENTRIES; i++) {
        uint8_t id[ENTRY_ID_SIZE] = {0};
        put_u64_be(id, i + 1);
        code = index_event(index, id, &event, err);
        TORTURE_CHECK(code != ERR_NOT_FOUND, "the id of entry %llu is not found", (unsigned long long)i);
        TORTURE_CHECK(code != 0 || (event.place.index == i && event.stream_version == i / STREAMS && event.fingerprint),
                      "the id of entry %llu is at %llu", (unsigned long long)i, (unsigned long long)event.place.index);
    }
    for (uint64_t i = 0; code == 0 && i < STREAMS; i++) {
        uint8_t name[2] = {'s', (uint8_t)('0' + i)};
        code = index_head(index, BYTES_LITERAL("bank"), bytes_of(name, 2), &head, err);
        TORTURE_CHECK(code != 0 || head.version == (ENTRIES - 1 - i) / STREAMS, "stream %u ends at version %llu",
                      (unsigned)i, (unsigned long long)head.version);
        if (code == 0)
            code = index_scan(index, BYTES_LITERAL("bank"), bytes_of(name, 2), 0, false, places, ENTRIES, &count, err);
        TORTURE_CHECK(code != 0 || (count == head.version + 1 && places[count - 1].index == head.place.index),
                      "stream %u has %zu events", (unsigned)i, count);
    }
    if (code == 0)
        torture_add_number(ret_result, index_applied_size(index, 0));
    return code;
}

static int rebuild(struct hash *ret_result, struct err *err)
{
    struct log_recovery recovery;
    int code = log_open(disk_posix(), folder_of_log, bytes_of(NULL, 0), NULL, &server->store.logs[0], &recovery, err);
    if (code != 0)
        return code;
    atomic_store(&server->store.log_count, 1);
    code = indexer_catch_up(server, err);
    if (code == 0)
        code = look_up(server->index, ret_result, err);
    if (code == 0)
        code = index_flush(server->index, err);
    log_close(server->store.logs[0]);
    return code;
}

static enum torture_outcome run(const char *folder, struct hash *ret_result)
{
    struct err err = {0};
    char path[FILES_PATH_MAX];
    memset(server, 0, sizeof(*server));
    server->sha = sha;
    server->config = &config;
    if (index_rocksdb_open(files_join(folder, "index", path), &config.region.contexts, &server->index, &err) != 0)
        return TORTURE_REPORTED;
    int code = rebuild(ret_result, &err);
    applier_free(server->applier);
    index_close(server->index);
    return code == 0 ? TORTURE_DONE : TORTURE_REPORTED;
}

/* Opens what is there, as a start after a crash does. */
static void check(const char *folder)
{
    struct hash result = {0};
    TORTURE_CHECK(run(folder, &result) == TORTURE_DONE, "the index cannot be brought up any more");
}

static void finish(void)
{
    sha256_free(sha);
    free(server);
}

int main(int argc, char **argv)
{
    static const struct torture_scenario scenario = {"index", prepare, run, check, finish};
    return torture_main(&scenario, argc, argv);
}
