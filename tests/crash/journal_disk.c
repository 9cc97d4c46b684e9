/* See journal_disk.h. Files are arrays of pages, so that a reserved segment costs nothing until it is written. */
#include "journal_disk.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

enum { PAGE = 4096, SECTOR = 512, FILES_MAX = 256, OPERATIONS_MAX = 4096, NEVER = 0x7fffffff };

enum operation_type { WRITE, RESIZE, CREATE, RENAME, REMOVE, SYNC, SYNC_DIR };

struct contents {
    uint8_t **pages;
    size_t page_count;
    uint64_t size;
};

struct operation {
    enum operation_type type;
    size_t file; /* place in files */
    uint64_t offset;
    uint64_t size;
    uint8_t *data;
    char *path;
    char *target;
    size_t durable_from; /* the operation that makes it durable */
};

struct name {
    char *path;
    size_t file;
};

struct journal_disk {
    struct disk disk; /* first */
    unsigned lies;
    struct contents files[FILES_MAX];
    size_t file_count;
    struct name names[FILES_MAX];
    size_t name_count;
    struct operation operations[OPERATIONS_MAX];
    size_t operation_count;
};

struct journal_file {
    struct disk *disk; /* first: disk.c looks here */
    size_t file;
    bool durable;
};

static struct journal_disk *journal_of(struct disk *disk)
{
    return (struct journal_disk *)(void *)disk;
}

static struct journal_file *file_of(struct disk_file *file)
{
    return (struct journal_file *)(void *)file;
}

/* --- Contents --- */

static void resize(struct contents *contents, uint64_t size)
{
    size_t wanted = (size_t)((size + PAGE - 1) / PAGE);
    for (size_t i = wanted; i < contents->page_count; i++)
        mem_free(contents->pages[i]);
    contents->pages = mem_resize(contents->pages, (wanted + 1) * sizeof(uint8_t *));
    INVARIANT(contents->pages != NULL);
    for (size_t i = contents->page_count; i < wanted; i++)
        contents->pages[i] = NULL;
    contents->page_count = wanted;
    if (size < contents->size && size % PAGE != 0 && contents->pages[wanted - 1] != NULL)
        memset(contents->pages[wanted - 1] + size % PAGE, 0, PAGE - (size_t)(size % PAGE));
    contents->size = size;
}

static void put(struct contents *contents, uint64_t offset, const uint8_t *data, size_t size)
{
    if (offset + size > contents->size)
        resize(contents, offset + size);
    while (size > 0) {
        size_t within = (size_t)(offset % PAGE);
        size_t part = size < PAGE - within ? size : PAGE - within;
        uint8_t **page = &contents->pages[offset / PAGE];
        if (*page == NULL)
            *page = mem_alloc_zero(1, PAGE);
        INVARIANT(*page != NULL);
        memcpy(*page + within, data, part);
        offset += part;
        data += part;
        size -= part;
    }
}

static size_t get(const struct contents *contents, uint64_t offset, uint8_t *out, size_t size)
{
    size_t done = 0;
    while (done < size && offset < contents->size) {
        size_t within = (size_t)(offset % PAGE);
        size_t part = size - done < PAGE - within ? size - done : PAGE - within;
        if (part > contents->size - offset)
            part = (size_t)(contents->size - offset);
        const uint8_t *page = contents->pages[offset / PAGE];
        if (page == NULL)
            memset(out + done, 0, part);
        else
            memcpy(out + done, page + within, part);
        done += part;
        offset += part;
    }
    return done;
}

/* --- Names --- */

static struct name *find_name(struct journal_disk *journal, const char *path)
{
    for (size_t i = 0; i < journal->name_count; i++) {
        if (strcmp(journal->names[i].path, path) == 0)
            return &journal->names[i];
    }
    return NULL;
}

static void drop_name(struct journal_disk *journal, const char *path)
{
    struct name *name = find_name(journal, path);
    if (name == NULL)
        return;
    mem_free(name->path);
    *name = journal->names[--journal->name_count];
}

static void set_name(struct journal_disk *journal, const char *path, size_t file)
{
    drop_name(journal, path);
    INVARIANT(journal->name_count < FILES_MAX);
    journal->names[journal->name_count++] = (struct name){.path = mem_copy_string(path), .file = file};
}

/* --- Remembering --- */

static struct operation *remember(struct journal_disk *journal, enum operation_type type, size_t file)
{
    INVARIANT(journal->operation_count < OPERATIONS_MAX);
    struct operation *operation = &journal->operations[journal->operation_count++];
    *operation = (struct operation){.type = type, .file = file, .durable_from = NEVER};
    return operation;
}

static bool in_folder(const char *path, const char *folder)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && (size_t)(slash - path) == strlen(folder) && strncmp(path, folder, strlen(folder)) == 0;
}

