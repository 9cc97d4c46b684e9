#include "unit/projection/logs.h"

#include <criterion/criterion.h>

#include "crypto/merkle.h"
#include "domain/definition.h"

static const struct context contexts[] = {{.name = "bank", .default_home = "eu"},
                                          {.name = CONTEXT_SYSTEM, .default_home = "eu"}};
const struct context_table logs_contexts = {.count = 2, .contexts = contexts};

void logs_open(struct logs *logs, size_t count)
{
    static const char *const origins[LOGS_MAX] = {"demo/eu/1", "demo/us/1", "demo/ap/1", "demo/us/2"};
    static const char *const names[LOGS_MAX] = {"eu-1", "us-1", "ap-1", "us-2"};
    *logs = (struct logs){.sha = sha256_new(), .count = count};
    files_temp_folder(logs->folder);
    for (size_t i = 0; i < count; i++) {
        const struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_MIN_BYTES};
        struct log_recovery recovery;
        struct err err = {0};
        char path[FILES_PATH_MAX];
        files_join(logs->folder, names[i], path);
        int code = log_create(disk_posix(), path, bytes_of_string(origins[i]), &options, &err);
        if (code == 0)
            code = log_open(disk_posix(), path, bytes_of_string(origins[i]), &options, &logs->logs[i], &recovery, &err);
        cr_assert_eq(code, 0, "%s", err.message);
        log_chain(logs->logs[i], &logs->chains[i]);
        cr_assert_eq(origin_parse(bytes_of_string(origins[i]), &logs->origins[i], NULL), 0);
    }
}

void logs_close(struct logs *logs)
{
    for (size_t i = 0; i < logs->count; i++)
        log_close(logs->logs[i]);
    sha256_free(logs->sha);
    files_remove_folder(logs->folder);
}

uint64_t logs_size(const struct logs *logs, size_t at)
{
    return log_durable_size(logs->logs[at]);
}

/* Appends the entry in a block of its own. */
static void append(struct logs *logs, size_t at, struct entry *entry, struct bytes payload, bool has_payload)
{
    struct chain *chain = &logs->chains[at];
    struct frame frame = {.payload = has_payload ? payload : bytes_of(NULL, 0), .has_payload = has_payload};
    struct block *block = NULL;
    struct buf encoded;
    struct err err = {0};
    logs->time += 1 << 16;
    entry->index = chain->range.size;
    entry->prev = chain->prev;
    entry->time = logs->time;
    if (entry->context.size_bytes == 0)
        entry->context = BYTES_LITERAL("bank");
    entry->payload_size_bytes = payload.size_bytes;
    entry->payload_commitment = entry_payload_commitment(logs->sha, frame.salt, payload);
    memcpy(entry->log_id, chain->log_id, ENTRY_LOG_ID_SIZE);
    buf_init(&encoded, ENTRY_MAX_BYTES);
    cr_assert_eq(entry_encode(entry, &encoded, &err), 0, "%s", err.message);
    frame.entry = buf_bytes(&encoded);
    cr_assert_eq(block_new(entry->index, chain->log_id, &block, &err), 0);
    cr_assert_eq(block_add(block, &frame, &err), 0, "%s", err.message);
    block_seal(block);
    chain_append(chain, logs->sha, frame.entry, entry->time);
    cr_assert_eq(log_append(logs->logs[at], &block, 1, &err), 0, "%s", err.message);
    block_release(block);
    buf_free(&encoded);
}

void append_event(struct logs *logs, size_t at, const char *type, const char *partition, uint64_t epoch, uint64_t id,
                  const char *payload)
{
    struct entry entry = {.partition = bytes_of_string(partition),
                          .stream = BYTES_LITERAL("s"),
                          .stream_version = id,
                          .type = bytes_of_string(type),
                          .epoch = epoch};
    put_u64_be(entry.event_id, id);
    append(logs, at, &entry, bytes_of_string(payload), true);
}

void deposit(struct logs *logs, size_t at, const char *partition, uint64_t epoch, uint64_t id, const char *payload)
{
    append_event(logs, at, "Deposited", partition, epoch, id, payload);
}

static struct entry control_entry(enum control_kind kind, const char *partition, uint64_t epoch)
{
    return (struct entry){.partition = bytes_of_string(partition),
                          .stream = BYTES_LITERAL(CONTROL_STREAM),
                          .type = bytes_of_string(control_type(kind)),
                          .flags = ENTRY_FLAG_CONTROL,
                          .epoch = epoch};
}

