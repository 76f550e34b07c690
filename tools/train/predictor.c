// SPDX-License-Identifier: MIT
// predictor.c: what a predictor of LMD-ViT says of every token, for training, forward and backward,
// with matrix tiles. Half of the features are averaged over the picture on the way, so a picture is
// gone through twice; only the input is kept for the gradient.
#include "tiles.h"

#ifdef __AMX_BF16__

// Weights, f32, matrices [out, in]; as gradients they are added to. OUT1's input: c / 2 features of
// the token, then as many of the whole picture.
enum {
    IN1,
    IN1_BIAS,
    NORM,
    NORM_BIAS,
    IN2,
    IN2_BIAS,
    OUT1,
    OUT1_BIAS,
    OUT2,
    OUT2_BIAS,
    OUT3,
    OUT3_BIAS
};

enum { IN1_W, IN2_W, OUT1_W, OUT2_W, OUT3_W, MATRICES };

typedef struct {
    size_t tokens, c, half, narrow; // of a picture; features; a half of them; padded
    const float *const *w;
    matrix m[MATRICES];
    float *mean, *row, *drow, *dmean; // [half]: of the picture; what it adds to out1's result
    stored *u, *du;                   // [tokens, narrow]
    float *g, *dg, *stats;            // [MOST, c]; [MOST, 2]
    stored *x, *h, *n, *dh;           // [MOST, narrow]
    stored *z1, *t1, *z2, *t2, *dz;   // [MOST, narrow]
    stored *dz1, *dz2;
    factors f;
    void *memory;
} work;

static size_t lay_out(work *k, uintptr_t start, bool backward)
{
    uintptr_t at = start;
    lay_out_matrices(k->m, MATRICES, &at, backward);
    float **rows[] = { &k->mean, &k->row, &k->drow, &k->dmean };
    for (int i = 0; i < 4; i++)
        *rows[i] = part(&at, 4 * k->half);
    k->u = part(&at, 2 * k->tokens * k->narrow);
    k->du = part(&at, 2 * k->tokens * k->narrow);
    k->g = part(&at, 4 * MOST * k->c);
    k->dg = part(&at, 4 * MOST * k->c);
    k->stats = part(&at, 4 * 2 * MOST);
    stored **thin[] = { &k->x,  &k->h,  &k->n,   &k->dh,  &k->z1,     &k->t1,     &k->z2,
                        &k->t2, &k->dz, &k->dz1, &k->dz2, &k->f.left, &k->f.right };
    for (int i = 0; i < 13; i++)
        *thin[i] = part(&at, 2 * MOST * k->narrow);
    return (size_t)(at - start);
}

static bool prepare(work *k, const float *const *w, size_t tokens, size_t c, bool backward)
{
    size_t half = c / 2, quarter = c / 4;
    *k = (work) { .tokens = tokens, .c = c, .half = half, .narrow = up(c, DEEP), .w = w };
    k->m[IN1_W] = (matrix) { .part = IN1, .out = c, .in = c, .stride = c };
    k->m[IN2_W] = (matrix) { .part = IN2, .out = c, .in = c, .stride = c };
    k->m[OUT1_W] = (matrix) { .part = OUT1, .out = half, .in = half, .stride = c };
    k->m[OUT2_W] = (matrix) { .part = OUT2, .out = quarter, .in = half, .stride = half };
    k->m[OUT3_W] = (matrix) { .part = OUT3, .out = 2, .in = quarter, .stride = quarter };
    k->memory = zeroed(lay_out(k, 0, backward));
    if (!k->memory)
        return false;
    lay_out(k, (uintptr_t)k->memory, backward);
    pack_matrices(k->m, MATRICES, w);
    return true;
}

static size_t chunk(const work *k, size_t from)
{
    return k->tokens - from < MOST ? k->tokens - from : MOST;
}

