/* Judging entries (judge.h).
 *
 * Three goes over the logs, each of which checks the chain again (cluster_read):
 *   1. Authority events are put to the fold. Their order does not matter to it.
 *   2. Every entry is judged. Those of one log, partition and epoch share what there is to know (struct share), so that
 *      an entry costs a look-up.
 *   3. Entries that count give their keys to the search for what comes twice (unique.h): in go 2, and when something
 *      looks as if it came twice, or there are very many keys, in as many further goes as it takes.
 * Memory grows with the number of changes, and of partitions times epochs, both with named limits; never with entries.
 *
 * Good faith. A region writes under epoch e when it is the home by all that it has seen: by the contexts (e is 1), or
 * by a change in its own log. A context that the logs create has a home of epoch 1 by its creation, even by one that
 * came too late. That change may turn out not to count, and the entry may stand behind a basis
 * of a later change: then it is late. Without such a change nothing explains the entry: a violation. The same is asked
 * of releases and of decisions about late events.
 *
 * What comes twice. Inside one partition, and inside one log, a version of a stream and an event id belong to one entry
 * that counts. Commutative events have no version, and regions that accept one id at once both keep it: of these the
 * first in (time, origin) order has the effect. Two homes of two partitions can each accept one id at the same time
 * without knowing of each other; that is no violation, but a duplicate for reconciliation, and is not looked for here.
 *
 * Failure modes: an error of reading ends the judgement without a verdict. */
#include "verify/judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "domain/queued.h"
#include "domain/residency.h"
#include "log/segment.h"
#include "platform/clock.h"

/* A place packs log, index and what is looked for, so that places are ordered as entries are read. */
enum {
    PLACE_LOG_SHIFT = 58,
    PLACE_INDEX_SHIFT = 2,
    PLACE_SORT_MASK = 3,
    KEY_MAX_BYTES = 2 + 2 * ENTRY_NAME_MAX_BYTES + 9
};

enum sort { SORT_VERSION_IN_LOG, SORT_VERSION_IN_PARTITION, SORT_ID_IN_LOG, SORT_ID_IN_PARTITION, SORT_COUNT };

const char *rule_name(enum rule rule)
{
    static const char *const names[RULE_COUNT] = {"epoch",      "home",       "release",     "taking",  "basis",
                                                  "settlement", "override",   "commutative", "payload", "version",
                                                  "id",         "definition", "residency"};
    return names[rule];
}

/* --- Findings --- */

static void violate(struct judge *judge, enum rule rule, size_t log, uint64_t index, const char *format, ...)
    PRINTF_LIKE(5, 6);
static void violate(struct judge *judge, enum rule rule, size_t log, uint64_t index, const char *format, ...)
{
    struct violation *first = &judge->first;
    judge->violation_counts[rule]++;
    if (first->found && (first->log < log || (first->log == log && first->index <= index)))
        return;
    *first = (struct violation){
        .found = true, .rule = rule, .log = log, .index = index, .copy = judge->cluster->logs[log].copy};
    va_list args;
    va_start(args, format);
    vsnprintf(first->message, sizeof(first->message), format, args);
    va_end(args);
}

static void cannot_judge(struct judge *judge, const char *format, ...) PRINTF_LIKE(2, 3);
static void cannot_judge(struct judge *judge, const char *format, ...)
{
    judge->unjudged_count++;
    if (judge->unjudged_count > 1)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(judge->unjudged, sizeof(judge->unjudged), format, args);
    va_end(args);
}

static const char *region_of(const struct judge *judge, size_t log)
{
    return judge->cluster->logs[log].origin.region;
}

static const char *origin_of(const struct judge *judge, size_t log)
{
    return judge->cluster->logs[log].copy->report.origin;
}

#define SHOWN(text) (int)(text).size_bytes, (const char *)(text).data

/* --- Shares --- */

static struct bytes put_key(const struct entry *entry, size_t log, uint8_t out[KEY_MAX_BYTES])
{
    size_t size = 0;
    out[size++] = (uint8_t)entry->context.size_bytes;
    memcpy(out + size, entry->context.data, entry->context.size_bytes);
    size += entry->context.size_bytes;
    memcpy(out + size, entry->partition.data, entry->partition.size_bytes);
    size += entry->partition.size_bytes;
    put_u64_be(out + size, entry->epoch);
    size += sizeof(uint64_t);
    out[size++] = (uint8_t)log;
    return bytes_of(out, size);
}

