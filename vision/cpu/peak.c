// SPDX-License-Identifier: MIT
// cpu/peak.c: what the machine can do at most, measured: the denominators of every benchmark.
#include "cpu/kernels.h"

#define ROUNDS 100000u // about 0.4 ms with AVX-512
#define MEASURE_SECONDS 0.04
#define COPY_BYTES (64u << 20) // of each buffer
#define COPY_TASK (1u << 20)

typedef struct peak_job {
    const sl_kernels *kernels;
    uint8_t *from, *to;
} peak_job;

static void multiply_task(void *arg, size_t task, unsigned worker)
{
    const peak_job *job = arg;
    (void)task, (void)worker;
    job->kernels->multiply_add(ROUNDS, 1e-3f);
}

static void copy_task(void *arg, size_t task, unsigned worker)
{
    const peak_job *job = arg;
    (void)worker;
    memcpy(job->to + task * COPY_TASK, job->from + task * COPY_TASK, COPY_TASK);
}

// The best of as many runs as fit the time: other programs only ever slow a run down.
static double best_seconds(sl_pool *pool, sl_task_fn fn, peak_job *job, size_t count)
{
    double best = 0, end = sl_seconds() + MEASURE_SECONDS;
    do {
        double start = sl_seconds();
        sl_pool_run(pool, fn, job, count);
        double seconds = sl_seconds() - start;
        if (best == 0 || seconds < best)
            best = seconds;
    } while (sl_seconds() < end);
    return best > 0 ? best : 1e-9; // a clock that stands still
}

sl_status sl_cpu_peak(sl_ctx *ctx, sl_dtype precision, double *gflops, double *gbytes)
{
    sl_simd level;
    *gflops = *gbytes = 0;
    sl_status st = sl_cpu_simd(ctx, &level);
    if (st != SL_OK)
        return st;
    const sl_kernels *in_bf16 = precision == SL_BF16 ? sl_kernels_get_bf16(level) : NULL;
    peak_job job = { .kernels = in_bf16 ? in_bf16 : sl_kernels_get(level) };
    job.from = sl_alloc(ctx, COPY_BYTES, 1);
    job.to = sl_alloc(ctx, COPY_BYTES, 1);
    st = job.from && job.to ? SL_OK : SL_ERR_NOMEM;
    if (st != SL_OK)
        goto done;
    // Four tasks a thread: a thread that wakes late costs a quarter, not all, of its share.
    size_t tasks = 4 * (size_t)sl_pool_size(ctx->pool);
    double flops = job.kernels->multiply_add(ROUNDS, 1e-3f) * (double)tasks;
    *gflops = flops / best_seconds(ctx->pool, multiply_task, &job, tasks) * 1e-9;
    double bytes = 2.0 * COPY_BYTES; // read and written
    *gbytes = bytes / best_seconds(ctx->pool, copy_task, &job, COPY_BYTES / COPY_TASK) * 1e-9;
done:
    free(job.from);
    free(job.to);
    return st;
}
