/* The simulator: several regions in one process, under a clock, disks and a network that one seed drives. Private to
 * tools/sim; README.md beside this file is the tour.
 *
 * Everything happens in tasks that wait in one queue, ordered by simulated time and then by the order in which they
 * were made. All chance comes from world->prng. Nothing depends on addresses, on hash order, or on the time of day. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/prng.h"
#include "base/queue.h"
#include "reconcile/applier.h"
#include "reconcile/policy.h"
#include "region/life.h"
#include "replication/source.h"
#include "sim/sim_disk.h"

enum {
    SIM_NODES_MAX = 5,
    SIM_TRACE_LINES = 100,
    SIM_TRACE_LINE_BYTES = 240,
    SIM_MAIL_MAX = 8192,  /* as the server's */
    SIM_JOBS_MAX = 16384, /* as the server's */
    SIM_OP_WRITES_MAX = 4,
    SIM_OP_EVENTS_MAX = 12,
    SIM_STREAMS = 12,
    SIM_FREE_PARTITIONS = 2, /* without a home of their own: "*" speaks for them */
    SIM_PARTITIONS_MAX = SIM_NODES_MAX + SIM_FREE_PARTITIONS,
    SIM_ALL_PARTITIONS = SIM_PARTITIONS_MAX,         /* the number of "*" */
    SIM_DEFINED = 3,                                 /* contexts that are defined: partitions of "$system" … */
    SIM_SYSTEM_FIRST = SIM_ALL_PARTITIONS + 1,       /* … which have their numbers from here on … */
    SIM_SYSTEM_ALL = SIM_SYSTEM_FIRST + SIM_DEFINED, /* … and this is its "*" */
    SIM_NUMBERS,                                     /* of partitions, "*" among them */
    SIM_TYPES = 4,                                   /* of events … */
    SIM_URGENT_TYPE = 3, /* … of which this one may be accepted away from home, in some runs */
    SIM_KEYS_MAX = 4,    /* generations of a key */
    SIM_LIVES_MAX = 4,   /* new incarnations that one region may begin */
};

#define SIM_MS ((uint64_t)1000)
#define SIM_S  ((uint64_t)1000000)

/* --- Faults. X(NAME, "name", what happens) --- */
#define SIM_FAULTS(X)                                                                                                  \
    X(DELAY, "delay", "messages take up to a second")                                                                  \
    X(LOSS, "loss", "a call gets no answer, a pull breaks")                                                            \
    X(DUPLICATE, "duplicate", "a message of a pull, or a client's request, arrives twice")                             \
    X(REORDER, "reorder", "two messages of a pull change places")                                                      \
    X(GARBLE, "garble", "a bit of a message flips")                                                                    \
    X(FORGE, "forge", "a source changes a payload or a prev hash and makes the checksum right again")                  \
    X(PARTITION, "partition", "two regions do not reach each other")                                                   \
    X(ONE_WAY, "one-way", "a region does not reach another, which reaches it")                                         \
    X(SLOW_PEER, "slow-peer", "everything between two regions takes long")                                             \
    X(KILL, "kill", "a process ends between two effects")                                                              \
    X(KILL_IN_WRITE, "kill-in-write", "a process ends inside a disk operation")                                        \
    X(POWER, "power", "a machine loses power: unsynced sectors and names are lost")                                    \
    X(PAUSE, "pause", "a process stops for a while and goes on")                                                       \
    X(CLOCK_JUMP, "clock-jump", "a wall clock jumps, up to hours, either way")                                         \
    X(CLOCK_DRIFT, "clock-drift", "a clock runs up to 2 % fast or slow")                                               \
    X(WRITE_ERROR, "write-error", "a write fails")                                                                     \
    X(SYNC_ERROR, "sync-error", "a sync fails, and what it was to keep may be lost")                                   \
    X(DISK_FULL, "disk-full", "a disk has no room for a while")                                                        \
    X(BIT_ROT, "bit-rot", "a bit flips in a sealed segment; an operator repairs it from a copy")                       \
    X(LOST_DISK, "lost-disk", "a region's disk is replaced by an empty one")                                           \
    X(LOST_LOGS, "lost-logs", "regions lose all logs on their disks, a tail that nobody else holds among them")        \
    X(OLD_BACKUP, "old-backup", "a region's disk is replaced by an old backup of it")                                  \
    X(NO_MEMORY, "no-memory", "an allocation inside a step of the region fails")                                       \
    X(TINY_LIMITS, "tiny-limits", "buffers, queues and segments are as small as they may be")                          \
    X(EARLY_TIMEOUTS, "early-timeouts", "timeouts and graces are as short as they may be")

