/* The list of effects that a step fills. Its room is reserved before the step changes anything, so that adding cannot
 * fail half-way. */
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "region/region_internal.h"

void region_update_init(struct region_update *update)
{
    memset(update, 0, sizeof(*update));
    update->deadline_mono_us = REGION_NEVER;
}

void region_update_clear(struct region_update *update)
{
    for (size_t i = 0; i < update->effect_count; i++) {
        if (update->effects[i].block != NULL)
            block_release(update->effects[i].block);
        buf_free(&update->effects[i].note);
    }
    update->effect_count = 0;
}

void region_update_free(struct region_update *update)
{
    region_update_clear(update);
    mem_free(update->effects);
    region_update_init(update);
}

int region_update_reserve(struct region_update *update, size_t count, struct err *err)
{
    if (count <= update->effect_capacity)
        return 0;
    if (count < 2 * update->effect_capacity)
        count = 2 * update->effect_capacity; /* it grows with the number of pending commands, one by one */
    struct region_effect *effects = mem_resize(update->effects, count * sizeof(*effects));
    if (effects == NULL)
        return err_no_memory(err, "a step's effects");
    update->effects = effects;
    update->effect_capacity = count;
    return 0;
}

struct region_effect *region_add(struct region_update *update, enum region_effect_type type)
{
    INVARIANT(update->effect_count < update->effect_capacity);
    struct region_effect *effect = &update->effects[update->effect_count++];
    memset(effect, 0, sizeof(*effect));
    effect->type = type;
    buf_init(&effect->note, NOTE_MAX_BYTES);
    return effect;
}

void region_alarm(struct region_update *update, uint32_t log, struct bytes evidence, const char *format, ...)
{
    struct region_effect *effect = region_add(update, REGION_ALARM);
    va_list args;
    va_start(args, format);
    vsnprintf(effect->text, sizeof(effect->text), format, args);
    va_end(args);
    effect->log = log;
    if (buf_append(&effect->note, evidence) != 0)
        buf_clear(&effect->note); /* the message is worth more than its attachment */
}
