// SPDX-License-Identifier: MIT
// block.c: a whole block of LMD-ViT for training, forward and backward, on the windows that are
// kept, with the processor's tiles for products of bf16 (AMX). A few windows at a time stay in the
// cache from their first norm to their last product; only the block's input is kept for the
// gradient.
#include "tiles.h"

#ifdef __AMX_BF16__
#include <sys/syscall.h>
#include <unistd.h>

// The block's weights, f32, matrices [out, in]; as gradients they are added to. The scale of q is
// in its weights. MODULATOR may be NULL. BIAS: [heads, 64, 64]. TAPS: [9, 4c].
enum {
    NORM1,
    NORM1_BIAS,
    MODULATOR,
    QKV,
    QKV_BIAS,
    BIAS,
    PROJ,
    PROJ_BIAS,
    NORM2,
    NORM2_BIAS,
    LINEAR1,
    LINEAR1_BIAS,
    TAPS,
    TAPS_BIAS,
    LINEAR2,
    LINEAR2_BIAS
};

enum { QKV_W, PROJ_W, LINEAR1_W, LINEAR2_W, MATRICES };

// kernels.c
void leff_forward(const stored *x, const float *w, const float *b, stored *z, stored *y,
                  size_t windows, size_t c);
void leff_backward(const stored *x, const stored *z, const stored *dy, const float *w, stored *dx,
                   float *sums, size_t windows, size_t c);

// --- a chunk of windows ---

typedef struct {
    size_t c, heads, d, hidden;
    size_t narrow, wide; // strides: of c and of 3c numbers, padded to multiples of 32
    size_t rows;         // of the map: how many, how many columns; how far it is rolled
    size_t columns, shift;
    const float *const *w;
    const float *masks;
    const int64_t *which;

    matrix m[MATRICES];
    float *x, *x1, *y, *dx1, *da;  // [MOST, c]
    float *stats;                  // [2, MOST, 2]: mean, 1 / deviation
    stored *a, *o, *n2, *dy, *d_o; // [MOST, narrow]
    stored *qkv, *dqkv;            // [MOST, wide]
    stored *p;                     // [CHUNK * heads, 64, 64]
    stored *h, *z, *t, *dt, *dh;   // [MOST, hidden]
    factors f;
    float *taps; // as leff_backward wants them
    void *memory;
} work;

// Lays everything out from `start` on, and says how many bytes it takes.
static size_t lay_out(work *k, uintptr_t start, bool backward)
{
    uintptr_t at = start;
    lay_out_matrices(k->m, MATRICES, &at, backward);
    float **full[] = { &k->x, &k->x1, &k->y, &k->dx1, &k->da };
    for (int i = 0; i < 5; i++)
        *full[i] = part(&at, 4 * MOST * k->c);
    k->stats = part(&at, 4 * 4 * MOST);
    stored **thin[] = { &k->a, &k->o, &k->n2, &k->dy, &k->d_o };
    for (int i = 0; i < 5; i++)
        *thin[i] = part(&at, 2 * MOST * k->narrow);
    k->qkv = part(&at, 2 * MOST * k->wide);
    k->dqkv = part(&at, 2 * MOST * k->wide);
    k->p = part(&at, 2 * MOST * TOKENS * k->heads);
    stored **thick[] = { &k->h, &k->z, &k->t, &k->dt, &k->dh, &k->f.left, &k->f.right };
    for (int i = 0; i < 7; i++)
        *thick[i] = part(&at, 2 * MOST * up(k->hidden, DEEP));
    k->taps = part(&at, 4 * 10 * k->hidden);
    return (size_t)(at - start);
}

static bool prepare(work *k, const float *const *w, const size_t *size, const float *masks,
                    const int64_t *which, bool backward)
{
    size_t c = size[2], hidden = 4 * c;
    *k = (work) { .rows = size[0],
                  .columns = size[1],
                  .c = c,
                  .heads = size[3],
                  .shift = size[4],
                  .d = c / size[3],
                  .hidden = hidden,
                  .narrow = up(c, DEEP),
                  .wide = up(3 * c, DEEP),
                  .w = w,
                  .masks = masks,
                  .which = which };
    k->m[QKV_W] = (matrix) { .part = QKV, .out = 3 * c, .in = c, .stride = c };
    k->m[PROJ_W] = (matrix) { .part = PROJ, .out = c, .in = c, .stride = c };
    k->m[LINEAR1_W] = (matrix) { .part = LINEAR1, .out = hidden, .in = c, .stride = c };
    k->m[LINEAR2_W] = (matrix) { .part = LINEAR2, .out = c, .in = hidden, .stride = hidden };
    k->memory = zeroed(lay_out(k, 0, backward));
    if (!k->memory)
        return false;
    lay_out(k, (uintptr_t)k->memory, backward);
    pack_matrices(k->m, MATRICES, w);
    return true;
}

