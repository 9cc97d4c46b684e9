/* Reading the auditor's contexts (contexts.h). The text is copied once; names become C strings where they stand. */
#include "verify/contexts.h"

#include "base/mem.h"

#define HOME_WORD " home "
#define IN_WORD   " in "

static int bad_line(size_t number, int code, const char *what, struct err *err)
{
    return err_set(err, code, "line %zu of the contexts: %s", number, what);
}

/* Cuts "NAME home REGION" in two, at the last such word: the name may hold blanks. */
static char *cut_at(char *text, const char *word)
{
    char *found = NULL;
    for (char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word))
        found = at;
    if (found == NULL)
        return NULL;
    *found = '\0';
    return found + strlen(word);
}

static int add_context(struct contexts *contexts, char *rest, size_t line, struct err *err)
{
    const char *region = cut_at(rest, HOME_WORD);
    if (region == NULL)
        return bad_line(line, ERR_INVALID, "write: context NAME home REGION", err);
    if (contexts->table.count == CONTEXTS_MAX)
        return bad_line(line, ERR_TOO_LARGE, "too many contexts", err);
    contexts->contexts[contexts->table.count++] = (struct context){.name = rest, .default_home = region};
    return 0;
}

/* The number of the longest declared context that the text begins with, a slash behind it; CONTEXTS_MAX: none. */
static size_t context_in(const struct contexts *contexts, const char *text)
{
    size_t best = CONTEXTS_MAX;
    size_t best_size = 0;
    for (size_t i = 0; i < contexts->table.count; i++) {
        size_t size = strlen(contexts->contexts[i].name);
        if (strncmp(text, contexts->contexts[i].name, size) == 0 && text[size] == '/' && size >= best_size) {
            best = i;
            best_size = size;
        }
    }
    return best;
}

static int add_partition(struct contexts *contexts, char *rest, size_t line, struct err *err)
{
    const char *region = cut_at(rest, HOME_WORD);
    size_t at = region == NULL ? CONTEXTS_MAX : context_in(contexts, rest);
    if (region == NULL)
        return bad_line(line, ERR_INVALID, "write: partition CONTEXT/PARTITION home REGION", err);
    if (at == CONTEXTS_MAX)
        return bad_line(line, ERR_INVALID, "the context of this partition must be declared before it", err);
    struct context *context = &contexts->contexts[at];
    if (context->home_count == CONTEXT_HOMES_MAX)
        return bad_line(line, ERR_TOO_LARGE, "too many partitions in this context", err);
    if ((context->home_count & (context->home_count - 1)) == 0) { /* a power of two, or none: full */
        size_t capacity = context->home_count == 0 ? 1 : 2 * context->home_count;
        struct context_home *grown = mem_resize(contexts->homes[at], capacity * sizeof(*grown));
        if (grown == NULL)
            return err_no_memory(err, "the contexts");
        contexts->homes[at] = grown;
        context->homes = grown;
    }
    contexts->homes[at][context->home_count++] =
        (struct context_home){.partition = rest + strlen(context->name) + 1, .region = region};
    return 0;
}

/* Cuts the word off the end, with the blank before it. */
static bool cut_word(char *text, const char *word)
{
    size_t size = strlen(text);
    size_t word_size = strlen(word);
    if (size <= word_size || strcmp(text + size - word_size, word) != 0)
        return false;
    text[size - word_size] = '\0';
    return true;
}

