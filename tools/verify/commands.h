/* The commands of tally-verify. Each prints its report and returns the exit code. */
#ifndef VERIFY_COMMANDS_H
#define VERIFY_COMMANDS_H

#include <stdio.h>

#include "verify/verify.h"

enum { OPERANDS_MAX = 16, KEY_FILES_MAX = 64 };

struct arguments {
    const char *command;
    const char *operands[OPERANDS_MAX];
    size_t operand_count;
    const char *policy_path;
    const char *key_paths[KEY_FILES_MAX];
    size_t key_path_count;
    const char *contexts_path;
    const char *state_path;
    const char *entry_path;
    const char *event_path;
    bool json;
    struct demands demands;
};

int cmd_log(const struct arguments *arguments);
int cmd_segment(const struct arguments *arguments);
int cmd_tlog(const struct arguments *arguments);
int cmd_compare(const struct arguments *arguments);
int cmd_proof(const struct arguments *arguments);
int cmd_checkpoint(const struct arguments *arguments);
int cmd_consistency(const struct arguments *arguments);
int cmd_projection(const struct arguments *arguments);
int cmd_authority(const struct arguments *arguments);

/* What --help prints, in this order. */
extern const char help_commands[];
extern const char help_options[];

#endif