// The first half of the network up to the second product's factor, of m tokens from x on.
static void enter(work *k, const float *x, size_t m)
{
    halves_of(x, k->c, m, k->x, k->narrow);
    multiply(k->x, k->narrow, m, k->m[IN1_W].b, k->c, k->c,
             (target) { .half = k->h, .bias = k->w[IN1_BIAS], .stride = k->narrow });
    for (size_t t = 0; t < m; t++)
        for (size_t i = 0; i < k->c; i += TILE)
            _mm512_mask_storeu_ps(
                k->g + t * k->c + i, rest(k->c - i),
                (__m512)gelu((lanes)get_half(k->h + t * k->narrow + i, rest(k->c - i))));
    norm(k->g, k->c, m, k->w[NORM], k->w[NORM_BIAS], NULL, k->stats, k->n, k->narrow);
}

// k->u and what the mean of its second half adds to the results of out1.
static void look_at_all(work *k, const float *x)
{
    memset(k->mean, 0, k->half * sizeof *k->mean);
    for (size_t from = 0; from < k->tokens; from += MOST) {
        size_t m = chunk(k, from);
        stored *u = k->u + from * k->narrow;
        enter(k, x + from * k->c, m);
        multiply(k->n, k->narrow, m, k->m[IN2_W].b, k->c, k->c,
                 (target) { .half = u, .bias = k->w[IN2_BIAS], .stride = k->narrow });
        for (size_t t = 0; t < m; t++)
            for (size_t i = 0; i < k->half; i += TILE)
                add_to(k->mean + i, rest(k->half - i),
                       get_half(u + t * k->narrow + k->half + i, rest(k->half - i)));
    }
    for (size_t i = 0; i < k->half; i++)
        k->mean[i] /= (float)k->tokens;
    for (size_t o = 0; o < k->half; o++) {
        k->row[o] = k->w[OUT1_BIAS][o];
        for (size_t i = 0; i < k->half; i++)
            k->row[o] += k->w[OUT1][o * k->c + k->half + i] * k->mean[i];
    }
}

static void leave(work *k, size_t from, size_t m)
{
    multiply(k->u + from * k->narrow, k->narrow, m, k->m[OUT1_W].b, k->half, k->half,
             (target) { .half = k->z1, .gelu = k->t1, .bias = k->row, .stride = k->narrow });
    multiply(
        k->t1, k->narrow, m, k->m[OUT2_W].b, k->half, k->half / 2,
        (target) { .half = k->z2, .gelu = k->t2, .bias = k->w[OUT2_BIAS], .stride = k->narrow });
}

// The gradient of the second half: k->du's first half, the sums of out1's in k->drow.
static void leave_backward(work *k, const float *dy, size_t from, size_t m, float *const *g)
{
    leave(k, from, m);
    halves_of(dy + 2 * from, 2, m, k->dz, k->narrow);
    multiply(k->dz, k->narrow, m, k->m[OUT3_W].b_turned, 2, k->half / 2,
             (target) { .half = k->dz2, .slope = k->z2, .stride = k->narrow });
    weight_gradient(&k->m[OUT3_W], k->dz, k->narrow, k->t2, k->narrow, m, k->f, g[OUT3_BIAS]);
    multiply(k->dz2, k->narrow, m, k->m[OUT2_W].b_turned, k->half / 2, k->half,
             (target) { .half = k->dz1, .slope = k->z1, .stride = k->narrow });
    weight_gradient(&k->m[OUT2_W], k->dz2, k->narrow, k->t1, k->narrow, m, k->f, g[OUT2_BIAS]);
    multiply(k->dz1, k->narrow, m, k->m[OUT1_W].b_turned, k->half, k->half,
             (target) { .half = k->du + from * k->narrow, .stride = k->narrow });
    weight_gradient(&k->m[OUT1_W], k->dz1, k->narrow, k->u + from * k->narrow, k->narrow, m, k->f,
                    k->drow);
}

