// SPDX-License-Identifier: MIT
// tests/pipeline/fallback.c: pictures come out whole and right from devices that are full, or that
// fail before, in or between runs.
#include "../vulkan/run.h"
#include "pipeline/network.h"
#include "scene.h"

static sl_model *model;
static sl_image *image;

static void make_inputs(void)
{
    set_up_vulkan();
    trust_devices();
    spy.change = has_no_timestamps;
    model = model_of(1, 1, 1, TEST_KEEPS_BRIGHT, 61);
    image = scene(150, 90, 3, 16, SCENE_MIXED, 62);
}

static void drop_inputs(void)
{
    sl_image_free(image);
    sl_model_free(model);
    tear_down_vulkan();
}

static sl_deblur *deblur_on(const char *device, uint32_t tile)
{
    sl_deblur_options options = { .device = device, .tile = tile };
    sl_deblur *d;
    ck_ok(sl_deblur_new(ctx, model, &options, &d));
    return d;
}

// One whose blocks of memory are as large as what lies in them: none has room for more.
static sl_deblur *deblur_tightly(void)
{
    spy.most = 9 << 20;
    return deblur_on("vulkan:0", 0);
}

static void fail_at(const char *function, VkResult failure, long call)
{
    spy.fails = function;
    spy.failure = failure;
    atomic_store(&spy.countdown, call);
}

// Both pictures of a run are what the CPU makes of the image; at most `levels` off of 65535.
static void check_right(sl_deblur *d, uint32_t tile, unsigned levels, sl_deblur_report *report)
{
    sl_image *out, *heat, *want, *want_heat;
    unsigned worst = 0;
    ck_ok(sl_deblur_run(d, image, &out, &heat, report));
    sl_deblur *cpu = deblur_on("cpu", tile ? tile : report->tile_width);
    ck_ok(sl_deblur_run(cpu, image, &want, &want_heat, NULL));
    for (uint32_t y = 0; y < image->height; y++)
        for (uint32_t x = 0; x < image->width; x++)
            for (unsigned k = 0; k < 3; k++) {
                int difference = (int)sample(out, x, y, k) - (int)sample(want, x, y, k);
                worst = (unsigned)abs(difference) > worst ? (unsigned)abs(difference) : worst;
            }
    ck_assert_msg(worst <= levels, "off by %u / 65535", worst);
    ck_assert(levels > 0 || differing(heat, want_heat) == 0);
    sl_deblur_free(cpu);
    sl_image_free(out);
    sl_image_free(heat);
    sl_image_free(want);
    sl_image_free(want_heat);
}

// Room for a part of the picture only: the device computes it in smaller tiles, and the next one in
// such tiles at once.
START_TEST(full_devices_get_smaller_tiles)
{
    sl_deblur *d = deblur_tightly();
    sl_deblur_report report;
    spy.most = 1 << 20;
    check_right(d, 0, 20, &report);
    ck_assert_uint_lt(report.tile_width, 160);
    ck_assert_uint_ge(report.tile_width, 32);
    ck_assert_uint_gt(report.tiles, 1);
    ck_assert(!report.fell_back);
    ck_assert_msg(strncmp(report.device, "vulkan:0 ", 9) == 0, "%s", report.device);
    ck_assert_int_gt(warnings, 0);
    ck_assert_msg(strstr(warning, "memory is exhausted") && strstr(warning, "going on with"), "%s",
                  warning);
    warnings = 0;
    check_right(d, 0, 20, &report);
    ck_assert_int_eq(warnings, 0);
    sl_deblur_free(d);
}
END_TEST

// So do those whose memory the process has no room to see.
START_TEST(memory_that_cannot_be_mapped_is_full)
{
    sl_deblur *d = deblur_tightly();
    sl_deblur_report report;
    fail_at("vkMapMemory", VK_ERROR_MEMORY_MAP_FAILED, 0);
    check_right(d, 0, 20, &report);
    ck_assert_int_lt(atomic_load(&spy.countdown), 0);
    ck_assert(!report.fell_back);
    ck_assert_msg(strstr(warning, "memory is exhausted") && strstr(warning, "going on with"), "%s",
                  warning);
    sl_deblur_free(d);
}
END_TEST

