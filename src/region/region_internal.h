/* What the files of src/region share. Private. */
#ifndef REGION_REGION_INTERNAL_H
#define REGION_REGION_INTERNAL_H

#include "region/elsewhere.h"
#include "region/homes.h"
#include "region/lease.h"
#include "region/overlay.h"
#include "region/override.h"
#include "region/region.h"
#include "region/settle.h"
#include "replication/mirror.h"

enum {
    REGION_NO_PEER = REGION_PEERS_MAX,
    REGION_READY_BLOCKS_MAX = 4,              /* full blocks that wait behind the one being written */
    REGION_MIRROR_WRITES_MAX = 64,            /* blocks of one mirror that are being written */
    REGION_KEPT_NOTES_MAX = 8,                /* own checkpoints that may still be cosigned */
    REGION_WITNESS_WAIT_US = 2 * 1000 * 1000, /* that a checkpoint is held back for witnesses that answer */
    REGION_EFFECTS_SLACK = 512,
    REGION_BACKOFF_FIRST_US = 100 * 1000,
    REGION_BACKOFF_MAX_US = 5 * 1000 * 1000,
    REGION_PENALTY_US = 30 * 1000 * 1000,
};

#define REGION_NEVER UINT64_MAX

/* An own checkpoint, with the cosignatures that came in for it. */
struct kept_note {
    struct checkpoint checkpoint;
    struct buf note;       /* as signed */
    struct buf text;       /* its text alone, for checking cosignatures */
    struct buf cosigners;  /* their lines */
    uint32_t cosigned_by;  /* bit per peer */
    uint32_t witnessed_by; /* bit per witness */
    uint64_t signed_us;
    size_t cosigner_count;
};

enum save_kind { SAVE_NONE, SAVE_SIGNED, SAVE_PUBLISHED };

struct region_log {
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct origin parts; /* of the origin */
    size_t owner;        /* peer; REGION_NO_PEER for the own log and earlier incarnations of it */
    enum region_log_state state;
    char detail[TALLY_ERROR_MESSAGE_MAX_BYTES];
    struct mirror mirror; /* where it stands: made or received, not yet durable */
    uint64_t durable_size;
    uint64_t indexed_size;
    size_t writes_in_flight;
    struct checkpoint checkpoint; /* latest stored; size 0: none */
    uint64_t published_size;
    size_t published_cosigners;
    enum save_kind saving;
    struct checkpoint saving_checkpoint;
    struct buf pending; /* mirrors: a checked note that waits for its entries to be durable, or to be stored */
    struct checkpoint pending_checkpoint;
    bool cosignature_due;            /* mirrors: the stored checkpoint is to be cosigned */
    uint64_t held[REGION_PEERS_MAX]; /* what each peer is known to hold */
    uint64_t start_size;             /* what its owner had when this region first met it */
    uint64_t known_size; /* largest size that its key signed, as far as this region has seen: incarnation.c */
    uint64_t met_size;   /* what its owner had when it last came up */
    bool told;           /* its owner said, when asked at told_us, that it has told_size entries */
    uint64_t told_size;
    uint64_t told_us;
    bool fresh; /* all that its owner had at fresh_us is indexed here: freshness.c */
    uint64_t fresh_us;
    /* The pull, for logs that are pulled. */
    size_t source;                  /* REGION_NO_PEER: none */
    bool closing[REGION_PEERS_MAX]; /* a pull that was closed has not reported so yet */
    uint64_t blocked_until_us[REGION_PEERS_MAX];
    uint64_t retry_at_us;
    uint64_t backoff_us;
    bool waits_for_payloads; /* said so: only peers that lack payloads which belong here hold more of it */
};

/* Far past every date, and small enough to be reckoned with. */
#define PEER_WALL_MAX_US ((uint64_t)1 << 62)

struct region_peer {
    bool up;
    bool heard;
    bool reported; /* answered or failed at least once since the start */
    bool hello_outstanding;
    bool log_refused; /* it was said that a log which it names is not kept */
    uint64_t next_hello_us;
    uint64_t last_contact_us;
    uint64_t certificate_end_s;
    uint64_t wall_us;  /* its wall clock, as it said last, at most PEER_WALL_MAX_US; 0: it has not said … */
    uint64_t asked_us; /* … at a moment between these two, by the monotonic clock here */
    uint64_t told_us;
    char error[TALLY_ERROR_MESSAGE_MAX_BYTES];
};

