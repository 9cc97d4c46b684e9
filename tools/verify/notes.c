/* Signed notes: the checkpoint, and the published one with its cosignatures. A line by a key that was not given proves
 * nothing and is only counted; a line by a known key that does not verify condemns the whole note. */
#include "verify/verify.h"

#include <stdio.h>

void note_load(struct disk *disk, size_t which, struct log_report *report)
{
    struct note_report *found = &report->notes[which];
    char path[DISK_PATH_MAX_BYTES];
    struct err err = {0};
    found->file_name = which == NOTE_CHECKPOINT ? "checkpoint" : "checkpoint.published";
    buf_init(&found->message, NOTE_MAX_BYTES);
    int code = disk_join(path, report->folder, found->file_name, &err);
    if (code == 0)
        code = disk_read_file(disk, path, &found->message, &err);
    if (code == ERR_NOT_FOUND)
        return;
    if (code != 0) {
        report_finding(report, code == ERR_TOO_LARGE ? VERDICT_VIOLATION : VERDICT_INCOMPLETE, "%s", err.message);
        return;
    }
    struct note note;
    code = note_parse(buf_bytes(&found->message), &note, &err);
    if (code == 0)
        code = checkpoint_parse(note.text, &found->checkpoint, &err);
    if (code == 0)
        found->present = true;
    else
        report_finding(report, VERDICT_VIOLATION, "%s is not a signed checkpoint: %s", path, err.message);
}

static void add_cosigner(struct note_report *found, const struct note_verifier *key, uint64_t time_s)
{
    if (found->cosigner_count == NOTE_SIGNATURES_MAX)
        return; /* the note has no more lines; only a key given twice comes here */
    struct cosigner *cosigner = &found->cosigners[found->cosigner_count++];
    snprintf(cosigner->name, sizeof(cosigner->name), "%s", key->name);
    cosigner->time_s = time_s;
}

/* Whether an earlier line of the key file gave the same key. */
static bool given_before(const struct key_set *keys, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (keys->keys[i].key_id == keys->keys[at].key_id && strcmp(keys->keys[i].name, keys->keys[at].name) == 0)
            return true;
    }
    return false;
}

/* Every incarnation of a region's log is signed with one key, under the log's name: <cluster>/<region>/<incarnation>.
 * The key file may give it under the name of another incarnation. */
static bool take_log_key(const struct note_verifier *given, const char *origin, struct note_verifier *ret)
{
    const char *incarnation = strrchr(origin, '/');
    size_t size = incarnation == NULL ? 0 : (size_t)(incarnation - origin) + 1;
    if (given->type != NOTE_KEY_ED25519 || size == 0 || strncmp(given->name, origin, size) != 0)
        return false;
    *ret = *given;
    return note_verifier_rename(ret, origin, NULL) == 0;
}

void note_check(const struct key_set *keys, size_t which, struct log_report *report)
{
    struct note_report *found = &report->notes[which];
    if (!found->present)
        return;
    if (strcmp(found->checkpoint.origin, report->origin) != 0) {
        report_finding(report, VERDICT_VIOLATION, "%s is of log %s, but the segments are of log %s", found->file_name,
                       found->checkpoint.origin, report->origin);
        return;
    }
    if (!keys->given)
        return;
    struct note note;
    struct err err = {0};
    bool log_key_known = false;
    size_t lines_known = 0;
    if (note_parse(buf_bytes(&found->message), &note, &err) != 0)
        return; /* note_load has said so */
    for (size_t i = 0; i < keys->count; i++) {
        const struct note_verifier *key = &keys->keys[i];
        struct note_verifier log_key;
        bool is_log_key = take_log_key(key, report->origin, &log_key);
        if (is_log_key)
            key = &log_key;
        uint64_t time_s = 0;
        if (given_before(keys, i) || (key->type == NOTE_KEY_ED25519 && !is_log_key))
            continue;
        if (is_log_key && found->signature_verified && found->key_id == key->key_id)
            continue; /* the same key under two names */
        log_key_known = log_key_known || is_log_key;
        int verified = note_verify(&note, key, &time_s, &err);
        if (verified < 0) {
            report_finding(report, VERDICT_VIOLATION, "%s: %s", found->file_name, err.message);
            continue;
        }
        lines_known += (size_t)verified;
        if (verified > 0 && is_log_key) {
            found->signature_verified = true;
            found->key_id = key->key_id;
        } else if (verified > 0) {
            add_cosigner(found, key, time_s);
        }
    }
    found->other_signature_count = note.signature_count - lines_known;
    if (!log_key_known)
        report_finding(report, VERDICT_INCOMPLETE,
                       "the key file has no key named %s, so its signature cannot be checked", report->origin);
    else if (!found->signature_verified)
        report_finding(report, VERDICT_VIOLATION, "%s is not signed by a key of %s", found->file_name, report->origin);
}
