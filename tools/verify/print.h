/* What the commands use to print (print.c). */
#ifndef VERIFY_PRINT_H
#define VERIFY_PRINT_H

#include <jansson.h>

#include "verify/verify.h"

/* Base64; out holds BASE64_ENCODED_SIZE(HASH_SIZE) + 1 bytes and is returned. */
const char *hash_text(const struct hash *hash, char *out);
json_t *hash_json(const struct hash *hash);
/* A text that may hold names of files, which need not be UTF-8: then with "?" for each byte that is not ASCII. */
json_t *shown_json(const char *text);
json_t *log_json(const struct log_report *report);
/* Prints and releases. */
void print_json(json_t *object);

#endif
