/* Parsing and applying a trust policy (policy.h). Groups only name what was defined before them, so evaluating them in
 * order needs no recursion and cannot run in circles. */
#include "crypto/policy.h"

#include "base/mem.h"

enum { FIELDS_MAX = 3 + POLICY_MEMBERS_MAX };

struct line {
    size_t number;
    size_t count;
    struct bytes fields[FIELDS_MAX];
};

struct parser {
    struct policy *policy;
    bool quorum_seen;
    bool used[POLICY_WITNESSES_MAX + POLICY_GROUPS_MAX]; /* as a member of a group */
    struct line line;
};

static int bad_line(const struct parser *parser, int code, const char *what, struct err *err)
{
    return err_set(err, code, "line %zu of the policy: %s", parser->line.number, what);
}

static bool is_field(const struct line *line, size_t at, const char *word)
{
    return bytes_equal(line->fields[at], bytes_of_string(word));
}

static int split(struct parser *parser, struct bytes text, struct err *err)
{
    struct line *line = &parser->line;
    size_t at = 0;
    line->count = 0;
    while (at < text.size_bytes) {
        size_t start = at;
        while (at < text.size_bytes && text.data[at] != ' ' && text.data[at] != '\t')
            at++;
        if (at > start) {
            if (line->count == FIELDS_MAX)
                return bad_line(parser, ERR_TOO_LARGE, "too many words", err);
            line->fields[line->count++] = bytes_of(text.data + start, at - start);
        }
        at++;
    }
    return 0;
}

static int take_name(const struct parser *parser, size_t at, char *ret, struct err *err)
{
    struct bytes name = parser->line.fields[at];
    if (name.size_bytes > POLICY_NAME_MAX_BYTES || !utf8_valid(name))
        return bad_line(parser, ERR_INVALID, "a name must be at most 255 bytes of UTF-8", err);
    memcpy(ret, name.data, name.size_bytes);
    ret[name.size_bytes] = '\0';
    return 0;
}

/* Whether a witness or group has that name, and which. */
static bool find(const struct policy *policy, struct bytes name, size_t *ret)
{
    for (size_t i = 0; i < policy->witness_count; i++) {
        *ret = i;
        if (bytes_equal(name, bytes_of_string(policy->witnesses[i].name)))
            return true;
    }
    for (size_t i = 0; i < policy->group_count; i++) {
        *ret = POLICY_WITNESSES_MAX + i;
        if (bytes_equal(name, bytes_of_string(policy->groups[i].name)))
            return true;
    }
    return false;
}

static int take_key(const struct parser *parser, size_t at, enum note_key_type type, struct note_verifier *ret,
                    struct err *err)
{
    struct err reason = {0};
    if (parser->line.count > at + 2)
        return bad_line(parser, ERR_INVALID, "too many words", err);
    if (parser->line.count == at + 2 && parser->line.fields[at + 1].size_bytes > POLICY_URL_MAX_BYTES)
        return bad_line(parser, ERR_TOO_LARGE, "the URL is too long", err);
    if (note_verifier_parse(parser->line.fields[at], ret, &reason) != 0)
        return bad_line(parser, ERR_INVALID, reason.message, err);
    if (ret->type != type)
        return bad_line(parser, ERR_INVALID,
                        type == NOTE_KEY_ED25519 ? "a log's key must be of type 0x01 (Ed25519)"
                                                 : "a witness's key must be of type 0x04 (cosignature/v1)",
                        err);
    return 0;
}

static int parse_log(struct parser *parser, struct err *err)
{
    struct policy *policy = parser->policy;
    if (parser->line.count < 2)
        return bad_line(parser, ERR_INVALID, "must be: log VKEY [URL]", err);
    if (policy->log_count == POLICY_LOGS_MAX)
        return bad_line(parser, ERR_TOO_LARGE, "too many logs", err);
    int code = take_key(parser, 1, NOTE_KEY_ED25519, &policy->logs[policy->log_count], err);
    policy->log_count += code == 0;
    return code;
}

static int check_new_name(const struct parser *parser, size_t at, struct err *err)
{
    size_t ignored;
    if (is_field(&parser->line, at, "none") || find(parser->policy, parser->line.fields[at], &ignored))
        return bad_line(parser, ERR_INVALID, "the name is taken", err);
    return 0;
}

