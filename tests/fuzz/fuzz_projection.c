/* A projection's file: cut into sections, none of them run, and each as PostgreSQL would be given it. */
#include "fuzz/fuzz.h"
#include "projection/parameters.h"
#include "projection/spec.h"

/* What is replaced is all that changes: with the names put back, the text is what it was. */
static void check_numbered(const struct projection_section *section)
{
    struct parameters_used used;
    struct buf out;
    buf_init(&out, 4 * PROJECTION_SQL_MAX_BYTES);
    if (parameters_number(section->sql, section->line, &out, &used, NULL) == 0) {
        size_t at = 0;
        FUZZ_CHECK(used.count <= PARAMETER_COUNT);
        FUZZ_CHECK(used.count > 0 || bytes_equal(buf_bytes(&out), bytes_of_string(section->sql)));
        for (size_t i = 0; i < out.size_bytes; i++, at++) {
            if (out.data[i] == (uint8_t)section->sql[at])
                continue;
            FUZZ_CHECK(section->sql[at] == ':' && out.data[i] == '$');
            size_t number = 0;
            for (; i + 1 < out.size_bytes && out.data[i + 1] >= '0' && out.data[i + 1] <= '9' &&
                   number * 10 + out.data[i + 1] - '0' <= used.count;
                 i++)
                number = number * 10 + out.data[i + 1] - '0';
            FUZZ_CHECK(number >= 1 && number <= used.count);
            const char *name = parameter_name(used.items[number - 1]);
            FUZZ_CHECK(strncmp(&section->sql[at], name, strlen(name)) == 0);
            at += strlen(name) - 1;
        }
        FUZZ_CHECK(section->sql[at] == '\0');
    }
    buf_free(&out);
}

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
    for (size_t i = 0; i < spec->section_count; i++)
        check_numbered(&spec->sections[i]);
    check_numbered(&spec->schema);
    projection_spec_free(spec);
    return 0;
}
