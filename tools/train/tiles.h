// SPDX-License-Identifier: MIT
// tiles.h: what the training kernels with matrix tiles (AMX, bf16) share: right and left factors,
// products with what follows them, gradients of weights, layer norm.
#pragma once
#include "lanes.h"

#ifdef __AMX_BF16__
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum { CHUNK = 4, MOST = CHUNK * TOKENS, TILE = 16, DEEP = 32, SLACK = 256 };

static inline size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static inline __mmask16 rest(size_t n) // of a row from here to its end
{
    return n >= TILE ? 0xffff : (__mmask16)((1u << n) - 1);
}

static inline void put_half(stored *y, __mmask16 where, __m512 x)
{
    _mm256_mask_storeu_epi16(y, where, (__m256i)_mm512_cvtneps_pbh(x));
}

static inline __m512 get_half(const stored *x, __mmask16 where)
{
    __m256i h = _mm256_maskz_loadu_epi16(where, x);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

// --- products ---

// Right factors lie in tiles: of 16 columns each, one after the other, and in each of 32 rows, two
// and two of which are interleaved.

// A right factor of k x n numbers at w[i * down + j * across], padded with zeros.
static inline void pack_weights(const float *w, size_t down, size_t across, size_t k, size_t n,
                                stored *b)
{
    size_t deep = up(k, DEEP), wide = up(n, TILE);
    for (size_t j = 0; j < wide; j++)
        for (size_t i = 0; i < deep; i++) {
            float x = i < k && j < n ? w[i * down + j * across] : 0;
            size_t tile = j / TILE * deep * TILE + i / DEEP * DEEP * TILE;
            size_t at = tile + i % DEEP / 2 * DEEP + j % TILE * 2 + i % 2;
            __m128bh h = _mm_cvtneps_pbh(_mm_set_ss(x));
            memcpy(b + at, &h, sizeof *b);
        }
}

// Sixteen numbers of two rows, interleaved.
static inline __m512i pairs(const stored *x, size_t stride)
{
    __m256i even = _mm256_loadu_si256((const void *)x);
    __m256i odd = _mm256_loadu_si256((const void *)(x + stride));
    return _mm512_or_si512(_mm512_cvtepu16_epi32(even),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

// A right factor of k rows (a multiple of 32), n columns.
static inline void pack_rows(const stored *x, size_t stride, size_t k, size_t n, stored *b)
{
    for (size_t j = 0; j < n; j += TILE)
        for (size_t i = 0; i < k; i += 2, b += DEEP)
            _mm512_storeu_si512(b, pairs(x + i * stride + j, stride));
}

static inline void transpose(__m512i r[16]) // of 16 x 16 words
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 4) {
        __m512i a = _mm512_unpacklo_epi32(r[i], r[i + 1]),
                b = _mm512_unpackhi_epi32(r[i], r[i + 1]);
        __m512i c = _mm512_unpacklo_epi32(r[i + 2], r[i + 3]);
        __m512i d = _mm512_unpackhi_epi32(r[i + 2], r[i + 3]);
        t[i] = _mm512_unpacklo_epi64(a, c), t[i + 1] = _mm512_unpackhi_epi64(a, c);
        t[i + 2] = _mm512_unpacklo_epi64(b, d), t[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    for (int i = 0; i < 4; i++) {
        __m512i a = _mm512_shuffle_i32x4(t[i], t[4 + i], 0x88);
        __m512i b = _mm512_shuffle_i32x4(t[i], t[4 + i], 0xdd);
        __m512i c = _mm512_shuffle_i32x4(t[8 + i], t[12 + i], 0x88);
        __m512i d = _mm512_shuffle_i32x4(t[8 + i], t[12 + i], 0xdd);
        r[i] = _mm512_shuffle_i32x4(a, c, 0x88), r[8 + i] = _mm512_shuffle_i32x4(a, c, 0xdd);
        r[4 + i] = _mm512_shuffle_i32x4(b, d, 0x88), r[12 + i] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
}

// A right factor that is the transpose of 64 rows of d numbers (even, at most 32): 32 x 64.
static inline void pack_turned(const stored *x, size_t stride, size_t d, stored *b)
{
    __m512i r[16];
    for (size_t j = 0; j < TOKENS; j += TILE, b += DEEP * TILE) {
        for (size_t i = 0; i < TILE; i++)
            r[i] = _mm512_maskz_loadu_epi32(rest(d / 2), x + (j + i) * stride);
        transpose(r);
        memcpy(b, r, sizeof r);
    }
}

// y [n, rows], whose rows are `wide` apart, = x [rows, n] turned; rows: a multiple of 32.
static inline void turn(const stored *x, size_t stride, size_t rows, size_t n, stored *y,
                        size_t wide)
{
    __m512i r[16];
    for (size_t j = 0; j < n; j += TILE)
        for (size_t i = 0; i < rows; i += DEEP) {
            for (size_t p = 0; p < TILE; p++)
                r[p] = pairs(x + (i + 2 * p) * stride + j, stride);
            transpose(r);
            for (size_t p = 0; p < TILE; p++)
                _mm512_storeu_si512(y + (j + p) * wide + i, r[p]);
        }
}

// 32 rows and one or two tiles of columns of c = a b, or of c += a b. k: a multiple of 32.
static inline void tiles(const stored *a, size_t lda, const stored *b, size_t k, bool two, float *c,
                         size_t ldc, bool onto)
{
    float *low = c + TILE * ldc;
    if (onto) {
        _tile_loadd(0, c, ldc * 4);
        _tile_loadd(2, low, ldc * 4);
        if (two) {
            _tile_loadd(1, c + TILE, ldc * 4);
            _tile_loadd(3, low + TILE, ldc * 4);
        }
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (size_t i = 0; i < k; i += DEEP) {
        _tile_loadd(4, a + i, lda * 2);
        _tile_loadd(5, a + TILE * lda + i, lda * 2);
        _tile_loadd(6, b + i * TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(2, 5, 6);
        if (two) {
            _tile_loadd(7, b + (k + i) * TILE, 64);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, ldc * 4);
    _tile_stored(2, low, ldc * 4);
    if (two) {
        _tile_stored(1, c + TILE, ldc * 4);
        _tile_stored(3, low + TILE, ldc * 4);
    }
}

typedef struct {             // what becomes of a product x, all with this stride
    const float *bias, *add; // added to it
    const stored *slope;     // multiplied by GELU's derivative there
    float *full;             // where it goes, as f32
    stored *half, *gelu;     // as bf16; through GELU, as bf16
    size_t stride;
} target;

static inline void finish(const target *y, size_t row, size_t column, __mmask16 where, __m512 x)
{
    size_t at = row * y->stride + column;
    if (y->bias)
        x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(where, y->bias + column));
    if (y->add)
        x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(where, y->add + at));
    if (y->slope)
        x = _mm512_mul_ps(x, (__m512)slope((lanes)get_half(y->slope + at, where)));
    if (y->half)
        put_half(y->half + at, where, x);
    if (y->full)
        _mm512_mask_storeu_ps(y->full + at, where, x);
    if (y->gelu)
        put_half(y->gelu + at, where, (__m512)gelu((lanes)x));
}

// a b, and what follows; a [m, k], m a multiple of 32, k padded to one.
static inline void multiply(const stored *a, size_t lda, size_t m, const stored *b, size_t k,
                            size_t n, target y)
{
    float patch[DEEP][DEEP] __attribute__((aligned(64)));
    k = up(k, DEEP);
    for (size_t j = 0; j < n; j += DEEP)
        for (size_t i = 0; i < m; i += DEEP) {
            tiles(a + i * lda, lda, b + j * k, k, j + TILE < n, patch[0], DEEP, false);
            for (size_t s = j; s < n && s < j + DEEP; s += TILE)
                for (size_t r = 0; r < DEEP; r++)
                    finish(&y, i + r, s, rest(n - s), _mm512_loadu_ps(patch[r] + s - j));
        }
}

typedef struct { // a matrix [out, in] of a layer, in training
    size_t part; // its number among the weights
    size_t out, in;
    size_t stride;        // between its rows
    stored *b, *b_turned; // as right factor, for y and for dx
    float *sums;          // its gradient, padded
} matrix;

static inline void *part(uintptr_t *at, size_t bytes)
{
    uintptr_t p = *at;
    *at += up(bytes, 64) + SLACK;
    return (void *)p;
}

static inline void *zeroed(size_t bytes)
{
    void *p = aligned_alloc(64, up(bytes, 64));
    return p ? memset(p, 0, bytes) : NULL;
}

static inline void lay_out_matrices(matrix *m, size_t count, uintptr_t *at, bool backward)
{
    for (matrix *end = m + count; m < end; m++) {
        size_t size = up(m->out, DEEP) * up(m->in, DEEP);
        m->b = part(at, 2 * size);
        m->b_turned = backward ? part(at, 2 * size) : NULL;
        m->sums = backward ? part(at, 4 * size) : NULL;
    }
}

static inline void pack_matrices(const matrix *m, size_t count, const float *const *w)
{
    for (const matrix *end = m + count; m < end; m++) {
        pack_weights(w[m->part], 1, m->stride, m->in, m->out, m->b);
        if (m->b_turned)
            pack_weights(w[m->part], m->stride, 1, m->out, m->in, m->b_turned);
    }
}

static inline void collect_matrices(const matrix *m, size_t count, float *const *grads)
{
    for (const matrix *end = m + count; m < end; m++)
        for (size_t i = 0; i < m->out; i++)
            for (size_t j = 0; j < m->in; j++)
                grads[m->part][i * m->stride + j] += m->sums[i * up(m->in, TILE) + j];
}

static inline void add_to(float *sum, __mmask16 m, __m512 x)
{
    _mm512_mask_storeu_ps(sum, m, _mm512_add_ps(_mm512_maskz_loadu_ps(m, sum), x));
}

typedef struct { // room for both factors of a gradient's product
    stored *left, *right;
} factors;

// Adds dy^T x to the gradient of a matrix, over `rows` rows (a multiple of 64, at most MOST), and
// the sums of dy to that of its bias.
static inline void weight_gradient(const matrix *m, const stored *dy, size_t dy_stride,
                                   const stored *x, size_t x_stride, size_t rows, factors f,
                                   float *dbias)
{
    size_t columns = up(m->in, TILE);
    turn(dy, dy_stride, rows, up(m->out, TILE), f.left, MOST);
    pack_rows(x, x_stride, rows, columns, f.right);
    for (size_t i = 0; i < m->out; i += DEEP)
        for (size_t j = 0; j < columns; j += DEEP)
            tiles(f.left + i * MOST, MOST, f.right + j * rows, rows, j + TILE < columns,
                  m->sums + i * columns + j, columns, true);
    for (size_t i = 0; i < m->out; i += TILE) {
        __mmask16 where = rest(m->out - i);
        __m512 sum = _mm512_setzero_ps();
        for (size_t t = 0; t < rows; t++)
            sum = _mm512_add_ps(sum, get_half(dy + t * dy_stride + i, where));
        add_to(dbias + i, where, sum);
    }
}

static inline void halves_of(const float *x, size_t c, size_t rows, stored *y, size_t stride)
{
    for (size_t t = 0; t < rows; t++)
        for (size_t i = 0; i < c; i += TILE)
            put_half(y + t * stride + i, rest(c - i),
                     _mm512_maskz_loadu_ps(rest(c - i), x + t * c + i));
}

// Layer norm of rows of c numbers; `add` [64, c] or NULL is added to every 64 rows. stats [rows,
// 2]: mean, 1 / deviation.
static inline void norm(const float *x, size_t c, size_t rows, const float *w, const float *b,
                        const float *add, float *stats, stored *y, size_t stride)
{
    for (size_t t = 0; t < rows; t++, x += c) {
        __m512 sum = _mm512_setzero_ps(), square = sum;
        for (size_t i = 0; i < c; i += TILE)
            sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(rest(c - i), x + i));
        __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / (float)c);
        for (size_t i = 0; i < c; i += TILE) {
            __mmask16 m = rest(c - i);
            __m512 v = _mm512_maskz_sub_ps(m, _mm512_maskz_loadu_ps(m, x + i), mean);
            square = _mm512_fmadd_ps(v, v, square);
        }
        float scale = 1.0f / sqrtf(_mm512_reduce_add_ps(square) / (float)c + 1e-5f);
        stats[2 * t] = mean[0], stats[2 * t + 1] = scale;
        for (size_t i = 0; i < c; i += TILE) {
            __mmask16 m = rest(c - i);
            __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + i), mean);
            v = _mm512_mul_ps(v, _mm512_set1_ps(scale));
            v = _mm512_fmadd_ps(v, _mm512_maskz_loadu_ps(m, w + i),
                                _mm512_maskz_loadu_ps(m, b + i));
            if (add)
                v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, add + t % TOKENS * c + i));
            put_half(y + t * stride + i, m, v);
        }
    }
}

