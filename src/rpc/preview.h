/* What the projections say without and with a late event. */
#ifndef RPC_PREVIEW_H
#define RPC_PREVIEW_H

#include "base/arena.h"
#include "rpc/call.h"
#include "tally/v1/operations.pb-c.h"

/* Asks every projection here that has statements for the item's event what accepting it now would change. Nothing is
 * asked of an item that has its effect already, or whose payload is not held here. A projection that cannot say is
 * among the answers, with the reason. Everything that is put into *response lives in the arena. ERR_NO_MEMORY, errors
 * of reading logs and the index. */
int preview_fill(struct call *call, const struct index_late *item, struct arena *arena,
                 Tally__V1__ShowLateResponse *response, struct err *err) MUST_USE;

#endif
