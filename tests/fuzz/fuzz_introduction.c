/* The answer to the question who pulls, as whoever calls sends it. One that is believed is believed for this region,
 * this log and this question alone. */
#include "crypto/introduction.h"
#include "fuzz/fuzz.h"

static bool believed(const struct introduction *introduction, struct bytes lines, const struct keyring *keys)
{
    return introduction_check(introduction, lines, keys, NULL) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[32] = {7};
    static const uint8_t question[INTRODUCTION_QUESTION_BYTES] = {1}, another[INTRODUCTION_QUESTION_BYTES] = {2};
    struct bytes lines = bytes_of(data, size);
    struct keyring keys = {.count = 1};
    struct note_signer signer;
    struct introduction asked = {.cluster = "demo",
                                 .from = "us",
                                 .to = "eu",
                                 .origin = "demo/eu/1",
                                 .from_index = 3,
                                 .question = bytes_of(question, sizeof(question))};
    FUZZ_CHECK(note_signer_from_seed("demo/us", NOTE_KEY_COSIGNATURE, seed, &signer, NULL) == 0);
    keys.keys[0] = signer.verifier;
    if (!believed(&asked, lines, &keys))
        return 0;
    struct introduction changed = asked;
    changed.to = "uk";
    FUZZ_CHECK(!believed(&changed, lines, &keys));
    changed = asked;
    changed.from = "uk";
    FUZZ_CHECK(!believed(&changed, lines, &keys));
    changed = asked;
    changed.question = bytes_of(another, sizeof(another));
    FUZZ_CHECK(!believed(&changed, lines, &keys));
    return 0;
}
