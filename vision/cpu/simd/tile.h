// SPDX-License-Identifier: MIT
// cpu/simd/tile.h: one block of rows of a matrix product against one panel of the packed weights,
// its sums kept in registers. Included by what cuts a product into such blocks.
#ifndef SL_CPU_SIMD_TILE_H
#define SL_CPU_SIMD_TILE_H

#include "cpu/simd/math.h"
#include "cpu/simd/panels.h"

// Rows of a tile for a panel of 1, 2, 3 vectors: what fits the registers beside the panel's
// vectors and one broadcast. On aarch64 more would be spilled: a row's number takes a register of
// its own there, for it is multiplied from a lane.
#if defined(SL_SIMD_IS_AVX512)
#define ROWS_1 14
#define ROWS_2 14
#define ROWS_3 8
#elif VECTOR_REGISTERS == 32
#define ROWS_1 14
#define ROWS_2 10
#define ROWS_3 7
#else
#define ROWS_1 8
#define ROWS_2 6
#define ROWS_3 4
#endif

#define FAR_FLOATS (96u << 10)     // matrices above that are not in L2 when they are needed
#define C_BLOCK_BYTES (512u << 10) // sums that rest between slices of k, and should do so in L2

// One row block against one panel.
typedef struct tile {
    const float *a;
    size_t lda;
    size_t runs, k, run_stride; // a row: `runs` times k floats
    const float *panel;
    size_t depth;      // terms of a whole sum
    size_t ahead;      // floats from here to the same place in the next panel
    const float *bias; // at the panel's first column, or NULL
    bool resumes;      // C holds the sums of the slices before this one
    size_t tail;       // columns in the last vector, VL when it is full
    sl_act act;
    float slope;
    const float *residual; // at the tile, or NULL
    size_t ldr;
    float *c;
    size_t ldc;
} tile;

SL_INLINE vf load_vector(const tile *t, const float *p, bool is_last)
{
    return is_last && t->tail != VL ? vf_load_part(p, t->tail) : vf_load(p);
}

SL_INLINE void start(const tile *t, vf acc[][MAX_VECTORS], size_t rows, size_t vectors)
{
    SL_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        vf b = { 0 };
        if (t->bias)
            b = load_vector(t, t->bias + v * VL, v + 1 == vectors);
        SL_UNROLL
        for (size_t r = 0; r < rows; r++)
            acc[r][v] = b;
    }
}

SL_INLINE void resume(const tile *t, vf acc[][MAX_VECTORS], size_t rows, size_t vectors)
{
    SL_UNROLL
    for (size_t r = 0; r < rows; r++) {
        SL_UNROLL
        for (size_t v = 0; v < vectors; v++)
            acc[r][v] = load_vector(t, t->c + r * t->ldc + v * VL, v + 1 == vectors);
    }
}

SL_INLINE void finish_vector(const tile *t, vf x, size_t row, size_t v, bool is_part)
{
    float *c = t->c + row * t->ldc + v * VL;
    if (t->residual) {
        const float *r = t->residual + row * t->ldr + v * VL;
        x += is_part ? vf_load_part(r, t->tail) : vf_load(r);
    }
    if (is_part)
        vf_store_part(c, x, t->tail);
    else
        vf_store(c, x);
}

// Activations are long: one copy for all shapes of tiles, through a buffer that stays in L1.
static void finish_active(const tile *t, float *buffer, size_t rows, size_t vectors)
{
    for (size_t i = 0; i < rows * vectors; i++)
        vf_store(buffer + i * VL, vf_activate(vf_load(buffer + i * VL), t->act, t->slope));
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < vectors; v++)
            finish_vector(t, vf_load(buffer + (r * vectors + v) * VL), r, v,
                          v + 1 == vectors && t->tail != VL);
}