static int append_type(struct contexts *contexts, size_t at, const struct context_type *type, struct err *err)
{
    struct context *context = &contexts->contexts[at];
    struct context_type *grown = mem_resize(contexts->types[at], (context->type_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return err_no_memory(err, "the contexts");
    contexts->types[at] = grown;
    context->types = grown;
    grown[context->type_count++] = *type;
    return 0;
}

/* A type may have a line for each of the two. */
static int add_type(struct contexts *contexts, char *rest, size_t line, struct err *err)
{
    struct context_type type = {.override = cut_word(rest, " override")};
    type.commutative = !type.override && cut_word(rest, " commutative");
    size_t at = type.override || type.commutative ? context_in(contexts, rest) : CONTEXTS_MAX;
    if (at == CONTEXTS_MAX)
        return bad_line(line, ERR_INVALID, "write: type CONTEXT/TYPE override, or commutative, after its context", err);
    struct context *context = &contexts->contexts[at];
    type.type = rest + strlen(context->name) + 1;
    if (type.commutative)
        context->rules.topology = TOPOLOGY_MULTI_HOME;
    for (size_t i = 0; i < context->type_count; i++) {
        struct context_type *known = &contexts->types[at][i];
        if (strcmp(known->type, type.type) != 0 || (known->override && type.override) ||
            (known->commutative && type.commutative))
            continue;
        known->override = known->override || type.override;
        known->commutative = known->commutative || type.commutative;
        return 0;
    }
    if (context->type_count == CONTEXT_TYPES_MAX)
        return bad_line(line, ERR_TOO_LARGE, "too many types in this context", err);
    return append_type(contexts, at, &type, err);
}

static int add_payload_region(struct contexts *contexts, char *rest, size_t line, struct err *err)
{
    const char *region = cut_at(rest, IN_WORD);
    size_t at = 0;
    while (at < contexts->table.count && (region == NULL || strcmp(contexts->contexts[at].name, rest) != 0))
        at++;
    if (at == contexts->table.count)
        return bad_line(line, ERR_INVALID, "write: payloads CONTEXT in REGION, after its context", err);
    struct context_rules *rules = &contexts->contexts[at].rules;
    if (rules->payload_region_count == RULES_PAYLOAD_REGIONS_MAX)
        return bad_line(line, ERR_TOO_LARGE, "too many regions in this context", err);
    const char **grown = mem_resize(contexts->regions[at], (rules->payload_region_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return err_no_memory(err, "the contexts");
    grown[rules->payload_region_count++] = region;
    contexts->regions[at] = grown;
    rules->payload_regions = grown;
    return 0;
}

static int take_line(struct contexts *contexts, char *line, size_t number, struct err *err)
{
    static const char context[] = "context ", partition[] = "partition ", type[] = "type ", payloads[] = "payloads ";
    if (line[0] == '\0' || line[0] == '#')
        return 0;
    if (strncmp(line, context, strlen(context)) == 0)
        return add_context(contexts, line + strlen(context), number, err);
    if (strncmp(line, partition, strlen(partition)) == 0)
        return add_partition(contexts, line + strlen(partition), number, err);
    if (strncmp(line, type, strlen(type)) == 0)
        return add_type(contexts, line + strlen(type), number, err);
    if (strncmp(line, payloads, strlen(payloads)) == 0)
        return add_payload_region(contexts, line + strlen(payloads), number, err);
    return bad_line(number, ERR_INVALID, "it must begin with context, partition, type, payloads or #", err);
}

int contexts_parse(struct bytes text, struct contexts *ret, struct err *err)
{
    memset(ret, 0, sizeof(*ret));
    buf_init(&ret->text, CONTEXTS_FILE_MAX_BYTES + 1);
    ret->table.contexts = ret->contexts;
    if (!utf8_valid(text))
        return err_set(err, ERR_INVALID, "the contexts are not a text in UTF-8");
    int code = buf_append(&ret->text, text);
    if (code == 0)
        code = buf_terminate(&ret->text);
    if (code == ERR_TOO_LARGE)
        return err_set(err, code, "the contexts are longer than %d bytes", CONTEXTS_FILE_MAX_BYTES);
    if (code != 0)
        code = err_no_memory(err, "the contexts");
    char *line = (char *)ret->text.data;
    for (size_t number = 1; code == 0 && line != NULL; number++) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        code = take_line(ret, line, number, err);
        line = end == NULL ? NULL : end + 1;
    }
    if (code == 0)
        code = context_table_check(&ret->table, err);
    if (code != 0)
        contexts_free(ret);
    return code;
}

void contexts_free(struct contexts *contexts)
{
    for (size_t i = 0; i < contexts->table.count; i++)
        mem_free(contexts->homes[i]);
    for (size_t i = 0; i < contexts->table.count; i++)
        mem_free(contexts->types[i]);
    for (size_t i = 0; i < contexts->table.count; i++)
        mem_free(contexts->regions[i]);
    contexts->table.count = 0;
    buf_free(&contexts->text);
}

bool contexts_know(const struct contexts *contexts, struct bytes context)
{
    struct authority ignored;
    return context_authority(&contexts->table, context, bytes_of_string("*"), &ignored, NULL) == 0;
}
