/* Tallystick's C client: append events, read and follow logs, ask a region how it is.
 *
 * Link with libclient, libentry, libcrypto, libbase of this repository, protobuf-c, grpc and gpr.
 *
 * Conventions of every function here:
 *  - int results are 0 or a code of tally/error.h. `err` may be NULL; otherwise it gets a message for a person. On
 * failure outputs stay as they were.
 *  - Times are milliseconds; timeout_ms 0 waits for ever. Sizes are bytes. Texts are NUL-terminated UTF-8; NULL counts
 * as empty.
 *  - What a function hands out through `ret` is the caller's to release with the function named beside it. What is
 * given to a function is only borrowed until it returns.
 *  - Errors that any call may return: ERR_UNAVAILABLE (nobody there, or the region is not accepting: retry after a
 * pause), ERR_TIMEOUT (whether it took effect is unknown: append again with the same ids), ERR_BUSY (retry after a
 * pause), ERR_CORRUPT (an answer that cannot be right), ERR_TOO_LARGE, ERR_NO_MEMORY, ERR_IO (the server failed
 * inside).
 *  - A client may be used by any number of threads; an appender by one that sends and one that receives; a reader by
 * one, and cancel by any. */
#ifndef TALLY_CLIENT_H
#define TALLY_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tally/error.h"

enum {
    TALLY_ID_SIZE = 16,
    TALLY_BATCH_EVENTS_MAX = 10000,
    TALLY_BATCH_MAX_BYTES = 4 * 1024 * 1024,
    TALLY_NAME_MAX_BYTES = 255,
    TALLY_STREAM_MAX_BYTES = 512,
    TALLY_METADATA_MAX_BYTES = 4096,
    TALLY_PAYLOAD_MAX_BYTES = 1024 * 1024,
    TALLY_IN_FLIGHT_MAX = 32, /* batches that an appender may have sent and not yet received */
};

struct tally_bytes {
    const void *data; /* may be NULL when size is 0 */
    size_t size;
};

/* --- Connecting --- */

struct tally_client;

/* address is "host:port". Connects when first used, and again by itself after a loss. ERR_INVALID for a malformed
 * address. */
int tally_client_open(const char *address, struct tally_client **ret, struct err *err);

/* Paths of PEM files, all three needed: whom to believe, and what to show. */
struct tally_tls {
    const char *ca_file;   /* the CAs, one of which must have signed the region's certificate */
    const char *cert_file; /* the client's certificate, and those between it and the CA */
    const char *key_file;  /* its private key, without a passphrase; not for everybody to read */
};
/* The same for a region that speaks TLS (`tls:` in its tallyd.yaml). The region's certificate must be for the host in
 * the address. Files that are replaced are used from the next connection on. tls is borrowed until it returns. Errors,
 * each with the name of the file: ERR_NOT_FOUND, ERR_INVALID (no PEM), ERR_MISMATCH (the key is not the certificate's,
 * or the CA did not sign it), ERR_PERMISSION (expired, not valid yet, or a key that everybody can read). */
int tally_client_open_tls(const char *address, const struct tally_tls *tls, struct tally_client **ret, struct err *err);
/* What a region does with a batch of tally_append when another region is the home. */
enum tally_at_wrong_home {
    TALLY_REDIRECT, /* it refuses with ERR_WRONG_HOME and the home's address: this is how a client begins */
    TALLY_FORWARD,  /* it passes the batch on to the home */
    TALLY_OVERRIDE, /* it accepts the batch as an emergency, without effect on its streams until the home settles it:
                     * all writes of one partition, expecting TALLY_ANY, of event types that the context marks; else
                     * ERR_PERMISSION. tally_client_set_override says why */
    TALLY_QUEUE, /* it keeps the batch, durably, until the home has decided it: the answer has a ticket and no results.
                  * All writes of one partition, at most 1,000 events and 512 KiB; ERR_BUSY when it keeps too many */
};
/* An appender's batches are always redirected. Any thread. */
void tally_client_set_at_wrong_home(struct tally_client *client, enum tally_at_wrong_home at_wrong_home);
/* Who overrides, and why, for TALLY_OVERRIDE: it stays in the log. Both are borrowed and outlive the client. Not while
 * others append. */
