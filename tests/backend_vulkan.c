// SPDX-License-Identifier: MIT
// tests/backend_vulkan.c: see backend.h. The best Vulkan device, opened once in each test process:
// what is compiled for it is what takes time.
#include "backend.h"
#include "vulkan/program.h"

#include <check.h>

#if defined(TEST_F16)
static const sl_dtype precision = SL_F16;
#else
static const sl_dtype precision = SL_F32;
#endif

static sl_vk_device *device;
static sl_ctx *device_ctx;

int test_backend_levels(void)
{
    return 1;
}

const char *test_backend_level(int level)
{
    (void)level;
    return NULL;
}

static void open_device(void)
{
    const char *name = getenv("SOFTLENS_TEST_DEVICE");
    ck_assert_int_eq(sl_ctx_new(NULL, &device_ctx), SL_OK);
    ck_assert_msg(sl_vk_open(device_ctx, name ? name : "vulkan", &device) == SL_OK, "%s",
                  sl_ctx_message(device_ctx));
}

sl_dtype test_backend_precision(void)
{
    return precision;
}

bool test_backend_is_there(void)
{
    sl_ctx *ctx = NULL;
    sl_vk_info *devices = NULL;
    size_t count = 0;
    char *reason = NULL;
    sl_status st = sl_ctx_new(NULL, &ctx);
    if (st == SL_OK)
        st = sl_vk_list(ctx, &devices, &count, &reason);
    if (st == SL_OK && count == 0)
        printf("no Vulkan device: %s\n", reason);
    free(devices);
    free(reason);
    sl_ctx_free(ctx);
    return st != SL_OK || count > 0; // a failure is for the tests to tell
}

bool test_backend_is_cpu(void)
{
    return false;
}

bool test_backend_takes_large(void)
{
    return getenv("SOFTLENS_TEST_DEVICE");
}

test_plan test_backend_compile(sl_ctx *ctx, const sl_graph *graph)
{
    test_plan out = { 0 };
    if (!device)
        open_device();
    ck_assert_msg(sl_vk_compile(ctx, device, graph, precision, &out.plan) == SL_OK, "%s",
                  sl_ctx_message(ctx));
    return out;
}

void test_backend_free(test_plan *plan)
{
    sl_plan_free(plan->plan);
    sl_vk_weights_free(device); // they are kept by tensor, and a test's tensors end with it
    *plan = (test_plan) { 0 };
}
