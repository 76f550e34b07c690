// SPDX-License-Identifier: MIT
// tools/train/soft_kernels.c: the softmax-free attention of SOFT-Norm, forward and backward, for
// heads of 32 channels and at most 16 landmarks, in f32. Compiled at first use by soft_fast.py.
#include <math.h>
#include <stddef.h>
#include <string.h>

enum { D = 32, M = 16, V = D / 8 };

typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));
typedef int whole __attribute__((vector_size(32), aligned(4), may_alias));
typedef float square[M][M] __attribute__((aligned(32)));
typedef float rows[M][D] __attribute__((aligned(32)));
#define INLINE static inline __attribute__((always_inline))

INLINE lanes load(const float *p)
{
    return *(const lanes *)p;
}
INLINE void store(float *p, lanes x)
{
    *(lanes *)p = x;
}
INLINE lanes all(float x)
{
    return (lanes) { x, x, x, x, x, x, x, x };
}

INLINE lanes exponential(lanes x)
{
    whole above = x > all(-80.0f);
    x = (lanes)(((whole)x & above) | ((whole)all(-80.0f) & ~above));
    lanes t = x * 1.44269504f, bias = all(12582912.0f); // 1.5 * 2^23: rounds to the nearest integer
    lanes n = (t + bias) - bias, f = x - n * 0.693359375f + n * 2.12194440e-4f;
    lanes p = all(1.9875691500e-4f);
    p = p * f + 1.3981999507e-3f;
    p = p * f + 8.3334519073e-3f;
    p = p * f + 4.1665795894e-2f;
    p = p * f + 1.6666665459e-1f;
    p = p * f + 5.0000001201e-1f;
    p = p * f * f + f + 1.0f;
    return p * (lanes)((__builtin_convertvector(n, whole) + 127) << 23);
}

// c = a b
INLINE void multiply(square c, const square a, const square b)
{
    for (int i = 0; i < M; i += 4) {
        lanes s[4][2] = { 0 };
        for (int k = 0; k < M; k++)
            for (int r = 0; r < 4; r++)
                for (int j = 0; j < 2; j++)
                    s[r][j] += a[i + r][k] * load(&b[k][8 * j]);
        for (int r = 0; r < 4; r++)
            for (int j = 0; j < 2; j++)
                store(&c[i + r][8 * j], s[r][j]);
    }
}

// c = a b, [M, M] [M, D]
INLINE void multiply_rows(rows c, const square a, const rows b)
{
    for (int i = 0; i < M; i += 2) {
        lanes s[2][V] = { 0 };
        for (int k = 0; k < M; k++)
            for (int r = 0; r < 2; r++)
                for (int j = 0; j < V; j++)
                    s[r][j] += a[i + r][k] * load(&b[k][8 * j]);
        for (int r = 0; r < 2; r++)
            for (int j = 0; j < V; j++)
                store(&c[i + r][8 * j], s[r][j]);
    }
}

INLINE void transpose(float t[D][M], const rows a)
{
    for (int i = 0; i < M; i++)
        for (int c = 0; c < D; c++)
            t[c][i] = a[i][c];
}

// c [M, D] += a^T b: a [n, M], b [n] rows of D at a distance of `step`.
static void gather(rows c, const float *a, const float *b, size_t n, size_t step)
{
    for (int i = 0; i < M; i += 2) {
        lanes s[2][V];
        for (int r = 0; r < 2; r++)
            for (int j = 0; j < V; j++)
                s[r][j] = load(&c[i + r][8 * j]);
        for (size_t t = 0; t < n; t++)
            for (int r = 0; r < 2; r++)
                for (int j = 0; j < V; j++)
                    s[r][j] += a[t * M + i + r] * load(b + t * step + 8 * j);
        for (int r = 0; r < 2; r++)
            for (int j = 0; j < V; j++)
                store(&c[i + r][8 * j], s[r][j]);
    }
}

// y [n] rows of D at a distance of `step` += a b: a [n, M].
static void scatter(float *y, const float *a, const rows b, size_t n, size_t step)
{
    for (size_t t = 0; t < n; t++) {
        lanes s[V];
        for (int j = 0; j < V; j++)
            s[j] = load(y + t * step + 8 * j);
        for (int k = 0; k < M; k++)
            for (int j = 0; j < V; j++)
                s[j] += a[t * M + k] * load(&b[k][8 * j]);
        for (int j = 0; j < V; j++)
            store(y + t * step + 8 * j, s[j]);
    }
}

