/* Reconciliation: events that came too late, and duplicates; what people decide, and what is filed. Part of the C
 * client library: client.h has how calls behave, and who owns what. */
#ifndef TALLY_CLIENT_RECONCILE_H
#define TALLY_CLIENT_RECONCILE_H

#include "tally/client.h"

struct tally_late_item {
    struct tally_place place;
    bool late; /* false: an effective entry whose id has its place elsewhere */
    uint8_t event_id[TALLY_ID_SIZE];
    uint64_t time_unix_ms;
    uint64_t stream_version;
    uint64_t epoch;
    const char *context;
    const char *partition;
    const char *stream;
    const char *type;
    const char *kind;  /* "late", "override", "duplicate" */
    const char *state; /* "open", "duplicate", "accepted", "dropped", "rejected", "compensation owed", "compensated" */
    bool payload_held; /* at the region that is asked */
    struct tally_place effective;    /* the event with this id that counts */
    struct tally_place decision;     /* the $LateSettled entry */
    struct tally_place compensation; /* the event that compensates it */
};

/* NULL members do not narrow. */
struct tally_late_filter {
    const char *context;
    const char *partition;
    const char *state;
    const char *kind;
};

struct tally_late_page {
    size_t count;
    const struct tally_late_item *items;
    struct tally_place next; /* where the next page goes on; none: this was the last one. A page may be empty and not
                                the last */
};

/* A page of items, in (origin, index) order, after a place (NULL: from the start). *ret: tally_late_page_free. */
int tally_late_list(struct tally_client *client, const struct tally_late_filter *filter,
                    const struct tally_place *after, uint64_t timeout_ms, struct tally_late_page **ret,
                    struct err *err);
void tally_late_page_free(struct tally_late_page *page);

struct tally_shown_event {
    const char *state; /* of a late one; empty: it counts */
    struct tally_recorded event;
};

/* A row of a projection that the late event would change, as JSON objects from column to value; empty where there is no
 * such row. */
struct tally_shown_row {
    const char *table;
    const char *without;
    const char *with; /* if the event were accepted now */
};

/* A projection of the answering region that has statements for the late event. */
struct tally_shown_projection {
    const char *name;
    const char *position; /* where it stands */
    const char *error;    /* why it cannot say, or why accepting would stop it; empty: it says */
    size_t row_count;     /* at most 20 */
    const struct tally_shown_row *rows;
    uint64_t changed; /* rows in all */
};

/* An item, and both versions of its stream from where they part. */
struct tally_late_shown {
    struct tally_late_item item;
    size_t late_count;
    const struct tally_shown_event *late;
    size_t effective_count;
    const struct tally_shown_event *effective;
    bool cut_off; /* there are more */
    size_t projection_count;
    const struct tally_shown_projection *projections;
};

/* *ret: tally_late_shown_free. With projections, every projection of the region is asked, too, what accepting the event
 * now would change: nothing is changed. There are none for an event that has its effect, or whose payload the region
 * does not hold. ERR_NOT_FOUND: no item there. */
int tally_late_show(struct tally_client *client, const struct tally_place *place, bool projections, uint64_t timeout_ms,
                    struct tally_late_shown **ret, struct err *err);
void tally_late_shown_free(struct tally_late_shown *shown);

struct tally_settle {
    const struct tally_place *places; /* 1 to 10,000 */
    size_t place_count;
    const char *settlement; /* "accept", "drop", "reject", "compensate" */
    const char *actor;      /* NULL: "operator" */
    const char *reason;
    const char *compensation_stream;        /* with "compensate" and one place: the event that compensates it … */
    const struct tally_event *compensation; /* … NULL: it stays owed. Its causation id is the item's event id */
};

struct tally_settled {
    uint64_t settled;
    uint64_t already;   /* had been decided so before */
    char position[256]; /* a read that demands it sees the decisions; cut off when longer */
};

/* Asked of the home. Places are decided some at a time: at a refusal, those before it may be. ERR_WRONG_HOME
 * (*ret_refusal, which may be NULL, names it), ERR_NOT_FOUND (no item, or its payload is not held), ERR_EXISTS (a
 * duplicate, or decided otherwise), ERR_INVALID. */
int tally_settle(struct tally_client *client, const struct tally_settle *settle, uint64_t timeout_ms,
                 struct tally_settled *ret, struct tally_refusal *ret_refusal, struct err *err);

struct tally_late_digest {
    char digest[65];
    char position[1024]; /* cut off when longer */
    uint64_t item_count;
};

/* One hash over all items and their states: equal in every region at equal position. */
int tally_late_digest(struct tally_client *client, uint64_t timeout_ms, struct tally_late_digest *ret, struct err *err);

struct tally_report_request {
    const char *context;
    uint64_t epoch; /* 0: all; else of this epoch and the one before it */
    uint64_t from_unix_ms;
    uint64_t to_unix_ms; /* exclusive; 0: no end */
};

struct tally_accepted_row {
    const char *origin;
    uint64_t epoch;
    uint64_t effective;
    uint64_t late;
    uint64_t overrides; /* accepted away from home as emergencies */
    uint64_t published; /* of all: covered by a cosigned checkpoint */
    uint64_t first_unix_ms;
    uint64_t last_unix_ms;
};

struct tally_report_log {
    const char *origin;
    uint64_t size;
    uint64_t indexed_size;
    uint64_t checkpoint_size;
    uint64_t published_size;
};

struct tally_report_projection {
    const char *name;
    const char *state;
    const char *position;
    uint64_t behind; /* entries */
    bool stale;
};

struct tally_report_change {
    const char *partition;
    uint64_t epoch;
    const char *kind; /* "taken", "seized" */
    const char *region;
    uint64_t time_unix_ms;
    const char *basis;
    const char *actor;  /* who asked for it … */
    const char *reason; /* … and why; empty when nobody said */
    bool forced;        /* readiness checks had failed */
};

struct tally_state_count {
    const char *state;
    uint64_t count;
};

struct tally_report {
    const char *position;
    size_t accepted_count;
    const struct tally_accepted_row *accepted;
    size_t log_count;
    const struct tally_report_log *logs;
    size_t projection_count;
    const struct tally_report_projection *projections;
    size_t home_count;
    const struct tally_home_status *homes;
    bool more_homes;
    size_t change_count;
    const struct tally_report_change *changes;
    bool more_changes;
    size_t state_count;
    const struct tally_state_count *states;
    size_t owed_count;
    const struct tally_late_item *owed;
    bool more_owed;
};

/* What was accepted where, what was published and consumed, who is the home, what is owed. *ret: tally_report_free.
 * ERR_NOT_FOUND: no such context. */
int tally_report_get(struct tally_client *client, const struct tally_report_request *request, uint64_t timeout_ms,
                     struct tally_report **ret, struct err *err);
void tally_report_free(struct tally_report *report);

#endif
