// SPDX-License-Identifier: MIT
// lanes.h: vectors of 16 floats for the training kernels, in GCC's and Clang's own notation.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SIDE = 8, TOKENS = SIDE * SIDE, LANES = 16 };

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

static inline lanes load(const uint16_t *x)
{
    halves h;
    memcpy(&h, x, sizeof h);
    return (lanes)(__builtin_convertvector(h, words) << 16);
}

static inline void store(uint16_t *y, lanes x) // to nearest, ties to even; no NaN comes here
{
    words bits = (words)x;
    halves h = __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, halves);
    memcpy(y, &h, sizeof h);
}

static inline lanes choose(words mask, lanes yes, lanes no)
{
    return (lanes)((mask & (words)yes) | (~mask & (words)no));
}

// exp(x) for x <= 0, to 2e-7: 2^n by the exponent's bits, 2^f for |f| <= 1/2 by its series. Zero
// below -60: products of smaller numbers would be denormal, and slow.
static inline lanes exp_negative(lanes x)
{
    const lanes round = (lanes) {} + 12582912.0f; // 1.5 * 2^23: pushes the fraction out
    lanes t = x * 1.44269504f;
    lanes n = t + round;
    words exponent = ((words)n - (words)round + 127) << 23;
    lanes f = (t - (n - round)) * 0.69314718f;
    lanes p =
        1.0f +
        f * (1.0f + f * (0.5f + f * (0.16666667f + f * (0.041666667f +
                                                        f * (0.0083333333f + f * 0.0013888889f)))));
    return choose((words)(x < -60.0f), (lanes) {}, p * (lanes)exponent);
}