static void settle(struct journal_disk *journal, const struct operation *by)
{
    size_t now = (size_t)(by - journal->operations);
    for (size_t i = 0; i < now; i++) {
        struct operation *operation = &journal->operations[i];
        bool content = operation->type == WRITE || operation->type == RESIZE;
        bool name = operation->type == CREATE || operation->type == RENAME || operation->type == REMOVE;
        bool covered = (by->type == SYNC && content && operation->file == by->file) ||
                       (by->type == SYNC_DIR && name && in_folder(operation->path, by->path));
        if (covered && operation->durable_from == NEVER)
            operation->durable_from = now;
    }
}

/* --- As a disk --- */

static int journal_open(struct disk *disk, const char *path, unsigned flags, struct disk_file **ret, struct err *err)
{
    struct journal_disk *journal = journal_of(disk);
    struct name *name = find_name(journal, path);
    if (name != NULL && (flags & DISK_EXCLUSIVE) != 0)
        return err_set(err, ERR_EXISTS, "%s is there", path);
    if (name == NULL && (flags & DISK_CREATE) == 0)
        return err_set(err, ERR_NOT_FOUND, "%s is not there", path);
    struct journal_file *file = mem_alloc_zero(1, sizeof(*file));
    INVARIANT(file != NULL);
    file->disk = disk;
    file->durable = (flags & DISK_DURABLE) != 0;
    if (name == NULL) {
        INVARIANT(journal->file_count < FILES_MAX);
        file->file = journal->file_count++;
        set_name(journal, path, file->file);
        remember(journal, CREATE, file->file)->path = mem_copy_string(path);
    } else {
        file->file = name->file;
    }
    *ret = (struct disk_file *)(void *)file;
    return 0;
}

static void journal_close(struct disk_file *file)
{
    mem_free(file);
}

static int journal_read(struct disk_file *file, uint64_t offset, void *out, size_t size, size_t *ret_size,
                        struct err *err)
{
    (void)err;
    *ret_size = get(&journal_of(file_of(file)->disk)->files[file_of(file)->file], offset, out, size);
    return 0;
}

static int journal_write(struct disk_file *file, uint64_t offset, const void *data, size_t size, struct err *err)
{
    struct journal_disk *journal = journal_of(file_of(file)->disk);
    struct operation *operation = remember(journal, WRITE, file_of(file)->file);
    (void)err;
    operation->offset = offset;
    operation->size = size;
    operation->data = mem_alloc(size + 1);
    INVARIANT(operation->data != NULL);
    memcpy(operation->data, data, size);
    if (file_of(file)->durable && (journal->lies & JOURNAL_LIE_DURABLE) == 0)
        operation->durable_from = journal->operation_count - 1;
    put(&journal->files[operation->file], offset, data, size);
    return 0;
}

static int journal_sync(struct disk_file *file, struct err *err)
{
    struct journal_disk *journal = journal_of(file_of(file)->disk);
    struct operation *operation = remember(journal, SYNC, file_of(file)->file);
    (void)err;
    if ((journal->lies & JOURNAL_LIE_SYNC) == 0)
        settle(journal, operation);
    return 0;
}

static int journal_size(struct disk_file *file, uint64_t *ret_size, struct err *err)
{
    (void)err;
    *ret_size = journal_of(file_of(file)->disk)->files[file_of(file)->file].size;
    return 0;
}

static int journal_truncate(struct disk_file *file, uint64_t size_bytes, struct err *err)
{
    struct journal_disk *journal = journal_of(file_of(file)->disk);
    (void)err;
    remember(journal, RESIZE, file_of(file)->file)->size = size_bytes;
    resize(&journal->files[file_of(file)->file], size_bytes);
    return 0;
}

static int journal_allocate(struct disk_file *file, uint64_t size_bytes, struct err *err)
{
    uint64_t size = journal_of(file_of(file)->disk)->files[file_of(file)->file].size;
    return size_bytes > size ? journal_truncate(file, size_bytes, err) : 0;
}

static bool journal_is_direct(struct disk_file *file)
{
    (void)file;
    return true;
}

static int journal_lock(struct disk_file *file, struct err *err)
{
    (void)file;
    (void)err;
    return 0;
}

static int journal_make_dir(struct disk *disk, const char *path, struct err *err)
{
    (void)disk;
    (void)path;
    (void)err;
    return 0; /* durable when it returns: platform/disk.h */
}

