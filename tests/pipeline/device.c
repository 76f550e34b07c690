// SPDX-License-Identifier: MIT
// tests/pipeline/device.c: devices by name, and what is told about them.
#include "../base/run.h"
#include "pipeline/pipeline.h"

#include <jansson.h>

static void check_cpu(const char *name)
{
    sl_device *device;
    ck_ok(sl_device_open(ctx, name, &device));
    ck_assert(sl_device_is_cpu(device));
    sl_device_close(device);
}

START_TEST(the_processor_has_three_names)
{
    check_cpu(NULL);
    check_cpu("auto");
    check_cpu("cpu");
    sl_device_close(NULL);
}
END_TEST

// Whoever asks the processor for what it has not learns so before any work.
START_TEST(the_processor_has_no_f16)
{
    sl_device *device;
    ck_ok(sl_device_open(ctx, "cpu", &device));
    ck_ok(sl_device_set_precision(device, SL_PRECISION_F32));
    ck_fails(sl_device_set_precision(device, SL_PRECISION_F16), SL_ERR_ARGUMENT,
             "f16 is for Vulkan devices");
    ck_fails(sl_device_set_precision(device, (sl_precision)7), SL_ERR_ARGUMENT, "precision 7");
    ck_assert_int_eq(sl_device_precision(device), SL_PRECISION_F32);
    ck_assert_str_eq(sl_precision_name(SL_PRECISION_BF16), "bf16");
    ck_assert_str_eq(sl_precision_name((sl_precision)7), "unknown");
    sl_device_close(device);
}
END_TEST

// At a lower level of SIMD there is no bf16, on any machine.
START_TEST(bf16_is_refused_where_it_is_missing)
{
    sl_ctx *portable;
    sl_device *device;
    ck_ok(sl_ctx_new(&(sl_ctx_options) { .simd = "portable" }, &portable));
    ck_ok(sl_device_open(portable, "cpu", &device));
    ck_assert_int_eq(sl_device_set_precision(device, SL_PRECISION_BF16), SL_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sl_ctx_message(portable), "bf16 needs AVX-512 BF16"));
    ck_assert_int_eq(sl_device_precision(device), SL_PRECISION_F32);
    sl_device_close(device);
    sl_ctx_free(portable);
}
END_TEST

START_TEST(unknown_names_are_refused)
{
    static const char *const names[] = { "", "CPU", "cpu0", "abacus", "vulkan0", "vulkano", "%s" };
    sl_device *device;
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
        ck_fails(sl_device_open(ctx, names[i], &device), SL_ERR_ARGUMENT,
                 "the devices are: auto, cpu");
        ck_assert_ptr_null(device);
    }
    ck_fails(sl_device_open(ctx, "vulkan:9999", &device), SL_ERR_ARGUMENT, "\"vulkan:9999\"");
    ck_fails(sl_device_open(ctx, "ffffffff-ffff-ffff-ffff-ffffffffffff", &device), SL_ERR_ARGUMENT,
             "device \"ffffffff-ffff-");
}
END_TEST

START_TEST(the_processor_is_always_listed)
{
    static const char *const places[] = { NULL, "/nonexistent" };
    for (size_t i = 0; i < SL_ARRAY_LEN(places); i++) {
        char *text;
        if (places[i]) {
            setenv("VK_DRIVER_FILES", places[i], 1);
            setenv("VK_ICD_FILENAMES", places[i], 1);
            unsetenv("VK_INSTANCE_LAYERS");
        }
        ck_ok(sl_devices_describe(ctx, &text));
        json_t *root = json_loads(text, 0, NULL), *devices = json_object_get(root, "devices");
        const json_t *cpu = json_array_get(devices, 0);
        ck_assert_str_eq(json_string_value(json_object_get(cpu, "device")), "cpu");
        ck_assert_int_eq(json_integer_value(json_object_get(cpu, "threads")), 2);
        ck_assert(json_is_true(json_object_get(cpu, "chosen_by_auto")));
        ck_assert_int_eq(json_is_true(json_object_get(cpu, "bf16")), sl_cpu_has_bf16(ctx));
        ck_assert((json_array_size(devices) == 1) ==
                  json_is_string(json_object_get(root, "no_vulkan")));
        ck_assert(!places[i] || json_array_size(devices) == 1);
        for (size_t k = 1; k < json_array_size(devices); k++) {
            const json_t *device = json_array_get(devices, k);
            ck_assert(json_is_false(json_object_get(device, "chosen_by_auto")));
            ck_assert_int_gt(strlen(json_string_value(json_object_get(device, "note"))), 0);
        }
        json_decref(root);
        free(text);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("device");
    tcase_add_test(tests, the_processor_has_three_names);
    tcase_add_test(tests, the_processor_has_no_f16);
    tcase_add_test(tests, bf16_is_refused_where_it_is_missing);
    tcase_add_test(tests, unknown_names_are_refused);
    tcase_add_test(tests, the_processor_is_always_listed);
    return run_case("device", tests);
}