// Copies a window between a map [pictures, rows, columns, c] and 64 rows.
static void window(const work *k, size_t index, float *map, float *rows, bool from_map)
{
    size_t across = k->columns / SIDE, each = k->rows / SIDE * across;
    size_t picture = index / each, top = index % each / across * SIDE, left = index % across * SIDE;
    for (size_t t = 0; t < TOKENS; t++) {
        size_t y = (top + t / SIDE + k->shift) % k->rows;
        size_t x = (left + t % SIDE + k->shift) % k->columns;
        float *at = map + ((picture * k->rows + y) * k->columns + x) * k->c;
        if (from_map)
            memcpy(rows + t * k->c, at, k->c * sizeof *at);
        else
            memcpy(at, rows + t * k->c, k->c * sizeof *at);
    }
}

// --- attention of one head of one window ---

static void square_product(const stored *a, size_t lda, const stored *b,
                           float *s) // 64 x 64, deep 32
{
    for (size_t i = 0; i < TOKENS; i += DEEP)
        for (size_t j = 0; j < TOKENS; j += DEEP)
            tiles(a + i * lda, lda, b + j * DEEP, DEEP, true, s + i * TOKENS + j, TOKENS, false);
}

static void softmax(const float *s, const float *bias, const float *mask, stored *p)
{
    for (size_t i = 0; i < TOKENS * TOKENS; i += TOKENS) {
        lanes v[4], sum = {};
        __m512 most = _mm512_set1_ps(-1e30f);
        for (size_t j = 0; j < 4; j++) {
            __m512 x = _mm512_add_ps(_mm512_loadu_ps(s + i + j * TILE),
                                     _mm512_loadu_ps(bias + i + j * TILE));
            if (mask)
                x = _mm512_add_ps(x, _mm512_loadu_ps(mask + i + j * TILE));
            most = _mm512_max_ps(most, x);
            v[j] = (lanes)x;
        }
        float top = _mm512_reduce_max_ps(most);
        for (int j = 0; j < 4; j++)
            sum += v[j] = exp_negative(v[j] - top);
        float scale = 1.0f / _mm512_reduce_add_ps((__m512)sum);
        for (int j = 0; j < 4; j++)
            put_half(p + i + (size_t)j * TILE, 0xffff, (__m512)(v[j] * scale));
    }
}

// Head `head` of the chunk's window `i`, the map's window `index`.
static void attend(work *k, size_t i, size_t index, size_t head)
{
    float s[TOKENS * TOKENS] __attribute__((aligned(64)));
    stored b[TOKENS * DEEP] __attribute__((aligned(64)));
    const stored *q = k->qkv + i * TOKENS * k->wide + head * k->d;
    stored *p = k->p + (i * k->heads + head) * TOKENS * TOKENS;
    int64_t mask = k->which[index % (k->rows / SIDE * (k->columns / SIDE))];
    pack_turned(q + k->c, k->wide, k->d, b);
    square_product(q, k->wide, b, s);
    softmax(s, k->w[BIAS] + head * TOKENS * TOKENS,
            mask < 0 ? NULL : k->masks + mask * TOKENS * TOKENS, p);
    pack_rows(q + 2 * k->c, k->wide, TOKENS, DEEP, b);
    multiply(p, TOKENS, TOKENS, b, TOKENS, k->d,
             (target) { .half = k->o + i * TOKENS * k->narrow + head * k->d, .stride = k->narrow });
}

