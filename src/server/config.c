/* Reading tallyd.yaml through libcyaml, and checking what YAML cannot: names, addresses, keys, contexts.
 *
 * Nothing from the file is used before it was checked, and each complaint names the file and the thing. Unknown keys
 * are refused: a misspelt option that is ignored is worse than none. */
#include "server/config.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/keyfile.h"
#include "log/log.h"
#include "server/config_contexts.h"
#include "server/config_etcd.h"
#include "server/config_tls.h"
#include "server/config_witnesses.h"
#include "server/keys.h"

enum {
    CONFIG_MAX_BYTES = 1024 * 1024,
    TEXT_MAX = 1023,
    INTERVAL_MIN_MS = 10,
    INTERVAL_MAX_MS = 3600 * 1000,
    DRILL_MAX_DAYS = 3650
};

struct file_peer {
    char *region;
    char *address;
    char *keys;
};

struct file_database {
    char *name;
    char *url;
};

struct config_file {
    char *cluster;
    char *region;
    char *listen;
    char *advertise;
    char *http_listen;
    struct file_peer *peers;
    unsigned peers_count;
    struct file_context *contexts;
    unsigned contexts_count;
    uint64_t *checkpoint_interval_ms;
    uint64_t *hello_interval_ms;
    uint64_t *peer_timeout_ms;
    uint64_t *drill_max_age_days;
    uint64_t *segment_size_bytes;
    char *system_home;
    char *when_isolated;
    uint64_t *isolation_wait_ms;
    char *on_damage;
    uint64_t *scrub_mib_per_s;
    struct file_database *projection_databases;
    unsigned projection_databases_count;
    struct file_etcd *etcd;
    struct file_tls *tls;
    struct file_witness *witnesses;
    unsigned witnesses_count;
};

#define TEXT(key, type, member) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, type, member, 1, TEXT_MAX)
#define NUMBER(key, member)                                                                                            \
    CYAML_FIELD_UINT_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_file, member)

static const cyaml_schema_field_t peer_fields[] = {
    TEXT("region", struct file_peer, region),
    TEXT("address", struct file_peer, address),
    TEXT("keys", struct file_peer, keys),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t peer_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct file_peer, peer_fields)};

static const cyaml_schema_field_t database_fields[] = {
    TEXT("name", struct file_database, name),
    TEXT("url", struct file_database, url),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t database_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct file_database, database_fields)};

static const cyaml_schema_field_t top_fields[] = {
    TEXT("cluster", struct config_file, cluster),
    TEXT("region", struct config_file, region),
    TEXT("listen", struct config_file, listen),
    CYAML_FIELD_STRING_PTR("advertise", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_file, advertise, 1,
                           TEXT_MAX),
    CYAML_FIELD_STRING_PTR("http_listen", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_file, http_listen, 1,
                           TEXT_MAX),
    CYAML_FIELD_SEQUENCE("peers", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_file, peers, &peer_schema, 0,
                         REGION_PEERS_MAX),
    CYAML_FIELD_SEQUENCE("contexts", CYAML_FLAG_POINTER, struct config_file, contexts, &config_context_schema, 1,
                         CONTEXTS_MAX - 1),
    CYAML_FIELD_STRING_PTR("system_home", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_file, system_home, 1,
                           TEXT_MAX),
    NUMBER("checkpoint_interval_ms", checkpoint_interval_ms),
    NUMBER("hello_interval_ms", hello_interval_ms),
    NUMBER("peer_timeout_ms", peer_timeout_ms),
    NUMBER("drill_max_age_days", drill_max_age_days),
    NUMBER("segment_size_bytes", segment_size_bytes),
    CYAML_FIELD_STRING_PTR("when_isolated", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_file, when_isolated,
                           1, TEXT_MAX),
    NUMBER("isolation_wait_ms", isolation_wait_ms),
    CYAML_FIELD_STRING_PTR("on_damage", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_file, on_damage, 1,
                           TEXT_MAX),
    NUMBER("scrub_mib_per_s", scrub_mib_per_s),
    CYAML_FIELD_SEQUENCE("projection_databases", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_file,
                         projection_databases, &database_schema, 0, PROJECTION_SERVERS_MAX),
    CYAML_FIELD_MAPPING_PTR("etcd", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_file, etcd,
                            config_etcd_fields),
    CYAML_FIELD_MAPPING_PTR("tls", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_file, tls,
                            config_tls_fields),
    CYAML_FIELD_SEQUENCE("witnesses", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_file, witnesses,
                         &config_witness_schema, 0, REGION_WITNESSES_MAX),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t top_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config_file, top_fields)};

