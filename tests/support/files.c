#include "support/files.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static _Noreturn void die(const char *what, const char *path)
{
    fprintf(stderr, "test support: cannot %s %s: %s\n", what, path, strerror(errno));
    abort();
}

char *files_join(const char *folder, const char *name, char *out)
{
    int size = snprintf(out, FILES_PATH_MAX, "%s/%s", folder, name);
    if (size < 0 || size >= FILES_PATH_MAX)
        die("join", folder);
    return out;
}

void files_temp_folder_in(const char *parent, char *out)
{
    files_join(parent, "tallystick-test-XXXXXX", out);
    if (mkdtemp(out) == NULL)
        die("make folder", out);
}

void files_temp_folder(char *out)
{
    const char *parent = getenv("TMPDIR");
    files_temp_folder_in(parent == NULL || parent[0] == '\0' ? "/tmp" : parent, out);
}

void files_temp_folder_within(char *out, size_t size_bytes)
{
    char path[FILES_PATH_MAX];
    files_temp_folder(path);
    if (strlen(path) >= size_bytes)
        die("shorten", path);
    memcpy(out, path, strlen(path) + 1);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

void files_remove_folder(const char *path)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        die("remove folder", path);
}

void files_read(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        die("open", path);
    char chunk[4096];
    size_t got;
    buf_clear(out);
    while ((got = fread(chunk, 1, sizeof(chunk), file)) > 0) {
        if (buf_append(out, bytes_of(chunk, got)) != 0)
            die("hold", path);
    }
    if (ferror(file))
        die("read", path);
    fclose(file);
}

void files_write(const char *path, struct bytes contents)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        die("create", path);
    if (contents.size_bytes > 0 && fwrite(contents.data, 1, contents.size_bytes, file) != contents.size_bytes)
        die("write", path);
    if (fclose(file) != 0)
        die("write", path);
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t size = strlen(text);
    size_t suffix_size = strlen(suffix);
    return size >= suffix_size && strcmp(text + size - suffix_size, suffix) == 0;
}

size_t files_walk(const char *path, const char *suffix, files_each_fn *each, void *context)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0)
        die("list", path);
    size_t found = 0;
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        char full[FILES_PATH_MAX];
        struct stat status;
        files_join(path, name, full);
        if (stat(full, &status) != 0)
            die("stat", full);
        if (S_ISDIR(status.st_mode) && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            found += files_walk(full, suffix, each, context);
        } else if (S_ISREG(status.st_mode) && has_suffix(name, suffix)) {
            each(context, full);
            found++;
        }
        free(names[i]);
    }
    free(names);
    return found;
}