static void append_authority(struct logs *logs, size_t at, enum control_kind kind, const char *partition,
                             uint64_t epoch, const struct control_authority *change)
{
    struct entry entry = control_entry(kind, partition, epoch);
    struct buf payload;
    struct err err = {0};
    buf_init(&payload, CONTROL_PAYLOAD_MAX_BYTES);
    cr_assert_eq(control_authority_encode(kind, change, &payload, &err), 0, "%s", err.message);
    put_u64_be(entry.event_id, logs->time);
    append(logs, at, &entry, buf_bytes(&payload), true);
    buf_free(&payload);
}

void seize_at(struct logs *logs, size_t at, const char *partition, uint64_t epoch, const struct position *basis)
{
    const struct control_authority change = {.basis = *basis,
                                             .previous = BYTES_LITERAL("eu"),
                                             .actor = BYTES_LITERAL("operator"),
                                             .reason = BYTES_LITERAL("test")};
    append_authority(logs, at, CONTROL_AUTHORITY_SEIZED, partition, epoch, &change);
}

void seize(struct logs *logs, size_t at, const char *partition, uint64_t epoch, const char *basis)
{
    struct position position;
    cr_assert_eq(position_parse(bytes_of_string(basis), &position, NULL), 0);
    seize_at(logs, at, partition, epoch, &position);
}

void release_to(struct logs *logs, size_t at, const char *partition, uint64_t epoch, const char *successor)
{
    const struct control_authority change = {
        .successor = bytes_of_string(successor), .actor = BYTES_LITERAL("operator"), .reason = BYTES_LITERAL("test")};
    append_authority(logs, at, CONTROL_AUTHORITY_RELEASED, partition, epoch, &change);
}

void deposit_in(struct logs *logs, size_t at, const char *context, uint64_t id)
{
    struct entry entry = {.context = bytes_of_string(context),
                          .partition = BYTES_LITERAL("north"),
                          .stream = BYTES_LITERAL("s"),
                          .stream_version = id,
                          .type = BYTES_LITERAL("Deposited"),
                          .epoch = 1};
    put_u64_be(entry.event_id, id);
    append(logs, at, &entry, BYTES_LITERAL("1"), true);
}

void count_anywhere(struct logs *logs, size_t at, uint64_t id, const char *payload)
{
    struct entry entry = {.partition = BYTES_LITERAL("north"),
                          .stream = BYTES_LITERAL("s"),
                          .type = BYTES_LITERAL("Counted"),
                          .flags = ENTRY_FLAG_COMMUTATIVE,
                          .epoch = ENTRY_EPOCH_OF_NONE};
    put_u64_be(entry.event_id, id);
    append(logs, at, &entry, bytes_of_string(payload), true);
}

static void define(struct logs *logs, size_t at, uint64_t version, const struct context *context,
                   const struct position *basis)
{
    struct entry entry = control_entry(CONTROL_CONTEXT_DEFINED, context->name, 1);
    struct buf payload;
    const struct definition_source source = {.version = version, .context = context, .basis = basis};
    buf_init(&payload, DEFINITION_PAYLOAD_MAX_BYTES);
    cr_assert_eq(definition_encode(&source, &payload, NULL), 0);
    entry.context = BYTES_LITERAL(CONTEXT_SYSTEM);
    put_u64_be(entry.event_id, logs->time);
    append(logs, at, &entry, buf_bytes(&payload), true);
    buf_free(&payload);
}

void create_context(struct logs *logs, size_t at, const char *name, const char *home, const char *basis)
{
    const struct context context = {.name = name, .default_home = home};
    struct position position;
    cr_assert_eq(position_parse(bytes_of_string(basis), &position, NULL), 0);
    define(logs, at, 1, &context, &position);
}

void let_count_anywhere(struct logs *logs, size_t at, uint64_t version, bool anywhere)
{
    static const struct context_type counted = {.type = "Counted", .commutative = true};
    const struct position none = {.count = 0};
    const struct context context = {.name = "bank",
                                    .default_home = "eu",
                                    .rules.topology = TOPOLOGY_MULTI_HOME,
                                    .type_count = anywhere,
                                    .types = &counted};
    define(logs, at, version, &context, &none);
}

void append_broken_seizure(struct logs *logs, size_t at, bool has_payload)
{
    struct entry entry = control_entry(CONTROL_AUTHORITY_SEIZED, "*", 2);
    append(logs, at, &entry, BYTES_LITERAL("\xff\xff"), has_payload);
}
