// SPDX-License-Identifier: MIT
// tests/cpu/detect.c: the ops of detectors against plain loops: maps onto finer ones, and the best
// boxes of a level. Logits are sixty-fourths, which f16 holds, so that equal ones are common and
// others are far enough apart to rank alike in any arithmetic.
#include "backend.h"
#include "testing.h"

#include <math.h>

START_TEST(nearest_agrees_with_loop)
{
    static const size_t cases[][5] = {
        // H, W, h, w, C
        { 1, 1, 1, 1, 1 },    { 2, 2, 1, 1, 3 },  { 13, 9, 7, 5, 8 }, { 12, 20, 6, 10, 33 },
        { 5, 11, 3, 4, 256 }, { 7, 3, 7, 3, 16 }, { 3, 8, 5, 16, 4 }, { 25, 42, 13, 21, 64 },
        { 1, 30, 1, 15, 20 }, { 31, 1, 16, 1, 7 }
    };
    const size_t *k = cases[_i];
    test_op *t = test_op_new(SL_OP_ADD_NEAREST, NULL, 800 + (uint64_t)_i);
    const float *x = test_op_input(t, 0, k[0], k[1], k[4]);
    const float *coarse = test_op_input(t, 1, k[2], k[3], k[4]);
    double *want = malloc(k[0] * k[1] * k[4] * sizeof *want);
    for (size_t y = 0; y < k[0]; y++)
        for (size_t i = 0; i < k[1]; i++)
            for (size_t c = 0; c < k[4]; c++) {
                size_t at = (y * k[1] + i) * k[4] + c;
                size_t from = (y * k[2] / k[0] * k[3] + i * k[3] / k[1]) * k[4] + c;
                want[at] = (double)x[at] + (double)coarse[from];
            }
    test_op_agrees(t, want, test_backend_is_half() ? 2e-6 : 2e-7); // f16 rounds all three
    free(want);
    test_op_free(t);
}
END_TEST

// ---- candidates

typedef struct level {
    size_t h, w, anchors, classes;
    uint32_t stride, limit;
    float threshold;
    float low, high;  // of the logits
    unsigned special; // one of so many numbers is replaced by one that is special; 0: none
} level;

static const level levels[] = {
    { 1, 1, 1, 1, 8, 1, 0.05f, -1, 1, 0 },          // a single logit
    { 1, 1, 9, 5, 128, 1000, 0.05f, -6, 2, 0 },     // one pixel
    { 5, 7, 9, 3, 16, 1000, 0.05f, -6, 1, 0 },      // all that are above
    { 5, 7, 9, 3, 16, 40, 0.05f, -6, 1, 0 },        // more than the limit
    { 13, 11, 9, 8, 8, 1000, 0.05f, -4, 4, 0 },     // of them most are
    { 20, 31, 3, 80, 8, 1000, 0.3f, -8, 0, 0 },     // many classes
    { 33, 29, 9, 4, 8, 333, 0.0f, -8, 8, 0 },       // whatever is a number
    { 9, 9, 9, 2, 32, 100, 0.05f, 1, 1, 0 },        // all are alike
    { 40, 40, 9, 2, 8, 4096, 0.05f, 0, 0.0625, 0 }, // of very few kinds, and the largest limit
    { 6, 5, 9, 4, 64, 100, 0.9f, -8, -4, 0 },       // none is above
    { 6, 5, 9, 4, 64, 100, 0.05f, -6, 1, 3 },       // NaN, infinities, saturated
    { 17, 23, 4, 11, 16, 50, 0.5f, -8, 8, 50 },     // same, few of them
    { 64, 64, 9, 9, 8, 1000, 0.999f, -8, 8, 0 },    // few out of 331776
};

static float rounded(test_rng *rng, float low, float high)
{
    return floorf(test_uniform(rng, low, high) * 64.0f) / 64.0f;
}

static void fill(test_op *t, float *x, size_t count, float low, float high, unsigned special)
{
    static const float specials[] = { NAN, INFINITY, -INFINITY, 30, -30, 88, -100 };
    for (size_t i = 0; i < count; i++) {
        x[i] = rounded(&t->rng, low, high);
        if (special && test_range(&t->rng, 1, special) == 1)
            x[i] = specials[test_range(&t->rng, 0, SL_ARRAY_LEN(specials) - 1)];
    }
}

typedef struct wanted {
    double *rows; // NaN: not looked at
    int32_t counts[4];
} wanted;

static double clip(double x, double high)
{
    return fmin(fmax(x, 0), high);
}

