/* An AppendRequest, all the way: decoded, checked, decided by a region, made durable in name. What the region accepts
 * is a block that every mirror accepts; what it refuses is answered with a reason. */
#include "fuzz/fuzz.h"
#include "region/region.h"
#include "rpc/append.h"

static struct note_signer log_signer, cosigner;
static struct region_config config;

static void set_up(void)
{
    static const struct context contexts[] = {{.name = "bank", .default_home = "eu"}};
    static const uint8_t seed[32] = {1};
    FUZZ_CHECK(note_signer_from_seed("demo/eu/1", NOTE_KEY_ED25519, seed, &log_signer, NULL) == 0);
    FUZZ_CHECK(note_signer_from_seed("demo/eu", NOTE_KEY_COSIGNATURE, seed, &cosigner, NULL) == 0);
    config = (struct region_config){.cluster = "demo",
                                    .region = "eu",
                                    .incarnation = 1,
                                    .log_signers = {1, {&log_signer}},
                                    .cosign_signers = {1, {&cosigner}},
                                    .contexts = {.count = 1, .contexts = contexts}};
}

/* Runs the command to its answer. */
static void decide(struct region *region, struct region_command *command, struct sha256 *sha, struct chain *chain)
{
    struct region_update update;
    struct time_now now = {.wall_us = 1000000, .mono_us = 1000000};
    struct region_event event = {.type = REGION_TIMER, .now = now};
    bool answered = false;
    region_update_init(&update);
    FUZZ_CHECK(region_step(region, &event, &update, NULL) == 0);
    event.type = REGION_COMMAND;
    event.command = command;
    while (!answered) {
        uint64_t written = 0;
        FUZZ_CHECK(region_step(region, &event, &update, NULL) == 0);
        for (size_t i = 0; i < update.effect_count; i++) {
            const struct region_effect *effect = &update.effects[i];
            answered = answered || effect->type == REGION_ANSWER;
            if (effect->type != REGION_WRITE)
                continue;
            written = effect->size;
            FUZZ_CHECK(chain_check_block(chain, sha, block_body(effect->block), effect->block->entry_count, NULL, NULL,
                                         NULL, NULL) == 0);
        }
        FUZZ_CHECK(answered || written > 0);
        event = (struct region_event){.type = REGION_WRITTEN, .now = now, .size = written};
    }
    FUZZ_CHECK(command->refusal.code == 0 || command->refusal.err.message[0] != '\0');
    FUZZ_CHECK(command->refusal.code != 0 || chain->range.size == command->ticket);
    region_update_free(&update);
}

static void submit(struct append_job *job)
{
    struct region_command *command = &job->append.command;
    struct sha256 *sha = sha256_new();
    struct index *index = index_memory_new(&config.contexts);
    struct region_log_found found = {.origin = "demo/eu/1"};
    struct region *region = NULL;
    struct chain chain;
    FUZZ_CHECK(sha != NULL && index != NULL);
    chain_init(&chain, sha, BYTES_LITERAL("demo/eu/1"));
    found.chain = chain;
    FUZZ_CHECK(region_new(&config, &found, 1, index, &region, NULL) == 0);
    FUZZ_CHECK(region_command_prepare(command, sha, index, NULL) == 0);
    decide(region, command, sha, &chain);
    region_free(region);
    index_close(index);
    sha256_free(sha);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct append_job *job = NULL;
    if (config.cluster[0] == '\0')
        set_up();
    FUZZ_CHECK(append_job_new(bytes_of(data, size), &job, NULL) == 0);
    if (job->append.command.refusal.code == 0 &&
        region_command_check(&job->append.command, &job->append.command.refusal) == 0)
        submit(job);
    else
        FUZZ_CHECK(job->append.command.refusal.err.message[0] != '\0');
    append_job_free(job);
    return 0;
}
