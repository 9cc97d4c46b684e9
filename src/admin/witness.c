/* The witness (witness.h). A request is
 *
 *   old <decimal>\n
 *   <base64 hash>\n …      at most 63: an RFC 6962 consistency proof from old to the checkpoint's size
 *   \n
 *   <checkpoint, a signed note>
 *
 * and is checked in this order, the first failure being the answer:
 *
 *   400  malformed
 *   404  no log of that origin is witnessed
 *   403  not signed by the log's key, or a line that claims to be is not
 *   400  old is larger than the checkpoint's size
 *   409  old is not the size cosigned last (0: none); the body says which size is, as text/x.tlog.size
 *   422  the same size with another root; an empty tree with a root that is not the empty one; a proof that does not
 * verify, or one where there can be none (old is 0, or equal to the size) 200  the cosignature, a line by each of our
 * keys
 *
 * State: one file a log, <folder>/<hex of SHA-256(origin)>, the latest note cosigned (checkpoint, the log's own
 * signature, ours). It is replaced, durably, before the cosignature leaves.
 *
 * Invariants:
 *  1. Check and update are one step under the mutex: two requests cannot both start from the same old size.
 *  2. A cosignature that left is for the tree in the file, or for one that the file's tree extends.
 *  3. The key is not the one that this region signs as a mirror: a mirror's cosignature says that the entries are
 * stored.
 *
 * Crash behaviour: after a crash the file has the old note or the new one; if it has the new one and nobody was told,
 * the log asks again, is told the size (409), and goes on from there. A file that is damaged stops the start: to begin
 * at 0 again could cosign a second history. */
#include "admin/witness.h"

#include <pthread.h>

#include "admin/route.h"
#include "base/mem.h"

enum { PROOF_LINES_MAX = 63 };

struct witnessed {
    struct keyring keys; /* their name is the origin; from 1 */
    char hash_hex[2 * HASH_SIZE + 1];
    struct checkpoint latest; /* size 0: none, or the empty tree */
    struct buf note;          /* empty: none */
};

struct witness {
    struct disk *disk;
    char folder[DISK_PATH_MAX_BYTES];
    struct witness_keys keys;
    pthread_mutex_t mutex; /* of latest and note of all logs */
    size_t log_count;
    struct witnessed logs[REGION_PEERS_MAX];
};

struct submission {
    uint64_t old_size;
    size_t proof_count;
    struct hash proof[PROOF_LINES_MAX];
    struct note note;
    struct checkpoint checkpoint;
};

static const char *origin_of(const struct witnessed *log)
{
    return log->keys.keys[0].name;
}

/* --- State --- */

static int load(struct witness *witness, struct witnessed *log, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct note note;
    int code = disk_join(path, witness->folder, log->hash_hex, err);
    if (code == 0)
        code = disk_read_file(witness->disk, path, &log->note, err);
    if (code == ERR_NOT_FOUND)
        return 0;
    if (code != 0)
        return code;
    struct err why = {0};
    code = keyring_open(buf_bytes(&log->note), &log->keys, origin_of(log), &log->latest, &why);
    if (code == 0)
        code = note_parse(buf_bytes(&log->note), &note, &why);
    if (code == 0 && keyring_verify(&note, &witness->keys.known, NULL, &why) <= 0)
        code = err_set(&why, ERR_CORRUPT, "it is not signed by %s", witness->keys.known.keys[0].name);
    if (code != 0)
        code =
            err_set(err, ERR_CORRUPT,
                    "the witness cannot know what it cosigned for %s (%s): give it back the public key that was taken "
                    "out, restore %s from a backup, or move it away and make a new keys/witness.key",
                    origin_of(log), why.message, path);
    return code;
}

int witness_open(struct disk *disk, const char *folder, const struct witness_keys *keys, const struct keyring *logs,
                 size_t log_count, struct witness **ret, struct err *err)
{
    struct sha256 *sha = sha256_new();
    struct witness *witness = mem_alloc_zero(1, sizeof(*witness));
    int code = sha == NULL || witness == NULL ? err_no_memory(err, "the witness") : 0;
    if (code == 0)
        code = disk_make_dir(disk, folder, err);
    if (code != 0) {
        sha256_free(sha);
        mem_free(witness);
        return code;
    }
    witness->disk = disk;
    witness->keys = *keys;
    copy_string(witness->folder, sizeof(witness->folder), folder);
    pthread_mutex_init(&witness->mutex, NULL);
    for (size_t i = 0; code == 0 && i < log_count; i++) {
        struct witnessed *log = &witness->logs[witness->log_count++];
        struct hash hash = sha256_of(sha, bytes_of_string(logs[i].keys[0].name));
        log->keys = logs[i];
        hex_encode(bytes_of(hash.bytes, HASH_SIZE), log->hash_hex);
        buf_init(&log->note, NOTE_MAX_BYTES);
        code = load(witness, log, err);
    }
    sha256_free(sha);
    if (code != 0)
        witness_close(witness);
    else
        *ret = witness;
    return code;
}

