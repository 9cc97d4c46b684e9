#include <criterion/criterion.h>

#include "crypto/introduction.h"
#include "support.h"

#define HELLO "/tally.v1.Replication/Hello"
#define PULL  "/tally.v1.Replication/Pull"

static struct stage stage;
static struct outside outside;
static struct buf bytes;

static void set_up(void)
{
    stage_init(&stage);
    buf_init(&bytes, RPC_MESSAGE_MAX_BYTES);
}

static void tear_down(void)
{
    stage_free(&stage);
    buf_free(&bytes);
}

TestSuite(replication, .init = set_up, .fini = tear_down);

static uint8_t digest[HASH_SIZE];

static Tally__V1__HelloRequest good_hello(void)
{
    static char cluster[] = "bank";
    static char region[] = "us";
    Tally__V1__HelloRequest request;
    memset(digest, 7, sizeof(digest));
    tally__v1__hello_request__init(&request);
    request.protocol = RPC_PROTOCOL;
    request.cluster = cluster;
    request.region = region;
    request.contexts_digest = (ProtobufCBinaryData){.len = HASH_SIZE, .data = digest};
    return request;
}

Test(replication, hello_tells_what_is_held)
{
    Tally__V1__HelloRequest request = good_hello();
    stage_append(&stage, 0, "s", 4, 10);
    stage_add_log(&stage);
    stage_store_note(&stage, 3);
    cr_assert_eq(outside_unary(&outside, stage.port, HELLO, &request.base, &bytes), GRPC_STATUS_OK, "%s",
                 outside.message);
    Tally__V1__HelloResponse *response = tally__v1__hello_response__unpack(NULL, bytes.size_bytes, bytes.data);
    cr_assert_not_null(response);
    cr_expect_eq(response->protocol, RPC_PROTOCOL);
    cr_expect_str_eq(response->cluster, "bank");
    cr_expect_str_eq(response->region, "eu");
    cr_assert_eq(response->n_logs, 2);
    cr_expect_str_eq(response->logs[0]->origin, OWN_ORIGIN);
    cr_expect_eq(response->logs[0]->size, 4);
    cr_expect_eq(response->logs[0]->checkpoint.len, stage.note.size_bytes);
    cr_expect_str_eq(response->logs[1]->origin, PEER_ORIGIN);
    cr_expect_eq(response->logs[1]->checkpoint.len, 0);
    tally__v1__hello_response__free_unpacked(response, NULL);
    outside_close(&outside);
}

static void expect_hello_refused(const Tally__V1__HelloRequest *request, grpc_status_code status, const char *ours,
                                 const char *theirs)
{
    cr_expect_eq(outside_unary(&outside, stage.port, HELLO, &request->base, &bytes), status, "%s", outside.message);
    cr_expect_not_null(strstr(outside.message, ours), "%s", outside.message);
    cr_expect_not_null(strstr(outside.message, theirs), "%s", outside.message);
    outside_close(&outside);
}

Test(replication, hello_refuses_strangers_and_says_what_both_sides_have)
{
    Tally__V1__HelloRequest request = good_hello();
    request.protocol = 1;
    expect_hello_refused(&request, GRPC_STATUS_FAILED_PRECONDITION, "protocol 2", "caller 1");
    request = good_hello();
    request.cluster = (char[]){"shop"};
    expect_hello_refused(&request, GRPC_STATUS_FAILED_PRECONDITION, "cluster bank", "cluster shop");
    request = good_hello();
    request.region = (char[]){"eu"};
    expect_hello_refused(&request, GRPC_STATUS_FAILED_PRECONDITION, "region eu", "so is this one");
    request = good_hello();
    request.region = (char[]){"mars"};
    expect_hello_refused(&request, GRPC_STATUS_FAILED_PRECONDITION, "region eu", "region mars");
    request = good_hello();
    digest[0] = 8;
    expect_hello_refused(&request, GRPC_STATUS_FAILED_PRECONDITION, "0707", "0807");
    request.contexts_digest.len = 31;
    expect_hello_refused(&request, GRPC_STATUS_INVALID_ARGUMENT, "31 bytes", "32");
    request = good_hello();
    request.region = (char[]){"u\ns"};
    expect_hello_refused(&request, GRPC_STATUS_INVALID_ARGUMENT, "region", "");
}

static Tally__V1__PullRequest first_pull(uint64_t from)
{
    static char cluster[] = "bank";
    static char region[] = "us";
    static char origin[] = OWN_ORIGIN;
    Tally__V1__PullRequest request;
    tally__v1__pull_request__init(&request);
    request.protocol = RPC_PROTOCOL;
    request.cluster = cluster;
    request.region = region;
    request.origin = origin;
    request.from_index = from;
    return request;
}

