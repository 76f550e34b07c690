// SPDX-License-Identifier: MIT
// classify/gallery_report.c: what a gallery holds, where "unknown" begins, and whether it is whole.
#include "classify/threshold.h"
#include "tensor/json.h"

#include <math.h>

#define MOST_NEIGHBOURS 2048 // classes; of more, nearest ones are not looked for

static const double degrees = 180 / 3.14159265358979323846;

// The nearest other class of each, and the cosine.
static sl_status find_neighbours(sl_ctx *ctx, const sl_gallery *gallery, size_t *nearest,
                                 float *cosine)
{
    const size_t n = gallery->count, d = gallery->dimension;
    float *rows = sl_alloc(ctx, n * d, sizeof(*rows));
    sl_hyper *hyper = NULL;
    if (!rows)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        memcpy(rows + i * d, sl_gallery_prototype(gallery, i), d * sizeof(*rows));
    const sl_directions directions = { .dimension = d, .enrolled = rows, .enrolled_count = n };
    sl_status st = sl_hyper_new(ctx, &directions, &hyper);
    for (size_t i = 0; i < n && st == SL_OK; i++) {
        const float *cosines = sl_hyper_cosines(hyper, rows + i * d);
        size_t best[2];
        sl_hyper_top(cosines, n, 2, best);
        nearest[i] = best[0] == i ? best[1] : best[0];
        cosine[i] = cosines[nearest[i]];
    }
    sl_hyper_free(hyper);
    free(rows);
    return st;
}

static json_t *class_json(const sl_gallery *gallery, size_t i, const size_t *nearest,
                          const float *cosine)
{
    const sl_gallery_class *c = &gallery->classes[i];
    if (!nearest)
        return json_pack("{s:s, s:I}", "label", c->label, "pictures", (json_int_t)c->count);
    double x = fmin(fmax((double)cosine[i], -1), 1);
    return json_pack("{s:s, s:I, s:s, s:f}", "label", c->label, "pictures", (json_int_t)c->count,
                     "nearest", gallery->classes[nearest[i]].label, "angle_degrees",
                     acos(x) * degrees);
}

static json_t *describe(sl_ctx *ctx, const sl_gallery *gallery, const size_t *nearest,
                        const float *cosine)
{
    size_t pictures = 0;
    json_t *list = json_array();
    for (size_t i = 0; list && i < gallery->count; i++) {
        pictures += gallery->classes[i].count;
        if (json_array_append_new(list, class_json(gallery, i, nearest, cosine)) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return json_pack("{s:o, s:i, s:s, s:s, s:I, s:I, s:o}", "file",
                     sl_json_path(ctx, gallery->path), "version", 1, "model", gallery->model_name,
                     "backbone", gallery->hash, "dimension", (json_int_t)gallery->dimension,
                     "pictures", (json_int_t)pictures, "classes", list);
}

sl_status sl_gallery_describe(sl_ctx *ctx, const sl_gallery *gallery, char **out)
{
    const size_t n = gallery->count;
    const bool has_neighbours = n > 1 && n <= MOST_NEIGHBOURS;
    *out = NULL;
    size_t *nearest = sl_alloc(ctx, has_neighbours ? n : 0, sizeof(*nearest));
    float *cosine = sl_alloc(ctx, has_neighbours ? n : 0, sizeof(*cosine));
    sl_status st = nearest && cosine ? SL_OK : SL_ERR_NOMEM;
    if (st == SL_OK && has_neighbours)
        st = find_neighbours(ctx, gallery, nearest, cosine);
    if (st == SL_OK)
        st = sl_json_text(ctx, describe(ctx, gallery, has_neighbours ? nearest : NULL, cosine),
                          JSON_INDENT(2), out);
    free(nearest);
    free(cosine);
    return st;
}

// ---- threshold

static json_t *number_or_null(float x)
{
    return isfinite(x) ? json_real((double)x) : json_null();
}

sl_status sl_gallery_threshold_for(sl_ctx *ctx, const sl_gallery *gallery,
                                   const sl_tensor_set *model, float unknown_rate, char **out)
{
    sl_known bare = { .shape = { .scale = 1, .temperature = 1 } };
    sl_known *known = NULL;
    sl_matcher *matcher = NULL;
    sl_status st = SL_OK;
    *out = NULL;
    if (!(unknown_rate >= 0 && unknown_rate < 1))
        return sl_fail(ctx, SL_ERR_ARGUMENT, "an unknown rate of %g; give one from 0 to below 1",
                       (double)unknown_rate);
    if (model)
        st = sl_gallery_belongs_to(ctx, gallery, model);
    if (st == SL_OK && model)
        st = sl_known_new(ctx, model, NULL, &known);
    if (st == SL_OK)
        st = sl_matcher_new(ctx, known ? known : &bare, gallery, unknown_rate, &matcher);
    if (st == SL_OK)
        st = sl_json_text(ctx,
                          json_pack("{s:f, s:s, s:o, s:I, s:o}", "unknown_rate",
                                    (double)(unknown_rate > 0 ? unknown_rate : SL_UNKNOWN_RATE),
                                    "score", matcher->reject ? "mahalanobis" : "cosine",
                                    "enrolled_threshold",
                                    number_or_null(matcher->enrolled_threshold), "pictures",
                                    (json_int_t)matcher->left_out_count, "trained_threshold",
                                    number_or_null(matcher->trained_threshold)),
                          JSON_INDENT(2), out);
    sl_matcher_free(matcher);
    sl_known_free(known);
    return st;
}

sl_status sl_gallery_threshold(sl_ctx *ctx, const sl_gallery *gallery, const sl_model *model,
                               float unknown_rate, char **out)
{
    return sl_gallery_threshold_for(ctx, gallery, model ? model->set : NULL, unknown_rate, out);
}

// ---- check

sl_status sl_gallery_check(sl_ctx *ctx, const sl_gallery *gallery)
{
    const size_t d = gallery->dimension;
    double *sum = sl_alloc(ctx, d, sizeof(*sum));
    float *want = sl_alloc(ctx, d, sizeof(*want));
    sl_status st = sum && want ? SL_OK : SL_ERR_NOMEM;
    for (size_t i = 0; i < gallery->count && st == SL_OK; i++) {
        const sl_gallery_class *c = &gallery->classes[i];
        memset(sum, 0, d * sizeof(*sum));
        for (size_t k = 0; k < c->count; k++) {
            sl_features f = sl_gallery_picture(gallery, i, k);
            for (size_t j = 0; j < d; j++)
                sum[j] += (double)f.embedding[j];
        }
        if (!sl_prototype_of(sum, d, c->count, want) ||
            memcmp(want, sl_gallery_prototype(gallery, i), d * sizeof(*want)) != 0)
            st = sl_fail(ctx, SL_ERR_FORMAT,
                         "%s: the prototype of \"%s\" is not what its %zu pictures give; remove "
                         "the class and enroll it anew",
                         gallery->path, c->label, c->count);
    }
    free(sum);
    free(want);
    return st;
}
