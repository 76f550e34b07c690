// SPDX-License-Identifier: MIT
// tests/cpu/reference.c: see reference.h.
#include "reference.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

size_t ref_window_count(const ref_windows *m)
{
    return m->height / m->window * (m->width / m->window);
}

// Where a token of a window lies in the rolled map.
static void rolled(const ref_windows *m, size_t index, size_t token, size_t *y, size_t *x)
{
    size_t columns = m->width / m->window;
    *y = index / columns * m->window + token / m->window;
    *x = index % columns * m->window + token % m->window;
}

size_t ref_pixel(const ref_windows *m, size_t index, size_t token)
{
    size_t y, x;
    rolled(m, index, token, &y, &x);
    return (y + m->shift) % m->height * m->width + (x + m->shift) % m->width;
}

static int region(size_t at, size_t side, const ref_windows *m)
{
    return at < side - m->window ? 0 : at < side - m->shift ? 1 : 2;
}

double ref_mask(const ref_windows *m, size_t index, size_t p, size_t q)
{
    size_t y[2], x[2];
    rolled(m, index, p, &y[0], &x[0]);
    rolled(m, index, q, &y[1], &x[1]);
    int a = region(y[0], m->height, m) * 3 + region(x[0], m->width, m);
    int b = region(y[1], m->height, m) * 3 + region(x[1], m->width, m);
    return m->shift > 0 && a != b ? -100.0 : 0.0;
}

double ref_gelu(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2.0));
}

void ref_linear(const double *x, size_t rows, size_t k, const float *weight, const float *bias,
                size_t n, double *y)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++) {
            double sum = (double)bias[j];
            for (size_t i = 0; i < k; i++)
                sum += x[r * k + i] * (double)weight[j * k + i];
            y[r * n + j] = sum;
        }
}

void ref_norm(const double *x, size_t rows, size_t channels, const float *weight, const float *bias,
              const float *add, size_t tokens, double eps, double *y)
{
    for (size_t r = 0; r < rows; r++) {
        const double *row = x + r * channels;
        double mean = 0, variance = 0;
        for (size_t i = 0; i < channels; i++)
            mean += row[i] / (double)channels;
        for (size_t i = 0; i < channels; i++)
            variance += (row[i] - mean) * (row[i] - mean) / (double)channels;
        for (size_t i = 0; i < channels; i++) {
            double normed = (row[i] - mean) / sqrt(variance + eps);
            y[r * channels + i] = normed * (double)weight[i] + (double)bias[i] +
                                  (add ? (double)add[r % tokens * channels + i] : 0.0);
        }
    }
}

void ref_attention(const ref_windows *m, size_t index, const double *q, const double *kv,
                   const float *table, size_t heads, size_t channels, double *out)
{
    size_t w = m->window, n = w * w, d = channels / heads;
    double *s = malloc(n * sizeof *s);
    ck_assert_ptr_nonnull(s);
    for (size_t h = 0; h < heads; h++)
        for (size_t p = 0; p < n; p++) {
            double top = -INFINITY, sum = 0;
            for (size_t t = 0; t < n; t++) {
                long dy = (long)(p / w) - (long)(t / w), dx = (long)(p % w) - (long)(t % w);
                long side = 2 * (long)w - 1, entry = (dy + (long)w - 1) * side + dx + (long)w - 1;
                s[t] = 0;
                for (size_t i = h * d; i < (h + 1) * d; i++)
                    s[t] += q[p * channels + i] * kv[t * 2 * channels + i] / sqrt((double)d);
                s[t] += (double)table[(size_t)entry * heads + h] + ref_mask(m, index, p, t);
                top = fmax(top, s[t]);
            }
            for (size_t t = 0; t < n; t++)
                sum += s[t] = exp(s[t] - top);
            for (size_t i = h * d; i < (h + 1) * d; i++) {
                double value = 0;
                for (size_t t = 0; t < n; t++)
                    value += s[t] / sum * kv[t * 2 * channels + channels + i];
                out[p * channels + i] = value;
            }
        }
    free(s);
}

static size_t reflect(long at, size_t side)
{
    return at < 0 ? (size_t)-at : (size_t)at >= side ? 2 * side - 2 - (size_t)at : (size_t)at;
}

void ref_dwconv(const double *x, size_t window, size_t channels, const float *weight,
                const float *bias, double *y)
{
    for (size_t p = 0; p < window * window; p++)
        for (size_t c = 0; c < channels; c++) {
            double sum = (double)bias[c];
            for (size_t tap = 0; tap < 9; tap++) {
                size_t row = reflect((long)(p / window + tap / 3) - 1, window);
                size_t column = reflect((long)(p % window + tap % 3) - 1, window);
                sum += x[(row * window + column) * channels + c] * (double)weight[c * 9 + tap];
            }
            y[p * channels + c] = sum;
        }
}

double ref_range(const double *x, size_t count)
{
    double top = 0;
    for (size_t i = 0; i < count; i++)
        top = fmax(top, fabs(x[i])); // fmax passes over NaN
    return top;
}

double *ref_doubles(const float *x, size_t count)
{
    double *copy = malloc(count * sizeof *copy);
    ck_assert_ptr_nonnull(copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = (double)x[i];
    return copy;
}
