/* tally-verify authority: whether every entry of a cluster was accepted by the home of its epoch. */
#include <inttypes.h>

#include "base/mem.h"
#include "verify/commands.h"
#include "verify/judge.h"
#include "verify/print.h"

#define SHOWN(text) (int)(text).size_bytes, (const char *)(text).data

enum { OUTCOME_MESSAGE_MAX_BYTES = VERIFY_MESSAGE_MAX_BYTES + ENTRY_ORIGIN_MAX_BYTES + 128 };

/* What is printed about one partition. */
struct row {
    struct bytes context;
    struct bytes partition;
    uint64_t change_count;
    uint64_t effective_count;
    uint64_t late_count;
};

struct outcome {
    const struct arguments *arguments;
    const struct cluster *cluster;
    const struct judge *judge; /* NULL: nothing was judged */
    enum verdict verdict;
    char message[OUTCOME_MESSAGE_MAX_BYTES];
    char file[COPY_FILE_BYTES]; /* of the first violation, where its block begins: */
    uint64_t offset;
    size_t row_count;
    struct row *rows; /* owned */
};

/* --- Adding up --- */

static int row_of(struct outcome *outcome, struct map *numbers, struct bytes context, struct bytes partition,
                  struct row **ret, struct err *err)
{
    uint8_t key[1 + 2 * ENTRY_NAME_MAX_BYTES];
    key[0] = (uint8_t)context.size_bytes;
    memcpy(key + 1, context.data, context.size_bytes);
    memcpy(key + 1 + context.size_bytes, partition.data, partition.size_bytes);
    struct bytes name = bytes_of(key, 1 + context.size_bytes + partition.size_bytes);
    uintptr_t number = (uintptr_t)map_get(numbers, name);
    if (number == 0) {
        number = outcome->row_count + 1;
        if (map_put(numbers, name, (void *)number) != 0)
            return err_no_memory(err, "the table of partitions");
        outcome->rows[outcome->row_count++] = (struct row){.context = context, .partition = partition};
    }
    *ret = &outcome->rows[number - 1];
    return 0;
}

/* One row for each partition that entries or changes name, and one for the rest of each context. */
static int add_up(struct outcome *outcome, struct err *err)
{
    const struct judge *judge = outcome->judge;
    const struct context_table *contexts = &judge->contexts->table;
    const size_t row_max = contexts->count + judge->changes.count + judge->shares.live_count;
    struct map numbers;
    struct bytes key;
    struct row *row = NULL;
    void *value = NULL;
    size_t at = 0;
    int code = 0;
    outcome->rows = mem_alloc_zero(row_max, sizeof(*outcome->rows));
    if (outcome->rows == NULL)
        return err_no_memory(err, "the table of partitions");
    map_init(&numbers, row_max + 1, NULL);
    for (size_t i = 0; code == 0 && i < contexts->count; i++)
        code = row_of(outcome, &numbers, bytes_of_string(contexts->contexts[i].name),
                      bytes_of_string(CONTROL_ALL_PARTITIONS), &row, err);
    for (size_t i = 0; code == 0 && i < judge->changes.count; i++) {
        const struct change *change = judge->changes.list[i];
        code = row_of(outcome, &numbers, change->context, change->partition, &row, err);
        if (code == 0 && control_begins_epoch(change->kind))
            row->change_count++;
    }
    while (code == 0 && map_next(&judge->shares, &at, &key, &value)) {
        const struct share *share = value;
        code = row_of(outcome, &numbers, share->context, share->partition, &row, err);
        if (code == 0) {
            row->effective_count += share->effective_count;
            row->late_count += share->late_count;
        }
    }
    map_free(&numbers);
    return code;
}

static void take(struct outcome *outcome, enum verdict verdict, const char *message)
{
    if (verdict_worse(outcome->verdict, verdict) == outcome->verdict)
        return;
    outcome->verdict = verdict;
    snprintf(outcome->message, sizeof(outcome->message), "%s", message);
}

