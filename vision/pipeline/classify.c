// SPDX-License-Identifier: MIT
// pipeline/classify.c: what is in a photograph: the square that the network sees, the network, and
// the room classify/ on what it says.
#include "classify/classify.h"
#include "pipeline/pipeline.h"

#include <math.h>

// The outputs of the network that are read, in the order of sl_features.
typedef enum part { EMBEDDING, POOL3, POOL4, LOGITS, PARTS } part;

static const char *const part_names[PARTS] = { "embedding", "pool3", "pool4", "logits" };

struct sl_classify {
    sl_ctx *ctx;
    const sl_model *model;
    sl_device *device;
    const sl_gallery *gallery; // that pictures are ranked by, or NULL
    sl_known *known;
    sl_matcher *matcher; // NULL: there is no class
    sl_graph *graph;
    sl_plan *plan;
    sl_value image, value[PARTS]; // SL_NO_VALUE: the network has none
    size_t size[PARTS];           // floats
    float *out[PARTS];            // what the last picture gave
    float *mirrored[PARTS];       // what its mirror image gave, where the model is to see both
    uint8_t *rgb;                 // [image,image,3]
    float *pixels;                // the same, normalised
    float levels[3][256];         // of a channel's 8 bits, normalised
};

// ---- the network

static void drop_plan(sl_classify *c)
{
    sl_plan_free(c->plan);
    sl_graph_free(c->graph);
    c->plan = NULL;
    c->graph = NULL;
}

static sl_status make_plan(sl_classify *c)
{
    uint32_t side = c->model->soft.image;
    sl_soft_options options = { .height = side,
                                .width = side,
                                .outputs = SL_SOFT_POOL3 | SL_SOFT_POOL4 };
    double start = sl_trace_start(c->ctx);
    drop_plan(c);
    sl_status st = sl_graph_new(c->ctx, &c->graph);
    if (st == SL_OK)
        st = sl_soft_build(c->graph, c->model, &options);
    if (st == SL_OK)
        st = c->graph->status;
    if (st == SL_OK)
        st = sl_device_compile(c->device, c->graph, &c->plan);
    if (st == SL_OK) {
        c->image = sl_graph_find_output(c->graph, "image");
        for (part p = 0; p < PARTS; p++) {
            c->value[p] = sl_graph_find_output(c->graph, part_names[p]);
            c->size[p] = c->graph->values[c->value[p]].bytes / sizeof(float);
        }
    } else {
        drop_plan(c);
    }
    sl_trace_end(c->ctx, "compile", start);
    return st;
}

// Does it with the device; where that fails or is full, anew with the processor, which stays.
static sl_status with_device(sl_classify *c, sl_status (*work)(sl_classify *c))
{
    sl_status st = c->plan ? SL_OK : make_plan(c);
    if (st == SL_OK)
        st = work(c);
    if (!sl_device_may_fall_back(c->device, st))
        return st;
    drop_plan(c);
    st = sl_device_fall_back(c->device, st);
    if (st == SL_OK)
        st = make_plan(c);
    return st == SL_OK ? work(c) : st;
}

static sl_status no_work(sl_classify *c)
{
    (void)c;
    return SL_OK;
}

static sl_status run_plan(sl_classify *c)
{
    sl_status st = sl_plan_write(c->plan, c->image, c->pixels);
    if (st == SL_OK)
        st = sl_plan_run(c->plan);
    for (part p = 0; p < PARTS && st == SL_OK; p++)
        if (c->value[p] != SL_NO_VALUE)
            st = sl_plan_read(c->plan, c->value[p], c->out[p]);
    return st;
}

// ---- a picture

static void normalise_levels(sl_classify *c)
{
    const sl_soft_config *config = &c->model->soft;
    for (int channel = 0; channel < 3; channel++)
        for (int level = 0; level < 256; level++)
            c->levels[channel][level] =
                ((float)level / 255.0f - config->mean[channel]) / config->std[channel];
}

// Of an embedding: only heads with directions give unit length by themselves.
static void make_unit(float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    double length = sqrt(sum);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(x[i] / (length > 1e-12 ? length : 1e-12));
}

// What the network makes of the crop, or of its mirror image.
static sl_status see(sl_classify *c, bool mirrored)
{
    const size_t side = c->model->soft.image;
    float *to = c->pixels;
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++, to += 3) {
            const uint8_t *from = c->rgb + (y * side + (mirrored ? side - 1 - x : x)) * 3;
            for (size_t i = 0; i < 3; i++)
                to[i] = c->levels[i][from[i]];
        }
    sl_status st = with_device(c, run_plan);
    if (st == SL_OK)
        make_unit(c->out[EMBEDDING], c->size[EMBEDDING]);
    return st;
}

