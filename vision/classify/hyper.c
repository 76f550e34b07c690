// SPDX-License-Identifier: MIT
// classify/hyper.c: matching on the sphere. The rows are the left side of a matrix product and the
// query its packed right side: prototypes are read where they lie, in the mapped file, once.
#include "classify/hyper.h"

#include <assert.h>
#include <math.h>

#define ROWS_PER_TASK 1024

struct sl_hyper {
    sl_ctx *ctx;
    sl_directions rows;
    const sl_kernels *kernels;
    sl_packed query;
    float *panels;  // of the query
    float *cosines; // [trained + enrolled]
    size_t trained_tasks, enrolled_tasks;
};

sl_status sl_hyper_new(sl_ctx *ctx, const sl_directions *directions, sl_hyper **out)
{
    sl_simd level = SL_SIMD_PORTABLE;
    *out = NULL;
    sl_hyper *hyper = sl_alloc(ctx, 1, sizeof(*hyper));
    if (!hyper)
        return SL_ERR_NOMEM;
    hyper->ctx = ctx;
    hyper->rows = *directions;
    sl_status st = sl_cpu_simd(ctx, &level);
    if (st != SL_OK)
        goto done;
    hyper->kernels = sl_kernels_get(level);
    hyper->panels = sl_alloc(ctx, hyper->kernels->pack_floats(1, directions->dimension),
                             sizeof(*hyper->panels));
    hyper->cosines = sl_alloc(ctx, directions->trained_count + directions->enrolled_count,
                              sizeof(*hyper->cosines));
    if (!hyper->panels || !hyper->cosines) {
        st = SL_ERR_NOMEM;
        goto done;
    }
    hyper->query = (sl_packed) { 1, directions->dimension, hyper->panels };
    hyper->trained_tasks = (directions->trained_count + ROWS_PER_TASK - 1) / ROWS_PER_TASK;
    hyper->enrolled_tasks = (directions->enrolled_count + ROWS_PER_TASK - 1) / ROWS_PER_TASK;
    *out = hyper;
    hyper = NULL;
done:
    sl_hyper_free(hyper);
    return st;
}

void sl_hyper_free(sl_hyper *hyper)
{
    if (!hyper)
        return;
    free(hyper->panels);
    free(hyper->cosines);
    free(hyper);
}

static void match_rows(void *arg, size_t task, unsigned worker)
{
    const sl_hyper *h = arg;
    (void)worker;
    const bool is_trained = task < h->trained_tasks;
    const float *rows = is_trained ? h->rows.trained : h->rows.enrolled;
    float *out = h->cosines + (is_trained ? 0 : h->rows.trained_count);
    size_t count = is_trained ? h->rows.trained_count : h->rows.enrolled_count;
    size_t first = (is_trained ? task : task - h->trained_tasks) * ROWS_PER_TASK;
    size_t some = count - first < ROWS_PER_TASK ? count - first : ROWS_PER_TASK;
    h->kernels->gemm(&(sl_gemm) { .a = rows + first * h->rows.dimension,
                                  .lda = h->rows.dimension,
                                  .rows = some,
                                  .b = &h->query,
                                  .c = out + first,
                                  .ldc = 1 });
}

const float *sl_hyper_cosines(sl_hyper *hyper, const float *query)
{
    if (hyper->trained_tasks + hyper->enrolled_tasks > 0) {
        hyper->kernels->pack(query, hyper->rows.dimension, 1, hyper->rows.dimension, hyper->panels);
        sl_pool_run(hyper->ctx->pool, match_rows, hyper,
                    hyper->trained_tasks + hyper->enrolled_tasks);
    }
    return hyper->cosines;
}

// ---- the best of many

static bool is_better(const float *values, size_t a, size_t b)
{
    return values[a] > values[b] || (values[a] == values[b] && a < b);
}

// index[0] is the worst of a heap; its entry at i is worse than those at 2i + 1 and 2i + 2.
static void sink_entry(const float *values, size_t *index, size_t count, size_t i)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= count)
            return;
        if (child + 1 < count && is_better(values, index[child], index[child + 1]))
            child++;
        if (is_better(values, index[child], index[i]))
            return;
        size_t kept = index[i];
        index[i] = index[child];
        index[child] = kept;
        i = child;
    }
}

void sl_hyper_top(const float *values, size_t n, size_t top, size_t *index)
{
    assert(top <= n);
    if (top == 0)
        return;
    for (size_t i = 0; i < top; i++)
        index[i] = i;
    for (size_t i = top / 2; i-- > 0;)
        sink_entry(values, index, top, i);
    for (size_t i = top; i < n; i++)
        if (is_better(values, i, index[0])) {
            index[0] = i;
            sink_entry(values, index, top, 0);
        }
    for (size_t left = top - 1; left > 0; left--) { // the worst goes to the end, again and again
        size_t worst = index[0];
        index[0] = index[left];
        index[left] = worst;
        sink_entry(values, index, left, 0);
    }
}

void sl_hyper_softmax(const float *x, size_t n, float scale, const size_t *index, size_t top,
                      float *p)
{
    float most = -INFINITY;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < n; i++)
        sum += (double)expf(scale * (x[i] - most));
    for (size_t i = 0; i < top; i++)
        p[i] = (float)(exp((double)(scale * (x[index[i]] - most))) / sum);
}
