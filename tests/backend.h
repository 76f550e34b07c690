// SPDX-License-Identifier: MIT
// tests/backend.h: the backend that a suite is held to. A suite that compiles graphs through this
// is built once per backend: with backend_cpu.c, and with backend_vulkan.c.
#ifndef TESTS_BACKEND_H
#define TESTS_BACKEND_H

#include "graph/graph.h"

// How often a case is run, each time with other inner loops; what a context is told for it (a name
// for sl_ctx_options.simd, or NULL).
int test_backend_levels(void);
const char *test_backend_level(int level);

// What it computes in: SL_F32; SL_F16, in which it keeps activations, too; or SL_BF16, to which it
// rounds what is multiplied.
sl_dtype test_backend_precision(void);

static inline bool test_backend_is_half(void)
{
    return test_backend_precision() == SL_F16;
}

// How coarsely it rounds, as against f16; bf16 has three bits less.
static inline double test_backend_coarseness(void)
{
    return test_backend_is_half() ? 1 : test_backend_precision() == SL_BF16 ? 8 : 0;
}

// What the output of a network may be off by, of its range.
static inline double test_backend_tolerance(void)
{
    return test_backend_is_half() ? 5e-3 : test_backend_precision() == SL_BF16 ? 1.5e-2 : 1e-4;
}

// Whether there is such a device at all; a suite without one is skipped (exit status 77).
bool test_backend_is_there(void);

// Whether inner loops and threads of the CPU are what is tested.
bool test_backend_is_cpu(void);

// Whether what takes a device in software minutes is tried too, such as published sizes of
// networks: on the CPU, and on a device that SOFTLENS_TEST_DEVICE names.
bool test_backend_takes_large(void);

// Compiles and fails the test when that fails. Free what came back with test_backend_free, before
// the graph.
typedef struct test_plan {
    sl_plan *plan;
    void *more;
} test_plan;

test_plan test_backend_compile(sl_ctx *ctx, const sl_graph *graph);
void test_backend_free(test_plan *plan);

#endif
