// SPDX-License-Identifier: MIT
// image/hide.c: makes a part of a picture unrecognisable, for good.
#include "image/shapes.h"

#define MOST_CELLS 6  // along a side
#define LEAST_SIDE 8u // pixels of a cell, where there are as many

// The picture's part as a grid of mean colours.
typedef struct grid {
    uint32_t left, top, width, height; // in the picture
    uint32_t side;                     // of a cell, in pixels; the last ones may be smaller
    uint32_t columns, rows;
    float mean[MOST_CELLS][MOST_CELLS][4];
} grid;

static inline double sample(const void *row, size_t i, bool deep)
{
    return deep ? ((const uint16_t *)row)[i] : ((const uint8_t *)row)[i];
}

// Colours count as much as they are seen; where nothing is seen, all the same.
static void mean_of(const sl_image *image, const grid *g, uint32_t column, uint32_t row,
                    float mean[4])
{
    const unsigned n = image->channels;
    const bool deep = image->depth == 16, has_alpha = n == 2 || n == 4;
    const uint32_t x0 = column * g->side, y0 = row * g->side;
    const uint32_t x1 = x0 + g->side < g->width ? x0 + g->side : g->width;
    const uint32_t y1 = y0 + g->side < g->height ? y0 + g->side : g->height;
    double seen[4] = { 0 }, plain[4] = { 0 }, weight = 0;
    for (uint32_t y = y0; y < y1; y++) {
        const void *from = sl_image_row_const(image, g->top + y);
        for (size_t i = (size_t)(g->left + x0) * n; i < (size_t)(g->left + x1) * n; i += n) {
            const double alpha = has_alpha ? sample(from, i + n - 1, deep) : 1;
            weight += alpha;
            for (unsigned c = 0; c < n; c++) {
                plain[c] += sample(from, i + c, deep);
                seen[c] += sample(from, i + c, deep) * alpha;
            }
        }
    }
    const double count = (double)(x1 - x0) * (y1 - y0);
    for (unsigned c = 0; c < n; c++)
        mean[c] = (float)(has_alpha && c == n - 1 ? weight / count
                          : weight > 0            ? seen[c] / weight
                                                  : plain[c] / count);
}

// Which two cells a pixel lies between, and how far from the first.
static void between(uint32_t at, const grid *g, uint32_t cells, uint32_t *first, uint32_t *second,
                    float *share)
{
    const float place = ((float)at + 0.5f) / (float)g->side - 0.5f;
    const float most = (float)(cells - 1), p = place < 0 ? 0 : place > most ? most : place;
    *first = (uint32_t)p;
    *second = *first + 1 < cells ? *first + 1 : *first;
    *share = p - (float)*first;
}

static void fill_row(sl_image *image, const grid *g, uint32_t y)
{
    const unsigned n = image->channels;
    void *row = sl_image_row(image, g->top + y);
    uint32_t above, below, left, right;
    float down, along;
    between(y, g, g->rows, &above, &below, &down);
    for (uint32_t x = 0; x < g->width; x++) {
        between(x, g, g->columns, &left, &right, &along);
        const float *a = g->mean[above][left], *b = g->mean[above][right];
        const float *c = g->mean[below][left], *d = g->mean[below][right];
        for (unsigned k = 0; k < n; k++) {
            const float over = a[k] + along * (b[k] - a[k]), under = c[k] + along * (d[k] - c[k]);
            const float v = over + down * (under - over) + 0.5f;
            const size_t i = (size_t)(g->left + x) * n + k;
            if (image->depth == 16)
                ((uint16_t *)row)[i] = (uint16_t)v;
            else
                ((uint8_t *)row)[i] = (uint8_t)v;
        }
    }
}

void sl_image_hide(sl_image *image, sl_rect rect)
{
    grid g = { 0 };
    rect = sl_rect_cut(rect, sl_rect_of_image(image));
    if (sl_rect_is_empty(rect))
        return;
    g.left = (uint32_t)rect.left;
    g.top = (uint32_t)rect.top;
    g.width = (uint32_t)(rect.right - rect.left);
    g.height = (uint32_t)(rect.bottom - rect.top);
    const uint32_t longest = g.width > g.height ? g.width : g.height;
    g.side = longest / MOST_CELLS + (longest % MOST_CELLS != 0);
    g.side = g.side > LEAST_SIDE ? g.side : LEAST_SIDE;
    g.columns = (g.width - 1) / g.side + 1;
    g.rows = (g.height - 1) / g.side + 1;
    for (uint32_t row = 0; row < g.rows; row++)
        for (uint32_t column = 0; column < g.columns; column++)
            mean_of(image, &g, column, row, g.mean[row][column]);
    for (uint32_t y = 0; y < g.height; y++)
        fill_row(image, &g, y);
}
