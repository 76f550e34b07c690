// SPDX-License-Identifier: MIT
// tests/vulkan/device.c: which devices there are, by which names they open, and why they do not.
#include "run.h"

#include "pipeline/pipeline.h"

#include <ctype.h>

static sl_vk_info first; // what vulkan:0 is here

static size_t list(void)
{
    sl_vk_info *infos;
    size_t count;
    char *reason;
    ck_ok(sl_vk_list(ctx, &infos, &count, &reason));
    ck_assert((count == 0) == (reason != NULL) && (count == 0) == (infos == NULL));
    if (count)
        first = infos[0];
    free(reason);
    free(infos);
    return count;
}

static void open_and_close(const char *name)
{
    sl_vk_device *d;
    ck_ok(sl_vk_open(ctx, name, &d));
    ck_assert_uint_gt(sl_vk_live_objects(), 0);
    ck_assert_uint_eq(strlen(sl_vk_device_info(d)->uuid), 32);
    ck_assert_str_eq(sl_vk_device_info(d)->refusal, "");
    sl_vk_close(d);
    ck_assert_uint_eq(sl_vk_live_objects(), 0);
}

START_TEST(devices_are_listed)
{
    sl_vk_info *infos;
    size_t count;
    ck_ok(sl_vk_list(ctx, &infos, &count, NULL));
    ck_assert_uint_gt(count, 0);
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_eq(infos[i].index, i);
        ck_assert_str_ne(infos[i].name, "");
        if (*infos[i].refusal)
            continue;
        ck_assert_uint_eq(strspn(infos[i].uuid, "0123456789abcdef"), 32);
        ck_assert_uint_gt(infos[i].memory_bytes, 0);
        ck_assert_uint_ge(infos[i].limits.buffer_range, 128u << 20);
        ck_assert_uint_ge(infos[i].limits.allocation, 128u << 20);
        ck_assert_uint_ge(infos[i].limits.invocations, 256);
        ck_assert_uint_le(infos[i].limits.alignment, 256);
    }
    free(infos);
}
END_TEST

START_TEST(opens_by_every_name)
{
    char dashed[64] = "", *end = dashed;
    ck_assert_uint_gt(list(), 0);
    open_and_close("vulkan");
    open_and_close("vulkan:0");
    open_and_close("vulkan:00");
    open_and_close(first.uuid);
    for (size_t i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *end++ = '-';
        *end++ = (char)toupper((unsigned char)first.uuid[i]);
    }
    *end = '\0';
    open_and_close(dashed);
    sl_vk_close(NULL);
}
END_TEST

START_TEST(several_at_once)
{
    sl_vk_device *a, *b;
    ck_ok(sl_vk_open(ctx, "vulkan", &a));
    size_t one = sl_vk_live_objects();
    ck_ok(sl_vk_open(ctx, "vulkan", &b));
    ck_assert_uint_eq(sl_vk_live_objects(), 2 * one);
    sl_vk_close(a);
    ck_assert_uint_eq(sl_vk_live_objects(), one);
    sl_vk_close(b);
}
END_TEST

START_TEST(unknown_names_are_refused)
{
    static const char *const names[] = {
        "vulkan:9999",
        "vulkan:99999999999999999999999",
        "vulkan:",
        "vulkan:-1",
        "vulkan:+0",
        "vulkan: 0",
        "vulkan:0x0",
        "vulkan:0 ",
        "Vulkan",
        "",
        "ffffffffffffffffffffffffffffffff",
        "ffffffff-ffff-ffff-ffff-ffffffffffff-",
        "--------------------------------",
        "%s%n",
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
        sl_vk_device *d;
        ck_fails(sl_vk_open(ctx, names[i], &d), SL_ERR_ARGUMENT,
                 "the Vulkan devices are: vulkan:0 ");
        ck_assert_ptr_null(d);
    }
    char longer[64];
    list();
    snprintf(longer, sizeof(longer), "%s0", first.uuid);
    sl_vk_device *d;
    ck_fails(sl_vk_open(ctx, longer, &d), SL_ERR_ARGUMENT, "unknown device");
    snprintf(longer, sizeof(longer), "%.31s", first.uuid);
    ck_fails(sl_vk_open(ctx, longer, &d), SL_ERR_ARGUMENT, "unknown device");
}
END_TEST

// ---- worse devices

