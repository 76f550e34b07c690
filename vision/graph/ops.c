// SPDX-License-Identifier: MIT
// graph/ops.c: the op table: names, shape rules, costs. A new op begins with a row here.
#include "graph/rules.h"

static sl_status refuse(sl_graph *g, const sl_node *node, sl_status status, const char *why)
{
    char text[256] = "";
    for (unsigned i = 0; i < SL_MAX_INPUTS; i++) {
        if (node->in[i] == SL_NO_VALUE)
            continue;
        char shape[80];
        size_t used = strlen(text);
        sl_shape_text(&g->values[node->in[i]].shape, shape, sizeof shape);
        snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", shape);
    }
    return sl_fail(g->ctx, status, "%s %s: %s (inputs %s)", sl_op_get(node->op)->name, node->label,
                   why, text);
}

sl_status sl_rule_refuse(sl_graph *g, const sl_node *node, const char *why)
{
    return refuse(g, node, SL_ERR_FORMAT, why);
}

sl_status sl_rule_limit(sl_graph *g, const sl_node *node, const char *why)
{
    return refuse(g, node, SL_ERR_LIMIT, why);
}

static bool is_list(const sl_graph *g, const sl_node *node, unsigned i, uint64_t windows)
{
    if (node->in[i] == SL_NO_VALUE)
        return true;
    const sl_value_info *v = input(g, node, i);
    return v->dtype == SL_I32 && v->shape.rank == 1 && v->shape.dim[0] == windows + 4;
}

// Windows of a map whose sides are multiples of the window's; 0 when they are not.
static uint64_t window_count(const sl_shape *map, const sl_attr *attr)
{
    uint64_t w = attr->window;
    if (w < 1 || w > 64 || attr->shift >= w || map->dim[0] % w || map->dim[1] % w)
        return 0;
    return (map->dim[0] / w) * (map->dim[1] / w);
}

// ---- rules, in the order of the table

static sl_status shape_unshuffle(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    uint64_t f = node->attr.factor;
    (void)dtype;
    if (!is_map(x) || f < 1 || f > 64 || x->shape.dim[0] % f || x->shape.dim[1] % f)
        return sl_rule_refuse(g, node, "wants a map whose sides are multiples of the factor");
    out[0] = map_shape(x->shape.dim[0] / f, x->shape.dim[1] / f, x->shape.dim[2] * f * f);
    return SL_OK;
}

static sl_status shape_conv2d(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    const sl_tensor *w = node->weight[0];
    uint64_t stride = node->attr.stride, pad = node->attr.pad;
    (void)dtype;
    if (!is_map(x) || !w || w->shape.rank != 4 || stride < 1)
        return sl_rule_refuse(g, node, "wants a map, a weight [Cout,Cin,k,k] and a stride");
    uint64_t cout = w->shape.dim[0], k = w->shape.dim[2];
    if (cout < 1 || k < 1 || k > 64 || pad > k || w->shape.dim[3] != k ||
        w->shape.dim[1] != x->shape.dim[2] || !is_vector(node, 1, cout))
        return sl_rule_refuse(g, node, "weight, bias and channels do not fit together");
    if (x->shape.dim[0] + 2 * pad < k || x->shape.dim[1] + 2 * pad < k)
        return sl_rule_refuse(g, node, "the map is smaller than the kernel");
    out[0] = map_shape((x->shape.dim[0] + 2 * pad - k) / stride + 1,
                       (x->shape.dim[1] + 2 * pad - k) / stride + 1, cout);
    return SL_OK;
}

static sl_status shape_upconv(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0), *skip = input(g, node, 1);
    const sl_tensor *w = node->weight[0];
    (void)dtype;
    if (!is_map(x) || !is_map(skip) || skip->shape.dim[0] != 2 * x->shape.dim[0] ||
        skip->shape.dim[1] != 2 * x->shape.dim[1])
        return sl_rule_refuse(g, node, "wants a skip map of twice the sides");
    if (!w || !weight_is(node, 0, 4, x->shape.dim[2], w->shape.dim[1], 2, 2) ||
        w->shape.dim[1] < 1 || !is_vector(node, 1, w->shape.dim[1]))
        return sl_rule_refuse(g, node, "wants a weight [Cin,Cout,2,2] and its bias");
    out[0] =
        map_shape(skip->shape.dim[0], skip->shape.dim[1], w->shape.dim[1] + skip->shape.dim[2]);
    return SL_OK;
}

