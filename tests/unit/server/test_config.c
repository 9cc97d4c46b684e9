/* tallyd.yaml: what is taken, and that everything else is refused with the file and the reason. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/keyfile.h"
#include "server/config.h"
#include "server/config_tls.h"
#include "support/files.h"

static char folder[64];

static const char head[] = "cluster: bank\nregion: eu\nlisten: 127.0.0.1:7401\n";
static const char peers[] = "peers:\n  - region: us\n    address: 127.0.0.1:7402\n    keys: keys/peer-us.pub\n";
static const char contexts[] =
    "contexts:\n  - name: bank\n    default_home: eu\n    homes:\n      - partition: us\n        home: us\n";

static const char contexts_alone[] = "contexts:\n  - name: bank\n    default_home: eu\n";

static void path_of(const char *name, char *out)
{
    cr_assert_eq(disk_join(out, folder, name, NULL), 0);
}

static void make_key(const char *file, const char *name, enum note_key_type type, uint8_t seed_byte)
{
    struct note_signer signer;
    char path[DISK_PATH_MAX_BYTES];
    uint8_t seed[32];
    memset(seed, seed_byte, sizeof(seed));
    path_of(file, path);
    cr_assert_eq(note_signer_from_seed(name, type, seed, &signer, NULL), 0);
    cr_assert_eq(keyfile_create(disk_posix(), path, &signer, NULL), 0);
}

static void add_peer_keys(const char *log_name, const char *cosign_name)
{
    struct note_signer signer;
    struct buf text;
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    char path[DISK_PATH_MAX_BYTES];
    uint8_t seed[32] = {9};
    buf_init(&text, 4096);
    cr_assert_eq(note_signer_from_seed(log_name, NOTE_KEY_ED25519, seed, &signer, NULL), 0);
    note_verifier_format(&signer.verifier, vkey);
    cr_assert_eq(buf_append_format(&text, "%s\n", vkey), 0);
    cr_assert_eq(note_signer_from_seed(cosign_name, NOTE_KEY_COSIGNATURE, seed, &signer, NULL), 0);
    note_verifier_format(&signer.verifier, vkey);
    cr_assert_eq(buf_append_format(&text, "%s\n", vkey), 0);
    path_of("keys/peer-us.pub", path);
    cr_assert_eq(disk_replace_file(disk_posix(), path, buf_bytes(&text), 0, NULL), 0);
    buf_free(&text);
}

static void set_up(void)
{
    char path[DISK_PATH_MAX_BYTES];
    files_temp_folder_within(folder, sizeof(folder));
    path_of("keys", path);
    cr_assert_eq(disk_make_dir(disk_posix(), path, NULL), 0);
    make_key("keys/log.key", "bank/eu/1", NOTE_KEY_ED25519, 1);
    make_key("keys/cosign.key", "bank/eu", NOTE_KEY_COSIGNATURE, 2);
    make_key("keys/witness.key", "bank/eu/witness", NOTE_KEY_COSIGNATURE, 3);
    add_peer_keys("bank/us/1", "bank/us");
}

static void tear_down(void)
{
    static const char *const names[] = {"tallyd.yaml",      "keys/log.key",        "keys/log.key.pub",
                                        "keys/cosign.key",  "keys/cosign.key.pub", "keys/peer-us.pub",
                                        "keys/witness.key", "keys/witness.key.pub"};
    char path[DISK_PATH_MAX_BYTES];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        path_of(names[i], path);
        unlink(path);
    }
    path_of("keys", path);
    rmdir(path);
    rmdir(folder);
}

TestSuite(server_config, .init = set_up, .fini = tear_down);

static int load(const char *a, const char *b, const char *c, struct server_config **ret, struct err *err)
{
    struct buf text;
    char path[DISK_PATH_MAX_BYTES];
    buf_init(&text, 65536);
    cr_assert_eq(buf_append_string(&text, a), 0);
    cr_assert_eq(buf_append_string(&text, b), 0);
    cr_assert_eq(buf_append_string(&text, c), 0);
    path_of("tallyd.yaml", path);
    cr_assert_eq(disk_replace_file(disk_posix(), path, buf_bytes(&text), 0, NULL), 0);
    buf_free(&text);
    return server_config_load(disk_posix(), folder, ret, err);
}

static void refused(const char *a, const char *b, const char *c, int code, const char *message_part)
{
    struct server_config *config = NULL;
    struct err err = {0};
    cr_assert_eq(load(a, b, c, &config, &err), code, "%d %s", err.code, err.message);
    cr_assert_not_null(strstr(err.message, message_part), "\"%s\" is not in \"%s\"", message_part, err.message);
    cr_assert_null(config);
}

Test(server_config, takes_a_full_file_and_fills_in_the_defaults)
{
    struct server_config *config = NULL;
    struct err err = {0};
    cr_assert_eq(load(head, peers, contexts, &config, &err), 0, "%s", err.message);
    cr_assert_str_eq(config->origin, "bank/eu/1");
    cr_assert_str_eq(config->region.address, "127.0.0.1:7401");
    cr_assert_eq(config->region.peer_count, 1);
    cr_assert_str_eq(config->region.peers[0].region, "us");
    cr_assert_str_eq(config->region.peers[0].log_keys.keys[0].name, "bank/us/1");
    cr_assert_eq(config->region.checkpoint_interval_us, 1000 * 1000);
    cr_assert_eq(config->segment_size_bytes, 64 * 1024 * 1024);
    struct authority authority;
    cr_assert_eq(
        context_authority(&config->region.contexts, BYTES_LITERAL("bank"), BYTES_LITERAL("us"), &authority, NULL), 0);
    cr_assert_str_eq(authority.region, "us");
    server_config_free(config);
}

Test(server_config, rules_for_late_events_are_taken_and_checked)
{
    static const char rules[] = "contexts:\n  - name: bank\n    default_home: eu\n    event_types:\n"
                                "      - type: CardFrozen\n        settle: accept\n";
    static const char unknown[] = "contexts:\n  - name: bank\n    default_home: eu\n    event_types:\n"
                                  "      - type: CardFrozen\n        settle: maybe\n";
    struct server_config *config = NULL;
    struct err err = {0};
    cr_assert_eq(load(head, peers, rules, &config, &err), 0, "%s", err.message);
    cr_expect_eq(context_late_policy(&config->region.contexts, BYTES_LITERAL("bank"), BYTES_LITERAL("CardFrozen")),
                 LATE_ACCEPT);
    server_config_free(config);
    refused(head, peers, unknown, ERR_INVALID, "maybe");
    refused(head, peers, unknown, ERR_INVALID, "CardFrozen");
}

Test(server_config, rules_about_homes_are_taken_and_checked)
{
    static const char rules[] = "contexts:\n  - name: bank\n    default_home: eu\n    topology: home-affinity\n"
                                "    isolation: fence\n    lease_ms: 3000\n    failover: assisted\n"
                                "    payload_regions: [eu, us]\n    event_types:\n"
                                "      - type: CardFrozen\n        override: true\n";
    static const char many[] = "contexts:\n  - name: bank\n    default_home: eu\n    topology: multi-home\n"
                               "    event_types:\n      - type: Counted\n        commutative: true\n";
    static const char automatic[] = "contexts:\n  - name: bank\n    default_home: eu\n    failover: automatic\n";
    static const char stranger[] = "contexts:\n  - name: bank\n    default_home: eu\n    payload_regions: [eu, mars]\n";
    static const char endless[] = "contexts:\n  - name: bank\n    default_home: eu\n    isolation: fence\n"
                                  "    lease_ms: 99999999999\n";
    struct server_config *config = NULL;
    struct err err = {0};
    cr_assert_eq(load(head, peers, rules, &config, &err), 0, "%s", err.message);
    const struct context *bank = &config->contexts[0];
    cr_expect_eq(bank->rules.topology, TOPOLOGY_HOME_AFFINITY);
    cr_expect_eq(bank->rules.isolation, ISOLATION_FENCE);
    cr_expect_eq(bank->rules.lease_ms, 3000);
    cr_expect_eq(bank->rules.failover, FAILOVER_ASSISTED);
    cr_expect_eq(bank->rules.payload_region_count, 2);
    cr_expect_str_eq(bank->rules.payload_regions[1], "us");
    cr_expect(context_type_find(bank, BYTES_LITERAL("CardFrozen"))->override);
    cr_expect_null(context_type_find(bank, BYTES_LITERAL("Paid")));
    server_config_free(config);
    cr_assert_eq(load(head, peers, many, &config, &err), 0, "%s", err.message);
    cr_expect(context_accepts_anywhere(&config->contexts[0], BYTES_LITERAL("Counted")));
    server_config_free(config);
    refused(head, peers, automatic, ERR_INVALID, "etcd: endpoints");
    refused(head, peers, stranger, ERR_INVALID, "mars");
    refused(head, peers, endless, ERR_INVALID, "lease_ms");
}

Test(server_config, etcd_is_taken_with_its_defaults)
{
    static const char least[] = "etcd:\n  endpoints: [http://10.0.0.1:2379, https://etcd.example]\n"
                                "contexts:\n  - name: bank\n    default_home: eu\n    failover: automatic\n";
    static const char most[] = "etcd:\n  endpoints: ['https://[::1]:2379']\n  prefix: /ledger/a.b-c_d\n  lease_s: 600\n"
                               "  ca_file: /etc/ca.pem\n  cert_file: me.pem\n  key_file: me.key\n"
                               "contexts:\n  - name: bank\n    default_home: eu\n";
    struct server_config *config = NULL;
    struct err err = {0};
    char path[DISK_PATH_MAX_BYTES];
    cr_assert_eq(load(head, peers, least, &config, &err), 0, "%s", err.message);
    cr_expect_eq(config->etcd.endpoint_count, 2);
    cr_expect_str_eq(config->etcd.endpoints[1], "https://etcd.example");
    cr_expect_str_eq(config->etcd.prefix, "/tallystick");
    cr_expect_str_eq(config->etcd.cluster, "bank");
    cr_expect_str_eq(config->etcd.region, "eu");
    cr_expect_eq(config->etcd.lease_s, 10);
    cr_expect_null(config->etcd.ca_file);
    server_config_free(config);
    cr_assert_eq(load(head, peers, most, &config, &err), 0, "%s", err.message);
    cr_expect_str_eq(config->etcd.prefix, "/ledger/a.b-c_d");
    cr_expect_eq(config->etcd.lease_s, 600);
    path_of("me.key", path);
    cr_expect_str_eq(config->etcd.key_file, path);
    cr_expect_str_eq(config->etcd.ca_file, "/etc/ca.pem");
    server_config_free(config);
}

Test(server_config, etcd_that_cannot_be_is_refused)
{
    static const char *const wrong[][2] = {
        {"etcd:\n  lease_s: 10\n", "endpoints"},
        {"etcd:\n  endpoints: []\n", "endpoints"},
        {"etcd:\n  endpoints: ['10.0.0.1:2379']\n", "HOST:PORT"},
        {"etcd:\n  endpoints: ['http://10.0.0.1:2379/v3']\n", "HOST:PORT"},
        {"etcd:\n  endpoints: ['http://me:secret@10.0.0.1']\n", "HOST:PORT"},
        {"etcd:\n  endpoints: ['http://e']\n  lease_s: 1\n", "lease_s must be 2 to 600 seconds"},
        {"etcd:\n  endpoints: ['http://e']\n  lease_s: 601\n", "lease_s must be 2 to 600 seconds"},
        {"etcd:\n  endpoints: ['http://e']\n  prefix: tally\n", "prefix"},
        {"etcd:\n  endpoints: ['http://e']\n  prefix: /tally/\n", "prefix"},
        {"etcd:\n  endpoints: ['http://e']\n  prefix: '/a b'\n", "prefix"},
        {"etcd:\n  endpoints: ['http://e']\n  cert_file: me.pem\n", "belong together"},
        {"etcd:\n  endpoints: ['http://e']\n  password: x\n", "no such setting"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        refused(head, wrong[i][0], contexts_alone, ERR_INVALID, wrong[i][1]);
}

/* "name+id+key" of the seed that is this byte, thirty-two times. */
static void vkey_of(const char *name, enum note_key_type type, uint8_t seed_byte, char *out)
{
    struct note_signer signer;
    uint8_t seed[32];
    memset(seed, seed_byte, sizeof(seed));
    cr_assert_eq(note_signer_from_seed(name, type, seed, &signer, NULL), 0);
    note_verifier_format(&signer.verifier, out);
}