void witness_close(struct witness *witness)
{
    if (witness == NULL)
        return;
    for (size_t i = 0; i < witness->log_count; i++)
        buf_free(&witness->logs[i].note);
    pthread_mutex_destroy(&witness->mutex);
    mem_free(witness);
}

static struct witnessed *find_log(struct witness *witness, const char *origin)
{
    for (size_t i = 0; i < witness->log_count; i++) {
        if (strcmp(origin_of(&witness->logs[i]), origin) == 0)
            return &witness->logs[i];
    }
    return NULL;
}

/* --- Reading a request --- */

static bool next_line(struct bytes *text, struct bytes *ret_line)
{
    const uint8_t *end = text->size_bytes == 0 ? NULL : memchr(text->data, '\n', text->size_bytes);
    if (end == NULL)
        return false;
    size_t size = (size_t)(end - text->data);
    *ret_line = bytes_of(text->data, size);
    *text = bytes_of(end + 1, text->size_bytes - size - 1);
    return true;
}

static int parse_proof(struct bytes *text, struct submission *ret, struct err *err)
{
    struct bytes line;
    while (next_line(text, &line)) {
        size_t size = 0;
        if (line.size_bytes == 0)
            return 0;
        if (ret->proof_count == PROOF_LINES_MAX)
            return err_set(err, ERR_INVALID, "a consistency proof has at most %d lines", PROOF_LINES_MAX);
        if (base64_decode((const char *)line.data, line.size_bytes, ret->proof[ret->proof_count].bytes, HASH_SIZE,
                          &size) != 0 ||
            size != HASH_SIZE)
            return err_set(err, ERR_INVALID, "a line of the consistency proof must be 32 bytes in base64");
        ret->proof_count++;
    }
    return err_set(err, ERR_INVALID, "a blank line must come before the checkpoint");
}

static int parse_submission(struct bytes text, struct submission *ret, struct err *err)
{
    struct bytes line;
    if (!next_line(&text, &line) || line.size_bytes < 5 || memcmp(line.data, "old ", 4) != 0 ||
        parse_u64((const char *)line.data + 4, line.size_bytes - 4, &ret->old_size) != 0)
        return err_set(err, ERR_INVALID, "the first line must be \"old\" and a decimal size");
    int code = parse_proof(&text, ret, err);
    if (code == 0)
        code = note_parse(text, &ret->note, err);
    return code == 0 ? checkpoint_parse(ret->note.text, &ret->checkpoint, err) : code;
}

/* --- Deciding --- */

/* Whether the checkpoint extends the latest one, whose size is old_size. */
static int check_extends(const struct checkpoint *latest, const struct submission *submission, struct sha256 *sha,
                         struct err *err)
{
    const struct checkpoint *fresh = &submission->checkpoint;
    struct hash empty = sha256_of(sha, bytes_of(NULL, 0));
    if (fresh->size == 0 && !hash_equal(&fresh->root, &empty))
        return err_set(err, ERR_CORRUPT, "the empty tree has another root");
    if (latest->size == 0 || latest->size == fresh->size) {
        if (submission->proof_count > 0)
            return err_set(err, ERR_CORRUPT, "there is no consistency proof from size %llu to %llu",
                           (unsigned long long)latest->size, (unsigned long long)fresh->size);
        if (latest->size > 0 && !hash_equal(&latest->root, &fresh->root))
            return err_set(err, ERR_CORRUPT, "size %llu was cosigned with another root",
                           (unsigned long long)latest->size);
        return 0;
    }
    return merkle_verify_consistency(sha, latest->size, fresh->size, &latest->root, &fresh->root, submission->proof,
                                     submission->proof_count, err);
}

static bool is_by(const struct note_signature *signature, const struct keyring *ring)
{
    for (size_t i = 0; i < ring->count; i++) {
        if (signature->key_id == ring->keys[i].key_id &&
            bytes_equal(signature->name, bytes_of_string(ring->keys[i].name)))
            return true;
    }
    return false;
}