void tally_client_set_override(struct tally_client *client, const char *actor, const char *reason);
/* After everything opened on it was closed. NULL is fine. */
void tally_client_close(struct tally_client *client);

/* --- Appending --- */

/* id is the key of idempotency, cluster-wide and for ever: appending the same event again answers where it is; other
 * content under the same id is ERR_ID_REUSED. A UUID of version 7 is best. */
struct tally_event {
    uint8_t id[TALLY_ID_SIZE];
    const char *type; /* required */
    const char *content_type;
    struct tally_bytes metadata; /* crosses borders: no personal data */
    struct tally_bytes payload;
    const uint8_t *causation_id;   /* NULL or TALLY_ID_SIZE bytes */
    const uint8_t *correlation_id; /* NULL or TALLY_ID_SIZE bytes */
};

enum tally_expectation {
    TALLY_ANY,       /* append whatever is there */
    TALLY_NO_STREAM, /* the stream must not exist */
    TALLY_EXISTS,    /* the stream must exist */
    TALLY_VERSION,   /* its last event must have expected_version (from 0) */
};

/* Events for one stream. A batch may name a stream once. */
struct tally_write {
    const char *context;
    const char *partition;
    const char *stream;
    enum tally_expectation expected;
    uint64_t expected_version;
    const struct tally_event *events;
    size_t event_count; /* at least 1 */
};

/* Why the server refused, as far as it said. Texts are empty where they do not apply. */
struct tally_refusal {
    uint32_t write_number; /* which write of the batch, from 0 */
    char context[TALLY_NAME_MAX_BYTES + 1];
    char partition[TALLY_NAME_MAX_BYTES + 1];
    char stream[TALLY_STREAM_MAX_BYTES + 1];
    char expected[32];       /* ERR_VERSION_CONFLICT: "any", "none", "exists" or a version */
    char actual[32];         /* ERR_VERSION_CONFLICT: "none" or a version */
    uint64_t retry_after_ms; /* ERR_BUSY at a recovery point: a pause that helps; 0: not said */
    char home_region[64];    /* ERR_WRONG_HOME */
    char home_address[256];  /* ERR_WRONG_HOME: host:port */
    bool has_event_id;       /* ERR_ID_REUSED */
    uint8_t event_id[TALLY_ID_SIZE];
};

struct tally_result {
    const char *origin; /* of the log that holds the event */
    uint64_t index;     /* in that log */
    uint64_t stream_version;
    bool duplicate;   /* it was there already */
    bool commutative; /* accepted by whatever region it was sent to: it has no stream version */
};

/* What became of one batch. Everything in it lives until tally_answer_free. */
struct tally_answer {
    uint64_t tag;
    struct err
        err; /* code 0: appended. Otherwise nothing of the batch was appended; only the refusal below is meaningful */
    struct tally_refusal refusal;
    const char *position; /* a read that demands it sees at least this append */
    bool degraded;        /* on fewer copies than its contexts ask for: that many peers did not answer */
    uint32_t copies;      /* peers that had stored it, as far as they were waited for */
    bool overridden;      /* accepted as emergency overrides: open until the home settles them */
    const char *ticket;   /* "" unless it is kept for its home: tally_ticket_get tells what becomes of it */
    size_t result_count;  /* one an event, in the order of the batch; 0 with a ticket */
    const struct tally_result *results;
};
void tally_answer_free(struct tally_answer *answer);

/* One batch, all or nothing; returns when it is durable. Refusals are the return code: ERR_VERSION_CONFLICT,
 * ERR_WRONG_HOME, ERR_ID_REUSED, ERR_INVALID, ERR_TOO_LARGE, ERR_NOT_FOUND (no such context); *ret_refusal (may be
 * NULL) is then filled. */
