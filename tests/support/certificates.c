#include "support/certificates.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "certificates: %s failed\n", what);
        abort();
    }
}

static void take(BIO *from, char out[CERTIFICATES_PEM_MAX_BYTES])
{
    int size = BIO_read(from, out, CERTIFICATES_PEM_MAX_BYTES - 1);
    must(size > 0, "writing PEM");
    out[size] = '\0';
    BIO_free(from);
}

static void extend(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    must(extension != NULL && X509_add_ext(certificate, extension, -1) == 1, value);
    X509_EXTENSION_free(extension);
}

static X509 *shape(const char *name, EVP_PKEY *key, uint64_t begin_s, uint64_t end_s)
{
    static long serial = 1;
    X509 *made = X509_new();
    must(made != NULL && X509_set_version(made, X509_VERSION_3) == 1, "a certificate");
    ASN1_INTEGER_set(X509_get_serialNumber(made), serial++);
    ASN1_TIME_set(X509_getm_notBefore(made), (time_t)begin_s);
    ASN1_TIME_set(X509_getm_notAfter(made), (time_t)end_s);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    must(X509_set_pubkey(made, key) == 1, "a public key");
    return made;
}

void certificates_make(const char *name, const struct made_certificate *issuer, int ca, const char *usage,
                       uint64_t begin_s, uint64_t end_s, struct made_certificate *ret)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    must(key != NULL, "a key");
    X509 *made = shape(name, key, begin_s, end_s);
    EVP_PKEY *signing = key;
    X509 *above = made;
    if (issuer != NULL) {
        BIO *cert = BIO_new_mem_buf(issuer->cert, -1);
        BIO *private_key = BIO_new_mem_buf(issuer->key, -1);
        above = PEM_read_bio_X509(cert, NULL, NULL, NULL);
        signing = PEM_read_bio_PrivateKey(private_key, NULL, NULL, NULL);
        BIO_free(cert);
        BIO_free(private_key);
    }
    X509_set_issuer_name(made, X509_get_subject_name(above));
    extend(made, NID_basic_constraints, ca ? "critical,CA:TRUE" : "CA:FALSE");
    extend(made, NID_subject_alt_name, "IP:127.0.0.1");
    if (usage != NULL)
        extend(made, NID_ext_key_usage, usage);
    must(X509_sign(made, signing, EVP_sha256()) > 0, "signing");
    BIO *cert = BIO_new(BIO_s_mem());
    BIO *private_key = BIO_new(BIO_s_mem());
    must(PEM_write_bio_X509(cert, made) == 1, "PEM");
    must(PEM_write_bio_PrivateKey(private_key, key, NULL, NULL, 0, NULL, NULL) == 1, "PEM");
    take(cert, ret->cert);
    take(private_key, ret->key);
    if (issuer != NULL) {
        X509_free(above);
        EVP_PKEY_free(signing);
    }
    X509_free(made);
    EVP_PKEY_free(key);
}
