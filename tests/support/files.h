/* Temporary folders and whole files for tests, without the code under test. Everything here dies with a message when
 * the system refuses: a test that cannot prepare its ground has nothing to say. */
#ifndef SUPPORT_FILES_H
#define SUPPORT_FILES_H

#include <stddef.h>

#include "base/buf.h"

enum { FILES_PATH_MAX = 4096 };

/* A fresh folder in $TMPDIR or /tmp; out holds FILES_PATH_MAX. */
void files_temp_folder(char *out);
/* The same, where there is room for less; it must fit. */
void files_temp_folder_within(char *out, size_t size_bytes);
void files_temp_folder_in(const char *parent, char *out);
/* The folder with everything in it. */
void files_remove_folder(const char *path);

/* "folder/name"; out holds FILES_PATH_MAX. Returns out. */
char *files_join(const char *folder, const char *name, char *out);
/* The whole file, in place of what *out held. Initialise *out before, free it afterwards. */
void files_read(const char *path, struct buf *out);
void files_write(const char *path, struct bytes contents);

/* Calls each for every regular file below path whose name ends with suffix; returns how many there were. */
typedef void files_each_fn(void *context, const char *path);
size_t files_walk(const char *path, const char *suffix, files_each_fn *each, void *context);

#endif
