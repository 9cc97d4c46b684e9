/* What the tests of entries share. */
#ifndef TEST_ENTRY_SUPPORT_H
#define TEST_ENTRY_SUPPORT_H

#include "entry/entry.h"
#include "entry/frame.h"

/* Every field set, every rule kept. Static storage. */
struct entry sample_entry(void);
/* Encodes into *out (initialised here); asserts success. */
struct bytes encode_sample(const struct entry *entry, struct buf *out);

#endif
