// SPDX-License-Identifier: MIT
// cpu/kernels.h: the table of inner loops, one for each SIMD level. Each is written once, in the
// compiler's vector types (simd/vec.h), and compiled for every level; levels differ in lanes and
// blocking only. Kernels work on one thread, allocate nothing and know nothing of graphs.
#ifndef SL_CPU_KERNELS_H
#define SL_CPU_KERNELS_H

#include "cpu/cpu.h"

// A weight matrix [n,k], packed into panels for the micro-kernel of one level.
typedef struct sl_packed {
    size_t n, k;
    const float *panels; // aligned to SL_ALIGN; layout private to the level
} sl_packed;

// c[r,j] = act(sum_i a[r,i] * b[j,i] + bias[j]) + residual[r,j]     r < rows, j < n
// c may be residual itself (same stride) where nothing is activated, never a. Whatever part of it
// is asked for, a number comes out the same bit for bit.
typedef struct sl_gemm {
    const float *a;
    size_t lda; // floats between rows
    size_t rows;
    // A row of a may lie in `segments` runs of k / segments floats (0: one), `segment_stride`
    // floats apart: a patch of a map, row by row.
    size_t segments, segment_stride;
    const sl_packed *b;
    size_t panel_first, panel_end; // the columns of these panels alone; both 0: of all
    const float *bias;             // [n] or NULL
    sl_act act;
    float slope;
    const float *residual; // or NULL
    size_t ldr;
    float *c;
    size_t ldc;
} sl_gemm;

// y[r,:] = norm(x[r,:]) * weight + bias (+ add[(r % add_rows),:])
typedef struct sl_norm {
    const float *x;
    size_t ldx, rows, channels;
    const float *weight, *bias; // [channels]
    const float *add;           // [add_rows, channels] or NULL
    size_t add_rows;
    float eps;
    float *y; // may be x
    size_t ldy;
} sl_norm;

// Attention inside one window, all heads: out = softmax(q k^T * d^-1/2 + bias + mask) v
typedef struct sl_attention {
    const float *q; // [N, C], stride ldq
    const float *k; // [N, C], stride ldkv
    const float *v;
    size_t ldq, ldkv, ldo;
    size_t tokens, heads, head_dim; // N, h, d; C = h*d
    const float *bias;              // [h, N, N]
    const float *mask;              // [N, N] or NULL
    float *out;                     // [N, C], may be q
    float *scratch;                 // attention_scratch(N, d) floats, aligned
} sl_attention;

// Depthwise 3x3 inside one w x w window, reflected at its border, then act.
typedef struct sl_dwconv {
    const float *x; // [w*w, channels], stride ldx
    size_t ldx, window, channels;
    const float *weight; // [9, channels]: tap-major
    const float *bias;   // [channels]
    sl_act act;
    float slope;
    float *y; // not x
    size_t ldy;
} sl_dwconv;

// x[r,c] = exp(scale * x[r,c] - row[r] - column[c]): products of rows become Gaussian kernels
typedef struct sl_gaussian {
    float *x;
    size_t ld, rows, columns;
    float scale;
    const float *row, *column; // half the squared lengths
} sl_gaussian;

// One block of columns in a softmax that goes over many: scores become exp(scale * x - top), top
// and sum of each row go on from the blocks before, and what was summed up so far shrinks with
// them.
typedef struct sl_soften {
    float *x; // [rows, columns]
    size_t ld, rows, columns;
    float scale;
    float *top, *sum; // [rows]; at first SL_SOFTEN_START and 0
    float *out;       // [rows, channels]
    size_t ldo, channels;
} sl_soften;
#define SL_SOFTEN_START (-1e30f)

// A k x k convolution of channels that share one kernel:
//   y[r,c,:] = sum_ij taps[i,j] * x[r+i,c+j,:]      r < rows, c < columns
typedef struct sl_shared_conv {
    const float *x;        // [rows+k-1, columns+k-1, channels]
    size_t x_pixel, x_row; // floats between pixels and rows; x_pixel in whole vectors of
                           // 16 floats, all of which may be read
    size_t rows, columns, channels, k;
    const float *taps; // [k,k]
    float *y;          // not x
    size_t y_pixel, y_row;
} sl_shared_conv;

typedef struct sl_kernels {
    sl_simd level;
    size_t (*pack_floats)(size_t n, size_t k); // room that pack needs
    size_t (*panels)(size_t n);                // into which pack cuts n columns
    // weight [n,k], rows `ld` floats apart
    void (*pack)(const float *weight, size_t ld, size_t n, size_t k, float *panels);
    // scale * b + diagonal * I from b [k,n], so that gemm gives a (scale * b + diagonal * I)
    void (*pack_rows)(const float *b, size_t ld, size_t n, size_t k, float scale, float diagonal,
                      float *panels);
    void (*gemm)(const sl_gemm *g);
    void (*layer_norm)(const sl_norm *n);
    void (*activate)(float *x, size_t count, sl_act act, float slope);
    size_t (*attention_scratch)(size_t tokens, size_t head_dim);
    void (*attention)(const sl_attention *a);
    void (*dwconv)(const sl_dwconv *d);
    // out[r] = scale * sum_c x[r,c]^2
    void (*squares)(const float *x, size_t ld, size_t rows, size_t channels, float scale,
                    float *out);
    void (*gaussian)(const sl_gaussian *g);
    void (*soften)(const sl_soften *s);
    void (*shared_conv)(const sl_shared_conv *c);
    // The places of what is greater than `bound`, ascending, and how many there are. Adds to *odd
    // how many numbers are not finite.
    size_t (*above)(const float *x, size_t count, float bound, uint32_t *places, size_t *odd);
    double (*multiply_add)(size_t rounds, float seed); // yardstick; returns the operations done
} sl_kernels;

const sl_kernels *sl_kernels_get(sl_simd level); // a level that was not compiled in: the next lower
// The same, but pack and gemm round A and B to bf16 and add up in f32, and pack_rows is missing.
// NULL where the machine cannot at this level.
const sl_kernels *sl_kernels_get_bf16(sl_simd level);

#endif