/* The reader's complaints, joined: "Unexpected key: zz; in mapping (line: 4, column: 8); …". */
struct complaints {
    char text[TALLY_ERROR_MESSAGE_MAX_BYTES / 2];
    size_t size;
};

__attribute__((format(printf, 3, 0))) static void collect(cyaml_log_t level, void *context, const char *format,
                                                          va_list args)
{
    struct complaints *complaints = context;
    char line[200];
    (void)level;
    int written = vsnprintf(line, sizeof(line), format, args);
    if (written <= 0 || strstr(line, "Backtrace") != NULL)
        return;
    line[strcspn(line, "\n")] = '\0';
    const char *text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line + strspn(line, " ");
    written = snprintf(complaints->text + complaints->size, sizeof(complaints->text) - complaints->size, "%s%s",
                       complaints->size == 0 ? "" : "; ", text);
    if (written > 0 && complaints->size + (size_t)written < sizeof(complaints->text))
        complaints->size += (size_t)written;
}

/* libcyaml's memory, through our door: it asks for 0 bytes to free. */
static void *reader_memory(void *context, void *memory, size_t size)
{
    (void)context;
    if (size == 0) {
        mem_free(memory);
        return NULL;
    }
    return mem_resize(memory, size);
}

static const cyaml_config_t reader_config = {.mem_fn = reader_memory, .log_level = CYAML_LOG_WARNING};

/* libcyaml places an unexpected key at the token before it. The key's own line is the first one from there on that
 * begins with it; 0 when there is none. */
static unsigned find_key_line(struct bytes text, const struct complaints *complaints)
{
    static const char unexpected[] = "Unexpected key: ";
    const char *key = strstr(complaints->text, unexpected);
    const char *place = strstr(complaints->text, "(line: ");
    if (key == NULL || place == NULL)
        return 0;
    key += sizeof(unexpected) - 1;
    size_t key_size = strcspn(key, ";");
    unsigned long from_line = strtoul(place + 7, NULL, 10);
    unsigned line = 1;
    for (size_t at = 0; at < text.size_bytes; line++) {
        const char *start = (const char *)text.data + at;
        const char *newline = memchr(start, '\n', text.size_bytes - at);
        size_t size = newline == NULL ? text.size_bytes - at : (size_t)(newline - start);
        size_t skip = 0;
        while (skip < size && (start[skip] == ' ' || start[skip] == '-'))
            skip++;
        if (line >= from_line && size - skip > key_size && memcmp(start + skip, key, key_size) == 0 &&
            start[skip + key_size] == ':')
            return line;
        at += size + 1;
    }
    return 0;
}

static int refuse_yaml(const char *path, struct bytes text, cyaml_err_t failure, const struct complaints *complaints,
                       struct err *err)
{
    unsigned line = find_key_line(text, complaints);
    int code = failure == CYAML_ERR_OOM ? ERR_NO_MEMORY : ERR_INVALID;
    if (line > 0)
        return err_set(err, code, "%s, line %u: there is no such setting (%.*s)", path, line,
                       (int)strcspn(complaints->text, ";"), complaints->text);
    return err_set(err, code, "%s: %s%s%s", path, cyaml_strerror(failure), complaints->size == 0 ? "" : ": ",
                   complaints->text);
}

