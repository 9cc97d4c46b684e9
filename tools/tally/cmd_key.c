/* tally key: which keys a region has, and replacing them. On the data directory; changes need the server stopped, for
 * it reads keys at its start only. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "commands.h"
#include "crypto/keyring.h"
#include "datadir.h"
#include "keys.h"
#include "output.h"

struct key_options {
    const char *data;
    bool json;
};

/* --- Listing --- */

static const char *state_of(const struct keys *keys, const struct key_generation *generation, enum key_role role)
{
    const struct key_generation *oldest = NULL;
    if (!generation->is_private)
        return generation->number == keys->counts[role] ? "LOST" : "retired";
    return keys_signing(keys, role, &oldest) < 2 ? "signs" : generation == oldest ? "signs, old" : "signs, new";
}

static int show(const struct key_options *options, const struct keys *keys, enum key_role role,
                const struct key_generation *generation, json_t *list, struct err *err)
{
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    char hash[2 * HASH_SIZE + 1];
    char file[KEY_FILE_NAME_MAX_BYTES];
    const char *state = state_of(keys, generation, role);
    note_verifier_format(&generation->verifier, vkey);
    keyfile_name(role, generation->number, file);
    int code = keys_hash(&generation->verifier, hash, err);
    if (code != 0)
        return code;
    if (options->json)
        (void)json_array_append_new(list, json_pack("{s:s,s:i,s:s,s:b,s:s,s:s,s:s}", "role", key_role_name(role),
                                                    "generation", (int)generation->number, "file", file, "signs",
                                                    generation->is_private, "state", state, "public_key", vkey,
                                                    "sha256", hash));
    else
        printf("%-8s %-14s %-11s sha256 %.16s…  %s\n", key_role_name(role), file, state, hash, vkey);
    return 0;
}

static int list(const struct key_options *options, struct err *err)
{
    struct keys *keys = NULL;
    json_t *array = json_array();
    int code = keys_read(options->data, &keys, err);
    for (size_t role = 0; code == 0 && role < KEY_ROLE_COUNT; role++) {
        for (size_t i = 0; code == 0 && i < keys->counts[role]; i++)
            code = show(options, keys, (enum key_role)role, &keys->generations[role][i], array, err);
    }
    mem_free(keys);
    if (code == 0 && options->json)
        return print_json(array, err);
    json_decref(array);
    return code == 0 ? output_flush(err) : code;
}

/* --- Rotating --- */

