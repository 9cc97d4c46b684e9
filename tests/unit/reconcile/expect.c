#include "unit/index/expect.c"
