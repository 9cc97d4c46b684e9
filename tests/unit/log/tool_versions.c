/* A part of tally-verify, built into this program: tools have no archive of their own to link. */
#include "verify/versions.c"
