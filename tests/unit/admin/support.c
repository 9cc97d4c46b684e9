#include "support.h"
#include "support/files.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct response answer;

static struct stage *stage_of(struct admin_backend *backend)
{
    return (struct stage *)(void *)backend;
}

/* --- The backend --- */

static size_t log_count(struct admin_backend *backend)
{
    (void)backend;
    return 1;
}

static struct log *log_at(struct admin_backend *backend, size_t log)
{
    return log == 0 ? stage_of(backend)->log : NULL;
}

static struct tiles *tiles_at(struct admin_backend *backend, size_t log)
{
    return log == 0 ? stage_of(backend)->tiles : NULL;
}

static int status(struct admin_backend *backend, struct admin_status *ret, struct err *err)
{
    struct stage *stage = stage_of(backend);
    if (stage->refuse_with != 0)
        return err_set(err, stage->refuse_with, "refused for the test");
    memcpy(ret, &stage->status, sizeof(*ret));
    return 0;
}

static int checkpoint(struct admin_backend *backend, size_t log, struct buf *out, uint64_t *ret_size, struct err *err)
{
    struct stage *stage = stage_of(backend);
    cr_assert_eq(log, 0);
    if (stage->refuse_with != 0)
        return err_set(err, stage->refuse_with, "refused for the test");
    if (stage->note.size_bytes == 0)
        return err_set(err, ERR_NOT_FOUND, "no checkpoint yet");
    if (out != NULL)
        cr_assert_eq(buf_append(out, buf_bytes(&stage->note)), 0);
    *ret_size = stage->note_size;
    return 0;
}

static void tiles_damaged(struct admin_backend *backend, size_t log)
{
    cr_assert_eq(log, 0);
    stage_of(backend)->damage_reports++;
}

static const struct admin_backend_ops OPS = {
    .log_count = log_count,
    .log_at = log_at,
    .tiles_at = tiles_at,
    .status = status,
    .checkpoint = checkpoint,
    .tiles_damaged = tiles_damaged,
};

/* --- The stage --- */

static void make_signer(const char *name, enum note_key_type type, uint8_t seed_byte, struct note_signer *ret)
{
    uint8_t seed[32] = {seed_byte};
    cr_assert_eq(note_signer_from_seed(name, type, seed, ret, NULL), 0);
}

static void make_log(struct stage *stage)
{
    char folder[300];
    const struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_MIN_BYTES};
    struct log_recovery recovery;
    snprintf(folder, sizeof(folder), "%s/log", stage->folder);
    cr_assert_eq(log_create(disk_posix(), folder, bytes_of_string(OWN_ORIGIN), &options, NULL), 0);
    cr_assert_eq(log_open(disk_posix(), folder, bytes_of_string(OWN_ORIGIN), &options, &stage->log, &recovery, NULL),
                 0);
    snprintf(folder, sizeof(folder), "%s/tiles", stage->folder);
    cr_assert_eq(tiles_open(disk_posix(), folder, &stage->tiles, NULL), 0);
    chain_init(&stage->chain, stage->sha, bytes_of_string(OWN_ORIGIN));
}

