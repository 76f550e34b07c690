// SPDX-License-Identifier: MIT
// vulkan/memory.c: buffers in the memory that heap.c hands out, uploads, and one submission at a
// time.
#include "vulkan/vk.h"

#include <assert.h>

#define STAGING_BYTES ((VkDeviceSize)8 << 20)
#define UPLOAD_SECONDS 60.0 // of one piece: a matter of milliseconds where all is well
#define SETTLE_SECONDS 5.0
#define SETTLE_SECONDS_SOFTWARE 60.0 // on the processor, which others may be using

#define HOST VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT
#define COHERENT VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
#define CACHED VK_MEMORY_PROPERTY_HOST_CACHED_BIT
#define LOCAL VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT

// What is wanted of each place's memory: the first that there is. No flags: any memory at all.
static const VkMemoryPropertyFlags wishes[][4] = {
    [SL_VK_DEVICE] = { LOCAL, 0, 0, 0 },
    [SL_VK_UPLOAD] = { HOST | COHERENT, HOST, HOST, HOST },
    [SL_VK_READBACK] = { HOST | CACHED | COHERENT, HOST | CACHED, HOST | COHERENT, HOST },
};

static const VkBufferUsageFlags usages[] = {
    [SL_VK_DEVICE] = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                     VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT,
    [SL_VK_UPLOAD] = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
    [SL_VK_READBACK] = VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
};

// The first memory type that has the flags, lies in a heap large enough, and is nothing special
// (protected, lazily allocated, uncached on one vendor's devices). Types come best first.
static bool find_type(const sl_vk_device *d, const VkMemoryRequirements *need,
                      VkMemoryPropertyFlags flags, uint32_t *out)
{
    const VkMemoryPropertyFlags plain = HOST | COHERENT | CACHED | LOCAL;
    for (uint32_t i = 0; i < d->memory.memoryTypeCount; i++) {
        const VkMemoryType *type = &d->memory.memoryTypes[i];
        bool is_allowed = (need->memoryTypeBits >> i & 1) && !(type->propertyFlags & ~plain);
        if (is_allowed && (type->propertyFlags & flags) == flags &&
            d->memory.memoryHeaps[type->heapIndex].size >= need->size) {
            *out = i;
            return true;
        }
    }
    return false;
}

static sl_status fail_size(sl_ctx *ctx, VkDeviceSize bytes, VkDeviceSize most)
{
    return sl_fail(ctx, SL_ERR_NOMEM,
                   "%.1f MiB in one piece are more than the Vulkan device gives (%.1f MiB); allow "
                   "less memory, or compute on the cpu",
                   (double)bytes / 1048576.0, (double)most / 1048576.0);
}

static sl_status allocate(sl_ctx *ctx, sl_vk_device *d, sl_vk_place place, sl_vk_buffer *b)
{
    VkMemoryRequirements need;
    uint32_t type = 0;
    bool is_found = false;
    d->vk.vkGetBufferMemoryRequirements(d->device, b->buffer, &need);
    for (size_t i = 0; i < SL_ARRAY_LEN(wishes[place]) && !is_found; i++)
        is_found = find_type(d, &need, wishes[place][i], &type);
    if (!is_found)
        return fail_size(ctx, need.size, d->info.memory_bytes);
    b->coherent = d->memory.memoryTypes[type].propertyFlags & COHERENT;
    sl_status st = sl_vk_span_take(ctx, d, &need, type, place != SL_VK_DEVICE, &b->span);
    if (st != SL_OK)
        return st;
    b->mapped = b->span.mapped;
    VkResult result =
        d->vk.vkBindBufferMemory(d->device, b->buffer, b->span.memory, b->span.offset);
    return result == VK_SUCCESS ? SL_OK : sl_vk_fail(ctx, result, "binding memory");
}

sl_status sl_vk_buffer_new(sl_ctx *ctx, sl_vk_device *d, VkDeviceSize bytes, sl_vk_place place,
                           sl_vk_buffer *out)
{
    *out = (sl_vk_buffer) { .bytes = bytes ? bytes : 4 };
    if (out->bytes > d->info.limits.allocation)
        return fail_size(ctx, out->bytes, d->info.limits.allocation);
    VkBufferCreateInfo info = { .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                .size = out->bytes,
                                .usage = usages[place],
                                .sharingMode = VK_SHARING_MODE_EXCLUSIVE };
    VkResult result = d->vk.vkCreateBuffer(d->device, &info, NULL, &out->buffer);
    if (result != VK_SUCCESS) {
        *out = (sl_vk_buffer) { 0 };
        return sl_vk_fail(ctx, result, "making a buffer");
    }
    sl_vk_count_object(1);
    sl_status st = allocate(ctx, d, place, out);
    if (st != SL_OK)
        sl_vk_buffer_free(d, out);
    return st;
}