enum fault {
#define SIM_FAULT_ENUM(name, text, what) FAULT_##name,
    SIM_FAULTS(SIM_FAULT_ENUM)
#undef SIM_FAULT_ENUM
        FAULT_COUNT
};

struct world;
struct node;
struct op;
struct atlas;
struct truth_change;

/* --- Time --- */

struct task;
typedef void task_fn(struct world *world, struct task *task);

/* Something that will happen. A task of a node is dropped unrun when the process it was for is gone. */
struct task {
    uint64_t at_us;
    uint64_t sequence;
    task_fn *run;
    task_fn *drop; /* frees data when it does not run; may be NULL */
    struct node *node;
    uint64_t boot;
    uint64_t numbers[4];
    void *data;
};

/* --- The plan of one run, drawn from the seed --- */

/* What a run is about, if it is about one thing (themes.c). */
enum theme { THEME_NONE, THEME_GUARDS, THEME_LEASES, THEME_DRIFT, THEME_COPIES, THEME_COUNT };

struct plan {
    enum theme theme;
    size_t node_count;
    bool enabled[FAULT_COUNT];
    uint64_t fault_phase_us;
    uint64_t fault_every_us; /* on average */
    uint64_t latency_us;
    uint32_t message_fault_ppm; /* of each enabled class of message faults */
    size_t client_count;
    uint64_t think_us;
    bool projections;
    size_t outside;            /* region that may not hold payloads; SIM_NODES_MAX: all may */
    uint64_t index_lag_us;     /* at most, between two steps of the index */
    uint64_t operate_every_us; /* on average; 0: homes stay where they are */
    uint32_t mistake_ppm;      /* of what operators do, where answers wait for copies: a seizure by who is cut off */
    uint64_t define_every_us;  /* 0: contexts stay as they are */
    bool system_moves;         /* operators move "$system", too */
    uint64_t give_up_us;       /* after which nobody waits for an answer any more */
    uint64_t settle_every_us;  /* on average, that people decide about late events; 0: never */
    bool overrides;            /* events of type SIM_URGENT_TYPE may be accepted away from home */
    bool multi_home;           /* events of type 0 are commutative: any region accepts them */
    uint64_t rotate_every_us;  /* 0: keys stay as they are */
    bool drifts_apart;         /* clocks are as far apart as leases allow for (fence.c) */
    bool automatic;            /* "bank" is failed over by guards (guards.c) */
    bool accept_isolated;
    uint64_t isolation_wait_us;
    struct log_options log_options;
    struct region_limits limits;
    struct applier_limits applier_limits;
    struct index_limits index_limits;
    uint64_t projected_events; /* in a transaction */
    uint64_t checkpoint_interval_us, hello_interval_us, peer_timeout_us, call_timeout_us, keepalive_us;
    size_t pull_window;
};

/* --- A region's process --- */

/* A thing for the region: one event, with what it borrows. */
struct mail {
    struct queue_link link;
    struct region_event event;
    struct err err;
    struct buf note;
    struct region_held *held;
    struct buf *held_notes;
    struct request *request; /* of a command */
};

enum job_type { JOB_WRITE, JOB_CHECKPOINT, JOB_CREATE_LOG, JOB_BEGIN_INCARNATION };

