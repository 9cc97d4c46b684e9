/* Whom to believe: a local file in the format of c2sp.org/tlog-policy. Trust comes from nowhere else; what a server or
 * a copied folder says about keys is never asked.
 *
 *   log <vkey> [<url>]                          a log's key: its name is the log's origin
 *   witness <name> <vkey> [<url>]               a cosigner
 *   group <name> all|any|<k> <member> …         k of the members, which are witnesses or groups defined before it
 *   quorum <name>|none                          exactly once: who must have cosigned
 *
 * Blank lines and lines that start with '#' are skipped. */
#ifndef CRYPTO_POLICY_H
#define CRYPTO_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/note.h"

enum {
    POLICY_MAX_BYTES = 256 * 1024,
    POLICY_LOGS_MAX = 256,
    POLICY_WITNESSES_MAX = 256,
    POLICY_GROUPS_MAX = 64,
    POLICY_MEMBERS_MAX = 64,
    POLICY_NAME_MAX_BYTES = 255,
    POLICY_URL_MAX_BYTES = 1023,
};

struct policy_witness {
    char name[POLICY_NAME_MAX_BYTES + 1];
    struct note_verifier key; /* of type NOTE_KEY_COSIGNATURE */
};

struct policy_group {
    char name[POLICY_NAME_MAX_BYTES + 1];
    size_t needed;
    size_t member_count;
    size_t members[POLICY_MEMBERS_MAX]; /* a witness, or POLICY_WITNESSES_MAX + a group before this one */
};

/* Plain data. Several logs may have one name: old and new keys of one log. */
struct policy {
    size_t log_count;
    struct note_verifier logs[POLICY_LOGS_MAX];
    size_t witness_count;
    struct policy_witness witnesses[POLICY_WITNESSES_MAX];
    size_t group_count;
    struct policy_group groups[POLICY_GROUPS_MAX];
    bool has_quorum;
    size_t quorum; /* like a member; only with has_quorum */
};

/* ERR_INVALID naming the line, ERR_TOO_LARGE. *ret is large: put it on the heap. */
int policy_parse(struct bytes text, struct policy *ret, struct err *err) MUST_USE;
/* The simple form, keys without a quorum: Ed25519 keys are logs', cosignature keys witnesses'. ERR_TOO_LARGE. */
int policy_from_keys(const struct note_verifier *keys, size_t count, struct policy *ret, struct err *err) MUST_USE;

/* What a policy makes of a note. */
struct policy_verdict {
    bool log_known;                  /* the policy has a key of that name */
    bool log_signed;                 /* and it signed */
    bool signed_by[POLICY_LOGS_MAX]; /* which of policy->logs did */
    bool quorum_met;                 /* true when none is asked for */
    size_t other_signature_count;    /* by keys that the policy does not have: they prove nothing */
    bool cosigned[POLICY_WITNESSES_MAX];
    uint64_t cosigned_at_s[POLICY_WITNESSES_MAX];
    uint64_t newest_cosignature_s; /* 0: none */
};

/* Verifies every line by a key of the policy that may sign for `origin`. ERR_CORRUPT when one of them does not verify:
 * then the note must be refused whatever the others say. */
int policy_check(const struct policy *policy, const struct note *note, const char *origin, struct policy_verdict *ret,
                 struct err *err) MUST_USE;

#endif
