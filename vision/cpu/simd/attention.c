// SPDX-License-Identifier: MIT
// cpu/simd/attention.c: attention inside one window. For each head, queries and keys are turned
// into panels [d, tokens], so that scores are sums of outer products on registers; a few rows of
// scores at a time go through the softmax and meet the values while they are in the L1 cache.
#include "cpu/simd/math.h"
#include "cpu/simd/simd.h"

#include <math.h>

// Rows and vectors of a register block: of the scores, and of the product with the values.
#if defined(SL_SIMD_IS_AVX512)
#define SCORE_VECTORS 4
#define GROUP 8
#else
#define SCORE_VECTORS 2
#define GROUP 4
#endif
#define SCORE_ROWS 4
#define VALUE_VECTORS 2
#define COLUMNS (SCORE_VECTORS * VL) // a multiple of GROUP

// What padded columns score: exp() makes nothing of it.
#define NEVER (-1e30f)

// ---- shuffles inside groups of four lanes; i in 0..3 is a lane of a, 4..7 one of b

#define LANE(i, g) ((i) < 4 ? (i) + 4 * (g) : VL + (i)-4 + 4 * (g))
#define LANES(i, j, k, l, g) LANE(i, g), LANE(j, g), LANE(k, g), LANE(l, g)
#if VL == 16
#define SHUFFLE(a, b, i, j, k, l)                                                                  \
    __builtin_shufflevector(a, b, LANES(i, j, k, l, 0), LANES(i, j, k, l, 1),                      \
                            LANES(i, j, k, l, 2), LANES(i, j, k, l, 3))
#elif VL == 8
#define SHUFFLE(a, b, i, j, k, l)                                                                  \
    __builtin_shufflevector(a, b, LANES(i, j, k, l, 0), LANES(i, j, k, l, 1))
#else
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, LANES(i, j, k, l, 0))
#endif

typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));

// Four floats from each of VL/4 places, `step` floats apart.
SL_INLINE vf load_quads(const float *p, size_t step)
{
#if VL == 4
    (void)step;
    return vf_load(p);
#else
    quad a = *(const quad *)p, b = *(const quad *)(p + step);
#if VL == 8
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
#else
    quad c = *(const quad *)(p + 2 * step), d = *(const quad *)(p + 3 * step);
    typedef float eight __attribute__((vector_size(32)));
    eight ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
    eight cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#endif
#endif
}

// The parts stay functions of their own: together, the constants of exp() would sit in the
// registers that the sums of the products need.
#define APART static __attribute__((noinline))

// panel[c][r] = x[r][c] for r < n, c < d; rows of the panel are np floats, zeros behind n.
APART void transpose(const float *x, size_t ld, size_t n, size_t np, size_t d, float *panel)
{
    size_t rows = n / VL * VL, columns = d / 4 * 4;
    for (size_t r = 0; r < rows; r += VL)
        for (size_t c = 0; c < columns; c += 4) {
            vf t[4];
            SL_UNROLL
            for (size_t i = 0; i < 4; i++)
                t[i] = load_quads(x + (r + i) * ld + c, 4 * ld);
            vf a = SHUFFLE(t[0], t[1], 0, 4, 1, 5), b = SHUFFLE(t[2], t[3], 0, 4, 1, 5);
            vf e = SHUFFLE(t[0], t[1], 2, 6, 3, 7), f = SHUFFLE(t[2], t[3], 2, 6, 3, 7);
            float *out = panel + c * np + r;
            vf_store(out, SHUFFLE(a, b, 0, 1, 4, 5));
            vf_store(out + np, SHUFFLE(a, b, 2, 3, 6, 7));
            vf_store(out + 2 * np, SHUFFLE(e, f, 0, 1, 4, 5));
            vf_store(out + 3 * np, SHUFFLE(e, f, 2, 3, 6, 7));
        }
    for (size_t c = 0; c < d; c++)
        for (size_t r = c < columns ? rows : 0; r < np; r++)
            panel[c * np + r] = r < n ? x[r * ld + c] : 0.0f;
}

// One number from each of four vectors: {a, b, c, d} in every group of four lanes.
#define REDUCE(name, op)                                                                           \
    SL_INLINE vf name(vf a, vf b, vf c, vf d)                                                      \
    {                                                                                              \
        vf ab = op(SHUFFLE(a, b, 0, 4, 1, 5), SHUFFLE(a, b, 2, 6, 3, 7));                          \
        vf cd = op(SHUFFLE(c, d, 0, 4, 1, 5), SHUFFLE(c, d, 2, 6, 3, 7));                          \
        vf all = op(SHUFFLE(ab, cd, 0, 1, 4, 5), SHUFFLE(ab, cd, 2, 3, 6, 7));                     \
        return ACROSS(all, op);                                                                    \
    }
