#include "tally/bench_load.c"