void sl_vk_buffer_free(sl_vk_device *d, sl_vk_buffer *buffer)
{
    if (!sl_vk_settle(d)) {
        *buffer = (sl_vk_buffer) { 0 };
        return;
    }
    if (buffer->buffer) {
        d->vk.vkDestroyBuffer(d->device, buffer->buffer, NULL);
        sl_vk_count_object(-1);
    }
    sl_vk_span_return(d, &buffer->span);
    *buffer = (sl_vk_buffer) { 0 };
}

static VkMappedMemoryRange whole(const sl_vk_buffer *buffer)
{
    return (VkMappedMemoryRange) { .sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE,
                                   .memory = buffer->span.memory,
                                   .offset = buffer->span.offset,
                                   .size = buffer->span.bytes };
}

sl_status sl_vk_buffer_flush(sl_ctx *ctx, sl_vk_device *d, const sl_vk_buffer *buffer)
{
    if (buffer->coherent)
        return SL_OK;
    VkMappedMemoryRange range = whole(buffer);
    VkResult result = d->vk.vkFlushMappedMemoryRanges(d->device, 1, &range);
    return result == VK_SUCCESS ? SL_OK : sl_vk_fail(ctx, result, "giving data to the device");
}

sl_status sl_vk_buffer_invalidate(sl_ctx *ctx, sl_vk_device *d, const sl_vk_buffer *buffer)
{
    if (buffer->coherent)
        return SL_OK;
    VkMappedMemoryRange range = whole(buffer);
    VkResult result = d->vk.vkInvalidateMappedMemoryRanges(d->device, 1, &range);
    return result == VK_SUCCESS ? SL_OK : sl_vk_fail(ctx, result, "reading from the device");
}

static sl_status make_staging(sl_ctx *ctx, sl_vk_device *d)
{
    if (!d->staging.buffer) {
        sl_status st = sl_vk_buffer_new(ctx, d, STAGING_BYTES, SL_VK_UPLOAD, &d->staging);
        if (st != SL_OK)
            return st;
    }
    if (d->staging_commands)
        return SL_OK;
    VkCommandBufferAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                         .commandPool = d->commands,
                                         .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                         .commandBufferCount = 1 };
    VkResult result = d->vk.vkAllocateCommandBuffers(d->device, &info, &d->staging_commands);
    if (result == VK_SUCCESS)
        return SL_OK;
    d->staging_commands = VK_NULL_HANDLE;
    return sl_vk_fail(ctx, result, "preparing uploads");
}

static VkResult begin_upload(const sl_vk_device *d)
{
    const VkCommandBufferBeginInfo begin = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                             .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT };
    return d->vk.vkBeginCommandBuffer(d->staging_commands, &begin);
}

// result: of what was begun. Visible to whatever is submitted next.
static sl_status end_upload(sl_ctx *ctx, sl_vk_device *d, VkResult result)
{
    VkCommandBuffer c = d->staging_commands;
    VkMemoryBarrier barrier = { .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                                .dstAccessMask =
                                    VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT };
    if (result == VK_SUCCESS) {
        d->vk.vkCmdPipelineBarrier(c, VK_PIPELINE_STAGE_TRANSFER_BIT,
                                   VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 1, &barrier, 0, NULL, 0,
                                   NULL);
        result = d->vk.vkEndCommandBuffer(c);
    }
    if (result != VK_SUCCESS)
        return sl_vk_fail(ctx, result, "recording an upload");
    return sl_vk_submit(ctx, d, c, UPLOAD_SECONDS);
}

// From the staging buffer's start.
static sl_status copy_piece(sl_ctx *ctx, sl_vk_device *d, VkBuffer to, VkDeviceSize offset,
                            VkDeviceSize bytes)
{
    const VkBufferCopy region = { .dstOffset = offset, .size = bytes };
    VkResult result = begin_upload(d);
    if (result == VK_SUCCESS)
        d->vk.vkCmdCopyBuffer(d->staging_commands, d->staging.buffer, to, 1, &region);
    return end_upload(ctx, d, result);
}

sl_status sl_vk_flood(sl_ctx *ctx, sl_vk_device *d, const sl_vk_buffer *to, uint32_t word)
{
    sl_status st = make_staging(ctx, d);
    if (st != SL_OK)
        return st;
    VkResult result = begin_upload(d);
    if (result == VK_SUCCESS)
        d->vk.vkCmdFillBuffer(d->staging_commands, to->buffer, 0, VK_WHOLE_SIZE, word);
    return end_upload(ctx, d, result);
}