struct job {
    struct queue_link link;
    enum job_type type;
    uint32_t log;
    uint64_t size;
    bool published;
    bool fresh;
    struct block *block;
    struct buf note;
};

/* A command on its way through a region. */
struct request {
    struct queue_link link; /* in node->requests */
    struct region_command command;
    struct region_stream_write writes[SIM_OP_WRITES_MAX];
    struct region_new_event events[SIM_OP_EVENTS_MAX];
    struct region_result results[SIM_OP_EVENTS_MAX];
    struct op *op;         /* NULL: an operator's, or a settler's */
    struct urgent *urgent; /* of a command that cannot wait for the home (overriders.c) */
    bool by_guard;         /* an operator's, but a guard asked for it */
    struct region_control control;
    uint64_t asked_us; /* when an operator asked */
    struct region_define define;
    struct context context; /* that it defines */
    struct region_settle settle;
    struct region_settle_item items[SIM_OP_WRITES_MAX];
    struct region_verdict verdict; /* about a queued command */
    struct arena arena;            /* of events that are settled; empty for others */
    struct bytes partitions[SIM_PARTITIONS_MAX];
};

struct hello_state {
    bool running;
    bool wanted;
    bool last_failed;
    uint64_t call;                         /* the number of the call that runs */
    uint64_t asked_us;                     /* when it began, on the node's clock */
    struct region_lease_question asks;     /* that call … */
    struct region_lease_question question; /* … and the next one */
};

/* A flipped bit that waits to be repaired. */
struct rot {
    char path[120]; /* below the data directory */
    uint64_t size;  /* of the file */
    struct hash hash;
};

/* A key of a region, with every generation that it had. */
struct sim_keys {
    size_t count;
    size_t first; /* from this one on they sign */
    struct note_signer signers[SIM_KEYS_MAX];
    struct note_verifier names[SIM_KEYS_MAX]; /* as peers are configured: a log's under its first incarnation's name */
    size_t brought[SIM_NODES_MAX];            /* as many were brought to each region … */
    size_t read[SIM_NODES_MAX];               /* … and its process has read so many */
};

struct node {
    struct world *world;
    size_t number;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1]; /* of the own log, since the last start */
    char folder[24];
    struct sim_disk *disk;
    struct sim_disk *backup; /* NULL: none was made */
    uint64_t backup_sizes[REGION_LOGS_MAX];
    struct region_config config;
    struct sim_keys log_keys, cosign_keys;
    struct control_key key_changes[REGION_KEY_CHANGES_MAX];
    int64_t wall_offset_us;
    int64_t drift_ppm;
    uint64_t mono_base_us, drift_since_us;

    bool up;
    bool held_down; /* stays down until the heal */
    uint64_t boot;  /* counts processes */
    uint64_t paused_until_us;
    uint64_t kill_after; /* effects left, 0: never */
    bool heard;          /* this process has heard from a peer */
    bool rotten;         /* a bit was flipped on its disk and is not repaired */
    struct rot rot;
    bool must_restore;              /* its disk was lost, and its own log is not back yet */
    uint64_t fresh_incarnation;     /* begun by the process that ended just now */
    size_t lives;                   /* new incarnations that it began */
    uint64_t ever[REGION_LOGS_MAX]; /* of each of the truth's logs: the most that its disk ever held */

    /* The process. */
    struct store store;
    struct index *index;
    struct region *region;
    struct sha256 *sha;
    struct applier *applier;
    struct region_update update;
    struct queue_link mail;
    size_t mail_count;
    bool step_waits;
    struct queue_link jobs;
    size_t job_count;
    bool writer_busy;
    bool indexer_waits;
    struct queue_link requests;
    uint64_t timer_at_us;
    bool accepting;
    struct hello_state hello[SIM_NODES_MAX];
    uint64_t checked[REGION_LOGS_MAX];     /* how far the truth was compared with each log */
    uint64_t was_durable[REGION_LOGS_MAX]; /* of the truth's logs when the process ended: what must be there again */
    struct projector *projector;
};

