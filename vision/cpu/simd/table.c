// SPDX-License-Identifier: MIT
// cpu/simd/table.c: one level's row of kernels, or that level's with products in bf16.
#include "cpu/simd/simd.h"

const sl_kernels SL_PRODUCT(sl_kernels) = {
#if defined(SL_SIMD_IS_AVX512)
    .level = SL_SIMD_AVX512,
#elif defined(SL_SIMD_IS_AVX2)
    .level = SL_SIMD_AVX2,
#else
    .level = SL_SIMD_PORTABLE,
#endif
    .pack_floats = SL_PRODUCT(sl_pack_floats),
    .panels = SL_LEVEL(sl_panels),
    .pack = SL_PRODUCT(sl_pack),
#if !defined(SL_SIMD_IS_BF16)
    .pack_rows = SL_LEVEL(sl_pack_rows),
#endif
    .gemm = SL_PRODUCT(sl_gemm_run),
    .layer_norm = SL_LEVEL(sl_layer_norm_run),
    .activate = SL_LEVEL(sl_activate_run),
    .multiply_add = SL_PRODUCT(sl_multiply_add_run),
    .attention_scratch = SL_LEVEL(sl_attention_scratch),
    .attention = SL_LEVEL(sl_attention_run),
    .dwconv = SL_LEVEL(sl_dwconv_run),
    .squares = SL_LEVEL(sl_squares_run),
    .gaussian = SL_LEVEL(sl_gaussian_run),
    .soften = SL_LEVEL(sl_soften_run),
    .above = SL_LEVEL(sl_above_run),
    .shared_conv = SL_LEVEL(sl_shared_conv_run),
};
