// SPDX-License-Identifier: MIT
// cpu/tokens.c: position embeddings and class tokens onto maps, rows out of them, means and unit
// rows.
#include "cpu/op.h"

#include <math.h>

#define LEAST_LENGTH 1e-12
#define MEAN_CHANNELS 64

// ---- position embeddings

typedef struct position_state {
    const float *class_row; // cls + embedding's first row; NULL where the op makes no class token
    const float *grid;      // [side,side,C]
    size_t side;
} position_state;

static sl_status prepare_positions(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                                   const sl_node *node, const sl_kernels *kernels, void **state)
{
    bool has_class_row;
    size_t channels = node->weight[0]->shape.dim[2];
    (void)g;
    (void)kernels;
    position_state *s = sl_cpu_weights_alloc(ctx, weights, 1, sizeof(*s));
    float *embedding = s ? sl_cpu_weights_f32(ctx, weights, node->weight[0]) : NULL;
    if (!embedding)
        return SL_ERR_NOMEM;
    s->side = sl_position_grid(node->weight[0], &has_class_row);
    s->grid = embedding + (has_class_row ? channels : 0);
    if (node->op == SL_OP_CLASS_TOKENS) {
        float *row = sl_cpu_weights_f32(ctx, weights, node->weight[1]);
        if (!row)
            return SL_ERR_NOMEM;
        for (size_t c = 0; c < channels; c++)
            row[c] += embedding[c];
        s->class_row = row;
    }
    *state = s;
    return SL_OK;
}

typedef struct position_job {
    const sl_cpu_call *call;
    size_t height, width, channels;
    float *out; // the map's first token
} position_job;

// Where output i of `count` lies among the `side` rows of the grid: between `first` and `second`,
// `share` of the way.
typedef struct place {
    size_t first, second;
    float share;
} place;

static place find_place(size_t i, size_t count, size_t side)
{
    double at = ((double)i + 0.5) * (double)side / (double)count - 0.5;
    at = at > 0 ? at : 0;
    size_t first = (size_t)at < side ? (size_t)at : side - 1;
    return (place) { first, first + 1 < side ? first + 1 : first, (float)(at - (double)first) };
}

static void position_row(void *arg, size_t y, unsigned worker)
{
    const position_job *job = arg;
    const position_state *s = job->call->state;
    size_t c = job->channels;
    const float *x = (const float *)job->call->in[0] + y * job->width * c;
    float *out = job->out + y * job->width * c;
    place row = find_place(y, job->height, s->side);
    const float *above = s->grid + row.first * s->side * c;
    const float *below = s->grid + row.second * s->side * c;
    (void)worker;
    for (size_t i = 0; i < job->width; i++, x += c, out += c) {
        place column = find_place(i, job->width, s->side);
        size_t left = column.first * c, right = column.second * c;
        float a = column.share, b = row.share;
        for (size_t k = 0; k < c; k++) {
            float top = (1 - a) * above[left + k] + a * above[right + k];
            float bottom = (1 - a) * below[left + k] + a * below[right + k];
            out[k] = x[k] + ((1 - b) * top + b * bottom);
        }
    }
}

static void run_positions(const sl_cpu_call *call)
{
    const position_state *s = call->state;
    const uint64_t *dim = call->graph->values[call->node->in[0]].shape.dim;
    position_job job = {
        .call = call, .height = dim[0], .width = dim[1], .channels = dim[2], .out = call->out[0]
    };
    if (s->class_row) {
        memcpy(job.out, s->class_row, job.channels * sizeof(float));
        job.out += job.channels;
    }
    sl_pool_run(call->pool, position_row, &job, job.height);
}

// ---- rows of channels

typedef struct rows_job {
    const float *x;
    float *out;
    size_t rows, channels;
} rows_job;

static rows_job describe(const sl_cpu_call *call)
{
    const sl_value_info *x = &call->graph->values[call->node->in[0]];
    rows_job job = { .x = call->in[0],
                     .out = call->out[0],
                     .channels = x->shape.dim[x->shape.rank - 1] };
    job.rows = x->bytes / sizeof(float) / job.channels;
    return job;
}

static void run_rows(const sl_cpu_call *call)
{
    rows_job job = describe(call);
    const float *from = job.x + call->node->attr.first * job.channels;
    memcpy(job.out, from, call->graph->values[call->node->out[0]].bytes);
}

// A task is a few channels, so that the order of a sum does not depend on the threads.
static void mean_task(void *arg, size_t task, unsigned worker)
{
    const rows_job *job = arg;
    size_t first = task * MEAN_CHANNELS, left = job->channels - first;
    size_t count = left < MEAN_CHANNELS ? left : MEAN_CHANNELS;
    double sum[MEAN_CHANNELS] = { 0 };
    (void)worker;
    for (size_t r = 0; r < job->rows; r++) {
        const float *x = job->x + r * job->channels + first;
        for (size_t c = 0; c < count; c++)
            sum[c] += (double)x[c];
    }
    for (size_t c = 0; c < count; c++)
        job->out[first + c] = (float)(sum[c] / (double)job->rows);
}

static void run_mean(const sl_cpu_call *call)
{
    rows_job job = describe(call);
    sl_pool_run(call->pool, mean_task, &job, (job.channels + MEAN_CHANNELS - 1) / MEAN_CHANNELS);
}

static void unit_row(void *arg, size_t row, unsigned worker)
{
    const rows_job *job = arg;
    const float *x = job->x + row * job->channels;
    float *out = job->out + row * job->channels;
    double squares = 0;
    (void)worker;
    for (size_t c = 0; c < job->channels; c++)
        squares += (double)x[c] * (double)x[c];
    double length = sqrt(squares);
    double scale = 1 / (length > LEAST_LENGTH ? length : LEAST_LENGTH);
    for (size_t c = 0; c < job->channels; c++)
        out[c] = (float)((double)x[c] * scale);
}

static void run_unit(const sl_cpu_call *call)
{
    rows_job job = describe(call);
    sl_pool_run(call->pool, unit_row, &job, job.rows);
}

const sl_cpu_op sl_cpu_add_position = { .prepare = prepare_positions, .run = run_positions };
const sl_cpu_op sl_cpu_class_tokens = { .prepare = prepare_positions, .run = run_positions };
const sl_cpu_op sl_cpu_rows = { .run = run_rows };
const sl_cpu_op sl_cpu_mean = { .run = run_mean };
const sl_cpu_op sl_cpu_unit = { .run = run_unit };
