/* Keys of which the log itself tells that they were retired ($KeyRetired, domain/control.h).
 *
 * Whom to believe is never learnt from a log. But a policy that still lists an old key can be held to what the log
 * says: a checkpoint behind the entry that retired a key is not signed with it by an honest region, which had destroyed
 * the key before it appended the entry. A thief who kept a copy can. It is seen where the entry and its payload are
 * read: not in tiles, which have no payloads, nor below the size at which a run was resumed. */
#ifndef VERIFY_RETIRED_H
#define VERIFY_RETIRED_H

#include "log/block.h"

struct demands;
struct log_report;

enum { RETIRED_MAX = 32 };

struct retired {
    size_t count;
    bool overflowed;
    struct {
        uint64_t index;
        struct hash key; /* of its public form */
    } items[RETIRED_MAX];
};

/* Takes note of an entry that retires a log's key; any other is ignored. */
void retired_add(struct retired *retired, const struct chain_entry *entry);
/* What the next stretch of the log has. */
void retired_take(struct retired *retired, const struct retired *from);
/* A violation for each note that is signed with a key which an entry below it had retired. */
void retired_judge(const struct retired *retired, const struct demands *demands, struct log_report *report);

#endif
