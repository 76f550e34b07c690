// SPDX-License-Identifier: MIT
// app/batch_detect.c: the step detect of a batch: objects found in each picture, named anew where
// that is asked for, drawn over it, and written beside it.
#include "batch_detect.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

// The network's own memory, measured for the shipped widths: 60 bytes for a pixel of the resized
// picture with a fixed number of landmarks; pictures of several shapes have a plan each, up to
// four. Beside that a region as bytes and as floats.
#define PLAN_BYTES 96u
#define PLANS 4u
#define REGION_BYTES 15u
#define CLASSIFIER_BYTES ((uint64_t)32 << 20)

typedef struct finder {
    sl_detect *detect;
    sl_model *model;       // the classifier's
    sl_gallery *gallery;   // NULL: none
    sl_classify *classify; // NULL: nothing is named anew
} finder;

// ---- made ready

static void finish(void *state)
{
    finder *f = state;
    if (!f)
        return;
    sl_detect_free(f->detect);
    sl_classify_free(f->classify);
    sl_gallery_free(f->gallery);
    sl_model_free(f->model);
    free(f);
}

static sl_status make_detector(const batch *b, sl_ctx *ctx, const sl_model *model,
                               sl_detect_options *options, finder *f)
{
    const char *list = b->session->values.class_list, **labels = NULL;
    char *text = list ? strdup(list) : NULL;
    sl_status status = list && !text ? SL_ERR_NOMEM : SL_OK;
    if (text && app_detect_classes(b->session, text, &labels, &options->class_count) != APP_DONE)
        status = SL_ERR_NOMEM; // a list that names none was refused before
    options->classes = labels;
    if (status == SL_OK)
        status = sl_detect_new(ctx, model, options, &f->detect);
    free(labels);
    free(text);
    return status;
}

static sl_status make_classifier(const batch *b, sl_ctx *ctx, const sl_detect_options *options,
                                 finder *f)
{
    const app_values *values = &b->session->values;
    bool classifies = batch_has_step(b, &batch_step_classify);
    sl_classify_options own = app_classify_options(b->session);
    if (classifies) // rate and gallery are of that step
        own = (sl_classify_options) { 0 };
    own.device = options->device;
    own.precision = options->precision;
    sl_status status = sl_model_open(ctx, b->refine, &f->model);
    if (status == SL_OK && values->gallery && !classifies)
        status = sl_gallery_open(ctx, values->gallery, f->model, &f->gallery);
    if (status == SL_OK)
        status = sl_classify_new(ctx, f->model, f->gallery, &own, &f->classify);
    return status;
}

// *out is to be finished, whatever comes of it.
static sl_status make(const batch *b, sl_ctx *ctx, const sl_model *model,
                      sl_detect_options *options, finder **out)
{
    *out = calloc(1, sizeof(**out));
    sl_status status = *out ? make_detector(b, ctx, model, options, *out) : SL_ERR_NOMEM;
    if (status == SL_OK && b->refine)
        status = make_classifier(b, ctx, options, *out);
    return status;
}

static sl_status prepare(batch_worker *worker, const sl_model *model, void **state)
{
    const batch *b = worker->batch;
    sl_detect_options options = batch_detect_options(b, worker->device, app_precision(b->session));
    finder *f = NULL;
    sl_status status = make(b, worker->ctx, model, &options, &f);
    *state = f;
    return status;
}

// ---- looked at before anything is made

static uint64_t padded(uint64_t side)
{
    return (side + 31) / 32 * 32;
}

// What a worker's networks need beside their models, by the sides that pictures are scaled to.
static sl_status count_memory(batch *b, const sl_model *model)
{
    const sl_detect_options options = batch_detect_options(b, NULL, SL_PRECISION_F32);
    char *text = NULL;
    sl_status status = sl_model_describe(b->session->ctx, model, 0, 0, false, &text);
    json_t *root = text ? json_loads(text, 0, NULL) : NULL;
    const json_t *image = json_object_get(json_object_get(root, "config"), "image");
    uint64_t sides[2] = { options.long_side, options.short_side };
    for (size_t i = 0; i < APP_LEN(sides); i++) {
        json_int_t own = json_integer_value(json_array_get(image, i));
        if (!sides[i])
            sides[i] = own > 0 && own <= 65536 ? (uint64_t)own : 1024;
    }
    b->network_bytes = padded(sides[0]) * padded(sides[1]) * (PLANS * PLAN_BYTES + REGION_BYTES);
    b->network_bytes += b->refine ? CLASSIFIER_BYTES : 0;
    json_decref(root);
    free(text);
    return status;
}

