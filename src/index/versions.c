/* Lists of versions (versions.h). A list is read whole, sorted by version, entry, and order of saying, and walked once.
 *
 * Versions mostly follow each other, so the list that comes next is got by its name. Only where there is a gap as long
 * as a list does the store look for the next one there is. */
#include "index/versions.h"

#include <stdlib.h>

#include "base/assert.h"

/* --- Writing --- */

static struct bytes list_key(struct key *key, struct bytes context, struct bytes stream, uint64_t list)
{
    versions_key(key, context, stream);
    key_add_u64(key, list);
    return key_bytes(key);
}

struct bytes versions_list_key(struct key *key, struct bytes context, struct bytes stream, uint64_t version)
{
    return list_key(key, context, stream, version / VERSIONS_A_KEY);
}

static int say(struct index *index, struct bytes context, struct bytes stream, const struct version *version,
               bool removed, struct err *err)
{
    struct key key;
    struct version_record record = {.removed = removed,
                                    .low = (uint8_t)(version->version % VERSIONS_A_KEY),
                                    .time = version->time,
                                    .place = version->place};
    uint8_t bytes[VERSION_RECORD_MAX_BYTES];
    size_t size = version_encode(&record, bytes);
    return store_append(index->store, versions_list_key(&key, context, stream, version->version), bytes_of(bytes, size),
                        err);
}

int versions_add(struct index *index, struct bytes context, struct bytes stream, const struct version *version,
                 struct err *err)
{
    return say(index, context, stream, version, false, err);
}

int versions_remove(struct index *index, struct bytes context, struct bytes stream, const struct version *version,
                    struct err *err)
{
    return say(index, context, stream, version, true, err);
}

/* --- Reading --- */

/* One record, and how many came before it. */
struct said {
    struct version_record record;
    size_t order;
};

struct reading {
    struct index *index;
    const struct store_view *view;
    struct bytes context;
    struct bytes stream;
    bool pass_over; /* lists that are too long */
    struct buf value;
    struct buf said; /* struct said, sorted */
};