int tally_append(struct tally_client *client, const struct tally_write *writes, size_t write_count, uint64_t timeout_ms,
                 struct tally_answer **ret, struct tally_refusal *ret_refusal, struct err *err);

/* Many batches without waiting for each answer. Answers come in the order of the batches. Send from one thread and
 * receive in another, or from one thread with at most TALLY_IN_FLIGHT_MAX batches unanswered. After a failure close the
 * appender, open a new one, and send everything unanswered again: ids make that safe. A batch that is refused does not
 * hold back those sent after it. */
struct tally_appender;
int tally_appender_open(struct tally_client *client, struct tally_appender **ret, struct err *err);
/* Waits for flow control. tag comes back with the answer. ERR_UNAVAILABLE when the call has ended: receive tells why.
 */
int tally_appender_send(struct tally_appender *appender, const struct tally_write *writes, size_t write_count,
                        uint64_t tag, struct err *err);
/* No more batches will come; answers still do. Once. */
int tally_appender_finish(struct tally_appender *appender, struct err *err);
/* Waits for the next answer, *ret is the caller's: a refused batch is an answer with answer->err set, not an error.
 * ERR_END after the last one. */
int tally_appender_receive(struct tally_appender *appender, struct tally_answer **ret, struct err *err);
/* Any thread: pending and later calls fail with ERR_CANCELLED. */
void tally_appender_cancel(struct tally_appender *appender);
/* Nobody may be in send or receive. NULL is fine. */
void tally_appender_close(struct tally_appender *appender);

/* --- Tickets --- */

/* A batch that a region keeps, or kept, for its home. */
struct tally_ticket {
    const char *ticket;
    const char *state; /* "queued", "accepted", "refused" */
    const char *context;
    const char *partition;
    uint8_t command_id[TALLY_ID_SIZE]; /* the causation id of the verdict's entry */
    uint64_t time_unix_ms;             /* when it was queued */
    uint64_t event_count;
    const char *home;            /* as the region knows it */
    const char *decision_origin; /* of the log that holds the verdict; "" while it is queued */
    uint64_t decision_index;
    const char *position; /* a read that demands it sees the verdict and what was appended with it */
    size_t result_count;  /* accepted: one an event, in the order of the batch; origin "" when it was there before and
                             has not reached the region */
    const struct tally_result *results;
    struct err refusal; /* refused: why */
};
/* Asks any region that holds it, and waits there up to wait_ms until it is decided (0: not at all). ERR_NOT_FOUND: it
 * has not reached the region, or is no ticket; ERR_INVALID. *ret: tally_ticket_free. */
int tally_ticket_get(struct tally_client *client, const char *ticket, uint64_t wait_ms, uint64_t timeout_ms,
                     struct tally_ticket **ret, struct err *err);
void tally_ticket_free(struct tally_ticket *ticket);

struct tally_tickets {
    size_t count;
    const struct tally_ticket *tickets; /* without home, results and the message of the refusal */
    const char *next;                   /* "": this was the last page */
};
/* One page, after a ticket (NULL: from the start), in the order of logs and their entries. *ret: tally_tickets_free. */
int tally_tickets_list(struct tally_client *client, bool open_only, const char *after, uint64_t timeout_ms,
                       struct tally_tickets **ret, struct err *err);
void tally_tickets_free(struct tally_tickets *tickets);

/* --- Reading --- */

/* An entry of a log with its payload. Everything in it lives until the next call on the reader. Texts here are bytes
 * without a NUL. */
struct tally_recorded {
    const char *origin;
    uint64_t index;
    uint64_t time_unix_ms;
    uint32_t time_counter; /* orders entries within one millisecond */
    uint8_t event_id[TALLY_ID_SIZE];
    struct tally_bytes context;
    struct tally_bytes partition;
    struct tally_bytes stream;
    uint64_t stream_version;
    struct tally_bytes type;
    uint64_t epoch;
    bool control;     /* appended by the system, not by a client */
    bool override;    /* an emergency, accepted away from home: no version, and no effect until the home has decided */
    bool commutative; /* accepted by whatever region it was sent to: no version, and no epoch */
    struct tally_bytes causation_id;
    struct tally_bytes correlation_id;
    struct tally_bytes content_type;
    struct tally_bytes metadata;
    bool payload_held; /* false: withheld from this region, or erased */
    uint64_t payload_size;
    struct tally_bytes payload;
    struct tally_bytes entry; /* the bytes that are hashed */
};

