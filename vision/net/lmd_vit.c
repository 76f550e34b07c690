// SPDX-License-Identifier: MIT
// net/lmd_vit.c: LMD-ViT as a graph. "Adaptive Window Pruning for Efficient Local Motion
// Deblurring", ICLR 2024, arXiv 2306.14268; tensor names are those of the official code.
#include "net/parts.h"

#define NORM_EPS 1e-5f
#define LEAKY_SLOPE 0.01f
#define USUAL_SIDE 512

typedef struct builder {
    sl_graph *g;
    const sl_tensor_set *set;
    const sl_lmd_config *config;
    const sl_lmd_build *options;
    sl_value *certainty; // of the predictors so far, if the change fades by it
} builder;

static const sl_tensor *weight(const builder *b, const char *prefix, const char *key)
{
    char name[192];
    snprintf(name, sizeof name, "%s.%s", prefix, key);
    return sl_tensor_set_find(b->set, name);
}

static sl_value conv(const builder *b, const char *prefix, sl_value x, const sl_attr *attr)
{
    const sl_tensor *w[] = { weight(b, prefix, "weight"), weight(b, prefix, "bias") };
    return sl_graph_add(b->g, SL_OP_CONV2D, prefix, attr, (sl_value[SL_MAX_INPUTS]) { x }, w, 2);
}

static sl_value upconv(const builder *b, uint32_t k, sl_value x, sl_value skip)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "upsample_%u.deconv.0", k);
    const sl_tensor *w[] = { weight(b, prefix, "weight"), weight(b, prefix, "bias") };
    return sl_graph_add(b->g, SL_OP_UPCONV_CONCAT, prefix, NULL,
                        (sl_value[SL_MAX_INPUTS]) { x, skip }, w, 2);
}

// ---- pruning: the list of windows that the blocks of one parity compute

static sl_value list_input(const builder *b, const char *layer, uint32_t parity,
                           const sl_shape *map)
{
    char name[96];
    uint64_t w = b->config->window;
    snprintf(name, sizeof name, "list/%s.%u", layer, parity);
    sl_shape shape = { .rank = 1, .dim = { 4 + (map->dim[0] / w) * (map->dim[1] / w) } };
    return sl_graph_input_typed(b->g, name, SL_I32, &shape);
}

static sl_value predict(const builder *b, const char *prefix, const sl_attr *attr, sl_value x)
{
    static const char *const keys[SL_PREDICT_WEIGHTS] = {
        "score_predictor.in_conv.0.weight",  "score_predictor.in_conv.0.bias",
        "score_predictor.in_conv.2.weight",  "score_predictor.in_conv.2.bias",
        "score_predictor.in_conv.3.weight",  "score_predictor.in_conv.3.bias",
        "score_predictor.out_conv.0.weight", "score_predictor.out_conv.0.bias",
        "score_predictor.out_conv.2.weight", "score_predictor.out_conv.2.bias",
        "score_predictor.out_conv.4.weight", "score_predictor.out_conv.4.bias",
    };
    const sl_tensor *w[SL_PREDICT_WEIGHTS];
    for (int i = 0; i < SL_PREDICT_WEIGHTS; i++)
        w[i] = weight(b, prefix, keys[i]);
    return sl_graph_add(b->g, SL_OP_PREDICT, prefix, attr, (sl_value[SL_MAX_INPUTS]) { x }, w,
                        SL_PREDICT_WEIGHTS);
}

// scale: pixels of a token's side.
static void ask_certainty(const builder *b, const char *prefix, const sl_attr *attr, uint32_t scale,
                          sl_value scores)
{
    const sl_attr pixels = { .window = attr->window * scale, .shift = attr->shift * scale };
    *b->certainty = sl_graph_add(b->g, SL_OP_CERTAINTY, prefix, &pixels,
                                 (sl_value[SL_MAX_INPUTS]) { scores, *b->certainty }, NULL, 0);
}

static sl_value select_windows(const builder *b, uint32_t index, uint32_t block, const char *prefix,
                               const sl_attr *attr, sl_value x)
{
    char layer[64], name[96];
    sl_lmd_layer_name(b->config, index, layer, sizeof layer);
    sl_value scores = predict(b, prefix, attr, x);
    snprintf(name, sizeof name, "scores/%s.%u", layer, block);
    sl_graph_output(b->g, scores, name);
    if (b->config->has_fade)
        ask_certainty(b, prefix, attr, b->config->unshuffle << sl_lmd_layer_level(b->config, index),
                      scores);
    if (b->options->dense)
        return SL_NO_VALUE;
    if (b->options->given_lists)
        return b->g->status == SL_OK ? list_input(b, layer, block, &b->g->values[x].shape)
                                     : SL_NO_VALUE;
    sl_value list = sl_graph_add(b->g, SL_OP_SELECT, prefix, attr,
                                 (sl_value[SL_MAX_INPUTS]) { scores }, NULL, 0);
    snprintf(name, sizeof name, "keep/%s.%u", layer, block);
    sl_graph_output(b->g, sl_graph_second_output(b->g, list), name);
    return list;
}