static int order_of_numbers(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static bool same_entry(const struct version_record *a, const struct version_record *b)
{
    return a->low == b->low && a->place.log == b->place.log && a->place.index == b->place.index;
}

static int compare(const void *a, const void *b)
{
    const struct said *left = a;
    const struct said *right = b;
    int order = order_of_numbers(left->record.low, right->record.low);
    if (order == 0)
        order = order_of_numbers(left->record.place.log, right->record.place.log);
    if (order == 0)
        order = order_of_numbers(left->record.place.index, right->record.place.index);
    return order != 0 ? order : order_of_numbers(left->order, right->order);
}

static const struct said *said_of(const struct reading *reading, size_t *ret_count)
{
    *ret_count = reading->said.size_bytes / sizeof(struct said);
    return (const struct said *)(const void *)reading->said.data;
}

static int parse(struct reading *reading, struct err *err)
{
    struct bytes rest = buf_bytes(&reading->value);
    buf_clear(&reading->said);
    for (size_t order = 0; rest.size_bytes > 0; order++) {
        struct said said = {.order = order};
        if (!version_take(&rest, &said.record) || said.record.low >= VERSIONS_A_KEY)
            return index_corrupt(reading->index, "a version of a stream cannot be read", err);
        int code = index_check_place(reading->index, said.record.place, err);
        if (code != 0)
            return code;
        if (buf_append(&reading->said, bytes_of(&said, sizeof(said))) != 0)
            return err_no_memory(err, "the versions of a stream");
    }
    qsort(reading->said.data, reading->said.size_bytes / sizeof(struct said), sizeof(struct said), compare);
    return 0;
}

static int read_list(struct reading *reading, uint64_t list, bool *ret_found, struct err *err)
{
    struct key key;
    int code = store_get(reading->index->store, reading->view, list_key(&key, reading->context, reading->stream, list),
                         &reading->value, ret_found, err);
    if (code == ERR_TOO_LARGE && reading->pass_over) {
        buf_clear(&reading->said);
        *ret_found = true;
        return 0;
    }
    return code == 0 && *ret_found ? parse(reading, err) : code;
}

struct finding {
    struct index *index;
    size_t prefix_size_bytes;
    bool found;
    uint64_t list;
};

static int see_list(void *context, struct bytes key, struct bytes value, struct err *err)
{
    (void)value;
    struct finding *finding = context;
    if (key.size_bytes != finding->prefix_size_bytes + 8)
        return index_corrupt(finding->index, "a version of a stream cannot be read", err);
    finding->found = true;
    finding->list = get_u64_be(key.data + finding->prefix_size_bytes);
    return ERR_END;
}

/* The next list at or past *list that there is. */
static int find_list(struct reading *reading, bool backwards, uint64_t *list, bool *ret_found, struct err *err)
{
    struct key from;
    struct bytes prefix = bytes_of(from.bytes, versions_key(&from, reading->context, reading->stream).size_bytes);
    struct finding finding = {.index = reading->index, .prefix_size_bytes = prefix.size_bytes};
    key_add_u64(&from, *list);
    int code =
        store_walk(reading->index->store, reading->view, prefix, key_bytes(&from), backwards, see_list, &finding, err);
    if (code != 0)
        return code;
    *ret_found = finding.found;
    *list = finding.list;
    return 0;
}

static struct version version_of(const struct said *said, uint64_t list)
{
    return (struct version){
        .version = list * VERSIONS_A_KEY + said->record.low, .time = said->record.time, .place = said->record.place};
}

/* The entry that has the version which said[from] is about: false when none has it any more. */
static bool first_of(struct index *index, const struct said *said, size_t from, size_t end, uint64_t list,
                     struct version *ret)
{
    bool any = false;
    for (size_t i = from; i < end; i++) {
        bool last_word = i + 1 == end || !same_entry(&said[i].record, &said[i + 1].record);
        struct version version = version_of(&said[i], list);
        if (!last_word || said[i].record.removed)
            continue;
        if (!any || index_precedes(index, version.time, version.place, ret->time, ret->place))
            *ret = version;
        any = true;
    }
    return any;
}

/* The versions of the list that was read, as far as they lie between `from` and `last`. */
static int visit(struct reading *reading, uint64_t list, uint64_t from, uint64_t last, versions_fn *each,
                 void *each_context)
{
    size_t count = 0;
    const struct said *said = said_of(reading, &count);
    bool backwards = last < from;
    uint64_t lowest = backwards ? last : from;
    uint64_t highest = backwards ? from : last;
    struct version found[VERSIONS_A_KEY];
    size_t found_count = 0;
    for (size_t at = 0, end = 0; at < count; at = end) {
        while (end < count && said[end].record.low == said[at].record.low)
            end++;
        struct version version;
        if (first_of(reading->index, said, at, end, list, &version) && version.version >= lowest &&
            version.version <= highest)
            found[found_count++] = version;
    }
    int code = 0;
    for (size_t i = 0; code == 0 && i < found_count; i++)
        code = each(each_context, &found[backwards ? found_count - 1 - i : i]);
    return code;
}

static int walk_lists(struct reading *reading, uint64_t from, uint64_t last, versions_fn *each, void *each_context,
                      struct err *err)
{
    bool backwards = last < from;
    uint64_t list = from / VERSIONS_A_KEY;
    uint64_t last_list = last / VERSIONS_A_KEY;
    for (;;) {
        bool found = false;
        int code = read_list(reading, list, &found, err);
        if (code == 0 && !found) {
            bool any = false;
            code = find_list(reading, backwards, &list, &any, err);
            if (code != 0 || !any || (backwards ? list < last_list : list > last_list))
                return code;
            continue;
        }
        if (code == 0)
            code = visit(reading, list, from, last, each, each_context);
        if (code != 0 || list == last_list)
            return code;
        list = backwards ? list - 1 : list + 1;
    }
}

static int walk(struct reading *reading, uint64_t from, uint64_t last, versions_fn *each, void *each_context,
                struct err *err)
{
    buf_init(&reading->value, VERSIONS_MAX_BYTES);
    buf_init(&reading->said, VERSIONS_MAX_BYTES / VERSION_RECORD_MIN_BYTES * sizeof(struct said));
    int code = walk_lists(reading, from, last, each, each_context, err);
    buf_free(&reading->said);
    buf_free(&reading->value);
    return code == ERR_END ? 0 : code;
}

int versions_walk(struct index *index, const struct store_view *view, struct bytes context, struct bytes stream,
                  uint64_t from, uint64_t last, versions_fn *each, void *each_context, struct err *err)
{
    struct reading reading = {.index = index, .view = view, .context = context, .stream = stream};
    return walk(&reading, from, last, each, each_context, err);
}

struct highest {
    struct version version;
    bool found;
};

/* From above, the first is it. */
static int see_highest(void *context, const struct version *version)
{
    struct highest *highest = context;
    highest->version = *version;
    highest->found = true;
    return ERR_END;
}

int versions_highest(struct index *index, const struct store_view *view, struct bytes context, struct bytes stream,
                     uint64_t from, struct version *ret, bool *ret_found, struct err *err)
{
    struct reading reading = {.index = index, .view = view, .context = context, .stream = stream, .pass_over = true};
    struct highest highest = {.found = false};
    int code = walk(&reading, from, 0, see_highest, &highest, err);
    if (code != 0)
        return code;
    *ret_found = highest.found;
    *ret = highest.version;
    return 0;
}