static bool is_share_of(const struct share *share, const struct entry *entry, size_t log)
{
    return share != NULL && share->log == log && share->epoch == entry->epoch &&
           bytes_equal(share->partition, entry->partition) && bytes_equal(share->context, entry->context);
}

static struct share *new_share(const struct judge *judge, const struct entry *entry, size_t log)
{
    const struct origin *origin = &judge->cluster->logs[log].origin;
    struct share *share = mem_alloc_zero(1, sizeof(*share) + entry->context.size_bytes + entry->partition.size_bytes);
    if (share == NULL)
        return NULL;
    memcpy(share->bytes, entry->context.data, entry->context.size_bytes);
    memcpy(share->bytes + entry->context.size_bytes, entry->partition.data, entry->partition.size_bytes);
    share->context = bytes_of(share->bytes, entry->context.size_bytes);
    share->partition = bytes_of(share->bytes + entry->context.size_bytes, entry->partition.size_bytes);
    share->epoch = entry->epoch;
    share->log = log;
    share->begun = changes_begun(&judge->changes, share->context, share->partition, share->epoch);
    share->held_from = changes_held_from(&judge->changes, share->context, share->partition, share->epoch, log);
    share->span = authority_span(&judge->changes.table, share->context, share->partition, share->epoch, origin->region,
                                 origin->incarnation);
    return share;
}

static int share_of(struct judge *judge, const struct entry *entry, size_t log, struct share **ret, struct err *err)
{
    uint8_t bytes[KEY_MAX_BYTES];
    if (is_share_of(judge->latest, entry, log)) {
        *ret = judge->latest;
        return 0;
    }
    struct bytes key = put_key(entry, log, bytes);
    struct share *share = map_get(&judge->shares, key);
    if (share == NULL) {
        share = new_share(judge, entry, log);
        int code = share == NULL ? ERR_NO_MEMORY : map_put(&judge->shares, key, share);
        if (code != 0)
            mem_free(share);
        if (code == ERR_TOO_LARGE)
            return err_set(err, code, "more than %d partitions, times their epochs", JUDGE_SHARES_MAX);
        if (code != 0)
            return err_no_memory(err, "what is known of partitions");
    }
    judge->latest = *ret = share;
    return 0;
}

/* --- Where payloads may be --- */

/* A region that may not hold what the context's events say is no home for them. */
static void judge_residency(struct judge *judge, const struct entry *entry, size_t log, const char *did)
{
    if (!residency_allows(judge->changes.table.contexts, bytes_of_string(region_of(judge, log)), entry->context))
        violate(judge, RULE_RESIDENCY, log, entry->index,
                "region %s %s context %.*s, whose payloads it may not hold, so it cannot be its home",
                region_of(judge, log), did, SHOWN(entry->context));
}

static void on_payload_found(void *context, size_t copy, const struct entry *entry)
{
    struct judge *judge = context;
    const struct cluster *cluster = judge->cluster;
    size_t log = cluster_log_of(cluster, cluster->copies[copy]);
    bool before = judge->first.found;
    struct violation first = judge->first;
    violate(judge, RULE_RESIDENCY, log, entry->index,
            "region %s holds its payload in %s, and may not hold payloads of context %.*s", cluster->holders[copy],
            cluster->copies[copy]->report.path, SHOWN(entry->context));
    bool is_first = !before || first.log != judge->first.log || first.index != judge->first.index;
    if (is_first)
        judge->first.copy = cluster->copies[copy];
}

/* --- Control entries --- */

/* Whether the log's region may have held the entry's epoch when it wrote the entry. */
static bool in_good_faith(const struct share *share, const struct entry *entry)
{
    return share->held_from <= entry->index;
}

