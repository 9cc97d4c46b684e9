/* tally-verify projection: the digests of one projection in two regions, as files
 *
 *   {"name": "balances", "position": "eu@1024,us@998", "digest": "hex"}
 *
 * Equal positions must have equal digests. Different positions cannot be compared, and the tool says what to do: it
 * does not hold a database, so it cannot replay. */
#include "base/mem.h"
#include "verify/commands.h"
#include "verify/print.h"

enum { RECORD_MAX_BYTES = 64 * 1024, FIELDS = 3 };

static const char *const field_names[FIELDS] = {"name", "position", "digest"};

struct record {
    json_t *document;
    const char *fields[FIELDS];
};

static int read_record(const struct arguments *arguments, const char *path, struct record *ret, struct err *err)
{
    struct buf text;
    json_error_t error;
    buf_init(&text, RECORD_MAX_BYTES);
    int code = disk_read_file(arguments->demands.disk, path, &text, err);
    if (code == 0) {
        ret->document = json_loadb((const char *)text.data, text.size_bytes, JSON_REJECT_DUPLICATES, &error);
        if (ret->document == NULL)
            code = err_set(err, ERR_INVALID, "%s is not JSON: %s", path, error.text);
    }
    for (size_t i = 0; code == 0 && i < FIELDS; i++) {
        ret->fields[i] = json_string_value(json_object_get(ret->document, field_names[i]));
        if (ret->fields[i] == NULL || ret->fields[i][0] == '\0')
            code = err_set(err, ERR_INVALID, "%s has no text \"%s\"", path, field_names[i]);
    }
    buf_free(&text);
    return code;
}

static enum verdict judge(const struct record *a, const struct record *b, const char **ret_message)
{
    if (strcmp(a->fields[0], b->fields[0]) != 0) {
        *ret_message = "not compared: these are two projections";
        return VERDICT_INCOMPLETE;
    }
    if (strcmp(a->fields[1], b->fields[1]) != 0) {
        *ret_message = "not compared: the positions differ, so the digests may. Ask both regions for the digest at one "
                       "position (tally projection digest NAME --wait POSITION), or replay both logs to one position; "
                       "whether the logs agree up to there is what tally-verify compare tells";
        return VERDICT_INCOMPLETE;
    }
    if (strcmp(a->fields[2], b->fields[2]) != 0) {
        *ret_message = "the digests differ at one position: compare the copies of each log up to it; if they are the "
                       "same, rebuild the projection in both regions, and where the digest changes, rows were not made "
                       "from the log";
        return VERDICT_VIOLATION;
    }
    *ret_message =
        "equal digests at one position. Whether the rows follow from the logs is NOT checked: that takes the "
        "logs and a rebuild";
    return VERDICT_VERIFIED;
}

int cmd_projection(const struct arguments *arguments)
{
    struct record records[2] = {0};
    struct err err = {0};
    const char *message = NULL;
    enum verdict verdict = VERDICT_INCOMPLETE;
    int code = read_record(arguments, arguments->operands[0], &records[0], &err);
    if (code == 0)
        code = read_record(arguments, arguments->operands[1], &records[1], &err);
    if (code == 0)
        verdict = judge(&records[0], &records[1], &message);
    if (code != 0) {
        fprintf(stderr, "tally-verify: %s\n", err.message);
    } else if (arguments->json) {
        print_json(json_pack("{s:s, s:i, s:s, s:o, s:o}", "verdict", verdict_name(verdict), "exit_code", (int)verdict,
                             "message", message, "a", json_deep_copy(records[0].document), "b",
                             json_deep_copy(records[1].document)));
    } else {
        for (size_t i = 0; i < 2; i++)
            printf("%s: %s at %s has digest %s\n", arguments->operands[i], records[i].fields[0], records[i].fields[1],
                   records[i].fields[2]);
        printf("%-13s %s\n",
               verdict == VERDICT_VERIFIED    ? "SAME"
               : verdict == VERDICT_VIOLATION ? "DIFFERENT"
                                              : "INCOMPLETE",
               message);
    }
    json_decref(records[0].document);
    json_decref(records[1].document);
    return (int)verdict;
}
