/* The core of a region: one function that decides everything, and does nothing.
 *
 *   region_step(region, event, update)
 *
 * takes one thing that happened and describes what must be done about it: bytes to make durable, answers and messages
 * to let go of, pulls to open. It performs no input or output, takes no locks, reads no clock and draws no randomness
 * (time and salts arrive in the event); it may look things up through the index interface. The server and the simulator
 * both run this code, there is no second implementation.
 *
 * Promise 1 as data: each write carries a ticket, each answer and message says after which ticket it may leave. In fact
 * region_step itself keeps what waits for a ticket, and hands it out in the update of the WRITTEN event that makes it
 * true: nothing can leave early by mistake of the caller.
 *
 * Ownership: an event and what it points to is borrowed during the call, except where said. An update is owned by the
 * caller and valid until the next region_step or region_update_clear on it.
 *
 * Threads: one. */
#ifndef REGION_REGION_H
#define REGION_REGION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/time.h"
#include "crypto/keyring.h"
#include "domain/authority.h"
#include "domain/context.h"
#include "domain/control.h"
#include "domain/position.h"
#include "domain/stream.h"
#include "entry/entry.h"
#include "index/index.h"
#include "log/block.h"

enum {
    REGION_PEERS_MAX = 16,
    REGION_LOGS_MAX = 64,
    REGION_REQUEST_EVENTS_MAX = 10000,
    REGION_REQUEST_MAX_BYTES = 4 * 1024 * 1024,
    REGION_REQUEST_WRITES_MAX = 10000,
    REGION_COMMANDS_PENDING_MAX = 4096, /* batches accepted and not yet durable */
    REGION_UNINDEXED_MAX = 1024 * 1024, /* entries the index may be behind before appends are refused */
    REGION_ADDRESS_MAX_BYTES = 255,
    REGION_WITNESSES_MAX = 8,
    REGION_CONTROL_PARTITIONS_MAX = 20000, /* partitions that one control command changes */
    REGION_CHANGES_PENDING_MAX = 100000,   /* authority changes received and not applied yet */
    REGION_SETTLE_ITEMS_MAX = 256,         /* late events that one command settles */
    REGION_KEY_CHANGES_MAX = 64,
    REGION_QUEUED_OPEN_MAX = 10000, /* commands that one region keeps for other homes, undecided, … */
    REGION_QUEUED_OPEN_MAX_BYTES = 256 * 1024 * 1024, /* … and their payloads */
};

/* --- Commands --- */

/* What a client said about one event, checked for shape by whoever built the command (region_command_check), with what
 * does not depend on order computed already: commitment, fingerprint, and what the index knew. */
struct region_new_event {
    uint8_t id[ENTRY_ID_SIZE];
    struct bytes type, content_type, metadata, payload;
    struct bytes causation_id, correlation_id;
    uint8_t salt[ENTRY_SALT_SIZE];
    struct hash commitment;
    uint64_t fingerprint;
    bool known;              /* the index had this id … */
    struct index_event seen; /* … here */
};

struct region_stream_write {
    struct bytes context, partition, stream;
    enum stream_expectation expectation;
    uint64_t expected_version;
    size_t event_count;
    struct region_new_event *events;
    bool head_known;        /* the index had this stream … */
    struct index_head head; /* … at this head */
    uint64_t epoch;         /* the answer: that it was accepted under; ENTRY_EPOCH_OF_NONE for repetitions, too */
};

struct region_result {
    uint64_t index;
    uint64_t stream_version;
    bool duplicate;
    bool commutative;         /* without a stream version: it is 0 */
    struct index_place place; /* log number and index: for duplicates that live in another log */
};

/* Why a command was refused, for machines. Borrowed texts live as long as the command or the region. */
struct region_refusal {
    int code;
    struct err err;
    size_t write_number;
    char expected[24];
    char actual[24];
    char home_region[64];
    char home_address[REGION_ADDRESS_MAX_BYTES + 1];
    uint8_t event_id[ENTRY_ID_SIZE];
    uint64_t retry_after_ms; /* ERR_BUSY for a recovery point: a pause that helps; 0: not known */
};

