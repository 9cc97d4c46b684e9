/* Starting from a disk (store.h).
 *
 * Crash behaviour. A mirror's folder that was being made when the process died holds no segment yet: it is passed over
 * here and filled again when the peer is met. */
#include "region/store.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/evidence.h"

/* --- Logs --- */

int store_path(const struct store *store, const char *kind, const char *origin, char out[DISK_PATH_MAX_BYTES],
               struct err *err)
{
    struct origin parts;
    char name[128];
    int code = origin_parse(bytes_of_string(origin), &parts, err);
    if (code != 0)
        return code;
    snprintf(name, sizeof(name), "%s/%s-%llu", kind, parts.region, (unsigned long long)parts.incarnation);
    return disk_join(out, store->folder, name, err);
}

struct opening {
    struct store *store;
    const char *logs_folder;
    const char *own_folder;
    struct origin own;
    store_opened_fn *opened;
    void *context;
    struct err *err;
};

static int check_cluster(const struct opening *opening, const struct log *log, struct err *err)
{
    struct origin origin;
    struct bytes name = log_origin(log);
    int code = origin_parse(name, &origin, err);
    if (code == 0 && strcmp(origin.cluster, opening->own.cluster) != 0)
        code = err_set(err, ERR_MISMATCH, "%s holds log %.*s of another cluster; the configuration says %s",
                       opening->store->folder, (int)name.size_bytes, (const char *)name.data, opening->own.cluster);
    return code;
}

static int open_log(struct opening *opening, const char *folder, struct bytes origin)
{
    struct store *store = opening->store;
    struct log_recovery recovery;
    size_t count = atomic_load(&store->log_count);
    if (count == REGION_LOGS_MAX)
        return err_set(opening->err, ERR_TOO_LARGE,
                       "more than %d logs in %s/logs; move the folders of logs that no region has any more elsewhere",
                       REGION_LOGS_MAX, store->folder);
    int code = log_open(store->disk, folder, origin, &store->log_options, &store->logs[count], &recovery, opening->err);
    if (code != 0)
        return code;
    atomic_store(&store->log_count, count + 1);
    opening->opened(opening->context, folder, &recovery);
    return check_cluster(opening, store->logs[count], opening->err);
}

static int open_own_log(struct opening *opening, struct bytes origin)
{
    struct store *store = opening->store;
    int code = open_log(opening, opening->own_folder, origin);
    if (code != ERR_NOT_FOUND)
        return code;
    code = log_create(store->disk, opening->own_folder, origin, &store->log_options, opening->err);
    return code == 0 ? open_log(opening, opening->own_folder, origin) : code;
}

/* A log of an earlier incarnation of which something was signed is kept, if only as an empty copy: peers fill it again,
 * and what nobody has of it is known to be lost. */
static int make_remembered_log(void *context, const char *name, bool is_dir)
{
    struct opening *opening = context;
    struct store *store = opening->store;
    struct origin parts = opening->own;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    char folder[DISK_PATH_MAX_BYTES];
    size_t size = strlen(parts.region);
    if (is_dir || strncmp(name, parts.region, size) != 0 || name[size] != '-' ||
        parse_u64(name + size + 1, strlen(name + size + 1), &parts.incarnation) != 0 || parts.incarnation == 0 ||
        parts.incarnation >= opening->own.incarnation)
        return 0;
    origin_format(&parts, origin);
    int code = store_path(store, "logs", origin, folder, opening->err);
    if (code == 0)
        code = log_create(store->disk, folder, bytes_of_string(origin), &store->log_options, opening->err);
    return code == ERR_EXISTS ? 0 : code;
}

