/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash for tables, so that whoever chooses the keys cannot choose
 * collisions. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include "base/bytes.h"

uint64_t siphash24(const uint8_t key[16], struct bytes data);

#endif
