/* What the statements of a projection may ask of an event, for both databases: the parameters, their values, and how
 * PostgreSQL is given them. Private to src/projection. */
#ifndef PROJECTION_PARAMETERS_H
#define PROJECTION_PARAMETERS_H

#include "base/buf.h"
#include "projection/projection.h"

enum parameter {
    PARAMETER_CONTEXT,
    PARAMETER_PARTITION,
    PARAMETER_STREAM,
    PARAMETER_VERSION,
    PARAMETER_TYPE,
    PARAMETER_EVENT_ID,
    PARAMETER_TIME_MS,
    PARAMETER_PAYLOAD,
    PARAMETER_PAYLOAD_BYTES,
    PARAMETER_METADATA,
    PARAMETER_METADATA_BYTES,
    PARAMETER_CONTENT_TYPE,
    PARAMETER_ORIGIN,
    PARAMETER_POSITION,
    PARAMETER_EPOCH,
    PARAMETER_CAUSATION_ID,
    PARAMETER_CORRELATION_ID,
    PARAMETER_COUNT,
};

/* What a parameter is in a database whose columns have types. */
enum parameter_type { PARAMETER_TEXT, PARAMETER_NUMBER, PARAMETER_BYTES };

/* The name without its colon. PARAMETER_COUNT when there is none of that name. */
enum parameter parameter_find(struct bytes name);
/* With its colon. */
const char *parameter_name(enum parameter parameter);
enum parameter_type parameter_type(enum parameter parameter);

struct parameter_value {
    bool is_null;
    int64_t number;     /* PARAMETER_NUMBER */
    struct bytes bytes; /* the others: into the event, or `id` */
    char id[UUID_TEXT_SIZE + 1];
};

/* The event's value; valid as long as the event and *ret are. */
void parameter_of(const struct projection_event *event, enum parameter parameter, struct parameter_value *ret);

/* Which parameters a text uses, in the order in which they first come. */
struct parameters_used {
    size_t count;
    enum parameter items[PARAMETER_COUNT];
};

/* Appends sql, which is PostgreSQL's, with each parameter replaced by $1, $2, … of *ret. Reads as PostgreSQL's own
 * scanner does where that decides what is a parameter: strings, quoted names, dollar quotes, comments, casts. Refuses
 * what must not be in a projection: names of ours (_tally_…), $1, and what gives another answer in another region
 * (random(), now() and their like). ERR_INVALID says what, and the line, counted from `line`; ERR_TOO_LARGE,
 * ERR_NO_MEMORY. */
int parameters_number(const char *sql, unsigned line, struct buf *out, struct parameters_used *ret,
                      struct err *err) MUST_USE;

#endif
