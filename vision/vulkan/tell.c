// SPDX-License-Identifier: MIT
// vulkan/tell.c: devices in words. Also in a build without Vulkan, for whoever asks for one by
// name.
#include "vulkan/vulkan.h"

const char *sl_vk_type_name(sl_vk_type type)
{
    static const char *const names[] = {
        [SL_VK_DISCRETE] = "discrete", [SL_VK_INTEGRATED] = "integrated",
        [SL_VK_VIRTUAL] = "virtual",   [SL_VK_SOFTWARE] = "software",
        [SL_VK_OTHER] = "other",
    };
    return names[type];
}

void sl_vk_tell_devices(const sl_vk_info *infos, size_t count, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0, used = 0; i < count && used < size; i++) {
        bool is_unfit = *infos[i].refusal != '\0';
        used += (size_t)snprintf(out + used, size - used, "%svulkan:%u %s%s%s%s", i ? ", " : "",
                                 infos[i].index, infos[i].name, is_unfit ? " (unfit: " : "",
                                 infos[i].refusal, is_unfit ? ")" : "");
    }
}
