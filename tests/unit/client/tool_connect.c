#include "tally/connect.c"
