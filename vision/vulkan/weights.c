// SPDX-License-Identifier: MIT
// vulkan/weights.c: weights in the forms that kernels want, uploaded once per device. New ones
// gather in the program's blob while ops are emitted and go up in one piece.
#include "vulkan/program.h"

typedef struct entry {
    const sl_tensor *tensor;
    sl_vk_form form;
    bool half;
    uint32_t block; // UINT32_MAX while it lies in the program's blob
    uint64_t offset, bytes;
} entry;

struct sl_vk_weights {
    entry *entries;
    size_t count, capacity;
    sl_vk_buffer *blocks;
    uint32_t block_count;
};

static sl_vk_weights *table_of(sl_vk_program *p)
{
    if (!p->device->weights)
        p->device->weights = sl_alloc(p->ctx, 1, sizeof(sl_vk_weights));
    return p->device->weights;
}

static const entry *find(const sl_vk_weights *w, const sl_tensor *tensor, sl_vk_form form,
                         bool half)
{
    for (size_t i = 0; i < w->count; i++) {
        const entry *e = &w->entries[i];
        if (e->tensor == tensor && e->form == form && e->half == half)
            return e;
    }
    return NULL;
}

// Matrices are what a program in f16 keeps in f16; the few other weights stay exact.
static bool is_matrix(sl_vk_form form)
{
    return form == SL_VK_MATRIX || form == SL_VK_QKV || form == SL_VK_CONV || form == SL_VK_UP ||
           form == SL_VK_FOLDED;
}

// In place: the numbers' first half of bytes becomes f16.
static void to_half(float *data, size_t numbers)
{
    uint8_t *out = (uint8_t *)data;
    for (size_t i = 0; i < numbers; i++) {
        uint16_t half = sl_f32_to_f16(data[i]);
        memcpy(out + 2 * i, &half, sizeof(half));
    }
}

static sl_status add(sl_vk_program *p, sl_vk_weights *w, const entry *e)
{
    if (w->count == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 256;
        entry *wider = sl_alloc(p->ctx, capacity, sizeof(*wider));
        if (!wider)
            return SL_ERR_NOMEM;
        if (w->count)
            memcpy(wider, w->entries, w->count * sizeof(*wider));
        free(w->entries);
        w->entries = wider;
        w->capacity = capacity;
    }
    w->entries[w->count++] = *e;
    return SL_OK;
}

static sl_vk_range range_of(const entry *e)
{
    bool fresh = e->block == UINT32_MAX;
    return (sl_vk_range) { .space = fresh ? SL_VK_NEW_WEIGHTS : SL_VK_OLD_WEIGHTS,
                           .block = e->block,
                           .offset = e->offset,
                           .bytes = e->bytes };
}

// `bytes` of numbers at the end of the program's blob, where the next binding may begin.
static sl_status append(sl_vk_program *p, const void *data, uint64_t bytes, uint64_t *offset)
{
    static const uint8_t zeros[256];
    sl_status st = SL_OK;
    *offset = sl_vk_align(p->weights.size);
    if (*offset > p->weights.size)
        st = sl_blob_append(p->ctx, &p->weights, &p->weights_capacity, zeros,
                            *offset - p->weights.size);
    if (st == SL_OK)
        st = sl_blob_append(p->ctx, &p->weights, &p->weights_capacity, data, bytes);
    return st;
}

sl_status sl_vk_weight(sl_vk_program *p, const sl_node *node, size_t first, sl_vk_form form,
                       size_t numbers, sl_vk_fill fill, sl_vk_range *out)
{
    sl_vk_weights *w = table_of(p);
    if (!w)
        return SL_ERR_NOMEM;
    bool half = p->half && is_matrix(form);
    if (p->is_draft) {
        *out = (sl_vk_range) { .space = SL_VK_NEW_WEIGHTS };
        return SL_OK;
    }
    const entry *known = find(w, node->weight[first], form, half);
    if (known) {
        *out = range_of(known);
        return SL_OK;
    }
    entry e = { .tensor = node->weight[first],
                .form = form,
                .half = half,
                .block = UINT32_MAX,
                .bytes = numbers * (half ? sizeof(uint16_t) : sizeof(float)) };
    float *data = sl_alloc(p->ctx, numbers, sizeof(float));
    sl_status st = data ? fill(p->ctx, node, first, data, numbers) : SL_ERR_NOMEM;
    if (st == SL_OK && half)
        to_half(data, numbers);
    if (st == SL_OK)
        st = append(p, data, e.bytes, &e.offset);
    if (st == SL_OK)
        st = add(p, w, &e);
    free(data);
    *out = range_of(&e);
    return st;
}

