// SPDX-License-Identifier: MIT
// app/batch_plan.c: what is done already, by what the journals say, and what is left.
#include "batch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_SECONDS 2.0 // that a watched file has to stay as it is

// ---- settings: what decides the results, and nothing else

app_exit batch_find_settings(batch *b)
{
    const app_values *values = &b->session->values;
    json_t *root = json_object(), *steps = json_array();
    app_exit result = APP_DONE;
    for (size_t i = 0; i < b->step_count && result == APP_DONE; i++) {
        char hash[BATCH_HASH_BYTES] = "";
        json_t *step = json_object();
        if (!batch_hash_file(b->model[i], hash) && app_interrupted()) {
            result = app_fail(b->session, SL_ERR_CANCELLED);
        } else if (!*hash) {
            app_error("%s: cannot be read: %s", b->model[i], strerror(errno));
            result = APP_FAILED;
        }
        app_set_text(step, "step", b->step[i]->name);
        app_set_text(step, "model", hash);
        b->step[i]->settings(b, step);
        json_array_append_new(steps, step);
    }
    json_object_set_new(root, "steps", steps);
    json_object_set_new(root, "max_pixels", json_integer((json_int_t)values->max_pixels));
    json_object_set_new(root, "allow_truncated", json_boolean(values->allow_truncated));
    app_set_text(root, "precision", sl_precision_name(app_precision(b->session)));
    app_set_text(root, "version", sl_version());
    b->settings_text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(7));
    if (b->settings_text)
        b->settings = batch_hash_text(b->settings_text);
    if (b->settings_text && b->notes) { // which are told, and decide nothing
        free(b->settings_text);
        json_object_set(root, "notes", b->notes);
        b->settings_text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(7));
    }
    json_decref(root);
    if (!b->settings_text && result == APP_DONE) {
        app_error("out of memory");
        result = APP_FAILED;
    }
    return result;
}

// ---- what the journals say

static int compare_name(const void *key, const void *item)
{
    return strcmp(key, ((const batch_picture *)item)->name);
}

static batch_picture *find_among(batch_picture *pictures, size_t count, const char *name)
{
    if (!count) // an empty list has no array
        return NULL;
    return bsearch(name, pictures, count, sizeof(*pictures), compare_name);
}

static batch_picture *find_picture(const batch *b, const char *name)
{
    return find_among(b->list.picture, b->list.count, name);
}

// Also those of other shards.
static bool was_found(const batch *b, const char *name)
{
    const batch_list *list = &b->list;
    return find_picture(b, name) ||
           find_among(list->picture + list->count, list->total - list->count, name);
}

static batch_known judge(const batch *b, const batch_picture *p, const batch_record *r)
{
    bool is_same_file = p->size == r->size && p->mtime_ns == r->mtime_ns;
    if (r->state == BATCH_START)
        return BATCH_BEGUN;
    if (r->settings != b->settings || strcmp(r->output, p->target ? p->target : "") != 0 ||
        strcmp(r->data, p->data ? p->data : "") != 0)
        return BATCH_NEW;
    if (r->state == BATCH_BROKEN)
        return is_same_file ? BATCH_FAILED : BATCH_NEW;
    return is_same_file ? BATCH_DONE : BATCH_CHANGED;
}

static void see_end(batch *b, const batch_record *r)
{
    char shard[64];
    snprintf(shard, sizeof(shard), "%" PRIu64 "/%" PRIu64, b->shard.index, b->shard.count);
    if (strcmp(r->name, shard) != 0 || r->when_ms < b->ended.when_ms)
        return;
    b->ended = *r;
    if (strcmp(r->detail, b->settings_text) != 0) // its tables may be of another form
        b->ended.settings = ~b->settings;
    b->ended.hash = b->ended.name = b->ended.output = b->ended.data = b->ended.detail = NULL;
}

