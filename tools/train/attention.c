// SPDX-License-Identifier: MIT
// attention.c: attention within windows of 64 tokens, heads of up to 32 channels, for training:
// bf16 or f32 in and out, f32 between. Nothing of size 64 x 64 is kept; the gradient computes it
// again.
#include "lanes.h"

enum { D = 32, ROW_LANES = TOKENS / LANES, PAIR = 2 * LANES };

typedef struct { // [token][channel], channels beyond d at zero
    float v[TOKENS][D] __attribute__((aligned(64)));
} tall;

typedef struct { // [channel][token]
    float v[D][TOKENS] __attribute__((aligned(64)));
} wide;

typedef struct {
    float v[TOKENS][TOKENS] __attribute__((aligned(64)));
} square;

static void take(const stored *x, size_t stride, size_t d, tall *y)
{
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t k = 0; k < d; k++)
            y->v[t][k] = number(x[t * stride + k]);
}

static void put(const tall *x, size_t stride, size_t d, stored *y)
{
    for (size_t t = 0; t < TOKENS; t++) {
        stored row[D];
        for (size_t k = 0; k < D; k += LANES) {
            lanes v;
            memcpy(&v, x->v[t] + k, sizeof v);
            store(row + k, v);
        }
        memcpy(y + t * stride, row, d * sizeof *row);
    }
}

static void turn(const tall *x, size_t d, wide *y)
{
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t k = 0; k < d; k++)
            y->v[k][t] = x->v[t][k];
}

// ROWS rows and PAIR columns of c = a b, a sum of k products; a is read with these strides, b and c
// are rows of `width`.
static inline void product(const float *a, size_t row_stride, size_t column_stride, size_t k,
                           const float *b, float *c, size_t width)
{
    lanes sum[ROWS][2] = {};
    for (size_t i = 0; i < k; i++) {
        lanes row[2];
        memcpy(row, b + i * width, sizeof row);
        for (int r = 0; r < ROWS; r++)
            for (int j = 0; j < 2; j++)
                sum[r][j] += a[(size_t)r * row_stride + i * column_stride] * row[j];
    }
    for (int r = 0; r < ROWS; r++)
        memcpy(c + (size_t)r * width, sum[r], sizeof sum[r]);
}

// c = a b, a [64, d], b [d, 64]
static void outer(const tall *a, const wide *b, size_t d, square *c)
{
    for (size_t i = 0; i < TOKENS; i += ROWS)
        for (size_t j = 0; j < TOKENS; j += PAIR)
            product(a->v[i], D, 1, d, b->v[0] + j, c->v[i] + j, TOKENS);
}

// c = a b, a [64, 64] read with these strides (1, 64: transposed), b [64, 32]
static void inner(const float *a, size_t row_stride, size_t column_stride, const tall *b, tall *c)
{
    for (size_t i = 0; i < TOKENS; i += ROWS)
        for (size_t j = 0; j < D; j += PAIR)
            product(a + i * row_stride, row_stride, column_stride, TOKENS, b->v[0] + j, c->v[i] + j,
                    D);
}

static float total(lanes x)
{
    float sum = 0;
    for (int k = 0; k < LANES; k++)
        sum += x[k];
    return sum;
}

static float greatest(const float *x)
{
    lanes top, v;
    memcpy(&top, x, sizeof top);
    for (int j = 1; j < ROW_LANES; j++) {
        memcpy(&v, x + j * LANES, sizeof v);
        top = choose((words)(v > top), v, top);
    }
    float most = top[0];
    for (int k = 1; k < LANES; k++)
        most = top[k] > most ? top[k] : most;
    return most;
}

// p = softmax(q k^T + bias + mask); mask may be NULL
static void weights(const tall *q, const tall *k, size_t d, const float *bias, const float *mask,
                    square *p)
{
    wide kt;
    turn(k, d, &kt);
    outer(q, &kt, d, p);
    for (size_t i = 0; i < TOKENS; i++) {
        float *row = p->v[i];
        for (size_t j = 0; j < TOKENS; j++)
            row[j] += bias[i * TOKENS + j];
        for (size_t j = 0; mask && j < TOKENS; j++)
            row[j] += mask[i * TOKENS + j];
        float most = greatest(row);
        lanes e[ROW_LANES], sum = {};
        memcpy(e, row, sizeof e);
        for (int j = 0; j < ROW_LANES; j++) {
            e[j] = exp_negative(e[j] - most);
            sum += e[j];
        }
        float scale = 1.0f / total(sum);
        for (int j = 0; j < ROW_LANES; j++)
            e[j] *= scale;
        memcpy(row, e, sizeof e);
    }
}

