// SPDX-License-Identifier: MIT
// vulkan/clock.c: the device's ticks on the host's clock, by a driver's calibration where it has
// one. That extension is asked for under both of its names; types and values are the same. Of
// a driver that has both the older one is taken: validation layers from before 2024 warn of the
// other.
#include "vulkan/vk.h"

static const struct {
    const char *extension, *domains, *timestamps;
} names[] = {
    { "VK_EXT_calibrated_timestamps", "vkGetPhysicalDeviceCalibrateableTimeDomainsEXT",
      "vkGetCalibratedTimestampsEXT" },
    { "VK_KHR_calibrated_timestamps", "vkGetPhysicalDeviceCalibrateableTimeDomainsKHR",
      "vkGetCalibratedTimestampsKHR" },
};

#define MAX_DOMAINS 16

// Whether the driver relates its ticks to the clock that sl_seconds reads.
static bool knows_domains(const sl_vk_device *d, const char *function)
{
    VkTimeDomainEXT domains[MAX_DOMAINS];
    uint32_t count = MAX_DOMAINS;
    PFN_vkGetPhysicalDeviceCalibrateableTimeDomainsEXT get =
        (PFN_vkGetPhysicalDeviceCalibrateableTimeDomainsEXT)d->loader.vkGetInstanceProcAddr(
            d->loader.instance, function);
    bool device = false, host = false;
    if (!get || get(d->physical, &count, domains) < VK_SUCCESS)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        device = device || domains[i] == VK_TIME_DOMAIN_DEVICE_EXT;
        host = host || domains[i] == VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT;
    }
    return device && host;
}

sl_status sl_vk_clock_extension(sl_ctx *ctx, sl_vk_device *d, const char **out)
{
    sl_vk_extensions offered;
    *out = NULL;
    if (d->timestamp_ns <= 0)
        return SL_OK;
    sl_status st = sl_vk_extensions_new(ctx, &d->loader, d->physical, &offered);
    if (st != SL_OK)
        return st;
    for (size_t i = 0; i < SL_ARRAY_LEN(names) && !*out; i++)
        if (sl_vk_is_offered(&offered, names[i].extension) && knows_domains(d, names[i].domains))
            *out = names[i].extension;
    free(offered.all);
    return SL_OK;
}

void sl_vk_clock_open(sl_vk_device *d, const char *extension)
{
    sl_vk_moment moment;
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++)
        if (extension == names[i].extension)
            d->calibrate = (PFN_vkGetCalibratedTimestampsEXT)d->loader.vkGetDeviceProcAddr(
                d->device, names[i].timestamps);
    if (!sl_vk_clock_read(d, &moment))
        d->calibrate = NULL;
}

bool sl_vk_clock_read(const sl_vk_device *d, sl_vk_moment *out)
{
    const VkCalibratedTimestampInfoEXT infos[] = {
        { .sType = VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT,
          .timeDomain = VK_TIME_DOMAIN_DEVICE_EXT },
        { .sType = VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT,
          .timeDomain = VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT },
    };
    uint64_t now[2], deviation;
    if (!d->calibrate || d->calibrate(d->device, 2, infos, now, &deviation) != VK_SUCCESS)
        return false;
    *out = (sl_vk_moment) { now[0], 1e-9 * (double)now[1] };
    return true;
}

const char *sl_vk_clock_name(const sl_vk_device *d)
{
    return d->timestamp_ns <= 0 ? "none" : d->calibrate ? "calibrated" : "fence";
}

double sl_vk_clock_seconds(const sl_vk_device *d, const sl_vk_moment *later, uint64_t ticks)
{
    return later->seconds -
           1e-9 * d->timestamp_ns * (double)((later->ticks - ticks) & d->timestamp_mask);
}
