// SPDX-License-Identifier: MIT
// cpu/dwconv.c: depthwise 3x3 convolution inside each window of packed rows.
#include "cpu/op.h"

typedef struct dwconv_state {
    const float *taps; // [9,C]
    const float *bias; // [C]
} dwconv_state;

float *sl_cpu_taps(sl_ctx *ctx, sl_cpu_weights *weights, const sl_tensor *weight, size_t first,
                   size_t count)
{
    float *source = sl_alloc(ctx, (size_t)weight->shape.dim[0], 9 * sizeof(float));
    float *taps = sl_cpu_weights_alloc(ctx, weights, count, 9 * sizeof(float));
    if (source && taps) {
        sl_tensor_to_f32(weight, source);
        for (size_t c = 0; c < count; c++)
            for (size_t tap = 0; tap < 9; tap++)
                taps[tap * count + c] = source[(first + c) * 9 + tap];
    }
    bool done = source && taps;
    free(source);
    return done ? taps : NULL;
}

static sl_status dwconv_prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                                const sl_node *node, const sl_kernels *kernels, void **state)
{
    (void)g;
    (void)kernels;
    dwconv_state *s = sl_cpu_weights_alloc(ctx, weights, 1, sizeof(*s));
    if (!s)
        return SL_ERR_NOMEM;
    s->taps = sl_cpu_taps(ctx, weights, node->weight[0], 0, (size_t)node->weight[0]->shape.dim[0]);
    s->bias = sl_cpu_weights_f32(ctx, weights, node->weight[1]);
    if (!s->taps || !s->bias)
        return SL_ERR_NOMEM;
    *state = s;
    return SL_OK;
}

static void convolve_window(void *arg, size_t task, unsigned worker)
{
    const sl_cpu_call *call = arg;
    const dwconv_state *s = call->state;
    size_t w = call->node->attr.window;
    size_t channels = (size_t)call->graph->values[call->node->in[0]].shape.dim[1];
    size_t offset = task * w * w * channels;
    (void)worker;
    sl_dwconv d = { .x = (const float *)call->in[0] + offset,
                    .ldx = channels,
                    .window = w,
                    .channels = channels,
                    .weight = s->taps,
                    .bias = s->bias,
                    .act = call->node->attr.act,
                    .slope = call->node->attr.slope,
                    .y = (float *)call->out[0] + offset,
                    .ldy = channels };
    call->kernels->dwconv(&d);
}

static void dwconv_op(const sl_cpu_call *call)
{
    size_t w = call->node->attr.window;
    size_t rows = (size_t)call->graph->values[call->node->in[0]].shape.dim[0];
    sl_pool_run(call->pool, convolve_window, (void *)call,
                sl_list_count(call->in[1], rows / (w * w)));
}

const sl_cpu_op sl_cpu_window_dwconv = { .prepare = dwconv_prepare, .run = dwconv_op };
