// SPDX-License-Identifier: MIT
// cpu/soft.h: softmax-free attention of one map at work: between soft.c, which goes over the
// tokens, soft_landmarks.c, which makes the landmarks, and soft_inverse.c, which inverts the kernel
// matrices between these.
//
// n tokens, m landmarks, h heads of d channels, r the side of a landmark. Kernel matrices between
// tokens and landmarks exist for SL_SOFT_TOKENS tokens at a time.
#ifndef SL_CPU_SOFT_H
#define SL_CPU_SOFT_H

#include "cpu/op.h"

#define SL_SOFT_TOKENS 64 // of a chunk
#define SL_SOFT_GROUPS 16 // of chunks, at most: each keeps its own sums of K1^T V
#define SL_SOFT_STARTS 11 // alphas that SOFT-Norm chooses from: the first, and ten halvings

typedef struct sl_soft_state {
    sl_packed landmark; // [d, r*r*d], patches as they lie in a map; times d^-1/4
    const float *norm_weight, *norm_bias;
    const float *taps; // [h,k,k]
    size_t k;
} sl_soft_state;

// All the memory is laid out before a run; sizes are in floats, in whole cache lines.
typedef struct sl_soft_job {
    const sl_cpu_call *call;
    const sl_kernels *kernels;
    const sl_soft_state *state;
    const float *q, *v;
    float *out;
    size_t height, width, channels, tokens, heads, d, r;
    size_t grid_rows, grid_columns, m;
    size_t ld;             // floats between rows of a matrix with m columns
    size_t chunks, groups; // of tokens
    float scale;           // of a product of a query, not yet scaled, with a landmark: d^-1/4

    // Shared by all tasks.
    float *pooled;    // [grid_rows*r, grid_columns*r, C], where landmarks have a fixed number
    float *landmarks; // [h][m,d]
    float *halves;    // [h][m]: half of their squared lengths
    float *packed;    // [h]: landmarks as a right-hand side [m,d]
    float *sums;      // [h][groups][m,d]: K1^T V
    float *products;  // [h]: inverse(K2) K1^T V as a right-hand side [d,m]
    float *row_sums;  // [h]: the largest of K2
    float *residuals; // [h][SL_SOFT_STARTS]
    float *inverses;  // [slots]: three matrices, packed panels, [m,d], [m]
    float *workers;   // of each thread
    size_t landmark_floats, half_floats, packed_floats, sum_floats, product_floats;
    size_t inverse_floats, worker_floats, slots;
    float alpha; // SOFT-Norm's start
} sl_soft_job;

static inline size_t sl_soft_lines(size_t floats) // in whole cache lines
{
    size_t line = SL_ALIGN / sizeof(float);
    return (floats + line - 1) / line * line;
}

// soft_landmarks.c. Each runs on the pool.
size_t sl_soft_landmark_floats(const sl_soft_job *job); // of a worker
void sl_soft_landmarks(const sl_soft_job *job);

// soft_inverse.c. Fills `products` from the landmarks and the sums, and `packed`.
size_t sl_soft_inverse_floats(const sl_soft_job *job); // of a slot
void sl_soft_invert(sl_soft_job *job);

#endif
