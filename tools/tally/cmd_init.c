/* tally init: a region's data directory, with its keys and a configuration that explains itself. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "commands.h"
#include "domain/context.h"
#include "domain/position.h"
#include "entry/entry.h"
#include "keys.h"
#include "output.h"
#include "platform/disk.h"

enum { CONFIG_MAX_BYTES = 256 * 1024, NAME_MAX_BYTES = 255 };

struct init_options {
    const char *folder;
    const char *cluster;
    const char *region;
    const char *listen;
    const char *advertise;
    const char *http;
    struct option_values peers;
    struct option_values contexts;
    struct option_values homes;
    const char *system_home;
    bool json;
};

/* "NAME=VALUE" taken apart. */
struct pair {
    char name[NAME_MAX_BYTES + 1];
    const char *value;
};

/* "CONTEXT/PARTITION=REGION" taken apart: a context has no slash. */
struct home {
    struct pair pair;
    const char *partition; /* points into pair.name */
};

/* --- Reading the options --- */

static int pair_parse(const char *text, const char *option, struct pair *ret, struct err *err)
{
    const char *equals = strrchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == '\0' || equals - text > NAME_MAX_BYTES)
        return err_set(err, ERR_INVALID, "%s \"%.100s\" is not NAME=VALUE", option, text);
    memcpy(ret->name, text, (size_t)(equals - text));
    ret->name[equals - text] = '\0';
    ret->value = equals + 1;
    return 0;
}

static int home_parse(const char *text, struct home *ret, struct err *err)
{
    int rc = pair_parse(text, "--home", &ret->pair, err);
    if (rc != 0)
        return rc;
    char *slash = strchr(ret->pair.name, '/');
    if (slash == NULL || slash == ret->pair.name || slash[1] == '\0')
        return err_set(err, ERR_INVALID, "--home \"%.100s\" is not CONTEXT/PARTITION=REGION", text);
    *slash = '\0';
    ret->partition = slash + 1;
    return 0;
}

static int check_region_name(const struct init_options *options, const char *region, const char *what, struct err *err)
{
    char text[ENTRY_ORIGIN_MAX_BYTES + 1];
    int size = snprintf(text, sizeof(text), "%s/%s/1", options->cluster, region);
    if (size < 0 || (size_t)size >= sizeof(text))
        return err_set(err, ERR_TOO_LARGE, "%s: the names of cluster and region are too long", what);
    int rc = entry_check_origin(bytes_of_string(text), err);
    return rc == 0 ? 0 : err_wrap(err, rc, "%s", what);
}

static int check_address(const char *address, const char *what, struct err *err)
{
    const char *colon = strrchr(address, ':');
    uint64_t port = 0;
    if (colon == NULL || colon == address || parse_u64(colon + 1, strlen(colon + 1), &port) != 0 || port > 65535 ||
        strpbrk(address, " \t\"'\\\n") != NULL)
        return err_set(err, ERR_INVALID, "%s \"%.100s\" is not HOST:PORT, such as 127.0.0.1:7401", what, address);
    return 0;
}

static bool is_region(const struct init_options *options, const char *name)
{
    struct pair peer;
    if (strcmp(options->region, name) == 0)
        return true;
    for (size_t i = 0; i < options->peers.count; i++)
        if (pair_parse(options->peers.items[i], "--peer", &peer, NULL) == 0 && strcmp(peer.name, name) == 0)
            return true;
    return false;
}

