// SPDX-License-Identifier: MIT
// app/batch_classify.c: the step classify of a batch: labels, and pictures sorted by them.
#include "answers.h"
#include "batch.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_TOP 5
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
    json_object_set_new(object, "top", json_integer((json_int_t)values->top));
    json_object_set_new(object, "unknown_rate", json_real((double)values->unknown_rate));
    json_object_set_new(object, "no_unknown", json_boolean(values->no_unknown));
    json_object_set_new(object, "only_gallery", json_boolean(values->only_gallery));
    app_set_text(object, "sort_into", values->sort_into);
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
    size_t length = strlen(label);
    if (length > MAX_FOLDER_NAME)
        for (length = MAX_FOLDER_NAME; length && ((unsigned char)label[length] & 0xC0) == 0x80;)
            length--;
    label[length] = '\0';
    for (char *at = label; *at; at++)
        if (*at == '/' || (unsigned char)*at < 0x20 || (at == label && *at == '.'))
            *at = '_';
}

static sl_status run(void *state, const batch *b, batch_item *item)
{
    classifier *c = state;
    const app_values *values = &b->session->values;
    sl_classification *found = NULL;
    sl_status status =
        sl_classify_run(c->classify, item->image, values->top ? values->top : DEFAULT_TOP, &found);
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

// Where the picture was sorted to before, by another label, it is no more.
static void unsort(const batch *b, const batch_item *item)
{
    batch_record record;
    char *line = NULL;
    if (!item->picture->record ||
        !batch_read_record(&b->history, item->picture->record - 1, &record, &line)) {
        free(line);
        return;
    }
    json_t *root = json_loads(record.detail, 0, NULL);
    const json_t *found = json_object_get(root, batch_step_classify.name);
    const char *before = json_string_value(json_object_get(found, "sorted"));
    char *path = before && strcmp(before, item->sort_label) != 0 && !strchr(before, '/')
                     ? sorted_path(b, item, before)
                     : NULL;
    if (path)
        unlink(path);
    free(path);
    json_decref(root);
    free(line);
}

static int write_sorted(const batch *b, batch_item *item)
{
    if (!item->sort_label)
        return 0;
    char *path = sorted_path(b, item, item->sort_label);
    int error =
        path ? batch_link_or_copy(item->output ? item->output : item->picture->path, path, true)
             : ENOMEM;
    if (!error)
        unsort(b, item);
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
    .settings = settings,
    .prepare = prepare,
    .finish = finish,
    .run = run,
    .write = write_sorted,
    .label = label,
    .table = batch_write_labels,
    .table_name = batch_name_labels,
};
