// SPDX-License-Identifier: MIT
// classify/ebv.c: tables of Equiangular Basis Vectors: constructed where that is possible, else
// found by descent, and written. Source: CVPR 2023, arXiv 2303.11637.
#include "classify/ebv.h"

#include <math.h>

#define MOST_SIDE 65536
#define MOST_NUMBERS ((size_t)1 << 26) // N * d: four such matrices are held while one is sought
#define STEPS 2000
#define SEED 42
#define SLACK 1.1 // of the default alpha, times the bound

static const double pi = 3.14159265358979323846;

static uint64_t next_bits(uint64_t *state) // splitmix64
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double next_normal(uint64_t *state) // Box and Muller
{
    double a = ((double)(next_bits(state) >> 11) + 0.5) / 9007199254740992.0;
    double b = (double)(next_bits(state) >> 11) / 9007199254740992.0;
    return sqrt(-2 * log(a)) * cos(2 * pi * b);
}

static void draw(float *rows, size_t n, size_t d, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        float *row = rows + i * d;
        double square = 0;
        for (size_t j = 0; j < d; j++) {
            row[j] = (float)next_normal(&seed);
            square += (double)row[j] * (double)row[j];
        }
        for (size_t j = 0; j < d; j++)
            row[j] = (float)((double)row[j] / sqrt(square));
    }
}

// Entry (k, i) of the orthonormal cosine transform of `size` points.
static double cosine_entry(size_t k, size_t i, size_t size)
{
    if (k == 0)
        return sqrt(1 / (double)size);
    size_t turn = (2 * i + 1) * k % (4 * size); // exact, so that large k stay orthogonal
    return sqrt(2 / (double)size) * cos(pi * (double)turn / (2 * (double)size));
}

// N <= d: rows of the cosine transform of d points. N = d + 1: the columns of that of N points
// without its constant row, whose products are all -1/N before and -1/d after normalising. Signs
// by the seed turn neither set's angles.
static sl_status construct(sl_ctx *ctx, float *rows, size_t n, size_t d, uint64_t seed)
{
    double *signs = sl_alloc(ctx, d, sizeof(*signs));
    if (!signs)
        return SL_ERR_NOMEM;
    for (size_t j = 0; j < d; j++)
        signs[j] = next_bits(&seed) & 1 ? 1 : -1;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++) {
            double x = n <= d ? cosine_entry(i, j, d)
                              : cosine_entry(j + 1, i, n) * sqrt((double)n / (double)d);
            rows[i * d + j] = (float)(signs[j] * x);
        }
    free(signs);
    return SL_OK;
}

static double welch_bound(size_t n, size_t d)
{
    return n > d ? sqrt((double)(n - d) / ((double)d * (double)(n - 1))) : 0;
}

static sl_status check(sl_ctx *ctx, const sl_ebv_options *o)
{
    size_t numbers = 0;
    if (o->classes < 2 || o->classes > MOST_SIDE || o->dimension < 2 || o->dimension > MOST_SIDE)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%zu vectors in %zu dimensions; give 2 to %d of both",
                       o->classes, o->dimension, MOST_SIDE);
    if (!sl_mul(o->classes, o->dimension, &numbers) || numbers > MOST_NUMBERS)
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "%zu vectors in %zu dimensions are more than the %zu numbers that a table "
                       "may have",
                       o->classes, o->dimension, MOST_NUMBERS);
    if (!(o->alpha >= 0 && o->alpha < 1))
        return sl_fail(ctx, SL_ERR_ARGUMENT, "an alpha of %g; give one from 0 to below 1",
                       (double)o->alpha);
    return SL_OK;
}

