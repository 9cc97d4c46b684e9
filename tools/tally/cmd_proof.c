/* tally proof: the receipt of one event, from a region or from the files of a log. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "commands.h"
#include "connect.h"
#include "crypto/receipt.h"
#include "output.h"
#include "proof.h"
#include "receipt_file.h"

struct proof_options {
    struct common common;
    const char *data;
    const char *origin;
    const char *key;
    const char *out;
};

static int from_files(const struct proof_options *options, const uint8_t id[TALLY_ID_SIZE], uint64_t *ret_index,
                      struct err *err)
{
    struct data_log log;
    struct buf receipt;
    buf_init(&receipt, RECEIPT_MAX_BYTES);
    int rc = data_log_open(options->data, options->origin, options->key, &log, err);
    if (rc == 0)
        rc = proof_from_files(&log, id, &receipt, ret_index, err);
    if (rc == 0)
        rc = disk_replace_file(disk_posix(), options->out, buf_bytes(&receipt), 0, err);
    data_log_free(&log);
    buf_free(&receipt);
    return rc;
}

static int from_server(const struct proof_options *options, const uint8_t id[TALLY_ID_SIZE],
                       char origin[TALLY_NAME_MAX_BYTES + 1], uint64_t *ret_index, struct err *err)
{
    struct tally_client *client = NULL;
    struct receipt_request request = {.path = options->out, .timeout_ms = options->common.timeout_ms};
    int rc = connect_client(server_address(options->common.server), &client, err);
    if (rc == 0)
        rc = receipt_fetch(client, id, &request, origin, ret_index, err);
    tally_client_close(client);
    return rc;
}

static int run_proof(const struct command *command, int argc, char **argv)
{
    struct proof_options options = {.common.timeout_ms = COMMON_TIMEOUT_MS};
    const struct option table[] = {
        {"out", "FILE", OPTION_TEXT, &options.out, "required; where to write, such as payment.tlog-proof"},
        OPTION_SERVER(options.common),
        {"data", "DIR", OPTION_TEXT, &options.data, "instead of a server: a data directory, or a copy of it …"},
        {"origin", "ORIGIN", OPTION_TEXT, &options.origin, "… and which log in it, such as bank/eu/1"},
        {"key", "FILE", OPTION_TEXT, &options.key, "with --data: the log's public key (default: from DIR/keys)"},
        {"timeout-ms", "N", OPTION_NUMBER, &options.common.timeout_ms,
         "wait at most N milliseconds for a checkpoint that covers the event (default 10000)"},
        OPTION_JSON(options.common),
    };
    struct arguments arguments;
    int exit_with = 0;
    uint8_t id[TALLY_ID_SIZE];
    char origin[TALLY_NAME_MAX_BYTES + 1] = "";
    uint64_t index = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 1, 1, &arguments, &exit_with))
        return exit_with;
    if (uuid_parse(arguments.items[0], strlen(arguments.items[0]), id) != 0)
        return usage_error(command, "\"%.60s\" is not an event's id: a UUID is", arguments.items[0]);
    if (options.out == NULL)
        return usage_error(command, "--out is required");
    if ((options.data == NULL) != (options.origin == NULL))
        return usage_error(command, "--data and --origin go together");
    if (options.key != NULL && options.data == NULL)
        return usage_error(command, "--key goes with --data: a receipt from a server is checked with tally-verify");
    if (options.data != NULL && options.common.server != NULL)
        return usage_error(command, "either --server, or --data and --origin");
    struct err err = {0};
    int rc =
        options.data != NULL ? from_files(&options, id, &index, &err) : from_server(&options, id, origin, &index, &err);
    const char *log = options.data != NULL ? options.origin : origin;
    if (rc == 0 && options.common.json)
        rc = print_json(json_pack("{s:o,s:o,s:o}", "origin", json_cstring(log), "index", json_number(index), "out",
                                  json_cstring(options.out)),
                        &err);
    else if (rc == 0) {
        printf("entry %" PRIu64 " of ", index);
        print_string(log);
        printf(": receipt in %s\n", options.out);
        rc = output_flush(&err);
    }
    return rc == 0 ? EXIT_OK : fail(&err, options.common.json);
}

const struct command command_proof = {
    .name = "proof",
    .arguments = "EVENT_ID",
    .summary = "a receipt: the proof that an event is in a log",
    .help =
        "Writes the receipt of one event (c2sp.org/tlog-proof): the entry, its place, the path to the root, and the\n"
        "checkpoint that signs the root. Whoever has the log's public key can check it for ever, without a server:\n"
        "tally-verify proof FILE --key region.pub. It proves the entry, which commits to the payload; the payload "
        "is\n"
        "not in it.\n\n"
        "Examples:\n"
        "  tally proof 0192d3f4-0000-7000-8000-000000000001 --out payment.tlog-proof\n"
        "  tally proof 0192d3f4-0000-7000-8000-000000000001 --data /backup/eu --origin bank/eu/1 --out p.tlog-proof",
    .connects = true,
    .run = run_proof,
};