static void conclude(struct outcome *outcome)
{
    const struct cluster *cluster = outcome->cluster;
    const struct judge *judge = outcome->judge;
    char text[OUTCOME_MESSAGE_MAX_BYTES];
    if (judge != NULL && judge->first.found) {
        const struct violation *first = &judge->first;
        copy_where(first->copy, first->index, outcome->file, &outcome->offset);
        snprintf(text, sizeof(text), "log %s, index %" PRIu64 ", file %s, block at offset %" PRIu64 ", rule %s: %s",
                 cluster->logs[first->log].copy->report.origin, first->index, outcome->file, outcome->offset,
                 rule_name(first->rule), first->message);
        take(outcome, VERDICT_VIOLATION, text);
    }
    take(outcome, cluster->verdict, cluster->message);
    if (judge != NULL && judge->unjudged_count > 0) {
        snprintf(text, sizeof(text), "%" PRIu64 " entries could not be judged: %s", judge->unjudged_count,
                 judge->unjudged);
        take(outcome, VERDICT_INCOMPLETE, text);
    }
}

/* --- For people --- */

static void print_logs(const struct outcome *outcome)
{
    for (size_t i = 0; i < outcome->cluster->copy_count; i++) {
        const struct log_report *report = &outcome->cluster->copies[i]->report;
        printf("log           %s in %s: %" PRIu64 " entries, %s%s%s\n",
               report->origin[0] == '\0' ? "(unknown)" : report->origin, report->path, report->size,
               verdict_name(report->verdict), report->message[0] == '\0' ? "" : ": ", report->message);
    }
}

static void print_rows(const struct outcome *outcome)
{
    const struct authority_table *table = &outcome->judge->changes.table;
    printf("\n%-40s %-12s %8s %8s %12s %12s\n", "PARTITION", "HOME", "EPOCH", "CHANGES", "EFFECTIVE", "LATE");
    for (size_t i = 0; i < outcome->row_count; i++) {
        const struct row *row = &outcome->rows[i];
        struct authority_now now = {.region = "?"};
        char name[2 * ENTRY_NAME_MAX_BYTES + 2];
        bool known = authority_now(table, row->context, row->partition, &now, NULL) == 0;
        snprintf(name, sizeof(name), "%.*s/%.*s", SHOWN(row->context), SHOWN(row->partition));
        printf("%-40s %-12s %8" PRIu64 " %8" PRIu64 " %12" PRIu64 " %12" PRIu64 "%s%s\n", name, now.region, now.epoch,
               row->change_count, row->effective_count, row->late_count, known && now.released ? " released to " : "",
               known && now.released ? now.successor : "");
    }
}

static void print_change(const struct outcome *outcome, const struct change *change)
{
    struct control_authority said;
    struct buf basis;
    buf_init(&basis, CONTROL_BASIS_MAX_BYTES);
    if (control_authority_parse(change->kind, change->payload, &said, NULL) != 0)
        return;
    printf("%-18s %.*s/%.*s epoch %" PRIu64 " by entry %" PRIu64 " of %s", control_type(change->kind),
           SHOWN(change->context), SHOWN(change->partition), change->epoch, change->index,
           outcome->cluster->logs[change->log].copy->report.origin);
    if (change->kind == CONTROL_AUTHORITY_RELEASED)
        printf(", to %.*s", SHOWN(said.successor));
    else if (position_format(&said.basis, &basis) == 0)
        printf(", basis %.*s%s", SHOWN(buf_bytes(&basis)),
               change->counts                          ? ""
               : change->kind == CONTROL_LOG_CONTINUED ? ", does NOT count: a later log does not continue it"
                                                       : ", does NOT count: another change goes before it");
    if (change->late_entry_count > 0)
        printf(", %" PRIu64 " entries late because of it", change->late_entry_count);
    printf(" (%.*s%s%.*s%s)\n", SHOWN(said.actor), said.reason.size_bytes == 0 ? "" : ": ", SHOWN(said.reason),
           said.forced ? "; forced" : "");
    buf_free(&basis);
}

