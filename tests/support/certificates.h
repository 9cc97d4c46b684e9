/* CAs and certificates for tests, with any times. Made with libcrypto; everything dies with a message on failure. */
#ifndef SUPPORT_CERTIFICATES_H
#define SUPPORT_CERTIFICATES_H

#include <stdint.h>

enum { CERTIFICATES_PEM_MAX_BYTES = 4096 };

struct made_certificate {
    char cert[CERTIFICATES_PEM_MAX_BYTES]; /* PEM */
    char key[CERTIFICATES_PEM_MAX_BYTES];
};

/* issuer NULL: signs itself, and is a CA; otherwise issuer's cert and key sign. ca: it may sign others. usage: an
 * extendedKeyUsage, or NULL. It is for the address 127.0.0.1. Valid from begin_s to end_s, Unix seconds. */
void certificates_make(const char *name, const struct made_certificate *issuer, int ca, const char *usage,
                       uint64_t begin_s, uint64_t end_s, struct made_certificate *ret);

#endif
