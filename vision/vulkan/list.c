// SPDX-License-Identifier: MIT
// vulkan/list.c: what devices there are, what they can, and why one cannot serve.
#include "vulkan/vk.h"

#include <stdarg.h>

// What every kernel and plan may count on; less is a reason to refuse. Desktop drivers and lavapipe
// have all of it.
#define NEED_API VK_API_VERSION_1_2
#define NEED_BUFFER_RANGE ((uint64_t)128 << 20)
#define NEED_SHARED_BYTES (16u << 10)
#define NEED_INVOCATIONS 256u

#define MAX_DEVICES 64

static sl_vk_type type_of(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return SL_VK_DISCRETE;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return SL_VK_INTEGRATED;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return SL_VK_VIRTUAL;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return SL_VK_SOFTWARE;
    default:
        return SL_VK_OTHER;
    }
}

// Drivers name themselves, and such names end up in sentences and JSON: printable ASCII only.
void sl_vk_keep_printable(char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
}

uint32_t sl_vk_compute_family(const sl_vk_loader *loader, VkPhysicalDevice physical,
                              uint32_t *timestamp_bits)
{
    VkQueueFamilyProperties families[32];
    uint32_t count = SL_ARRAY_LEN(families);
    loader->vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
    for (uint32_t i = 0; i < count; i++) {
        if (!(families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) || families[i].queueCount == 0)
            continue;
        if (timestamp_bits)
            *timestamp_bits = families[i].timestampValidBits;
        return i;
    }
    return UINT32_MAX;
}

sl_status sl_vk_extensions_new(sl_ctx *ctx, const sl_vk_loader *loader, VkPhysicalDevice physical,
                               sl_vk_extensions *out)
{
    uint32_t count = 0;
    *out = (sl_vk_extensions) { 0 };
    if (loader->vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL) != VK_SUCCESS)
        return SL_OK;
    out->all = sl_alloc(ctx, count, sizeof(*out->all));
    if (!out->all)
        return SL_ERR_NOMEM;
    if (loader->vkEnumerateDeviceExtensionProperties(physical, NULL, &count, out->all) ==
        VK_SUCCESS)
        out->count = count;
    return SL_OK;
}

