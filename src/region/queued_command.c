/* See queued_command.h. That the writes are what was queued the region checks itself (elsewhere.c). */
#include "region/queued_command.h"

#include "domain/queued.h"
#include "entry/frame.h"

static void fill_events(struct bytes encoded, struct region_new_event *events, size_t *ret_count)
{
    struct queued_event said;
    size_t count = 0;
    for (; queued_next_event(&encoded, &said); count++) {
        struct region_new_event *event = &events[count];
        *event = (struct region_new_event){.type = said.type,
                                           .content_type = said.content_type,
                                           .metadata = said.metadata,
                                           .payload = said.payload,
                                           .causation_id = said.causation_id,
                                           .correlation_id = said.correlation_id};
        memcpy(event->id, said.id, ENTRY_ID_SIZE);
    }
    *ret_count = count;
}

/* names and payload live as long as the arena. */
static int fill_command(const struct index_queued *names, struct bytes payload, struct arena *arena,
                        struct region_command *command, struct err *err)
{
    size_t write_count = 0;
    size_t event_count = 0;
    int code = queued_check(payload, &write_count, &event_count, err);
    if (code != 0)
        return code;
    struct region_stream_write *writes = arena_alloc_zero(arena, write_count, sizeof(*writes));
    struct region_new_event *events = arena_alloc_zero(arena, event_count, sizeof(*events));
    command->results = arena_alloc_zero(arena, event_count, sizeof(*command->results));
    if (writes == NULL || events == NULL || command->results == NULL)
        return err_no_memory(err, "a queued command");
    struct queued_write said;
    for (size_t i = 0; queued_next_write(&payload, &said); i++) {
        writes[i] = (struct region_stream_write){.context = bytes_of_string(names->context),
                                                 .partition = bytes_of_string(names->partition),
                                                 .stream = said.stream,
                                                 .expectation = said.expectation,
                                                 .expected_version = said.expected_version,
                                                 .events = events};
        fill_events(said.events, events, &writes[i].event_count);
        events += writes[i].event_count;
    }
    command->writes = writes;
    command->write_count = write_count;
    return 0;
}

int queued_command_read(struct log *log, const struct index_queued *queued, struct arena *arena,
                        struct region_command *command, struct err *err)
{
    struct block *block = NULL;
    struct bytes encoded;
    struct frame frame;
    int code = log_read_block(log, queued->place.index, &block, err);
    if (code != 0)
        return code;
    code = block_find(block, queued->place.index, &encoded, err);
    if (code == 0)
        code = frame_parse(encoded, &frame, err);
    void *copy = code == 0 ? arena_copy(arena, frame.payload.data, frame.payload.size_bytes) : NULL;
    const struct index_queued *names = copy == NULL ? NULL : arena_copy(arena, queued, sizeof(*queued));
    if (code == 0 && names == NULL)
        code = err_no_memory(err, "a queued command");
    if (code == 0)
        code = fill_command(names, bytes_of(copy, frame.payload.size_bytes), arena, command, err);
    block_release(block);
    return code;
}
