// SPDX-License-Identifier: MIT
// net/soft.c: SOFT and SOFT-Norm as graphs. "Softmax-free Linear Transformers", arXiv 2207.03341;
// tensor names are those of the official code.
#include "net/parts.h"

#define FREE_EPS 1e-5f // of the norms in the softmax-free stages
#define LAST_EPS 1e-6f // of those in the last stage and behind it

typedef struct builder {
    sl_graph *g;
    const sl_model *model;
    const sl_soft_config *config;
    const char *root; // of the tensors' names
} builder;

static const sl_tensor *weight(const builder *b, const char *prefix, const char *key,
                               const char *kind)
{
    char name[160];
    snprintf(name, sizeof(name), "%s%s%s.%s", prefix, *prefix ? "." : "", key, kind);
    return sl_find(b->model->set, b->root, name);
}

static sl_value linear(const builder *b, const char *prefix, const char *key, sl_value x,
                       sl_value residual, sl_act act)
{
    const sl_tensor *w[] = { weight(b, prefix, key, "weight"), weight(b, prefix, key, "bias") };
    const sl_attr attr = { .act = act };
    return sl_graph_add(b->g, SL_OP_LINEAR, *prefix ? prefix : key, &attr,
                        (sl_value[SL_MAX_INPUTS]) { x, residual }, w, 2);
}

static sl_value norm(const builder *b, const char *prefix, const char *key, sl_value x, float eps)
{
    const sl_tensor *w[] = { weight(b, prefix, key, "weight"), weight(b, prefix, key, "bias") };
    const sl_attr attr = { .eps = eps };
    return sl_graph_add(b->g, SL_OP_LAYER_NORM, *prefix ? prefix : key, &attr,
                        (sl_value[SL_MAX_INPUTS]) { x }, w, 2);
}

static sl_value simple(const builder *b, sl_op op, const char *label, const sl_attr *attr,
                       sl_value x)
{
    return sl_graph_add(b->g, op, label, attr, (sl_value[SL_MAX_INPUTS]) { x }, NULL, 0);
}

// ---- stages

static sl_value embed(const builder *b, uint32_t index, const char *label, uint32_t stride,
                      sl_value x)
{
    const sl_attr attr = { .stride = stride, .pad = 1, .act = SL_ACT_RELU };
    const sl_tensor *made = b->model->soft_weights.embed[index];
    const sl_tensor *w[] = { &made[0], &made[1] };
    return sl_graph_add(b->g, SL_OP_CONV2D, label, &attr, (sl_value[SL_MAX_INPUTS]) { x }, w, 2);
}

// The patch embedding of a stage and its positions; in the last one the class token joins.
static sl_value enter_stage(const builder *b, uint32_t stage, sl_value x)
{
    char label[32], name[32];
    snprintf(label, sizeof(label), "patch_embed%u", stage + 1);
    if (stage == 0) {
        x = embed(b, 0, label, 2, x);
        x = embed(b, 1, label, 1, x);
        x = embed(b, 2, label, 2, x);
    } else {
        x = embed(b, 2 + stage, label, 2, x);
    }
    snprintf(name, sizeof(name), "pos_embed%u", stage + 1);
    const sl_tensor *w[] = { sl_find(b->model->set, b->root, name),
                             sl_find(b->model->set, b->root, "cls_token") };
    bool has_token = stage == SL_SOFT_STAGES - 1 && b->config->class_token;
    return sl_graph_add(b->g, has_token ? SL_OP_CLASS_TOKENS : SL_OP_ADD_POSITION, name, NULL,
                        (sl_value[SL_MAX_INPUTS]) { x }, w, has_token ? 2 : 1);
}

// M = LN1(X + Attn(X)); X' = LN2(M + W2 gelu(W1 M))
static sl_value free_block(const builder *b, uint32_t stage, uint32_t index, sl_value x)
{
    const sl_soft_config *c = b->config;
    char p[32];
    snprintf(p, sizeof(p), "block%u.%u.att", stage + 1, index);
    const sl_attr attr = { .heads = c->heads[stage],
                           .factor = c->ratios[stage],
                           .landmarks = c->landmarks,
                           .inverse = c->inverse,
                           .iterations = c->iterations,
                           .eps = FREE_EPS };
    const sl_tensor *w[SL_SOFT_WEIGHTS] = {
        [SL_SOFT_LANDMARK_W] = weight(b, p, "mha.attn.Qlandmark_op", "weight"),
        [SL_SOFT_NORM_W] = weight(b, p, "mha.attn.Qnorm_act.0", "weight"),
        [SL_SOFT_NORM_B] = weight(b, p, "mha.attn.Qnorm_act.0", "bias"),
        [SL_SOFT_CONV_W] = weight(b, p, "mha.attn.conv", "weight"),
    };
    sl_value q = linear(b, p, "mha.W_q", x, SL_NO_VALUE, SL_ACT_NONE);
    sl_value v = linear(b, p, "mha.W_v", x, SL_NO_VALUE, SL_ACT_NONE);
    sl_value y = sl_graph_add(b->g, SL_OP_SOFT_ATTENTION, p, &attr,
                              (sl_value[SL_MAX_INPUTS]) { q, v }, w, SL_SOFT_WEIGHTS);
    sl_value m = norm(b, p, "norm1", linear(b, p, "mha.ff", y, x, SL_ACT_NONE), FREE_EPS);
    y = linear(b, p, "ff1", m, SL_NO_VALUE, SL_ACT_GELU_TANH);
    return norm(b, p, "norm2", linear(b, p, "ff2", y, m, SL_ACT_NONE), FREE_EPS);
}