static bool is_plane(const sl_value_info *v, uint64_t height, uint64_t width)
{
    return v->dtype == SL_F32 && v->shape.rank == 2 && v->shape.dim[0] == height &&
           v->shape.dim[1] == width;
}

static sl_status shape_gate(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *image = input(g, node, 0), *y = input(g, node, 1);
    uint64_t f = node->attr.factor;
    (void)dtype;
    if (!is_map(image) || !is_map(y) || f < 1 || f > 64 || image->shape.dim[2] != 3 ||
        y->shape.dim[2] != 4 * f * f || y->shape.dim[0] * f != image->shape.dim[0] ||
        y->shape.dim[1] * f != image->shape.dim[1])
        return sl_rule_refuse(g, node, "wants an image [H,W,3] and a map [H/f,W/f,4*f*f]");
    const sl_value_info *sure = node->in[2] ? input(g, node, 2) : NULL;
    if (sure && !(is_plane(sure, image->shape.dim[0], image->shape.dim[1]) &&
                  node->attr.fade[0] >= 0 && node->attr.fade[0] < node->attr.fade[1]))
        return sl_rule_refuse(g, node, "wants a certainty [H,W], and to fade between two numbers");
    out[0] = image->shape;
    return SL_OK;
}

static sl_status shape_predict(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    (void)dtype;
    if (!is_map(x) || window_count(&x->shape, &node->attr) == 0)
        return sl_rule_refuse(g, node, "wants a map whose sides are multiples of the window");
    uint64_t c = x->shape.dim[2], w = node->attr.window;
    bool fits =
        c >= 4 && is_matrix(node, SL_PREDICT_IN0_W, c, c) && is_vector(node, SL_PREDICT_IN0_B, c) &&
        is_vector(node, SL_PREDICT_NORM_W, c) && is_vector(node, SL_PREDICT_NORM_B, c) &&
        is_matrix(node, SL_PREDICT_IN3_W, c, c) && is_vector(node, SL_PREDICT_IN3_B, c) &&
        is_matrix(node, SL_PREDICT_OUT0_W, c / 2, c) && is_vector(node, SL_PREDICT_OUT0_B, c / 2) &&
        is_matrix(node, SL_PREDICT_OUT2_W, c / 4, c / 2) &&
        is_vector(node, SL_PREDICT_OUT2_B, c / 4) && is_matrix(node, SL_PREDICT_OUT4_W, 2, c / 4) &&
        is_vector(node, SL_PREDICT_OUT4_B, 2);
    if (!fits)
        return sl_rule_refuse(g, node, "the predictor's weights do not fit the channels");
    out[0] = map_shape(x->shape.dim[0] / w, x->shape.dim[1] / w, 2);
    return SL_OK;
}

static sl_status shape_certainty(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *s = input(g, node, 0), *least = node->in[1] ? input(g, node, 1) : NULL;
    uint64_t w = node->attr.window, longest = UINT32_MAX / 2;
    (void)dtype;
    if (!is_map(s) || s->shape.dim[2] != 2 || w < 1 || node->attr.shift >= w ||
        s->shape.dim[0] > longest / w || s->shape.dim[1] > longest / w)
        return sl_rule_refuse(g, node, "wants scores [rows,columns,2] and a window in pixels");
    out[0] = (sl_shape) { .rank = 2, .dim = { s->shape.dim[0] * w, s->shape.dim[1] * w } };
    if (least && !is_plane(least, out[0].dim[0], out[0].dim[1]))
        return sl_rule_refuse(g, node, "wants the certainty so far, of the same pixels");
    return SL_OK;
}

static sl_status shape_select(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *s = input(g, node, 0);
    if (!is_map(s) || s->shape.dim[2] != 2)
        return sl_rule_refuse(g, node, "wants scores [rows,columns,2]");
    uint64_t windows = s->shape.dim[0] * s->shape.dim[1];
    if (windows > INT32_MAX - 4)
        return sl_rule_limit(g, node, "too many windows; give a smaller picture");
    out[0] = (sl_shape) { .rank = 1, .dim = { windows + 4 } };
    out[1] = (sl_shape) { .rank = 2, .dim = { s->shape.dim[0], s->shape.dim[1] } };
    dtype[0] = SL_I32;
    dtype[1] = SL_U8;
    return SL_OK;
}

