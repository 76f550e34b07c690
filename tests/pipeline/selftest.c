// SPDX-License-Identifier: MIT
// tests/pipeline/selftest.c: devices that compute wrongly or not at all are found out, remembered,
// and left alone; and which device is chosen.
#include "../vulkan/run.h"
#include "pipeline/choose.h"
#include "pipeline/specimen.h"

#include <jansson.h>
#include <math.h>

static sl_vk_info info; // vulkan:0, as it shows itself now

static void look(void)
{
    sl_vk_info *infos;
    size_t count;
    ck_ok(sl_vk_list(ctx, &infos, &count, NULL));
    ck_assert_uint_gt(count, 0);
    info = infos[0];
    free(infos);
}

static const char *verdict(void)
{
    static sl_vk_verdict found;
    look();
    ck_ok(sl_selftest_verdict(ctx, &info, &found));
    ck_assert_str_eq(found.why_f16, "");
    return found.why;
}

// What a test finds now.
static sl_vk_verdict run_test(void)
{
    sl_vk_verdict found;
    bool was_lost;
    look();
    ck_ok(sl_selftest_run(ctx, &info, &found, &was_lost));
    ck_assert(!was_lost);
    return found;
}

static const char *verdict_file(void)
{
    char name[128];
    look();
    snprintf(name, sizeof(name), "softlens/vulkan-%s.verdict", info.uuid);
    return in_dir(name);
}

static void fail_next(const char *function, VkResult failure)
{
    spy.fails = function;
    spy.failure = failure;
    atomic_store(&spy.countdown, 0);
}

// ---- the test itself

// No window's share lies so near the threshold that rounding could decide, and some are kept.
START_TEST(the_choice_is_clear)
{
    sl_specimen s;
    sl_cpu_weights *weights;
    sl_plan *plan;
    float scores[2 * 256];
    size_t kept = 0;
    ck_ok(sl_specimen_new(ctx, &s));
    ck_ok(sl_cpu_weights_new(ctx, &weights));
    ck_ok(sl_cpu_compile(ctx, s.graph, SL_F32, weights, &plan));
    ck_ok(sl_plan_write(plan, s.image, s.picture));
    ck_ok(sl_plan_write(plan, s.extent, s.sides));
    ck_ok(sl_plan_write(plan, s.rows, s.numbers));
    ck_ok(sl_plan_run(plan));
    size_t bytes = s.graph->values[s.output[0].value].bytes;
    ck_assert_uint_le(bytes, sizeof(scores));
    ck_ok(sl_plan_read(plan, s.output[0].value, scores));
    for (size_t i = 0; i < bytes / sizeof(float); i += 2) {
        float share = 1 / (1 + expf(scores[i + 1] - scores[i]));
        ck_assert_float_gt(fabsf(share - SL_SPECIMEN_THRESHOLD), 0.005f);
        kept += share > SL_SPECIMEN_THRESHOLD;
    }
    ck_assert_uint_gt(kept, 3);
    ck_assert_uint_lt(kept, bytes / 8 - 3);
    sl_plan_free(plan);
    sl_cpu_weights_free(weights);
    sl_specimen_free(&s);
}
END_TEST

// Every op that a device is asked for; windows op by op are for reference alone.
START_TEST(every_op_takes_part)
{
    bool has[SL_OP_COUNT] = { [SL_OP_WINDOW_GATHER] = true,
                              [SL_OP_WINDOW_SCATTER] = true,
                              [SL_OP_WINDOW_ATTENTION] = true,
                              [SL_OP_WINDOW_DWCONV] = true };
    sl_specimen s;
    ck_ok(sl_specimen_new(ctx, &s));
    for (size_t i = 0; i < s.graph->node_count; i++)
        has[s.graph->nodes[i].op] = true;
    for (sl_op op = 0; op < SL_OP_COUNT; op++)
        ck_assert_msg(has[op], "op %d is not tested", (int)op);
    for (size_t i = 0; i < SL_SPECIMEN_OUTPUTS; i++)
        ck_assert_ptr_nonnull(s.output[i].what);
    sl_specimen_free(&s);
}
END_TEST

START_TEST(right_devices_pass)
{
    sl_vk_verdict found = run_test();
    ck_assert_str_eq(found.why, "");
    ck_assert_str_eq(found.why_f16, "");
    ck_assert_int_eq(warnings, 0);
}
END_TEST

static void takes_few_groups(VkPhysicalDeviceProperties2 *p)
{
    p->properties.limits.maxComputeWorkGroupCount[0] = 9;
}

// Every op, with most of its groups along z.
START_TEST(groups_that_do_not_fit_along_x)
{
    spy.change = takes_few_groups;
    sl_vk_verdict found = run_test();
    ck_assert_uint_eq(info.limits.group_count[0], 9);
    ck_assert_str_eq(found.why, "");
    ck_assert_str_eq(found.why_f16, "");
}
END_TEST