static int parse_witness(struct parser *parser, struct err *err)
{
    struct policy *policy = parser->policy;
    struct policy_witness *witness = &policy->witnesses[policy->witness_count];
    if (parser->line.count < 3)
        return bad_line(parser, ERR_INVALID, "must be: witness NAME VKEY [URL]", err);
    if (policy->witness_count == POLICY_WITNESSES_MAX)
        return bad_line(parser, ERR_TOO_LARGE, "too many witnesses", err);
    int code = check_new_name(parser, 1, err);
    if (code == 0)
        code = take_name(parser, 1, witness->name, err);
    if (code == 0)
        code = take_key(parser, 2, NOTE_KEY_COSIGNATURE, &witness->key, err);
    for (size_t i = 0; code == 0 && i < policy->witness_count; i++) {
        if (memcmp(policy->witnesses[i].key.public_key, witness->key.public_key, sizeof(witness->key.public_key)) == 0)
            code = bad_line(parser, ERR_INVALID, "another witness has the same key: it would count twice", err);
    }
    policy->witness_count += code == 0;
    return code;
}

static int parse_needed(const struct parser *parser, size_t member_count, size_t *ret, struct err *err)
{
    struct bytes word = parser->line.fields[2];
    uint64_t needed = 0;
    if (is_field(&parser->line, 2, "all"))
        needed = member_count;
    else if (is_field(&parser->line, 2, "any"))
        needed = 1;
    else if (parse_u64((const char *)word.data, word.size_bytes, &needed) != 0 || needed < 1 || needed > member_count)
        return bad_line(parser, ERR_INVALID, "how many must be all, any, or from 1 to the number of members", err);
    *ret = (size_t)needed;
    return 0;
}

static int parse_group(struct parser *parser, struct err *err)
{
    struct policy *policy = parser->policy;
    struct policy_group *group = &policy->groups[policy->group_count];
    const struct line *line = &parser->line;
    if (line->count < 4)
        return bad_line(parser, ERR_INVALID, "must be: group NAME all|any|K MEMBER…", err);
    if (policy->group_count == POLICY_GROUPS_MAX)
        return bad_line(parser, ERR_TOO_LARGE, "too many groups", err);
    group->member_count = line->count - 3;
    int code = check_new_name(parser, 1, err);
    if (code == 0)
        code = take_name(parser, 1, group->name, err);
    if (code == 0)
        code = parse_needed(parser, group->member_count, &group->needed, err);
    for (size_t i = 0; code == 0 && i < group->member_count; i++) {
        size_t member = 0;
        if (!find(policy, line->fields[3 + i], &member))
            code = bad_line(parser, ERR_INVALID, "a member is no witness or group that was defined before", err);
        else if (parser->used[member])
            code = bad_line(parser, ERR_INVALID, "a name may be a member only once", err);
        if (code == 0) {
            parser->used[member] = true;
            group->members[i] = member;
        }
    }
    policy->group_count += code == 0;
    return code;
}

static int parse_quorum(struct parser *parser, struct err *err)
{
    struct policy *policy = parser->policy;
    if (parser->line.count != 2)
        return bad_line(parser, ERR_INVALID, "must be: quorum NAME|none", err);
    if (parser->quorum_seen)
        return bad_line(parser, ERR_INVALID, "there may be only one quorum", err);
    parser->quorum_seen = true;
    if (is_field(&parser->line, 1, "none"))
        return 0;
    if (!find(policy, parser->line.fields[1], &policy->quorum))
        return bad_line(parser, ERR_INVALID, "the quorum is no witness or group that was defined before", err);
    policy->has_quorum = true;
    return 0;
}

static int parse_line(struct parser *parser, struct bytes text, struct err *err)
{
    if (text.size_bytes > 0 && text.data[0] == '#')
        return 0;
    int code = split(parser, text, err);
    if (code != 0 || parser->line.count == 0)
        return code;
    if (is_field(&parser->line, 0, "log"))
        return parse_log(parser, err);
    if (is_field(&parser->line, 0, "witness"))
        return parse_witness(parser, err);
    if (is_field(&parser->line, 0, "group"))
        return parse_group(parser, err);
    if (is_field(&parser->line, 0, "quorum"))
        return parse_quorum(parser, err);
    return bad_line(parser, ERR_INVALID, "must start with log, witness, group, quorum or #", err);
}

int policy_parse(struct bytes text, struct policy *ret, struct err *err)
{
    if (text.size_bytes > POLICY_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "a policy of %zu bytes is over the limit of %d", text.size_bytes,
                       POLICY_MAX_BYTES);
    struct parser *parser = mem_alloc_zero(1, sizeof(*parser));
    struct policy *policy = mem_alloc_zero(1, sizeof(*policy));
    int code = parser == NULL || policy == NULL ? err_no_memory(err, "a policy") : 0;
    if (code == 0)
        parser->policy = policy;
    for (size_t at = 0; code == 0 && at < text.size_bytes;) {
        const uint8_t *end = memchr(text.data + at, '\n', text.size_bytes - at);
        size_t size = end == NULL ? text.size_bytes - at : (size_t)(end - text.data) - at;
        parser->line.number++;
        code = parse_line(parser, bytes_of(text.data + at, size), err);
        at += size + 1;
    }
    if (code == 0 && !parser->quorum_seen)
        code = err_set(err, ERR_INVALID, "the policy has no quorum line: write quorum none if nobody must cosign");
    if (code == 0)
        *ret = *policy;
    mem_free(policy);
    mem_free(parser);
    return code;
}