static const char *witnesses(const char *first, const char *second, const char *url)
{
    static char text[2048];
    snprintf(text, sizeof(text),
             "witnesses:\n  - { name: one, key: '%s', url: '%s' }\n  - { name: two, key: '%s', url: 'http://w/x' }\n",
             first, url, second);
    return text;
}

Test(server_config, witnesses_are_taken_and_checked)
{
    char one[NOTE_VKEY_MAX_BYTES + 1], two[NOTE_VKEY_MAX_BYTES + 1], log_key[NOTE_VKEY_MAX_BYTES + 1];
    struct server_config *config = NULL;
    struct err err = {0};
    vkey_of("witness.example/1", NOTE_KEY_COSIGNATURE, 7, one);
    vkey_of("witness.example/2", NOTE_KEY_COSIGNATURE, 8, two);
    vkey_of("witness.example/3", NOTE_KEY_ED25519, 9, log_key);
    cr_assert_eq(load(head, witnesses(one, two, "https://w.example:8443/a/b"), contexts_alone, &config, &err), 0, "%s",
                 err.message);
    cr_assert_eq(config->region.witness_count, 2);
    cr_expect_str_eq(config->witness_names[1], "two");
    cr_expect_str_eq(config->witness_urls[0], "https://w.example:8443/a/b");
    cr_expect_str_eq(config->region.witnesses[0].keys[0].name, "witness.example/1");
    server_config_free(config);
    refused(head, witnesses(one, one, "http://w"), contexts_alone, ERR_INVALID, "counts once");
    refused(head, witnesses(log_key, two, "http://w"), contexts_alone, ERR_INVALID, "cosigns");
    refused(head, witnesses("nonsense", two, "http://w"), contexts_alone, ERR_INVALID, "witness one");
    refused(head, witnesses(one, two, "w.example"), contexts_alone, ERR_INVALID, "url");
    refused(head, witnesses(one, two, "http://w/"), contexts_alone, ERR_INVALID, "url");
    refused(head, witnesses(one, two, "http://"), contexts_alone, ERR_INVALID, "url");
}

