/* An intrusive doubly linked list: the link lives in the caller's struct, so queueing never allocates. */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct queue_link {
    struct queue_link *next;
    struct queue_link *prev;
};

/* The struct of `type` whose member `member` is at `link`. */
#define QUEUE_ITEM(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void queue_init(struct queue_link *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool queue_empty(const struct queue_link *head)
{
    return head->next == head;
}

static inline void queue_push_back(struct queue_link *head, struct queue_link *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void queue_remove(struct queue_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = NULL;
    link->prev = NULL;
}

/* The first link, removed; NULL when empty. */
static inline struct queue_link *queue_pop_front(struct queue_link *head)
{
    struct queue_link *link = head->next;
    if (link == head)
        return NULL;
    queue_remove(link);
    return link;
}

#endif
