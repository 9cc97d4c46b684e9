/* What a source sends (source.h). The cursor stands at the next block and the note on disk is read again after each
 * stretch, so nothing has to be told to a source: it looks. */
#include "replication/source.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"

int source_load_stored(void *context, struct buf *out)
{
    return log_load_checkpoint(context, false, out, NULL);
}

int source_open(struct source *source, struct log *log, uint64_t from_index, source_load_fn *load,
                source_residency_fn *residency, void *context, struct err *err)
{
    uint64_t size = log_durable_size(log);
    struct bytes origin = log_origin(log);
    struct log_cursor *cursor = NULL;
    if (from_index > size)
        return err_set(err, ERR_MISMATCH, "it asks for log %.*s from entry %llu on, and this region holds %llu",
                       (int)origin.size_bytes, (const char *)origin.data, (unsigned long long)from_index,
                       (unsigned long long)size);
    struct note *parsed = mem_alloc(sizeof(*parsed));
    if (parsed == NULL)
        return err_no_memory(err, "a pull");
    int code = log_cursor_open(log, from_index, &cursor, err);
    if (code != 0) {
        mem_free(parsed);
        return code;
    }
    *source = (struct source){.log = log,
                              .load = load,
                              .residency = residency,
                              .context = context,
                              .cursor = cursor,
                              .sent_size = from_index,
                              .parsed = parsed};
    buf_init(&source->note, NOTE_MAX_BYTES);
    return 0;
}

void source_close(struct source *source)
{
    log_cursor_close(source->cursor);
    buf_free(&source->note);
    mem_free(source->parsed);
    *source = (struct source){0};
}

/* --- Withholding --- */

/* Takes what the puller may not hold out of the next frame; *ret_withheld: that was something. */
static int next_frame(struct source *source, struct bytes *elements, struct frame *ret, bool *ret_withheld,
                      struct err *err)
{
    struct bytes encoded;
    struct entry entry;
    bool withheld = false;
    int code = frame_next_element(elements, &encoded, err);
    if (code == 0)
        code = frame_parse(encoded, ret, err);
    if (code == 0 && ret->has_payload)
        code = entry_parse_head(ret->entry, &entry, err);
    if (code != 0)
        return code;
    if (ret->has_payload) {
        enum residency residency = source->residency(source->context, &entry);
        if (residency == RESIDENCY_UNKNOWN)
            return err_set(err, ERR_UNAVAILABLE,
                           "entry %llu is of context \"%.*s\", which is not known here: it is not sent before this "
                           "region knows who may hold its payload",
                           (unsigned long long)entry.index, (int)entry.context.size_bytes,
                           (const char *)entry.context.data);
        withheld = residency == RESIDENCY_WITHHELD && !PLANTED(send_every_payload);
    }
    if (withheld) {
        ret->has_payload = false;
        ret->payload = bytes_of(NULL, 0);
    }
    *ret_withheld = withheld;
    return 0;
}

static int look_through(struct source *source, const struct block *block, bool *ret_withheld, struct err *err)
{
    struct bytes elements = block_body(block);
    bool any = false;
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < block->entry_count; i++) {
        struct frame frame;
        bool withheld = false;
        code = next_frame(source, &elements, &frame, &withheld, err);
        any = any || withheld;
    }
    if (code == 0)
        *ret_withheld = any;
    return code;
}

/* The block's frames in a new one. */
static int frame_anew(struct source *source, const struct block *block, struct block **ret, struct err *err)
{
    struct bytes elements = block_body(block);
    struct block_header header;
    struct block *made = NULL;
    int code = block_parse_header(block->data, &header, err);
    if (code == 0)
        code = block_new(block->first_index, header.log_id, &made, err);
    if (code != 0)
        return code;
    for (uint32_t i = 0; code == 0 && i < block->entry_count; i++) {
        struct frame frame;
        bool withheld = false;
        code = next_frame(source, &elements, &frame, &withheld, err);
        if (code == 0)
            code = block_add(made, &frame, err);
    }
    if (code != 0) {
        block_release(made);
        return code;
    }
    block_seal(made);
    *ret = made;
    return 0;
}

/* Takes the reference; *ret is the block itself when the puller may hold all of it. */
static int withhold(struct source *source, struct block *block, struct block **ret, struct err *err)
{
    bool withheld = false;
    int code = look_through(source, block, &withheld, err);
    if (code == 0 && !withheld) {
        *ret = block;
        return 0;
    }
    if (code == 0)
        code = frame_anew(source, block, ret, err);
    block_release(block);
    return code;
}

int source_next_block(struct source *source, struct block **ret, struct err *err)
{
    struct block *block = NULL;
    int code = log_cursor_next(source->cursor, &block, err);
    if (code != 0)
        return code;
    if (block->first_index != source->sent_size) {
        uint64_t first = block->first_index;
        block_release(block);
        return err_set(err, ERR_MISMATCH, "the pull is to begin at entry %llu, inside the block that begins at %llu",
                       (unsigned long long)source->sent_size, (unsigned long long)first);
    }
    code = withhold(source, block, &block, err);
    if (code != 0)
        return code;
    source->sent_size = block->first_index + block->entry_count;
    *ret = block;
    return 0;
}

/* The size that the stored note stands for; 0 when there is none. Notes are checked before they are stored. */
static uint64_t load_checkpoint(struct source *source)
{
    struct checkpoint checkpoint;
    buf_clear(&source->note);
    if (source->load(source->context, &source->note) != 0 ||
        note_parse(buf_bytes(&source->note), source->parsed, NULL) != 0 ||
        checkpoint_parse(source->parsed->text, &checkpoint, NULL) != 0)
        return 0;
    return checkpoint.size;
}

struct bytes source_next_checkpoint(struct source *source)
{
    if (source->sent_size == source->sent_checkpoint_size)
        return bytes_of(NULL, 0);
    uint64_t size = load_checkpoint(source);
    if (size <= source->sent_checkpoint_size || size > source->sent_size)
        return bytes_of(NULL, 0);
    source->sent_checkpoint_size = size;
    return buf_bytes(&source->note);
}

int source_check_acknowledged(const struct log *log, uint64_t stored_size, uint64_t cosigned_size,
                              struct bytes cosignature, struct err *err)
{
    uint64_t size = log_durable_size(log);
    if (stored_size > size)
        return err_set(err, ERR_MISMATCH,
                       "the puller says that it has stored %llu entries of a log of which %llu are held here",
                       (unsigned long long)stored_size, (unsigned long long)size);
    if (cosigned_size > stored_size)
        return err_set(err, ERR_INVALID, "the puller cosigns %llu entries and has stored %llu",
                       (unsigned long long)cosigned_size, (unsigned long long)stored_size);
    if (cosignature.size_bytes > SOURCE_COSIGNATURE_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "the cosignature has %zu bytes; at most %d", cosignature.size_bytes,
                       SOURCE_COSIGNATURE_MAX_BYTES);
    return 0;
}
