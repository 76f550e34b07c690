// SPDX-License-Identifier: MIT
// vulkan/record.c: a program as command buffers, one for each of its pieces: copies in, dispatches
// with the barriers that their data needs, copies out.
#include "vulkan/program.h"

// ---- which buffer a range lies in

static VkDescriptorBufferInfo place_of(const sl_vk_recorder *r, const sl_vk_range *range)
{
    const sl_vk_buffer *b = r->arena;
    switch (range->space) {
    case SL_VK_OLD_WEIGHTS:
        b = sl_vk_weights_block(r->device, range->block);
        break;
    case SL_VK_SLOTS:
        b = r->slots;
        break;
    case SL_VK_SIZES:
        b = r->sizes;
        break;
    case SL_VK_NOWHERE: // never read; a binding must be something, and nothing writes there
        return (VkDescriptorBufferInfo) { r->slots->buffer, 0, VK_WHOLE_SIZE };
    default:
        break;
    }
    return (VkDescriptorBufferInfo) { b->buffer, range->offset, range->bytes };
}

// ---- descriptor sets: one per dispatch, written once

static sl_status make_pool(sl_ctx *ctx, const sl_vk_recorder *r, sl_vk_recording *out)
{
    sl_vk_device *d = r->device;
    uint32_t bindings = 0;
    for (size_t i = 0; i < r->program->count; i++)
        bindings += sl_vk_shader_get(r->program->dispatches[i].key.kernel)->buffers;
    const VkDescriptorPoolSize size = { VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                        bindings ? bindings : 1 };
    const VkDescriptorPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
        .maxSets = r->program->count ? (uint32_t)r->program->count : 1,
        .poolSizeCount = 1,
        .pPoolSizes = &size,
    };
    VkResult result = d->vk.vkCreateDescriptorPool(d->device, &info, NULL, &out->pool);
    if (result != VK_SUCCESS) {
        out->pool = VK_NULL_HANDLE;
        return sl_vk_fail(ctx, result, "making descriptors");
    }
    sl_vk_count_object(1);
    return SL_OK;
}

static sl_status make_set(sl_ctx *ctx, const sl_vk_recorder *r, sl_vk_recording *out, size_t i)
{
    sl_vk_device *d = r->device;
    const sl_vk_dispatch *dispatch = &r->program->dispatches[i];
    uint32_t buffers = sl_vk_shader_get(dispatch->key.kernel)->buffers;
    const VkDescriptorSetAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = out->pool,
        .descriptorSetCount = 1,
        .pSetLayouts = &d->set_layout[buffers],
    };
    VkResult result = d->vk.vkAllocateDescriptorSets(d->device, &info, &out->sets[i]);
    if (result != VK_SUCCESS)
        return sl_vk_fail(ctx, result, "making descriptors");
    VkDescriptorBufferInfo places[SL_VK_MAX_BUFFERS];
    for (uint32_t k = 0; k < buffers; k++)
        places[k] = place_of(r, &dispatch->buffer[k]);
    const VkWriteDescriptorSet write = {
        .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
        .dstSet = out->sets[i],
        .descriptorCount = buffers,
        .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
        .pBufferInfo = places,
    };
    d->vk.vkUpdateDescriptorSets(d->device, 1, &write, 0, NULL);
    return SL_OK;
}

// ---- hazards: what was read and written since the last barrier

#define MAX_ACCESSES 64 // a barrier comes at the latest when these are full

typedef struct access {
    VkBuffer buffer;
    VkDeviceSize first, end;
    bool write;
} access;

// Barriers hold for all that is before them in the queue, so pieces need no more of them.
typedef struct tracker {
    const sl_vk_recorder *recorder;
    const sl_vk_recording *recording;
    uint32_t piece;
    VkCommandBuffer commands; // of the piece
    access accesses[MAX_ACCESSES];
    size_t count;
} tracker;

static void barrier(tracker *t)
{
    const VkPipelineStageFlags work =
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    const VkMemoryBarrier all = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                         VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT |
                         VK_ACCESS_INDIRECT_COMMAND_READ_BIT,
    };
    t->recorder->device->vk.vkCmdPipelineBarrier(
        t->commands, work | VK_PIPELINE_STAGE_DRAW_INDIRECT_BIT,
        work | VK_PIPELINE_STAGE_DRAW_INDIRECT_BIT, 0, 1, &all, 0, NULL, 0, NULL);
    t->count = 0;
}

static bool collides(const tracker *t, const access *a)
{
    for (size_t i = 0; i < t->count; i++) {
        const access *b = &t->accesses[i];
        if (b->buffer == a->buffer && (a->write || b->write) && a->first < b->end &&
            b->first < a->end)
            return true;
    }
    return false;
}