#if VL == 16
#define ACROSS(x, op) across_quads(op, x)
#define across_quads(op, x)                                                                        \
    (x = op(x,                                                                                     \
            __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)),  \
     op(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)))
#elif VL == 8
#define ACROSS(x, op) op(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3))
#else
#define ACROSS(x, op) (x)
#endif

SL_INLINE vf vf_add(vf a, vf b)
{
    return a + b;
}

REDUCE(largest_of_rows, vf_max)
REDUCE(sum_of_rows, vf_add)

// One head of a window, its panels in scratch memory.
typedef struct head {
    size_t n, np, d, dp; // tokens and head dimension, np and dp padded to whole blocks
    const float *bias, *mask;
    float scale;
    float *queries, *keys; // [d, np]
    float *values;         // [n, dp]
    float *scores;         // [GROUP, np]
} head;

SL_INLINE vf pair_bias(const head *h, size_t row, size_t column, bool is_masked)
{
    // Added behind the last token: VL zeros, then what no softmax sees.
    static const float behind[2 * VL] = { [VL... 2 * VL - 1] = NEVER };
    size_t at = (row < h->n ? row : h->n - 1) * h->n + column; // padded rows are computed, not used
    if (column + VL <= h->n) {
        vf x = vf_load(h->bias + at);
        return is_masked ? x + vf_load(h->mask + at) : x;
    }
    size_t left = column < h->n ? h->n - column : 0;
    vf x = vf_load(behind + VL - left);
    if (left > 0) {
        x += vf_load_part(h->bias + at, left);
        if (is_masked)
            x += vf_load_part(h->mask + at, left);
    }
    return x;
}

// scores[i][j] = q_i k_j for SCORE_ROWS rows and all columns, from their places in the panels.
APART void score_rows(const float *queries, const float *keys, size_t np, size_t d, float *scores)
{
    for (size_t column = 0; column < np; column += COLUMNS) {
        vf acc[SCORE_ROWS][SCORE_VECTORS] = { 0 };
        const float *q = queries, *k = keys + column;
        for (size_t c = 0; c < d; c++, q += np, k += np) {
            vf b[SCORE_VECTORS];
            SL_UNROLL
            for (size_t j = 0; j < SCORE_VECTORS; j++)
                b[j] = vf_load(k + j * VL);
            SL_UNROLL
            for (size_t i = 0; i < SCORE_ROWS; i++) {
                SL_UNROLL
                for (size_t j = 0; j < SCORE_VECTORS; j++)
                    acc[i][j] += vf_set(q[i]) * b[j];
            }
        }
        SL_UNROLL
        for (size_t i = 0; i < SCORE_ROWS; i++) {
            SL_UNROLL
            for (size_t j = 0; j < SCORE_VECTORS; j++)
                vf_store(scores + i * np + column + j * VL, acc[i][j]);
        }
    }
}

// Scores of SCORE_ROWS rows to their softmax before its division; sums: what to divide by.
SL_INLINE void soften_rows(const head *h, size_t row, bool is_masked, float *scores,
                           float sums[SCORE_ROWS])
{
    vf top[SCORE_ROWS], sum[SCORE_ROWS];
    SL_UNROLL
    for (size_t i = 0; i < SCORE_ROWS; i++) {
        top[i] = vf_set(NEVER);
        sum[i] = vf_set(0.0f);
    }
    for (size_t column = 0; column < h->np; column += VL) {
        SL_UNROLL
        for (size_t i = 0; i < SCORE_ROWS; i++) {
            float *s = scores + i * h->np + column;
            vf x = vf_load(s) * vf_set(h->scale) + pair_bias(h, row + i, column, is_masked);
            top[i] = vf_max(top[i], x);
            vf_store(s, x);
        }
    }
    vf tops = largest_of_rows(top[0], top[1], top[2], top[3]);
    top[0] = SHUFFLE(tops, tops, 0, 0, 0, 0);
    top[1] = SHUFFLE(tops, tops, 1, 1, 1, 1);
    top[2] = SHUFFLE(tops, tops, 2, 2, 2, 2);
    top[3] = SHUFFLE(tops, tops, 3, 3, 3, 3);
    for (size_t column = 0; column < h->np; column += VL) {
        SL_UNROLL
        for (size_t i = 0; i < SCORE_ROWS; i++) {
            float *s = scores + i * h->np + column;
            vf e = vf_exp(vf_load(s) - top[i]);
            vf_store(s, e);
            sum[i] += e;
        }
    }
    float lane[VL];
    vf_store(lane, sum_of_rows(sum[0], sum[1], sum[2], sum[3]));
    memcpy(sums, lane, SCORE_ROWS * sizeof(float));
}

APART void soften_plain(const head *h, size_t row, float *scores, float sums[SCORE_ROWS])
{
    soften_rows(h, row, false, scores, sums);
}

