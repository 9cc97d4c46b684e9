/* What the tests of HTTP share: a backend with one real log and its tiles, whose status and checkpoint a test sets. */
#ifndef TEST_ADMIN_SUPPORT_H
#define TEST_ADMIN_SUPPORT_H

#include "admin/route.h"

#define OWN_ORIGIN  "bank/eu/1"
#define PEER_ORIGIN "bank/us/1"

struct stage {
    struct admin_backend backend; /* first */
    struct region_config config;  /* one peer: us */
    struct admin admin;           /* with a witness, without a daemon */
    struct admin_status status;   /* what the region says */
    struct note_signer log_signer, peer_signer, witness_signer;
    struct witness_keys witness_keys;
    char folder[256];
    struct log *log;
    struct tiles *tiles;
    struct sha256 *sha;
    struct chain chain;
    struct buf note; /* the checkpoint that is shown */
    uint64_t note_size;
    int refuse_with; /* 0, or the code that asking for the checkpoint or the status gets */
    size_t damage_reports;
};

void stage_init(struct stage *stage);
void stage_free(struct stage *stage);
/* Appends a block of entries to the log, and their leaves to the tiles. */
void stage_append(struct stage *stage, uint32_t entry_count);
/* Signs and shows a checkpoint of the log as it is now. */
void stage_show(struct stage *stage);

/* Asks; the answer's body is freed by the next ask, or stage_free. */
struct response *ask(struct stage *stage, const char *method, const char *path, struct bytes body);
struct response *get(struct stage *stage, const char *path);
/* The body as text, until the next ask. */
const char *body_text(struct response *response);

#endif
