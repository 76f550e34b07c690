// SPDX-License-Identifier: MIT
// tests/cpu/conv.c: convolution and transposed convolution with skip against plain loops.
#include "testing.h"

#include <math.h>

typedef struct conv_case {
    size_t h, w, cin, cout, k, stride, pad;
} conv_case;

static double conv_element(const conv_case *c, const float *x, const float *weight, size_t oy,
                           size_t ox, size_t o)
{
    double sum = 0;
    for (size_t ky = 0; ky < c->k; ky++)
        for (size_t kx = 0; kx < c->k; kx++) {
            ptrdiff_t y = (ptrdiff_t)(oy * c->stride + ky) - (ptrdiff_t)c->pad;
            ptrdiff_t xx = (ptrdiff_t)(ox * c->stride + kx) - (ptrdiff_t)c->pad;
            if (y < 0 || xx < 0 || y >= (ptrdiff_t)c->h || xx >= (ptrdiff_t)c->w)
                continue;
            for (size_t i = 0; i < c->cin; i++)
                sum += (double)x[((size_t)y * c->w + (size_t)xx) * c->cin + i] *
                       (double)weight[((o * c->cin + i) * c->k + ky) * c->k + kx];
        }
    return sum;
}

static void check_conv(const conv_case *c, uint64_t seed)
{
    sl_attr attr = { .stride = (uint32_t)c->stride,
                     .pad = (uint32_t)c->pad,
                     .act = seed % 2 ? SL_ACT_LEAKY_RELU : SL_ACT_NONE,
                     .slope = 0.125f };
    test_op *t = test_op_new(SL_OP_CONV2D, &attr, seed);
    const float *x = test_op_input(t, 0, c->h, c->w, c->cin);
    const float *weight = test_op_weight(t, 0, 1, c->cout, c->cin, c->k, c->k);
    const float *bias = test_op_weight(t, 1, 1, c->cout, 0, 0, 0);
    size_t h = (c->h + 2 * c->pad - c->k) / c->stride + 1;
    size_t w = (c->w + 2 * c->pad - c->k) / c->stride + 1;
    ck_assert_uint_eq(test_op_elements(t, 0), h * w * c->cout);
    double *want = malloc(h * w * c->cout * sizeof *want);
    for (size_t i = 0; i < h * w * c->cout; i++) {
        size_t o = i % c->cout, ox = i / c->cout % w, oy = i / c->cout / w;
        want[i] = conv_element(c, x, weight, oy, ox, o) + (double)bias[o];
        if (attr.act == SL_ACT_LEAKY_RELU && want[i] < 0)
            want[i] *= 0.125;
    }
    test_op_agrees(t, want, 2e-7 * (double)(c->k * c->k * c->cin) + 1e-6);
    free(want);
    test_op_free(t);
}

START_TEST(conv_agrees_with_loop_at_the_networks_shapes)
{
    // The last three: small maps whose columns several threads share.
    static const conv_case cases[] = {
        { 24, 40, 3, 24, 3, 1, 1 },  { 16, 16, 12, 24, 3, 1, 1 }, { 32, 48, 24, 48, 4, 2, 1 },
        { 8, 8, 48, 96, 4, 2, 1 },   { 16, 16, 48, 4, 3, 1, 1 },  { 16, 8, 48, 16, 3, 1, 1 },
        { 4, 4, 256, 512, 4, 2, 1 }, { 24, 24, 32, 20, 1, 1, 0 }, { 8, 72, 24, 48, 4, 2, 1 },
        { 3, 67, 48, 16, 3, 1, 1 },  { 5, 140, 3, 24, 3, 1, 1 },  { 7, 150, 5, 7, 3, 4, 2 },
        { 6, 40, 130, 9, 5, 1, 3 },  { 6, 80, 400, 6, 2, 2, 0 },  { 3, 36, 2, 3, 40, 1, 40 },
        { 70, 35, 100, 5, 3, 1, 1 }, { 75, 75, 90, 5, 3, 2, 1 },  { 14, 14, 160, 100, 3, 2, 1 },
        { 9, 9, 64, 130, 3, 1, 1 },  { 1, 1, 320, 257, 3, 2, 1 },
    };
    check_conv(&cases[_i], 1000 + (uint64_t)_i);
}
END_TEST

START_TEST(conv_agrees_with_loop_at_random_shapes)
{
    for (uint64_t seed = 1 + 10 * (uint64_t)_i; seed <= 10 * (uint64_t)_i + 10; seed++) {
        test_rng rng = test_seed(seed + 5000);
        conv_case c = { .h = test_range(&rng, 1, 21),
                        .w = test_range(&rng, 1, 21),
                        .cin = test_range(&rng, 1, 37),
                        .cout = test_range(&rng, 1, 37),
                        .k = test_range(&rng, 1, 5),
                        .stride = test_range(&rng, 1, 3) };
        c.pad = test_range(&rng, 0, c.k);
        if (c.h + 2 * c.pad < c.k || c.w + 2 * c.pad < c.k)
            c.pad = c.k;
        check_conv(&c, seed);
    }
}
END_TEST

static void check_upconv(size_t h, size_t w, size_t cin, size_t cout, size_t cs, uint64_t seed)
{
    test_op *t = test_op_new(SL_OP_UPCONV_CONCAT, NULL, seed);
    const float *x = test_op_input(t, 0, h, w, cin);
    const float *skip = test_op_input(t, 1, 2 * h, 2 * w, cs);
    const float *weight = test_op_weight(t, 0, 1, cin, cout, 2, 2);
    const float *bias = test_op_weight(t, 1, 1, cout, 0, 0, 0);
    double *want = malloc(4 * h * w * (cout + cs) * sizeof *want);
    for (size_t i = 0; i < 4 * h * w * (cout + cs); i++) {
        size_t o = i % (cout + cs), pixel = i / (cout + cs);
        size_t ox = pixel % (2 * w), oy = pixel / (2 * w);
        if (o >= cout) {
            want[i] = (double)skip[pixel * cs + o - cout];
            continue;
        }
        want[i] = (double)bias[o];
        for (size_t c = 0; c < cin; c++)
            want[i] += (double)x[(oy / 2 * w + ox / 2) * cin + c] *
                       (double)weight[((c * cout + o) * 2 + oy % 2) * 2 + ox % 2];
    }
    test_op_agrees(t, want, 2e-7 * (double)cin + 1e-6);
    free(want);
    test_op_free(t);
}

START_TEST(upconv_agrees_with_loop)
{
    static const size_t shapes[][5] = { { 1, 1, 1, 1, 1 },      { 8, 8, 96, 48, 48 },
                                        { 16, 12, 96, 24, 24 }, { 3, 5, 7, 9, 11 },
                                        { 5, 3, 33, 17, 15 },   { 1, 7, 64, 32, 4 },
                                        { 4, 4, 512, 256, 256 } };
    const size_t *s = shapes[_i];
    check_upconv(s[0], s[1], s[2], s[3], s[4], 300 + (uint64_t)_i);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { conv_agrees_with_loop_at_the_networks_shapes,
                             conv_agrees_with_loop_at_random_shapes, upconv_agrees_with_loop };
    const int loops[] = { 20, 4, 7 };
    return test_main("cpu-conv", tests, loops, SL_ARRAY_LEN(tests));
}
