#include "torture/node.h"

#include <stdio.h>

#include "support/files.h"
#include "torture/torture.h"

static int folder_of_log(const struct node *node, const char *origin, char *out, struct err *err)
{
    struct origin parts;
    char name[128];
    int code = origin_parse(bytes_of_string(origin), &parts, err);
    if (code != 0)
        return code;
    snprintf(name, sizeof(name), "%s-%llu", parts.region, (unsigned long long)parts.incarnation);
    return disk_join(out, node->folder, name, err);
}

static int open_log(struct node *node, const char *origin, bool make, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    struct log_recovery recovery;
    struct bytes name = bytes_of_string(origin);
    int code = folder_of_log(node, origin, folder, err);
    if (code != 0)
        return code;
    code = log_open(disk_posix(), folder, name, NULL, &node->logs[node->log_count], &recovery, err);
    if (code == ERR_NOT_FOUND && make) {
        code = log_create(disk_posix(), folder, name, NULL, err);
        if (code == 0)
            code = log_open(disk_posix(), folder, name, NULL, &node->logs[node->log_count], &recovery, err);
    }
    if (code == 0)
        node->log_count++;
    return code;
}

/* --- The index --- */

static int apply_element(struct node *node, uint32_t number, struct bytes *elements, uint64_t applied, struct err *err)
{
    struct frame frame;
    struct entry entry;
    int code = frame_next_entry(elements, &frame, &entry, err);
    if (code != 0 || entry.index < applied)
        return code;
    struct index_entry item = {
        .entry = &entry, .fingerprint = entry_fingerprint(node->sha, &entry, frame.payload), .payload = frame.payload};
    return index_apply(node->index, number, &item, 1, err);
}

static int follow_log(struct node *node, struct log *log, uint64_t *ret_applied, struct err *err)
{
    uint32_t number = 0;
    int code = index_log(node->index, log_origin(log), &number, err);
    while (code == 0 && index_applied_size(node->index, number) < log_durable_size(log)) {
        struct block *block = NULL;
        uint64_t applied = index_applied_size(node->index, number);
        code = log_read_block(log, applied, &block, err);
        if (code != 0)
            return code;
        struct bytes elements = block_body(block);
        for (uint32_t i = 0; code == 0 && i < block->entry_count; i++)
            code = apply_element(node, number, &elements, applied, err);
        block_release(block);
    }
    if (code == 0)
        *ret_applied = index_applied_size(node->index, number);
    return code;
}

/* --- Opening --- */

static int make_region(struct node *node, struct err *err)
{
    struct region_log_found found[NODE_LOGS_MAX] = {0};
    struct buf notes[NODE_LOGS_MAX];
    int code = 0;
    for (size_t i = 0; i < NODE_LOGS_MAX; i++)
        buf_init(&notes[i], NOTE_MAX_BYTES);
    for (size_t i = 0; code == 0 && i < node->log_count; i++) {
        uint64_t applied = 0;
        struct bytes origin = log_origin(node->logs[i]);
        memcpy(found[i].origin, origin.data, origin.size_bytes);
        log_chain(node->logs[i], &found[i].chain);
        code = log_load_checkpoint(node->logs[i], false, &notes[i], err);
        code = code == ERR_NOT_FOUND ? 0 : code;
        found[i].checkpoint = buf_bytes(&notes[i]);
        if (code == 0)
            code = follow_log(node, node->logs[i], &applied, err);
    }
    if (code == 0)
        code = region_new(node->config, found, node->log_count, node->index, &node->region, err);
    for (size_t i = 0; i < NODE_LOGS_MAX; i++)
        buf_free(&notes[i]);
    return code;
}

