/* Whether a data directory holds payloads that its region may not hold (domain/residency.h): an audit of everything in
 * it that is made from payloads. Where, and what a clean answer proves:
 *
 *   segments     every frame of every log has neither payload nor salt that may not be there. Proves it of every entry
 *                of the log; that the log is whole is tally-verify's to say.
 *   queue        every command that was queued for its home carries what its client said, in a control event: its
 *                context must be one whose payloads may be here. Proves it of every log's commands, decided or not.
 *   loose files  every file that is neither of the index nor a projection's, and what lies in segments behind their
 *                last block: no whole block there has such a frame or command. Does not see a payload outside a block.
 *   index        of every entry whose payload may not be here the fingerprint, which is made from the payload, is
 *                unknown; likewise in the queue of reconciliation. Proves it of entries that are in the logs.
 *   projections  no statement takes the payloads of a context that may not be here. Proves nothing of rows that another
 *                file of the same name has made, or another program.
 *   search       texts that the auditor knows, byte for byte: in every file as it lies on the disk, in the index's
 *                records (which are compressed on the disk), and in the values of SQLite databases (long ones are cut
 *                into pages). Proves it of these texts as they are: not compressed, not in another encoding, and not
 *                in PostgreSQL, whose rows are nowhere below DIR.
 *
 * Contexts are those of DIR/tallyd.yaml, and of the index when it is looked into. */
#ifndef TALLY_RESIDENCY_H
#define TALLY_RESIDENCY_H

#include "datadir.h"
#include "domain/context.h"
#include "index/index.h"
#include "server/config.h"

enum {
    RESIDENCY_VIOLATIONS_MAX = 100,
    RESIDENCY_PROJECTIONS_MAX = 64,
    RESIDENCY_TEXT_MAX_BYTES = 4096, /* that is searched for */
    RESIDENCY_DEPTH_MAX = 8,         /* of folders below DIR */
};

/* Of one log, or of all. */
struct residency_count {
    uint64_t entries;
    uint64_t held;
    uint64_t withheld;
    uint64_t missing; /* withheld, although they belong here */
};

struct residency_log {
    char origin[256];
    uint64_t size;
    uint64_t looked_up;                                  /* in the index */
    struct residency_count contexts[CONTEXT_PLACES_MAX]; /* by place in residency_contexts */
    struct residency_count unknown;                      /* of contexts that tallyd.yaml does not name */
    uint64_t control;                                    /* the system's own events … */
    uint64_t queued; /* … and of these: commands that were queued for their home */
};

struct residency_violation {
    const char *where; /* "segment", "queued command", "loose file", "index", "queue", "projection", "file", "record",
                          "row" (the last three: a text that was searched for) */
    char path[DISK_PATH_MAX_BYTES];
    char origin[256]; /* "" for a projection, a loose file or a text */
    uint64_t offset;  /* in a file: of the block, or of the text */
    uint64_t index;
    size_t text; /* which of those that were searched for */
    char context[ENTRY_NAME_MAX_BYTES + 1];
};

struct residency_audit {
    const char *data;
    const struct server_config *config;
    struct index *index; /* NULL: it is not looked into */
    const char *const *texts;
    size_t text_count;
    size_t log_count;
    struct residency_log logs[DATADIR_LOGS_MAX];
    size_t loose_count;
    size_t projection_count;
    char projections[RESIDENCY_PROJECTIONS_MAX][64];
    size_t elsewhere_count; /* of the projections: those whose rows are in PostgreSQL */
    uint64_t file_count;    /* searched for texts */
    uint64_t record_count;  /* of the index: likewise */
    uint64_t value_count;   /* of SQLite databases: likewise */
    uint64_t violation_count;
    struct residency_violation violations[RESIDENCY_VIOLATIONS_MAX]; /* the first */
};

/* Looks at everything. The fields up to `text_count` are set, the rest zero. ERR_CORRUPT when a log cannot be read
 * through (a torn end is none: it was never part of the log); errors of the disk, the index and the projection's SQL.
 */
int residency_audit_run(struct residency_audit *audit, struct err *err) MUST_USE;

/* The contexts to audit by: as the index knows them; of the configuration alone when it is not looked into. */
const struct context_table *residency_contexts(const struct residency_audit *audit);

/* --- Shared by the files residency_*.c --- */

/* One more; what is past RESIDENCY_VIOLATIONS_MAX is only counted. */
struct residency_violation *residency_add(struct residency_audit *audit, const char *where);
/* The payloads in a block that is in no log. */
void residency_see_block(struct residency_audit *audit, const char *path, uint64_t offset, struct bytes elements);
/* Every file below DIR: loose blocks, and the texts. Errors of the disk, of SQLite and of the index. */
int residency_audit_files(struct residency_audit *audit, struct err *err) MUST_USE;

#endif