struct tally_reader;

enum tally_item { TALLY_ITEM_EVENT, TALLY_ITEM_CAUGHT_UP };

/* What a read insists on. */
struct tally_demand {
    const char *at_least;      /* a position, as an append answers it: wait until all of it is there. ERR_MISMATCH: its
                                  last entry is late, a failover has overtaken it; ERR_TIMEOUT */
    uint64_t max_staleness_ms; /* ERR_UNAVAILABLE when the answer may be older; 0: any age */
    bool home_only;            /* ERR_WRONG_HOME anywhere but at the home */
    uint64_t timeout_ms;       /* of the wait; 0: 30,000 */
};

struct tally_range {
    uint64_t from; /* version or index of the first one wanted */
    bool from_end; /* start at the last one instead: for reading backwards */
    bool backwards;
    uint64_t limit; /* events; 0 is no limit */
    bool loose;     /* streams, forwards: then events without a version: commutative ones, and overrides that are not
                       decided */
    const struct tally_demand *demand; /* NULL: whatever is there */
    uint64_t timeout_ms; /* of each wait for the server, beyond the demand's: then ERR_TIMEOUT; 0: no limit */
};

int tally_read_stream(struct tally_client *client, const char *context, const char *stream,
                      const struct tally_range *range, struct tally_reader **ret, struct err *err);
/* origin NULL: the region's own log. */
int tally_read_log(struct tally_client *client, const char *origin, const struct tally_range *range,
                   struct tally_reader **ret, struct err *err);
/* From a position (NULL: from the start) for ever: every entry once, in order within its log. context and stream (with
 * context) narrow it. */
int tally_subscribe(struct tally_client *client, const char *position, const char *context, const char *stream,
                    struct tally_reader **ret, struct err *err);
/* Waits for the next item. TALLY_ITEM_CAUGHT_UP comes once in a subscription, when its live part begins, and leaves
 * *ret as it was. ERR_END when everything asked for was read; ERR_NOT_FOUND, ERR_INVALID, … as the server said. */
int tally_reader_next(struct tally_reader *reader, enum tally_item *ret_item, struct tally_recorded *ret,
                      struct err *err);
/* Subscriptions: where to go on later. It never covers an event that tally_reader_next has not returned; it may be a
 * few events behind. Valid until the next call on the reader. */
const char *tally_reader_position(const struct tally_reader *reader);
/* How old the answer to a read with a demand may be; NULL before the first tally_reader_next, and for others. Lives as
 * long as the reader. */
struct tally_as_of {
    const char *position; /* that the read reflects, at least */
    uint64_t staleness_ms;
    bool staleness_unknown; /* the region has not heard of the home since its start */
    const char *home;       /* that staleness is against */
};
const struct tally_as_of *tally_reader_as_of(const struct tally_reader *reader);
/* Any thread: makes a waiting tally_reader_next fail with ERR_CANCELLED. */
void tally_reader_cancel(struct tally_reader *reader);
void tally_reader_close(struct tally_reader *reader);

/* --- Receipts --- */

/* The proof that an event is in a log (c2sp.org/tlog-proof@v1): text that anybody with the log's public key can check,
 * for ever and without a server. */
struct tally_receipt {
    const char *origin; /* of the log that holds the event */
    uint64_t index;     /* in that log */
    struct tally_bytes text;
};
/* Waits, at most wait_ms (0: 30,000), until a published checkpoint covers the event: ERR_TIMEOUT. ERR_NOT_FOUND when
 * the region has no such event. *ret: tally_receipt_free. */
int tally_prove(struct tally_client *client, const uint8_t event_id[TALLY_ID_SIZE], uint64_t wait_ms,
                struct tally_receipt **ret, struct err *err);
