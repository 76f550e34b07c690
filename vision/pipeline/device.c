// SPDX-License-Identifier: MIT
// pipeline/device.c: device names, and the backend behind each. A new backend adds a row here.
#include "pipeline/pipeline.h"

typedef struct device {
    const char *name;
    sl_status (*memory)(sl_ctx *ctx, const sl_graph *graph, size_t *out);
    sl_status (*compile)(sl_ctx *ctx, const sl_graph *graph, sl_cpu_weights *weights,
                         sl_plan **out);
} device;

// The first row is what "auto" means.
static const device devices[] = {
    { "cpu", sl_cpu_memory, sl_cpu_compile },
};

static const device *find(const char *name)
{
    if (!name || strcmp(name, "auto") == 0)
        return &devices[0];
    for (size_t i = 0; i < SL_ARRAY_LEN(devices); i++)
        if (strcmp(name, devices[i].name) == 0)
            return &devices[i];
    return NULL;
}

sl_status sl_device_check(sl_ctx *ctx, const char *name)
{
    if (find(name))
        return SL_OK;
    char list[256] = "auto";
    for (size_t i = 0; i < SL_ARRAY_LEN(devices); i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, ", %s", devices[i].name);
    }
    return sl_fail(ctx, SL_ERR_DEVICE, "unknown device \"%.64s\"; the devices are: %s", name, list);
}

sl_status sl_device_memory(sl_ctx *ctx, const char *name, const sl_graph *graph, size_t *out)
{
    sl_status st = sl_device_check(ctx, name);
    return st != SL_OK ? st : find(name)->memory(ctx, graph, out);
}

sl_status sl_device_compile(sl_ctx *ctx, const char *name, const sl_graph *graph,
                            sl_cpu_weights *weights, sl_plan **out)
{
    *out = NULL;
    sl_status st = sl_device_check(ctx, name);
    return st != SL_OK ? st : find(name)->compile(ctx, graph, weights, out);
}
