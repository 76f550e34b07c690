// SPDX-License-Identifier: MIT
// vulkan/predict.c: the score predictor and the selection of windows. As in cpu/predict.c all is
// linear between the LayerNorm and the GELU behind out_conv.0, so with t the normed features
//     out_conv.0 = t F + (mean(t) G + constant)
// and what stands in brackets becomes the bias of one matrix product. Folding is done in double.
#include "vulkan/program.h"

#define STRIP 256 // rows of a first sum

typedef struct predict {
    uint32_t height, width, channels, half, quarter, tokens, strips;
    uint64_t wide_bytes, half_bytes, sum_bytes, mean_bytes; // scratch, one behind the other
} predict;

static predict describe(const sl_vk_program *p, const sl_node *node)
{
    const uint64_t *dim = p->graph->values[node->in[0]].shape.dim;
    predict s = { .height = (uint32_t)dim[0],
                  .width = (uint32_t)dim[1],
                  .channels = (uint32_t)dim[2],
                  .half = (uint32_t)dim[2] / 2,
                  .quarter = (uint32_t)dim[2] / 4,
                  .tokens = (uint32_t)(dim[0] * dim[1]) };
    s.strips = (s.tokens + STRIP - 1) / STRIP;
    s.wide_bytes = sl_vk_align(s.tokens * s.channels * sl_vk_number(p));
    s.half_bytes = sl_vk_align(s.tokens * s.half * sl_vk_number(p));
    s.sum_bytes = sl_vk_align((uint64_t)s.strips * s.channels * sizeof(float));
    s.mean_bytes = sl_vk_align(s.channels * sizeof(float));
    return s;
}

static size_t predict_scratch(sl_vk_program *p, const sl_node *node)
{
    predict s = describe(p, node);
    return s.wide_bytes + s.half_bytes + s.sum_bytes + 2 * s.mean_bytes;
}

// ---- weights

typedef struct folding {
    float *v, *w3, *b3, *base; // out_conv.0, in_conv.3, their biases
    size_t c, half;
} folding;

static void folding_free(folding *f)
{
    free(f->v);
    free(f->w3);
    free(f->b3);
    free(f->base);
}

static sl_status folding_new(sl_ctx *ctx, const sl_node *node, folding *f)
{
    *f = (folding) { .c = (size_t)node->weight[SL_PREDICT_IN3_W]->shape.dim[0] };
    f->half = f->c / 2;
    f->v = sl_alloc(ctx, f->half * f->c, sizeof(float));
    f->w3 = sl_alloc(ctx, f->c * f->c, sizeof(float));
    f->b3 = sl_alloc(ctx, f->c, sizeof(float));
    f->base = sl_alloc(ctx, f->half, sizeof(float));
    if (!f->v || !f->w3 || !f->b3 || !f->base) {
        folding_free(f);
        return SL_ERR_NOMEM;
    }
    sl_tensor_to_f32(node->weight[SL_PREDICT_OUT0_W], f->v);
    sl_tensor_to_f32(node->weight[SL_PREDICT_IN3_W], f->w3);
    sl_tensor_to_f32(node->weight[SL_PREDICT_IN3_B], f->b3);
    sl_tensor_to_f32(node->weight[SL_PREDICT_OUT0_B], f->base);
    return SL_OK;
}

// Row i of V W3, over the inner channels from `first` to `last`; row [c].
static void fold_row(const folding *f, size_t i, size_t first, size_t last, double *row)
{
    memset(row, 0, f->c * sizeof(*row));
    for (size_t k = first; k < last; k++)
        for (size_t j = 0; j < f->c; j++)
            row[j] += (double)f->v[i * f->c + k] * (double)f->w3[k * f->c + j];
}

// F as a matrix, or G as [C, C/2].
static sl_status fill_folded(sl_ctx *ctx, const sl_node *node, float *out, bool mean)
{
    folding f;
    sl_status st = folding_new(ctx, node, &f);
    if (st != SL_OK)
        return st;
    double *row = sl_alloc(ctx, f.c, sizeof(*row));
    for (size_t i = 0; row && i < f.half; i++) {
        fold_row(&f, i, mean ? f.half : 0, mean ? f.c : f.half, row);
        for (size_t j = 0; j < f.c; j++) {
            if (mean)
                out[j * f.half + i] = (float)row[j];
            else
                sl_vk_matrix_put(out, f.half, f.c, i, j, (float)row[j]);
        }
    }
    folding_free(&f);
    free(row);
    return row ? SL_OK : SL_ERR_NOMEM;
}