sl_status sl_vk_upload(sl_ctx *ctx, sl_vk_device *d, const sl_vk_buffer *to, VkDeviceSize offset,
                       const void *data, size_t bytes)
{
    assert(offset <= to->bytes && bytes <= to->bytes - offset);
    const uint8_t *from = data;
    sl_status st = bytes ? make_staging(ctx, d) : SL_OK;
    while (bytes > 0 && st == SL_OK) {
        size_t piece = bytes < STAGING_BYTES ? bytes : (size_t)STAGING_BYTES;
        memcpy(d->staging.mapped, from, piece);
        st = sl_vk_buffer_flush(ctx, d, &d->staging);
        if (st == SL_OK)
            st = copy_piece(ctx, d, to->buffer, offset, piece);
        from += piece;
        offset += piece;
        bytes -= piece;
    }
    return st;
}

static uint64_t nanoseconds(double seconds)
{
    return seconds < 1e9 ? (uint64_t)(seconds * 1e9) : UINT64_MAX;
}

static const char doing[] = "computing";

// Each by a call of its own: what comes in one, drivers may hand on as one.
sl_status sl_vk_start(sl_ctx *ctx, sl_vk_device *d, const VkCommandBuffer *commands, uint32_t count,
                      VkFence fence)
{
    VkSubmitInfo info = { .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1 };
    uint32_t begun = 0;
    if (!sl_vk_settle(d))
        return sl_vk_fail(ctx, VK_TIMEOUT, doing);
    VkResult result = d->vk.vkResetFences(d->device, 1, &fence);
    while (begun < count && result == VK_SUCCESS) {
        info.pCommandBuffers = &commands[begun];
        result =
            d->vk.vkQueueSubmit(d->queue, 1, &info, begun == count - 1 ? fence : VK_NULL_HANDLE);
        begun += result == VK_SUCCESS;
    }
    if (result == VK_SUCCESS) {
        d->last_fence = fence;
        return SL_OK;
    }
    d->is_lost = d->is_lost || result == VK_ERROR_DEVICE_LOST;
    if (begun > 0) // which no fence is behind
        d->vk.vkDeviceWaitIdle(d->device);
    return sl_vk_fail(ctx, result, doing);
}

sl_status sl_vk_finish(sl_ctx *ctx, sl_vk_device *d, VkFence fence, double seconds)
{
    if (!sl_vk_settle(d)) // nor will this one end
        return sl_vk_fail(ctx, VK_TIMEOUT, doing);
    VkResult result = d->vk.vkWaitForFences(d->device, 1, &fence, VK_TRUE, nanoseconds(seconds));
    d->is_hung = result != VK_SUCCESS && result != VK_ERROR_DEVICE_LOST;
    d->is_lost = d->is_lost || result == VK_ERROR_DEVICE_LOST || result == VK_TIMEOUT;
    return result == VK_SUCCESS ? SL_OK : sl_vk_fail(ctx, result, doing);
}

sl_status sl_vk_submit(sl_ctx *ctx, sl_vk_device *d, VkCommandBuffer commands, double seconds)
{
    sl_status st = sl_vk_start(ctx, d, &commands, 1, d->fence);
    return st == SL_OK ? sl_vk_finish(ctx, d, d->fence, seconds) : st;
}

bool sl_vk_settle(sl_vk_device *d)
{
    double seconds = d->info.type == SL_VK_SOFTWARE ? SETTLE_SECONDS_SOFTWARE : SETTLE_SECONDS;
    if (d->is_hung && !d->is_given_up) { // behind the last one all are done: there is one queue
        VkResult result =
            d->vk.vkWaitForFences(d->device, 1, &d->last_fence, VK_TRUE, nanoseconds(seconds));
        d->is_hung = result != VK_SUCCESS && result != VK_ERROR_DEVICE_LOST;
        d->is_given_up = d->is_hung;
    }
    return !d->is_hung;
}

sl_status sl_vk_fence_new(sl_ctx *ctx, sl_vk_device *d, VkFence *out)
{
    const VkFenceCreateInfo info = { .sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO };
    VkResult result = d->vk.vkCreateFence(d->device, &info, NULL, out);
    if (result != VK_SUCCESS) {
        *out = VK_NULL_HANDLE;
        return sl_vk_fail(ctx, result, "making a fence");
    }
    sl_vk_count_object(1);
    return SL_OK;
}

void sl_vk_fence_free(sl_vk_device *d, VkFence *fence)
{
    if (*fence && sl_vk_settle(d)) {
        d->vk.vkDestroyFence(d->device, *fence, NULL);
        sl_vk_count_object(-1);
    }
    *fence = VK_NULL_HANDLE;
}