// s[0..1] += x . columns of t, for one row x of D.
INLINE void products(lanes s[2], const float *x, float t[D][M])
{
    for (int c = 0; c < D; c++)
        for (int j = 0; j < 2; j++)
            s[j] += x[c] * load(&t[c][8 * j]);
}

INLINE float dot(const float *a, const float *b)
{
    lanes s = { 0 };
    for (int j = 0; j < V; j++)
        s += load(a + 8 * j) * load(b + 8 * j);
    return s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

// k [n, M] = exp(-|x_t - l_i|^2 / 2), 0 from column m on.
static void gaussian(float *k, const float *x, const rows l, size_t n, size_t step, size_t m)
{
    float t[D][M] __attribute__((aligned(32))), base[M] __attribute__((aligned(32)));
    transpose(t, l);
    for (size_t i = 0; i < M; i++)
        base[i] = i < m ? -0.5f * dot(l[i], l[i]) : -1e4f;
    for (size_t r = 0; r < n; r++) {
        const float *row = x + r * step;
        float own = -0.5f * dot(row, row);
        lanes s[2] = { load(base) + own, load(base + 8) + own };
        products(s, row, t);
        for (int j = 0; j < 2; j++)
            store(k + r * M + 8 * j, exponential(s[j]));
        for (size_t i = m; i < M; i++)
            k[r * M + i] = 0;
    }
}

static float start(square *k2, size_t heads, size_t m)
{
    float top = 0;
    for (size_t h = 0; h < heads; h++)
        for (size_t i = 0; i < m; i++) {
            float sum = 0;
            for (size_t j = 0; j < m; j++)
                sum += k2[h][i][j];
            top = fmaxf(top, sum);
        }
    float alpha = 2 / (top * top), worst = 2;
    for (int halved = 0; halved < 10 && worst > 1.01f; halved++) {
        worst = 0;
        for (size_t h = 0; h < heads; h++) {
            square p;
            multiply(p, k2[h], k2[h]);
            for (size_t j = 0; j < m; j++) {
                float sum = 0;
                for (size_t i = 0; i < m; i++)
                    sum += fabsf((i == j) - alpha * p[i][j]);
                worst = fmaxf(worst, sum);
            }
        }
        if (worst > 1.01f)
            alpha /= 2;
    }
    return alpha;
}

static void newton(square z, const square k2, float alpha, size_t iterations)
{
    square p, q;
    for (int i = 0; i < M; i++)
        for (int j = 0; j < M; j++)
            z[i][j] = alpha * k2[i][j];
    for (size_t step = 0; step < iterations; step++) {
        multiply(p, z, k2);
        multiply(q, p, z);
        for (int i = 0; i < M; i++)
            for (int j = 0; j < M; j++)
                z[i][j] = 2 * z[i][j] - q[i][j];
    }
}

static void scales(float d[M], const square k2, size_t m)
{
    for (size_t i = 0; i < M; i++) {
        float sum = 0;
        for (size_t j = 0; j < m; j++)
            sum += k2[i][j];
        d[i] = i < m ? 1 / sqrtf(sum) : 0;
    }
}

static void scaled(square inv, const square z, const float d[M])
{
    for (int i = 0; i < M; i++)
        for (int j = 0; j < M; j++)
            inv[i][j] = d[i] * z[i][j] * d[j];
}

static void fetch(rows l, const float *from, size_t m)
{
    memset(l, 0, sizeof(rows));
    memcpy(l, from, m * D * sizeof(float));
}

typedef struct shape {
    size_t heads, h, w, m, size, iterations; // size: of the convolution's kernel
} shape;

// y += the convolution of x, or with `turned` its transpose. x, y: rows at a distance of `step`.
static void convolve(float *y, const float *x, const float *kernel, shape s, size_t step,
                     int turned)
{
    ptrdiff_t half = (ptrdiff_t)s.size / 2, h = (ptrdiff_t)s.h, w = (ptrdiff_t)s.w;
    for (ptrdiff_t i = 0; i < h; i++)
        for (ptrdiff_t j = 0; j < w; j++) {
            float *out = y + (size_t)(i * w + j) * step;
            lanes sum[V];
            for (int c = 0; c < V; c++)
                sum[c] = load(out + 8 * c);
            for (ptrdiff_t a = -half; a <= half; a++)
                for (ptrdiff_t b = -half; b <= half; b++) {
                    if (i + a < 0 || i + a >= h || j + b < 0 || j + b >= w)
                        continue;
                    ptrdiff_t tap = (a + half) * (ptrdiff_t)s.size + b + half;
                    if (turned)
                        tap = (ptrdiff_t)(s.size * s.size) - 1 - tap;
                    const float *in = x + (size_t)((i + a) * w + j + b) * step;
                    for (int c = 0; c < V; c++)
                        sum[c] += kernel[tap] * load(in + 8 * c);
                }
            for (int c = 0; c < V; c++)
                store(out + 8 * c, sum[c]);
        }
}

static void kernel_gradient(float *g, const float *dy, const float *x, shape s, size_t step)
{
    ptrdiff_t half = (ptrdiff_t)s.size / 2, h = (ptrdiff_t)s.h, w = (ptrdiff_t)s.w;
    for (ptrdiff_t a = -half; a <= half; a++)
        for (ptrdiff_t b = -half; b <= half; b++) {
            lanes sum[V] = { 0 };
            for (ptrdiff_t i = a < 0 ? -a : 0; i < h && i + a < h; i++)
                for (ptrdiff_t j = b < 0 ? -b : 0; j < w && j + b < w; j++) {
                    const float *out = dy + (size_t)(i * w + j) * step;
                    const float *in = x + (size_t)((i + a) * w + j + b) * step;
                    for (int c = 0; c < V; c++)
                        sum[c] += load(out + 8 * c) * load(in + 8 * c);
                }
            lanes t = sum[0] + sum[1] + sum[2] + sum[3];
            *g++ += t[0] + t[1] + t[2] + t[3] + t[4] + t[5] + t[6] + t[7];
        }
}

// q, v, o [pictures, n, heads * D]; l [pictures, heads, m, D]; kernel [heads, size, size]. Kept for
// the way back: k1 [.., n, M], k2 and z [.., M, M], y [.., M, D], each per picture and head.
void attention_forward(const float *q, const float *v, const float *l, const float *kernel,
                       float *o, float *k1, float *k2, float *z, float *y, size_t pictures,
                       size_t heads, size_t h, size_t w, size_t m, size_t size, size_t iterations)
{
    shape s = { heads, h, w, m, size, iterations };
    size_t n = h * w, step = heads * D;
    memset(o, 0, pictures * n * step * sizeof *o);
    for (size_t p = 0; p < pictures; p++) {
        square *own = (square *)(k2 + p * heads * M * M);
        rows marks;
        for (size_t i = 0; i < heads; i++) {
            fetch(marks, l + (p * heads + i) * m * D, m);
            gaussian(own[i][0], marks[0], marks, M, D, m);
            for (size_t r = m; r < M; r++)
                memset(own[i][r], 0, sizeof own[i][r]);
        }
        float alpha = start(own, heads, m);
        for (size_t i = 0; i < heads; i++) {
            size_t at = p * heads + i, from = p * n * step + i * D;
            float *weights = k1 + at * n * M, d[M];
            float(*inverse)[M] = (float(*)[M])(z + at * M * M);
            float(*sums)[D] = (float(*)[D])(y + at * M * D);
            square inv;
            rows u;
            newton(inverse, own[i], alpha, iterations);
            scales(d, own[i], m);
            scaled(inv, inverse, d);
            fetch(marks, l + at * m * D, m);
            gaussian(weights, q + from, marks, n, step, m);
            memset(sums, 0, sizeof u);
            gather(sums, weights, v + from, n, step);
            multiply_rows(u, inv, sums);
            scatter(o + from, weights, u, n, step);
            convolve(o + from, v + from, kernel + i * size * size, s, step, 0);
        }
    }
}

// dk2 from the gradient `g` of D Z D, in closed form: dZ goes back as -Z dZ Z, alpha is a constant.
static void inverse_backward(square dk2, const square g, const square z, const square k2, size_t m)
{
    square scaled_g, t;
    float d[M];
    scales(d, k2, m);
    scaled(scaled_g, g, d);
    multiply(t, z, scaled_g);
    multiply(dk2, t, z);
    for (size_t i = 0; i < m; i++) {
        float dd = 0;
        for (size_t j = 0; j < m; j++)
            dd += (g[i][j] * z[i][j] + g[j][i] * z[j][i]) * d[j];
        float drow = -0.5f * dd * d[i] * d[i] * d[i];
        for (size_t j = 0; j < M; j++)
            dk2[i][j] = drow - dk2[i][j];
    }
}

// The gradients of one head. dq, dv, dl, dkernel are added to.
static void head_backward(const float *q, const float *v, const rows l, const float *kernel,
                          const float *dy, const float *k1, const square k2, const square z,
                          const rows y, float *dq, float *dv, rows dl, float *dkernel, float *ds,
                          shape s)
{
    size_t n = s.h * s.w, step = s.heads * D;
    square inv, turned, dinv = { 0 }, dk2;
    rows u, du = { 0 }, back;
    float ut[D][M] __attribute__((aligned(32))), backt[D][M] __attribute__((aligned(32))), d[M];
    scales(d, k2, s.m);
    scaled(inv, z, d);
    multiply_rows(u, inv, y);
    gather(du, k1, dy, n, step);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < M; j++) {
            turned[i][j] = inv[j][i];
            dinv[i][j] = dot(du[i], y[j]);
        }
    multiply_rows(back, turned, du);
    scatter(dv, k1, back, n, step);
    transpose(ut, u);
    transpose(backt, back);
    for (size_t t = 0; t < n; t++) {
        lanes g[2] = { 0 };
        products(g, dy + t * step, ut);
        products(g, v + t * step, backt);
        float total = 0;
        for (int j = 0; j < 2; j++) {
            g[j] *= load(k1 + t * M + 8 * j);
            store(ds + t * M + 8 * j, g[j]);
            for (int e = 0; e < 8; e++)
                total += g[j][e];
        }
        for (int c = 0; c < V; c++)
            store(dq + t * step + 8 * c,
                  load(dq + t * step + 8 * c) - total * load(q + t * step + 8 * c));
    }
    scatter(dq, ds, l, n, step);
    gather(dl, ds, q, n, step);
    inverse_backward(dk2, dinv, z, k2, s.m);
    square pair = { 0 };
    for (size_t i = 0; i < s.m; i++) {
        float total = 0;
        for (size_t t = 0; t < n; t++)
            total += ds[t * M + i];
        for (size_t j = 0; j < s.m; j++) {
            pair[i][j] = dk2[i][j] * k2[i][j] + dk2[j][i] * k2[j][i];
            total += pair[i][j];
        }
        pair[i][i] -= total;
    }
    rows more;
    multiply_rows(more, pair, l);
    for (int i = 0; i < M; i++)
        for (int c = 0; c < D; c++)
            dl[i][c] += more[i][c];
    convolve(dv, dy, kernel, s, step, 1);
    kernel_gradient(dkernel, dy, v, s, step);
}

