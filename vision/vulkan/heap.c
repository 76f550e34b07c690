// SPDX-License-Identifier: MIT
// vulkan/heap.c: device memory in few large blocks, from which buffers take spans. Drivers allow
// few allocations (4096 by the standard), and each is slow; a buffer that would fill most of a
// block gets one of its own. A block goes back as soon as nothing lies in it, so that what a plan
// leaves can serve the next one.
#include "vulkan/vk.h"

#define BLOCK_BYTES ((VkDeviceSize)32 << 20)
#define ALIGN ((VkDeviceSize)256) // the coarsest atom of flushing that the standard allows

typedef struct span {
    VkDeviceSize first, end;
} span;

struct sl_vk_block {
    VkDeviceMemory memory;
    uint32_t type;
    bool is_mapped;
    VkDeviceSize bytes;
    uint8_t *mapped;
    span *spans; // ascending
    size_t count, capacity;
};

static VkDeviceSize up_to(VkDeviceSize n, VkDeviceSize step)
{
    return (n + step - 1) / step * step;
}

// ---- blocks

static void free_block(sl_vk_device *d, sl_vk_block *block)
{
    if (block->memory) { // which also ends its mapping
        d->vk.vkFreeMemory(d->device, block->memory, NULL);
        sl_vk_count_object(-1);
    }
    free(block->spans);
    free(block);
}

static VkResult allocate(sl_vk_device *d, sl_vk_block *block)
{
    const VkMemoryAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                        .allocationSize = block->bytes,
                                        .memoryTypeIndex = block->type };
    VkResult result = d->vk.vkAllocateMemory(d->device, &info, NULL, &block->memory);
    if (result != VK_SUCCESS) {
        block->memory = VK_NULL_HANDLE;
        return result;
    }
    sl_vk_count_object(1);
    return block->is_mapped ? d->vk.vkMapMemory(d->device, block->memory, 0, VK_WHOLE_SIZE, 0,
                                                (void **)&block->mapped)
                            : VK_SUCCESS;
}

static VkDeviceSize usual_bytes(const sl_vk_device *d, uint32_t type)
{
    const VkPhysicalDeviceMemoryProperties *m = &d->memory;
    VkDeviceSize heap = m->memoryHeaps[m->memoryTypes[type].heapIndex].size;
    VkDeviceSize bytes = heap / 16 < BLOCK_BYTES ? heap / 16 : BLOCK_BYTES;
    return bytes < d->info.limits.allocation ? bytes / ALIGN * ALIGN : 0;
}

static sl_status add_block(sl_ctx *ctx, sl_vk_device *d, VkDeviceSize bytes, uint32_t type,
                           bool is_mapped, sl_vk_block **out)
{
    sl_status st = sl_vk_grow(ctx, (void **)&d->blocks, d->block_count, &d->block_capacity,
                              sizeof(*d->blocks));
    if (st != SL_OK)
        return st;
    if (d->block_count >= d->info.limits.allocations)
        return sl_vk_fail(ctx, VK_ERROR_TOO_MANY_OBJECTS, "allocating memory");
    sl_vk_block *block = sl_alloc(ctx, 1, sizeof(*block));
    if (!block)
        return SL_ERR_NOMEM;
    VkDeviceSize usual = usual_bytes(d, type);
    *block = (sl_vk_block) { .type = type, .is_mapped = is_mapped };
    block->bytes = bytes <= usual / 2 ? usual : bytes;
    VkResult result = allocate(d, block);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY && block->bytes > bytes && !block->memory) {
        block->bytes = bytes; // what is left may do for this one
        result = allocate(d, block);
    }
    if (result != VK_SUCCESS) {
        free_block(d, block);
        return sl_vk_fail(ctx, result, "allocating memory");
    }
    d->blocks[d->block_count++] = *out = block;
    return SL_OK;
}

// ---- spans

// The first gap that is large enough; *at: its place among the spans.
static bool find_gap(const sl_vk_block *block, VkDeviceSize bytes, VkDeviceSize alignment,
                     VkDeviceSize *first, size_t *at)
{
    VkDeviceSize end = 0;
    for (size_t i = 0; i <= block->count; i++) {
        VkDeviceSize limit = i < block->count ? block->spans[i].first : block->bytes;
        *first = up_to(end, alignment);
        *at = i;
        if (*first <= limit && bytes <= limit - *first)
            return true;
        if (i < block->count)
            end = block->spans[i].end;
    }
    return false;
}

static sl_status insert(sl_ctx *ctx, sl_vk_block *block, const span *s, size_t at)
{
    sl_status st =
        sl_vk_grow(ctx, (void **)&block->spans, block->count, &block->capacity, sizeof(*s));
    if (st != SL_OK)
        return st;
    memmove(block->spans + at + 1, block->spans + at, (block->count - at) * sizeof(*s));
    block->spans[at] = *s;
    block->count++;
    return SL_OK;
}

static void drop_if_empty(sl_vk_device *d, sl_vk_block *block)
{
    if (block->count > 0)
        return;
    for (size_t i = 0; i < d->block_count; i++)
        if (d->blocks[i] == block)
            d->blocks[i] = d->blocks[--d->block_count];
    free_block(d, block);
}

sl_status sl_vk_span_take(sl_ctx *ctx, sl_vk_device *d, const VkMemoryRequirements *need,
                          uint32_t type, bool is_mapped, sl_vk_span *out)
{
    VkDeviceSize alignment = need->alignment > ALIGN ? need->alignment : ALIGN;
    VkDeviceSize bytes = up_to(need->size, ALIGN), first = 0;
    sl_vk_block *block = NULL;
    size_t at = 0;
    for (size_t i = 0; i < d->block_count && !block; i++)
        if (d->blocks[i]->type == type && d->blocks[i]->is_mapped == is_mapped &&
            find_gap(d->blocks[i], bytes, alignment, &first, &at))
            block = d->blocks[i];
    sl_status st = SL_OK;
    if (!block) {
        st = add_block(ctx, d, bytes, type, is_mapped, &block);
        first = 0;
        at = 0;
    }
    if (st != SL_OK)
        return st;
    st = insert(ctx, block, &(span) { first, first + bytes }, at);
    if (st != SL_OK) {
        drop_if_empty(d, block);
        return st;
    }
    *out = (sl_vk_span) { block, block->memory, first, bytes,
                          block->mapped ? block->mapped + first : NULL };
    return SL_OK;
}

void sl_vk_span_return(sl_vk_device *d, const sl_vk_span *s)
{
    sl_vk_block *block = s->block;
    size_t at = 0;
    if (!block)
        return;
    while (at < block->count && block->spans[at].first != s->offset)
        at++;
    if (at < block->count) {
        block->count--;
        memmove(block->spans + at, block->spans + at + 1, (block->count - at) * sizeof(span));
    }
    drop_if_empty(d, block);
}