/* What an operator asks of a region, instead of a batch: who is to be the home of partitions. */
enum region_control_type {
    REGION_HANDOVER, /* this region, the home, lets go of them; `region` takes them when it holds everything */
    REGION_FAILOVER, /* this region seizes those whose home is `region`, which is lost or must be taken for lost */
};

struct region_failover_report;

struct region_control {
    enum region_control_type type;
    char region[64];
    struct bytes context;
    size_t partition_count; /* 0: every partition of the context that this is about */
    const struct bytes *partitions;
    struct bytes actor;
    struct bytes reason;
    bool forced;                    /* go on although readiness checks fail; needs a reason */
    bool dry_run;                   /* FAILOVER: the evidence only */
    const char *projections_behind; /* FAILOVER: what the caller says of projections that are stale; NULL: none is */
    uint64_t until_us; /* FAILOVER: refused, with ERR_TIMEOUT, when it is decided after this monotonic time;
                        * 0: whenever it is decided */
    struct region_failover_report
        *report; /* FAILOVER: filled with what was decided on, also when it is refused; not NULL */
    /* The answer: partitions changed, and such as are left because one block holds no more: ask again. */
    size_t changed;
    size_t remaining;
};

/* A decision about late events (index/index.h, items), asked of the home of their partitions: all of them or none.
 * Write number i of the command belongs to item i. For SETTLED_ACCEPTED it has the late event, as the caller read it
 * from the log, or no event when the payload is not held; for SETTLED_COMPENSATE it may have the event that
 * compensates; otherwise it is empty. Refused besides what batches are refused for: ERR_NOT_FOUND (no item, or no
 * payload), ERR_EXISTS (a duplicate, or decided otherwise), ERR_INVALID, ERR_MISMATCH (not the content of the late
 * event). */
struct region_settle_item {
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    uint64_t index;
    bool already; /* the answer: this was decided before, and nothing changed */
};

struct region_settle {
    enum settlement settlement;
    struct bytes actor;
    struct bytes reason;
    size_t item_count; /* from 1; as many as the command has writes, each with a place among the results */
    struct region_settle_item *items;
    size_t settled; /* the answer: decisions made now */
};

/* A command that some region keeps for this one, to be decided by the home of its partition (index/index.h, the queue).
 * The command's writes are what it asks for; its event id binds them. It is accepted or refused for good, and either is
 * an answer without refusal: a $CommandAccepted or $CommandRefused entry follows its events. Refused is what
 * would be the same at a second try: ERR_VERSION_CONFLICT, ERR_ID_REUSED, ERR_INVALID, ERR_TOO_LARGE. Anything else is
 * this command's refusal, and nothing is decided; besides what batches are refused for: ERR_NOT_FOUND (no such queued
 * command), ERR_MISMATCH (not the writes that it has), ERR_BUSY also when an earlier command of the same partition and
 * log is not decided. */
struct region_verdict {
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    uint64_t index;
    /* The answer: */
    bool already;   /* this was decided before, and nothing changed */
    struct err err; /* code 0: accepted; else why it is refused */
};

/* What to do with a batch whose partition has its home elsewhere. */
enum region_elsewhere {
    REGION_ELSEWHERE_REFUSE,
    REGION_ELSEWHERE_OVERRIDE, /* append its events here at once, without stream versions, as an emergency that the home
                                * settles: all writes of one partition, of types that the context lets do so, whatever
                                * is in the stream, with a reason. ERR_PERMISSION for other types */
    REGION_ELSEWHERE_QUEUE,    /* keep it as $CommandQueued: all writes of one partition, within the limits of
                                * domain/queued.h. Besides what batches are refused for: ERR_BUSY when too many are kept,
                                * ERR_PERMISSION when some region may not hold the context's payloads */
};