/* What the basis claims against what is here. */
static void judge_basis(struct judge *judge, const struct authority_event *event, size_t log)
{
    const struct position *basis = &event->change.basis;
    if (changes_left_behind(&judge->changes, log, event->index))
        return; /* its region lost what it rests on, and goes on without it */
    for (size_t i = 0; i < basis->count; i++) {
        const struct position_log *part = &basis->logs[i];
        size_t at = cluster_find(judge->cluster, part->region, part->incarnation);
        if (at == CLUSTER_LOGS_MAX)
            cannot_judge(judge,
                         "entry %" PRIu64 " of %s rests on %" PRIu64 " entries of log %" PRIu64
                         " of region %s, which is not here: give its folder, too",
                         event->index, origin_of(judge, log), part->size, part->incarnation, part->region);
        else if (at == log ? part->size > event->index : part->size > judge->cluster->logs[at].size)
            violate(judge, RULE_BASIS, log, event->index,
                    "%s claims to rest on %" PRIu64 " entries of %s, which has %" PRIu64
                    " (if that copy is the older one, give a newer one)",
                    control_type(event->kind), part->size, origin_of(judge, at),
                    at == log ? event->index : judge->cluster->logs[at].size);
    }
}

static bool was_released_to(const struct judge *judge, const struct authority_event *event, size_t log)
{
    const struct changes *changes = &judge->changes;
    for (const struct change *release =
             changes_find(changes, false, event->context, event->partition, event->epoch - 1);
         release != NULL; release = release->next) {
        struct control_authority said;
        int code = control_authority_parse(release->kind, release->payload, &said, NULL);
        INVARIANT(code == 0);
        if (bytes_equal(said.successor, bytes_of_string(region_of(judge, log))) &&
            changes_held_from(changes, event->context, event->partition, event->epoch - 1, release->log) <=
                release->index &&
            changes_rest_on(event, log, release, changes))
            return true;
    }
    return false;
}

static void judge_change(struct judge *judge, const struct share *share, const struct entry *entry,
                         const struct authority_event *event, size_t log)
{
    if (event->kind == CONTROL_AUTHORITY_RELEASED) {
        if (!in_good_faith(share, entry))
            violate(judge, RULE_RELEASE, log, entry->index,
                    "region %s releases epoch %" PRIu64 " of %.*s/%.*s, of which it was not the home",
                    region_of(judge, log), event->epoch, SHOWN(event->context), SHOWN(event->partition));
        return;
    }
    if (!changes_begun(&judge->changes, event->context, event->partition, event->epoch - 1))
        violate(judge, RULE_EPOCH, log, entry->index,
                "%s begins epoch %" PRIu64 " of %.*s/%.*s, but nobody began epoch %" PRIu64, control_type(event->kind),
                event->epoch, SHOWN(event->context), SHOWN(event->partition), event->epoch - 1);
    judge_basis(judge, event, log);
    judge_residency(judge, entry, log, "becomes the home of a partition of");
    if (event->kind == CONTROL_AUTHORITY_TAKEN && !was_released_to(judge, event, log))
        violate(judge, RULE_TAKING, log, entry->index,
                "region %s takes epoch %" PRIu64 " of %.*s/%.*s, but no home of epoch %" PRIu64
                " released it to that region below the basis",
                region_of(judge, log), event->epoch, SHOWN(event->context), SHOWN(event->partition), event->epoch - 1);
}

static void judge_decision(struct judge *judge, const struct share *share, const struct entry *entry, size_t log)
{
    if (!in_good_faith(share, entry)) {
        violate(judge, RULE_SETTLEMENT, log, entry->index,
                "region %s decides about a %s under epoch %" PRIu64 " of %.*s/%.*s, of which it was not the home",
                region_of(judge, log), control_kind_of(entry) == CONTROL_LATE_SETTLED ? "late event" : "queued command",
                entry->epoch, SHOWN(entry->context), SHOWN(entry->partition));
        return;
    }
    bool counts = entry->index >= share->span.begin && entry->index < share->span.end;
    judge->decision_count += counts;
    judge->late_decision_count += !counts;
}

static void judge_definition(struct judge *judge, const struct share *share, const struct entry *entry, size_t log)
{
    if (!in_good_faith(share, entry)) {
        violate(judge, RULE_DEFINITION, log, entry->index,
                "region %s defines context %.*s under epoch %" PRIu64 " of " CONTEXT_SYSTEM
                ", of which it was not the home",
                region_of(judge, log), SHOWN(entry->partition), entry->epoch);
        return;
    }
    bool counts = entry->index >= share->span.begin && entry->index < share->span.end;
    judge->definition_count += counts;
    judge->late_definition_count += !counts;
    if (counts)
        versions_count(&judge->versions, entry->partition, log, entry->index);
}

