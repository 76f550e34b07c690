// SPDX-License-Identifier: MIT
// cpu/weights.c: packed weights and memory for activations, kept from plan to plan.
#include "cpu/weights.h"

#include <sys/mman.h>

typedef struct block {
    struct block *next;
    void *data;
} block;

// What prepare() made of one node's weights.
typedef struct entry {
    sl_op op;
    const sl_kernels *kernels;
    const sl_tensor *first; // the key: a node's weights are told apart by the first of them
    void *state;
} entry;

struct sl_cpu_weights {
    block *blocks;
    size_t bytes;
    entry *entries;
    size_t count, capacity;
    sl_cpu_arena spare; // of plans that are gone
};

sl_status sl_cpu_weights_new(sl_ctx *ctx, sl_cpu_weights **out)
{
    *out = sl_alloc(ctx, 1, sizeof **out);
    return *out ? SL_OK : SL_ERR_NOMEM;
}

static void unmap(sl_cpu_arena *arena)
{
    if (arena->data)
        munmap(arena->data, arena->bytes);
    *arena = (sl_cpu_arena) { 0 };
}

sl_status sl_cpu_arena_take(sl_ctx *ctx, sl_cpu_weights *weights, size_t bytes, sl_cpu_arena *out)
{
    *out = weights->spare;
    weights->spare = (sl_cpu_arena) { 0 };
    if (out->data && out->bytes >= bytes)
        return SL_OK;
    unmap(out);
    // Pages of the system, not touched before a run needs them.
    size_t mapped = bytes ? bytes : 1;
    void *data = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory: %zu bytes of activations", bytes);
    *out = (sl_cpu_arena) { data, mapped };
    sl_wish_large_pages(data, mapped);
    return SL_OK;
}

void sl_cpu_arena_give(sl_cpu_weights *weights, sl_cpu_arena *arena)
{
    const sl_cpu_arena before = weights->spare;
    bool is_larger = arena->bytes > before.bytes;
    weights->spare = is_larger ? *arena : before;
    *arena = is_larger ? before : *arena;
    unmap(arena);
}

void sl_cpu_weights_free(sl_cpu_weights *weights)
{
    if (!weights)
        return;
    for (block *b = weights->blocks, *next; b; b = next) {
        next = b->next;
        free(b->data);
        free(b);
    }
    free(weights->entries);
    unmap(&weights->spare);
    free(weights);
}

size_t sl_cpu_weights_bytes(const sl_cpu_weights *weights)
{
    return weights->bytes;
}

void *sl_cpu_weights_alloc(sl_ctx *ctx, sl_cpu_weights *weights, size_t count, size_t size)
{
    block *b = malloc(sizeof *b);
    void *data = b ? sl_alloc(ctx, count, size) : NULL;
    if (!data) {
        if (!b)
            sl_fail(ctx, SL_ERR_NOMEM, "out of memory while packing weights");
        free(b);
        return NULL;
    }
    *b = (block) { weights->blocks, data };
    weights->blocks = b;
    weights->bytes += count * size; // checked by sl_alloc
    return data;
}

static bool count_numbers(sl_ctx *ctx, const sl_tensor *tensor, size_t *count)
{
    bool fits = sl_shape_elements(&tensor->shape, count);
    if (!fits)
        sl_fail(ctx, SL_ERR_NOMEM, "tensor %s is too large", tensor->name);
    return fits;
}

float *sl_cpu_weights_f32(sl_ctx *ctx, sl_cpu_weights *weights, const sl_tensor *tensor)
{
    size_t count = 0;
    float *data = NULL;
    if (count_numbers(ctx, tensor, &count))
        data = sl_cpu_weights_alloc(ctx, weights, count, sizeof *data);
    if (data)
        sl_tensor_to_f32(tensor, data);
    return data;
}

const float *sl_cpu_tensor_f32(sl_ctx *ctx, sl_arena *arena, const sl_tensor *tensor)
{
    size_t count = 0;
    float *copy = NULL;
    if (tensor->dtype == SL_F32 && (uintptr_t)tensor->data % _Alignof(float) == 0)
        return tensor->data;
    if (count_numbers(ctx, tensor, &count))
        copy = sl_arena_alloc(ctx, arena, count, sizeof *copy);
    if (copy)
        sl_tensor_to_f32(tensor, copy);
    return copy;
}

sl_status sl_cpu_weights_pack(sl_ctx *ctx, sl_cpu_weights *weights, const sl_kernels *kernels,
                              const float *matrix, size_t n, size_t k, sl_packed *out)
{
    float *panels = sl_cpu_weights_alloc(ctx, weights, kernels->pack_floats(n, k), sizeof *panels);
    if (!panels)
        return SL_ERR_NOMEM;
    kernels->pack(matrix, k, n, k, panels);
    *out = (sl_packed) { .n = n, .k = k, .panels = panels };
    return SL_OK;
}

sl_status sl_cpu_weights_pack_tensor(sl_ctx *ctx, sl_cpu_weights *weights,
                                     const sl_kernels *kernels, const sl_tensor *tensor,
                                     sl_packed *out)
{
    size_t n = (size_t)tensor->shape.dim[0], k = (size_t)tensor->shape.dim[1];
    sl_arena arena = { 0 };
    const float *matrix = sl_cpu_tensor_f32(ctx, &arena, tensor);
    sl_status st =
        matrix ? sl_cpu_weights_pack(ctx, weights, kernels, matrix, n, k, out) : SL_ERR_NOMEM;
    sl_arena_free(&arena);
    return st;
}

static entry *find_entry(const sl_cpu_weights *weights, const sl_node *node,
                         const sl_kernels *kernels)
{
    for (size_t i = 0; i < weights->count; i++) {
        entry *e = &weights->entries[i];
        if (e->first == node->weight[0] && e->op == node->op && e->kernels == kernels)
            return e;
    }
    return NULL;
}

sl_status sl_cpu_weights_prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                                 const sl_node *node, const sl_kernels *kernels, const void **state)
{
    const sl_cpu_op *op = sl_cpu_op_get(node->op);
    *state = NULL;
    if (!op->prepare)
        return SL_OK;
    entry *known = find_entry(weights, node, kernels);
    if (known) {
        *state = known->state;
        return SL_OK;
    }
    if (weights->count == weights->capacity) {
        size_t capacity = weights->capacity ? 2 * weights->capacity : 64;
        entry *grown = realloc(weights->entries, capacity * sizeof *grown);
        if (!grown)
            return sl_fail(ctx, SL_ERR_NOMEM, "out of memory while packing weights");
        weights->entries = grown;
        weights->capacity = capacity;
    }
    void *made = NULL;
    sl_status st = op->prepare(ctx, weights, g, node, kernels, &made);
    if (st != SL_OK)
        return st; // what it took stays with the cache until that is freed
    weights->entries[weights->count++] =
        (entry) { .op = node->op, .kernels = kernels, .first = node->weight[0], .state = made };
    *state = made;
    return SL_OK;
}
