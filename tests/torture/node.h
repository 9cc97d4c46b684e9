/* A region without threads and network: region_step, its logs and an index in memory. It carries out effects the way
 * tallyd does (server/sequencer.c, server/writer.c): what fails there ends the process, so here the node is dead and
 * must be closed. */
#ifndef TORTURE_NODE_H
#define TORTURE_NODE_H

#include "log/log.h"
#include "region/region.h"

enum { NODE_JOBS_MAX = 64, NODE_LOGS_MAX = 2 };

/* Effects that leave the region: answers, pulls, acknowledgements, hellos. Borrowed during the call. */
typedef void node_outside_fn(void *context, const struct region_effect *effect);

struct node_job {
    enum region_effect_type type;
    uint32_t log;
    uint64_t size;
    bool published;
    struct block *block;
    uint8_t note[4096];
    size_t note_size_bytes;
};

struct node {
    const char *folder;
    const struct region_config *config;
    node_outside_fn *outside;
    void *context;
    struct log *logs[NODE_LOGS_MAX];
    size_t log_count;
    struct index *index;
    struct sha256 *sha;
    struct region *region;
    struct region_update update;
    uint64_t now_us;
    struct node_job jobs[NODE_JOBS_MAX];
    size_t job_count;
};

/* Opens the logs found in the folder, and makes the own one when it is missing. On failure nothing is left open. */
int node_open(struct node *node, const char *folder, const struct region_config *config, node_outside_fn *outside,
              void *context, struct err *err) MUST_USE;
void node_close(struct node *node);
/* One event. An event that is no command and cannot be handled is the end of the node. */
int node_step(struct node *node, struct region_event *event, struct err *err) MUST_USE;
/* Carries out what waits, until nothing does. */
int node_work(struct node *node, struct err *err) MUST_USE;

#endif
