/* tallyd.yaml: what an operator may say about a region. Read once at start; `tally init` writes it with every default
 * and a comment. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdint.h>

#include "admin/witness.h"
#include "base/err.h"
#include "crypto/keyfile.h"
#include "outside/etcd.h"
#include "platform/disk.h"
#include "projection/projection.h"
#include "region/region.h"
#include "tally/client.h"

struct config_file; /* what the YAML reader allocated */

struct server_config {
    struct config_file *file;
    char folder[DISK_PATH_MAX_BYTES]; /* the data directory */
    char listen[REGION_ADDRESS_MAX_BYTES + 1];
    char http_listen[REGION_ADDRESS_MAX_BYTES + 1]; /* "": no HTTP */
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    uint64_t segment_size_bytes;
    uint64_t scrub_mib_per_s; /* 0: off */
    bool refuse_damaged;      /* end at once when damage is met, instead of serving what is intact */
    struct note_signer signers[KEY_ROLE_COUNT][SIGNERS_MAX]; /* the private keys, oldest first */
    struct witness_keys witness;                             /* only with HTTP */
    struct control_key key_changes[REGION_KEY_CHANGES_MAX];  /* region.key_changes points here */
    struct context *contexts;                                /* owned: region.contexts points here */
    size_t database_count;
    struct projection_server databases[PROJECTION_SERVERS_MAX]; /* that projections may lie in */
    struct etcd_config etcd;                                    /* endpoint_count 0: none */
    char etcd_files[3][DISK_PATH_MAX_BYTES];                    /* etcd.ca_file, cert_file and key_file point here */
    struct tally_tls tls;                                       /* ca_file NULL: no TLS */
    char tls_files[3][DISK_PATH_MAX_BYTES];                     /* tls points here */
    const char *witness_names[REGION_WITNESSES_MAX];            /* of region.witnesses */
    const char *witness_urls[REGION_WITNESSES_MAX];             /* without a / at the end */
    struct region_config region;
};

/* Reads folder/tallyd.yaml and the keys that it names. *ret is owned by the caller: server_config_free. ERR_NOT_FOUND
 * (says to run tally init), ERR_INVALID (names the file, and the line where the reader knows it), ERR_PERMISSION (a
 * private key that others can read), ERR_MISMATCH (a key of another region). */
int server_config_load(struct disk *disk, const char *folder, struct server_config **ret, struct err *err) MUST_USE;
/* The same without the private keys, which copies do not have: for tools that sign nothing. */
int server_config_read(struct disk *disk, const char *folder, struct server_config **ret, struct err *err) MUST_USE;
/* The own log is that of another incarnation than the first: changes origin and the name of the log's keys. Before
 * anything was made of the configuration. */
int server_config_set_incarnation(struct server_config *config, uint64_t incarnation, struct err *err) MUST_USE;
/* Wipes the private keys. NULL is fine. */
void server_config_free(struct server_config *config);

#endif