static int read_yaml(struct disk *disk, const char *path, struct config_file **ret, struct err *err)
{
    struct buf text;
    struct complaints complaints = {.size = 0};
    cyaml_config_t reader = reader_config;
    cyaml_data_t *data = NULL;
    reader.log_fn = collect;
    reader.log_ctx = &complaints;
    buf_init(&text, CONFIG_MAX_BYTES);
    int code = disk_read_file(disk, path, &text, err);
    if (code == ERR_NOT_FOUND)
        code =
            err_set(err, code,
                    "%s does not exist; make a data directory with: tally init DIR --cluster NAME --region NAME", path);
    if (code == 0 && text.size_bytes == 0) /* libyaml dies of it */
        code = err_set(err, ERR_INVALID, "%s is empty", path);
    if (code == 0) {
        cyaml_err_t failure = cyaml_load_data(text.data, text.size_bytes, &reader, &top_schema, &data, NULL);
        if (failure != CYAML_OK)
            code = refuse_yaml(path, buf_bytes(&text), failure, &complaints, err);
        else if (data == NULL) /* no document at all, which libcyaml takes for success */
            code = err_set(err, ERR_INVALID, "%s has nothing but comments", path);
    }
    buf_free(&text);
    if (code == 0)
        *ret = data;
    return code;
}

static int take_number(const uint64_t *given, uint64_t fallback, uint64_t least, uint64_t most, const char *name,
                       uint64_t *ret, struct err *err)
{
    uint64_t value = given == NULL ? fallback : *given;
    if (value < least || value > most)
        return err_set(err, ERR_INVALID, "%s must be %llu to %llu", name, (unsigned long long)least,
                       (unsigned long long)most);
    *ret = value;
    return 0;
}

/* "host:port". The host may be a bracketed IPv6 address. */
static int take_address(const char *given, const char *name, char out[REGION_ADDRESS_MAX_BYTES + 1], struct err *err)
{
    const char *colon = strrchr(given, ':');
    uint64_t port = 0;
    if (colon == NULL || colon == given || strlen(given) > REGION_ADDRESS_MAX_BYTES ||
        parse_u64(colon + 1, strlen(colon + 1), &port) != 0 || port > 65535)
        return err_set(err, ERR_INVALID, "%s: \"%.100s\" is not HOST:PORT", name, given);
    memcpy(out, given, strlen(given) + 1);
    return 0;
}

static int take_names(struct server_config *config, const struct config_file *file, struct err *err)
{
    struct origin origin;
    char text[2 * TEXT_MAX + 8];
    int size = snprintf(text, sizeof(text), "%s/%s/1", file->cluster, file->region);
    int code = origin_parse(bytes_of(text, (size_t)size), &origin, err);
    if (code != 0)
        return err_wrap(err, code, "cluster \"%.64s\", region \"%.64s\"", file->cluster, file->region);
    origin_format(&origin, config->origin);
    memcpy(config->region.cluster, origin.cluster, sizeof(config->region.cluster));
    memcpy(config->region.region, origin.region, sizeof(config->region.region));
    config->region.incarnation = origin.incarnation;
    code = take_address(file->listen, "listen", config->listen, err);
    if (code == 0)
        code = take_address(file->advertise == NULL ? file->listen : file->advertise, "advertise",
                            config->region.address, err);
    if (code == 0 && file->http_listen != NULL && strcmp(file->http_listen, "off") != 0)
        code = take_address(file->http_listen, "http_listen (HOST:PORT, or off)", config->http_listen, err);
    return code;
}

