/* The witness: every status of the protocol, and that it never cosigns two histories. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "support.h"

enum { TREE_MAX = 64 };

static struct stage stage;
static struct hash leaves[TREE_MAX]; /* of the peer's log */
static struct buf body;

static void set_up(void)
{
    stage_init(&stage);
    buf_init(&body, 2 * ADMIN_REQUEST_MAX_BYTES);
    for (size_t i = 0; i < TREE_MAX; i++) {
        uint8_t byte = (uint8_t)i;
        leaves[i] = merkle_leaf(stage.sha, bytes_of(&byte, 1));
    }
}

static void tear_down(void)
{
    buf_free(&body);
    stage_free(&stage);
}

TestSuite(witness, .init = set_up, .fini = tear_down);

static int read_hash(void *context, unsigned height, uint64_t number, struct hash *ret, struct err *err)
{
    struct merkle_range range;
    (void)context;
    (void)err;
    merkle_range_init(&range);
    for (uint64_t i = number << height; i < (number + 1) << height; i++)
        merkle_range_append(&range, stage.sha, &leaves[i]);
    *ret = merkle_range_root(&range, stage.sha);
    return 0;
}

static struct checkpoint peer_checkpoint(uint64_t size)
{
    struct checkpoint checkpoint = {.origin = PEER_ORIGIN, .size = size};
    cr_assert_eq(merkle_root_at(stage.sha, size, read_hash, NULL, &checkpoint.root, NULL), 0);
    return checkpoint;
}

static void add_proof(uint64_t old_size, uint64_t size)
{
    struct merkle_proof proof = {0};
    if (old_size > 0 && old_size < size)
        cr_assert_eq(merkle_prove_consistency(stage.sha, old_size, size, read_hash, NULL, &proof, NULL), 0);
    for (size_t i = 0; i < proof.count; i++) {
        char line[BASE64_ENCODED_SIZE(HASH_SIZE) + 1];
        base64_encode(bytes_of(proof.hashes[i].bytes, HASH_SIZE), line);
        cr_assert_eq(buf_append_format(&body, "%s\n", line), 0);
    }
}

static struct response *post(void)
{
    return ask(&stage, "POST", "/add-checkpoint", buf_bytes(&body));
}

static void begin(uint64_t old_size)
{
    buf_clear(&body);
    cr_assert_eq(buf_append_format(&body, "old %llu\n", (unsigned long long)old_size), 0);
}

static void add_note(const struct checkpoint *checkpoint, const struct note_signer *signer)
{
    cr_assert_eq(buf_append_byte(&body, '\n'), 0);
    cr_assert_eq(checkpoint_sign(checkpoint, signer, &body, NULL), 0);
}

/* An honest submission. */
static struct response *submit(uint64_t old_size, uint64_t size)
{
    struct checkpoint checkpoint = peer_checkpoint(size);
    begin(old_size);
    add_proof(old_size, size);
    add_note(&checkpoint, &stage.peer_signer);
    return post();
}

static void expect_size(struct response *response, const char *size)
{
    cr_expect_eq(response->status, 409);
    cr_expect_str_eq(response->content_type, "text/x.tlog.size");
    cr_expect_str_eq(body_text(response), size);
}

/* The path of the log's latest cosigned note. */
static const char *latest_path(void)
{
    static char path[2 + 2 * HASH_SIZE + 12];
    char hex[2 * HASH_SIZE + 1];
    struct hash hash = sha256_of(stage.sha, BYTES_LITERAL(PEER_ORIGIN));
    hex_encode(bytes_of(hash.bytes, HASH_SIZE), hex);
    snprintf(path, sizeof(path), "/%s/checkpoint", hex);
    return path;
}

Test(witness, cosigns_the_first_checkpoint)
{
    struct checkpoint checkpoint = peer_checkpoint(5);
    struct response *response = submit(0, 5);
    struct note note;
    struct buf whole;
    uint64_t time_s = 0;
    cr_assert_eq(response->status, 200, "%s", body_text(response));
    buf_init(&whole, NOTE_MAX_BYTES);
    cr_assert_eq(checkpoint_format(&checkpoint, &whole), 0);
    cr_assert_eq(buf_append_byte(&whole, '\n'), 0);
    cr_assert_eq(buf_append(&whole, buf_bytes(&response->body)), 0);
    cr_assert_eq(note_parse(buf_bytes(&whole), &note, NULL), 0);
    cr_expect_eq(note.signature_count, 1, "the answer is nothing but the cosignature");
    cr_expect_eq(note_verify(&note, &stage.witness_signer.verifier, &time_s, NULL), 1);
    cr_expect_eq(time_s, 1700000000);
    buf_free(&whole);
}

