// SPDX-License-Identifier: MIT
// vulkan/device.c: one device, found by its name and opened; and the count of what is alive.
#include "vulkan/vk.h"

#include <ctype.h>
#include <math.h>
#include <stdatomic.h>

// Of the whole process: that is what the tests ask about.
static atomic_int live_objects;

void sl_vk_count_object(int change)
{
    atomic_fetch_add_explicit(&live_objects, change, memory_order_relaxed);
}

size_t sl_vk_live_objects(void)
{
    return (size_t)atomic_load_explicit(&live_objects, memory_order_relaxed);
}

// The best comes first: by type, then by memory, then as the loader has them.
static bool is_better(const sl_vk_info *a, const sl_vk_info *b)
{
    static const int rank[] = { [SL_VK_DISCRETE] = 0,
                                [SL_VK_INTEGRATED] = 1,
                                [SL_VK_VIRTUAL] = 2,
                                [SL_VK_OTHER] = 3,
                                [SL_VK_SOFTWARE] = 4 };
    if (rank[a->type] != rank[b->type])
        return rank[a->type] < rank[b->type];
    return a->memory_bytes > b->memory_bytes;
}

size_t sl_vk_best(const sl_vk_info *infos, size_t count, bool real)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        bool is_real = infos[i].type != SL_VK_SOFTWARE && infos[i].type != SL_VK_OTHER;
        if (!*infos[i].refusal && (is_real || !real) &&
            (best == SIZE_MAX || is_better(&infos[i], &infos[best])))
            best = i;
    }
    return best;
}

// The N of "vulkan:N": digits alone, few enough not to overflow.
static bool read_index(const char *text, size_t *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 6 || text[digits])
        return false;
    *out = strtoul(text, NULL, 10);
    return true;
}

// 32 hexadecimal digits, with dashes wherever they are put, against lower-case ones.
static bool is_uuid(const char *text, const char *uuid)
{
    size_t digits = 0;
    for (; *text && digits <= 32; text++) {
        if (*text == '-')
            continue;
        if (digits == 32 || tolower((unsigned char)*text) != uuid[digits])
            return false;
        digits++;
    }
    return digits == 32 && strlen(uuid) == 32;
}

static size_t find(const sl_vk_info *infos, size_t count, const char *name)
{
    static const char prefix[] = "vulkan:";
    size_t index;
    if (strcmp(name, "vulkan") == 0)
        return sl_vk_best(infos, count, false);
    if (strncmp(name, prefix, strlen(prefix)) == 0)
        return read_index(name + strlen(prefix), &index) && index < count ? index : SIZE_MAX;
    for (size_t i = 0; i < count; i++)
        if (is_uuid(name, infos[i].uuid))
            return i;
    return SIZE_MAX;
}

// No such device, or none that can serve: a sentence with all there are.
static sl_status fail_unknown(sl_ctx *ctx, const sl_vk_search *search, const char *name)
{
    char list[SL_VK_TELL_BYTES];
    bool is_any = strcmp(name, "vulkan") == 0;
    if (search->count == 0)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "no device \"%.64s\": %s; compute on the cpu", name,
                       search->reason);
    sl_vk_tell_devices(search->infos, search->count, list, sizeof(list));
    return sl_fail(ctx, is_any ? SL_ERR_DEVICE : SL_ERR_ARGUMENT,
                   "%s \"%.64s\"; the Vulkan devices are: %s",
                   is_any ? "no fit device for" : "unknown device", name, list);
}

static const char *find_functions(sl_vk_device *d)
{
    const char *missing = NULL;
#define SL_VK_FIND(name)                                                                           \
    d->vk.name = (PFN_##name)d->loader.vkGetDeviceProcAddr(d->device, #name);                      \
    if (!d->vk.name)                                                                               \
        missing = #name;
    SL_VK_DEVICE_FUNCTIONS(SL_VK_FIND)
#undef SL_VK_FIND
    return missing;
}

static sl_status make_device(sl_ctx *ctx, sl_vk_device *d)
{
    const float priority = 1.0f;
    VkPhysicalDeviceVulkan12Features f12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .shaderFloat16 = d->info.f16,
    };
    VkPhysicalDeviceVulkan11Features f11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
        .pNext = &f12,
        .storageBuffer16BitAccess = d->info.f16,
    };
    VkDeviceQueueCreateInfo queue = { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                      .queueFamilyIndex = d->queue_family,
                                      .queueCount = 1,
                                      .pQueuePriorities = &priority };
    VkDeviceCreateInfo info = { .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                .pNext = &f11,
                                .queueCreateInfoCount = 1,
                                .pQueueCreateInfos = &queue };
    const char *clock, *extensions[2];
    sl_vk_matrix_chain chain;
    sl_status st = sl_vk_clock_extension(ctx, d, &clock);
    if (st != SL_OK)
        return st;
    const char *matrix = sl_vk_matrix_enable(&d->info, &chain, &f12);
    if (clock)
        extensions[info.enabledExtensionCount++] = clock;
    if (matrix)
        extensions[info.enabledExtensionCount++] = matrix;
    info.ppEnabledExtensionNames = extensions;
    VkResult result = d->loader.vkCreateDevice(d->physical, &info, NULL, &d->device);
    if (result != VK_SUCCESS) {
        d->device = VK_NULL_HANDLE;
        return sl_vk_fail(ctx, result, "opening the device");
    }
    sl_vk_count_object(1);
    const char *missing = find_functions(d);
    if (missing)
        return sl_fail(ctx, SL_ERR_DEVICE, "vulkan:%u %s: its driver lacks %s", d->info.index,
                       d->info.name, missing);
    d->vk.vkGetDeviceQueue(d->device, d->queue_family, 0, &d->queue);
    sl_vk_clock_open(d, clock);
    return SL_OK;
}

