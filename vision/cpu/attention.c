// SPDX-License-Identifier: MIT
// cpu/attention.c: window attention on packed rows, and the relative position bias it shares with
// the block.
#include "cpu/op.h"

typedef struct attention_state {
    const float *bias;  // [h,N,N]
    const float *masks; // [3][N,N], NULL in an unshifted block
} attention_state;

typedef struct attention_run {
    const sl_cpu_call *call;
    const int32_t *list;
    size_t channels, tokens;
    size_t scratch_floats; // of one worker
} attention_run;

float *sl_cpu_position_bias(sl_ctx *ctx, sl_cpu_weights *weights, const sl_tensor *table,
                            size_t window, size_t heads)
{
    size_t n = window * window, side = 2 * window - 1, count;
    float *source = sl_alloc(ctx, side * side * heads, sizeof(float));
    float *bias = sl_mul(n * n, heads, &count)
                      ? sl_cpu_weights_alloc(ctx, weights, count, sizeof(float))
                      : NULL;
    if (source && bias) {
        sl_tensor_to_f32(table, source);
        for (size_t h = 0; h < heads; h++)
            for (size_t p = 0; p < n; p++)
                for (size_t q = 0; q < n; q++) {
                    size_t dy = p / window + window - 1 - q / window;
                    size_t dx = p % window + window - 1 - q % window;
                    bias[(h * n + p) * n + q] = source[(dy * side + dx) * heads + h];
                }
    }
    bool done = source && bias;
    free(source);
    return done ? bias : NULL;
}

static size_t worker_floats(const sl_node *node, size_t channels, const sl_kernels *kernels)
{
    size_t tokens = (size_t)node->attr.window * node->attr.window;
    size_t floats = kernels->attention_scratch(tokens, channels / node->attr.heads);
    return (floats + 15) / 16 * 16; // whole cache lines
}

static size_t attention_scratch(const sl_graph *g, const sl_node *node, const sl_kernels *kernels,
                                unsigned workers)
{
    size_t channels = (size_t)g->values[node->in[0]].shape.dim[1];
    return worker_floats(node, channels, kernels) * workers * sizeof(float);
}

static sl_status attention_prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                                   const sl_node *node, const sl_kernels *kernels, void **state)
{
    size_t w = node->attr.window, n = w * w;
    (void)g;
    (void)kernels;
    attention_state *s = sl_cpu_weights_alloc(ctx, weights, 1, sizeof(*s));
    if (!s)
        return SL_ERR_NOMEM;
    s->bias = sl_cpu_position_bias(ctx, weights, node->weight[0], w, node->attr.heads);
    if (!s->bias)
        return SL_ERR_NOMEM;
    if (node->attr.shift > 0) {
        float *masks = sl_cpu_weights_alloc(ctx, weights, 3 * n * n, sizeof(float));
        if (!masks)
            return SL_ERR_NOMEM;
        sl_shift_masks(w, node->attr.shift, masks);
        s->masks = masks;
    }
    *state = s;
    return SL_OK;
}

static void attend_window(void *arg, size_t task, unsigned worker)
{
    const attention_run *r = arg;
    const sl_attr *attr = &r->call->node->attr;
    const attention_state *s = r->call->state;
    size_t row = task * r->tokens, c = r->channels;
    const float *kv = (const float *)r->call->in[1] + row * 2 * c;
    sl_attention a = { .q = (const float *)r->call->in[0] + row * c,
                       .k = kv,
                       .v = kv + c,
                       .ldq = c,
                       .ldkv = 2 * c,
                       .ldo = c,
                       .tokens = r->tokens,
                       .heads = attr->heads,
                       .head_dim = c / attr->heads,
                       .bias = s->bias,
                       .mask = sl_shift_mask(s->masks, attr->window, attr->rows, attr->columns,
                                             sl_list_at(r->list, task)),
                       .out = (float *)r->call->out[0] + row * c,
                       .scratch = (float *)r->call->scratch + worker * r->scratch_floats };
    r->call->kernels->attention(&a);
}

static void attention_op(const sl_cpu_call *call)
{
    const sl_attr *attr = &call->node->attr;
    size_t channels = (size_t)call->graph->values[call->node->in[0]].shape.dim[1];
    attention_run r = { .call = call,
                        .list = call->in[2],
                        .channels = channels,
                        .tokens = (size_t)attr->window * attr->window,
                        .scratch_floats = worker_floats(call->node, channels, call->kernels) };
    size_t windows = (size_t)attr->rows * attr->columns;
    sl_pool_run(call->pool, attend_window, &r, sl_list_count(r.list, windows));
}

const sl_cpu_op sl_cpu_window_attention = { .scratch = attention_scratch,
                                            .prepare = attention_prepare,
                                            .run = attention_op };
