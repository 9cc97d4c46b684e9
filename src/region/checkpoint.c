/* Checkpoints: signing the own log's, checking and cosigning those of mirrors, publishing what peers have cosigned.
 *
 * Rules. Only what is durable is signed, only what is stored is cosigned, and a checkpoint is stored before anybody
 * hears of it. A checkpoint is checked against the root at its size, which is remembered for every block boundary; logs
 * sign at boundaries only. One save of a log is under way at a time.
 *
 * Published is what a peer has cosigned, which holds the entries; in a region without peers, what a witness has.
 * Witnesses that are no peers (config.witnesses) only add their lines; but while they answer, a checkpoint is held back
 * for REGION_WITNESS_WAIT_US, so that who reads what is published finds them.
 *
 * A signed checkpoint of a size that we know with another root is a fork: two histories. Nothing is merged; the note is
 * kept as evidence. */
#include "base/assert.h"
#include "base/planted.h"
#include "region/region_internal.h"

void kept_note_free(struct kept_note *kept)
{
    buf_free(&kept->note);
    buf_free(&kept->text);
    buf_free(&kept->cosigners);
}

static void save(struct region *region, uint32_t log, struct bytes note, const struct checkpoint *checkpoint,
                 enum save_kind kind, struct region_update *update)
{
    struct region_effect *effect = region_add(update, REGION_SAVE_CHECKPOINT);
    effect->log = log;
    effect->size = checkpoint->size;
    effect->published = kind == SAVE_PUBLISHED;
    if (buf_append(&effect->note, note) != 0) {
        update->effect_count--; /* no memory: tried again at the next occasion */
        return;
    }
    region->logs[log]->saving = kind;
    region->logs[log]->saving_checkpoint = *checkpoint;
}

/* --- The own log --- */

static int make_note(struct region *region, const struct checkpoint *checkpoint, struct kept_note *ret)
{
    const struct signers *signers = &region->config.log_signers;
    buf_init(&ret->note, NOTE_MAX_BYTES);
    buf_init(&ret->text, NOTE_MAX_BYTES);
    buf_init(&ret->cosigners, NOTE_MAX_BYTES / 2);
    ret->checkpoint = *checkpoint;
    ret->cosigned_by = 0;
    ret->witnessed_by = 0;
    ret->signed_us = region->now.mono_us;
    ret->cosigner_count = 0;
    int code = checkpoint_format(checkpoint, &ret->text);
    if (code == 0)
        code = checkpoint_sign(checkpoint, signers->items[0], &ret->note, NULL);
    for (size_t i = 1; code == 0 && i < signers->count; i++)
        code = note_sign(signers->items[i], buf_bytes(&ret->text), 0, &ret->note, NULL);
    if (code != 0)
        kept_note_free(ret);
    return code;
}

static void keep_note(struct region *region, const struct kept_note *note)
{
    if (region->kept_count == region->config.limits.kept_notes) {
        kept_note_free(&region->kept[0]);
        region->kept_count--;
        memmove(region->kept, region->kept + 1, region->kept_count * sizeof(region->kept[0]));
    }
    region->kept[region->kept_count++] = *note;
}

static bool wants_signature(const struct region *region)
{
    const struct region_log *own = region_own(region);
    return own->state == REGION_LOG_ACCEPTING && own->saving == SAVE_NONE && own->durable_size > own->checkpoint.size;
}

static void sign_own(struct region *region, struct region_update *update)
{
    struct region_log *own = region_own(region);
    struct checkpoint checkpoint = {.size =
                                        PLANTED(sign_before_durable) ? mirror_size(&own->mirror) : own->durable_size};
    struct kept_note note;
    if (!wants_signature(region) ||
        region->now.mono_us < region->last_signed_us + region->config.checkpoint_interval_us)
        return;
    region->last_signed_us = region->now.mono_us; /* what fails now is tried again after the interval */
    memcpy(checkpoint.origin, own->origin, sizeof(checkpoint.origin));
    if (!mirror_root(&own->mirror, checkpoint.size, &checkpoint.root))
        return; /* so far behind that its root is forgotten: a later size will do */
    if (make_note(region, &checkpoint, &note) != 0)
        return;
    save(region, 0, buf_bytes(&note.note), &checkpoint, SAVE_SIGNED, update);
    if (own->saving == SAVE_NONE)
        kept_note_free(&note);
    else
        keep_note(region, &note);
}

/* Whether it may be published: who holds the entries has cosigned it. */
static bool may_be_published(const struct region *region, const struct kept_note *kept)
{
    return kept->cosigned_by != 0 || (region->config.peer_count == 0 && kept->witnessed_by != 0);
}

