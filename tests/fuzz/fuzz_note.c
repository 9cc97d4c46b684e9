/* Signed notes: text, blank line and signature lines put together again are the note. */
#include "crypto/note.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct note *note = malloc(sizeof(*note));
    struct buf again;
    if (note == NULL)
        abort();
    buf_init(&again, NOTE_MAX_BYTES);
    if (note_parse(bytes_of(data, size), note, NULL) == 0) {
        FUZZ_CHECK(note->signature_count >= 1 && note->signature_count <= NOTE_SIGNATURES_MAX);
        FUZZ_CHECK(buf_append(&again, note->text) == 0 && buf_append_byte(&again, '\n') == 0);
        for (size_t i = 0; i < note->signature_count; i++) {
            FUZZ_CHECK(note_name_valid(note->signatures[i].name));
            FUZZ_CHECK(buf_append(&again, note->signatures[i].line) == 0);
        }
        FUZZ_CHECK(bytes_equal(buf_bytes(&again), bytes_of(data, size)));
    }
    buf_free(&again);
    free(note);
    return 0;
}
