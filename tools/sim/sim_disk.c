/* The simulated disk (sim_disk.h).
 *
 * A file is a list of 4 KiB pages. A page that was written and not synced keeps its stable bytes beside the new ones;
 * sync drops them. Names are kept twice, as they are and as they are stable, with the changes in between in order:
 * after a power failure each folder keeps a prefix of its unsynced changes, and each unsynced page keeps any of its
 * sectors, old or new.
 *
 * A failed sync leaves its pages written and not stable for ever, as kernels do: a later sync that succeeds says
 * nothing about them. A failed or interrupted durable write leaves any of its sectors stable. */
#include "sim/sim_disk.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { PAGE_BYTES = 4096, PATH_MAX_BYTES = 160, NAMES_MAX = 4096, CHANGES_MAX = 4096 };

struct page {
    uint8_t data[PAGE_BYTES];
    uint8_t *stable; /* bytes on stable storage, when they differ */
    bool given_up;   /* a sync of it failed: no later one makes it stable */
};

struct inode {
    uint32_t reference_count;
    struct page **pages; /* NULL: zeros */
    size_t page_count;
    uint64_t size;
    uint64_t stable_size;
};

struct name {
    char path[PATH_MAX_BYTES];
    struct inode *inode; /* NULL for a folder */
};

struct names {
    struct name *items; /* sorted by path */
    size_t count;
};

/* One change of names. from may be empty (a new file), to may be empty (removed). */
struct change {
    char from[PATH_MAX_BYTES];
    char to[PATH_MAX_BYTES];
    struct inode *inode;
};

struct sim_disk {
    struct disk seam; /* first: disk.c hands it back */
    struct prng prng;
    struct names now;
    struct names stable;
    struct change *changes;
    size_t change_count;
    struct sim_disk_faults faults;
    struct sim_disk_counts counts;
    uint64_t stop_at; /* operations left, 0: never */
    bool stopped;
    struct sim_file *open; /* every open file, to forget them at a restart */
};

struct sim_file {
    struct disk *disk; /* first: disk.c looks here */
    struct inode *inode;
    bool durable;
    struct sim_file *next;
};

static struct sim_disk *disk_of(struct disk *seam)
{
    return (struct sim_disk *)(void *)seam;
}

static struct sim_file *file_of(struct disk_file *file)
{
    return (struct sim_file *)(void *)file;
}

static void *must(void *memory)
{
    INVARIANT(memory != NULL);
    return memory;
}

static bool chance(struct sim_disk *disk, uint32_t ppm)
{
    return ppm > 0 && prng_below(&disk->prng, 1000000) < ppm;
}

/* --- Inodes --- */

static struct inode *hold(struct inode *inode)
{
    if (inode != NULL)
        inode->reference_count++;
    return inode;
}

static void let_go(struct inode *inode)
{
    if (inode == NULL || --inode->reference_count > 0)
        return;
    for (size_t i = 0; i < inode->page_count; i++) {
        if (inode->pages[i] != NULL)
            mem_free(inode->pages[i]->stable);
        mem_free(inode->pages[i]);
    }
    mem_free(inode->pages);
    mem_free(inode);
}

static struct page *page_at(struct inode *inode, uint64_t number)
{
    if (number >= inode->page_count) {
        size_t count = (size_t)number + 1;
        inode->pages = must(mem_resize(inode->pages, count * sizeof(struct page *)));
        memset(inode->pages + inode->page_count, 0, (count - inode->page_count) * sizeof(struct page *));
        inode->page_count = count;
    }
    if (inode->pages[number] == NULL)
        inode->pages[number] = must(mem_alloc_zero(1, sizeof(struct page)));
    return inode->pages[number];
}

/* Before a page changes: remember what is stable. */
static struct page *touch(struct inode *inode, uint64_t number)
{
    struct page *page = page_at(inode, number);
    if (page->stable == NULL) {
        page->stable = must(mem_alloc(PAGE_BYTES));
        memcpy(page->stable, page->data, PAGE_BYTES);
    }
    return page;
}

static void put_bytes(struct inode *inode, uint64_t offset, const uint8_t *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        uint64_t at = offset + done;
        size_t inside = (size_t)(at % PAGE_BYTES);
        size_t run = size - done < PAGE_BYTES - inside ? size - done : PAGE_BYTES - inside;
        memcpy(touch(inode, at / PAGE_BYTES)->data + inside, data + done, run);
        done += run;
    }
    if (offset + size > inode->size)
        inode->size = offset + size;
}

