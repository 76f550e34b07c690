// SPDX-License-Identifier: MIT
// tests/cpu/reference.h: the parts of a block as plain loops in double, written from the formulas
// alone, to which the tests of window ops hold the backend.
#ifndef TESTS_CPU_REFERENCE_H
#define TESTS_CPU_REFERENCE_H

#include <stddef.h>

// Windows of a map [height, width], rolled by -shift.
typedef struct ref_windows {
    size_t height, width, window, shift;
} ref_windows;

size_t ref_window_count(const ref_windows *m);
size_t ref_pixel(const ref_windows *m, size_t index, size_t token);      // raster index in the map
double ref_mask(const ref_windows *m, size_t index, size_t p, size_t q); // by region labels

double ref_gelu(double x);
void ref_linear(const double *x, size_t rows, size_t k, const float *weight, const float *bias,
                size_t n, double *y);
// add: [tokens, channels] or NULL, added behind the norm to every window's rows.
void ref_norm(const double *x, size_t rows, size_t channels, const float *weight, const float *bias,
              const float *add, size_t tokens, double eps, double *y);
// One window: q [N,C], kv [N,2C], table [(2w-1)^2, heads] -> out [N,C].
void ref_attention(const ref_windows *m, size_t index, const double *q, const double *kv,
                   const float *table, size_t heads, size_t channels, double *out);
// One window: x [w*w,C], weight [C,3,3] -> y; no activation.
void ref_dwconv(const double *x, size_t window, size_t channels, const float *weight,
                const float *bias, double *y);
double ref_range(const double *x, size_t count); // largest magnitude

double *ref_doubles(const float *x, size_t count); // malloc'ed

#endif