static bool block_weights_fit(const sl_node *node, uint64_t c, uint64_t tokens)
{
    uint64_t w = node->attr.window, h = node->attr.heads;
    const sl_tensor *ff1 = node->weight[SL_BLOCK_FF1_W];
    if (!ff1 || ff1->shape.rank != 2)
        return false;
    uint64_t m = ff1->shape.dim[0];
    return m >= 1 && is_vector(node, SL_BLOCK_NORM1_W, c) && is_vector(node, SL_BLOCK_NORM1_B, c) &&
           (!node->weight[SL_BLOCK_MODULATOR] || is_matrix(node, SL_BLOCK_MODULATOR, tokens, c)) &&
           is_matrix(node, SL_BLOCK_BIAS_TABLE, (2 * w - 1) * (2 * w - 1), h) &&
           is_matrix(node, SL_BLOCK_Q_W, c, c) && is_vector(node, SL_BLOCK_Q_B, c) &&
           is_matrix(node, SL_BLOCK_KV_W, 2 * c, c) && is_vector(node, SL_BLOCK_KV_B, 2 * c) &&
           is_matrix(node, SL_BLOCK_PROJ_W, c, c) && is_vector(node, SL_BLOCK_PROJ_B, c) &&
           is_vector(node, SL_BLOCK_NORM2_W, c) && is_vector(node, SL_BLOCK_NORM2_B, c) &&
           is_matrix(node, SL_BLOCK_FF1_W, m, c) && is_vector(node, SL_BLOCK_FF1_B, m) &&
           weight_is(node, SL_BLOCK_DW_W, 4, m, 1, 3, 3) && is_vector(node, SL_BLOCK_DW_B, m) &&
           is_matrix(node, SL_BLOCK_FF2_W, c, m) && is_vector(node, SL_BLOCK_FF2_B, c);
}

static sl_status shape_block(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    (void)dtype;
    uint64_t windows = is_map(x) ? window_count(&x->shape, &node->attr) : 0;
    if (windows == 0 || !is_list(g, node, 1, windows))
        return sl_rule_refuse(g, node, "wants a map of whole windows and a list for it");
    uint64_t tokens = (uint64_t)node->attr.window * node->attr.window, c = x->shape.dim[2];
    if (node->attr.window < 2 || node->attr.heads < 1 || c % node->attr.heads ||
        !block_weights_fit(node, c, tokens))
        return sl_rule_refuse(g, node, "the block's weights do not fit channels, heads and window");
    out[0] = x->shape;
    return SL_OK;
}

static sl_status shape_gather(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    (void)dtype;
    uint64_t windows = is_map(x) ? window_count(&x->shape, &node->attr) : 0;
    if (windows == 0 || !is_list(g, node, 1, windows))
        return sl_rule_refuse(g, node, "wants a map of whole windows and a list for it");
    uint64_t tokens = (uint64_t)node->attr.window * node->attr.window;
    out[0] = (sl_shape) { .rank = 2, .dim = { windows * tokens, x->shape.dim[2] } };
    return SL_OK;
}

static sl_status shape_scatter(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0), *t = input(g, node, 1);
    (void)dtype;
    uint64_t windows = is_map(x) ? window_count(&x->shape, &node->attr) : 0;
    uint64_t tokens = (uint64_t)node->attr.window * node->attr.window;
    if (windows == 0 || !is_list(g, node, 2, windows) || t->shape.rank != 2 ||
        t->shape.dim[0] != windows * tokens || t->shape.dim[1] != x->shape.dim[2])
        return sl_rule_refuse(g, node, "wants a map, its windows' rows and a list for them");
    out[0] = x->shape;
    return SL_OK;
}

// Rows of a list op over packed windows: a list fits when its windows divide the rows.
static bool rows_fit_list(const sl_graph *g, const sl_node *node, unsigned i, uint64_t rows)
{
    if (node->in[i] == SL_NO_VALUE)
        return true;
    const sl_value_info *v = input(g, node, i);
    if (v->dtype != SL_I32 || v->shape.rank != 1 || v->shape.dim[0] < 5)
        return false;
    return rows % (v->shape.dim[0] - 4) == 0;
}

static sl_status shape_layer_norm(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    (void)dtype;
    if (x->dtype != SL_F32 || x->shape.rank < 1 || elements(&x->shape) == 0)
        return sl_rule_refuse(g, node, "wants rows of channels");
    uint64_t c = x->shape.dim[x->shape.rank - 1], rows = elements(&x->shape) / c;
    const sl_tensor *add = node->weight[2];
    if (!is_vector(node, 0, c) || !is_vector(node, 1, c) ||
        (add && (!is_matrix(node, 2, add->shape.dim[0], c) || add->shape.dim[0] < 1 ||
                 rows % add->shape.dim[0])) ||
        !rows_fit_list(g, node, 1, rows))
        return sl_rule_refuse(g, node, "weights do not fit the channels");
    out[0] = x->shape;
    return SL_OK;
}

