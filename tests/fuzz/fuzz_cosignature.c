/* A cosignature line as a peer sends it, under a checkpoint whose text is known. Signing is deterministic, so a line
 * that verifies is the one line that the key makes at that time. */
#include "crypto/note.h"
#include "fuzz/fuzz.h"

static const char text[] = "demo/eu/1\n15\nrKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[32] = {7};
    struct note *note = malloc(sizeof(*note));
    struct note_signer signer;
    struct buf message, line;
    uint64_t time_s = 0;
    if (note == NULL || size > NOTE_MAX_BYTES / 2)
        abort();
    buf_init(&message, NOTE_MAX_BYTES);
    buf_init(&line, NOTE_MAX_BYTES);
    FUZZ_CHECK(note_signer_from_seed("demo/us", NOTE_KEY_COSIGNATURE, seed, &signer, NULL) == 0);
    FUZZ_CHECK(buf_append_string(&message, text) == 0 && buf_append_byte(&message, '\n') == 0);
    FUZZ_CHECK(buf_append(&message, bytes_of(data, size)) == 0);
    if (note_parse(buf_bytes(&message), note, NULL) == 0 && note->signature_count == 1 &&
        note_verify(note, &signer.verifier, &time_s, NULL) == 1) {
        FUZZ_CHECK(note_sign(&signer, bytes_of_string(text), time_s, &line, NULL) == 0);
        FUZZ_CHECK(bytes_equal(buf_bytes(&line), bytes_of(data, size)));
    }
    buf_free(&message);
    buf_free(&line);
    free(note);
    return 0;
}