/* Until when it is held back for witnesses; 0: it is not. */
static uint64_t held_back_until_us(const struct region *region, const struct kept_note *kept)
{
    uint64_t until_us = kept->signed_us + REGION_WITNESS_WAIT_US;
    bool waits = (region->witnesses_up & ~kept->witnessed_by) != 0 && region->now.mono_us < until_us;
    return waits ? until_us : 0;
}

uint64_t checkpoint_deadline_us(const struct region *region)
{
    uint64_t deadline_us =
        wants_signature(region) ? region->last_signed_us + region->config.checkpoint_interval_us : REGION_NEVER;
    for (size_t i = 0; i < region->kept_count; i++) {
        uint64_t until_us =
            may_be_published(region, &region->kept[i]) ? held_back_until_us(region, &region->kept[i]) : 0;
        if (until_us != 0 && until_us < deadline_us)
            deadline_us = until_us;
    }
    return deadline_us;
}

static void publish(struct region *region, struct region_update *update)
{
    struct region_log *own = region_own(region);
    for (size_t i = region->kept_count; own->saving == SAVE_NONE && i-- > 0;) {
        struct kept_note *kept = &region->kept[i];
        bool better = kept->checkpoint.size > own->published_size ||
                      (kept->checkpoint.size == own->published_size && kept->cosigner_count > own->published_cosigners);
        if (!may_be_published(region, kept) || held_back_until_us(region, kept) != 0 || !better)
            continue;
        INVARIANT(kept->checkpoint.size <= own->checkpoint.size); /* what is kept is stored, or being stored */
        struct buf note;
        buf_init(&note, NOTE_MAX_BYTES);
        int code = buf_append(&note, buf_bytes(&kept->note));
        if (code == 0)
            code = buf_append(&note, buf_bytes(&kept->cosigners));
        if (code == 0) {
            save(region, 0, buf_bytes(&note), &kept->checkpoint, SAVE_PUBLISHED, update);
            if (own->saving == SAVE_PUBLISHED)
                own->published_cosigners = kept->cosigner_count;
        }
        buf_free(&note);
    }
}

/* Appends those of the lines that are valid cosignatures on the text: of keys that are not known here, as during a
 * rotation, nothing can be said. ERR_CORRUPT when there is none, or one by a known key that is not valid;
 * ERR_NO_MEMORY. */
static int take_cosignatures(const struct keyring *known, struct bytes text, struct bytes lines, struct buf *out)
{
    size_t before_bytes = out->size_bytes;
    struct note note;
    struct buf whole;
    buf_init(&whole, NOTE_MAX_BYTES);
    int code = buf_append(&whole, text);
    if (code == 0)
        code = buf_append_byte(&whole, '\n');
    if (code == 0)
        code = buf_append(&whole, lines);
    if (code == 0)
        code = note_parse(buf_bytes(&whole), &note, NULL);
    if (code == 0 && !bytes_equal(note.text, text))
        code = ERR_CORRUPT; /* the lines bring text of their own, and are on that */
    for (size_t i = 0; code == 0 && i < known->count; i++) {
        int verified = note_verify(&note, &known->keys[i], NULL, NULL);
        code = verified < 0 || verified > 1 ? ERR_CORRUPT : 0;
        for (size_t k = 0; code == 0 && verified == 1 && k < note.signature_count; k++) {
            if (note.signatures[k].key_id == known->keys[i].key_id &&
                bytes_equal(note.signatures[k].name, bytes_of_string(known->keys[i].name)))
                code = buf_append(out, note.signatures[k].line);
        }
    }
    buf_free(&whole);
    if (code == 0 && out->size_bytes > before_bytes)
        return 0;
    out->size_bytes = before_bytes;
    return code == ERR_NO_MEMORY ? code : ERR_CORRUPT;
}

void checkpoint_cosigned(struct region *region, size_t peer, uint64_t size, struct bytes lines,
                         struct region_update *update)
{
    for (size_t i = 0; i < region->kept_count; i++) {
        struct kept_note *kept = &region->kept[i];
        if (kept->checkpoint.size != size || (kept->cosigned_by & (1u << peer)) != 0)
            continue;
        int code =
            take_cosignatures(&region->config.peers[peer].cosign_keys, buf_bytes(&kept->text), lines, &kept->cosigners);
        if (code == ERR_CORRUPT)
            region_alarm(update, 0, lines, "peer %s sent a cosignature for size %llu that does not verify",
                         region->config.peers[peer].region, (unsigned long long)size);
        if (code != 0)
            return; /* without memory this one is lost, and no fault of the peer; the next one counts */
        kept->cosigned_by |= 1u << peer;
        kept->cosigner_count++;
    }
    publish(region, update);
}