/* Reads the question and answers it, as `region` would, with that key. */
static void answer_question(const char *region, uint64_t from, const struct note_signer *signer)
{
    Tally__V1__PullRequest request;
    struct buf line;
    cr_assert(outside_read(&outside, &bytes));
    Tally__V1__PullResponse *response = tally__v1__pull_response__unpack(NULL, bytes.size_bytes, bytes.data);
    cr_assert_not_null(response);
    cr_assert_eq(response->question.len, INTRODUCTION_QUESTION_BYTES);
    cr_assert_eq(response->block.len + response->checkpoint.len, 0, "nothing before the answer");
    struct introduction introduction = {.cluster = "bank",
                                        .from = region,
                                        .to = "eu",
                                        .origin = OWN_ORIGIN,
                                        .from_index = from,
                                        .question = bytes_of(response->question.data, response->question.len)};
    buf_init(&line, INTRODUCTION_MAX_BYTES);
    struct signers signers = {.count = 1, .items = {signer}};
    cr_assert_eq(introduction_sign(&introduction, &signers, &line, NULL), 0);
    tally__v1__pull_request__init(&request);
    request.introduction = (ProtobufCBinaryData){.len = line.size_bytes, .data = line.data};
    outside_write_message(&outside, &request.base);
    buf_free(&line);
    tally__v1__pull_response__free_unpacked(response, NULL);
}

static void pull_begin(uint64_t from)
{
    Tally__V1__PullRequest request = first_pull(from);
    outside_open(&outside, stage.port, PULL, 30000);
    outside_write_message(&outside, &request.base);
}

static void pull_open(uint64_t from)
{
    pull_begin(from);
    answer_question("us", from, &stage.peer_cosigner);
}

/* The next message is a block [first, first + count). */
static void expect_block(uint64_t first, uint32_t count)
{
    cr_assert(outside_read(&outside, &bytes));
    Tally__V1__PullResponse *response = tally__v1__pull_response__unpack(NULL, bytes.size_bytes, bytes.data);
    cr_assert_not_null(response);
    cr_assert_eq(response->checkpoint.len, 0);
    struct block *block = NULL;
    cr_assert_eq(block_from_bytes(bytes_of(response->block.data, response->block.len), &block, NULL), 0);
    cr_expect_eq(block->first_index, first);
    cr_expect_eq(block->entry_count, count);
    block_release(block);
    tally__v1__pull_response__free_unpacked(response, NULL);
}

static void expect_checkpoint(void)
{
    cr_assert(outside_read(&outside, &bytes));
    Tally__V1__PullResponse *response = tally__v1__pull_response__unpack(NULL, bytes.size_bytes, bytes.data);
    cr_assert_not_null(response);
    cr_expect_eq(response->block.len, 0);
    cr_assert(bytes_equal(bytes_of(response->checkpoint.data, response->checkpoint.len), buf_bytes(&stage.note)));
    tally__v1__pull_response__free_unpacked(response, NULL);
}

Test(replication, pull_sends_blocks_as_they_became_durable_and_goes_on_live)
{
    stage_append(&stage, 0, "s", 3, 10);
    stage_append(&stage, 0, "s", 2, 10);
    pull_open(0);
    expect_block(0, 3);
    expect_block(3, 2);
    stage_append(&stage, 0, "s", 4, 10);
    expect_block(5, 4);
    outside_writes_done(&outside);
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_OK, "%s", outside.message);
    outside_close(&outside);
}

Test(replication, pull_resumes_at_the_pullers_size)
{
    stage_append(&stage, 0, "s", 3, 10);
    stage_append(&stage, 0, "s", 2, 10);
    pull_open(3);
    expect_block(3, 2);
    outside_writes_done(&outside);
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_OK);
    outside_close(&outside);
}

Test(replication, pull_sends_a_checkpoint_once_and_behind_what_it_covers)
{
    stage_append(&stage, 0, "s", 3, 10);
    stage_store_note(&stage, 3);
    pull_open(0);
    expect_block(0, 3);
    expect_checkpoint();
    stage_store_note(&stage, 4); /* ahead of what was sent */
    stage_change(&stage);
    stage_append(&stage, 0, "s", 1, 10);
    expect_block(3, 1);
    expect_checkpoint();
    stage_change(&stage);
    stage_append(&stage, 0, "s", 1, 10);
    expect_block(4, 1);
    outside_cancel(&outside);
    outside_finish(&outside);
    outside_close(&outside);
}