/* --- The network --- */

struct link {
    bool cut;
    uint64_t extra_us;
};

/* --- The world --- */

struct counts {
    uint64_t faults[FAULT_COUNT];
    uint64_t steps, crashes, boots, entries, acknowledged, refused, duplicates, entries_mirrored;
    uint64_t checkpoints, cosignatures, reads, projected, proofs;
    uint64_t one_id;     /* effective events whose id another one has */
    uint64_t changes[3]; /* released, taken, seized */
    uint64_t late, changes_refused;
    uint64_t lives, entries_lost, left_behind;
    uint64_t copied, degraded;                   /* events acknowledged on as many copies as asked for, or fewer */
    uint64_t decisions[SETTLED_COMPENSATE + 1];  /* in the logs */
    uint64_t states[INDEX_LATE_COMPENSATED + 1]; /* of late events, at the end */
    uint64_t definitions;
    uint64_t overrides;
    uint64_t bounded;             /* entries of homes that may be only so far ahead of their copies */
    uint64_t unforced;            /* seizures whose basis was compared with what was answered */
    uint64_t reigns;              /* homes of fenced partitions that accepted */
    uint64_t takeovers;           /* seizures of guards */
    uint64_t rotations;           /* of keys */
    uint64_t comparisons, harmed; /* of projections; those that a hand changed */
};

/* Definitions of contexts in the logs (definers.c). */
struct definers_made {
    size_t log;
    uint64_t index;
    size_t name;
    uint64_t version;
    uint64_t epoch;
    enum failover_mode mode; /* by which versions are told apart */
};

struct definers {
    size_t count;
    size_t capacity;
    struct definers_made *made;
};

struct sim_place {
    size_t log; /* in the truth */
    uint64_t index;
};

enum { SIM_UNACCEPTABLE_MAX = 64 };

struct world {
    uint64_t seed;
    struct prng prng;
    struct plan plan;
    uint64_t now_us;
    struct task **queue; /* a heap */
    size_t queue_count, queue_capacity;
    uint64_t next_sequence;
    uint64_t next_command;
    struct node nodes[SIM_NODES_MAX];
    size_t node_count;
    struct context contexts[2];               /* "bank", and the system's */
    struct context_home homes[SIM_NODES_MAX]; /* of epoch 1 */
    struct context_type types[SIM_TYPES];
    const char *payload_regions[SIM_NODES_MAX];
    char region_names[SIM_NODES_MAX][24];
    char partition_names[SIM_PARTITIONS_MAX][24];
    size_t partition_count; /* number i below node_count has its first home in region i */
    struct link links[SIM_NODES_MAX][SIM_NODES_MAX];
    struct queue_link pulls; /* struct pull */
    struct truth *truth;
    struct clients *clients;
    struct readers *readers;
    struct definers definers;
    struct sim_place unacceptable[SIM_UNACCEPTABLE_MAX]; /* late events whose ids were given to something else */
    size_t unacceptable_count;
    struct fence *fence;
    struct overriders *overriders; /* NULL: there are none */
    struct guards *guards;         /* NULL: no context is automatic */
    struct rotators *rotators;     /* NULL: keys stay as they are */
    struct comparers *comparers;   /* NULL: nobody compares projections */
    char temporary[64];            /* the folder of the run, "" when there is none */
    bool healing;
    bool core[SIM_NODES_MAX];
    struct map notes;   /* hashes of the notes that were looked at */
    struct arena arena; /* what lives as long as the run */
    struct sha256 *sha;
    struct counts counts;

    bool failed;
    char failure[600];
    uint64_t digest;
    bool print_trace;
    char trace[SIM_TRACE_LINES][SIM_TRACE_LINE_BYTES];
    uint64_t trace_count;
};

