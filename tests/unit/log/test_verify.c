/* The verifier: what an auditor is told about sound, damaged, cut and rewritten logs. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "support.h"
#include "verify/compare.h"

enum { BLOCKS = 4 };

static struct fixture f;
static struct block *blocks[BLOCKS]; /* entries 0-1, 2-4, 5, 6-8 */
static uint64_t offsets[BLOCKS + 1];
static struct hash roots[BLOCKS]; /* at the end of each block */
static struct policy keys;        /* of the log, and of one cosigner */
static struct policy *const no_keys = NULL;
static struct note_signer log_signer, cosigner;
static struct demands demands;
static struct log_report report;

static void write_log(void)
{
    struct log *log = create_log(&f);
    const uint32_t counts[BLOCKS] = {2, 3, 1, 3};
    offsets[0] = LOG_SEGMENT_HEADER_BYTES;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = make_block(&f, counts[i], i == 1 ? 3000 : 150);
        cr_assert_eq(log_append(log, &blocks[i], 1, NULL), 0);
        offsets[i + 1] = offsets[i] + blocks[i]->padded_size_bytes;
        roots[i] = merkle_range_root(&f.chain.range, f.sha);
    }
    log_close(log);
}

static void give_keys(const struct note_verifier *log_key, const struct note_verifier *cosigner_key)
{
    memset(&keys, 0, sizeof(keys));
    if (log_key != NULL)
        keys.logs[keys.log_count++] = *log_key;
    if (cosigner_key != NULL)
        keys.witnesses[keys.witness_count++].key = *cosigner_key;
}

static void setup(void)
{
    static const uint8_t seed[32] = {1}, other_seed[32] = {2};
    fixture_init(&f);
    write_log();
    cr_assert_eq(note_signer_from_seed(TEST_ORIGIN, NOTE_KEY_ED25519, seed, &log_signer, NULL), 0);
    cr_assert_eq(note_signer_from_seed("demo/us", NOTE_KEY_COSIGNATURE, other_seed, &cosigner, NULL), 0);
    give_keys(&log_signer.verifier, &cosigner.verifier);
}

static void teardown(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        block_release(blocks[i]);
    report_free(&report);
    fixture_free(&f);
}

TestSuite(verify, .init = setup, .fini = teardown);

static enum verdict verify(const struct policy *with)
{
    report_free(&report);
    memset(&report, 0, sizeof(report));
    demands = (struct demands){.disk = f.disk, .policy = with};
    verify_folder(&demands, f.log_folder, &report);
    return report.verdict;
}

/* Writes a note of `size` with `root`; cosigned when the time is not 0. */
static void write_note(const char *name, uint64_t size, const struct hash *root, uint64_t cosign_time_s)
{
    struct checkpoint checkpoint = {.origin = TEST_ORIGIN, .size = size, .root = *root};
    struct buf note, text;
    buf_init(&note, NOTE_MAX_BYTES);
    buf_init(&text, NOTE_MAX_BYTES);
    cr_assert_eq(checkpoint_format(&checkpoint, &text), 0);
    cr_assert_eq(checkpoint_sign(&checkpoint, &log_signer, &note, NULL), 0);
    if (cosign_time_s != 0)
        cr_assert_eq(note_sign(&cosigner, buf_bytes(&text), cosign_time_s, &note, NULL), 0);
    cr_assert_eq(disk_replace_file(f.disk, log_path(&f, name), buf_bytes(&note), 0, NULL), 0);
    buf_free(&note);
    buf_free(&text);
}

static void expect(const struct policy *with, enum verdict verdict, const char *word)
{
    enum verdict got = verify(with);
    cr_assert_eq(got, verdict, "verdict %d: %s", (int)got, report.message);
    cr_assert(strstr(report.message, word) != NULL, "'%s' lacks '%s'", report.message, word);
}

Test(verify, a_sound_log_without_keys_is_verified_but_says_that_signatures_were_not)
{
    write_note("checkpoint", 9, &roots[3], 0);
    expect(no_keys, VERDICT_VERIFIED, "");
    cr_assert_eq(report.scan.size, 9);
    cr_assert(report.notes[NOTE_CHECKPOINT].root_matches);
    cr_assert_not(report.notes[NOTE_CHECKPOINT].verdict.log_signed);
    cr_assert_null(report.policy);
    cr_assert(hash_equal(&report.root, &roots[3]));
    cr_assert_eq(report.payloads.held, 9);
    cr_assert_eq(report.payloads.withheld, 0);
}

