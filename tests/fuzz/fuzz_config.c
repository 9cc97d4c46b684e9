/* tallyd.yaml with any contents, beside sound keys. What is accepted names regions that there are, within limits. */
#include <unistd.h>

#include "crypto/keyfile.h"
#include "fuzz/fuzz.h"
#include "server/config.h"
#include "support/files.h"

static char folder[FILES_PATH_MAX], path[FILES_PATH_MAX];

static void remove_files(void)
{
    files_remove_folder(folder);
}

static void make_key(const char *file, const char *name, enum note_key_type type)
{
    static const uint8_t seed[32] = {1};
    struct note_signer signer;
    char key_path[FILES_PATH_MAX];
    FUZZ_CHECK(note_signer_from_seed(name, type, seed, &signer, NULL) == 0);
    FUZZ_CHECK(keyfile_create(disk_posix(), files_join(folder, file, key_path), &signer, NULL) == 0);
}

static void make_peer_keys(void)
{
    static const uint8_t seed[32] = {2};
    struct note_signer signer;
    struct buf text;
    char vkey[NOTE_VKEY_MAX_BYTES + 1], key_path[FILES_PATH_MAX];
    buf_init(&text, 4096);
    FUZZ_CHECK(note_signer_from_seed("bank/us/1", NOTE_KEY_ED25519, seed, &signer, NULL) == 0);
    note_verifier_format(&signer.verifier, vkey);
    FUZZ_CHECK(buf_append_format(&text, "%s\n", vkey) == 0);
    FUZZ_CHECK(note_signer_from_seed("bank/us", NOTE_KEY_COSIGNATURE, seed, &signer, NULL) == 0);
    note_verifier_format(&signer.verifier, vkey);
    FUZZ_CHECK(buf_append_format(&text, "%s\n", vkey) == 0);
    files_write(files_join(folder, "keys/us.pub", key_path), buf_bytes(&text));
    buf_free(&text);
}

static void set_up(void)
{
    char keys[FILES_PATH_MAX];
    files_temp_folder_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", folder);
    atexit(remove_files);
    FUZZ_CHECK(disk_make_dir(disk_posix(), files_join(folder, "keys", keys), NULL) == 0);
    make_key("keys/log.key", "bank/eu/1", NOTE_KEY_ED25519);
    make_key("keys/cosign.key", "bank/eu", NOTE_KEY_COSIGNATURE);
    make_peer_keys();
    files_join(folder, "tallyd.yaml", path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct server_config *config = NULL;
    struct err err = {0};
    struct origin origin;
    if (folder[0] == '\0')
        set_up();
    files_write(path, bytes_of(data, size));
    int code = server_config_load(disk_posix(), folder, &config, &err);
    if (code != 0) {
        FUZZ_CHECK(err.code == code && err.message[0] != '\0');
        return 0;
    }
    FUZZ_CHECK(origin_parse(bytes_of_string(config->origin), &origin, NULL) == 0);
    FUZZ_CHECK(config->region.peer_count <= REGION_PEERS_MAX && strchr(config->listen, ':') != NULL);
    FUZZ_CHECK(config->region.peer_timeout_us > config->region.hello_interval_us);
    FUZZ_CHECK(context_table_check(&config->region.contexts, NULL) == 0);
    server_config_free(config);
    return 0;
}