/* world.c */
struct world *world_new(uint64_t seed, bool print_trace);
void world_free(struct world *world);
/* Before what they speak of is freed. */
void world_drop_tasks(struct world *world);
/* Makes a task; node may be NULL. The caller fills numbers, data and drop before anything else happens. */
struct task *world_at(struct world *world, uint64_t at_us, struct node *node, task_fn *run);
struct task *world_after(struct world *world, uint64_t delay_us, struct node *node, task_fn *run);
/* Runs tasks until the time, or until something failed. */
void world_run_until(struct world *world, uint64_t until_us);
void world_trace(struct world *world, const struct node *node, const char *format, ...) PRINTF_LIKE(3, 4);
/* The first failure counts. */
void world_fail(struct world *world, const struct node *node, const char *format, ...) PRINTF_LIKE(3, 4);
uint64_t world_draw(struct world *world, uint64_t bound);                 /* [0, bound) */
uint64_t world_between(struct world *world, uint64_t low, uint64_t high); /* [low, high] */
bool world_chance(struct world *world, uint32_t ppm);
/* Whether a fault of this class happens now, with this chance; counts it. */
bool world_fault(struct world *world, enum fault fault, uint32_t ppm);
/* SIM_NODES_MAX when there is none. */
size_t world_node_named(const struct world *world, const char *region);
/* The next number of a partition that is there, "*" aside, after `partition`; SIM_NUMBERS at the end. From
 * SIM_NUMBERS on: the first. */
size_t world_next_partition(const struct world *world, size_t partition);
bool world_is_all(size_t partition);   /* whether the number is that of a "*" */
size_t world_all_of(size_t partition); /* the "*" of its context */
struct bytes world_context_of(const struct world *world, size_t partition);
struct bytes world_partition_name(const struct world *world, size_t partition);
size_t world_partition_numbered(const struct world *world, struct bytes context, struct bytes name);
/* The home of epoch 1. */
size_t world_first_home(const struct world *world, size_t partition);
void *sim_must(void *memory); /* dies when memory ran out: the simulator itself has no use for going on */
extern const char *const fault_names[FAULT_COUNT];
extern const char *const fault_texts[FAULT_COUNT];
extern const char *const event_types[SIM_TYPES];
extern const char *const defined_names[SIM_DEFINED];

/* plan.c */
void plan_draw(struct world *world);
/* themes.c: makes the plan of some runs one about one thing. */
void themes_choose(struct world *world);
/* Whether the planted bug, if there is one, can show in such a run (needs.c). */
bool needs_are_met(const struct world *world);
void plan_print(const struct world *world);

/* node.c */
void node_init(struct world *world, size_t number);
void node_free(struct node *node);
void node_boot(struct node *node);
/* The process ends: nothing of it is left but its disk. */
void node_crash(struct node *node, bool power_lost, const char *why);
void node_restart_after(struct node *node, uint64_t delay_us);
struct time_now node_now(const struct node *node);
void node_set_drift(struct node *node, int64_t ppm);
/* Its wall clock is set right. */
void node_set_wall(struct node *node);
struct mail *mail_new(enum region_event_type type);
void mail_free(struct mail *mail);
void node_post(struct node *node, struct mail *mail); /* takes the mail */
void node_add_job(struct node *node, struct job *job);
/* Something that others look at has changed: logs, notes, the index. */
void node_changed(struct node *node);
/* The place of another region among the peers of this one, and back. */
size_t node_peer_of(const struct node *node, size_t other);
size_t node_of_peer(const struct node *node, size_t peer);
/* The process's number of a log; false when it has none. */
bool node_find_log(const struct node *node, const char *origin, uint32_t *ret);

/* Of this process's copy of a log; 0 when it is not up or has none. */
uint64_t node_durable_size(const struct node *node, const char *origin);
/* The same of its disk, up or not, of one of the truth's logs. */
uint64_t node_held_size(const struct node *node, size_t log);

/* Frees a request that is in no queue any more. */
void request_free(struct request *request);

/* effects.c */
void effects_carry_out(struct node *node);
/* Lets go of a command, with its answer. */
void effects_answer(struct node *node, struct region_command *command);

