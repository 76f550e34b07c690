// SPDX-License-Identifier: MIT
// tests/cpu/predict.c: window scores against the predictor layer by layer, nothing folded.
#include "reference.h"
#include "testing.h"

#include <math.h>

typedef struct predictor {
    const float *w[SL_PREDICT_WEIGHTS];
    size_t c;
} predictor;

// Weights of about the size that keeps features of the size of their inputs.
static predictor predictor_new(test_op *t, size_t c)
{
    predictor p = { .c = c };
    const uint64_t rows[] = { c, c, c, c, c, c, c / 2, c / 2, c / 4, c / 4, 2, 2 };
    const uint64_t columns[] = { c, 0, 0, 0, c, 0, c, 0, c / 2, 0, c / 4, 0 };
    for (unsigned i = 0; i < SL_PREDICT_WEIGHTS; i++) {
        float scale = columns[i] ? 1.7f / sqrtf((float)columns[i]) : 0.7f;
        p.w[i] = test_op_weight(t, i, scale, rows[i], columns[i], 0, 0);
    }
    return p;
}

static void gelu_all(double *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = ref_gelu(x[i]);
}

// Scores of every token [tokens,2], as the specification has them.
static void token_scores(const predictor *p, const double *x, size_t tokens, double *z)
{
    size_t c = p->c, half = c / 2, quarter = c / 4;
    double *a = malloc(tokens * c * sizeof *a), *b = malloc(tokens * c * sizeof *b);
    ck_assert(a && b);
    ref_linear(x, tokens, c, p->w[SL_PREDICT_IN0_W], p->w[SL_PREDICT_IN0_B], c, a);
    gelu_all(a, tokens * c);
    ref_norm(a, tokens, c, p->w[SL_PREDICT_NORM_W], p->w[SL_PREDICT_NORM_B], NULL, 1, 1e-5, a);
    ref_linear(a, tokens, c, p->w[SL_PREDICT_IN3_W], p->w[SL_PREDICT_IN3_B], c, b);
    for (size_t j = half; j < c; j++) {
        double mean = 0;
        for (size_t i = 0; i < tokens; i++)
            mean += b[i * c + j] / (double)tokens;
        for (size_t i = 0; i < tokens; i++)
            b[i * c + j] = mean;
    }
    ref_linear(b, tokens, c, p->w[SL_PREDICT_OUT0_W], p->w[SL_PREDICT_OUT0_B], half, a);
    gelu_all(a, tokens * half);
    ref_linear(a, tokens, half, p->w[SL_PREDICT_OUT2_W], p->w[SL_PREDICT_OUT2_B], quarter, b);
    gelu_all(b, tokens * quarter);
    ref_linear(b, tokens, quarter, p->w[SL_PREDICT_OUT4_W], p->w[SL_PREDICT_OUT4_B], 2, z);
    free(b);
    free(a);
}

static void check_predictor(size_t rows, size_t columns, size_t w, size_t shift, size_t c,
                            uint64_t seed)
{
    ref_windows m = { rows * w, columns * w, w, shift };
    sl_attr attr = { .window = (uint32_t)w, .shift = (uint32_t)shift, .eps = 1e-5f };
    size_t tokens = m.height * m.width, n = w * w, windows = rows * columns;
    test_op *t = test_op_new(SL_OP_PREDICT, &attr, seed);
    double *x = ref_doubles(test_op_input(t, 0, m.height, m.width, c), tokens * c);
    predictor p = predictor_new(t, c);
    double *z = malloc(tokens * 2 * sizeof *z), *want = calloc(windows * 2, sizeof *want);
    ck_assert(z && want);
    token_scores(&p, x, tokens, z);
    for (size_t i = 0; i < windows * n; i++)
        for (size_t j = 0; j < 2; j++)
            want[i / n * 2 + j] += z[ref_pixel(&m, i / n, i % n) * 2 + j] / (double)n;
    test_op_agrees(t, want, 1e-5 * fmax(ref_range(want, windows * 2), 0.1));
    free(want);
    free(z);
    free(x);
    test_op_free(t);
}

START_TEST(predict_agrees_with_layers)
{
    static const size_t channels[] = { 4, 8, 13, 24, 32, 48, 70 };
    uint64_t seed = 1000 + (uint64_t)_i;
    test_rng rng = test_seed(seed);
    size_t w = test_range(&rng, 0, 1) ? 8 : test_range(&rng, 1, 6);
    size_t rows = test_range(&rng, 1, 4), columns = test_range(&rng, 1, 4);
    size_t c = channels[(size_t)_i % SL_ARRAY_LEN(channels)];
    check_predictor(rows, columns, w, test_range(&rng, 0, 1) * (w / 2), c, seed);
}
END_TEST

// A window larger than a task, a map of many tasks, and more channels than are summed at a time.
START_TEST(predict_agrees_on_unusual_windows)
{
    check_predictor(2, 1, 20, 10, 12, 1100);
    check_predictor(12, 11, 8, 4, 8, 1101);
    check_predictor(1, 2, 2, 0, 300, 1102);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { predict_agrees_with_layers, predict_agrees_on_unusual_windows };
    const int loops[] = { 21, 1 };
    return test_main("cpu-predict", tests, loops, SL_ARRAY_LEN(tests));
}
