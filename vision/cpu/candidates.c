// SPDX-License-Identifier: MIT
// cpu/candidates.c: the best boxes of one level of a detector. Each worker keeps the best of what
// it saw; what it keeps does not depend on the order, as no two candidates rank alike.
#include "cpu/op.h"

#include <math.h>

#define CHUNK 2048        // logits looked at together
#define TASK (16 * CHUNK) // logits of a task
#define SLACK 1e-2f       // of a logit: far more than rounding moves a sigmoid below MOST
#define MOST 8.0f

// Smaller is better: the bits of a score above 0 are ordered as it is, then comes the place.
typedef uint64_t rank;

typedef struct best { // a heap, the worst on top
    rank *ranks;      // [limit]
    size_t count;
    size_t odd; // numbers seen that are not finite
} best;

typedef struct candidates_job {
    const sl_cpu_call *call;
    size_t logits, limit;
    float threshold, bound; // bound: of logits, a little below the threshold
} candidates_job;

static sl_status prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                         const sl_node *node, const sl_kernels *kernels, void **state)
{
    (void)g;
    (void)kernels;
    *state = sl_cpu_weights_f32(ctx, weights, node->weight[0]);
    return *state ? SL_OK : SL_ERR_NOMEM;
}

static size_t best_bytes(const sl_node *node) // of one worker, in whole cache lines
{
    size_t bytes = sizeof(best) + node->attr.limit * sizeof(rank);
    return (bytes + SL_ALIGN - 1) / SL_ALIGN * SL_ALIGN;
}

static size_t scratch(const sl_graph *g, const sl_node *node, const sl_kernels *kernels,
                      unsigned workers)
{
    (void)g;
    (void)kernels;
    return best_bytes(node) * workers;
}

static best *best_of(const sl_cpu_call *call, unsigned worker)
{
    return (best *)(void *)((uint8_t *)call->scratch + worker * best_bytes(call->node));
}

// ---- the heap

static void sink(rank *ranks, size_t count, size_t at, rank x)
{
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && ranks[child + 1] > ranks[child])
            child++;
        if (ranks[child] <= x)
            break;
        ranks[at] = ranks[child];
        at = child;
    }
    ranks[at] = x;
}

static void keep(best *b, size_t limit, rank x)
{
    if (b->count == limit) {
        if (x < b->ranks[0])
            sink(b->ranks, limit, 0, x);
        return;
    }
    size_t at = b->count++;
    for (; at > 0 && b->ranks[(at - 1) / 2] < x; at = (at - 1) / 2)
        b->ranks[at] = b->ranks[(at - 1) / 2];
    b->ranks[at] = x;
}

static void sort(best *b) // the best first
{
    for (size_t count = b->count; count > 1; count--) {
        rank last = b->ranks[count - 1];
        b->ranks[count - 1] = b->ranks[0];
        sink(b->ranks, count - 1, 0, last);
    }
}

// ---- scores

static float sigmoid(float x) // expf may reach infinity: 1 / infinity is the right 0
{
    return 1.0f / (1.0f + expf(-x));
}

static float score_of(rank x)
{
    uint32_t bits = ~(uint32_t)(x >> 32);
    float score;
    memcpy(&score, &bits, sizeof(score));
    return score;
}

static rank rank_of(float score, uint32_t place)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof(bits));
    return (rank)~bits << 32 | place;
}

// A logit whose sigmoid is not above the score, nor is that of any below it.
static float bound_of(float score)
{
    float logit = logf(score / (1.0f - score)) - SLACK; // of 0: -infinity
    return logit < MOST ? logit : MOST;
}

static void look(const candidates_job *job, best *b, size_t first, size_t count)
{
    const float *logits = job->call->in[0];
    uint32_t places[CHUNK];
    bool is_full = b->count == job->limit;
    float bound = is_full ? bound_of(score_of(b->ranks[0])) : job->bound;
    bound = bound > job->bound ? bound : job->bound;
    size_t found = job->call->kernels->above(logits + first, count, bound, places, &b->odd);
    for (size_t i = 0; i < found; i++) {
        size_t at = first + places[i];
        float score = sigmoid(logits[at]);
        if (score > job->threshold)
            keep(b, job->limit, rank_of(score, (uint32_t)at));
    }
}

