/* The three files of TLS: what is taken up, and when. */
#include <criterion/criterion.h>
#include <sys/stat.h>

#include "client/tls.h"
#include "support/certificates.h"
#include "support/files.h"

enum { BEGIN = 1000000, NOW = 1500000, END = 2000000 };

static char folder[FILES_PATH_MAX], ca_path[FILES_PATH_MAX], cert_path[FILES_PATH_MAX], key_path[FILES_PATH_MAX];
static struct made_certificate ca, first, second;
static struct tally_tls files;

static struct time_now at(uint64_t wall_s)
{
    return (struct time_now){.wall_us = wall_s * 1000000, .mono_us = 1};
}

static void put(const char *path, const char *text)
{
    files_write(path, bytes_of_string(text));
    cr_assert_eq(chmod(path, 0600), 0);
}

static void set_up(void)
{
    files_temp_folder(folder);
    files = (struct tally_tls){.ca_file = files_join(folder, "ca", ca_path),
                               .cert_file = files_join(folder, "cert", cert_path),
                               .key_file = files_join(folder, "key", key_path)};
    certificates_make("ca", NULL, 1, NULL, BEGIN, 2 * END, &ca);
    certificates_make("first", &ca, 0, NULL, BEGIN, END, &first);
    certificates_make("second", &ca, 0, NULL, BEGIN, END + 1, &second);
    put(ca_path, ca.cert);
    put(cert_path, first.cert);
    put(key_path, first.key);
}

static void tear_down(void)
{
    files_remove_folder(folder);
}

TestSuite(tls, .init = set_up, .fini = tear_down);

static struct tls *opened(enum tls_side side)
{
    struct tls *tls = NULL;
    struct err err = {0};
    cr_assert_eq(tls_open(disk_posix(), &files, side, at(NOW), &tls, &err), 0, "%s", err.message);
    return tls;
}

static uint64_t end_of(struct tls *tls)
{
    struct certificate certificate;
    tls_certificate(tls, &certificate);
    return certificate.end_s;
}

static void refused(int code, const char *part)
{
    struct tls *tls = NULL;
    struct err err = {0};
    cr_expect_eq(tls_open(disk_posix(), &files, TLS_REGION, at(NOW), &tls, &err), code, "%s", err.message);
    cr_expect_not_null(strstr(err.message, part), "%s", err.message);
    cr_expect_null(tls);
}

Test(tls, all_three_files_are_needed)
{
    files.key_file = NULL;
    refused(ERR_INVALID, "the key is missing");
    files.key_file = key_path;
    files.ca_file = "";
    refused(ERR_INVALID, "the CA's file is missing");
    files.ca_file = "/no/such/file";
    refused(ERR_NOT_FOUND, "/no/such/file");
}

Test(tls, a_key_that_everybody_can_read_is_refused)
{
    cr_assert_eq(chmod(key_path, 0644), 0);
    refused(ERR_PERMISSION, key_path);
    cr_assert_eq(chmod(key_path, 0640), 0);
    tls_free(opened(TLS_REGION));
}

Test(tls, files_that_are_replaced_are_taken_up_once_they_belong_together)
{
    struct tls *tls = opened(TLS_REGION);
    bool changed = true;
    cr_assert_eq(tls_refresh(tls, at(NOW), &changed, NULL), 0);
    cr_expect(!changed);
    uint64_t before = tls_version(tls);
    put(cert_path, second.cert);
    cr_expect_eq(tls_refresh(tls, at(NOW), &changed, NULL), ERR_MISMATCH);
    cr_expect_eq(end_of(tls), END, "half of what is new is in use");
    cr_expect_eq(tls_version(tls), before);
    put(key_path, second.key);
    cr_assert_eq(tls_refresh(tls, at(NOW), &changed, NULL), 0);
    cr_expect(changed);
    cr_expect_eq(end_of(tls), END + 1);
    cr_expect_gt(tls_version(tls), before);
    tls_free(tls);
}

Test(tls, what_is_in_use_stays_in_use_when_files_go_or_end)
{
    struct tls *tls = opened(TLS_REGION);
    bool changed = false;
    cr_expect_eq(tls_refresh(tls, at(END + 10), &changed, NULL), 0, "the same files are not looked at again");
    put(cert_path, second.cert);
    put(key_path, second.key);
    cr_expect_eq(tls_refresh(tls, at(END + 10), &changed, NULL), ERR_PERMISSION);
    files_write(ca_path, bytes_of_string(""));
    cr_expect_eq(tls_refresh(tls, at(NOW), &changed, NULL), ERR_INVALID);
    cr_expect_eq(end_of(tls), END);
    tls_free(tls);
}