/* A context to create or to change, asked of the home of "$system" (domain/definition.h). Refused besides what commands
 * are refused for: ERR_NOT_FOUND, ERR_EXISTS, ERR_VERSION_CONFLICT (expected_version is not what is in force),
 * ERR_INVALID (it makes no sense, in itself or in this cluster), ERR_UNSUPPORTED (domain/redefine.h), ERR_TOO_LARGE. */
struct region_define {
    const struct context *context; /* the whole policy; borrowed like everything here until the answer */
    uint64_t expected_version;     /* in force; 0: there is no such context, and this creates it */
    struct bytes actor;
    struct bytes reason;
    bool dry_run;     /* only ask whether it would be done */
    uint64_t version; /* the answer: what is in force then */
    bool already;     /* it was so before, and nothing changed */
};

/* A batch (or a control command, a decision about late events or a queued command, or a definition of a context) and
 * its answer. Owned by the caller, who must keep it (and what it borrows) alive until it comes back in an update's
 * `answers`: every accepted or refused command comes back exactly once. */
struct region_command {
    struct region_control *control; /* at most one of these; */
    struct region_settle *settle;   /* all NULL: a batch */
    struct region_verdict *verdict;
    struct region_define *define;
    enum region_elsewhere elsewhere;
    struct bytes actor;  /* of an override */
    struct bytes reason; /* likewise */
    size_t write_count;
    struct region_stream_write *writes;
    uint64_t number;         /* of the caller's choice, unique: for REGION_GIVE_UP */
    uint64_t index_sequence; /* index_sequence() read before the look-ups in events and writes were made */
    /* The answer: */
    struct region_refusal refusal; /* code 0: accepted */
    struct region_result *results; /* room for all events, provided by the caller */
    uint64_t ticket;               /* own log's size after it */
    bool overridden;               /* it was accepted here as an override */
    bool anywhere;                 /* for region.c: it asks for no home */
    bool queued;                   /* it is kept for another home, as the own log's entry before… */
    uint64_t queued_size;          /* … this size, and has no results */
    uint32_t copies;               /* peers that had stored it before it was answered */
    bool degraded;                 /* fewer than its contexts ask for: that many peers did not answer */
    uint32_t lacking;              /* for region.c, as the next: peers whose copies do not count, a bit each */
    struct region_command *next;
};

/* Shape and limits of a command whose names, sizes and events are set: counts, names, ids given once. ERR_INVALID,
 * ERR_TOO_LARGE; fills refusal. Pure; any thread. */
int region_command_check(const struct region_command *command, struct region_refusal *refusal) MUST_USE;
/* Fills commitment and fingerprint of every event, then looks everything up in the index. Any thread. */
int region_command_prepare(struct region_command *command, struct sha256 *sha, struct index *index,
                           struct err *err) MUST_USE;

/* --- Set-up --- */

struct region_peer_config {
    char region[64];
    char address[REGION_ADDRESS_MAX_BYTES + 1];
    struct keyring log_keys;
    struct keyring cosign_keys;
};

/* Sizes and times of the core's own. 0 in a field stands for its default, which is also the most that a size may be:
 * the server leaves them all 0, the simulator makes them tiny. */
struct region_limits {
    size_t ready_blocks;      /* full blocks that wait behind the one being written */
    size_t block_bytes;       /* a block that has this much takes no further command */
    size_t commands_pending;  /* batches accepted and not yet durable */
    size_t unindexed_entries; /* entries the index may be behind before appends are refused, and blocks of logs of which
                                 any are kept */
    size_t indexed_steps;     /* steps of the index that are remembered before what they applied leaves memory early */
    size_t mirror_writes;     /* blocks of one mirror that are being written */
    size_t kept_notes;        /* own checkpoints that may still be cosigned */
    size_t queued_open;       /* commands kept for other homes, undecided */
    size_t boundaries;        /* block boundaries of a log whose roots are remembered */
    uint64_t overlay_grace_us;
    uint64_t backoff_first_us;
    uint64_t backoff_max_us;
    uint64_t penalty_us; /* for how long a source that sent what does not fit is left alone */
};

