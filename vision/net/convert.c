// SPDX-License-Identifier: MIT
// net/convert.c: a model into a safetensors file that says all about itself.
#include "net/parts.h"

#define SMALLEST_HALF 1024 // elements: smaller tensors stay as they are, they weigh nothing

typedef struct conversion {
    sl_tensor *tensors;
    size_t count;
    void **owned; // data that was converted
    sl_meta *meta;
    size_t meta_count;
    char *source; // the file's name without folders, as UTF-8
} conversion;

static bool is_kept(const sl_tensor *t) // index buffers and counters are never stored
{
    return t->dtype != SL_I64;
}

// What is inverted later keeps its digits.
static bool is_statistic(const sl_tensor *t)
{
    return strncmp(t->name, "reject.", strlen("reject.")) == 0;
}

static sl_status to_half(sl_ctx *ctx, sl_tensor *t, void **owned)
{
    size_t count;
    if (!sl_shape_elements(&t->shape, &count))
        return sl_fail(ctx, SL_ERR_LIMIT, "tensor %s is too large", t->name);
    float *values = sl_alloc(ctx, count, sizeof *values);
    uint16_t *half = sl_alloc(ctx, count, sizeof *half);
    sl_status st = values && half ? SL_OK : SL_ERR_NOMEM;
    if (st != SL_OK)
        goto done;
    sl_tensor_to_f32(t, values);
    for (size_t i = 0; i < count; i++) {
        half[i] = sl_f32_to_f16(values[i]);
        if ((half[i] & 0x7c00) == 0x7c00) {
            st = sl_fail(ctx, SL_ERR_FORMAT,
                         "tensor %s holds %g, which f16 cannot; leave out half precision", t->name,
                         (double)values[i]);
            goto done;
        }
    }
    t->dtype = SL_F16;
    t->data = *owned = half;
    t->bytes = count * sizeof *half;
    half = NULL;
done:
    free(values);
    free(half);
    return st;
}

static sl_status collect_tensors(sl_ctx *ctx, const sl_model *model, bool half, conversion *c)
{
    size_t total = sl_tensor_set_count(model->set);
    c->tensors = sl_alloc(ctx, total, sizeof *c->tensors);
    c->owned = sl_alloc(ctx, total, sizeof *c->owned);
    if (!c->tensors || !c->owned)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < total; i++) {
        const sl_tensor *t = sl_tensor_set_at(model->set, i);
        size_t count;
        if (!is_kept(t))
            continue;
        c->tensors[c->count] = *t;
        bool shrink = half && !is_statistic(t) && t->shape.rank >= 2 &&
                      sl_shape_elements(&t->shape, &count) && count >= SMALLEST_HALF &&
                      sl_dtype_size(t->dtype) > 2;
        if (shrink) {
            sl_status st = to_half(ctx, &c->tensors[c->count], &c->owned[c->count]);
            if (st != SL_OK)
                return st;
        }
        c->count++;
    }
    return SL_OK;
}

static sl_status read_labels(sl_ctx *ctx, const sl_model *model, const char *path, char **out)
{
    bool is_soft = strcmp(model->architecture, "soft") == 0;
    bool is_retina = strcmp(model->architecture, "soft-retinanet") == 0;
    uint32_t classes = is_soft ? model->soft.classes : is_retina ? model->retina.classes : 0;
    if (classes == 0)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: has no classes that could have labels",
                       sl_tensor_set_path(model->set));
    return sl_labels_read(ctx, path, classes, out);
}

// Metadata of the source goes along; architecture and config are always stated.
static sl_status collect_meta(sl_ctx *ctx, const sl_model *model, const char *config,
                              const char *labels, conversion *c)
{
    size_t total = sl_tensor_set_meta_count(model->set);
    const char *path = sl_tensor_set_path(model->set), *slash = strrchr(path, '/');
    c->meta = sl_alloc(ctx, total + 4, sizeof *c->meta);
    c->source = sl_utf8_copy(ctx, slash ? slash + 1 : path);
    if (!c->meta || !c->source)
        return SL_ERR_NOMEM;
    c->meta[c->meta_count++] = (sl_meta) { "architecture", model->architecture };
    c->meta[c->meta_count++] = (sl_meta) { "config", config };
    if (labels)
        c->meta[c->meta_count++] = (sl_meta) { "labels", labels };
    for (size_t i = 0; i < total; i++) {
        sl_meta m;
        sl_tensor_set_meta_at(model->set, i, &m.key, &m.value);
        bool is_stated = strcmp(m.key, "architecture") == 0 || strcmp(m.key, "config") == 0 ||
                         (labels && strcmp(m.key, "labels") == 0);
        if (!is_stated)
            c->meta[c->meta_count++] = m;
    }
    if (!sl_tensor_set_meta(model->set, "converted_from"))
        c->meta[c->meta_count++] = (sl_meta) { "converted_from", c->source };
    return SL_OK;
}

sl_status sl_model_convert(sl_ctx *ctx, const sl_model *model, const char *path,
                           const sl_convert_options *options)
{
    const sl_convert_options none = { 0 };
    if (!options)
        options = &none;
    conversion c = { 0 };
    char *config = NULL, *labels = NULL;
    sl_status st = sl_model_kind(model)->config_json(ctx, model, options->inverse, true, &config);
    if (st == SL_OK && options->labels)
        st = read_labels(ctx, model, options->labels, &labels);
    if (st == SL_OK)
        st = collect_tensors(ctx, model, options->half, &c);
    if (st == SL_OK)
        st = collect_meta(ctx, model, config, labels, &c);
    if (st == SL_OK)
        st = sl_safetensors_write(ctx, path, options->overwrite, c.tensors, c.count, c.meta,
                                  c.meta_count);
    for (size_t i = 0; i < c.count; i++)
        free(c.owned[i]);
    free(c.owned);
    free(c.tensors);
    free(c.meta);
    free(c.source);
    free(config);
    free(labels);
    return st;
}
