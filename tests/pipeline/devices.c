// SPDX-License-Identifier: MIT
// tests/pipeline/devices.c: what is told of devices, and what "auto" does, where drivers fail, know
// no limits or are not asked.
#include "../vulkan/run.h"
#include "pipeline/pipeline.h"

#include <jansson.h>

static void is_discrete(VkPhysicalDeviceProperties2 *p)
{
    p->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

static void is_software(VkPhysicalDeviceProperties2 *p)
{
    p->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_CPU;
}

static void fail_search(VkResult failure)
{
    spy.fails = "vkEnumeratePhysicalDevices";
    spy.failure = failure;
    atomic_store(&spy.countdown, 0);
}

static json_t *describe(void)
{
    char *text;
    ck_ok(sl_devices_describe(ctx, &text));
    json_t *root = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(root);
    free(text);
    return root;
}

static const json_t *device_at(const json_t *root, size_t i)
{
    return json_array_get(json_object_get(root, "devices"), i);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

// Whatever keeps a driver from listing its devices: who named none gets the processor, with one
// line that says so.
START_TEST(searches_that_fail)
{
    static const char *const names[] = { "vulkan", "vulkan:0", "0123456789abcdef0123456789abcdef" };
    static const struct {
        VkResult result;
        sl_status status; // of those who name a device
    } cases[] = { { VK_ERROR_OUT_OF_HOST_MEMORY, SL_ERR_NOMEM },
                  { VK_ERROR_OUT_OF_DEVICE_MEMORY, SL_ERR_NOMEM },
                  { VK_ERROR_DEVICE_LOST, SL_ERR_DEVICE } };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_device *device;
        for (size_t k = 0; k < SL_ARRAY_LEN(names); k++) {
            fail_search(cases[i].result);
            ck_fails(sl_device_open(ctx, names[k], &device), cases[i].status, "for devices");
        }
        warnings = 0;
        fail_search(cases[i].result);
        ck_ok(sl_device_open(ctx, "auto", &device));
        ck_assert(sl_device_is_cpu(device));
        sl_device_close(device);
        ck_assert_int_lt(atomic_load(&spy.countdown), 0);
        ck_assert_int_eq(warnings, 1);
        ck_assert_msg(strstr(warning, "looking for devices") &&
                          strstr(warning, "); the cpu computes") && !strchr(warning, '\n'),
                      "%s", warning);
    }
}
END_TEST

// NULL: "auto" takes the device.
static void check_note(const char *note)
{
    json_t *root = describe();
    const json_t *cpu = device_at(root, 0), *device = device_at(root, 1);
    ck_assert_str_eq(text_of(device, "self_test"), "passed");
    ck_assert(json_is_true(json_object_get(device, "chosen_by_auto")) == !note);
    ck_assert(json_is_true(json_object_get(cpu, "chosen_by_auto")) == !!note);
    ck_assert_msg(note ? !!strstr(text_of(device, "note"), note) : !*text_of(device, "note"), "%s",
                  text_of(device, "note"));
    json_decref(root);
}

START_TEST(cards_that_auto_does_not_look_for)
{
    sl_device *device;
    trust_devices();
    spy.change = is_discrete;
    check_note(NULL); // by the variables of this test
    unsetenv("VK_LOADER_DRIVERS_SELECT");
    unsetenv("VK_DRIVER_FILES");
    unsetenv("VK_ICD_FILENAMES");
    unsetenv("VK_ADD_DRIVER_FILES");
    bool may_have_card = sl_vk_may_have_card();
    check_note(may_have_card ? NULL : "the system names no graphics card");
    ck_ok(sl_device_open(ctx, "auto", &device));
    ck_assert(sl_device_is_cpu(device) == !may_have_card);
    sl_device_close(device);
    spy.change = is_software;
    check_note("computes on the processor");
}
END_TEST

START_TEST(the_processor_is_listed_where_drivers_fail)
{
    fail_search(VK_ERROR_OUT_OF_DEVICE_MEMORY);
    json_t *root = describe();
    ck_assert_uint_eq(json_array_size(json_object_get(root, "devices")), 1);
    ck_assert_str_eq(text_of(device_at(root, 0), "device"), "cpu");
    ck_assert(json_is_true(json_object_get(device_at(root, 0), "chosen_by_auto")));
    ck_assert_ptr_nonnull(strstr(text_of(root, "no_vulkan"), "while looking for devices"));
    json_decref(root);
}
END_TEST

static void knows_no_limits(VkPhysicalDeviceProperties2 *p)
{
    is_software(p);
    for (VkBaseOutStructure *at = p->pNext; at; at = at->pNext) {
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES)
            ((VkPhysicalDeviceVulkan11Properties *)(void *)at)->maxMemoryAllocationSize =
                UINT64_MAX;
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES)
            ((VkPhysicalDeviceVulkan13Properties *)(void *)at)->maxBufferSize = UINT64_MAX;
    }
}

START_TEST(endless_limits_stay_positive)
{
    spy.change = knows_no_limits;
    json_t *root = describe();
    const json_t *limits = json_object_get(device_at(root, 1), "limits");
    ck_assert(json_integer_value(json_object_get(limits, "allocation_bytes")) == INT64_MAX);
    json_decref(root);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("devices");
    tcase_add_test(tests, searches_that_fail);
    tcase_add_test(tests, cards_that_auto_does_not_look_for);
    tcase_add_test(tests, the_processor_is_listed_where_drivers_fail);
    tcase_add_test(tests, endless_limits_stay_positive);
    return run_vulkan("devices", tests);
}
