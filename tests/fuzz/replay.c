/* main of the fuzz programs outside MODE=fuzz: runs the target on the files given, and on all files below the folders
 * given, so that a corpus and every finding of the past are checked by a plain test. */
#include <sys/stat.h>

#include "fuzz/fuzz.h"
#include "support/files.h"

enum { INPUT_MAX_BYTES = 64 * 1024 * 1024 };

static void replay(void *context, const char *path)
{
    struct buf input;
    (void)context;
    buf_init(&input, INPUT_MAX_BYTES);
    files_read(path, &input);
    /* A copy of exactly its size: reading past the end is seen. */
    uint8_t *copy = malloc(input.size_bytes == 0 ? 1 : input.size_bytes);
    if (copy == NULL)
        abort();
    if (input.size_bytes > 0)
        memcpy(copy, input.data, input.size_bytes);
    size_t size = input.size_bytes;
    buf_free(&input);
    fprintf(stderr, "%s\n", path); /* whoever aborts has said at which file */
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

int main(int argc, char **argv)
{
    size_t count = 0;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        struct stat status;
        if (stat(argv[i], &status) != 0) {
            fprintf(stderr, "%s: cannot read %s\n", argv[0], argv[i]);
            return 2;
        }
        if (S_ISDIR(status.st_mode)) {
            count += files_walk(argv[i], "", replay, NULL);
        } else {
            replay(NULL, argv[i]);
            count++;
        }
    }
    printf("%s: %zu inputs\n", argv[0], count);
    return count == 0 ? 2 : 0;
}