static void is_old(VkPhysicalDeviceProperties2 *p)
{
    p->properties.apiVersion = VK_API_VERSION_1_1;
}
static void has_short_buffers(VkPhysicalDeviceProperties2 *p)
{
    p->properties.limits.maxStorageBufferRange = (128u << 20) - 1;
}
static void has_few_buffers(VkPhysicalDeviceProperties2 *p)
{
    p->properties.limits.maxPerStageDescriptorStorageBuffers = 4;
}
static void has_few_push_bytes(VkPhysicalDeviceProperties2 *p)
{
    p->properties.limits.maxPushConstantsSize = 64;
}
static void shares_little(VkPhysicalDeviceProperties2 *p)
{
    p->properties.limits.maxComputeSharedMemorySize = 8192;
}
static void has_small_groups(VkPhysicalDeviceProperties2 *p)
{
    p->properties.limits.maxComputeWorkGroupInvocations = 128;
}

START_TEST(weak_devices_are_refused)
{
    static const struct {
        void (*change)(VkPhysicalDeviceProperties2 *);
        const char *refusal;
    } cases[] = {
        { is_old, "Vulkan 1.1" },         { has_short_buffers, "reaches 127 MiB" },
        { has_few_buffers, "4 buffers" }, { has_few_push_bytes, "64 bytes of push" },
        { shares_little, "8192 bytes" },  { has_small_groups, "128 invocations" },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_vk_device *d;
        spy.change = cases[i].change;
        ck_assert_uint_gt(list(), 0);
        ck_assert_msg(strstr(first.refusal, cases[i].refusal), "%s", first.refusal);
        ck_fails(sl_vk_open(ctx, "vulkan:0", &d), SL_ERR_DEVICE, cases[i].refusal);
        ck_fails(sl_vk_open(ctx, "vulkan", &d), SL_ERR_DEVICE, cases[i].refusal);
        ck_assert_uint_eq(sl_vk_live_objects(), 0);
    }
}
END_TEST

// Such a device computes, in f32; who asks it for f16 is told.
START_TEST(f16_is_refused_where_there_is_none)
{
    sl_device *device;
    spy.no_f16 = true;
    list();
    ck_assert(!first.f16 && !*first.refusal);
    ck_ok(sl_device_open(ctx, "vulkan:0", &device));
    ck_ok(sl_device_set_precision(device, SL_PRECISION_F32));
    ck_fails(sl_device_set_precision(device, SL_PRECISION_F16), SL_ERR_ARGUMENT, "has no f16");
    ck_assert_int_eq(sl_device_precision(device), SL_PRECISION_F32);
    sl_device_close(device);
    spy.no_f16 = false;
    if (list() && first.f16) {
        ck_ok(sl_device_open(ctx, "vulkan:0", &device));
        ck_ok(sl_device_set_precision(device, SL_PRECISION_F16));
        ck_assert_int_eq(sl_device_precision(device), SL_PRECISION_F16);
        sl_device_close(device);
    }
}
END_TEST

// A kernel reads the extent as f32, which an input that nothing else reads stays.
START_TEST(extents_are_inputs_in_f16)
{
    static const float sizes[4];
    static const sl_tensor anchor = { "a", SL_F32, { 2, { 1, 2 } }, (void *)sizes, 8 };
    static const sl_tensor matrix = { "w", SL_F32, { 2, { 2, 2 } }, (void *)sizes, 16 };
    static const sl_tensor bias = { "b", SL_F32, { 1, { 2 } }, (void *)sizes, 8 };
    const sl_tensor *layer[] = { &matrix, &bias }, *anchors[] = { &anchor };
    sl_vk_device *d;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    for (int made = 0; made < 2 && d->info.f16; made++) {
        sl_graph *g;
        size_t bytes;
        ck_ok(sl_graph_new(ctx, &g));
        sl_value cls = sl_graph_input(g, "cls", &(sl_shape) { 3, { 2, 2, 1 } });
        sl_value reg = sl_graph_input(g, "reg", &(sl_shape) { 3, { 2, 2, 4 } });
        sl_value extent = sl_graph_input(g, "extent", &(sl_shape) { 1, { 2 } });
        if (made)
            extent = sl_graph_add(g, SL_OP_LINEAR, "made", NULL,
                                  (sl_value[SL_MAX_INPUTS]) { extent }, layer, 2);
        sl_graph_output(g,
                        sl_graph_add(g, SL_OP_CANDIDATES, "boxes",
                                     &(sl_attr) { .stride = 4, .threshold = 0.5f, .limit = 4 },
                                     (sl_value[SL_MAX_INPUTS]) { cls, reg, extent }, anchors, 1),
                        "rows");
        ck_ok(g->status);
        if (made)
            ck_fails(sl_vk_memory(ctx, d, g, SL_F16, &bytes), SL_ERR_UNSUPPORTED, "extent");
        else
            ck_ok(sl_vk_memory(ctx, d, g, SL_F16, &bytes));
        sl_graph_free(g);
    }
    sl_vk_close(d);
}
END_TEST

