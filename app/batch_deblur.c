// SPDX-License-Identifier: MIT
// app/batch_deblur.c: the step deblur of a batch.
#include "batch.h"

#include <jansson.h>

static app_exit check(const batch *b)
{
    const app_values *values = &b->session->values;
    if (values->dense && values->keep_threshold > 0)
        return app_usage(b->session->command, "--dense and --keep-threshold contradict each other");
    if (values->dense && values->min_blur > 0)
        return app_usage(b->session->command,
                         "--dense and --min-blur contradict each other: every window is computed");
    return APP_DONE;
}

static void settings(const batch *b, json_t *object)
{
    const app_values *values = &b->session->values;
    json_object_set_new(object, "keep_threshold", json_real((double)values->keep_threshold));
    json_object_set_new(object, "dense", json_boolean(values->dense));
    if (values->tta)
        json_object_set_new(object, "views", json_integer(app_views(values)));
    if (values->shrink != 1) // without the word: full size alone, as it once always was
        json_object_set_new(object, "shrink", json_integer((json_int_t)values->shrink));
    json_object_set_new(object, "min_blur", json_real((double)values->min_blur));
    json_object_set_new(object, "tile", json_integer((json_int_t)values->tile));
    json_object_set_new(object, "tile_bytes", json_integer((json_int_t)b->tile_bytes));
    app_set_text(object, "format", values->format);
    json_object_set_new(object, "quality", json_integer((json_int_t)values->quality));
    json_object_set_new(object, "strip_metadata", json_boolean(values->strip_metadata));
}

static sl_status prepare(batch_worker *worker, const sl_model *model, void **state)
{
    const app_values *values = &worker->batch->session->values;
    sl_deblur_options options = { .device = worker->device,
                                  .keep_threshold = values->keep_threshold,
                                  .dense = values->dense,
                                  .memory_bytes = worker->batch->tile_bytes,
                                  .tile = (uint32_t)values->tile,
                                  .views = app_views(values),
                                  .shrink = (uint32_t)values->shrink,
                                  .precision = app_precision(worker->batch->session) };
    return sl_deblur_new(worker->ctx, model, &options, (sl_deblur **)state);
}

static void finish(void *state)
{
    sl_deblur_free(state);
}

static sl_status run(void *state, const batch *b, batch_item *item)
{
    double least = (double)b->session->values.min_blur;
    sl_image *out = NULL;
    sl_deblur_report report;
    sl_status status = sl_deblur_run(state, item->image, &out, NULL, &report);
    if (status != SL_OK)
        return status;
    item->is_unchanged = least > 0 && report.blurred_share <= least;
    if (item->is_unchanged) {
        sl_image_free(out);
    } else {
        sl_image_free(item->image);
        item->image = out;
    }
    json_t *found = json_object();
    json_object_set_new(found, "width", json_integer(report.width));
    json_object_set_new(found, "height", json_integer(report.height));
    json_object_set_new(found, "tiles", json_integer(report.tiles));
    json_object_set_new(found, "kept_share", json_real(report.kept_share));
    json_object_set_new(found, "blurred_share", json_real(report.blurred_share));
    json_object_set_new(found, "unchanged", json_boolean(item->is_unchanged));
    json_object_set_new(item->found, batch_step_deblur.name, found);
    return SL_OK;
}

const batch_step batch_step_deblur = {
    .name = "deblur",
    .architecture = "lmd-vit",
    .changes_picture = true,
    .check = check,
    .settings = settings,
    .prepare = prepare,
    .finish = finish,
    .run = run,
};