void tally_receipt_free(struct tally_receipt *receipt);

/* --- Status --- */

struct tally_log_status {
    const char *origin;
    bool own;
    uint64_t size; /* durable entries here */
    uint64_t indexed_size;
    uint64_t checkpoint_size; /* signed by the log's own key */
    uint64_t published_size;  /* also cosigned by peers */
    uint64_t lag;             /* entries that the source is known to have and this region has not */
    uint64_t lost_from;       /* entries lost_from to lost_to - 1 were signed, and nobody that was heard of … */
    uint64_t lost_to;         /* … holds them; equal when there are none */
    uint64_t queued_open;     /* commands in it that wait for their homes, as far as the index has applied it */
    const char *state;
    const char *detail;
};

struct tally_peer_status {
    const char *region;
    const char *address;
    bool connected;
    uint64_t last_contact_ms_ago;
    const char *error;
    uint64_t mirrored_size; /* of this region's own log, acknowledged by the peer */
    uint64_t lag;
    uint64_t certificate_end_s; /* Unix seconds; 0: it has none, or was not heard of */
};

struct tally_home {
    const char *partition;
    const char *region;
};

struct tally_context_status {
    const char *name;
    const char *default_home;
    size_t home_count;
    const struct tally_home *homes;
    uint32_t durability_peers; /* that must have stored an append before it is answered; 0: its home alone */
    const char *when_away;     /* "refuse", "degrade" */
    bool away;                 /* fewer peers answer than that */
    uint64_t degraded_writes;  /* since the start */
    uint64_t recovery_events;  /* that may be at the home alone; 0: any number */
    uint64_t recovery_seconds; /* that the oldest of them may be old; 0: any age */
    const char *recovery_then; /* "warn", "throttle", "refuse" */
    uint64_t ahead_events;     /* in this region alone; 0 when there is no bound */
    uint64_t ahead_ms;         /* since the oldest of them was accepted */
    bool past_bound;           /* the bound is not kept, or writes were held back for it */
    uint64_t lease_ms;         /* isolation: fence; 0: accept */
    bool lease_held;           /* this region may accept for it as a home */
    uint64_t lease_left_ms;    /* for so long, if nobody grants it more */
    uint32_t lease_granters;   /* regions that grant it, this one included … */
    uint32_t lease_needed;     /* … of so many that must */
    const char *failover;      /* "manual", "assisted", "automatic" */
    const char *advice;        /* a home is lost: what to do; else "" */
    bool failover_ready;       /* and it would pass its checks */
};

struct tally_region_address {
    const char *region;
    const char *address;
};

/* A place of a log's file that cannot be read: entries first_index to end_index - 1 are not served there. */
struct tally_damage {
    const char *origin;
    const char *file;
    uint64_t offset;
    uint64_t first_index;
    uint64_t end_index;
    const char *what;
};

/* Contents that follow from the logs differ from a peer's at one position. */
struct tally_drift {
    const char *subject; /* a projection's name, or "late events" */
    const char *region;  /* the peer */
    const char *position;
    const char *ours; /* digests, lower-case hex */
    const char *theirs;
};

/* Whether contexts with failover "automatic" are that now, in the eyes of the region. */
struct tally_automatic_failover {
    const char *state;       /* "off", "arming", "armed"; "degraded": as if failover were assisted */
    const char *detail;      /* why it is not armed, or "" */
    const char *loss;        /* a home is lost: what becomes of it; else "" */
    uint64_t revision;       /* of etcd, when it was last asked */
    uint64_t contact_ms_ago; /* 0: never, or just now */
    uint64_t lease_ms;
    uint64_t takeovers; /* by the region, since its start */
    uint64_t refusals;  /* attempts that a readiness check stopped */
};

/* The TLS certificate that the region shows. */
struct tally_certificate {
    const char *state; /* "none" (no TLS), "valid", "ends soon", "expired" */
    const char *subject;
    uint64_t begin_s; /* Unix seconds: when it, and all up to its CA, are valid */
    uint64_t end_s;
    const char *problem; /* why files that were replaced are not in use; "" */
};