/* The contexts that the logs have created or changed. */
static void print_defined(const struct outcome *outcome)
{
    const struct context_table *contexts = outcome->judge->changes.table.contexts;
    for (size_t i = 0; i < context_count(contexts); i++) {
        const struct context *context = context_at(contexts, i);
        if (context == NULL || context->source == NULL)
            continue;
        const struct context_source *source = context->source;
        printf("%-18s %s version %" PRIu64 " by entry %" PRIu64 " of log %" PRIu64 " of region %s (%s%s%s)\n",
               control_type(CONTROL_CONTEXT_DEFINED), context->name, context_version(context), source->index,
               source->incarnation, source->region, source->actor, source->reason[0] == '\0' ? "" : ": ",
               source->reason);
    }
}

static void print_verdict(const struct outcome *outcome)
{
    const struct judge *judge = outcome->judge;
    if (judge == NULL) {
        printf("%-13s %s; authority was NOT judged\n",
               outcome->verdict == VERDICT_VIOLATION ? "VIOLATION" : "INCOMPLETE", outcome->message);
        return;
    }
    printf("\nentries       %" PRIu64 " effective, %" PRIu64 " late; decisions about late events: %" PRIu64
           " effective, %" PRIu64 " late\n",
           judge->effective_count, judge->late_count, judge->decision_count, judge->late_decision_count);
    if (judge->override_count > 0)
        printf("overrides     %" PRIu64 " accepted away from home as emergencies, without effect of their own\n",
               judge->override_count);
    if (judge->commutative_count > 0)
        printf("commutative   %" PRIu64 " of the entries, which any region may accept\n", judge->commutative_count);
    if (judge->definition_count + judge->late_definition_count > 0)
        printf("contexts      %" PRIu64 " definitions effective, %" PRIu64 " late\n", judge->definition_count,
               judge->late_definition_count);
    if (judge->residency.asked)
        printf("residency     %" PRIu64
               " copies of regions that may not hold all payloads were read for them; whose %" PRIu64
               " copies are was not said (REGION=DIR): NOT checked\n",
               judge->residency.copies_read, judge->residency.copies_of_nobody);
    if (judge->unknown_control_count > 0)
        printf("control       %" PRIu64 " control entries are of types that this version does not know: NOT judged\n",
               judge->unknown_control_count);
    for (enum rule rule = 0; rule < RULE_COUNT; rule++) {
        if (judge->violation_counts[rule] > 0)
            printf("%-13s %" PRIu64 " violations\n", rule_name(rule), judge->violation_counts[rule]);
    }
    if (outcome->verdict != VERDICT_VERIFIED)
        printf("%-13s %s\n",
               outcome->verdict == VERDICT_VIOLATION    ? "VIOLATION"
               : outcome->verdict == VERDICT_INCOMPLETE ? "INCOMPLETE"
                                                        : "POLICY",
               outcome->message);
    else
        printf("VERIFIED      authority: every entry was accepted by a home of its epoch%s\n",
               outcome->arguments->demands.policy == NULL ? "; signatures NOT checked" : "");
}

static void print_outcome(const struct outcome *outcome)
{
    print_logs(outcome);
    if (outcome->judge != NULL) {
        print_rows(outcome);
        printf("\n");
        for (size_t i = 0; i < outcome->judge->changes.count; i++)
            print_change(outcome, outcome->judge->changes.list[i]);
        print_defined(outcome);
    }
    print_verdict(outcome);
}

/* --- For programs --- */

static json_t *text_json(struct bytes text)
{
    return text.size_bytes == 0 ? json_string("") : json_stringn((const char *)text.data, text.size_bytes);
}

