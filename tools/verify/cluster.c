/* All logs of a cluster (cluster.h). */
#include "verify/cluster.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "verify/compare.h"
#include "verify/progress.h"

/* --- Finding copies --- */

void cluster_finding(struct cluster *cluster, enum verdict verdict, const char *format, ...)
{
    if (verdict_worse(cluster->verdict, verdict) == cluster->verdict)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(cluster->message, sizeof(cluster->message), format, args);
    va_end(args);
    cluster->verdict = verdict;
}

static int add_copy(const struct demands *demands, const char *path, const char *holder, struct cluster *cluster,
                    struct err *err)
{
    if (cluster->copy_count == CLUSTER_COPIES_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d copies of logs", CLUSTER_COPIES_MAX);
    char *kept = mem_copy_string(path);
    struct copy *copy = mem_alloc_zero(1, sizeof(*copy));
    if (kept == NULL || copy == NULL) {
        mem_free(kept);
        mem_free(copy);
        return err_no_memory(err, "a copy of a log");
    }
    copy_string(cluster->holders[cluster->copy_count], sizeof(cluster->holders[0]), holder);
    cluster->copies[cluster->copy_count++] = copy;
    copy->report.path = kept;
    return copy_open(demands, kept, copy, err);
}

struct folders {
    const char *parent;
    const char *holder;
    const struct demands *demands;
    struct cluster *cluster;
    struct err *err;
    size_t count;
};

static int add_folder(void *context, const char *name, bool is_dir)
{
    struct folders *folders = context;
    char path[DISK_PATH_MAX_BYTES];
    if (!is_dir)
        return 0;
    folders->count++;
    int code = disk_join(path, folders->parent, name, folders->err);
    return code == 0 ? add_copy(folders->demands, path, folders->holder, folders->cluster, folders->err) : code;
}

/* Takes "REGION=" off the path: a first part without a slash. */
static int take_holder(const char **path, char *ret_holder, struct err *err)
{
    size_t size = strcspn(*path, "=/");
    ret_holder[0] = '\0';
    if ((*path)[size] != '=')
        return 0;
    if (size == 0 || size > POSITION_REGION_MAX_BYTES)
        return err_set(err, ERR_INVALID, "%s: before = stands the region that holds the folder (or write ./%s)", *path,
                       *path);
    memcpy(ret_holder, *path, size);
    ret_holder[size] = '\0';
    *path += size + 1;
    return 0;
}

static int add_path(const struct demands *demands, const char *path, struct cluster *cluster, struct err *err)
{
    char logs[DISK_PATH_MAX_BYTES];
    char holder[POSITION_REGION_MAX_BYTES + 1];
    uint32_t mode = 0;
    int code = take_holder(&path, holder, err);
    if (code == 0)
        code = disk_join(logs, path, "logs", err);
    if (code != 0)
        return code;
    if (disk_mode(demands->disk, logs, &mode, NULL) != 0)
        return add_copy(demands, path, holder, cluster, err);
    struct folders folders = {.parent = logs, .holder = holder, .demands = demands, .cluster = cluster, .err = err};
    code = disk_list(demands->disk, logs, add_folder, &folders, err);
    if (code == 0 && folders.count == 0)
        cluster_finding(cluster, VERDICT_INCOMPLETE, "%s holds no logs", logs);
    return code;
}

/* --- One copy of each log --- */

static int compare_logs(const void *left, const void *right)
{
    const struct cluster_log *a = left, *b = right;
    int order = strcmp(a->origin.region, b->origin.region);
    return order != 0
               ? order
               : (a->origin.incarnation > b->origin.incarnation) - (a->origin.incarnation < b->origin.incarnation);
}

/* A region that has not appended anything has signed nothing either. Such a folder says as much as one that is not
 * here: that the log is empty is NOT checked, and a change that rests on entries of it cannot be judged. A violation
 * found in it (it had entries before, or its only block is damaged) says more. */
static bool says_nothing(const struct copy *copy)
{
    const struct log_report *report = &copy->report;
    return report->kind == COPY_FOLDER && report->entries_verified && report->size == 0 &&
           report->verdict != VERDICT_VIOLATION && !report->notes[NOTE_CHECKPOINT].present &&
           !report->notes[NOTE_PUBLISHED].present;
}

/* Judges a copy by itself. Whether its entries can be used. */
static bool take_report(struct cluster *cluster, const struct copy *copy)
{
    const struct log_report *report = &copy->report;
    if (report->verdict != VERDICT_VERIFIED)
        cluster_finding(cluster, report->verdict, "%s: %s", report->path, report->message);
    if (report->kind != COPY_FOLDER)
        cluster_finding(cluster, VERDICT_INCOMPLETE,
                        "%s is a tlog, which holds no payloads: give the log's folder of segments", report->path);
    return report->kind == COPY_FOLDER && report->entries_verified;
}

/* The same log twice: the longer copy stays, and the shorter must be its beginning. */
static void take_second(struct cluster *cluster, struct cluster_log *log, struct copy *copy)
{
    struct comparison comparison = {0};
    compare_copies(copy, log->copy, &comparison);
    if (comparison.differs)
        cluster_finding(cluster, VERDICT_VIOLATION, "two copies of log %s differ: %s", copy->report.origin,
                        comparison.message);
    else if (!comparison.compared)
        cluster_finding(cluster, VERDICT_INCOMPLETE, "two copies of log %s could not be compared: %s",
                        copy->report.origin, comparison.message);
    if (copy->size > log->size) {
        log->copy = copy;
        log->size = copy->size;
    }
}

static int take_copy(struct cluster *cluster, struct copy *copy, struct err *err)
{
    struct origin origin;
    if (says_nothing(copy))
        return 0;
    if (!take_report(cluster, copy) || origin_parse(bytes_of_string(copy->report.origin), &origin, NULL) != 0) {
        cluster->readable = false;
        return 0;
    }
    for (size_t i = 0; i < cluster->log_count; i++) {
        struct cluster_log *log = &cluster->logs[i];
        if (strcmp(log->origin.cluster, origin.cluster) != 0) {
            cluster_finding(cluster, VERDICT_INCOMPLETE, "%s and %s are logs of two clusters: give those of one",
                            log->copy->report.origin, copy->report.origin);
            cluster->readable = false;
            return 0;
        }
        if (strcmp(log->origin.region, origin.region) == 0 && log->origin.incarnation == origin.incarnation) {
            take_second(cluster, log, copy);
            return 0;
        }
    }
    if (cluster->log_count == CLUSTER_LOGS_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d logs", CLUSTER_LOGS_MAX);
    cluster->logs[cluster->log_count++] = (struct cluster_log){.copy = copy, .origin = origin, .size = copy->size};
    return 0;
}

int cluster_open(const struct demands *demands, const char *const *paths, size_t count, struct cluster *cluster,
                 struct err *err)
{
    int code = 0;
    cluster->readable = true;
    for (size_t i = 0; code == 0 && i < count; i++)
        code = add_path(demands, paths[i], cluster, err);
    for (size_t i = 0; code == 0 && i < cluster->copy_count; i++)
        code = take_copy(cluster, cluster->copies[i], err);
    qsort(cluster->logs, cluster->log_count, sizeof(cluster->logs[0]), compare_logs);
    return code;
}

void cluster_close(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->copy_count; i++) {
        char *path = (char *)(uintptr_t)cluster->copies[i]->report.path;
        copy_close(cluster->copies[i]);
        mem_free(cluster->copies[i]);
        mem_free(path);
    }
    cluster->copy_count = 0;
}

size_t cluster_find(const struct cluster *cluster, const char *region, uint64_t incarnation)
{
    for (size_t i = 0; i < cluster->log_count; i++) {
        const struct origin *origin = &cluster->logs[i].origin;
        if (strcmp(origin->region, region) == 0 && origin->incarnation == incarnation)
            return i;
    }
    return CLUSTER_LOGS_MAX;
}

size_t cluster_log_of(const struct cluster *cluster, const struct copy *copy)
{
    struct origin origin;
    return origin_parse(bytes_of_string(copy->report.origin), &origin, NULL) == 0
               ? cluster_find(cluster, origin.region, origin.incarnation)
               : CLUSTER_LOGS_MAX;
}

/* --- Reading --- */

struct reading {
    struct sha256 *sha;
    struct chain chain;
    struct progress *progress;
    size_t log;
    uint64_t size;
    cluster_entry_fn *each;
    void *context;
    int each_code;
    bool done;
};

static int on_entry(void *context, const struct chain_entry *entry, struct err *err)
{
    struct reading *reading = context;
    reading->each_code = reading->each(reading->context, reading->log, entry, err);
    return reading->each_code;
}

static int on_block(void *context, const struct scan_block *block, struct err *err)
{
    struct reading *reading = context;
    int code = chain_check_block(&reading->chain, reading->sha, block->body, block->header.entry_count, on_entry,
                                 reading, NULL, err);
    if (code != 0)
        return code;
    progress_add(reading->progress, block->header.entry_count, block->body.size_bytes);
    reading->done = reading->chain.range.size >= reading->size;
    return reading->done ? ERR_END : 0;
}

static int read_one(const struct copy *copy, struct disk *disk, struct reading *reading, struct err *err)
{
    const struct log_report *report = &copy->report;
    struct scan_result result;
    chain_init(&reading->chain, reading->sha, bytes_of_string(report->origin));
    reading->size = copy->size;
    reading->done = copy->size == 0;
    if (reading->done)
        return 0;
    int code = scan_log(disk, report->path, &reading->chain, on_block, reading, &result, err);
    if (reading->each_code != 0 || code == ERR_NO_MEMORY)
        return code;
    struct hash root = merkle_range_root(&reading->chain.range, reading->sha);
    if (!reading->done || reading->chain.range.size != copy->size || !hash_equal(&root, &report->root))
        return err_set(err, ERR_IO, "%s changed while it was being read: check a copy that nobody writes to",
                       report->path);
    return 0;
}

int cluster_read(const struct cluster *cluster, struct disk *disk, cluster_entry_fn *each, void *context,
                 struct err *err)
{
    struct progress progress;
    struct reading reading = {.sha = sha256_new(), .progress = &progress, .each = each, .context = context};
    uint64_t total = 0;
    int code = reading.sha == NULL ? err_no_memory(err, "reading the logs") : 0;
    for (size_t i = 0; i < cluster->log_count; i++)
        total += cluster->logs[i].size;
    progress_begin(&progress, "entries", total);
    for (reading.log = 0; code == 0 && reading.log < cluster->log_count; reading.log++)
        code = read_one(cluster->logs[reading.log].copy, disk, &reading, err);
    progress_end(&progress);
    sha256_free(reading.sha);
    return code;
}

int cluster_read_copy(const struct cluster *cluster, size_t copy, struct disk *disk, cluster_entry_fn *each,
                      void *context, struct err *err)
{
    struct progress progress;
    struct reading reading = {.sha = sha256_new(),
                              .progress = &progress,
                              .log = cluster_log_of(cluster, cluster->copies[copy]),
                              .each = each,
                              .context = context};
    progress_begin(&progress, "entries", cluster->copies[copy]->size);
    int code = reading.sha == NULL ? err_no_memory(err, "reading a copy")
                                   : read_one(cluster->copies[copy], disk, &reading, err);
    progress_end(&progress);
    sha256_free(reading.sha);
    return code;
}
