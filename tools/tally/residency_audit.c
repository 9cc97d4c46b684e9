/* The audit (residency.h): one walk over each log, with look-ups in the index on the way. */
#include "residency.h"

#include <stdio.h>

#include "domain/control.h"
#include "domain/residency.h"
#include "log/scan.h"
#include "projection/projection.h"

struct walk {
    struct residency_audit *audit;
    struct residency_log *log;
    const char *folder;
    const struct scan_block *block;
    bool indexed;       /* the index knows the log … */
    uint32_t index_log; /* … by this number */
};

struct residency_violation *residency_add(struct residency_audit *audit, const char *where)
{
    static struct residency_violation spare;
    uint64_t at = audit->violation_count++;
    struct residency_violation *violation = at < RESIDENCY_VIOLATIONS_MAX ? &audit->violations[at] : &spare;
    *violation = (struct residency_violation){.where = where};
    return violation;
}

/* Of an entry; the caller sets the path. */
static struct residency_violation *add_entry_violation(struct residency_audit *audit, const char *where,
                                                       const char *origin, const struct entry *entry)
{
    struct residency_violation *violation = residency_add(audit, where);
    violation->index = entry->index;
    copy_string(violation->origin, sizeof(violation->origin), origin);
    snprintf(violation->context, sizeof(violation->context), "%.*s", (int)entry->context.size_bytes,
             (const char *)entry->context.data);
    return violation;
}

const struct context_table *residency_contexts(const struct residency_audit *audit)
{
    return audit->index == NULL ? &audit->config->region.contexts : index_contexts(audit->index);
}

static enum residency residency_here(const struct residency_audit *audit, const struct entry *entry)
{
    const struct region_config *region = &audit->config->region;
    return residency_of(residency_contexts(audit), bytes_of_string(region->region), entry);
}

/* A command that was queued for its home, which carries what its client said, of a context whose payloads may not be
 * here: queued before the context named its regions, or by a region that lies. */
static bool is_foreign_command(const struct residency_audit *audit, const struct entry *entry)
{
    const struct region_config *region = &audit->config->region;
    return control_kind_of(entry) == CONTROL_COMMAND_QUEUED &&
           !residency_allows(residency_contexts(audit), bytes_of_string(region->region), entry->context);
}

/* --- Index --- */

static int find_log(struct walk *walk, struct err *err)
{
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    int code = walk->audit->index == NULL ? ERR_NOT_FOUND : 0;
    for (uint32_t number = 0; code == 0 && !walk->indexed; number++) {
        code = index_origin(walk->audit->index, number, origin, err);
        walk->indexed = code == 0 && strcmp(origin, walk->log->origin) == 0;
        walk->index_log = number;
    }
    return code == ERR_NOT_FOUND ? 0 : code;
}

static int add_indexed(const struct walk *walk, const char *where, const struct entry *entry, struct err *err)
{
    struct residency_violation *violation = add_entry_violation(walk->audit, where, walk->log->origin, entry);
    return disk_join(violation->path, walk->audit->data, "index", err);
}