void stage_init(struct stage *stage)
{
    char folder[300];
    memset(stage, 0, sizeof(*stage));
    files_temp_folder_within(stage->folder, sizeof(stage->folder));
    stage->sha = sha256_new();
    buf_init(&stage->note, NOTE_MAX_BYTES);
    make_signer(OWN_ORIGIN, NOTE_KEY_ED25519, 1, &stage->log_signer);
    make_signer(PEER_ORIGIN, NOTE_KEY_ED25519, 2, &stage->peer_signer);
    make_signer("bank/eu/witness", NOTE_KEY_COSIGNATURE, 3, &stage->witness_signer);
    snprintf(stage->config.cluster, sizeof(stage->config.cluster), "bank");
    snprintf(stage->config.region, sizeof(stage->config.region), "eu");
    stage->config.peer_count = 1;
    snprintf(stage->config.peers[0].region, sizeof(stage->config.peers[0].region), "us");
    snprintf(stage->config.peers[0].address, sizeof(stage->config.peers[0].address), "127.0.0.1:7402");
    stage->config.peers[0].log_keys = (struct keyring){1, {stage->peer_signer.verifier}};
    stage->witness_keys = (struct witness_keys){{1, {&stage->witness_signer}}, {1, {stage->witness_signer.verifier}}};
    stage->backend = (struct admin_backend){.ops = &OPS,
                                            .config = &stage->config,
                                            .disk = disk_posix(),
                                            .folder = stage->folder,
                                            .witness_keys = &stage->witness_keys};
    make_log(stage);
    stage->status.accepting = true;
    stage->status.log_count = 1;
    stage->status.logs[0].state = REGION_LOG_ACCEPTING;
    snprintf(stage->status.logs[0].origin, sizeof(stage->status.logs[0].origin), OWN_ORIGIN);
    stage->status.peer_count = 1;
    stage->status.peers[0].up = true;
    stage->admin.backend = &stage->backend;
    pthread_mutex_init(&stage->admin.mutex, NULL);
    snprintf(folder, sizeof(folder), "%s/witness", stage->folder);
    cr_assert_eq(witness_open(disk_posix(), folder, &stage->witness_keys, &stage->config.peers[0].log_keys, 1,
                              &stage->admin.witness, NULL),
                 0);
    buf_init(&answer.body, ADMIN_RESPONSE_MAX_BYTES);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

void stage_free(struct stage *stage)
{
    witness_close(stage->admin.witness);
    pthread_mutex_destroy(&stage->admin.mutex);
    tiles_close(stage->tiles);
    log_close(stage->log);
    sha256_free(stage->sha);
    buf_free(&stage->note);
    buf_free(&answer.body);
    nftw(stage->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void add_entry(struct stage *stage, struct block *block)
{
    struct frame frame = {.has_payload = true, .payload = BYTES_LITERAL("payload"), .salt = {1}};
    struct entry entry = {
        .index = stage->chain.range.size,
        .prev = stage->chain.prev,
        .time = stage->chain.last_time + 1,
        .context = BYTES_LITERAL("bank"),
        .partition = BYTES_LITERAL("p"),
        .stream = BYTES_LITERAL("s"),
        .stream_version = stage->chain.range.size,
        .type = BYTES_LITERAL("Happened"),
        .epoch = 1,
        .payload_size_bytes = frame.payload.size_bytes,
        .payload_commitment = entry_payload_commitment(stage->sha, frame.salt, frame.payload),
    };
    struct buf encoded;
    memcpy(entry.log_id, stage->chain.log_id, ENTRY_LOG_ID_SIZE);
    put_u64_be(entry.event_id, entry.index + 1);
    buf_init(&encoded, ENTRY_MAX_BYTES);
    cr_assert_eq(entry_encode(&entry, &encoded, NULL), 0);
    frame.entry = buf_bytes(&encoded);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    struct hash leaf = chain_append(&stage->chain, stage->sha, frame.entry, entry.time);
    cr_assert_eq(tiles_append(stage->tiles, &leaf, NULL), 0);
    buf_free(&encoded);
}

void stage_append(struct stage *stage, uint32_t entry_count)
{
    struct block *block = NULL;
    cr_assert_eq(block_new(stage->chain.range.size, stage->chain.log_id, &block, NULL), 0);
    for (uint32_t i = 0; i < entry_count; i++)
        add_entry(stage, block);
    block_seal(block);
    cr_assert_eq(log_append(stage->log, &block, 1, NULL), 0);
    cr_assert_eq(tiles_commit(stage->tiles, NULL), 0);
    block_release(block);
}

void stage_show(struct stage *stage)
{
    struct checkpoint checkpoint = {.origin = OWN_ORIGIN, .size = stage->chain.range.size};
    checkpoint.root = merkle_range_root(&stage->chain.range, stage->sha);
    buf_clear(&stage->note);
    cr_assert_eq(checkpoint_sign(&checkpoint, &stage->log_signer, &stage->note, NULL), 0);
    stage->note_size = checkpoint.size;
}

struct response *ask(struct stage *stage, const char *method, const char *path, struct bytes body)
{
    const struct request request = {
        .method = method, .path = path, .body = body, .wall_s = 1700000000, .sha = stage->sha};
    struct buf kept = answer.body;
    buf_clear(&kept);
    answer = (struct response){.body = kept};
    admin_answer(&stage->admin, &request, &answer);
    return &answer;
}

struct response *get(struct stage *stage, const char *path)
{
    return ask(stage, "GET", path, bytes_of(NULL, 0));
}

const char *body_text(struct response *response)
{
    cr_assert_eq(buf_terminate(&response->body), 0);
    return (const char *)response->body.data;
}
