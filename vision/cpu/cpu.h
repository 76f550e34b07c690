// SPDX-License-Identifier: MIT
// cpu/: the CPU backend. Compiles a graph into a list of calls over one arena; weights are packed
// once, at compile time, for the micro-kernels of the machine. May include base/, tensor/, graph/.
#ifndef SL_CPU_CPU_H
#define SL_CPU_CPU_H

#include "graph/graph.h"

typedef enum sl_simd { SL_SIMD_PORTABLE, SL_SIMD_AVX2, SL_SIMD_AVX512, SL_SIMD_COUNT } sl_simd;

sl_simd sl_cpu_simd_best(void); // of this machine, by cpuid and the operating system's state
// What a context uses: its option, at most what the machine has. SL_ERR_ARGUMENT: unknown name.
sl_status sl_cpu_simd(sl_ctx *ctx, sl_simd *out);
const char *sl_simd_name(sl_simd simd);

typedef struct sl_cpu_weights sl_cpu_weights;

// Packed weights are shared by all plans made from one cache, keyed by the tensor: a model that is
// compiled for several sizes packs once. The cache must outlive its plans, and keeps the memory of
// the largest that was freed for the next. Tensors are read here and never again.
sl_status sl_cpu_weights_new(sl_ctx *ctx, sl_cpu_weights **out);
void sl_cpu_weights_free(sl_cpu_weights *weights);

// Whether this machine multiplies in bf16 at the context's level.
bool sl_cpu_has_bf16(sl_ctx *ctx);

// precision: SL_F32, or SL_BF16 where the machine has it: features and weights are rounded to it
// before they are multiplied, and nothing else is. SL_ERR_UNSUPPORTED names an op without a kernel;
// SL_ERR_NOMEM.
sl_status sl_cpu_compile(sl_ctx *ctx, const sl_graph *graph, sl_dtype precision,
                         sl_cpu_weights *weights, sl_plan **out);

// The arena bytes that the compiled graph would take, without packing or allocating it.
sl_status sl_cpu_memory(sl_ctx *ctx, const sl_graph *graph, size_t *out);

// Measured peak of this machine at this level and precision, all threads of the context: GFLOP/s in
// fused multiply-adds on registers, GB/s of a copy larger than the caches. About 0.1 s.
sl_status sl_cpu_peak(sl_ctx *ctx, sl_dtype precision, double *gflops, double *gbytes);

#endif