// ---- one block

static const char *const block_keys[SL_BLOCK_WEIGHTS] = {
    "norm1.weight",          "norm1.bias",
    "modulator.weight",      "attn.relative_position_bias_table",
    "attn.qkv.to_q.weight",  "attn.qkv.to_q.bias",
    "attn.qkv.to_kv.weight", "attn.qkv.to_kv.bias",
    "attn.proj.weight",      "attn.proj.bias",
    "norm2.weight",          "norm2.bias",
    "mlp.linear1.0.weight",  "mlp.linear1.0.bias",
    "mlp.dwconv.0.weight",   "mlp.dwconv.0.bias",
    "mlp.linear2.0.weight",  "mlp.linear2.0.bias",
};

typedef struct composer { // a block op by op
    sl_graph *g;
    const char *prefix;
    const sl_attr *attr;
    const sl_tensor *const *w; // by sl_block_weight
    sl_value list;
} composer;

static sl_value linear(const composer *c, sl_value x, sl_value residual, sl_block_weight first,
                       sl_act act)
{
    sl_attr attr = { .act = act };
    return sl_graph_add(c->g, SL_OP_LINEAR, c->prefix, &attr,
                        (sl_value[SL_MAX_INPUTS]) { x, residual, c->list }, &c->w[first], 2);
}

static sl_value norm(const composer *c, sl_value x, sl_block_weight first, size_t weights)
{
    return sl_graph_add(c->g, SL_OP_LAYER_NORM, c->prefix, c->attr,
                        (sl_value[SL_MAX_INPUTS]) { x, c->list }, &c->w[first], weights);
}

static sl_value compose(const composer *c, sl_value map)
{
    sl_attr attention = *c->attr, dwconv = *c->attr;
    if (c->g->status == SL_OK) {
        attention.rows = (uint32_t)(c->g->values[map].shape.dim[0] / c->attr->window);
        attention.columns = (uint32_t)(c->g->values[map].shape.dim[1] / c->attr->window);
    }
    dwconv.act = SL_ACT_GELU;
    sl_value x = sl_graph_add(c->g, SL_OP_WINDOW_GATHER, c->prefix, c->attr,
                              (sl_value[SL_MAX_INPUTS]) { map, c->list }, NULL, 0);
    sl_value a = norm(c, x, SL_BLOCK_NORM1_W, 3);
    sl_value q = linear(c, a, SL_NO_VALUE, SL_BLOCK_Q_W, SL_ACT_NONE);
    sl_value kv = linear(c, a, SL_NO_VALUE, SL_BLOCK_KV_W, SL_ACT_NONE);
    a = sl_graph_add(c->g, SL_OP_WINDOW_ATTENTION, c->prefix, &attention,
                     (sl_value[SL_MAX_INPUTS]) { q, kv, c->list }, &c->w[SL_BLOCK_BIAS_TABLE], 1);
    x = linear(c, a, x, SL_BLOCK_PROJ_W, SL_ACT_NONE);
    sl_value y = norm(c, x, SL_BLOCK_NORM2_W, 2);
    y = linear(c, y, SL_NO_VALUE, SL_BLOCK_FF1_W, SL_ACT_GELU);
    y = sl_graph_add(c->g, SL_OP_WINDOW_DWCONV, c->prefix, &dwconv,
                     (sl_value[SL_MAX_INPUTS]) { y, c->list }, &c->w[SL_BLOCK_DW_W], 2);
    x = linear(c, y, x, SL_BLOCK_FF2_W, SL_ACT_NONE);
    return sl_graph_add(c->g, SL_OP_WINDOW_SCATTER, c->prefix, c->attr,
                        (sl_value[SL_MAX_INPUTS]) { map, x, c->list }, NULL, 0);
}

static sl_value block(const builder *b, const char *prefix, const sl_attr *attr, sl_value x,
                      sl_value list)
{
    const sl_tensor *w[SL_BLOCK_WEIGHTS];
    for (int i = 0; i < SL_BLOCK_WEIGHTS; i++)
        w[i] = weight(b, prefix, block_keys[i]);
    if (!b->options->composed)
        return sl_graph_add(b->g, SL_OP_WINDOW_BLOCK, prefix, attr,
                            (sl_value[SL_MAX_INPUTS]) { x, list }, w, SL_BLOCK_WEIGHTS);
    const composer c = { b->g, prefix, attr, w, list };
    return compose(&c, x);
}