// acc[r][v] += a[r][i] * panel[i][v]. Rows are reached from one pointer for every three, so that
// the addresses fit the integer registers; the empty asm keeps the compiler from making one
// pointer a row out of them again.
SL_INLINE void multiply(const tile *t, vf acc[][MAX_VECTORS], size_t rows, size_t vectors)
{
    const float *base[5];
    const float *panel = t->panel;
    size_t lda = t->lda, ahead = t->ahead;
    SL_UNROLL
    for (size_t i = 0; i < 5; i++) {
        base[i] = t->a + (3 * i < rows ? 3 * i * lda : 0);
        __asm__("" : "+r"(base[i]));
    }
    for (size_t run = 0; run < t->runs; run++) {
        for (size_t i = 0; i < t->k; i++) {
            vf b[MAX_VECTORS];
            SL_UNROLL
            for (size_t v = 0; v < vectors; v++) {
                b[v] = vf_load(panel + v * VL);
                if (ahead)
                    __builtin_prefetch(panel + ahead + v * VL, 0, 2);
            }
            SL_UNROLL
            for (size_t r = 0; r < rows; r++) {
                vf a = vf_set(base[r / 3][(r % 3) * lda]);
                SL_UNROLL
                for (size_t v = 0; v < vectors; v++)
                    acc[r][v] = vf_multiply_add(acc[r][v], a, b[v]);
            }
            panel += vectors * VL;
            SL_UNROLL
            for (size_t j = 0; j < 5; j++)
                base[j]++;
        }
        SL_UNROLL
        for (size_t j = 0; j < 5; j++)
            base[j] += t->run_stride - t->k;
    }
}

SL_INLINE void run_tile(const tile *t, size_t rows, size_t vectors)
{
    vf acc[ROWS_1 > ROWS_2 ? ROWS_1 : ROWS_2][MAX_VECTORS];
    if (t->resumes)
        resume(t, acc, rows, vectors);
    else
        start(t, acc, rows, vectors);
    multiply(t, acc, rows, vectors);
    if (t->act != SL_ACT_NONE) {
        _Alignas(SL_ALIGN) float buffer[ROWS_1 * MAX_VECTORS * VL];
        SL_UNROLL
        for (size_t r = 0; r < rows; r++) {
            SL_UNROLL
            for (size_t v = 0; v < vectors; v++)
                vf_store(buffer + (r * vectors + v) * VL, acc[r][v]);
        }
        finish_active(t, buffer, rows, vectors);
        return;
    }
    SL_UNROLL
    for (size_t r = 0; r < rows; r++) {
        SL_UNROLL
        for (size_t v = 0; v + 1 < vectors; v++)
            finish_vector(t, acc[r][v], r, v, false);
        if (t->tail == VL)
            finish_vector(t, acc[r][vectors - 1], r, vectors - 1, false);
        else
            finish_vector(t, acc[r][vectors - 1], r, vectors - 1, true);
    }
}

typedef void (*tile_fn)(const tile *t);

#define TILE(rows, vectors)                                                                        \
    static void tile_##rows##x##vectors(const tile *t)                                             \
    {                                                                                              \
        run_tile(t, rows, vectors);                                                                \
    }
#define TILES(rows) TILE(rows, 1) TILE(rows, 2) TILE(rows, 3)

TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILE(5, 1)
TILE(5, 2)
TILE(6, 1)
TILE(6, 2)
TILE(7, 1)
TILE(8, 1)
#if VECTOR_REGISTERS == 32
TILE(5, 3)
TILE(6, 3)
TILE(7, 2)
TILE(7, 3)
TILE(8, 2)
TILE(8, 3)
TILE(9, 1)
TILE(9, 2)
TILE(10, 1)
TILE(10, 2)
TILE(11, 1)
TILE(11, 2)
TILE(12, 1)
TILE(12, 2)
TILE(13, 1)
TILE(13, 2)
TILE(14, 1)
TILE(14, 2)
static const tile_fn tiles_1[] = { tile_1x1,  tile_2x1,  tile_3x1,  tile_4x1, tile_5x1,
                                   tile_6x1,  tile_7x1,  tile_8x1,  tile_9x1, tile_10x1,
                                   tile_11x1, tile_12x1, tile_13x1, tile_14x1 };
