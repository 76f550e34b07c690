// SPDX-License-Identifier: MIT
// tests/cpu/testing.h: one op as a test case: random inputs and weights from a seed, run through
// graph -> compile -> run at every SIMD level of the machine and with 1, 2 and 5 threads, and held
// to a reference in double. A new op's test needs this and a plain loop.
#ifndef TESTS_CPU_TESTING_H
#define TESTS_CPU_TESTING_H

#include "cpu/cpu.h"

#include <check.h>

// ---- random numbers, the same on every machine

typedef struct test_rng {
    uint64_t state;
} test_rng;

test_rng test_seed(uint64_t seed);
float test_uniform(test_rng *rng, float low, float high);
size_t test_range(test_rng *rng, size_t low, size_t high);              // both included
float *test_floats(test_rng *rng, size_t count, float low, float high); // malloc'ed

// ---- one op

typedef struct test_op {
    uint64_t seed; // printed with every failure
    test_rng rng;
    sl_op op;
    sl_attr attr;
    sl_shape shape[SL_MAX_INPUTS]; // rank 0: missing
    sl_dtype dtype[SL_MAX_INPUTS];
    void *in[SL_MAX_INPUTS];
    sl_tensor weight[SL_MAX_WEIGHTS]; // data NULL: missing
    size_t weight_count;
} test_op;

test_op *test_op_new(sl_op op, const sl_attr *attr, uint64_t seed);
void test_op_free(test_op *t);

// Input i of the given shape (a dim of 0 ends it), uniform in -1..1. The caller may change it.
float *test_op_input(test_op *t, unsigned i, uint64_t d0, uint64_t d1, uint64_t d2);
// Input i as a window list with `kept` of `windows` at random places.
int32_t *test_op_list(test_op *t, unsigned i, size_t windows, size_t kept);
// Weight i, uniform in -scale..scale; weights that are never given are missing.
float *test_op_weight(test_op *t, unsigned i, float scale, uint64_t d0, uint64_t d1, uint64_t d2,
                      uint64_t d3);

size_t test_op_elements(const test_op *t, unsigned output); // by the op's shape rule

// One run. level: a name for sl_ctx_options.simd; out[i]: NULL or room for the whole output.
void test_op_run(const test_op *t, const char *level, unsigned threads, void *out[SL_MAX_OUTPUTS]);

// Output 0 (f32) at all levels and thread counts: within `tolerance` of want, where NaN in `want`
// marks elements that the op leaves alone, and the same bits whatever the number of threads.
void test_op_agrees(const test_op *t, const double *want, double tolerance);

// ---- kernels

// count floats in memory with guards in front and behind; test_guard_check fails when a guard was
// written to. Filled with NaN.
float *test_guarded(size_t count);
void test_guard_check(const float *guarded, size_t count, uint64_t seed);
void test_guarded_free(float *guarded);

// Runs the suite with one test case; the program's exit status.
int test_main(const char *name, const TTest *const *tests, const int *loops, size_t count);

#endif
