// SPDX-License-Identifier: MIT
// vulkan/peak.c: what a device can do at most, measured: the denominators of every benchmark on it.
#include "vulkan/vk.h"

#define GROUP 256u          // invocations, as in shaders/copy.comp and shaders/multiply.comp
#define FLOPS_OF_ROUND 64.0 // of an invocation
#define LEAST_BYTES ((VkDeviceSize)16 << 20)
#define MAX_GROUPS 4096u // of multiply-adds: more than fill any device, and LEAST_BYTES hold them
#define MIN_ROUNDS 64u   // so that what an invocation begins and ends with does not count
#define ENOUGH_SECONDS 0.02 // of one run; a shorter one measures how work is begun
#define MEASURE_SECONDS 0.04
#define MAX_GROWTH 64.0
#define MAX_REPEATS 65536u // also of rounds
#define TIME_LIMIT 60.0    // seconds until a device counts as hung

typedef struct peak {
    sl_ctx *ctx;
    sl_vk_device *device;
    sl_vk_buffer from, to;
    VkDescriptorPool pool;
    VkDescriptorSet set;
    VkCommandBuffer commands;
    VkQueryPool queries; // without timestamps the clock on the wall
} peak;

// One submission: the same dispatch `repeats` times.
typedef struct job {
    sl_vk_pipeline_key key;
    uint32_t groups, repeats;
    uint32_t push; // the kernel's one constant: count, or rounds
} job;

// ---- making

// Larger than the caches of a graphics card; a device in software has the processor's.
static VkDeviceSize copy_bytes(const sl_vk_device *d)
{
    const sl_vk_limits *l = &d->info.limits;
    VkDeviceSize bytes = (VkDeviceSize)(d->info.type == SL_VK_SOFTWARE ? 32 : 128) << 20;
    while (bytes > LEAST_BYTES &&
           (bytes > l->buffer_range || bytes > l->allocation || bytes > d->info.memory_bytes / 8))
        bytes /= 2;
    return bytes;
}

static VkResult make_set(peak *p)
{
    const sl_vk_device *d = p->device;
    const VkDescriptorPoolSize size = { VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2 };
    const VkDescriptorPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
        .maxSets = 1,
        .poolSizeCount = 1,
        .pPoolSizes = &size,
    };
    VkDescriptorSetAllocateInfo set = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorSetCount = 1,
        .pSetLayouts = &d->set_layout[2],
    };
    VkResult result = d->vk.vkCreateDescriptorPool(d->device, &pool, NULL, &p->pool);
    if (result != VK_SUCCESS) {
        p->pool = VK_NULL_HANDLE;
        return result;
    }
    sl_vk_count_object(1);
    set.descriptorPool = p->pool;
    result = d->vk.vkAllocateDescriptorSets(d->device, &set, &p->set);
    if (result != VK_SUCCESS)
        return result;
    const VkDescriptorBufferInfo places[] = { { p->from.buffer, 0, VK_WHOLE_SIZE },
                                              { p->to.buffer, 0, VK_WHOLE_SIZE } };
    const VkWriteDescriptorSet write = {
        .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
        .dstSet = p->set,
        .descriptorCount = 2,
        .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
        .pBufferInfo = places,
    };
    d->vk.vkUpdateDescriptorSets(d->device, 1, &write, 0, NULL);
    return VK_SUCCESS;
}

static VkResult make_commands(peak *p)
{
    const sl_vk_device *d = p->device;
    const VkCommandBufferAllocateInfo commands = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = d->commands,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    const VkQueryPoolCreateInfo queries = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
        .queryType = VK_QUERY_TYPE_TIMESTAMP,
        .queryCount = 2,
    };
    VkResult result = d->vk.vkAllocateCommandBuffers(d->device, &commands, &p->commands);
    if (result != VK_SUCCESS) {
        p->commands = VK_NULL_HANDLE;
        return result;
    }
    sl_vk_count_object(1);
    if (d->timestamp_ns <= 0)
        return VK_SUCCESS;
    result = d->vk.vkCreateQueryPool(d->device, &queries, NULL, &p->queries);
    if (result != VK_SUCCESS)
        p->queries = VK_NULL_HANDLE;
    else
        sl_vk_count_object(1);
    return result;
}