static int open_parts(struct node *node, struct err *err)
{
    char own[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct region_event timer = {.type = REGION_TIMER};
    snprintf(own, sizeof(own), "%s/%s/1", node->config->cluster, node->config->region);
    node->sha = sha256_new();
    node->index = index_memory_new(&node->config->contexts);
    if (node->sha == NULL || node->index == NULL)
        return err_no_memory(err, "a node");
    int code = open_log(node, own, true, err);
    for (size_t i = 0; code == 0 && i < node->config->peer_count; i++) {
        char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
        snprintf(origin, sizeof(origin), "%s/%s/1", node->config->cluster, node->config->peers[i].region);
        code = open_log(node, origin, false, err);
        code = code == ERR_NOT_FOUND ? 0 : code;
    }
    if (code == 0)
        code = make_region(node, err);
    return code == 0 ? node_step(node, &timer, err) : code;
}

int node_open(struct node *node, const char *folder, const struct region_config *config, node_outside_fn *outside,
              void *context, struct err *err)
{
    memset(node, 0, sizeof(*node));
    node->folder = folder;
    node->config = config;
    node->outside = outside;
    node->context = context;
    node->now_us = 1000000;
    region_update_init(&node->update);
    int code = open_parts(node, err);
    if (code != 0)
        node_close(node);
    return code;
}

void node_close(struct node *node)
{
    for (size_t i = 0; i < node->job_count; i++) {
        if (node->jobs[i].block != NULL)
            block_release(node->jobs[i].block);
    }
    region_update_free(&node->update);
    region_free(node->region);
    index_close(node->index);
    for (size_t i = 0; i < node->log_count; i++)
        log_close(node->logs[i]);
    sha256_free(node->sha);
}

/* --- Effects --- */

static void keep_job(struct node *node, const struct region_effect *effect)
{
    TORTURE_CHECK(node->job_count < NODE_JOBS_MAX, "more jobs than a scenario can make");
    struct node_job *job = &node->jobs[node->job_count++];
    memset(job, 0, sizeof(*job));
    job->type = effect->type;
    job->log = effect->log;
    job->size = effect->size;
    job->published = effect->published;
    job->block = effect->block == NULL ? NULL : block_retain(effect->block);
    TORTURE_CHECK(effect->note.size_bytes <= sizeof(job->note), "a note of %zu bytes", effect->note.size_bytes);
    job->note_size_bytes = effect->note.size_bytes;
    if (effect->note.size_bytes > 0)
        memcpy(job->note, effect->note.data, effect->note.size_bytes);
}

int node_step(struct node *node, struct region_event *event, struct err *err)
{
    node->now_us += 1000;
    event->now = (struct time_now){.wall_us = node->now_us, .mono_us = node->now_us};
    int code = region_step(node->region, event, &node->update, err);
    if (code != 0)
        return code;
    for (size_t i = 0; i < node->update.effect_count; i++) {
        const struct region_effect *effect = &node->update.effects[i];
        if (effect->type == REGION_WRITE || effect->type == REGION_SAVE_CHECKPOINT || effect->type == REGION_CREATE_LOG)
            keep_job(node, effect);
        else
            node->outside(node->context, effect);
    }
    return 0;
}

static int tell(struct node *node, enum region_event_type type, uint32_t log, uint64_t size, struct err *err)
{
    struct region_event event = {.type = type, .log = log, .size = size};
    return node_step(node, &event, err);
}

static int carry_out(struct node *node, const struct node_job *job, struct err *err)
{
    struct region_log_status status;
    uint64_t applied = 0;
    int code = 0;
    switch (job->type) {
    case REGION_WRITE:
        code = log_append(node->logs[job->log], &job->block, 1, err);
        if (code == 0)
            code = tell(node, REGION_WRITTEN, job->log, job->size, err);
        if (code == 0)
            code = follow_log(node, node->logs[job->log], &applied, err);
        return code == 0 ? tell(node, REGION_INDEXED, job->log, applied, err) : code;
    case REGION_SAVE_CHECKPOINT:
        code =
            log_save_checkpoint(node->logs[job->log], bytes_of(job->note, job->note_size_bytes), job->published, err);
        return code == 0 ? tell(node, REGION_CHECKPOINT_SAVED, job->log, job->size, err) : code;
    default:
        region_log_status(node->region, job->log, &status);
        return open_log(node, status.origin, true, err);
    }
}

int node_work(struct node *node, struct err *err)
{
    int code = 0;
    while (code == 0 && node->job_count > 0) {
        struct node_job job = node->jobs[0];
        node->job_count--;
        memmove(node->jobs, node->jobs + 1, node->job_count * sizeof(job));
        code = carry_out(node, &job, err);
        if (job.block != NULL)
            block_release(job.block);
    }
    return code;
}
