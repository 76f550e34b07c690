// SPDX-License-Identifier: MIT
// tests/cpu/softmax.c: softmax attention over all rows, against plain loops.
#include "testing.h"

#include <math.h>

typedef struct softmax_case {
    size_t tokens, heads, d;
    float scale; // of queries and keys
} softmax_case;

static const softmax_case cases[] = {
    { 1, 1, 32, 1 },    { 2, 3, 7, 1 },   { 50, 16, 32, 1 }, { 5, 8, 32, 3 },   { 129, 2, 20, 2 },
    { 300, 1, 128, 1 }, { 257, 3, 1, 4 }, { 64, 2, 33, 30 }, { 160, 1, 16, 0 },
};

static void attend(const float *q, const float *kv, const softmax_case *c, size_t row, size_t head,
                   double *out)
{
    size_t channels = c->heads * c->d;
    double *e = malloc(c->tokens * sizeof *e), top = -INFINITY, sum = 0;
    for (size_t j = 0; j < c->tokens; j++) {
        e[j] = 0;
        for (size_t i = 0; i < c->d; i++)
            e[j] += (double)q[row * channels + head * c->d + i] *
                    (double)kv[j * 2 * channels + head * c->d + i] / sqrt((double)c->d);
        top = fmax(top, e[j]);
    }
    for (size_t j = 0; j < c->tokens; j++)
        sum += e[j] = exp(e[j] - top);
    for (size_t i = 0; i < c->d; i++) {
        out[i] = 0;
        for (size_t j = 0; j < c->tokens; j++)
            out[i] += e[j] / sum * (double)kv[j * 2 * channels + channels + head * c->d + i];
    }
    free(e);
}

START_TEST(attention_agrees_with_loop)
{
    const softmax_case *c = &cases[_i];
    size_t channels = c->heads * c->d;
    test_op *t = test_op_new(SL_OP_ATTENTION, &(sl_attr) { .heads = (uint32_t)c->heads },
                             800 + (uint64_t)_i);
    float *q = test_op_input(t, 0, c->tokens, channels, 0);
    float *kv = test_op_input(t, 1, c->tokens, 2 * channels, 0);
    for (size_t i = 0; i < c->tokens * channels; i++) {
        q[i] *= c->scale;
        kv[i / channels * 2 * channels + i % channels] *= c->scale;
    }
    double *want = malloc(c->tokens * channels * sizeof *want);
    for (size_t row = 0; row < c->tokens; row++)
        for (size_t head = 0; head < c->heads; head++)
            attend(q, kv, c, row, head, want + row * channels + head * c->d);
    test_op_agrees(t, want, c->scale > 10 ? 2e-4 : 5e-6);
    free(want);
    test_op_free(t);
}
END_TEST

// Scores beyond what exp() reaches, descending and ascending: neither overflow nor 0 / 0.
START_TEST(attention_survives_large_scores)
{
    test_op *t = test_op_new(SL_OP_ATTENTION, &(sl_attr) { .heads = 1 }, 820);
    float *q = test_op_input(t, 0, 300, 4, 0), *kv = test_op_input(t, 1, 300, 8, 0);
    for (size_t i = 0; i < 300 * 4; i++) {
        q[i] = i / 4 % 2 ? 100.0f : -100.0f;
        kv[i / 4 * 8 + i % 4] = (float)(i / 4);
    }
    double *want = malloc(300 * 4 * sizeof *want);
    for (size_t i = 0; i < 300 * 4; i++) // all the weight is on the last or the first
        want[i] = (double)kv[(i / 4 % 2 ? 299 : 0) * 8 + 4 + i % 4];
    test_op_agrees(t, want, 1e-6);
    free(want);
    test_op_free(t);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { attention_agrees_with_loop, attention_survives_large_scores };
    const int loops[] = { SL_ARRAY_LEN(cases), 1 };
    return test_main("softmax", tests, loops, SL_ARRAY_LEN(tests));
}
