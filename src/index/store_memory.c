/* The store in memory: a skip list (Pugh, "Skip Lists: A Probabilistic Alternative to Balanced Trees", 1990), so that
 * keys are ordered and neither inserting nor removing moves anything. For tests and the simulator.
 *
 * Nodes are linked in both directions at the bottom, for walks backwards. Levels come from a generator with a fixed
 * seed: equal operations give equal structures.
 *
 * A batch changes the list in place and notes how to take each change back; readers are kept out from begin to commit.
 * The note is made before the change, so taking back needs no memory. A removed node, and a replaced value, live on in
 * the notes until the batch is over.
 *
 * Invariants:
 *   1. Level 0 holds all nodes in ascending order; each higher level holds a subset of the one below.
 *   2. After an abort the list holds what it held at begin. */
#include <pthread.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/prng.h"
#include "index/store.h"

enum { LEVELS_MAX = 24, FANOUT = 4, NOTES_FIRST = 64 };

struct blob {
    size_t size_bytes;
    uint8_t data[];
};

struct node {
    struct blob *value;
    struct node *before; /* level 0; the head when first */
    size_t key_size_bytes;
    const uint8_t *key; /* behind next */
    size_t level_count;
    struct node *next[];
};

/* How to take one change back. */
struct note {
    enum { NOTE_INSERTED, NOTE_REPLACED, NOTE_REMOVED } kind;
    struct node *node;
    struct blob *old_value; /* replaced: owned */
};

struct store_memory {
    struct store store;
    pthread_rwlock_t lock; /* guards the list */
    struct node *head;     /* no key, all levels */
    struct prng prng;
    struct note *notes;
    size_t note_count;
    size_t note_capacity;
};

/* Only its address matters: it tells a batch's reads, which hold the lock already, from others. */
struct store_view {
    bool batch;
};
static struct store_view snapshot_view = {.batch = false};
static struct store_view batch_view = {.batch = true};

static struct store_memory *from_store(struct store *store)
{
    return (struct store_memory *)(void *)store;
}

static struct bytes key_of(const struct node *node)
{
    return bytes_of(node->key, node->key_size_bytes);
}

static struct node *new_node(struct bytes key, struct blob *value, size_t level_count)
{
    size_t links = level_count * sizeof(struct node *);
    struct node *node = mem_alloc(sizeof(*node) + links + key.size_bytes);
    if (node == NULL)
        return NULL;
    *node = (struct node){.value = value, .key_size_bytes = key.size_bytes, .level_count = level_count};
    uint8_t *copy = (uint8_t *)node + sizeof(*node) + links;
    if (key.size_bytes > 0)
        memcpy(copy, key.data, key.size_bytes);
    node->key = copy;
    memset(node->next, 0, links);
    return node;
}

static struct blob *new_blob(struct bytes value)
{
    struct blob *blob = mem_alloc(sizeof(*blob) + value.size_bytes);
    if (blob == NULL)
        return NULL;
    blob->size_bytes = value.size_bytes;
    if (value.size_bytes > 0)
        memcpy(blob->data, value.data, value.size_bytes);
    return blob;
}

static void free_node(struct node *node)
{
    mem_free(node->value);
    mem_free(node);
}

/* --- The list --- */

/* For each level the last node below key; returns the first that is not. */
static struct node *find_path(struct store_memory *memory, struct bytes key, struct node *path[LEVELS_MAX])
{
    struct node *at = memory->head;
    for (size_t level = LEVELS_MAX; level-- > 0;) {
        while (at->next[level] != NULL && bytes_compare(key_of(at->next[level]), key) < 0)
            at = at->next[level];
        path[level] = at;
    }
    return at->next[0];
}

static struct node *find_exactly(struct store_memory *memory, struct bytes key, struct node *path[LEVELS_MAX])
{
    struct node *node = find_path(memory, key, path);
    return node != NULL && bytes_equal(key_of(node), key) ? node : NULL;
}

static void link_node(struct node *node, struct node *const path[LEVELS_MAX])
{
    for (size_t level = 0; level < node->level_count; level++) {
        node->next[level] = path[level]->next[level];
        path[level]->next[level] = node;
    }
    node->before = path[0];
    if (node->next[0] != NULL)
        node->next[0]->before = node;
}

static void unlink_node(struct node *node, struct node *const path[LEVELS_MAX])
{
    for (size_t level = 0; level < node->level_count; level++)
        path[level]->next[level] = node->next[level];
    if (node->next[0] != NULL)
        node->next[0]->before = node->before;
}

