/* Commands that wait for their home: the payload of $CommandQueued. Pure.
 *
 * Rule 9 of the design. A region that is not the home of a command's partition can keep the command, when its client
 * asks for that: as a control event in its own log, with the command's context and partition, and what the client said
 * of each write and event. The home finds it by replication, decides it once, by the rules that hold for any append,
 * and says so in $CommandAccepted or $CommandRefused (domain/control.h), whose cause it is. An accepted command's
 * events are appended as the client said them, so that whoever sends them again, wherever, is answered that they are
 * there.
 *
 * A payload is written in pieces, and read piece by piece, because a command may have many events. */
#ifndef DOMAIN_QUEUED_H
#define DOMAIN_QUEUED_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "domain/stream.h"
#include "entry/entry.h"

enum {
    QUEUED_EVENTS_MAX = 1000,             /* of one command */
    QUEUED_PAYLOAD_MAX_BYTES = 512 * 1024 /* of one command, as it is written */
};

struct queued_event {
    uint8_t id[ENTRY_ID_SIZE];
    struct bytes type, content_type, metadata, payload, causation_id, correlation_id;
};

struct queued_write {
    struct bytes stream;
    enum stream_expectation expectation;
    uint64_t expected_version;
    struct bytes events; /* encoded */
};

/* Append one event to a write's events, one write to a payload. ERR_TOO_LARGE (the buffer's bound), ERR_NO_MEMORY. */
int queued_put_event(const struct queued_event *event, struct buf *out) MUST_USE;
int queued_put_write(const struct queued_write *write, struct buf *out) MUST_USE;

/* Whether a payload is one that the functions above write of a command that breaks no limit: from 1 to
 * QUEUED_EVENTS_MAX events, names valid, ids 16 bytes. ERR_CORRUPT. *ret_writes and *ret_events count. */
int queued_check(struct bytes payload, size_t *ret_writes, size_t *ret_events, struct err *err) MUST_USE;

/* Take the next one off a payload, or off a write's events, that queued_check has passed; false at the end. *ret
 * borrows from it. */
bool queued_next_write(struct bytes *payload, struct queued_write *ret);
bool queued_next_event(struct bytes *events, struct queued_event *ret);

#endif
