/* What operators do with whole disks, by the means of the disk itself: lose what lies below a folder, keep a copy of
 * everything, and put an old copy in its place. The processes that used them are gone, or read on. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/sim.h"

/* Everything below a folder, folders before what they hold. */
struct walk {
    struct sim_disk *disk;
    const char *folder;
    void (*each)(void *context, const char *path, bool is_dir);
    void *context;
};

static void walk(const struct walk *walk);

static int see(void *context, const char *name, bool is_dir)
{
    const struct walk *above = context;
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, above->folder, name, NULL);
    INVARIANT(code == 0);
    above->each(above->context, path, is_dir);
    if (is_dir) {
        struct walk below = *above;
        below.folder = path;
        walk(&below);
    }
    return 0;
}

static void walk(const struct walk *of)
{
    int code = disk_list(sim_disk_seam(of->disk), of->folder, see, (void *)(uintptr_t)of, NULL);
    INVARIANT(code == 0 || code == ERR_NOT_FOUND);
}

struct paths {
    size_t count;
    char items[1024][DISK_PATH_MAX_BYTES];
};

static void note_file(void *context, const char *path, bool is_dir)
{
    struct paths *paths = context;
    INVARIANT(paths->count < 1024);
    if (!is_dir)
        copy_string(paths->items[paths->count++], DISK_PATH_MAX_BYTES, path);
}

void backups_lose_folder(struct node *node, const char *name)
{
    struct paths *paths = sim_must(mem_alloc_zero(1, sizeof(*paths)));
    struct disk *seam = sim_disk_seam(node->disk);
    char folder[DISK_PATH_MAX_BYTES];
    int code = disk_join(folder, node->folder, name, NULL);
    walk(&(struct walk){.disk = node->disk, .folder = folder, .each = note_file, .context = paths});
    for (size_t i = 0; code == 0 && i < paths->count; i++) {
        char *slash = strrchr(paths->items[i], '/');
        code = disk_remove(seam, paths->items[i], NULL);
        *slash = '\0';
        if (code == 0)
            code = disk_sync_dir(seam, paths->items[i], NULL);
    }
    INVARIANT(code == 0);
    mem_free(paths);
}

struct copying {
    struct sim_disk *from, *to;
};

static void copy_one(void *context, const char *path, bool is_dir)
{
    const struct copying *copying = context;
    int code = 0;
    if (is_dir)
        code = disk_make_dir(sim_disk_seam(copying->to), path, NULL);
    else
        sim_disk_copy_file(copying->to, path, copying->from, path);
    INVARIANT(code == 0);
}

static void copy_all(struct node *node, struct sim_disk *from, struct sim_disk *to)
{
    struct copying copying = {.from = from, .to = to};
    int code = disk_make_dir(sim_disk_seam(to), node->folder, NULL);
    INVARIANT(code == 0);
    walk(&(struct walk){.disk = from, .folder = node->folder, .each = copy_one, .context = &copying});
}

void backups_take(struct node *node)
{
    sim_disk_free(node->backup);
    node->backup = sim_disk_new(1);
    copy_all(node, node->disk, node->backup);
}

void backups_restore(struct node *node)
{
    char path[DISK_PATH_MAX_BYTES];
    sim_disk_erase(node->disk);
    copy_all(node, node->backup, node->disk);
    int code = disk_join(path, node->folder, LIFE_RESTORED_MARK, NULL);
    if (code == 0)
        code = disk_replace_file(sim_disk_seam(node->disk), path, BYTES_LITERAL("restored from a backup\n"), 0, NULL);
    INVARIANT(code == 0);
}