static int check_peers(const struct init_options *options, struct err *err)
{
    for (size_t i = 0; i < options->peers.count; i++) {
        struct pair peer;
        int rc = pair_parse(options->peers.items[i], "--peer", &peer, err);
        if (rc == 0)
            rc = check_region_name(options, peer.name, "--peer", err);
        if (rc == 0)
            rc = check_address(peer.value, "--peer", err);
        if (rc == 0 && strcmp(peer.name, options->region) == 0)
            rc = err_set(err, ERR_INVALID, "--peer %s is this region itself: name only the others", peer.name);
        for (size_t before = 0; rc == 0 && before < i; before++) {
            struct pair other;
            if (pair_parse(options->peers.items[before], "--peer", &other, NULL) == 0 &&
                strcmp(other.name, peer.name) == 0)
                rc = err_set(err, ERR_INVALID, "--peer %s is given twice", peer.name);
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Lists the homes of one context; false when it is not among --context. */
static bool has_context(const struct init_options *options, const char *name)
{
    for (size_t i = 0; i < options->contexts.count; i++) {
        struct pair context;
        if (pair_parse(options->contexts.items[i], "--context", &context, NULL) == 0 && strcmp(context.name, name) == 0)
            return true;
    }
    return options->contexts.count == 0 && strcmp(name, "default") == 0;
}

static int check_homes(const struct init_options *options, struct err *err)
{
    for (size_t i = 0; i < options->homes.count; i++) {
        struct home home;
        int rc = home_parse(options->homes.items[i], &home, err);
        if (rc == 0 && !has_context(options, home.pair.name))
            rc = err_set(err, ERR_INVALID, "--home %s/…: add --context %s=REGION", home.pair.name, home.pair.name);
        if (rc == 0 && !is_region(options, home.pair.value))
            rc = err_set(err, ERR_INVALID, "--home …=%s: that is neither this region nor a --peer", home.pair.value);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The rules that the server has for the whole table, on the table itself. */
static int check_contexts(const struct init_options *options, struct err *err)
{
    struct pair pairs[OPTION_VALUES_MAX];
    struct home homes[OPTION_VALUES_MAX];
    struct context_home context_homes[OPTION_VALUES_MAX];
    struct context contexts[OPTION_VALUES_MAX];
    size_t home_count = 0;
    int rc = 0;
    for (size_t i = 0; i < options->contexts.count; i++) {
        rc = pair_parse(options->contexts.items[i], "--context", &pairs[i], err);
        if (rc == 0 && !is_region(options, pairs[i].value))
            rc = err_set(err, ERR_INVALID, "--context %s=%s: that is neither this region nor a --peer", pairs[i].name,
                         pairs[i].value);
        if (rc != 0)
            return rc;
        contexts[i] = (struct context){
            .name = pairs[i].name, .default_home = pairs[i].value, .homes = &context_homes[home_count]};
        for (size_t h = 0; h < options->homes.count; h++) {
            rc = home_parse(options->homes.items[h], &homes[home_count], err);
            if (rc != 0)
                return rc;
            if (strcmp(homes[home_count].pair.name, pairs[i].name) != 0)
                continue;
            if (home_count + 1 == OPTION_VALUES_MAX)
                return err_set(err, ERR_TOO_LARGE, "too many --home: add the rest to the file");
            context_homes[home_count] =
                (struct context_home){.partition = homes[home_count].partition, .region = homes[home_count].pair.value};
            home_count++;
            contexts[i].home_count++;
        }
    }
    const struct context_table table = {.count = options->contexts.count, .contexts = contexts};
    return options->contexts.count == 0 ? 0 : context_table_check(&table, err);
}

static int check_options(const struct init_options *options, struct err *err)
{
    int rc = check_region_name(options, options->region, "--cluster and --region", err);
    if (rc == 0)
        rc = check_address(options->listen, "--listen", err);
    if (rc == 0 && options->advertise != NULL)
        rc = check_address(options->advertise, "--advertise", err);
    if (rc == 0 && options->http != NULL)
        rc = check_address(options->http, "--http", err);
    if (rc == 0)
        rc = check_peers(options, err);
    if (rc == 0)
        rc = check_homes(options, err);
    if (rc == 0 && options->system_home != NULL && !is_region(options, options->system_home))
        rc = err_set(err, ERR_INVALID, "--system-home %.64s is neither this region nor a --peer", options->system_home);
    return rc == 0 ? check_contexts(options, err) : rc;
}

/* --- The configuration --- */

/* A YAML text in single quotes: names have no control characters, so doubling the quote is all there is to escape. */
static int yaml_text(struct buf *out, const char *before, const char *text)
{
    int rc = buf_append_format(out, "%s'", before);
    for (const char *c = text; rc == 0 && *c != '\0'; c++)
        rc = *c == '\'' ? buf_append_string(out, "''") : buf_append_byte(out, (uint8_t)*c);
    return rc == 0 ? buf_append_string(out, "'\n") : rc;
}

static int config_head(const struct init_options *options, struct buf *out)
{
    int rc = buf_append_string(
        out, "# A region of a Tallystick cluster. tallyd reads this once, when it starts.\n"
             "# Relative paths are relative to the folder of this file. Unknown settings are refused.\n\n"
             "# The same in all regions.\n");
    if (rc == 0)
        rc = yaml_text(out, "cluster: ", options->cluster);
    if (rc == 0)
        rc = buf_append_string(out, "\n# This region's name. It is part of every signature: it can never change.\n");
    if (rc == 0)
        rc = yaml_text(out, "region: ", options->region);
    if (rc == 0)
        rc = buf_append_string(
            out, "\n# Where clients and peers reach it: the address bound here, and the one told to others.\n");
    if (rc == 0)
        rc = yaml_text(out, "listen: ", options->listen);
    if (rc == 0)
        rc = yaml_text(out, "advertise: ", options->advertise == NULL ? options->listen : options->advertise);
    return rc;
}

static int config_http(const struct init_options *options, struct buf *out)
{
    int rc = buf_append_string(out, "\n# HTTP: dashboard, /health, /metrics, the logs as tiles for auditors, and a "
                                    "witness for the peers. An address, or\n"
                                    "# off. There is no authentication: whoever reaches it may read every entry, "
                                    "though no payload. (default off)\n");
    return rc == 0 ? yaml_text(out, "http_listen: ", options->http == NULL ? "off" : options->http) : rc;
}

static int config_peers(const struct init_options *options, struct buf *out)
{
    int rc = buf_append_string(
        out,
        "\n# The other regions. `keys` is a copy of the peer's own keys/region.pub: bring it over a way you trust.\n");
    if (rc == 0)
        rc = buf_append_string(out, options->peers.count == 0 ? "peers: []\n" : "peers:\n");
    for (size_t i = 0; rc == 0 && i < options->peers.count; i++) {
        struct pair peer;
        char path[NAME_MAX_BYTES + 32];
        int parsed = pair_parse(options->peers.items[i], "--peer", &peer, NULL);
        PRE(parsed == 0);
        (void)snprintf(path, sizeof(path), "keys/peer-%s.pub", peer.name);
        rc = yaml_text(out, "  - region: ", peer.name);
        if (rc == 0)
            rc = yaml_text(out, "    address: ", peer.value);
        if (rc == 0)
            rc = yaml_text(out, "    keys: ", path);
    }
    return rc;
}

static int config_homes(const struct init_options *options, const char *context, struct buf *out)
{
    bool any = false;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < options->homes.count; i++) {
        struct home home;
        int parsed = home_parse(options->homes.items[i], &home, NULL);
        PRE(parsed == 0);
        if (strcmp(home.pair.name, context) != 0)
            continue;
        if (!any)
            rc = buf_append_string(out, "    homes:\n");
        any = true;
        if (rc == 0)
            rc = yaml_text(out, "      - partition: ", home.partition);
        if (rc == 0)
            rc = yaml_text(out, "        home: ", home.pair.value);
    }
    return rc == 0 && !any ? buf_append_string(out, "    homes: []\n") : rc;
}

static int config_context(const struct init_options *options, const char *name, const char *home, struct buf *out)
{
    int rc = yaml_text(out, "  - name: ", name);
    if (rc == 0)
        rc = yaml_text(out, "    default_home: ", home);
    return rc == 0 ? config_homes(options, name, out) : rc;
}

/* What a context may say besides, as settings of the last one: without the "# " each line is one. */
static const char context_settings[] =
    "    # What a context may say besides (tools/README.md, \"What a context can promise\"). These are examples:\n"
    "    # take off the \"# \", and say it of every context that shall have it.\n"
    "    #\n"
    "    # Whether each partition has a home of its own (home-affinity), all of them have default_home\n"
    "    # (active-passive, without homes), or every region accepts what is commutative (multi-home). (default\n"
    "    # home-affinity)\n"
    "    # topology: multi-home\n"
    "    #\n"
    "    # Whether a home that no peer answers goes on, so that what it accepts may come too late (accept), or\n"
    "    # accepts only while more than half of the regions grant it a lease (fence). lease_ms, 500 to 3600000,\n"
    "    # is how long they grant it: fence needs it, and nothing else may have it. (default accept)\n"
    "    # isolation: fence\n"
    "    # lease_ms: 10000\n"
    "    #\n"
    "    # Who acts when a home is lost: an operator (manual); an operator, who is told when and how\n"
    "    # (assisted); or the regions themselves (automatic), for which etcd must be set below. (default\n"
    "    # manual)\n"
    "    # failover: assisted\n"
    "    #\n"
    "    # An append is answered when so many peers have stored it; while they are away it is refused, or\n"
    "    # accepted on fewer copies (degrade). (default peers 0, refuse)\n"
    "    # durability: { peers: 1, when_away: refuse }\n"
    "    #\n"
    "    # How much the home may hold alone, in events, in seconds, or both (0 is no bound), and what it does\n"
    "    # about what is beyond: warn, throttle or refuse. (default no bound)\n"
    "    # recovery_point: { events: 1000, seconds: 10, then: warn }\n"
    "    #\n"
    "    # For a type of event: what the home does about those that a lost region brings back too late (settle:\n"
    "    # accept appends them again, drop-duplicate says that they only repeat others, compensate that a\n"
    "    # compensating event is owed, manual waits for `tally reconcile`); whether another region than the\n"
    "    # home may accept them in an emergency (override); whether every region accepts them, which needs\n"
    "    # multi-home (commutative). (default manual, false, false)\n"
    "    # event_types:\n"
    "    #   - type: CardFrozen\n"
    "    #     settle: accept\n"
    "    #     override: true\n"
    "    #     commutative: false\n"
    "    #\n"
    "    # Only these regions hold what events say, and can be homes; the others hold the entries alone.\n"
    "    # (default: all regions)\n";

static int config_promises(const struct init_options *options, struct buf *out)
{
    int rc = buf_append_string(out, context_settings);
    if (rc == 0)
        rc = buf_append_string(out, "    # payload_regions:\n");
    if (rc == 0)
        rc = yaml_text(out, "    #   - ", options->region);
    for (size_t i = 0; rc == 0 && i < options->peers.count; i++) {
        struct pair peer;
        int parsed = pair_parse(options->peers.items[i], "--peer", &peer, NULL);
        PRE(parsed == 0);
        rc = yaml_text(out, "    #   - ", peer.name);
    }
    return rc;
}

static int config_contexts(const struct init_options *options, struct buf *out)
{
    int rc = buf_append_string(
        out,
        "\n# Namespaces of streams, and which region accepts the events of which partition. The same in all regions:\n"
        "# peers that differ do not connect. default_home owns every partition that is not listed under homes.\n"
        "# These are version 1 of themselves: `tally context` changes them while the system runs.\n"
        "contexts:\n");
    for (size_t i = 0; rc == 0 && i < options->contexts.count; i++) {
        struct pair context;
        int parsed = pair_parse(options->contexts.items[i], "--context", &context, NULL);
        PRE(parsed == 0);
        rc = config_context(options, context.name, context.value, out);
    }
    if (rc == 0 && options->contexts.count == 0)
        rc = config_context(options, "default", options->region, out);
    return rc == 0 ? config_promises(options, out) : rc;
}

/* Borrowed from the options, or from `name`. */
static const char *smallest_region(const struct init_options *options, char name[NAME_MAX_BYTES + 1])
{
    const char *smallest = options->region;
    for (size_t i = 0; i < options->peers.count; i++) {
        struct pair peer;
        if (pair_parse(options->peers.items[i], "--peer", &peer, NULL) != 0 || strcmp(peer.name, smallest) >= 0)
            continue;
        memcpy(name, peer.name, sizeof(peer.name));
        smallest = name;
    }
    return smallest;
}

static int config_system(const struct init_options *options, struct buf *out)
{
    char name[NAME_MAX_BYTES + 1];
    const char *home = options->system_home == NULL ? smallest_region(options, name) : options->system_home;
    int rc = buf_append_string(
        out,
        "\n# Contexts that are made or changed while the system runs (`tally context`) are decided by this region.\n"
        "# The same in every region, for ever: `tally handover '$system'` moves it. (default: the region with the\n"
        "# smallest name)\n");
    return rc == 0 ? yaml_text(out, "system_home: ", home) : rc;
}

/* The settings that every region has, with their defaults. */
static const char settings[] =
    "\n"
    "# The log's size and root are signed this often when there is something new. (default 1000)\n"
    "checkpoint_interval_ms: 1000\n"
    "\n"
    "# Heartbeat between regions. (default 1000)\n"
    "hello_interval_ms: 1000\n"
    "\n"
    "# A peer that was silent for this long counts as gone; more than hello_interval_ms. (default 5000)\n"
    "peer_timeout_ms: 5000\n"
    "\n"
    "# A failover is refused, unless forced, when no home of its context was changed for so long, by a drill or\n"
    "# otherwise; 0 is no bound. (default 0)\n"
    "drill_max_age_days: 0\n"
    "\n"
    "# Size of the log's files, a multiple of 4096: the unit that is archived, verified and repaired. (default\n"
    "# 67108864)\n"
    "segment_size_bytes: 67108864\n"
    "\n"
    "# After a start, when no peer can be asked what this region's log holds: fence waits for a peer; accept\n"
    "# begins a new incarnation of the log after isolation_wait_ms, so that nothing can fork. (default fence,\n"
    "# 60000)\n"
    "when_isolated: fence\n"
    "isolation_wait_ms: 60000\n"
    "\n"
    "# Old segments are read again at this rate, to find damage early; 0 is off. (default 4)\n"
    "scrub_mib_per_s: 4\n"
    "\n"
    "# When damage is met in an old segment: serve goes on with what is intact and raises the alarm; refuse ends\n"
    "# the server. Damage at the end of a log always refuses to start. (default serve)\n"
    "on_damage: serve\n"
    "\n"
    "# TLS for the gRPC port, and for this region's connections to its peers, which must use it too. Clients and\n"
    "# peers must show a certificate that a CA of ca_file signed, and so does this region; for its peers it must\n"
    "# be valid for the host in its `advertise` address. PEM; cert_file may hold those between it and the CA\n"
    "# behind it. Files that are replaced are taken up while tallyd runs. (default: off, plaintext: whoever\n"
    "# reaches the port may read and append)\n"
    "# tls:\n"
    "#   ca_file: tls/ca.pem\n"
    "#   cert_file: tls/region.pem\n"
    "#   key_file: tls/region.key\n"
    "\n"
    "# PostgreSQL databases that projections may lie in: tally projection create FILE --database NAME. No\n"
    "# password here: it belongs into a password file that only the server's user may read. (default none)\n"
    "# projection_databases:\n"
    "#   - name: reporting\n"
    "#     url: postgresql://tally@127.0.0.1/ledger?passfile=/etc/tally/pgpass\n"
    "\n"
    "# etcd, for contexts with failover: automatic (tools/README.md). Up to eight endpoints; after lease_s seconds\n"
    "# (2 to 600, default 10) a region that etcd does not hear is given up; prefix is that of the keys (default\n"
    "# /tallystick); the files are for https: who signs for etcd (default: the system's CAs), and what to show it\n"
    "# (default: nothing). (default none)\n"
    "# etcd:\n"
    "#   endpoints: [https://127.0.0.1:2379]\n"
    "#   lease_s: 10\n"
    "#   prefix: /tallystick\n"
    "#   ca_file: tls/etcd-ca.pem\n"
    "#   cert_file: tls/etcd.pem\n"
    "#   key_file: tls/etcd.key\n"
    "\n"
    "# Witnesses that are no peers, up to eight: the log's checkpoints are submitted to them\n"
    "# (c2sp.org/tlog-witness), and published with their cosignatures. The key is the witness's public one.\n"
    "# (default none)\n"
    "# witnesses:\n"
    "#   - name: acme\n"
    "#     key: witness.acme.example/w1+354689c0+BOHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx\n"
    "#     url: https://witness.acme.example\n";

static int config_write(const struct init_options *options, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct buf text;
    buf_init(&text, CONFIG_MAX_BYTES);
    int rc = config_head(options, &text);
    if (rc == 0)
        rc = config_http(options, &text);
    if (rc == 0)
        rc = config_peers(options, &text);
    if (rc == 0)
        rc = config_contexts(options, &text);
    if (rc == 0)
        rc = config_system(options, &text);
    if (rc == 0)
        rc = buf_append_string(&text, settings);
    if (rc != 0)
        rc = err_set(err, rc, "the configuration does not fit into %d bytes", CONFIG_MAX_BYTES);
    if (rc == 0)
        rc = disk_join(path, options->folder, "tallyd.yaml", err);
    if (rc == 0)
        rc = disk_replace_file(disk_posix(), path, buf_bytes(&text), 0, err);
    buf_free(&text);
    return rc;
}

/* --- Keys --- */

/* A new key of this name; its public half is appended to *vkeys as a line. */
static int key_create(const char *keys, enum key_role role, const char *name, struct buf *vkeys, struct err *err)
{
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    int rc = keys_make(keys, role, 1, name, vkey, err);
    if (rc == 0 && (buf_append_string(vkeys, vkey) != 0 || buf_append_byte(vkeys, '\n') != 0))
        rc = err_no_memory(err, "the public keys");
    return rc;
}

static int keys_create(const struct init_options *options, struct err *err)
{
    char keys[DISK_PATH_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    char log_name[NOTE_NAME_MAX_BYTES + 1];
    char cosign_name[NOTE_NAME_MAX_BYTES + 1];
    char witness_name[NOTE_NAME_MAX_BYTES + 1];
    struct buf vkeys;
    struct buf witness_vkey; /* only in witness.key.pub: region.pub is what peers need */
    buf_init(&vkeys, 4 * NOTE_VKEY_MAX_BYTES);
    buf_init(&witness_vkey, 2 * NOTE_VKEY_MAX_BYTES);
    (void)snprintf(log_name, sizeof(log_name), "%s/%s/1", options->cluster, options->region);
    (void)snprintf(cosign_name, sizeof(cosign_name), "%s/%s", options->cluster, options->region);
    (void)snprintf(witness_name, sizeof(witness_name), "%s/%s/witness", options->cluster, options->region);
    int rc = disk_join(keys, options->folder, "keys", err);
    if (rc == 0)
        rc = disk_make_dir(disk_posix(), keys, err);
    if (rc == 0)
        rc = key_create(keys, KEY_LOG, log_name, &vkeys, err);
    if (rc == 0)
        rc = key_create(keys, KEY_COSIGN, cosign_name, &vkeys, err);
    if (rc == 0)
        rc = key_create(keys, KEY_WITNESS, witness_name, &witness_vkey, err);
    if (rc == 0)
        rc = disk_join(path, keys, "region.pub", err);
    if (rc == 0)
        rc = disk_replace_file(disk_posix(), path, buf_bytes(&vkeys), 0, err);
    buf_free(&vkeys);
    buf_free(&witness_vkey);
    return rc;
}

/* --- The command --- */

static int found_something(void *context, const char *name, bool is_dir)
{
    (void)context;
    (void)name;
    (void)is_dir;
    return ERR_EXISTS;
}

static int init(const struct init_options *options, struct err *err)
{
    int rc = check_options(options, err);
    if (rc == 0)
        rc = disk_make_dir(disk_posix(), options->folder, err);
    if (rc == 0) {
        rc = disk_list(disk_posix(), options->folder, found_something, NULL, err);
        if (rc == ERR_EXISTS)
            rc = err_set(err, rc, "%s is not empty: name a new directory", options->folder);
    }
    if (rc == 0)
        rc = keys_create(options, err);
    return rc == 0 ? config_write(options, err) : rc;
}

static int print_next_steps(const struct init_options *options, struct err *err)
{
    if (options->json)
        return print_json(json_pack("{s:o,s:o,s:o}", "data", json_cstring(options->folder), "cluster",
                                    json_cstring(options->cluster), "region", json_cstring(options->region)),
                          err);
    printf("region %s of cluster %s is ready in %s\n", options->region, options->cluster, options->folder);
    for (size_t i = 0; i < options->peers.count; i++) {
        struct pair peer;
        if (pair_parse(options->peers.items[i], "--peer", &peer, NULL) == 0)
            printf("  copy keys/region.pub of region %s to %s/keys/peer-%s.pub\n", peer.name, options->folder,
                   peer.name);
    }
    printf("  then: tallyd --data %s\n", options->folder);
    return output_flush(err);
}

static int run_init(const struct command *command, int argc, char **argv)
{
    struct init_options options = {.listen = "127.0.0.1:7401"};
    const struct option table[] = {
        {"cluster", "NAME", OPTION_TEXT, &options.cluster, "required; the same in all regions"},
        {"region", "NAME", OPTION_TEXT, &options.region, "required; this region's name, for ever"},
        {"listen", "HOST:PORT", OPTION_TEXT, &options.listen, "address to bind (default 127.0.0.1:7401)"},
        {"advertise", "HOST:PORT", OPTION_TEXT, &options.advertise, "address told to others (default: --listen)"},
        {"http", "HOST:PORT", OPTION_TEXT, &options.http, "serve HTTP there (default: off)"},
        {"peer", "REGION=HOST:PORT", OPTION_TEXTS, &options.peers, "another region, repeatable"},
        {"context", "NAME=REGION", OPTION_TEXTS, &options.contexts,
         "a context and its default home, repeatable (default: one named \"default\")"},
        {"home", "CONTEXT/PARTITION=REGION", OPTION_TEXTS, &options.homes,
         "a partition that lives elsewhere, repeatable"},
        {"system-home", "REGION", OPTION_TEXT, &options.system_home,
         "who decides about contexts; the same in all regions (default: the smallest name)"},
        {"json", NULL, OPTION_FLAG, &options.json, "machine-readable output"},
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 1, 1, &arguments, &exit_with))
        return exit_with;
    if (options.cluster == NULL || options.region == NULL)
        return usage_error(command, "--cluster and --region are required");
    options.folder = arguments.items[0];
    struct err err = {0};
    int rc = init(&options, &err);
    if (rc == 0)
        rc = print_next_steps(&options, &err);
    return rc == 0 ? EXIT_OK : fail(&err, options.json);
}

const struct command command_init = {
    .name = "init",
    .arguments = "DIR",
    .summary = "make a region's data directory",
    .help =
        "Makes DIR with fresh keys and a configuration in which every setting is explained. DIR must be new or empty.\n"
        "Private keys (DIR/keys/*.key) never leave it; DIR/keys/region.pub is for peers and auditors.\n\n"
        "Example, two regions:\n"
        "  tally init eu --cluster bank --region eu --listen 127.0.0.1:7401 --peer us=127.0.0.1:7402 \\\n"
        "      --context bank=eu --home bank/us=us\n"
        "  tally init us --cluster bank --region us --listen 127.0.0.1:7402 --peer eu=127.0.0.1:7401 \\\n"
        "      --context bank=eu --home bank/us=us\n"
        "  cp us/keys/region.pub eu/keys/peer-us.pub; cp eu/keys/region.pub us/keys/peer-eu.pub",
    .run = run_init,
};