static int take_isolation(struct server_config *config, const struct config_file *file, struct err *err)
{
    uint64_t wait_ms = 0;
    const char *policy = file->when_isolated == NULL ? "fence" : file->when_isolated;
    if (strcmp(policy, "fence") != 0 && strcmp(policy, "accept") != 0)
        return err_set(err, ERR_INVALID, "when_isolated must be fence or accept, not \"%.40s\"", policy);
    int code = take_number(file->isolation_wait_ms, 60 * 1000, INTERVAL_MIN_MS, INTERVAL_MAX_MS, "isolation_wait_ms",
                           &wait_ms, err);
    config->region.accept_isolated = strcmp(policy, "accept") == 0;
    config->region.isolation_wait_us = wait_ms * 1000;
    return code;
}

static int take_scrub(struct server_config *config, const struct config_file *file, struct err *err)
{
    const char *policy = file->on_damage == NULL ? "serve" : file->on_damage;
    if (strcmp(policy, "serve") != 0 && strcmp(policy, "refuse") != 0)
        return err_set(err, ERR_INVALID, "on_damage must be serve or refuse, not \"%.40s\"", policy);
    config->refuse_damaged = strcmp(policy, "refuse") == 0;
    return take_number(file->scrub_mib_per_s, 4, 0, 100000, "scrub_mib_per_s", &config->scrub_mib_per_s, err);
}

static int take_numbers(struct server_config *config, const struct config_file *file, struct err *err)
{
    uint64_t checkpoint_ms = 0;
    uint64_t hello_ms = 0;
    uint64_t timeout_ms = 0;
    uint64_t drill_days = 0;
    int code = take_number(file->checkpoint_interval_ms, 1000, INTERVAL_MIN_MS, INTERVAL_MAX_MS,
                           "checkpoint_interval_ms", &checkpoint_ms, err);
    if (code == 0)
        code = take_number(file->hello_interval_ms, 1000, INTERVAL_MIN_MS, INTERVAL_MAX_MS, "hello_interval_ms",
                           &hello_ms, err);
    if (code == 0)
        code = take_number(file->peer_timeout_ms, 5000, INTERVAL_MIN_MS, INTERVAL_MAX_MS, "peer_timeout_ms",
                           &timeout_ms, err);
    if (code == 0)
        code = take_number(file->segment_size_bytes, LOG_SEGMENT_SIZE_DEFAULT_BYTES, LOG_SEGMENT_SIZE_MIN_BYTES,
                           LOG_SEGMENT_SIZE_MAX_BYTES, "segment_size_bytes", &config->segment_size_bytes, err);
    if (code == 0 && config->segment_size_bytes % BLOCK_ALIGNMENT_BYTES != 0)
        code = err_set(err, ERR_INVALID, "segment_size_bytes must be a multiple of %d", BLOCK_ALIGNMENT_BYTES);
    if (code == 0)
        code = take_number(file->drill_max_age_days, 0, 0, DRILL_MAX_DAYS, "drill_max_age_days", &drill_days, err);
    if (code == 0 && timeout_ms <= hello_ms)
        code = err_set(err, ERR_INVALID, "peer_timeout_ms must be larger than hello_interval_ms");
    config->region.checkpoint_interval_us = checkpoint_ms * 1000;
    config->region.hello_interval_us = hello_ms * 1000;
    config->region.peer_timeout_us = timeout_ms * 1000;
    config->region.drill_max_age_us = drill_days * 24 * 60 * 60 * 1000000;
    return code;
}

static int resolve(const char *folder, const char *path, char out[DISK_PATH_MAX_BYTES], struct err *err)
{
    if (path[0] == '/')
        return disk_join(out, "/", path + 1, err);
    return disk_join(out, folder, path, err);
}

