// SPDX-License-Identifier: MIT
// classify/ebv_descend.c: unit vectors pushed apart. The published loss is the sum over all pairs
// of max(|c| - alpha, 0), descended by plain steps of 1e-3. Here the excess is squared, which makes
// the last violators' pushes small, and steps have momentum: some hundred steps do what took tens
// of thousands. Where alpha is out of reach the squares settle on many small violations, far above
// what could be; then the threshold follows the largest |c| from below, nearer with every step.
#include "classify/ebv.h"

#include "cpu/kernels.h"

#include <math.h>

#define SLICE 48       // rows of the products that are in memory at a time, for each thread
#define BLOCK 192      // rows or columns that are packed together
#define STEP_SIZE 1.5f // times d / N: the sum of squares bends by up to N / d along a direction
#define MOMENTUM 0.9f
#define PATIENCE 150    // steps without a better set before the threshold starts to follow
#define FIRST_SHARE 0.5 // of the largest |c|
#define LAST_SHARE 0.99

typedef struct descent {
    const sl_kernels *kernels;
    size_t n, d, row_blocks, column_blocks, slices;
    const float *rows; // [n,d]
    float *next;       // [n,d]; NULL: only measure
    float *velocity;   // [n,d]
    float threshold, step;
    sl_packed *by_row;    // [row_blocks] BLOCK rows of the set each, k = d
    sl_packed *by_column; // [column_blocks] BLOCK columns each, k = n
    float *panels;        // of all
    float *scratch;       // [workers, scratch_size]: a slice's products; columns to pack
    size_t scratch_size;
    float *largest; // [slices]
    double *sums;   // [slices]
} descent;

static size_t at_most(size_t rest, size_t most)
{
    return rest < most ? rest : most;
}

static void pack_task(void *arg, size_t task, unsigned worker)
{
    descent *t = arg;
    if (task < t->row_blocks) {
        sl_packed *p = &t->by_row[task];
        t->kernels->pack(t->rows + task * BLOCK * t->d, t->d, p->n, t->d,
                         (float *)(uintptr_t)p->panels);
        return;
    }
    const size_t block = task - t->row_blocks;
    sl_packed *p = &t->by_column[block];
    float *columns = t->scratch + worker * t->scratch_size; // [p->n, n]
    for (size_t i = 0; i < t->n; i++)
        for (size_t j = 0; j < p->n; j++)
            columns[j * t->n + i] = t->rows[i * t->d + block * BLOCK + j];
    t->kernels->pack(columns, t->n, p->n, t->n, (float *)(uintptr_t)p->panels);
}

// |c| of a row: its largest and its sum; c becomes its excess over the threshold, with its sign.
static float take_excess(float *c, size_t n, size_t own, float threshold, double *sum)
{
    float largest = 0, part = 0;
    c[own] = 0;
    for (size_t first = 0; first < n; first += 1024) { // short sums stay exact enough in f32
        size_t last = first + at_most(n - first, 1024);
        part = 0;
        for (size_t j = first; j < last; j++) {
            float size = fabsf(c[j]), excess = size - threshold;
            part += size;
            largest = size > largest ? size : largest;
            c[j] = copysignf(excess > 0 ? excess : 0, c[j]);
        }
        *sum += (double)part;
    }
    return largest;
}

// One row: along the sphere, with momentum, back to unit length.
static void step_row(const descent *t, size_t row, const float *gradient)
{
    const float *w = t->rows + row * t->d;
    float *next = t->next + row * t->d, *velocity = t->velocity + row * t->d;
    double along = 0, square = 0;
    for (size_t j = 0; j < t->d; j++)
        along += (double)gradient[j] * (double)w[j];
    for (size_t j = 0; j < t->d; j++) {
        velocity[j] = MOMENTUM * velocity[j] - t->step * (gradient[j] - (float)along * w[j]);
        next[j] = w[j] + velocity[j];
        square += (double)next[j] * (double)next[j];
    }
    const float length = (float)(1 / sqrt(square));
    for (size_t j = 0; j < t->d; j++)
        next[j] *= length;
}

static void slice_task(void *arg, size_t task, unsigned worker)
{
    descent *t = arg;
    const size_t first = task * SLICE, rows = at_most(t->n - first, SLICE);
    float *c = t->scratch + worker * t->scratch_size, *gradient = c + SLICE * t->n;
    t->largest[task] = 0;
    t->sums[task] = 0;
    for (size_t b = 0; b < t->row_blocks; b++)
        t->kernels->gemm(&(sl_gemm) { .a = t->rows + first * t->d,
                                      .lda = t->d,
                                      .rows = rows,
                                      .b = &t->by_row[b],
                                      .c = c + b * BLOCK,
                                      .ldc = t->n });
    for (size_t r = 0; r < rows; r++) {
        float largest = take_excess(c + r * t->n, t->n, first + r, t->threshold, &t->sums[task]);
        t->largest[task] = largest > t->largest[task] ? largest : t->largest[task];
    }
    if (!t->next)
        return;
    for (size_t b = 0; b < t->column_blocks; b++)
        t->kernels->gemm(&(sl_gemm) { .a = c,
                                      .lda = t->n,
                                      .rows = rows,
                                      .b = &t->by_column[b],
                                      .c = gradient + b * BLOCK,
                                      .ldc = t->d });
    for (size_t r = 0; r < rows; r++)
        step_row(t, first + r, gradient + r * t->d);
}

