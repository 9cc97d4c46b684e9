/* The parsed form of a projection's file, shared by spec.c and sqlite.c. Private to src/projection. */
#ifndef PROJECTION_SPEC_H
#define PROJECTION_SPEC_H

#include "projection/projection.h"

/* One section: the SQL between two markers. */
struct projection_section {
    char context[ENTRY_NAME_MAX_BYTES + 1];
    char type[ENTRY_NAME_MAX_BYTES + 1]; /* "*": types of the context that no other section names */
    const char *sql;                     /* NUL-terminated, in the spec's text */
    unsigned line;                       /* where it begins, from 1 */
};

struct projection_spec {
    char name[PROJECTION_NAME_MAX_BYTES + 1];
    struct projection_section schema;
    bool total_order; /* -- tally: order total */
    size_t section_count;
    struct projection_section sections[PROJECTION_SECTIONS_MAX];
    struct hash digest; /* SHA-256 of the file */
    char *text;         /* owned: a copy of the file, cut into sections */
};

/* Whether the section applies to an event: named, or "*" and nobody names the type. */
bool projection_section_applies(const struct projection_spec *spec, const struct projection_section *section,
                                struct bytes context, struct bytes type);

#endif