// Not even the smallest tile: the CPU computes in tiles of its own choice.
START_TEST(in_the_end_the_cpu_computes)
{
    sl_deblur *d = deblur_tightly();
    sl_deblur_report report;
    spy.most = 1;
    check_right(d, 65535, 0, &report);
    ck_assert(report.fell_back);
    ck_assert_uint_eq(report.tiles, 1);
    ck_assert_msg(strstr(report.device, "cpu (") && strstr(report.device, ", after vulkan:0 ran"),
                  "%s", report.device);
    ck_assert_msg(strstr(warning, "the cpu takes over"), "%s", warning);
    ck_assert_int_eq(warnings, 3); // 160 to 80, 32, then the CPU
    ck_assert_uint_eq(sl_vk_live_objects(), 0);
    check_right(d, 65535, 0, &report);
    ck_assert(report.fell_back);
    ck_assert_int_eq(warnings, 3);
    sl_deblur_free(d);
}
END_TEST

START_TEST(no_room_from_the_start)
{
    sl_deblur_report report;
    spy.most = 1;
    sl_deblur *d = deblur_on("vulkan:0", 0);
    ck_assert_int_eq(warnings, 1);
    check_right(d, 65535, 0, &report);
    ck_assert(report.fell_back);
    ck_assert_int_eq(warnings, 1);
    sl_deblur_free(d);
}
END_TEST

static const struct {
    const char *function;
    VkResult failure;
    long call;
    const char *told;
} losses[] = {
    { "vkQueueSubmit", VK_ERROR_DEVICE_LOST, 0, "was lost" }, // while the network is compiled
    { "vkQueueSubmit", VK_ERROR_DEVICE_LOST, 3, "was lost" }, // in a tile
    { "vkWaitForFences", VK_ERROR_DEVICE_LOST, 4, "was lost" },
    { "vkWaitForFences", VK_TIMEOUT, 4, "no answer in time" },
    { "vkEndCommandBuffer", VK_ERROR_UNKNOWN, 0, "VK_ERROR_UNKNOWN" },
};

// Lost on the way: the CPU begins the picture anew, and keeps the next ones. The device was named,
// or chosen.
START_TEST(lost_devices_are_left)
{
    sl_deblur *d = deblur_on(_i % 2 ? "vulkan:0" : "vulkan", 64);
    sl_deblur_report report;
    fail_at(losses[_i].function, losses[_i].failure, losses[_i].call);
    check_right(d, 64, 0, &report);
    ck_assert_int_lt(atomic_load(&spy.countdown), 0);
    ck_assert(report.fell_back);
    ck_assert_uint_gt(report.tiles, 4);
    ck_assert_msg(strstr(report.device, ", after vulkan:0 failed"), "%s", report.device);
    ck_assert_int_eq(warnings, 1);
    ck_assert_msg(strstr(warning, losses[_i].told) && strstr(warning, "vulkan:0 "), "%s", warning);
    ck_assert_uint_eq(sl_vk_live_objects(), 0);
    check_right(d, 64, 0, &report);
    ck_assert(report.fell_back);
    ck_assert_int_eq(warnings, 1);
    sl_deblur_free(d);
}
END_TEST

// Some tiles are computed, and the rest seems to be: no picture is put together from both.
START_TEST(devices_that_are_lost_without_a_word_are_left)
{
    sl_deblur *d = deblur_on("vulkan:0", 64);
    sl_deblur_report report;
    atomic_store(&spy.drops, 4);
    check_right(d, 64, 0, &report);
    ck_assert_int_eq(atomic_load(&spy.drops), 0);
    ck_assert(report.fell_back);
    ck_assert_uint_gt(report.tiles, 4);
    ck_assert_int_eq(warnings, 1);
    ck_assert_msg(strstr(warning, "was lost while computing") && strstr(warning, "the cpu takes"),
                  "%s", warning);
    sl_deblur_free(d);
}
END_TEST