static void want_row(const test_op *t, const level *l, size_t place, float score, wanted *w,
                     double *row)
{
    const float *extent = t->in[2], *anchors = t->weight[0].data;
    size_t anchor = place / l->classes, pixel = anchor / l->anchors;
    const float *delta = (const float *)t->in[1] + anchor * 4;
    const float *side = anchors + anchor % l->anchors * 2;
    double at[2] = { (double)(pixel % l->w * l->stride), (double)(pixel / l->w * l->stride) };
    bool is_odd = false;
    for (size_t j = 0; j < 4; j++) {
        is_odd |= !isfinite(delta[j]);
        w->counts[1] += !isfinite(delta[j]);
    }
    for (size_t j = 0; j < 2; j++) {
        double longest = log(1000.0 / 16), d = (double)delta[2 + j];
        double half = (double)side[j] * exp(fmin(fmax(d, -longest), longest)) / 2;
        double centre = at[j] + (double)delta[j] * (double)side[j];
        row[j] = is_odd ? (double)NAN : clip(centre - half, (double)extent[j]);
        row[2 + j] = is_odd ? (double)NAN : clip(centre + half, (double)extent[j]);
    }
    row[4] = (double)score;
    row[5] = (double)(place % l->classes);
}

// The best one that was not taken yet, again and again.
static void want_rows(const test_op *t, const level *l, wanted *w)
{
    const float *cls = t->in[0];
    size_t logits = l->h * l->w * l->anchors * l->classes;
    float *scores = malloc(logits * sizeof *scores);
    w->rows = calloc(l->limit * 6, sizeof *w->rows);
    memset(w->counts, 0, sizeof w->counts);
    for (size_t i = 0; i < logits; i++) {
        scores[i] = (float)(1 / (1 + exp(-(double)cls[i])));
        w->counts[1] += !isfinite(cls[i]);
    }
    for (size_t n = 0; n < l->limit; n++) {
        size_t best = logits;
        for (size_t i = 0; i < logits; i++)
            if (scores[i] > l->threshold && (best == logits || scores[i] > scores[best]))
                best = i;
        if (best == logits)
            break;
        want_row(t, l, best, scores[best], w, w->rows + n * 6);
        scores[best] = -1;
        w->counts[0]++;
    }
    free(scores);
}

static void compare(const test_op *t, const char *name, const wanted *w, const float *rows,
                    const int32_t *counts)
{
    static const double tolerance[6] = { 5e-3, 5e-3, 5e-3, 5e-3, 1e-6, 0 };
    for (size_t i = 0; i < 4; i++)
        ck_assert_msg(counts[i] == w->counts[i], "seed %llu, %s: counts[%zu] is %d, should be %d",
                      (unsigned long long)t->seed, name ? name : "the device", i, counts[i],
                      w->counts[i]);
    for (size_t i = 0; i < (size_t)t->attr.limit * 6; i++)
        if (!isnan(w->rows[i]) && !(fabs((double)rows[i] - w->rows[i]) <= tolerance[i % 6]))
            ck_abort_msg("seed %llu, %s: column %zu of row %zu (of %d) is %.9g, should be %.9g",
                         (unsigned long long)t->seed, name ? name : "the device", i % 6, i / 6,
                         w->counts[0], (double)rows[i], w->rows[i]);
}

START_TEST(candidates_agree_with_loop)
{
    static const unsigned threads[] = { 1, 2, 5 };
    const level *l = &levels[_i];
    const sl_attr attr = { .stride = l->stride, .threshold = l->threshold, .limit = l->limit };
    test_op *t = test_op_new(SL_OP_CANDIDATES, &attr, 820 + (uint64_t)_i);
    float *cls = test_op_input(t, 0, l->h, l->w, l->anchors * l->classes);
    float *reg = test_op_input(t, 1, l->h, l->w, l->anchors * 4);
    float *extent = test_op_input(t, 2, 2, 0, 0);
    float *anchors = test_op_weight(t, 0, 1, l->anchors, 2, 0, 0);
    fill(t, cls, l->h * l->w * l->anchors * l->classes, l->low, l->high, l->special);
    fill(t, reg, l->h * l->w * l->anchors * 4, -2, 2, l->special ? 40 : 0);
    extent[0] = (float)(l->w * l->stride) - 3.25f;
    extent[1] = (float)(l->h * l->stride) - 5.5f;
    for (size_t i = 0; i < 2 * l->anchors; i++)
        anchors[i] = test_uniform(&t->rng, 1, 4) * (float)l->stride;
    wanted w;
    want_rows(t, l, &w);
    size_t row_bytes = (size_t)l->limit * 6 * sizeof(float);
    float *rows = malloc(row_bytes), *others = malloc(row_bytes);
    int32_t counts[4];
    for (int k = 0; k < test_backend_levels(); k++)
        for (size_t n = 0; n < (test_backend_is_cpu() ? SL_ARRAY_LEN(threads) : 1); n++) {
            float *out = k + (int)n == 0 ? rows : others;
            const char *name = test_backend_level(k);
            test_op_run(t, name, threads[n], (void *[SL_MAX_OUTPUTS]) { out, counts });
            compare(t, name, &w, out, counts);
            ck_assert_mem_eq(out, rows, row_bytes); // at every level, with any number of threads
        }
    free(rows);
    free(others);
    free(w.rows);
    test_op_free(t);
}
END_TEST