static const float *mask_of(const float *masks, const int64_t *which, size_t window)
{
    return which[window] < 0 ? NULL : masks + which[window] * TOKENS * TOKENS;
}

// qkv: [windows, 64, 3, heads, d], q already scaled; bias: [heads, 64, 64]; masks: [m, 64, 64];
// which: [windows], a mask's number or -1. y: [windows, 64, heads, d].
void attention_forward(const stored *qkv, const float *bias, const float *masks,
                       const int64_t *which, stored *y, size_t windows, size_t heads, size_t d)
{
    size_t c = heads * d;
    tall q = {}, k = {}, v = {}, o;
    square p;
    for (size_t i = 0; i < windows * heads; i++) {
        size_t window = i / heads, head = i % heads;
        const stored *x = qkv + window * TOKENS * 3 * c + head * d;
        take(x, 3 * c, d, &q);
        take(x + c, 3 * c, d, &k);
        take(x + 2 * c, 3 * c, d, &v);
        weights(&q, &k, d, bias + head * TOKENS * TOKENS, mask_of(masks, which, window), &p);
        inner(p.v[0], TOKENS, 1, &v, &o);
        put(&o, c, d, y + window * TOKENS * c + head * d);
    }
}

// ds = p * (dp - sum over the row of p * dp), in place of dp; added to dbias
static void softmax_backward(const square *p, square *dp, float *dbias)
{
    for (size_t i = 0; i < TOKENS; i++) {
        lanes a[ROW_LANES], b[ROW_LANES], t[ROW_LANES], sum = {};
        memcpy(a, p->v[i], sizeof a);
        memcpy(b, dp->v[i], sizeof b);
        memcpy(t, dbias + i * TOKENS, sizeof t);
        for (int j = 0; j < ROW_LANES; j++)
            sum += a[j] * b[j];
        float row = total(sum);
        for (int j = 0; j < ROW_LANES; j++) {
            b[j] = a[j] * (b[j] - row);
            t[j] += b[j];
        }
        memcpy(dp->v[i], b, sizeof b);
        memcpy(dbias + i * TOKENS, t, sizeof t);
    }
}

// As attention_forward. dbias [heads, 64, 64]: zero on entry.
void attention_backward(const stored *qkv, const float *bias, const float *masks,
                        const int64_t *which, const stored *dy, stored *dqkv, float *dbias,
                        size_t windows, size_t heads, size_t d)
{
    size_t c = heads * d;
    tall q = {}, k = {}, v = {}, o = {}, g;
    wide vt;
    square p, ds;
    for (size_t i = 0; i < windows * heads; i++) {
        size_t window = i / heads, head = i % heads, at = window * TOKENS * 3 * c + head * d;
        take(qkv + at, 3 * c, d, &q);
        take(qkv + at + c, 3 * c, d, &k);
        take(qkv + at + 2 * c, 3 * c, d, &v);
        take(dy + window * TOKENS * c + head * d, c, d, &o);
        weights(&q, &k, d, bias + head * TOKENS * TOKENS, mask_of(masks, which, window), &p);
        turn(&v, d, &vt);
        outer(&o, &vt, d, &ds);
        softmax_backward(&p, &ds, dbias + head * TOKENS * TOKENS);
        inner(ds.v[0], TOKENS, 1, &k, &g);
        put(&g, 3 * c, d, dqkv + at);
        inner(ds.v[0], 1, TOKENS, &q, &g);
        put(&g, 3 * c, d, dqkv + at + c);
        inner(p.v[0], 1, TOKENS, &o, &g);
        put(&g, 3 * c, d, dqkv + at + 2 * c);
    }
}
