// SPDX-License-Identifier: MIT
// base/memory.c: aligned blocks, blobs, strings and arenas, all with checked sizes.
#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE_BLOCK ((size_t)4 << 20) // two large pages: one of them at least lies inside

static void *out_of_memory(sl_ctx *ctx, size_t bytes)
{
    sl_fail(ctx, SL_ERR_NOMEM, "out of memory: %zu bytes are not to be had", bytes);
    return NULL;
}

static void *size_overflow(sl_ctx *ctx, size_t count, size_t size)
{
    sl_fail(ctx, SL_ERR_NOMEM, "out of memory: %zu times %zu bytes exceed the address space", count,
            size);
    return NULL;
}

void *sl_alloc(sl_ctx *ctx, size_t count, size_t size)
{
    size_t bytes = 0, padded = 0;
    if (!sl_mul(count, size, &bytes) || !sl_add(bytes, SL_ALIGN - 1, &padded))
        return size_overflow(ctx, count, size);
    padded = padded / SL_ALIGN * SL_ALIGN; // aligned_alloc wants a multiple
    if (padded == 0)
        padded = SL_ALIGN;
    void *data = aligned_alloc(SL_ALIGN, padded);
    if (!data)
        return out_of_memory(ctx, bytes);
    memset(data, 0, padded);
    return data;
}

void sl_wish_large_pages(void *data, size_t bytes)
{
#if defined(MADV_HUGEPAGE)
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)data;
    if (bytes < LARGE_BLOCK)
        return;
    uintptr_t first = (begin + page - 1) / page * page, end = (begin + bytes) / page * page;
    madvise((uint8_t *)data + (first - begin), end - first, MADV_HUGEPAGE);
#else
    (void)data;
    (void)bytes;
#endif
}

char *sl_strdup(sl_ctx *ctx, const char *text)
{
    char *copy = strdup(text);
    return copy ? copy : out_of_memory(ctx, strlen(text) + 1);
}

char *sl_format(sl_ctx *ctx, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    return length >= 0 ? text : out_of_memory(ctx, strlen(format));
}

void sl_blob_free(sl_blob *blob)
{
    if (!blob)
        return;
    free(blob->data);
    *blob = (sl_blob) { NULL, 0 };
}

sl_status sl_blob_copy(sl_ctx *ctx, const void *data, size_t size, sl_blob *out)
{
    *out = (sl_blob) { NULL, 0 };
    if (size == 0)
        return SL_OK;
    uint8_t *copy = malloc(size);
    if (!copy) {
        out_of_memory(ctx, size);
        return SL_ERR_NOMEM;
    }
    memcpy(copy, data, size);
    *out = (sl_blob) { copy, size };
    return SL_OK;
}

sl_status sl_blob_append(sl_ctx *ctx, sl_blob *blob, size_t *capacity, const void *data,
                         size_t size)
{
    size_t need = 0;
    if (!sl_add(blob->size, size, &need)) {
        size_overflow(ctx, blob->size, size);
        return SL_ERR_NOMEM;
    }
    if (size == 0)
        return SL_OK;
    if (need > *capacity) {
        size_t wanted = need;
        // Growing by half keeps the copies of many small appends linear.
        if (sl_add(*capacity, *capacity / 2 + 256, &wanted) && wanted < need)
            wanted = need;
        uint8_t *grown = realloc(blob->data, wanted);
        if (!grown) {
            out_of_memory(ctx, wanted);
            return SL_ERR_NOMEM;
        }
        blob->data = grown;
        *capacity = wanted;
    }
    memcpy(blob->data + blob->size, data, size);
    blob->size = need;
    return SL_OK;
}

// ---- arena

#define ARENA_BLOCK 16384

typedef struct sl_arena_block {
    struct sl_arena_block *next;
    size_t used, size;
    _Alignas(max_align_t) uint8_t data[];
} sl_arena_block;

void *sl_arena_alloc(sl_ctx *ctx, sl_arena *arena, size_t count, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    size_t bytes = 0, padded = 0;
    if (!sl_mul(count, size, &bytes) || !sl_add(bytes, align - 1, &padded))
        return size_overflow(ctx, count, size);
    padded = padded / align * align;
    sl_arena_block *block = arena->blocks;
    if (!block || block->size - block->used < padded) {
        size_t room = padded > ARENA_BLOCK ? padded : ARENA_BLOCK, total = 0;
        if (!sl_add(room, sizeof(*block), &total))
            return size_overflow(ctx, count, size);
        block = calloc(1, total);
        if (!block)
            return out_of_memory(ctx, total);
        block->size = room;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *data = block->data + block->used;
    block->used += padded;
    return data;
}

char *sl_arena_strdup(sl_ctx *ctx, sl_arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = sl_arena_alloc(ctx, arena, size, 1);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void sl_arena_free(sl_arena *arena)
{
    if (!arena)
        return;
    for (sl_arena_block *block = arena->blocks; block;) {
        sl_arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->blocks = NULL;
}
