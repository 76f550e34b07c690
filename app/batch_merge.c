// SPDX-License-Identifier: MIT
// app/batch_merge.c: softlens batch merge: what the shards of a batch did, together: whether they
// were all there and saw the same tree, their tables joined, one report.
#include "batch.h"

#include "jobs.h"

#include <inttypes.h>
#include <jansson.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

// The last words of a shard's runs.
typedef struct shard_words {
    batch_shard shard;
    int64_t begun_ms, ended_ms; // INT64_MIN: never
    uint64_t settings, total, sum, own, ended_settings;
    uint64_t left; // pictures neither done nor failed, as the end tells
} shard_words;

typedef struct merge {
    batch *b;
    void *shards_seen; // tree of shard_words, by number and index
    int64_t when_ms;   // of the last run that began
    uint64_t shards;   // of how many it was
    char *settings_text;
    bool ran_out;
} merge;

static int by_shard(const void *a, const void *b)
{
    const batch_shard *x = &((const shard_words *)a)->shard, *y = &((const shard_words *)b)->shard;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

// NULL: no record of it.
static const shard_words *known_shard(const merge *m, uint64_t index, uint64_t count)
{
    const shard_words key = { .shard = { index, count } };
    shard_words *const *found = tfind(&key, &m->shards_seen, by_shard);
    return found ? *found : NULL;
}

static shard_words *find_shard(merge *m, const char *name)
{
    shard_words key = { .begun_ms = INT64_MIN, .ended_ms = INT64_MIN };
    batch_shard *s = &key.shard;
    if (sscanf(name, "%" SCNu64 "/%" SCNu64, &s->index, &s->count) != 2 || s->index == 0 ||
        s->index > s->count || s->count > BATCH_MAX_SHARDS)
        return NULL;
    shard_words *made = malloc(sizeof(*made));
    if (made)
        *made = key;
    shard_words **found = made ? tsearch(made, &m->shards_seen, by_shard) : NULL;
    if (!found || *found != made)
        free(made);
    m->ran_out = m->ran_out || !found;
    return found ? *found : NULL;
}

static void see_run(merge *m, const batch_record *r)
{
    shard_words *s = find_shard(m, r->name);
    if (!s)
        return;
    if (r->state == BATCH_END) {
        s->ended_ms = r->when_ms;
        s->ended_settings = r->settings;
        s->left = strtoull(r->data, NULL, 10);
        return;
    }
    s->begun_ms = r->when_ms;
    s->settings = r->settings;
    s->total = r->size;
    s->sum = (uint64_t)r->mtime_ns;
    s->own = r->out_size;
    if (r->when_ms < m->when_ms)
        return;
    char *text = strdup(r->detail);
    m->ran_out = m->ran_out || !text;
    free(m->settings_text);
    m->settings_text = text;
    m->when_ms = r->when_ms;
    m->shards = s->shard.count;
    m->b->settings = r->settings;
}

static void see(void *user, const batch_record *r, uint64_t where)
{
    merge *m = user;
    batch_list *list = &m->b->list;
    if (r->state == BATCH_RUN || r->state == BATCH_END) {
        see_run(m, r);
        return;
    }
    if (!batch_list_add_record(list, r, where))
        m->ran_out = true;
}

// Keeps the last word on each picture, of those that are there and that the last settings concern.
static void keep_last(batch *b)
{
    batch_list *list = &b->list;
    size_t kept = 0;
    batch_keep_last_words(list);
    for (size_t i = 0; i < list->count; i++) {
        batch_picture *p = &list->picture[i];
        b->counts.skipped += p->known == BATCH_DONE;
        b->counts.known_failed += p->known == BATCH_FAILED;
        b->counts.begun += p->known == BATCH_BEGUN;
        if (p->known != BATCH_NEW)
            list->picture[kept++] = *p;
    }
    list->count = kept;
}

// The steps that the settings name, as the user would.
static app_exit read_steps(merge *m)
{
    json_t *root = m->settings_text ? json_loads(m->settings_text, 0, NULL) : NULL, *step;
    const json_t *steps = json_object_get(root, "steps");
    char text[256] = "";
    size_t i;
    json_array_foreach(steps, i, step)
    {
        const char *name = json_string_value(json_object_get(step, "step"));
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%s%s", used ? "," : "", name ? name : "?");
    }
    m->b->notes = json_incref(json_object_get(root, "notes"));
    json_decref(root);
    if (*text)
        return batch_read_steps(m->b, text);
    app_error("%s: tells of no run; name the output of a batch", m->b->journals);
    return APP_FAILED;
}

// ---- completeness

static void complain(size_t *faults, const char *what, uint64_t index, uint64_t count)
{
    if (++*faults <= 10)
        app_error("shard %" PRIu64 "/%" PRIu64 " %s", index, count, what);
}

// Every shard of the last number of shards has to have ended with the last settings, on one tree.
static size_t check_shards(const merge *m)
{
    size_t faults = 0;
    uint64_t left = 0;
    const shard_words *first = NULL;
    for (uint64_t index = 1; index <= m->shards; index++) {
        const shard_words *s = known_shard(m, index, m->shards);
        if (!s || s->begun_ms == INT64_MIN)
            complain(&faults, "never ran", index, m->shards);
        else if (s->settings != m->b->settings)
            complain(&faults, "ran with other settings", index, m->shards);
        else if (s->ended_ms < s->begun_ms || s->ended_settings != s->settings)
            complain(&faults, "did not come to its end; run it again", index, m->shards);
        else if (first && (s->sum != first->sum || s->total != first->total))
            complain(&faults, "saw another tree than the shards before it", index, m->shards);
        if (s && !first)
            first = s;
        left += s ? s->left : 0;
    }
    // Pictures of runs before that the last one did not look at are known, too.
    uint64_t known = m->b->counts.skipped + m->b->counts.known_failed;
    if (first && known < first->total && left < first->total - known)
        left = first->total - known;
    if (faults == 0 && left) {
        app_error("%" PRIu64 " of %" PRIu64 " pictures are neither done nor failed; run the shards "
                  "again",
                  left, first->total);
        faults++;
    }
    return faults;
}

static void print_summary(const merge *m, bool is_complete)
{
    const batch *b = m->b;
    const char *output = b->session->values.output;
    size_t done = b->counts.skipped, failed = b->counts.known_failed;
    if (!b->session->values.json) {
        app_say(b->session, "%s: %zu %s done, %zu failed, %" PRIu64 " %s: %s", output, done,
                app_plural(done, "picture", "pictures"), failed, m->shards,
                app_plural(m->shards, "shard", "shards"), is_complete ? "complete" : "incomplete");
        return;
    }
    json_t *o = json_object();
    app_set_text(o, "output", output);
    json_object_set_new(o, "done", json_integer((json_int_t)done));
    json_object_set_new(o, "failed", json_integer((json_int_t)failed));
    json_object_set_new(o, "shards", json_integer((json_int_t)m->shards));
    json_object_set_new(o, "complete", json_boolean(is_complete));
    app_put_json(o, JSON_COMPACT);
}

static app_exit conclude(const merge *m, app_exit result)
{
    const batch *b = m->b;
    size_t faults = check_shards(m);
    if (faults > 10)
        app_error("and %zu more", faults - 10);
    print_summary(m, faults == 0);
    if (result == APP_DONE && faults)
        result = APP_FAILED;
    return result == APP_DONE && b->counts.known_failed ? APP_SOME_FAILED : result;
}

static app_exit write_all(batch *b)
{
    app_exit result = batch_check_places(b);
    if (result == APP_DONE)
        result = batch_note_tables(b);
    if (result == APP_DONE)
        result = batch_write_tables(b);
    return result == APP_DONE ? batch_write_report(b) : result;
}

app_exit batch_merge(batch *b, const char *output)
{
    merge m = { .b = b, .when_ms = INT64_MIN };
    b->session->values.output = output;
    b->shard = (batch_shard) { 1, 1 };
    app_exit result = batch_find_places(b);
    if (result == APP_DONE)
        result = batch_history_read(b->journals, see, &m, &b->history);
    if (result == APP_DONE && m.ran_out) {
        app_error("out of memory");
        result = APP_FAILED;
    }
    if (result == APP_DONE)
        result = read_steps(&m);
    if (result == APP_DONE && b->session->values.format)
        result = batch_read_formats(b);
    if (result == APP_DONE)
        result = batch_find_places(b); // now that it is known what was done there
    if (result == APP_DONE) {
        batch_judge_records(b);
        keep_last(b);
        result = conclude(&m, write_all(b));
    }
    free(m.settings_text);
    tdestroy(m.shards_seen, free);
    return result;
}