/* A private key without its public one was left by a crash, before it was ever loaded. */
static int remove_orphan(const char *folder, enum key_role role, uint32_t number, struct err *err)
{
    int code = keyfile_destroy(disk_posix(), folder, role, number, err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

static int add_generation(const struct key_options *options, struct keys *keys, enum key_role role, struct err *err)
{
    const struct key_generation *oldest = NULL;
    char folder[DISK_PATH_MAX_BYTES];
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    size_t count = keys->counts[role];
    struct key_generation *newest = &keys->generations[role][count - 1];
    if (!newest->is_private)
        return err_set(err, ERR_NOT_FOUND, "the newest private key of role %s is not there: restore it first",
                       key_role_name(role));
    if (keys_signing(keys, role, &oldest) >= SIGNERS_MAX) {
        int code = keys_publish(options->data, keys, err);
        return code != 0 ? code
                         : err_set(err, ERR_EXISTS,
                                   "two keys of role %s sign already: finish that rotation with tally key retire %s",
                                   key_role_name(role), key_role_name(role));
    }
    if (count == KEY_GENERATIONS_MAX)
        return err_set(err, ERR_TOO_LARGE, "%d generations of a key is as many as there may be", KEY_GENERATIONS_MAX);
    int code = disk_join(folder, options->data, "keys", err);
    if (code == 0)
        code = remove_orphan(folder, role, (uint32_t)count + 1, err);
    if (code == 0)
        code = keys_make(folder, role, (uint32_t)count + 1, newest->verifier.name, vkey, err);
    if (code == 0)
        code = keyfile_generations(disk_posix(), folder, role, keys->generations[role], &keys->counts[role], err);
    return code == 0 ? keys_publish(options->data, keys, err) : code;
}

static void say_rotated(const struct keys *keys, enum key_role role)
{
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    note_verifier_format(&keys->generations[role][keys->counts[role] - 1].verifier, vkey);
    printf("from the next start on, two %s keys sign; the new one is\n  %s\n", key_role_name(role), vkey);
    if (role == KEY_WITNESS)
        printf("give it to whoever trusts this witness, then: tally key retire witness\n");
    else
        printf("next: start tallyd; bring keys/region.pub to every peer (its keys/peer-….pub) and auditor, restart the "
               "peers;\nwhen all have it: tally key retire %s\n",
               key_role_name(role));
}

/* --- Retiring --- */

/* The log of the largest incarnation, whose checkpoint the key that stays must have signed. */
static int check_signed(const char *data, const struct key_generation *newest, struct err *err)
{
    struct keyring ring = {.count = 1, .keys = {newest->verifier}};
    struct datadir_log *logs = mem_alloc(DATADIR_LOGS_MAX * sizeof(*logs));
    struct origin origin, own;
    const struct datadir_log *latest = NULL;
    struct checkpoint checkpoint;
    uint64_t incarnation = 0;
    size_t count = 0;
    int code = logs == NULL ? err_no_memory(err, "the logs") : datadir_logs(data, logs, &count, err);
    if (code == 0)
        code = origin_parse(bytes_of_string(newest->verifier.name), &own, err);
    for (size_t i = 0; code == 0 && i < count; i++) {
        code = origin_parse(bytes_of_string(logs[i].origin), &origin, err);
        if (code == 0 && strcmp(origin.region, own.region) == 0 && origin.incarnation > incarnation) {
            incarnation = origin.incarnation;
            latest = &logs[i];
        }
    }
    if (code == 0 && (latest == NULL ||
                      datadir_checkpoint(latest->folder, "checkpoint", latest->origin, &ring, &checkpoint, NULL) != 0))
        code = err_set(err, ERR_MISMATCH,
                       "the new key has signed nothing yet: start tallyd, see a checkpoint with both, and retire then");
    mem_free(logs);
    return code;
}

static int retire_oldest(const struct key_options *options, struct keys *keys, enum key_role role, struct err *err)
{
    const struct key_generation *oldest = NULL;
    char folder[DISK_PATH_MAX_BYTES];
    size_t signing = keys_signing(keys, role, &oldest);
    if (signing < 2)
        return err_set(err, ERR_NOT_FOUND,
                       "only one key of role %s signs: tally key rotate %s makes the next one first",
                       key_role_name(role), key_role_name(role));
    int code = role != KEY_LOG ? 0 : check_signed(options->data, &keys->generations[role][keys->counts[role] - 1], err);
    if (code != 0)
        return code;
    struct key_generation *retiring = &keys->generations[role][oldest->number - 1];
    PRE(retiring == oldest);
    retiring->is_private = false;
    code = keys_publish(options->data, keys, err);
    if (code == 0)
        code = disk_join(folder, options->data, "keys", err);
    return code == 0 ? keyfile_destroy(disk_posix(), folder, role, retiring->number, err) : code;
}

static void say_retired(enum key_role role)
{
    printf("the old private %s key is destroyed here (backups and the disk's spare blocks may still hold it); its "
           "public key stays\n",
           key_role_name(role));
    if (role != KEY_WITNESS)
        printf("next: start tallyd, bring keys/region.pub to every peer and restart it; auditors take the old key out "
               "of the\npolicy for new checkpoints, and keep it for old ones\n");
}

/* --- The command --- */

static int change(const struct key_options *options, enum key_role role, bool rotate, struct err *err)
{
    struct disk_file *lock = NULL;
    struct keys *keys = NULL;
    int code = datadir_lock(options->data, &lock, err);
    if (code != 0)
        return code;
    code = keys_read(options->data, &keys, err);
    if (code == 0)
        code = rotate ? add_generation(options, keys, role, err) : retire_oldest(options, keys, role, err);
    disk_close(lock);
    if (code == 0 && options->json)
        code =
            print_json(json_pack("{s:s,s:s}", "role", key_role_name(role), "done", rotate ? "rotate" : "retire"), err);
    else if (code == 0 && rotate)
        say_rotated(keys, role);
    else if (code == 0)
        say_retired(role);
    mem_free(keys);
    return code == 0 ? output_flush(err) : code;
}

static int run_key(const struct command *command, int argc, char **argv)
{
    struct key_options options = {0};
    const struct option table[] = {
        {"data", "DIR", OPTION_TEXT, &options.data, "required; the region's data directory"},
        OPTION_JSON(options),
    };
    struct arguments arguments;
    int exit_with = 0;
    enum key_role role = KEY_LOG;
    if (!options_parse(command, OPTIONS(table), argc, argv, 1, 2, &arguments, &exit_with))
        return exit_with;
    const char *what = arguments.items[0];
    bool is_list = strcmp(what, "list") == 0;
    bool is_rotate = strcmp(what, "rotate") == 0;
    if (options.data == NULL)
        return usage_error(command, "--data is required");
    if (!is_list && !is_rotate && strcmp(what, "retire") != 0)
        return usage_error(command, "\"%.40s\" is neither list, rotate nor retire", what);
    if (is_list != (arguments.count == 1))
        return usage_error(command, is_list ? "list takes no role" : "name a role: log, cosign or witness");
    if (!is_list && !key_role_parse(arguments.items[1], &role))
        return usage_error(command, "\"%.40s\" is no role: log, cosign or witness", arguments.items[1]);
    struct err err = {0};
    int code = is_list ? list(&options, &err) : change(&options, role, is_rotate, &err);
    return code == 0 ? EXIT_OK : fail(&err, options.json);
}

const struct command command_key = {
    .name = "key",
    .arguments = "list | rotate ROLE | retire ROLE",
    .summary = "a region's keys: show them, and replace one",
    .help =
        "ROLE is log (checkpoints of the region's own log), cosign (what it stores of its peers' logs) or witness "
        "(HTTP\n"
        "add-checkpoint). `rotate` makes the next key; from the next start on both sign, and the log tells it\n"
        "($KeyRotated). `retire` destroys the old private key ($KeyRetired). Both need the server stopped. Peers and\n"
        "auditors believe only keys that a person brings them: keys/region.pub, over a way that they trust. Private "
        "keys\n"
        "are never printed. tools/README.md has the runbook.\n\n"
        "Example:\n"
        "  tally key list --data /var/lib/tally/eu\n"
        "  tally key rotate log --data /var/lib/tally/eu",
    .run = run_key,
};