/* What is made from a payload must not be there for an entry whose payload may not be here. */
static int look_up(const struct walk *walk, const struct entry *entry, struct err *err)
{
    struct index *index = walk->audit->index;
    struct index_place place = {.log = walk->index_log, .index = entry->index};
    struct index_event event;
    struct index_late item;
    if (!walk->indexed || entry->index >= index_applied_size(index, walk->index_log))
        return 0;
    walk->log->looked_up++;
    int code = index_event(index, entry->event_id, &event, err);
    if (code == 0 && event.place.log == place.log && event.place.index == place.index && event.fingerprint != 0)
        code = add_indexed(walk, "index", entry, err);
    if (code == 0 || code == ERR_NOT_FOUND)
        code = index_late_at(index, place, &item, err);
    if (code == 0 && item.fingerprint != 0)
        code = add_indexed(walk, "queue", entry, err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

/* --- Segments --- */

static struct residency_count *count_of(const struct walk *walk, const struct entry *entry)
{
    const struct context_table *contexts = residency_contexts(walk->audit);
    for (size_t i = 0; i < context_count(contexts); i++) {
        const struct context *context = context_known_at(contexts, i);
        if (context != NULL && bytes_equal(bytes_of_string(context->name), entry->context))
            return &walk->log->contexts[i];
    }
    return &walk->log->unknown;
}

static int add_stored(const struct walk *walk, const char *where, const struct entry *entry, struct err *err)
{
    struct residency_violation *violation = add_entry_violation(walk->audit, where, walk->log->origin, entry);
    violation->offset = walk->block->offset;
    return disk_join(violation->path, walk->folder, walk->block->segment, err);
}

static int see_control(const struct walk *walk, const struct frame *frame, const struct entry *entry, struct err *err)
{
    walk->log->control++;
    walk->log->queued += control_kind_of(entry) == CONTROL_COMMAND_QUEUED;
    return frame->has_payload && is_foreign_command(walk->audit, entry) ? add_stored(walk, "queued command", entry, err)
                                                                        : 0;
}

static int see_entry(struct walk *walk, const struct frame *frame, const struct entry *entry, struct err *err)
{
    enum residency residency = residency_here(walk->audit, entry);
    struct residency_count *count = count_of(walk, entry);
    if ((entry->flags & ENTRY_FLAG_CONTROL) != 0 && residency == RESIDENCY_HELD)
        return see_control(walk, frame, entry, err);
    count->entries++;
    count->held += frame->has_payload;
    count->withheld += !frame->has_payload;
    count->missing += !frame->has_payload && residency == RESIDENCY_HELD;
    if (residency == RESIDENCY_HELD)
        return 0;
    int code = frame->has_payload ? add_stored(walk, "segment", entry, err) : 0;
    return code == 0 ? look_up(walk, entry, err) : code;
}

static int see_block(void *context, const struct scan_block *block, struct err *err)
{
    struct walk *walk = context;
    struct bytes elements = block->body;
    int code = 0;
    walk->block = block;
    for (uint32_t i = 0; code == 0 && i < block->header.entry_count; i++) {
        struct frame frame;
        struct entry entry;
        code = frame_next_entry(&elements, &frame, &entry, err);
        if (code == 0 && entry.index != walk->log->size)
            code = err_set(err, ERR_CORRUPT, "an entry says it is number %llu, but entry %llu belongs there",
                           (unsigned long long)entry.index, (unsigned long long)walk->log->size);
        if (code == 0) {
            walk->log->size++;
            code = see_entry(walk, &frame, &entry, err);
        }
    }
    return code == 0 ? 0
                     : err_wrap(err, code, "%s/%s, block at offset %llu", walk->folder, block->segment,
                                (unsigned long long)block->offset);
}

static int audit_log(struct residency_audit *audit, const struct datadir_log *log, struct err *err)
{
    struct scan_result result;
    struct walk walk = {.audit = audit, .log = &audit->logs[audit->log_count++], .folder = log->folder};
    copy_string(walk.log->origin, sizeof(walk.log->origin), log->origin);
    int code = find_log(&walk, err);
    return code == 0 ? scan_log(disk_posix(), log->folder, NULL, see_block, &walk, &result, err) : code;
}

/* --- Blocks that are in no log --- */

void residency_see_block(struct residency_audit *audit, const char *path, uint64_t offset, struct bytes elements)
{
    struct frame frame;
    struct entry entry;
    while (frame_next_entry(&elements, &frame, &entry, NULL) == 0) {
        if (!frame.has_payload ||
            (residency_here(audit, &entry) == RESIDENCY_HELD && !is_foreign_command(audit, &entry)))
            continue;
        struct residency_violation *violation = add_entry_violation(audit, "loose file", "", &entry);
        violation->offset = offset;
        copy_string(violation->path, sizeof(violation->path), path);
    }
}

/* --- Projections --- */

static int check_sql(struct residency_audit *audit, const char *path, struct bytes sql, struct err *err)
{
    const struct region_config *region = &audit->config->region;
    struct projection_spec *spec = NULL;
    const char *context = NULL;
    size_t at = 0;
    int code = projection_spec_parse(sql, &spec, err);
    while (code == 0 && (context = projection_spec_next_payload_context(spec, &at)) != NULL) {
        if (residency_allows(residency_contexts(audit), bytes_of_string(region->region), bytes_of_string(context)))
            continue;
        struct residency_violation *violation = residency_add(audit, "projection");
        copy_string(violation->path, sizeof(violation->path), path);
        copy_string(violation->context, sizeof(violation->context), context);
    }
    projection_spec_free(spec);
    return code;
}

struct projections {
    struct residency_audit *audit;
    const char *folder;
    struct err *err;
};

/* The rows of one that names a database lie in PostgreSQL. */
static int see_database(struct residency_audit *audit, const char *folder, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    uint32_t mode = 0;
    int code = disk_join(path, folder, "database", err);
    if (code != 0)
        return code;
    code = disk_mode(disk_posix(), path, &mode, err);
    audit->elsewhere_count += code == 0;
    return code == ERR_NOT_FOUND ? 0 : code;
}

static int see_projection(void *context, const char *name, bool is_dir)
{
    const struct projections *projections = context;
    struct residency_audit *audit = projections->audit;
    char folder[DISK_PATH_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    struct buf sql;
    if (!is_dir)
        return 0;
    if (audit->projection_count == RESIDENCY_PROJECTIONS_MAX)
        return err_set(projections->err, ERR_TOO_LARGE, "more than %d projections", RESIDENCY_PROJECTIONS_MAX);
    buf_init(&sql, PROJECTION_SQL_MAX_BYTES);
    int code = disk_join(folder, projections->folder, name, projections->err);
    if (code == 0)
        code = disk_join(path, folder, "projection.sql", projections->err);
    if (code == 0)
        code = disk_read_file(disk_posix(), path, &sql, projections->err);
    if (code == 0)
        code = check_sql(audit, path, buf_bytes(&sql), projections->err);
    if (code == 0)
        code = see_database(audit, folder, projections->err);
    if (code == 0)
        copy_string(audit->projections[audit->projection_count++], sizeof(audit->projections[0]), name);
    buf_free(&sql);
    return code;
}

static int audit_projections(struct residency_audit *audit, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    struct projections projections = {.audit = audit, .folder = folder, .err = err};
    int code = disk_join(folder, audit->data, "projections", err);
    if (code == 0)
        code = disk_list(disk_posix(), folder, see_projection, &projections, err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

int residency_audit_run(struct residency_audit *audit, struct err *err)
{
    struct datadir_log logs[DATADIR_LOGS_MAX];
    size_t count = 0;
    int code = datadir_logs(audit->data, logs, &count, err);
    for (size_t i = 0; code == 0 && i < count; i++)
        code = audit_log(audit, &logs[i], err);
    if (code == 0)
        code = audit_projections(audit, err);
    return code == 0 ? residency_audit_files(audit, err) : code;
}
