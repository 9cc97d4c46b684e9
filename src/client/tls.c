/* TLS files and the credentials that gRPC makes of them (tls.h).
 *
 * What is in use is one MATERIAL: the bytes of the three files, checked together, with a version that counts up. It is
 * replaced as a whole, under a mutex. So no connection ever sees a key with another's certificate, although files are
 * replaced one after the other. gRPC copies what it is given:
 *   server   asks for each connection whether there is something newer (fetch_config)
 *   channel  compares versions at each new call, and connects anew with what is in use (channel.c)
 *
 * A client's certificate is required and verified. gRPC's option for that is one word among five; the integration test
 * test_tls.py connects without a certificate, with another CA's and with an expired one, and must be refused.
 *
 * Failure modes: files that are missing, half-written or wrong leave in use what was there. If that has ended, new
 * connections fail, in both directions, until good files are there. */
#include "client/tls.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "platform/clock.h"

enum { FILE_CA, FILE_CERT, FILE_KEY, FILES };

/* The files' bytes, each with a NUL behind, as gRPC wants them. */
struct material {
    struct buf files[FILES];
    struct certificate certificate;
};

struct tls {
    struct disk *disk;
    enum tls_side side;
    char paths[FILES][DISK_PATH_MAX_BYTES];
    pthread_mutex_t mutex;
    struct material *material;
    uint64_t version;
    uint64_t served_version; /* what the server was last given */
    uint64_t looked_us;      /* TLS_CLIENT: monotonic */
};

static void wipe(struct buf *buf)
{
    volatile uint8_t *at = buf->data;
    for (size_t i = 0; i < buf->size_bytes; i++)
        at[i] = 0;
    buf_free(buf);
}

static void material_free(struct material *material)
{
    if (material == NULL)
        return;
    for (size_t i = 0; i < FILES; i++)
        wipe(&material->files[i]);
    mem_free(material);
}

static const char *pem(const struct material *material, size_t file)
{
    return (const char *)material->files[file].data;
}

static bool material_equal(const struct material *a, const struct material *b)
{
    for (size_t i = 0; i < FILES; i++) {
        if (!bytes_equal(buf_bytes(&a->files[i]), buf_bytes(&b->files[i])))
            return false;
    }
    return true;
}

static struct bytes text_of(const struct material *material, size_t file)
{
    return bytes_of(material->files[file].data, material->files[file].size_bytes - 1);
}

static int check_mode(struct tls *tls, struct err *err)
{
    uint32_t mode = 0;
    int code = disk_mode(tls->disk, tls->paths[FILE_KEY], &mode, err);
    if (code == 0 && (mode & 07) != 0)
        code = err_set(err, ERR_PERMISSION, "private key %s can be read by everybody (mode %03o): chmod o= %s",
                       tls->paths[FILE_KEY], (unsigned)mode, tls->paths[FILE_KEY]);
    return code;
}

static int read_files(struct tls *tls, struct material *into, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < FILES; i++) {
        buf_init(&into->files[i], CERTIFICATE_FILE_MAX_BYTES + 1);
        code = disk_read_file(tls->disk, tls->paths[i], &into->files[i], err);
        if (code == 0)
            code = buf_terminate(&into->files[i]);
        if (code == 0)
            into->files[i].size_bytes++; /* the NUL counts, so that an empty file has bytes too */
        if (code == ERR_TOO_LARGE)
            code = err_set(err, code, "%s is too large for a PEM file: at most %d bytes", tls->paths[i],
                           CERTIFICATE_FILE_MAX_BYTES);
    }
    return code == 0 ? check_mode(tls, err) : code;
}

static int examine(struct tls *tls, struct material *material, struct time_now now, struct err *err)
{
    struct certificate_files files = {.ca_name = tls->paths[FILE_CA],
                                      .chain_name = tls->paths[FILE_CERT],
                                      .key_name = tls->paths[FILE_KEY],
                                      .ca = text_of(material, FILE_CA),
                                      .chain = text_of(material, FILE_CERT),
                                      .key = text_of(material, FILE_KEY)};
    return certificate_examine(&files, tls->side == TLS_REGION, now.wall_us / 1000000, &material->certificate, err);
}

int tls_refresh(struct tls *tls, struct time_now now, bool *ret_changed, struct err *err)
{
    struct material *found = mem_alloc_zero(1, sizeof(*found));
    if (found == NULL)
        return err_no_memory(err, "TLS files");
    int code = read_files(tls, found, err);
    pthread_mutex_lock(&tls->mutex);
    bool changed = code == 0 && (tls->material == NULL || !material_equal(tls->material, found));
    pthread_mutex_unlock(&tls->mutex);
    if (changed)
        code = examine(tls, found, now, err);
    if (changed && code == 0) {
        pthread_mutex_lock(&tls->mutex);
        struct material *before = tls->material;
        tls->material = found;
        tls->version++;
        pthread_mutex_unlock(&tls->mutex);
        found = before;
    }
    material_free(found);
    if (code == 0)
        *ret_changed = changed;
    return code;
}

