// SPDX-License-Identifier: MIT
// cpu/layer_norm.c: LayerNorm over the last axis, and the modulator that is added behind it.
#include "cpu/op.h"

#define CHUNK_ROWS 64

typedef struct norm_state {
    const float *weight, *bias, *add;
    size_t channels, add_rows;
} norm_state;

typedef struct norm_job {
    const sl_cpu_call *call;
    size_t rows, chunk;
} norm_job;

static sl_status prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                         const sl_node *node, const sl_kernels *kernels, void **state)
{
    norm_state *s = sl_cpu_weights_alloc(ctx, weights, 1, sizeof *s);
    (void)g, (void)kernels;
    if (!s)
        return SL_ERR_NOMEM;
    s->channels = node->weight[0]->shape.dim[0];
    s->weight = sl_cpu_weights_f32(ctx, weights, node->weight[0]);
    s->bias = sl_cpu_weights_f32(ctx, weights, node->weight[1]);
    if (!s->weight || !s->bias)
        return SL_ERR_NOMEM;
    if (node->weight[2]) {
        s->add_rows = node->weight[2]->shape.dim[0];
        s->add = sl_cpu_weights_f32(ctx, weights, node->weight[2]);
        if (!s->add)
            return SL_ERR_NOMEM;
    }
    *state = s;
    return SL_OK;
}

static void task(void *arg, size_t index, unsigned worker)
{
    const norm_job *job = arg;
    const norm_state *s = job->call->state;
    size_t first = index * job->chunk, rows = job->rows - first;
    (void)worker;
    sl_norm n = { .x = (const float *)job->call->in[0] + first * s->channels,
                  .ldx = s->channels,
                  .rows = rows < job->chunk ? rows : job->chunk,
                  .channels = s->channels,
                  .weight = s->weight,
                  .bias = s->bias,
                  .add = s->add,
                  .add_rows = s->add_rows,
                  .eps = job->call->node->attr.eps,
                  .y = (float *)job->call->out[0] + first * s->channels,
                  .ldy = s->channels };
    job->call->kernels->layer_norm(&n);
}

static void run(const sl_cpu_call *call)
{
    const norm_state *s = call->state;
    const sl_value_info *values = call->graph->values;
    norm_job job = { .call = call,
                     .rows = values[call->node->in[0]].bytes / sizeof(float) / s->channels,
                     .chunk = s->add ? s->add_rows : CHUNK_ROWS }; // chunks begin at row 0 of `add`
    if (call->in[1]) {
        size_t windows = values[call->node->in[1]].shape.dim[0] - 4;
        job.rows = job.rows / windows * sl_list_count(call->in[1], windows);
    }
    sl_pool_run(call->pool, task, &job, (job.rows + job.chunk - 1) / job.chunk);
}

const sl_cpu_op sl_cpu_layer_norm = { .prepare = prepare, .run = run };
