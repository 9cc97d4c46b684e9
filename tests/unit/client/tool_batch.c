#include "tally/batch.c"