void checkpoint_witnessed(struct region *region, size_t witness, uint64_t size, struct bytes lines,
                          struct region_update *update)
{
    PRE(witness < region->config.witness_count);
    uint32_t bit = 1u << witness;
    region->witnesses_up &= ~bit;
    for (size_t i = 0; size > 0 && i < region->kept_count; i++) {
        struct kept_note *kept = &region->kept[i];
        if (kept->checkpoint.size != size || (kept->witnessed_by & bit) != 0)
            continue;
        int code =
            take_cosignatures(&region->config.witnesses[witness], buf_bytes(&kept->text), lines, &kept->cosigners);
        if (code == ERR_CORRUPT)
            region_alarm(update, 0, lines, "witness %s sent a cosignature for size %llu that does not verify",
                         region->config.witnesses[witness].keys[0].name, (unsigned long long)size);
        if (code != 0)
            return;
        kept->witnessed_by |= bit;
        kept->cosigner_count++;
    }
    if (size > 0)
        region->witnesses_up |= bit;
    publish(region, update);
}

/* --- Mirrors --- */

const struct keyring *checkpoint_keys_of(const struct region *region, size_t owner)
{
    return owner == REGION_NO_PEER ? &region->own_keys : &region->config.peers[owner].log_keys;
}

int checkpoint_open_of(const struct region *region, const struct region_log *log, struct bytes note,
                       struct checkpoint *ret, struct err *err)
{
    return keyring_open(note, checkpoint_keys_of(region, log->owner), log->origin, ret, err);
}

static void store_pending(struct region *region, uint32_t log, struct region_update *update)
{
    struct region_log *mirror = region->logs[log];
    if (mirror->pending.size_bytes == 0 || mirror->saving != SAVE_NONE ||
        mirror->durable_size < mirror->pending_checkpoint.size)
        return;
    save(region, log, buf_bytes(&mirror->pending), &mirror->pending_checkpoint, SAVE_SIGNED, update);
}

/* Opens a note and looks for a contradiction. Returns 0 when it is signed and does not contradict, an error otherwise.
 * *ret_known tells whether its root was really compared. */
static int check_note(struct region *region, uint32_t log, struct bytes note, struct checkpoint *ret, bool *ret_known,
                      struct region_update *update)
{
    struct region_log *target = region->logs[log];
    struct hash root;
    struct err err = {0};
    int code = checkpoint_open_of(region, target, note, ret, &err);
    if (code != 0)
        return code;
    incarnation_note_seen(target, ret->size);
    *ret_known = mirror_root(&target->mirror, ret->size, &root);
    if (!*ret_known && ret->size == target->checkpoint.size && ret->size > 0) {
        root = target->checkpoint.root;
        *ret_known = true;
    }
    if (*ret_known && !hash_equal(&root, &ret->root)) {
        region_fork(
            region, log, note, update,
            "two histories of log %s: its key signed another root for size %llu than the one that this region holds",
            target->origin, (unsigned long long)ret->size);
        return ERR_FORK;
    }
    return 0;
}

void checkpoint_compare(struct region *region, uint32_t log, struct bytes note, struct region_update *update)
{
    struct checkpoint checkpoint;
    bool known = false;
    if (region->logs[log]->state == REGION_LOG_FORKED || note.size_bytes == 0)
        return;
    if (check_note(region, log, note, &checkpoint, &known, update) == ERR_CORRUPT)
        region_warn(region, log, note, update, "a peer holds a checkpoint of log %s whose signature does not verify",
                    region->logs[log]->origin);
}

/* What is stored is cosigned as soon as there is a pull to say it on, and memory for it. */
static void cosign(struct region *region, uint32_t log, const struct checkpoint *checkpoint,
                   struct region_update *update)
{
    struct region_log *mirror = region->logs[log];
    struct buf text, line;
    if (!mirror->cosignature_due || mirror->source == REGION_NO_PEER)
        return;
    buf_init(&text, NOTE_MAX_BYTES);
    buf_init(&line, NOTE_MAX_BYTES);
    int code = checkpoint_format(checkpoint, &text);
    if (code == 0)
        code =
            signers_sign(&region->config.cosign_signers, buf_bytes(&text), region->now.wall_us / 1000000, &line, NULL);
    buf_free(&text);
    if (code != 0) {
        buf_free(&line);
        return;
    }
    struct region_effect *effect = region_add(update, REGION_SEND_ACK);
    effect->log = log;
    effect->peer = mirror->source;
    effect->size = mirror->durable_size;
    effect->cosigned_size = checkpoint->size;
    effect->note = line;
    mirror->cosignature_due = false;
}

