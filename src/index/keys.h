/* The key of a stream: it starts with the length of its context, so that no two streams share one. The region's overlay
 * uses it, too. */
#ifndef INDEX_KEYS_H
#define INDEX_KEYS_H

#include "base/assert.h"
#include "index/index.h"

enum { STREAM_KEY_MAX_BYTES = 2 + ENTRY_NAME_MAX_BYTES + ENTRY_STREAM_MAX_BYTES };

static inline size_t put_stream_key(struct bytes context, struct bytes stream, uint8_t out[STREAM_KEY_MAX_BYTES])
{
    PRE(context.size_bytes <= ENTRY_NAME_MAX_BYTES);
    PRE(stream.size_bytes <= ENTRY_STREAM_MAX_BYTES);
    put_u16_be(out, (uint16_t)context.size_bytes);
    if (context.size_bytes > 0)
        memcpy(out + 2, context.data, context.size_bytes);
    if (stream.size_bytes > 0)
        memcpy(out + 2 + context.size_bytes, stream.data, stream.size_bytes);
    return 2 + context.size_bytes + stream.size_bytes;
}

#endif