struct region_config {
    char cluster[64];
    char region[64];
    char address[REGION_ADDRESS_MAX_BYTES + 1];
    uint64_t incarnation;
    struct signers log_signers;      /* outlive the region */
    struct signers cosign_signers;   /* outlive the region */
    struct keyring retired_log_keys; /* of this region, beside those that sign: earlier incarnations may need them */
    size_t key_change_count;
    const struct control_key
        *key_changes;              /* what the log must tell of the region's keys (keys.c); outlive the region */
    struct context_table contexts; /* of the configuration; outlives the region */
    size_t peer_count;
    struct region_peer_config peers[REGION_PEERS_MAX];
    size_t witness_count;
    struct keyring
        witnesses[REGION_WITNESSES_MAX]; /* that are no peers: whose cosignatures are published beside theirs */
    uint64_t checkpoint_interval_us;     /* sign at most this often */
    uint64_t hello_interval_us;          /* heartbeat */
    uint64_t peer_timeout_us;            /* a peer not heard of for this long is down */
    uint64_t
        drill_max_age_us; /* a context whose homes did not change for this long has not been drilled; 0: no bound */
    bool fresh;           /* the incarnation was begun just now: nobody can hold anything of it */
    bool restored;        /* from a backup: what was signed after it is not remembered, so its log ends */
    bool accept_isolated; /* with no peer reachable, begin a new incarnation instead of waiting … */
    uint64_t isolation_wait_us; /* … this long after the start */
    struct region_limits limits;
};

/* A log as it was found on disk at start. number is its place in the region's table: the own log is 0. */
struct region_log_found {
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct chain chain;       /* at its durable end */
    struct bytes checkpoint;  /* stored note, may be empty; borrowed during region_new */
    struct bytes signed_note; /* this region's own logs: the latest note that it remembers to have signed, kept apart
                               * from the log and perhaps ahead of it; may be empty; borrowed during region_new */
    const char *forked; /* why the log counts as forked: evidence of it was kept, and no operator has resolved it; NULL:
                         * it does not; borrowed during region_new */
};

struct region;

/* found[0] must be the own log, <cluster>/<region>/<incarnation>; the rest are mirrors, earlier incarnations of this
 * region among them. index: outlives the region. ERR_MISMATCH when a stored checkpoint is
 * not signed by the configured key or is ahead of the log; ERR_NO_MEMORY. */
int region_new(const struct region_config *config, const struct region_log_found *found, size_t found_count,
               struct index *index, struct region **ret, struct err *err) MUST_USE;
/* After region_new, before the first step: a block of a log with entries that the index has not applied, in order.
 * Their ids, and changes of homes among them, are the region's to remember. ERR_CORRUPT, ERR_BUSY, ERR_NO_MEMORY. */
int region_found_block(struct region *region, uint32_t log, const struct block *block, struct err *err) MUST_USE;
void region_free(struct region *region);

/* --- Events --- */

enum region_event_type {
    REGION_COMMAND,          /* a batch to decide */
    REGION_WRITTEN,          /* a write effect is durable: log, size */
    REGION_CHECKPOINT_SAVED, /* a save effect is durable: log, size */
    REGION_INDEXED,          /* the index applied a log up to size: log, size */
    REGION_PEER_HELLO,       /* a peer answered Hello */
    REGION_PEER_DOWN,        /* a call to a peer failed; err says why */
    REGION_PULL_CLOSED,      /* a pull of ours ended: peer, log; err says why */
    REGION_PULL_BLOCK,       /* a block came in on a pull of ours: peer, log, block */
    REGION_PULL_CHECKPOINT,  /* a note came in on a pull of ours: peer, log, note */
    REGION_ACKNOWLEDGED,     /* a peer that pulls from us has stored: peer, log, size, cosignature line (may be empty),
                                cosigned_size */
    REGION_WITNESSED,   /* a witness cosigned the own log's checkpoint of `size`: witness, note (its lines); size 0: it
                           fails, and is not to be waited for */
    REGION_GIVE_UP,     /* nobody waits for the command with `number` any more: if it only waits for copies, it is
                           answered with ERR_TIMEOUT */
    REGION_CERTIFICATE, /* the certificate that this region shows ends at certificate_end_s */
    REGION_TIMER,       /* the deadline of the last update was reached */
};