static void on_version_fault(void *context, enum version_fault fault, const struct version_item *item,
                             const struct version_item *other, const char *reason)
{
    struct judge *judge = context;
    const char *name = item->context->name;
    if (fault == VERSION_REPEATED)
        violate(judge, RULE_DEFINITION, item->log, item->index,
                "it defines version %" PRIu64 " of context %s, as entry %" PRIu64 " of %s does, and both count",
                item->version, name, other->index, origin_of(judge, other->log));
    else if (fault == VERSION_GAP)
        violate(judge, RULE_DEFINITION, item->log, item->index,
                "it defines version %" PRIu64 " of context %s, and no definition that counts is version %" PRIu64,
                item->version, name, item->version - 1);
    else if (fault == VERSION_TAKES_OUT)
        violate(judge, RULE_DEFINITION, item->log, item->index,
                "version %" PRIu64 " does not follow the one before: %s", item->version, reason);
    else
        cannot_judge(judge,
                     "entry %" PRIu64
                     " of %s changes context %s, which nothing in the logs creates: if the configuration "
                     "had it, give the line: context %s home REGION",
                     item->index, origin_of(judge, item->log), name, name);
}

static void judge_versions(struct judge *judge)
{
    const char *regions[CLUSTER_LOGS_MAX];
    for (size_t i = 0; i < judge->cluster->log_count; i++)
        regions[i] = region_of(judge, i);
    versions_judge(&judge->versions, &judge->contexts->table, regions, judge->cluster->log_count, on_version_fault,
                   judge);
}

static void judge_control(struct judge *judge, const struct share *share, const struct chain_entry *item, size_t log)
{
    const struct entry *entry = &item->entry;
    enum control_kind kind = control_kind_of(entry);
    struct err reason = {0};
    struct authority_event event;
    struct control_settled settled;
    struct control_decided decided;
    if (!item->frame.has_payload) {
        cannot_judge(judge, "the payload of control entry %" PRIu64 " of %s is not here", entry->index,
                     origin_of(judge, log));
        return;
    }
    int code = control_governs(kind)
                   ? authority_event_of(entry, item->frame.payload, &judge->cluster->logs[log].origin, &event, &reason)
               : control_decides_command(kind) ? control_decided_parse(kind, item->frame.payload, &decided, &reason)
                                               : control_settled_parse(item->frame.payload, &settled, &reason);
    if (code != 0)
        violate(judge, RULE_PAYLOAD, log, entry->index, "%s is malformed: %s", control_type(kind), reason.message);
    else if (kind == CONTROL_CONTEXT_DEFINED)
        judge_definition(judge, share, entry, log);
    else if (control_is_authority(kind))
        judge_change(judge, share, entry, &event, log);
    else
        judge_decision(judge, share, entry, log);
}

/* What a log continues is its region's own affair: it has to hold it. */
static void judge_continued(struct judge *judge, const struct chain_entry *item, size_t log)
{
    const struct entry *entry = &item->entry;
    struct err reason = {0};
    struct authority_event event;
    if (!item->frame.has_payload)
        cannot_judge(judge, "the payload of control entry %" PRIu64 " of %s is not here", entry->index,
                     origin_of(judge, log));
    else if (authority_event_of(entry, item->frame.payload, &judge->cluster->logs[log].origin, &event, &reason) != 0)
        violate(judge, RULE_PAYLOAD, log, entry->index, "%s is malformed: %s", control_type(control_kind_of(entry)),
                reason.message);
    else
        judge_basis(judge, &event, log);
}

/* A change of keys is about the region itself: no home has to allow it. */
static void judge_key_change(struct judge *judge, const struct chain_entry *item, size_t log)
{
    const struct entry *entry = &item->entry;
    struct err reason = {0};
    struct control_key change;
    if (!item->frame.has_payload)
        cannot_judge(judge, "the payload of control entry %" PRIu64 " of %s is not here", entry->index,
                     origin_of(judge, log));
    else if (control_key_parse(control_kind_of(entry), item->frame.payload, &change, &reason) != 0)
        violate(judge, RULE_PAYLOAD, log, entry->index, "%s is malformed: %s", control_type(control_kind_of(entry)),
                reason.message);
}

