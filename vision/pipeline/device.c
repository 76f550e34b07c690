// SPDX-License-Identifier: MIT
// pipeline/device.c: a device by its name, opened once for all the plans of a caller. A new backend
// adds a branch here.
#include "pipeline/pipeline.h"

#include "vulkan/vulkan.h"

struct sl_device {
    sl_ctx *ctx;
    sl_cpu_weights *weights; // of the CPU, shared by its plans
    sl_vk_device *vulkan;    // NULL: the CPU computes
};

// "auto" is the CPU: a GPU computes where it is asked for.
static bool is_cpu(const char *name)
{
    return !name || strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0;
}

// "vulkan", "vulkan:N", or what can only be a UUID.
static bool is_vulkan(const char *name)
{
    size_t length = strlen(name);
    return strcmp(name, "vulkan") == 0 || strncmp(name, "vulkan:", 7) == 0 ||
           (length >= 32 && strspn(name, "0123456789abcdefABCDEF-") == length);
}

static sl_status fail_unknown(sl_ctx *ctx, const char *name)
{
    sl_vk_info *infos = NULL;
    size_t count = 0;
    char *reason = NULL, list[1600] = "";
    sl_status st = sl_vk_list(ctx, &infos, &count, &reason);
    if (st != SL_OK)
        goto done;
    size_t used = 0;
    for (size_t i = 0; i < count && used < sizeof(list); i++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, ", vulkan:%u %s", infos[i].index,
                                 infos[i].name);
    if (count == 0)
        snprintf(list, sizeof(list), " (%s)", reason);
    st = sl_fail(ctx, SL_ERR_ARGUMENT, "unknown device \"%.64s\"; the devices are: auto, cpu%s",
                 name, list);
done:
    free(infos);
    free(reason);
    return st;
}

sl_status sl_device_open(sl_ctx *ctx, const char *name, sl_device **out)
{
    *out = NULL;
    if (!is_cpu(name) && !is_vulkan(name))
        return fail_unknown(ctx, name);
    sl_device *device = sl_alloc(ctx, 1, sizeof(*device));
    if (!device)
        return SL_ERR_NOMEM;
    device->ctx = ctx;
    sl_status st = is_cpu(name) ? sl_cpu_weights_new(ctx, &device->weights)
                                : sl_vk_open(ctx, name, &device->vulkan);
    if (st != SL_OK) {
        sl_device_close(device);
        return st;
    }
    *out = device;
    return SL_OK;
}

void sl_device_close(sl_device *device)
{
    if (!device)
        return;
    sl_vk_close(device->vulkan);
    sl_cpu_weights_free(device->weights);
    free(device);
}

bool sl_device_is_cpu(const sl_device *device)
{
    return !device->vulkan;
}

sl_status sl_device_memory(const sl_device *device, const sl_graph *graph, size_t *out)
{
    return device->vulkan ? sl_vk_memory(device->ctx, device->vulkan, graph, SL_F32, out)
                          : sl_cpu_memory(device->ctx, graph, out);
}

sl_status sl_device_compile(sl_device *device, const sl_graph *graph, sl_plan **out)
{
    *out = NULL;
    return device->vulkan ? sl_vk_compile(device->ctx, device->vulkan, graph, SL_F32, out)
                          : sl_cpu_compile(device->ctx, graph, device->weights, out);
}
