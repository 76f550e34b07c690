// SPDX-License-Identifier: MIT
// cpu/simd/peak.c: multiply-adds on registers and nothing else: the yardstick for all kernels.
#include "cpu/simd/simd.h"

#define CHAINS 12 // independent sums: more than latency times throughput, and they fit 16 registers

double SL_PRODUCT(sl_multiply_add_run)(size_t rounds, float seed)
{
    vf acc[CHAINS];
    vf factor = vf_set(1.0f - seed), term = vf_set(seed);
    SL_UNROLL
    for (size_t i = 0; i < CHAINS; i++)
        acc[i] = vf_set((float)i);
    for (size_t r = 0; r < rounds; r++) {
        SL_UNROLL
        for (size_t i = 0; i < CHAINS; i++)
            acc[i] = vf_multiply_add(term, acc[i], factor);
    }
    vf sum = acc[0];
    SL_UNROLL
    for (size_t i = 1; i < CHAINS; i++)
        sum += acc[i];
    // The result is asked for, so that the loop is not removed; it counts for nothing in the end.
    volatile float kept = vf_sum(sum);
    (void)kept;
    return 2.0 * TERMS * CHAINS * VL * (double)rounds;
}
