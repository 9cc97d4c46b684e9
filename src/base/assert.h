/* Assertions that stay on in every build. A broken invariant is not an error to handle: the process dies at once and
 * says where, because going on would put wrong entries into a log that can never be rewritten.
 *
 * PRE checks what a caller owes, POST what a function promises, INVARIANT what must hold in between. One condition a
 * line: split compound asserts, so that the message names the one that failed. */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

__attribute__((noreturn)) void assert_fail(const char *kind, const char *condition, const char *file, int line);

#define ASSERT_KIND(kind, condition) ((condition) ? (void)0 : assert_fail(kind, #condition, __FILE__, __LINE__))
#define PRE(condition)               ASSERT_KIND("precondition", condition)
#define POST(condition)              ASSERT_KIND("postcondition", condition)
#define INVARIANT(condition)         ASSERT_KIND("invariant", condition)

#endif
