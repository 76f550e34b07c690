// SPDX-License-Identifier: MIT
// tests/vulkan/spy.c: see spy.h.
#include "spy.h"

#include <dlfcn.h>
#include <unistd.h>

spy_state spy = { .countdown = -1, .drops = -1 };

void spy_reset(void)
{
    spy = (spy_state) { .countdown = -1, .drops = -1 };
}

void *__real_dlopen(const char *name, int flags);
void *__real_dlsym(void *library, const char *name);
void *__wrap_dlopen(const char *name, int flags);
void *__wrap_dlsym(void *library, const char *name);

static PFN_vkGetInstanceProcAddr real_instance_proc;
static PFN_vkGetDeviceProcAddr real_device_proc;
static PFN_vkGetPhysicalDeviceProperties2 real_properties;
static PFN_vkGetPhysicalDeviceFeatures2 real_features;

static bool is_due(const char *name)
{
    if (spy.fails && strcmp(spy.fails, name) != 0)
        return false;
    return atomic_load(&spy.countdown) >= 0 && atomic_fetch_sub(&spy.countdown, 1) == 0;
}

// ---- functions that can fail: X(name, parameters, arguments, what is left in *o)

#define HOST const VkAllocationCallbacks *a
#define SPIED(X)                                                                                   \
    X(vkCreateCommandPool, (VkDevice d, const VkCommandPoolCreateInfo *i, HOST, VkCommandPool *o), \
      (d, i, a, o), SPOIL)                                                                         \
    X(vkCreateFence, (VkDevice d, const VkFenceCreateInfo *i, HOST, VkFence *o), (d, i, a, o),     \
      SPOIL)                                                                                       \
    X(vkCreateBuffer, (VkDevice d, const VkBufferCreateInfo *i, HOST, VkBuffer *o), (d, i, a, o),  \
      SPOIL)                                                                                       \
    X(vkBindBufferMemory, (VkDevice d, VkBuffer b, VkDeviceMemory m, VkDeviceSize s),              \
      (d, b, m, s), LEAVE)                                                                         \
    X(vkMapMemory,                                                                                 \
      (VkDevice d, VkDeviceMemory m, VkDeviceSize s, VkDeviceSize n, VkMemoryMapFlags f,           \
       void **o),                                                                                  \
      (d, m, s, n, f, o), SPOIL)                                                                   \
    X(vkAllocateCommandBuffers,                                                                    \
      (VkDevice d, const VkCommandBufferAllocateInfo *i, VkCommandBuffer *o), (d, i, o), LEAVE)    \
    X(vkBeginCommandBuffer, (VkCommandBuffer c, const VkCommandBufferBeginInfo *i), (c, i), LEAVE) \
    X(vkEndCommandBuffer, (VkCommandBuffer c), (c), LEAVE)                                         \
    X(vkCreateShaderModule,                                                                        \
      (VkDevice d, const VkShaderModuleCreateInfo *i, HOST, VkShaderModule *o), (d, i, a, o),      \
      SPOIL)                                                                                       \
    X(vkCreateDescriptorSetLayout,                                                                 \
      (VkDevice d, const VkDescriptorSetLayoutCreateInfo *i, HOST, VkDescriptorSetLayout *o),      \
      (d, i, a, o), SPOIL)                                                                         \
    X(vkCreatePipelineLayout,                                                                      \
      (VkDevice d, const VkPipelineLayoutCreateInfo *i, HOST, VkPipelineLayout *o), (d, i, a, o),  \
      SPOIL)                                                                                       \
    X(vkCreateDescriptorPool,                                                                      \
      (VkDevice d, const VkDescriptorPoolCreateInfo *i, HOST, VkDescriptorPool *o), (d, i, a, o),  \
      SPOIL)                                                                                       \
    X(vkAllocateDescriptorSets,                                                                    \
      (VkDevice d, const VkDescriptorSetAllocateInfo *i, VkDescriptorSet *o), (d, i, o), LEAVE)    \
    X(vkCreateQueryPool, (VkDevice d, const VkQueryPoolCreateInfo *i, HOST, VkQueryPool *o),       \
      (d, i, a, o), SPOIL)