static sl_status make(peak *p, const sl_vk_pipeline_key *keys)
{
    VkDeviceSize bytes = copy_bytes(p->device);
    sl_status st = sl_vk_pipelines_make(p->ctx, p->device, keys, 2);
    if (st == SL_OK)
        st = sl_vk_buffer_new(p->ctx, p->device, bytes, SL_VK_DEVICE, &p->from);
    if (st == SL_OK)
        st = sl_vk_buffer_new(p->ctx, p->device, bytes, SL_VK_DEVICE, &p->to);
    if (st != SL_OK)
        return st;
    VkResult result = make_set(p);
    if (result == VK_SUCCESS)
        result = make_commands(p);
    return result == VK_SUCCESS ? SL_OK : sl_vk_fail(p->ctx, result, "preparing to measure");
}

static void clear(peak *p)
{
    sl_vk_device *d = p->device;
    bool settled = sl_vk_settle(d); // what a hung device may still use stays
    if (settled && p->queries) {
        d->vk.vkDestroyQueryPool(d->device, p->queries, NULL);
        sl_vk_count_object(-1);
    }
    if (settled && p->commands) {
        d->vk.vkFreeCommandBuffers(d->device, d->commands, 1, &p->commands);
        sl_vk_count_object(-1);
    }
    if (settled && p->pool) {
        d->vk.vkDestroyDescriptorPool(d->device, p->pool, NULL);
        sl_vk_count_object(-1);
    }
    sl_vk_buffer_free(d, &p->from);
    sl_vk_buffer_free(d, &p->to);
}

// ---- running

static void barrier(const peak *p)
{
    const VkPipelineStageFlags work =
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    const VkMemoryBarrier all = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT,
    };
    p->device->vk.vkCmdPipelineBarrier(p->commands, work, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0,
                                       1, &all, 0, NULL, 0, NULL);
}

static void stamp(const peak *p, uint32_t query)
{
    if (p->queries)
        p->device->vk.vkCmdWriteTimestamp(p->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT,
                                          p->queries, query);
}

static void record_job(const peak *p, const job *j)
{
    const sl_vk_functions *vk = &p->device->vk;
    VkPipelineLayout layout = p->device->layout[2];
    vk->vkCmdBindPipeline(p->commands, VK_PIPELINE_BIND_POINT_COMPUTE,
                          sl_vk_pipeline_get(p->device, &j->key));
    vk->vkCmdBindDescriptorSets(p->commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &p->set,
                                0, NULL);
    vk->vkCmdPushConstants(p->commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(j->push),
                           &j->push);
    stamp(p, 0);
    for (uint32_t i = 0; i < j->repeats; i++) {
        if (i)
            barrier(p);
        vk->vkCmdDispatch(p->commands, j->groups, 1, 1);
    }
    stamp(p, 1);
}

// Memory that nobody wrote may be one page of zeros, which every cache holds. NULL: only that.
static sl_status submit(const peak *p, const job *j)
{
    const sl_vk_functions *vk = &p->device->vk;
    const VkCommandBufferBeginInfo begin = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO };
    VkResult result = vk->vkBeginCommandBuffer(p->commands, &begin);
    if (result != VK_SUCCESS)
        return sl_vk_fail(p->ctx, result, "recording what is measured");
    if (j) {
        if (p->queries)
            vk->vkCmdResetQueryPool(p->commands, p->queries, 0, 2);
        record_job(p, j);
    } else {
        vk->vkCmdFillBuffer(p->commands, p->from.buffer, 0, VK_WHOLE_SIZE, 0x3c23d70a); // 0.01f
        vk->vkCmdFillBuffer(p->commands, p->to.buffer, 0, VK_WHOLE_SIZE, 0x3c23d70a);
        barrier(p);
    }
    result = vk->vkEndCommandBuffer(p->commands);
    if (result != VK_SUCCESS)
        return sl_vk_fail(p->ctx, result, "recording what is measured");
    return sl_vk_submit(p->ctx, p->device, p->commands, TIME_LIMIT);
}

