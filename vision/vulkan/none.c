// SPDX-License-Identifier: MIT
// vulkan/none.c: what stands in for the backend in a build without Vulkan: there are no devices.
#include "vulkan/vulkan.h"

static const char reason_none[] = "softlens was built without Vulkan";

bool sl_vk_may_have_card(void)
{
    return false;
}

sl_status sl_vk_list(sl_ctx *ctx, sl_vk_info **out, size_t *count, char **reason)
{
    *out = NULL;
    *count = 0;
    if (!reason)
        return SL_OK;
    *reason = sl_strdup(ctx, reason_none);
    return *reason ? SL_OK : SL_ERR_NOMEM;
}

sl_status sl_vk_search_new(sl_ctx *ctx, sl_vk_search *out)
{
    *out = (sl_vk_search) { 0 };
    return sl_vk_list(ctx, &out->infos, &out->count, &out->reason);
}

void sl_vk_search_free(sl_vk_search *search)
{
    free(search->reason);
    *search = (sl_vk_search) { 0 };
}

size_t sl_vk_best(const sl_vk_info *infos, size_t count, bool real)
{
    (void)infos;
    (void)count;
    (void)real;
    return SIZE_MAX;
}

bool sl_vk_verdict_load(sl_ctx *ctx, const sl_vk_info *info, sl_vk_verdict *out)
{
    (void)ctx;
    (void)info;
    *out = (sl_vk_verdict) { 0 };
    return false;
}

void sl_vk_verdict_store(sl_ctx *ctx, const sl_vk_info *info, const sl_vk_verdict *verdict)
{
    (void)ctx;
    (void)info;
    (void)verdict;
}

bool sl_vk_was_lost(const sl_vk_device *device)
{
    (void)device;
    return false;
}

static sl_status fail(sl_ctx *ctx)
{
    return sl_fail(ctx, SL_ERR_DEVICE, "%s; compute on the cpu", reason_none);
}

sl_status sl_vk_open(sl_ctx *ctx, const char *name, sl_vk_device **out)
{
    *out = NULL;
    return sl_fail(ctx, SL_ERR_ARGUMENT, "no device \"%.64s\": %s; compute on the cpu", name,
                   reason_none);
}

sl_status sl_vk_open_found(sl_ctx *ctx, sl_vk_search *search, size_t index, sl_vk_device **out)
{
    (void)search;
    (void)index;
    *out = NULL;
    return fail(ctx);
}

void sl_vk_close(sl_vk_device *device)
{
    (void)device; // there is none
}

const sl_vk_info *sl_vk_device_info(const sl_vk_device *device)
{
    (void)device;
    static const sl_vk_info none = { .type = SL_VK_OTHER };
    return &none;
}

void sl_vk_take_usual_ways(sl_vk_device *device)
{
    (void)device;
}

size_t sl_vk_live_objects(void)
{
    return 0;
}

sl_status sl_vk_compile(sl_ctx *ctx, sl_vk_device *device, const sl_graph *graph,
                        sl_dtype precision, sl_plan **out)
{
    (void)precision;
    (void)device;
    (void)graph;
    *out = NULL;
    return fail(ctx);
}

sl_status sl_vk_memory(sl_ctx *ctx, sl_vk_device *device, const sl_graph *graph, sl_dtype precision,
                       size_t *out)
{
    (void)precision;
    (void)device;
    (void)graph;
    *out = 0;
    return fail(ctx);
}

sl_status sl_vk_peak(sl_ctx *ctx, sl_vk_device *device, double *gflops, double *gbytes)
{
    (void)device;
    *gflops = *gbytes = 0;
    return fail(ctx);
}