/* Sorts a peer's public keys by what they are for. While it replaces a key, there are two of one kind. */
static int take_peer_keys(struct region_peer_config *peer, const char *cluster, const struct note_verifier *keys,
                          size_t count, const char *path, struct err *err)
{
    char log_name[NOTE_NAME_MAX_BYTES + 1];
    char cosign_name[NOTE_NAME_MAX_BYTES + 1];
    int code = 0;
    snprintf(log_name, sizeof(log_name), "%s/%s/1", cluster, peer->region);
    snprintf(cosign_name, sizeof(cosign_name), "%s/%s", cluster, peer->region);
    for (size_t i = 0; code == 0 && i < count; i++) {
        if (keys[i].type == NOTE_KEY_ED25519 && strcmp(keys[i].name, log_name) == 0)
            code = keyring_add(&peer->log_keys, &keys[i], err);
        else if (keys[i].type == NOTE_KEY_COSIGNATURE && strcmp(keys[i].name, cosign_name) == 0)
            code = keyring_add(&peer->cosign_keys, &keys[i], err);
        else
            return err_set(err, ERR_MISMATCH, "%s holds a key named %.100s, but the peer's are %.100s and %.100s", path,
                           keys[i].name, log_name, cosign_name);
    }
    if (code != 0)
        return err_wrap(err, code, "%s", path);
    if (peer->log_keys.count == 0 || peer->cosign_keys.count == 0)
        return err_set(err, ERR_INVALID, "%s must hold both public keys of region %s (its keys/region.pub)", path,
                       peer->region);
    return 0;
}

static int take_peer(struct server_config *config, struct disk *disk, const struct file_peer *from,
                     struct region_peer_config *peer, struct err *err)
{
    struct note_verifier keys[2 * KEYRING_MAX];
    char path[DISK_PATH_MAX_BYTES];
    size_t count = 0;
    char text[2 * TEXT_MAX + 8];
    struct origin origin;
    int size = snprintf(text, sizeof(text), "%s/%s/1", config->region.cluster, from->region);
    int code = origin_parse(bytes_of(text, (size_t)size), &origin, err);
    if (code != 0)
        return err_wrap(err, code, "peer \"%.64s\"", from->region);
    memcpy(peer->region, origin.region, sizeof(peer->region));
    code = take_address(from->address, "the address of a peer", peer->address, err);
    if (code == 0)
        code = resolve(config->folder, from->keys, path, err);
    if (code == 0)
        code = keyfile_load_public(disk, path, keys, sizeof(keys) / sizeof(keys[0]), &count, err);
    if (code == ERR_NOT_FOUND)
        code = err_set(err, code, "peer %s: %s does not exist; copy keys/region.pub of that region there", peer->region,
                       path);
    if (code == 0)
        code = take_peer_keys(peer, config->region.cluster, keys, count, path, err);
    return code;
}

static int take_peers(struct server_config *config, struct disk *disk, const struct config_file *file, struct err *err)
{
    for (unsigned i = 0; i < file->peers_count; i++) {
        const char *name = file->peers[i].region;
        if (strcmp(name, config->region.region) == 0)
            return err_set(err, ERR_INVALID, "region %s lists itself as a peer", name);
        for (unsigned before = 0; before < i; before++) {
            if (strcmp(name, file->peers[before].region) == 0)
                return err_set(err, ERR_INVALID, "peer %.64s is listed twice", name);
        }
        int code = take_peer(config, disk, &file->peers[i], &config->region.peers[i], err);
        if (code != 0)
            return code;
    }
    config->region.peer_count = file->peers_count;
    return 0;
}

static int take_contexts(struct server_config *config, const struct config_file *file, struct err *err)
{
    const char *regions[REGION_PEERS_MAX + 1] = {config->region.region};
    size_t count = file->contexts_count + 1;
    for (size_t i = 0; i < config->region.peer_count; i++)
        regions[i + 1] = config->region.peers[i].region;
    config->contexts = mem_alloc_zero(count, sizeof(*config->contexts));
    if (config->contexts == NULL)
        return err_no_memory(err, "the contexts");
    config->region.contexts = (struct context_table){.count = count, .contexts = config->contexts};
    int code = 0;
    for (unsigned i = 0; code == 0 && i < file->contexts_count; i++)
        code = config_context_take(&file->contexts[i], &config->contexts[i], err);
    config->contexts[count - 1] = config_system_context(file->system_home, &config->region);
    if (code == 0)
        code = context_table_check(&config->region.contexts, err);
    for (size_t i = 0; code == 0 && i < count; i++)
        code = context_check_cluster(&config->contexts[i], regions, config->region.peer_count + 1, err);
    return code;
}

