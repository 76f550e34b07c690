// SPDX-License-Identifier: MIT
// pipeline/detect.c: what is in a photograph and where: a detector made ready, candidates, boxes
// joined by Soft-NMS.
#include "pipeline/detect.h"

#include <math.h>

#define LARGEST_SIDE 4096u
#define LEAST_TILE 32u
#define DEFAULT_SCORE 0.3f // where the model's file names none

// ---- a picture

sl_status sl_detect_join(sl_detect *d, sl_nms nms, size_t most)
{
    const sl_nms_options options = { .kind = nms,
                                     .iou = nms == d->options.nms ? d->options.iou : 0,
                                     .sigma = d->options.sigma };
    double start = sl_trace_start(d->ctx);
    sl_status st = sl_nms_all(d->ctx, d->boxes, &d->count, &options, most);
    sl_trace_end(d->ctx, "nms", start);
    return st;
}

static sl_status give(const sl_detect *d, const sl_image *image, sl_detections **out)
{
    size_t count = 0;
    while (count < d->count && d->boxes[count].score >= d->options.score)
        count++;
    sl_detections *found = sl_alloc(d->ctx, 1, sizeof(*found));
    sl_detection *items = sl_alloc(d->ctx, count ? count : 1, sizeof(*items));
    if (!found || !items) {
        free(found);
        free(items);
        return SL_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const sl_scored *s = &d->boxes[i];
        const char *label = d->labels[s->label];
        items[i] = (sl_detection) { s->box.x1, s->box.y1, s->box.x2, s->box.y2, s->score,
                                    s->label,  label,     label,     NAN };
    }
    *found = (sl_detections) { .count = count,
                               .items = items,
                               .width = image->width,
                               .height = image->height,
                               .label_count = d->label_count,
                               .labels = d->labels,
                               .fell_back = sl_device_fell_back(d->device) };
    memcpy(found->device, d->last->network.plan->device, sizeof(found->device));
    *out = found;
    return SL_OK;
}

sl_status sl_detect_run(sl_detect *d, const sl_image *image, sl_detections **out)
{
    double start = sl_seconds(), traced = sl_trace_start(d->ctx);
    *out = NULL;
    sl_status st = sl_detect_look(d, image);
    if (st == SL_OK)
        st = sl_detect_join(d, d->options.nms, d->options.most);
    if (st == SL_OK)
        st = give(d, image, out);
    if (st == SL_OK)
        (*out)->seconds = sl_seconds() - start;
    sl_trace_end(d->ctx, "detect", traced);
    return st;
}

void sl_detections_free(sl_detections *found)
{
    if (!found)
        return;
    free(found->items);
    free(found);
}

const char *const *sl_detect_labels(const sl_detect *d, size_t *count)
{
    *count = d->label_count;
    return d->labels;
}

// ---- made and freed

static bool is_share(float x)
{
    return x >= 0 && x < 1; // false for a NaN
}

static sl_status check_options(sl_ctx *ctx, const sl_detect_options *o)
{
    if (!is_share(o->score) || !is_share(o->iou))
        return sl_fail(ctx, SL_ERR_ARGUMENT, "score %g, overlap %g; give numbers from 0 up to 1",
                       (double)o->score, (double)o->iou);
    if (!(o->sigma >= 0 && o->sigma <= 1e6f))
        return sl_fail(ctx, SL_ERR_ARGUMENT, "a sigma of %g; give a number above 0",
                       (double)o->sigma);
    if (o->nms < SL_NMS_GAUSSIAN || o->nms > SL_NMS_NONE)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "there is no way %d of joining boxes", (int)o->nms);
    if (o->long_side > LARGEST_SIDE || o->short_side > LARGEST_SIDE)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "a picture scaled to %u x %u; at most %u",
                       o->long_side, o->short_side, LARGEST_SIDE);
    if (o->tile > 0 && o->tile < LEAST_TILE)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "tiles of %u pixels; %u at least", o->tile,
                       LEAST_TILE);
    return SL_OK;
}

// From which on the model's makers would show an object.
static float read_score(const sl_detect *d)
{
    double score;
    if (!sl_number_read(sl_tensor_set_meta(d->model->set, "score"), &score))
        return DEFAULT_SCORE;
    return (float)score > 0 && (float)score < 1 ? (float)score : DEFAULT_SCORE;
}