Test(verify, signatures_and_cosignatures_are_verified_with_keys)
{
    write_note("checkpoint", 9, &roots[3], 0);
    write_note("checkpoint.published", 5, &roots[1], 1700000000);
    expect(&keys, VERDICT_VERIFIED, "");
    cr_assert(report.notes[NOTE_CHECKPOINT].verdict.log_signed);
    cr_assert_not(report.notes[NOTE_CHECKPOINT].verdict.cosigned[0]);
    cr_assert(report.notes[NOTE_PUBLISHED].verdict.log_signed);
    cr_assert(report.notes[NOTE_PUBLISHED].verdict.cosigned[0]);
    cr_assert_eq(report.notes[NOTE_PUBLISHED].verdict.cosigned_at_s[0], 1700000000);
    give_keys(&log_signer.verifier, NULL);
    expect(&keys, VERDICT_VERIFIED, "");
    cr_assert_eq(report.notes[NOTE_PUBLISHED].verdict.other_signature_count, 1);
}

Test(verify, a_checkpoint_in_the_middle_of_a_block_is_compared)
{
    struct chain chain;
    struct merkle_range range;
    struct bytes frame_bytes;
    struct frame frame;
    chain_init(&chain, f.sha, BYTES_LITERAL(TEST_ORIGIN));
    merkle_range_init(&range);
    for (uint64_t index = 0; index < 4; index++) {
        cr_assert_eq(block_find(index < 2 ? blocks[0] : blocks[1], index, &frame_bytes, NULL), 0);
        cr_assert_eq(frame_parse(frame_bytes, &frame, NULL), 0);
        struct hash leaf = merkle_leaf(f.sha, frame.entry);
        merkle_range_append(&range, f.sha, &leaf);
    }
    struct hash root = merkle_range_root(&range, f.sha);
    write_note("checkpoint", 4, &root, 0);
    expect(&keys, VERDICT_VERIFIED, "");
    write_note("checkpoint", 4, &roots[1], 0);
    expect(&keys, VERDICT_VIOLATION, "root");
}

Test(verify, with_keys_an_unsigned_log_is_incomplete)
{
    expect(&keys, VERDICT_INCOMPLETE, "no checkpoint");
    expect(no_keys, VERDICT_VERIFIED, "");
}

Test(verify, a_key_file_without_the_key_of_the_log_is_incomplete)
{
    write_note("checkpoint", 9, &roots[3], 0);
    give_keys(NULL, &cosigner.verifier);
    expect(&keys, VERDICT_INCOMPLETE, "no key named");
}

Test(verify, a_checkpoint_by_another_key_of_that_name_is_a_violation)
{
    static const uint8_t seed[32] = {9};
    write_note("checkpoint", 9, &roots[3], 0);
    struct note_signer impostor;
    cr_assert_eq(note_signer_from_seed(TEST_ORIGIN, NOTE_KEY_ED25519, seed, &impostor, NULL), 0);
    keys.logs[0] = impostor.verifier;
    expect(&keys, VERDICT_VIOLATION, "not signed");
}

Test(verify, every_changed_byte_of_a_note_is_a_violation_with_keys)
{
    write_note("checkpoint", 9, &roots[3], 0);
    write_note("checkpoint.published", 5, &roots[1], 1700000000);
    const char *names[] = {"checkpoint", "checkpoint.published"};
    for (size_t i = 0; i < 2; i++) {
        char path[400];
        snprintf(path, sizeof(path), "%s", log_path(&f, names[i]));
        uint64_t size = file_size(path);
        for (uint64_t at = 0; at < size; at++) {
            flip_byte(path, at);
            enum verdict verdict = verify(&keys);
            /* A cosigner's name or key id that changed is a signature by somebody unknown: it proves nothing, and is
             * said to. */
            bool unknown = verdict == VERDICT_VERIFIED && report.notes[i].verdict.other_signature_count == 1;
            cr_assert(verdict == VERDICT_VIOLATION || (i == 1 && unknown), "%s byte %llu", names[i],
                      (unsigned long long)at);
            flip_byte(path, at);
        }
    }
}

