// SPDX-License-Identifier: MIT
// app/batch_classify.c: the step classify of a batch: labels, and pictures sorted by them.
#include "answers.h"
#include "batch.h"
#include "jobs.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FOLDER_NAME 200

typedef struct classifier {
    sl_gallery *gallery;
    sl_classify *classify;
} classifier;

static app_exit check(const batch *b)
{
    return app_classify_check(b->session);
}

static void settings(const batch *b, json_t *object)
{
    const app_values *values = &b->session->values;
    char hash[BATCH_HASH_BYTES] = "";
    if (values->gallery)
        batch_hash_file(values->gallery, hash); // one that cannot be read is refused by prepare
    app_set_text(object, "gallery", hash);
    json_object_set_new(object, "top", json_integer((json_int_t)app_top(values)));
    json_object_set_new(object, "unknown_rate", json_real((double)values->unknown_rate));
    json_object_set_new(object, "no_unknown", json_boolean(values->no_unknown));
    json_object_set_new(object, "only_gallery", json_boolean(values->only_gallery));
    char *folder = batch_sort_folder(b);
    app_set_text(object, "sort_into", folder);
    free(folder);
}

static void finish(void *state)
{
    classifier *c = state;
    if (!c)
        return;
    sl_classify_free(c->classify);
    sl_gallery_free(c->gallery);
    free(c);
}

static sl_status prepare(batch_worker *worker, const sl_model *model, void **state)
{
    const app_values *values = &worker->batch->session->values;
    sl_classify_options options = app_classify_options(worker->batch->session);
    options.device = worker->device;
    classifier *c = calloc(1, sizeof(*c));
    sl_status status = c ? SL_OK : SL_ERR_NOMEM;
    if (c && values->gallery)
        status = sl_gallery_open(worker->ctx, values->gallery, model, &c->gallery);
    if (status == SL_OK)
        status = sl_classify_new(worker->ctx, model, c->gallery, &options, &c->classify);
    *state = c;
    return status;
}

// A label as the name of a folder: one that leads nowhere else and is not hidden.
static void make_folder_name(char *label)
{
    label[app_cut(label, MAX_FOLDER_NAME)] = '\0';
    for (char *at = label; *at; at++)
        if (*at == '/' || (unsigned char)*at < 0x20 || (at == label && *at == '.'))
            *at = '_';
}

static sl_status run(void *state, const batch *b, batch_item *item)
{
    classifier *c = state;
    const app_values *values = &b->session->values;
    sl_classification *found = NULL;
    sl_status status = sl_classify_run(c->classify, item->image, app_top(values), &found);
    if (status != SL_OK)
        return status;
    json_t *object = json_object();
    app_set_classification(object, found);
    if (values->sort_into) {
        item->sort_label =
            strdup(found->is_unknown || !found->count ? "unknown" : found->matches[0].label);
        if (item->sort_label)
            make_folder_name(item->sort_label);
        app_set_text(object, "sorted", item->sort_label);
    }
    json_object_set_new(item->found, batch_step_classify.name, object);
    sl_classification_free(found);
    return values->sort_into && !item->sort_label ? SL_ERR_NOMEM : SL_OK;
}

static char *sorted_path(const batch *b, const batch_item *item, const char *folder)
{
    const batch_picture *p = item->picture;
    char *under = batch_join(b->session->values.sort_into, folder);
    char *path = under ? batch_join(under, p->target ? p->target : p->name) : NULL;
    free(under);
    return path;
}

// Where the journals say that the picture was sorted to before.
typedef struct sorted {
    char *folder;  // malloc'ed; NULL: nowhere
    uint64_t size; // of the file; UINT64_MAX: it went into another --sort-into
} sorted;

// Journals come from outside: the folder is one that make_folder_name could have made.
static bool is_folder_name(const char *name)
{
    return name && *name && *name != '.' && !strchr(name, '/');
}

static sorted sorted_before(const batch *b, const batch_item *item)
{
    sorted out = { .size = UINT64_MAX };
    batch_record record;
    char *line = NULL;
    uint64_t done = item->picture->done;
    if (done && batch_read_record(&b->history, done - 1, &record, &line)) {
        json_t *root = json_loads(record.detail, 0, NULL);
        const json_t *found = json_object_get(root, batch_step_classify.name);
        const char *folder = json_string_value(json_object_get(found, "sorted"));
        if (is_folder_name(folder))
            out.folder = strdup(folder);
        if (batch_sorts_alike(b, record.settings))
            out.size = record.out_size != UINT64_MAX ? record.out_size : record.size;
        json_decref(root);
    }
    free(line);
    return out;
}

