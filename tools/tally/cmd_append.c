/* tally append: one event from options, or a batch from a file; all or nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "batch.h"
#include "commands.h"
#include "connect.h"
#include "entry/entry.h"
#include "json_scan.h"
#include "ndjson.h"
#include "output.h"
#include "platform/clock.h"
#include "platform/disk.h"
#include "receipt_file.h"
#include "tally/client.h"

enum { BATCH_FILE_MAX_BYTES = 32 * 1024 * 1024 };

struct append_options {
    struct common common;
    const char *batch_file;
    const char *context;
    const char *partition;
    const char *stream;
    const char *type;
    const char *id;
    const char *payload;
    const char *payload_file;
    const char *content_type;
    const char *metadata;
    const char *expect;
    const char *receipt;
    bool forward;
    bool queue;
    bool override;
    const char *actor;
    const char *reason;
};

/* --- Making the batch --- */

static int choose_id(const char *given, uint8_t out[TALLY_ID_SIZE], struct err *err)
{
    uint8_t random[10];
    if (given != NULL && uuid_parse(given, strlen(given), out) != 0)
        return err_set(err, ERR_INVALID, "--id \"%.60s\" is not a UUID", given);
    if (given == NULL) {
        entropy_fill(random, sizeof(random));
        uuid_v7(clock_now().wall_us / 1000, random, out);
    }
    return 0;
}

static int choose_payload(const struct append_options *options, struct buf *storage, struct tally_event *event,
                          struct err *err)
{
    struct bytes payload = bytes_of_string(options->payload == NULL ? "" : options->payload);
    if (options->payload_file != NULL) {
        int rc = disk_read_file(disk_posix(), options->payload_file, storage, err);
        if (rc != 0)
            return rc;
        payload = buf_bytes(storage);
    }
    event->payload = (struct tally_bytes){.data = payload.data, .size = payload.size_bytes};
    if (options->content_type != NULL)
        event->content_type = options->content_type;
    else if (json_scan_valid(payload))
        event->content_type = "application/json";
    return 0;
}

static int single_event(const struct append_options *options, struct buf *storage, struct batch *batch, struct err *err)
{
    struct ndjson_event event = {
        .context = options->context,
        .partition = options->partition,
        .stream = options->stream,
        .event.type = options->type,
    };
    int rc = choose_id(options->id, event.event.id, err);
    if (rc == 0)
        rc = entry_check_name(bytes_of_string(event.context), ENTRY_NAME_MAX_BYTES, "--context", err);
    if (rc == 0)
        rc = entry_check_name(bytes_of_string(event.stream), ENTRY_STREAM_MAX_BYTES, "--stream", err);
    if (rc == 0 && options->expect != NULL)
        rc = expectation_parse(options->expect, &event.expected, &event.expected_version, err);
    if (rc == 0)
        rc = choose_payload(options, storage, &event.event, err);
    if (rc == 0 && options->metadata != NULL)
        event.event.metadata = (struct tally_bytes){.data = options->metadata, .size = strlen(options->metadata)};
    return rc == 0 ? batch_add(batch, &event, 1, err) : rc;
}

static int batch_events(const char *file, struct buf *storage, struct batch *batch, struct err *err)
{
    int rc = disk_read_file(disk_posix(), file, storage, err);
    if (rc != 0)
        return rc;
    struct bytes rest = buf_bytes(storage);
    struct bytes element;
    if (!json_scan_valid(rest))
        return err_set(err, ERR_INVALID, "%s is not JSON: write an array of events, [{\"id\":…}, …]", file);
    for (uint64_t number = 1; json_scan_element(&rest, &element); number++) {
        struct ndjson_event event;
        rc = ndjson_parse(element, true, batch_arena(batch), &event, err);
        if (rc == 0)
            rc = batch_add(batch, &event, number, err);
        if (rc != 0)
            return err_wrap(err, rc, "%s, event %" PRIu64, file, number);
    }
    if (batch_count(batch) == 0)
        return err_set(err, ERR_INVALID, "%s holds no events: write an array of them, [{\"id\":…}, …]", file);
    return 0;
}

/* --- Printing the answer --- */

static int print_answer_json(const struct batch *batch, const struct tally_answer *answer, struct err *err)
{
    json_t *results = json_array();
    for (size_t i = 0; i < answer->result_count; i++) {
        const struct tally_result *result = &answer->results[i];
        uint64_t line = 0;
        char id[UUID_TEXT_SIZE + 1];
        uuid_format(batch_event(batch, i, &line)->id, id);
        (void)json_array_append_new(
            results, json_pack("{s:s,s:o,s:o,s:o,s:b,s:b}", "id", id, "origin", json_cstring(result->origin), "index",
                               json_number(result->index), "version", json_number(result->stream_version), "duplicate",
                               result->duplicate, "commutative", result->commutative));
    }
    return print_json(json_pack("{s:o,s:o,s:b,s:b,s:i,s:o}", "position", json_cstring(answer->position), "ticket",
                                answer->ticket[0] == '\0' ? json_null() : json_cstring(answer->ticket), "overridden",
                                answer->overridden, "degraded", answer->degraded, "copies", (int)answer->copies,
                                "results", results),
                      err);
}

