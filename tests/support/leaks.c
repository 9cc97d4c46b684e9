/* Where leaks are looked for: in the processes of the tests, not in Criterion's runner. The runner itself now and then
 * ends with a small block of its own unfreed, which says nothing about this code. Criterion starts each test as a
 * program of its own, with BXFI_MAP in its environment. LeakSanitizer calls this function, if there is one, before it
 * looks. */
#include <stdlib.h>

int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
    return getenv("BXFI_MAP") == NULL;
}
