// SPDX-License-Identifier: MIT
// cpu/weights.h: the weight cache as the compiler (cpu.c) sees it.
#ifndef SL_CPU_WEIGHTS_H
#define SL_CPU_WEIGHTS_H

#include "cpu/op.h"

size_t sl_cpu_weights_bytes(const sl_cpu_weights *weights);

// The state of a node's weights, made by its op at first sight. NULL for an op without weights.
sl_status sl_cpu_weights_prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                                 const sl_node *node, const sl_kernels *kernels,
                                 const void **state);

// Memory of a plan's activations. The largest that was given back waits for the next plan: to have
// the system clear fresh pages for every size of every picture took a tenth of a batch's time.
typedef struct sl_cpu_arena {
    uint8_t *data; // holds anything
    size_t bytes;
} sl_cpu_arena;

sl_status sl_cpu_arena_take(sl_ctx *ctx, sl_cpu_weights *weights, size_t bytes, sl_cpu_arena *out);
void sl_cpu_arena_give(sl_cpu_weights *weights, sl_cpu_arena *arena);

#endif