static sl_value layer(const builder *b, uint32_t index, sl_value x)
{
    const sl_lmd_config *config = b->config;
    char name[64], prefix[96];
    sl_value lists[2] = { SL_NO_VALUE, SL_NO_VALUE };
    sl_lmd_layer_name(config, index, name, sizeof name);
    for (uint32_t i = 0; i < config->depths[index]; i++) {
        sl_attr attr = { .window = config->window,
                         .shift = sl_lmd_shift(config, index, i),
                         .heads = config->heads[index],
                         .eps = NORM_EPS,
                         .threshold = b->options->threshold > 0 ? b->options->threshold
                                                                : config->threshold };
        snprintf(prefix, sizeof prefix, "%s.blocks.%u", name, i);
        if (i < 2 && (!b->options->dense || config->has_fade))
            lists[i] = select_windows(b, index, i, prefix, &attr, x);
        x = block(b, prefix, &attr, x, lists[i % 2]);
    }
    return x;
}

// ---- the U

sl_status sl_lmd_vit_build(sl_graph *g, const sl_tensor_set *set, const sl_lmd_config *config,
                           const sl_lmd_build *options)
{
    sl_value certainty = SL_NO_VALUE;
    const builder b = { g, set, config, options, &certainty };
    const uint32_t scales = config->scales, f = config->unshuffle;
    const uint32_t multiple = sl_lmd_multiple(config);
    if (options->height == 0 || options->width == 0 || options->height % multiple ||
        options->width % multiple)
        return g->status = sl_fail(g->ctx, SL_ERR_ARGUMENT,
                                   "a canvas of %u x %u: sides must be multiples of %u",
                                   options->width, options->height, multiple);

    const sl_shape image_shape = { .rank = 3, .dim = { options->height, options->width, 3 } };
    const sl_attr pixels = { .factor = f, .fade = { config->fade[0], config->fade[1] } };
    const sl_attr stem = { .stride = 1, .pad = 1, .act = SL_ACT_LEAKY_RELU, .slope = LEAKY_SLOPE };
    const sl_attr down = { .stride = 2, .pad = 1 };
    const sl_attr last = { .stride = 1, .pad = 1 };
    char prefix[64];
    sl_value skips[SL_LMD_MAX_SCALES];
    sl_value image = sl_graph_input(g, "image", &image_shape);
    sl_value x = image;
    if (f > 1)
        x = sl_graph_add(g, SL_OP_PIXEL_UNSHUFFLE, "stem", &pixels, (sl_value[SL_MAX_INPUTS]) { x },
                         NULL, 0);
    x = conv(&b, "input_proj.proj.0", x, &stem);
    for (uint32_t k = 0; k < scales; k++) {
        skips[k] = x = layer(&b, k, x);
        snprintf(prefix, sizeof prefix, "dowsample_%u.conv.0", k);
        x = conv(&b, prefix, x, &down);
    }
    x = layer(&b, scales, x);
    for (uint32_t k = 0; k < scales; k++) {
        x = upconv(&b, k, x, skips[scales - 1 - k]);
        x = layer(&b, scales + 1 + k, x);
    }
    x = conv(&b, "output_proj.proj.0", x, &last);
    x = sl_graph_add(g, SL_OP_GATE, "output", &pixels,
                     (sl_value[SL_MAX_INPUTS]) { image, x, certainty }, NULL, 0);
    sl_graph_output(g, x, "output");
    return g->status;
}

// ---- as one of the architectures

static bool is_like(const sl_tensor_set *set)
{
    return sl_tensor_set_find(set, "input_proj.proj.0.weight") != NULL;
}

static sl_status open_model(sl_ctx *ctx, sl_model *model)
{
    sl_status st = sl_lmd_config_read(ctx, model->set, &model->lmd);
    return st == SL_OK ? sl_lmd_check(ctx, model->set, &model->lmd) : st;
}

static sl_status config_json(sl_ctx *ctx, const sl_model *model, const char *inverse, bool is_final,
                             char **out)
{
    (void)is_final;
    if (inverse)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: an LMD-ViT has no inverse to name",
                       sl_tensor_set_path(model->set));
    *out = sl_lmd_config_json(ctx, &model->lmd);
    return *out ? SL_OK : SL_ERR_NOMEM;
}

static void sides(const sl_model *model, uint32_t *width, uint32_t *height, uint32_t *multiple)
{
    *width = *height = USUAL_SIDE;
    *multiple = sl_lmd_multiple(&model->lmd);
}

static sl_status build(sl_graph *g, const sl_model *model, uint32_t height, uint32_t width)
{
    const sl_lmd_build options = { .height = height, .width = width };
    return sl_lmd_vit_build(g, model->set, &model->lmd, &options);
}

const sl_architecture sl_architecture_lmd = { .name = "lmd-vit",
                                              .is_like = is_like,
                                              .open = open_model,
                                              .config_json = config_json,
                                              .sides = sides,
                                              .build = build };