// Before a command with these accesses.
static void order(tracker *t, const access *accesses, size_t count)
{
    bool wait = t->count + count > MAX_ACCESSES;
    for (size_t i = 0; i < count; i++)
        wait = wait || collides(t, &accesses[i]);
    if (wait)
        barrier(t);
    memcpy(t->accesses + t->count, accesses, count * sizeof(*accesses));
    t->count += count;
}

static size_t accesses_of(const sl_vk_recorder *r, const sl_vk_dispatch *d, access *out)
{
    size_t count = 0;
    for (unsigned k = 0; k < SL_VK_MAX_BUFFERS; k++) {
        const sl_vk_range *range = &d->buffer[k];
        // Weights and slots are never written while a program runs.
        if (range->space != SL_VK_ARENA && range->space != SL_VK_SIZES)
            continue;
        VkDescriptorBufferInfo place = place_of(r, range);
        out[count++] = (access) { place.buffer, place.offset, place.offset + place.range,
                                  (d->writes >> k & 1) != 0 };
    }
    if (d->slot != SL_VK_NO_SLOT)
        out[count++] = (access) { r->sizes->buffer, (VkDeviceSize)d->slot * 16,
                                  (VkDeviceSize)d->slot * 16 + 16, false };
    return count;
}

// ---- commands

static VkResult begin_piece(tracker *t, uint32_t piece)
{
    const VkCommandBufferBeginInfo begin = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO };
    t->piece = piece;
    t->commands = t->recording->commands[piece];
    return t->recorder->device->vk.vkBeginCommandBuffer(t->commands, &begin);
}

static VkResult next_piece(tracker *t)
{
    VkResult result = t->recorder->device->vk.vkEndCommandBuffer(t->commands);
    return result == VK_SUCCESS ? begin_piece(t, t->piece + 1) : result;
}

static void record_dispatch(tracker *t, size_t i)
{
    const sl_vk_recorder *r = t->recorder;
    const sl_vk_functions *vk = &r->device->vk;
    const sl_vk_dispatch *d = &r->program->dispatches[i];
    VkPipelineLayout layout = r->device->layout[sl_vk_shader_get(d->key.kernel)->buffers];
    access accesses[SL_VK_MAX_BUFFERS + 1];
    order(t, accesses, accesses_of(r, d, accesses));
    vk->vkCmdBindPipeline(t->commands, VK_PIPELINE_BIND_POINT_COMPUTE,
                          sl_vk_pipeline_get(r->device, &d->key));
    vk->vkCmdBindDescriptorSets(t->commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1,
                                &t->recording->sets[i], 0, NULL);
    if (d->push_bytes)
        vk->vkCmdPushConstants(t->commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, d->push_bytes,
                               d->push);
    if (d->slot != SL_VK_NO_SLOT)
        vk->vkCmdDispatchIndirect(t->commands, r->sizes->buffer, (VkDeviceSize)d->slot * 16);
    else
        vk->vkCmdDispatch(t->commands, d->groups[0], d->groups[1], d->groups[2]);
}

static void record_copies_in(tracker *t)
{
    const sl_vk_recorder *r = t->recorder;
    for (size_t i = 0; i < r->in_count; i++) {
        const sl_vk_copy *c = &r->in[i];
        const VkBufferCopy copy = { c->host, c->arena, c->bytes };
        const access written = { r->arena->buffer, c->arena, c->arena + c->bytes, true };
        order(t, &written, 1);
        r->device->vk.vkCmdCopyBuffer(t->commands, r->upload->buffer, r->arena->buffer, 1, &copy);
    }
}

static void record_copies_out(tracker *t)
{
    const sl_vk_recorder *r = t->recorder;
    const VkMemoryBarrier to_host = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_HOST_READ_BIT,
    };
    for (size_t i = 0; i < r->out_count; i++) {
        const sl_vk_copy *c = &r->out[i];
        const VkBufferCopy copy = { c->arena, c->host, c->bytes };
        const access read = { r->arena->buffer, c->arena, c->arena + c->bytes, false };
        order(t, &read, 1);
        r->device->vk.vkCmdCopyBuffer(t->commands, r->arena->buffer, r->readback->buffer, 1, &copy);
    }
    if (r->queries && r->sizes->bytes) {
        const VkBufferCopy copy = { 0, r->sizes_at, r->sizes->bytes };
        const access read = { r->sizes->buffer, 0, r->sizes->bytes, false };
        order(t, &read, 1);
        r->device->vk.vkCmdCopyBuffer(t->commands, r->sizes->buffer, r->readback->buffer, 1, &copy);
    }
    // Behind the barrier, for it may not arrive before the results.
    const VkBufferCopy number = { r->number_from, r->number_to, sizeof(uint32_t) };
    barrier(t);
    r->device->vk.vkCmdCopyBuffer(t->commands, r->upload->buffer, r->readback->buffer, 1, &number);
    r->device->vk.vkCmdPipelineBarrier(t->commands, VK_PIPELINE_STAGE_TRANSFER_BIT,
                                       VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &to_host, 0, NULL, 0,
                                       NULL);
}

