/* One region without threads and without files: the step, an index in memory, and a "disk" that is an array of blocks.
 *
 * A test sends events and looks at the effects of the last one. Writes and saves wait until the test makes them
 * durable, so every interleaving can be had. Whatever a test does, each step is checked against the rules that hold
 * always (fixture.c, check_effects): nothing accepted is answered before its ticket is durable, and everything once;
 * only what is durable is signed or acknowledged, only what is stored is cosigned; one write of the own log at a time;
 * no deadline in the past without an effect.
 *
 * The cluster is called demo; its regions are eu, us and ap. Context "bank" has its home in eu, but for partition
 * "west", which lives in us, and its events of type "Frozen" may be accepted elsewhere as overrides; context "shop"
 * lives in us, contexts "till" and "$system" in eu. */
#ifndef UNIT_REGION_FIXTURE_H
#define UNIT_REGION_FIXTURE_H

#include "region/region.h"

enum { SITE_LOGS_MAX = 8, SITE_BLOCKS_MAX = 256, ORDER_WRITES_MAX = 4, ORDER_EVENTS_MAX = 8 };

struct site_log {
    struct block *blocks[SITE_BLOCKS_MAX]; /* in the order of the write effects */
    size_t block_count;
    size_t durable_count; /* of blocks */
    uint64_t durable_size;
    uint64_t indexed_size;
    bool saving; /* a save effect was not reported yet */
    bool saving_published;
    uint64_t saving_size;
    struct buf saving_note;
    struct buf note; /* the last one saved, without cosignatures */
    uint64_t note_size;
    struct buf published;
    uint64_t acknowledged_size; /* of the last acknowledgement sent */
    struct buf cosignature;     /* and the last line that came with one */
    uint64_t cosigned_size;
};

struct site {
    struct region *region;
    struct context table[4];
    struct context_table contexts;
    struct index *index;
    struct sha256 *sha;
    struct region_config config;
    struct note_signer log_signer, cosign_signer;
    struct region_update update; /* of the last step */
    struct time_now now;
    uint64_t asked_us[REGION_PEERS_MAX]; /* when each peer was last asked by an effect */
    bool abstains;                       /* what peers say when they are asked before a failover */
    struct site_log logs[SITE_LOGS_MAX]; /* by the region's log number */
};

/* --- Life --- */

/* The keys that every site of the tests uses for a region. */
void site_log_signer(const char *region, struct note_signer *ret);
void site_cosign_signer(const char *region, struct note_signer *ret);
/* The configuration of a region with these peers ("us ap"; "" for none), before region_new. */
void site_configure(struct site *site, const char *region, const char *peers);
/* The key of the witnesses "one" and "two", which are no peers. */
void site_witness_signer(const char *witness, struct note_signer *ret);
/* The same as below, in a region that is told of both. */
struct site *site_new_witnessed(const char *region, const char *peers);
/* A new region with an empty log. No event was sent yet. */
struct site *site_new(const char *region, const char *peers);
/* The same region after a crash: what was durable is there, the rest is gone. Frees `before`. */
struct site *site_restart(struct site *before);
/* The same in its next incarnation: an own log that is empty, and what was durable as logs 1 and up, of which the index
 * has applied nothing when `indexed` is false. Frees `before`. */
struct site *site_next_life(struct site *before, bool indexed);
void site_free(struct site *site);
/* A cluster of one region that accepts. */
struct site *site_alone(void);
/* eu, with these peers, that accepts because all peers said hello and hold nothing. */
struct site *site_accepting(const char *peers);

/* The same, not accepting yet, when context "bank" has these rules. */
struct site *site_new_ruled(const char *region, const char *peers, const struct context_rules *rules);

/* The same when context "bank" has this policy: a region that waits for its peers, and eu that accepts. */
struct site *site_new_promising(const char *region, const char *peers, const struct promises *policy);
struct site *site_promising(const char *peers, const struct promises *policy);

/* --- Events --- */

void site_step(struct site *site, struct region_event event);
/* The same when the allocation number fail_at of the step fails. Returns what region_step says. */
int site_step_failing(struct site *site, struct region_event event, uint64_t fail_at);
/* Time passes, then the timer. */
void site_tick(struct site *site, uint64_t us);
/* A hello of a peer that holds these logs. */
void site_hello(struct site *site, const char *peer, const struct region_held *held, size_t held_count);
void site_peer_down(struct site *site, const char *peer);
/* The oldest write of a log becomes durable. */
void site_written(struct site *site, uint32_t log);
/* All writes of a log, one after the other, those that come up meanwhile too. */
void site_written_all(struct site *site, uint32_t log);
/* The save of a log becomes durable. */
void site_saved(struct site *site, uint32_t log);
/* The index applies what is durable of a log, and the region hears of it. */
void site_indexed(struct site *site, uint32_t log);

/* --- What the last step did --- */

size_t site_count(const struct site *site, enum region_effect_type type);
/* The first effect of the type; the test fails when there is none. */
const struct region_effect *site_effect(const struct site *site, enum region_effect_type type);
/* The number of a log by its region's name; the test fails when the site does not know it. */
uint32_t site_log_number(const struct site *site, const char *region);
size_t site_peer(const struct site *site, const char *peer);
enum region_log_state site_state(const struct site *site, uint32_t log);

/* --- Two sites --- */

/* `from` says hello to `to`, with all logs that it holds. */
void site_meet(struct site *to, const struct site *from);
/* The same, with what `from` answers about leases. */
void site_meet_granting(struct site *to, const struct site *from, const struct region_lease_answer *answer);
/* `from` sends the durable blocks of a region's log that `to` lacks, on the pull from it. */
void site_send_blocks(struct site *to, const struct site *from, const char *region);
/* `from` sends its stored checkpoint of that log. */
void site_send_note(struct site *to, const struct site *from, const char *region);
/* The owner of a log hears the last acknowledgement of its mirror. */
void site_send_acknowledgement(struct site *to, const struct site *from);

/* --- Commands --- */

struct order {
    struct region_command command; /* first */
    struct region_stream_write writes[ORDER_WRITES_MAX];
    struct region_new_event events[ORDER_WRITES_MAX][ORDER_EVENTS_MAX];
    struct region_result results[ORDER_WRITES_MAX * ORDER_EVENTS_MAX];
    unsigned answers; /* how often it came back */
};

void order_init(struct order *order);
/* A further write, to a stream of context "bank", partition "north". */
struct region_stream_write *order_write(struct order *order, const char *stream, enum stream_expectation expectation,
                                        uint64_t expected_version);
/* A further event of the last write; its id is made from the number. The payload outlives the order. */
struct region_new_event *order_event(struct order *order, uint64_t id, const char *payload);
/* One event to one stream, whatever is there. */
void order_one(struct order *order, const char *stream, uint64_t id, const char *payload);
/* Looks up what the index knows now. */
void site_prepare(struct site *site, struct order *order);
void site_decide(struct site *site, struct order *order);
/* Both. */
void site_submit(struct site *site, struct order *order);
/* Asks for a context that is not there yet; all three outlive the answer, which waits for the disk. */
void site_create(struct site *site, struct order *order, struct region_define *define, const struct context *context);
/* Submits one event and makes it durable; its answer is checked. */
void site_append(struct site *site, const char *stream, uint64_t id);

void event_id_of(uint64_t number, uint8_t ret[ENTRY_ID_SIZE]);

#endif
