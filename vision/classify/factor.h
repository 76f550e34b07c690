// SPDX-License-Identifier: MIT
// classify/factor.h: the little linear algebra that rejection needs, in f64. For the files of
// classify/ alone.
#ifndef SL_CLASSIFY_FACTOR_H
#define SL_CLASSIFY_FACTOR_H

#include "base/base.h"

// a [n,n], symmetric, of which the lower triangle is read and becomes L with L L^T = a. False: it
// is not positive definite, to twelve digits. scratch: [SL_FACTOR_ROWS, n].
#define SL_FACTOR_ROWS 9
bool sl_cholesky(double *a, size_t n, double *scratch);

// x [count,n] -> L^-1 of each row, in place, on the pool.
sl_status sl_whiten(sl_ctx *ctx, const double *factor, size_t n, double *x, size_t count);

// Of one row, on this thread. scratch: [n, SL_WHITEN_ROWS].
#define SL_WHITEN_ROWS 8
void sl_whiten_rows(const double *factor, size_t n, double *x, size_t rows, double *scratch);

#endif