Test(verify, a_note_of_another_log_is_a_violation)
{
    static const char text[] = "demo/us/1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    struct buf note;
    buf_init(&note, NOTE_MAX_BYTES);
    cr_assert_eq(buf_append_string(&note, text), 0);
    cr_assert_eq(buf_append_byte(&note, '\n'), 0);
    cr_assert_eq(note_sign(&log_signer, BYTES_LITERAL(text), 0, &note, NULL), 0);
    cr_assert_eq(disk_replace_file(f.disk, log_path(&f, "checkpoint"), buf_bytes(&note), 0, NULL), 0);
    buf_free(&note);
    expect(no_keys, VERDICT_VIOLATION, "demo/us/1");
}

/* The entry whose bytes lie at this offset of a block, or the block's first for its header and padding. */
static uint64_t entry_at(const struct block *block, uint64_t at)
{
    struct bytes rest = block_body(block);
    struct bytes frame;
    uint64_t index = block->first_index;
    if (at < BLOCK_HEADER_BYTES || at >= block->size_bytes)
        return block->first_index;
    while (frame_next_element(&rest, &frame, NULL) == 0 && at >= (uint64_t)(rest.data - block->data))
        index++;
    return index;
}

Test(verify, any_changed_byte_of_any_block_names_the_entry, .timeout = 300)
{
    write_note("checkpoint", 9, &roots[3], 0);
    for (size_t i = 0; i < BLOCKS; i++) {
        uint64_t step = i == 1 ? 97 : 1; /* a block of payloads, mostly */
        for (uint64_t at = 0; at < blocks[i]->padded_size_bytes;
             at += at < 600 || at + 40 > blocks[i]->size_bytes ? 1 : step) {
            if (at > blocks[i]->size_bytes + 3 && at + 3 < blocks[i]->padded_size_bytes)
                continue;
            flip_byte(segment_path(&f, 0), offsets[i] + at);
            enum verdict verdict = verify(&keys);
            cr_assert_eq(verdict, VERDICT_VIOLATION, "block %zu byte %llu: %d %s", i, (unsigned long long)at,
                         (int)verdict, report.message);
            cr_assert(report.place.has_index);
            uint64_t expected = entry_at(blocks[i], at);
            cr_assert_eq(report.place.index, expected, "block %zu byte %llu: %llu, expected %llu: %s", i,
                         (unsigned long long)at, (unsigned long long)report.place.index, (unsigned long long)expected,
                         report.message);
            flip_byte(segment_path(&f, 0), offsets[i] + at);
        }
    }
    expect(&keys, VERDICT_VERIFIED, "");
}

Test(verify, an_entry_changed_by_somebody_who_repairs_the_checksum_is_named)
{
    for (uint64_t index = 2; index < 5; index++) {
        static uint8_t copy[16384];
        struct bytes frame_bytes;
        struct frame frame;
        struct entry entry;
        cr_assert_eq(block_find(blocks[1], index, &frame_bytes, NULL), 0);
        cr_assert_eq(frame_parse(frame_bytes, &frame, NULL), 0);
        cr_assert_eq(entry_parse(frame.entry, &entry, NULL), 0);
        memcpy(copy, blocks[1]->data, blocks[1]->padded_size_bytes);
        copy[entry.stream.data - blocks[1]->data] ^= 1;
        reseal(copy);
        overwrite(segment_path(&f, 0), offsets[1], copy, blocks[1]->padded_size_bytes);
        expect(no_keys, VERDICT_VIOLATION, "");
        /* The last entry of a block is only contradicted by the next block. */
        cr_assert_eq(report.place.index, index < 4 ? index : 5, "%s", report.message);
        overwrite(segment_path(&f, 0), offsets[1], blocks[1]->data, blocks[1]->padded_size_bytes);
    }
}

Test(verify, a_changed_last_block_is_a_violation_even_when_no_checkpoint_covers_it)
{
    for (uint64_t at = 0; at < blocks[3]->size_bytes; at += 7) {
        flip_byte(segment_path(&f, 0), offsets[3] + at);
        enum verdict verdict = verify(no_keys);
        cr_assert_eq(verdict, VERDICT_VIOLATION, "byte %llu", (unsigned long long)at);
        cr_assert_geq(report.place.index, 6);
        flip_byte(segment_path(&f, 0), offsets[3] + at);
    }
}