static sl_status fill_plain(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                            size_t numbers)
{
    (void)ctx;
    (void)numbers;
    sl_tensor_to_f32(node->weight[first], out);
    return SL_OK;
}

sl_status sl_vk_plain(sl_vk_program *p, const sl_node *node, size_t weight, sl_vk_range *out)
{
    size_t numbers;
    if (!sl_shape_elements(&node->weight[weight]->shape, &numbers))
        return sl_fail(p->ctx, SL_ERR_LIMIT, "a weight of %s exceeds memory", node->label);
    return sl_vk_weight(p, node, weight, SL_VK_PLAIN, numbers, fill_plain, out);
}

// ---- uploading

sl_status sl_vk_weights_upload(sl_vk_program *p)
{
    sl_vk_weights *w = p->device->weights;
    if (p->weights.size == 0)
        return SL_OK;
    sl_vk_buffer *blocks = sl_alloc(p->ctx, (size_t)w->block_count + 1, sizeof(*blocks));
    if (!blocks)
        return SL_ERR_NOMEM;
    if (w->block_count)
        memcpy(blocks, w->blocks, w->block_count * sizeof(*blocks));
    free(w->blocks);
    w->blocks = blocks;
    sl_vk_buffer *block = &blocks[w->block_count];
    sl_status st = sl_vk_buffer_new(p->ctx, p->device, p->weights.size, SL_VK_DEVICE, block);
    if (st != SL_OK)
        return st;
    st = sl_vk_upload(p->ctx, p->device, block, 0, p->weights.data, p->weights.size);
    if (st != SL_OK) {
        sl_vk_buffer_free(p->device, block);
        return st;
    }
    for (size_t i = 0; i < w->count; i++)
        if (w->entries[i].block == UINT32_MAX)
            w->entries[i].block = w->block_count;
    for (size_t i = 0; i < p->count; i++)
        for (unsigned k = 0; k < SL_VK_MAX_BUFFERS; k++)
            if (p->dispatches[i].buffer[k].space == SL_VK_NEW_WEIGHTS) {
                p->dispatches[i].buffer[k].space = SL_VK_OLD_WEIGHTS;
                p->dispatches[i].buffer[k].block = w->block_count;
            }
    w->block_count++;
    sl_blob_free(&p->weights);
    p->weights_capacity = 0;
    return SL_OK;
}

void sl_vk_weights_forget(sl_vk_device *d)
{
    sl_vk_weights *w = d->weights;
    size_t kept = 0;
    for (size_t i = 0; w && i < w->count; i++)
        if (w->entries[i].block != UINT32_MAX)
            w->entries[kept++] = w->entries[i];
    if (w)
        w->count = kept;
}

void sl_vk_weights_count(const sl_vk_device *d, size_t *count, uint32_t *blocks)
{
    *count = d->weights ? d->weights->count : 0;
    *blocks = d->weights ? d->weights->block_count : 0;
}

void sl_vk_weights_drop(sl_vk_device *d, size_t count, uint32_t blocks)
{
    sl_vk_weights *w = d->weights;
    while (w && w->block_count > blocks)
        sl_vk_buffer_free(d, &w->blocks[--w->block_count]);
    if (w && w->count > count)
        w->count = count;
}

const sl_vk_buffer *sl_vk_weights_block(const sl_vk_device *d, uint32_t block)
{
    return &d->weights->blocks[block];
}

size_t sl_vk_weights_bytes(const sl_vk_device *d)
{
    size_t bytes = 0;
    for (uint32_t i = 0; d->weights && i < d->weights->block_count; i++)
        bytes += d->weights->blocks[i].bytes;
    return bytes;
}

void sl_vk_weights_free(sl_vk_device *d)
{
    sl_vk_weights *w = d->weights;
    if (!w)
        return;
    for (uint32_t i = 0; i < w->block_count; i++)
        sl_vk_buffer_free(d, &w->blocks[i]);
    free(w->blocks);
    free(w->entries);
    free(w);
    d->weights = NULL;
}