// Between two looks at a large picture: the CPU takes both.
START_TEST(a_device_lost_between_looks_leaves_nothing)
{
    sl_image_free(image);
    image = scene(640, 128, 3, 16, SCENE_BRIGHT_SPOT, 64);
    sl_deblur *d = deblur_on("vulkan:0", 0);
    sl_deblur_report report;
    watched seen = { 0 };
    watch_progress(&seen);
    fail_at("vkQueueSubmit", VK_ERROR_DEVICE_LOST, 2);
    check_right(d, 65535, 0, &report);
    ctx->options.progress = NULL;
    ck_assert_uint_eq(seen.returns, 2); // one fifth was done; and for what it is compared with
    ck_assert(report.fell_back && report.shrink[0] == 2 && report.shrink[1] == 1);
    ck_assert_msg(strstr(report.device, "cpu (") &&
                      strstr(report.device, ", after vulkan:0 failed"),
                  "%s", report.device);
    sl_deblur_free(d);
}
END_TEST

START_TEST(lost_at_the_start)
{
    sl_deblur_report report;
    fail_at("vkQueueSubmit", VK_ERROR_DEVICE_LOST, 0);
    sl_deblur *d = deblur_on("vulkan:0", 0);
    ck_assert_int_eq(warnings, 1);
    check_right(d, 65535, 0, &report);
    ck_assert(report.fell_back);
    sl_deblur_free(d);
}
END_TEST

static void reaches_the_minimum(VkPhysicalDeviceProperties2 *p)
{
    has_no_timestamps(p);
    p->properties.limits.maxStorageBufferRange = 1 << 27;
}

// What is too large for the network itself is no reason to leave a device; what is too large for
// the device alone is one.
START_TEST(limits_of_the_network_are_not_those_of_the_device)
{
    sl_device *device;
    sl_network n;
    spy.change = reaches_the_minimum;
    ck_ok(sl_device_open(ctx, "vulkan:0", &device));
    for (int turn = 0; turn < 2; turn++) {
        const sl_lmd_build endless = { .height = UINT32_C(1) << 31, .width = UINT32_C(1) << 31 };
        const sl_lmd_build large = { .height = 4096, .width = 4096 };
        ck_assert_int_eq(sl_network_new(ctx, model, device, &endless, &n), SL_ERR_LIMIT);
        ck_assert(!sl_device_may_fall_back(device, SL_ERR_LIMIT));
        if (turn > 0)
            break;
        ck_assert_int_eq(sl_network_new(ctx, model, device, &large, &n), SL_ERR_LIMIT);
        ck_assert(sl_device_may_fall_back(device, SL_ERR_LIMIT));
        const sl_lmd_build small = { .height = 32, .width = 32 };
        ck_ok(sl_network_new(ctx, model, device, &small, &n));
        sl_network_free(&n);
    }
    sl_device_close(device);
}
END_TEST

START_TEST(nothing_falls_back_without_need)
{
    sl_deblur_report report;
    sl_deblur *d = deblur_on("vulkan:0", 0);
    check_right(d, 0, 20, &report);
    ck_assert(!report.fell_back);
    ck_assert_int_eq(warnings, 0);
    sl_deblur_free(d);
}
END_TEST

// Two tiles at a time, or, where there is nothing to tell two runs apart by, one by one: the same
// picture, bit for bit.
START_TEST(overlapped_tiles_are_those_of_single_runs)
{
    sl_image *out[2], *heat[2];
    sl_deblur_report report;
    for (int i = 0; i < 2; i++) {
        sl_deblur *d = deblur_on("vulkan:0", 64);
        if (i == 1)
            fail_at("vkCreateFence", VK_ERROR_OUT_OF_HOST_MEMORY, 0);
        ck_ok(sl_deblur_run(d, image, &out[i], &heat[i], &report));
        ck_assert(!report.fell_back);
        ck_assert_uint_gt(report.tiles, 4);
        ck_assert_int_eq(warnings, 0);
        ck_assert_int_eq(atomic_load(&spy.countdown), -1); // the call was made, and failed
        sl_deblur_free(d);
    }
    ck_assert_uint_eq(differing(out[0], out[1]), 0);
    ck_assert_uint_eq(differing(heat[0], heat[1]), 0);
    for (int i = 0; i < 2; i++) {
        sl_image_free(out[i]);
        sl_image_free(heat[i]);
    }
}
END_TEST

