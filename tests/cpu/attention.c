// SPDX-License-Identifier: MIT
// tests/cpu/attention.c: attention inside windows, as a kernel and as an op.
#include "backend.h"
#include "cpu/kernels.h"
#include "reference.h"
#include "testing.h"

#include <math.h>

static size_t any_head_dim(test_rng *rng)
{
    static const size_t common[] = { 8, 24, 32 };
    return test_range(rng, 0, 1) ? common[test_range(rng, 0, 2)] : test_range(rng, 1, 40);
}

static size_t any_window(test_rng *rng)
{
    return test_range(rng, 0, 1) ? 8 : test_range(rng, 1, 9);
}

// softmax(q k^T d^-1/2 + bias + mask) v with bias and mask as given to the kernel.
static void loop(const sl_attention *a, double *want)
{
    size_t n = a->tokens, d = a->head_dim;
    double *s = malloc(n * sizeof *s);
    for (size_t h = 0; h < a->heads; h++)
        for (size_t p = 0; p < n; p++) {
            double top = -INFINITY, sum = 0;
            for (size_t t = 0; t < n; t++) {
                s[t] = (double)a->bias[(h * n + p) * n + t];
                s[t] += a->mask ? (double)a->mask[p * n + t] : 0;
                for (size_t i = h * d; i < (h + 1) * d; i++)
                    s[t] += (double)a->q[p * a->ldq + i] * (double)a->k[t * a->ldkv + i] /
                            sqrt((double)d);
                top = fmax(top, s[t]);
            }
            for (size_t t = 0; t < n; t++)
                sum += s[t] = exp(s[t] - top);
            for (size_t i = h * d; i < (h + 1) * d; i++) {
                double value = 0;
                for (size_t t = 0; t < n; t++)
                    value += s[t] / sum * (double)a->v[t * a->ldkv + i];
                want[p * a->heads * d + i] = value;
            }
        }
    free(s);
}

// Runs the kernel at every level into guarded memory, with out apart from q and with out == q.
static void check_kernel(sl_attention a, const double *want, uint64_t seed)
{
    size_t c = a.heads * a.head_dim, q_room = (a.tokens - 1) * a.ldq + c;
    const float *q = a.q;
    for (int level = 0; level <= (int)sl_cpu_simd_best(); level++)
        for (int in_place = 0; in_place < 2; in_place++) {
            const sl_kernels *kernels = sl_kernels_get((sl_simd)level);
            size_t scratch = kernels->attention_scratch(a.tokens, a.head_dim);
            size_t ldo = in_place ? a.ldq : c + 3, room = (a.tokens - 1) * ldo + c;
            float *out = test_guarded(room), *memory = test_guarded(scratch);
            if (in_place)
                memcpy(out, q, q_room * sizeof *out);
            a.q = in_place ? out : q;
            a.out = out;
            a.ldo = ldo;
            a.scratch = memory;
            kernels->attention(&a);
            test_guard_check(out, room, seed);
            test_guard_check(memory, scratch, seed);
            for (size_t i = 0; i < a.tokens * c; i++) {
                double value = (double)out[i / c * ldo + i % c];
                ck_assert_msg(fabs(value - want[i]) < 1e-5,
                              "seed %zu, level %d: %zu is %g, should be %g", (size_t)seed, level, i,
                              value, want[i]);
            }
            test_guarded_free(memory);
            test_guarded_free(out);
        }
}

START_TEST(kernel_agrees_with_loop)
{
    uint64_t seed = 700 + (uint64_t)_i;
    test_rng rng = test_seed(seed);
    size_t w = any_window(&rng), n = w * w, d = any_head_dim(&rng), h = test_range(&rng, 1, 3);
    size_t c = h * d, ldq = c + test_range(&rng, 0, 3), ldkv = 2 * c + test_range(&rng, 0, 3);
    float *q = test_floats(&rng, n * ldq, -3, 3), *kv = test_floats(&rng, n * ldkv, -3, 3);
    float *bias = test_floats(&rng, h * n * n, -2, 2);
    float *mask = test_range(&rng, 0, 1) ? test_floats(&rng, n * n, -1, 1) : NULL;
    for (size_t i = 0; mask && i < n * n; i++) // the diagonal stays, as in every real mask
        mask[i] = mask[i] < 0 && i / n != i % n ? -100 : 0;
    sl_attention a = { .q = q,
                       .k = kv,
                       .v = kv + c,
                       .ldq = ldq,
                       .ldkv = ldkv,
                       .tokens = n,
                       .heads = h,
                       .head_dim = d,
                       .bias = bias,
                       .mask = mask };
    double *want = malloc(n * c * sizeof *want);
    loop(&a, want);
    check_kernel(a, want, seed);
    free(want);
    free(mask);
    free(bias);
    free(kv);
    free(q);
}
END_TEST

