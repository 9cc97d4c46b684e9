/* Epochs, partition by partition (epochs.h).
 *
 * A stretch keeps one summary for each partition that it met lately: a table by hash of the names, in which a newer
 * partition pushes an older one out. A partition that was pushed out gets a second summary when it comes again, behind
 * the first one, so summaries of one partition are in the order of its entries. */
#include "verify/epochs.h"

#include <stdio.h>

#include "base/mem.h"

enum { KEY_MAX_BYTES = 2 * ENTRY_NAME_MAX_BYTES + 1 };

static void note_fault(struct epochs_fault *fault, struct bytes context, struct bytes partition, uint64_t index,
                       uint64_t epoch, uint64_t epoch_before)
{
    if (fault->found && fault->index <= index)
        return;
    *fault = (struct epochs_fault){.found = true, .index = index, .epoch = epoch, .epoch_before = epoch_before};
    snprintf(fault->partition, sizeof(fault->partition), "%.*s/%.*s", (int)context.size_bytes,
             (const char *)context.data, (int)partition.size_bytes, (const char *)partition.data);
}

/* FNV-1a. Names that collide only cost time: they push each other out. */
static uint32_t slot_of(struct bytes context, struct bytes partition)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < context.size_bytes; i++)
        hash = (hash ^ context.data[i]) * 16777619u;
    for (size_t i = 0; i < partition.size_bytes; i++)
        hash = (hash ^ partition.data[i]) * 16777619u;
    return (hash ^ hash >> 16) % EPOCHS_SLOTS;
}

void epochs_stretch_begin(struct epochs_stretch *stretch)
{
    stretch->count = 0;
    stretch->control_count = 0;
    stretch->fault.found = false;
    memset(stretch->slots, 0, sizeof(stretch->slots));
}

void epochs_stretch_free(struct epochs_stretch *stretch)
{
    mem_free(stretch->summaries);
}

static int add_summary(struct epochs_stretch *stretch, const struct entry *entry, struct err *err)
{
    if (stretch->count == stretch->capacity) {
        size_t capacity = stretch->capacity == 0 ? 64 : 2 * stretch->capacity;
        struct epochs_summary *grown = mem_resize(stretch->summaries, capacity * sizeof(*grown));
        if (grown == NULL)
            return err_no_memory(err, "the epochs of partitions");
        stretch->summaries = grown;
        stretch->capacity = capacity;
    }
    stretch->summaries[stretch->count++] = (struct epochs_summary){.context = entry->context,
                                                                   .partition = entry->partition,
                                                                   .first_index = entry->index,
                                                                   .first_epoch = entry->epoch,
                                                                   .last_epoch = entry->epoch};
    return 0;
}

int epochs_stretch_add(struct epochs_stretch *stretch, const struct entry *entry, struct err *err)
{
    if ((entry->flags & ENTRY_FLAG_CONTROL) != 0)
        stretch->control_count++;
    uint32_t *slot = &stretch->slots[slot_of(entry->context, entry->partition)];
    struct epochs_summary *known = *slot == 0 ? NULL : &stretch->summaries[*slot - 1];
    if (known == NULL || !bytes_equal(known->context, entry->context) ||
        !bytes_equal(known->partition, entry->partition)) {
        int code = add_summary(stretch, entry, err);
        if (code == 0)
            *slot = (uint32_t)stretch->count;
        return code;
    }
    if (entry->epoch < known->last_epoch)
        note_fault(&stretch->fault, entry->context, entry->partition, entry->index, entry->epoch, known->last_epoch);
    known->last_epoch = entry->epoch;
    return 0;
}

void epochs_init(struct epochs *epochs)
{
    memset(epochs, 0, sizeof(*epochs));
    map_init(&epochs->latest, EPOCHS_PARTITIONS_MAX, NULL);
}

void epochs_free(struct epochs *epochs)
{
    struct bytes key;
    void *value = NULL;
    size_t at = 0;
    while (map_next(&epochs->latest, &at, &key, &value))
        mem_free(value);
    map_free(&epochs->latest);
}

static int take_summary(struct epochs *epochs, const struct epochs_summary *summary, struct err *err)
{
    uint8_t key[KEY_MAX_BYTES];
    size_t size = summary->context.size_bytes;
    memcpy(key, summary->context.data, size);
    key[size++] = 0; /* no name holds a NUL */
    memcpy(key + size, summary->partition.data, summary->partition.size_bytes);
    size += summary->partition.size_bytes;
    uint64_t *epoch = map_get(&epochs->latest, bytes_of(key, size));
    if (epoch != NULL) {
        if (summary->first_epoch < *epoch)
            note_fault(&epochs->fault, summary->context, summary->partition, summary->first_index, summary->first_epoch,
                       *epoch);
        *epoch = summary->last_epoch;
        return 0;
    }
    if (epochs->latest.live_count == EPOCHS_PARTITIONS_MAX) {
        epochs->overflowed = true;
        return 0;
    }
    epoch = mem_alloc(sizeof(*epoch));
    if (epoch == NULL)
        return err_no_memory(err, "the epochs of partitions");
    *epoch = summary->last_epoch;
    int code = map_put(&epochs->latest, bytes_of(key, size), epoch);
    if (code != 0) {
        mem_free(epoch);
        return err_no_memory(err, "the epochs of partitions");
    }
    return 0;
}

int epochs_take(struct epochs *epochs, const struct epochs_stretch *stretch, struct err *err)
{
    epochs->control_count += stretch->control_count;
    const struct epochs_fault *fault = &stretch->fault;
    if (fault->found && (!epochs->fault.found || fault->index < epochs->fault.index))
        epochs->fault = *fault;
    int code = 0;
    for (size_t i = 0; code == 0 && i < stretch->count; i++)
        code = take_summary(epochs, &stretch->summaries[i], err);
    return code;
}