bool batch_is_settled(const batch *b)
{
    return b->todo_count == 0 && b->ended.settings == b->settings &&
           b->ended.when_ms > b->last_ms && b->ended.size == b->list.total &&
           b->ended.mtime_ns == (int64_t)b->list.sum;
}

bool batch_sorts_alike(const batch *b, uint64_t settings)
{
    bool is_alike = settings == b->settings;
    for (size_t i = 0; i < b->sorting_count && !is_alike; i++)
        is_alike = b->sorting[i] == settings;
    return is_alike;
}

char *batch_sort_folder(const batch *b)
{
    char *text = b->session->values.sort_into ? app_utf8(b->session->values.sort_into) : NULL;
    for (size_t length = text ? strlen(text) : 0; length > 1 && text[length - 1] == '/'; length--)
        text[length - 1] = '\0';
    return text;
}

static void see_run(batch *b, const batch_record *r)
{
    if (!b->session->values.sort_into || batch_sorts_alike(b, r->settings))
        return;
    char *text = batch_sort_folder(b);
    json_t *root = json_loads(r->detail, 0, NULL), *step;
    bool is_alike = false;
    size_t i;
    json_array_foreach(json_object_get(root, "steps"), i, step)
    {
        const char *folder = json_string_value(json_object_get(step, "sort_into"));
        is_alike = is_alike || (text && folder && strcmp(folder, text) == 0);
    }
    uint64_t *grown =
        is_alike ? reallocarray(b->sorting, b->sorting_count + 1, sizeof(*grown)) : NULL;
    if (grown) { // else what was sorted then stays where it is
        b->sorting = grown;
        grown[b->sorting_count++] = r->settings;
    }
    json_decref(root);
    free(text);
}

static int by_target(const void *a, const void *b, void *pictures)
{
    const batch_picture *all = pictures;
    return strcmp(all[*(const size_t *)a].target, all[*(const size_t *)b].target);
}

static bool sort_targets(batch *b)
{
    const batch_list *list = &b->list;
    free(b->by_target);
    b->target_count = 0;
    b->by_target = calloc(list->count + 1, sizeof(*b->by_target));
    for (size_t i = 0; i < list->count && b->by_target; i++)
        if (list->picture[i].target)
            b->by_target[b->target_count++] = i;
    if (b->target_count)
        qsort_r(b->by_target, b->target_count, sizeof(*b->by_target), by_target, list->picture);
    return b->by_target != NULL;
}

static batch_picture *find_target(const batch *b, const char *target)
{
    size_t first = 0, end = b->target_count;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        batch_picture *p = &b->list.picture[b->by_target[middle]];
        int order = strcmp(target, p->target);
        if (order == 0)
            return p;
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return NULL;
}

// The a.png that was made of a.jpg stands where the output of a later a.png goes. It may be
// replaced where a.jpg was found, too, and is given another place: else its result would be lost.
static void note_output(const batch *b, const batch_record *r)
{
    batch_picture *p = find_target(b, r->output);
    if (!p || r->when_ms < p->made_ms)
        return;
    p->made_ms = r->when_ms;
    p->is_ours = strcmp(r->name, p->name) == 0;
    p->is_of_another = !p->is_ours && was_found(b, r->name);
}

