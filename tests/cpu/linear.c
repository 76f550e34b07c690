// SPDX-License-Identifier: MIT
// tests/cpu/linear.c: linear layers and LayerNorm on rows and on window lists, against plain loops.
#include "testing.h"

#include <math.h>

static double activated(double x, sl_act act)
{
    switch (act) {
    case SL_ACT_RELU:
        return x > 0 ? x : 0;
    case SL_ACT_LEAKY_RELU:
        return x > 0 ? x : 0.125 * x;
    case SL_ACT_GELU:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case SL_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case SL_ACT_NONE:
        break;
    }
    return x;
}

typedef struct linear_case {
    size_t windows, tokens, kept, k, m; // rows: windows * tokens; kept < windows: with a list
    sl_act act;
    bool residual;
} linear_case;

static void check_linear(const linear_case *c, uint64_t seed)
{
    sl_attr attr = { .act = c->act, .slope = 0.125f };
    test_op *t = test_op_new(SL_OP_LINEAR, &attr, seed);
    size_t rows = c->windows * c->tokens;
    const float *x = test_op_input(t, 0, rows, c->k, 0);
    const float *residual = c->residual ? test_op_input(t, 1, rows, c->m, 0) : NULL;
    if (c->kept < c->windows)
        test_op_list(t, 2, c->windows, c->kept);
    const float *weight = test_op_weight(t, 0, 1, c->m, c->k, 0, 0);
    const float *bias = test_op_weight(t, 1, 1, c->m, 0, 0, 0);
    double *want = malloc(rows * c->m * sizeof *want);
    for (size_t i = 0; i < rows * c->m; i++) {
        size_t r = i / c->m, j = i % c->m;
        double sum = (double)bias[j];
        for (size_t l = 0; l < c->k; l++)
            sum += (double)x[r * c->k + l] * (double)weight[j * c->k + l];
        want[i] = activated(sum, c->act) + (residual ? (double)residual[i] : 0);
        if (r >= c->kept * c->tokens)
            want[i] = NAN; // not computed
    }
    test_op_agrees(t, want, 2e-7 * (double)c->k + 1e-6);
    free(want);
    test_op_free(t);
}

START_TEST(linear_agrees_with_loop)
{
    for (uint64_t seed = 1 + 8 * (uint64_t)_i; seed <= 8 * (uint64_t)_i + 8; seed++) {
        test_rng rng = test_seed(seed + 100);
        linear_case c = { .windows = test_range(&rng, 1, 6),
                          .tokens = test_range(&rng, 1, 66),
                          .k = test_range(&rng, 1, 80),
                          .m = test_range(&rng, 1, 130),
                          .act = (sl_act)(seed % 4),
                          .residual = test_range(&rng, 0, 1) };
        c.kept = test_range(&rng, 0, c.windows);
        check_linear(&c, seed);
    }
}
END_TEST

START_TEST(linear_is_right_at_the_networks_shapes)
{
    // The last four: few rows and many columns, which several threads share.
    static const linear_case cases[] = {
        { 4, 64, 3, 24, 96, SL_ACT_GELU, false },   { 4, 64, 4, 96, 24, SL_ACT_NONE, true },
        { 2, 64, 1, 512, 64, SL_ACT_NONE, true },   { 1, 64, 1, 96, 384, SL_ACT_GELU, false },
        { 3, 64, 0, 48, 48, SL_ACT_NONE, false },   { 1, 1, 1, 2048, 3, SL_ACT_NONE, false },
        { 1, 50, 1, 512, 300, SL_ACT_GELU, false }, { 1, 1, 1, 512, 1000, SL_ACT_NONE, false },
        { 1, 196, 1, 320, 322, SL_ACT_NONE, true }, { 2, 50, 1, 400, 208, SL_ACT_GELU_TANH, true },
    };
    check_linear(&cases[_i], 700 + (uint64_t)_i);
}
END_TEST

static void check_norm(size_t windows, size_t tokens, size_t kept, size_t channels, bool add,
                       uint64_t seed)
{
    sl_attr attr = { .eps = 1e-5f };
    test_op *t = test_op_new(SL_OP_LAYER_NORM, &attr, seed);
    size_t rows = windows * tokens;
    const float *x = test_op_input(t, 0, rows, channels, 0);
    if (kept < windows)
        test_op_list(t, 1, windows, kept);
    const float *weight = test_op_weight(t, 0, 1, channels, 0, 0, 0);
    const float *bias = test_op_weight(t, 1, 1, channels, 0, 0, 0);
    const float *modulator = add ? test_op_weight(t, 2, 1, tokens, channels, 0, 0) : NULL;
    double *want = malloc(rows * channels * sizeof *want);
    for (size_t r = 0; r < rows; r++) {
        double mean = 0, variance = 0;
        for (size_t c = 0; c < channels; c++)
            mean += (double)x[r * channels + c] / (double)channels;
        for (size_t c = 0; c < channels; c++)
            variance += pow((double)x[r * channels + c] - mean, 2) / (double)channels;
        for (size_t c = 0; c < channels; c++) {
            double y = ((double)x[r * channels + c] - mean) / sqrt(variance + 1e-5);
            y = y * (double)weight[c] + (double)bias[c] +
                (modulator ? (double)modulator[r % tokens * channels + c] : 0);
            want[r * channels + c] = r < kept * tokens ? y : NAN;
        }
    }
    test_op_agrees(t, want, 1e-5);
    free(want);
    test_op_free(t);
}

START_TEST(layer_norm_agrees_with_loop)
{
    for (uint64_t seed = 1 + 8 * (uint64_t)_i; seed <= 8 * (uint64_t)_i + 8; seed++) {
        test_rng rng = test_seed(seed + 900);
        size_t windows = test_range(&rng, 1, 5), tokens = test_range(&rng, 1, 70);
        size_t kept = test_range(&rng, 0, windows), channels = test_range(&rng, 2, 100);
        check_norm(windows, tokens, kept, channels, test_range(&rng, 0, 1), seed);
    }
}
END_TEST

int main(void)
{
    const TTest *tests[] = { linear_agrees_with_loop, linear_is_right_at_the_networks_shapes,
                             layer_norm_agrees_with_loop };
    const int loops[] = { 4, 10, 4 };
    return test_main("cpu-linear", tests, loops, SL_ARRAY_LEN(tests));
}
