/* Key files: one key a line, as text. The private half is wiped from every buffer it went through; it is written to a
 * file of its own that was never readable by others, not even for a moment (created 0600, then renamed). */
#include "crypto/keyfile.h"

#include <sodium.h>
#include <stdio.h>

enum { KEYFILE_MAX_BYTES = 64 * 1024 };

static int check_absent(struct disk *disk, const char *path, struct err *err)
{
    uint32_t mode = 0;
    if (disk_mode(disk, path, &mode, NULL) == 0)
        return err_set(err, ERR_EXISTS, "%s exists already; a key is never overwritten", path);
    return 0;
}

int keyfile_create(struct disk *disk, const char *path, const struct note_signer *signer, struct err *err)
{
    char public_path[DISK_PATH_MAX_BYTES];
    int size = snprintf(public_path, sizeof(public_path), "%s.pub", path);
    if (size < 0 || (size_t)size >= sizeof(public_path))
        return err_set(err, ERR_TOO_LARGE, "path too long: %.60s…", path);
    int code = check_absent(disk, path, err);
    if (code == 0)
        code = check_absent(disk, public_path, err);
    if (code != 0)
        return code;
    struct buf text;
    buf_init(&text, KEYFILE_MAX_BYTES);
    code = note_signer_format(signer, &text);
    if (code == 0)
        code = disk_replace_file(disk, path, buf_bytes(&text), DISK_PRIVATE, err);
    else
        err_no_memory(err, "a key file");
    if (text.data != NULL)
        sodium_memzero(text.data, text.capacity_bytes);
    buf_free(&text);
    if (code != 0)
        return code;

    char line[NOTE_VKEY_MAX_BYTES + 2];
    note_verifier_format(&signer->verifier, line);
    size_t line_size = strlen(line);
    line[line_size] = '\n';
    code = disk_replace_file(disk, public_path, bytes_of(line, line_size + 1), 0, err);
    if (code != 0) {
        int undone = disk_remove(disk, path, NULL); /* half a pair would be in the way of the next attempt */
        (void)undone;
    }
    return code;
}

int keyfile_load(struct disk *disk, const char *path, struct note_signer *ret, struct err *err)
{
    uint32_t mode = 0;
    int code = disk_mode(disk, path, &mode, err);
    if (code != 0)
        return err_wrap(err, code, "private key");
    if ((mode & 077) != 0)
        return err_set(err, ERR_PERMISSION, "private key %s can be read by others (mode %03o): chmod 600 %s", path,
                       (unsigned)mode, path);
    struct buf text;
    buf_init(&text, KEYFILE_MAX_BYTES);
    code = disk_read_file(disk, path, &text, err);
    size_t size = text.size_bytes;
    while (code == 0 && size > 0 && text.data[size - 1] == '\n')
        size--;
    if (code == 0) {
        code = note_signer_parse(bytes_of(text.data, size), ret, err);
        if (code != 0)
            code = err_wrap(err, code, "private key %s", path);
    }
    if (text.data != NULL)
        sodium_memzero(text.data, text.capacity_bytes);
    buf_free(&text);
    return code;
}

int keyfile_load_public(struct disk *disk, const char *path, struct note_verifier *ret, size_t max, size_t *ret_count,
                        struct err *err)
{
    struct buf text;
    buf_init(&text, KEYFILE_MAX_BYTES);
    int code = disk_read_file(disk, path, &text, err);
    if (code != 0)
        code = err_wrap(err, code, "public key file");
    size_t count = 0;
    size_t line_number = 0;
    for (size_t at = 0; code == 0 && at < text.size_bytes;) {
        const uint8_t *end = memchr(text.data + at, '\n', text.size_bytes - at);
        size_t size = end == NULL ? text.size_bytes - at : (size_t)(end - (text.data + at));
        struct bytes line = bytes_of(text.data + at, size);
        at += size + 1;
        line_number++;
        if (size == 0 || line.data[0] == '#')
            continue;
        if (count == max)
            code = err_set(err, ERR_TOO_LARGE, "%s holds more than %zu keys", path, max);
        else
            code = note_verifier_parse(line, &ret[count], err);
        if (code != 0)
            code = err_wrap(err, code, "%s line %zu", path, line_number);
        else
            count++;
    }
    buf_free(&text);
    if (code == 0)
        *ret_count = count;
    return code;
}

/* --- Generations --- */

static const struct {
    const char *name;
    enum note_key_type type;
} roles[KEY_ROLE_COUNT] = {
    [KEY_LOG] = {"log", NOTE_KEY_ED25519},
    [KEY_COSIGN] = {"cosign", NOTE_KEY_COSIGNATURE},
    [KEY_WITNESS] = {"witness", NOTE_KEY_COSIGNATURE},
};