// The atomics of other kernels want it as soon as the memory model of matrix units is enabled.
// Where the driver has no such units there is nothing to refuse.
START_TEST(matrix_units_want_device_scope)
{
    spy.no_device_scope = true;
    list();
    ck_assert_uint_eq(first.matrix.m, 0);
    ck_assert_str_eq(first.refusal, "");
    open_and_close("vulkan:0");
}
END_TEST

static void has_strange_name(VkPhysicalDeviceProperties2 *p)
{
    snprintf(p->properties.deviceName, sizeof(p->properties.deviceName), "A\n\x1b[31m\xff%%s");
    p->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

START_TEST(names_become_printable)
{
    spy.change = has_strange_name;
    list();
    ck_assert_str_eq(first.name, "A??[31m?%s");
    ck_assert_str_eq(sl_vk_type_name(first.type), "discrete");
}
END_TEST

// Results cannot depend on the size of subgroups, which differs from 4 to 128: no kernel knows of
// them, but those whose pipelines ask for the size that they count on.
START_TEST(no_other_kernel_knows_subgroups)
{
    for (int k = 0; k < SL_VK_KERNEL_COUNT; k++) {
        const sl_vk_shader *shader = sl_vk_shader_get((sl_vk_kernel)k);
        size_t words = shader->bytes / sizeof(uint32_t);
        for (size_t i = 5; i < words; i += shader->code[i] >> 16) { // behind SPIR-V's header
            ck_assert_msg(shader->code[i] >> 16, "%s: word %zu", shader->name, i);
            bool is_capability = (shader->code[i] & 0xffff) == 17;
            uint32_t what = is_capability ? shader->code[i + 1] : 0; // GroupNonUniform, and kinds
            ck_assert_msg(what < 61 || what > 68 || shader->by_subgroup, "%s has capability %u",
                          shader->name, what);
        }
    }
}
END_TEST

// ---- no devices

static void check_none(const char *part)
{
    sl_vk_info *infos;
    size_t count;
    char *reason;
    sl_vk_device *d;
    ck_ok(sl_vk_list(ctx, &infos, &count, &reason));
    ck_assert_uint_eq(count, 0);
    ck_assert_ptr_null(infos);
    ck_assert_msg(strstr(reason, part), "%s", reason);
    free(reason);
    ck_ok(sl_vk_list(ctx, &infos, &count, NULL));
    ck_fails(sl_vk_open(ctx, "vulkan", &d), SL_ERR_ARGUMENT, part);
    ck_fails(sl_vk_open(ctx, "vulkan:0", &d), SL_ERR_ARGUMENT, "compute on the cpu");
    ck_assert_ptr_null(d);
    ck_assert_uint_eq(sl_vk_live_objects(), 0);
}

START_TEST(no_driver)
{
    setenv("VK_DRIVER_FILES", "/nonexistent", 1);
    setenv("VK_ICD_FILENAMES", "/nonexistent", 1);
    unsetenv("VK_INSTANCE_LAYERS"); // a layer may answer in a driver's place
    check_none("driver");
}
END_TEST

START_TEST(no_loader)
{
    spy.library = "";
    check_none("no Vulkan loader");
}
END_TEST

START_TEST(another_library)
{
    spy.library = "libm.so.6";
    check_none("no Vulkan loader");
}
END_TEST

START_TEST(functions_are_missing)
{
    spy.missing = "vkEnumerateInstanceVersion";
    check_none("too old");
    spy.missing = "vkGetPhysicalDeviceFeatures2";
    check_none("lacks vkGetPhysicalDeviceFeatures2");
    spy.missing = "vkCmdDispatchIndirect";
    sl_vk_device *d;
    ck_fails(sl_vk_open(ctx, "vulkan", &d), SL_ERR_DEVICE, "lacks vkCmdDispatchIndirect");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("device");
    tcase_add_test(tests, devices_are_listed);
    tcase_add_test(tests, opens_by_every_name);
    tcase_add_test(tests, several_at_once);
    tcase_add_test(tests, unknown_names_are_refused);
    tcase_add_test(tests, weak_devices_are_refused);
    tcase_add_test(tests, f16_is_refused_where_there_is_none);
    tcase_add_test(tests, extents_are_inputs_in_f16);
    tcase_add_test(tests, matrix_units_want_device_scope);
    tcase_add_test(tests, no_other_kernel_knows_subgroups);
    tcase_add_test(tests, names_become_printable);
    tcase_add_test(tests, no_driver);
    tcase_add_test(tests, no_loader);
    tcase_add_test(tests, another_library);
    tcase_add_test(tests, functions_are_missing);
    return run_vulkan("vulkan-device", tests);
}
