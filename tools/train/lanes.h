// SPDX-License-Identifier: MIT
// lanes.h: vectors of floats for the training kernels, in GCC's and Clang's own notation, and how
// features lie in memory: as bf16, or as f32 (WITH_F32) where the processor is no faster in bf16.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#include <immintrin.h>
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
#ifdef __AVX512BF16__
    __m256i h = (__m256i)_mm512_cvtneps_pbh((__m512)x);
#else
    words bits = (words)x;
    halves h = __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, halves);
#endif
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

#if defined WITH_F32 || !defined __AVX512F__
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

static inline lanes reciprocal(lanes x)
{
    return 1.0f / x;
}

static inline lanes mirrored(lanes x, lanes tail) // 1 - tail where x >= 0, else tail
{
    return choose((words)(x < 0.0f), tail, 1.0f - tail);
}
#else
// The same to 1e-4, for results have eight bits.
static inline lanes exp_negative(lanes x)
{
    __m512 t = (__m512)(x * 1.44269504f), n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT);
    lanes f = (lanes)_mm512_sub_ps(t, n);
    lanes p = 1.0f + f * (0.69314718f + f * (0.24022651f + f * (0.055504109f + f * 0.0096181291f)));
    __mmask16 some = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-60.0f), _CMP_GT_OQ);
    return (lanes)_mm512_maskz_scalef_ps(some, (__m512)p, n);
}

static inline lanes reciprocal(lanes x)
{
    return (lanes)_mm512_rcp14_ps((__m512)x);
}

static inline lanes mirrored(lanes x, lanes tail)
{
    __mmask16 right = _mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), _CMP_GE_OQ);
    return (lanes)_mm512_mask_sub_ps((__m512)tail, right, _mm512_set1_ps(1.0f), (__m512)tail);
}
#endif

// The normal distribution at x, given e = exp(-x^2/2). Abramowitz and Stegun 7.1.26, 1e-7.
static inline lanes normal(lanes x, lanes e)
{
    lanes size = (lanes)((words)x & 0x7fffffff);
    lanes k = reciprocal(1.0f + 0.3275911f * 0.70710678f * size);
    lanes p =
        k * (0.254829592f +
             k * (-0.284496736f + k * (1.421413741f + k * (-1.453152027f + k * 1.061405429f))));
    return mirrored(x, 0.5f * p * e);
}

static inline lanes gelu(lanes x)
{
    return x * normal(x, exp_negative(-0.5f * x * x));
}

// GELU at x, and its derivative.
static inline lanes gelu_slope(lanes x, lanes *derivative)
{
    lanes e = exp_negative(-0.5f * x * x), n = normal(x, e);
    *derivative = n + x * e * 0.39894228f;
    return x * n;
}

static inline lanes slope(lanes x)
{
    lanes s;
    gelu_slope(x, &s);
    return s;
}