// Scores of several hundred: exp() of them is out of range, of their distance from the largest not.
START_TEST(kernel_survives_large_scores)
{
    test_rng rng = test_seed(800);
    size_t n = 64, d = 24;
    float *q = test_floats(&rng, n * d, -60, 60), *kv = test_floats(&rng, n * 2 * d, -60, 60);
    float *bias = test_floats(&rng, n * n, -500, 500);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            kv[i * 2 * d + d + j] /= 60; // values of -1..1, as the tolerance wants
    sl_attention a = { .q = q,
                       .k = kv,
                       .v = kv + d,
                       .ldq = d,
                       .ldkv = 2 * d,
                       .ldo = d,
                       .tokens = n,
                       .heads = 1,
                       .head_dim = d,
                       .bias = bias };
    double *want = malloc(n * d * sizeof *want);
    loop(&a, want);
    for (int level = 0; level <= (int)sl_cpu_simd_best(); level++) {
        const sl_kernels *kernels = sl_kernels_get((sl_simd)level);
        float *out = test_guarded(n * d);
        a.scratch = test_guarded(kernels->attention_scratch(n, d));
        a.out = out;
        kernels->attention(&a);
        // Scores of some ten thousand carry an error of a few 1e-3, and so do their exponentials.
        for (size_t i = 0; i < n * d; i++)
            ck_assert_msg(fabs((double)out[i] - want[i]) < 1e-2, "level %d: %zu is %g, not %g",
                          level, i, (double)out[i], want[i]);
        test_guarded_free(a.scratch);
        test_guarded_free(out);
    }
    free(want);
    free(bias);
    free(kv);
    free(q);
}
END_TEST

START_TEST(op_agrees_with_loop)
{
    uint64_t seed = 900 + (uint64_t)_i;
    test_rng rng = test_seed(seed);
    size_t w = any_window(&rng), n = w * w, h = test_range(&rng, 1, 3), d = any_head_dim(&rng);
    size_t c = h * d, rows = test_range(&rng, 1, 3), columns = test_range(&rng, 1, 3);
    ref_windows m = { rows * w, columns * w, w, test_range(&rng, 0, 1) * (w / 2) };
    sl_attr attr = { .window = (uint32_t)w,
                     .shift = (uint32_t)m.shift,
                     .heads = (uint32_t)h,
                     .rows = (uint32_t)rows,
                     .columns = (uint32_t)columns };
    size_t windows = rows * columns, kept = windows;
    test_op *t = test_op_new(SL_OP_WINDOW_ATTENTION, &attr, seed);
    double *q = ref_doubles(test_op_input(t, 0, windows * n, c, 0), windows * n * c);
    double *kv = ref_doubles(test_op_input(t, 1, windows * n, 2 * c, 0), windows * n * 2 * c);
    const float *table = test_op_weight(t, 0, 1, (2 * w - 1) * (2 * w - 1), h, 0, 0);
    const int32_t *list = NULL;
    if (test_range(&rng, 0, 2) > 0) {
        kept = test_range(&rng, 0, windows);
        list = test_op_list(t, 2, windows, kept);
    }
    double *want = malloc(windows * n * c * sizeof *want);
    for (size_t i = 0; i < windows * n * c; i++)
        want[i] = (double)NAN;
    for (size_t i = 0; i < kept; i++)
        ref_attention(&m, list ? (size_t)list[4 + i] : i, q + i * n * c, kv + i * n * 2 * c, table,
                      h, c, want + i * n * c);
    test_op_agrees(t, want, 1e-5);
    free(want);
    free(kv);
    free(q);
    test_op_free(t);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { kernel_agrees_with_loop, kernel_survives_large_scores,
                             op_agrees_with_loop };
    const int kernels = test_backend_is_cpu() ? 1 : 0;
    const int loops[] = { 40 * kernels, kernels, 16 };
    return test_main("cpu-attention", tests, loops, SL_ARRAY_LEN(tests));
}
