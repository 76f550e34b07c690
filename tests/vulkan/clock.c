// SPDX-License-Identifier: MIT
// tests/vulkan/clock.c: how a device's ticks come onto the host's clock: calibrated, by the fence,
// or not at all.
#include "run.h"

#include <math.h>

static void check_clock(const char *name)
{
    sl_vk_device *d;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    ck_assert_str_eq(sl_vk_clock_name(d), name);
    sl_vk_moment moment;
    ck_assert_int_eq(sl_vk_clock_read(d, &moment), strcmp(name, "calibrated") == 0);
    sl_vk_close(d);
}

START_TEST(calibrated_moments_are_now)
{
    sl_vk_device *d;
    sl_vk_moment first, second;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    double before = sl_seconds();
    if (sl_vk_clock_read(d, &first) && sl_vk_clock_read(d, &second)) {
        ck_assert(first.seconds > before - 1e-3 && second.seconds < sl_seconds() + 1e-3);
        double back = sl_vk_clock_seconds(d, &second, first.ticks);
        ck_assert_msg(fabs(back - first.seconds) < 1e-3, "off by %g s", back - first.seconds);
    } else {
        ck_assert_str_ne(sl_vk_clock_name(d), "calibrated");
    }
    sl_vk_close(d);
}
END_TEST

START_TEST(ticks_may_wrap_around)
{
    sl_vk_device d = { .timestamp_ns = 10, .timestamp_mask = 0xffff };
    const sl_vk_moment later = { 0x0010, 5.0 };
    double seconds = sl_vk_clock_seconds(&d, &later, 0xfff0); // 32 ticks before
    ck_assert(fabs(seconds - (5.0 - 320e-9)) < 1e-12);
}
END_TEST

START_TEST(without_calibration_the_fence_will_do)
{
    spy.missing = "vkGetPhysicalDeviceCalibrateableTimeDomains"; // by either name
    check_clock("fence");
    spy.change = has_no_timestamps;
    check_clock("none");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("clock");
    tcase_add_test(tests, calibrated_moments_are_now);
    tcase_add_test(tests, ticks_may_wrap_around);
    tcase_add_test(tests, without_calibration_the_fence_will_do);
    return run_vulkan("vulkan-clock", tests);
}