// What is exactly at the threshold is not above it.
START_TEST(threshold_is_strict)
{
    const sl_attr attr = { .stride = 8, .threshold = 0.5f, .limit = 10 };
    test_op *t = test_op_new(SL_OP_CANDIDATES, &attr, 850);
    float *cls = test_op_input(t, 0, 1, 2, 4), rows[60];
    test_op_input(t, 1, 1, 2, 4);
    test_op_input(t, 2, 2, 0, 0);
    test_op_weight(t, 0, 1, 1, 2, 0, 0);
    int32_t counts[4];
    memcpy(cls, (float[]) { 0, 0.0078125f, -0.0078125f, 0, 0, 0, -1, 1 }, 8 * sizeof *cls);
    test_op_run(t, NULL, 1, (void *[SL_MAX_OUTPUTS]) { rows, counts });
    ck_assert_int_eq(counts[0], 2);
    ck_assert_float_eq(rows[SL_CANDIDATE_CLASS], 3);
    ck_assert_float_eq(rows[SL_CANDIDATE_COLUMNS + SL_CANDIDATE_CLASS], 1);
    test_op_free(t);
}
END_TEST

// ---- shapes that do not fit

typedef struct misfit {
    uint64_t cls[3], reg[3], extent, anchors[2];
    sl_attr attr;
} misfit;

START_TEST(misfits_are_refused)
{
    static const misfit cases[] = {
        { { 2, 3, 18 },
          { 2, 3, 36 },
          2,
          { 9, 2 },
          { .stride = 8, .threshold = 0.5f, .limit = 10 } },
        { { 2, 3, 18 },
          { 2, 4, 36 },
          2,
          { 9, 2 },
          { .stride = 8, .threshold = 0.5f, .limit = 10 } },
        { { 2, 3, 18 },
          { 2, 3, 32 },
          2,
          { 9, 2 },
          { .stride = 8, .threshold = 0.5f, .limit = 10 } },
        { { 2, 3, 18 },
          { 2, 3, 36 },
          3,
          { 9, 2 },
          { .stride = 8, .threshold = 0.5f, .limit = 10 } },
        { { 2, 3, 18 },
          { 2, 3, 36 },
          2,
          { 9, 3 },
          { .stride = 8, .threshold = 0.5f, .limit = 10 } },
        { { 2, 3, 17 },
          { 2, 3, 36 },
          2,
          { 9, 2 },
          { .stride = 8, .threshold = 0.5f, .limit = 10 } },
        { { 2, 3, 18 },
          { 2, 3, 36 },
          2,
          { 9, 2 },
          { .stride = 0, .threshold = 0.5f, .limit = 10 } },
        { { 2, 3, 18 },
          { 2, 3, 36 },
          2,
          { 9, 2 },
          { .stride = 8, .threshold = 1.0f, .limit = 10 } },
        { { 2, 3, 18 }, { 2, 3, 36 }, 2, { 9, 2 }, { .stride = 8, .threshold = NAN, .limit = 10 } },
        { { 2, 3, 18 }, { 2, 3, 36 }, 2, { 9, 2 }, { .stride = 8, .threshold = 0.5f, .limit = 0 } },
        { { 2, 3, 18 },
          { 2, 3, 36 },
          2,
          { 9, 2 },
          { .stride = 8, .threshold = 0.5f, .limit = 4097 } },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        const misfit *m = &cases[i];
        sl_ctx *ctx;
        sl_graph *g;
        ck_assert_int_eq(sl_ctx_new(NULL, &ctx), SL_OK);
        ck_assert_int_eq(sl_graph_new(ctx, &g), SL_OK);
        const sl_shape cls = { 3, { m->cls[0], m->cls[1], m->cls[2] } };
        const sl_shape reg = { 3, { m->reg[0], m->reg[1], m->reg[2] } };
        const sl_shape extent = { 1, { m->extent } };
        const sl_tensor anchors = { "anchors",
                                    SL_F32,
                                    { 2, { m->anchors[0], m->anchors[1] } },
                                    NULL,
                                    m->anchors[0] * m->anchors[1] * sizeof(float) };
        const sl_tensor *weight[] = { &anchors };
        const sl_value in[SL_MAX_INPUTS] = { sl_graph_input(g, "cls", &cls),
                                             sl_graph_input(g, "reg", &reg),
                                             sl_graph_input(g, "extent", &extent) };
        sl_value out = sl_graph_add(g, SL_OP_CANDIDATES, "op", &m->attr, in, weight, 1);
        ck_assert_msg((out != SL_NO_VALUE) == (i == 0), "case %zu: %s", i, sl_ctx_message(ctx));
        sl_graph_free(g);
        sl_ctx_free(ctx);
    }
}
END_TEST

int main(void)
{
    const TTest *tests[] = { nearest_agrees_with_loop, candidates_agree_with_loop,
                             threshold_is_strict, misfits_are_refused };
    const int loops[] = { 10, SL_ARRAY_LEN(levels), 1, 1 };
    return test_main("detect", tests, loops, SL_ARRAY_LEN(tests));
}
