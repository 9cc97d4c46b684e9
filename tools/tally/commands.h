/* The commands of tally. */
#ifndef TALLY_COMMANDS_H
#define TALLY_COMMANDS_H

#include "options.h"

extern const struct command command_init;
extern const struct command command_append;
extern const struct command command_import;
extern const struct command command_read;
extern const struct command command_tail;
extern const struct command command_status;
extern const struct command command_projection;
extern const struct command command_proof;
extern const struct command command_export;
extern const struct command command_context;
extern const struct command command_homes;
extern const struct command command_handover;
extern const struct command command_failover;
extern const struct command command_scrub;
extern const struct command command_repair;
extern const struct command command_backup;
extern const struct command command_restore;
extern const struct command command_reconcile;
extern const struct command command_bench;
extern const struct command command_evidence;
extern const struct command command_residency;
extern const struct command command_key;
extern const struct command command_ticket;

#endif
