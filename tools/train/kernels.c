// SPDX-License-Identifier: MIT
// kernels.c: GELU, and the middle of LeFF (GELU, depthwise 3x3 within a window, GELU), with
// gradients. PyTorch's own take two fifths of a training step.
#include "lanes.h"

size_t lane_count(void)
{
    return LANES;
}

enum { PAD = SIDE + 2 };

// n: a multiple of LANES, as in every function below.
void gelu_forward(const stored *restrict x, stored *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        store(y + i, gelu(load(x + i)));
}

void gelu_backward(const stored *restrict x, const stored *restrict dy, stored *restrict dx,
                   size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        store(dx + i, load(dy + i) * slope(load(x + i)));
}

static inline int padded(int p) // token of a window -> its place in the padded one
{
    return (p / SIDE + 1) * PAD + p % SIDE + 1;
}

static inline int source(int q) // place in the padded window -> the place that it repeats
{
    int i = q / PAD, j = q % PAD;
    i = i == 0 ? 2 : i == PAD - 1 ? PAD - 3 : i;
    j = j == 0 ? 2 : j == PAD - 1 ? PAD - 3 : j;
    return i * PAD + j;
}

static void pad(lanes *g) // the border of a padded window
{
    for (int q = 0; q < PAD * PAD; q++)
        if (source(q) != q)
            g[q] = g[source(q)];
}

// x, z, y: [windows, 64, c]; z: before the second GELU. w: [9, c]; b: [c].
void leff_forward(const stored *restrict x, const float *restrict w, const float *restrict b,
                  stored *restrict z, stored *restrict y, size_t windows, size_t c)
{
    lanes g[PAD * PAD], tap[9], bias;
    for (size_t at = 0; at < windows * c / LANES; at++) {
        size_t first = at * LANES % c, start = at * LANES / c * TOKENS * c + first;
        for (int p = 0; p < TOKENS; p++)
            g[padded(p)] = gelu(load(x + start + p * c));
        pad(g);
        memcpy(&bias, b + first, sizeof bias);
        for (int t = 0; t < 9; t++)
            memcpy(tap + t, w + t * c + first, sizeof *tap);
        for (int p = 0; p < TOKENS; p++) {
            lanes sum = bias;
            for (int t = 0; t < 9; t++)
                sum += g[padded(p) + (t / 3 - 1) * PAD + t % 3 - 1] * tap[t];
            store(z + start + p * c, sum);
            store(y + start + p * c, gelu(sum));
        }
    }
}

// LANES channels of one window of leff_backward. sums: of dw's nine taps, then db; added to.
static void window_backward(const stored *restrict x, const stored *restrict z,
                            const stored *restrict dy, const lanes *restrict tap,
                            stored *restrict dx, lanes *restrict sums, size_t c)
{
    enum { WIDE = PAD + 2 };
    lanes g[PAD * PAD], steep[TOKENS], dz[WIDE * WIDE] = {};
    for (int p = 0; p < TOKENS; p++)
        g[padded(p)] = gelu_slope(load(x + p * c), steep + p);
    pad(g);
    for (int p = 0; p < TOKENS; p++) {
        lanes d = load(dy + p * c) * slope(load(z + p * c));
        dz[(p / SIDE + 2) * WIDE + p % SIDE + 2] = d;
        sums[9] += d;
        for (int t = 0; t < 9; t++)
            sums[t] += d * g[padded(p) + (t / 3 - 1) * PAD + t % 3 - 1];
    }
    for (int q = 0; q < PAD * PAD; q++) { // g is not needed any more: its gradient takes its place
        lanes d = {};
        for (int t = 0; t < 9; t++)
            d += tap[t] * dz[(q / PAD + 2 - t / 3) * WIDE + q % PAD + 2 - t % 3];
        g[q] = d;
    }
    for (int q = 0; q < PAD * PAD; q++)
        if (source(q) != q)
            g[source(q)] += g[q];
    for (int p = 0; p < TOKENS; p++)
        store(dx + p * c, g[padded(p)] * steep[p]);
}

// As leff_forward; dy: gradient of y. sums [c / LANES, 10, LANES], at zero on entry: of the nine
// taps and the bias, for each group of channels.
void leff_backward(const stored *restrict x, const stored *restrict z, const stored *restrict dy,
                   const float *restrict w, stored *restrict dx, float *restrict sums,
                   size_t windows, size_t c)
{
    for (size_t at = 0; at < windows * c / LANES; at++) {
        size_t first = at * LANES % c, start = at * LANES / c * TOKENS * c + first;
        lanes tap[9], sum[10];
        for (int t = 0; t < 9; t++)
            memcpy(tap + t, w + t * c + first, sizeof *tap);
        memcpy(sum, sums + first * 10, sizeof sum);
        window_backward(x + start, z + start, dy + start, tap, dx + start, sum, c);
        memcpy(sums + first * 10, sum, sizeof sum);
    }
}
