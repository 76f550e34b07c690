// SPDX-License-Identifier: MIT
// vulkan/loader.c: the Vulkan loader, found at run time, and its functions. A machine without one
// is a machine without Vulkan devices, which is no failure.
#include "vulkan/vk.h"

#include <dlfcn.h>

#define ASKED_API VK_API_VERSION_1_3 // the newest whose structures list.c knows
#define NEEDED_API VK_API_VERSION_1_2

static char *say(sl_ctx *ctx, sl_status *st, const char *clause, const char *detail)
{
    char *reason = sl_format(ctx, clause, detail);
    if (!reason)
        *st = SL_ERR_NOMEM;
    return reason;
}

static PFN_vkVoidFunction find(const sl_vk_loader *l, const char *name, const char **missing)
{
    PFN_vkVoidFunction found = l->vkGetInstanceProcAddr(l->instance, name);
    if (!found)
        *missing = name;
    return found;
}

static bool open_library(sl_vk_loader *l)
{
    static const char *const names[] = { "libvulkan.so.1", "libvulkan.so" };
    for (size_t i = 0; i < SL_ARRAY_LEN(names) && !l->library; i++)
        l->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!l->library)
        return false;
    // ISO C has no cast from an object's address to a function's; POSIX makes them alike.
    void *entry = dlsym(l->library, "vkGetInstanceProcAddr");
    memcpy(&l->vkGetInstanceProcAddr, &entry, sizeof(entry));
    return entry != NULL;
}

// NULL, or the name of a function that is missing.
static const char *find_global(sl_vk_loader *l)
{
    const char *missing = NULL;
#define SL_VK_FIND(name) l->name = (PFN_##name)find(l, #name, &missing);
    SL_VK_GLOBAL_FUNCTIONS(SL_VK_FIND)
    return missing;
}

static const char *find_instance(sl_vk_loader *l)
{
    const char *missing = NULL;
    SL_VK_INSTANCE_FUNCTIONS(SL_VK_FIND)
#undef SL_VK_FIND
    return missing;
}

static VkResult make_instance(sl_vk_loader *l)
{
    VkApplicationInfo application = { .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                      .pApplicationName = "softlens",
                                      .pEngineName = "softlens",
                                      .apiVersion = ASKED_API };
    VkInstanceCreateInfo info = { .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                  .pApplicationInfo = &application };
    VkResult result = l->vkCreateInstance(&info, NULL, &l->instance);
    if (result == VK_SUCCESS)
        sl_vk_count_object(1);
    else
        l->instance = VK_NULL_HANDLE;
    return result;
}

// What keeps this loader from serving, as a clause; NULL when it serves.
static char *connect(sl_ctx *ctx, sl_vk_loader *l, sl_status *st)
{
    if (!open_library(l))
        return say(ctx, st, "no Vulkan loader (%s) is installed", "libvulkan.so.1");
    const char *missing = find_global(l);
    uint32_t version = 0;
    if (missing) // the first of them came with Vulkan 1.1
        return say(ctx, st, "the Vulkan loader is too old: it lacks %s", missing);
    if (l->vkEnumerateInstanceVersion(&version) != VK_SUCCESS || version < NEEDED_API)
        return say(ctx, st, "the Vulkan loader is older than Vulkan %s", "1.2");
    VkResult result = make_instance(l);
    if (result == VK_ERROR_OUT_OF_HOST_MEMORY) {
        *st = sl_vk_fail(ctx, result, "starting Vulkan");
        return NULL;
    }
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
        return say(ctx, st, "no %s driver is installed", "Vulkan");
    if (result != VK_SUCCESS)
        return say(ctx, st, "Vulkan does not start (%s)", sl_vk_result_name(result));
    missing = find_instance(l);
    return missing ? say(ctx, st, "the Vulkan loader lacks %s", missing) : NULL;
}

sl_status sl_vk_loader_open(sl_ctx *ctx, sl_vk_loader *out, char **reason)
{
    sl_status st = SL_OK;
    *out = (sl_vk_loader) { 0 };
    *reason = connect(ctx, out, &st);
    if (*reason || st != SL_OK)
        sl_vk_loader_close(out);
    return st;
}

void sl_vk_loader_close(sl_vk_loader *loader)
{
    // Where this very function is missing, the instance stays: there is no other way to end it.
    if (loader->instance && loader->vkDestroyInstance) {
        loader->vkDestroyInstance(loader->instance, NULL);
        sl_vk_count_object(-1);
    }
    if (loader->library)
        dlclose(loader->library);
    *loader = (sl_vk_loader) { 0 };
}

const char *sl_vk_result_name(VkResult result)
{
    switch (result) {
#define SL_VK_RESULT(name)                                                                         \
    case name:                                                                                     \
        return #name;
        SL_VK_RESULT(VK_SUCCESS)
        SL_VK_RESULT(VK_NOT_READY)
        SL_VK_RESULT(VK_TIMEOUT)
        SL_VK_RESULT(VK_INCOMPLETE)
        SL_VK_RESULT(VK_ERROR_OUT_OF_HOST_MEMORY)
        SL_VK_RESULT(VK_ERROR_OUT_OF_DEVICE_MEMORY)
        SL_VK_RESULT(VK_ERROR_INITIALIZATION_FAILED)
        SL_VK_RESULT(VK_ERROR_DEVICE_LOST)
        SL_VK_RESULT(VK_ERROR_MEMORY_MAP_FAILED)
        SL_VK_RESULT(VK_ERROR_LAYER_NOT_PRESENT)
        SL_VK_RESULT(VK_ERROR_EXTENSION_NOT_PRESENT)
        SL_VK_RESULT(VK_ERROR_FEATURE_NOT_PRESENT)
        SL_VK_RESULT(VK_ERROR_INCOMPATIBLE_DRIVER)
        SL_VK_RESULT(VK_ERROR_TOO_MANY_OBJECTS)
        SL_VK_RESULT(VK_ERROR_FRAGMENTED_POOL)
        SL_VK_RESULT(VK_ERROR_UNKNOWN)
        SL_VK_RESULT(VK_ERROR_OUT_OF_POOL_MEMORY)
        SL_VK_RESULT(VK_ERROR_FRAGMENTATION)
#undef SL_VK_RESULT
    default:
        return "VkResult";
    }
}

sl_status sl_vk_fail(sl_ctx *ctx, VkResult result, const char *doing)
{
    const char *name = sl_vk_result_name(result);
    switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory while %s (%s)", doing, name);
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_MEMORY_MAP_FAILED: // no room among the process's addresses
    case VK_ERROR_TOO_MANY_OBJECTS:
    case VK_ERROR_OUT_OF_POOL_MEMORY:
    case VK_ERROR_FRAGMENTED_POOL:
    case VK_ERROR_FRAGMENTATION:
        return sl_fail(ctx, SL_ERR_NOMEM,
                       "the Vulkan device's memory is exhausted while %s (%s); allow less memory, "
                       "or compute on the cpu",
                       doing, name);
    case VK_ERROR_DEVICE_LOST:
        return sl_fail(ctx, SL_ERR_DEVICE,
                       "the Vulkan device was lost while %s (%s); try again, or compute on the cpu",
                       doing, name);
    case VK_TIMEOUT:
        return sl_fail(ctx, SL_ERR_DEVICE,
                       "the Vulkan device gave no answer in time while %s (%s); allow less memory, "
                       "or compute on the cpu",
                       doing, name);
    default:
        return sl_fail(ctx, SL_ERR_DEVICE,
                       "Vulkan failed while %s (%s, %d); try another device or the cpu", doing,
                       name, (int)result);
    }
}