struct tally_status {
    const char *cluster;
    const char *region;
    const char *version;
    uint64_t uptime_ms;
    bool accepting;
    const char *position;
    size_t log_count;
    const struct tally_log_status *logs;
    size_t peer_count;
    const struct tally_peer_status *peers;
    size_t context_count;
    const struct tally_context_status *contexts;
    size_t region_count;
    const struct tally_region_address *regions;
    const char *health; /* "ok" or "degraded" */
    size_t damage_count;
    const struct tally_damage *damages;
    size_t drift_count;
    const struct tally_drift *drifts;
    uint64_t scrub_mib_per_s; /* 0: off */
    uint64_t scrub_passes;
    uint64_t scrub_read_bytes; /* of the pass under way, or of the last one */
    struct tally_automatic_failover automatic;
    struct tally_certificate certificate;
};

/* *ret: tally_status_free. */
int tally_status_get(struct tally_client *client, uint64_t timeout_ms, struct tally_status **ret, struct err *err);
void tally_status_free(struct tally_status *status);
/* The region that accepts events of this partition, or NULL when there is no such context. Lives as long as the status.
 */
const char *tally_status_home(const struct tally_status *status, const char *context, const char *partition);
/* A region's address, or NULL. Lives as long as the status. */
const char *tally_status_address(const struct tally_status *status, const char *region);

/* A place in a log. origin NULL: none. */
struct tally_place {
    const char *origin;
    uint64_t index;
};

/* --- Homes, handover, failover --- */

struct tally_home_status {
    const char *partition; /* "*": all that are not named */
    const char *region;
    uint64_t epoch;
    bool released; /* on its way to the successor */
    const char *successor;
};

struct tally_homes {
    size_t count;
    const struct tally_home_status *homes;
};

/* Every home of a context, as the region that is asked has applied it. *ret: tally_homes_free. ERR_NOT_FOUND. */
int tally_homes_get(struct tally_client *client, const char *context, uint64_t timeout_ms, struct tally_homes **ret,
                    struct err *err);
void tally_homes_free(struct tally_homes *homes);

/* What a handover or failover is about, and who wants it. */
struct tally_change {
    const char *context;
    const char *const *partitions; /* at most 20,000, a failover some 4,000, since all or none are
                                      seized; none: all of the context that the region is the home of */
    size_t partition_count;
    const char *region; /* handover: to; failover: from */
    const char *actor;  /* NULL: "operator" */
    const char *reason; /* required with force */
    bool force;
};

struct tally_changed {
    uint64_t changed;
    uint64_t remaining; /* did not fit into one step: call again */
    char position[256]; /* a read that demands it sees the change; cut off when longer */
};

/* Asked of the home. ERR_WRONG_HOME, ERR_NOT_FOUND (nothing to hand over), ERR_UNAVAILABLE (a readiness check fails),
 * ERR_INVALID, ERR_BUSY. */
int tally_handover(struct tally_client *client, const struct tally_change *change, uint64_t timeout_ms,
                   struct tally_changed *ret, struct err *err);

struct tally_survivor {
    const char *region;
    bool reachable;
    uint64_t size;
};

struct tally_lost_log {
    const char *origin;
    uint64_t size; /* durable at the region that is asked */
    uint64_t indexed_size;
    uint64_t checkpoint_size;
    uint64_t known_size; /* the largest that any region told */
    size_t survivor_count;
    const struct tally_survivor *survivors;
};

struct tally_check {
    const char *name;
    bool ok;
    const char *detail;
};

struct tally_failover {
    const char *from;
    bool reachable;
    bool heard;
    uint64_t last_contact_ms_ago;
    size_t log_count;
    const struct tally_lost_log *logs;
    size_t check_count;
    const struct tally_check *checks;
    uint64_t partition_count;
    bool done; /* false: a dry run */
    struct tally_changed result;
};

/* Asked of a survivor: the evidence, and the seizure unless dry_run. *ret: tally_failover_free. Errors of
 * tally_handover. */
