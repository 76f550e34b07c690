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

START_TEST(gate_fades_where_it_is_not_sure)
{
    enum { H = 6, W = 10, F = 2 };
    test_op *t = test_op_new(SL_OP_GATE, &(sl_attr) { .factor = F, .fade = { 0.1f, 0.7f } }, 70);
    const float *image = test_op_input(t, 0, H, W, 3);
    const float *map = test_op_input(t, 1, H / F, W / F, 4 * F * F);
    float *sure = test_op_input(t, 2, H, W, 0); // -1..1: below, between and above
    double want[H * W * 3];
    sure[7] = NAN;
    for (size_t i = 0; i < H * W; i++) {
        const float *at =
            map + ((i / W / F) * (W / F) + i % W / F) * 4 * F * F + i / W % F * F + i % W % F;
        double share = ((double)sure[i] - 0.1) / 0.6;
        share = share > 0 ? fmin(share, 1) : 0; // a NaN: nothing
        for (size_t c = 0; c < 3; c++) {
            want[3 * i + c] = gated((double)image[3 * i + c], (double)at[c * F * F] * share,
                                    (double)at[3 * F * F]);
        }
    }
    test_op_agrees(t, want, 2e-6);
    test_op_free(t);
}
END_TEST

static double chance(const float *scores, size_t cell)
{
    return 1 / (1 + exp((double)scores[2 * cell + 1] - (double)scores[2 * cell]));
}

// Between the middles of `cells` windows: the left one, and how far it is to the right one.
static size_t place(size_t pixel, size_t cells, size_t window, size_t shift, double *part)
{
    double at = ((double)pixel + 0.5 - (double)shift) / (double)window - 0.5;
    at = fmax(0, fmin(at, (double)cells - 1));
    *part = at - floor(at);
    return (size_t)at;
}

START_TEST(certainty_agrees_with_loop)
{
    static const struct {
        size_t rows, columns, window, shift;
        bool has_least;
    } cases[] = { { 1, 1, 1, 0, false }, { 1, 3, 16, 0, true }, { 3, 1, 8, 4, false },
                  { 5, 7, 16, 8, true }, { 2, 4, 5, 2, true },  { 4, 3, 7, 0, false },
                  { 2, 2, 64, 32, true } };
    size_t rows = cases[_i].rows, columns = cases[_i].columns, window = cases[_i].window;
    size_t shift = cases[_i].shift, height = rows * window, width = columns * window;
    const sl_attr attr = { .window = (uint32_t)window, .shift = (uint32_t)shift };
    test_op *t = test_op_new(SL_OP_CERTAINTY, &attr, 80 + (uint64_t)_i);
    float *scores = test_op_input(t, 0, rows, columns, 2);
    const float *least = cases[_i].has_least ? test_op_input(t, 1, height, width, 0) : NULL;
    double *want = malloc(height * width * sizeof *want);
    for (size_t i = 0; i < rows * columns * 2; i++)
        scores[i] *= 6;
    for (size_t i = 0; i < height * width; i++) {
        double dy, dx;
        size_t y = place(i / width, rows, window, shift, &dy);
        size_t x = place(i % width, columns, window, shift, &dx);
        size_t down = y + 1 < rows ? columns : 0, right = x + 1 < columns;
        size_t at = y * columns + x;
        want[i] =
            (1 - dy) * (1 - dx) * chance(scores, at) + (1 - dy) * dx * chance(scores, at + right) +
            dy * (1 - dx) * chance(scores, at + down) + dy * dx * chance(scores, at + down + right);
        if (least)
            want[i] = fmin(want[i], (double)least[i]);
    }
    test_op_agrees(t, want, 4e-6);
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
                             gate_fades_where_it_is_not_sure, certainty_agrees_with_loop,
                             gate_lets_nothing_but_a_picture_out };
    const int loops[] = { 5, 4, 1, 7, 1 };
    return test_main("cpu-pixel", tests, loops, SL_ARRAY_LEN(tests));
}
