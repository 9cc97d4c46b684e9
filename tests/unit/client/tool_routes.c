#include "tally/routes.c"