START_TEST(wrong_results_are_found)
{
    spy.idle = true;
    sl_vk_verdict found = run_test();
    ck_assert_msg(strstr(found.why, "in F32 the prediction"), "%s", found.why);
}
END_TEST

// Products of many rows have kernels of their own, with tiles of 128 rows.
static uint32_t idle_columns;

static bool has_tile(const VkComputePipelineCreateInfo *i)
{
    const VkSpecializationInfo *s = i->stage.pSpecializationInfo;
    const uint32_t *spec = s->pData;
    return s->mapEntryCount >= 10 && spec[6] == 128 && spec[7] == idle_columns;
}

START_TEST(wrong_products_of_many_rows_are_found)
{
    static const uint32_t columns[] = { 32, 64, 128 };
    static const char *const told[] = { "in F32 the long product of 32",
                                        "in F32 the long product of 36",
                                        "in F32 the long product of 256" };
    spy.is_idle = has_tile;
    idle_columns = columns[_i];
    sl_vk_verdict found = run_test();
    ck_assert_msg(strstr(found.why, told[_i]), "%s", found.why);
}
END_TEST

START_TEST(failing_calls_are_told)
{
    static const char *const calls[] = { "vkCreateComputePipelines", "vkQueueSubmit",
                                         "vkWaitForFences" };
    for (size_t i = 0; i < SL_ARRAY_LEN(calls); i++) {
        fail_next(calls[i], VK_ERROR_UNKNOWN);
        sl_vk_verdict found = run_test();
        ck_assert_msg(strstr(found.why, "VK_ERROR_UNKNOWN"), "%s", found.why);
        ck_assert_ptr_null(strchr(found.why, ';'));
    }
}
END_TEST

// Exhausted memory says nothing about the device, nor does a submission that others may have lost:
// no verdict.
START_TEST(full_and_lost_devices_are_tested_another_time)
{
    sl_vk_verdict found;
    look();
    spy.most = 1; // not even a smaller block than the usual one
    ck_assert_int_eq(sl_selftest_verdict(ctx, &info, &found), SL_ERR_NOMEM);
    spy.most = 0;
    fail_next("vkMapMemory", VK_ERROR_MEMORY_MAP_FAILED);
    ck_fails(sl_selftest_verdict(ctx, &info, &found), SL_ERR_NOMEM, "is exhausted");
    fail_next("vkQueueSubmit", VK_ERROR_DEVICE_LOST);
    ck_fails(sl_selftest_verdict(ctx, &info, &found), SL_ERR_DEVICE, "VK_ERROR_DEVICE_LOST");
    fail_next("vkWaitForFences", VK_TIMEOUT);
    ck_fails(sl_selftest_verdict(ctx, &info, &found), SL_ERR_DEVICE, "VK_TIMEOUT");
    ck_assert(!sl_vk_verdict_load(ctx, &info, &found));
    ck_assert_str_eq(verdict(), "");
}
END_TEST

// A trace tells that the device took its test, not what it computed there.
START_TEST(tests_are_one_span)
{
    ck_ok(sl_trace_begin(ctx, in_dir("trace.json"), false));
    for (int turn = 0; turn < 2; turn++) { // the second one need not be tested
        ck_assert_str_eq(verdict(), "");
        ck_assert_uint_eq(ctx->trace->count, 1);
        ck_assert_str_eq(ctx->trace->spans[0].name, "self-test");
    }
}
END_TEST

// ---- what is remembered

static void has_other_driver(VkPhysicalDeviceProperties2 *p)
{
    p->properties.driverVersion++;
}

static void has_other_build(VkPhysicalDeviceProperties2 *p)
{
    has_other_driver(p);
    for (VkBaseOutStructure *at = p->pNext; at; at = at->pNext)
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES)
            ((VkPhysicalDeviceVulkan11Properties *)(void *)at)->driverUUID[0] ^= 1;
}

START_TEST(verdicts_are_remembered)
{
    spy.idle = true;
    ck_assert_str_ne(verdict(), "");
    spy.idle = false;
    ck_assert_str_ne(verdict(), ""); // not tested again
    spy.change = has_other_driver;
    ck_assert_str_eq(verdict(), "");
    spy.idle = true;
    ck_assert_str_eq(verdict(), ""); // nor here
    spy.change = has_other_build;
    ck_assert_str_ne(verdict(), "");
}
END_TEST

START_TEST(damaged_files_are_tested_again)
{
    static const char junk[] = "passed, believe me";
    spy.idle = true;
    ck_assert_str_ne(verdict(), "");
    spy.idle = false;
    ck_ok(sl_file_write(ctx, verdict_file(), true, junk, sizeof(junk)));
    ck_assert_str_eq(verdict(), "");
    spy.idle = true;
    ck_assert_str_eq(verdict(), "");
}
END_TEST

