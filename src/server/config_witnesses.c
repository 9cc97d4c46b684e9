/* Witnesses in tallyd.yaml. */
#include "server/config_witnesses.h"

enum { TEXT_MAX = 1023, URL_MAX_BYTES = 500, LABEL_MAX_BYTES = 63 };

#define TEXT(key, member) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, struct file_witness, member, 1, TEXT_MAX)

static const cyaml_schema_field_t witness_fields[] = {
    TEXT("name", name),
    TEXT("key", key),
    TEXT("url", url),
    CYAML_FIELD_END,
};
const cyaml_schema_value_t config_witness_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct file_witness, witness_fields)};

static int check_url(const char *url, struct err *err)
{
    const char *rest = NULL;
    if (strncmp(url, "http://", 7) == 0)
        rest = url + 7;
    else if (strncmp(url, "https://", 8) == 0)
        rest = url + 8;
    if (rest == NULL || rest[0] == '\0' || rest[0] == '/' || rest[strcspn(rest, "?#@ ")] != '\0' ||
        strlen(url) > URL_MAX_BYTES || url[strlen(url) - 1] == '/')
        return err_set(err, ERR_INVALID,
                       "url \"%.100s\" is not http://HOST[:PORT][/PATH] or https://…, without a / at its end", url);
    return 0;
}

static int take_key(const char *text, const struct region_config *region, size_t count, struct note_verifier *ret,
                    struct err *err)
{
    int code = note_verifier_parse(bytes_of_string(text), ret, err);
    if (code != 0)
        return code;
    if (ret->type != NOTE_KEY_COSIGNATURE)
        return err_set(err, ERR_INVALID, "the key %.100s is not one that cosigns (type 4)", ret->name);
    for (size_t i = 0; i < count; i++) {
        if (memcmp(region->witnesses[i].keys[0].public_key, ret->public_key, sizeof(ret->public_key)) == 0)
            return err_set(err, ERR_INVALID, "its key is another witness's too, and one signer counts once");
    }
    return 0;
}

static int take(struct server_config *config, const struct file_witness *from, size_t at, struct err *err)
{
    struct region_config *region = &config->region;
    struct note_verifier key;
    int code = entry_check_name(bytes_of_string(from->name), LABEL_MAX_BYTES, "a witness's name", err);
    for (size_t i = 0; code == 0 && i < at; i++) {
        if (strcmp(config->witness_names[i], from->name) == 0)
            code = err_set(err, ERR_INVALID, "it is there twice");
    }
    if (code == 0)
        code = check_url(from->url, err);
    if (code == 0)
        code = take_key(from->key, region, at, &key, err);
    if (code == 0)
        code = keyring_add(&region->witnesses[at], &key, err);
    if (code != 0)
        return err_wrap(err, code, "witness %.64s", from->name);
    config->witness_names[at] = from->name;
    config->witness_urls[at] = from->url;
    region->witness_count = at + 1;
    return 0;
}

int config_witnesses_take(struct server_config *config, const struct file_witness *from, size_t count, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < count; i++)
        code = take(config, &from[i], i, err);
    return code;
}