static void see(void *user, const batch_record *r, uint64_t where)
{
    batch *b = user;
    if (r->state == BATCH_RUN) {
        b->operands = strtoull(r->hash, NULL, 16);
        see_run(b, r);
    }
    if (r->state == BATCH_END)
        see_end(b, r);
    if (r->state != BATCH_START && r->state != BATCH_GOOD && r->state != BATCH_BROKEN &&
        r->state != BATCH_GONE)
        return;
    if (r->state == BATCH_GOOD)
        note_output(b, r);
    batch_picture *p = find_picture(b, r->name);
    if (!p) {
        batch_note_absent(b, r, where);
        return;
    }
    if (r->state == BATCH_GONE) {
        p->gone_ms = r->when_ms > p->gone_ms ? r->when_ms : p->gone_ms;
        return;
    }
    if (r->when_ms > b->last_ms)
        b->last_ms = r->when_ms;
    bool is_target = p->target && strcmp(r->output, p->target) == 0;
    bool is_data = p->data && strcmp(r->data, p->data) == 0;
    p->is_data_ours = p->is_data_ours || (is_data && r->state == BATCH_GOOD);
    if (r->state == BATCH_GOOD && r->when_ms >= p->done_ms) {
        p->done = where + 1;
        p->done_ms = r->when_ms;
    }
    if (r->when_ms < p->when_ms)
        return;
    p->is_begun = is_target && r->state == BATCH_START;
    p->is_data_begun = is_data && r->state == BATCH_START;
    p->when_ms = r->when_ms;
    p->known = judge(b, p, r);
    p->out_size = r->out_size;
    p->record = where + 1;
}

app_exit batch_read_history(batch *b)
{
    for (size_t i = 0; i < b->list.count; i++) {
        batch_picture *p = &b->list.picture[i];
        p->known = BATCH_NEW;
        p->when_ms = p->done_ms = p->gone_ms = p->made_ms = INT64_MIN;
        p->record = p->done = 0;
        p->is_ours = p->is_data_ours = p->is_begun = p->is_data_begun = p->is_of_another = false;
    }
    b->ended = (batch_record) { .when_ms = INT64_MIN };
    b->last_ms = INT64_MIN;
    b->operands = 0;
    b->sorting_count = 0;
    batch_list_free(&b->absent);
    batch_history_free(&b->history);
    if (!sort_targets(b)) {
        app_error("out of memory");
        return APP_FAILED;
    }
    app_exit result = batch_history_read(b->journals, see, b, &b->history);
    for (size_t i = 0; i < b->list.count; i++) {
        batch_picture *p = &b->list.picture[i];
        p->is_ours = p->is_ours || p->is_begun;
        p->is_data_ours = p->is_data_ours || p->is_data_begun;
    }
    if (result == APP_DONE && b->history.damaged && !b->session->values.quiet)
        app_error("warning: %s: %zu damaged %s left out; what they told is done again", b->journals,
                  b->history.damaged, app_plural(b->history.damaged, "line is", "lines are"));
    return result;
}

bool batch_list_add_record(batch_list *list, const batch_record *r, uint64_t where)
{
    struct stat st = { .st_size = (off_t)r->size };
    if (!batch_list_add(list, r->name, r->name, &st))
        return false;
    batch_picture *p = &list->picture[list->count - 1];
    p->path = NULL;
    p->mtime_ns = r->mtime_ns;
    p->settings = r->settings;
    p->when_ms = r->when_ms;
    p->record = where + 1;
    p->out_size = r->out_size;
    p->known = r->state == BATCH_GOOD     ? BATCH_DONE
               : r->state == BATCH_BROKEN ? BATCH_FAILED
               : r->state == BATCH_START  ? BATCH_BEGUN
                                          : BATCH_NEW;
    if (*r->output)
        p->target =
            strcmp(r->output, p->name) == 0 ? p->name : batch_texts_add(&list->texts, r->output);
    return !*r->output || p->target;
}

void batch_judge_records(batch *b)
{
    for (size_t i = 0; i < b->list.count; i++)
        if (b->list.picture[i].settings != b->settings)
            b->list.picture[i].known = BATCH_NEW;
}

// ---- what is left

typedef struct picking {
    batch *b;
    int folder; // the mirrored tree; -1: there is none yet
} picking;

// Whether the output that the journal tells of is there as it was.
static bool is_output_there(const picking *k, const batch_picture *p)
{
    struct stat st;
    if (p->data && (k->folder < 0 || fstatat(k->folder, p->data, &st, 0) != 0 || st.st_size == 0))
        return false;
    if (!p->target || p->out_size == UINT64_MAX)
        return !p->target;
    return k->folder >= 0 && fstatat(k->folder, p->target, &st, 0) == 0 &&
           (uint64_t)st.st_size == p->out_size;
}

