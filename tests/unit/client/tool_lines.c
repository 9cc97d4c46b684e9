#include "tally/lines.c"