// The file that is sorted.
static const char *sorted_file(const batch_item *item)
{
    return item->output ? item->output : item->picture->path;
}

// Another name of the picture or of its output, which may have been the same file when it was
// sorted.
static bool is_link(const batch_item *item, const char *path, const struct stat *there)
{
    const batch_picture *p = item->picture;
    struct stat file;
    bool is_it = (there->st_dev == p->dev && there->st_ino == p->ino) ||
                 (stat(sorted_file(item), &file) == 0 && file.st_dev == there->st_dev &&
                  file.st_ino == there->st_ino);
    return is_it && !batch_is_same_place(path, p->path) &&
           !batch_is_same_place(path, sorted_file(item));
}

// What is there is a link to the picture, or by its size the file that was put there.
static bool is_own(const batch *b, const batch_item *item, const char *path, uint64_t size)
{
    struct stat there;
    if (lstat(path, &there) != 0 || !S_ISREG(there.st_mode))
        return false;
    return is_link(item, path, &there) ||
           ((uint64_t)there.st_size == size && !batch_is_input(&b->list, &there));
}

// Where the picture was sorted to before, by another label, it is no more.
static void unsort(const batch *b, const batch_item *item, const sorted *before)
{
    if (!before->folder || strcmp(before->folder, item->sort_label) == 0)
        return;
    char *path = sorted_path(b, item, before->folder);
    if (path && is_own(b, item, path, before->size))
        unlink(path);
    free(path);
}

static bool has_same_bytes(const char *path, const char *other)
{
    char a[BATCH_HASH_BYTES], b[BATCH_HASH_BYTES];
    struct stat x, y;
    return lstat(path, &x) == 0 && S_ISREG(x.st_mode) && stat(other, &y) == 0 &&
           x.st_size == y.st_size && batch_hash_file(path, a) && batch_hash_file(other, b) &&
           strcmp(a, b) == 0;
}

static bool may_replace(const batch *b, const batch_item *item, const char *path,
                        const sorted *before)
{
    struct stat there;
    if (lstat(path, &there) != 0 ||
        (batch_is_input(&b->list, &there) && !is_link(item, path, &there)))
        return false;
    return b->session->values.overwrite ||
           (before->folder && strcmp(before->folder, item->sort_label) == 0 &&
            is_own(b, item, path, before->size));
}

static int write_sorted(const batch *b, batch_item *item)
{
    if (!item->sort_label)
        return 0;
    sorted before = sorted_before(b, item);
    char *path = sorted_path(b, item, item->sort_label);
    const char *file = sorted_file(item);
    int error = path ? batch_link_or_copy(file, path, may_replace(b, item, path, &before)) : ENOMEM;
    if (error == EEXIST && has_same_bytes(path, file)) // a copy that a killed run left
        error = 0;
    if (error == EEXIST && app_interrupted()) { // before it was known whether they are
        batch_item_fail(item, BATCH_DROPPED, "interrupted");
        error = 0;
    } else if (error == EEXIST) {
        batch_item_fail(item, BATCH_AGAIN,
                        "%s: exists and was not made by a batch, so %s is not sorted there; name "
                        "another --sort-into or add --overwrite",
                        path, item->picture->path);
        error = 0;
    } else if (!error) {
        unsort(b, item, &before);
    }
    free(before.folder);
    free(path);
    return error;
}

static const char *label(const json_t *found, size_t i)
{
    const json_t *best = json_array_get(json_object_get(found, "matches"), 0);
    if (i > 0)
        return NULL;
    return json_is_true(json_object_get(found, "unknown"))
               ? "unknown"
               : json_string_value(json_object_get(best, "label"));
}

const batch_step batch_step_classify = {
    .name = "classify",
    .architecture = "soft",
    .check = check,
    .open = batch_note_labels,
    .settings = settings,
    .prepare = prepare,
    .finish = finish,
    .run = run,
    .write = write_sorted,
    .label = label,
    .table = batch_write_labels,
    .table_name = batch_name_labels,
};
