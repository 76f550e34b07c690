// SPDX-License-Identifier: MIT
// cpu/pixel.c: the two ends of the network, pixels into channels and the gated sum with the
// picture; how sure the predictors are of a pixel; and a map onto a finer one.
#include "cpu/op.h"

#include <math.h>

#define GATE_LEAST 0.1f

typedef struct pixel_job {
    const sl_cpu_call *call;
    size_t width, channels, factor; // of the full-size side
} pixel_job;

// Row y of the result: channel c*f*f + dy*f + dx.
static void unshuffle_row(void *arg, size_t y, unsigned worker)
{
    const pixel_job *job = arg;
    size_t f = job->factor, channels = job->channels, width = job->width / f;
    float *to = (float *)job->call->out[0] + y * width * channels * f * f;
    (void)worker;
    for (size_t dy = 0; dy < f; dy++) {
        const float *from = (const float *)job->call->in[0] + (y * f + dy) * job->width * channels;
        for (size_t x = 0; x < width; x++)
            for (size_t dx = 0; dx < f; dx++)
                for (size_t c = 0; c < channels; c++)
                    to[x * channels * f * f + c * f * f + dy * f + dx] = *from++;
    }
}

static void run_unshuffle(const sl_cpu_call *call)
{
    const uint64_t *in = call->graph->values[call->node->in[0]].shape.dim;
    pixel_job job = {
        .call = call, .width = in[1], .channels = in[2], .factor = call->node->attr.factor
    };
    sl_pool_run(call->pool, unshuffle_row, &job, in[0] / job.factor);
}

static float clamp01(float x) // NaN becomes 0: nothing but a picture leaves
{
    return x > 0 ? (x < 1 ? x : 1) : 0;
}

static float gate(float x) // expf may reach infinity: 1 / infinity is the right 0
{
    float s = 1.0f / (1.0f + expf(-x));
    return s > GATE_LEAST ? s : GATE_LEAST;
}

static void gate_row(void *arg, size_t y, unsigned worker)
{
    const pixel_job *job = arg;
    size_t f = job->factor;
    const float *image = (const float *)job->call->in[0] + y * job->width * 3;
    const float *map = (const float *)job->call->in[1] + y / f * (job->width / f) * 4 * f * f;
    const float *sure = job->call->in[2], *fade = job->call->node->attr.fade;
    float *out = (float *)job->call->out[0] + y * job->width * 3;
    (void)worker;
    for (size_t x = 0; x < job->width; x++) {
        const float *v = map + x / f * 4 * f * f + y % f * f + x % f;
        float g = gate(v[3 * f * f]);
        if (sure)
            g *= clamp01((sure[y * job->width + x] - fade[0]) / (fade[1] - fade[0]));
        for (size_t c = 0; c < 3; c++)
            out[3 * x + c] = clamp01(image[3 * x + c] + v[c * f * f] * g);
    }
}

static void run_gate(const sl_cpu_call *call)
{
    const uint64_t *in = call->graph->values[call->node->in[0]].shape.dim;
    pixel_job job = {
        .call = call, .width = in[1], .channels = 3, .factor = call->node->attr.factor
    };
    sl_pool_run(call->pool, gate_row, &job, in[0]);
}

// ---- how sure the predictors are

// Row `row` of scores [rows,columns,2] and the one `part` of the way to the next: at `column`.
typedef struct score_rows {
    const float *upper, *lower;
    float part;
} score_rows;

static float chance(const float score[2])
{
    return 1.0f / (1.0f + expf(score[1] - score[0]));
}

static float chance_at(const score_rows *rows, size_t column)
{
    float upper = chance(&rows->upper[2 * column]), lower = chance(&rows->lower[2 * column]);
    return upper + (lower - upper) * rows->part;
}

static score_rows rows_around(const float *scores, const uint64_t dim[3], const sl_attr *attr,
                              size_t y)
{
    float at = ((float)y + 0.5f - (float)attr->shift) / (float)attr->window - 0.5f;
    at = at > 0 ? at : 0;
    size_t last = dim[0] - 1, row = (size_t)at < last ? (size_t)at : last;
    const float *upper = scores + row * dim[1] * 2;
    return (score_rows) { .upper = upper,
                          .lower = row < last ? upper + dim[1] * 2 : upper,
                          .part = at - (float)row };
}

// The first pixel behind the middle of a window, or the end of the line.
static size_t middle(const sl_attr *attr, size_t window, size_t end)
{
    size_t pixel = (2 * (size_t)attr->shift + (2 * window + 1) * attr->window) / 2;
    return pixel < end ? pixel : end;
}

static void certainty_row(void *arg, size_t y, unsigned worker)
{
    const sl_cpu_call *call = arg;
    const sl_attr *attr = &call->node->attr;
    const uint64_t *dim = call->graph->values[call->node->in[0]].shape.dim;
    size_t columns = dim[1], width = columns * attr->window;
    const float *least = call->in[1] ? (const float *)call->in[1] + y * width : NULL;
    float *out = (float *)call->out[0] + y * width;
    score_rows rows = rows_around(call->in[0], dim, attr, y);
    float left = chance_at(&rows, 0), right;
    size_t x = 0;
    (void)worker;
    for (size_t k = 0; k <= columns; k++, left = right) { // up to the middle of window k
        size_t end = k < columns ? middle(attr, k, width) : width;
        right = k < columns ? chance_at(&rows, k) : left;
        float slope = (right - left) / (float)attr->window;
        float start = (float)attr->shift + ((float)k - 0.5f) * (float)attr->window - 0.5f;
        for (; x < end; x++) {
            float v = left + slope * ((float)x - start);
            out[x] = least && least[x] < v ? least[x] : v;
        }
    }
}

static void run_certainty(const sl_cpu_call *call)
{
    sl_cpu_call job = *call;
    sl_pool_run(call->pool, certainty_row, &job,
                call->graph->values[call->node->out[0]].shape.dim[0]);
}

// ---- a map onto a finer one

// One row of a map, plus its nearest one of a coarser map.
static void nearest_row(void *arg, size_t y, unsigned worker)
{
    const sl_cpu_call *call = arg;
    const uint64_t *fine = call->graph->values[call->node->in[0]].shape.dim;
    const uint64_t *coarse = call->graph->values[call->node->in[1]].shape.dim;
    size_t c = fine[2];
    float *x = (float *)call->out[0] + y * fine[1] * c;
    const float *row = (const float *)call->in[1] + y * coarse[0] / fine[0] * coarse[1] * c;
    (void)worker;
    for (size_t i = 0; i < fine[1]; i++, x += c) {
        const float *more = row + i * coarse[1] / fine[1] * c;
        for (size_t k = 0; k < c; k++)
            x[k] += more[k];
    }
}

static void run_add_nearest(const sl_cpu_call *call)
{
    sl_cpu_call job = *call;
    sl_pool_run(call->pool, nearest_row, &job, call->graph->values[call->node->in[0]].shape.dim[0]);
}

const sl_cpu_op sl_cpu_pixel_unshuffle = { .run = run_unshuffle };
const sl_cpu_op sl_cpu_gate = { .run = run_gate };
const sl_cpu_op sl_cpu_certainty = { .run = run_certainty };
const sl_cpu_op sl_cpu_add_nearest = { .run = run_add_nearest };