Test(verify, an_unfinished_last_block_is_left_out)
{
    struct block *torn = make_block(&f, 4, 5000);
    write_note("checkpoint", 9, &roots[3], 0);
    for (uint32_t written = 512; written + 512 < torn->size_bytes; written += 512) {
        overwrite(segment_path(&f, 0), offsets[4], torn->data, written);
        expect(&keys, VERDICT_VERIFIED, "");
        cr_assert(report.scan.torn_tail);
        cr_assert_eq(report.scan.size, 9);
    }
    block_release(torn);
}

Test(verify, a_checkpoint_over_missing_entries_is_incomplete)
{
    write_note("checkpoint", 9, &roots[3], 0);
    cr_assert_eq(truncate(segment_path(&f, 0), (off_t)offsets[3]), 0);
    expect(&keys, VERDICT_INCOMPLETE, "9 entries, 6 are here");
    cr_assert_eq(report.place.index, 6);
}

Test(verify, a_file_cut_inside_a_covered_block_is_incomplete_at_any_byte)
{
    write_note("checkpoint", 9, &roots[3], 0);
    for (uint64_t end = blocks[3]->size_bytes - 1; end > 0; end--) {
        cr_assert_eq(truncate(segment_path(&f, 0), (off_t)(offsets[3] + end)), 0);
        expect(&keys, VERDICT_INCOMPLETE, "missing");
        cr_assert_eq(report.place.index, 6);
    }
}

Test(verify, a_covered_block_of_zeros_is_incomplete)
{
    static const uint8_t zeros[4096];
    write_note("checkpoint", 9, &roots[3], 0);
    overwrite(segment_path(&f, 0), offsets[3], zeros, sizeof(zeros));
    expect(&keys, VERDICT_INCOMPLETE, "missing");
}

Test(verify, a_covered_block_half_overwritten_with_zeros_is_a_violation)
{
    static const uint8_t zeros[256];
    write_note("checkpoint", 9, &roots[3], 0);
    overwrite(segment_path(&f, 0), offsets[3] + 512, zeros, sizeof(zeros));
    expect(&keys, VERDICT_VIOLATION, "last block");
}

Test(verify, a_rewritten_history_has_the_wrong_root)
{
    /* The attacker makes a log of his own, sound in itself, and keeps the old notes. */
    cr_assert_eq(disk_remove(f.disk, segment_path(&f, 0), NULL), 0);
    for (size_t i = 0; i < BLOCKS; i++)
        block_release(blocks[i]);
    struct hash signed_root = roots[3];
    chain_init(&f.chain, f.sha, BYTES_LITERAL(TEST_ORIGIN));
    prng_seed(&f.prng, 99);
    write_log();
    write_note("checkpoint", 9, &signed_root, 0);
    expect(&keys, VERDICT_VIOLATION, "root");
    cr_assert_eq(report.place.index, 0);
    write_note("checkpoint.published", 5, &roots[1], 0);
    expect(&keys, VERDICT_VIOLATION, "root");
    cr_assert_eq(report.place.index, 5, "what the other note agrees with is not in doubt");
}

Test(verify, folders_without_a_log_are_incomplete)
{
    struct log_report other = {0};
    const struct demands plain = {.disk = f.disk};
    verify_folder(&plain, f.folder, &other);
    cr_assert_eq(other.verdict, VERDICT_INCOMPLETE);
    cr_assert(strstr(other.message, "no segments") != NULL);
    report_free(&other);
    memset(&other, 0, sizeof(other));
    verify_folder(&plain, "/nowhere/at/all", &other);
    cr_assert_eq(other.verdict, VERDICT_INCOMPLETE);
    report_free(&other);
}

Test(verify, withheld_payloads_are_counted_and_not_called_checked)
{
    struct fixture copy;
    struct block *stripped = NULL;
    struct bytes frame_bytes;
    struct frame frame;
    fixture_init(&copy);
    struct log *log = create_log(&copy);
    cr_assert_eq(block_new(0, f.chain.log_id, &stripped, NULL), 0);
    for (uint64_t index = 0; index < 2; index++) {
        cr_assert_eq(block_find(blocks[0], index, &frame_bytes, NULL), 0);
        cr_assert_eq(frame_parse(frame_bytes, &frame, NULL), 0);
        frame.has_payload = index == 1;
        cr_assert_eq(block_add(stripped, &frame, NULL), 0);
    }
    block_seal(stripped);
    append_one(log, stripped);
    append_one(log, block_retain(blocks[1]));
    log_close(log);
    const struct demands plain = {.disk = f.disk};
    struct copy sides[2] = {0};
    cr_assert_eq(copy_open(&plain, copy.log_folder, &sides[0], NULL), 0);
    cr_assert_eq(copy_open(&plain, f.log_folder, &sides[1], NULL), 0);
    const struct log_report *other = &sides[0].report;
    cr_assert_eq(other->verdict, VERDICT_VERIFIED, "%s", other->message);
    cr_assert_eq(other->payloads.withheld, 1);
    cr_assert_eq(other->payloads.held, 4);
    /* And it is the same log as the one with all payloads. */
    struct comparison comparison;
    compare_copies(&sides[1], &sides[0], &comparison);
    cr_assert_eq(comparison.verdict, VERDICT_VERIFIED, "%s", comparison.message);
    cr_assert_eq(comparison.common_size, 5);
    cr_assert_not(comparison.differs);
    copy_close(&sides[0]);
    copy_close(&sides[1]);
    fixture_free(&copy);
}

