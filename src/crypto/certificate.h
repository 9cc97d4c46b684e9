/* X.509 certificates: what a region shows when somebody connects to it, and what a client shows. Read with libcrypto,
 * so that mistakes are found, and said with the name of the file, before TLS would only say "handshake failed".
 *
 * A certificate is for connections alone. Nothing in a log is signed with it: who may sign is in key files
 * (keyring.h). Pure: files come as bytes and time as an argument. */
#ifndef CRYPTO_CERTIFICATE_H
#define CRYPTO_CERTIFICATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
    CERTIFICATE_FILE_MAX_BYTES = 256 * 1024,
    CERTIFICATE_CHAIN_MAX = 16, /* certificates of one file */
    CERTIFICATE_SUBJECT_MAX_BYTES = 255,
    CERTIFICATE_WARNING_S = 14 * 24 * 3600, /* before the end an operator is warned … */
    CERTIFICATE_WARNING_SHARE = 3, /* … but not before two thirds of the time are over: some live for a day */
    CERTIFICATE_FAILOVER_S = 3600, /* a region that is to take over must have at least so long left */
};

/* The contents of three PEM files, with the names that errors use. */
struct certificate_files {
    const char *ca_name;
    const char *chain_name;
    const char *key_name;
    struct bytes ca;    /* one or more certificates that others' must be signed by */
    struct bytes chain; /* the own certificate first, then those between it and the CA */
    struct bytes key;   /* its private key, without a passphrase */
};

/* When the own certificate, those between, and the CA above are all valid: Unix seconds, both ends included. */
struct certificate {
    uint64_t begin_s;
    uint64_t end_s;
    char subject[CERTIFICATE_SUBJECT_MAX_BYTES + 1]; /* as in RFC 2253, shortened */
};

/* Everything that can be wrong with the three together at now_s (Unix seconds): ERR_INVALID for a file that is not PEM,
 * has too many certificates, or a key with a passphrase; ERR_MISMATCH for a key that does not belong to the
 * certificate, and for a certificate that the CA did not sign or that must not be used so (server: by a region, which
 * is both sides of connections; otherwise by a client); ERR_PERMISSION for one that has expired or is not valid yet;
 * ERR_NO_MEMORY. Each names the file and what to do. Any thread. */
int certificate_examine(const struct certificate_files *files, bool server, uint64_t now_s, struct certificate *ret,
                        struct err *err) MUST_USE;

enum certificate_state {
    CERTIFICATE_NONE, /* end_s is 0: no TLS, or nothing is known */
    CERTIFICATE_VALID,
    CERTIFICATE_ENDS_SOON,
    CERTIFICATE_EXPIRED,
};

/* begin_s may be unknown (0): then it ends soon CERTIFICATE_WARNING_S before its end. */
enum certificate_state certificate_state(uint64_t begin_s, uint64_t end_s, uint64_t now_s);
/* "none", "valid", "ends soon", "expired". Static. */
const char *certificate_state_name(enum certificate_state state);

/* As a status shows it. */
struct certificate_status {
    enum certificate_state state;
    struct certificate certificate;              /* unless the state is CERTIFICATE_NONE */
    char problem[TALLY_ERROR_MESSAGE_MAX_BYTES]; /* why files that are there are not in use; "": none */
};

enum { CERTIFICATE_TIME_TEXT_BYTES = 32 };
/* "2027-01-31T12:00:00Z". */
void certificate_time_format(uint64_t unix_s, char out[CERTIFICATE_TIME_TEXT_BYTES]);

#endif