static sl_status time_job(const peak *p, const job *j, double *seconds)
{
    const sl_vk_device *d = p->device;
    double start = sl_seconds();
    sl_status st = submit(p, j);
    *seconds = sl_seconds() - start;
    if (st != SL_OK || !p->queries)
        return st;
    uint64_t ticks[2];
    VkResult result = d->vk.vkGetQueryPoolResults(
        d->device, p->queries, 0, 2, sizeof(ticks), ticks, sizeof(ticks[0]),
        VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
    if (result != VK_SUCCESS)
        return sl_vk_fail(p->ctx, result, "reading timestamps");
    *seconds = 1e-9 * d->timestamp_ns * (double)((ticks[1] - ticks[0]) & d->timestamp_mask);
    return SL_OK;
}

static bool enlarge(uint32_t *what, double factor, uint32_t most)
{
    if (*what >= most)
        return false;
    *what = *what * factor < most ? (uint32_t)(*what * factor) : most;
    return true;
}

// More of the same, so that a run takes long enough. False: it does, or there is no more.
static bool grow(job *j, double seconds)
{
    if (seconds >= ENOUGH_SECONDS)
        return false;
    double factor = 1.5 * ENOUGH_SECONDS / (seconds > 1e-9 ? seconds : 1e-9);
    factor = factor < 2 ? 2 : factor > MAX_GROWTH ? MAX_GROWTH : factor;
    if (j->key.kernel == SL_VK_COPY)
        return enlarge(&j->repeats, factor, MAX_REPEATS);
    return enlarge(&j->groups, factor, MAX_GROUPS) || enlarge(&j->push, factor, MAX_REPEATS);
}

// The least seconds of one dispatch: other programs only ever slow a run down.
static sl_status best_seconds(const peak *p, job *j, double *out)
{
    double seconds = 0, end = 0;
    sl_status st;
    *out = 0;
    do {
        st = time_job(p, j, &seconds);
        if (st != SL_OK)
            return st;
        if (grow(j, seconds))
            continue;
        if (end <= 0)
            end = sl_seconds() + MEASURE_SECONDS;
        seconds /= j->repeats;
        *out = *out <= 0 || seconds < *out ? seconds : *out;
    } while (end <= 0 || sl_seconds() < end);
    *out = *out > 0 ? *out : 1e-9; // a clock that stands still
    return SL_OK;
}

sl_status sl_vk_peak(sl_ctx *ctx, sl_vk_device *device, double *gflops, double *gbytes)
{
    const sl_vk_pipeline_key keys[] = { { .kernel = SL_VK_COPY }, { .kernel = SL_VK_MULTIPLY } };
    peak p = { .ctx = ctx, .device = device };
    double seconds;
    *gflops = *gbytes = 0;
    sl_status st = make(&p, keys);
    if (st == SL_OK)
        st = submit(&p, NULL);
    if (st != SL_OK)
        goto done;
    job copy = { .key = keys[0], .push = (uint32_t)(p.from.bytes / 16), .repeats = 1 };
    copy.groups = copy.push / GROUP;
    st = best_seconds(&p, &copy, &seconds);
    if (st != SL_OK)
        goto done;
    *gbytes = 2e-9 * (double)p.from.bytes / seconds; // read and written
    job multiply = { .key = keys[1], .groups = 64, .push = MIN_ROUNDS, .repeats = 1 };
    st = best_seconds(&p, &multiply, &seconds);
    if (st == SL_OK)
        *gflops = 1e-9 * FLOPS_OF_ROUND * multiply.push * GROUP * multiply.groups / seconds;
done:
    clear(&p);
    return st;
}
