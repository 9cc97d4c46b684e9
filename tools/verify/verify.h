/* What the files of tally-verify share. The tool trusts only its own eyes and the keys it is given: it reads a log's
 * folder, never writes, takes no lock, and links nothing of the server. */
#ifndef VERIFY_VERIFY_H
#define VERIFY_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/note.h"
#include "log/scan.h"
#include "platform/disk.h"

/* Exit codes: scripts depend on them. A violation outranks anything that is missing. */
enum verdict { VERDICT_VERIFIED = 0, VERDICT_VIOLATION = 1, VERDICT_USAGE = 2, VERDICT_INCOMPLETE = 3 };

enum {
    KEYS_MAX = 256,
    LEAF_STRIDE = 1024, /* one leaf hash is remembered for so many entries, to find the place where two copies part */
    VERIFY_MESSAGE_MAX_BYTES = 1024,
};

struct key_set {
    bool given; /* false: signatures are not checked, and every report says so */
    size_t count;
    struct note_verifier keys[KEYS_MAX];
};

struct cosigner {
    char name[NOTE_NAME_MAX_BYTES + 1];
    uint64_t time_s;
};

/* A signed note as it was found beside the segments. */
struct note_report {
    const char *file_name;
    bool present;
    bool root_compared; /* the entries that it covers were all there */
    bool root_matches;
    struct checkpoint checkpoint;
    bool signature_verified; /* by a key of the log */
    uint32_t key_id;
    size_t cosigner_count; /* whose keys are known and whose signatures verified */
    struct cosigner cosigners[NOTE_SIGNATURES_MAX];
    size_t other_signature_count; /* by keys that are not known here */
    struct buf message;           /* the file's bytes */
};

enum { NOTE_CHECKPOINT, NOTE_PUBLISHED, NOTE_COUNT };

struct log_report {
    const char *folder;
    bool keys_given;
    enum verdict verdict;
    char message[VERIFY_MESSAGE_MAX_BYTES]; /* why, when it is not VERDICT_VERIFIED */
    bool has_bad_index;
    uint64_t bad_index;

    bool entries_verified; /* every entry that was read fits its block, its payload and the one before */
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct scan_result scan;
    struct hash root; /* of all entries read */
    uint64_t payloads_held;
    uint64_t payloads_withheld;
    struct note_report notes[NOTE_COUNT];

    struct hash *leaves; /* of entries LEAF_STRIDE - 1, 2 * LEAF_STRIDE - 1, … */
    size_t leaf_count;
    size_t leaf_capacity;
};

/* Checks everything about one folder and fills *ret, which is all zeros before. Whatever goes wrong is a verdict. */
void verify_log(struct disk *disk, const char *folder, const struct key_set *keys, struct log_report *ret);
void log_report_free(struct log_report *report);
/* Records a finding; the first one wins, but a violation replaces something missing. */
void report_finding(struct log_report *report, enum verdict verdict, const char *format, ...) PRINTF_LIKE(3, 4);
void report_finding_at(struct log_report *report, enum verdict verdict, uint64_t bad_index, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* Reads one of the two notes and checks its shape; before the entries are read, so that the size is pinned first. */
void note_load(struct disk *disk, size_t which, struct log_report *report);
/* Checks a loaded note's origin and signatures, once report->origin is known. */
void note_check(const struct key_set *keys, size_t which, struct log_report *report);

struct comparison {
    enum verdict verdict;
    bool compared; /* false when one of the two could not be read through */
    bool differs;
    uint64_t first_difference;
    uint64_t common_size; /* entries that are the same in both, from 0 */
    char message[VERIFY_MESSAGE_MAX_BYTES];
};
void compare_logs(struct disk *disk, const struct log_report *a, const struct log_report *b, struct comparison *ret);

void print_log(const struct log_report *report);
void print_log_json(const struct log_report *report);
void print_comparison(const struct log_report *a, const struct log_report *b, const struct comparison *comparison);
void print_comparison_json(const struct log_report *a, const struct log_report *b, const struct comparison *comparison);
const char *verdict_name(enum verdict verdict);
#endif