static void look_task(void *arg, size_t task, unsigned worker)
{
    const candidates_job *job = arg;
    size_t at = task * TASK, end = job->logits - at < TASK ? job->logits : at + TASK;
    for (; at < end; at += CHUNK)
        look(job, best_of(job->call, worker), at, end - at < CHUNK ? end - at : CHUNK);
}

// ---- boxes

static float clamp(float x, float low, float high)
{
    return x > low ? (x < high ? x : high) : low;
}

// The row of one candidate; how many of its deltas are not finite.
static size_t decode(const sl_cpu_call *call, rank x, float *row)
{
    const uint64_t *cls = call->graph->values[call->node->in[0]].shape.dim;
    const float *anchors = call->state, *extent = call->in[2];
    size_t all = call->node->weight[0]->shape.dim[0], classes = cls[2] / all;
    size_t place = (uint32_t)x, anchor = place / classes, a = anchor % all, pixel = anchor / all;
    const float *delta = (const float *)call->in[1] + anchor * 4;
    float stride = (float)call->node->attr.stride, w = anchors[2 * a], h = anchors[2 * a + 1];
    float cx = (float)(pixel % cls[1]) * stride + delta[0] * w;
    float cy = (float)(pixel / cls[1]) * stride + delta[1] * h;
    w *= 0.5f * expf(clamp(delta[2], -SL_CANDIDATE_LONGEST, SL_CANDIDATE_LONGEST));
    h *= 0.5f * expf(clamp(delta[3], -SL_CANDIDATE_LONGEST, SL_CANDIDATE_LONGEST));
    row[SL_CANDIDATE_X1] = clamp(cx - w, 0, extent[0]);
    row[SL_CANDIDATE_Y1] = clamp(cy - h, 0, extent[1]);
    row[SL_CANDIDATE_X2] = clamp(cx + w, 0, extent[0]);
    row[SL_CANDIDATE_Y2] = clamp(cy + h, 0, extent[1]);
    row[SL_CANDIDATE_SCORE] = score_of(x);
    row[SL_CANDIDATE_CLASS] = (float)(place % classes);
    size_t odd = 0;
    for (size_t j = 0; j < 4; j++)
        odd += !isfinite(delta[j]);
    return odd;
}

static void run(const sl_cpu_call *call)
{
    const sl_attr *attr = &call->node->attr;
    unsigned workers = sl_pool_size(call->pool);
    candidates_job job = { .call = call,
                           .logits = call->graph->values[call->node->in[0]].bytes / sizeof(float),
                           .limit = attr->limit,
                           .threshold = attr->threshold,
                           .bound = bound_of(attr->threshold) };
    for (unsigned i = 0; i < workers; i++) {
        best *b = best_of(call, i);
        *b = (best) { .ranks = (rank *)(void *)(b + 1) };
    }
    sl_pool_run(call->pool, look_task, &job, (job.logits + TASK - 1) / TASK);
    best *b = best_of(call, 0);
    for (unsigned i = 1; i < workers; i++) {
        const best *other = best_of(call, i);
        b->odd += other->odd;
        for (size_t k = 0; k < other->count; k++)
            keep(b, job.limit, other->ranks[k]);
    }
    sort(b);
    float *rows = call->out[0];
    int32_t *counts = call->out[1];
    memset(rows, 0, job.limit * SL_CANDIDATE_COLUMNS * sizeof(*rows));
    for (size_t i = 0; i < b->count; i++)
        b->odd += decode(call, b->ranks[i], rows + i * SL_CANDIDATE_COLUMNS);
    counts[0] = (int32_t)b->count;
    counts[1] = b->odd < INT32_MAX ? (int32_t)b->odd : INT32_MAX;
    counts[2] = counts[3] = 0;
}

const sl_cpu_op sl_cpu_candidates = { .scratch = scratch, .prepare = prepare, .run = run };