static json_t *change_json(const struct outcome *outcome, const struct change *change)
{
    struct control_authority said;
    struct buf basis;
    buf_init(&basis, CONTROL_BASIS_MAX_BYTES);
    if (control_authority_parse(change->kind, change->payload, &said, NULL) != 0 ||
        position_format(&said.basis, &basis) != 0)
        return json_null();
    json_t *object = json_pack(
        "{s:s, s:o, s:o, s:I, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:I}", "type",
        control_type(change->kind), "context", text_json(change->context), "partition", text_json(change->partition),
        "epoch", (json_int_t)change->epoch, "log", outcome->cluster->logs[change->log].copy->report.origin, "index",
        (json_int_t)change->index, "time_ms", (json_int_t)hlc_unix_ms(change->time), "basis",
        text_json(buf_bytes(&basis)), "successor", text_json(said.successor), "previous", text_json(said.previous),
        "actor", text_json(said.actor), "reason", text_json(said.reason), "forced", (int)said.forced, "counts",
        (int)change->counts, "late_entries", (json_int_t)change->late_entry_count);
    buf_free(&basis);
    return object;
}

static json_t *row_json(const struct outcome *outcome, const struct row *row)
{
    struct authority_now now;
    bool known = authority_now(&outcome->judge->changes.table, row->context, row->partition, &now, NULL) == 0;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "context", text_json(row->context), "partition",
                     text_json(row->partition), "home", known ? json_string(now.region) : json_null(), "epoch",
                     known ? json_integer((json_int_t)now.epoch) : json_null(), "released_to",
                     known && now.released ? json_string(now.successor) : json_null(), "changes",
                     (json_int_t)row->change_count, "effective", (json_int_t)row->effective_count, "late",
                     (json_int_t)row->late_count);
}

static json_t *violations_json(const struct judge *judge)
{
    json_t *object = json_object();
    for (enum rule rule = 0; rule < RULE_COUNT; rule++) {
        if (judge->violation_counts[rule] > 0)
            json_object_set_new(object, rule_name(rule), json_integer((json_int_t)judge->violation_counts[rule]));
    }
    return object;
}

static void judge_json(const struct outcome *outcome, json_t *object)
{
    const struct judge *judge = outcome->judge;
    const struct violation *first = &judge->first;
    json_t *partitions = json_array(), *changes = json_array();
    for (size_t i = 0; i < outcome->row_count; i++)
        json_array_append_new(partitions, row_json(outcome, &outcome->rows[i]));
    for (size_t i = 0; i < judge->changes.count; i++)
        json_array_append_new(changes, change_json(outcome, judge->changes.list[i]));
    json_object_set_new(object, "partitions", partitions);
    json_object_set_new(object, "changes", changes);
    json_object_set_new(object, "violations", violations_json(judge));
    json_object_set_new(object, "entries",
                        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "effective",
                                  (json_int_t)judge->effective_count, "late", (json_int_t)judge->late_count,
                                  "decisions", (json_int_t)judge->decision_count, "late_decisions",
                                  (json_int_t)judge->late_decision_count, "unjudged", (json_int_t)judge->unjudged_count,
                                  "unknown_control", (json_int_t)judge->unknown_control_count, "overrides",
                                  (json_int_t)judge->override_count, "definitions", (json_int_t)judge->definition_count,
                                  "late_definitions", (json_int_t)judge->late_definition_count, "commutative",
                                  (json_int_t)judge->commutative_count));
    json_object_set_new(object, "passes", json_integer((json_int_t)judge->pass_count));
    json_object_set_new(object, "first_violation",
                        !first->found
                            ? json_null()
                            : json_pack("{s:s, s:I, s:o, s:s, s:I, s:s, s:o}", "log",
                                        outcome->cluster->logs[first->log].copy->report.origin, "index",
                                        (json_int_t)first->index, "copy", shown_json(first->copy->report.path), "file",
                                        outcome->file, "offset", (json_int_t)outcome->offset, "rule",
                                        rule_name(first->rule), "message", shown_json(first->message)));
    json_object_set_new(object, "residency",
                        json_pack("{s:b, s:I, s:I}", "asked", (int)judge->residency.asked, "copies_read",
                                  (json_int_t)judge->residency.copies_read, "copies_of_nobody",
                                  (json_int_t)judge->residency.copies_of_nobody));
}

