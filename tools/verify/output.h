/* What is printed holds names and texts that strangers chose. A terminal would obey the control characters in them: an
 * operator could rub out the verdict over his own log. So everything that the tool says goes through one filter. */
#ifndef VERIFY_OUTPUT_H
#define VERIFY_OUTPUT_H

/* Puts the filter before standard output and standard error. Once, before anything is printed; where memory runs out
 * the streams stay as they were. */
void output_filter(void);

#endif
