// SPDX-License-Identifier: MIT
// cpu/op.h: what each op's file gives the backend (one row of sl_cpu_ops), and what it is called
// with.
#ifndef SL_CPU_OP_H
#define SL_CPU_OP_H

#include "cpu/kernels.h"

// One node, compiled. Pointers are fixed for the life of the plan; lists and counts are read in
// run.
typedef struct sl_cpu_call {
    const sl_graph *graph;
    const sl_node *node;
    const sl_kernels *kernels;
    sl_pool *pool;
    void *in[SL_MAX_INPUTS]; // NULL where missing
    void *out[SL_MAX_OUTPUTS];
    void *scratch;     // as many bytes as the op's scratch() asked for, aligned to SL_ALIGN
    const void *state; // what prepare() made
} sl_cpu_call;

typedef struct sl_cpu_op {
    // Bytes that live during the node only; NULL: none. `workers`: size of the pool.
    size_t (*scratch)(const sl_graph *g, const sl_node *node, const sl_kernels *kernels,
                      unsigned workers);
    // Packs and expands weights into memory of the cache (sl_cpu_weights_alloc); NULL: no weights.
    // Called once for a node's weights, however many plans use them: nothing here may depend on the
    // size of the picture. Never called inside a region of ctx->pool, which is there to be used.
    sl_status (*prepare)(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                         const sl_node *node, const sl_kernels *kernels, void **state);
    void (*run)(const sl_cpu_call *call);
    bool
        takes_bf16; // all its products are by weights: where asked for, `kernels` are those in bf16
} sl_cpu_op;

const sl_cpu_op *sl_cpu_op_get(sl_op op); // run is NULL for an op without a kernel

// Zeroed, aligned, owned by the cache. NULL with SL_ERR_NOMEM's message.
void *sl_cpu_weights_alloc(sl_ctx *ctx, sl_cpu_weights *weights, size_t count, size_t size);
// A tensor as f32 in memory of the cache.
float *sl_cpu_weights_f32(sl_ctx *ctx, sl_cpu_weights *weights, const sl_tensor *tensor);
// A tensor as f32 while weights are packed: its own data where they are that, or a copy in `arena`.
// NULL with SL_ERR_NOMEM's message.
const float *sl_cpu_tensor_f32(sl_ctx *ctx, sl_arena *arena, const sl_tensor *tensor);
// A [n,k] matrix packed for `kernels`.
sl_status sl_cpu_weights_pack(sl_ctx *ctx, sl_cpu_weights *weights, const sl_kernels *kernels,
                              const float *matrix, size_t n, size_t k, sl_packed *out);
// A tensor [n,k] of any type.
sl_status sl_cpu_weights_pack_tensor(sl_ctx *ctx, sl_cpu_weights *weights,
                                     const sl_kernels *kernels, const sl_tensor *tensor,
                                     sl_packed *out);

// Of a region, so that a worker that is late holds up the others little.
#define SL_PARTS_PER_WORKER 4

// A matrix product in parts for a pool (grid.c): some of the rows times some of the columns each.
typedef struct sl_gemm_grid {
    size_t rows, row_parts, panels, panel_parts;
} sl_gemm_grid;
sl_gemm_grid sl_cpu_grid(const sl_kernels *kernels, const sl_packed *b, size_t rows,
                         unsigned workers);
size_t sl_cpu_grid_parts(const sl_gemm_grid *grid);
// Narrows the whole product to part `index`: its a, c, residual, rows and panels.
void sl_cpu_grid_part(const sl_gemm_grid *grid, size_t index, sl_gemm *g);

// Kept windows of a list, or all `windows` when there is none.
static inline size_t sl_list_count(const int32_t *list, size_t windows)
{
    return list ? (size_t)list[0] : windows;
}
static inline size_t sl_list_at(const int32_t *list, size_t i)
{
    return list ? (size_t)list[4 + i] : i;
}

// One file per op family.
extern const sl_cpu_op sl_cpu_conv2d;           // conv.c
extern const sl_cpu_op sl_cpu_upconv_concat;    // upconv.c
extern const sl_cpu_op sl_cpu_pixel_unshuffle;  // pixel.c
extern const sl_cpu_op sl_cpu_gate;             // pixel.c
extern const sl_cpu_op sl_cpu_certainty;        // pixel.c
extern const sl_cpu_op sl_cpu_linear;           // linear.c
extern const sl_cpu_op sl_cpu_layer_norm;       // layer_norm.c
extern const sl_cpu_op sl_cpu_window_gather;    // window.c
extern const sl_cpu_op sl_cpu_window_scatter;   // window.c
extern const sl_cpu_op sl_cpu_window_attention; // attention.c
extern const sl_cpu_op sl_cpu_window_dwconv;    // dwconv.c
extern const sl_cpu_op sl_cpu_window_block;     // block.c
extern const sl_cpu_op sl_cpu_predict;          // predict.c
extern const sl_cpu_op sl_cpu_select;           // select.c
extern const sl_cpu_op sl_cpu_soft_attention;   // soft.c
extern const sl_cpu_op sl_cpu_attention;        // softmax.c
extern const sl_cpu_op sl_cpu_add_position;     // tokens.c
extern const sl_cpu_op sl_cpu_class_tokens;     // tokens.c
extern const sl_cpu_op sl_cpu_rows;             // tokens.c
extern const sl_cpu_op sl_cpu_mean;             // tokens.c
extern const sl_cpu_op sl_cpu_unit;             // tokens.c
extern const sl_cpu_op sl_cpu_add_nearest;      // pixel.c
extern const sl_cpu_op sl_cpu_candidates;       // candidates.c

// Shared by window.c and block.c (window.c): token rows of window `index` of the map rolled by
// -shift, between a map [height, width, channels] and rows [w*w, channels].
typedef struct sl_window_map {
    size_t height, width, channels, window, shift;
} sl_window_map;
void sl_window_load(const sl_window_map *map, const float *x, size_t index, float *rows);
void sl_window_store(const sl_window_map *map, float *x, size_t index, const float *rows);
// The shift mask of window `index`: NULL where all zeros, else one of the three tables made by
// sl_shift_masks: [3][N,N], for the last row, the last column and the corner of windows.
void sl_shift_masks(size_t window, size_t shift, float *masks);
const float *sl_shift_mask(const float *masks, size_t window, size_t rows, size_t columns,
                           size_t index);

// Shared by attention.c and block.c (attention.c): the relative position bias [(2w-1)^2, h] of
// every pair of tokens, as [h,N,N] in memory of the cache. NULL: SL_ERR_NOMEM.
float *sl_cpu_position_bias(sl_ctx *ctx, sl_cpu_weights *weights, const sl_tensor *table,
                            size_t window, size_t heads);
// Shared by dwconv.c and block.c (dwconv.c): channels [first, first + count) of a depthwise weight
// [C,1,3,3], tap-major [9,count], in memory of the cache. NULL: SL_ERR_NOMEM.
float *sl_cpu_taps(sl_ctx *ctx, sl_cpu_weights *weights, const sl_tensor *weight, size_t first,
                   size_t count);

#endif
