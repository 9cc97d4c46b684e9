/* The end of the process when an assertion does not hold. abort leaves a core file for whoever looks into it. */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_fail(const char *kind, const char *condition, const char *file, int line)
{
    fprintf(stderr, "tallystick: broken %s at %s:%d: %s\n", kind, file, line, condition);
    fflush(stderr);
    abort();
}