// Makes `out` the mean of what the crop and its mirror image give: a thing is what it is from
// either side, and the errors of the two differ.
static sl_status add_mirror_image(sl_classify *c)
{
    for (part p = 0; p < PARTS; p++) {
        float *first = c->out[p];
        c->out[p] = c->mirrored[p];
        c->mirrored[p] = first;
    }
    sl_status st = see(c, true);
    for (part p = 0; p < PARTS; p++)
        for (size_t i = 0; i < c->size[p]; i++)
            c->out[p][i] = (c->out[p][i] + c->mirrored[p][i]) / 2;
    make_unit(c->out[EMBEDDING], c->size[EMBEDDING]);
    return st;
}

// Logits are left out where cosines with the mean embedding say the same.
static bool has_logits(const sl_classify *c)
{
    const sl_soft_config *config = &c->model->soft;
    return c->value[LOGITS] != SL_NO_VALUE && !(config->mirror && config->embedding > 0);
}

static sl_status look(sl_classify *c, const sl_image *image, sl_features *out)
{
    const sl_soft_config *config = &c->model->soft;
    sl_status st = sl_image_centre(c->ctx, image, config->resize, config->image, c->rgb);
    if (st == SL_OK)
        st = see(c, false);
    if (st == SL_OK && config->mirror)
        st = add_mirror_image(c);
    if (st != SL_OK)
        return st;
    *out = (sl_features) { .dimension = c->size[EMBEDDING],
                           .pool3_size = c->size[POOL3],
                           .pool4_size = c->size[POOL4],
                           .embedding = c->out[EMBEDDING],
                           .pool3 = c->out[POOL3],
                           .pool4 = c->out[POOL4],
                           .logits = has_logits(c) ? c->out[LOGITS] : NULL };
    return SL_OK;
}

sl_status sl_classify_run(sl_classify *c, const sl_image *image, size_t top,
                          sl_classification **out)
{
    double start = sl_seconds(), traced = sl_trace_start(c->ctx);
    sl_features features;
    sl_classification *found = NULL;
    *out = NULL;
    sl_status st = SL_OK;
    if (!c->matcher && c->gallery)
        st = sl_fail(c->ctx, SL_ERR_ARGUMENT, "the gallery has no classes; enroll some first");
    else if (!c->matcher)
        st = sl_fail(c->ctx, SL_ERR_ARGUMENT, "%s: was trained on no classes; give a gallery",
                     sl_tensor_set_path(c->model->set));
    if (st == SL_OK)
        st = look(c, image, &features);
    if (st == SL_OK && !(found = sl_alloc(c->ctx, 1, sizeof(*found))))
        st = SL_ERR_NOMEM;
    if (st == SL_OK)
        st = sl_matcher_rank(c->matcher, &features, top, found);
    if (st == SL_OK) {
        found->seconds = sl_seconds() - start;
        memcpy(found->device, c->plan->device, sizeof(found->device));
        *out = found;
    } else {
        free(found);
    }
    sl_trace_end(c->ctx, "classify", traced);
    return st;
}

sl_status sl_classify_enroll(sl_classify *c, sl_gallery *gallery, const char *label,
                             const sl_image *image)
{
    double traced = sl_trace_start(c->ctx);
    sl_features features;
    sl_status st = sl_gallery_belongs(c->ctx, gallery, c->model);
    if (gallery == c->gallery) // prototypes and labels are laid out as they were
        st = sl_fail(c->ctx, SL_ERR_ARGUMENT,
                     "a picture for the gallery that this classifier ranks by, which must not "
                     "change meanwhile; enroll with a classifier that was made without it");
    if (st == SL_OK)
        st = look(c, image, &features);
    if (st == SL_OK)
        st = sl_gallery_add(c->ctx, gallery, label, &features);
    sl_trace_end(c->ctx, "enroll", traced);
    return st;
}

sl_status sl_embeddings_save(sl_ctx *ctx, const char *path, bool overwrite, const float *embeddings,
                             size_t count, size_t dimension)
{
    size_t elements, bytes;
    if (!sl_mul(count, dimension, &elements) || !sl_mul(elements, sizeof(float), &bytes))
        return sl_fail(ctx, SL_ERR_LIMIT, "%s: %zu x %zu embeddings do not fit memory", path, count,
                       dimension);
    sl_tensor t = { .name = "embeddings",
                    .dtype = SL_F32,
                    .shape = { 2, { count, dimension } },
                    .data = embeddings,
                    .bytes = bytes };
    return sl_npy_write(ctx, path, overwrite, &t);
}

