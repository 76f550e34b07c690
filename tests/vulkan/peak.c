// SPDX-License-Identifier: MIT
// tests/vulkan/peak.c: what is measured of a device is plausible, with timestamps and without, and
// a failure on the way leaves nothing behind.
#include "run.h"

static void measure(void)
{
    sl_vk_device *d;
    double gflops = 0, gbytes = 0, start = sl_seconds();
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    size_t objects = sl_vk_live_objects();
    ck_ok(sl_vk_peak(ctx, d, &gflops, &gbytes));
    double seconds = sl_seconds() - start;
    printf("%.1f GFLOP/s, %.1f GB/s in %.2f s\n", gflops, gbytes, seconds);
    ck_assert(gflops > 0.01 && gflops < 1e6);
    ck_assert(gbytes > 0.01 && gbytes < 1e5);
    size_t kept = sl_vk_live_objects(); // pipelines, for the next time
    ck_ok(sl_vk_peak(ctx, d, &gflops, &gbytes));
    ck_assert_uint_ge(kept, objects);
    ck_assert_uint_eq(sl_vk_live_objects(), kept);
    sl_vk_close(d);
}

START_TEST(peaks_are_plausible)
{
    measure();
}
END_TEST

START_TEST(the_clock_on_the_wall_will_do)
{
    spy.change = has_no_timestamps;
    measure();
}
END_TEST

static void is_small(VkPhysicalDeviceProperties2 *p)
{
    VkPhysicalDeviceVulkan11Properties *v11 = p->pNext;
    if (v11 && v11->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES)
        v11->maxMemoryAllocationSize = 20u << 20;
}

START_TEST(buffers_stay_within_limits)
{
    spy.change = is_small;
    measure();
}
END_TEST

START_TEST(calls_fail)
{
    long told = 0;
    spy.failure = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    for (long n = 0; n < 1000; n++) {
        sl_vk_device *d;
        double gflops, gbytes;
        ck_ok(sl_vk_open(ctx, "vulkan", &d));
        atomic_store(&spy.countdown, n);
        sl_status st = sl_vk_peak(ctx, d, &gflops, &gbytes);
        bool is_spent = atomic_load(&spy.countdown) < 0;
        atomic_store(&spy.countdown, -1);
        sl_vk_close(d);
        ck_assert_uint_eq(sl_vk_live_objects(), 0);
        if (st == SL_OK && (!is_spent || told > 20))
            break;
        ck_assert_msg(st == SL_OK || st == SL_ERR_NOMEM, "%s", sl_ctx_message(ctx));
        told += st != SL_OK;
    }
    ck_assert_int_gt(told, 15);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("peak");
    tcase_add_test(tests, peaks_are_plausible);
    tcase_add_test(tests, the_clock_on_the_wall_will_do);
    tcase_add_test(tests, buffers_stay_within_limits);
    tcase_add_test(tests, calls_fail);
    return run_vulkan("vulkan-peak", tests);
}