Test(server_config, only_regions_that_hold_payloads_make_copies)
{
    static const char one[] = "contexts:\n  - name: bank\n    default_home: eu\n    payload_regions: [eu, us]\n"
                              "    durability: { peers: 1 }\n";
    static const char none[] = "contexts:\n  - name: bank\n    default_home: eu\n    payload_regions: [eu]\n"
                               "    durability: { peers: 1 }\n";
    static const char bounded[] = "contexts:\n  - name: bank\n    default_home: eu\n    payload_regions: [eu]\n"
                                  "    recovery_point: { events: 10, then: warn }\n";
    struct server_config *config = NULL;
    struct err err = {0};
    cr_assert_eq(load(head, peers, one, &config, &err), 0, "%s", err.message);
    server_config_free(config);
    refused(head, peers, none, ERR_INVALID, "the cluster has 0 that may hold its payloads");
    refused(head, peers, bounded, ERR_INVALID, "payloads included");
}

Test(server_config, a_missing_file_says_how_to_make_one)
{
    struct server_config *config = NULL;
    struct err err = {0};
    cr_assert_eq(server_config_load(disk_posix(), folder, &config, &err), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err.message, "tally init"));
}

Test(server_config, an_unknown_key_is_named_with_its_line)
{
    refused(head, peers, "colour: red\ncontexts: []\n", ERR_INVALID, "colour");
    refused(head, peers, "colour: red\ncontexts: []\n", ERR_INVALID, "line 8");
}

