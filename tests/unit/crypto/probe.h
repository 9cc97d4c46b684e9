/* The proof probes of transparency-dev/merkle (tests/vectors/merkle): one JSON file each. */
#ifndef TEST_CRYPTO_PROBE_H
#define TEST_CRYPTO_PROBE_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/merkle.h"

struct probe {
    struct buf text;
    json_t *object;
};

struct probe_count {
    size_t accepted;
    size_t refused;
};

struct probe probe_load(const char *path);
/* The probes also try hashes that are too short. A struct hash cannot be, so what is missing is filled up; differently
 * for leaves and for roots, so that two that are missing altogether stay different. */
struct hash probe_hash(const struct probe *probe, const char *name, uint8_t fill);
uint64_t probe_number(const struct probe *probe, const char *name);
size_t probe_proof(const struct probe *probe, struct hash out[MERKLE_PROOF_MAX]);
/* The verifier said code; dies when the probe wants something else, counts it and frees the probe otherwise. */
void probe_settle(struct probe_count *count, const char *path, struct probe *probe, int code, const struct err *err);

#endif