static sl_status shape_linear(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    const sl_tensor *w = node->weight[0];
    (void)dtype;
    if (x->dtype != SL_F32 || x->shape.rank < 1 || elements(&x->shape) == 0 || !w ||
        w->shape.rank != 2 || w->shape.dim[0] < 1)
        return sl_rule_refuse(g, node, "wants rows of channels and a weight [M,K]");
    uint64_t k = x->shape.dim[x->shape.rank - 1];
    if (w->shape.dim[1] != k || !is_vector(node, 1, w->shape.dim[0]) ||
        !rows_fit_list(g, node, 2, elements(&x->shape) / k))
        return sl_rule_refuse(g, node, "weight, bias and channels do not fit together");
    out[0] = x->shape;
    out[0].dim[x->shape.rank - 1] = w->shape.dim[0];
    if (node->in[1] != SL_NO_VALUE &&
        (input(g, node, 1)->dtype != SL_F32 || !sl_shape_equal(&input(g, node, 1)->shape, &out[0])))
        return sl_rule_refuse(g, node, "the residual has another shape than the result");
    return SL_OK;
}

static sl_status shape_attention(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *q = input(g, node, 0), *kv = input(g, node, 1);
    const sl_attr *a = &node->attr;
    uint64_t w = a->window, windows = (uint64_t)a->rows * a->columns;
    (void)dtype;
    if (w < 1 || w > 64 || a->shift >= w || windows < 1 || a->heads < 1 || q->shape.rank != 2 ||
        kv->shape.rank != 2 || q->shape.dim[0] != windows * w * w ||
        kv->shape.dim[0] != q->shape.dim[0] || kv->shape.dim[1] != 2 * q->shape.dim[1] ||
        q->shape.dim[1] % a->heads || !is_list(g, node, 2, windows) ||
        !is_matrix(node, 0, (2 * w - 1) * (2 * w - 1), a->heads))
        return sl_rule_refuse(g, node,
                              "queries, keys, heads, windows and bias do not fit together");
    out[0] = q->shape;
    return SL_OK;
}

static sl_status shape_dwconv(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    uint64_t tokens = (uint64_t)node->attr.window * node->attr.window;
    (void)dtype;
    if (node->attr.window < 2 || node->attr.window > 64 || x->shape.rank != 2 ||
        x->shape.dim[0] < tokens || x->shape.dim[0] % tokens ||
        !weight_is(node, 0, 4, x->shape.dim[1], 1, 3, 3) || !is_vector(node, 1, x->shape.dim[1]) ||
        !is_list(g, node, 1, x->shape.dim[0] / tokens))
        return sl_rule_refuse(g, node, "wants whole windows of rows and a weight [C,1,3,3]");
    out[0] = x->shape;
    return SL_OK;
}

// ---- costs: multiply-accumulates as the specification counts them

static double macs_conv2d(const sl_graph *g, const sl_node *node)
{
    const uint64_t *w = node->weight[0]->shape.dim;
    return size_of(g, node->out[0]) * (double)(w[1] * w[2] * w[3]);
}

static double macs_upconv(const sl_graph *g, const sl_node *node)
{
    return size_of(g, node->in[0]) * (double)node->weight[0]->shape.dim[1] * 4;
}

static double macs_predict(const sl_graph *g, const sl_node *node)
{
    double c = (double)input(g, node, 0)->shape.dim[2];
    return size_of(g, node->in[0]) / c * (2 * c * c + c * c / 2 + c * c / 8 + c / 2);
}

static double macs_block(const sl_graph *g, const sl_node *node)
{
    double c = (double)input(g, node, 0)->shape.dim[2];
    double m = (double)node->weight[SL_BLOCK_FF1_W]->shape.dim[0];
    double tokens = (double)node->attr.window * node->attr.window;
    return size_of(g, node->in[0]) / c * (4 * c * c + 2 * tokens * c + m * (2 * c + 9));
}

static double macs_linear(const sl_graph *g, const sl_node *node)
{
    return size_of(g, node->out[0]) * (double)node->weight[0]->shape.dim[1];
}

static double macs_attention(const sl_graph *g, const sl_node *node)
{
    return size_of(g, node->in[0]) * 2 * node->attr.window * node->attr.window;
}

static double macs_dwconv(const sl_graph *g, const sl_node *node)
{
    return size_of(g, node->in[0]) * 9;
}

