// SPDX-License-Identifier: MIT
// cpu/softmax.c: softmax attention over all rows. Keys and values are packed once; a task takes a
// few queries of one head past all keys, block by block, and keeps no more than a block of scores.
#include "cpu/op.h"

#include <math.h>

#define QUERIES 32
#define KEYS 128

typedef struct softmax_job {
    const sl_cpu_call *call;
    size_t tokens, channels, heads, d;
    size_t query_blocks, key_blocks;
    size_t keys, values;  // floats of a packed block
    size_t worker_floats; // scores [QUERIES,KEYS], tops, sums
    float *packed, *workers;
} softmax_job;

static softmax_job describe(const sl_graph *g, const sl_node *node, const sl_kernels *kernels)
{
    const sl_value_info *q = &g->values[node->in[0]];
    softmax_job job = { .channels = q->shape.dim[q->shape.rank - 1], .heads = node->attr.heads };
    job.tokens = q->bytes / sizeof(float) / job.channels;
    job.d = job.channels / job.heads;
    job.query_blocks = (job.tokens + QUERIES - 1) / QUERIES;
    job.key_blocks = (job.tokens + KEYS - 1) / KEYS;
    job.keys = kernels->pack_floats(KEYS, job.d);
    job.values = kernels->pack_floats(job.d, KEYS);
    job.worker_floats = QUERIES * KEYS + 2 * QUERIES;
    return job;
}

static size_t packed_floats(const softmax_job *job)
{
    return job->heads * job->key_blocks * (job->keys + job->values);
}

static size_t scratch(const sl_graph *g, const sl_node *node, const sl_kernels *kernels,
                      unsigned workers)
{
    softmax_job job = describe(g, node, kernels);
    return (packed_floats(&job) + workers * job.worker_floats) * sizeof(float);
}

static size_t block_rows(size_t all, size_t block, size_t size)
{
    size_t left = all - block * size;
    return left < size ? left : size;
}

static float *packed_block(const softmax_job *job, size_t head, size_t block)
{
    return job->packed + (head * job->key_blocks + block) * (job->keys + job->values);
}

static void pack_task(void *arg, size_t task, unsigned worker)
{
    const softmax_job *job = arg;
    const sl_kernels *kernels = job->call->kernels;
    size_t head = task / job->key_blocks, block = task % job->key_blocks;
    size_t rows = block_rows(job->tokens, block, KEYS), ld = 2 * job->channels;
    const float *kv = (const float *)job->call->in[1] + block * KEYS * ld + head * job->d;
    float *to = packed_block(job, head, block);
    (void)worker;
    kernels->pack(kv, ld, rows, job->d, to);
    kernels->pack_rows(kv + job->channels, ld, job->d, rows, 1, 0, to + job->keys);
}

// Some queries against one block of keys; what was summed up before is in `out`.
static void meet_block(const softmax_job *job, size_t head, size_t block, const float *q,
                       sl_soften *soften)
{
    const sl_kernels *kernels = job->call->kernels;
    float *to = packed_block(job, head, block);
    sl_packed keys = { block_rows(job->tokens, block, KEYS), job->d, to };
    sl_packed values = { job->d, keys.n, to + job->keys };
    sl_gemm scores = {
        .a = q, .lda = job->channels, .rows = soften->rows, .b = &keys, .c = soften->x, .ldc = KEYS
    };
    kernels->gemm(&scores);
    soften->columns = keys.n;
    kernels->soften(soften);
    sl_gemm sums = { .a = soften->x,
                     .lda = KEYS,
                     .rows = soften->rows,
                     .b = &values,
                     .residual = soften->out,
                     .ldr = job->channels,
                     .c = soften->out,
                     .ldc = job->channels };
    kernels->gemm(&sums);
}

static void attend_task(void *arg, size_t task, unsigned worker)
{
    const softmax_job *job = arg;
    size_t head = task / job->query_blocks, block = task % job->query_blocks;
    size_t first = block * QUERIES * job->channels + head * job->d;
    float *memory = job->workers + worker * job->worker_floats;
    sl_soften s = { .x = memory,
                    .ld = KEYS,
                    .rows = block_rows(job->tokens, block, QUERIES),
                    .scale = 1 / sqrtf((float)job->d),
                    .top = memory + QUERIES * KEYS,
                    .sum = memory + QUERIES * KEYS + QUERIES,
                    .out = (float *)job->call->out[0] + first,
                    .ldo = job->channels,
                    .channels = job->d };
    for (size_t r = 0; r < s.rows; r++) {
        s.top[r] = SL_SOFTEN_START;
        s.sum[r] = 0;
        memset(s.out + r * s.ldo, 0, job->d * sizeof(float));
    }
    for (size_t i = 0; i < job->key_blocks; i++)
        meet_block(job, head, i, (const float *)job->call->in[0] + first, &s);
    for (size_t r = 0; r < s.rows; r++)
        for (size_t c = 0; c < job->d; c++)
            s.out[r * s.ldo + c] /= s.sum[r];
}

static void run(const sl_cpu_call *call)
{
    softmax_job job = describe(call->graph, call->node, call->kernels);
    job.call = call;
    job.packed = call->scratch;
    job.workers = job.packed + packed_floats(&job);
    sl_pool_run(call->pool, pack_task, &job, job.heads * job.key_blocks);
    sl_pool_run(call->pool, attend_task, &job, job.heads * job.query_blocks);
}

const sl_cpu_op sl_cpu_attention = { .scratch = scratch, .run = run };