// X = X + Wproj Attn(LN1(X)); X = X + W2 gelu(W1 LN2(X))
static sl_value last_block(const builder *b, uint32_t index, sl_value x)
{
    char p[32];
    snprintf(p, sizeof(p), "block%u.%u", SL_SOFT_STAGES, index);
    const sl_attr attr = { .heads = b->config->heads[SL_SOFT_STAGES - 1] };
    sl_value y = norm(b, p, "norm1", x, LAST_EPS);
    sl_value q = linear(b, p, "attn.q", y, SL_NO_VALUE, SL_ACT_NONE);
    sl_value kv = linear(b, p, "attn.kv", y, SL_NO_VALUE, SL_ACT_NONE);
    y = sl_graph_add(b->g, SL_OP_ATTENTION, p, &attr, (sl_value[SL_MAX_INPUTS]) { q, kv }, NULL, 0);
    x = linear(b, p, "attn.proj", y, x, SL_ACT_NONE);
    y = linear(b, p, "mlp.fc1", norm(b, p, "norm2", x, LAST_EPS), SL_NO_VALUE, SL_ACT_GELU);
    return linear(b, p, "mlp.fc2", y, x, SL_ACT_NONE);
}

// ---- stages one by one

// The map of the last stage, without the class token.
static sl_value drop_token(const builder *b, uint64_t height, uint64_t width, sl_value tokens)
{
    uint64_t rows = height, columns = width;
    for (unsigned i = 0; i < 5; i++) { // five convolutions of stride 2
        rows = rows / 2 + rows % 2;
        columns = columns / 2 + columns % 2;
    }
    const sl_attr attr = { .first = 1, .rows = (uint32_t)rows, .columns = (uint32_t)columns };
    return b->config->class_token ? simple(b, SL_OP_ROWS, "stage4", &attr, tokens) : tokens;
}

static sl_value build_stage(const builder *b, uint32_t stage, sl_value x)
{
    x = enter_stage(b, stage, x);
    for (uint32_t i = 0; i < b->config->depths[stage]; i++)
        x = stage < SL_SOFT_FREE_STAGES ? free_block(b, stage, i, x) : last_block(b, i, x);
    return x;
}

sl_status sl_soft_check_inverse(sl_graph *g, const sl_model *model)
{
    if (model->soft.has_inverse)
        return SL_OK;
    return g->status = sl_fail(g->ctx, SL_ERR_ARGUMENT,
                               "%s: the files of SOFT and SOFT-Norm are alike, and this one does "
                               "not say which it is; convert it once, and name its inverse: "
                               "\"soft\" or \"norm\"",
                               sl_tensor_set_path(model->set));
}

sl_status sl_soft_stages(sl_graph *g, const sl_model *model, const char *root, sl_value image,
                         sl_value maps[SL_SOFT_STAGES])
{
    const builder b = { g, model, &model->soft, root };
    if (g->status != SL_OK)
        return g->status;
    const uint64_t height = g->values[image].shape.dim[0], width = g->values[image].shape.dim[1];
    sl_value x = image;
    for (uint32_t stage = 0; stage < SL_SOFT_STAGES; stage++)
        maps[stage] = x = build_stage(&b, stage, x);
    maps[SL_SOFT_STAGES - 1] = drop_token(&b, height, width, x);
    return g->status;
}

// ---- a SOFT by itself, with its outputs

static void give_map(const builder *b, unsigned outputs, uint32_t stage, sl_value map)
{
    char name[16];
    if (!(outputs & (1u << stage)))
        return;
    snprintf(name, sizeof(name), "stage%u", stage + 1);
    sl_graph_output(b->g, map, name);
}

static void give_mean(const builder *b, const char *name, sl_value map)
{
    sl_graph_output(b->g, simple(b, SL_OP_MEAN, name, NULL, map), name);
}

static void give_head(const builder *b, sl_value tokens)
{
    const sl_soft_weights *made = &b->model->soft_weights;
    const sl_attr first = { .rows = 1 };
    if (!weight(b, "", "norm", "weight") || !b->config->class_token)
        return;
    sl_value e = simple(b, SL_OP_ROWS, "head", &first, tokens);
    e = norm(b, "", "norm", e, LAST_EPS);
    const sl_tensor *head[] = { weight(b, "", "head", "weight"), &made->head_bias };
    const sl_tensor *directions[] = { &made->logits[0], &made->logits[1] };
    sl_value z = SL_NO_VALUE;
    const sl_attr none = { 0 };
    if (b->config->head != SL_SOFT_HEAD_NONE)
        z = sl_graph_add(b->g, SL_OP_LINEAR, "head", &none, (sl_value[SL_MAX_INPUTS]) { e }, head,
                         2);
    if (b->config->embedding > 0) {
        e = simple(b, SL_OP_UNIT, "head", NULL, z);
        z = sl_graph_add(b->g, SL_OP_LINEAR, "directions", &none, (sl_value[SL_MAX_INPUTS]) { e },
                         directions, 2);
    }
    sl_graph_output(b->g, e, "embedding");
    sl_graph_output(b->g, z, "logits");
}

