#include "tally/json_scan.c"