static app_exit note(batch *b, const finder *f)
{
    size_t count;
    const char *const *labels = sl_detect_labels(f->detect, &count);
    json_t *list = json_array(), *own = json_object();
    for (size_t i = 0; i < count; i++) {
        char *label = app_utf8(labels[i]);
        json_array_append_new(list, label ? json_string(label) : NULL);
        free(label);
    }
    bool ok = json_array_size(list) == count;
    json_object_set_new(own, "labels", list);
    json_object_set_new(own, "formats", batch_table_notes(b));
    if (!ok) {
        json_decref(own);
        own = NULL;
    }
    return batch_add_notes(b, &batch_step_detect, own);
}

static sl_status find_classifier(batch *b)
{
    if (!batch_detect_refines(b))
        return SL_OK;
    return app_find_model(b->session->ctx, b->session->values.refine, "soft", &b->refine);
}

// On the processor, which every machine has: whether labels, classifier and gallery are there is
// to be known before a journal is begun.
static app_exit look(batch *b)
{
    sl_detect_options options = batch_detect_options(b, "cpu", SL_PRECISION_F32);
    size_t own = 0;
    sl_model *model = NULL;
    finder *f = NULL;
    while (b->step[own] != &batch_step_detect)
        own++;
    sl_status status = sl_model_open(b->session->ctx, b->model[own], &model);
    if (status == SL_OK)
        status = find_classifier(b);
    if (status == SL_OK)
        status = make(b, b->session->ctx, model, &options, &f);
    if (status == SL_OK)
        status = count_memory(b, model);
    app_exit result = status == SL_OK ? note(b, f) : app_fail(b->session, status);
    finish(f);
    sl_model_free(model);
    return result;
}

// ---- a picture

static sl_status run(void *state, const batch *b, batch_item *item)
{
    const finder *f = state;
    sl_detections *found = NULL;
    (void)b;
    sl_status status = sl_detect_run(f->detect, item->image, &found);
    if (status == SL_OK && f->classify)
        status = sl_detections_refine(f->classify, item->image, found);
    json_t *json = status == SL_OK ? batch_found_json(found) : NULL;
    if (status == SL_OK &&
        (!json || json_object_set_new(item->found, batch_step_detect.name, json) != 0))
        status = SL_ERR_NOMEM;
    sl_detections_free(found);
    return status;
}

static void draw(const batch *b, sl_ctx *ctx, batch_item *item, const sl_detections *found)
{
    if (app_detect_draw(&b->session->values, ctx, item->image, found) != SL_OK)
        batch_item_fail(item, BATCH_AGAIN, "%s: cannot be drawn on: %s", item->picture->path,
                        sl_ctx_message(ctx));
    if (found->count) // a file that is linked would not show it
        item->is_unchanged = false;
}

static void write_data(const batch *b, sl_ctx *ctx, batch_item *item, const sl_detections *found)
{
    bool is_labelme = b->data_formats & BATCH_FORMAT(SL_DETECT_LABELME);
    char *path = batch_join(b->folder, item->picture->data);
    int error = path ? batch_make_parents(path) : ENOMEM;
    char message[1024];
    if (error) {
        snprintf(message, sizeof(message), "%s: its folder cannot be made: %s", item->picture->data,
                 strerror(error));
        batch_item_cannot_write(b, item, message, error);
    }
    errno = 0;
    sl_status status =
        error ? SL_OK
              : app_detect_write(ctx, path, is_labelme ? SL_DETECT_LABELME : SL_DETECT_JSON,
                                 b->session->values.overwrite || item->picture->is_data_ours,
                                 item->picture->path, found);
    if (status == SL_ERR_EXISTS) // the picture itself is not yet written
        batch_item_taken(b, item, path, item->picture->is_ours ? item->picture->target : NULL,
                         NULL);
    else if (status != SL_OK)
        batch_item_cannot_write(b, item, sl_ctx_message(ctx), errno);
    free(path);
}

static void emit(const batch *b, sl_ctx *ctx, batch_item *item)
{
    const char **labels = NULL;
    size_t count = 0;
    sl_detections found = { .items = NULL };
    if (!batch_found_labels(b, &labels, &count) ||
        !batch_found_read(json_object_get(item->found, batch_step_detect.name), labels, count,
                          &found))
        batch_item_fail(item, BATCH_AGAIN, "%s: out of memory", item->picture->path);
    if (item->fault == BATCH_FINE && b->session->values.overlay)
        draw(b, ctx, item, &found);
    if (item->fault == BATCH_FINE && item->picture->data)
        write_data(b, ctx, item, &found);
    free(found.items);
    free(labels);
}

static const char *label(const json_t *found, size_t i)
{
    const json_t *object = json_array_get(json_object_get(found, "objects"), i);
    return json_string_value(json_object_get(object, "label"));
}

const batch_step batch_step_detect = {
    .name = "detect",
    .architecture = "soft-retinanet",
    .check = batch_check_detect,
    .open = look,
    .settings = batch_detect_settings,
    .prepare = prepare,
    .finish = finish,
    .run = run,
    .emit = emit,
    .label = label,
    .tables = batch_write_detections,
};
