// SPDX-License-Identifier: MIT
// classify/factor.c: Cholesky factor and triangular solves. Written here and not taken from LAPACK:
// loading OpenBLAS takes 3 to 4 ms of every start of the program and leaves a thread behind, more
// than the factors of a shipped model take as a whole.
#include "classify/factor.h"

#include <assert.h>
#include <math.h>

#define COLUMNS 8            // of a panel
#define SMALLEST_PIVOT 1e-12 // of the diagonal's own entry

// The panel of columns [first, last), all rows from `first` down, by the plain recurrence.
static bool factor_panel(double *a, size_t n, size_t first, size_t last, const double *diagonal)
{
    for (size_t k = first; k < last; k++) {
        double pivot = a[k * n + k];
        if (!(pivot > SMALLEST_PIVOT * diagonal[k]) || !isfinite(pivot))
            return false;
        pivot = sqrt(pivot);
        a[k * n + k] = pivot;
        for (size_t i = k + 1; i < n; i++)
            a[i * n + k] /= pivot;
        for (size_t i = k + 1; i < n; i++)
            for (size_t j = k + 1; j < last && j <= i; j++)
                a[i * n + j] -= a[i * n + k] * a[j * n + k];
    }
    return true;
}

// What lies right of the panel loses the product of the panel with itself; `t` is the panel
// transposed, so that the inner loop runs along rows.
static void update_rest(double *a, size_t n, size_t first, size_t last, double *t)
{
    for (size_t p = 0; p < COLUMNS; p++)
        for (size_t i = last; i < n; i++)
            t[p * n + i] = a[i * n + first + p];
    for (size_t i = last; i < n; i++) {
        double *row = a + i * n;
        const double *l = row + first;
        for (size_t j = last; j <= i; j++)
            row[j] -= l[0] * t[j] + l[1] * t[n + j] + l[2] * t[2 * n + j] + l[3] * t[3 * n + j] +
                      l[4] * t[4 * n + j] + l[5] * t[5 * n + j] + l[6] * t[6 * n + j] +
                      l[7] * t[7 * n + j];
    }
}

bool sl_cholesky(double *a, size_t n, double *scratch)
{
    double *diagonal = scratch + COLUMNS * n;
    for (size_t i = 0; i < n; i++)
        diagonal[i] = a[i * n + i];
    for (size_t first = 0; first < n; first += COLUMNS) {
        size_t last = first + COLUMNS < n ? first + COLUMNS : n;
        if (!factor_panel(a, n, first, last, diagonal))
            return false;
        if (last < n) // then the panel is a full one
            update_rest(a, n, first, last, scratch);
    }
    return true;
}

void sl_whiten_rows(const double *factor, size_t n, double *x, size_t rows, double *scratch)
{
    enum { W = SL_WHITEN_ROWS };
    assert(rows <= W);
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < W; r++)
            scratch[i * W + r] = r < rows ? x[r * n + i] : 0;
    for (size_t i = 0; i < n; i++) {
        const double *l = factor + i * n;
        double sum[W];
        for (size_t r = 0; r < W; r++)
            sum[r] = scratch[i * W + r];
        for (size_t j = 0; j < i; j++)
            for (size_t r = 0; r < W; r++)
                sum[r] -= l[j] * scratch[j * W + r];
        for (size_t r = 0; r < W; r++)
            scratch[i * W + r] = sum[r] / l[i];
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++)
            x[r * n + i] = scratch[i * W + r];
}

typedef struct whitening {
    const double *factor;
    size_t n, count;
    double *x, *scratch; // scratch: [workers, n, SL_WHITEN_ROWS]
} whitening;

static void whiten_task(void *arg, size_t task, unsigned worker)
{
    const whitening *w = arg;
    size_t first = task * SL_WHITEN_ROWS, rows = w->count - first;
    rows = rows < SL_WHITEN_ROWS ? rows : SL_WHITEN_ROWS;
    sl_whiten_rows(w->factor, w->n, w->x + first * w->n, rows,
                   w->scratch + (size_t)worker * w->n * SL_WHITEN_ROWS);
}

sl_status sl_whiten(sl_ctx *ctx, const double *factor, size_t n, double *x, size_t count)
{
    whitening w = { .factor = factor, .n = n, .count = count, .x = x };
    w.scratch = sl_alloc(ctx, n * SL_WHITEN_ROWS * sl_pool_size(ctx->pool), sizeof(*w.scratch));
    if (!w.scratch)
        return SL_ERR_NOMEM;
    sl_pool_run(ctx->pool, whiten_task, &w, (count + SL_WHITEN_ROWS - 1) / SL_WHITEN_ROWS);
    free(w.scratch);
    return SL_OK;
}
