/* What the files of tally-verify share. The tool trusts only its own eyes and the policy it is given: it reads copies,
 * writes nothing but the auditor's own state, takes no lock, and links nothing of the server. */
#ifndef VERIFY_VERIFY_H
#define VERIFY_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/note.h"
#include "crypto/policy.h"
#include "log/scan.h"
#include "platform/disk.h"
#include "verify/sampler.h"
#include "verify/state.h"
#include "verify/sweep.h"

/* Exit codes: scripts depend on them. A violation outranks anything that is missing, and that outranks a policy that is
 * not met. */
enum verdict {
    VERDICT_VERIFIED = 0,
    VERDICT_VIOLATION = 1,
    VERDICT_USAGE = 2,
    VERDICT_INCOMPLETE = 3,
    VERDICT_POLICY = 4,
};

/* What is judged separately. */
enum area {
    AREA_INTEGRITY,    /* bytes, chain, tree */
    AREA_SIGNATURES,   /* the log's signatures, and whose cosignatures */
    AREA_COMPLETENESS, /* up to which size */
    AREA_HISTORY,      /* against what the auditor saw before */
    AREA_FRESHNESS,
    AREA_PAYLOADS,
    AREA_AUTHORITY,
    AREA_COUNT,
};

enum { VERIFY_MESSAGE_MAX_BYTES = 1024, EVIDENCE_MAX = 2 };

/* What the auditor asks for. */
struct demands {
    struct disk *disk;
    const struct policy *policy; /* NULL: signatures are not checked, and every report says so */
    uint64_t now_s;
    bool has_max_age;
    uint64_t max_age_s;
    bool payloads_required;
    struct state *state; /* NULL: no memory of earlier checks */
    bool resume;         /* do not read again what the state covers */
};

struct finding {
    enum verdict verdict;
    char message[VERIFY_MESSAGE_MAX_BYTES];
};

/* Where the first divergence is. */
struct place {
    bool has_index;
    uint64_t index;
    char file[128]; /* "" when it is not in one file */
    uint64_t offset;
    bool has_hashes;
    struct hash expected;
    struct hash found;
};

/* A signed note as it was found. */
struct note_report {
    const char *file_name;
    bool present;
    bool root_compared; /* the entries that it covers were all there */
    bool root_matches;
    struct checkpoint checkpoint;
    bool judged; /* by a policy: verdict holds something */
    struct policy_verdict verdict;
    struct buf message; /* the file's bytes */
};

enum { NOTE_CHECKPOINT, NOTE_PUBLISHED, NOTE_COUNT };

enum copy_kind { COPY_FOLDER, COPY_TLOG };

/* Everything that was found out about one copy of a log. */
struct log_report {
    enum copy_kind kind;
    const char *path;            /* or URL */
    const struct policy *policy; /* borrowed */
    bool max_age_given;
    bool payloads_required;
    uint64_t now_s;

    enum verdict verdict;
    char message[VERIFY_MESSAGE_MAX_BYTES]; /* the first finding of the worst kind */
    struct place place;                     /* of that finding */
    struct finding areas[AREA_COUNT];       /* VERDICT_VERIFIED: nothing was found */

    char origin[ENTRY_ORIGIN_MAX_BYTES + 1]; /* as the copy claims, and compared with what is signed */
    bool entries_verified;                   /* every entry was read, and all fit */
    bool tiles_only;                         /* a tlog of which only hashes were read */
    bool entries_are_ours;                   /* not only leaf hashes: the entries' own rules were checked too */
    uint64_t size;                           /* entries read, or covered by a state when resumed */
    uint64_t resumed_at;                     /* entries before this one were not read again */
    struct hash root;                        /* of all `size` entries */
    struct scan_result scan;
    uint64_t bytes; /* read */
    struct payload_counts payloads;
    uint64_t control_count;
    uint64_t partition_count;
    struct note_report notes[NOTE_COUNT];
    bool state_given;
    uint64_t state_size; /* that the auditor saw before; 0: none */
    struct sampler sampler;
    char evidence_reason[VERIFY_MESSAGE_MAX_BYTES]; /* "" without evidence */
    struct buf evidence[EVIDENCE_MAX];              /* signed notes that contradict each other */
};

/* --- Reports --- */

/* *report is all zeros, or was freed. */
void report_begin(struct log_report *report, enum copy_kind kind, const char *path, const struct demands *demands);
void report_free(struct log_report *report);
/* Records a finding. In its area and in the whole the first of the worst kind stands. place may be NULL. */
void report_finding(struct log_report *report, enum area area, enum verdict verdict, const struct place *place,
                    const char *format, ...) PRINTF_LIKE(5, 6);
/* Keeps two notes that contradict each other. */
void report_evidence(struct log_report *report, struct bytes a, struct bytes b, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* What the entries' epochs came to. */
void report_epochs(struct log_report *report, const struct epochs *authority);
enum verdict verdict_worse(enum verdict a, enum verdict b);
/* How many entries a checkpoint covers whose root is theirs, and, with a policy, whose signature was verified. */
uint64_t report_covered(const struct log_report *report);
/* The note that covers so many; NULL when none does. */
const struct note_report *report_covering_note(const struct log_report *report);

/* --- Notes (notes.c) --- */

/* Reads one of the two notes of a folder and checks its shape; before the entries are read, so that the size is pinned
 * first. */
void note_load(struct disk *disk, size_t which, struct log_report *report);
/* Takes message (which stays the caller's) as the note `which`. */
void note_take(struct log_report *report, size_t which, struct bytes message);
/* Checks origins, and signatures by the policy, once report->origin is known; notes that contradict each other. */
void notes_judge(const struct demands *demands, struct log_report *report);
/* Once the roots were compared: quorum and age of the note that covers most. */
void notes_judge_policy(const struct demands *demands, struct log_report *report);

/* --- Memory of earlier checks (history.c) --- */

/* The size that was seen before under a key that the policy has, or NULL. */
const struct state_log *history_find(const struct demands *demands, const char *origin);
/* Compares with what was seen before, and remembers what was seen now when all is well. cut: the tree at the remembered
 * size, NULL when it was not reached. */
void history_judge(const struct demands *demands, const struct cut *cut, struct log_report *report);
void history_remember(const struct demands *demands, const struct merkle_range *range, struct log_report *report);

/* --- Copies --- */

/* Check everything about a copy. *ret is all zeros before. Whatever goes wrong is a finding. */
void verify_folder(const struct demands *demands, const char *folder, struct log_report *ret);
void verify_tlog(const struct demands *demands, const char *base, struct log_report *ret);
/* Only the checkpoint of a log in tlog-tiles layout, with its signatures judged. */
void tlog_load_checkpoint(const struct demands *demands, const char *base, struct log_report *report);
void verify_segment(const struct demands *demands, const char *path, struct log_report *ret);

/* --- Printing (print.c) --- */

void print_log(const struct log_report *report);
const char *verdict_name(enum verdict verdict);
#endif