static void settle_page(struct page *page)
{
    mem_free(page->stable);
    page->stable = NULL;
    page->given_up = false;
}

static void make_stable(struct inode *inode)
{
    for (size_t i = 0; i < inode->page_count; i++) {
        if (inode->pages[i] != NULL && !inode->pages[i]->given_up)
            settle_page(inode->pages[i]);
    }
    inode->stable_size = inode->size;
}

/* Each sector that is not stable becomes the old or the new one. */
static void lose_sectors(struct sim_disk *disk, struct page *page)
{
    for (size_t at = 0; at < PAGE_BYTES; at += SIM_DISK_SECTOR_BYTES) {
        if (prng_below(&disk->prng, 2) == 0)
            continue;
        if (memcmp(page->data + at, page->stable + at, SIM_DISK_SECTOR_BYTES) != 0)
            disk->counts.lost_sectors++;
        memcpy(page->data + at, page->stable + at, SIM_DISK_SECTOR_BYTES);
    }
    settle_page(page);
}

static void lose_unsynced(struct sim_disk *disk, struct inode *inode)
{
    for (size_t i = 0; i < inode->page_count; i++) {
        if (inode->pages[i] != NULL && inode->pages[i]->stable != NULL)
            lose_sectors(disk, inode->pages[i]);
    }
    if (inode->size != inode->stable_size && prng_below(&disk->prng, 2) == 0)
        inode->size = inode->stable_size;
    inode->stable_size = inode->size;
}

/* --- Names --- */

/* The place of a path, or where it belongs. */
static size_t find_name(const struct names *names, const char *path, bool *ret_found)
{
    size_t low = 0;
    size_t high = names->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(names->items[middle].path, path);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

static struct name *get_name(const struct names *names, const char *path)
{
    bool found = false;
    size_t at = find_name(names, path, &found);
    return found ? &names->items[at] : NULL;
}

static void set_name(struct names *names, const char *path, struct inode *inode)
{
    bool found = false;
    size_t at = find_name(names, path, &found);
    if (found) {
        struct inode *before = names->items[at].inode;
        names->items[at].inode = hold(inode);
        let_go(before);
        return;
    }
    INVARIANT(names->count < NAMES_MAX);
    memmove(names->items + at + 1, names->items + at, (names->count - at) * sizeof(struct name));
    names->count++;
    copy_string(names->items[at].path, PATH_MAX_BYTES, path);
    names->items[at].inode = hold(inode);
}

static void drop_name(struct names *names, const char *path)
{
    bool found = false;
    size_t at = find_name(names, path, &found);
    if (!found)
        return;
    let_go(names->items[at].inode);
    names->count--;
    memmove(names->items + at, names->items + at + 1, (names->count - at) * sizeof(struct name));
}

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        let_go(names->items[i].inode);
    names->count = 0;
}

static void copy_names(struct names *to, const struct names *from)
{
    free_names(to);
    for (size_t i = 0; i < from->count; i++)
        set_name(to, from->items[i].path, from->items[i].inode);
}

static void apply_change(struct names *names, const struct change *change)
{
    if (change->to[0] != '\0')
        set_name(names, change->to, change->inode);
    if (change->from[0] != '\0')
        drop_name(names, change->from);
}

static void record(struct sim_disk *disk, const char *from, const char *to, struct inode *inode)
{
    INVARIANT(disk->change_count < CHANGES_MAX);
    struct change *change = &disk->changes[disk->change_count++];
    *change = (struct change){.inode = hold(inode)};
    copy_string(change->from, PATH_MAX_BYTES, from);
    copy_string(change->to, PATH_MAX_BYTES, to);
    apply_change(&disk->now, change);
}

static size_t folder_size(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path);
}

static bool lies_in(const char *path, const char *folder)
{
    size_t size = strlen(folder);
    return folder_size(path) == size && memcmp(path, folder, size) == 0;
}

static const char *change_path(const struct change *change)
{
    return change->to[0] != '\0' ? change->to : change->from;
}

static void forget_changes(struct sim_disk *disk)
{
    for (size_t i = 0; i < disk->change_count; i++)
        let_go(disk->changes[i].inode);
    disk->change_count = 0;
}

