#include "tally/options.c"