START_TEST(nowhere_to_remember)
{
    setenv("XDG_CACHE_HOME", "/dev/null/nowhere", 1);
    spy.idle = true;
    ck_assert_str_ne(verdict(), "");
    spy.idle = false;
    ck_assert_str_eq(verdict(), "");
    ck_assert_int_eq(warnings, 0);
}
END_TEST

// ---- choosing

static void is_discrete(VkPhysicalDeviceProperties2 *p)
{
    p->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

static void is_software(VkPhysicalDeviceProperties2 *p)
{
    p->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_CPU;
}

static void is_weak(VkPhysicalDeviceProperties2 *p)
{
    is_discrete(p);
    p->properties.limits.maxPushConstantsSize = 64;
}

static void check_opens(const char *name, bool on_cpu)
{
    sl_device *device;
    warnings = 0;
    ck_ok(sl_device_open(ctx, name, &device));
    ck_assert(sl_device_is_cpu(device) == on_cpu);
    sl_device_close(device);
}

START_TEST(software_is_not_chosen)
{
    spy.change = is_software;
    check_opens(NULL, true);
    check_opens("auto", true);
    ck_assert_int_eq(warnings, 0);
    ck_assert(!sl_file_exists(verdict_file())); // nor tested
    check_opens("vulkan", false);
    ck_assert_int_eq(warnings, 0);
    ck_assert(sl_file_exists(verdict_file()));
}
END_TEST

START_TEST(the_best_that_passed_is_chosen)
{
    spy.change = is_discrete;
    check_opens(NULL, false);
    check_opens("auto", false);
    check_opens("cpu", true);
    ck_assert_int_eq(warnings, 0);
    spy.change = is_weak;
    check_opens("auto", true);
    ck_assert_int_eq(warnings, 0);
}
END_TEST

// Where the system knows of no card the loader is not even asked, unless drivers are named.
START_TEST(without_a_card_no_driver_is_opened)
{
    spy.change = is_discrete;
    ck_assert(sl_vk_may_have_card()); // by the variables of this test
    unsetenv("VK_LOADER_DRIVERS_SELECT");
    unsetenv("VK_DRIVER_FILES");
    unsetenv("VK_ICD_FILENAMES");
    unsetenv("VK_ADD_DRIVER_FILES");
    check_opens("auto", !sl_vk_may_have_card_in("")); // held to its word by vulkan/nodes.c
    check_opens("vulkan", false);
}
END_TEST

START_TEST(wrong_devices_are_passed_over)
{
    sl_device *device;
    spy.change = is_discrete;
    spy.idle = true;
    check_opens("auto", true);
    ck_assert_int_eq(warnings, 1);
    ck_assert_msg(strstr(warning, info.name) && strstr(warning, "failed its self-test"), "%s",
                  warning);
    ck_fails(sl_device_open(ctx, "vulkan", &device), SL_ERR_DEVICE, "failed its self-test");
    ck_assert_ptr_null(device);
    look();
    check_opens("vulkan:0", false);
    ck_assert_int_eq(warnings, 1);
    ck_assert_msg(strstr(warning, "failed its self-test"), "%s", warning);
    check_opens(info.uuid, false);
    ck_assert_int_eq(warnings, 1);
}
END_TEST

START_TEST(devices_that_do_not_open)
{
    sl_device *device;
    spy.change = is_discrete;
    fail_next("vkCreateDevice", VK_ERROR_INITIALIZATION_FAILED);
    check_opens("auto", true);
    ck_assert_int_eq(warnings, 1);
    ck_assert_msg(strstr(warning, "cannot be tested"), "%s", warning);
    fail_next("vkCreateDevice", VK_ERROR_INITIALIZATION_FAILED);
    ck_fails(sl_device_open(ctx, "vulkan", &device), SL_ERR_DEVICE, "cannot be tested");
    check_opens("auto", false);
    fail_next("vkCreateDevice", VK_ERROR_INITIALIZATION_FAILED); // tested, but not now
    check_opens("auto", true);
    ck_assert_int_eq(warnings, 1);
}
END_TEST

// ---- f16 alone

// The calls of a function until the test in f32 is over.
static long calls_in_f32(const char *function)
{
    const long many = 1000000;
    spy.no_f16 = true;
    spy.fails = function;
    atomic_store(&spy.countdown, many);
    sl_vk_verdict found = run_test();
    ck_assert_str_eq(found.why, "");
    long calls = many - atomic_load(&spy.countdown);
    spy_reset();
    return calls;
}

static void check_serves_in_f32(const char *flaw)
{
    sl_device *device;
    warnings = 0;
    ck_ok(sl_device_open(ctx, "vulkan", &device));
    ck_assert(!sl_device_is_cpu(device));
    ck_fails(sl_device_set_precision(device, SL_PRECISION_F16), SL_ERR_ARGUMENT, flaw);
    sl_device_close(device);
    ck_assert_int_eq(warnings, 0);
}

START_TEST(devices_that_fail_in_f16_serve_in_f32)
{
    sl_vk_verdict found;
    look();
    if (!info.f16)
        return;
    long pipelines = calls_in_f32("vkCreateComputePipelines");
    long submissions = calls_in_f32("vkQueueSubmit");
    spy.fails = "vkQueueSubmit";
    spy.failure = VK_ERROR_DEVICE_LOST;
    atomic_store(&spy.countdown, submissions);
    check_serves_in_f32("VK_ERROR_DEVICE_LOST");
    ck_assert(!sl_vk_verdict_load(ctx, &info, &found)); // it is tested again
    spy.fails = "vkCreateComputePipelines";
    spy.failure = VK_ERROR_UNKNOWN;
    atomic_store(&spy.countdown, pipelines);
    check_serves_in_f32("VK_ERROR_UNKNOWN");
    spy_reset();
    check_serves_in_f32("VK_ERROR_UNKNOWN"); // which is remembered
    ck_assert(sl_vk_verdict_load(ctx, &info, &found));
    ck_assert_str_eq(found.why, "");
    spy.change = is_discrete;
    char *text;
    ck_ok(sl_devices_describe(ctx, &text));
    ck_assert_ptr_nonnull(strstr(text, "its f16 failed the self-test"));
    free(text);
    check_opens("vulkan:0", false); // as it was named
    ck_assert_int_eq(warnings, 1);
}
END_TEST

// ---- what is told

static void check_told(const char *state, const char *note)
{
    char *text;
    ck_ok(sl_devices_describe(ctx, &text));
    json_t *root = json_loads(text, 0, NULL), *devices = json_object_get(root, "devices");
    const json_t *cpu = json_array_get(devices, 0), *device = json_array_get(devices, 1);
    const char *told = json_string_value(json_object_get(device, "note"));
    ck_assert_str_eq(json_string_value(json_object_get(device, "self_test")), state);
    ck_assert(json_is_true(json_object_get(device, "chosen_by_auto")) == !note);
    ck_assert(json_is_true(json_object_get(cpu, "chosen_by_auto")) == !!note);
    ck_assert_msg(note ? told && strstr(told, note) : !told, "%s", text);
    json_decref(root);
    free(text);
}

START_TEST(devices_are_described)
{
    spy.change = is_software;
    check_told("not yet tested", "computes on the processor");
    check_opens("vulkan", false);
    check_told("passed", "computes on the processor");
    spy.change = is_weak;
    check_told("not yet tested", "64 bytes of push");
    spy.change = is_discrete;
    check_told("passed", NULL);
    ck_assert_int_eq(unlink(verdict_file()), 0);
    check_told("passed", NULL); // it takes its test here
    ck_assert_int_eq(unlink(verdict_file()), 0);
    spy.idle = true;
    check_told("failed", "failed its self-test: in F32 the prediction");
    setenv("XDG_CACHE_HOME", "/dev/null/nowhere", 1);
    check_told("failed", "failed its self-test");
    fail_next("vkCreateDevice", VK_ERROR_INITIALIZATION_FAILED);
    check_told("not yet tested", "cannot be tested");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("selftest");
    tcase_add_test(tests, the_choice_is_clear);
    tcase_add_test(tests, every_op_takes_part);
    tcase_add_test(tests, right_devices_pass);
    tcase_add_test(tests, groups_that_do_not_fit_along_x);
    tcase_add_test(tests, wrong_results_are_found);
    tcase_add_loop_test(tests, wrong_products_of_many_rows_are_found, 0, 3);
    tcase_add_test(tests, failing_calls_are_told);
    tcase_add_test(tests, full_and_lost_devices_are_tested_another_time);
    tcase_add_test(tests, tests_are_one_span);
    tcase_add_test(tests, verdicts_are_remembered);
    tcase_add_test(tests, damaged_files_are_tested_again);
    tcase_add_test(tests, nowhere_to_remember);
    tcase_add_test(tests, software_is_not_chosen);
    tcase_add_test(tests, the_best_that_passed_is_chosen);
    tcase_add_test(tests, without_a_card_no_driver_is_opened);
    tcase_add_test(tests, wrong_devices_are_passed_over);
    tcase_add_test(tests, devices_that_do_not_open);
    tcase_add_test(tests, devices_that_fail_in_f16_serve_in_f32);
    tcase_add_test(tests, devices_are_described);
    return run_vulkan("selftest", tests);
}