struct region_held {
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    uint64_t size;
    struct bytes checkpoint; /* note, may be empty */
    uint64_t obeyed;         /* changes of homes in it below this are obeyed there (lease.h); 0: none */
};

struct region_event {
    enum region_event_type type;
    struct time_now now;
    struct region_command *command;
    uint64_t number; /* GIVE_UP */
    size_t peer;     /* place in config.peers */
    size_t witness;  /* WITNESSED: place in config.witnesses */
    uint32_t log;
    uint64_t size;
    struct block *block; /* the region takes a reference of its own if it keeps it */
    struct bytes note;
    uint64_t cosigned_size;
    const struct err *err;
    const struct region_held *held; /* HELLO: logs the peer holds, already checked for cluster, protocol and contexts */
    size_t held_count;
    uint64_t asked_us;          /* HELLO: monotonic time of this region, from before the peer was asked */
    bool granted;               /* HELLO: the peer grants this region a lease (lease.h) */
    bool abstains;              /* HELLO: it grants none to the region that was asked about, and will not */
    uint64_t left_us;           /* HELLO: what it granted that region may be counted for so long */
    uint64_t certificate_end_s; /* HELLO, of the peer, as it says, and CERTIFICATE: Unix seconds; 0: it has none */
    uint64_t wall_us; /* HELLO: its wall clock when it answered, as it says, Unix microseconds; 0: it does not */
};

/* --- Effects --- */

/* What a hello asks about leases, beside one for the asker (lease.h). */
struct region_lease_question {
    char about[64];    /* the region that the peer is about to seize from; empty: none */
    uint64_t lease_us; /* of the context that it is about */
    bool abstain;      /* to grant that region no lease for a while */
};

enum region_effect_type {
    REGION_WRITE,           /* append `block` to log `log`; then REGION_WRITTEN with `size` */
    REGION_SAVE_CHECKPOINT, /* store `note` of log `log`; published or not; then REGION_CHECKPOINT_SAVED with `size` */
    REGION_ANSWER,          /* let go of `command` */
    REGION_CREATE_LOG,      /* make the folder of a mirror: log, origin; before any other effect on it */
    REGION_OPEN_PULL,       /* peer, log, from index `size` */
    REGION_CLOSE_PULL,      /* peer, log */
    REGION_SEND_ACK, /* on the pull peer/log: `size` stored, cosignature line in `note` (may be empty) for cosigned_size
                      */
    REGION_HELLO,    /* ask peer, with `question` */
    REGION_ALARM,    /* loud message for the operator; evidence in `note` (may be empty) */
    REGION_BEGIN_INCARNATION, /* the own log ended, `text` says why. Make the log of incarnation `size` durable (it may
                               * be there), then a new region that has it as its own, with config.fresh as in `fresh`;
                               * this one does nothing more */
};

struct region_effect {
    enum region_effect_type type;
    uint32_t log;
    size_t peer;
    uint64_t size;
    uint64_t cosigned_size;
    bool published;
    bool fresh;          /* BEGIN_INCARNATION: not one that a peer holds */
    bool fork;           /* ALARM: two histories of the log */
    struct block *block; /* the update's reference: retain to keep */
    struct buf note;     /* owned by the update */
    struct region_command *command;
    struct region_lease_question question;
    char text[TALLY_ERROR_MESSAGE_MAX_BYTES];
};