static json_t *outcome_json(const struct outcome *outcome)
{
    json_t *logs = json_array();
    for (size_t i = 0; i < outcome->cluster->copy_count; i++)
        json_array_append_new(logs, log_json(&outcome->cluster->copies[i]->report));
    json_t *object =
        json_pack("{s:s, s:i, s:o, s:b, s:b, s:o}", "verdict", verdict_name(outcome->verdict), "exit_code",
                  (int)outcome->verdict, "message", shown_json(outcome->message), "signatures_checked",
                  outcome->arguments->demands.policy != NULL, "judged", outcome->judge != NULL, "logs", logs);
    if (object != NULL && outcome->judge != NULL)
        judge_json(outcome, object);
    return object;
}

/* --- The command --- */

static int load_contexts(const struct arguments *arguments, struct contexts *ret, struct err *err)
{
    struct buf text;
    buf_init(&text, CONTEXTS_FILE_MAX_BYTES);
    int code = disk_read_file(arguments->demands.disk, arguments->contexts_path, &text, err);
    if (code == 0)
        code = contexts_parse(buf_bytes(&text), ret, err);
    if (code != 0)
        code = err_wrap(err, code, "%s", arguments->contexts_path);
    buf_free(&text);
    return code;
}

static int report(const struct arguments *arguments, const struct cluster *cluster, const struct judge *judge,
                  enum verdict *ret, struct err *err)
{
    struct outcome outcome = {.arguments = arguments, .cluster = cluster, .judge = judge};
    int code = judge == NULL ? 0 : add_up(&outcome, err);
    if (code == 0) {
        conclude(&outcome);
        if (arguments->json)
            print_json(outcome_json(&outcome));
        else
            print_outcome(&outcome);
        *ret = outcome.verdict;
    }
    mem_free(outcome.rows);
    return code;
}

/* Judges what is readable, and reports. */
static int judge_all(const struct arguments *arguments, const struct cluster *cluster, const struct contexts *contexts,
                     enum verdict *ret, struct err *err)
{
    if (!cluster->readable)
        return report(arguments, cluster, NULL, ret, err);
    struct judge *judge = mem_alloc_zero(1, sizeof(*judge));
    if (judge == NULL)
        return err_no_memory(err, "the judgement");
    int code = judge_init(judge, cluster, arguments->demands.disk, contexts, &unique_room_default, err);
    if (code == 0)
        code = judge_run(judge, err);
    if (code == 0)
        code = report(arguments, cluster, judge, ret, err);
    judge_free(judge);
    mem_free(judge);
    return code;
}

int cmd_authority(const struct arguments *arguments)
{
    struct err err = {0};
    enum verdict verdict = VERDICT_INCOMPLETE;
    struct contexts *contexts = mem_alloc_zero(1, sizeof(*contexts));
    struct cluster *cluster = mem_alloc_zero(1, sizeof(*cluster));
    int code = contexts == NULL || cluster == NULL ? err_no_memory(&err, "the judgement")
                                                   : load_contexts(arguments, contexts, &err);
    if (code == 0) {
        code = cluster_open(&arguments->demands, arguments->operands, arguments->operand_count, cluster, &err);
        if (code == 0)
            code = judge_all(arguments, cluster, contexts, &verdict, &err);
        cluster_close(cluster);
        contexts_free(contexts);
    }
    if (code != 0)
        fprintf(stderr, "tally-verify: %s\n", err.message);
    mem_free(cluster);
    mem_free(contexts);
    return (int)verdict;
}