// ds = p * (dp - mean of dp over the row by p), as bf16; added to dbias. The rounded p of a row do
// not add up to one: divided by their sum, those of ds add up to nothing all the same.
static void softmax_backward(const stored *p, const float *dp, float *dbias, stored *ds)
{
    for (size_t i = 0; i < TOKENS * TOKENS; i += TOKENS) {
        __m512 a[4], b[4], sum = _mm512_setzero_ps(), all = sum;
        for (size_t j = 0; j < 4; j++) {
            a[j] = get_half(p + i + j * TILE, 0xffff);
            b[j] = _mm512_loadu_ps(dp + i + j * TILE);
            sum = _mm512_fmadd_ps(a[j], b[j], sum);
            all = _mm512_add_ps(all, a[j]);
        }
        __m512 row = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / _mm512_reduce_add_ps(all));
        for (size_t j = 0; j < 4; j++) {
            __m512 d = _mm512_mul_ps(a[j], _mm512_sub_ps(b[j], row));
            add_to(dbias + i + j * TILE, 0xffff, d);
            put_half(ds + i + j * TILE, 0xffff, d);
        }
    }
}

static void attend_backward(work *k, size_t i, size_t head, float *dbias)
{
    float dp[TOKENS * TOKENS] __attribute__((aligned(64)));
    stored b[TOKENS * DEEP] __attribute__((aligned(64)));
    stored ds[TOKENS * TOKENS] __attribute__((aligned(64)));
    stored turned[TOKENS * TOKENS] __attribute__((aligned(64)));
    const stored *q = k->qkv + i * TOKENS * k->wide + head * k->d;
    const stored *p = k->p + (i * k->heads + head) * TOKENS * TOKENS;
    const stored *d_o = k->d_o + i * TOKENS * k->narrow + head * k->d;
    target dq = { .half = k->dqkv + i * TOKENS * k->wide + head * k->d, .stride = k->wide };
    target dk = dq, dv = dq;
    dk.half += k->c, dv.half += 2 * k->c;
    pack_turned(q + 2 * k->c, k->wide, k->d, b);
    square_product(d_o, k->narrow, b, dp);
    softmax_backward(p, dp, dbias + head * TOKENS * TOKENS, ds);
    pack_rows(q + k->c, k->wide, TOKENS, DEEP, b);
    multiply(ds, TOKENS, TOKENS, b, TOKENS, k->d, dq);
    pack_rows(q, k->wide, TOKENS, DEEP, b);
    turn(ds, TOKENS, TOKENS, TOKENS, turned, TOKENS);
    multiply(turned, TOKENS, TOKENS, b, TOKENS, k->d, dk);
    pack_rows(d_o, k->narrow, TOKENS, DEEP, b);
    turn(p, TOKENS, TOKENS, TOKENS, turned, TOKENS);
    multiply(turned, TOKENS, TOKENS, b, TOKENS, k->d, dv);
}

// --- forward, backward ---

// Of the windows index[0 .. n - 1], from k->x: all features up to the last product's factor, k->t.
static void compute(work *k, const int64_t *index, size_t n)
{
    size_t m = n * TOKENS, c = k->c;
    const float *const *w = k->w;
    norm(k->x, c, m, w[NORM1], w[NORM1_BIAS], w[MODULATOR], k->stats, k->a, k->narrow);
    multiply(k->a, k->narrow, m, k->m[QKV_W].b, c, 3 * c,
             (target) { .half = k->qkv, .bias = w[QKV_BIAS], .stride = k->wide });
    for (size_t i = 0; i < n; i++)
        for (size_t head = 0; head < k->heads; head++)
            attend(k, i, (size_t)index[i], head);
    multiply(k->o, k->narrow, m, k->m[PROJ_W].b, c, c,
             (target) { .full = k->x1, .add = k->x, .bias = w[PROJ_BIAS], .stride = c });
    norm(k->x1, c, m, w[NORM2], w[NORM2_BIAS], NULL, k->stats + 2 * MOST, k->n2, k->narrow);
    multiply(k->n2, k->narrow, m, k->m[LINEAR1_W].b, c, k->hidden,
             (target) { .half = k->h, .bias = w[LINEAR1_BIAS], .stride = k->hidden });
    leff_forward(k->h, w[TAPS], w[TAPS_BIAS], k->z, k->t, n, k->hidden);
}

