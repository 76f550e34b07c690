// SPDX-License-Identifier: MIT
// net/retina.c: RetinaNet on SOFT. "Focal Loss for Dense Object Detection", arXiv 1708.02002, with
// the conventions of mmdetection 2.x, whose tensor names these are.
#include "net/parts.h"

#define USUAL_LIMIT 1000

typedef struct builder {
    sl_graph *g;
    const sl_model *model;
    const sl_retina_options *options;
    sl_value extent;
} builder;

// One half of the head, "cls" or "reg", on one level.
static sl_value build_half(const builder *b, const char *half, sl_value x)
{
    char prefix[64];
    for (uint32_t i = 0; i < b->model->retina.tower; i++) {
        snprintf(prefix, sizeof(prefix), "bbox_head.%s_convs.%u.conv", half, i);
        x = sl_fpn_conv(b->g, b->model->set, prefix, 1, SL_ACT_RELU, x);
    }
    snprintf(prefix, sizeof(prefix), "bbox_head.retina_%s", half);
    return sl_fpn_conv(b->g, b->model->set, prefix, 1, SL_ACT_NONE, x);
}

static void give(const builder *b, const char *what, unsigned level, sl_value value)
{
    char name[32];
    snprintf(name, sizeof(name), "%s_P%u", what, level + 3);
    sl_graph_output(b->g, value, name);
}

static void build_level(const builder *b, unsigned level, sl_value x)
{
    sl_value cls = build_half(b, "cls", x), reg = build_half(b, "reg", x);
    if (b->options->raw) {
        give(b, "cls", level, cls);
        give(b, "reg", level, reg);
        return;
    }
    char label[16];
    snprintf(label, sizeof(label), "P%u", level + 3);
    const sl_tensor *w[] = { &b->model->retina_weights.anchors[level] };
    const sl_attr attr = { .stride = b->model->retina.strides[level],
                           .threshold = b->options->threshold,
                           .limit = b->options->limit ? b->options->limit : USUAL_LIMIT };
    sl_value rows = sl_graph_add(b->g, SL_OP_CANDIDATES, label, &attr,
                                 (sl_value[SL_MAX_INPUTS]) { cls, reg, b->extent }, w, 1);
    give(b, "rows", level, rows);
    give(b, "counts", level, sl_graph_second_output(b->g, rows));
}

static sl_status check_size(const builder *b)
{
    uint32_t height = b->options->height, width = b->options->width;
    if (height % SL_RETINA_MULTIPLE || width % SL_RETINA_MULTIPLE)
        return sl_fail(b->g->ctx, SL_ERR_ARGUMENT,
                       "a canvas of %u x %u; its sides must be multiples of %d pixels", width,
                       height, SL_RETINA_MULTIPLE);
    return sl_soft_check_size(b->g->ctx, &b->model->soft, height, width);
}

static sl_status build_graph(sl_graph *g, const sl_model *model, const sl_retina_options *options)
{
    builder b = { .g = g, .model = model, .options = options };
    const sl_shape image = { .rank = 3, .dim = { options->height, options->width, 3 } };
    const sl_shape extent = { .rank = 1, .dim = { 2 } };
    sl_value stages[SL_SOFT_STAGES] = { 0 }, levels[SL_RETINA_LEVELS] = { 0 };
    if (g->status == SL_OK)
        g->status = check_size(&b);
    sl_value x = sl_graph_input(g, "image", &image);
    if (!options->raw)
        b.extent = sl_graph_input(g, "extent", &extent);
    if (sl_soft_stages(g, model, SL_BACKBONE, x, stages) != SL_OK)
        return g->status;
    sl_fpn_build(g, model->set, stages + 1, levels);
    for (unsigned i = 0; i < SL_RETINA_LEVELS; i++)
        build_level(&b, i, levels[i]);
    return g->status;
}

sl_status sl_retina_build(sl_graph *g, const sl_model *model, const sl_retina_options *options)
{
    return sl_soft_check_inverse(g, model) == SL_OK ? build_graph(g, model, options) : g->status;
}

// ---- as one of the architectures

static bool is_like(const sl_tensor_set *set)
{
    return sl_tensor_set_find(set, "bbox_head.retina_cls.weight") != NULL;
}

static sl_status open_model(sl_ctx *ctx, sl_model *model)
{
    sl_status st = sl_retina_config_read(ctx, model);
    if (st == SL_OK)
        st = sl_retina_check(ctx, model);
    if (st == SL_OK)
        st = sl_soft_weights_make(ctx, model->set, SL_BACKBONE, &model->soft, &model->soft_weights);
    if (st == SL_OK)
        st = sl_retina_weights_make(ctx, &model->retina, &model->retina_weights);
    return st;
}

static void close_model(sl_model *model)
{
    sl_soft_weights_free(&model->soft_weights);
    sl_arena_free(&model->retina_weights.arena);
}

static sl_status config_json(sl_ctx *ctx, const sl_model *model, const char *inverse, bool is_final,
                             char **out)
{
    sl_soft_config backbone = model->soft;
    sl_status st =
        sl_soft_tell_inverse(ctx, sl_tensor_set_path(model->set), inverse, is_final, &backbone);
    if (st != SL_OK)
        return st;
    *out = sl_config_text(ctx, sl_retina_config_object(model, &backbone));
    return *out ? SL_OK : SL_ERR_NOMEM;
}

static void sides(const sl_model *model, uint32_t *width, uint32_t *height, uint32_t *multiple)
{
    *width = model->retina.image[0];
    *height = model->retina.image[1];
    *multiple = SL_RETINA_MULTIPLE;
}

// Which inverse it is makes no difference to the costs.
static sl_status build_for_costs(sl_graph *g, const sl_model *model, uint32_t height,
                                 uint32_t width)
{
    const sl_retina_options options = { .height = height, .width = width };
    return build_graph(g, model, &options);
}

const sl_architecture sl_architecture_retina = { .name = "soft-retinanet",
                                                 .is_like = is_like,
                                                 .open = open_model,
                                                 .close = close_model,
                                                 .config_json = config_json,
                                                 .sides = sides,
                                                 .build = build_for_costs };