struct region_update {
    struct region_effect *effects;
    size_t effect_count;
    size_t effect_capacity;
    uint64_t deadline_mono_us; /* when REGION_TIMER is wanted next; UINT64_MAX: never */
};

void region_update_init(struct region_update *update);
void region_update_clear(struct region_update *update);
void region_update_free(struct region_update *update);

/* The step. ERR_NO_MEMORY: the event had no effect (a command is answered with it). Any other broken rule of input
 * shows as effects, never as a return. */
int region_step(struct region *region, const struct region_event *event, struct region_update *update,
                struct err *err) MUST_USE;

/* --- What a status page shows. Same thread as region_step; copies. --- */

enum region_log_state {
    REGION_LOG_WAITING,   /* own: waits to hear how much of it the peers hold */
    REGION_LOG_RESTORING, /* own: pulls back what peers hold and it has lost */
    REGION_LOG_ACCEPTING, /* own */
    REGION_LOG_MIRRORING, /* other's */
    REGION_LOG_FORKED,    /* stopped: evidence kept */
    REGION_LOG_RETIRED,   /* this region's, of an earlier incarnation: completed from peers, never appended to */
};

struct region_log_status {
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    enum region_log_state state;
    uint64_t size; /* durable */
    uint64_t indexed_size;
    uint64_t checkpoint_size;
    uint64_t published_size;
    uint64_t known_size;  /* largest size any peer is known to hold */
    uint64_t lost_from;   /* entries lost_from..lost_to-1 were signed, and nobody that was heard holds them; */
    uint64_t lost_to;     /* equal when none are */
    uint64_t queued_open; /* commands in it that wait for their homes, as far as the index has applied it */
    char detail[TALLY_ERROR_MESSAGE_MAX_BYTES];
};

struct region_peer_status {
    bool up;
    bool heard; /* ever, since the start */
    uint64_t last_contact_mono_us;
    uint64_t mirrored_size;     /* of the own log */
    uint64_t certificate_end_s; /* as it said last, Unix seconds; 0: it has none, or was never heard of */
    char error[TALLY_ERROR_MESSAGE_MAX_BYTES];
};

struct region_context_status {
    char name[ENTRY_NAME_MAX_BYTES + 1]; /* "": there is no context in this place now */
    bool away;                           /* fewer peers answer than its durability needs */
    uint64_t degraded_count;             /* writes since the start that were accepted on fewer copies */
    uint64_t ahead_events;               /* at this region alone; 0 when the context has no recovery point */
    uint64_t ahead_ms;                   /* since the oldest of them was accepted, as of the last step */
    bool past_bound;                     /* the recovery point is not kept, or writes were held back for it */
    bool lease_held;         /* of a fenced context: this region may accept where the context made it the home … */
    uint64_t lease_left_ms;  /* … for so long, if nobody grants it more … */
    uint32_t lease_granters; /* … because so many regions grant it, … */
    uint32_t lease_needed;   /* … of so many that must; 0: the context is not fenced */
    bool failover_ready;     /* a home is lost, and a failover would pass its checks */
    char advice[TALLY_ERROR_MESSAGE_MAX_BYTES]; /* a home is lost (failover: assisted): what to do; else empty */
};

size_t region_log_count(const struct region *region);
void region_log_status(const struct region *region, uint32_t log, struct region_log_status *ret);
void region_peer_status(const struct region *region, size_t peer, struct region_peer_status *ret);
/* context: a place of region_contexts. */
void region_context_status(const struct region *region, size_t context, struct region_context_status *ret);
/* The contexts as this region knows them: what it has applied. Same thread as region_step; lives as long as the region.
 */
const struct context_table *region_contexts(const struct region *region);
bool region_accepting(const struct region *region);
/* What an operator must see before a failover, and what stands against it. */
enum { REGION_CHECKS_MAX = 16, REGION_CHECK_DETAIL_MAX_BYTES = 300 };

