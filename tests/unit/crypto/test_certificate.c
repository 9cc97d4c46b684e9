/* Certificates: what is read of good ones, and that each thing that can be wrong is said, with the file. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "crypto/certificate.h"
#include "support/certificates.h"

enum { BEGIN = 1000000, NOW = 1500000, END = 2000000, CA_END = 9000000 };

static struct made_certificate ca, other_ca, own;

static void set_up(void)
{
    certificates_make("ca", NULL, 1, NULL, BEGIN, CA_END, &ca);
    certificates_make("other ca", NULL, 1, NULL, BEGIN, CA_END, &other_ca);
    certificates_make("eu", &ca, 0, NULL, BEGIN, END, &own);
}

TestSuite(certificate, .init = set_up);

static struct certificate_files files_of(const char *ca_text, const char *chain, const char *key)
{
    return (struct certificate_files){.ca_name = "the-ca",
                                      .chain_name = "the-cert",
                                      .key_name = "the-key",
                                      .ca = bytes_of_string(ca_text),
                                      .chain = bytes_of_string(chain),
                                      .key = bytes_of_string(key)};
}

static void refused(const struct certificate_files *files, uint64_t now_s, int code, const char *name, const char *part)
{
    struct certificate certificate = {.end_s = 7};
    struct err err = {0};
    cr_expect_eq(certificate_examine(files, true, now_s, &certificate, &err), code, "%s", err.message);
    cr_expect_not_null(strstr(err.message, name), "%s", err.message);
    cr_expect_not_null(strstr(err.message, part), "%s", err.message);
    cr_expect_eq(certificate.end_s, 7, "an output was touched");
}

Test(certificate, a_good_one_says_whose_it_is_and_when_it_ends)
{
    struct certificate_files files = files_of(ca.cert, own.cert, own.key);
    struct certificate certificate;
    struct err err = {0};
    cr_assert_eq(certificate_examine(&files, true, NOW, &certificate, &err), 0, "%s", err.message);
    cr_expect_eq(certificate.begin_s, BEGIN);
    cr_expect_eq(certificate.end_s, END);
    cr_expect_str_eq(certificate.subject, "CN=eu");
    cr_expect_eq(certificate_examine(&files, true, BEGIN, &certificate, NULL), 0);
    cr_expect_eq(certificate_examine(&files, true, END - 1, &certificate, NULL), 0);
}

Test(certificate, one_that_has_expired_or_is_not_valid_yet_is_refused)
{
    struct certificate_files files = files_of(ca.cert, own.cert, own.key);
    refused(&files, END + 1, ERR_PERMISSION, "the-cert", "has expired: it ended at 1970-01-24T03:33:20Z");
    refused(&files, BEGIN - 1, ERR_PERMISSION, "the-cert", "not valid yet: it begins at 1970-01-12T13:46:40Z");
}

Test(certificate, a_chain_ends_with_its_weakest_link)
{
    struct made_certificate between, leaf;
    char chain[2 * CERTIFICATES_PEM_MAX_BYTES];
    certificates_make("between", &ca, 1, NULL, BEGIN + 5, NOW + 100, &between);
    certificates_make("leaf", &between, 0, NULL, BEGIN, END, &leaf);
    (void)snprintf(chain, sizeof(chain), "%s%s", leaf.cert, between.cert);
    struct certificate_files files = files_of(ca.cert, chain, leaf.key);
    struct certificate certificate;
    cr_assert_eq(certificate_examine(&files, true, NOW, &certificate, NULL), 0);
    cr_expect_eq(certificate.begin_s, BEGIN + 5);
    cr_expect_eq(certificate.end_s, NOW + 100);
    refused(&files, NOW + 200, ERR_PERMISSION, "the-cert", "CN=between has expired");
    files = files_of(ca.cert, leaf.cert, leaf.key);
    refused(&files, NOW, ERR_MISMATCH, "the-ca", "CN=leaf");
}

Test(certificate, one_of_several_cas_is_enough)
{
    char both[2 * CERTIFICATES_PEM_MAX_BYTES];
    struct certificate certificate;
    (void)snprintf(both, sizeof(both), "%s%s", other_ca.cert, ca.cert);
    struct certificate_files files = files_of(both, own.cert, own.key);
    cr_expect_eq(certificate_examine(&files, true, NOW, &certificate, NULL), 0);
    files = files_of(other_ca.cert, own.cert, own.key);
    refused(&files, NOW, ERR_MISMATCH, "the-cert", "the-ca");
}

Test(certificate, the_key_must_be_the_certificates)
{
    struct certificate_files files = files_of(ca.cert, own.cert, other_ca.key);
    refused(&files, NOW, ERR_MISMATCH, "the-key", "does not belong");
}

Test(certificate, what_is_no_pem_is_refused_with_the_file)
{
    static const char *const texts[] = {"", "nonsense", "-----BEGIN CERTIFICATE-----\n",
                                        "-----BEGIN CERTIFICATE-----\nAAAA\n"
                                        "-----END CERTIFICATE-----\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct certificate_files files = files_of(texts[i], own.cert, own.key);
        refused(&files, NOW, ERR_INVALID, "the-ca", "PEM");
        files = files_of(ca.cert, texts[i], own.key);
        refused(&files, NOW, ERR_INVALID, "the-cert", "PEM");
        files = files_of(ca.cert, own.cert, texts[i]);
        refused(&files, NOW, ERR_INVALID, "the-key", "PEM");
    }
}

Test(certificate, a_file_cut_in_its_second_certificate_is_no_shorter_file)
{
    char text[2 * CERTIFICATES_PEM_MAX_BYTES];
    (void)snprintf(text, sizeof(text), "%s%.100s", ca.cert, other_ca.cert);
    struct certificate_files files = files_of(text, own.cert, own.key);
    refused(&files, NOW, ERR_INVALID, "the-ca", "PEM");
}

Test(certificate, a_key_with_a_passphrase_is_refused_and_nobody_is_asked)
{
    static const char locked[] = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
                                 "DEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF\n\nAAAAAAAAAAAAAAAAAAAAAA==\n"
                                 "-----END EC PRIVATE KEY-----\n";
    struct certificate_files files = files_of(ca.cert, own.cert, locked);
    refused(&files, NOW, ERR_INVALID, "the-key", "passphrase");
}

Test(certificate, more_certificates_than_the_limit_are_refused)
{
    static char text[(CERTIFICATE_CHAIN_MAX + 1) * CERTIFICATES_PEM_MAX_BYTES];
    size_t used = 0;
    for (int i = 0; i <= CERTIFICATE_CHAIN_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", ca.cert);
    struct certificate_files files = files_of(text, own.cert, own.key);
    refused(&files, NOW, ERR_INVALID, "the-ca", "more than 16");
}

Test(certificate, a_region_is_server_and_client_and_a_client_is_one)
{
    struct made_certificate client, server;
    struct certificate certificate;
    certificates_make("client", &ca, 0, "clientAuth", BEGIN, END, &client);
    certificates_make("server", &ca, 0, "serverAuth", BEGIN, END, &server);
    struct certificate_files files = files_of(ca.cert, client.cert, client.key);
    refused(&files, NOW, ERR_MISMATCH, "the-cert", "serverAuth");
    cr_expect_eq(certificate_examine(&files, false, NOW, &certificate, NULL), 0);
    files = files_of(ca.cert, server.cert, server.key);
    refused(&files, NOW, ERR_MISMATCH, "the-cert", "clientAuth");
}

Test(certificate, its_state_follows_the_time)
{
    enum { DAY = 24 * 3600 };
    cr_expect_eq(certificate_state(0, 0, NOW), CERTIFICATE_NONE);
    cr_expect_eq(certificate_state(NOW, NOW + 90 * DAY, NOW), CERTIFICATE_VALID);
    cr_expect_eq(certificate_state(NOW, NOW + 90 * DAY, NOW + 76 * DAY), CERTIFICATE_VALID);
    cr_expect_eq(certificate_state(NOW, NOW + 90 * DAY, NOW + 76 * DAY + 1), CERTIFICATE_ENDS_SOON);
    cr_expect_eq(certificate_state(NOW, NOW + 90 * DAY, NOW + 90 * DAY), CERTIFICATE_ENDS_SOON);
    cr_expect_eq(certificate_state(NOW, NOW + 90 * DAY, NOW + 90 * DAY + 1), CERTIFICATE_EXPIRED);
    cr_expect_eq(certificate_state(NOW, NOW + DAY, NOW + DAY / 2), CERTIFICATE_VALID, "one that lives for a day");
    cr_expect_eq(certificate_state(NOW, NOW + DAY, NOW + DAY - DAY / 3 + 1), CERTIFICATE_ENDS_SOON);
    cr_expect_str_eq(certificate_state_name(CERTIFICATE_ENDS_SOON), "ends soon");
}