Test(server_config, yaml_that_does_not_parse_is_refused)
{
    refused("cluster: [\n", "", "", ERR_INVALID, "tallyd.yaml");
    refused("", "", "", ERR_INVALID, "tallyd.yaml");
}

Test(server_config, a_file_of_comments_alone_is_refused)
{
    refused("#", "", "", ERR_INVALID, "nothing but comments");
    refused("# tallyd.yaml\n\n", "", "", ERR_INVALID, "nothing but comments");
}

Test(server_config, missing_required_keys_are_named)
{
    refused("cluster: bank\nregion: eu\n", peers, contexts, ERR_INVALID, "listen");
    refused(head, peers, "", ERR_INVALID, "contexts");
}

Test(server_config, bad_names_are_refused)
{
    refused("cluster: BANK\nregion: eu\nlisten: 127.0.0.1:1\n", peers, contexts, ERR_INVALID, "BANK");
    refused("cluster: bank\nregion: e/u\nlisten: 127.0.0.1:1\n", peers, contexts, ERR_INVALID, "e/u");
}

Test(server_config, bad_addresses_are_refused)
{
    refused("cluster: bank\nregion: eu\nlisten: nowhere\n", peers, contexts, ERR_INVALID, "HOST:PORT");
    refused("cluster: bank\nregion: eu\nlisten: 127.0.0.1:65536\n", peers, contexts, ERR_INVALID, "HOST:PORT");
}

