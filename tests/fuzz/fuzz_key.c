/* Keys as text: a public key, a private key, and a file of public keys. What is accepted is what would be written. */
#include <unistd.h>

#include "crypto/keyfile.h"
#include "fuzz/fuzz.h"
#include "support/files.h"

enum { KEYS_MAX = 4 };

static char folder[FILES_PATH_MAX], path[FILES_PATH_MAX];

static void remove_files(void)
{
    files_remove_folder(folder);
}

static void check_file(struct bytes input)
{
    struct note_verifier keys[KEYS_MAX];
    char text[NOTE_VKEY_MAX_BYTES + 1];
    size_t count = 0;
    if (folder[0] == '\0') {
        files_temp_folder_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", folder);
        files_join(folder, "keys.pub", path);
        atexit(remove_files);
    }
    files_write(path, input);
    if (keyfile_load_public(disk_posix(), path, keys, KEYS_MAX, &count, NULL) != 0)
        return;
    FUZZ_CHECK(count <= KEYS_MAX);
    for (size_t i = 0; i < count; i++) {
        note_verifier_format(&keys[i], text);
        FUZZ_CHECK(memmem(input.data, input.size_bytes, text, strlen(text)) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    struct note_verifier verifier;
    struct note_signer signer;
    char text[NOTE_VKEY_MAX_BYTES + 1];
    if (note_verifier_parse(input, &verifier, NULL) == 0) {
        note_verifier_format(&verifier, text);
        FUZZ_CHECK(bytes_equal(input, bytes_of_string(text)));
    }
    if (note_signer_parse(input, &signer, NULL) == 0) {
        struct buf again;
        buf_init(&again, NOTE_MAX_BYTES);
        FUZZ_CHECK(note_signer_format(&signer, &again) == 0);
        struct bytes line = bytes_of(again.data, again.size_bytes - 1);
        FUZZ_CHECK(bytes_equal(input, buf_bytes(&again)) || bytes_equal(input, line));
        buf_free(&again);
    }
    check_file(input);
    return 0;
}
