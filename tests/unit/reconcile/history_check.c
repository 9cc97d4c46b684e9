#include "unit/index/history_check.c"