static int take_path(const char *given, char out[DISK_PATH_MAX_BYTES], const char *what, struct err *err)
{
    if (given == NULL || given[0] == '\0')
        return err_set(err, ERR_INVALID, "TLS needs three files, the CA's, a certificate and its key: %s is missing",
                       what);
    if (strlen(given) >= DISK_PATH_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "the path of %s is too long", what);
    copy_string(out, DISK_PATH_MAX_BYTES, given);
    return 0;
}

int tls_open(struct disk *disk, const struct tally_tls *files, enum tls_side side, struct time_now now,
             struct tls **ret, struct err *err)
{
    bool changed = false;
    struct tls *tls = mem_alloc_zero(1, sizeof(*tls));
    if (tls == NULL)
        return err_no_memory(err, "TLS");
    tls->disk = disk;
    tls->side = side;
    tls->looked_us = now.mono_us;
    INVARIANT(pthread_mutex_init(&tls->mutex, NULL) == 0);
    int code = take_path(files->ca_file, tls->paths[FILE_CA], "the CA's file", err);
    if (code == 0)
        code = take_path(files->cert_file, tls->paths[FILE_CERT], "the certificate", err);
    if (code == 0)
        code = take_path(files->key_file, tls->paths[FILE_KEY], "the key", err);
    if (code == 0)
        code = tls_refresh(tls, now, &changed, err);
    if (code != 0) {
        tls_free(tls);
        return err_wrap(err, code, "TLS");
    }
    *ret = tls;
    return 0;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    material_free(tls->material);
    pthread_mutex_destroy(&tls->mutex);
    mem_free(tls);
}

void tls_certificate(struct tls *tls, struct certificate *ret)
{
    pthread_mutex_lock(&tls->mutex);
    *ret = tls->material->certificate;
    pthread_mutex_unlock(&tls->mutex);
}

/* --- For gRPC --- */

static grpc_ssl_pem_key_cert_pair pair_of(const struct material *material)
{
    return (grpc_ssl_pem_key_cert_pair){.private_key = pem(material, FILE_KEY), .cert_chain = pem(material, FILE_CERT)};
}

uint64_t tls_version(struct tls *tls)
{
    bool look = false;
    bool changed = false;
    struct time_now now = {0};
    if (tls->side == TLS_CLIENT) {
        now = clock_now();
        pthread_mutex_lock(&tls->mutex);
        look = now.mono_us - tls->looked_us >= (uint64_t)TLS_LOOK_INTERVAL_MS * 1000;
        if (look)
            tls->looked_us = now.mono_us;
        pthread_mutex_unlock(&tls->mutex);
    }
    if (look)
        look = tls_refresh(tls, now, &changed, NULL) == 0; /* on failure, what was in use stays in use */
    pthread_mutex_lock(&tls->mutex);
    uint64_t version = tls->version;
    pthread_mutex_unlock(&tls->mutex);
    return version;
}

struct grpc_channel_credentials *tls_channel_credentials(struct tls *tls, uint64_t *ret_version)
{
    pthread_mutex_lock(&tls->mutex);
    grpc_ssl_pem_key_cert_pair pair = pair_of(tls->material);
    grpc_channel_credentials *credentials =
        grpc_ssl_credentials_create_ex(pem(tls->material, FILE_CA), &pair, NULL, NULL);
    *ret_version = tls->version;
    pthread_mutex_unlock(&tls->mutex);
    return credentials;
}

/* gRPC asks before each handshake. */
static grpc_ssl_certificate_config_reload_status fetch_config(void *context, grpc_ssl_server_certificate_config **ret)
{
    struct tls *tls = context;
    grpc_ssl_certificate_config_reload_status status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    pthread_mutex_lock(&tls->mutex);
    if (tls->served_version != tls->version) {
        grpc_ssl_pem_key_cert_pair pair = pair_of(tls->material);
        *ret = grpc_ssl_server_certificate_config_create(pem(tls->material, FILE_CA), &pair, 1);
        status = *ret == NULL ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
        if (*ret != NULL)
            tls->served_version = tls->version;
    }
    pthread_mutex_unlock(&tls->mutex);
    return status;
}

struct grpc_server_credentials *tls_server_credentials(struct tls *tls)
{
    grpc_ssl_server_credentials_options *options = grpc_ssl_server_credentials_create_options_using_config_fetcher(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, fetch_config, tls);
    return options == NULL ? NULL : grpc_ssl_server_credentials_create_with_options(options);
}