Test(witness, cosigns_what_extends_it)
{
    static const uint64_t sizes[] = {1, 2, 3, 8, 13, 32, 33, 64};
    uint64_t before = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        cr_expect_eq(submit(before, sizes[i])->status, 200, "%llu", (unsigned long long)sizes[i]);
        before = sizes[i];
    }
}

Test(witness, cosigns_the_same_checkpoint_again)
{
    cr_assert_eq(submit(0, 5)->status, 200);
    cr_expect_eq(submit(5, 5)->status, 200);
}

Test(witness, cosigns_an_empty_tree)
{
    cr_expect_eq(submit(0, 0)->status, 200);
    cr_expect_eq(submit(0, 0)->status, 200);
    cr_expect_eq(submit(0, 3)->status, 200);
}

Test(witness, says_which_size_it_is_at)
{
    cr_assert_eq(submit(0, 5)->status, 200);
    expect_size(submit(0, 8), "5\n");
    expect_size(submit(4, 8), "5\n");
    expect_size(submit(6, 8), "5\n");
    cr_expect_eq(submit(5, 8)->status, 200);
    expect_size(submit(5, 8), "8\n");
}

Test(witness, says_that_it_is_at_0)
{
    expect_size(submit(3, 5), "0\n");
}

Test(witness, does_not_go_back)
{
    cr_assert_eq(submit(0, 8)->status, 200);
    cr_expect_eq(submit(8, 5)->status, 400, "old is larger than the checkpoint");
    expect_size(submit(5, 5), "8\n");
}

Test(witness, refuses_another_root_for_the_same_size)
{
    struct checkpoint checkpoint = peer_checkpoint(5);
    cr_assert_eq(submit(0, 5)->status, 200);
    checkpoint.root.bytes[0] ^= 1;
    begin(5);
    add_note(&checkpoint, &stage.peer_signer);
    cr_expect_eq(post()->status, 422);
}

Test(witness, refuses_a_history_that_does_not_extend_its_own)
{
    struct checkpoint checkpoint = peer_checkpoint(8);
    cr_assert_eq(submit(0, 5)->status, 200);
    checkpoint.root.bytes[0] ^= 1;
    begin(5);
    add_proof(5, 8);
    add_note(&checkpoint, &stage.peer_signer);
    cr_expect_eq(post()->status, 422);
    expect_size(submit(0, 8), "5\n");
}

Test(witness, refuses_proofs_that_are_missing_or_of_something_else)
{
    struct checkpoint checkpoint = peer_checkpoint(8);
    cr_assert_eq(submit(0, 5)->status, 200);
    begin(5);
    add_note(&checkpoint, &stage.peer_signer);
    cr_expect_eq(post()->status, 422, "no proof");
    begin(5);
    add_proof(4, 8);
    add_note(&checkpoint, &stage.peer_signer);
    cr_expect_eq(post()->status, 422, "a proof from 4");
}

Test(witness, refuses_proofs_where_there_can_be_none)
{
    struct checkpoint checkpoint = peer_checkpoint(8);
    begin(0);
    add_proof(5, 8);
    add_note(&checkpoint, &stage.peer_signer);
    cr_expect_eq(post()->status, 422);
    cr_assert_eq(submit(0, 8)->status, 200);
    begin(8);
    add_proof(5, 8);
    add_note(&checkpoint, &stage.peer_signer);
    cr_expect_eq(post()->status, 422);
}

Test(witness, refuses_an_empty_tree_with_another_root)
{
    struct checkpoint checkpoint = peer_checkpoint(0);
    checkpoint.root.bytes[3] ^= 1;
    begin(0);
    add_note(&checkpoint, &stage.peer_signer);
    cr_expect_eq(post()->status, 422);
}

Test(witness, does_not_know_other_logs)
{
    struct checkpoint checkpoint = {.origin = "other/us/1", .size = 1};
    struct note_signer other;
    uint8_t seed[32] = {9};
    cr_assert_eq(note_signer_from_seed(checkpoint.origin, NOTE_KEY_ED25519, seed, &other, NULL), 0);
    begin(0);
    add_note(&checkpoint, &other);
    cr_expect_eq(post()->status, 404);
}

Test(witness, refuses_a_checkpoint_of_another_key)
{
    struct checkpoint checkpoint = peer_checkpoint(5);
    struct note_signer other;
    uint8_t seed[32] = {9};
    cr_assert_eq(note_signer_from_seed(PEER_ORIGIN, NOTE_KEY_ED25519, seed, &other, NULL), 0);
    begin(0);
    add_note(&checkpoint, &other);
    cr_expect_eq(post()->status, 403);
}

Test(witness, refuses_a_signature_that_does_not_verify)
{
    submit(0, 5);
    cr_assert_eq(body.data[body.size_bytes - 1], '\n');
    begin(0);
    struct checkpoint checkpoint = peer_checkpoint(6);
    add_note(&checkpoint, &stage.peer_signer);
    uint8_t *digit = memchr(body.data + 8, '6', body.size_bytes - 8);
    cr_assert_not_null(digit);
    *digit = '7';
    cr_expect_eq(post()->status, 403);
}