bool sl_classify_takes_gallery(const sl_classify *c)
{
    return sl_known_takes_gallery(c->known);
}

sl_ctx *sl_classify_ctx(const sl_classify *c)
{
    return c->ctx;
}

// ---- made and freed

static sl_status check_model(sl_ctx *ctx, const sl_model *model)
{
    if (strcmp(model->architecture, "soft") != 0)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                       "%s: a model of architecture %s cannot classify; name one of \"soft\"",
                       sl_tensor_set_path(model->set), model->architecture);
    return SL_OK;
}

static sl_status read_known(sl_classify *c)
{
    const sl_soft_config *config = &c->model->soft;
    sl_known_shape shape = { .classes = config->classes,
                             .dimension = c->size[EMBEDDING],
                             .pool3_size = c->size[POOL3],
                             .pool4_size = c->size[POOL4],
                             .has_directions = config->head == SL_SOFT_HEAD_EBV ||
                                               config->head == SL_SOFT_HEAD_HYPERSPHERICAL,
                             .scale = config->scale,
                             .temperature = config->temperature };
    return sl_known_new(c->ctx, c->model->set, &shape, &c->known);
}

static sl_status make_room(sl_classify *c)
{
    size_t samples = (size_t)c->model->soft.image * c->model->soft.image * 3;
    if (c->value[EMBEDDING] == SL_NO_VALUE)
        return sl_fail(c->ctx, SL_ERR_UNSUPPORTED,
                       "%s: a backbone without class token or last norm cannot classify",
                       sl_tensor_set_path(c->model->set));
    c->rgb = sl_alloc(c->ctx, samples, 1);
    c->pixels = sl_alloc(c->ctx, samples, sizeof(float));
    bool ok = c->rgb && c->pixels;
    for (part p = 0; p < PARTS && ok; p++) {
        ok = (c->out[p] = sl_alloc(c->ctx, c->size[p], sizeof(float))) != NULL;
        if (ok && c->model->soft.mirror)
            ok = (c->mirrored[p] = sl_alloc(c->ctx, c->size[p], sizeof(float))) != NULL;
    }
    return ok ? SL_OK : SL_ERR_NOMEM;
}

static sl_status prepare(sl_classify *c, const sl_gallery *gallery,
                         const sl_classify_options *options)
{
    sl_status st = gallery ? sl_gallery_belongs(c->ctx, gallery, c->model) : SL_OK;
    if (options->gallery_only && !gallery)
        st = sl_fail(c->ctx, SL_ERR_ARGUMENT, "the gallery's classes alone, and no gallery");
    if (st == SL_OK)
        st = sl_device_open(c->ctx, options->device, &c->device);
    if (st == SL_OK)
        st = sl_device_set_precision(c->device, options->precision);
    if (st == SL_OK)
        st = with_device(c, no_work);
    if (st == SL_OK)
        st = make_room(c);
    if (st == SL_OK)
        st = read_known(c);
    if (st == SL_OK && options->gallery_only)
        sl_known_forget_classes(c->known);
    bool has_classes = c->model->soft.classes > 0 && !options->gallery_only;
    if (st == SL_OK && (has_classes || (gallery && sl_gallery_count(gallery) > 0)))
        st = sl_matcher_new(c->ctx, c->known, gallery, options->unknown_rate, &c->matcher);
    return st;
}

sl_status sl_classify_new(sl_ctx *ctx, const sl_model *model, const sl_gallery *gallery,
                          const sl_classify_options *options, sl_classify **out)
{
    static const sl_classify_options defaults = { 0 };
    *out = NULL;
    sl_status st = check_model(ctx, model);
    if (st != SL_OK)
        return st;
    sl_classify *c = sl_alloc(ctx, 1, sizeof(*c));
    if (!c)
        return SL_ERR_NOMEM;
    c->ctx = ctx;
    c->model = model;
    c->gallery = gallery;
    normalise_levels(c);
    st = prepare(c, gallery, options ? options : &defaults);
    if (st != SL_OK) {
        sl_classify_free(c);
        return st;
    }
    *out = c;
    return SL_OK;
}

void sl_classify_free(sl_classify *c)
{
    if (!c)
        return;
    sl_matcher_free(c->matcher);
    sl_known_free(c->known);
    drop_plan(c);
    sl_device_close(c->device);
    for (part p = 0; p < PARTS; p++) {
        free(c->out[p]);
        free(c->mirrored[p]);
    }
    free(c->rgb);
    free(c->pixels);
    free(c);
}
