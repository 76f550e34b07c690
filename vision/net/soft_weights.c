// SPDX-License-Identifier: MIT
// net/soft_weights.c: what is made of a SOFT's tensors at load.
#include "net/parts.h"

#include <math.h>

#define NORM_EPS 1e-5
#define LEAST_LENGTH 1e-12

typedef struct maker {
    sl_ctx *ctx;
    const sl_tensor_set *set;
    const char *root; // of the tensors' names
    sl_soft_weights *out;
} maker;

// A tensor of the set as f32; the set was checked, so it is there. NULL: out of memory.
static float *values_of(const maker *m, const char *prefix, const char *key)
{
    char name[96];
    size_t count = 0;
    snprintf(name, sizeof(name), "%s.%s", prefix, key);
    const sl_tensor *t = sl_find(m->set, m->root, name);
    sl_shape_elements(&t->shape, &count);
    float *values = sl_alloc(m->ctx, count, sizeof(*values));
    if (values)
        sl_tensor_to_f32(t, values);
    return values;
}

// Zeros of a shape, owned by the model. NULL: out of memory.
static float *new_tensor(const maker *m, const char *name, sl_shape shape, sl_tensor *out)
{
    size_t count = 0;
    sl_shape_elements(&shape, &count);
    float *data = sl_arena_alloc(m->ctx, &m->out->arena, count, sizeof(*data));
    *out = (sl_tensor) { name, SL_F32, shape, data, count * sizeof(*data) };
    return data;
}

typedef struct normalised { // a convolution and the batch normalisation behind it
    float *weight, *bias, *scale, *shift, *mean, *variance;
} normalised;

static sl_status fold(const maker *m, const normalised *n, const char *name, size_t out, size_t in,
                      float *weight, float *bias)
{
    for (size_t o = 0; o < out; o++) {
        double spread = (double)n->variance[o] + NORM_EPS;
        if (spread <= 0)
            return sl_fail(m->ctx, SL_ERR_FORMAT,
                           "%s: %s%s.running_var holds %g; the file is damaged",
                           sl_tensor_set_path(m->set), m->root, name, (double)n->variance[o]);
        double factor = (double)n->scale[o] / sqrt(spread);
        for (size_t i = 0; i < in; i++)
            weight[o * in + i] = (float)(factor * (double)n->weight[o * in + i]);
        bias[o] = (float)(factor * ((double)n->bias[o] - (double)n->mean[o]) + (double)n->shift[o]);
    }
    return SL_OK;
}

// y = (conv(x) - mean) / sqrt(variance + eps) * scale + shift, as one convolution.
static sl_status make_embed(const maker *m, uint32_t stage, uint32_t i, sl_tensor made[2])
{
    char conv[64], norm[64];
    snprintf(conv, sizeof(conv), "patch_embed%u.proj.%u", stage + 1, i);
    snprintf(norm, sizeof(norm), "patch_embed%u.proj.%u", stage + 1, i + 1);
    normalised n = { values_of(m, conv, "weight"),       values_of(m, conv, "bias"),
                     values_of(m, norm, "weight"),       values_of(m, norm, "bias"),
                     values_of(m, norm, "running_mean"), values_of(m, norm, "running_var") };
    char name[96];
    snprintf(name, sizeof(name), "%s.weight", conv);
    const sl_tensor *weight = sl_find(m->set, m->root, name);
    const uint64_t *dim = weight->shape.dim;
    const char *label = weight->name;
    float *folded = new_tensor(m, label, weight->shape, &made[0]);
    float *bias = new_tensor(m, label, (sl_shape) { .rank = 1, .dim = { dim[0] } }, &made[1]);
    sl_status st = SL_ERR_NOMEM;
    if (n.weight && n.bias && n.scale && n.shift && n.mean && n.variance && folded && bias)
        st = fold(m, &n, norm, dim[0], dim[1] * dim[2] * dim[3], folded, bias);
    free(n.weight);
    free(n.bias);
    free(n.scale);
    free(n.shift);
    free(n.mean);
    free(n.variance);
    return st;
}

static sl_status make_bias(const maker *m, uint64_t count)
{
    const sl_tensor *own = sl_find(m->set, m->root, "head.bias");
    if (own) {
        m->out->head_bias = *own;
        return SL_OK;
    }
    sl_shape shape = { .rank = 1, .dim = { count } };
    return new_tensor(m, "head.bias", shape, &m->out->head_bias) ? SL_OK : SL_ERR_NOMEM;
}

// Rows of unit length times the scale: products with them are logits.
static sl_status make_directions(const maker *m, const sl_soft_config *c)
{
    const sl_tensor *own = sl_find(m->set, m->root, "directions");
    float *rows = new_tensor(m, "directions", own->shape, &m->out->logits[0]);
    sl_shape shape = { .rank = 1, .dim = { c->classes } };
    if (!rows || !new_tensor(m, "directions", shape, &m->out->logits[1]))
        return SL_ERR_NOMEM;
    sl_tensor_to_f32(own, rows);
    for (size_t k = 0; k < c->classes; k++) {
        float *row = rows + k * c->embedding;
        double squares = 0;
        for (size_t i = 0; i < c->embedding; i++)
            squares += (double)row[i] * (double)row[i];
        double length = fmax(sqrt(squares), LEAST_LENGTH);
        for (size_t i = 0; i < c->embedding; i++)
            row[i] = (float)((double)c->scale * (double)row[i] / length);
    }
    return SL_OK;
}

sl_status sl_soft_weights_make(sl_ctx *ctx, const sl_tensor_set *set, const char *root,
                               const sl_soft_config *config, sl_soft_weights *out)
{
    static const uint32_t places[][2] = {
        { 0, 0 }, { 0, 3 }, { 0, 6 }, { 1, 0 }, { 2, 0 }, { 3, 0 }
    };
    const maker m = { ctx, set, root, out };
    sl_status st = SL_OK;
    for (size_t i = 0; i < SL_ARRAY_LEN(places) && st == SL_OK; i++)
        st = make_embed(&m, places[i][0], places[i][1], out->embed[i]);
    if (st == SL_OK && config->head != SL_SOFT_HEAD_NONE)
        st = make_bias(&m, config->embedding > 0 ? config->embedding : config->classes);
    if (st == SL_OK && config->embedding > 0)
        st = make_directions(&m, config);
    return st;
}

void sl_soft_weights_free(sl_soft_weights *weights)
{
    sl_arena_free(&weights->arena);
    *weights = (sl_soft_weights) { 0 };
}
