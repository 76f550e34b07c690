// SPDX-License-Identifier: MIT
// tests/backend_cpu.c: see backend.h. Every SIMD level of the machine, or its products in bf16.
#include "backend.h"
#include "cpu/kernels.h"

#include <check.h>

#if defined(TEST_BF16)
static const sl_dtype precision = SL_BF16;
#else
static const sl_dtype precision = SL_F32;
#endif

int test_backend_levels(void)
{
    return precision == SL_BF16 ? 1 : (int)sl_cpu_simd_best() + 1;
}

const char *test_backend_level(int level)
{
    return sl_simd_name(precision == SL_BF16 ? SL_SIMD_AVX512 : (sl_simd)level);
}

sl_dtype test_backend_precision(void)
{
    return precision;
}

bool test_backend_is_there(void)
{
    bool is_there = precision != SL_BF16 || sl_kernels_get_bf16(sl_cpu_simd_best());
    if (!is_there)
        printf("skipped: this processor does not multiply in bf16\n");
    return is_there;
}

bool test_backend_is_cpu(void)
{
    return true;
}

bool test_backend_takes_large(void)
{
    return true;
}

test_plan test_backend_compile(sl_ctx *ctx, const sl_graph *graph)
{
    test_plan out = { 0 };
    sl_cpu_weights *weights = NULL;
    sl_status st = sl_cpu_weights_new(ctx, &weights);
    if (st == SL_OK)
        st = sl_cpu_compile(ctx, graph, precision, weights, &out.plan);
    ck_assert_msg(st == SL_OK, "%s", sl_ctx_message(ctx));
    out.more = weights;
    return out;
}

void test_backend_free(test_plan *plan)
{
    sl_plan_free(plan->plan);
    sl_cpu_weights_free(plan->more);
    *plan = (test_plan) { 0 };
}