int tally_failover(struct tally_client *client, const struct tally_change *change, bool dry_run, uint64_t timeout_ms,
                   struct tally_failover **ret, struct err *err);
void tally_failover_free(struct tally_failover *failover);

/* --- Evidence: what a region kept because it contradicts a log, or does not verify --- */

struct tally_evidence_item {
    const char *name; /* SHA-256 of the note: 64 hexadecimal digits */
    const char *log;  /* origin; empty when that is not known */
    bool fork;        /* two histories of the log; else something that does not verify */
    uint64_t kept_at_ms;
    const char *reason;
    uint64_t resolved_at_ms; /* 0: not resolved */
    const char *resolution;
    const void *note; /* as it came: anything that a peer may send */
    size_t note_size_bytes;
};

struct tally_evidence {
    size_t count;
    const struct tally_evidence_item *items; /* in the order of names */
};

/* What is kept and not resolved, or what was resolved. *ret: tally_evidence_free. ERR_CORRUPT for an answer that is not
 * in order, ERR_TOO_LARGE, ERR_UNAVAILABLE, ERR_TIMEOUT. */
int tally_evidence_get(struct tally_client *client, bool resolved, uint64_t timeout_ms, struct tally_evidence **ret,
                       struct err *err);
void tally_evidence_free(struct tally_evidence *evidence);

/* --- Projections --- */

struct tally_projection {
    const char *name;
    uint64_t generation;
    const char *position;
    const char *state; /* "live", "rebuilding" (when it began by itself: then ": " and why), "waiting", "failed" */
    const char *error;
    const char *rebuild_position;
    const char *file;     /* of the live generation, on the server; "" when it lies in a database */
    const char *database; /* that holds it, in the schema of its name; "" when it lies in a file */
};

struct tally_projections {
    size_t count;
    const struct tally_projection *items;
};

struct tally_projection_digest {
    const char *name;
    const char *position;
    const char *digest; /* lower-case hex */
    uint64_t row_count;
    uint64_t generation;
};

/* database: the name of one in the region's configuration; NULL: SQLite, in files of the region.
 * Each *ret below: tally_projections_free. create, rebuild and get give one item. */
int tally_projection_create(struct tally_client *client, const char *sql, const char *database, uint64_t timeout_ms,
                            struct tally_projections **ret, struct err *err);
int tally_projection_rebuild(struct tally_client *client, const char *name, uint64_t timeout_ms,
                             struct tally_projections **ret, struct err *err);
/* at_least: a position to wait for (NULL: do not wait), for at most timeout_ms (0: 30,000): ERR_TIMEOUT. */
int tally_projection_get(struct tally_client *client, const char *name, const char *at_least, uint64_t timeout_ms,
                         struct tally_projections **ret, struct err *err);
int tally_projection_list(struct tally_client *client, uint64_t timeout_ms, struct tally_projections **ret,
                          struct err *err);
void tally_projections_free(struct tally_projections *projections);

/* *ret: tally_projection_digest_free. at_least and timeout_ms as in tally_projection_get. */
int tally_projection_digest_get(struct tally_client *client, const char *name, const char *at_least,
                                uint64_t timeout_ms, struct tally_projection_digest **ret, struct err *err);
void tally_projection_digest_free(struct tally_projection_digest *digest);

/* What replaying the logs in random interleavings showed. */
struct tally_projection_check {
    const char *name;
    const char *position; /* up to which the logs were replayed */
    uint64_t event_count; /* entries in each replay */
    uint64_t seeds;       /* interleavings that were compared */
    bool differs;
    uint64_t seed;     /* the first one that differs … */
    const char *table; /* … and the table in which it does */
};

/* seeds: how many interleavings, 0: 10. Takes as long as that many rebuilds. *ret: tally_projection_check_free. */
int tally_projection_check(struct tally_client *client, const char *name, uint64_t seeds, uint64_t timeout_ms,
                           struct tally_projection_check **ret, struct err *err);
void tally_projection_check_free(struct tally_projection_check *check);

#endif