static void print_answer(const struct batch *batch, const struct tally_answer *answer)
{
    for (size_t i = 0; i < answer->result_count; i++) {
        const struct tally_result *result = &answer->results[i];
        uint64_t line = 0;
        char id[UUID_TEXT_SIZE + 1];
        uuid_format(batch_event(batch, i, &line)->id, id);
        printf("%s ", id);
        print_string(result->origin);
        printf(" index %" PRIu64, result->index);
        if (result->commutative)
            printf(", commutative");
        else
            printf(", version %" PRIu64, result->stream_version);
        puts(result->duplicate ? ", was there already" : "");
    }
    printf("%s ", answer->ticket[0] == '\0' ? "position" : "queued for its home: ticket");
    print_string(answer->position);
    putchar('\n');
    if (answer->overridden)
        puts("OVERRIDE: without effect on its stream until the home has decided; tally reconcile list --kind override");
    if (answer->degraded)
        printf("DEGRADED: on %" PRIu32 " peers, fewer than its context asks for\n", answer->copies);
}

/* --- The command --- */

/* Whether it took effect is unknown after these: say how to find out. */
static int explain_retry(int rc, const struct batch *batch, struct err *err)
{
    uint64_t line = 0;
    char id[UUID_TEXT_SIZE + 1];
    if ((rc != ERR_TIMEOUT && rc != ERR_UNAVAILABLE) || batch_count(batch) != 1)
        return rc;
    uuid_format(batch_event(batch, 0, &line)->id, id);
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    memcpy(message, err->message, sizeof(message));
    return err_set(err, rc, "%s (to try again without a risk of a second event, add --id %s)", message, id);
}

/* The event is durable, whatever becomes of this: it can be asked for again. */
static int keep_receipt(const struct append_options *options, struct tally_client *client, const struct batch *batch,
                        struct err *err)
{
    const struct receipt_request request = {.path = options->receipt, .timeout_ms = options->common.timeout_ms};
    char origin[TALLY_NAME_MAX_BYTES + 1];
    char id[UUID_TEXT_SIZE + 1];
    uint64_t index = 0;
    uint64_t line = 0;
    int rc = receipt_fetch(client, batch_event(batch, 0, &line)->id, &request, origin, &index, err);
    uuid_format(batch_event(batch, 0, &line)->id, id);
    if (rc != 0)
        rc = err_wrap(err, rc, "the event was appended, but not its receipt written (later: tally proof %s --out %s)",
                      id, options->receipt);
    return rc;
}

static int append(const struct append_options *options, struct buf *storage, struct batch *batch, struct err *err)
{
    const struct tally_write *writes = NULL;
    size_t write_count = 0;
    struct tally_client *client = NULL;
    struct tally_answer *answer = NULL;
    int rc = options->batch_file != NULL ? batch_events(options->batch_file, storage, batch, err)
                                         : single_event(options, storage, batch, err);
    if (rc == 0)
        rc = batch_finish(batch, &writes, &write_count, err);
    if (rc == 0)
        rc = connect_client(server_address(options->common.server), &client, err);
    if (rc == 0) {
        tally_client_set_override(client, options->actor == NULL ? "operator" : options->actor, options->reason);
        tally_client_set_at_wrong_home(client, options->forward    ? TALLY_FORWARD
                                               : options->queue    ? TALLY_QUEUE
                                               : options->override ? TALLY_OVERRIDE
                                                                   : TALLY_REDIRECT);
        rc = tally_append(client, writes, write_count, options->common.timeout_ms, &answer, NULL, err);
        if (rc != 0)
            rc = explain_retry(rc, batch, err);
    }
    if (rc == 0 && options->common.json)
        rc = print_answer_json(batch, answer, err);
    else if (rc == 0)
        print_answer(batch, answer);
    if (rc == 0)
        rc = output_flush(err);
    if (rc == 0 && options->receipt != NULL)
        rc = keep_receipt(options, client, batch, err);
    tally_answer_free(answer);
    tally_client_close(client);
    return rc;
}

