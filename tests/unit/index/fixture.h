/* Entries, folders and shorthand for the tests of the index. */
#ifndef UNIT_INDEX_FIXTURE_H
#define UNIT_INDEX_FIXTURE_H

#include "index/index.h"

enum { FOLDER_MAX_BYTES = 256 };

/* 255 characters. */
#define LONGEST_15      "ccccccccccccccc"
#define LONGEST_60      LONGEST_15 LONGEST_15 LONGEST_15 LONGEST_15
#define LONGEST_CONTEXT LONGEST_60 LONGEST_60 LONGEST_60 LONGEST_60 LONGEST_15

/* "shop", "ab" and LONGEST_CONTEXT. */
extern const struct context_table fixture_contexts;

/* A new temporary folder, and its removal with everything in it. */
void folder_make(char out[FOLDER_MAX_BYTES]);
void folder_remove(const char *folder);

struct index *open_rocksdb(const char *folder);

uint32_t number(struct index *index, const char *origin);

/* An event id made from a number. */
void id_of(uint64_t number, uint8_t ret[ENTRY_ID_SIZE]);
struct entry entry_of(uint64_t index, const char *stream, uint64_t version, uint64_t id);

/* A partition whose home is the log's region. */
struct bytes home_partition(struct index *index, uint32_t log);

/* Applies one entry of context "shop" as the next of its log, fingerprint 1000 + id. */
void apply_one(struct index *index, uint32_t log, const char *stream, uint64_t version, uint64_t id);
/* Applies `count` entries in one batch: the n-th of the log is version n of stream "many" with id n. */
void apply_run(struct index *index, uint32_t log, size_t count);
/* Checks that of the entries apply_run makes exactly those below the applied size are there, and that none up to `end`
 * is. */
void check_run(struct index *index, uint32_t log, uint64_t end);

void expect_head(struct index *index, const char *stream, uint64_t version, uint32_t log, uint64_t place);
void expect_no_head(struct index *index, const char *stream);
void expect_event(struct index *index, uint64_t id, uint32_t log, uint64_t place);
void expect_no_event(struct index *index, uint64_t id);

#endif