APART void soften_masked(const head *h, size_t row, float *scores, float sums[SCORE_ROWS])
{
    soften_rows(h, row, true, scores, sums);
}

// out[i][..] = scores[i][..] * values / sums[i], for GROUP rows and `vectors` columns of vectors.
SL_INLINE void weigh_block(const head *h, const float *sums, size_t column, size_t vectors,
                           size_t np, size_t rows, float *out, size_t ldo)
{
    vf acc[GROUP][VALUE_VECTORS] = { 0 };
    const float *v = h->values + column, *scores = h->scores;
    for (size_t k = 0; k < h->n; k++, v += h->dp) {
        vf b[VALUE_VECTORS];
        SL_UNROLL
        for (size_t j = 0; j < vectors; j++)
            b[j] = vf_load(v + j * VL);
        SL_UNROLL
        for (size_t i = 0; i < GROUP; i++) {
            SL_UNROLL
            for (size_t j = 0; j < vectors; j++)
                acc[i][j] += vf_set(scores[i * np + k]) * b[j];
        }
    }
    SL_UNROLL
    for (size_t i = 0; i < GROUP; i++) {
        vf inverse = vf_set(1.0f / sums[i]);
        SL_UNROLL
        for (size_t j = 0; j < vectors; j++) {
            size_t at = column + j * VL;
            if (i < rows && at + VL <= h->d)
                vf_store(out + i * ldo + at, acc[i][j] * inverse);
            else if (i < rows)
                vf_store_part(out + i * ldo + at, acc[i][j] * inverse, h->d - at);
        }
    }
}

SL_INLINE void weigh(const head *h, const float *sums, size_t np, size_t rows, float *out,
                     size_t ldo)
{
    size_t column = 0;
    for (; column + VALUE_VECTORS * VL <= h->dp; column += VALUE_VECTORS * VL)
        weigh_block(h, sums, column, VALUE_VECTORS, np, rows, out, ldo);
    for (; column < h->dp; column += VL)
        weigh_block(h, sums, column, 1, np, rows, out, ldo);
}

// 64 tokens are what every published model has: with them the offsets of rows are constants.
APART void weigh_values_64(const head *h, const float *sums, float *out, size_t ldo)
{
    weigh(h, sums, 64, GROUP, out, ldo);
}

APART void weigh_values(const head *h, const float *sums, size_t rows, float *out, size_t ldo)
{
    weigh(h, sums, h->np, rows, out, ldo);
}

static void attend_head(const head *h, float *out, size_t ldo)
{
    for (size_t row = 0; row < h->n; row += GROUP) {
        float sums[GROUP];
        for (size_t i = 0; i < GROUP; i += SCORE_ROWS) {
            float *scores = h->scores + i * h->np;
            score_rows(h->queries + row + i, h->keys, h->np, h->d, scores);
            if (h->mask)
                soften_masked(h, row + i, scores, sums + i);
            else
                soften_plain(h, row + i, scores, sums + i);
        }
        if (h->n == 64 && h->np == 64)
            weigh_values_64(h, sums, out + row * ldo, ldo);
        else
            weigh_values(h, sums, h->n - row < GROUP ? h->n - row : GROUP, out + row * ldo, ldo);
    }
}

static size_t padded(size_t n, size_t block)
{
    return (n + block - 1) / block * block;
}

size_t SL_LEVEL(sl_attention_scratch)(size_t tokens, size_t head_dim)
{
    size_t np = padded(tokens, COLUMNS), dp = padded(head_dim, VL);
    return (2 * head_dim + GROUP) * np + tokens * dp;
}

void SL_LEVEL(sl_attention_run)(const sl_attention *a)
{
    size_t n = a->tokens, np = padded(n, COLUMNS), d = a->head_dim, dp = padded(d, VL);
    head h = { .n = n, .np = np, .d = d, .dp = dp, .mask = a->mask };
    h.scale = 1.0f / sqrtf((float)d);
    h.queries = a->scratch;
    h.keys = h.queries + d * np;
    h.scores = h.keys + d * np;
    h.values = h.scores + GROUP * np;
    for (size_t i = 0; i < a->heads; i++) {
        size_t at = i * d;
        h.bias = a->bias + i * n * n;
        transpose(a->q + at, a->ldq, n, np, d, h.queries);
        transpose(a->k + at, a->ldkv, n, np, d, h.keys);
        for (size_t r = 0; r < n; r++) {
            const float *v = a->v + at + r * a->ldkv;
            size_t c = 0;
            for (; c + VL <= d; c += VL)
                vf_store(h.values + r * dp + c, vf_load(v + c));
            if (c < d)
                vf_store(h.values + r * dp + c, vf_load_part(v + c, d - c));
        }
        attend_head(&h, a->out + at, a->ldo);
    }
}
