/* Parsing a projection's file (README.md beside this file). Only the markers, lines that begin with "-- tally:", mean
 * anything here; SQL is SQLite's to judge. Before the first marker only comments and blank lines may stand. */
#include "projection/spec.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

#define MARKER "-- tally:"

struct parser {
    struct projection_spec *spec;
    unsigned line;
    bool has_schema;
    struct err *err;
};

static int bad(struct parser *parser, const char *what)
{
    return err_set(parser->err, ERR_INVALID, "projection file, line %u: %s", parser->line, what);
}

static char *skip_spaces(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    return text;
}

/* Cuts the next word off *text; "" at the end. */
static char *next_word(char **text)
{
    char *word = skip_spaces(*text);
    char *end = word + strcspn(word, " \t\r");
    *text = *end == '\0' ? end : end + 1;
    *end = '\0';
    return word;
}

static bool at_end(char *rest)
{
    const char *word = skip_spaces(rest);
    return word[strspn(word, "\r")] == '\0';
}

static bool name_valid(const char *name)
{
    size_t size = strlen(name);
    return size >= 1 && size <= PROJECTION_NAME_MAX_BYTES &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == size;
}

static int take_name(struct parser *parser, char *rest)
{
    const char *name = next_word(&rest);
    if (parser->spec->name[0] != '\0')
        return bad(parser, "the projection is named twice");
    if (!name_valid(name) || !at_end(rest))
        return bad(parser, "a projection's name has 1 to 63 characters of a-z, 0-9, _ and -");
    snprintf(parser->spec->name, sizeof(parser->spec->name), "%s", name);
    return 0;
}

static int take_schema(struct parser *parser, char *rest, char *sql)
{
    if (!at_end(rest))
        return bad(parser, "nothing may follow \"-- tally: schema\" on its line; begin the SQL on the next one");
    if (parser->has_schema)
        return bad(parser, "there are two schema sections");
    parser->has_schema = true;
    parser->spec->schema.sql = sql;
    parser->spec->schema.line = parser->line + 1;
    return 0;
}

static int take_on(struct parser *parser, char *rest, char *sql)
{
    struct projection_spec *spec = parser->spec;
    const char *context = next_word(&rest);
    const char *type = next_word(&rest);
    if (context[0] == '\0' || type[0] == '\0' || !at_end(rest))
        return bad(parser, "expected \"-- tally: on CONTEXT TYPE\", or * for TYPE");
    if (strlen(context) > ENTRY_NAME_MAX_BYTES || strlen(type) > ENTRY_NAME_MAX_BYTES)
        return bad(parser, "a context or type of more than 255 bytes");
    if (context[0] == '$' || type[0] == '$')
        return bad(parser, "names that begin with $ are the system's own events, which projections do not see");
    if (spec->section_count == PROJECTION_SECTIONS_MAX)
        return bad(parser, "more than 256 sections");
    struct projection_section *section = &spec->sections[spec->section_count++];
    snprintf(section->context, sizeof(section->context), "%s", context);
    snprintf(section->type, sizeof(section->type), "%s", type);
    section->sql = sql;
    section->line = parser->line + 1;
    return 0;
}

static int take_order(struct parser *parser, char *rest)
{
    if (strcmp(next_word(&rest), "total") != 0 || !at_end(rest))
        return bad(parser, "expected \"-- tally: order total\"");
    if (parser->spec->total_order || parser->has_schema || parser->spec->section_count > 0)
        return bad(parser, "\"-- tally: order total\" stands once, before the schema");
    parser->spec->total_order = true;
    return 0;
}

/* A marker line; sql is what follows it. */
static int take_marker(struct parser *parser, char *line, char *sql)
{
    char *rest = line + strlen(MARKER);
    const char *word = next_word(&rest);
    if (strcmp(word, "projection") == 0)
        return take_name(parser, rest);
    if (parser->spec->name[0] == '\0')
        return bad(parser, "the first marker must be \"-- tally: projection NAME\"");
    if (strcmp(word, "order") == 0)
        return take_order(parser, rest);
    if (strcmp(word, "schema") == 0)
        return take_schema(parser, rest, sql);
    if (strcmp(word, "on") == 0)
        return take_on(parser, rest, sql);
    return bad(parser, "a marker is \"-- tally: projection NAME\", \"-- tally: order total\", \"-- tally: schema\" or "
                       "\"-- tally: on CONTEXT "
                       "TYPE\"");
}

