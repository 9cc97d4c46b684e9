/* protoc's FileDescriptorSet of every service here, imports included. Generated at build (rules.mk). */
#ifndef RPC_DESCRIPTORS_H
#define RPC_DESCRIPTORS_H

#include <stddef.h>

extern const unsigned char descriptors_data[];
extern const size_t descriptors_size_bytes;

#endif
