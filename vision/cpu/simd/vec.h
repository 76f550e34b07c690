// SPDX-License-Identifier: MIT
// cpu/simd/vec.h: the vector type of one SIMD level. Every file in this folder is compiled once for
// each level with the level's own flags, so all names that leave a file go through SL_LEVEL(), and
// nothing here may be called from a file outside this folder.
#ifndef SL_CPU_SIMD_VEC_H
#define SL_CPU_SIMD_VEC_H

#include "cpu/kernels.h"

#if defined(SL_SIMD_IS_AVX512)
#include <immintrin.h>
#define VL 16
#define SL_LEVEL(name) name##_avx512
#elif defined(SL_SIMD_IS_AVX2)
#include <immintrin.h>
#define VL 8
#define SL_LEVEL(name) name##_avx2
#else
#define VL 4
#define SL_LEVEL(name) name##_portable
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#endif

// What is compiled once more for matrix products in bf16 has a name of its own there.
#if defined(SL_SIMD_IS_BF16)
#define SL_PRODUCT(name) name##_bf16
#define TERMS 2 // of a sum in one lane
#else
#define SL_PRODUCT(name) SL_LEVEL(name)
#define TERMS 1
#endif

#if defined(SL_SIMD_IS_AVX512) || defined(__aarch64__)
#define VECTOR_REGISTERS 32
#else
#define VECTOR_REGISTERS 16
#endif

#define SL_INLINE static inline __attribute__((always_inline, unused))

// Loops over registers have to disappear: an array of vectors lives in registers only then.
#if defined(__clang__)
#define SL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SL_UNROLL _Pragma("GCC unroll 16")
#endif

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef float vf_anywhere __attribute__((vector_size(VL * 4), aligned(4), may_alias));

SL_INLINE vf vf_load(const float *p)
{
    return *(const vf_anywhere *)p;
}

SL_INLINE void vf_store(float *p, vf x)
{
    *(vf_anywhere *)p = x;
}

SL_INLINE vf vf_set(float x)
{
#if defined(SL_SIMD_IS_BF16)
    return _mm512_set1_ps(x); // any 32 bits
#else
    return x - (vf) { 0 }; // x - 0 is x, the sign of zero and NaN included
#endif
}

// sum + a * b; in bf16 a lane of a and of b is a pair, whose two products are added.
SL_INLINE vf vf_multiply_add(vf sum, vf a, vf b)
{
#if defined(SL_SIMD_IS_BF16)
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
#else
    return sum + a * b;
#endif
}

SL_INLINE vi vi_set(int32_t x)
{
    return x - (vi) { 0 };
}

// Whether a comparison holds in any lane.
SL_INLINE bool vi_any(vi mask)
{
#if defined(SL_SIMD_IS_AVX512)
    return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif defined(SL_SIMD_IS_AVX2)
    return _mm256_movemask_ps((__m256)mask) != 0;
#elif defined(__SSE2__)
    return _mm_movemask_ps((__m128)mask) != 0;
#else
    return (mask[0] | mask[1] | mask[2] | mask[3]) != 0;
#endif
}

// The first n < VL lanes; the others are zero, and their memory is not touched.
SL_INLINE vf vf_load_part(const float *p, size_t n)
{
#if defined(SL_SIMD_IS_AVX512)
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(SL_SIMD_IS_AVX2)
    const vi lanes = { 0, 1, 2, 3, 4, 5, 6, 7 };
    return _mm256_maskload_ps(p, (__m256i)(lanes < vi_set((int32_t)n)));
#else
    float lane[VL] = { 0 };
    for (size_t i = 0; i < n; i++)
        lane[i] = p[i];
    return vf_load(lane);
#endif
}

SL_INLINE void vf_store_part(float *p, vf x, size_t n)
{
#if defined(SL_SIMD_IS_AVX512)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x);
#elif defined(SL_SIMD_IS_AVX2)
    const vi lanes = { 0, 1, 2, 3, 4, 5, 6, 7 };
    _mm256_maskstore_ps(p, (__m256i)(lanes < vi_set((int32_t)n)), x);
#else
    float lane[VL];
    vf_store(lane, x);
    for (size_t i = 0; i < n; i++)
        p[i] = lane[i];
#endif
}

// a where the mask is all ones, b where it is zero.
SL_INLINE vf vf_select(vi mask, vf a, vf b)
{
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

// a > b ? a : b, so b where either is NaN.
SL_INLINE vf vf_max(vf a, vf b)
{
#if defined(SL_SIMD_IS_AVX512)
    return _mm512_max_ps(a, b);
#elif defined(SL_SIMD_IS_AVX2)
    return _mm256_max_ps(a, b);
#elif defined(__SSE2__)
    return _mm_max_ps(a, b);
#else
    return vf_select(a > b, a, b);
#endif
}

// a < b ? a : b, so b where either is NaN.
SL_INLINE vf vf_min(vf a, vf b)
{
#if defined(SL_SIMD_IS_AVX512)
    return _mm512_min_ps(a, b);
#elif defined(SL_SIMD_IS_AVX2)
    return _mm256_min_ps(a, b);
#elif defined(__SSE2__)
    return _mm_min_ps(a, b);
#else
    return vf_select(a < b, a, b);
#endif
}

SL_INLINE vf vf_abs(vf x)
{
    return (vf)((vi)x & vi_set(INT32_MAX));
}

// x in the first n lanes, zero in the others.
SL_INLINE vf vf_first(vf x, size_t n)
{
#if defined(SL_SIMD_IS_AVX512)
    return _mm512_maskz_mov_ps((__mmask16)((1u << n) - 1), x);
#else
    vi lanes;
    for (int32_t i = 0; i < VL; i++)
        lanes[i] = i;
    return (vf)((vi)x & (lanes < vi_set((int32_t)n)));
#endif
}

#if defined(__SSE2__)
// The four lanes' sum and maximum, by halves.
SL_INLINE float quad_sum(__m128 x)
{
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}

SL_INLINE float quad_largest(__m128 x)
{
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
}
#endif

// Sum over the lanes, by halves.
SL_INLINE float vf_sum(vf x)
{
#if defined(SL_SIMD_IS_AVX512)
    return _mm512_reduce_add_ps(x);
#elif defined(SL_SIMD_IS_AVX2)
    return quad_sum(_mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
#elif defined(__SSE2__)
    return quad_sum(x);
#else
    return (x[0] + x[2]) + (x[1] + x[3]);
#endif
}

// The largest lane; any, where one is NaN.
SL_INLINE float vf_largest(vf x)
{
#if defined(SL_SIMD_IS_AVX512)
    return _mm512_reduce_max_ps(x);
#elif defined(SL_SIMD_IS_AVX2)
    return quad_largest(_mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
#elif defined(__SSE2__)
    return quad_largest(x);
#else
    float a = x[0] > x[2] ? x[0] : x[2], b = x[1] > x[3] ? x[1] : x[3];
    return a > b ? a : b;
#endif
}

#endif
