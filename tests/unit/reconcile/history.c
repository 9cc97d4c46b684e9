#include "unit/index/history.c"
