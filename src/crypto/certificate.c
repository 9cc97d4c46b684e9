/* Examining certificates with libcrypto (certificate.h).
 *
 * The files are read in the order in which mistakes are easiest to explain: each as PEM by itself, then the key against
 * its certificate, then the chain up to the CA at the given time, then what the certificate may be used for. The chain
 * is built by libcrypto's own verification, the one that TLS uses, so what passes here is what peers accept; and the
 * validity that is told is that of the chain it found, because a connection fails when any link of it has ended.
 *
 * Failure modes: whatever the files hold ends in an error. libcrypto's own error queue is cleared before and after, so
 * that nothing of it shows up in somebody else's TLS on this thread. A passphrase is never asked for on a terminal. */
#include "crypto/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct parsed {
    STACK_OF(X509) * authorities;
    STACK_OF(X509) * chain; /* the own one first */
    EVP_PKEY *key;
};

static void parsed_free(struct parsed *parsed)
{
    sk_X509_pop_free(parsed->authorities, X509_free);
    sk_X509_pop_free(parsed->chain, X509_free);
    EVP_PKEY_free(parsed->key);
}

/* --- Reading PEM --- */

static int refuse_passphrase(char *out, int size, int writing, void *asked)
{
    (void)out;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static BIO *reader_of(struct bytes text)
{
    return BIO_new_mem_buf(text.size_bytes == 0 ? "" : (const void *)text.data, (int)text.size_bytes);
}

static int check_size(struct bytes text, const char *name, struct err *err)
{
    if (text.size_bytes > CERTIFICATE_FILE_MAX_BYTES)
        return err_set(err, ERR_INVALID, "%s has %zu bytes; a PEM file here has at most %d", name, text.size_bytes,
                       CERTIFICATE_FILE_MAX_BYTES);
    return 0;
}

/* What follows the last certificate must be nothing: a file cut in the middle must not pass for a shorter one. */
static bool ended_well(void)
{
    unsigned long failure = ERR_peek_last_error();
    return ERR_GET_LIB(failure) == ERR_LIB_PEM && ERR_GET_REASON(failure) == PEM_R_NO_START_LINE;
}

static int read_all(BIO *reader, const char *name, STACK_OF(X509) * into, struct err *err)
{
    for (;;) {
        bool asked = false;
        X509 *one = PEM_read_bio_X509(reader, NULL, refuse_passphrase, &asked);
        if (one == NULL)
            break;
        if (sk_X509_num(into) == CERTIFICATE_CHAIN_MAX || sk_X509_push(into, one) <= 0) {
            X509_free(one);
            return err_set(err, ERR_INVALID, "%s has more than %d certificates", name, CERTIFICATE_CHAIN_MAX);
        }
    }
    if (!ended_well() || sk_X509_num(into) == 0)
        return err_set(err, ERR_INVALID,
                       "%s is not a PEM file of certificates: \"-----BEGIN CERTIFICATE-----\", base64, \"-----END …\"",
                       name);
    return 0;
}

static int read_certificates(struct bytes text, const char *name, STACK_OF(X509) * *ret, struct err *err)
{
    int code = check_size(text, name, err);
    if (code != 0)
        return code;
    BIO *reader = reader_of(text);
    *ret = sk_X509_new_null();
    code = reader == NULL || *ret == NULL ? err_no_memory(err, "certificates") : read_all(reader, name, *ret, err);
    BIO_free(reader);
    ERR_clear_error();
    return code;
}

static int read_key(struct bytes text, const char *name, EVP_PKEY **ret, struct err *err)
{
    bool asked = false;
    int code = check_size(text, name, err);
    if (code != 0)
        return code;
    BIO *reader = reader_of(text);
    if (reader == NULL)
        return err_no_memory(err, "a private key");
    *ret = PEM_read_bio_PrivateKey(reader, NULL, refuse_passphrase, &asked);
    if (*ret == NULL && asked)
        code =
            err_set(err, ERR_INVALID, "%s has a passphrase, which nobody is there to type: write it without one", name);
    else if (*ret == NULL)
        code = err_set(err, ERR_INVALID, "%s is not a PEM file with a private key", name);
    BIO_free(reader);
    ERR_clear_error();
    return code;
}

static int parse(const struct certificate_files *files, struct parsed *ret, struct err *err)
{
    int code = read_certificates(files->ca, files->ca_name, &ret->authorities, err);
    if (code == 0)
        code = read_certificates(files->chain, files->chain_name, &ret->chain, err);
    if (code == 0)
        code = read_key(files->key, files->key_name, &ret->key, err);
    if (code == 0 && X509_check_private_key(sk_X509_value(ret->chain, 0), ret->key) != 1)
        code = err_set(err, ERR_MISMATCH, "the key in %s does not belong to the (first) certificate in %s",
                       files->key_name, files->chain_name);
    ERR_clear_error();
    return code;
}

/* --- Validity --- */

/* Seconds since 1970; earlier times count as 1970. */
static uint64_t unix_seconds(const ASN1_TIME *time)
{
    struct tm parts = {0};
    if (ASN1_TIME_to_tm(time, &parts) != 1)
        return 0;
    time_t seconds = timegm(&parts);
    return seconds < 0 ? 0 : (uint64_t)seconds;
}

static void describe(X509 *certificate, char out[CERTIFICATE_SUBJECT_MAX_BYTES + 1])
{
    BIO *writer = BIO_new(BIO_s_mem());
    int size = 0;
    if (writer != NULL && X509_NAME_print_ex(writer, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
        size = BIO_read(writer, out, CERTIFICATE_SUBJECT_MAX_BYTES);
    out[size < 0 ? 0 : size] = '\0';
    BIO_free(writer);
}

static void take_validity(STACK_OF(X509) * chain, struct certificate *ret)
{
    *ret = (struct certificate){.begin_s = 0, .end_s = UINT64_MAX};
    for (int i = 0; i < sk_X509_num(chain); i++) {
        uint64_t begin_s = unix_seconds(X509_get0_notBefore(sk_X509_value(chain, i)));
        uint64_t end_s = unix_seconds(X509_get0_notAfter(sk_X509_value(chain, i)));
        ret->begin_s = begin_s > ret->begin_s ? begin_s : ret->begin_s;
        ret->end_s = end_s < ret->end_s ? end_s : ret->end_s;
    }
    describe(sk_X509_value(chain, 0), ret->subject);
}

static int explain(X509_STORE_CTX *context, const struct certificate_files *files, struct err *err)
{
    int failure = X509_STORE_CTX_get_error(context);
    X509 *at = X509_STORE_CTX_get_current_cert(context);
    char subject[CERTIFICATE_SUBJECT_MAX_BYTES + 1] = "";
    char time[CERTIFICATE_TIME_TEXT_BYTES];
    if (at != NULL)
        describe(at, subject);
    if (at != NULL && failure == X509_V_ERR_CERT_HAS_EXPIRED) {
        certificate_time_format(unix_seconds(X509_get0_notAfter(at)), time);
        return err_set(err, ERR_PERMISSION,
                       "%s: the certificate of %.100s has expired: it ended at %s; put a new one there",
                       files->chain_name, subject, time);
    }
    if (at != NULL && failure == X509_V_ERR_CERT_NOT_YET_VALID) {
        certificate_time_format(unix_seconds(X509_get0_notBefore(at)), time);
        return err_set(err, ERR_PERMISSION,
                       "%s: the certificate of %.100s is not valid yet: it begins at %s; is the clock right?",
                       files->chain_name, subject, time);
    }
    if (failure == X509_V_ERR_OUT_OF_MEM)
        return err_no_memory(err, "a chain of certificates");
    return err_set(err, ERR_MISMATCH, "%s: the certificate of %.100s does not lead to a CA in %s: %s",
                   files->chain_name, subject, files->ca_name, X509_verify_cert_error_string(failure));
}

static int verify(const struct certificate_files *files, const struct parsed *parsed, X509_STORE *store,
                  X509_STORE_CTX *context, uint64_t now_s, struct certificate *ret, struct err *err)
{
    for (int i = 0; i < sk_X509_num(parsed->authorities); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(parsed->authorities, i)) != 1)
            return err_no_memory(err, "a chain of certificates");
    }
    if (X509_STORE_CTX_init(context, store, sk_X509_value(parsed->chain, 0), parsed->chain) != 1)
        return err_no_memory(err, "a chain of certificates");
    X509_STORE_CTX_set_time(context, 0, (time_t)now_s);
    if (X509_verify_cert(context) != 1)
        return explain(context, files, err);
    take_validity(X509_STORE_CTX_get0_chain(context), ret);
    return 0;
}

/* Certificates without an extended key usage may be used for both. */
static int check_purpose(const struct certificate_files *files, X509 *own, bool server, struct err *err)
{
    if (X509_check_purpose(own, X509_PURPOSE_SSL_CLIENT, 0) != 1)
        return err_set(err, ERR_MISMATCH,
                       "%s: the certificate may not be used by a client (extendedKeyUsage: clientAuth)%s",
                       files->chain_name, server ? "; a region is its peers' client, so it needs both" : "");
    if (server && X509_check_purpose(own, X509_PURPOSE_SSL_SERVER, 0) != 1)
        return err_set(err, ERR_MISMATCH,
                       "%s: the certificate may not be used by a server (extendedKeyUsage: serverAuth)",
                       files->chain_name);
    return 0;
}

int certificate_examine(const struct certificate_files *files, bool server, uint64_t now_s, struct certificate *ret,
                        struct err *err)
{
    struct parsed parsed = {.key = NULL};
    struct certificate found;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    int code = store == NULL || context == NULL ? err_no_memory(err, "a chain of certificates") : 0;
    ERR_clear_error();
    if (code == 0)
        code = parse(files, &parsed, err);
    if (code == 0)
        code = verify(files, &parsed, store, context, now_s, &found, err);
    if (code == 0)
        code = check_purpose(files, sk_X509_value(parsed.chain, 0), server, err);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    parsed_free(&parsed);
    ERR_clear_error();
    if (code == 0)
        *ret = found;
    return code;
}

/* --- How long it is good for --- */

enum certificate_state certificate_state(uint64_t begin_s, uint64_t end_s, uint64_t now_s)
{
    if (end_s == 0)
        return CERTIFICATE_NONE;
    if (now_s > end_s)
        return CERTIFICATE_EXPIRED;
    uint64_t warning_s = CERTIFICATE_WARNING_S;
    uint64_t share_s = begin_s < end_s ? (end_s - begin_s) / CERTIFICATE_WARNING_SHARE : 0;
    if (begin_s != 0 && share_s < warning_s)
        warning_s = share_s;
    return end_s - now_s < warning_s ? CERTIFICATE_ENDS_SOON : CERTIFICATE_VALID;
}

const char *certificate_state_name(enum certificate_state state)
{
    static const char *const names[] = {"none", "valid", "ends soon", "expired"};
    return names[state];
}

void certificate_time_format(uint64_t unix_s, char out[CERTIFICATE_TIME_TEXT_BYTES])
{
    time_t seconds = (time_t)unix_s;
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(out, CERTIFICATE_TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        (void)snprintf(out, CERTIFICATE_TIME_TEXT_BYTES, "second %llu", (unsigned long long)unix_s);
}
