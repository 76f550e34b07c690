// SPDX-License-Identifier: MIT
// tests/cpu/dwconv.c: the depthwise convolution inside windows, as a kernel and as an op.
#include "backend.h"
#include "cpu/kernels.h"
#include "reference.h"
#include "testing.h"

#include <math.h>

// Channels on either side of every level's vectors, and strides wider than the rows.
START_TEST(kernel_agrees_with_loop)
{
    uint64_t seed = 500 + (uint64_t)_i;
    test_rng rng = test_seed(seed);
    size_t w = test_range(&rng, 2, 9), c = test_range(&rng, 1, 70), n = w * w;
    size_t ldx = c + test_range(&rng, 0, 5), ldy = c + test_range(&rng, 0, 5);
    sl_act act = test_range(&rng, 0, 1) ? SL_ACT_GELU : SL_ACT_NONE;
    float *x = test_floats(&rng, n * ldx, -2, 2), *taps = test_floats(&rng, 9 * c, -1, 1);
    float *bias = test_floats(&rng, c, -1, 1), *weight = malloc(9 * c * sizeof *weight);
    double *packed = malloc(n * c * sizeof *packed), *want = malloc(n * c * sizeof *want);
    for (size_t i = 0; i < 9 * c; i++)
        weight[i % c * 9 + i / c] = taps[i];
    for (size_t i = 0; i < n * c; i++)
        packed[i] = (double)x[i / c * ldx + i % c];
    ref_dwconv(packed, w, c, weight, bias, want);
    for (int level = 0; level <= (int)sl_cpu_simd_best(); level++) {
        size_t room = (n - 1) * ldy + c; // no row end behind the last row
        float *y = test_guarded(room);
        sl_dwconv d = { x, ldx, w, c, taps, bias, act, 0, y, ldy };
        sl_kernels_get((sl_simd)level)->dwconv(&d);
        test_guard_check(y, room, seed);
        for (size_t i = 0; i < room; i++) {
            double value = (double)y[i];
            if (i % ldy >= c) {
                ck_assert_msg(isnan(value), "seed %zu: wrote between rows", (size_t)seed);
                continue;
            }
            double right = want[i / ldy * c + i % ldy];
            right = act == SL_ACT_GELU ? ref_gelu(right) : right;
            ck_assert_msg(fabs(value - right) < 1e-5, "seed %zu, level %d: %zu is %g, should be %g",
                          (size_t)seed, level, i, value, right);
        }
        test_guarded_free(y);
    }
    free(want);
    free(packed);
    free(weight);
    free(bias);
    free(taps);
    free(x);
}
END_TEST

START_TEST(op_agrees_with_loop)
{
    uint64_t seed = 600 + (uint64_t)_i;
    test_rng rng = test_seed(seed);
    size_t w = test_range(&rng, 2, 8), c = test_range(&rng, 1, 70), n = w * w;
    size_t windows = test_range(&rng, 1, 12), kept = windows;
    sl_attr attr = { .window = (uint32_t)w, .act = SL_ACT_LEAKY_RELU, .slope = 0.25f };
    if (test_range(&rng, 0, 1))
        attr.act = SL_ACT_GELU;
    test_op *t = test_op_new(SL_OP_WINDOW_DWCONV, &attr, seed);
    double *x = ref_doubles(test_op_input(t, 0, windows * n, c, 0), windows * n * c);
    const float *weight = test_op_weight(t, 0, 1, c, 1, 3, 3);
    const float *bias = test_op_weight(t, 1, 1, c, 0, 0, 0);
    if (test_range(&rng, 0, 2) > 0) {
        kept = test_range(&rng, 0, windows);
        test_op_list(t, 1, windows, kept);
    }
    double *want = malloc(windows * n * c * sizeof *want);
    for (size_t i = 0; i < windows; i++)
        ref_dwconv(x + i * n * c, w, c, weight, bias, want + i * n * c);
    for (size_t i = 0; i < windows * n * c; i++)
        want[i] = i >= kept * n * c         ? (double)NAN
                  : attr.act == SL_ACT_GELU ? ref_gelu(want[i])
                                            : want[i] * (want[i] < 0 ? 0.25 : 1.0);
    test_op_agrees(t, want, 1e-5);
    free(want);
    free(x);
    test_op_free(t);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { kernel_agrees_with_loop, op_agrees_with_loop };
    const int loops[] = { test_backend_is_cpu() ? 40 : 0, 16 };
    return test_main("cpu-dwconv", tests, loops, SL_ARRAY_LEN(tests));
}
