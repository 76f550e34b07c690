// SPDX-License-Identifier: MIT
// vulkan/soft_inverse.c: the inverse of the landmarks' kernel matrix, in f32 whatever the program's
// precision. A few landmarks are inverted by one workgroup a head, in its shared memory; more of
// them by products over all of the device. Nothing is read back: what SOFT-Norm decides for all
// heads together, each workgroup decides by itself from numbers that those before it left.
#include "vulkan/soft.h"

#define HALVINGS 10 // as in the shaders
#define RIDGE 0.01f
#define MOST_LANDMARKS 32767u // beyond, a matrix takes what no binding reaches

// ---- sizes

// Three matrices and a row of them, and a thread for each tile of 4 x 4.
static bool fits_shared(const sl_vk_limits *limits, uint64_t side)
{
    return (3 * side + 1) * side * sizeof(float) <= limits->shared_bytes && side <= 64;
}

void sl_vk_soft_plan_inverse(const sl_vk_program *p, sl_vk_soft *s)
{
    s->side = (s->landmarks + 3) / 4 * 4;
    s->in_shared = fits_shared(&p->device->info.limits, s->side);
    s->blocks = (s->landmarks + 255) / 256;
    s->matrix =
        (uint32_t)(sl_vk_align((uint64_t)s->side * s->side * sizeof(float)) / sizeof(float));
    s->matrix_bytes = (uint64_t)s->matrix * s->heads * sizeof(float);
    s->sums_bytes = sl_vk_align((uint64_t)s->heads * s->side * sizeof(float));
    s->rest_bytes = sl_vk_align((uint64_t)s->heads * s->blocks * HALVINGS * sizeof(float));
}

size_t sl_vk_soft_inverse_scratch(const sl_vk_soft *s)
{
    size_t all, rest = s->sums_bytes + s->rest_bytes + sl_vk_align(s->heads * sizeof(float));
    size_t matrix = sl_vk_align((uint64_t)s->side * s->side * sizeof(float));
    if (s->landmarks > MOST_LANDMARKS || !sl_mul(matrix, s->heads, &all) ||
        !sl_mul(all, s->in_shared ? 1 : 4, &all) || !sl_add(all, rest, &all))
        return SIZE_MAX;
    return all;
}

// ---- few landmarks

typedef enum invert_step { SUMS, RESIDUALS, INVERT } invert_step;

typedef struct invert_push {
    uint32_t landmarks, heads, matrix, iterations;
} invert_push;

typedef struct places {
    sl_vk_range marks, matrix[4], sums, rest, alpha;
} places;

static sl_status emit_invert(sl_vk_program *p, const sl_vk_soft *s, const places *at,
                             invert_step step)
{
    uint32_t tiles = s->side / 4 * (s->side / 4);
    invert_push push = { s->landmarks, s->heads, s->matrix, s->node->attr.iterations };
    sl_vk_dispatch d = { .key = { .kernel = SL_VK_SOFT_INVERT,
                                  .spec_count = 5,
                                  .spec = { (tiles + 31) / 32 * 32, s->side, s->depth,
                                            s->node->attr.inverse == SL_INVERSE_NORM, step } },
                         .buffer = { at->marks, at->sums, at->rest, at->matrix[0] },
                         .writes = 1u << 1 | 1u << 2 | 1u << 3,
                         .push_bytes = sizeof(push),
                         .groups = { s->heads, 1, 1 },
                         .slot = SL_VK_NO_SLOT };
    memcpy(d.push, &push, sizeof(push));
    return sl_vk_emit(p, &d);
}

static sl_status emit_in_shared(sl_vk_program *p, const sl_vk_soft *s, const places *at)
{
    sl_status st = SL_OK;
    if (s->node->attr.inverse == SL_INVERSE_NORM) {
        st = emit_invert(p, s, at, SUMS);
        if (st == SL_OK)
            st = emit_invert(p, s, at, RESIDUALS);
    }
    return st == SL_OK ? emit_invert(p, s, at, INVERT) : st;
}

// ---- many landmarks

typedef struct kernel_push {
    uint32_t landmarks, side, matrix;
    float ridge;
} kernel_push;

static sl_status emit_kernel(sl_vk_program *p, const sl_vk_soft *s, const places *at)
{
    kernel_push push = { s->landmarks, s->side, s->matrix,
                         s->node->attr.inverse == SL_INVERSE_NORM ? 0 : RIDGE };
    sl_vk_dispatch d = {
        .key = { .kernel = SL_VK_SOFT_KERNEL, .spec_count = 1, .spec = { s->depth } },
        .buffer = { at->marks, at->matrix[0], at->sums },
        .writes = 1u << 1 | 1u << 2,
        .push_bytes = sizeof(push),
        .groups = { s->side, s->heads, 1 },
        .slot = SL_VK_NO_SLOT
    };
    memcpy(d.push, &push, sizeof(push));
    return sl_vk_emit(p, &d);
}

typedef enum start_step { FIRST_ALPHA, ALL_RESIDUALS, HALVED_ALPHA } start_step;

typedef struct start_push {
    uint32_t landmarks, side, matrix, heads, blocks;
} start_push;

