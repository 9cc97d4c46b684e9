/* A table of protoc's FileDescriptorProtos, searched by file name and by symbol: what server reflection answers from.
 * Borrows the descriptor set. */
#ifndef RPC_REFLECTION_H
#define RPC_REFLECTION_H

#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

enum { REFLECTION_FILES_MAX = 32, REFLECTION_SERVICES_MAX = 32, REFLECTION_IMPORTS_MAX = 16 };

struct reflection_file {
    struct bytes descriptor;
    struct bytes name;
    struct bytes package;
    size_t import_count;
    struct bytes imports[REFLECTION_IMPORTS_MAX];
};

struct reflection {
    size_t file_count;
    struct reflection_file files[REFLECTION_FILES_MAX];
    size_t service_count;
    char services[REFLECTION_SERVICES_MAX][256]; /* full names */
};

/* ERR_CORRUPT when the bytes are not a FileDescriptorSet, ERR_TOO_LARGE when it does not fit the table. */
int reflection_init(struct reflection *reflection, struct bytes descriptor_set, struct err *err) MUST_USE;
/* NULL when there is none. */
const struct reflection_file *reflection_find_file(const struct reflection *reflection, struct bytes name);
/* The file that declares the fully qualified symbol: a service, method, message, field, enum or value. NULL when there
 * is none. */
const struct reflection_file *reflection_find_symbol(const struct reflection *reflection, struct bytes symbol);
/* The file and everything it imports, each once, the file first. ret_files has room for REFLECTION_FILES_MAX. */
size_t reflection_closure(const struct reflection *reflection, const struct reflection_file *file,
                          const struct reflection_file **ret_files);

#endif