static int take_databases(struct server_config *config, const struct config_file *file, struct err *err)
{
    for (unsigned i = 0; i < file->projection_databases_count; i++) {
        const struct file_database *from = &file->projection_databases[i];
        int code =
            entry_check_name(bytes_of_string(from->name), PROJECTION_SERVER_NAME_MAX_BYTES, "a database's name", err);
        if (code == 0)
            code = projection_server_check(from->url, err);
        if (code != 0)
            return err_wrap(err, code, "projection_databases");
        for (size_t j = 0; j < config->database_count; j++) {
            if (strcmp(config->databases[j].name, from->name) == 0)
                return err_set(err, ERR_INVALID, "projection_databases: \"%s\" is there twice", from->name);
        }
        config->databases[config->database_count++] = (struct projection_server){.name = from->name, .url = from->url};
    }
    return 0;
}

int server_config_read(struct disk *disk, const char *folder, struct server_config **ret, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct server_config *config = mem_alloc_zero(1, sizeof(*config));
    if (config == NULL)
        return err_no_memory(err, "the configuration");
    int code = disk_join(path, folder, "tallyd.yaml", err);
    if (code == 0)
        code = read_yaml(disk, path, &config->file, err);
    if (code != 0)
        goto fail;
    memcpy(config->folder, folder, strlen(folder) + 1); /* fits: disk_join checked the longer path */
    code = take_names(config, config->file, err);
    if (code == 0)
        code = take_numbers(config, config->file, err);
    if (code == 0)
        code = take_isolation(config, config->file, err);
    if (code == 0)
        code = take_scrub(config, config->file, err);
    if (code == 0)
        code = take_peers(config, disk, config->file, err);
    if (code == 0)
        code = take_contexts(config, config->file, err);
    if (code == 0)
        code = take_databases(config, config->file, err);
    if (code == 0)
        code = config_etcd_take(config, config->file->etcd, err);
    if (code == 0)
        code = config_tls_take(config, config->file->tls, err);
    if (code == 0)
        code = config_witnesses_take(config, config->file->witnesses, config->file->witnesses_count, err);
    if (code != 0)
        err_wrap(err, code, "%s", path);
    if (code != 0)
        goto fail;
    *ret = config;
    return 0;
fail:
    server_config_free(config);
    return code;
}

int server_config_load(struct disk *disk, const char *folder, struct server_config **ret, struct err *err)
{
    struct server_config *config = NULL;
    int code = server_config_read(disk, folder, &config, err);
    if (code == 0)
        code = keys_load(config, disk, err);
    if (code != 0)
        server_config_free(config);
    else
        *ret = config;
    return code;
}

int server_config_set_incarnation(struct server_config *config, uint64_t incarnation, struct err *err)
{
    struct origin origin;
    int code = origin_parse(bytes_of_string(config->origin), &origin, err);
    if (code != 0)
        return code;
    origin.incarnation = incarnation;
    origin_format(&origin, config->origin);
    config->region.incarnation = incarnation;
    for (size_t i = 0; code == 0 && i < config->region.log_signers.count; i++)
        code = note_verifier_rename(&config->signers[KEY_LOG][i].verifier, config->origin, err);
    return code;
}

void server_config_free(struct server_config *config)
{
    if (config == NULL)
        return;
    keys_wipe(config);
    for (size_t i = 0; config->contexts != NULL && i + 1 < config->region.contexts.count; i++)
        config_context_free(&config->contexts[i]); /* the last is the system's */
    mem_free(config->contexts);
    if (config->file != NULL)
        cyaml_free(&reader_config, &top_schema, config->file, 0);
    mem_free(config);
}
