// SPDX-License-Identifier: MIT
// vulkan/vk.h: what the files of this room share: the device, memory, kernels, dispatches.
#ifndef SL_VULKAN_VK_H
#define SL_VULKAN_VK_H

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h> // not vulkan.h: under -Ivision that name finds this room's own

#include "vulkan/matrix_extension.h" // written by meson.build
#include "vulkan/vulkan.h"

// ---- loader.c: the functions that we call, found at run time

#define SL_VK_GLOBAL_FUNCTIONS(X)                                                                  \
    X(vkEnumerateInstanceVersion)                                                                  \
    X(vkEnumerateInstanceExtensionProperties)                                                      \
    X(vkCreateInstance)

#define SL_VK_INSTANCE_FUNCTIONS(X)                                                                \
    X(vkDestroyInstance)                                                                           \
    X(vkEnumeratePhysicalDevices)                                                                  \
    X(vkGetPhysicalDeviceProperties2)                                                              \
    X(vkGetPhysicalDeviceFeatures2)                                                                \
    X(vkGetPhysicalDeviceMemoryProperties)                                                         \
    X(vkGetPhysicalDeviceQueueFamilyProperties)                                                    \
    X(vkEnumerateDeviceExtensionProperties)                                                        \
    X(vkCreateDevice)                                                                              \
    X(vkGetDeviceProcAddr)

#define SL_VK_DEVICE_FUNCTIONS(X)                                                                  \
    X(vkDestroyDevice)                                                                             \
    X(vkGetDeviceQueue)                                                                            \
    X(vkDeviceWaitIdle)                                                                            \
    X(vkCreateBuffer)                                                                              \
    X(vkDestroyBuffer)                                                                             \
    X(vkGetBufferMemoryRequirements)                                                               \
    X(vkBindBufferMemory)                                                                          \
    X(vkAllocateMemory)                                                                            \
    X(vkFreeMemory)                                                                                \
    X(vkMapMemory)                                                                                 \
    X(vkFlushMappedMemoryRanges)                                                                   \
    X(vkInvalidateMappedMemoryRanges)                                                              \
    X(vkCreateShaderModule)                                                                        \
    X(vkDestroyShaderModule)                                                                       \
    X(vkCreateDescriptorSetLayout)                                                                 \
    X(vkDestroyDescriptorSetLayout)                                                                \
    X(vkCreatePipelineLayout)                                                                      \
    X(vkDestroyPipelineLayout)                                                                     \
    X(vkCreatePipelineCache)                                                                       \
    X(vkDestroyPipelineCache)                                                                      \
    X(vkGetPipelineCacheData)                                                                      \
    X(vkCreateComputePipelines)                                                                    \
    X(vkDestroyPipeline)                                                                           \
    X(vkCreateDescriptorPool)                                                                      \
    X(vkDestroyDescriptorPool)                                                                     \
    X(vkAllocateDescriptorSets)                                                                    \
    X(vkUpdateDescriptorSets)                                                                      \
    X(vkCreateCommandPool)                                                                         \
    X(vkDestroyCommandPool)                                                                        \
    X(vkAllocateCommandBuffers)                                                                    \
    X(vkFreeCommandBuffers)                                                                        \
    X(vkBeginCommandBuffer)                                                                        \
    X(vkEndCommandBuffer)                                                                          \
    X(vkCmdBindPipeline)                                                                           \
    X(vkCmdBindDescriptorSets)                                                                     \
    X(vkCmdPushConstants)                                                                          \
    X(vkCmdDispatch)                                                                               \
    X(vkCmdDispatchIndirect)                                                                       \
    X(vkCmdPipelineBarrier)                                                                        \
    X(vkCmdCopyBuffer)                                                                             \
    X(vkCmdFillBuffer)                                                                             \
    X(vkCmdResetQueryPool)                                                                         \
    X(vkCmdWriteTimestamp)                                                                         \
    X(vkCreateQueryPool)                                                                           \
    X(vkDestroyQueryPool)                                                                          \
    X(vkGetQueryPoolResults)                                                                       \
    X(vkCreateFence)                                                                               \
    X(vkDestroyFence)                                                                              \
    X(vkResetFences)                                                                               \
    X(vkWaitForFences)                                                                             \
    X(vkQueueSubmit)