// square: K2 K2, for ALL_RESIDUALS.
static sl_status emit_start(sl_vk_program *p, const sl_vk_soft *s, const places *at,
                            sl_vk_range square, start_step step)
{
    start_push push = { s->landmarks, s->side, s->matrix, s->heads, s->blocks };
    sl_vk_dispatch d = { .key = { .kernel = SL_VK_SOFT_START,
                                  .spec_count = 2,
                                  .spec = { step, s->node->attr.inverse == SL_INVERSE_NORM } },
                         .buffer = { at->sums, square, at->rest, at->alpha },
                         .writes = 1u << 2 | 1u << 3,
                         .push_bytes = sizeof(push),
                         .groups = { step == ALL_RESIDUALS ? s->blocks : s->heads,
                                     step == ALL_RESIDUALS ? s->heads : 1, 1 },
                         .slot = SL_VK_NO_SLOT };
    memcpy(d.push, &push, sizeof(push));
    return sl_vk_emit(p, &d);
}

typedef struct product_push {
    uint32_t landmarks, side, matrix;
} product_push;

// c = f a b, or f (2a - a b), f being alpha in the first iteration and else 1; see the shader.
typedef struct product {
    sl_vk_range a, b, c;
    bool is_newton, is_first, is_last;
} product;

// Small tiles, until large ones are enough to keep a device busy.
static uint32_t tile_of(const sl_vk_soft *s)
{
    uint64_t rows = (s->side + 63) / 64;
    return rows * rows * s->heads < 512 ? 32 : 64;
}

static sl_status emit_product(sl_vk_program *p, const sl_vk_soft *s, const places *at,
                              const product *m)
{
    uint32_t tile = tile_of(s), tiles = (s->side + tile - 1) / tile;
    product_push push = { s->landmarks, s->side, s->matrix };
    sl_vk_dispatch d = { .key = { .kernel = SL_VK_SOFT_PRODUCT,
                                  .spec_count = 6,
                                  .spec = { tile / 4 * (tile / 4), tile, m->is_newton, m->is_first,
                                            m->is_last,
                                            s->node->attr.inverse == SL_INVERSE_NORM } },
                         .buffer = { m->a, m->b, at->alpha, at->sums, m->c },
                         .writes = 1u << 4,
                         .push_bytes = sizeof(push),
                         .groups = { tiles, tiles, s->heads },
                         .slot = SL_VK_NO_SLOT };
    memcpy(d.push, &push, sizeof(push));
    return sl_vk_emit(p, &d);
}

// t = p z, then z = 2z - z t into the other of two places; z begins as alpha p.
static sl_status emit_iterations(sl_vk_program *p, const sl_vk_soft *s, const places *at,
                                 sl_vk_range *inverse)
{
    uint32_t iterations = s->node->attr.iterations;
    sl_status st = SL_OK;
    *inverse = at->matrix[0];
    for (uint32_t i = 0; i < iterations && st == SL_OK; i++) {
        product times = {
            .a = at->matrix[0], .b = *inverse, .c = at->matrix[1], .is_first = i == 0
        };
        product newton = { .a = *inverse,
                           .b = at->matrix[1],
                           .c = at->matrix[2 + i % 2],
                           .is_newton = true,
                           .is_first = i == 0,
                           .is_last = i == iterations - 1 };
        st = emit_product(p, s, at, &times);
        if (st == SL_OK)
            st = emit_product(p, s, at, &newton);
        *inverse = newton.c;
    }
    return st;
}

static sl_status emit_by_products(sl_vk_program *p, const sl_vk_soft *s, const places *at,
                                  sl_vk_range *inverse)
{
    const product square = { .a = at->matrix[0], .b = at->matrix[0], .c = at->matrix[1] };
    sl_status st = emit_kernel(p, s, at);
    if (st == SL_OK)
        st = emit_start(p, s, at, square.c, FIRST_ALPHA);
    if (st == SL_OK && s->node->attr.inverse == SL_INVERSE_NORM) {
        st = emit_product(p, s, at, &square);
        if (st == SL_OK)
            st = emit_start(p, s, at, square.c, ALL_RESIDUALS);
        if (st == SL_OK)
            st = emit_start(p, s, at, square.c, HALVED_ALPHA);
    }
    return st == SL_OK ? emit_iterations(p, s, at, inverse) : st;
}

sl_status sl_vk_emit_soft_inverse(sl_vk_program *p, const sl_vk_soft *s, sl_vk_range marks,
                                  sl_vk_range scratch, sl_vk_range *inverse)
{
    places at = { .marks = marks };
    uint64_t from = 0;
    for (uint32_t i = 0; i < (s->in_shared ? 1 : 4); i++, from += s->matrix_bytes)
        at.matrix[i] = sl_vk_part(scratch, from, s->matrix_bytes);
    at.sums = sl_vk_part(scratch, from, s->sums_bytes);
    at.rest = sl_vk_part(scratch, from += s->sums_bytes, s->rest_bytes);
    at.alpha = sl_vk_part(scratch, from + s->rest_bytes, sl_vk_align(s->heads * sizeof(float)));
    if (!s->in_shared)
        return emit_by_products(p, s, &at, inverse);
    *inverse = at.matrix[0];
    return emit_in_shared(p, s, &at);
}
