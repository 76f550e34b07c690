// SPDX-License-Identifier: MIT
// tests/vulkan/emulated.c: stands before vulkan/matrix.c and kernels.c: every device that can has
// matrix units of 16 x 16 x 16, which are none. So what surrounds the units in their kernel is held
// to the parity cases on devices without them, too.
#include "vulkan/vk.h"

#include "gemm_matrix-emulated.spv.h"

const sl_vk_shader *__real_sl_vk_shader_get(sl_vk_kernel kernel);
const sl_vk_shader *__wrap_sl_vk_shader_get(sl_vk_kernel kernel);
sl_status __wrap_sl_vk_matrix_find(sl_ctx *ctx, const sl_vk_loader *l, VkPhysicalDevice physical,
                                   sl_vk_info *info);
const char *__wrap_sl_vk_matrix_enable(const sl_vk_info *info, sl_vk_matrix_chain *chain,
                                       VkPhysicalDeviceVulkan12Features *f12);

const sl_vk_shader *__wrap_sl_vk_shader_get(sl_vk_kernel kernel)
{
    static sl_vk_shader emulated;
    if (kernel != SL_VK_HALF + SL_VK_GEMM_MATRIX)
        return __real_sl_vk_shader_get(kernel);
    emulated = *__real_sl_vk_shader_get(kernel);
    emulated.code = sl_spv_gemm_matrix_emulated;
    emulated.bytes = sizeof(sl_spv_gemm_matrix_emulated);
    return &emulated;
}

sl_status __wrap_sl_vk_matrix_find(sl_ctx *ctx, const sl_vk_loader *l, VkPhysicalDevice physical,
                                   sl_vk_info *info)
{
    VkPhysicalDeviceVulkan13Features f13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES
    };
    VkPhysicalDeviceVulkan12Features f12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &f13
    };
    VkPhysicalDeviceFeatures2 features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                           .pNext = &f12 };
    (void)ctx;
    if (*info->refusal || !info->f16 || info->api_version < VK_API_VERSION_1_3)
        return SL_OK;
    l->vkGetPhysicalDeviceFeatures2(physical, &features);
    if (f12.vulkanMemoryModel && f12.vulkanMemoryModelDeviceScope && f13.subgroupSizeControl &&
        f13.computeFullSubgroups)
        info->matrix = (sl_vk_matrix_shape) { 8, 8, 8 };
    return SL_OK;
}

const char *__wrap_sl_vk_matrix_enable(const sl_vk_info *info, sl_vk_matrix_chain *chain,
                                       VkPhysicalDeviceVulkan12Features *f12)
{
    if (info->matrix.m == 0)
        return NULL;
    chain->f13 = (VkPhysicalDeviceVulkan13Features) {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
        .subgroupSizeControl = VK_TRUE,
        .computeFullSubgroups = VK_TRUE,
    };
    f12->pNext = &chain->f13;
    f12->vulkanMemoryModel = VK_TRUE;
    f12->vulkanMemoryModelDeviceScope = VK_TRUE;
    return NULL; // no extension
}