static sl_status find(sl_ctx *ctx, const sl_ebv_options *o, float *rows, sl_ebv_report *r)
{
    const size_t n = o->classes, d = o->dimension;
    const uint64_t seed = o->seed ? o->seed : SEED;
    sl_ebv_cosines reached = { 0 };
    sl_status st = SL_OK;
    if (n <= d + 1) {
        st = construct(ctx, rows, n, d, seed);
        if (st == SL_OK)
            st = sl_ebv_measure(ctx, rows, n, d, &reached);
    } else {
        draw(rows, n, d, seed);
        st = sl_ebv_descend(ctx, rows, n, d, r->alpha, o->steps ? o->steps : STEPS, &reached,
                            &r->steps);
    }
    r->max_cosine = reached.max;
    r->mean_cosine = reached.mean;
    r->is_reached = reached.max <= r->alpha + SL_EBV_TOLERANCE;
    return st;
}

static sl_status write_table(sl_ctx *ctx, const char *path, const sl_ebv_options *o,
                             const float *rows, const sl_ebv_report *r)
{
    char text[8][32];
    const sl_tensor tensor = { .name = "directions",
                               .shape = { 2, { o->classes, o->dimension } },
                               .data = rows,
                               .bytes = o->classes * o->dimension * sizeof(float) };
    const sl_meta meta[] = {
        { "format", "softlens-ebv" }, { "seed", text[0] },  { "classes", text[1] },
        { "dimension", text[2] },     { "alpha", text[3] }, { "max_cosine", text[4] },
        { "mean_cosine", text[5] },   { "bound", text[6] }, { "steps", text[7] },
    };
    const uint64_t whole[] = { o->seed ? o->seed : SEED, o->classes, o->dimension };
    const double real[] = { r->alpha, r->max_cosine, r->mean_cosine, r->bound };
    for (size_t i = 0; i < 3; i++)
        snprintf(text[i], sizeof(text[0]), "%llu", (unsigned long long)whole[i]);
    for (size_t i = 0; i < 4; i++) {
        snprintf(text[3 + i], sizeof(text[0]), "%.6g", real[i]);
        sl_number_point(text[3 + i]);
    }
    snprintf(text[7], sizeof(text[0]), "%u", r->steps);
    return sl_safetensors_write(ctx, path, o->overwrite, &tensor, 1, meta, SL_ARRAY_LEN(meta));
}

sl_status sl_ebv_write(sl_ctx *ctx, const char *path, const sl_ebv_options *options,
                       sl_ebv_report *report)
{
    static const sl_ebv_options none = { 0 }; // refused: there is no table of a usual size
    options = options ? options : &none;
    const size_t n = options->classes, d = options->dimension;
    const double started = sl_seconds();
    sl_ebv_report r = { 0 };
    sl_output *output = NULL;
    float *rows = NULL;
    sl_status st = check(ctx, options);
    if (st == SL_OK) // a name that cannot be written fails before the work
        st = sl_output_open(ctx, path, options->overwrite, &output);
    sl_output_discard(output);
    if (st != SL_OK)
        return st;
    r.bound = welch_bound(n, d);
    r.alpha = options->alpha > 0 ? (double)options->alpha : n <= d + 1 ? r.bound : SLACK * r.bound;
    if (r.alpha + SL_EBV_TOLERANCE < r.bound)
        sl_log(ctx, SL_LOG_WARNING,
               "no %zu vectors in %zu dimensions have all |cosines| below %.6f (Welch's bound); "
               "%.6f cannot be reached",
               n, d, r.bound, r.alpha);
    rows = sl_alloc(ctx, n * d, sizeof(*rows));
    st = rows ? find(ctx, options, rows, &r) : SL_ERR_NOMEM;
    if (st == SL_OK)
        st = write_table(ctx, path, options, rows, &r);
    r.seconds = sl_seconds() - started;
    if (st == SL_OK && !r.is_reached)
        sl_log(ctx, SL_LOG_WARNING,
               "%s: the largest |cosine| is %.6f after %u steps, not %.6f; the best set is written",
               path, r.max_cosine, r.steps, r.alpha);
    if (st == SL_OK && report)
        *report = r;
    free(rows);
    return st;
}
