// SPDX-License-Identifier: MIT
// tests/cpu/kernels.c: GEMM, LayerNorm, activations and more of every SIMD level against plain
// loops in double, on random shapes, with guards round what they write.
#include "cpu/kernels.h"
#include "testing.h"

#include <math.h>

static double activated(double x, sl_act act, double slope)
{
    switch (act) {
    case SL_ACT_RELU:
        return x > 0 ? x : 0;
    case SL_ACT_LEAKY_RELU:
        return x > 0 ? x : x * slope;
    case SL_ACT_GELU:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case SL_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case SL_ACT_NONE:
        break;
    }
    return x;
}

// ---- GEMM

typedef struct gemm_case {
    uint64_t seed;
    size_t rows, n, k, lda, ldr, ldc;
    sl_act act;
    bool bias, residual, in_place, in_bf16;
} gemm_case;

// The tables of products: one for each level, and behind them that in bf16. NULL: the machine
// cannot.
static const sl_kernels *products(int i)
{
    if (i == SL_SIMD_COUNT)
        return sl_kernels_get_bf16(sl_cpu_simd_best());
    return i <= (int)sl_cpu_simd_best() ? sl_kernels_get((sl_simd)i) : NULL;
}

// To the nearest of those with 8 bits, to the even one of two.
static double as_multiplied(const gemm_case *c, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (c->in_bf16)
        bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

static gemm_case random_gemm(test_rng *rng, uint64_t seed)
{
    static const size_t rows[] = { 1, 2, 7, 13, 14, 15, 29, 64, 100 };
    static const size_t columns[] = { 1, 2, 4, 12, 16, 24, 31, 32, 33, 47, 48, 49, 80, 96, 130 };
    gemm_case c = { .seed = seed,
                    .rows = rows[test_range(rng, 0, SL_ARRAY_LEN(rows) - 1)],
                    .n = columns[test_range(rng, 0, SL_ARRAY_LEN(columns) - 1)],
                    .k = test_range(rng, 1, seed % 7 ? 70 : 700),
                    .act = (sl_act)test_range(rng, 0, 4),
                    .bias = test_range(rng, 0, 3) > 0 };
    size_t residual = test_range(rng, 0, 2);
    c.residual = residual > 0;
    c.in_place = residual == 2 && c.act == SL_ACT_NONE;
    c.lda = c.k + test_range(rng, 0, 5);
    c.ldc = c.n + test_range(rng, 0, 5);
    c.ldr = c.in_place ? c.ldc : c.n + test_range(rng, 0, 5);
    return c;
}

static double gemm_element(const gemm_case *c, const float *a, const float *w, const float *bias,
                           const float *residual, size_t r, size_t j)
{
    double sum = c->bias ? (double)bias[j] : 0;
    for (size_t i = 0; i < c->k; i++)
        sum += as_multiplied(c, a[r * c->lda + i]) * as_multiplied(c, w[j * c->k + i]);
    return activated(sum, c->act, 0.25) + (c->residual ? (double)residual[r * c->ldr + j] : 0);
}

static void check_gemm(const sl_kernels *kernels, const gemm_case *c, test_rng rng)
{
    size_t c_count = (c->rows - 1) * c->ldc + c->n;
    float *a = test_floats(&rng, (c->rows - 1) * c->lda + c->k, -1, 1);
    float *w = test_floats(&rng, c->n * c->k, -1, 1);
    float *bias = test_floats(&rng, c->n, -1, 1);
    float *residual = test_floats(&rng, (c->rows - 1) * c->ldr + c->n, -1, 1);
    float *out = test_guarded(c_count);
    float *panels = sl_alloc(NULL, kernels->pack_floats(c->n, c->k), sizeof *panels);
    for (size_t r = 0; c->in_place && r < c->rows; r++)
        memcpy(out + r * c->ldc, residual + r * c->ldr, c->n * sizeof *out);
    kernels->pack(w, c->k, c->n, c->k, panels);
    const float *from = c->in_place ? out : residual;
    kernels->gemm(&(sl_gemm) { .a = a,
                               .lda = c->lda,
                               .rows = c->rows,
                               .b = &(sl_packed) { c->n, c->k, panels },
                               .bias = c->bias ? bias : NULL,
                               .act = c->act,
                               .slope = 0.25f,
                               .residual = c->residual ? from : NULL,
                               .ldr = c->ldr,
                               .c = out,
                               .ldc = c->ldc });
    for (size_t r = 0; r < c->rows; r++)
        for (size_t j = 0; j < c->ldc && r * c->ldc + j < c_count; j++) {
            float got = out[r * c->ldc + j];
            double want = j < c->n ? gemm_element(c, a, w, bias, residual, r, j) : NAN;
            if (j < c->n ? !(fabs((double)got - want) <= 2e-7 * (double)c->k + 1e-6) : !isnan(got))
                ck_abort_msg("gemm %s, seed %llu: %zux%zux%zu act %d, row %zu column %zu: %.9g, "
                             "should be %.9g",
                             sl_simd_name(kernels->level), (unsigned long long)c->seed, c->rows,
                             c->n, c->k, (int)c->act, r, j, (double)got, want);
        }
    test_guard_check(out, c_count, c->seed);
    test_guarded_free(out);
    free(a);
    free(w);
    free(bias);
    free(residual);
    free(panels);
}

START_TEST(gemm_agrees_with_loop)
{
    const sl_kernels *kernels = products(_i);
    for (uint64_t seed = 1; kernels && seed <= 250; seed++) {
        test_rng rng = test_seed(seed);
        gemm_case c = random_gemm(&rng, seed);
        c.in_bf16 = _i == SL_SIMD_COUNT;
        check_gemm(kernels, &c, rng);
    }
}
END_TEST

// Every height of a tile, at each width of a panel, and deep enough for several blocks of rows.
START_TEST(gemm_is_right_at_every_height)
{
    const sl_kernels *kernels = products(_i);
    static const size_t columns[] = { 3, 16, 20, 32, 48 };
    const bool in_bf16 = _i == SL_SIMD_COUNT;
    if (!kernels)
        return;
    for (size_t n = 0; n < SL_ARRAY_LEN(columns); n++)
        for (size_t rows = 1; rows <= 30; rows++) {
            gemm_case c = { .seed = rows,
                            .rows = rows,
                            .n = columns[n],
                            .k = 9,
                            .lda = 9,
                            .ldc = columns[n],
                            .ldr = columns[n],
                            .bias = true,
                            .in_bf16 = in_bf16 };
            check_gemm(kernels, &c, test_seed(rows));
        }
    gemm_case deep = { .rows = 61, .n = 40, .k = 3000, .lda = 3000, .ldc = 40, .ldr = 40 };
    deep.in_bf16 = in_bf16;
    check_gemm(kernels, &deep, test_seed(99));
}
END_TEST

// ---- LayerNorm

static void check_norm(const sl_kernels *kernels, uint64_t seed)
{
    test_rng rng = test_seed(seed);
    size_t rows = test_range(&rng, 1, 20), channels = test_range(&rng, 1, 100);
    size_t ldx = channels + test_range(&rng, 0, 3), add_rows = test_range(&rng, 1, 5);
    bool in_place = test_range(&rng, 0, 1), has_add = test_range(&rng, 0, 1);
    size_t count = (rows - 1) * ldx + channels;
    float *x = test_floats(&rng, count, -3, 5), *y = test_guarded(count);
    float *weight = test_floats(&rng, channels, -1, 1), *bias = test_floats(&rng, channels, -1, 1);
    float *add = test_floats(&rng, add_rows * channels, -1, 1);
    if (in_place)
        memcpy(y, x, count * sizeof *x);
    kernels->layer_norm(&(sl_norm) { .x = in_place ? y : x,
                                     .ldx = ldx,
                                     .rows = rows,
                                     .channels = channels,
                                     .weight = weight,
                                     .bias = bias,
                                     .add = has_add ? add : NULL,
                                     .add_rows = add_rows,
                                     .eps = 1e-5f,
                                     .y = y,
                                     .ldy = ldx });
    for (size_t r = 0; r < rows; r++) {
        double mean = 0, variance = 0;
        for (size_t c = 0; c < channels; c++)
            mean += (double)x[r * ldx + c] / (double)channels;
        for (size_t c = 0; c < channels; c++)
            variance += pow((double)x[r * ldx + c] - mean, 2) / (double)channels;
        for (size_t c = 0; c < channels; c++) {
            double want =
                ((double)x[r * ldx + c] - mean) / sqrt(variance + 1e-5) * (double)weight[c] +
                (double)bias[c];
            if (has_add)
                want += (double)add[r % add_rows * channels + c];
            if (!(fabs((double)y[r * ldx + c] - want) <= 1e-5))
                ck_abort_msg("layer_norm %s, seed %llu: %zux%zu, row %zu channel %zu: %.9g, should "
                             "be %.9g",
                             sl_simd_name(kernels->level), (unsigned long long)seed, rows, channels,
                             r, c, (double)y[r * ldx + c], want);
        }
    }
    test_guard_check(y, count, seed);
    test_guarded_free(y);
    free(x);
    free(weight);
    free(bias);
    free(add);
}

START_TEST(layer_norm_agrees_with_loop)
{
    if (_i > (int)sl_cpu_simd_best())
        return;
    for (uint64_t seed = 1; seed <= 200; seed++)
        check_norm(sl_kernels_get((sl_simd)_i), seed);
}
END_TEST

// ---- activations

static void check_activation(const sl_kernels *kernels, sl_act act, float low, float high,
                             double tolerance)
{
    size_t count = 20003;
    float *x = test_guarded(count);
    for (size_t i = 0; i < count; i++)
        x[i] = low + (high - low) * (float)i / (float)(count - 1);
    kernels->activate(x, count, act, 0.01f);
    for (size_t i = 0; i < count; i++) {
        double at = (double)(low + (high - low) * (float)i / (float)(count - 1));
        double want = activated(at, act, (double)0.01f);
        if (!(fabs((double)x[i] - want) <= tolerance + 6e-8 * fabs(want)))
            ck_abort_msg("act %d %s at %.9g: %.9g, should be %.9g (off by %.3g)", (int)act,
                         sl_simd_name(kernels->level), at, (double)x[i], want, (double)x[i] - want);
    }
    test_guard_check(x, count, 0);
    test_guarded_free(x);
}

START_TEST(activations_agree_with_libm)
{
    const sl_kernels *kernels = sl_kernels_get((sl_simd)_i);
    if (_i > (int)sl_cpu_simd_best())
        return;
    check_activation(kernels, SL_ACT_GELU, -12, 12, 1e-7);
    check_activation(kernels, SL_ACT_GELU, -0.01f, 0.01f, 1e-7);
    check_activation(kernels, SL_ACT_GELU, -1e6f, 1e6f, 1e-7);
    check_activation(kernels, SL_ACT_GELU_TANH, -12, 12, 1e-7);
    check_activation(kernels, SL_ACT_GELU_TANH, -0.01f, 0.01f, 1e-7);
    check_activation(kernels, SL_ACT_GELU_TANH, -1e6f, 1e6f, 1e-7);
    check_activation(kernels, SL_ACT_RELU, -12, 12, 0);
    check_activation(kernels, SL_ACT_LEAKY_RELU, -12, 12, 0);
    check_activation(kernels, SL_ACT_NONE, -12, 12, 0);
}
END_TEST

START_TEST(activations_keep_what_is_not_finite)
{
    const sl_kernels *kernels = sl_kernels_get((sl_simd)_i);
    static const sl_act acts[] = { SL_ACT_RELU, SL_ACT_LEAKY_RELU, SL_ACT_GELU, SL_ACT_GELU_TANH };
    if (_i > (int)sl_cpu_simd_best())
        return;
    for (size_t k = 0; k < SL_ARRAY_LEN(acts); k++) {
        float x[4] = { NAN, INFINITY, -INFINITY, 3e38f };
        kernels->activate(x, 4, acts[k], 0.01f);
        ck_assert(isnan(x[0]));
        ck_assert(isinf(x[1]) && x[1] > 0);
        ck_assert(acts[k] == SL_ACT_LEAKY_RELU ? isinf(x[2]) : fabsf(x[2]) < 1e-7f);
        ck_assert(x[3] == 3e38f);
    }
}
END_TEST

// ---- numbers above a bound

static void check_above(const sl_kernels *kernels, uint64_t seed)
{
    static const float odd[] = { NAN, INFINITY, -INFINITY };
    test_rng rng = test_seed(seed);
    size_t count = test_range(&rng, 0, 400), found = 0, odds = 7, want_odds = 7;
    float *x = test_guarded(count), *places = test_guarded(count);
    float bound = seed % 5 ? test_uniform(&rng, -1, 1) : -INFINITY;
    for (size_t i = 0; i < count; i++) {
        x[i] = test_uniform(&rng, -1, 1);
        if (seed % 3 == 0 && test_range(&rng, 0, 20) == 0)
            x[i] = odd[test_range(&rng, 0, 2)];
        if (test_range(&rng, 0, 20) == 0)
            x[i] = bound; // is not above it
    }
    size_t got = kernels->above(x, count, bound, (uint32_t *)(void *)places, &odds);
    for (size_t i = 0; i < count; i++) {
        want_odds += !isfinite(x[i]);
        if (!(x[i] > bound))
            continue;
        uint32_t place = UINT32_MAX;
        if (found < got)
            memcpy(&place, places + found, sizeof(place));
        ck_assert_msg(place == i, "seed %llu: place %zu of %zu is %u, should be %zu",
                      (unsigned long long)seed, found, got, place, i);
        found++;
    }
    ck_assert_uint_eq(found, got);
    ck_assert_uint_eq(odds, want_odds);
    test_guard_check(places, count, seed);
    test_guarded_free(x);
    test_guarded_free(places);
}

START_TEST(above_agrees_with_loop)
{
    if (_i > (int)sl_cpu_simd_best())
        return;
    for (uint64_t seed = 1; seed <= 200; seed++)
        check_above(sl_kernels_get((sl_simd)_i), seed);
}
END_TEST

// ---- Gaussian kernels

// What rounding leaves of long rows that are alike is no distance below 0, and its kernel no more
// than 1; NaN stays NaN, at any number of columns.
START_TEST(no_gaussian_exceeds_1)
{
    enum { COLUMNS = 37 };
    static const float products[] = { 1e6f, 1e6f + 64, 1e6f - 2, 1e6f - 1e3f, NAN };
    float x[SL_ARRAY_LEN(products)][COLUMNS], row[SL_ARRAY_LEN(products)], column[COLUMNS];
    if (_i > (int)sl_cpu_simd_best())
        return;
    for (size_t r = 0; r < SL_ARRAY_LEN(products); r++) {
        row[r] = 5e5f;
        for (size_t c = 0; c < COLUMNS; c++) {
            x[r][c] = products[r];
            column[c] = 5e5f;
        }
    }
    const sl_gaussian g = { x[0], COLUMNS, SL_ARRAY_LEN(products), COLUMNS, 1, row, column };
    sl_kernels_get((sl_simd)_i)->gaussian(&g);
    for (size_t c = 0; c < COLUMNS; c++) {
        ck_assert_msg(x[0][c] == 1 && x[1][c] == 1, "%g, %g", (double)x[0][c], (double)x[1][c]);
        ck_assert_msg(fabsf(x[2][c] - expf(-2)) < 1e-6f, "%g", (double)x[2][c]);
        ck_assert(x[3][c] == 0 && isnan(x[4][c]));
    }
}
END_TEST

START_TEST(levels_have_their_kernels)
{
    const sl_kernels *kernels = sl_kernels_get((sl_simd)_i);
    ck_assert_int_le(kernels->level, _i);
    if (_i <= (int)sl_cpu_simd_best())
        ck_assert_int_eq(kernels->level, _i);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { gemm_agrees_with_loop,
                             gemm_is_right_at_every_height,
                             layer_norm_agrees_with_loop,
                             activations_agree_with_libm,
                             activations_keep_what_is_not_finite,
                             above_agrees_with_loop,
                             no_gaussian_exceeds_1,
                             levels_have_their_kernels };
    int loops[SL_ARRAY_LEN(tests)];
    for (size_t i = 0; i < SL_ARRAY_LEN(tests); i++)
        loops[i] = SL_SIMD_COUNT + (i < 2); // products are there in bf16, too
    return test_main("cpu-kernels", tests, loops, SL_ARRAY_LEN(tests));
}
