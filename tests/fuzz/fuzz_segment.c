/* Recovery of a segment file with any contents. The first byte says whether checksums are made right. What is refused
 * is left as it was; what is opened is opened again with the same entries, read through by the scanner, and can be
 * appended to. A scrub reads it first, the whole file and the way back behind damage, reports places in order, and
 * finds something where the log does not open, and there only. */
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/seal.h"
#include "log/log.h"
#include "log/scan.h"
#include "log/scrub.h"
#include "support/fault_disk.h"
#include "support/files.h"

enum { FILE_MAX_BYTES = 256 * 1024, RESERVE_BYTES = 64 * 1024 };

static struct fault_disk disk; /* only so that no 64 MiB are reserved each time */
static char folder[FILES_PATH_MAX], path[FILES_PATH_MAX];

static void remove_files(void)
{
    files_remove_folder(folder);
}

static void set_up(void)
{
    fault_disk_init(&disk, disk_posix());
    disk.reserve_max_bytes = RESERVE_BYTES;
    if (access("/dev/shm", W_OK) == 0)
        files_temp_folder_in("/dev/shm", folder);
    else
        files_temp_folder(folder);
    files_join(folder, "00000000000000000000.seg", path);
    atexit(remove_files);
}

static void seal(struct buf *file)
{
    if (file->size_bytes < LOG_SEGMENT_HEADER_BYTES)
        return;
    uint32_t crc = crc32c(0, bytes_of(file->data, 12));
    put_u32_le(file->data + 12, crc32c(crc, bytes_of(file->data + 16, LOG_SEGMENT_HEADER_BYTES - 16)));
    for (size_t at = LOG_SEGMENT_HEADER_BYTES; at < file->size_bytes; at += BLOCK_ALIGNMENT_BYTES)
        seal_block(file->data + at, file->size_bytes - at);
}

static int open_log(struct log **ret, struct log_recovery *ret_recovery)
{
    return log_open(&disk.disk, folder, bytes_of(NULL, 0), NULL, ret, ret_recovery, NULL);
}

static int in_order(void *context, const struct scrub_finding *finding, struct err *err)
{
    uint64_t *end_index = context; /* of the finding before */
    (void)err;
    FUZZ_CHECK(finding->first_index >= *end_index && finding->end_index > finding->first_index);
    FUZZ_CHECK(finding->end_offset == 0 || finding->end_offset > finding->offset);
    *end_index = finding->end_index;
    return 0;
}

/* Whether damage was found, or what a newer version wrote. */
static bool scrub(void)
{
    static const uint64_t segments[] = {0};
    uint64_t end_index = 0;
    struct sha256 *sha = sha256_new();
    struct scrub scrub = {.disk = &disk.disk, .folder = folder, .sha = sha, .found = in_order, .context = &end_index};
    if (sha == NULL)
        abort();
    int code = scrub_segment(&scrub, segments, 1, 0, NULL, NULL);
    FUZZ_CHECK(code == 0 || code == ERR_UNSUPPORTED);
    sha256_free(sha);
    return end_index > 0 || code == ERR_UNSUPPORTED;
}

static void check_opened(struct log *log, uint64_t size)
{
    struct scan_result scan;
    struct log_recovery again;
    struct err err = {0};
    FUZZ_CHECK(log_durable_size(log) == size);
    log_close(log);
    int code = scan_log(&disk.disk, folder, NULL, NULL, NULL, &scan, &err);
    FUZZ_CHECK(code == ERR_CORRUPT || (code == 0 && scan.size == size && !scan.torn_tail));
    FUZZ_CHECK(open_log(&log, &again) == 0);
    FUZZ_CHECK(again.size == size && again.cut_bytes == 0);
    log_close(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    struct buf file, after;
    struct log *log = NULL;
    struct log_recovery recovery;
    if (folder[0] == '\0')
        set_up();
    bool sealed = fuzz_take_byte(&input) % 2 == 0;
    if (input.size_bytes > FILE_MAX_BYTES)
        return 0;
    buf_init(&file, FILE_MAX_BYTES);
    buf_init(&after, 2 * FILE_MAX_BYTES);
    if (buf_append(&file, input) != 0)
        abort();
    if (sealed)
        seal(&file);
    files_write(path, buf_bytes(&file));
    bool refused = scrub();
    int code = open_log(&log, &recovery);
    FUZZ_CHECK(refused == (code == ERR_CORRUPT || code == ERR_UNSUPPORTED));
    if (code == 0) {
        check_opened(log, recovery.size);
    } else {
        files_read(path, &after);
        FUZZ_CHECK(bytes_equal(buf_bytes(&file), buf_bytes(&after)));
    }
    buf_free(&file);
    buf_free(&after);
    return 0;
}