bool sl_vk_is_offered(const sl_vk_extensions *offered, const char *name)
{
    for (uint32_t i = 0; i < offered->count; i++)
        if (strcmp(offered->all[i].extensionName, name) == 0)
            return true;
    return false;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void fill_limits(sl_vk_info *info, const VkPhysicalDeviceLimits *l)
{
    sl_vk_limits *out = &info->limits;
    out->buffer_range = l->maxStorageBufferRange;
    out->alignment = (uint32_t)l->minStorageBufferOffsetAlignment;
    out->allocations = l->maxMemoryAllocationCount;
    out->shared_bytes = l->maxComputeSharedMemorySize;
    out->push_bytes = l->maxPushConstantsSize;
    out->storage_buffers = (uint32_t)smaller(
        smaller(l->maxPerStageDescriptorStorageBuffers, l->maxDescriptorSetStorageBuffers),
        l->maxPerStageResources);
    out->invocations = l->maxComputeWorkGroupInvocations;
    memcpy(out->group_size, l->maxComputeWorkGroupSize, sizeof(out->group_size));
    memcpy(out->group_count, l->maxComputeWorkGroupCount, sizeof(out->group_count));
}

static void fill_memory(sl_vk_info *info, const sl_vk_loader *loader, VkPhysicalDevice physical)
{
    VkPhysicalDeviceMemoryProperties memory;
    loader->vkGetPhysicalDeviceMemoryProperties(physical, &memory);
    for (uint32_t i = 0; i < memory.memoryHeapCount; i++)
        if ((memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) &&
            memory.memoryHeaps[i].size > info->memory_bytes)
            info->memory_bytes = memory.memoryHeaps[i].size;
}

// What only a device of 1.2 can be asked.
static void fill_modern(sl_vk_info *info, const sl_vk_loader *loader, VkPhysicalDevice physical)
{
    VkPhysicalDeviceDriverProperties driver = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES
    };
    VkPhysicalDeviceVulkan11Properties v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &driver
    };
    VkPhysicalDeviceVulkan13Properties v13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES
    };
    if (info->api_version >= VK_API_VERSION_1_3)
        driver.pNext = &v13;
    VkPhysicalDeviceProperties2 properties = { .sType =
                                                   VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                               .pNext = &v11 };
    loader->vkGetPhysicalDeviceProperties2(physical, &properties);
    snprintf(info->driver, sizeof(info->driver), "%s %s", driver.driverName, driver.driverInfo);
    sl_vk_keep_printable(info->driver);
    for (size_t i = 0; i < VK_UUID_SIZE; i++) {
        snprintf(info->uuid + 2 * i, 3, "%02x", v11.deviceUUID[i]);
        snprintf(info->driver_uuid + 2 * i, 3, "%02x", v11.driverUUID[i]);
    }
    info->limits.allocation = v11.maxMemoryAllocationSize;
    if (v13.maxBufferSize) // our allocations hold one buffer each
        info->limits.allocation = smaller(info->limits.allocation, v13.maxBufferSize);
    info->limits.subgroup = v11.subgroupSize;

    VkPhysicalDeviceVulkan12Features f12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES
    };
    VkPhysicalDeviceVulkan11Features f11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &f12
    };
    VkPhysicalDeviceFeatures2 features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                           .pNext = &f11 };
    loader->vkGetPhysicalDeviceFeatures2(physical, &features);
    info->f16 = f12.shaderFloat16 && f11.storageBuffer16BitAccess;
}

SL_PRINTF(2, 3) static void refuse(sl_vk_info *info, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(info->refusal, sizeof(info->refusal), format, args);
    va_end(args);
}

static void judge(sl_vk_info *info, bool has_queue)
{
    const sl_vk_limits *l = &info->limits;
    if (info->api_version < NEED_API)
        refuse(info, "it speaks Vulkan %u.%u, and 1.2 is needed",
               VK_API_VERSION_MAJOR(info->api_version), VK_API_VERSION_MINOR(info->api_version));
    else if (!has_queue)
        refuse(info, "it has no queue that computes");
    else if (l->buffer_range < NEED_BUFFER_RANGE)
        refuse(info, "a buffer of it reaches %llu MiB, and 128 are needed",
               (unsigned long long)(l->buffer_range >> 20));
    else if (l->storage_buffers < SL_VK_MAX_BUFFERS)
        refuse(info, "its kernels may use %u buffers, and %d are needed", l->storage_buffers,
               SL_VK_MAX_BUFFERS);
    else if (l->push_bytes < SL_VK_MAX_PUSH)
        refuse(info, "it has %u bytes of push constants, and %d are needed", l->push_bytes,
               SL_VK_MAX_PUSH);
    else if (l->shared_bytes < NEED_SHARED_BYTES)
        refuse(info, "its workgroups share %u bytes, and %u are needed", l->shared_bytes,
               NEED_SHARED_BYTES);
    else if (l->invocations < NEED_INVOCATIONS || l->group_size[0] < NEED_INVOCATIONS)
        refuse(info, "its workgroups have %u invocations, and %u are needed",
               (uint32_t)smaller(l->invocations, l->group_size[0]), NEED_INVOCATIONS);
}