/* Each folder keeps a prefix of its unsynced changes. */
static void lose_names(struct sim_disk *disk)
{
    char folders_cut[64][PATH_MAX_BYTES];
    size_t cut_count = 0;
    for (size_t i = 0; i < disk->change_count; i++) {
        const struct change *change = &disk->changes[i];
        const char *path = change_path(change);
        bool cut = false;
        for (size_t f = 0; f < cut_count; f++)
            cut = cut || lies_in(path, folders_cut[f]);
        if (!cut && prng_below(&disk->prng, 3) == 0 && cut_count < 64) {
            snprintf(folders_cut[cut_count++], PATH_MAX_BYTES, "%.*s", (int)folder_size(path), path);
            cut = true;
        }
        if (cut)
            disk->counts.lost_names++;
        else
            apply_change(&disk->stable, change);
    }
    forget_changes(disk);
    copy_names(&disk->now, &disk->stable);
}

/* --- Faults --- */

static int fail_stopped(struct err *err)
{
    return err_set(err, ERR_IO, "the simulated process was stopped");
}

/* One more operation that changes something. *ret_cut: it is the one that is cut short. */
static int begin(struct sim_disk *disk, bool *ret_cut, struct err *err)
{
    *ret_cut = false;
    if (disk->stopped)
        return fail_stopped(err);
    disk->counts.operations++;
    if (disk->stop_at > 0 && --disk->stop_at == 0) {
        disk->stopped = true;
        *ret_cut = true;
    }
    return 0;
}

static uint64_t used_bytes(const struct sim_disk *disk)
{
    uint64_t used = 0;
    for (size_t i = 0; i < disk->now.count; i++)
        used += disk->now.items[i].inode == NULL ? 0 : disk->now.items[i].inode->size;
    return used;
}

static int check_room(struct sim_disk *disk, const struct inode *inode, uint64_t end, struct err *err)
{
    if (disk->faults.full_at_bytes == UINT64_MAX || end <= inode->size)
        return 0;
    if (used_bytes(disk) + (end - inode->size) <= disk->faults.full_at_bytes)
        return 0;
    disk->counts.full++;
    return err_set(err, ERR_NO_SPACE, "the simulated disk is full");
}

/* --- The seam --- */

static int sim_open(struct disk *seam, const char *path, unsigned flags, struct disk_file **ret, struct err *err)
{
    struct sim_disk *disk = disk_of(seam);
    struct name *name = get_name(&disk->now, path);
    bool cut = false;
    if (disk->stopped)
        return fail_stopped(err);
    if (name == NULL && (flags & DISK_CREATE) == 0)
        return err_set(err, ERR_NOT_FOUND, "cannot open %s: not there", path);
    if (name != NULL && (flags & DISK_EXCLUSIVE) != 0)
        return err_set(err, ERR_EXISTS, "cannot open %s: it is there", path);
    if (name != NULL && name->inode == NULL)
        return err_set(err, ERR_INVALID, "%s is a folder", path);
    if (name == NULL) {
        int code = begin(disk, &cut, err);
        if (code != 0 || cut)
            return code != 0 ? code : fail_stopped(err);
        struct inode *inode = must(mem_alloc_zero(1, sizeof(*inode)));
        record(disk, "", path, inode);
        name = get_name(&disk->now, path);
    }
    struct sim_file *file = must(mem_alloc_zero(1, sizeof(*file)));
    *file = (struct sim_file){
        .disk = seam, .inode = hold(name->inode), .durable = (flags & DISK_DURABLE) != 0, .next = disk->open};
    disk->open = file;
    *ret = (struct disk_file *)(void *)file;
    return 0;
}

static void sim_close(struct disk_file *base)
{
    struct sim_file *file = file_of(base);
    struct sim_file **link = &disk_of(file->disk)->open;
    while (*link != file)
        link = &(*link)->next;
    *link = file->next;
    let_go(file->inode);
    mem_free(file);
}