Test(witness, refuses_what_is_malformed)
{
    static const char *const bodies[] = {
        "",
        "\n",
        "old\n\n",
        "old -1\n\n",
        "old 01\n\n",
        "old 1",
        "old 18446744073709551616\n\n",
        "new 0\n\n",
        "old 0\n",
        "old 0\nnot base64\n\nnote",
        "old 0\nAAAA\n\nnote",
        "old 0\n\n",
        "old 0\n\nbank/us/1\n",
        "old 0\n\nbank/us/1\n5\nnot a root\n\n\xE2\x80\x94 bank/us/1 AAAAAAAA\n",
        "old 0\n\nbank/us/1\n5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct response *response = ask(&stage, "POST", "/add-checkpoint", bytes_of_string(bodies[i]));
        cr_expect_eq(response->status, 400, "\"%s\": %u", bodies[i], response->status);
    }
}

Test(witness, takes_at_most_63_lines_of_proof)
{
    struct checkpoint checkpoint = peer_checkpoint(5);
    begin(0);
    for (size_t i = 0; i < 64; i++)
        cr_assert_eq(buf_append_string(&body, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0);
    add_note(&checkpoint, &stage.peer_signer);
    cr_expect_eq(post()->status, 400);
}

Test(witness, gives_the_latest_note_with_both_signatures)
{
    struct note note;
    cr_expect_eq(get(&stage, latest_path())->status, 404);
    submit(0, 5);
    submit(5, 9);
    struct response *response = get(&stage, latest_path());
    cr_assert_eq(response->status, 200);
    cr_assert_eq(note_parse(buf_bytes(&response->body), &note, NULL), 0);
    cr_expect_eq(note_verify(&note, &stage.peer_signer.verifier, NULL, NULL), 1);
    cr_expect_eq(note_verify(&note, &stage.witness_signer.verifier, NULL, NULL), 1);
    cr_expect_eq(note.signature_count, 2);
    cr_expect_not_null(strstr(body_text(response), "\n9\n"));
}

static int reopen(struct err *err)
{
    char folder[300];
    snprintf(folder, sizeof(folder), "%s/witness", stage.folder);
    witness_close(stage.admin.witness);
    stage.admin.witness = NULL;
    return witness_open(disk_posix(), folder, &stage.witness_keys, &stage.config.peers[0].log_keys, 1,
                        &stage.admin.witness, err);
}

Test(witness, remembers_across_a_start)
{
    cr_assert_eq(submit(0, 5)->status, 200);
    cr_assert_eq(reopen(NULL), 0);
    expect_size(submit(0, 8), "5\n");
    cr_expect_eq(submit(5, 8)->status, 200);
}

/* Every byte of the state matters: a witness that does not know what it cosigned must not start. */
Test(witness, does_not_start_on_damaged_state)
{
    char path[400];
    struct buf state;
    struct err err = {0};
    cr_assert_eq(submit(0, 5)->status, 200);
    snprintf(path, sizeof(path), "%s/witness%.65s", stage.folder, latest_path());
    buf_init(&state, NOTE_MAX_BYTES);
    cr_assert_eq(disk_read_file(disk_posix(), path, &state, NULL), 0);
    for (size_t i = 0; i < state.size_bytes; i += 7) {
        state.data[i] ^= 1;
        cr_assert_eq(disk_replace_file(disk_posix(), path, buf_bytes(&state), 0, NULL), 0);
        cr_expect_eq(reopen(&err), ERR_CORRUPT, "byte %zu", i);
        cr_expect_not_null(strstr(err.message, PEER_ORIGIN), "%s", err.message);
        state.data[i] ^= 1;
    }
    cr_assert_eq(disk_replace_file(disk_posix(), path, buf_bytes(&state), 0, NULL), 0);
    cr_assert_eq(reopen(NULL), 0);
    buf_free(&state);
}

/* When the state cannot be stored nothing leaves, and the next submission starts from what was stored. */
Test(witness, does_not_cosign_what_it_could_not_store)
{
    char path[300];
    cr_assert_eq(submit(0, 5)->status, 200);
    snprintf(path, sizeof(path), "%s/witness", stage.folder);
    char moved[310];
    snprintf(moved, sizeof(moved), "%s/moved", stage.folder);
    cr_assert_eq(rename(path, moved), 0);
    struct response *response = submit(5, 8);
    cr_expect_eq(response->status, 500);
    cr_expect_null(strstr(body_text(response), "\xE2\x80\x94"), "no signature in a refusal");
    cr_assert_eq(rename(moved, path), 0);
    expect_size(submit(0, 8), "5\n");
    cr_expect_eq(submit(5, 8)->status, 200);
}
