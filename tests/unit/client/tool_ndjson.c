#include "tally/ndjson.c"