int policy_from_keys(const struct note_verifier *keys, size_t count, struct policy *ret, struct err *err)
{
    size_t logs = 0;
    size_t witnesses = 0;
    for (size_t i = 0; i < count; i++)
        *(keys[i].type == NOTE_KEY_ED25519 ? &logs : &witnesses) += 1;
    if (logs > POLICY_LOGS_MAX || witnesses > POLICY_WITNESSES_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d keys", POLICY_LOGS_MAX);
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < count; i++) {
        if (keys[i].type == NOTE_KEY_ED25519) {
            ret->logs[ret->log_count++] = keys[i];
            continue;
        }
        bool given_before = false;
        for (size_t k = 0; k < ret->witness_count; k++)
            given_before = given_before || memcmp(ret->witnesses[k].key.public_key, keys[i].public_key, 32) == 0;
        if (given_before)
            continue;
        struct policy_witness *witness = &ret->witnesses[ret->witness_count++];
        witness->key = keys[i];
        copy_string(witness->name, sizeof(witness->name), keys[i].name);
    }
    return 0;
}

static bool quorum_met(const struct policy *policy, const struct policy_verdict *verdict)
{
    bool met[POLICY_GROUPS_MAX];
    if (!policy->has_quorum)
        return true;
    for (size_t i = 0; i < policy->group_count; i++) {
        const struct policy_group *group = &policy->groups[i];
        size_t have = 0;
        for (size_t k = 0; k < group->member_count; k++) {
            size_t member = group->members[k];
            have += member < POLICY_WITNESSES_MAX ? verdict->cosigned[member] : met[member - POLICY_WITNESSES_MAX];
        }
        met[i] = have >= group->needed;
    }
    return policy->quorum < POLICY_WITNESSES_MAX ? verdict->cosigned[policy->quorum]
                                                 : met[policy->quorum - POLICY_WITNESSES_MAX];
}

/* Every incarnation of a region's log is signed with one key, under the log's name, <cluster>/<region>/<incarnation>; a
 * policy may give it under the name of another incarnation. */
static bool key_of_log(const struct note_verifier *given, const char *origin, struct note_verifier *ret)
{
    const char *incarnation = strrchr(origin, '/');
    *ret = *given;
    if (strcmp(given->name, origin) == 0)
        return true;
    return incarnation != NULL && strncmp(given->name, origin, (size_t)(incarnation - origin) + 1) == 0 &&
           note_verifier_rename(ret, origin, NULL) == 0;
}

/* Whether an earlier line of the policy gave the same key. */
static bool log_key_repeated(const struct policy *policy, size_t at, const struct note_verifier *key)
{
    struct note_verifier before;
    for (size_t i = 0; i < at; i++) {
        if (key_of_log(&policy->logs[i], key->name, &before) && before.key_id == key->key_id)
            return true;
    }
    return false;
}

int policy_check(const struct policy *policy, const struct note *note, const char *origin, struct policy_verdict *ret,
                 struct err *err)
{
    struct policy_verdict verdict = {0};
    size_t known_lines = 0;
    for (size_t i = 0; i < policy->log_count; i++) {
        struct note_verifier key;
        if (!key_of_log(&policy->logs[i], origin, &key) || log_key_repeated(policy, i, &key))
            continue;
        verdict.log_known = true;
        int verified = note_verify(note, &key, NULL, err);
        if (verified < 0)
            return verified;
        verdict.signed_by[i] = verified > 0;
        verdict.log_signed = verdict.log_signed || verified > 0;
        known_lines += (size_t)verified;
    }
    for (size_t i = 0; i < policy->witness_count; i++) {
        uint64_t time_s = 0;
        int verified = note_verify(note, &policy->witnesses[i].key, &time_s, err);
        if (verified < 0)
            return verified;
        known_lines += (size_t)verified;
        verdict.cosigned[i] = verified > 0;
        verdict.cosigned_at_s[i] = time_s;
        if (verified > 0 && time_s > verdict.newest_cosignature_s)
            verdict.newest_cosignature_s = time_s;
    }
    verdict.quorum_met = quorum_met(policy, &verdict);
    verdict.other_signature_count = note->signature_count - known_lines;
    *ret = verdict;
    return 0;
}
