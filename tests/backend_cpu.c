// SPDX-License-Identifier: MIT
// tests/backend_cpu.c: see backend.h. Every SIMD level of the machine.
#include "backend.h"
#include "cpu/cpu.h"

#include <check.h>

int test_backend_levels(void)
{
    return (int)sl_cpu_simd_best() + 1;
}

const char *test_backend_level(int level)
{
    return sl_simd_name((sl_simd)level);
}

bool test_backend_is_half(void)
{
    return false;
}

bool test_backend_is_there(void)
{
    return true;
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
        st = sl_cpu_compile(ctx, graph, weights, &out.plan);
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
