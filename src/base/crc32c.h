/* The table-driven CRC-32C, visible so that tests can hold it against the CPU's. Everybody else calls crc32c() of
 * bytes.h. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include "base/bytes.h"

uint32_t crc32c_portable(uint32_t crc, struct bytes data);

#endif
