#include "tally/lane.c"
