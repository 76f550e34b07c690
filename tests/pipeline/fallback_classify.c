// SPDX-License-Identifier: MIT
// tests/pipeline/fallback_classify.c: pictures are named by a Vulkan device as by the processor,
// and by the processor where the device is full, or fails before or in a run.
#include "../vulkan/run.h"
#include "scene.h"
#include "soft_model.h"

static sl_model *soft;
static sl_image *image;

static void make_inputs(void)
{
    test_soft spec = {
        .head = SL_SOFT_HEAD_HYPERSPHERICAL, .classes = 5, .seed = 80, .mirror = true
    };
    set_up_vulkan();
    trust_devices();
    spy.change = has_no_timestamps;
    ck_ok(test_soft_open(ctx, in_dir("soft.safetensors"), &spec, &soft));
    image = scene(120, 90, 3, 8, SCENE_MIXED, 81);
}

static void drop_inputs(void)
{
    sl_image_free(image);
    sl_model_free(soft);
    tear_down_vulkan();
}

static sl_classify *classify_on(const char *device)
{
    sl_classify_options options = { .device = device };
    sl_classify *classify;
    ck_ok(sl_classify_new(ctx, soft, NULL, &options, &classify));
    return classify;
}

static sl_classification *name_it(sl_classify *classify)
{
    sl_classification *found;
    ck_ok(sl_classify_run(classify, image, 5, &found));
    return found;
}

// The largest difference from what the processor says.
static float difference(const sl_classification *found)
{
    sl_classify *cpu = classify_on("cpu");
    sl_classification *want = name_it(cpu);
    float worst = 0;
    for (size_t i = 0; i < want->dimension; i++)
        worst = fmaxf(worst, fabsf(found->embedding[i] - want->embedding[i]));
    ck_assert_str_eq(found->matches[0].label, want->matches[0].label);
    sl_classification_free(want);
    sl_classify_free(cpu);
    return worst;
}

START_TEST(a_device_names_as_the_processor_does)
{
    sl_classify *classify = classify_on("vulkan:0");
    for (int turn = 0; turn < 2; turn++) {
        sl_classification *found = name_it(classify);
        ck_assert_msg(difference(found) < 1e-4f, "%g", (double)difference(found));
        ck_assert_msg(strncmp(found->device, "vulkan:0 ", 9) == 0, "%s", found->device);
        sl_classification_free(found);
    }
    ck_assert_int_eq(warnings, 0);
    sl_classify_free(classify);
}
END_TEST

static void fail_at(const char *function, VkResult failure, long call)
{
    spy.fails = function;
    spy.failure = failure;
    atomic_store(&spy.countdown, call);
}

// _i: full from the start; lost while the network is compiled; lost in a run
START_TEST(in_the_end_the_cpu_names)
{
    if (_i == 0)
        spy.most = 1;
    if (_i == 1)
        fail_at("vkQueueSubmit", VK_ERROR_DEVICE_LOST, 0);
    sl_classify *classify = classify_on("vulkan:0");
    if (_i == 2)
        fail_at("vkWaitForFences", VK_ERROR_DEVICE_LOST, 0);
    for (int turn = 0; turn < 2; turn++) {
        sl_classification *found = name_it(classify);
        ck_assert_msg(difference(found) == 0, "%g", (double)difference(found));
        ck_assert_msg(strstr(found->device, ", after vulkan:0 "), "%s", found->device);
        ck_assert_int_eq(warnings, 1);
        sl_classification_free(found);
    }
    ck_assert_msg(strstr(warning, "the cpu takes over"), "%s", warning);
    ck_assert_uint_eq(sl_vk_live_objects(), 0);
    sl_classify_free(classify);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("fallback_classify");
    tcase_add_test(tests, a_device_names_as_the_processor_does);
    tcase_add_loop_test(tests, in_the_end_the_cpu_names, 0, 3);
    if (!has_device()) {
        printf("skipped: no Vulkan device can serve here\n");
        return SKIPPED;
    }
    return run_case_with("pipeline/fallback_classify", tests, make_inputs, drop_inputs);
}