static int journal_sync_dir(struct disk *disk, const char *path, struct err *err)
{
    struct journal_disk *journal = journal_of(disk);
    struct operation *operation = remember(journal, SYNC_DIR, 0);
    (void)err;
    operation->path = mem_copy_string(path);
    if ((journal->lies & JOURNAL_LIE_SYNC_DIR) == 0)
        settle(journal, operation);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int journal_list(struct disk *disk, const char *path, disk_list_fn *each, void *context, struct err *err)
{
    struct journal_disk *journal = journal_of(disk);
    const char *found[FILES_MAX];
    size_t count = 0;
    int code = 0;
    (void)err;
    for (size_t i = 0; i < journal->name_count; i++) {
        if (in_folder(journal->names[i].path, path))
            found[count++] = strrchr(journal->names[i].path, '/') + 1;
    }
    qsort(found, count, sizeof(found[0]), compare_names);
    for (size_t i = 0; code == 0 && i < count; i++)
        code = each(context, found[i], false);
    return code;
}

static int journal_rename(struct disk *disk, const char *from, const char *to, struct err *err)
{
    struct journal_disk *journal = journal_of(disk);
    struct name *name = find_name(journal, from);
    if (name == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s is not there", from);
    size_t file = name->file;
    struct operation *operation = remember(journal, RENAME, file);
    operation->path = mem_copy_string(from);
    operation->target = mem_copy_string(to);
    drop_name(journal, from);
    set_name(journal, to, file);
    return 0;
}

static int journal_remove(struct disk *disk, const char *path, struct err *err)
{
    struct journal_disk *journal = journal_of(disk);
    if (find_name(journal, path) == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s is not there", path);
    remember(journal, REMOVE, 0)->path = mem_copy_string(path);
    drop_name(journal, path);
    return 0;
}

static int journal_mode(struct disk *disk, const char *path, uint32_t *ret_mode, struct err *err)
{
    if (find_name(journal_of(disk), path) == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s is not there", path);
    *ret_mode = 0644;
    return 0;
}

static const struct disk_ops operations = {
    .open = journal_open,
    .close = journal_close,
    .read = journal_read,
    .write = journal_write,
    .sync = journal_sync,
    .size = journal_size,
    .allocate = journal_allocate,
    .truncate = journal_truncate,
    .is_direct = journal_is_direct,
    .lock = journal_lock,
    .make_dir = journal_make_dir,
    .sync_dir = journal_sync_dir,
    .list = journal_list,
    .rename = journal_rename,
    .remove = journal_remove,
    .mode = journal_mode,
};

/* --- Life cycle --- */

struct journal_disk *journal_disk_new(unsigned lies)
{
    struct journal_disk *journal = mem_alloc_zero(1, sizeof(*journal));
    INVARIANT(journal != NULL);
    journal->disk.ops = &operations;
    journal->lies = lies;
    return journal;
}

void journal_disk_free(struct journal_disk *journal)
{
    for (size_t i = 0; i < journal->operation_count; i++) {
        mem_free(journal->operations[i].data);
        mem_free(journal->operations[i].path);
        mem_free(journal->operations[i].target);
    }
    for (size_t i = 0; i < journal->file_count; i++) {
        for (size_t page = 0; page < journal->files[i].page_count; page++)
            mem_free(journal->files[i].pages[page]);
        mem_free(journal->files[i].pages);
    }
    for (size_t i = 0; i < journal->name_count; i++)
        mem_free(journal->names[i].path);
    mem_free(journal);
}

struct disk *journal_disk_of(struct journal_disk *journal)
{
    return &journal->disk;
}

size_t journal_disk_length(const struct journal_disk *journal)
{
    return journal->operation_count;
}

/* --- After the power failed --- */

static bool chance(struct prng *prng)
{
    return prng_next(prng) % 2 == 0;
}

/* Sectors reach the platter each by itself. */
static void write_torn(struct contents *contents, const struct operation *operation, struct prng *prng)
{
    for (uint64_t at = 0; at < operation->size; at += SECTOR) {
        size_t size = operation->size - at < SECTOR ? (size_t)(operation->size - at) : SECTOR;
        if (chance(prng))
            put(contents, operation->offset + at, operation->data + at, size);
    }
}

static void apply(struct journal_disk *to, const struct operation *operation, bool torn, struct prng *prng)
{
    struct contents *contents = &to->files[operation->file];
    switch (operation->type) {
    case WRITE:
        if (torn)
            write_torn(contents, operation, prng);
        else
            put(contents, operation->offset, operation->data, (size_t)operation->size);
        return;
    case RESIZE:
        resize(contents, operation->size);
        return;
    case CREATE:
        set_name(to, operation->path, operation->file);
        return;
    case RENAME:
        drop_name(to, operation->path);
        set_name(to, operation->target, operation->file);
        return;
    case REMOVE:
        drop_name(to, operation->path);
        return;
    case SYNC:
    case SYNC_DIR:
        return;
    }
}

struct journal_disk *journal_disk_cut(const struct journal_disk *journal, size_t cut, enum journal_mood mood,
                                      struct prng *prng)
{
    struct journal_disk *after = journal_disk_new(0);
    after->file_count = journal->file_count;
    for (size_t i = 0; i < journal->operation_count && i <= cut; i++) {
        const struct operation *operation = &journal->operations[i];
        bool durable = operation->durable_from < cut;
        bool there = durable || mood == JOURNAL_NOTHING_LOST || (mood == JOURNAL_BY_CHANCE && chance(prng));
        if (i == cut && mood == JOURNAL_NOTHING_LOST)
            there = false; /* it had not begun */
        if (there)
            apply(after, operation, !durable && mood == JOURNAL_BY_CHANCE, prng);
    }
    return after;
}