static size_t draw_level_count(struct store_memory *memory)
{
    size_t count = 1;
    while (count < LEVELS_MAX && prng_below(&memory->prng, FANOUT) == 0)
        count++;
    return count;
}

/* --- Changing --- */

static int reserve_note(struct store_memory *memory, struct err *err)
{
    if (memory->note_count < memory->note_capacity)
        return 0;
    size_t capacity = memory->note_capacity == 0 ? NOTES_FIRST : 2 * memory->note_capacity;
    struct note *notes = mem_resize(memory->notes, capacity * sizeof(*notes));
    if (notes == NULL)
        return err_no_memory(err, "a batch of the index");
    memory->notes = notes;
    memory->note_capacity = capacity;
    return 0;
}

static int memory_put(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    struct store_memory *memory = from_store(store);
    struct node *path[LEVELS_MAX];
    int code = reserve_note(memory, err);
    if (code != 0)
        return code;
    struct blob *blob = new_blob(value);
    if (blob == NULL)
        return err_no_memory(err, "index entries");
    struct node *node = find_exactly(memory, key, path);
    if (node != NULL) {
        memory->notes[memory->note_count++] = (struct note){NOTE_REPLACED, node, node->value};
        node->value = blob;
        return 0;
    }
    node = new_node(key, blob, draw_level_count(memory));
    if (node == NULL) {
        mem_free(blob);
        return err_no_memory(err, "index entries");
    }
    link_node(node, path);
    memory->notes[memory->note_count++] = (struct note){NOTE_INSERTED, node, NULL};
    return 0;
}

static int memory_append(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    struct node *path[LEVELS_MAX];
    struct node *node = find_exactly(from_store(store), key, path);
    if (node == NULL)
        return memory_put(store, key, value, err);
    struct buf joined;
    buf_init(&joined, SIZE_MAX / 2);
    int code = buf_append(&joined, bytes_of(node->value->data, node->value->size_bytes));
    if (code == 0)
        code = buf_append(&joined, value);
    code = code == 0 ? memory_put(store, key, buf_bytes(&joined), err) : err_no_memory(err, "index entries");
    buf_free(&joined);
    return code;
}

static int memory_remove(struct store *store, struct bytes key, struct err *err)
{
    struct store_memory *memory = from_store(store);
    struct node *path[LEVELS_MAX];
    struct node *node = find_exactly(memory, key, path);
    int code = node == NULL ? 0 : reserve_note(memory, err);
    if (node == NULL || code != 0)
        return code;
    unlink_node(node, path);
    memory->notes[memory->note_count++] = (struct note){NOTE_REMOVED, node, NULL};
    return 0;
}

static int memory_begin(struct store *store, struct store_view **ret, struct err *err)
{
    (void)err;
    INVARIANT(pthread_rwlock_wrlock(&from_store(store)->lock) == 0);
    *ret = &batch_view;
    return 0;
}

static void end_batch(struct store_memory *memory)
{
    mem_free(memory->notes);
    memory->notes = NULL;
    memory->note_count = 0;
    memory->note_capacity = 0;
    INVARIANT(pthread_rwlock_unlock(&memory->lock) == 0);
}

static int memory_commit(struct store *store, struct err *err)
{
    (void)err;
    struct store_memory *memory = from_store(store);
    for (size_t i = 0; i < memory->note_count; i++) {
        struct note *note = &memory->notes[i];
        if (note->kind == NOTE_REPLACED)
            mem_free(note->old_value);
        else if (note->kind == NOTE_REMOVED)
            free_node(note->node);
    }
    end_batch(memory);
    return 0;
}

static void take_back(struct store_memory *memory, const struct note *note)
{
    struct node *path[LEVELS_MAX];
    if (note->kind == NOTE_REPLACED) {
        mem_free(note->node->value);
        note->node->value = note->old_value;
        return;
    }
    find_path(memory, key_of(note->node), path);
    if (note->kind == NOTE_REMOVED) {
        link_node(note->node, path);
        return;
    }
    unlink_node(note->node, path);
    free_node(note->node);
}

static void memory_abort(struct store *store)
{
    struct store_memory *memory = from_store(store);
    while (memory->note_count > 0)
        take_back(memory, &memory->notes[--memory->note_count]);
    end_batch(memory);
}

static int memory_put_alone(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    struct store_view *view = NULL;
    int code = memory_begin(store, &view, err);
    if (code == 0)
        code = memory_put(store, key, value, err);
    if (code == 0)
        return memory_commit(store, err);
    memory_abort(store);
    return code;
}

