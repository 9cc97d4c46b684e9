/* Decoding protobuf-c messages under a memory ceiling. A few bytes on the wire can ask for a hundred times as much
 * memory (a repeated field of empty messages), so every message is unpacked into an arena whose limit is the limit of
 * the message. */
#ifndef CLIENT_DECODE_H
#define CLIENT_DECODE_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"

/* For the …__unpack functions. The message lives as long as the arena's contents and is never freed by
 * …__free_unpacked. */
ProtobufCAllocator decode_allocator(struct arena *arena);

#endif
