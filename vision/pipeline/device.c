// SPDX-License-Identifier: MIT
// pipeline/device.c: a device by its name, opened once for all the plans of a caller. A new backend
// adds a branch here.
#include "pipeline/choose.h"

struct sl_device {
    sl_ctx *ctx;
    sl_cpu_weights *weights; // of the CPU, shared by its plans
    sl_vk_device *vulkan;    // NULL: the CPU computes
    bool is_auto;            // nobody named it
    bool has_no_room;        // for the graph that was compiled last
    char after[40];          // "vulkan:0 failed": what the CPU stands in for; "" for nothing
    sl_precision precision;
};

// "vulkan:N", or what can only be a UUID.
static bool is_exact(const char *name)
{
    size_t length = strlen(name);
    return strncmp(name, "vulkan:", 7) == 0 ||
           (length >= 32 && strspn(name, "0123456789abcdefABCDEF-") == length);
}

// Who names a device exactly gets it, whatever the self-test found.
static sl_status open_exactly(sl_device *device, const char *name)
{
    sl_status st = sl_vk_open(device->ctx, name, &device->vulkan);
    if (st != SL_OK)
        return st;
    sl_vk_info info = *sl_vk_device_info(device->vulkan);
    sl_choose_judge(device->ctx, &info);
    if (*info.refusal)
        sl_log(device->ctx, SL_LOG_WARNING,
               "vulkan:%u %s computes as it was named, but do not trust it: %s", info.index,
               info.name, info.refusal);
    else if (*info.f16_refusal)
        sl_log(device->ctx, SL_LOG_WARNING, "vulkan:%u %s: %s; do not ask it for f16", info.index,
               info.name, info.f16_refusal);
    return SL_OK;
}

static sl_status open_chosen(sl_device *device)
{
    sl_status st = sl_choose_open(device->ctx, device->is_auto, &device->vulkan);
    return st != SL_OK || device->vulkan ? st : sl_cpu_weights_new(device->ctx, &device->weights);
}

sl_status sl_device_open(sl_ctx *ctx, const char *name, sl_device **out)
{
    bool is_auto = !name || strcmp(name, "auto") == 0, is_cpu = name && strcmp(name, "cpu") == 0;
    *out = NULL;
    if (!is_auto && !is_cpu && strcmp(name, "vulkan") != 0 && !is_exact(name))
        return sl_choose_fail(ctx, name);
    sl_device *device = sl_alloc(ctx, 1, sizeof(*device));
    if (!device)
        return SL_ERR_NOMEM;
    device->ctx = ctx;
    device->is_auto = is_auto;
    sl_status st;
    if (is_cpu)
        st = sl_cpu_weights_new(ctx, &device->weights);
    else
        st = !is_auto && is_exact(name) ? open_exactly(device, name) : open_chosen(device);
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

bool sl_device_may_fall_back(const sl_device *device, sl_status failure)
{
    // A picture that is too large for the network itself is so on the CPU as well.
    bool is_full = failure == SL_ERR_NOMEM || (failure == SL_ERR_LIMIT && device->has_no_room);
    bool is_unable = failure == SL_ERR_UNSUPPORTED && device->is_auto;
    return device->vulkan && (is_full || is_unable || failure == SL_ERR_DEVICE);
}

sl_status sl_device_fall_back(sl_device *device, sl_status failure)
{
    const sl_vk_info *info = sl_vk_device_info(device->vulkan);
    const char *message = sl_ctx_message(device->ctx);
    sl_log(device->ctx, SL_LOG_WARNING, "vulkan:%u %s: %.*s; the cpu takes over", info->index,
           info->name, (int)strcspn(message, ";"), message);
    snprintf(device->after, sizeof(device->after), "vulkan:%u %s", info->index,
             failure == SL_ERR_NOMEM ? "ran out of memory" : "failed");
    sl_vk_close(device->vulkan);
    device->vulkan = NULL;
    device->precision = SL_PRECISION_F32;
    return sl_cpu_weights_new(device->ctx, &device->weights);
}

bool sl_device_fell_back(const sl_device *device)
{
    return *device->after != '\0';
}

static const struct {
    const char *name;
    sl_dtype dtype;
} precisions[] = {
    [SL_PRECISION_F32] = { "f32", SL_F32 },
    [SL_PRECISION_F16] = { "f16", SL_F16 },
    [SL_PRECISION_BF16] = { "bf16", SL_BF16 },
};

const char *sl_precision_name(sl_precision precision)
{
    return (size_t)precision < SL_ARRAY_LEN(precisions) ? precisions[precision].name : "unknown";
}

// Why a device cannot compute in what is not f32; NULL where it can.
static const char *lacks(const sl_device *device, sl_precision precision)
{
    bool is_f16 = precision == SL_PRECISION_F16;
    if (!device->vulkan && is_f16)
        return "f16 is for Vulkan devices";
    if (!device->vulkan)
        return sl_cpu_has_bf16(device->ctx) ? NULL : "bf16 needs AVX-512 BF16, which is not there";
    const sl_vk_info *info = sl_vk_device_info(device->vulkan);
    if (!is_f16)
        return "bf16 is for processors";
    if (*info->f16_refusal)
        return info->f16_refusal;
    return info->f16 ? NULL : "it has no f16";
}

sl_status sl_device_set_precision(sl_device *device, sl_precision precision)
{
    if ((size_t)precision >= SL_ARRAY_LEN(precisions))
        return sl_fail(device->ctx, SL_ERR_ARGUMENT,
                       "unknown precision %d; f32, f16 and bf16 are known", (int)precision);
    const char *why = precision == SL_PRECISION_F32 ? NULL : lacks(device, precision);
    if (why && device->vulkan) {
        const sl_vk_info *info = sl_vk_device_info(device->vulkan);
        return sl_fail(device->ctx, SL_ERR_ARGUMENT,
                       "vulkan:%u %s: %s; name another device, or ask for f32", info->index,
                       info->name, why);
    }
    if (why)
        return sl_fail(device->ctx, SL_ERR_ARGUMENT,
                       "the cpu: %s; name another device, or ask for f32", why);
    device->precision = precision;
    return SL_OK;
}

sl_precision sl_device_precision(const sl_device *device)
{
    return device->precision;
}

static sl_dtype dtype_of(const sl_device *device)
{
    return precisions[device->precision].dtype;
}

sl_status sl_device_peak(sl_device *device, double *gflops, double *gbytes)
{
    return device->vulkan ? sl_vk_peak(device->ctx, device->vulkan, gflops, gbytes)
                          : sl_cpu_peak(device->ctx, dtype_of(device), gflops, gbytes);
}

sl_status sl_device_memory(const sl_device *device, const sl_graph *graph, size_t *out)
{
    return device->vulkan ? sl_vk_memory(device->ctx, device->vulkan, graph, dtype_of(device), out)
                          : sl_cpu_memory(device->ctx, graph, out);
}

sl_status sl_device_compile(sl_device *device, const sl_graph *graph, sl_plan **out)
{
    *out = NULL;
    if (device->vulkan) {
        sl_status st = sl_vk_compile(device->ctx, device->vulkan, graph, dtype_of(device), out);
        device->has_no_room = st == SL_ERR_LIMIT;
        return st;
    }
    sl_status st = sl_cpu_compile(device->ctx, graph, dtype_of(device), device->weights, out);
    if (st == SL_OK && *device->after) {
        char *name = (*out)->device;
        size_t used = strlen(name);
        snprintf(name + used, sizeof((*out)->device) - used, ", after %s", device->after);
    }
    return st;
}