// The options with the defaults in place of zeros.
static sl_status settle_options(sl_detect *d, const sl_detect_options *given)
{
    const sl_retina_config *config = &d->model->retina;
    sl_detect_options *o = &d->options;
    sl_status st = check_options(d->ctx, given);
    *o = *given;
    if (!o->long_side)
        o->long_side = config->image[0];
    if (!o->short_side)
        o->short_side = o->long_side < config->image[1] ? o->long_side : config->image[1];
    if (o->score == 0)
        o->score = read_score(d);
    if (o->most == 0)
        o->most = SL_DETECT_MOST;
    o->classes = NULL; // the caller's; is_wanted has them
    return st;
}

// As many as a message holds.
static void list_labels(const sl_detect *d, char *out, size_t size)
{
    size_t length = 0;
    *out = '\0';
    for (size_t i = 0; i < d->label_count && length < size; i++)
        length +=
            (size_t)snprintf(out + length, size - length, "%s%s", i ? ", " : "", d->labels[i]);
}

static sl_status want(sl_detect *d, const char *label)
{
    bool any = false;
    for (size_t i = 0; i < d->label_count; i++)
        if (strcmp(d->labels[i], label) == 0)
            any = d->is_wanted[i] = true;
    if (any)
        return SL_OK;
    char all[401];
    list_labels(d, all, sizeof(all));
    return sl_fail(d->ctx, SL_ERR_ARGUMENT, "%s: finds no \"%.64s\"; it finds %s",
                   sl_tensor_set_path(d->model->set), label, all);
}

static sl_status choose_classes(sl_detect *d, const sl_detect_options *options)
{
    d->label_count = d->model->retina.classes;
    sl_status st = sl_labels_of(d->ctx, d->model->set, &d->arena, d->label_count, &d->labels);
    if (st != SL_OK)
        return st;
    d->is_wanted = sl_alloc(d->ctx, d->label_count, sizeof(*d->is_wanted));
    if (!d->is_wanted)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < d->label_count; i++)
        d->is_wanted[i] = !options->classes;
    for (size_t i = 0; i < options->class_count && options->classes && st == SL_OK; i++)
        st = want(d, options->classes[i]);
    return st;
}

static void normalise_levels(sl_detect *d)
{
    const sl_soft_config *config = &d->model->soft;
    for (int channel = 0; channel < 3; channel++)
        for (int level = 0; level < 256; level++)
            d->levels[channel][level] =
                ((float)level - 255.0f * config->mean[channel]) / (255.0f * config->std[channel]);
}

static sl_status prepare(sl_detect *d, const sl_detect_options *options)
{
    const char *resize = sl_tensor_set_meta(d->model->set, "resize");
    d->is_averaged = resize && strcmp(resize, "area") == 0;
    normalise_levels(d);
    sl_status st = settle_options(d, options);
    if (st == SL_OK)
        st = choose_classes(d, options);
    if (st == SL_OK && !(d->rows = sl_alloc(d->ctx, SL_DETECT_LIMIT, 6 * sizeof(float))))
        st = SL_ERR_NOMEM;
    if (st == SL_OK)
        st = sl_device_open(d->ctx, options->device, &d->device);
    if (st == SL_OK)
        st = sl_device_set_precision(d->device, options->precision);
    return st;
}

sl_status sl_detect_new(sl_ctx *ctx, const sl_model *model, const sl_detect_options *options,
                        sl_detect **out)
{
    static const sl_detect_options defaults = { 0 };
    *out = NULL;
    if (strcmp(model->architecture, "soft-retinanet") != 0)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                       "%s: a model of architecture %s cannot find objects; name one of "
                       "\"soft-retinanet\"",
                       sl_tensor_set_path(model->set), model->architecture);
    sl_detect *d = sl_alloc(ctx, 1, sizeof(*d));
    if (!d)
        return SL_ERR_NOMEM;
    d->ctx = ctx;
    d->model = model;
    sl_status st = prepare(d, options ? options : &defaults);
    if (st != SL_OK) {
        sl_detect_free(d);
        return st;
    }
    *out = d;
    return SL_OK;
}

void sl_detect_free(sl_detect *d)
{
    if (!d)
        return;
    sl_detect_drop_plans(d);
    sl_device_close(d->device);
    sl_arena_free(&d->arena);
    free(d->is_wanted);
    free(d->rgb);
    free(d->pixels);
    free(d->rows);
    free(d->boxes);
    free(d);
}