// From k->x and the gradient of the result in k->y, after `compute`: that of k->x, in k->y.
static void compute_backward(work *k, size_t n, float *const *g)
{
    size_t m = n * TOKENS, c = k->c;
    halves_of(k->y, c, m, k->dy, k->narrow);
    multiply(k->dy, k->narrow, m, k->m[LINEAR2_W].b_turned, c, k->hidden,
             (target) { .half = k->dt, .stride = k->hidden });
    weight_gradient(&k->m[LINEAR2_W], k->dy, k->narrow, k->t, k->hidden, m, k->f, g[LINEAR2_BIAS]);
    leff_backward(k->h, k->z, k->dt, k->w[TAPS], k->dh, k->taps, n, k->hidden);
    multiply(k->dh, k->hidden, m, k->m[LINEAR1_W].b_turned, k->hidden, c,
             (target) { .full = k->da, .stride = c });
    weight_gradient(&k->m[LINEAR1_W], k->dh, k->hidden, k->n2, k->narrow, m, k->f, g[LINEAR1_BIAS]);
    norm_backward(k->x1, c, m, k->w[NORM2], k->stats + 2 * MOST, k->da,
                  (norm_grads) { g[NORM2], g[NORM2_BIAS], NULL }, k->y, k->dx1);
    halves_of(k->dx1, c, m, k->dy, k->narrow);
    multiply(k->dy, k->narrow, m, k->m[PROJ_W].b_turned, c, c,
             (target) { .half = k->d_o, .stride = k->narrow });
    weight_gradient(&k->m[PROJ_W], k->dy, k->narrow, k->o, k->narrow, m, k->f, g[PROJ_BIAS]);
    for (size_t i = 0; i < n; i++)
        for (size_t head = 0; head < k->heads; head++)
            attend_backward(k, i, head, g[BIAS]);
    multiply(k->dqkv, k->wide, m, k->m[QKV_W].b_turned, 3 * c, c,
             (target) { .full = k->da, .stride = c });
    weight_gradient(&k->m[QKV_W], k->dqkv, k->wide, k->a, k->narrow, m, k->f, g[QKV_BIAS]);
    norm_backward(k->x, c, m, k->w[NORM1], k->stats, k->da,
                  (norm_grads) { g[NORM1], g[NORM1_BIAS], g[MODULATOR] }, k->dx1, k->y);
}

// Adds what was summed up in other forms.
static void collect(const work *k, float *const *g)
{
    collect_matrices(k->m, MATRICES, g);
    for (size_t i = 0; i < k->hidden; i++) {
        const float *sums = k->taps + i / LANES * 10 * LANES + i % LANES;
        for (size_t t = 0; t < 9; t++)
            g[TAPS][t * k->hidden + i] += sums[t * LANES];
        g[TAPS_BIAS][i] += sums[9 * LANES];
    }
}

// Lets this process use tiles; false where the system does not.
bool tiles_possible(void)
{
    enum { REQUEST = 0x1023, TILES = 18 };
    return syscall(SYS_arch_prctl, REQUEST, TILES) == 0;
}

// x: maps [pictures, rows, columns, c]. Forward, `grads` NULL: y, a copy of x, gets the results of
// its `active` windows. Backward: y, a copy of the results' gradient, gets that of x there, and
// grads, as w, are added to. size: rows, columns, c, heads, shift. masks: [any, 64, 64]; which: for
// each window of a picture its mask or -1. Heads of an even number of channels, at most 32. Returns
// 0, or 1 without memory.
int run_block(float *x, const float *const *w, const size_t *size, const float *masks,
              const int64_t *which, const int64_t *active, size_t count, float *y,
              float *const *grads)
{
    work k;
    tile_config before;
    if (!prepare(&k, w, size, masks, which, grads))
        return 1;
    configure(&before);
    for (size_t first = 0; first < count; first += CHUNK) {
        size_t n = count - first < CHUNK ? count - first : CHUNK;
        for (size_t i = 0; i < n; i++)
            window(&k, (size_t)active[first + i], x, k.x + i * TOKENS * k.c, true);
        for (size_t i = 0; grads && i < n; i++)
            window(&k, (size_t)active[first + i], y, k.y + i * TOKENS * k.c, true);
        compute(&k, active + first, n);
        if (grads)
            compute_backward(&k, n, grads);
        else
            multiply(k.t, k.hidden, n * TOKENS, k.m[LINEAR2_W].b, k.hidden, k.c,
                     (target) { .full = k.y, .add = k.x1, .bias = w[LINEAR2_BIAS], .stride = k.c });
        for (size_t i = 0; i < n; i++)
            window(&k, (size_t)active[first + i], y, k.y + i * TOKENS * k.c, false);
    }
    if (grads)
        collect(&k, grads);
    restore(&before);
    free(k.memory);
    return 0;
}
#endif