/* writer.c */
void writer_start(struct node *node);

/* net.c: who reaches whom, how long it takes, and hello. */
uint64_t net_latency(struct world *world, size_t from, size_t to);
bool net_cut(const struct world *world, size_t from, size_t to);
void net_hello(struct node *node, size_t peer, const struct region_lease_question *question);
/* A peer called: if the last hello to it failed, say it again now. */
void net_contact(struct node *node, size_t other);

/* pulls.c: streams of blocks, checkpoints and acknowledgements. */
void pulls_open(struct node *node, size_t peer, uint32_t log, const char *origin, uint64_t from_index);
void pulls_close(struct node *node, size_t peer, uint32_t log);
void pulls_acknowledge(struct node *node, const struct region_effect *effect);
void pulls_node_changed(struct node *node);
void pulls_node_down(struct node *node);
/* What this region has sent and nobody has received is gone, with its machine. */
void pulls_lose_sent(struct node *node);
void pulls_free(struct world *world);
/* Changes a payload or a prev hash in a block's bytes and makes its checksum right again; false when it has neither. */
bool forge_block(struct world *world, struct buf *bytes);

/* clients.c */
void clients_start(struct world *world);
void clients_free(struct world *world);
void clients_heal(struct world *world);
/* A region lets go of a request. */
void clients_answered(struct node *node, struct request *request);
/* Whether every client has an answer to what it asked, and something was accepted for each partition since the heal. */
bool clients_satisfied(struct world *world, char *why, size_t why_size);
/* Whether an event of this id and content was ever sent by a client; names the op. */
const struct op *clients_find_said(const struct world *world, const struct entry *entry, uint64_t fingerprint);
/* An event that compensates a late one, which an operator says; the write lives as long as the run. */
struct region_stream_write clients_compensate(struct world *world, const struct index_late *item);
/* What a client would say to a region that is not the home: one write. */
struct region_stream_write clients_queue(struct world *world);
/* What cannot wait for its home: one write. */
struct region_stream_write clients_override(struct world *world);
/* What a home had answered on all copies before an unforced seizure from it was asked for lies below its basis. */
void clients_check_seizure(struct world *world, const struct truth_change *change, uint64_t asked_us);
/* Somebody decided about an event of this id. */
void clients_settled(struct world *world, const uint8_t id[ENTRY_ID_SIZE]);
/* The number in a stream's name. */
size_t clients_stream_number(struct bytes stream);
void clients_check_end(struct world *world);
/* What was acknowledged on as many copies as its context asks for is on some disk. */
void clients_check_copies(struct world *world);
/* What became of every acknowledged event, at a position. */
void clients_check_fates(struct world *world, const struct atlas *atlas);

/* definers.c: who creates and changes contexts, and what must follow. */
void definers_start(struct world *world);
/* Its owner's log has one more definition. */
void definers_take(struct node *node, size_t log, const struct chain_entry *found);
void definers_check_end(struct world *world);
void definers_free(struct world *world);

/* operators.c: who moves homes. */
void operators_start(struct world *world);
/* Partitions whose home stays away are seized by one that does not. */
void operators_heal(struct world *world);
/* Asks a region; the number of a "*": for all that it concerns. */
void operators_ask(struct node *node, enum region_control_type type, size_t other, size_t partition, bool forced);

/* settlers.c: who decides about late events: rules, and people. */
void settlers_start(struct world *world);
/* A region lets go of a decision. */
void settlers_answered(struct node *node, struct request *request);
/* A person at this region decides about an item, some way or other. */
void settlers_decide(struct node *node, const struct index_late *item);
/* Whether everything that a rule decides is decided. */
bool settlers_done(struct world *world, char *why, size_t why_size);

/* overriders.c: what cannot wait for the home. */
void overriders_start(struct world *world);
/* A region lets go of such a command. */
void overriders_answered(struct node *node, struct request *request);
/* Its owner's log has one more override. */
void overriders_take(struct node *node, size_t log, const struct entry *entry);
/* No override waits for a decision. */
bool overriders_done(struct world *world, char *why, size_t why_size);
void overriders_check_end(struct world *world, const struct atlas *atlas);