const char *key_role_name(enum key_role role)
{
    return roles[role].name;
}

bool key_role_parse(const char *name, enum key_role *ret)
{
    for (size_t i = 0; i < KEY_ROLE_COUNT; i++) {
        if (strcmp(roles[i].name, name) == 0) {
            *ret = (enum key_role)i;
            return true;
        }
    }
    return false;
}

enum note_key_type key_role_type(enum key_role role)
{
    return roles[role].type;
}

void keyfile_name(enum key_role role, uint32_t number, char out[KEY_FILE_NAME_MAX_BYTES])
{
    if (number == 1)
        (void)snprintf(out, KEY_FILE_NAME_MAX_BYTES, "%s.key", roles[role].name);
    else
        (void)snprintf(out, KEY_FILE_NAME_MAX_BYTES, "%s-%u.key", roles[role].name, (unsigned)number);
}

static int private_path(const char *folder, enum key_role role, uint32_t number, char path[DISK_PATH_MAX_BYTES],
                        struct err *err)
{
    char name[KEY_FILE_NAME_MAX_BYTES];
    keyfile_name(role, number, name);
    return disk_join(path, folder, name, err);
}

static int public_path_of(const char *path, char public_path[DISK_PATH_MAX_BYTES], struct err *err)
{
    int size = snprintf(public_path, DISK_PATH_MAX_BYTES, "%s.pub", path);
    return size > 0 && size < DISK_PATH_MAX_BYTES ? 0 : err_set(err, ERR_TOO_LARGE, "path too long: %.60s…", path);
}

/* ERR_NOT_FOUND when there is no such generation. */
static int load_generation(struct disk *disk, const char *folder, enum key_role role, uint32_t number,
                           struct key_generation *ret, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    char public_path[DISK_PATH_MAX_BYTES];
    struct note_signer signer;
    struct note_verifier verifier = {.name = ""};
    size_t count = 0;
    int code = private_path(folder, role, number, path, err);
    if (code == 0)
        code = public_path_of(path, public_path, err);
    if (code == 0)
        code = keyfile_load_public(disk, public_path, &verifier, 1, &count, err);
    if (code != 0 && !(code == ERR_NOT_FOUND && number == 1))
        return code;
    code = keyfile_load(disk, path, &signer, err);
    bool is_private = code == 0;
    if (is_private && count == 1 &&
        (strcmp(signer.verifier.name, verifier.name) != 0 ||
         memcmp(signer.verifier.public_key, verifier.public_key, 32) != 0))
        code = err_set(err, ERR_MISMATCH, "%s is of %.100s, and not the key of which %s is the public half", path,
                       signer.verifier.name, public_path);
    if (is_private && count == 0)
        verifier = signer.verifier;
    note_signer_wipe(&signer);
    if (code == 0 || code == ERR_NOT_FOUND)
        *ret = (struct key_generation){.number = number, .is_private = is_private, .verifier = verifier};
    return code == ERR_NOT_FOUND ? 0 : code;
}

int keyfile_generations(struct disk *disk, const char *folder, enum key_role role, struct key_generation *ret,
                        size_t *ret_count, struct err *err)
{
    size_t count = 0;
    int code = 0;
    while (code == 0 && count < KEY_GENERATIONS_MAX) {
        code = load_generation(disk, folder, role, (uint32_t)count + 1, &ret[count], err);
        count += code == 0;
    }
    if (code != 0 && code != ERR_NOT_FOUND)
        return code;
    *ret_count = count;
    return 0;
}

int keyfile_destroy(struct disk *disk, const char *folder, enum key_role role, uint32_t number, struct err *err)
{
    static const uint8_t zeros[512];
    char path[DISK_PATH_MAX_BYTES];
    struct disk_file *file = NULL;
    uint64_t size = 0;
    int code = private_path(folder, role, number, path, err);
    if (code == 0)
        code = disk_open(disk, path, DISK_WRITE, &file, err);
    if (code == 0)
        code = disk_size(file, &size, err);
    for (uint64_t at = 0; code == 0 && at < size; at += sizeof(zeros))
        code = disk_write(file, at, zeros, size - at < sizeof(zeros) ? (size_t)(size - at) : sizeof(zeros), err);
    if (code == 0)
        code = disk_sync(file, err);
    disk_close(file);
    if (code == 0)
        code = disk_remove(disk, path, err);
    return code == 0 ? disk_sync_dir(disk, folder, err) : code;
}