// What of the gradient goes through the picture's mean.
static void mean_backward(work *k, float *const *g)
{
    memset(k->dmean, 0, k->half * sizeof *k->dmean);
    for (size_t o = 0; o < k->half; o++) {
        g[OUT1_BIAS][o] += k->drow[o];
        for (size_t i = 0; i < k->half; i++) {
            size_t at = o * k->c + k->half + i;
            g[OUT1][at] += k->drow[o] * k->mean[i];
            k->dmean[i] += k->drow[o] * k->w[OUT1][at] / (float)k->tokens;
        }
    }
    for (size_t t = 0; t < k->tokens; t++)
        for (size_t i = 0; i < k->half; i += TILE)
            put_half(k->du + t * k->narrow + k->half + i, rest(k->half - i),
                     _mm512_maskz_loadu_ps(rest(k->half - i), k->dmean + i));
}

static void enter_backward(work *k, const float *x, size_t from, size_t m, float *dx,
                           float *const *g)
{
    stored *du = k->du + from * k->narrow;
    enter(k, x + from * k->c, m);
    multiply(du, k->narrow, m, k->m[IN2_W].b_turned, k->c, k->c,
             (target) { .full = k->dg, .stride = k->c });
    weight_gradient(&k->m[IN2_W], du, k->narrow, k->n, k->narrow, m, k->f, g[IN2_BIAS]);
    norm_backward(k->g, k->c, m, k->w[NORM], k->stats, k->dg,
                  (norm_grads) { g[NORM], g[NORM_BIAS], NULL }, NULL, k->dg);
    for (size_t t = 0; t < m; t++)
        for (size_t i = 0; i < k->c; i += TILE) {
            __mmask16 where = rest(k->c - i);
            __m512 s = (__m512)slope((lanes)get_half(k->h + t * k->narrow + i, where));
            s = _mm512_mul_ps(s, _mm512_maskz_loadu_ps(where, k->dg + t * k->c + i));
            put_half(k->dh + t * k->narrow + i, where, s);
        }
    multiply(k->dh, k->narrow, m, k->m[IN1_W].b_turned, k->c, k->c,
             (target) { .full = dx + from * k->c, .stride = k->c });
    weight_gradient(&k->m[IN1_W], k->dh, k->narrow, k->x, k->narrow, m, k->f, g[IN1_BIAS]);
}

// x [pictures, tokens, c], tokens a multiple of 64, c of 4. y [pictures, tokens, 2]: of every
// token, before it is averaged over windows. Returns 0, or 1 without memory.
int predictor_forward(const float *x, const float *const *w, size_t pictures, size_t tokens,
                      size_t c, float *y)
{
    work k;
    tile_config before;
    if (!prepare(&k, w, tokens, c, false))
        return 1;
    configure(&before);
    for (size_t p = 0; p < pictures; p++, x += tokens * c, y += tokens * 2) {
        look_at_all(&k, x);
        for (size_t from = 0; from < tokens; from += MOST) {
            size_t m = chunk(&k, from);
            leave(&k, from, m);
            multiply(k.t2, k.narrow, m, k.m[OUT3_W].b, c / 4, 2,
                     (target) { .full = y + 2 * from, .bias = w[OUT3_BIAS], .stride = 2 });
        }
    }
    restore(&before);
    free(k.memory);
    return 0;
}

// dx [pictures, tokens, c]: written. grads: as w, added to.
int predictor_backward(const float *x, const float *const *w, size_t pictures, size_t tokens,
                       size_t c, const float *dy, float *dx, float *const *grads)
{
    work k;
    tile_config before;
    if (!prepare(&k, w, tokens, c, true))
        return 1;
    configure(&before);
    for (size_t p = 0; p < pictures; p++, x += tokens * c, dx += tokens * c, dy += tokens * 2) {
        look_at_all(&k, x);
        memset(k.drow, 0, k.half * sizeof *k.drow);
        for (size_t from = 0; from < tokens; from += MOST)
            leave_backward(&k, dy, from, chunk(&k, from), grads);
        mean_backward(&k, grads);
        for (size_t from = 0; from < tokens; from += MOST)
            enter_backward(&k, x, from, chunk(&k, from), dx, grads);
    }
    collect_matrices(k.m, MATRICES, grads);
    restore(&before);
    free(k.memory);
    return 0;
}
#endif