/* Accepted commands that wait for one number of copies: in the order of acceptance. */
struct region_waiting {
    struct region_command *first;
    struct region_command *last;
};

struct bound; /* bounds.c */

/* What the region knows about a context beside its policy. */
struct context_state {
    bool away; /* fewer peers answer than its durability needs */
    uint64_t degraded_count;
    struct bound *bound; /* NULL: no recovery point */
    bool had_lease;
    bool ready;                                 /* a failover would pass its checks */
    char advice[TALLY_ERROR_MESSAGE_MAX_BYTES]; /* a home is lost: what to do; else empty */
    size_t lost;                                /* that home: place among the peers */
    struct region_check failed;                 /* the first check that stands against a failover; name NULL: none */
};

/* A failover that waits for what the peers say to it (inquiry.c). */
struct inquiry {
    struct region_command *command; /* NULL: none */
    uint64_t started_us;
    struct region_lease_question question;
    bool awaited[REGION_PEERS_MAX];
    bool answered[REGION_PEERS_MAX];
    bool abstains[REGION_PEERS_MAX];
    uint64_t asked_us[REGION_PEERS_MAX];
    uint64_t left_us[REGION_PEERS_MAX];
};

/* A handover (handover.c): what was let go of, a group at a time, and is not taken yet. */
enum { HANDOVER_GROUP = 128, HANDOVER_GROUPS_OPEN = 2 };

struct moving_group {
    char context[ENTRY_NAME_MAX_BYTES + 1];
    char partition[ENTRY_NAME_MAX_BYTES + 1]; /* its last one */
    uint64_t epoch;
};

struct moving {
    struct region_command *command; /* NULL: none */
    uint64_t started_us;
    size_t at; /* how far the partitions were looked through */
    struct moving_group groups[HANDOVER_GROUPS_OPEN];
    size_t group_count;
};

struct region {
    struct region_config config;
    struct index *index;
    struct sha256 *sha;
    struct buf encoded;      /* the entry that is being appended; kept, so that each need not ask for memory */
    struct keyring own_keys; /* of the own log and its earlier incarnations */
    size_t key_changes_told; /* of config.key_changes: known to be in a log */
    struct overlay overlay;
    struct homes homes;
    struct leases leases;
    struct inquiry inquiry;
    struct moving moving;
    uint64_t certificate_end_s; /* of this region; 0: no TLS */
    uint64_t assist_at_us;      /* when assist.c looks next */
    struct settles settles;
    struct kept_commands kept_commands;
    struct region_log *logs[REGION_LOGS_MAX]; /* 0 is the own one */
    size_t log_count;
    uint32_t own_index_log; /* the index's number of the own log */
    struct region_peer peers[REGION_PEERS_MAX];
    uint64_t later_incarnation; /* largest that a peer holds of this region, above the own one; 0: none */
    bool started;
    uint64_t started_us;

    hlc last_time;
    struct block *open_block;
    struct block *ready[REGION_READY_BLOCKS_MAX];
    size_t ready_count;
    struct region_waiting waiting[REGION_PEERS_MAX + 1]; /* by the copies that they need beside the own disk */
    struct region_waiting waiting_for_some;              /* those that not every peer's copy counts for */
    size_t pending_count;                                /* of all lists */
    uint64_t counted[REGION_PEERS_MAX];                  /* entries of the own log that count as stored by a peer */
    bool met[REGION_PEERS_MAX];                          /* since it last came up */
    struct context_state *states;                        /* by place in region_contexts */

    struct kept_note kept[REGION_KEPT_NOTES_MAX]; /* ring, newest last */
    size_t kept_count;
    uint32_t witnesses_up; /* bit per witness: its last answer was a cosignature */
    uint64_t last_signed_us;
    struct time_now now;
};

static inline struct region_log *region_own(const struct region *region)
{
    return region->logs[0];
}

