// SPDX-License-Identifier: MIT
// app/batch_gone.c: pictures that are no more. A run's own table leaves them out because its scan
// does not find them; merge scans nothing, and the journals tell it.
#include "batch_walk.h"

#include "jobs.h"

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

// What is found by --include alone, by which no run sees all.
static bool is_asked_for(const batch *b, const char *name)
{
    return !app_is_picture_name(name) ||
           (batch_has_step(b, &batch_step_detect) && batch_is_drawn(name));
}

void batch_note_absent(batch *b, const batch_record *r, uint64_t where)
{
    bool is_own = batch_hash_text(r->name) % b->shard.count == b->shard.index - 1;
    if (!is_own || r->state == BATCH_START) // no table tells of what was only begun
        return;
    if (!batch_list_add_record(&b->absent, r, where)) // where memory is short, it stays in there
        return;
    b->absent.picture[b->absent.count - 1].is_elsewhere =
        !b->list.operands || b->operands != b->list.operands || is_asked_for(b, r->name);
}

// A folder that cannot be read and options that narrow the search hide pictures that still are.
static bool saw_all(const batch *b)
{
    const app_values *values = &b->session->values;
    return b->list.failed == 0 && !values->newer && !values->files0_from &&
           !values->include.count && !values->exclude.count;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

typedef struct part {
    const char *text;
    size_t length;
} part;

static int compare_part(const void *key, const void *item)
{
    const part *p = key;
    const char *text = *(const char *const *)item;
    int order = strncmp(p->text, text, p->length);
    return order ? order : -(text[p->length] != '\0');
}

// Whether the name, or a folder that it lies in, is one of list->hidden, which are sorted.
static bool is_hidden(const batch_list *list, const char *name)
{
    bool is_hidden = false;
    size_t length = strlen(name);
    for (size_t i = 0; i <= length && list->hidden_count && !is_hidden; i++) {
        const part key = { name, i };
        if (i == 0 || i == length || name[i - 1] == '/')
            is_hidden = bsearch(&key, list->hidden, list->hidden_count, sizeof(*list->hidden),
                                compare_part) != NULL;
    }
    return is_hidden;
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
    if (b->list.hidden_count)
        qsort(b->list.hidden, b->list.hidden_count, sizeof(*b->list.hidden), by_text);
    for (size_t i = 0; i < b->absent.count && ok && saw_all(b); i++) {
        const batch_picture *p = &b->absent.picture[i];
        const batch_record record = {
            .state = BATCH_GONE, .settings = b->settings, .out_size = UINT64_MAX, .name = p->name
        };
        bool is_told = p->known == BATCH_NEW;
        ok = is_told || p->is_elsewhere || is_hidden(&b->list, p->name) ||
             batch_journal_add(b->journal, &record);
    }
    for (size_t i = 0; i < b->list.count && ok; i++)
        ok = tell_again(b, &b->list.picture[i]);
    return ok;
}