/* Any region may keep a command for its home, or say why it overrides: neither has an effect. */
static void judge_elsewhere(struct judge *judge, const struct chain_entry *item, size_t log)
{
    const struct entry *entry = &item->entry;
    enum control_kind kind = control_kind_of(entry);
    struct control_override override;
    struct err reason = {0};
    size_t writes = 0;
    size_t events = 0;
    if (!item->frame.has_payload) {
        cannot_judge(judge, "the payload of control entry %" PRIu64 " of %s is not here", entry->index,
                     origin_of(judge, log));
        return;
    }
    int code = kind == CONTROL_COMMAND_QUEUED ? queued_check(item->frame.payload, &writes, &events, &reason)
                                              : control_override_parse(item->frame.payload, &override, &reason);
    if (code != 0)
        violate(judge, RULE_PAYLOAD, log, entry->index, "%s is malformed: %s", control_type(kind), reason.message);
}

/* --- Clients' entries --- */

/* What must be said once, as bytes: parts whose sizes stand before them. */
static int add_key(struct judge *judge, const struct entry *entry, size_t log, enum sort sort, struct err *err)
{
    bool in_log = sort == SORT_VERSION_IN_LOG || sort == SORT_ID_IN_LOG;
    bool version = sort == SORT_VERSION_IN_LOG || sort == SORT_VERSION_IN_PARTITION;
    struct bytes context = version || !in_log ? entry->context : bytes_of(NULL, 0);
    struct bytes partition = in_log ? bytes_of(NULL, 0) : entry->partition;
    uint8_t head[4 + sizeof(uint64_t)] = {(uint8_t)sort, in_log ? (uint8_t)log : 0, (uint8_t)context.size_bytes,
                                          (uint8_t)partition.size_bytes};
    put_u64_be(head + 4, version ? entry->stream_version : 0);
    const struct bytes parts[] = {bytes_of(head, sizeof(head)), context, partition,
                                  version ? entry->stream : bytes_of(entry->event_id, ENTRY_ID_SIZE)};
    uint8_t key[sizeof(head) + 2 * ENTRY_NAME_MAX_BYTES + ENTRY_STREAM_MAX_BYTES];
    size_t size = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].size_bytes > 0)
            memcpy(key + size, parts[i].data, parts[i].size_bytes);
        size += parts[i].size_bytes;
    }
    uint64_t place = (uint64_t)log << PLACE_LOG_SHIFT | entry->index << PLACE_INDEX_SHIFT | sort;
    return unique_add(&judge->unique, bytes_of(key, size), place, err);
}

static uint64_t index_at(uint64_t place)
{
    return (place & ((UINT64_C(1) << PLACE_LOG_SHIFT) - 1)) >> PLACE_INDEX_SHIFT;
}

static int on_twice(void *context, uint64_t first, uint64_t second, struct err *err)
{
    struct judge *judge = context;
    enum sort sort = second & PLACE_SORT_MASK;
    bool version = sort == SORT_VERSION_IN_LOG || sort == SORT_VERSION_IN_PARTITION;
    bool same_log = first >> PLACE_LOG_SHIFT == second >> PLACE_LOG_SHIFT;
    (void)err;
    if (same_log && (sort == SORT_VERSION_IN_PARTITION || sort == SORT_ID_IN_PARTITION))
        return 0; /* told by what was found in the log */
    violate(judge, version ? RULE_VERSION : RULE_ID, second >> PLACE_LOG_SHIFT, index_at(second),
            "it counts, and has the same %s as entry %" PRIu64 " of %s, which counts, too",
            version ? "stream and version" : "event id", index_at(first), origin_of(judge, first >> PLACE_LOG_SHIFT));
    return 0;
}