static int sim_read(struct disk_file *base, uint64_t offset, void *out, size_t size, size_t *ret_size, struct err *err)
{
    struct sim_file *file = file_of(base);
    const struct inode *inode = file->inode;
    if (disk_of(file->disk)->stopped)
        return fail_stopped(err);
    size_t wanted = offset >= inode->size ? 0 : size;
    if (wanted > inode->size - (wanted == 0 ? 0 : offset) && wanted > 0)
        wanted = (size_t)(inode->size - offset);
    for (size_t done = 0; done < wanted;) {
        uint64_t at = offset + done;
        size_t inside = (size_t)(at % PAGE_BYTES);
        size_t run = wanted - done < PAGE_BYTES - inside ? wanted - done : PAGE_BYTES - inside;
        uint64_t number = at / PAGE_BYTES;
        const struct page *page = number < inode->page_count ? inode->pages[number] : NULL;
        if (page == NULL)
            memset((uint8_t *)out + done, 0, run);
        else
            memcpy((uint8_t *)out + done, page->data + inside, run);
        done += run;
    }
    *ret_size = wanted;
    return 0;
}

/* A durable write that did not come to its end: any of its sectors may be on the disk, and they stay. */
static void tear(struct sim_disk *disk, struct inode *inode, uint64_t offset, const uint8_t *data, size_t size)
{
    put_bytes(inode, offset, data, size);
    for (uint64_t number = offset / PAGE_BYTES; number * PAGE_BYTES < offset + size; number++)
        lose_sectors(disk, page_at(inode, number));
    inode->stable_size = inode->size;
    disk->counts.torn_writes++;
}

static int sim_write(struct disk_file *base, uint64_t offset, const void *data, size_t size, struct err *err)
{
    struct sim_file *file = file_of(base);
    struct sim_disk *disk = disk_of(file->disk);
    bool cut = false;
    if (file->durable) {
        PRE(offset % DISK_ALIGNMENT_BYTES == 0);
        PRE(size % DISK_ALIGNMENT_BYTES == 0);
    }
    int code = begin(disk, &cut, err);
    if (code == 0)
        code = check_room(disk, file->inode, offset + size, err);
    if (code != 0)
        return code;
    if (cut || chance(disk, disk->faults.write_error_ppm)) {
        disk->counts.write_errors += cut ? 0 : 1;
        if (file->durable)
            tear(disk, file->inode, offset, data, size);
        else
            put_bytes(file->inode, offset, data, (size_t)prng_below(&disk->prng, size + 1));
        return cut ? fail_stopped(err) : err_set(err, ERR_IO, "a simulated write failed");
    }
    put_bytes(file->inode, offset, data, size);
    if (file->durable) {
        for (uint64_t number = offset / PAGE_BYTES; number * PAGE_BYTES < offset + size; number++)
            settle_page(page_at(file->inode, number));
        file->inode->stable_size = file->inode->size;
    }
    return 0;
}

static int sim_sync(struct disk_file *base, struct err *err)
{
    struct sim_file *file = file_of(base);
    struct sim_disk *disk = disk_of(file->disk);
    bool cut = false;
    int code = begin(disk, &cut, err);
    if (code != 0)
        return code;
    if (cut)
        return fail_stopped(err);
    if (chance(disk, disk->faults.sync_error_ppm)) {
        disk->counts.sync_errors++;
        for (size_t i = 0; i < file->inode->page_count; i++) {
            if (file->inode->pages[i] != NULL && file->inode->pages[i]->stable != NULL)
                file->inode->pages[i]->given_up = true;
        }
        return err_set(err, ERR_IO, "a simulated sync failed");
    }
    make_stable(file->inode);
    return 0;
}

static int sim_size(struct disk_file *base, uint64_t *ret_size, struct err *err)
{
    if (disk_of(file_of(base)->disk)->stopped)
        return fail_stopped(err);
    *ret_size = file_of(base)->inode->size;
    return 0;
}

static int sim_allocate(struct disk_file *base, uint64_t size_bytes, struct err *err)
{
    struct sim_file *file = file_of(base);
    struct sim_disk *disk = disk_of(file->disk);
    bool cut = false;
    int code = begin(disk, &cut, err);
    if (code == 0)
        code = cut ? fail_stopped(err) : check_room(disk, file->inode, size_bytes, err);
    if (code == 0 && size_bytes > file->inode->size)
        file->inode->size = size_bytes;
    return code;
}