static int check_usage(const struct command *command, const struct append_options *options)
{
    bool single = options->context != NULL || options->partition != NULL || options->stream != NULL ||
                  options->type != NULL || options->payload != NULL || options->payload_file != NULL ||
                  options->content_type != NULL || options->metadata != NULL || options->id != NULL ||
                  options->expect != NULL;
    if (options->batch_file != NULL && single)
        return usage_error(
            command,
            "--batch brings its own events, with all that belongs to them: leave the options of one event out");
    if (options->batch_file != NULL && options->receipt != NULL)
        return usage_error(command, "--receipt is for one event: after a batch use tally proof for each");
    if (options->forward + options->queue + options->override > 1)
        return usage_error(command, "only one of --forward, --queue and --override");
    if (options->override != (options->reason != NULL) || (options->actor != NULL && !options->override))
        return usage_error(command, "--override needs --reason; these, and --actor, go together");
    if (options->queue && options->receipt != NULL)
        return usage_error(command, "--receipt: what is queued is in no log yet; see tally ticket show, tally proof");
    if (options->batch_file == NULL &&
        (options->context == NULL || options->partition == NULL || options->stream == NULL || options->type == NULL))
        return usage_error(command, "an event needs --context, --partition, --stream and --type");
    if (options->payload != NULL && options->payload_file != NULL)
        return usage_error(command, "either --payload or --payload-file, not both");
    return EXIT_OK;
}

static int run_append(const struct command *command, int argc, char **argv)
{
    struct append_options options = {.common.timeout_ms = COMMON_TIMEOUT_MS};
    const struct option table[] = {
        {"context", "NAME", OPTION_TEXT, &options.context, "namespace of the stream"},
        {"partition", "NAME", OPTION_TEXT, &options.partition, "decides which region is the home"},
        {"stream", "NAME", OPTION_TEXT, &options.stream, "the business entity"},
        {"type", "NAME", OPTION_TEXT, &options.type, "what happened"},
        {"payload", "TEXT", OPTION_TEXT, &options.payload, "the event's content"},
        {"payload-file", "FILE", OPTION_TEXT, &options.payload_file, "the same, from a file"},
        {"content-type", "TYPE", OPTION_TEXT, &options.content_type, "default: application/json when it is JSON"},
        {"metadata", "TEXT", OPTION_TEXT, &options.metadata, "crosses borders: no personal data"},
        {"id", "UUID", OPTION_TEXT, &options.id, "key of idempotency (default: a new one)"},
        {"expect", "STATE", OPTION_TEXT, &options.expect, "any, none, exists, or the version of the last event"},
        {"receipt", "FILE", OPTION_TEXT, &options.receipt,
         "then wait until a published checkpoint covers it, and write its receipt"},
        {"batch", "FILE", OPTION_TEXT, &options.batch_file, "a JSON array of events, all or nothing"},
        {"forward", NULL, OPTION_FLAG, &options.forward,
         "let a region that is not the home pass it on (default: it names the home)"},
        {"override", NULL, OPTION_FLAG, &options.override,
         "an emergency: let a region that is not the home accept it at once; needs --reason"},
        {"reason", "TEXT", OPTION_TEXT, &options.reason, "of an override: it stays in the log"},
        {"actor", "NAME", OPTION_TEXT, &options.actor, "of an override (default: operator)"},
        {"queue", NULL, OPTION_FLAG, &options.queue,
         "let a region that is not the home keep it until the home decides: prints a ticket"},
        OPTION_SERVER(options.common),
        OPTION_TIMEOUT(options.common),
        OPTION_JSON(options.common),
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 0, 0, &arguments, &exit_with))
        return exit_with;
    exit_with = check_usage(command, &options);
    if (exit_with != EXIT_OK)
        return exit_with;
    struct err err = {0};
    struct batch *batch = NULL;
    struct buf storage;
    buf_init(&storage, BATCH_FILE_MAX_BYTES);
    int rc = batch_new(TALLY_BATCH_EVENTS_MAX, BATCH_FILE_MAX_BYTES, &batch, &err);
    if (rc == 0)
        rc = append(&options, &storage, batch, &err);
    batch_free(batch);
    buf_free(&storage);
    return rc == 0 ? EXIT_OK : fail(&err, options.common.json);
}

const struct command command_append = {
    .name = "append",
    .arguments = "",
    .summary = "append one event, or a batch",
    .help =
        "Appends one event, or all events of a JSON array together or not at all. Answers once they are durable, with\n"
        "where they are. An event of --batch is an object as in tally import --help, and may also say\n"
        "\"expected\": \"any\", \"none\", \"exists\" or a version (of its stream before the batch).\n\n"
        "Examples:\n"
        "  tally append --context bank --partition eu --stream account-17 --type Deposited \\\n"
        "      --payload '{\"amount\":\"12.50\"}' --expect 3\n"
        "  tally append --context bank --partition eu --stream account-17 --type Closed --receipt closed.tlog-proof\n"
        "  tally append --batch transfer.json --forward\n"
        "  tally append --batch transfer.json --queue      (then: tally ticket show TICKET)",
    .connects = true,
    .run = run_append,
};