static void stamp(const tracker *t, uint32_t query)
{
    const sl_vk_recorder *r = t->recorder;
    if (r->queries)
        r->device->vk.vkCmdWriteTimestamp(t->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT,
                                          r->queries, query);
}

// Nodes in order, each with a timestamp behind it; the first one stands before them all.
static VkResult record_nodes(tracker *t)
{
    const sl_vk_program *p = t->recorder->program;
    VkResult result = VK_SUCCESS;
    size_t next = 0;
    stamp(t, 0);
    for (uint32_t n = 0; n < p->graph->node_count; n++) {
        for (; next < p->count && p->dispatches[next].node == n; next++) {
            if (p->dispatches[next].begins_piece)
                result = next_piece(t);
            if (result != VK_SUCCESS)
                return result;
            record_dispatch(t, next);
        }
        stamp(t, n + 1);
    }
    return VK_SUCCESS;
}

sl_status sl_vk_record(sl_ctx *ctx, const sl_vk_recorder *r, sl_vk_recording *recording)
{
    sl_vk_device *d = r->device;
    tracker t = { .recorder = r, .recording = recording };
    recording->is_complete = false;
    VkResult result = begin_piece(&t, 0);
    if (result != VK_SUCCESS)
        return sl_vk_fail(ctx, result, "recording commands");
    if (r->queries)
        d->vk.vkCmdResetQueryPool(t.commands, r->queries, 0,
                                  (uint32_t)r->program->graph->node_count + 1);
    barrier(&t); // another run of this plan may be before this one in the queue
    record_copies_in(&t);
    result = record_nodes(&t);
    if (result == VK_SUCCESS) {
        record_copies_out(&t);
        result = d->vk.vkEndCommandBuffer(t.commands);
    }
    recording->is_complete = result == VK_SUCCESS;
    return result == VK_SUCCESS ? SL_OK : sl_vk_fail(ctx, result, "recording commands");
}

static sl_status make_commands(sl_ctx *ctx, const sl_vk_recorder *r, sl_vk_recording *out)
{
    sl_vk_device *d = r->device;
    const VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = d->commands,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = r->program->pieces,
    };
    out->commands = sl_alloc(ctx, info.commandBufferCount, sizeof(*out->commands));
    if (!out->commands)
        return SL_ERR_NOMEM;
    VkResult result = d->vk.vkAllocateCommandBuffers(d->device, &info, out->commands);
    if (result != VK_SUCCESS)
        return sl_vk_fail(ctx, result, "making a command buffer");
    out->count = info.commandBufferCount;
    sl_vk_count_object((int)out->count);
    return SL_OK;
}

sl_status sl_vk_record_new(sl_ctx *ctx, const sl_vk_recorder *r, sl_vk_recording *out)
{
    sl_vk_device *d = r->device;
    *out = (sl_vk_recording) { .sets = sl_alloc(ctx, r->program->count, sizeof(VkDescriptorSet)) };
    sl_status st = out->sets ? make_pool(ctx, r, out) : SL_ERR_NOMEM;
    for (size_t i = 0; i < r->program->count && st == SL_OK; i++)
        st = make_set(ctx, r, out, i);
    if (st == SL_OK)
        st = make_commands(ctx, r, out);
    if (st == SL_OK)
        st = sl_vk_record(ctx, r, out);
    if (st != SL_OK)
        sl_vk_record_free(d, out);
    return st;
}

void sl_vk_record_free(sl_vk_device *d, sl_vk_recording *recording)
{
    bool settled = sl_vk_settle(d); // what a hung device may still use stays
    if (settled && recording->count) {
        d->vk.vkFreeCommandBuffers(d->device, d->commands, recording->count, recording->commands);
        sl_vk_count_object(-(int)recording->count);
    }
    if (settled && recording->pool) {
        d->vk.vkDestroyDescriptorPool(d->device, recording->pool, NULL);
        sl_vk_count_object(-1);
    }
    free(recording->commands);
    free(recording->sets);
    *recording = (sl_vk_recording) { 0 };
}