/* Of the checkpoint that is stored, is being stored, or waits for that. Another source may send an older one next, and
 * what is stored never goes back. */
static uint64_t newest_size(const struct region_log *mirror)
{
    uint64_t size = mirror->checkpoint.size;
    if (mirror->saving != SAVE_NONE && mirror->saving_checkpoint.size > size)
        size = mirror->saving_checkpoint.size;
    if (mirror->pending.size_bytes > 0 && mirror->pending_checkpoint.size > size)
        size = mirror->pending_checkpoint.size;
    return size;
}

static bool is_known(const struct keyring *keys, const char *origin, uint32_t key_id)
{
    for (size_t i = 0; i < keys->count; i++) {
        struct note_verifier key = keys->keys[i];
        if (note_verifier_rename(&key, origin, NULL) == 0 && key.key_id == key_id)
            return true;
    }
    return false;
}

/* What a mirror keeps of a note: its text, and its lines but for those under the log's name by keys that are not known
 * here. Nobody has checked these, and to whoever knows their key (this region itself, once it was brought it) a line
 * that does not verify spoils the whole note. */
static int keep_known(const struct region *region, const struct region_log *mirror, struct bytes message,
                      struct buf *out)
{
    const struct keyring *keys = checkpoint_keys_of(region, mirror->owner);
    struct note note;
    int code = note_parse(message, &note, NULL);
    if (code == 0)
        code = buf_reserve(out, message.size_bytes);
    if (code == 0)
        code = buf_append(out, note.text);
    if (code == 0)
        code = buf_append_byte(out, '\n');
    for (size_t i = 0; code == 0 && i < note.signature_count; i++) {
        const struct note_signature *line = &note.signatures[i];
        bool is_logs = bytes_equal(line->name, bytes_of_string(mirror->origin));
        if (!is_logs || is_known(keys, mirror->origin, line->key_id) || PLANTED(keep_unchecked_lines))
            code = buf_append(out, line->line);
    }
    return code;
}

void checkpoint_received(struct region *region, uint32_t log, size_t peer, struct bytes note,
                         struct region_update *update)
{
    struct region_log *mirror = region->logs[log];
    struct checkpoint checkpoint;
    bool known = false;
    int code = check_note(region, log, note, &checkpoint, &known, update);
    if (code == ERR_FORK)
        return;
    if (code != 0) {
        region_warn(region, log, note, update, "peer %s sent a checkpoint of log %s that is not signed by its key",
                    region->config.peers[peer].region, mirror->origin);
        mirror->blocked_until_us[peer] = region->now.mono_us + region->config.limits.penalty_us;
        pulls_stop(region, log, update);
        return;
    }
    if (known && log != 0 && checkpoint.size > 0 && checkpoint.size == mirror->checkpoint.size)
        mirror->cosignature_due = true; /* the pull may have ended before the first cosignature arrived */
    if (!known || checkpoint.size <= newest_size(mirror))
        return; /* nothing to compare it with, or no news */
    buf_clear(&mirror->pending);
    if (keep_known(region, mirror, note, &mirror->pending) != 0) {
        buf_clear(&mirror->pending);
        pulls_pause(region, log, update); /* the next pull begins with it */
        return;
    }
    mirror->pending_checkpoint = checkpoint;
    if (PLANTED(cosign_before_stored)) {
        mirror->cosignature_due = true;
        cosign(region, log, &checkpoint, update);
    }
    store_pending(region, log, update);
}

/* --- Both --- */

void checkpoint_written(struct region *region, uint32_t log, struct region_update *update)
{
    if (log == 0 && region_own(region)->state == REGION_LOG_ACCEPTING)
        sign_own(region, update);
    else
        store_pending(region, log, update);
}

void checkpoint_saved(struct region *region, uint32_t log, struct region_update *update)
{
    struct region_log *target = region->logs[log];
    struct checkpoint saved = target->saving_checkpoint;
    enum save_kind kind = target->saving;
    target->saving = SAVE_NONE;
    if (kind == SAVE_PUBLISHED) {
        target->published_size = saved.size;
    } else {
        target->checkpoint = saved;
        if (target->pending.size_bytes > 0 && target->pending_checkpoint.size == saved.size)
            buf_clear(&target->pending);
        target->cosignature_due = log != 0;
    }
    if (log == 0)
        publish(region, update);
    checkpoint_written(region, log, update);
}

void checkpoint_resume(struct region *region, struct region_update *update)
{
    for (uint32_t log = 0; log < region->log_count; log++) {
        checkpoint_written(region, log, update);
        cosign(region, log, &region->logs[log]->checkpoint, update);
    }
    publish(region, update);
}
