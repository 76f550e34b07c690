// SPDX-License-Identifier: MIT
// tools/bench/gemm.c: the packed matrix product at every SIMD level against OpenBLAS, one thread
// each, at the shapes of the networks, beside the measured peak of the machine. One run, one table.
//     gemm-bench [rows]        (rows of A; default 1024)
#include "cpu/kernels.h"

#include <time.h>

#if defined(SL_HAVE_OPENBLAS)
#include <cblas.h>
#endif

#define REPEATS 30 // short batches, of which the best counts: other programs only slow one down
#define BATCH_SECONDS 0.001
#define MAX_CONTENDERS (2 * SL_SIMD_COUNT + 1)

typedef struct problem {
    size_t rows, k, n;
    float *a, *weight, *c;
} problem;

// K and N of the projections, hidden layers and convolutions: the small model, then the official.
static const size_t shapes[][2] = {
    { 24, 24 },   { 24, 96 },    { 96, 24 },    { 48, 48 },   { 48, 96 },    { 48, 192 },
    { 192, 48 },  { 96, 96 },    { 96, 192 },   { 96, 384 },  { 384, 96 },   { 108, 24 },
    { 432, 16 },  { 32, 32 },    { 32, 128 },   { 128, 32 },  { 64, 64 },    { 64, 256 },
    { 128, 128 }, { 128, 512 },  { 512, 128 },  { 256, 256 }, { 256, 1024 }, { 1024, 256 },
    { 512, 512 }, { 512, 2048 }, { 2048, 512 },
};

// Of this thread alone: what other programs take from it does not count.
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// What is timed in turn: the levels, OpenBLAS, and multiply-adds on registers at each level.
typedef struct contender {
    const sl_kernels *kernels; // NULL: OpenBLAS
    bool is_peak;
    sl_packed b;
    float *panels;
    double best; // GFLOP/s
} contender;

// Returns the operations done.
static double run_once(const problem *p, const contender *c)
{
    if (c->is_peak)
        return c->kernels->multiply_add(20000, 1e-3f);
    if (c->kernels)
        c->kernels->gemm(&(sl_gemm) {
            .a = p->a, .lda = p->k, .rows = p->rows, .b = &c->b, .c = p->c, .ldc = p->n });
#if defined(SL_HAVE_OPENBLAS)
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p->rows, (int)p->n, (int)p->k,
                    1.0f, p->a, (int)p->k, p->weight, (int)p->k, 0.0f, p->c, (int)p->n);
#endif
    return 2.0 * (double)p->rows * (double)p->n * (double)p->k;
}

static void run_batch(const problem *p, contender *c)
{
    double operations = 0, start = cpu_seconds(), seconds;
    do {
        operations += run_once(p, c);
        seconds = cpu_seconds() - start;
    } while (seconds < BATCH_SECONDS);
    double rate = operations / seconds * 1e-9;
    if (rate > c->best)
        c->best = rate;
}

static bool fill(problem *p)
{
    p->a = sl_alloc(NULL, p->rows * p->k, sizeof *p->a);
    p->weight = sl_alloc(NULL, p->n * p->k, sizeof *p->weight);
    p->c = sl_alloc(NULL, p->rows * p->n, sizeof *p->c);
    if (!p->a || !p->weight || !p->c)
        return false;
    for (size_t i = 0; i < p->rows * p->k; i++)
        p->a[i] = (float)(i * 7919 % 2001) * 1e-3f - 1.0f;
    for (size_t i = 0; i < p->n * p->k; i++)
        p->weight[i] = (float)(i * 104729 % 2001) * 1e-3f - 1.0f;
    return true;
}

// Contenders 2 * level and 2 * level + 1 are a level and its peak; OpenBLAS comes last.
static size_t enter(const problem *p, contender list[MAX_CONTENDERS])
{
    size_t count = 0;
    for (unsigned level = 0; level <= sl_cpu_simd_best(); level++) {
        const sl_kernels *kernels = sl_kernels_get((sl_simd)level);
        contender *c = &list[count];
        *c = (contender) { .kernels = kernels, .b = { .n = p->n, .k = p->k } };
        c->panels = sl_alloc(NULL, kernels->pack_floats(p->n, p->k), sizeof *c->panels);
        if (!c->panels)
            return 0;
        kernels->pack(p->weight, p->k, p->n, p->k, c->panels);
        c->b.panels = c->panels;
        list[count + 1] = (contender) { .kernels = kernels, .is_peak = true };
        count += 2;
    }
#if defined(SL_HAVE_OPENBLAS)
    list[count++] = (contender) { 0 };
#endif
    return count;
}

static bool run_shape(size_t rows, size_t k, size_t n)
{
    problem p = { .rows = rows, .k = k, .n = n };
    contender list[MAX_CONTENDERS] = { 0 };
    size_t count = fill(&p) ? enter(&p, list) : 0, levels = sl_cpu_simd_best() + 1u;
    for (int repeat = 0; repeat < REPEATS; repeat++)
        for (size_t i = 0; i < count; i++)
            run_batch(&p, &list[i]);
    if (count)
        printf("%6zu %5zu %5zu", rows, k, n);
    for (size_t i = 0; i < count; i += 2) { // OpenBLAS shares the best level's peak
        double peak = list[i < 2 * levels ? i + 1 : 2 * levels - 1].best;
        printf(" %8.1f %3.0f%%", list[i].best, 100 * list[i].best / peak);
    }
    if (count)
        printf(" %8.1f\n", list[2 * levels - 1].best);
    for (size_t i = 0; i < MAX_CONTENDERS; i++)
        free(list[i].panels);
    free(p.a);
    free(p.weight);
    free(p.c);
    return count > 0;
}

int main(int argc, char **argv)
{
    size_t rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 1024;
    if (rows < 1 || rows > 1000000) {
        fprintf(stderr, "usage: gemm-bench [rows], 1 to 1000000\n");
        return 2;
    }
    printf("one thread, GFLOP/s and share of the level's peak (multiply-adds on registers),\n"
           "all timed in turn, the best of %d batches:\n",
           REPEATS);
#if defined(SL_HAVE_OPENBLAS)
    openblas_set_num_threads(1);
    // Older versions take an unknown processor for a plain one: OPENBLAS_CORETYPE=SkylakeX helps.
    printf("OpenBLAS kernels for: %s\n", openblas_get_corename());
#endif
    printf("  rows     K     N");
    for (unsigned level = 0; level <= sl_cpu_simd_best(); level++)
        printf(" %13s", sl_simd_name((sl_simd)level));
#if defined(SL_HAVE_OPENBLAS)
    printf("      OpenBLAS");
#endif
    printf("     peak\n");
    for (size_t i = 0; i < SL_ARRAY_LEN(shapes); i++)
        if (!run_shape(rows, shapes[i][0], shapes[i][1])) {
            fprintf(stderr, "gemm-bench: out of memory; ask for fewer rows\n");
            return 1;
        }
    return 0;
}