#define SL_VK_FUNCTION(name) PFN_##name name;

typedef struct sl_vk_loader {
    void *library;
    PFN_vkGetInstanceProcAddr vkGetInstanceProcAddr;
    SL_VK_GLOBAL_FUNCTIONS(SL_VK_FUNCTION)
    VkInstance instance;
    SL_VK_INSTANCE_FUNCTIONS(SL_VK_FUNCTION)
} sl_vk_loader;

typedef struct sl_vk_functions {
    SL_VK_DEVICE_FUNCTIONS(SL_VK_FUNCTION)
} sl_vk_functions;

// *out is empty (instance NULL) and SL_OK returned when there is no loader or no driver; *reason
// (malloc'ed) then says so in a clause.
sl_status sl_vk_loader_open(sl_ctx *ctx, sl_vk_loader *out, char **reason);
void sl_vk_loader_close(sl_vk_loader *loader);
const char *sl_vk_result_name(VkResult result); // "VK_ERROR_DEVICE_LOST"; "VkResult" when unknown
// The status for a failed call, with its sentence: out of memory, device lost, or otherwise.
sl_status sl_vk_fail(sl_ctx *ctx, VkResult result, const char *doing);

// ---- kernels: one shader each, embedded (kernels.c)

typedef enum sl_vk_kernel {
    SL_VK_GEMM,
    SL_VK_NORM,
    SL_VK_ATTENTION,
    SL_VK_DWCONV,
    SL_VK_WINDOW,  // gather and scatter
    SL_VK_COLUMNS, // sums of columns, and what they make of a predictor's bias
    SL_VK_SCORE,
    SL_VK_SELECT,
    SL_VK_ARGUMENTS, // dispatch sizes of the ops behind a window list
    SL_VK_UNSHUFFLE,
    SL_VK_GATE,
    SL_VK_CERTAINTY,
    SL_VK_SKIP, // a map into the last channels of a wider one
    SL_VK_COPY,
    SL_VK_MULTIPLY,
    SL_VK_BLOCK, // a whole block of LMD-ViT
    SL_VK_POSITION,
    SL_VK_ROWS,
    SL_VK_MEAN,
    SL_VK_UNIT,
    SL_VK_GLOBAL, // attention over all rows
    SL_VK_SOFT_POOL,
    SL_VK_SOFT_LANDMARKS,
    SL_VK_SOFT_INVERT, // of few landmarks
    SL_VK_SOFT_KERNEL, // these three: of many
    SL_VK_SOFT_START,
    SL_VK_SOFT_PRODUCT,
    SL_VK_SOFT_CONV,
    SL_VK_SOFT_SUMS, // the three steps of K1 (inv(K2) (K1^T V))
    SL_VK_SOFT_GATHER,
    SL_VK_SOFT_SPREAD,
    SL_VK_NEAREST,         // a map onto a finer one
    SL_VK_CANDIDATE_SCORE, // these three: the best boxes of a level
    SL_VK_CANDIDATE_PICK,
    SL_VK_CANDIDATE_BOX,
    SL_VK_GEMM_MATRIX, // on matrix units; only in f16
    SL_VK_HALF,        // + any of those above: with activations and matrices in f16
    SL_VK_KERNEL_COUNT = 2 * SL_VK_HALF,
} sl_vk_kernel;

#define SL_VK_MAX_BUFFERS 8 // bindings of set 0
#define SL_VK_MAX_SPEC 17   // specialisation constants, ids 0 and on
#define SL_VK_MAX_PUSH 128  // bytes

typedef struct sl_vk_shader {
    const char *name;
    const uint32_t *code;
    size_t bytes;
    uint32_t buffers; // bindings that it declares: 0 .. buffers-1
    bool by_subgroup; // counts on the size of subgroups that the device names
} sl_vk_shader;

