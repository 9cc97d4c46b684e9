/* Of the events with one id that several regions accepted at once, the one that has its effect. For generation.c.
 * Private to src/projection.
 *
 * Rule 7 of the design, for contexts that let any type be accepted anywhere (context_frees_more): of the context's
 * entries with one id that are not late, the first in (time, origin) order STANDS, whatever their types, and whether it
 * bears ENTRY_FLAG_COMMUTATIVE, was accepted by its home before that heard of the definition, or is of a type that has
 * a home: two regions may accept one id at once as soon as one of the two needs no home. The others run nothing. So
 * entries count, too, for which the projection has no statements, in contexts that it names. */
#ifndef PROJECTION_STANDING_H
#define PROJECTION_STANDING_H

#include "projection/stepping.h"

/* Whether a table has the client's entries of this context decided by their ids. */
bool standing_asked(const struct authority_table *table, const struct entry *entry);

enum standing {
    STANDING_RUNS,     /* it stands, as far as is known: its statements run, and it is noted */
    STANDING_TAKES,    /* it stands, and the one that stood before has had the same effect: it is noted */
    STANDING_NOT,      /* another one stands */
    STANDING_CONFLICT, /* it stands, and another one has had another effect, which cannot be taken back */
};

/* What becomes of the entry at hand, which is of a context that the projection names, and not late. *ret_note is what
 * to note, of PROJECTION_NOTE_MAX_BYTES + 1. Errors of projection_db_kept_text; ERR_CORRUPT for a damaged note. */
int standing_decide(const struct step *step, const struct item *item, enum standing *ret, char *ret_note,
                    struct err *err) MUST_USE;
/* Notes it, in the transaction of its statements. Errors of projection_db_keep_text. */
int standing_note(const struct step *step, const struct item *item, const char *note, struct err *err) MUST_USE;

/* An entry that the generation was told of before it begins: it stands although it comes later. Errors: ERR_NO_MEMORY.
 */
int standing_tell(struct generation *generation, const char *origin, struct bytes entry, struct err *err) MUST_USE;
void standing_forget(struct generation *generation);

#endif