static const sl_op_info ops[SL_OP_COUNT] = {
    [SL_OP_INPUT] = { .name = "input", .family = "input" },
    [SL_OP_PIXEL_UNSHUFFLE] = { "pixel_unshuffle", "pixel", 1, 1, 1, 0, 0,
                                .shape = shape_unshuffle },
    [SL_OP_CONV2D] = { "conv2d", "conv", 1, 1, 1, 2, 2, .shape = shape_conv2d,
                       .macs = macs_conv2d },
    [SL_OP_UPCONV_CONCAT] = { "upconv_concat", "conv", 2, 2, 1, 2, 2, .shape = shape_upconv,
                              .macs = macs_upconv },
    [SL_OP_GATE] = { "gate", "pixel", 2, 3, 1, 0, 0, .shape = shape_gate },
    [SL_OP_PREDICT] = { "predict", "predict", 1, 1, 1, SL_PREDICT_WEIGHTS, SL_PREDICT_WEIGHTS,
                        .shape = shape_predict, .macs = macs_predict },
    [SL_OP_SELECT] = { "select", "predict", 1, 1, 2, 0, 0, .shape = shape_select },
    [SL_OP_CERTAINTY] = { "certainty", "predict", 1, 2, 1, 0, 0, .shape = shape_certainty },
    [SL_OP_WINDOW_BLOCK] = { "window_block", "block", 1, 2, 1, SL_BLOCK_WEIGHTS, SL_BLOCK_WEIGHTS,
                             .in_place = true, .takes_list = true, .shape = shape_block,
                             .macs = macs_block },
    [SL_OP_WINDOW_GATHER] = { "window_gather", "window", 1, 2, 1, 0, 0, .takes_list = true,
                              .shape = shape_gather },
    [SL_OP_WINDOW_SCATTER] = { "window_scatter", "window", 2, 3, 1, 0, 0, .in_place = true,
                               .takes_list = true, .shape = shape_scatter },
    [SL_OP_LAYER_NORM] = { "layer_norm", "norm", 1, 2, 1, 2, 3, .takes_list = true,
                           .shape = shape_layer_norm },
    [SL_OP_LINEAR] = { "linear", "linear", 1, 3, 1, 2, 2, .takes_list = true, .shape = shape_linear,
                       .macs = macs_linear },
    [SL_OP_WINDOW_ATTENTION] = { "window_attention", "attention", 2, 3, 1, 1, 1, .takes_list = true,
                                 .shape = shape_attention, .macs = macs_attention },
    [SL_OP_WINDOW_DWCONV] = { "window_dwconv", "dwconv", 1, 2, 1, 2, 2, .takes_list = true,
                              .shape = shape_dwconv, .macs = macs_dwconv },
    [SL_OP_ADD_POSITION] = { "add_position", "pixel", 1, 1, 1, 1, 1, .in_place = true,
                             .shape = sl_shape_add_position },
    [SL_OP_CLASS_TOKENS] = { "class_tokens", "pixel", 1, 1, 1, 2, 2,
                             .shape = sl_shape_class_tokens },
    [SL_OP_SOFT_ATTENTION] = { "soft_attention", "soft_attention", 2, 2, 1, 4, 4,
                               .shape = sl_shape_soft_attention, .macs = sl_macs_soft_attention },
    [SL_OP_ATTENTION] = { "attention", "attention", 2, 2, 1, 0, 0,
                          .shape = sl_shape_global_attention, .macs = sl_macs_global_attention },
    [SL_OP_ROWS] = { "rows", "pixel", 1, 1, 1, 0, 0, .shape = sl_shape_rows },
    [SL_OP_MEAN] = { "mean", "pixel", 1, 1, 1, 0, 0, .shape = sl_shape_mean },
    [SL_OP_UNIT] = { "unit", "norm", 1, 1, 1, 0, 0, .shape = sl_shape_unit },
    [SL_OP_ADD_NEAREST] = { "add_nearest", "pixel", 2, 2, 1, 0, 0, .in_place = true,
                            .shape = sl_shape_add_nearest },
    [SL_OP_CANDIDATES] = { "candidates", "candidates", 3, 3, 2, 1, 1,
                           .shape = sl_shape_candidates },
};

const sl_op_info *sl_op_get(sl_op op)
{
    return &ops[op];
}

double sl_node_macs(const sl_graph *g, const sl_node *node)
{
    return ops[node->op].macs ? ops[node->op].macs(g, node) : 0;
}