/* recovery.c: recovery points. */
/* Its owner's log has one more entry. */
void recovery_take(struct node *node, size_t log, uint64_t index);

/* seizures.c: what a failover may rest on. */
/* Its owner's log has one more change of homes. */
void seizures_take(struct node *node, const struct truth_change *change, bool forced, struct bytes reason);
/* An operator is told that it is done. */
void seizures_answered(struct node *node, const struct request *request);

/* queuers.c: commands that regions keep for other homes, and the homes that decide them. */
void queuers_start(struct world *world);
/* A region lets go of a request to queue, or to decide. */
void queuers_answered(struct node *node, struct request *request);
/* Every queued command is decided. */
bool queuers_done(struct world *world, char *why, size_t why_size);
void queuers_check_end(struct world *world);

/* atlas.c */
void atlas_start(struct world *world);
/* Whether a partition's home has ever changed, or was about to. */
bool atlas_has_moved(const struct world *world, size_t partition);
/* A region's process has lost what it held. */
void atlas_forget(struct node *node);
/* The owner of a log has made an entry durable. */
void atlas_accepted(struct node *node, size_t log, uint64_t index);

/* fence.c: leases. */
void fence_start(struct world *world);
/* A command with writes was decided just now. */
void fence_decided(struct node *node, const struct region_command *command);

/* guards.c: automatic failover, and the service that it asks. */
void guards_start(struct world *world);
void guards_boot(struct node *node);
/* A region has made a step: whether it decided what its guard asked for. */
void guards_stepped(struct node *node);
/* A region lets go of what its guard asked for. */
void guards_answered(struct node *node, const struct request *request);
void guards_heal(struct world *world);
/* Whether what is lost in the healed core is the guards' to take, or may be still. */
bool guards_will_take(const struct world *world);

/* rotators.c: keys, and people who replace them. */
void keys_add(struct world *world, const char *name, enum note_key_type type, struct sim_keys *keys);
/* The first `count` generations, under the names by which peers know them. */
struct keyring keys_ring(const struct sim_keys *keys, size_t count);
void keys_read(struct node *node);
void rotators_start(struct world *world);
/* A checkpoint that a region has signed just now. */
void rotators_check_signed(struct node *node, struct bytes message);
/* Its owner's log has one more event about keys. */
void rotators_take(struct node *node, size_t log, const struct chain_entry *found);
void rotators_check_end(struct world *world);

/* fates.c: what the indexes must say, compared with the atlas. */
/* Whether a change of homes that the core holds rests on what only those have who stay away, or a region of the core
 * must hear from them how much of its own log they hold. */
bool fates_wait_for_others(struct world *world);
bool fates_converged(struct world *world, char *why, size_t why_size);
void fates_check_end(struct world *world);

/* truth.c: what the logs are, as their owners' disks showed it first. */
void truth_start(struct world *world);
void truth_free(struct world *world);
/* Compares what is new in a process's log. */
void truth_follow(struct node *node, uint32_t log);
uint64_t truth_size(const struct world *world, const char *origin);
bool truth_root(const struct world *world, const char *origin, uint64_t size, struct hash *ret);
/* Whether the entry at this place has this id; its stream version in *ret_version. */
bool truth_entry(const struct world *world, const char *origin, uint64_t index, uint8_t ret_id[ENTRY_ID_SIZE],
                 uint64_t *ret_version);
size_t truth_log_count(const struct world *world);
/* The number of a log. */
size_t truth_number(const struct world *world, const char *origin);
size_t truth_owner(const struct world *world, size_t log);
/* Entries of a log from an index on are on no disk any more, and none of them will ever be. told: what was signed of it
 * is remembered, so the range must be reported. */
