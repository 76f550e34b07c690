// SPDX-License-Identifier: MIT
// app/batch_gone.c: pictures that are no more. A run's own table leaves them out because its scan
// does not find them; merge scans nothing, and the journals tell it.
#include "batch.h"

#include <stdlib.h>
#include <string.h>

static int by_name_and_time(const void *a, const void *b)
{
    const batch_picture *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order)
        return order;
    if (x->when_ms != y->when_ms)
        return x->when_ms < y->when_ms ? -1 : 1;
    return x->record < y->record ? -1 : x->record > y->record;
}

void batch_keep_last_words(batch_list *list)
{
    size_t kept = 0;
    if (list->count)
        qsort(list->picture, list->count, sizeof(*list->picture), by_name_and_time);
    for (size_t i = 0; i < list->count; i++)
        if (i + 1 == list->count || strcmp(list->picture[i].name, list->picture[i + 1].name) != 0)
            list->picture[kept++] = list->picture[i];
    list->count = kept;
}

void batch_note_absent(batch *b, const batch_record *r, uint64_t where)
{
    bool is_own = batch_hash_text(r->name) % b->shard.count == b->shard.index - 1;
    if (is_own && r->state != BATCH_START)           // no table tells of what was only begun
        batch_list_add_record(&b->absent, r, where); // where memory is short, it stays in there
}

// What was gone and is there again says its last word once more.
static bool tell_again(const batch *b, const batch_picture *p)
{
    batch_record record;
    char *line = NULL;
    if (!p->record || p->gone_ms < p->when_ms)
        return true;
    bool ok = !batch_read_record(&b->history, p->record - 1, &record, &line) ||
              batch_journal_add(b->journal, &record);
    free(line);
    return ok;
}

bool batch_journal_absent(batch *b)
{
    bool ok = true;
    batch_keep_last_words(&b->absent);
    for (size_t i = 0; i < b->absent.count && ok; i++) {
        const batch_record record = { .state = BATCH_GONE,
                                      .settings = b->settings,
                                      .out_size = UINT64_MAX,
                                      .name = b->absent.picture[i].name };
        bool is_told = b->absent.picture[i].known == BATCH_NEW;
        ok = is_told || batch_journal_add(b->journal, &record);
    }
    for (size_t i = 0; i < b->list.count && ok; i++)
        ok = tell_again(b, &b->list.picture[i]);
    return ok;
}
