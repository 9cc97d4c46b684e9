/* A log as a static folder of tiles (c2sp.org/tlog-tiles), which any web server can serve and other people's tools can
 * check.
 *
 *   checkpoint        the signed note, written last
 *   vkey              the log's public key
 *   tile/L/N[.p/W]    256 hashes of level L
 *   tile/entries/N[.p/W]   256 entries, each behind its size */
#ifndef TALLY_TLOG_H
#define TALLY_TLOG_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/note.h"
#include "platform/disk.h"

/* Reads the log's folder, checks every entry up to the checkpoint's size and its root, and writes tiles and bundles
 * below out_folder; not the checkpoint itself. ERR_CORRUPT when the log does not match the checkpoint, or has fewer
 * entries. */
int tlog_write_tiles(struct disk *disk, const char *log_folder, const struct checkpoint *checkpoint,
                     const char *out_folder, struct err *err) MUST_USE;

#endif