/* Before the first section only comments may stand. */
static bool is_blank_or_comment(char *line)
{
    const char *text = skip_spaces(line);
    return text[0] == '\0' || text[0] == '\r' || strncmp(text, "--", 2) == 0;
}

static int parse_lines(struct parser *parser)
{
    char *line = parser->spec->text;
    int code = 0;
    while (code == 0 && line != NULL) {
        char *newline = strchr(line, '\n');
        bool in_section = parser->has_schema || parser->spec->section_count > 0;
        parser->line++;
        if (strncmp(line, MARKER, strlen(MARKER)) == 0) {
            if (newline != NULL)
                *newline = '\0';
            char *sql = newline == NULL ? line + strlen(line) : newline + 1;
            char *marker = line;
            code = take_marker(parser, marker, sql);
            marker[0] = '\0'; /* ends the section before */
        } else if (!in_section) {
            if (newline != NULL)
                *newline = '\0';
            if (!is_blank_or_comment(line))
                code = bad(parser, "SQL before the first section; put \"-- tally: schema\" or \"-- tally: on CONTEXT "
                                   "TYPE\" in front of it");
        }
        line = newline == NULL ? NULL : newline + 1;
    }
    return code;
}

static int check_whole(struct parser *parser)
{
    if (parser->spec->name[0] == '\0')
        return bad(parser, "there is no \"-- tally: projection NAME\"");
    if (!parser->has_schema)
        return bad(parser, "there is no \"-- tally: schema\" section");
    if (parser->spec->section_count == 0)
        return bad(parser, "there is no \"-- tally: on CONTEXT TYPE\" section, so it would never hold anything");
    return 0;
}

int projection_spec_parse(struct bytes sql, struct projection_spec **ret, struct err *err)
{
    if (sql.size_bytes > PROJECTION_SQL_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "the projection file has %zu bytes, at most %d are allowed", sql.size_bytes,
                       PROJECTION_SQL_MAX_BYTES);
    if (!utf8_valid(sql))
        return err_set(err, ERR_INVALID, "the projection file is not UTF-8 text");
    struct projection_spec *spec = mem_alloc_zero(1, sizeof(*spec));
    struct sha256 *sha = sha256_new();
    if (spec != NULL)
        spec->text = mem_alloc_zero(1, sql.size_bytes + 1);
    int code = spec == NULL || sha == NULL || spec->text == NULL ? err_no_memory(err, "a projection") : 0;
    if (code == 0) {
        struct parser parser = {.spec = spec, .err = err};
        if (sql.size_bytes > 0)
            memcpy(spec->text, sql.data, sql.size_bytes);
        spec->digest = sha256_of(sha, sql);
        code = parse_lines(&parser);
        if (code == 0)
            code = check_whole(&parser);
    }
    sha256_free(sha);
    if (code != 0) {
        projection_spec_free(spec);
        return code;
    }
    *ret = spec;
    return 0;
}

void projection_spec_free(struct projection_spec *spec)
{
    if (spec == NULL)
        return;
    mem_free(spec->text);
    mem_free(spec);
}

const char *projection_spec_name(const struct projection_spec *spec)
{
    return spec->name;
}

const char *projection_spec_next_payload_context(const struct projection_spec *spec, size_t *at)
{
    while (*at < spec->section_count) {
        const struct projection_section *section = &spec->sections[(*at)++];
        if (strstr(section->sql, ":payload") != NULL)
            return section->context;
    }
    return NULL;
}

static bool named(const struct projection_section *section, struct bytes context, struct bytes type)
{
    return bytes_equal(bytes_of_string(section->context), context) && bytes_equal(bytes_of_string(section->type), type);
}

bool projection_section_applies(const struct projection_spec *spec, const struct projection_section *section,
                                struct bytes context, struct bytes type)
{
    if (strcmp(section->type, "*") != 0)
        return named(section, context, type);
    for (size_t i = 0; i < spec->section_count; i++) {
        if (named(&spec->sections[i], context, type))
            return false;
    }
    return bytes_equal(bytes_of_string(section->context), context);
}
