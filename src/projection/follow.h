/* How a projection follows the logs: one stretch of one log in one transaction, which moves the cursor too; and when a
 * rebuilt generation takes over. One thread. */
#ifndef PROJECTION_FOLLOW_H
#define PROJECTION_FOLLOW_H

#include "domain/position.h"
#include "log/log.h"
#include "projection/projection.h"

/* Applies what the log has durably and the generation has not, about PROJECTION_TRANSACTION_EVENTS_MAX events at most.
 * *ret_moved becomes true when there was something. After an error the generation is as before: errors of
 * projection_db_apply and log_read_block. */
enum { PROJECTION_TRANSACTION_EVENTS_MAX = 5000 };
int projection_follow(struct projection_db *db, struct log *log, bool *ret_moved, struct err *err) MUST_USE;
/* The cursor. */
int projection_position(struct projection_db *db, struct position *ret, struct err *err) MUST_USE;
/* Lets the generation that is being rebuilt take over once it has reached the live one. */
int projection_switch_when_caught_up(struct projection *projection, bool *ret_switched, struct err *err) MUST_USE;

#endif