Test(server_config, numbers_out_of_range_are_refused)
{
    refused(head, "checkpoint_interval_ms: 0\n", contexts, ERR_INVALID, "checkpoint_interval_ms");
    refused(head, "segment_size_bytes: 20000000\n", contexts, ERR_INVALID, "segment_size_bytes");
    refused(head, "peer_timeout_ms: 500\n", contexts, ERR_INVALID, "peer_timeout_ms");
    refused(head, "drill_max_age_days: 3651\n", contexts, ERR_INVALID, "drill_max_age_days");
}

Test(server_config, isolation_and_damage_have_policies_with_safe_defaults)
{
    struct server_config *config = NULL;
    struct err err = {0};
    cr_assert_eq(load(head, peers, contexts, &config, &err), 0, "%s", err.message);
    cr_assert_not(config->region.accept_isolated);
    cr_assert_not(config->refuse_damaged);
    cr_assert_eq(config->scrub_mib_per_s, 4);
    server_config_free(config);
    char settings[1024];
    snprintf(settings, sizeof(settings),
             "%swhen_isolated: accept\nisolation_wait_ms: 500\nscrub_mib_per_s: 0\non_damage: refuse\n", peers);
    cr_assert_eq(load(head, settings, contexts, &config, &err), 0, "%s", err.message);
    cr_assert(config->region.accept_isolated);
    cr_assert_eq(config->region.isolation_wait_us, 500 * 1000);
    cr_assert(config->refuse_damaged);
    cr_assert_eq(config->scrub_mib_per_s, 0);
    server_config_free(config);
    refused(head, "when_isolated: perhaps\n", contexts, ERR_INVALID, "when_isolated");
    refused(head, "on_damage: ignore\n", contexts, ERR_INVALID, "on_damage");
}