const sl_vk_shader *sl_vk_shader_get(sl_vk_kernel kernel);

// What makes one pipeline: a kernel and its specialisation constants.
typedef struct sl_vk_pipeline_key {
    sl_vk_kernel kernel;
    uint32_t spec_count, spec[SL_VK_MAX_SPEC];
} sl_vk_pipeline_key;

typedef struct sl_vk_pipeline {
    sl_vk_pipeline_key key;
    VkPipeline pipeline;
} sl_vk_pipeline;

// ---- memory.c

typedef enum sl_vk_place {
    SL_VK_DEVICE,   // device-local; storage, transfer both ways, indirect
    SL_VK_UPLOAD,   // mapped, written by the host
    SL_VK_READBACK, // mapped, read by the host; cached where there is such memory
} sl_vk_place;

typedef struct sl_vk_block sl_vk_block;

// A piece of a block: heap.c.
typedef struct sl_vk_span {
    sl_vk_block *block; // NULL: none
    VkDeviceMemory memory;
    VkDeviceSize offset, bytes; // multiples of what flushing wants
    uint8_t *mapped;
} sl_vk_span;

typedef struct sl_vk_buffer {
    VkBuffer buffer;
    sl_vk_span span;
    VkDeviceSize bytes;
    uint8_t *mapped; // NULL in SL_VK_DEVICE
    bool coherent;
} sl_vk_buffer;

// ---- list.c

// The devices of an open loader, in its order: handles and what is known of each, both malloc'ed.
// *count is 0 and both are NULL where there are none.
sl_status sl_vk_enumerate(sl_ctx *ctx, const sl_vk_loader *loader, VkPhysicalDevice **handles,
                          sl_vk_info **infos, size_t *count);
// What a search leaves running.
struct sl_vk_running {
    sl_vk_loader loader;
    VkPhysicalDevice *handles; // by device
};
void sl_vk_keep_printable(char *text); // what is not printable ASCII becomes '?'
// The first queue family with compute; UINT32_MAX: none. timestamp_bits may be NULL.
uint32_t sl_vk_compute_family(const sl_vk_loader *loader, VkPhysicalDevice physical,
                              uint32_t *timestamp_bits);

// The device's extensions; `all` is malloc'ed. A driver that does not list them has none.
typedef struct sl_vk_extensions {
    VkExtensionProperties *all;
    uint32_t count;
} sl_vk_extensions;
sl_status sl_vk_extensions_new(sl_ctx *ctx, const sl_vk_loader *loader, VkPhysicalDevice physical,
                               sl_vk_extensions *out);
bool sl_vk_is_offered(const sl_vk_extensions *offered, const char *name);

// ---- matrix.c

#ifdef SL_VK_MATRIX_KHR
typedef VkPhysicalDeviceCooperativeMatrixFeaturesKHR sl_vk_matrix_features;
#else
typedef VkPhysicalDeviceCooperativeMatrixFeaturesNV sl_vk_matrix_features;
#endif

// Fills info->matrix, once all else is known of the device.
sl_status sl_vk_matrix_find(sl_ctx *ctx, const sl_vk_loader *l, VkPhysicalDevice physical,
                            sl_vk_info *info);
// Lives until the device is made.
typedef struct sl_vk_matrix_chain {
    sl_vk_matrix_features own;
    VkPhysicalDeviceVulkan13Features f13;
} sl_vk_matrix_chain;
// Asks for what the kernel needs, behind and in f12; the extension to open the device with. NULL:
// the device has none.
const char *sl_vk_matrix_enable(const sl_vk_info *info, sl_vk_matrix_chain *chain,
                                VkPhysicalDeviceVulkan12Features *f12);

// ---- device.c

typedef struct sl_vk_weights sl_vk_weights; // weights.c: uploaded weights by tensor
void sl_vk_weights_free(sl_vk_device *d);   // d->weights, at close; NULL is fine