typedef struct {
    float *w, *b, *add;
} norm_grads;

// dx = onto (or nothing) + the gradient of `norm` by x, from dy; its weights' are added up.
static inline void norm_backward(const float *x, size_t c, size_t rows, const float *w,
                                 const float *stats, const float *dy, norm_grads grads,
                                 const float *onto, float *dx)
{
    for (size_t t = 0; t < rows; t++, x += c, dy += c, dx += c) {
        __m512 mean = _mm512_set1_ps(stats[2 * t]), scale = _mm512_set1_ps(stats[2 * t + 1]);
        __m512 sum = _mm512_setzero_ps(), dot = sum;
        for (size_t i = 0; i < c; i += TILE) {
            __mmask16 m = rest(c - i);
            __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + i), mean);
            v = _mm512_maskz_mul_ps(m, v, scale);
            __m512 d = _mm512_maskz_loadu_ps(m, dy + i);
            add_to(grads.w + i, m, _mm512_mul_ps(d, v));
            add_to(grads.b + i, m, d);
            if (grads.add)
                add_to(grads.add + t % TOKENS * c + i, m, d);
            d = _mm512_mul_ps(d, _mm512_maskz_loadu_ps(m, w + i));
            sum = _mm512_add_ps(sum, d);
            dot = _mm512_fmadd_ps(d, v, dot);
        }
        __m512 a = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / (float)c);
        __m512 b = _mm512_set1_ps(_mm512_reduce_add_ps(dot) / (float)c);
        for (size_t i = 0; i < c; i += TILE) {
            __mmask16 m = rest(c - i);
            __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + i), mean), scale);
            __m512 d =
                _mm512_mul_ps(_mm512_maskz_loadu_ps(m, dy + i), _mm512_maskz_loadu_ps(m, w + i));
            d = _mm512_mul_ps(scale, _mm512_sub_ps(_mm512_sub_ps(d, a), _mm512_mul_ps(v, b)));
            if (onto)
                d = _mm512_add_ps(d, _mm512_maskz_loadu_ps(m, onto + t * c + i));
            _mm512_mask_storeu_ps(dx + i, m, d);
        }
    }
}

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} __attribute__((aligned(64))) tile_config;

// Tiles of 16 rows of 64 bytes; `before` is what the thread had, for others use tiles, too.
static inline void configure(tile_config *before)
{
    tile_config all = { .palette = 1 };
    for (int i = 0; i < 8; i++)
        all.bytes[i] = 64, all.rows[i] = TILE;
    _tile_storeconfig(before);
    _tile_loadconfig(&all);
}

static inline void restore(const tile_config *before)
{
    if (before->palette)
        _tile_loadconfig(before);
    else
        _tile_release();
}
#endif
