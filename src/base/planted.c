/* The list of planted bugs, and the one that is on. */
#include "base/planted.h"

#include <string.h>

#include "tally/error.h"

static const char *const table[][2] = {
#define PLANTED_ROW(name, what) {#name, what},
    PLANTED_LIST(PLANTED_ROW)
#undef PLANTED_ROW
};

#ifdef TALLY_PLANTED
enum planted planted_selected = PLANTED_NONE;
#endif

const char *planted_name(size_t i)
{
    return i < sizeof(table) / sizeof(table[0]) ? table[i][0] : NULL;
}

const char *planted_meaning(size_t i)
{
    return i < sizeof(table) / sizeof(table[0]) ? table[i][1] : NULL;
}

int planted_select(const char *name)
{
    size_t i = 0;
    while (planted_name(i) != NULL && strcmp(planted_name(i), name) != 0)
        i++;
    if (planted_name(i) == NULL)
        return ERR_NOT_FOUND;
#ifdef TALLY_PLANTED
    planted_selected = (enum planted)i;
    return 0;
#else
    return ERR_UNSUPPORTED;
#endif
}