typedef enum sl_vk_block_form { SL_VK_ANY_FORM, SL_VK_CHAIN, SL_VK_FUSED } sl_vk_block_form;

// A question of speed, and its answer: which of several ways, all of them right, is the fastest.
typedef enum sl_vk_question { SL_VK_WHICH_TILE = 1, SL_VK_WHICH_FORM } sl_vk_question;
typedef struct sl_vk_choice {
    uint32_t question, about[6]; // a shape, and in which precision
    uint32_t answer;             // up to 31
} sl_vk_choice;

// What was measured on a device: choices.c, trial.c.
typedef struct sl_vk_choices {
    sl_vk_choice *choices;
    size_t count, capacity;
    bool is_changed;           // since it was stored
    bool is_loaded;            // what is kept of earlier starts is among them
    bool is_forced;            // for tests: devices in software measure as well
    bool is_off;               // by sl_vk_take_usual_ways
    const sl_vk_choice *trial; // while a way is timed: the answer, whatever is known
} sl_vk_choices;

struct sl_vk_device {
    sl_ctx *ctx;
    sl_vk_loader loader;
    sl_vk_info info;
    VkPhysicalDevice physical;
    VkPhysicalDeviceMemoryProperties memory;
    VkDevice device;
    VkQueue queue;
    uint32_t queue_family;
    double timestamp_ns;     // of a tick; 0: no timestamps
    uint64_t timestamp_mask; // the bits of a time stamp that count
    sl_vk_functions vk;
    PFN_vkGetCalibratedTimestampsEXT calibrate; // NULL: the driver does not
    VkCommandPool commands;
    VkFence fence;        // of submissions that are waited for at once
    VkFence last_fence;   // of the latest submission
    bool is_hung;         // that submission may still be running
    bool is_given_up;     // and nobody waits for it any more
    bool is_lost;         // a submission was lost, or outlived its time
    sl_vk_buffer staging; // of uploads; made by the first
    VkCommandBuffer staging_commands;
    sl_vk_block **blocks; // of memory
    size_t block_count, block_capacity;
    VkPipelineCache cache;
    size_t cache_bytes;                                      // that it took from the file
    VkDescriptorSetLayout set_layout[SL_VK_MAX_BUFFERS + 1]; // by number of storage buffers
    VkPipelineLayout layout[SL_VK_MAX_BUFFERS + 1];
    VkShaderModule module[SL_VK_KERNEL_COUNT];
    sl_vk_pipeline *pipelines;
    size_t pipeline_count, pipeline_capacity;
    sl_vk_weights *weights;
    sl_vk_choices choices;
    sl_vk_block_form block_form; // what blocks have to be, for tests
    double piece_macs;           // multiply-adds of one submission, about; see program.c
};

// Every driver object that is made or destroyed is counted, for sl_vk_live_objects.
void sl_vk_count_object(int change);

// Memory of a type for a buffer; is_mapped: for the host as well. Emptied blocks are freed.
sl_status sl_vk_span_take(sl_ctx *ctx, sl_vk_device *d, const VkMemoryRequirements *need,
                          uint32_t type, bool is_mapped, sl_vk_span *out);
void sl_vk_span_return(sl_vk_device *d, const sl_vk_span *span); // all zeros is fine
// Room for one more element of an array; doubles.
sl_status sl_vk_grow(sl_ctx *ctx, void **array, size_t count, size_t *capacity, size_t size);

sl_status sl_vk_buffer_new(sl_ctx *ctx, sl_vk_device *d, VkDeviceSize bytes, sl_vk_place place,
                           sl_vk_buffer *out);
void sl_vk_buffer_free(sl_vk_device *d, sl_vk_buffer *buffer); // leaks it where work runs on
// Makes host writes visible to the device, device writes to the host; nothing for coherent memory.
sl_status sl_vk_buffer_flush(sl_ctx *ctx, sl_vk_device *d, const sl_vk_buffer *buffer);
sl_status sl_vk_buffer_invalidate(sl_ctx *ctx, sl_vk_device *d, const sl_vk_buffer *buffer);
// Copies into a device buffer through a staging buffer, in pieces, and waits.
sl_status sl_vk_upload(sl_ctx *ctx, sl_vk_device *d, const sl_vk_buffer *to, VkDeviceSize offset,
                       const void *data, size_t bytes);
