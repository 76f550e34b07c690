// SPDX-License-Identifier: MIT
// cpu/simd/simd.h: the kernels of one level, by their level's names. Included by simd/ only.
#ifndef SL_CPU_SIMD_SIMD_H
#define SL_CPU_SIMD_SIMD_H

#include "cpu/simd/vec.h"

size_t SL_PRODUCT(sl_pack_floats)(size_t n, size_t k);
size_t SL_LEVEL(sl_panels)(size_t n);
void SL_PRODUCT(sl_pack)(const float *weight, size_t ld, size_t n, size_t k, float *panels);
void SL_LEVEL(sl_pack_rows)(const float *b, size_t ld, size_t n, size_t k, float scale,
                            float diagonal, float *panels);
void SL_PRODUCT(sl_gemm_run)(const sl_gemm *g);
void SL_LEVEL(sl_layer_norm_run)(const sl_norm *n);
void SL_LEVEL(sl_activate_run)(float *x, size_t count, sl_act act, float slope);
double SL_PRODUCT(sl_multiply_add_run)(size_t rounds, float seed);
size_t SL_LEVEL(sl_attention_scratch)(size_t tokens, size_t head_dim);
void SL_LEVEL(sl_attention_run)(const sl_attention *a);
void SL_LEVEL(sl_dwconv_run)(const sl_dwconv *d);
void SL_LEVEL(sl_squares_run)(const float *x, size_t ld, size_t rows, size_t channels, float scale,
                              float *out);
void SL_LEVEL(sl_gaussian_run)(const sl_gaussian *g);
void SL_LEVEL(sl_soften_run)(const sl_soften *s);
void SL_LEVEL(sl_shared_conv_run)(const sl_shared_conv *c);
size_t SL_LEVEL(sl_above_run)(const float *x, size_t count, float bound, uint32_t *places,
                              size_t *odd);

extern const sl_kernels SL_PRODUCT(sl_kernels);

#endif