static void judge_home(struct judge *judge, const struct share *share, const struct entry *entry, size_t log)
{
    const struct authority_table *table = &judge->changes.table;
    struct authority initial = {.region = "?"};
    if (!share->begun) {
        violate(judge, RULE_EPOCH, log, entry->index, "it is of epoch %" PRIu64 " of %.*s/%.*s, which nobody began",
                entry->epoch, SHOWN(entry->context), SHOWN(entry->partition));
    } else if (share->held_from != UINT64_MAX) {
        violate(judge, RULE_HOME, log, entry->index,
                "it is of epoch %" PRIu64 " of %.*s/%.*s, which region %s began only with entry %" PRIu64, entry->epoch,
                SHOWN(entry->context), SHOWN(entry->partition), region_of(judge, log), share->held_from);
    } else if (entry->epoch == CONTEXT_EPOCH_FIRST &&
               context_authority(table->contexts, entry->context, entry->partition, &initial, NULL) == 0) {
        violate(judge, RULE_HOME, log, entry->index,
                "it is of epoch 1 of %.*s/%.*s, whose home is %s by the contexts, not %s", SHOWN(entry->context),
                SHOWN(entry->partition), initial.region, region_of(judge, log));
    } else {
        violate(judge, RULE_HOME, log, entry->index,
                "it is of epoch %" PRIu64 " of %.*s/%.*s, of which region %s was never the home", entry->epoch,
                SHOWN(entry->context), SHOWN(entry->partition), region_of(judge, log));
    }
}

static void count_entry(struct judge *judge, struct share *share, const struct entry *entry, bool counts)
{
    if (counts) {
        share->effective_count++;
        judge->effective_count++;
        return;
    }
    if (share->late_count == 0) /* what is late of a share is its end, or all of it: one change explains it */
        share->overtaken_by = changes_overtaking(&judge->changes, share->context, share->partition, share->epoch,
                                                 share->log, entry->index);
    share->late_count++;
    judge->late_count++;
    if (share->overtaken_by != NULL)
        share->overtaken_by->late_entry_count++;
}

/* No home has to allow it; the context's types have to. That it has no stream version, and no other effect, its flag
 * says. */
static void judge_override(struct judge *judge, const struct share *share, const struct entry *entry, size_t log)
{
    if (judge->again)
        return;
    judge_residency(judge, entry, log, "accepted an override in");
    if (!share->begun)
        violate(judge, RULE_EPOCH, log, entry->index,
                "an override names epoch %" PRIu64 " of %.*s/%.*s, which nobody began", entry->epoch,
                SHOWN(entry->context), SHOWN(entry->partition));
    else if (!versions_let_override(&judge->versions, &judge->contexts->table, entry->context, entry->type))
        violate(
            judge, RULE_OVERRIDE, log, entry->index,
            "it was accepted away from home as an override, and the contexts do not let type %.*s of context %.*s do "
            "that (if they did, give the line: type CONTEXT/TYPE override)",
            SHOWN(entry->type), SHOWN(entry->context));
    judge->override_count++;
}

/* No home has a say in it; the contexts have, those of the auditor and those that the logs define. One whose definition
 * was overtaken an honest region may have written: it came too late. Several of one id are for reconciliation. */
static void judge_commutative(struct judge *judge, const struct entry *entry, size_t log)
{
    const struct authority_table *table = &judge->changes.table;
    if (judge->again)
        return;
    judge->commutative_count++;
    if (context_accepts_anywhere(context_find(table->contexts, entry->context), entry->type))
        judge->effective_count++;
    else if (definitions_named_anywhere(&table->definitions, entry->context, entry->type))
        judge->late_count++;
    else
        violate(
            judge, RULE_COMMUTATIVE, log, entry->index,
            "it was accepted as commutative, and no context lets type %.*s of context %.*s be accepted anywhere (if "
            "the configuration does, give the line: type CONTEXT/TYPE commutative)",
            SHOWN(entry->type), SHOWN(entry->context));
}

static int judge_client(struct judge *judge, struct share *share, const struct entry *entry, size_t log,
                        struct err *err)
{
    bool counts = entry->index >= share->span.begin && entry->index < share->span.end;
    bool honest = in_good_faith(share, entry);
    int code = 0;
    if (!judge->again && !honest)
        judge_home(judge, share, entry, log);
    if (!judge->again)
        judge_residency(judge, entry, log, "accepted an event of");
    if (!judge->again && honest)
        count_entry(judge, share, entry, counts);
    for (enum sort sort = SORT_VERSION_IN_LOG; code == 0 && honest && counts && sort <= SORT_ID_IN_PARTITION; sort++)
        code = add_key(judge, entry, log, sort, err);
    return code;
}

/* --- Reading --- */

