/* See settle_event.h. */
#include "region/settle_event.h"

#include "entry/frame.h"

static int copy_bytes(struct arena *arena, struct bytes *bytes)
{
    void *copy = bytes->size_bytes == 0 ? NULL : arena_copy(arena, bytes->data, bytes->size_bytes);
    if (bytes->size_bytes > 0 && copy == NULL)
        return ERR_NO_MEMORY;
    bytes->data = copy;
    return 0;
}

static int copy_event(struct arena *arena, const struct entry *entry, const struct frame *frame,
                      struct region_stream_write *write)
{
    struct region_new_event *event = arena_alloc_zero(arena, 1, sizeof(*event));
    if (event == NULL)
        return ERR_NO_MEMORY;
    *event = (struct region_new_event){.type = entry->type,
                                       .content_type = entry->content_type,
                                       .metadata = entry->metadata,
                                       .payload = frame->payload,
                                       .causation_id = entry->causation_id,
                                       .correlation_id = entry->correlation_id};
    memcpy(event->id, entry->event_id, ENTRY_ID_SIZE);
    memcpy(event->salt, frame->salt, ENTRY_SALT_SIZE);
    *write = (struct region_stream_write){.context = entry->context,
                                          .partition = entry->partition,
                                          .stream = entry->stream,
                                          .expectation = STREAM_ANY,
                                          .events = event};
    write->event_count = frame->has_payload ? 1 : 0;
    struct bytes *const copied[] = {&event->type,    &event->content_type, &event->metadata,
                                    &event->payload, &event->causation_id, &event->correlation_id,
                                    &write->context, &write->partition,    &write->stream};
    int code = 0;
    for (size_t i = 0; code == 0 && i < sizeof(copied) / sizeof(copied[0]); i++)
        code = copy_bytes(arena, copied[i]);
    return code;
}

int settle_read_event(struct log *log, uint64_t index, struct arena *arena, struct region_stream_write *ret,
                      struct err *err)
{
    struct block *block = NULL;
    struct bytes encoded;
    struct frame frame;
    struct entry entry;
    int code = log_read_block(log, index, &block, err);
    if (code != 0)
        return code;
    code = block_find(block, index, &encoded, err);
    if (code == 0)
        code = frame_parse(encoded, &frame, err);
    if (code == 0)
        code = entry_parse(frame.entry, &entry, err);
    if (code == 0 && copy_event(arena, &entry, &frame, ret) != 0)
        code = err_no_memory(err, "events to be accepted");
    block_release(block);
    return code;
}