static void expect_system_home(const char *settings, const char *home)
{
    struct server_config *config = NULL;
    struct err err = {0};
    char text[1024];
    snprintf(text, sizeof(text), "%s%s", peers, settings);
    cr_assert_eq(load(head, text, contexts, &config, &err), 0, "%s", err.message);
    const struct context *system = context_find(&config->region.contexts, BYTES_LITERAL(CONTEXT_SYSTEM));
    cr_assert_not_null(system);
    cr_assert_str_eq(system->default_home, home);
    cr_assert_eq(system->rules.topology, TOPOLOGY_ACTIVE_PASSIVE);
    server_config_free(config);
}

Test(server_config, the_systems_context_is_always_there)
{
    char text[1024];
    expect_system_home("", "eu");
    expect_system_home("system_home: us\n", "us");
    snprintf(text, sizeof(text), "%ssystem_home: mars\n", peers);
    refused(head, text, contexts, ERR_INVALID, "$system: default_home mars");
    refused(head, peers, "contexts:\n  - name: $system\n    default_home: eu\n", ERR_INVALID,
            "$system is declared twice");
}

Test(server_config, the_home_of_the_system_is_part_of_what_regions_compare)
{
    struct server_config *config = NULL;
    struct sha256 *sha = sha256_new();
    struct hash digests[3];
    const char *const homes[] = {"", "system_home: eu\n", "system_home: us\n"};
    char text[1024];
    for (size_t i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), "%s%s", peers, homes[i]);
        cr_assert_eq(load(head, text, contexts, &config, NULL), 0);
        digests[i] = context_table_digest(&config->region.contexts, sha);
        server_config_free(config);
    }
    cr_assert(hash_equal(&digests[0], &digests[1]));
    cr_assert_not(hash_equal(&digests[0], &digests[2]));
    sha256_free(sha);
}

Test(server_config, databases_of_projections_have_names_and_urls_without_passwords)
{
    struct server_config *config = NULL;
    struct err err = {0};
    char settings[1024];
    snprintf(settings, sizeof(settings),
             "%sprojection_databases:\n  - name: reporting\n    url: postgresql://tally@db/ledger\n  - name: other\n"
             "    url: postgresql:///x\n",
             peers);
    cr_assert_eq(load(head, settings, contexts, &config, &err), 0, "%s", err.message);
    cr_assert_eq(config->database_count, 2);
    cr_assert_str_eq(config->databases[0].name, "reporting");
    cr_assert_str_eq(config->databases[0].url, "postgresql://tally@db/ledger");
    server_config_free(config);
    refused(head, "projection_databases:\n  - name: r\n    url: postgresql://tally:hush@db/ledger\n", contexts_alone,
            ERR_INVALID, "password file");
    refused(head, "projection_databases:\n  - name: r\n    url: mysql://db\n", contexts_alone, ERR_INVALID,
            "postgresql://");
    refused(head,
            "projection_databases:\n  - name: r\n    url: postgresql:///a\n  - name: r\n    url: postgresql:///b\n",
            contexts_alone, ERR_INVALID, "twice");
}

Test(server_config, a_later_incarnation_has_its_own_name_and_the_same_key)
{
    struct server_config *config = NULL;
    struct err err = {0};
    cr_assert_eq(load(head, peers, contexts, &config, &err), 0, "%s", err.message);
    struct note_verifier first = config->signers[KEY_LOG][0].verifier;
    cr_assert_eq(server_config_set_incarnation(config, 3, &err), 0, "%s", err.message);
    cr_assert_str_eq(config->origin, "bank/eu/3");
    cr_assert_eq(config->region.incarnation, 3);
    cr_assert_str_eq(config->region.log_signers.items[0]->verifier.name, "bank/eu/3");
    cr_assert_eq(memcmp(config->signers[KEY_LOG][0].verifier.public_key, first.public_key, 32), 0);
    server_config_free(config);
}

