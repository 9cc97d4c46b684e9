/* Sorted files of keys and values: what the index needs of RocksDB, and nothing else. Private to src/index;
 * store_files.c is the only one that uses it.
 *
 * Keys are compared as unsigned bytes, a prefix first. What is there changes only by files_ingest, and everything in
 * one ingestion becomes part of it at once, also over a crash. Readers see it as of a moment (struct files_base), so an
 * ingestion changes nothing for those who began before.
 *
 * Threads: one ingests at a time; any number read. */
#ifndef INDEX_FILES_H
#define INDEX_FILES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

/* Keys that begin with this byte mostly grow with time: they have files of their own, so that a new file lies behind
 * all older ones and need never be merged with them; and what is above all of them is known not to be there. */
enum { FILES_GROWING = 'i', FILES_KEY_MAX_BYTES = 1024 };

struct files;
struct files_base;
struct files_iterator;
struct files_writer;

/* Makes the folder if need be. ERR_LOCKED, ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY, ERR_TOO_LARGE (path). */
int files_open(const char *folder, struct files **ret, struct err *err) MUST_USE;
/* All bases, iterators and writers are gone. NULL is fine. */
void files_close(struct files *files);
/* ERR_CORRUPT with a message that says where the files are and what to do. */
int files_corrupt(struct files *files, const char *what, struct err *err);

/* What is there now; the caller holds it. NULL when memory runs out. */
struct files_base *files_base_new(struct files *files);
struct files_base *files_base_hold(struct files_base *base);
/* NULL is fine. */
void files_base_release(struct files_base *base);

/* Replaces the contents of *value when the key is there. ERR_IO, ERR_CORRUPT, ERR_NO_MEMORY, ERR_TOO_LARGE (past
 * value->max_bytes). */
int files_get(const struct files_base *base, struct bytes key, struct buf *value, bool *ret_found,
              struct err *err) MUST_USE;

/* At the first key that is not below `from`, or, backwards, at the last that is not above it. The base outlives it.
 * NULL when memory runs out. */
struct files_iterator *files_seek(const struct files_base *base, struct bytes from, bool backwards);
/* Empty at the end, or when reading failed. Valid until the next step. */
struct bytes files_key(const struct files_iterator *iterator);
struct bytes files_value(const struct files_iterator *iterator);
void files_step(struct files_iterator *iterator);
/* Frees it, and says whether reading failed. ERR_IO, ERR_CORRUPT. */
int files_finish(struct files_iterator *iterator, struct err *err) MUST_USE;

/* Collects what is to be ingested: keys in order, each once. After files_begin exactly one of files_ingest and
 * files_abandon; no other writer meanwhile. Errors of all: ERR_IO, ERR_NO_SPACE, ERR_NO_MEMORY. */
int files_begin(struct files *files, struct files_writer **ret, struct err *err) MUST_USE;
int files_put(struct files_writer *writer, struct bytes key, struct bytes value, struct err *err) MUST_USE;
/* Adds to the end of the value that the key has. */
int files_append(struct files_writer *writer, struct bytes key, struct bytes value, struct err *err) MUST_USE;
int files_remove(struct files_writer *writer, struct bytes key, struct err *err) MUST_USE;
/* All or nothing, durably; waits while RocksDB is behind with merging. */
int files_ingest(struct files_writer *writer, struct err *err) MUST_USE;
void files_abandon(struct files_writer *writer);

#endif