static void describe(const sl_vk_loader *loader, VkPhysicalDevice physical, uint32_t index,
                     sl_vk_info *info)
{
    VkPhysicalDeviceProperties2 properties = { .sType =
                                                   VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2 };
    loader->vkGetPhysicalDeviceProperties2(physical, &properties);
    const VkPhysicalDeviceProperties *p = &properties.properties;
    *info = (sl_vk_info) { .index = index,
                           .type = type_of(p->deviceType),
                           .vendor = p->vendorID,
                           .device = p->deviceID,
                           .driver_version = p->driverVersion,
                           .api_version = p->apiVersion };
    snprintf(info->name, sizeof(info->name), "%s", p->deviceName);
    sl_vk_keep_printable(info->name);
    fill_limits(info, &p->limits);
    fill_memory(info, loader, physical);
    if (info->api_version >= NEED_API)
        fill_modern(info, loader, physical);
    uint32_t timestamp_bits = 0;
    bool has_queue = sl_vk_compute_family(loader, physical, &timestamp_bits) != UINT32_MAX;
    info->timestamps = timestamp_bits > 0 && p->limits.timestampPeriod > 0;
    judge(info, has_queue);
}

sl_status sl_vk_enumerate(sl_ctx *ctx, const sl_vk_loader *loader, VkPhysicalDevice **handles,
                          sl_vk_info **infos, size_t *count)
{
    uint32_t found = MAX_DEVICES;
    *infos = NULL;
    *count = 0;
    *handles = sl_alloc(ctx, MAX_DEVICES, sizeof(**handles));
    if (!*handles)
        return SL_ERR_NOMEM;
    VkResult result = loader->vkEnumeratePhysicalDevices(loader->instance, &found, *handles);
    sl_status st = SL_OK;
    // A loader may start without a driver and say so only here: then there are none.
    if (result == VK_ERROR_INITIALIZATION_FAILED || result == VK_ERROR_INCOMPATIBLE_DRIVER)
        found = 0;
    else if (result != VK_SUCCESS && result != VK_INCOMPLETE) // more than MAX_DEVICES
        st = sl_vk_fail(ctx, result, "looking for devices");
    if (st == SL_OK && found > 0 && !(*infos = sl_alloc(ctx, found, sizeof(**infos))))
        st = SL_ERR_NOMEM;
    if (st != SL_OK || found == 0) {
        free(*handles);
        *handles = NULL;
        return st;
    }
    for (uint32_t i = 0; i < found && st == SL_OK; i++) {
        describe(loader, (*handles)[i], i, &(*infos)[i]);
        st = sl_vk_matrix_find(ctx, loader, (*handles)[i], &(*infos)[i]);
    }
    *count = found;
    return st;
}

sl_status sl_vk_search_new(sl_ctx *ctx, sl_vk_search *out)
{
    *out = (sl_vk_search) { .running = sl_alloc(ctx, 1, sizeof(*out->running)) };
    if (!out->running)
        return SL_ERR_NOMEM;
    sl_vk_loader *loader = &out->running->loader;
    sl_status st = sl_vk_loader_open(ctx, loader, &out->reason);
    if (st == SL_OK && loader->instance)
        st = sl_vk_enumerate(ctx, loader, &out->running->handles, &out->infos, &out->count);
    if (st == SL_OK && out->count == 0 && !out->reason)
        out->reason = sl_strdup(ctx, "no Vulkan driver finds a device");
    if (st == SL_OK && out->count == 0 && !out->reason)
        st = SL_ERR_NOMEM;
    if (st != SL_OK)
        sl_vk_search_free(out);
    return st;
}

void sl_vk_search_free(sl_vk_search *search)
{
    if (search->running) {
        free(search->running->handles);
        sl_vk_loader_close(&search->running->loader);
    }
    free(search->running);
    free(search->infos);
    free(search->reason);
    *search = (sl_vk_search) { 0 };
}

sl_status sl_vk_list(sl_ctx *ctx, sl_vk_info **out, size_t *count, char **reason)
{
    sl_vk_search search;
    sl_status st = sl_vk_search_new(ctx, &search);
    *out = search.infos;
    *count = search.count;
    search.infos = NULL;
    if (reason) {
        *reason = search.reason;
        search.reason = NULL;
    }
    sl_vk_search_free(&search);
    return st;
}