// ---- raw tensors, and measurements

static void run_tensor(const char *device, const char *to)
{
    sl_run_options options = { .device = device };
    ck_ok(sl_model_run(ctx, model, in_dir("in.npy"), in_dir(to), &options));
}

// _i: 0 lost, 1 full
START_TEST(tensors_come_from_the_cpu_then)
{
    static float pixels[16 * 30 * 3];
    sl_tensor t = { "x", SL_F32, { 3, { 16, 30, 3 } }, pixels, sizeof(pixels) };
    uint32_t seed = 5;
    sl_blob cpu, other;
    for (size_t i = 0; i < SL_ARRAY_LEN(pixels); i++)
        pixels[i] = (float)(scene_noise(&seed) % 1000) / 1000.0f;
    ck_ok(sl_npy_write(ctx, in_dir("in.npy"), true, &t));
    run_tensor("cpu", "cpu");
    run_tensor("vulkan", "vulkan");
    ck_assert_int_eq(warnings, 0);
    if (_i == 0)
        fail_at("vkQueueSubmit", VK_ERROR_DEVICE_LOST, 2);
    else
        spy.most = 1;
    run_tensor("vulkan", "after");
    ck_assert_int_eq(warnings, 1);
    ck_ok(sl_file_read(ctx, in_dir("cpu/output.npy"), 1 << 20, &cpu));
    ck_ok(sl_file_read(ctx, in_dir("after/output.npy"), 1 << 20, &other));
    ck_assert_uint_eq(cpu.size, other.size);
    ck_assert_mem_eq(cpu.data, other.data, cpu.size);
    sl_blob_free(&cpu);
    sl_blob_free(&other);
}
END_TEST

// Figures of another device are not what was asked for.
START_TEST(measurements_fail)
{
    sl_bench_options options = { .device = "vulkan:0", .width = 64, .height = 64, .repeats = 1 };
    char *text;
    ck_ok(sl_model_bench(ctx, model, &options, &text));
    free(text);
    fail_at("vkQueueSubmit", VK_ERROR_DEVICE_LOST, 2);
    ck_fails(sl_model_bench(ctx, model, &options, &text), SL_ERR_DEVICE, "was lost");
    ck_assert_ptr_null(text);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("fallback");
    tcase_add_test(tests, full_devices_get_smaller_tiles);
    tcase_add_test(tests, memory_that_cannot_be_mapped_is_full);
    tcase_add_test(tests, in_the_end_the_cpu_computes);
    tcase_add_test(tests, no_room_from_the_start);
    tcase_add_loop_test(tests, lost_devices_are_left, 0, SL_ARRAY_LEN(losses));
    tcase_add_test(tests, devices_that_are_lost_without_a_word_are_left);
    tcase_add_test(tests, a_device_lost_between_looks_leaves_nothing);
    tcase_add_test(tests, lost_at_the_start);
    tcase_add_test(tests, limits_of_the_network_are_not_those_of_the_device);
    tcase_add_test(tests, nothing_falls_back_without_need);
    tcase_add_test(tests, overlapped_tiles_are_those_of_single_runs);
    tcase_add_loop_test(tests, tensors_come_from_the_cpu_then, 0, 2);
    tcase_add_test(tests, measurements_fail);
    if (!has_device()) {
        printf("skipped: no Vulkan device can serve here\n");
        return SKIPPED;
    }
    return run_case_with("fallback", tests, make_inputs, drop_inputs);
}
