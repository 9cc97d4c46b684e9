/* A projection's file: cut into sections, none of them run. */
#include "fuzz/fuzz.h"
#include "projection/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct projection_spec *spec = NULL;
    if (projection_spec_parse(bytes_of(data, size), &spec, NULL) != 0)
        return 0;
    FUZZ_CHECK(strlen(projection_spec_name(spec)) >= 1);
    FUZZ_CHECK(spec->section_count >= 1 && spec->section_count <= PROJECTION_SECTIONS_MAX);
    FUZZ_CHECK(spec->schema.sql != NULL);
    for (size_t i = 0; i < spec->section_count; i++) {
        const struct projection_section *section = &spec->sections[i];
        FUZZ_CHECK(strlen(section->sql) <= size && section->line >= 1);
        FUZZ_CHECK(strcmp(section->type, "*") == 0 ||
                   projection_section_applies(spec, section, bytes_of_string(section->context),
                                              bytes_of_string(section->type)));
    }
    projection_spec_free(spec);
    return 0;
}
