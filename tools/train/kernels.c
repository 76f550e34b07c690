// SPDX-License-Identifier: MIT
// kernels.c: GELU, and the middle of LeFF (GELU, depthwise 3x3 within a window, GELU), with
// gradients. PyTorch's own take two fifths of a training step.
#include "lanes.h"

size_t lane_count(void)
{
    return LANES;
}

enum { PAD = SIDE + 2 };

// The normal distribution at x, given e = exp(-x^2/2). Abramowitz and Stegun 7.1.26, 1e-7.
static inline lanes normal(lanes x, lanes e)
{
    lanes size = (lanes)((words)x & 0x7fffffff);
    lanes k = 1.0f / (1.0f + 0.3275911f * 0.70710678f * size);
    lanes p =
        k * (0.254829592f +
             k * (-0.284496736f + k * (1.421413741f + k * (-1.453152027f + k * 1.061405429f))));
    lanes tail = 0.5f * p * e;
    return choose((words)(x < 0.0f), tail, 1.0f - tail);
}

static inline lanes gelu(lanes x)
{
    return x * normal(x, exp_negative(-0.5f * x * x));
}

static inline lanes slope(lanes x)
{
    lanes e = exp_negative(-0.5f * x * x);
    return normal(x, e) + x * e * 0.39894228f;
}

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

// LANES channels of a window, activated and padded. x: its first token; c: channels of a token.
static void load_padded(const stored *restrict x, size_t c, lanes *restrict g)
{
    for (int p = 0; p < TOKENS; p++)
        g[padded(p)] = gelu(load(x + p * c));
    for (int q = 0; q < PAD * PAD; q++)
        g[q] = g[source(q)];
}

// x, z, y: [windows, 64, c]; z: before the second GELU. w: [9, c]; b: [c].
void leff_forward(const stored *restrict x, const float *restrict w, const float *restrict b,
                  stored *restrict z, stored *restrict y, size_t windows, size_t c)
{
    lanes g[PAD * PAD], tap[9], bias;
    for (size_t at = 0; at < windows * c / LANES; at++) {
        size_t first = at * LANES % c, start = at * LANES / c * TOKENS * c + first;
        load_padded(x + start, c, g);
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
    lanes g[PAD * PAD], dg[PAD * PAD] = {};
    load_padded(x, c, g);
    for (int p = 0; p < TOKENS; p++) {
        lanes dz = load(dy + p * c) * slope(load(z + p * c));
        sums[9] += dz;
        for (int t = 0; t < 9; t++) {
            int q = padded(p) + (t / 3 - 1) * PAD + t % 3 - 1;
            sums[t] += dz * g[q];
            dg[q] += dz * tap[t];
        }
    }
    for (int q = 0; q < PAD * PAD; q++)
        if (source(q) != q)
            dg[source(q)] += dg[q];
    for (int p = 0; p < TOKENS; p++)
        store(dx + p * c, dg[padded(p)] * slope(load(x + p * c)));
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