static sl_status make_helpers(sl_ctx *ctx, sl_vk_device *d)
{
    VkCommandPoolCreateInfo commands = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = d->queue_family,
    };
    VkResult result = d->vk.vkCreateCommandPool(d->device, &commands, NULL, &d->commands);
    if (result != VK_SUCCESS) {
        d->commands = VK_NULL_HANDLE;
        return sl_vk_fail(ctx, result, "making a command pool");
    }
    sl_vk_count_object(1);
    return sl_vk_fence_new(ctx, d, &d->fence);
}

// Two thirds of a second at 100 GFLOP/s, and at 400.
static double piece_macs_of(sl_vk_type type)
{
    if (type == SL_VK_SOFTWARE) // nobody watches it
        return HUGE_VAL;
    return type == SL_VK_DISCRETE ? 128e9 : 32e9;
}

static void examine(sl_vk_device *d)
{
    uint32_t bits = 0;
    VkPhysicalDeviceProperties2 properties = { .sType =
                                                   VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2 };
    d->loader.vkGetPhysicalDeviceMemoryProperties(d->physical, &d->memory);
    d->loader.vkGetPhysicalDeviceProperties2(d->physical, &properties);
    d->queue_family = sl_vk_compute_family(&d->loader, d->physical, &bits);
    if (d->info.timestamps) {
        d->timestamp_ns = (double)properties.properties.limits.timestampPeriod;
        d->timestamp_mask = bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    }
    d->piece_macs = piece_macs_of(d->info.type);
}

sl_status sl_vk_open_found(sl_ctx *ctx, sl_vk_search *search, size_t index, sl_vk_device **out)
{
    const sl_vk_info *info = &search->infos[index];
    *out = NULL;
    if (*info->refusal)
        return sl_fail(ctx, SL_ERR_DEVICE, "vulkan:%u %s cannot serve: %s", info->index, info->name,
                       info->refusal);
    sl_vk_device *d = sl_alloc(ctx, 1, sizeof(*d));
    if (!d)
        return SL_ERR_NOMEM;
    d->ctx = ctx;
    d->info = *info;
    d->physical = search->running->handles[index];
    d->loader = search->running->loader; // which is the device's from here
    free(search->running->handles);
    free(search->running);
    search->running = NULL;
    examine(d);
    sl_status st = make_device(ctx, d);
    if (st == SL_OK)
        st = make_helpers(ctx, d);
    if (st != SL_OK)
        goto done;
    sl_log(ctx, SL_LOG_DEBUG, "vulkan:%u is %s (%s, %s)", d->info.index, d->info.name,
           sl_vk_type_name(d->info.type), d->info.driver);
    *out = d;
    d = NULL;
done:
    sl_vk_close(d);
    return st;
}

sl_status sl_vk_open(sl_ctx *ctx, const char *name, sl_vk_device **out)
{
    sl_vk_search search;
    *out = NULL;
    sl_status st = sl_vk_search_new(ctx, &search);
    if (st != SL_OK)
        return st;
    size_t at = find(search.infos, search.count, name);
    st =
        at == SIZE_MAX ? fail_unknown(ctx, &search, name) : sl_vk_open_found(ctx, &search, at, out);
    sl_vk_search_free(&search);
    return st;
}

static void close_device(sl_vk_device *d)
{
    d->vk.vkDeviceWaitIdle(d->device); // all is idle already, or the device is lost
    sl_vk_weights_free(d);
    free(d->choices.choices);
    sl_vk_pipelines_free(d);
    sl_vk_buffer_free(d, &d->staging);
    free(d->blocks); // empty by now
    sl_vk_fence_free(d, &d->fence);
    if (d->commands) { // and with it the commands of uploads
        d->vk.vkDestroyCommandPool(d->device, d->commands, NULL);
        sl_vk_count_object(-1);
    }
    d->vk.vkDestroyDevice(d->device, NULL);
    sl_vk_count_object(-1);
}

void sl_vk_close(sl_vk_device *d)
{
    if (!d)
        return;
    // A driver that still works on our memory must keep it, and its code must stay loaded.
    if (sl_vk_settle(d)) {
        if (d->device && d->vk.vkDestroyDevice && d->vk.vkDeviceWaitIdle)
            close_device(d);
        sl_vk_loader_close(&d->loader);
    }
    free(d);
}

bool sl_vk_was_lost(const sl_vk_device *device)
{
    return device->is_lost;
}

const sl_vk_info *sl_vk_device_info(const sl_vk_device *device)
{
    return &device->info;
}
