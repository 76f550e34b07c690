// SPDX-License-Identifier: MIT
// cpu/linear.c: rows times a weight matrix, with bias, activation and residual.
#include "cpu/op.h"

typedef struct linear_state {
    sl_packed weight;
    const float *bias;
} linear_state;

typedef struct linear_job {
    const sl_cpu_call *call;
    sl_gemm_grid grid;
} linear_job;

static sl_status prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                         const sl_node *node, const sl_kernels *kernels, void **state)
{
    linear_state *s = sl_cpu_weights_alloc(ctx, weights, 1, sizeof *s);
    (void)g;
    if (!s)
        return SL_ERR_NOMEM;
    s->bias = sl_cpu_weights_f32(ctx, weights, node->weight[1]);
    if (!s->bias)
        return SL_ERR_NOMEM;
    *state = s;
    return sl_cpu_weights_pack_tensor(ctx, weights, kernels, node->weight[0], &s->weight);
}

static void task(void *arg, size_t index, unsigned worker)
{
    const linear_job *job = arg;
    const sl_cpu_call *call = job->call;
    const linear_state *s = call->state;
    (void)worker;
    sl_gemm g = { .a = call->in[0],
                  .lda = s->weight.k,
                  .b = &s->weight,
                  .bias = s->bias,
                  .act = call->node->attr.act,
                  .slope = call->node->attr.slope,
                  .residual = call->in[1],
                  .ldr = s->weight.n,
                  .c = call->out[0],
                  .ldc = s->weight.n };
    sl_cpu_grid_part(&job->grid, index, &g);
    call->kernels->gemm(&g);
}

static void run(const sl_cpu_call *call)
{
    const linear_state *s = call->state;
    const sl_value_info *values = call->graph->values;
    size_t rows = values[call->node->in[0]].bytes / sizeof(float) / s->weight.k;
    if (call->in[2]) {
        size_t windows = values[call->node->in[2]].shape.dim[0] - 4;
        rows = rows / windows * sl_list_count(call->in[2], windows);
    }
    linear_job job = { .call = call,
                       .grid =
                           sl_cpu_grid(call->kernels, &s->weight, rows, sl_pool_size(call->pool)) };
    sl_pool_run(call->pool, task, &job, sl_cpu_grid_parts(&job.grid));
}

const sl_cpu_op sl_cpu_linear = { .prepare = prepare, .run = run, .takes_bf16 = true };