// All of dq, dv, dl, dkernel must be zero on entry; ds [n, M] is scratch.
void attention_backward(const float *q, const float *v, const float *l, const float *kernel,
                        const float *dy, const float *k1, const float *k2, const float *z,
                        const float *y, float *dq, float *dv, float *dl, float *dkernel, float *ds,
                        size_t pictures, size_t heads, size_t h, size_t w, size_t m, size_t size)
{
    shape s = { heads, h, w, m, size, 0 };
    size_t n = h * w, step = heads * D;
    for (size_t at = 0; at < pictures * heads; at++) {
        size_t head = at % heads, from = at / heads * n * step + head * D;
        rows marks, dmarks = { 0 };
        fetch(marks, l + at * m * D, m);
        head_backward(q + from, v + from, (const float(*)[D])marks, kernel + head * size * size,
                      dy + from, k1 + at * n * M, (const float(*)[M])(k2 + at * M * M),
                      (const float(*)[M])(z + at * M * M), (const float(*)[D])(y + at * M * D),
                      dq + from, dv + from, dmarks, dkernel + head * size * size, ds, s);
        memcpy(dl + at * m * D, dmarks, m * D * sizeof(float));
    }
}

// tanh-GELU is x times the logistic function of 2u, u = sqrt(2/pi) (x + 0.044715 x^3).
void gelu_forward(const float *x, float *y, size_t n)
{
    for (size_t i = 0; i + 8 <= n; i += 8) {
        lanes a = load(x + i), u = a * (1.59576912f + 0.0713548162f * a * a);
        store(y + i, a / (1.0f + exponential(-u)));
    }
}

void gelu_backward(const float *x, const float *dy, float *dx, size_t n)
{
    for (size_t i = 0; i + 8 <= n; i += 8) {
        lanes a = load(x + i), u = a * (1.59576912f + 0.0713548162f * a * a);
        lanes s = 1.0f / (1.0f + exponential(-u));
        lanes slope = s + a * s * (1.0f - s) * (1.59576912f + 0.2140644486f * a * a);
        store(dx + i, load(dy + i) * slope);
    }
}
