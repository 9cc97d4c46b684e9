/* Several keys of one name (keyring.h). */
#include "crypto/keyring.h"

int keyring_add(struct keyring *ring, const struct note_verifier *key, struct err *err)
{
    for (size_t i = 0; i < ring->count; i++) {
        if (memcmp(ring->keys[i].public_key, key->public_key, sizeof(key->public_key)) == 0)
            return 0;
    }
    if (ring->count == KEYRING_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d keys of %.100s: leave out those that nothing needs",
                       KEYRING_MAX, key->name);
    ring->keys[ring->count++] = *key;
    return 0;
}

int keyring_verify(const struct note *note, const struct keyring *ring, const char *name, struct err *err)
{
    int total = 0;
    for (size_t i = 0; i < ring->count; i++) {
        struct note_verifier key = ring->keys[i];
        int code = name == NULL || strcmp(key.name, name) == 0 ? 0 : note_verifier_rename(&key, name, err);
        int verified = code == 0 ? note_verify(note, &key, NULL, err) : code;
        if (verified < 0)
            return verified;
        total += verified;
    }
    return total;
}

int keyring_open(struct bytes message, const struct keyring *ring, const char *origin, struct checkpoint *ret,
                 struct err *err)
{
    struct note note;
    struct checkpoint checkpoint;
    for (size_t i = 0; i < ring->count; i++) {
        if (ring->keys[i].type != NOTE_KEY_ED25519)
            return err_set(err, ERR_INVALID, "the key of %s is a cosigner's (type 0x04), not a log's (type 0x01)",
                           ring->keys[i].name);
    }
    int code = note_parse(message, &note, err);
    if (code != 0)
        return code;
    int verified = keyring_verify(&note, ring, origin, err);
    if (verified < 0)
        return verified;
    if (verified == 0)
        return err_set(err, ERR_CORRUPT, "the checkpoint is not signed by %s with a key that is known", origin);
    code = checkpoint_parse(note.text, &checkpoint, err);
    if (code != 0)
        return code;
    if (strcmp(checkpoint.origin, origin) != 0)
        return err_set(err, ERR_MISMATCH, "the checkpoint is of log %s, expected %s", checkpoint.origin, origin);
    *ret = checkpoint;
    return 0;
}

int signers_sign(const struct signers *signers, struct bytes text, uint64_t time_s, struct buf *out, struct err *err)
{
    size_t before_bytes = out->size_bytes;
    int code = 0;
    for (size_t i = 0; code == 0 && i < signers->count; i++)
        code = note_sign(signers->items[i], text, time_s, out, err);
    if (code != 0)
        out->size_bytes = before_bytes;
    return code;
}
