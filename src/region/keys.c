/* What the log must tell of the region's keys: when a new one began to sign, and when an old one ended.
 *
 * The caller knows the changes from the key files, in order; which of them a log tells already is known by their event
 * ids, which follow from what they say. So each is told once, in whichever incarnation is the own log when it is found
 * missing, and a crash between the append and the disk only makes it missing again.
 *
 * The event is for people and auditors. Nobody learns a key from a log: whoever could forge the log could forge that.
 *
 * Failure: without room or memory, at a later step. */
#include "base/planted.h"
#include "region/region_internal.h"

enum { KEY_PAYLOAD_MAX_BYTES = CONTROL_KEY_ROLE_MAX_BYTES + 2 * (HASH_SIZE + 2) + 2 };

static void id_of(struct region *region, enum control_kind kind, struct bytes payload, uint8_t ret[ENTRY_ID_SIZE])
{
    const struct bytes parts[] = {BYTES_LITERAL("tallystick-key-change-v1\0"), bytes_of_string(control_type(kind)),
                                  payload};
    struct hash hash = sha256_parts(region->sha, parts, sizeof(parts) / sizeof(parts[0]));
    memcpy(ret, hash.bytes, ENTRY_ID_SIZE);
}

/* 0 when a log has it, ERR_NOT_FOUND, errors of the index. */
static int look_for(struct region *region, const uint8_t id[ENTRY_ID_SIZE])
{
    struct index_event found;
    return overlay_id(&region->overlay, id) != NULL ? 0 : index_event(region->index, id, &found, NULL);
}

static int tell(struct region *region, const struct control_key *change)
{
    struct buf payload;
    uint8_t id[ENTRY_ID_SIZE];
    buf_init(&payload, KEY_PAYLOAD_MAX_BYTES);
    int code = control_key_encode(change, &payload, NULL);
    if (code == 0) {
        id_of(region, change->kind, buf_bytes(&payload), id);
        code = look_for(region, id);
    }
    if (code == ERR_NOT_FOUND || (code == 0 && PLANTED(tell_keys_again))) {
        struct control_event event = {.kind = change->kind,
                                      .context = bytes_of_string(CONTROL_SYSTEM_CONTEXT),
                                      .partition = bytes_of_string(CONTROL_ALL_PARTITIONS),
                                      .epoch = CONTEXT_EPOCH_FIRST,
                                      .payload = buf_bytes(&payload),
                                      .id = id};
        code = sequencer_control_room(region, 1, KEY_PAYLOAD_MAX_BYTES, NULL);
        if (code == 0)
            code = sequencer_control(region, &event, NULL);
    }
    buf_free(&payload);
    return code;
}

void keys_tell(struct region *region, struct region_update *update)
{
    size_t before = region->key_changes_told;
    if (region_own(region)->state != REGION_LOG_ACCEPTING)
        return;
    while (region->key_changes_told < region->config.key_change_count &&
           tell(region, &region->config.key_changes[region->key_changes_told]) == 0)
        region->key_changes_told++;
    if (region->key_changes_told > before)
        sequencer_flush(region, update);
}