/* update.c. Room for the step's effects was made before: never fails. */
int region_update_reserve(struct region_update *update, size_t count, struct err *err) MUST_USE;
struct region_effect *region_add(struct region_update *update, enum region_effect_type type);
void region_alarm(struct region_update *update, uint32_t log, struct bytes evidence, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* command.c: the next events of a command, as look-ups to announce (index_ahead). The cursor, zeroed at the start, is
 * where they end. Returns how many. */
enum { COMMAND_AHEAD_EVENTS = 16 }; /* enough to wait for memory once, few enough to be in the cache when wanted */
struct command_cursor {
    size_t write;
    size_t event;
};
size_t command_ahead(const struct region_command *command, struct command_cursor *cursor,
                     struct index_asked ret[COMMAND_AHEAD_EVENTS]);

/* sequencer.c */
void sequencer_command(struct region *region, struct region_command *command, struct region_update *update);
void sequencer_written(struct region *region, uint64_t size, struct region_update *update);
/* Decides a command now; it is answered, or waits for its ticket. */
void sequencer_decide(struct region *region, struct region_command *command, struct region_update *update);
/* It was decided: with 0 it is answered when its ticket stands on its copies, else at once. */
void sequencer_finish(struct region *region, struct region_command *command, int code, struct region_update *update);

/* failover.c: what the caller knows of projections that are stale; NULL: none is. */
void failover_add_projections(struct region_failover_report *report, const char *behind);

/* control.c: an operator's failover; control->changed and ->remaining, and command->ticket on success. */
int control_seize(struct region *region, struct region_command *command, struct region_update *update) MUST_USE;
/* Whether there is such a context, and not too much is asked. */
int control_check(const struct region *region, const struct region_control *control, struct err *err) MUST_USE;
/* 0 if the command is forced, and has a reason; else ERR_UNAVAILABLE with what stands against it. */
int control_check_forced(const struct region_control *control, const char *what, struct err *err) MUST_USE;
/* Why the command is not about this partition. */
int control_refuse(const struct region *region, const struct region_control *control, struct bytes partition,
                   struct err *err) MUST_USE;

/* handover.c */
/* 0: it is under way, or was answered. */
int handover_begin(struct region *region, struct region_command *command, struct region_update *update) MUST_USE;
/* At each step. */
void handover_move(struct region *region, struct region_update *update);
uint64_t handover_deadline_us(const struct region *region);

/* assist.c: at each step. */
void assist_watch(struct region *region, struct region_update *update);

/* inquiry.c */
/* False: the command is to be decided, or refused, without asking. */
bool inquiry_begin(struct region *region, struct region_command *command, struct region_update *update);
void inquiry_heard(struct region *region, const struct region_event *event);
/* At each step: decides when everybody has answered that is waited for. */
void inquiry_move(struct region *region, struct region_update *update);
uint64_t inquiry_deadline_us(const struct region *region);

/* durability.c: the policies of contexts, and waiting for copies. */
int policies_init(struct region *region, struct err *err) MUST_USE;
void policies_free(struct region *region);
/* At the end of each step: alarms for what contexts cannot keep. */
void policies_watch(struct region *region, struct region_update *update);
/* How many copies the command needs for this write: raises command->copies, or sets degraded. ERR_UNAVAILABLE. */
int durability_decide(const struct region *region, struct region_command *command,
                      const struct region_stream_write *write, bool repetition) MUST_USE;
/* An event of the command is in a log already: what must hold before the answer. ERR_UNAVAILABLE. */
int durability_repetition(struct region *region, struct region_command *command,
                          const struct index_place *place) MUST_USE;
/* Keeps an accepted command until its ticket stands on its copies. */
void durability_wait(struct region *region, struct region_command *command);
/* An accepted command enters the counters of its contexts. */
void durability_count(struct region *region, const struct region_command *command);
/* Before an accepted command is answered: whether what it appended, or repeats, counts. ERR_WRONG_HOME: it is late by
 * what is known here; ERR_UNAVAILABLE: it may be, for want of a lease. */
int durability_confirm(struct region *region, struct region_command *command) MUST_USE;
void durability_release(struct region *region, struct region_update *update);
void durability_give_up(struct region *region, uint64_t number, struct region_update *update);
/* The size of the own log that is durable here and on `copies` peers, those in `lacking` (a bit each) left out. */
uint64_t durability_copied(const struct region *region, uint32_t copies, uint32_t lacking);
/* The peers that may not hold the context's payloads: their copies do not count. */
uint32_t durability_lacking(const struct region *region, const struct context *context);

/* bounds.c: recovery points. */
void bounds_free(struct region *region);
/* While the region accepts, at the end of each step: contexts get and lose recovery points. What lacks memory is tried
 * again. */
void bounds_follow(struct region *region);
/* Whether a batch that is decided otherwise keeps within the recovery points. ERR_BUSY, ERR_UNAVAILABLE,
 * ERR_TOO_LARGE (it never could). */
int bounds_decide(struct region *region, struct region_command *command) MUST_USE;
void bounds_watch(struct region *region, size_t at, struct region_update *update);
void bounds_status(const struct region *region, size_t at, struct region_context_status *ret);

/* freshness.c: how old a read here may be. */
void freshness_hello(struct region *region, size_t peer, uint64_t asked_us);
void freshness_update(struct region *region);

/* Where an event is, if it was seen before. */
struct sighting {
    bool seen;
    bool own_pending; /* in the own log, and not durable yet */
    bool commutative;
    uint64_t stream_version;
    uint64_t fingerprint;
    struct index_place place;
};
/* late_too: also where it has no effect. */
int sequencer_look(struct region *region, const struct region_command *command, const struct region_new_event *event,
                   bool late_too, struct sighting *ret, struct err *err) MUST_USE;
/* What is seen is a repetition: its result, and the command's ticket. ERR_ID_REUSED. */
int sequencer_repeat(struct region_command *command, const struct region_new_event *event,
                     const struct sighting *sighting, struct region_result *result) MUST_USE;
/* Appends an event at the end of the own log: its result, and the command's ticket. On failure the caller takes back.
 */
int sequencer_append(struct region *region, struct region_command *command, const struct region_stream_write *write,
                     const struct region_new_event *event, uint32_t flags, uint64_t stream_version, uint64_t epoch,
                     struct region_result *result) MUST_USE;

/* A control event to append. */
struct control_event {
    enum control_kind kind;
    struct bytes context;
    struct bytes partition;
    uint64_t epoch;
    struct bytes payload;
    struct bytes causation_id; /* may be empty */
    const uint8_t *id;         /* ENTRY_ID_SIZE bytes; NULL: one that follows from its place */
    const uint8_t *salt;       /* ENTRY_SALT_SIZE bytes; likewise */
};
/* Whether `count` control events with payloads of at most payload_max_bytes fit the open block now, sealing it if need
 * be. ERR_BUSY, ERR_NO_MEMORY. */
int sequencer_control_room(struct region *region, size_t count, size_t payload_max_bytes, struct err *err) MUST_USE;
/* Appends one at the end of the own log, after sequencer_control_room. On failure nothing has changed. */
int sequencer_control(struct region *region, const struct control_event *event, struct err *err) MUST_USE;
/* Whether the command's writes and `controls` control events with payloads of at most payload_max_bytes fit the open
 * block now, sealing it if need be. ERR_TOO_LARGE, ERR_BUSY, ERR_NO_MEMORY. */
int sequencer_room(struct region *region, const struct region_command *command, size_t controls,
                   size_t payload_max_bytes, struct err *err) MUST_USE;
/* Decides one write of a command: results for each of its events and the command's ticket, or the refusal. On failure
 * the caller takes back. */
int sequencer_write(struct region *region, struct region_command *command, struct region_stream_write *write,
                    struct region_result *results) MUST_USE;
/* Decides all writes of a command, and whether it keeps within the recovery points. On failure the caller takes back.
 */
int sequencer_writes(struct region *region, struct region_command *command) MUST_USE;
/* Lets the open block go out if nothing is in flight. */
void sequencer_flush(struct region *region, struct region_update *update);
/* Where the own log's end and all that belongs to it stands, and back to it. */
struct sequencer_mark {
    struct chain chain;
    hlc last_time;
    uint32_t entry_count;
    uint32_t size_bytes;
};
struct sequencer_mark sequencer_mark(const struct region *region);
void sequencer_take_back(struct region *region, const struct sequencer_mark *mark);

/* contexts.c */
/* Decides a command that creates or changes a context: command->define->version, and the ticket. */
int contexts_define(struct region *region, struct region_command *command) MUST_USE;

/* checkpoint.c: signing, storing and publishing. */
void checkpoint_written(struct region *region, uint32_t log, struct region_update *update); /* may sign or store now */
/* At the end of each step: what is due and could not be done before, for want of memory or of a pull. */
void checkpoint_resume(struct region *region, struct region_update *update);
void checkpoint_saved(struct region *region, uint32_t log, struct region_update *update);
void checkpoint_received(struct region *region, uint32_t log, size_t peer, struct bytes note,
                         struct region_update *update);
void checkpoint_cosigned(struct region *region, size_t peer, uint64_t size, struct bytes lines,
                         struct region_update *update);
void checkpoint_witnessed(struct region *region, size_t witness, uint64_t size, struct bytes lines,
                          struct region_update *update);
/* A note that a peer holds of a log: only looked at for a fork, and for its size. */
void checkpoint_compare(struct region *region, uint32_t log, struct bytes note, struct region_update *update);
/* The keys of the log's region. */
const struct keyring *checkpoint_keys_of(const struct region *region, size_t owner);
/* checkpoint_open with the keys of the log's region, under the name that this incarnation gives them. */
int checkpoint_open_of(const struct region *region, const struct region_log *log, struct bytes note,
                       struct checkpoint *ret, struct err *err) MUST_USE;
uint64_t checkpoint_deadline_us(const struct region *region);
void kept_note_free(struct kept_note *kept);

/* pulls.c: mirrors and their sources. */
void pulls_block(struct region *region, const struct region_event *event, struct region_update *update);
void pulls_written(struct region *region, uint32_t log, uint64_t size, struct region_update *update);
void pulls_closed(struct region *region, const struct region_event *event, struct region_update *update);
/* Opens, moves and closes pulls as peers come and go. */
void pulls_choose(struct region *region, struct region_update *update);
void pulls_stop(struct region *region, uint32_t log, struct region_update *update);
/* Stops, and asks again after a pause: for want of memory or room. */
void pulls_pause(struct region *region, uint32_t log, struct region_update *update);
uint64_t pulls_deadline_us(const struct region *region);
/* A context whose payloads in this log belong here and not to the peer, so that it cannot give the log whole; NULL:
 * there is none. */
const char *pulls_lack(const struct region *region, const struct region_log *log, size_t peer);

/* peers.c */
/* Says hello now, whatever is under way. */
void peers_ask(struct region *region, size_t peer, struct region_update *update);
void peers_said_hello(struct region *region, const struct region_event *event, struct region_update *update);
void peers_went_down(struct region *region, const struct region_event *event, struct region_update *update);
void peers_acknowledged(struct region *region, const struct region_event *event, struct region_update *update);
void peers_timer(struct region *region, struct region_update *update);
uint64_t peers_deadline_us(const struct region *region);
/* After the own log grew, or peers told what they hold: whether it may accept. */
void peers_decide(struct region *region, struct region_update *update);

/* keys.c: what the log must tell of the region's keys. At the end of each step. */
void keys_tell(struct region *region, struct region_update *update);

/* incarnation.c: see the essay there. */
/* Whether a log that a peer names, and that is not held, is to be kept here. Remembers a later one of this region. */
bool incarnation_welcome(struct region *region, const struct region_held *held, const struct origin *origin,
                         size_t owner, size_t peer);
/* The log's key has signed this size. */
void incarnation_note_seen(struct region_log *log, uint64_t size);
/* Every peer failed or answered, and none has told: true when the policy and the time say that a new incarnation
 * begins, which it does if there is a place for it. */
bool incarnation_isolated(struct region *region, struct region_update *update);
/* The peers have told and the own log holds what they hold: true when a peer holds one of a later life, which is begun.
 */
bool incarnation_taken_over(struct region *region, struct region_update *update);
/* The same, and earlier logs hold what they hold, too: true when it must not be gone on with (now or for ever). */
bool incarnation_must_end(struct region *region, struct region_update *update);
/* Nothing is in the way of accepting: whether the own log has said what it continues. If not, it does now, or what it
 * waits for is in its status. */
bool incarnation_continued(struct region *region, struct region_update *update);
uint64_t incarnation_deadline_us(const struct region *region);
/* The range that is known to have existed and that nobody heard of holds. */
bool incarnation_lost(const struct region *region, uint32_t log, uint64_t *ret_from, uint64_t *ret_to);
void incarnation_report(struct region *region, struct region_update *update);

/* region.c */
/* Whose log this is, of this cluster: a peer's, or this region's (REGION_NO_PEER). ERR_MISMATCH. */
int region_owner_of(const struct region *region, const char *origin_text, const struct origin *origin, size_t *ret_peer,
                    struct err *err) MUST_USE;
int region_log_new(struct region *region, const char *origin, const struct chain *chain, uint32_t *ret_log,
                   struct err *err) MUST_USE;
void region_fork(struct region *region, uint32_t log, struct bytes evidence, struct region_update *update,
                 const char *format, ...) PRINTF_LIKE(5, 6);
/* An alarm that shows in the log's status too, and is not repeated while it shows. */
void region_warn(struct region *region, uint32_t log, struct bytes evidence, struct region_update *update,
                 const char *format, ...) PRINTF_LIKE(5, 6);

#endif