Test(replication, pull_passes_acknowledgements_on)
{
    Tally__V1__PullRequest ack;
    tally__v1__pull_request__init(&ack);
    stage_append(&stage, 0, "s", 3, 10);
    pull_open(0);
    expect_block(0, 3);
    ack.stored_size = 3;
    ack.cosigned_size = 2;
    outside_write_message(&outside, &ack.base);
    pthread_mutex_lock(&stage.mutex);
    while (stage.acknowledgements == 0)
        pthread_cond_wait(&stage.changed, &stage.mutex);
    pthread_mutex_unlock(&stage.mutex);
    cr_expect_eq(stage.acknowledged_size, 3);
    cr_expect_eq(stage.cosigned_size, 2);
    outside_cancel(&outside);
    outside_finish(&outside);
    outside_close(&outside);
}

static void expect_pull_ends(grpc_status_code status, const char *part)
{
    while (outside_read(&outside, &bytes)) {
    }
    cr_expect_eq(outside_finish(&outside), status, "%s", outside.message);
    cr_expect_not_null(strstr(outside.message, part), "%s", outside.message);
    outside_close(&outside);
}

Test(replication, pull_refuses_acknowledgements_that_cannot_be)
{
    Tally__V1__PullRequest ack;
    tally__v1__pull_request__init(&ack);
    stage_append(&stage, 0, "s", 3, 10);
    pull_open(0);
    ack.stored_size = 4;
    outside_write_message(&outside, &ack.base);
    expect_pull_ends(GRPC_STATUS_FAILED_PRECONDITION, "stored 4");
    pull_open(0);
    ack.stored_size = 2;
    ack.cosigned_size = 3;
    outside_write_message(&outside, &ack.base);
    expect_pull_ends(GRPC_STATUS_INVALID_ARGUMENT, "cosigns 3");
    pull_open(0);
    outside_write(&outside, BYTES_LITERAL("\xff"));
    expect_pull_ends(GRPC_STATUS_INVALID_ARGUMENT, "PullRequest");
    cr_expect_eq(stage.acknowledgements, 0);
}

Test(replication, pull_is_only_for_who_can_show_to_be_the_region)
{
    static const uint8_t seed[32] = {4};
    struct note_signer stranger;
    Tally__V1__PullRequest nothing;
    tally__v1__pull_request__init(&nothing);
    stage_append(&stage, 0, "s", 3, 10);
    cr_assert_eq(note_signer_from_seed("bank/us", NOTE_KEY_COSIGNATURE, seed, &stranger, NULL), 0);
    pull_begin(0);
    answer_question("us", 0, &stranger);
    expect_pull_ends(GRPC_STATUS_PERMISSION_DENIED, "calls itself region us");
    pull_begin(0);
    answer_question("uk", 0, &stage.peer_cosigner);
    expect_pull_ends(GRPC_STATUS_PERMISSION_DENIED, "calls itself region us");
    pull_begin(0);
    answer_question("us", 1, &stage.peer_cosigner);
    expect_pull_ends(GRPC_STATUS_PERMISSION_DENIED, "calls itself region us");
    pull_begin(0);
    outside_write_message(&outside, &nothing.base);
    expect_pull_ends(GRPC_STATUS_PERMISSION_DENIED, "calls itself region us");
    pull_begin(0);
    outside_writes_done(&outside);
    expect_pull_ends(GRPC_STATUS_INVALID_ARGUMENT, "who pulls");
}

Test(replication, pull_leaves_out_payloads_that_the_region_may_not_hold)
{
    static const char *const here[] = {"eu"};
    stage_append(&stage, 0, "s", 3, 10);
    stage.contexts[0].rules = (struct context_rules){.payload_region_count = 1, .payload_regions = here};
    pull_open(0);
    cr_assert(outside_read(&outside, &bytes));
    cr_assert_null(memmem(bytes.data, bytes.size_bytes, "xxxxxxxxxx", 10));
    cr_assert_not_null(memmem(bytes.data, bytes.size_bytes, "bank", 4));
    outside_cancel(&outside);
    outside_finish(&outside);
    outside_close(&outside);
}

Test(replication, pull_does_not_send_what_is_of_a_context_that_is_not_known)
{
    stage_append(&stage, 0, "s", 3, 10);
    stage.contexts[0].name = "shop";
    pull_open(0);
    expect_pull_ends(GRPC_STATUS_UNAVAILABLE, "context \"bank\", which is not known here");
}