/* Two logs of many small entries that part at `difference` (UINT64_MAX: never). */
static void compare_two(uint64_t a_size, uint64_t b_size, uint64_t difference, struct comparison *ret)
{
    struct fixture sides[2];
    struct copy copies[2] = {0};
    const struct demands plain = {.disk = f.disk};
    const uint64_t sizes[] = {a_size, b_size};
    for (size_t side = 0; side < 2; side++) {
        struct fixture *fixture = &sides[side];
        fixture_init(fixture);
        struct log *log = create_log(fixture);
        while (fixture->chain.range.size < sizes[side]) {
            uint64_t index = fixture->chain.range.size;
            uint64_t until = side == 1 && index < difference && difference < sizes[side] ? difference : sizes[side];
            if (side == 1 && index == difference)
                prng_seed(&fixture->prng, 77);
            append_one(log, make_block(fixture, (uint32_t)(until - index < 500 ? until - index : 500), 0));
        }
        log_close(log);
        cr_assert_eq(copy_open(&plain, fixture->log_folder, &copies[side], NULL), 0);
        cr_assert_eq(copies[side].report.verdict, VERDICT_VERIFIED, "%s", copies[side].report.message);
    }
    compare_copies(&copies[0], &copies[1], ret);
    for (size_t side = 0; side < 2; side++) {
        copy_close(&copies[side]);
        fixture_free(&sides[side]);
    }
}

Test(verify, compare_finds_prefixes_of_any_length)
{
    const uint64_t sizes[] = {0, 1, 1023, 1024, 1025, 2048, 3000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct comparison comparison;
        compare_two(sizes[i], 3000, UINT64_MAX, &comparison);
        cr_assert_eq(comparison.verdict, VERDICT_VERIFIED, "%s", comparison.message);
        cr_assert(comparison.compared);
        cr_assert_eq(comparison.common_size, sizes[i]);
        compare_two(3000, sizes[i], UINT64_MAX, &comparison);
        cr_assert_eq(comparison.verdict, VERDICT_VERIFIED);
        cr_assert_eq(comparison.common_size, sizes[i]);
    }
}

Test(verify, compare_names_the_first_difference_wherever_it_is)
{
    const uint64_t places[] = {0, 1, 1022, 1023, 1024, 1025, 2047, 2048, 2499};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct comparison comparison;
        compare_two(2500, i % 2 == 0 ? 2500 : 3100, places[i], &comparison);
        cr_assert_eq(comparison.verdict, VERDICT_VIOLATION);
        cr_assert(comparison.differs);
        cr_assert_eq(comparison.first_difference, places[i], "%s", comparison.message);
    }
}

Test(verify, compare_does_not_call_a_damaged_copy_the_same)
{
    struct comparison comparison;
    struct copy sides[2] = {0};
    const struct demands plain = {.disk = f.disk};
    cr_assert_eq(copy_open(&plain, f.log_folder, &sides[0], NULL), 0);
    flip_byte(segment_path(&f, 0), offsets[1] + 100);
    cr_assert_eq(copy_open(&plain, f.log_folder, &sides[1], NULL), 0);
    cr_assert_eq(sides[1].report.verdict, VERDICT_VIOLATION);
    compare_copies(&sides[1], &sides[0], &comparison);
    cr_assert_eq(comparison.verdict, VERDICT_VIOLATION);
    cr_assert_not(comparison.compared);
    copy_close(&sides[0]);
    copy_close(&sides[1]);
}