// Fills a device buffer, and waits.
sl_status sl_vk_flood(sl_ctx *ctx, sl_vk_device *d, const sl_vk_buffer *to, uint32_t word);
// Submits one command buffer and waits for it. SL_ERR_DEVICE: lost, or longer than `seconds`.
sl_status sl_vk_submit(sl_ctx *ctx, sl_vk_device *d, VkCommandBuffer commands, double seconds);
// The same in two halves, with a fence of the caller's; `count` of them, each a submission.
sl_status sl_vk_start(sl_ctx *ctx, sl_vk_device *d, const VkCommandBuffer *commands, uint32_t count,
                      VkFence fence);
sl_status sl_vk_finish(sl_ctx *ctx, sl_vk_device *d, VkFence fence, double seconds);
sl_status sl_vk_fence_new(sl_ctx *ctx, sl_vk_device *d, VkFence *out);
void sl_vk_fence_free(sl_vk_device *d, VkFence *fence); // all as sl_vk_buffer_free
// Waits a little more for a submission that outlived its time. False: it runs on, and nothing that
// it uses may be freed: leave it to the end of the process. At once after the first time.
bool sl_vk_settle(sl_vk_device *d);

// ---- clock.c: the device's ticks on the host's clock

// The same moment on both clocks.
typedef struct sl_vk_moment {
    uint64_t ticks;
    double seconds; // as of sl_seconds
} sl_vk_moment;

// *out: the extension to open the device with, NULL where it has none that serves.
sl_status sl_vk_clock_extension(sl_ctx *ctx, sl_vk_device *d, const char **out);
void sl_vk_clock_open(sl_vk_device *d, const char *extension);
bool sl_vk_clock_read(const sl_vk_device *d, sl_vk_moment *out); // false: not calibrated
const char *sl_vk_clock_name(const sl_vk_device *d);             // for traces
// When that was, given a later moment.
double sl_vk_clock_seconds(const sl_vk_device *d, const sl_vk_moment *later, uint64_t ticks);

// ---- pipeline.c

// Builds what is missing of `keys` (duplicates are fine), on all threads of the pool.
sl_status sl_vk_pipelines_make(sl_ctx *ctx, sl_vk_device *d, const sl_vk_pipeline_key *keys,
                               size_t count);
// One that was made; NULL otherwise.
VkPipeline sl_vk_pipeline_get(const sl_vk_device *d, const sl_vk_pipeline_key *key);
void sl_vk_pipelines_free(sl_vk_device *d); // also modules, layouts, cache

// ---- cache.c: the driver's pipeline cache on disk, $XDG_CACHE_HOME/softlens/ (and the verdicts of
// the self-test, see vulkan.h)

// Gives what was stored for this device, driver and program; an empty blob when there is nothing,
// or nothing that can be trusted (header, length and checksum are checked).
void sl_vk_cache_load(sl_ctx *ctx, const sl_vk_device *d, sl_blob *out);
// Writes atomically; a failure is only logged.
void sl_vk_cache_store(sl_ctx *ctx, const sl_vk_device *d, const void *data, size_t bytes);

// ---- choices.c

const sl_vk_choice *sl_vk_choice_find(const sl_vk_choice *choices, size_t count,
                                      const sl_vk_choice *question); // NULL: not among them

// ---- cache.c

// Choices that were stored under the same conditions, and for the same kernels; *count entries,
// malloc'ed, NULL for none. Storing keeps what another process has stored since.
void sl_vk_choices_load(sl_ctx *ctx, const sl_vk_info *info, sl_vk_choice **out, size_t *count);
void sl_vk_choices_store(sl_ctx *ctx, const sl_vk_info *info, const sl_vk_choice *choices,
                         size_t count);

#endif