static sl_status build_graph(const builder *b, const sl_soft_options *options)
{
    sl_graph *g = b->g;
    unsigned outputs = options->outputs;
    sl_status st = sl_soft_check_size(g->ctx, b->config, options->height, options->width);
    if (st != SL_OK)
        return g->status = st;
    const sl_shape shape = { .rank = 3, .dim = { options->height, options->width, 3 } };
    sl_value x = sl_graph_input(g, "image", &shape);
    for (uint32_t stage = 0; stage < SL_SOFT_FREE_STAGES; stage++) {
        x = build_stage(b, stage, x);
        give_map(b, outputs, stage, x);
    }
    if (outputs & SL_SOFT_POOL3)
        give_mean(b, "pool3", x);
    x = build_stage(b, SL_SOFT_FREE_STAGES, x);
    if (outputs & (SL_SOFT_STAGE4 | SL_SOFT_POOL4)) {
        sl_value map = drop_token(b, options->height, options->width, x);
        give_map(b, outputs, SL_SOFT_FREE_STAGES, map);
        if (outputs & SL_SOFT_POOL4)
            give_mean(b, "pool4", map);
    }
    give_head(b, x);
    return g->status;
}

sl_status sl_soft_build(sl_graph *g, const sl_model *model, const sl_soft_options *options)
{
    const builder b = { g, model, &model->soft, "" };
    return sl_soft_check_inverse(g, model) == SL_OK ? build_graph(&b, options) : g->status;
}

// ---- as one of the architectures

static bool is_like(const sl_tensor_set *set)
{
    return sl_tensor_set_find(set, "patch_embed1.proj.0.weight") != NULL;
}

static sl_status open_model(sl_ctx *ctx, sl_model *model)
{
    sl_status st = sl_soft_config_read(ctx, model->set, &model->soft);
    if (st == SL_OK)
        st = sl_soft_check(ctx, model->set, &model->soft);
    if (st == SL_OK)
        st = sl_soft_weights_make(ctx, model->set, "", &model->soft, &model->soft_weights);
    return st;
}

static void close_model(sl_model *model)
{
    sl_soft_weights_free(&model->soft_weights);
}

sl_status sl_soft_tell_inverse(sl_ctx *ctx, const char *path, const char *inverse, bool is_final,
                               sl_soft_config *config)
{
    if (inverse) {
        bool is_norm = strcmp(inverse, "norm") == 0;
        if (!is_norm && strcmp(inverse, "soft") != 0)
            return sl_fail(ctx, SL_ERR_ARGUMENT, "there is no inverse \"%.64s\"; soft or norm",
                           inverse);
        sl_inverse named = is_norm ? SL_INVERSE_NORM : SL_INVERSE_SOFT;
        if (config->has_inverse && config->inverse != named)
            return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: it says that its inverse is %s, not %s", path,
                           is_norm ? "soft" : "norm", inverse);
        config->inverse = named;
        config->has_inverse = true;
    }
    if (is_final && !config->has_inverse)
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "%s: the files of SOFT and SOFT-Norm are alike, and this one does not say "
                       "which it is; name its inverse: \"soft\" or \"norm\"",
                       path);
    return sl_soft_check_landmarks(ctx, path, config);
}

static sl_status config_json(sl_ctx *ctx, const sl_model *model, const char *inverse, bool is_final,
                             char **out)
{
    sl_soft_config config = model->soft;
    sl_status st =
        sl_soft_tell_inverse(ctx, sl_tensor_set_path(model->set), inverse, is_final, &config);
    if (st != SL_OK)
        return st;
    *out = sl_soft_config_json(ctx, &config);
    return *out ? SL_OK : SL_ERR_NOMEM;
}

static void sides(const sl_model *model, uint32_t *width, uint32_t *height, uint32_t *multiple)
{
    *width = *height = model->soft.image;
    *multiple = 1;
}

// Which inverse it is makes no difference to the costs.
static sl_status build_for_costs(sl_graph *g, const sl_model *model, uint32_t height,
                                 uint32_t width)
{
    const sl_soft_options options = { .height = height, .width = width, .outputs = SL_SOFT_ALL };
    const builder b = { g, model, &model->soft, "" };
    return build_graph(&b, &options);
}

const sl_architecture sl_architecture_soft = { .name = "soft",
                                               .is_like = is_like,
                                               .open = open_model,
                                               .close = close_model,
                                               .config_json = config_json,
                                               .sides = sides,
                                               .build = build_for_costs };
