// SPDX-License-Identifier: MIT
// tests/classify/factor.c: Cholesky factors and triangular solves, on and off the panels' borders.
#include "classify/factor.h"

#include "made.h"

static const size_t sizes[] = { 1, 2, 7, 8, 9, 15, 16, 17, 24, 100, 257 };

// A = B B^T + n I, random.
static double *make_matrix(size_t n)
{
    uint64_t state = n;
    double *b = sl_alloc(ctx, n * n, sizeof(*b)), *a = sl_alloc(ctx, n * n, sizeof(*a));
    ck_assert(a && b);
    for (size_t i = 0; i < n * n; i++)
        b[i] = (double)made_normal(&state);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            for (size_t k = 0; k < n; k++)
                a[i * n + j] += b[i * n + k] * b[j * n + k];
            a[i * n + j] += i == j ? 0.1 * (double)n : 0;
        }
    free(b);
    return a;
}

START_TEST(factors_multiply_back)
{
    const size_t n = sizes[_i], rows = 2 * SL_WHITEN_ROWS + 3;
    double *a = make_matrix(n), *l = sl_alloc(ctx, n * n, sizeof(*l));
    double *scratch = sl_alloc(ctx, SL_FACTOR_ROWS * n, sizeof(*scratch));
    double *x = sl_alloc(ctx, rows * n, sizeof(*x)), *y = sl_alloc(ctx, rows * n, sizeof(*y));
    ck_assert(l && scratch && x && y);
    memcpy(l, a, n * n * sizeof(*l));
    ck_assert(sl_cholesky(l, n, scratch));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t k = 0; k <= j; k++)
                sum += l[i * n + k] * l[j * n + k];
            ck_assert_double_eq_tol(sum, a[i * n + j], 1e-11 * a[i * n + i] + 1e-11 * a[j * n + j]);
        }
    uint64_t state = 3;
    for (size_t i = 0; i < rows * n; i++)
        x[i] = y[i] = (double)made_normal(&state);
    ck_ok(sl_whiten(ctx, l, n, y, rows));
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) { // L y = x
            double sum = 0;
            for (size_t k = 0; k <= i; k++)
                sum += l[i * n + k] * y[r * n + k];
            ck_assert_double_eq_tol(sum, x[r * n + i], 1e-9);
        }
    free(a);
    free(l);
    free(scratch);
    free(x);
    free(y);
}
END_TEST

START_TEST(what_has_no_factor)
{
    const size_t n = sizes[_i];
    double *scratch = sl_alloc(ctx, SL_FACTOR_ROWS * n, sizeof(*scratch));
    double *good = make_matrix(n), *a = sl_alloc(ctx, n * n, sizeof(*a));
    ck_assert(scratch && a);
    const double bad[] = { 0, -1, (double)NAN, (double)INFINITY };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        memcpy(a, good, n * n * sizeof(*a));
        a[n * n - 1] = bad[i];
        ck_assert(!sl_cholesky(a, n, scratch));
    }
    for (size_t i = 0; n > 1 && i < n * n; i++) // of rank 1
        a[i] = 1;
    ck_assert(n == 1 || !sl_cholesky(a, n, scratch));
    free(good);
    free(a);
    free(scratch);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("factor");
    tcase_add_loop_test(tests, factors_multiply_back, 0, SL_ARRAY_LEN(sizes));
    tcase_add_loop_test(tests, what_has_no_factor, 0, SL_ARRAY_LEN(sizes));
    return run_case("classify-factor", tests);
}