static sl_status fill_matrix(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                             size_t numbers)
{
    (void)first;
    (void)numbers;
    return fill_folded(ctx, node, out, false);
}

static sl_status fill_mean(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                           size_t numbers)
{
    (void)first;
    (void)numbers;
    return fill_folded(ctx, node, out, true);
}

static sl_status fill_base(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                           size_t numbers)
{
    folding f;
    sl_status st = folding_new(ctx, node, &f);
    (void)first;
    if (st != SL_OK)
        return st;
    for (size_t i = 0; i < numbers; i++) {
        double sum = (double)f.base[i];
        for (size_t k = 0; k < f.c; k++)
            sum += (double)f.v[i * f.c + k] * (double)f.b3[k];
        out[i] = (float)sum;
    }
    folding_free(&f);
    return SL_OK;
}

static sl_status fill_last(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                           size_t numbers)
{
    (void)ctx;
    sl_tensor_to_f32(node->weight[first], out);
    sl_tensor_to_f32(node->weight[SL_PREDICT_OUT4_B], out + numbers - 2);
    return SL_OK;
}

typedef struct predict_weights {
    sl_vk_range in0, in0_b, norm_w, norm_b, folded, mean_weight, mean_base, out2, out2_b, last;
} predict_weights;

static sl_status find_weights(sl_vk_program *p, const sl_node *node, const predict *s,
                              predict_weights *w)
{
    size_t c = s->channels, half = s->half;
    sl_status st = sl_vk_matrix(p, node, SL_PREDICT_IN0_W, &w->in0);
    if (st == SL_OK)
        st = sl_vk_plain(p, node, SL_PREDICT_IN0_B, &w->in0_b);
    if (st == SL_OK)
        st = sl_vk_plain(p, node, SL_PREDICT_NORM_W, &w->norm_w);
    if (st == SL_OK)
        st = sl_vk_plain(p, node, SL_PREDICT_NORM_B, &w->norm_b);
    if (st == SL_OK)
        st = sl_vk_weight(p, node, SL_PREDICT_OUT0_W, SL_VK_FOLDED, sl_vk_matrix_numbers(half, c),
                          fill_matrix, &w->folded);
    if (st == SL_OK)
        st = sl_vk_weight(p, node, SL_PREDICT_OUT0_W, SL_VK_MEAN_WEIGHT, half * c, fill_mean,
                          &w->mean_weight);
    if (st == SL_OK)
        st = sl_vk_weight(p, node, SL_PREDICT_OUT0_B, SL_VK_MEAN_BASE, half, fill_base,
                          &w->mean_base);
    if (st == SL_OK)
        st = sl_vk_matrix(p, node, SL_PREDICT_OUT2_W, &w->out2);
    if (st == SL_OK)
        st = sl_vk_plain(p, node, SL_PREDICT_OUT2_B, &w->out2_b);
    if (st == SL_OK)
        st = sl_vk_weight(p, node, SL_PREDICT_OUT4_W, SL_VK_LAST, 2 * (size_t)s->quarter + 2,
                          fill_last, &w->last);
    return st;
}

// ---- dispatches

typedef enum columns_step { STRIPS, TOTAL, SHIFT } columns_step;

typedef struct columns_push {
    uint32_t rows, columns, strip, strips, outputs;
} columns_push;

static sl_status emit_columns(sl_vk_program *p, const predict *s, columns_step step, sl_vk_range x,
                              sl_vk_range g, sl_vk_range base, sl_vk_range y)
{
    columns_push push = { s->tokens, s->channels, STRIP, s->strips, s->half };
    uint32_t wide = step == SHIFT ? s->half : s->channels;
    sl_vk_kernel kernel = step == STRIPS ? sl_vk_variant(p, SL_VK_COLUMNS) : SL_VK_COLUMNS;
    sl_vk_dispatch d = { .key = { .kernel = kernel, .spec_count = 1, .spec = { step } },
                         .buffer = { x, g, base, y },
                         .writes = 1u << 3,
                         .push_bytes = sizeof(push),
                         .groups = { (wide + 63) / 64, step == STRIPS ? s->strips : 1, 1 },
                         .slot = SL_VK_NO_SLOT };
    memcpy(d.push, &push, sizeof(push));
    return sl_vk_emit(p, &d);
}