static int sim_truncate(struct disk_file *base, uint64_t size_bytes, struct err *err)
{
    struct sim_file *file = file_of(base);
    struct inode *inode = file->inode;
    bool cut = false;
    int code = begin(disk_of(file->disk), &cut, err);
    if (code != 0 || cut)
        return code != 0 ? code : fail_stopped(err);
    for (uint64_t number = size_bytes / PAGE_BYTES; number < inode->page_count; number++) {
        if (inode->pages[number] == NULL)
            continue;
        size_t keep = number == size_bytes / PAGE_BYTES ? (size_t)(size_bytes % PAGE_BYTES) : 0;
        memset(touch(inode, number)->data + keep, 0, PAGE_BYTES - keep);
    }
    inode->size = size_bytes;
    return 0;
}

static bool sim_is_direct(struct disk_file *base)
{
    return file_of(base)->durable;
}

static int sim_lock(struct disk_file *base, struct err *err)
{
    (void)base;
    (void)err;
    return 0;
}

static int sim_make_dir(struct disk *seam, const char *path, struct err *err)
{
    struct sim_disk *disk = disk_of(seam);
    bool cut = false;
    if (get_name(&disk->now, path) != NULL)
        return disk->stopped ? fail_stopped(err) : 0;
    const char *slash = strrchr(path, '/');
    if (slash != NULL && slash != path) {
        char parent[PATH_MAX_BYTES];
        snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
        int code = sim_make_dir(seam, parent, err);
        if (code != 0)
            return code;
    }
    int code = begin(disk, &cut, err);
    if (code != 0 || cut)
        return code != 0 ? code : fail_stopped(err);
    set_name(&disk->now, path, NULL);
    set_name(&disk->stable, path, NULL);
    return 0;
}

static int sim_sync_dir(struct disk *seam, const char *path, struct err *err)
{
    struct sim_disk *disk = disk_of(seam);
    bool cut = false;
    int code = begin(disk, &cut, err);
    if (code != 0 || cut)
        return code != 0 ? code : fail_stopped(err);
    if (chance(disk, disk->faults.sync_error_ppm)) {
        disk->counts.sync_errors++;
        return err_set(err, ERR_IO, "a simulated sync of a folder failed");
    }
    size_t kept = 0;
    for (size_t i = 0; i < disk->change_count; i++) {
        struct change change = disk->changes[i];
        if (!lies_in(change_path(&change), path)) {
            disk->changes[kept++] = change;
            continue;
        }
        apply_change(&disk->stable, &change);
        let_go(change.inode);
    }
    disk->change_count = kept;
    return 0;
}

enum { LISTED_MAX = 4096 }; /* in one folder */

static int sim_list(struct disk *seam, const char *path, disk_list_fn *each, void *context, struct err *err)
{
    struct sim_disk *disk = disk_of(seam);
    char names[LISTED_MAX][PATH_MAX_BYTES];
    bool folders[LISTED_MAX];
    size_t count = 0;
    if (disk->stopped)
        return fail_stopped(err);
    if (get_name(&disk->now, path) == NULL)
        return err_set(err, ERR_NOT_FOUND, "cannot list folder %s: not there", path);
    for (size_t i = 0; i < disk->now.count && count < LISTED_MAX; i++) {
        const struct name *name = &disk->now.items[i];
        if (!lies_in(name->path, path))
            continue;
        copy_string(names[count], PATH_MAX_BYTES, name->path + strlen(path) + 1);
        folders[count++] = name->inode == NULL;
    }
    INVARIANT(count < LISTED_MAX);
    int code = 0;
    for (size_t i = 0; code == 0 && i < count; i++)
        code = each(context, names[i], folders[i]);
    return code;
}

static int sim_rename(struct disk *seam, const char *from, const char *to, struct err *err)
{
    struct sim_disk *disk = disk_of(seam);
    struct name *name = get_name(&disk->now, from);
    bool cut = false;
    int code = begin(disk, &cut, err);
    if (code != 0 || cut)
        return code != 0 ? code : fail_stopped(err);
    if (name == NULL)
        return err_set(err, ERR_NOT_FOUND, "cannot rename %s: not there", from);
    record(disk, from, to, name->inode);
    return 0;
}