/* --- Reading --- */

static void lock_for(struct store_memory *memory, const struct store_view *view)
{
    if (view == STORE_LATEST)
        INVARIANT(pthread_rwlock_rdlock(&memory->lock) == 0);
}

static void unlock_for(struct store_memory *memory, const struct store_view *view)
{
    if (view == STORE_LATEST)
        INVARIANT(pthread_rwlock_unlock(&memory->lock) == 0);
}

static int memory_view_open(struct store *store, struct store_view **ret, struct err *err)
{
    (void)err;
    INVARIANT(pthread_rwlock_rdlock(&from_store(store)->lock) == 0);
    *ret = &snapshot_view;
    return 0;
}

static void memory_view_close(struct store *store, struct store_view *view)
{
    PRE(!view->batch);
    INVARIANT(pthread_rwlock_unlock(&from_store(store)->lock) == 0);
}

static int memory_get(struct store *store, const struct store_view *view, struct bytes key, struct buf *value,
                      bool *ret_found, struct err *err)
{
    struct store_memory *memory = from_store(store);
    struct node *path[LEVELS_MAX];
    int code = 0;
    lock_for(memory, view);
    const struct node *node = find_exactly(memory, key, path);
    if (node != NULL) {
        buf_clear(value);
        code = buf_append(value, bytes_of(node->value->data, node->value->size_bytes));
    }
    unlock_for(memory, view);
    if (code != 0)
        return err_set(err, code, "a value of the index cannot be kept in memory");
    *ret_found = node != NULL;
    return 0;
}

static void memory_ahead(struct store *store, const struct bytes *keys, size_t count)
{
    (void)store;
    (void)keys;
    (void)count;
}

static bool has_prefix(const struct node *node, struct bytes prefix)
{
    return node->key_size_bytes >= prefix.size_bytes &&
           (prefix.size_bytes == 0 || memcmp(node->key, prefix.data, prefix.size_bytes) == 0);
}

static int memory_walk(struct store *store, const struct store_view *view, struct bytes prefix, struct bytes from,
                       bool backwards, store_walk_fn *each, void *context, struct err *err)
{
    struct store_memory *memory = from_store(store);
    struct node *path[LEVELS_MAX];
    int code = 0;
    lock_for(memory, view);
    struct node *node = find_path(memory, from, path);
    if (backwards && (node == NULL || !bytes_equal(key_of(node), from)))
        node = path[0];
    while (code == 0 && node != NULL && node != memory->head && has_prefix(node, prefix)) {
        code = each(context, key_of(node), bytes_of(node->value->data, node->value->size_bytes), err);
        node = backwards ? node->before : node->next[0];
    }
    unlock_for(memory, view);
    return code == ERR_END ? 0 : code;
}

/* --- Opening and closing --- */

static int memory_flush(struct store *store, struct err *err)
{
    (void)store;
    (void)err;
    return 0;
}

static int memory_corrupt(struct store *store, const char *what, struct err *err)
{
    (void)store;
    return err_set(err, ERR_CORRUPT, "the index in memory is damaged: %s", what);
}

static void memory_close(struct store *store)
{
    struct store_memory *memory = from_store(store);
    for (struct node *node = memory->head; node != NULL;) {
        struct node *next = node->next[0];
        free_node(node);
        node = next;
    }
    INVARIANT(pthread_rwlock_destroy(&memory->lock) == 0);
    mem_free(memory);
}

static const struct store_ops memory_ops = {
    .view_open = memory_view_open,
    .view_close = memory_view_close,
    .get = memory_get,
    .ahead = memory_ahead,
    .walk = memory_walk,
    .begin = memory_begin,
    .put = memory_put,
    .append = memory_append,
    .remove = memory_remove,
    .commit = memory_commit,
    .abort = memory_abort,
    .put_alone = memory_put_alone,
    .flush = memory_flush,
    .corrupt = memory_corrupt,
    .close = memory_close,
};

struct store *store_memory_new(void)
{
    struct store_memory *memory = mem_alloc_zero(1, sizeof(*memory));
    struct node *head = new_node(bytes_of(NULL, 0), NULL, LEVELS_MAX);
    if (memory == NULL || head == NULL) {
        mem_free(memory);
        mem_free(head);
        return NULL;
    }
    memory->store.ops = &memory_ops;
    memory->head = head;
    prng_seed(&memory->prng, 1);
    INVARIANT(pthread_rwlock_init(&memory->lock, NULL) == 0);
    return &memory->store;
}
