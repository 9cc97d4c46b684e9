/* The checks of tally-verify, built into this program: tools have no archive of their own to link. */
#include "verify/compare.c"
#include "verify/locate.c"
#include "verify/log.c"
#include "verify/notes.c"