Test(replication, pull_refuses_bad_beginnings)
{
    stage_append(&stage, 0, "s", 3, 10);
    pull_open(4);
    expect_pull_ends(GRPC_STATUS_FAILED_PRECONDITION, "holds 3");
    pull_open(1);
    expect_pull_ends(GRPC_STATUS_FAILED_PRECONDITION, "inside the block");
    Tally__V1__PullRequest request = first_pull(0);
    request.region = (char[]){"mars"};
    outside_open(&outside, stage.port, PULL, 30000);
    outside_write_message(&outside, &request.base);
    expect_pull_ends(GRPC_STATUS_FAILED_PRECONDITION, "mars");
    request = first_pull(0);
    request.origin = (char[]){""};
    outside_open(&outside, stage.port, PULL, 30000);
    outside_write_message(&outside, &request.base);
    expect_pull_ends(GRPC_STATUS_INVALID_ARGUMENT, "origin");
    outside_open(&outside, stage.port, PULL, 30000);
    outside_writes_done(&outside);
    expect_pull_ends(GRPC_STATUS_INVALID_ARGUMENT, "first message");
}

/* --- Compare --- */

#define COMPARE "/tally.v1.Replication/Compare"

static uint8_t contents[HASH_SIZE];
static uint8_t sql[HASH_SIZE];

static Tally__V1__CompareRequest good_compare(void)
{
    static char subject[] = "sums";
    static char position[] = "eu@5";
    Tally__V1__HelloRequest hello = good_hello();
    Tally__V1__CompareRequest request;
    tally__v1__compare_request__init(&request);
    request.protocol = hello.protocol;
    request.cluster = hello.cluster;
    request.region = hello.region;
    request.contexts_digest = hello.contexts_digest;
    request.subject = subject;
    request.position = position;
    request.sql = (ProtobufCBinaryData){.len = HASH_SIZE, .data = sql};
    request.digest = (ProtobufCBinaryData){.len = HASH_SIZE, .data = contents};
    return request;
}

static void expect_compared(const Tally__V1__CompareRequest *request, const char *position, size_t digest_size)
{
    buf_clear(&bytes);
    cr_assert_eq(outside_unary(&outside, stage.port, COMPARE, &request->base, &bytes), GRPC_STATUS_OK, "%s",
                 outside.message);
    Tally__V1__CompareResponse *response = tally__v1__compare_response__unpack(NULL, bytes.size_bytes, bytes.data);
    cr_assert_not_null(response);
    cr_expect_str_eq(response->position, position);
    cr_expect_eq(response->digest.len, digest_size);
    tally__v1__compare_response__free_unpacked(response, NULL);
    outside_close(&outside);
}

Test(replication, compare_answers_with_a_digest_or_with_where_to_meet)
{
    static char elsewhere[] = "eu@3";
    static char late[] = "late events";
    Tally__V1__CompareRequest request = good_compare();
    expect_compared(&request, "eu@5", HASH_SIZE);
    request.position = elsewhere;
    expect_compared(&request, "eu@5", 0);
    request.subject = late;
    request.sql.len = 0;
    expect_compared(&request, "eu@5", 0);
}

static void expect_compare_refused(const Tally__V1__CompareRequest *request, grpc_status_code status, const char *says)
{
    cr_expect_eq(outside_unary(&outside, stage.port, COMPARE, &request->base, &bytes), status, "%s", outside.message);
    cr_expect_not_null(strstr(outside.message, says), "%s is not in %s", says, outside.message);
    outside_close(&outside);
}

Test(replication, compare_refuses_strangers_and_malformed_questions)
{
    static char stranger[] = "mars";
    static char backwards[] = "us@1,us@2";
    static char empty[] = "";
    Tally__V1__CompareRequest request = good_compare();
    request.region = stranger;
    expect_compare_refused(&request, GRPC_STATUS_FAILED_PRECONDITION, "region mars");
    request = good_compare();
    request.digest.len = 31;
    expect_compare_refused(&request, GRPC_STATUS_INVALID_ARGUMENT, "31 bytes");
    request = good_compare();
    request.sql.len = 0;
    expect_compare_refused(&request, GRPC_STATUS_INVALID_ARGUMENT, "sql 0");
    request = good_compare();
    request.position = backwards;
    expect_compare_refused(&request, GRPC_STATUS_INVALID_ARGUMENT, "");
    request = good_compare();
    request.subject = empty;
    expect_compare_refused(&request, GRPC_STATUS_INVALID_ARGUMENT, "subject");
    request = good_compare();
    sql[0] = 1;
    expect_compare_refused(&request, GRPC_STATUS_FAILED_PRECONDITION, "other SQL");
    request = good_compare();
    digest[0] = 8;
    expect_compare_refused(&request, GRPC_STATUS_FAILED_PRECONDITION, "contexts differ");
}
