#include "tally/histogram.c"
