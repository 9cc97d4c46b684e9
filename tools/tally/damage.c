/* See damage.h. */
#include "damage.h"

#include <inttypes.h>
#include <stdio.h>

#include "output.h"

int damage_prepare(const char *data, const char *key_path, const struct datadir_log *log, const char *evidence,
                   struct sha256 *sha, struct mend *ret, struct err *err)
{
    static const char *const names[] = {"checkpoint", "checkpoint.published"};
    struct origin origin;
    struct keyring keys;
    struct checkpoint checkpoint;
    *ret = (struct mend){
        .disk = disk_posix(), .folder = log->folder, .evidence = evidence, .origin = log->origin, .sha = sha};
    int code = origin_parse(bytes_of_string(log->origin), &origin, err);
    if (code == 0)
        code = datadir_keys(data, key_path, &origin, &keys, err);
    for (size_t i = 0; code == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        code = datadir_checkpoint(log->folder, names[i], log->origin, &keys, &checkpoint, err);
        if (code == ERR_NOT_FOUND) {
            code = 0;
            continue;
        }
        if (code != 0)
            return code;
        ret->goals[ret->goal_count++] = (struct scrub_goal){.size = checkpoint.size, .root = checkpoint.root};
        if (checkpoint.size > ret->required_size)
            ret->required_size = checkpoint.size;
    }
    return code;
}

bool damage_root_differs(const struct mend *mend, uint64_t *ret_size)
{
    for (size_t i = 0; i < mend->goal_count; i++) {
        if (mend->goals[i].compared && !mend->goals[i].matches) {
            *ret_size = mend->goals[i].size;
            return true;
        }
    }
    return false;
}

void damage_print(const struct mend *mend)
{
    for (size_t i = 0; i < mend->finding_count; i++) {
        const struct scrub_finding *finding = &mend->findings[i];
        printf("  DAMAGED entries %" PRIu64 " to %" PRIu64 ": ", finding->first_index, finding->end_index - 1);
        print_string(mend->folder);
        printf("/%020" PRIu64 ".seg, offset %" PRIu64 ": %s\n", finding->segment, finding->offset, finding->what);
    }
}