/* The note to keep: the checkpoint, the log's own signatures, ours. ret_lines gets ours. */
static int cosign(const struct witness *witness, const struct witnessed *log, const struct submission *submission,
                  uint64_t time_s, struct buf *note, struct buf *ret_lines, struct err *err)
{
    int code = signers_sign(&witness->keys.signers, submission->note.text, time_s, ret_lines, err);
    if (code == 0 && (buf_append(note, submission->note.text) != 0 || buf_append_byte(note, '\n') != 0))
        code = err_no_memory(err, "a note");
    for (size_t i = 0; code == 0 && i < submission->note.signature_count; i++) {
        const struct note_signature *signature = &submission->note.signatures[i];
        if (is_by(signature, &log->keys) && buf_append(note, signature->line) != 0)
            code = err_no_memory(err, "a note");
    }
    if (code == 0 && buf_append(note, buf_bytes(ret_lines)) != 0)
        code = err_no_memory(err, "a note");
    return code;
}

static int store(struct witness *witness, struct witnessed *log, const struct checkpoint *checkpoint,
                 const struct buf *note, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = buf_reserve(&log->note, note->size_bytes); /* so that nothing can fail once it is on disk */
    if (code != 0)
        return err_no_memory(err, "a note");
    code = disk_join(path, witness->folder, log->hash_hex, err);
    if (code == 0)
        code = disk_replace_file(witness->disk, path, buf_bytes(note), 0, err);
    if (code != 0)
        return code;
    buf_clear(&log->note);
    log->latest = *checkpoint;
    return buf_append(&log->note, buf_bytes(note));
}

static void decide_locked(struct witness *witness, struct witnessed *log, const struct submission *submission,
                          const struct request *request, struct response *response)
{
    struct err err = {0};
    struct buf note;
    if (submission->old_size != log->latest.size) {
        response_refuse(response, 409, "%llu", (unsigned long long)log->latest.size);
        response->content_type = "text/x.tlog.size";
        return;
    }
    if (check_extends(&log->latest, submission, request->sha, &err) != 0) {
        response_refuse(response, 422, "%s", err.message);
        return;
    }
    buf_init(&note, NOTE_MAX_BYTES);
    int code = cosign(witness, log, submission, request->wall_s, &note, &response->body, &err);
    if (code == 0)
        code = store(witness, log, &submission->checkpoint, &note, &err);
    buf_free(&note);
    if (code != 0) {
        response_refuse(response, 500, "%s", err.message);
        return;
    }
    response->status = 200;
    response->content_type = ADMIN_TEXT;
    response->cache_control = ADMIN_NEVER;
}

static void decide(struct witness *witness, const struct submission *submission, const struct request *request,
                   struct response *response)
{
    struct err err = {0};
    struct witnessed *log = find_log(witness, submission->checkpoint.origin);
    if (log == NULL) {
        response_refuse(response, 404, "log %s is not witnessed here", submission->checkpoint.origin);
        return;
    }
    int verified = keyring_verify(&submission->note, &log->keys, NULL, &err);
    if (verified <= 0) {
        response_refuse(response, 403, "%s", verified < 0 ? err.message : "the checkpoint is not signed by its log");
        return;
    }
    if (submission->old_size > submission->checkpoint.size) {
        response_refuse(response, 400, "old size %llu is larger than the checkpoint's size %llu",
                        (unsigned long long)submission->old_size, (unsigned long long)submission->checkpoint.size);
        return;
    }
    pthread_mutex_lock(&witness->mutex);
    decide_locked(witness, log, submission, request, response);
    pthread_mutex_unlock(&witness->mutex);
}

void witness_add_checkpoint(struct witness *witness, const struct request *request, struct response *response)
{
    struct err err = {0};
    struct submission *submission = mem_alloc_zero(1, sizeof(*submission));
    if (submission == NULL)
        response_refuse(response, 503, "memory ran out");
    else if (parse_submission(request->body, submission, &err) != 0)
        response_refuse(response, 400, "%s", err.message);
    else
        decide(witness, submission, request, response);
    mem_free(submission);
}

void witness_latest(struct witness *witness, struct bytes origin_hash_hex, struct response *response)
{
    bool found = false;
    bool stored = false;
    pthread_mutex_lock(&witness->mutex);
    for (size_t i = 0; i < witness->log_count; i++) {
        const struct witnessed *log = &witness->logs[i];
        if (!bytes_equal(origin_hash_hex, bytes_of_string(log->hash_hex)) || log->note.size_bytes == 0)
            continue;
        found = true;
        stored = buf_append(&response->body, buf_bytes(&log->note)) == 0;
    }
    pthread_mutex_unlock(&witness->mutex);
    if (!stored) {
        response_refuse(response, found ? 503 : 404, found ? "memory ran out" : "nothing was cosigned for that log");
        return;
    }
    response->status = 200;
    response->content_type = ADMIN_TEXT;
    response->cache_control = ADMIN_RECHECK;
}
