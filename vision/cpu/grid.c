// SPDX-License-Identifier: MIT
// cpu/grid.c: a matrix product in parts for the workers of a pool. Many rows are cut into chunks
// that stay in the cache. Few rows, as late stages of a network have, are cut by columns, too: each
// part then reads some of the weights alone, and nobody is idle.
#include "cpu/op.h"

#define CHUNK_ROWS 64
#define LEAST_WORK 5e5 // multiply-adds of a part: microseconds, where waking a worker costs one
#define LEAST_ROWS 14  // fewer take as long, for reading the weights is what takes time

static size_t divide_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

sl_gemm_grid sl_cpu_grid(const sl_kernels *kernels, const sl_packed *b, size_t rows,
                         unsigned workers)
{
    sl_gemm_grid grid = { .rows = rows,
                          .row_parts = divide_up(rows, CHUNK_ROWS),
                          .panels = kernels->panels(b->n),
                          .panel_parts = 1 };
    size_t wanted = workers > 1 ? (size_t)workers * SL_PARTS_PER_WORKER : 1;
    double work = (double)(rows > LEAST_ROWS ? rows : LEAST_ROWS) * (double)b->n * (double)b->k;
    if (work < LEAST_WORK * (double)wanted)
        wanted = (size_t)(work / LEAST_WORK);
    if (grid.row_parts > 0 && grid.row_parts < wanted)
        grid.panel_parts = least(divide_up(wanted, grid.row_parts), grid.panels);
    return grid;
}

size_t sl_cpu_grid_parts(const sl_gemm_grid *grid)
{
    return grid->row_parts * grid->panel_parts;
}

void sl_cpu_grid_part(const sl_gemm_grid *grid, size_t index, sl_gemm *g)
{
    size_t row = index % grid->row_parts, column = index / grid->row_parts;
    size_t first = grid->rows * row / grid->row_parts;
    g->rows = grid->rows * (row + 1) / grid->row_parts - first;
    g->a += first * g->lda;
    g->c += first * g->ldc;
    if (g->residual)
        g->residual += first * g->ldr;
    g->panel_first = grid->panels * column / grid->panel_parts;
    g->panel_end = grid->panels * (column + 1) / grid->panel_parts;
}