static const tile_fn tiles_2[] = { tile_1x2,  tile_2x2,  tile_3x2,  tile_4x2, tile_5x2,
                                   tile_6x2,  tile_7x2,  tile_8x2,  tile_9x2, tile_10x2,
                                   tile_11x2, tile_12x2, tile_13x2, tile_14x2 };
static const tile_fn tiles_3[] = { tile_1x3, tile_2x3, tile_3x3, tile_4x3,
                                   tile_5x3, tile_6x3, tile_7x3, tile_8x3 };
#else
static const tile_fn tiles_1[] = { tile_1x1, tile_2x1, tile_3x1, tile_4x1,
                                   tile_5x1, tile_6x1, tile_7x1, tile_8x1 };
static const tile_fn tiles_2[] = { tile_1x2, tile_2x2, tile_3x2, tile_4x2, tile_5x2, tile_6x2 };
static const tile_fn tiles_3[] = { tile_1x3, tile_2x3, tile_3x3, tile_4x3 };
#endif

static const size_t tile_rows[MAX_VECTORS + 1] = { 0, ROWS_1, ROWS_2, ROWS_3 };
static const tile_fn *const tile_table[MAX_VECTORS + 1] = { NULL, tiles_1, tiles_2, tiles_3 };

// Rows in tiles of nearly equal height: a last tile of one row would run at a fraction of the
// speed.
static void run_panel(tile *t, size_t rows, size_t vectors)
{
    const float *a = t->a, *residual = t->residual;
    float *c = t->c;
    size_t count = (rows + tile_rows[vectors] - 1) / tile_rows[vectors];
    for (size_t i = 0; i < count; i++) {
        size_t height = rows / count + (i < rows % count);
        tile_table[vectors][height - 1](t);
        t->a += height * t->lda;
        t->c += height * t->ldc;
        if (t->residual)
            t->residual += height * t->ldr;
    }
    t->a = a;
    t->c = c;
    t->residual = residual;
}

// What all tiles of one slice of k have in common, whose A is still to be told. The residual is
// added in the first slice, before sums overwrite a C that is the residual itself; behind an
// activation it has to wait for the last.
SL_INLINE tile tile_of_slice(const sl_gemm *g, size_t slice, size_t slices)
{
    bool is_last = slice + 1 == slices, is_active = g->act != SL_ACT_NONE;
    return (tile) { .resumes = slice > 0,
                    .act = is_last ? g->act : SL_ACT_NONE,
                    .slope = g->slope,
                    .residual = (is_active ? is_last : slice == 0) ? g->residual : NULL,
                    .ldr = g->ldr,
                    .ldc = g->ldc };
}

// One slice of k: all wanted panels, one after the other.
SL_INLINE void run_slice(const sl_gemm *g, size_t first, size_t rows, tile t, size_t k_first)
{
    size_t all = vectors_of(g->b->n), vectors, panel = 0;
    const float *residual = t.residual, *panels = g->b->panels;
    for (size_t done = 0; done < all && (panel < g->panel_end || g->panel_end == 0);
         done += vectors, panel++) {
        vectors = panel_vectors(all - done, all);
        if (panel < g->panel_first) {
            panels += vectors * VL * t.depth;
            continue;
        }
        t.panel = panels + k_first * vectors * VL;
        t.ahead = g->b->n * t.depth > FAR_FLOATS ? vectors * VL * t.depth : 0;
        t.bias = g->bias ? g->bias + done * VL : NULL;
        t.residual = residual ? residual + first * g->ldr + done * VL : NULL;
        t.c = g->c + first * g->ldc + done * VL;
        t.tail = done + vectors == all ? g->b->n - (all - 1) * VL : VL;
        run_panel(&t, rows, vectors);
        panels += vectors * VL * t.depth;
    }
}

#endif
