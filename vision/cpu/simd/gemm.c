// SPDX-License-Identifier: MIT
// cpu/simd/gemm.c: matrix product against packed weights. B lies in panels of one to four vectors'
// width, [k][width] each; A is read in place. A tile of rows x one panel is kept in registers over
// a slice of k that is short enough for the panel's part to stay in L1; between slices sums rest
// in C.
#include "cpu/simd/simd.h"
#include "cpu/simd/tile.h"

#define SLICE (VL == 16 ? 320 : 512) // of k, at most
#define A_BLOCK_BYTES (192u << 10)   // rows of A that are multiplied by all panels before the next

// How k is cut: long runs into parts, short runs into groups.
typedef struct slices {
    size_t count, segments, run, parts; // parts 0: groups of whole runs
} slices;

static slices cut(const sl_gemm *g)
{
    slices s = { .count = 1, .segments = g->segments ? g->segments : 1 };
    s.run = g->b->k / s.segments;
    if (s.run > SLICE) {
        s.parts = (s.run + SLICE - 1) / SLICE;
        s.count = s.segments * s.parts;
    } else if (s.run > 0) {
        size_t group = SLICE / s.run;
        s.count = (s.segments + group - 1) / group;
    }
    return s;
}

// Slice i: sets the extent of the tile and returns its first k; *offset: its first float of a row.
static size_t take(const slices *s, size_t i, size_t segment_stride, tile *t, size_t *offset)
{
    size_t first = s->segments * i / s->count, within = 0;
    t->runs = s->segments * (i + 1) / s->count - first;
    t->k = s->run;
    t->run_stride = segment_stride;
    if (s->parts) {
        size_t part = i % s->parts;
        first = i / s->parts;
        within = s->run * part / s->parts;
        t->runs = 1;
        t->k = s->run * (part + 1) / s->parts - within;
    }
    *offset = first * segment_stride + within;
    return first * s->run + within;
}

static void run_rows(const sl_gemm *g, size_t first, size_t rows, const slices *s)
{
    for (size_t i = 0; i < s->count; i++) {
        tile t = tile_of_slice(g, i, s->count);
        size_t offset, k_first = take(s, i, g->segment_stride, &t, &offset);
        t.a = g->a + first * g->lda + offset;
        t.lda = g->lda;
        t.depth = g->b->k;
        run_slice(g, first, rows, t, k_first);
    }
}

void SL_LEVEL(sl_gemm_run)(const sl_gemm *g)
{
    if (g->rows == 0 || g->b->n == 0)
        return;
    slices s = cut(g);
    size_t block = A_BLOCK_BYTES / (sizeof(float) * (g->b->k / s.count + 1));
    size_t resting = C_BLOCK_BYTES / (sizeof(float) * g->b->n);
    if (s.count > 1 && block > resting)
        block = resting;
    size_t least = 4 * tile_rows[2];
    if (block < least)
        block = least;
    size_t count = (g->rows + block - 1) / block;
    for (size_t i = 0, first = 0; i < count; i++) {
        size_t rows = g->rows / count + (i < g->rows % count);
        run_rows(g, first, rows, &s);
        first += rows;
    }
}