typedef struct score_push {
    uint32_t channels, window, shift, height, width;
} score_push;

static sl_status emit_score(sl_vk_program *p, const sl_node *node, const predict *s, sl_vk_range x,
                            sl_vk_range last)
{
    const sl_vk_windows all = { .chunk = 1 };
    uint32_t w = node->attr.window;
    score_push push = { s->quarter, w, node->attr.shift, s->height, s->width };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_SCORE) },
                         .buffer = { x, last, sl_vk_value(p, node->out[0]) },
                         .writes = 1u << 2,
                         .push_bytes = sizeof(push) };
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_groups(p, &all, s->height / w * (s->width / w), 1, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

static sl_status emit_product(sl_vk_program *p, const predict *s, sl_vk_range a, uint32_t k,
                              sl_vk_range b, sl_vk_range bias, sl_vk_range c, uint32_t n)
{
    sl_vk_gemm g = { .a = a,
                     .lda = k,
                     .k = k,
                     .b = b,
                     .bias = bias,
                     .c = c,
                     .n = n,
                     .ldc = n,
                     .rows = s->tokens,
                     .act = SL_ACT_GELU };
    return sl_vk_emit_gemm(p, &g);
}

static sl_status predict_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    const sl_vk_range none = { .space = SL_VK_NOWHERE };
    predict s = describe(p, node);
    predict_weights w;
    uint64_t at = s.wide_bytes;
    sl_vk_range wide = sl_vk_part(scratch, 0, s.wide_bytes);
    sl_vk_range half = sl_vk_part(scratch, at, s.half_bytes);
    sl_vk_range sums = sl_vk_part(scratch, at += s.half_bytes, s.sum_bytes);
    sl_vk_range mean = sl_vk_part(scratch, at += s.sum_bytes, s.mean_bytes);
    sl_vk_range shift = sl_vk_part(scratch, at + s.mean_bytes, s.mean_bytes);
    sl_status st = find_weights(p, node, &s, &w);
    if (st != SL_OK)
        return st;
    sl_vk_norm norm = { .x = wide,
                        .y = wide,
                        .weight = w.norm_w,
                        .bias = w.norm_b,
                        .rows = s.tokens,
                        .channels = s.channels,
                        .eps = node->attr.eps };
    st = emit_product(p, &s, sl_vk_value(p, node->in[0]), s.channels, w.in0, w.in0_b, wide,
                      s.channels);
    if (st == SL_OK)
        st = sl_vk_emit_norm(p, &norm);
    if (st == SL_OK)
        st = emit_columns(p, &s, STRIPS, wide, none, none, sums);
    if (st == SL_OK)
        st = emit_columns(p, &s, TOTAL, sums, none, none, mean);
    if (st == SL_OK)
        st = emit_columns(p, &s, SHIFT, mean, w.mean_weight, w.mean_base, shift);
    if (st == SL_OK)
        st = emit_product(p, &s, wide, s.channels, w.folded, shift, half, s.half);
    if (st == SL_OK)
        st = emit_product(p, &s, half, s.half, w.out2, w.out2_b, wide, s.quarter);
    return st == SL_OK ? emit_score(p, node, &s, wide, w.last) : st;
}

// ---- selection

typedef struct select_push {
    uint32_t windows;
    float threshold;
} select_push;

static sl_status select_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    sl_vk_range keep = sl_vk_value(p, node->out[1]);
    select_push push = { .windows = (uint32_t)(p->graph->values[node->in[0]].bytes / 8),
                         .threshold = node->attr.threshold };
    (void)scratch;
    keep.bytes = (keep.bytes + 3) / 4 * 4; // written in words; the planner's places are larger
    sl_vk_dispatch d = { .key = { .kernel = SL_VK_SELECT },
                         .buffer = { sl_vk_value(p, node->in[0]), sl_vk_value(p, node->out[0]),
                                     keep },
                         .writes = 6,
                         .push_bytes = sizeof(push),
                         .groups = { 1, 1, 1 },
                         .slot = SL_VK_NO_SLOT };
    memcpy(d.push, &push, sizeof(push));
    return sl_vk_emit(p, &d);
}

const sl_vk_op sl_vk_predict = { .scratch = predict_scratch, .emit = predict_emit };
const sl_vk_op sl_vk_select = { .emit = select_emit };