void truth_lose(struct world *world, size_t log, uint64_t from, bool told);
/* A region has lost the memory of what it signed, too. */
void truth_forget_signed(struct world *world, size_t owner);
bool truth_is_lost(const struct world *world, size_t log, uint64_t index);
/* Whether some later log of its region goes on without the entry. */
bool truth_is_left(const struct world *world, size_t log, uint64_t index);
/* The size up to which entries of a log may still be somewhere. */
uint64_t truth_kept_size(const struct world *world, size_t log);
/* A checkpoint of this size is about to be stored; it is, and may be shown. */
void truth_signs(struct world *world, const char *origin, uint64_t size, bool stored);
uint64_t truth_signed_size(const struct world *world, size_t log);
/* What a status says to be lost of a log of which `held` entries are anywhere: exactly what is. */
void truth_check_lost(struct node *node, size_t log, uint64_t held, const struct region_log_status *status);
const char *truth_origin(const struct world *world, size_t log);
struct hash truth_frame(const struct node *node, const char *origin, uint64_t index);
/* A consistency proof between two sizes of a log, made and verified with the product's code. */
void truth_prove(struct world *world, const char *origin, uint64_t old_size, uint64_t new_size,
                 const struct hash *old_root, const struct hash *new_root);

/* oracle.c */
void oracle_booted(struct node *node);
void oracle_answer(struct node *node, const struct request *request);
void oracle_accepting(struct node *node);
void oracle_note(struct node *node, const char *origin, struct bytes note);
bool oracle_parse_note(struct bytes message, struct checkpoint *ret);
void oracle_acknowledges(struct node *node, const struct region_effect *effect);
void oracle_limits(struct node *node);
bool oracle_converged(struct world *world, char *why, size_t why_size);
void oracle_end(struct world *world);

/* readers.c: subscribers, readers of streams, followers of checkpoints. */
void readers_start(struct world *world);
void readers_free(struct world *world);

/* projector.c */
void projector_boot(struct node *node);
void projector_crash(struct node *node);
void projector_erase(struct node *node);
void projector_changed(struct node *node);
bool projector_caught_up(const struct node *node);
void projector_check_end(struct world *world);
/* The same against rows made from the entries that have their effect. */
typedef bool projector_stands_fn(const void *context, const char *origin, uint64_t index);
void projector_check_truth(struct node *node, projector_stands_fn *stands, const void *context);
/* Removes the run's folder. */
void projector_clean(struct world *world);

/* comparers.c: regions that compare their projections, and a hand that changes one. */
void comparers_start(struct world *world);
/* Whether the rows that are read here were changed. */
bool comparers_harmed(const struct node *node);
/* Its files are gone. */
void comparers_erased(const struct node *node);
/* What was changed in the healed core is found. */
bool comparers_done(const struct world *world, char *why, size_t why_size);

/* nemesis.c: what goes wrong, and when. */
void nemesis_start(struct world *world);
void nemesis_heal(struct world *world);
/* Those that stayed away come back, too. */
void nemesis_widen(struct world *world);

/* losses.c: disks that are lost with what nobody else has, now or soon, and old backups; false: not now. */
void losses_strike(struct world *world);
bool losses_strike_backup(struct world *world);
/* Whether a copy that was there once may be gone: a disk or logs were lost, or a new log was begun, so far. */
bool losses_were(const struct world *world);
/* Whether a disk may be lost without anything that only it has. */
bool losses_none(struct world *world, const struct node *node);

/* backups.c: loses what lies below a folder of the data directory; keeps a copy of it all; puts that in its place. */
void backups_lose_folder(struct node *node, const char *name);
void backups_take(struct node *node);
void backups_restore(struct node *node);

/* rot.c: flips a bit in a sealed segment that another region has too; false when there is none. */
bool rot_strike(struct world *world);
/* An operator copies what is rotten on this region's disk from a peer, and starts it. */
void rot_repair(struct node *node);

/* run.c: one seed from start to end. */
void run_seed(struct world *world);

#endif
