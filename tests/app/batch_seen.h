// SPDX-License-Identifier: MIT
// tests/app/batch_seen.h: what a journal tells, kept of its last record.
#ifndef TEST_BATCH_SEEN_H
#define TEST_BATCH_SEEN_H

#include "batch.h"

typedef struct seen {
    size_t count, failed;
    char name[64], output[64];
    uint64_t where;
    batch_state state;
} seen;

static inline void see(void *user, const batch_record *record, uint64_t where)
{
    seen *s = user;
    s->count++;
    s->failed += record->state == BATCH_BROKEN;
    s->where = where;
    s->state = record->state;
    snprintf(s->output, sizeof(s->output), "%s", record->output);
    snprintf(s->name, sizeof(s->name), "%s", record->name);
}

#endif
