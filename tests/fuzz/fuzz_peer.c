/* What a peer sends: the answers to Hello and Compare, the question who pulls, and the messages of a pull; the first
 * byte says which. */
#include "client/peer.h"
#include "crypto/note.h"
#include "fuzz/fuzz.h"

static void check_hello(struct bytes input)
{
    struct peer_identity self = {.cluster = "demo", .region = "eu"};
    struct peer_hello hello;
    memset(self.contexts_digest.bytes, 'd', HASH_SIZE);
    if (peer_hello_parse(input, &self, "us", &hello, NULL) != 0)
        return;
    FUZZ_CHECK(hello.held_count <= REGION_LOGS_MAX);
    for (size_t i = 0; i < hello.held_count; i++) {
        FUZZ_CHECK(entry_check_origin(bytes_of_string(hello.held[i].origin), NULL) == 0);
        FUZZ_CHECK(hello.held[i].checkpoint.size_bytes <= NOTE_MAX_BYTES);
        for (size_t b = 0; b < hello.held[i].checkpoint.size_bytes; b++) /* it must be there to be read */
            FUZZ_CHECK(*(const volatile uint8_t *)(hello.held[i].checkpoint.data + b) <= 0xff);
    }
    peer_hello_free(&hello);
}

static void check_pull(struct bytes input)
{
    struct block *block = NULL;
    struct buf note;
    buf_init(&note, NOTE_MAX_BYTES);
    if (peer_pull_parse(input, &block, &note, NULL) == 0) {
        FUZZ_CHECK((block != NULL) == (note.size_bytes == 0));
        if (block != NULL) {
            struct block_header header;
            FUZZ_CHECK(block_check(block_bytes(block), &header, NULL) == 0);
            block_release(block);
        }
    }
    buf_free(&note);
}

static void check_question(struct bytes input)
{
    struct block *block = NULL;
    struct buf question, note;
    buf_init(&question, INTRODUCTION_QUESTION_BYTES);
    buf_init(&note, NOTE_MAX_BYTES);
    if (peer_question_parse(input, &question, NULL) == 0) {
        FUZZ_CHECK(question.size_bytes == INTRODUCTION_QUESTION_BYTES);
        FUZZ_CHECK(peer_pull_parse(input, &block, &note, NULL) != 0); /* no message is two things */
    }
    buf_free(&question);
    buf_free(&note);
}

static void check_compare(struct bytes input)
{
    struct peer_comparison found;
    if (peer_compare_parse(input, &found, NULL) != 0)
        return;
    FUZZ_CHECK(found.position.count <= POSITION_LOGS_MAX && position_covers(&found.position, &found.position));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    uint8_t which = fuzz_take_byte(&input);
    if (which == 'c')
        check_compare(input);
    else if (which % 3 == 0)
        check_hello(input);
    else if (which % 3 == 1)
        check_pull(input);
    else
        check_question(input);
    return 0;
}