// A picture in the output folder that is worked on where it lies. One that is linked there, as
// --min-blur does, has another place.
static bool is_itself(const picking *k, const batch_picture *p, const char *name,
                      const struct stat *st)
{
    char *path = batch_join(k->b->folder, name);
    bool is_it = st->st_dev == p->dev && st->st_ino == p->ino &&
                 (!path || batch_is_same_place(path, p->path));
    free(path);
    return is_it;
}

// A file that stands where the output goes and is none of ours stays, unless we are told.
static bool may_write(const picking *k, const batch_picture *p, const char *name, bool is_ours)
{
    struct stat st;
    if (!name || k->folder < 0 || fstatat(k->folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        (is_ours && !is_itself(k, p, name, &st)))
        return true;
    bool is_own = batch_is_input(&k->b->list, &st);
    bool is_of_lost = name == p->target && p->made_ms != INT64_MIN && !p->is_ours;
    if (!is_own && k->b->session->values.overwrite)
        return true;
    app_error(is_own ? "%s/%s: is a picture to work on and also the place of %s's output; name "
                       "another output folder"
              : is_of_lost
                  ? "%s/%s: was made of another picture, which this run does not find, so %s is "
                    "left out; name another output folder or add --overwrite"
                  : "%s/%s: exists and was not made of %s by a batch; name another output folder "
                    "or add --overwrite",
              k->b->folder, name, p->path);
    return false;
}

// Younger than a moment: whoever writes it may not have ended.
static bool may_grow(const batch *b, const batch_picture *p)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double age = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec - 1e-9 * (double)p->mtime_ns;
    return b->watch >= 0 && age > -SETTLE_SECONDS && age < SETTLE_SECONDS;
}

// Unless it is by now one of the pictures to work on.
static void take_over(const picking *k, batch_picture *p)
{
    struct stat st;
    if (p->is_of_another && k->folder >= 0 &&
        fstatat(k->folder, p->target, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        !batch_is_input(&k->b->list, &st))
        p->is_ours = true;
}

static void remove_leftovers(const batch *b, const char *name)
{
    char *path = name ? batch_join(b->folder, name) : NULL;
    if (path)
        batch_remove_parts(path);
    free(path);
}

static void pick(picking *k, size_t index)
{
    batch *b = k->b;
    batch_picture *p = &b->list.picture[index];
    bool retry = b->session->values.retry_failed;
    if ((p->known == BATCH_DONE || p->known == BATCH_CHANGED) && !is_output_there(k, p))
        p->known = BATCH_NEW;
    if (p->known == BATCH_BEGUN && !b->session->values.dry_run) {
        remove_leftovers(b, p->target);
        remove_leftovers(b, p->data);
    }
    take_over(k, p);
    if (p->known == BATCH_DONE)
        b->counts.skipped++;
    else if (p->known == BATCH_FAILED && !retry)
        b->counts.known_failed++;
    else if (may_grow(b, p))
        b->growing++;
    else if (may_write(k, p, p->target, p->is_ours) && may_write(k, p, p->data, p->is_data_ours))
        b->todo[b->todo_count++] = index;
    else
        b->counts.failed++;
}

app_exit batch_plan(batch *b)
{
    picking k = { .b = b, .folder = -1 };
    app_exit result = batch_read_history(b);
    b->counts = (batch_counts) { .failed = b->list.failed };
    b->todo_count = b->growing = 0;
    free(b->todo);
    b->todo = calloc(b->list.count + 1, sizeof(*b->todo));
    if (result == APP_DONE && !b->todo) {
        app_error("out of memory");
        result = APP_FAILED;
    }
    if (b->folder)
        k.folder = open(b->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < b->list.count && result == APP_DONE; i++)
        pick(&k, i);
    if (k.folder >= 0)
        close(k.folder);
    return result;
}