static int make_remembered(struct opening *opening)
{
    char folder[DISK_PATH_MAX_BYTES];
    int code = disk_join(folder, opening->store->folder, "signed", opening->err);
    if (code == 0)
        code = disk_list(opening->store->disk, folder, make_remembered_log, opening, opening->err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

static int open_mirror(void *context, const char *name, bool is_dir)
{
    struct opening *opening = context;
    char folder[DISK_PATH_MAX_BYTES];
    int code = disk_join(folder, opening->logs_folder, name, opening->err);
    if (code != 0 || !is_dir || strcmp(opening->own_folder, folder) == 0)
        return code;
    code = open_log(opening, folder, bytes_of(NULL, 0));
    return code == ERR_NOT_FOUND ? 0 : code;
}

int store_open(struct store *store, const char *own_origin, store_opened_fn *opened, void *context, struct err *err)
{
    char logs_folder[DISK_PATH_MAX_BYTES];
    char own_folder[DISK_PATH_MAX_BYTES];
    struct opening opening = {.store = store,
                              .logs_folder = logs_folder,
                              .own_folder = own_folder,
                              .opened = opened,
                              .context = context,
                              .err = err};
    int code = disk_join(logs_folder, store->folder, "logs", err);
    if (code == 0)
        code = origin_parse(bytes_of_string(own_origin), &opening.own, err);
    if (code == 0)
        code = store_path(store, "logs", own_origin, own_folder, err);
    if (code == 0)
        code = disk_make_dir(store->disk, logs_folder, err);
    if (code == 0)
        code = disk_sync_dir(store->disk, logs_folder, err); /* a process may have died between making a log and this */
    if (code == 0)
        code = open_own_log(&opening, bytes_of_string(own_origin));
    if (code == 0)
        code = make_remembered(&opening);
    return code == 0 ? disk_list(store->disk, logs_folder, open_mirror, &opening, err) : code;
}

void store_close(struct store *store)
{
    for (size_t i = 0; i < atomic_load(&store->log_count); i++)
        log_close(store->logs[i]);
    atomic_store(&store->log_count, 0);
}

int store_add_log(struct store *store, const char *origin, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    struct log_recovery recovery;
    size_t count = atomic_load(&store->log_count);
    PRE(count < REGION_LOGS_MAX);
    int code = store_path(store, "logs", origin, folder, err);
    if (code == 0)
        code = log_create(store->disk, folder, bytes_of_string(origin), &store->log_options, err);
    if (code == 0)
        code = log_open(store->disk, folder, bytes_of_string(origin), &store->log_options, &store->logs[count],
                        &recovery, err);
    if (code == 0)
        atomic_store(&store->log_count, count + 1);
    return code;
}

/* --- The region --- */

static int load_note(struct log *log, struct buf *out, struct err *err)
{
    int code = log_load_checkpoint(log, false, out, err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

/* What the region remembers to have signed, kept apart from the log; only its own logs have such a note. */
static int load_signed(const struct store *store, const char *origin, struct buf *out, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = store_path(store, "signed", origin, path, err);
    if (code == 0)
        code = disk_read_file(store->disk, path, out, err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

/* What the index has not applied of a log: a change of homes may wait for a basis that is not here yet. */
static int give_unindexed(struct store *store, struct region *region, uint32_t log, struct err *err)
{
    struct region_log_status status;
    region_log_status(region, log, &status);
    uint64_t next = status.indexed_size;
    int code = 0;
    while (code == 0 && next < status.size) {
        struct block *block = NULL;
        code = log_read_block(store->logs[log], next, &block, err);
        if (code != 0)
            return code;
        code = region_found_block(region, log, block, err);
        next = block->first_index + block->entry_count;
        block_release(block);
    }
    return code;
}

/* A fork stays one over restarts, until an operator has acted on the evidence. */
struct forks {
    struct region_log_found *found;
    size_t count;
    char (*reasons)[EVIDENCE_REASON_MAX_BYTES + 1]; /* one a log */
};

static int see_evidence(void *context, const struct evidence *evidence, struct bytes note)
{
    const struct forks *forks = context;
    (void)note;
    for (size_t i = 0; evidence->fork && i < forks->count; i++) {
        if (strcmp(forks->found[i].origin, evidence->log) != 0)
            continue;
        copy_string(forks->reasons[i], sizeof(forks->reasons[i]), evidence->reason);
        forks->found[i].forked = forks->reasons[i];
    }
    return 0;
}

int store_make_region(struct store *store, const struct region_config *config, struct index *index, struct region **ret,
                      struct err *err)
{
    size_t count = atomic_load(&store->log_count);
    struct region_log_found *found = mem_alloc_zero(count, sizeof(*found));
    struct buf *notes = mem_alloc_zero(2 * count, sizeof(*notes)); /* the logs' notes, then those that were signed */
    struct forks forks = {.found = found, .count = count, .reasons = mem_alloc_zero(count, sizeof(*forks.reasons))};
    int code = found == NULL || notes == NULL || forks.reasons == NULL ? err_no_memory(err, "the region") : 0;
    for (size_t i = 0; code == 0 && i < count; i++) {
        struct bytes origin = log_origin(store->logs[i]);
        memcpy(found[i].origin, origin.data, origin.size_bytes);
        log_chain(store->logs[i], &found[i].chain);
        buf_init(&notes[i], NOTE_MAX_BYTES);
        buf_init(&notes[count + i], NOTE_MAX_BYTES);
        code = load_note(store->logs[i], &notes[i], err);
        if (code == 0)
            code = load_signed(store, found[i].origin, &notes[count + i], err);
        found[i].checkpoint = buf_bytes(&notes[i]);
        found[i].signed_note = buf_bytes(&notes[count + i]);
    }
    struct region *region = NULL;
    if (code == 0)
        code = evidence_each(store->disk, store->folder, false, see_evidence, &forks, err);
    if (code == 0)
        code = region_new(config, found, count, index, &region, err);
    for (uint32_t i = 0; code == 0 && i < count; i++)
        code = give_unindexed(store, region, i, err);
    if (code == 0)
        *ret = region;
    else
        region_free(region);
    for (size_t i = 0; notes != NULL && i < 2 * count; i++)
        buf_free(&notes[i]);
    mem_free(forks.reasons);
    mem_free(notes);
    mem_free(found);
    return code;
}
