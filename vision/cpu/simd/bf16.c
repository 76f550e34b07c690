// SPDX-License-Identifier: MIT
// cpu/simd/bf16.c: matrix product in bf16, sums in f32. Two neighbours of a row make a pair, which
// takes the place of a float in A and in the panels: one instruction multiplies and adds both. A
// becomes pairs as it is read, a block of its rows and a slice of k at a time.
#include "cpu/simd/simd.h"
#include "cpu/simd/tile.h"

#define SLICE 320          // pairs of k, at most: a panel's part stays in L1
#define PAIRS (32u << 10)  // of a block of A, which stays in L2
#define AHEAD 1024         // numbers
#define PACK_ROW (2 * 256) // numbers of a row that are packed at once

static size_t pairs_of(size_t k)
{
    return k / 2 + k % 2;
}

// An odd last number is paired with zero. Nothing is computed while A is read, so it is asked for
// ahead: a twentieth of a network's time.
static void to_pairs(const float *from, size_t count, float *to)
{
    for (; count >= 2 * VL; count -= 2 * VL, from += 2 * VL, to += VL) {
        __builtin_prefetch(from + AHEAD, 0, 2);
        __builtin_prefetch(from + AHEAD + VL, 0, 2);
        vf_store(to, (vf)_mm512_cvtne2ps_pbh(vf_load(from + VL), vf_load(from)));
    }
    if (count == 0)
        return;
    size_t low = count < VL ? count : VL;
    vf first = vf_load_part(from, low), second = vf_load_part(from + low, count - low);
    vf_store_part(to, (vf)_mm512_cvtne2ps_pbh(second, first), pairs_of(count));
}

// ---- packing

size_t SL_PRODUCT(sl_pack_floats)(size_t n, size_t k)
{
    return vectors_of(n) * VL * pairs_of(k);
}

void SL_PRODUCT(sl_pack)(const float *weight, size_t ld, size_t n, size_t k, float *panels)
{
    size_t all = vectors_of(n), vectors;
    memset(panels, 0, SL_PRODUCT(sl_pack_floats)(n, k) * sizeof(*panels));
    for (size_t done = 0; done < all; done += vectors) {
        vectors = panel_vectors(all - done, all);
        size_t width = vectors * VL, first = done * VL, left = n - first;
        for (size_t j = 0; j < width && j < left; j++)
            for (size_t i = 0; i < k; i += PACK_ROW) {
                float pairs[PACK_ROW / 2];
                size_t count = k - i < PACK_ROW ? k - i : PACK_ROW;
                to_pairs(weight + (first + j) * ld + i, count, pairs);
                for (size_t p = 0; p < pairs_of(count); p++)
                    memcpy(panels + (i / 2 + p) * width + j, pairs + p, sizeof(*pairs));
            }
        panels += width * pairs_of(k);
    }
}

// ---- the product

// Numbers [first, first + count) of a row of A, which may lie in several runs. Where one of odd
// length ends between the two of a pair, they have to be gathered first.
static void row_to_pairs(const sl_gemm *g, size_t row, size_t first, size_t count, float *to)
{
    size_t run = g->segments ? g->b->k / g->segments : g->b->k, segment = first / run;
    const float *a = g->a + row * g->lda + segment * g->segment_stride;
    first -= segment * run;
    if (first + count <= run) {
        to_pairs(a + first, count, to);
        return;
    }
    float gathered[2 * SLICE];
    for (size_t done = 0, some; done < count; done += some, a += g->segment_stride, first = 0) {
        some = run - first < count - done ? run - first : count - done;
        if (run % 2 == 0)
            to_pairs(a + first, some, to + done / 2);
        else
            memcpy(gathered + done, a + first, some * sizeof(*gathered));
    }
    if (run % 2)
        to_pairs(gathered, count, to);
}

// One block of rows by one slice of pairs.
static void run_block(const sl_gemm *g, size_t first, size_t rows, size_t slice, size_t slices)
{
    _Alignas(SL_ALIGN) float pairs[PAIRS];
    size_t depth = pairs_of(g->b->k), k_first = depth * slice / slices;
    tile t = tile_of_slice(g, slice, slices);
    t.a = pairs;
    t.depth = depth;
    t.runs = 1;
    t.k = t.lda = depth * (slice + 1) / slices - k_first;
    size_t left = g->b->k - 2 * k_first, count = left < 2 * t.k ? left : 2 * t.k;
    for (size_t r = 0; r < rows && count > 0; r++)
        row_to_pairs(g, first + r, 2 * k_first, count, pairs + r * t.lda);
    run_slice(g, first, rows, t, k_first);
}

void SL_PRODUCT(sl_gemm_run)(const sl_gemm *g)
{
    if (g->rows == 0 || g->b->n == 0)
        return;
    size_t depth = pairs_of(g->b->k), slices = depth / SLICE + (depth % SLICE != 0);
    slices = slices ? slices : 1;
    size_t block = PAIRS / (depth / slices + 1);
    size_t resting = C_BLOCK_BYTES / (sizeof(float) * g->b->n);
    if (slices > 1 && block > resting)
        block = resting > tile_rows[2] ? resting : tile_rows[2];
    size_t count = (g->rows + block - 1) / block;
    for (size_t i = 0, first = 0; i < count; i++) {
        size_t rows = g->rows / count + (i < g->rows % count);
        for (size_t slice = 0; slice < slices; slice++)
            run_block(g, first, rows, slice, slices);
        first += rows;
    }
}
