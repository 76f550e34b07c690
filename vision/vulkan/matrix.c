// SPDX-License-Identifier: MIT
// vulkan/matrix.c: a device's matrix units, by VK_KHR_cooperative_matrix, or its forerunner of NV
// where the headers or the shader compiler are older. Only products of f16 summed in f32 by a
// subgroup are used, on devices of Vulkan 1.3, where the subgroup's size can be asked for.
#include "vulkan/vk.h"

#ifdef SL_VK_MATRIX_KHR
#define EXTENSION "VK_KHR_cooperative_matrix"
#define LIST "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"
#define FEATURES_TYPE VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR
#define SHAPE_TYPE VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR
typedef VkCooperativeMatrixPropertiesKHR shape;
typedef PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR list_function;
#else
#define EXTENSION "VK_NV_cooperative_matrix"
#define LIST "vkGetPhysicalDeviceCooperativeMatrixPropertiesNV"
#define FEATURES_TYPE VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_NV
#define SHAPE_TYPE VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_NV
typedef VkCooperativeMatrixPropertiesNV shape;
typedef PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV list_function;
#endif

#define MAX_SHAPES 128

// The features that the kernel needs besides f16. Once the memory model is enabled, atomics, which
// other kernels use across workgroups, need its device scope.
static bool has_features(const sl_vk_loader *l, VkPhysicalDevice physical)
{
    sl_vk_matrix_features own = { .sType = FEATURES_TYPE };
    VkPhysicalDeviceVulkan13Features f13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES, .pNext = &own
    };
    VkPhysicalDeviceVulkan12Features f12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &f13
    };
    VkPhysicalDeviceFeatures2 features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                           .pNext = &f12 };
    l->vkGetPhysicalDeviceFeatures2(physical, &features);
    return own.cooperativeMatrix && f12.vulkanMemoryModel && f12.vulkanMemoryModelDeviceScope &&
           f13.subgroupSizeControl && f13.computeFullSubgroups;
}

// Whether compute pipelines may ask for the size that the device names first.
static bool has_subgroup(const sl_vk_loader *l, VkPhysicalDevice physical, uint32_t size)
{
    VkPhysicalDeviceVulkan13Properties v13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES
    };
    VkPhysicalDeviceProperties2 properties = { .sType =
                                                   VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                               .pNext = &v13 };
    l->vkGetPhysicalDeviceProperties2(physical, &properties);
    return (v13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
           v13.minSubgroupSize <= size && size <= v13.maxSubgroupSize && size >= 4 && size <= 128;
}

// The kernel's slices are 32 long, its tiles multiples of 64, and its numbers travel by eight.
static bool serves(const shape *s)
{
#ifdef SL_VK_MATRIX_KHR
    bool sums = s->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && s->BType == s->AType &&
                s->CType == VK_COMPONENT_TYPE_FLOAT32_KHR && s->ResultType == s->CType &&
                s->scope == VK_SCOPE_SUBGROUP_KHR && !s->saturatingAccumulation;
#else
    bool sums = s->AType == VK_COMPONENT_TYPE_FLOAT16_NV && s->BType == s->AType &&
                s->CType == VK_COMPONENT_TYPE_FLOAT32_NV && s->DType == s->CType &&
                s->scope == VK_SCOPE_SUBGROUP_NV;
#endif
    return sums && s->MSize >= 4 && s->MSize <= 64 && 64 % s->MSize == 0 && s->NSize >= 8 &&
           s->NSize <= 64 && 64 % s->NSize == 0 && s->KSize >= 8 && s->KSize <= 32 &&
           32 % s->KSize == 0;
}

static sl_status find_shape(sl_ctx *ctx, VkPhysicalDevice physical, list_function list,
                            sl_vk_matrix_shape *out)
{
    uint32_t count = MAX_SHAPES;
    shape *shapes = sl_alloc(ctx, MAX_SHAPES, sizeof(*shapes));
    if (!shapes)
        return SL_ERR_NOMEM;
    for (uint32_t i = 0; i < MAX_SHAPES; i++)
        shapes[i].sType = SHAPE_TYPE;
    if (list(physical, &count, shapes) < VK_SUCCESS)
        count = 0;
    for (uint32_t i = 0; i < count && out->m == 0; i++)
        if (serves(&shapes[i]))
            *out = (sl_vk_matrix_shape) { shapes[i].MSize, shapes[i].NSize, shapes[i].KSize };
    free(shapes);
    return SL_OK;
}

sl_status sl_vk_matrix_find(sl_ctx *ctx, const sl_vk_loader *l, VkPhysicalDevice physical,
                            sl_vk_info *info)
{
    sl_vk_extensions offered;
    list_function list = (list_function)l->vkGetInstanceProcAddr(l->instance, LIST);
    if (*info->refusal || !info->f16 || info->api_version < VK_API_VERSION_1_3 || !list)
        return SL_OK;
    sl_status st = sl_vk_extensions_new(ctx, l, physical, &offered);
    if (st != SL_OK)
        return st;
    if (sl_vk_is_offered(&offered, EXTENSION) && has_features(l, physical) &&
        has_subgroup(l, physical, info->limits.subgroup))
        st = find_shape(ctx, physical, list, &info->matrix);
    free(offered.all);
    return st;
}

const char *sl_vk_matrix_enable(const sl_vk_info *info, sl_vk_matrix_chain *chain,
                                VkPhysicalDeviceVulkan12Features *f12)
{
    if (info->matrix.m == 0)
        return NULL;
    chain->own = (sl_vk_matrix_features) { .sType = FEATURES_TYPE, .cooperativeMatrix = VK_TRUE };
    chain->f13 = (VkPhysicalDeviceVulkan13Features) {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
        .pNext = &chain->own,
        .subgroupSizeControl = VK_TRUE,
        .computeFullSubgroups = VK_TRUE,
    };
    f12->pNext = &chain->f13;
    f12->vulkanMemoryModel = VK_TRUE;
    f12->vulkanMemoryModelDeviceScope = VK_TRUE;
    return EXTENSION;
}
