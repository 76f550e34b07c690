// SPDX-License-Identifier: MIT
// cpu/simd.c: which SIMD level the machine has, and which a context uses.
#include "cpu/kernels.h"

extern const sl_kernels sl_kernels_portable;
#if defined(__x86_64__)
extern const sl_kernels sl_kernels_avx2, sl_kernels_avx512, sl_kernels_bf16;
#endif

static const char *const names[SL_SIMD_COUNT] = {
    [SL_SIMD_PORTABLE] = "portable",
    [SL_SIMD_AVX2] = "avx2",
    [SL_SIMD_AVX512] = "avx512",
};

const char *sl_simd_name(sl_simd simd)
{
    return names[simd];
}

// The compiler's test covers cpuid and whether the system saves the wide registers.
sl_simd sl_cpu_simd_best(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return SL_SIMD_AVX512;
    if (avx2)
        return SL_SIMD_AVX2;
#endif
    return SL_SIMD_PORTABLE;
}

sl_status sl_cpu_simd(sl_ctx *ctx, sl_simd *out)
{
    sl_simd best = sl_cpu_simd_best();
    *out = best;
    if (ctx->simd_name[0] == '\0')
        return SL_OK;
    for (unsigned level = 0; level < SL_SIMD_COUNT; level++)
        if (strcmp(ctx->simd_name, names[level]) == 0) {
            if (level < best)
                *out = (sl_simd)level;
            return SL_OK;
        }
    return sl_fail(ctx, SL_ERR_ARGUMENT,
                   "there is no SIMD level \"%s\"; use portable, avx2 or avx512", ctx->simd_name);
}

const sl_kernels *sl_kernels_get(sl_simd level)
{
#if defined(__x86_64__)
    if (level == SL_SIMD_AVX512)
        return &sl_kernels_avx512;
    if (level == SL_SIMD_AVX2)
        return &sl_kernels_avx2;
#endif
    (void)level;
    return &sl_kernels_portable;
}

const sl_kernels *sl_kernels_get_bf16(sl_simd level)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (level == SL_SIMD_AVX512 && __builtin_cpu_supports("avx512bf16"))
        return &sl_kernels_bf16;
#endif
    (void)level;
    return NULL;
}
