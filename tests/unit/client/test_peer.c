/* What a peer's answers may ask for: their shape and limits, before anybody believes them. */
#include <criterion/criterion.h>

#include "client/peer.h"
#include "crypto/note.h"
#include "tally/v1/replication.pb-c.h"

static struct peer_identity self = {.cluster = "demo", .region = "eu"};

/* An answer that fits `self`, with `empty_logs` empty entries in its list behind one good one. */
static void make_hello(struct buf *out, size_t empty_logs)
{
    Tally__V1__HelloResponse response;
    Tally__V1__HeldLog held;
    Tally__V1__HeldLog *logs[] = {&held};
    static char cluster[] = "demo", region[] = "us", origin[] = "demo/us/1", note[] = "a note";
    tally__v1__hello_response__init(&response);
    tally__v1__held_log__init(&held);
    response.protocol = 2;
    response.cluster = cluster;
    response.region = region;
    response.contexts_digest = (ProtobufCBinaryData){.len = HASH_SIZE, .data = self.contexts_digest.bytes};
    held.origin = origin;
    held.size = 7;
    held.checkpoint = (ProtobufCBinaryData){.len = strlen(note), .data = (uint8_t *)note};
    response.n_logs = 1;
    response.logs = logs;
    buf_init(out, PEER_HELLO_MAX_BYTES);
    cr_assert_eq(buf_reserve(out, tally__v1__hello_response__get_packed_size(&response)), 0);
    out->size_bytes = tally__v1__hello_response__pack(&response, out->data);
    for (size_t i = 0; i < empty_logs; i++)
        cr_assert_eq(buf_append(out, BYTES_LITERAL("\x2a\x00")), 0);
}

static int parse(size_t empty_logs, struct peer_hello *ret)
{
    struct buf answer;
    make_hello(&answer, empty_logs);
    int code = peer_hello_parse(buf_bytes(&answer), &self, "us", ret, NULL);
    buf_free(&answer);
    return code;
}

Test(peer, a_hello_outlives_the_bytes_it_came_in)
{
    struct peer_hello hello;
    cr_assert_eq(parse(0, &hello), 0);
    cr_assert_eq(hello.held_count, 1);
    cr_assert_str_eq(hello.held[0].origin, "demo/us/1");
    cr_assert_eq(hello.held[0].size, 7);
    cr_assert(bytes_equal(hello.held[0].checkpoint, BYTES_LITERAL("a note")));
    peer_hello_free(&hello);
}

Test(peer, more_logs_than_there_may_be_are_refused)
{
    struct peer_hello hello;
    cr_assert_eq(parse(REGION_LOGS_MAX, &hello), ERR_TOO_LARGE);
}

Test(peer, a_million_empty_logs_do_not_get_the_memory_they_ask_for)
{
    struct peer_hello hello;
    cr_assert_eq(parse(1000 * 1000, &hello), ERR_CORRUPT, "2 MB must not be unpacked into a hundred");
}

Test(peer, a_message_of_a_pull_is_a_block_or_a_checkpoint)
{
    struct block *block = NULL;
    struct buf note;
    buf_init(&note, NOTE_MAX_BYTES);
    cr_assert_eq(peer_pull_parse(BYTES_LITERAL("\x12\x01n"), &block, &note, NULL), 0);
    cr_assert_null(block);
    cr_assert(bytes_equal(buf_bytes(&note), BYTES_LITERAL("n")));
    cr_assert_eq(peer_pull_parse(BYTES_LITERAL("\x0a\x01n"), &block, &note, NULL), ERR_CORRUPT);
    cr_assert_eq(peer_pull_parse(BYTES_LITERAL("\x0a\x01n\x12\x01n"), &block, &note, NULL), ERR_CORRUPT);
    cr_assert_eq(peer_pull_parse(BYTES_LITERAL("\x1a\x01n"), &block, &note, NULL), ERR_CORRUPT,
                 "a question out of turn");
    cr_assert_eq(peer_pull_parse(bytes_of(NULL, 0), &block, &note, NULL), ERR_CORRUPT);
    buf_free(&note);
}

Test(peer, a_pull_begins_with_a_question_and_nothing_else)
{
    static const char question[] = "\x1a\x20"
                                   "0123456789abcdef0123456789abcdef";
    static const char with_note[] = "\x1a\x20"
                                    "0123456789abcdef0123456789abcdef"
                                    "\x12\x01n";
    struct buf asked;
    buf_init(&asked, INTRODUCTION_QUESTION_BYTES);
    cr_assert_eq(peer_question_parse(BYTES_LITERAL(question), &asked, NULL), 0);
    cr_assert(bytes_equal(buf_bytes(&asked), BYTES_LITERAL("0123456789abcdef0123456789abcdef")));
    buf_clear(&asked);
    cr_assert_eq(peer_question_parse(BYTES_LITERAL(with_note), &asked, NULL), ERR_CORRUPT);
    cr_assert_eq(peer_question_parse(BYTES_LITERAL("\x1a\x04"
                                                   "0123"),
                                     &asked, NULL),
                 ERR_CORRUPT);
    cr_assert_eq(peer_question_parse(BYTES_LITERAL("\x12\x01n"), &asked, NULL), ERR_CORRUPT);
    cr_assert_eq(peer_question_parse(BYTES_LITERAL("\xff"), &asked, NULL), ERR_CORRUPT);
    cr_assert_eq(asked.size_bytes, 0);
    buf_free(&asked);
}

static int parse_comparison(char *position, size_t digest_size, struct peer_comparison *ret)
{
    uint8_t digest[HASH_SIZE + 1] = {9};
    uint8_t packed[1024];
    Tally__V1__CompareResponse response;
    tally__v1__compare_response__init(&response);
    response.position = position;
    response.digest = (ProtobufCBinaryData){.len = digest_size, .data = digest};
    size_t size = tally__v1__compare_response__pack(&response, packed);
    return peer_compare_parse(bytes_of(packed, size), ret, NULL);
}

Test(peer, a_comparison_is_checked)
{
    static char position[] = "eu@3,us@4";
    static char backwards[] = "us@4,us@3";
    struct peer_comparison found;
    cr_assert_eq(parse_comparison(position, HASH_SIZE, &found), 0);
    cr_assert(found.has_digest);
    cr_assert_eq(found.digest.bytes[0], 9);
    cr_assert_eq(position_get(&found.position, "us", 1), 4);
    cr_assert_eq(parse_comparison(position, 0, &found), 0);
    cr_assert_not(found.has_digest);
    cr_assert_eq(parse_comparison(position, HASH_SIZE - 1, &found), ERR_CORRUPT);
    cr_assert_eq(parse_comparison(backwards, HASH_SIZE, &found), ERR_INVALID);
    cr_assert_eq(peer_compare_parse(BYTES_LITERAL("\x0a\xff"), &found, NULL), ERR_CORRUPT);
}