// What the rows are, and, with `next`, where a step leads.
static sl_ebv_cosines pass(sl_ctx *ctx, descent *t)
{
    sl_ebv_cosines c = { 0 };
    sl_pool_run(ctx->pool, pack_task, t, t->row_blocks + (t->next ? t->column_blocks : 0));
    sl_pool_run(ctx->pool, slice_task, t, t->slices);
    for (size_t i = 0; i < t->slices; i++) {
        c.max = (double)t->largest[i] > c.max ? (double)t->largest[i] : c.max;
        c.mean += t->sums[i];
    }
    c.mean /= (double)t->n * (double)(t->n - 1);
    return c;
}

// Blocks of at most BLOCK of `count` rows, k numbers long each; panels from *at on.
static sl_packed *lay_out_blocks(sl_ctx *ctx, const descent *t, size_t count, size_t k, size_t *at)
{
    size_t blocks = (count + BLOCK - 1) / BLOCK;
    sl_packed *packed = sl_alloc(ctx, blocks, sizeof(*packed));
    for (size_t b = 0; packed && b < blocks; b++) {
        size_t n = at_most(count - b * BLOCK, BLOCK);
        packed[b] = (sl_packed) { n, k, t->panels ? t->panels + *at : NULL };
        // Panels begin at cache lines.
        *at += (t->kernels->pack_floats(n, k) + 15) / 16 * 16;
    }
    return packed;
}

static sl_status prepare(sl_ctx *ctx, descent *t, const float *rows, size_t n, size_t d)
{
    sl_simd level = SL_SIMD_PORTABLE;
    sl_status st = sl_cpu_simd(ctx, &level);
    if (st != SL_OK)
        return st;
    *t = (descent) { .kernels = sl_kernels_get(level), .n = n, .d = d, .rows = rows };
    t->row_blocks = (n + BLOCK - 1) / BLOCK;
    t->column_blocks = (d + BLOCK - 1) / BLOCK;
    t->slices = (n + SLICE - 1) / SLICE;
    t->step = STEP_SIZE * (float)d / (float)n;
    for (int round = 0; round < 2; round++) { // first their size, then where they lie
        size_t at = 0;
        free(t->by_row);
        free(t->by_column);
        t->by_row = lay_out_blocks(ctx, t, n, d, &at);
        t->by_column = lay_out_blocks(ctx, t, d, n, &at);
        if (!t->by_row || !t->by_column)
            return SL_ERR_NOMEM;
        if (round == 0 && !(t->panels = sl_alloc(ctx, at, sizeof(*t->panels))))
            return SL_ERR_NOMEM;
    }
    size_t columns = BLOCK * n, slice = SLICE * (n + d);
    t->scratch_size = columns > slice ? columns : slice;
    t->scratch = sl_alloc(ctx, sl_pool_size(ctx->pool) * t->scratch_size, sizeof(*t->scratch));
    t->largest = sl_alloc(ctx, t->slices, sizeof(*t->largest));
    t->sums = sl_alloc(ctx, t->slices, sizeof(*t->sums));
    return t->scratch && t->largest && t->sums ? SL_OK : SL_ERR_NOMEM;
}

static void finish(descent *t)
{
    free(t->by_row);
    free(t->by_column);
    free(t->panels);
    free(t->scratch);
    free(t->largest);
    free(t->sums);
}

sl_status sl_ebv_measure(sl_ctx *ctx, const float *rows, size_t n, size_t d, sl_ebv_cosines *out)
{
    descent t = { 0 };
    sl_status st = prepare(ctx, &t, rows, n, d);
    if (st == SL_OK)
        *out = pass(ctx, &t);
    finish(&t);
    return st;
}

// The threshold of a step: alpha itself as long as that leads on; then a growing share of the
// largest |c|, but never below alpha.
typedef struct schedule {
    double alpha, best;
    unsigned steps, since_best, follows_from; // follows_from: 0: not yet
} schedule;

static double next_threshold(schedule *s, unsigned step, double largest)
{
    s->since_best = largest < s->best ? 0 : s->since_best + 1;
    if (!s->follows_from && (s->since_best > PATIENCE || step > s->steps / 4))
        s->follows_from = step;
    if (!s->follows_from)
        return s->alpha;
    double way = (double)(step - s->follows_from) / (double)(s->steps - s->follows_from + 1);
    double share = FIRST_SHARE + way * (LAST_SHARE - FIRST_SHARE);
    return fmax(s->alpha, share * largest);
}

sl_status sl_ebv_descend(sl_ctx *ctx, float *rows, size_t n, size_t d, double alpha, unsigned steps,
                         sl_ebv_cosines *reached, unsigned *taken)
{
    descent t = { 0 };
    schedule s = { .alpha = alpha, .best = INFINITY, .steps = steps };
    float *sets[2] = { sl_alloc(ctx, n * d, sizeof(float)), sl_alloc(ctx, n * d, sizeof(float)) };
    float *velocity = sl_alloc(ctx, n * d, sizeof(*velocity));
    sl_status st = sets[0] && sets[1] && velocity ? prepare(ctx, &t, rows, n, d) : SL_ERR_NOMEM;
    if (st != SL_OK)
        goto done;
    memcpy(sets[0], rows, n * d * sizeof(*rows));
    t.velocity = velocity;
    t.threshold = (float)alpha;
    for (unsigned step = 0;; step++) {
        t.rows = sets[step % 2];
        t.next = sets[(step + 1) % 2];
        sl_ebv_cosines c = pass(ctx, &t);
        t.threshold = (float)next_threshold(&s, step, c.max);
        if (c.max < s.best) {
            s.best = c.max;
            *reached = c;
            memcpy(rows, t.rows, n * d * sizeof(*rows));
        }
        *taken = step;
        if (c.max <= alpha + SL_EBV_TOLERANCE || step == steps)
            break;
        st = sl_progress(ctx, step, steps);
        if (st != SL_OK)
            break;
    }
done:
    finish(&t);
    free(sets[0]);
    free(sets[1]);
    free(velocity);
    return st;
}
