// SPDX-License-Identifier: MIT
// vulkan/: the Vulkan backend. Finds devices, compiles a graph into command buffers (one, but for
// heavy work) over one arena of device memory, and runs it with a submit each. Without a loader,
// which is looked for at run time, there are just no devices. May include base/, tensor/, graph/.
#ifndef SL_VULKAN_VULKAN_H
#define SL_VULKAN_VULKAN_H

#include "graph/graph.h"

typedef enum sl_vk_type {
    SL_VK_DISCRETE,
    SL_VK_INTEGRATED,
    SL_VK_VIRTUAL,
    SL_VK_SOFTWARE, // computes on the processor: never chosen by itself
    SL_VK_OTHER,
} sl_vk_type;

// What the backend asks of a device, as far as devices differ.
typedef struct sl_vk_limits {
    uint64_t buffer_range;    // bytes that one binding reaches; at least 128 MiB by the standard
    uint64_t allocation;      // bytes of one allocation
    uint32_t allocations;     // at once
    uint32_t alignment;       // of a binding's offset, bytes; at most 256
    uint32_t shared_bytes;    // of a workgroup
    uint32_t push_bytes;      // push constants
    uint32_t storage_buffers; // bindings of a stage
    uint32_t invocations;     // of a workgroup
    uint32_t group_size[3], group_count[3];
    uint32_t subgroup;
} sl_vk_limits;

// Products of m x k and k x n numbers of f16, summed in f32, that a subgroup makes at once: matrix
// units ("cooperative matrices"). All 0: none that serve.
typedef struct sl_vk_matrix_shape {
    uint32_t m, n, k;
} sl_vk_matrix_shape;

typedef struct sl_vk_info {
    uint32_t index; // N of "vulkan:N": the loader's order
    char name[256], driver[256];
    char uuid[33], driver_uuid[33]; // hexadecimal; the latter differs from build to build
    sl_vk_type type;
    uint32_t vendor, device, driver_version, api_version;
    uint64_t memory_bytes; // of the largest device-local heap
    bool f16;              // 16-bit storage and arithmetic
    sl_vk_matrix_shape matrix;
    bool timestamps;
    sl_vk_limits limits;
    char refusal[256];     // why it cannot serve, a clause; "" when it can
    char f16_refusal[256]; // why it does not compute in f16 although it has it, likewise
} sl_vk_info;

// ---- tell.c

const char *sl_vk_type_name(sl_vk_type type); // "discrete", ...
// "vulkan:0 NAME, vulkan:1 NAME (unfit: WHY)"; "" for none; cut where it does not fit.
#define SL_VK_TELL_BYTES 1600
void sl_vk_tell_devices(const sl_vk_info *infos, size_t count, char *out, size_t size);

// ---- finding and opening

// False where the system has no device node of any graphics card, and nobody names drivers by the
// loader's variables: then there is no need to open the loader in search of a card.
bool sl_vk_may_have_card(void);
// The same for device nodes that lie in the folder root/dev; not in a build without Vulkan.
bool sl_vk_may_have_card_in(const char *root);

// *out: all devices of the loader in its order (malloc'ed, NULL when there are none). A missing
// loader gives none; *reason (malloc'ed, may be NULL) then says why there are none.
sl_status sl_vk_list(sl_ctx *ctx, sl_vk_info **out, size_t *count, char **reason);

// The best of those that can serve, by type (as they stand above), then by memory; SIZE_MAX: none.
// real: leaves out those in software, and those that do not say what they are.
size_t sl_vk_best(const sl_vk_info *infos, size_t count, bool real);

// What a self-test found is kept in the user's cache directory for a device, its driver's build and
// this program's version and kernels. False: there is nothing that can be believed, and *out is all
// zeros. Storing never fails: it is done anew next time.
#define SL_VK_WHY_BYTES 200
typedef struct sl_vk_verdict {
    // What was wrong in f32, and in f16: clauses, "" when all was right. Matrix units are f16's.
    char why[SL_VK_WHY_BYTES], why_f16[SL_VK_WHY_BYTES];
} sl_vk_verdict;
bool sl_vk_verdict_load(sl_ctx *ctx, const sl_vk_info *info, sl_vk_verdict *out);
void sl_vk_verdict_store(sl_ctx *ctx, const sl_vk_info *info, const sl_vk_verdict *verdict);

typedef struct sl_vk_device sl_vk_device;

// sl_vk_list with Vulkan left running, for the one that is then opened.
typedef struct sl_vk_search {
    sl_vk_info *infos;
    size_t count;
    char *reason;
    struct sl_vk_running *running; // NULL: nothing is, or a device has taken it
} sl_vk_search;

sl_status sl_vk_search_new(sl_ctx *ctx, sl_vk_search *out);
void sl_vk_search_free(sl_vk_search *search); // all zeros is fine
// Once per search. SL_ERR_DEVICE: why infos[index] cannot serve.
sl_status sl_vk_open_found(sl_ctx *ctx, sl_vk_search *search, size_t index, sl_vk_device **out);
// name: "vulkan" (the best: discrete, integrated, virtual, other, software), "vulkan:N", or a UUID.
// SL_ERR_ARGUMENT: no such device; says which there are. SL_ERR_DEVICE: why this one cannot serve.
sl_status sl_vk_open(sl_ctx *ctx, const char *name, sl_vk_device **out);
void sl_vk_close(sl_vk_device *device); // after its plans; takes NULL
const sl_vk_info *sl_vk_device_info(const sl_vk_device *device);

// Whether a submission was lost or outlived its time: by this device's fault, or by that of another
// program, or as the system was suspended.
bool sl_vk_was_lost(const sl_vk_device *device);

// Of a device that has compiled nothing yet: it computes in the usual ways, without measuring which
// are the fastest.
void sl_vk_take_usual_ways(sl_vk_device *device);

// Objects of the driver that are alive in this process: 0 when all is closed.
size_t sl_vk_live_objects(void);

// SL_ERR_UNSUPPORTED names an op without a kernel or a shape beyond the device's limits;
// SL_ERR_NOMEM: the device's memory is exhausted. Uploaded weights are kept by the device and
// shared by its plans, keyed by the tensor. precision: SL_F32, or SL_F16 on a device that has it:
// activations and matrices are then kept in f16; sums, means and scores stay in f32.
sl_status sl_vk_compile(sl_ctx *ctx, sl_vk_device *device, const sl_graph *graph,
                        sl_dtype precision, sl_plan **out);

// The arena bytes that the compiled graph takes at most, whichever ways are then found to be the
// fastest. Fails as sl_vk_compile where the graph is beyond the device's limits.
sl_status sl_vk_memory(sl_ctx *ctx, sl_vk_device *device, const sl_graph *graph, sl_dtype precision,
                       size_t *out);

// Measured peak of the device: GFLOP/s in f32 multiply-adds on registers, GB/s of a copy larger
// than the caches. About 0.1 s. SL_ERR_NOMEM, SL_ERR_DEVICE.
sl_status sl_vk_peak(sl_ctx *ctx, sl_vk_device *device, double *gflops, double *gbytes);

#endif