struct region_check {
    const char *name; /* static */
    bool ok;
    bool passes_by_itself; /* it cannot be forced, and need not be */
    char detail[REGION_CHECK_DETAIL_MAX_BYTES];
};

struct region_lost_log {
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    uint64_t size; /* durable here */
    uint64_t indexed_size;
    uint64_t checkpoint_size;        /* covered by its signature */
    uint64_t known_size;             /* the largest that any region told */
    uint64_t held[REGION_PEERS_MAX]; /* by each peer, as it told */
};

struct region_failover_report {
    size_t peer; /* the region that is to be failed over from: place in config.peers */
    bool peer_up[REGION_PEERS_MAX];
    bool up;
    bool heard;
    uint64_t last_contact_us_ago;
    size_t log_count;
    struct region_lost_log logs[REGION_LOGS_MAX];
    size_t check_count;
    struct region_check checks[REGION_CHECKS_MAX];
    uint64_t partition_count; /* whose home it is, in the context, or that wait for it to take them */
    bool unfenced;            /* forced, its new home accepts without a lease */
};

/* Same thread as region_step. By what the peers said last; a failover that is decided asks them first. ERR_INVALID:
 * `from` is not a peer; ERR_NOT_FOUND: no such context. */
int region_failover_report(const struct region *region, struct bytes context, const char *from,
                           struct region_failover_report *ret, struct err *err) MUST_USE;

/* A home that does not answer, of a context whose failover is `automatic` (takeover.h). */
struct region_loss {
    char context[ENTRY_NAME_MAX_BYTES + 1];
    char region[64];
    const char *check; /* the first that a failover would fail, by what the peers said last; NULL: none; static */
    char detail[REGION_CHECK_DETAIL_MAX_BYTES]; /* of that check */
};
/* At most one a context, CONTEXT_PLACES_MAX in all; as of the last second or so. Same thread as region_step. */
size_t region_losses(const struct region *region, struct region_loss ret[CONTEXT_PLACES_MAX]);

/* How old a read of a partition may be here, against its home. */
#define REGION_STALENESS_UNKNOWN UINT64_MAX
struct region_freshness {
    uint64_t staleness_us; /* as of the last step; REGION_STALENESS_UNKNOWN: never heard of the home's log */
    bool at_home;
    char home[64]; /* the home that is furthest behind here */
    char home_address[REGION_ADDRESS_MAX_BYTES + 1];
};
/* partition empty: the worst of the context. Same thread as region_step. ERR_NOT_FOUND: no such context. */
int region_freshness(const struct region *region, struct bytes context, struct bytes partition,
                     struct region_freshness *ret, struct err *err) MUST_USE;
/* The same for the logs of one region. */
uint64_t region_log_staleness(const struct region *region, const char *home);
/* Whether an entry that may not be here is late if it is of this partition: its log's region is its home no more, and
 * it is at or past the basis of the epoch after; or its region is the home still, and a later life of it has left the
 * entry behind (domain/lives.h). false in a context that lets types be accepted anywhere: it may be of
 * one of these. */
bool region_tail_is_late(const struct region *region, struct bytes context, struct bytes partition, const char *home,
                         uint64_t incarnation, uint64_t index);

/* A peer says hello, and with it asks for a lease (lease.h). Same thread as region_step, and like it reads no clock;
 * changes only what the region remembers to have granted. */
struct region_lease_answer {
    bool granted;
    bool abstains; /* what was granted to that region has ended, and, if it was asked to, this one grants it none */
    uint64_t left_us;
    size_t log_count;
    uint64_t obeyed[REGION_LOGS_MAX]; /* by number of the log */
};
void region_lease_asked(struct region *region, struct time_now now, size_t peer,
                        const struct region_lease_question *question, struct region_lease_answer *ret);

/* Homes and epochs as this region knows them: what it has applied. Borrowed until the next region_step. */
const struct authority_table *region_authority(const struct region *region);
const char *region_log_state_name(enum region_log_state state);

#endif
