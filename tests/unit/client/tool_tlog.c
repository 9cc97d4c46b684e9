#include "tally/tlog.c"
