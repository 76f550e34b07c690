// SPDX-License-Identifier: MIT
// tests/cpu/pixel.c: pixel unshuffle and the gated sum with the picture, against plain loops.
#include "testing.h"

#include <math.h>

START_TEST(unshuffle_agrees_with_loop)
{
    static const size_t shapes[][4] = {
        { 2, 2, 3, 2 }, { 6, 4, 3, 2 }, { 9, 6, 5, 3 }, { 7, 5, 3, 1 }, { 64, 96, 3, 2 }
    };
    size_t h = shapes[_i][0], w = shapes[_i][1], c = shapes[_i][2], f = shapes[_i][3];
    test_op *t =
        test_op_new(SL_OP_PIXEL_UNSHUFFLE, &(sl_attr) { .factor = (uint32_t)f }, 10 + (uint64_t)_i);
    const float *x = test_op_input(t, 0, h, w, c);
    double *want = malloc(h * w * c * sizeof *want);
    for (size_t y = 0; y < h; y++)
        for (size_t xx = 0; xx < w; xx++)
            for (size_t ch = 0; ch < c; ch++) {
                size_t channel = ch * f * f + y % f * f + xx % f;
                want[((y / f) * (w / f) + xx / f) * c * f * f + channel] =
                    (double)x[(y * w + xx) * c + ch];
            }
    test_op_agrees(t, want, 0);
    free(want);
    test_op_free(t);
}
END_TEST

static double gated(double image, double y, double gate)
{
    double s = 1 / (1 + exp(-gate));
    double v = image + y * (s > 0.1 ? s : 0.1);
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

START_TEST(gate_agrees_with_loop)
{
    static const size_t shapes[][3] = { { 1, 1, 1 }, { 4, 6, 2 }, { 6, 9, 3 }, { 33, 17, 1 } };
    size_t h = shapes[_i][0], w = shapes[_i][1], f = shapes[_i][2];
    test_op *t = test_op_new(SL_OP_GATE, &(sl_attr) { .factor = (uint32_t)f }, 50 + (uint64_t)_i);
    float *image = test_op_input(t, 0, h, w, 3);
    float *map = test_op_input(t, 1, h / f, w / f, 4 * f * f);
    for (size_t i = 0; i < h * w * 4; i++)
        map[i] *= 8; // gates down to 0.0003: below the floor
    if (h > 30) {
        map[3] = -1000; // exp overflows
        map[7] = 1000;
    }
    double *want = malloc(h * w * 3 * sizeof *want);
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++)
            for (size_t c = 0; c < 3; c++) {
                const float *at = map + ((y / f) * (w / f) + x / f) * 4 * f * f + y % f * f + x % f;
                want[(y * w + x) * 3 + c] = gated((double)image[(y * w + x) * 3 + c],
                                                  (double)at[c * f * f], (double)at[3 * f * f]);
            }
    test_op_agrees(t, want, 2e-6);
    free(want);
    test_op_free(t);
}
END_TEST

START_TEST(gate_lets_nothing_but_a_picture_out)
{
    test_op *t = test_op_new(SL_OP_GATE, &(sl_attr) { .factor = 1 }, 60);
    test_op_input(t, 0, 1, 2, 3);
    float *map = test_op_input(t, 1, 1, 2, 4);
    map[0] = NAN;
    map[1] = INFINITY;
    map[2] = -INFINITY;
    map[7] = NAN;
    float out[6];
    test_op_run(t, NULL, 1, (void *[SL_MAX_OUTPUTS]) { out });
    for (size_t i = 0; i < 6; i++)
        ck_assert(out[i] >= 0 && out[i] <= 1);
    test_op_free(t);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { unshuffle_agrees_with_loop, gate_agrees_with_loop,
                             gate_lets_nothing_but_a_picture_out };
    const int loops[] = { 5, 4, 1 };
    return test_main("cpu-pixel", tests, loops, SL_ARRAY_LEN(tests));
}