// What a failed call leaves in *o is no handle, but where the specification says NULL.
#define SPOIL memset(o, 0xa5, sizeof(*o))
#define LEAVE (void)0
#define WRAPPER(name, parameters, arguments, after)                                                \
    static PFN_##name real_##name;                                                                 \
    static VKAPI_ATTR VkResult VKAPI_CALL spy_##name parameters                                    \
    {                                                                                              \
        if (!is_due(#name))                                                                        \
            return real_##name arguments;                                                          \
        after;                                                                                     \
        return spy.failure;                                                                        \
    }
SPIED(WRAPPER)

// ---- pipelines, and the driver's cache of them

static atomic_uint pipelines; // since the cache was made
static VkPipeline idle[64];   // that spy.is_idle chose
static atomic_size_t idle_count;

static PFN_vkCreatePipelineCache real_vkCreatePipelineCache;
static VKAPI_ATTR VkResult VKAPI_CALL spy_vkCreatePipelineCache(VkDevice d,
                                                                const VkPipelineCacheCreateInfo *i,
                                                                HOST, VkPipelineCache *o)
{
    VkPipelineCacheCreateInfo info = *i;
    atomic_store(&pipelines, 0);
    if (spy.cached)
        info.initialDataSize = 0;
    if (!is_due("vkCreatePipelineCache"))
        return real_vkCreatePipelineCache(d, &info, a, o);
    SPOIL;
    return spy.failure;
}

// As large as a driver's header and so much of each pipeline.
static PFN_vkGetPipelineCacheData real_vkGetPipelineCacheData;
static VKAPI_ATTR VkResult VKAPI_CALL spy_vkGetPipelineCacheData(VkDevice d, VkPipelineCache c,
                                                                 size_t *bytes, void *data)
{
    if (!spy.cached)
        return real_vkGetPipelineCacheData(d, c, bytes, data);
    *bytes = 32 + atomic_load(&pipelines) * spy.cached;
    if (data)
        memset(data, (int)spy.cache_byte, *bytes);
    return VK_SUCCESS;
}

static PFN_vkCreateComputePipelines real_vkCreateComputePipelines;
static VKAPI_ATTR VkResult VKAPI_CALL
spy_vkCreateComputePipelines(VkDevice d, VkPipelineCache c, uint32_t n,
                             const VkComputePipelineCreateInfo *i, HOST, VkPipeline *o)
{
    if (is_due("vkCreateComputePipelines"))
        return spy.failure;
    atomic_fetch_add(&pipelines, 1);
    usleep(1000 * spy.pause_ms);
    VkResult result = real_vkCreateComputePipelines(d, c, n, i, a, o);
    if (result == VK_SUCCESS && spy.is_idle && spy.is_idle(i))
        idle[atomic_fetch_add(&idle_count, 1) % SL_ARRAY_LEN(idle)] = *o;
    return result;
}

// What is bound in the command buffer that is being recorded: tests record one at a time.
static bool is_bound_idle;
static PFN_vkCmdBindPipeline real_vkCmdBindPipeline;
static VKAPI_ATTR void VKAPI_CALL spy_vkCmdBindPipeline(VkCommandBuffer c, VkPipelineBindPoint b,
                                                        VkPipeline p)
{
    is_bound_idle = false;
    for (size_t i = 0; i < SL_ARRAY_LEN(idle); i++)
        is_bound_idle = is_bound_idle || (spy.is_idle && idle[i] == p);
    real_vkCmdBindPipeline(c, b, p);
}

// ---- memory, submissions, devices

static PFN_vkAllocateMemory real_vkAllocateMemory;
static VKAPI_ATTR VkResult VKAPI_CALL spy_vkAllocateMemory(VkDevice d,
                                                           const VkMemoryAllocateInfo *i, HOST,
                                                           VkDeviceMemory *o)
{
    if (spy.most && i->allocationSize > spy.most)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (!is_due("vkAllocateMemory"))
        return real_vkAllocateMemory(d, i, a, o);
    SPOIL;
    return spy.failure;
}

// Of a lost device the fence is signalled all the same, as the specification permits.
static PFN_vkQueueSubmit real_vkQueueSubmit;
static VKAPI_ATTR VkResult VKAPI_CALL spy_vkQueueSubmit(VkQueue q, uint32_t n,
                                                        const VkSubmitInfo *i, VkFence f)
{
    if (is_due("vkQueueSubmit"))
        return spy.failure;
    long left = atomic_load(&spy.drops);
    if (left > 0)
        atomic_store(&spy.drops, left - 1);
    return real_vkQueueSubmit(q, left == 0 ? 0 : n, i, f);
}

// The work is done first: what comes after such a failure need not wait.
static PFN_vkWaitForFences real_vkWaitForFences;
static VKAPI_ATTR VkResult VKAPI_CALL spy_vkWaitForFences(VkDevice d, uint32_t n, const VkFence *f,
                                                          VkBool32 all, uint64_t timeout)
{
    VkResult result = real_vkWaitForFences(d, n, f, all, timeout);
    return is_due("vkWaitForFences") ? spy.failure : result;
}

static PFN_vkCreateDevice real_vkCreateDevice;
static VKAPI_ATTR VkResult VKAPI_CALL spy_vkCreateDevice(VkPhysicalDevice p,
                                                         const VkDeviceCreateInfo *i, HOST,
                                                         VkDevice *o)
{
    if (!is_due("vkCreateDevice"))
        return real_vkCreateDevice(p, i, a, o);
    SPOIL;
    return spy.failure;
}

static PFN_vkEnumeratePhysicalDevices real_vkEnumeratePhysicalDevices;
static VKAPI_ATTR VkResult VKAPI_CALL spy_vkEnumeratePhysicalDevices(VkInstance i, uint32_t *n,
                                                                     VkPhysicalDevice *o)
{
    return is_due("vkEnumeratePhysicalDevices") ? spy.failure
                                                : real_vkEnumeratePhysicalDevices(i, n, o);
}

static PFN_vkCmdDispatch real_vkCmdDispatch;
static VKAPI_ATTR void VKAPI_CALL spy_vkCmdDispatch(VkCommandBuffer c, uint32_t x, uint32_t y,
                                                    uint32_t z)
{
    if (!spy.idle && !is_bound_idle)
        real_vkCmdDispatch(c, x, y, z);
}

static PFN_vkCmdDispatchIndirect real_vkCmdDispatchIndirect;
static VKAPI_ATTR void VKAPI_CALL spy_vkCmdDispatchIndirect(VkCommandBuffer c, VkBuffer b,
                                                            VkDeviceSize offset)
{
    if (!spy.idle && !is_bound_idle)
        real_vkCmdDispatchIndirect(c, b, offset);
}

static VKAPI_ATTR void VKAPI_CALL spy_properties(VkPhysicalDevice p,
                                                 VkPhysicalDeviceProperties2 *out)
{
    real_properties(p, out);
    if (spy.change)
        spy.change(out);
}

static VKAPI_ATTR void VKAPI_CALL spy_features(VkPhysicalDevice p, VkPhysicalDeviceFeatures2 *out)
{
    real_features(p, out);
    for (VkBaseOutStructure *at = out->pNext; at; at = at->pNext) {
        VkPhysicalDeviceVulkan12Features *f12 = (void *)at;
        if (at->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES)
            continue;
        f12->shaderFloat16 = f12->shaderFloat16 && !spy.no_f16;
        f12->vulkanMemoryModelDeviceScope =
            f12->vulkanMemoryModelDeviceScope && !spy.no_device_scope;
    }
}

// ---- looking functions up

static bool is_missing(const char *name)
{
    return spy.missing && strncmp(name, spy.missing, strlen(spy.missing)) == 0;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_proc(VkDevice device, const char *name)
{
    PFN_vkVoidFunction real = real_device_proc(device, name);
    if (is_missing(name))
        return NULL;
#define FIND(wrapped, parameters, arguments, after)                                                \
    if (strcmp(name, #wrapped) == 0) {                                                             \
        real_##wrapped = (PFN_##wrapped)real;                                                      \
        return (PFN_vkVoidFunction)spy_##wrapped;                                                  \
    }
    SPIED(FIND)
    FIND(vkCreatePipelineCache, , , )
    FIND(vkGetPipelineCacheData, , , )
    FIND(vkCreateComputePipelines, , , )
    FIND(vkAllocateMemory, , , )
    FIND(vkQueueSubmit, , , )
    FIND(vkWaitForFences, , , )
    FIND(vkCmdBindPipeline, , , )
    FIND(vkCmdDispatch, , , )
    FIND(vkCmdDispatchIndirect, , , )
    return real;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_proc(VkInstance instance, const char *name)
{
    PFN_vkVoidFunction real = real_instance_proc(instance, name);
    if (is_missing(name))
        return NULL;
    FIND(vkCreateDevice, , , )
    FIND(vkEnumeratePhysicalDevices, , , )
    if (strcmp(name, "vkGetDeviceProcAddr") == 0) {
        real_device_proc = (PFN_vkGetDeviceProcAddr)real;
        return (PFN_vkVoidFunction)device_proc;
    }
    if (strcmp(name, "vkGetPhysicalDeviceProperties2") == 0) {
        real_properties = (PFN_vkGetPhysicalDeviceProperties2)real;
        return (PFN_vkVoidFunction)spy_properties;
    }
    if (strcmp(name, "vkGetPhysicalDeviceFeatures2") == 0) {
        real_features = (PFN_vkGetPhysicalDeviceFeatures2)real;
        return (PFN_vkVoidFunction)spy_features;
    }
    return real;
}

void *__wrap_dlopen(const char *name, int flags)
{
    if (!spy.library)
        return __real_dlopen(name, flags);
    return *spy.library ? __real_dlopen(spy.library, flags) : NULL;
}

void *__wrap_dlsym(void *library, const char *name)
{
    void *real = __real_dlsym(library, name);
    // clang's sanitizers come through here before they have a strcmp, for what lies behind them.
    if (!real || library == RTLD_NEXT || strcmp(name, "vkGetInstanceProcAddr") != 0)
        return real;
    PFN_vkGetInstanceProcAddr mine = instance_proc;
    memcpy(&real_instance_proc, &real, sizeof(real));
    memcpy(&real, &mine, sizeof(real));
    return real;
}
