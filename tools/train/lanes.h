// SPDX-License-Identifier: MIT
// lanes.h: vectors of floats for the training kernels, in GCC's and Clang's own notation, and how
// features lie in memory: as bf16, or as f32 (WITH_F32) where the processor has no products of
// bf16.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
enum { LANES = 16, ROWS = 8 }; // ROWS x 2 vectors of sums leave registers for the factors
#else
enum { LANES = 8, ROWS = 4 };
#endif
enum { SIDE = 8, TOKENS = SIDE * SIDE };

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

#ifdef WITH_F32
typedef float stored;

static inline lanes load(const stored *x)
{
    lanes v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline void store(stored *y, lanes x)
{
    memcpy(y, &x, sizeof x);
}

static inline float number(stored x)
{
    return x;
}
#else
typedef uint16_t stored;

static inline lanes load(const stored *x)
{
    halves h;
    memcpy(&h, x, sizeof h);
    return (lanes)(__builtin_convertvector(h, words) << 16);
}

static inline void store(stored *y, lanes x) // to nearest, ties to even; no NaN comes here
{
    words bits = (words)x;
    halves h = __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, halves);
    memcpy(y, &h, sizeof h);
}

static inline float number(stored x)
{
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}
#endif

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