Test(server_config, a_peer_may_be_neither_listed_twice_nor_be_the_region_itself)
{
    refused(head,
            "peers:\n  - region: us\n    address: 127.0.0.1:7402\n    keys: keys/peer-us.pub\n"
            "  - region: us\n    address: 127.0.0.1:7403\n    keys: keys/peer-us.pub\n",
            contexts, ERR_INVALID, "twice");
    refused(head, "peers:\n  - region: eu\n    address: 127.0.0.1:7402\n    keys: keys/peer-us.pub\n", contexts,
            ERR_INVALID, "itself");
}

Test(server_config, homes_must_be_known_regions)
{
    refused(head, peers, "contexts:\n  - name: bank\n    default_home: asia\n", ERR_INVALID, "asia");
}

Test(server_config, a_peer_without_its_keys_says_where_to_get_them)
{
    char path[DISK_PATH_MAX_BYTES];
    path_of("keys/peer-us.pub", path);
    unlink(path);
    refused(head, peers, contexts, ERR_NOT_FOUND, "region.pub");
}

Test(server_config, keys_of_another_region_are_refused)
{
    add_peer_keys("bank/asia/1", "bank/asia");
    refused(head, peers, contexts, ERR_MISMATCH, "bank/asia/1");
    refused("cluster: bank\nregion: us\nlisten: 127.0.0.1:1\n", "", "contexts:\n  - name: bank\n    default_home: us\n",
            ERR_MISMATCH, "bank/us/1");
}

Test(server_config, a_private_key_that_others_can_read_is_refused)
{
    char path[DISK_PATH_MAX_BYTES];
    path_of("keys/log.key", path);
    cr_assert_eq(chmod(path, 0644), 0);
    refused(head, peers, contexts, ERR_PERMISSION, "log.key");
}

Test(server_config, http_is_off_unless_an_address_is_given)
{
    struct server_config *config = NULL;
    cr_assert_eq(load(head, peers, contexts, &config, NULL), 0);
    cr_expect_str_eq(config->http_listen, "");
    server_config_free(config);
    cr_assert_eq(load(head, "http_listen: 'off'\n", contexts_alone, &config, NULL), 0);
    cr_expect_str_eq(config->http_listen, "");
    server_config_free(config);
    cr_assert_eq(load(head, "http_listen: 127.0.0.1:7480\n", contexts_alone, &config, NULL), 0);
    cr_expect_str_eq(config->http_listen, "127.0.0.1:7480");
    cr_expect_str_eq(config->witness.signers.items[0]->verifier.name, "bank/eu/witness");
    server_config_free(config);
    refused(head, "http_listen: yes\n", contexts_alone, ERR_INVALID, "http_listen");
}

Test(server_config, the_witness_key_is_needed_only_for_http)
{
    struct server_config *config = NULL;
    char path[DISK_PATH_MAX_BYTES];
    path_of("keys/witness.key", path);
    unlink(path);
    cr_assert_eq(load(head, peers, contexts, &config, NULL), 0);
    server_config_free(config);
    config = NULL;
    refused(head, "http_listen: 127.0.0.1:7480\n", contexts_alone, ERR_NOT_FOUND, "witness.key");
}

/* A mirror's cosignature says more than a witness's: one key for both would let one be taken for the other. */
Test(server_config, the_witness_key_is_not_that_of_the_mirror)
{
    char path[DISK_PATH_MAX_BYTES];
    path_of("keys/witness.key", path);
    unlink(path);
    path_of("keys/witness.key.pub", path);
    unlink(path);
    make_key("keys/witness.key", "bank/eu/witness", NOTE_KEY_COSIGNATURE, 2);
    refused(head, "http_listen: 127.0.0.1:7480\n", contexts_alone, ERR_MISMATCH, "each needs its own");
}