static int sim_remove(struct disk *seam, const char *path, struct err *err)
{
    struct sim_disk *disk = disk_of(seam);
    bool cut = false;
    if (disk->stopped)
        return fail_stopped(err);
    if (get_name(&disk->now, path) == NULL)
        return err_set(err, ERR_NOT_FOUND, "cannot remove %s: not there", path);
    int code = begin(disk, &cut, err);
    if (code != 0 || cut)
        return code != 0 ? code : fail_stopped(err);
    record(disk, path, "", NULL);
    return 0;
}

static int sim_mode(struct disk *seam, const char *path, uint32_t *ret_mode, struct err *err)
{
    struct sim_disk *disk = disk_of(seam);
    if (get_name(&disk->now, path) == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s is not there", path);
    *ret_mode = 0644;
    return 0;
}

static const struct disk_ops operations = {
    .open = sim_open,
    .close = sim_close,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .size = sim_size,
    .allocate = sim_allocate,
    .truncate = sim_truncate,
    .is_direct = sim_is_direct,
    .lock = sim_lock,
    .make_dir = sim_make_dir,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .rename = sim_rename,
    .remove = sim_remove,
    .mode = sim_mode,
};

/* --- Life cycle --- */

struct sim_disk *sim_disk_new(uint64_t seed)
{
    struct sim_disk *disk = must(mem_alloc_zero(1, sizeof(*disk)));
    disk->seam.ops = &operations;
    prng_seed(&disk->prng, seed);
    disk->now.items = must(mem_alloc_zero(NAMES_MAX, sizeof(struct name)));
    disk->stable.items = must(mem_alloc_zero(NAMES_MAX, sizeof(struct name)));
    disk->changes = must(mem_alloc_zero(CHANGES_MAX, sizeof(struct change)));
    disk->faults.full_at_bytes = UINT64_MAX;
    return disk;
}

void sim_disk_free(struct sim_disk *disk)
{
    if (disk == NULL)
        return;
    PRE(disk->open == NULL);
    forget_changes(disk);
    free_names(&disk->now);
    free_names(&disk->stable);
    mem_free(disk->now.items);
    mem_free(disk->stable.items);
    mem_free(disk->changes);
    mem_free(disk);
}

struct disk *sim_disk_seam(struct sim_disk *disk)
{
    return &disk->seam;
}

void sim_disk_set_faults(struct sim_disk *disk, const struct sim_disk_faults *faults)
{
    disk->faults = *faults;
}

const struct sim_disk_counts *sim_disk_counts(const struct sim_disk *disk)
{
    return &disk->counts;
}

void sim_disk_stop_at(struct sim_disk *disk, uint64_t at)
{
    disk->stop_at = at;
}

bool sim_disk_stopped(const struct sim_disk *disk)
{
    return disk->stopped;
}

void sim_disk_restart(struct sim_disk *disk, bool power_lost)
{
    PRE(disk->open == NULL);
    disk->stopped = false;
    disk->stop_at = SIM_DISK_NEVER;
    if (!power_lost)
        return;
    lose_names(disk);
    for (size_t i = 0; i < disk->now.count; i++) {
        if (disk->now.items[i].inode != NULL)
            lose_unsynced(disk, disk->now.items[i].inode);
    }
}

void sim_disk_erase(struct sim_disk *disk)
{
    PRE(disk->open == NULL);
    forget_changes(disk);
    free_names(&disk->now);
    free_names(&disk->stable);
}

bool sim_disk_rot(struct sim_disk *disk, const char *path, uint64_t offset, unsigned bit)
{
    struct name *name = get_name(&disk->now, path);
    if (name == NULL || name->inode == NULL || offset >= name->inode->size)
        return false;
    page_at(name->inode, offset / PAGE_BYTES)->data[offset % PAGE_BYTES] ^= (uint8_t)(1u << bit);
    return true;
}

void sim_disk_copy_file(struct sim_disk *to, const char *to_path, struct sim_disk *from, const char *from_path)
{
    const struct name *name = get_name(&from->now, from_path);
    PRE(name != NULL && name->inode != NULL);
    struct inode *copy = must(mem_alloc_zero(1, sizeof(*copy)));
    for (size_t i = 0; i < name->inode->page_count; i++) {
        if (name->inode->pages[i] != NULL)
            put_bytes(copy, i * PAGE_BYTES, name->inode->pages[i]->data, PAGE_BYTES);
    }
    copy->size = name->inode->size;
    make_stable(copy);
    set_name(&to->now, to_path, copy);
    set_name(&to->stable, to_path, copy);
}
