// SPDX-License-Identifier: MIT
// cpu/simd/attention.c: attention inside one window. For each head, queries and keys are turned
// into panels [d, tokens], so that scores are sums of outer products on registers; a few rows of
// scores at a time go through the softmax and meet the values while they are in the L1 cache.
#include "cpu/simd/math.h"
#include "cpu/simd/shuffle.h"
#include "cpu/simd/simd.h"

#include <math.h>

// Rows and vectors of a register block: of the scores, and of the product with the values.
#if VECTOR_REGISTERS == 32
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

// The parts stay functions of their own: together, the constants of exp() would sit in the
// registers that the sums of the products need.
#define APART static __attribute__((noinline))

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
