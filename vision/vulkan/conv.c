// SPDX-License-Identifier: MIT
// vulkan/conv.c: convolutions as matrix products over patches, which are read from the map itself.
#include "vulkan/program.h"

// ---- convolution

static sl_status fill_conv(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                           size_t numbers)
{
    const uint64_t *dim = node->weight[first]->shape.dim;
    size_t n = (size_t)dim[0], channels = (size_t)dim[1], taps = (size_t)(dim[2] * dim[3]);
    float *plain = sl_alloc(ctx, n * channels, taps * sizeof(*plain));
    (void)numbers;
    if (!plain)
        return SL_ERR_NOMEM;
    sl_tensor_to_f32(node->weight[first], plain);
    for (size_t o = 0; o < n; o++)
        for (size_t c = 0; c < channels; c++)
            for (size_t tap = 0; tap < taps; tap++)
                sl_vk_matrix_put(out, n, taps * channels, o, tap * channels + c,
                                 plain[(o * channels + c) * taps + tap]);
    free(plain);
    return SL_OK;
}

// A picture is f32 always; a program in f16 reads a copy of it.
static bool wants_copy(const sl_vk_program *p, const sl_node *node)
{
    return p->half && !sl_vk_is_half(p, node->in[0]);
}

static size_t conv_scratch(sl_vk_program *p, const sl_node *node)
{
    return wants_copy(p, node) ? p->graph->values[node->in[0]].bytes / 2 : 0;
}

static sl_status conv_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    const uint64_t *in = p->graph->values[node->in[0]].shape.dim;
    const uint64_t *out = p->graph->values[node->out[0]].shape.dim;
    uint32_t side = (uint32_t)node->weight[0]->shape.dim[2];
    sl_vk_gemm g = { .from = SL_VK_FROM_PATCHES,
                     .a = sl_vk_value(p, node->in[0]),
                     .c = sl_vk_value(p, node->out[0]),
                     .rows = out[0] * out[1],
                     .n = (uint32_t)out[2],
                     .k = side * side * (uint32_t)in[2],
                     .ldc = (uint32_t)out[2],
                     .act = node->attr.act,
                     .slope = node->attr.slope,
                     .side = side,
                     .stride = node->attr.stride,
                     .pad = node->attr.pad,
                     .in_height = (uint32_t)in[0],
                     .in_width = (uint32_t)in[1],
                     .out_width = (uint32_t)out[1],
                     .channels = (uint32_t)in[2] };
    sl_status st = SL_OK;
    if (wants_copy(p, node)) {
        st = sl_vk_emit_unshuffle(p, node->in[0], 1, scratch);
        g.a = scratch;
    }
    if (st == SL_OK)
        st = sl_vk_weight(p, node, 0, SL_VK_CONV, sl_vk_matrix_numbers(g.n, g.k), fill_conv, &g.b);
    if (st == SL_OK)
        st = sl_vk_plain(p, node, 1, &g.bias);
    return st == SL_OK ? sl_vk_emit_gemm(p, &g) : st;
}

// ---- transposed convolution, and the skip connection behind its channels

static sl_status fill_up(sl_ctx *ctx, const sl_node *node, size_t first, float *out, size_t numbers)
{
    const uint64_t *dim = node->weight[first]->shape.dim;
    size_t k = (size_t)dim[0], n = (size_t)dim[1];
    float *plain = sl_alloc(ctx, k * n, 4 * sizeof(*plain));
    (void)numbers;
    if (!plain)
        return SL_ERR_NOMEM;
    sl_tensor_to_f32(node->weight[first], plain);
    for (size_t c = 0; c < k; c++)
        for (size_t o = 0; o < n; o++)
            for (size_t tap = 0; tap < 4; tap++)
                sl_vk_matrix_put(out, 4 * n, k, tap * n + o, c, plain[(c * n + o) * 4 + tap]);
    free(plain);
    return SL_OK;
}

static sl_status fill_up_bias(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                              size_t numbers)
{
    (void)ctx;
    for (size_t tap = 0; tap < 4; tap++)
        sl_tensor_to_f32(node->weight[first], out + tap * (numbers / 4));
    return SL_OK;
}

typedef struct skip_push {
    uint32_t count, channels, stride, at_channel;
} skip_push;

static sl_status emit_skip(sl_vk_program *p, const sl_node *node, uint32_t at_channel)
{
    const sl_value_info *skip = &p->graph->values[node->in[1]]; // bytes: as f32
    const sl_vk_windows all = { .chunk = 1 };
    skip_push push = { .count = (uint32_t)(skip->bytes / sizeof(float)),
                       .channels = (uint32_t)skip->shape.dim[2],
                       .at_channel = at_channel };
    push.stride = at_channel + push.channels;
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_SKIP) },
                         .buffer = { sl_vk_value(p, node->in[1]), sl_vk_value(p, node->out[0]) },
                         .writes = 2,
                         .push_bytes = sizeof(push) };
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_groups(p, &all, push.count, 256, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

static sl_status upconv_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    const uint64_t *in = p->graph->values[node->in[0]].shape.dim;
    uint32_t outputs = (uint32_t)node->weight[0]->shape.dim[1];
    sl_vk_gemm g = { .to = SL_VK_TO_UPCONV,
                     .a = sl_vk_value(p, node->in[0]),
                     .c = sl_vk_value(p, node->out[0]),
                     .rows = in[0] * in[1],
                     .n = 4 * outputs,
                     .k = (uint32_t)in[2],
                     .lda = (uint32_t)in[2],
                     .ldc = (uint32_t)p->graph->values[node->out[0]].shape.dim[2],
                     .act = node->attr.act,
                     .slope = node->attr.slope,
                     .in_width = (uint32_t)in[1] };
    (void)scratch;
    sl_status st =
        sl_vk_weight(p, node, 0, SL_VK_UP, sl_vk_matrix_numbers(g.n, g.k), fill_up, &g.b);
    if (st == SL_OK)
        st = sl_vk_weight(p, node, 1, SL_VK_UP_BIAS, g.n, fill_up_bias, &g.bias);
    if (st == SL_OK)
        st = sl_vk_emit_gemm(p, &g);
    return st == SL_OK ? emit_skip(p, node, outputs) : st;
}

const sl_vk_op sl_vk_conv2d = { .scratch = conv_scratch, .emit = conv_emit };
const sl_vk_op sl_vk_upconv_concat = { .emit = upconv_emit };