Test(server_config, a_witness_key_that_others_can_read_is_refused)
{
    char path[DISK_PATH_MAX_BYTES];
    path_of("keys/witness.key", path);
    cr_assert_eq(chmod(path, 0640), 0);
    refused(head, "http_listen: 127.0.0.1:7480\n", contexts_alone, ERR_PERMISSION, "witness.key");
}

/* --- A peer that replaces its keys --- */

static void add_peer_line(const char *name, enum note_key_type type, uint8_t seed_byte)
{
    struct note_signer signer;
    struct buf text;
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    char path[DISK_PATH_MAX_BYTES];
    uint8_t seed[32];
    memset(seed, seed_byte, sizeof(seed));
    buf_init(&text, 65536);
    path_of("keys/peer-us.pub", path);
    cr_assert_eq(disk_read_file(disk_posix(), path, &text, NULL), 0);
    cr_assert_eq(note_signer_from_seed(name, type, seed, &signer, NULL), 0);
    note_verifier_format(&signer.verifier, vkey);
    cr_assert_eq(buf_append_format(&text, "%s\n", vkey), 0);
    cr_assert_eq(disk_replace_file(disk_posix(), path, buf_bytes(&text), 0, NULL), 0);
    buf_free(&text);
}

Test(server_config, a_peer_may_have_several_keys_of_a_kind)
{
    struct server_config *config = NULL;
    struct err err = {0};
    add_peer_line("bank/us/1", NOTE_KEY_ED25519, 20);
    add_peer_line("bank/us", NOTE_KEY_COSIGNATURE, 21);
    add_peer_line("bank/us", NOTE_KEY_COSIGNATURE, 22);
    cr_assert_eq(load(head, peers, contexts, &config, &err), 0, "%s", err.message);
    cr_expect_eq(config->region.peers[0].log_keys.count, 2);
    cr_expect_eq(config->region.peers[0].cosign_keys.count, 3);
    server_config_free(config);
}

Test(server_config, a_peer_has_only_so_many_keys)
{
    for (uint8_t i = 0; i < KEYRING_MAX; i++)
        add_peer_line("bank/us/1", NOTE_KEY_ED25519, (uint8_t)(20 + i));
    refused(head, peers, contexts, ERR_TOO_LARGE, "peer-us.pub");
}

Test(server_config, tls_files_are_taken_and_all_three_are_needed)
{
    static const char whole[] = "tls:\n  ca_file: tls/ca.pem\n  cert_file: /etc/tally/eu.pem\n  key_file: tls/eu.key\n";
    static const char half[] = "tls:\n  ca_file: tls/ca.pem\n  cert_file: tls/eu.pem\n";
    char path[DISK_PATH_MAX_BYTES];
    struct server_config *config = NULL;
    struct err err = {0};
    cr_assert_eq(load(head, contexts_alone, whole, &config, &err), 0, "%s", err.message);
    path_of("tls/ca.pem", path);
    cr_expect_str_eq(config->tls.ca_file, path);
    cr_expect_str_eq(config->tls.cert_file, "/etc/tally/eu.pem");
    path_of("tls/eu.key", path);
    cr_expect_str_eq(config->tls.key_file, path);
    server_config_free(config);
    cr_assert_eq(load(head, contexts_alone, "", &config, &err), 0, "%s", err.message);
    cr_expect_null(config->tls.ca_file);
    server_config_free(config);
    refused(head, contexts_alone, half, ERR_INVALID, "key_file");
}

Test(server_config, loopback_is_what_only_this_machine_reaches)
{
    cr_expect(config_is_loopback("127.0.0.1:7401"));
    cr_expect(config_is_loopback("127.8.0.1:7401"));
    cr_expect(config_is_loopback("localhost:7401"));
    cr_expect(config_is_loopback("[::1]:7401"));
    cr_expect(!config_is_loopback("0.0.0.0:7401"));
    cr_expect(!config_is_loopback("10.0.0.1:7401"));
    cr_expect(!config_is_loopback("[::]:7401"));
    cr_expect(!config_is_loopback("localhost.example:7401"));
}