static int on_change(void *context, size_t log, const struct chain_entry *item, struct err *err)
{
    struct judge *judge = context;
    int code = changes_add(&judge->changes, log, item, err);
    if (code == 0 && control_kind_of(&item->entry) == CONTROL_CONTEXT_DEFINED && item->frame.has_payload)
        code = versions_add(&judge->versions, item->entry.partition, item->frame.payload, log, item->entry.index, err);
    return code;
}

static int on_entry(void *context, size_t log, const struct chain_entry *item, struct err *err)
{
    struct judge *judge = context;
    const struct entry *entry = &item->entry;
    bool control = (entry->flags & ENTRY_FLAG_CONTROL) != 0;
    struct share *share = NULL;
    if (control && judge->again)
        return 0;
    if (control && control_kind_of(entry) == CONTROL_UNKNOWN) {
        judge->unknown_control_count++;
        return 0;
    }
    if (control && control_kind_of(entry) == CONTROL_LOG_CONTINUED) {
        judge_continued(judge, item, log);
        return 0;
    }
    if (control && control_is_key(control_kind_of(entry))) {
        judge_key_change(judge, item, log);
        return 0;
    }
    if (control &&
        (control_kind_of(entry) == CONTROL_COMMAND_QUEUED || control_kind_of(entry) == CONTROL_OVERRIDE_MADE)) {
        judge_elsewhere(judge, item, log);
        return 0;
    }
    if (!contexts_know(judge->contexts, entry->context) &&
        !definitions_know(&judge->changes.table.definitions, entry->context)) {
        if (!judge->again)
            cannot_judge(judge,
                         "context \"%.*s\" of entry %" PRIu64
                         " of %s is not in the file of contexts, and nothing in the logs creates it",
                         SHOWN(entry->context), entry->index, origin_of(judge, log));
        return 0;
    }
    if ((entry->flags & ENTRY_FLAG_COMMUTATIVE) != 0) {
        judge_commutative(judge, entry, log);
        return 0;
    }
    int code = share_of(judge, entry, log, &share, err);
    if (code == 0 && control)
        judge_control(judge, share, item, log);
    else if (code == 0 && (entry->flags & ENTRY_FLAG_OVERRIDE) != 0)
        judge_override(judge, share, entry, log);
    else if (code == 0)
        code = judge_client(judge, share, entry, log, err);
    return code;
}

int judge_init(struct judge *ret, const struct cluster *cluster, struct disk *disk, const struct contexts *contexts,
               const struct unique_room *room, struct err *err)
{
    uint8_t seed[UNIQUE_SEED_BYTES];
    uint64_t entries = 0;
    PRE(cluster->readable);
    memset(ret, 0, sizeof(*ret));
    ret->cluster = cluster;
    ret->disk = disk;
    ret->contexts = contexts;
    changes_init(&ret->changes, cluster, &contexts->table);
    versions_init(&ret->versions);
    map_init(&ret->shares, JUDGE_SHARES_MAX, NULL);
    for (size_t i = 0; i < cluster->log_count; i++)
        entries += cluster->logs[i].size;
    entropy_fill(seed, sizeof(seed));
    return unique_init(&ret->unique, room, seed, entries * SORT_COUNT, on_twice, ret, err);
}

void judge_free(struct judge *judge)
{
    struct bytes key;
    void *value = NULL;
    size_t at = 0;
    while (map_next(&judge->shares, &at, &key, &value))
        mem_free(value);
    map_free(&judge->shares);
    changes_free(&judge->changes);
    versions_free(&judge->versions);
    unique_free(&judge->unique);
}

int judge_run(struct judge *judge, struct err *err)
{
    bool more = true;
    int code = cluster_read(judge->cluster, judge->disk, on_change, judge, err);
    if (code == 0)
        changes_settle(&judge->changes);
    while (code == 0 && more) {
        code = cluster_read(judge->cluster, judge->disk, on_entry, judge, err);
        if (code == 0)
            code = unique_end(&judge->unique, &more, err);
        if (code == 0 && !judge->again)
            judge_versions(judge);
        judge->again = true;
        judge->pass_count++;
    }
    if (code == 0)
        code = residency_check(judge->cluster, judge->disk, judge->changes.table.contexts, on_payload_found, judge,
                               &judge->residency, err);
    return code;
}
