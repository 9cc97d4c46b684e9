/* What the fuzz targets share. A target is one function that takes bytes and must neither crash nor break its
 * properties; libFuzzer calls it in MODE=fuzz, replay.c in every other mode. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property of what was accepted. Not an assert of the product: it is the test that speaks. */
#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Takes a byte off the front: which of a target's parsers is meant. 0 when nothing is left. */
static inline uint8_t fuzz_take_byte(struct bytes *input)
{
    if (input->size_bytes == 0)
        return 0;
    uint8_t first = input->data[0];
    *input = bytes_of(input->data + 1, input->size_bytes - 1);
    return first;
}

#endif
