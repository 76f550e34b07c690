// SPDX-License-Identifier: MIT
// pipeline/specimen.c: see specimen.h. The shapes of LMD-ViT, of SOFT and of a detector's end, cut
// down to what must be seen, with widths that no model has, so that the edges of tiles are looked
// at as well.
#include "pipeline/specimen.h"

#include <math.h>

#define HEIGHT 48u // 3 x 5 windows of pixels
#define WIDTH 80u
#define FACTOR 2u
#define WINDOW 8u
#define WIDE 20u // channels
#define DEEP 36u // channels at half the size
// From 16384 rows on the Vulkan backend takes other kernels for products.
#define ROWS (16384u + 3u)

typedef struct maker {
    sl_specimen *s;
    sl_graph *g;
    uint32_t state;
    size_t outputs;
} maker;

static float noise(maker *m) // -1..1
{
    m->state = m->state * 1664525u + 1013904223u;
    return (float)(m->state >> 8) / 8388608.0f - 1.0f;
}

// A tensor of centre +- spread; NULL, and a failed graph, where there is no memory for it.
static const sl_tensor *weight(maker *m, sl_shape shape, float centre, float spread)
{
    size_t count = 0;
    sl_ctx *ctx = m->g->ctx;
    sl_tensor *t = sl_arena_alloc(ctx, &m->s->weights, 1, sizeof(*t));
    float *data = NULL;
    if (t && sl_shape_elements(&shape, &count))
        data = sl_arena_alloc(ctx, &m->s->weights, count, sizeof(*data));
    if (!data) {
        m->g->status = SL_ERR_NOMEM;
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        data[i] = centre + spread * noise(m);
    *t = (sl_tensor) { "weight", SL_F32, shape, data, count * sizeof(*data) };
    return t;
}

static const sl_tensor *vector(maker *m, uint64_t n, float centre)
{
    return weight(m, (sl_shape) { 1, { n } }, centre, 0.2f);
}

// What sums up `terms` products keeps their size.
static float even(uint64_t terms)
{
    return sqrtf(3.0f / (float)terms);
}

static void add_linear(maker *m, const sl_tensor **w, uint64_t n, uint64_t k)
{
    w[0] = weight(m, (sl_shape) { 2, { n, k } }, 0, even(k));
    w[1] = vector(m, n, 0);
}

static void add_norm(maker *m, const sl_tensor **w, uint64_t c)
{
    w[0] = vector(m, c, 1);
    w[1] = vector(m, c, 0);
}

static sl_value conv(maker *m, sl_value x, uint64_t cin, uint64_t cout, const sl_attr *attr,
                     float gain)
{
    const sl_tensor *w[] = { weight(m, (sl_shape) { 4, { cout, cin, 3, 3 } }, 0,
                                    gain * even(9 * cin)),
                             vector(m, cout, 0) };
    return sl_graph_add(m->g, SL_OP_CONV2D, "conv", attr, (sl_value[SL_MAX_INPUTS]) { x }, w, 2);
}

static sl_value upconv(maker *m, sl_value x, sl_value skip)
{
    const sl_tensor *w[] = { weight(m, (sl_shape) { 4, { DEEP, WIDE, 2, 2 } }, 0, even(DEEP)),
                             vector(m, WIDE, 0) };
    return sl_graph_add(m->g, SL_OP_UPCONV_CONCAT, "upconv", NULL,
                        (sl_value[SL_MAX_INPUTS]) { x, skip }, w, 2);
}

static sl_value predict(maker *m, sl_value x, uint64_t c, const sl_attr *attr)
{
    const sl_tensor *w[SL_PREDICT_WEIGHTS];
    add_linear(m, w + SL_PREDICT_IN0_W, c, c);
    add_norm(m, w + SL_PREDICT_NORM_W, c);
    add_linear(m, w + SL_PREDICT_IN3_W, c, c);
    add_linear(m, w + SL_PREDICT_OUT0_W, c / 2, c);
    add_linear(m, w + SL_PREDICT_OUT2_W, c / 4, c / 2);
    add_linear(m, w + SL_PREDICT_OUT4_W, 2, c / 4);
    return sl_graph_add(m->g, SL_OP_PREDICT, "predict", attr, (sl_value[SL_MAX_INPUTS]) { x }, w,
                        SL_PREDICT_WEIGHTS);
}

static sl_value block(maker *m, sl_value x, sl_value list, uint64_t c, const sl_attr *attr)
{
    const sl_tensor *w[SL_BLOCK_WEIGHTS];
    uint64_t hidden = 2 * c, places = 2 * WINDOW - 1, tokens = WINDOW * WINDOW;
    add_norm(m, w + SL_BLOCK_NORM1_W, c);
    w[SL_BLOCK_MODULATOR] = weight(m, (sl_shape) { 2, { tokens, c } }, 0, 0.5f);
    w[SL_BLOCK_BIAS_TABLE] = weight(m, (sl_shape) { 2, { places * places, attr->heads } }, 0, 0.5f);
    add_linear(m, w + SL_BLOCK_Q_W, c, c);
    add_linear(m, w + SL_BLOCK_KV_W, 2 * c, c);
    add_linear(m, w + SL_BLOCK_PROJ_W, c, c);
    add_norm(m, w + SL_BLOCK_NORM2_W, c);
    add_linear(m, w + SL_BLOCK_FF1_W, hidden, c);
    w[SL_BLOCK_DW_W] = weight(m, (sl_shape) { 4, { hidden, 1, 3, 3 } }, 0, even(9));
    w[SL_BLOCK_DW_B] = vector(m, hidden, 0);
    add_linear(m, w + SL_BLOCK_FF2_W, c, hidden);
    return sl_graph_add(m->g, SL_OP_WINDOW_BLOCK, "block", attr,
                        (sl_value[SL_MAX_INPUTS]) { x, list }, w, SL_BLOCK_WEIGHTS);
}

static sl_value linear(maker *m, sl_value x, uint64_t k, uint64_t n, sl_act act)
{
    const sl_attr attr = { .act = act };
    const sl_tensor *w[2];
    add_linear(m, w, n, k);
    return sl_graph_add(m->g, SL_OP_LINEAR, "linear", &attr, (sl_value[SL_MAX_INPUTS]) { x }, w, 2);
}

static sl_value norm(maker *m, sl_value x)
{
    const sl_attr attr = { .eps = 1e-5f };
    const sl_tensor *w[2];
    add_norm(m, w, WIDE);
    return sl_graph_add(m->g, SL_OP_LAYER_NORM, "norm", &attr, (sl_value[SL_MAX_INPUTS]) { x }, w,
                        2);
}

static sl_value simple(maker *m, sl_op op, const sl_attr *attr, sl_value x)
{
    return sl_graph_add(m->g, op, "simple", attr, (sl_value[SL_MAX_INPUTS]) { x }, NULL, 0);
}

static void tell(maker *m, sl_value value, const char *what)
{
    sl_graph_output(m->g, value, what);
    m->s->output[m->outputs].value = value;
    m->s->output[m->outputs++].what = what;
}

// Softmax-free attention over a map, with positions.
static sl_value soft_attention(maker *m, sl_value x)
{
    enum { HEADS = 2, RATIO = 4, KERNEL = 3, ITERATIONS = 20, GRID = 5 };
    const uint64_t d = WIDE / HEADS;
    const sl_attr attr = { .heads = HEADS,
                           .factor = RATIO,
                           .inverse = SL_INVERSE_NORM,
                           .iterations = ITERATIONS,
                           .eps = 1e-5f };
    const sl_tensor *position[] = { weight(m, (sl_shape) { 3, { 1, GRID * GRID, WIDE } }, 0,
                                           0.5f) };
    const sl_tensor *w[SL_SOFT_WEIGHTS];
    w[SL_SOFT_LANDMARK_W] =
        weight(m, (sl_shape) { 4, { d, d, RATIO, RATIO } }, 0, even(d * RATIO * RATIO));
    add_norm(m, w + SL_SOFT_NORM_W, d);
    w[SL_SOFT_CONV_W] = weight(m, (sl_shape) { 4, { HEADS, 1, KERNEL, KERNEL } }, 0, even(9));
    x = sl_graph_add(m->g, SL_OP_ADD_POSITION, "position", NULL, (sl_value[SL_MAX_INPUTS]) { x },
                     position, 1);
    x = norm(m, x);
    sl_value q = linear(m, x, WIDE, WIDE, SL_ACT_NONE), v = linear(m, x, WIDE, WIDE, SL_ACT_NONE);
    return sl_graph_add(m->g, SL_OP_SOFT_ATTENTION, "soft attention", &attr,
                        (sl_value[SL_MAX_INPUTS]) { q, v }, w, SL_SOFT_WEIGHTS);
}

// A last stage with a class token, and what becomes of that.
static sl_value class_token(maker *m, sl_value x)
{
    enum { GRID = 3 };
    const sl_attr heads = { .heads = 4 }, first = { .rows = 1 };
    const sl_tensor *w[] = { weight(m, (sl_shape) { 3, { 1, 1 + GRID * GRID, WIDE } }, 0, 0.5f),
                             weight(m, (sl_shape) { 3, { 1, 1, WIDE } }, 0, 0.5f) };
    x = sl_graph_add(m->g, SL_OP_CLASS_TOKENS, "tokens", NULL, (sl_value[SL_MAX_INPUTS]) { x }, w,
                     2);
    sl_value q = linear(m, x, WIDE, WIDE, SL_ACT_NONE);
    sl_value kv = linear(m, x, WIDE, 2 * WIDE, SL_ACT_NONE);
    x = sl_graph_add(m->g, SL_OP_ATTENTION, "attention", &heads,
                     (sl_value[SL_MAX_INPUTS]) { q, kv }, NULL, 0);
    x = simple(m, SL_OP_ROWS, &first, linear(m, x, WIDE, WIDE, SL_ACT_GELU_TANH));
    return simple(m, SL_OP_UNIT, NULL, x);
}

// Candidates of one anchor, whose logits are pixels: one class for each of a cell.
static sl_value candidates(maker *m, sl_value image)
{
    enum { CELL = 4, PIXELS = 3 * CELL * CELL };
    const sl_attr pixels = { .factor = CELL };
    const sl_attr some = { .stride = CELL, .threshold = 0.65f, .limit = 96 };
    const sl_tensor *anchor[] = { weight(m, (sl_shape) { 2, { 1, 2 } }, 24, 8) };
    sl_value cls = simple(m, SL_OP_PIXEL_UNSHUFFLE, &pixels, image);
    sl_value reg = linear(m, cls, PIXELS, 4, SL_ACT_NONE);
    const sl_shape extent = { 1, { 2 } };
    m->s->extent = sl_graph_input(m->g, "extent", &extent);
    return sl_graph_add(m->g, SL_OP_CANDIDATES, "candidates", &some,
                        (sl_value[SL_MAX_INPUTS]) { cls, reg, m->s->extent }, anchor, 1);
}

// As SOFT and its detector use them.
static void build_soft(maker *m, sl_value image, sl_value x)
{
    const sl_attr half = { .stride = 2, .pad = 1, .act = SL_ACT_RELU };
    x = soft_attention(m, conv(m, x, WIDE, WIDE, &half, 1));
    tell(m, x, "softmax-free attention");
    sl_value coarse = conv(m, x, WIDE, WIDE, &half, 1);
    tell(m, class_token(m, coarse), "the class token");
    tell(m, simple(m, SL_OP_MEAN, NULL, coarse), "the mean");
    x = sl_graph_add(m->g, SL_OP_ADD_NEAREST, "sum", NULL,
                     (sl_value[SL_MAX_INPUTS]) { norm(m, x), coarse }, NULL, 0);
    tell(m, x, "the sum of maps");
    tell(m, candidates(m, image), "the choice of boxes");
    m->s->output[m->outputs - 1].needs_f32 = true;
}

// One for each width of the tiles that products of so many rows are made of. Of the widest, which
// would take long to compare, the last tiles' rows and the mean of all.
static void build_long_products(maker *m)
{
    enum { K = 20, SOME = 300 };
    const sl_attr last = { .first = ROWS - SOME, .rows = SOME, .columns = 1 };
    const sl_shape shape = { 2, { ROWS, K } };
    const uint32_t state = m->state;
    const sl_tensor *numbers = weight(m, shape, 0, 1);
    m->s->numbers = numbers ? numbers->data : NULL;
    sl_value x = m->s->rows = sl_graph_input(m->g, "rows", &shape);
    tell(m, linear(m, x, K, 32, SL_ACT_NONE), "the long product of 32 columns");
    tell(m, linear(m, x, K, DEEP, SL_ACT_NONE), "the long product of 36 columns");
    x = linear(m, x, K, 256, SL_ACT_NONE);
    tell(m, simple(m, SL_OP_ROWS, &last, x), "the long product of 256 columns");
    tell(m, simple(m, SL_OP_MEAN, NULL, x), "the mean of the long product");
    m->state = state; // for the picture, whose windows must not come near the threshold
}

static void build(maker *m)
{
    const sl_shape shape = { 3, { HEIGHT, WIDTH, 3 } };
    const sl_attr pixels = { .factor = FACTOR, .fade = { 0.3f, 0.7f } };
    const sl_attr sides = { .window = WINDOW * FACTOR, .shift = WINDOW / 2 * FACTOR };
    const sl_attr stem = { .stride = 1, .pad = 1, .act = SL_ACT_LEAKY_RELU, .slope = 0.01f };
    const sl_attr down = { .stride = 2, .pad = 1 }, last = { .stride = 1, .pad = 1 };
    const sl_attr windows = { .window = WINDOW,
                              .shift = WINDOW / 2,
                              .heads = 5, // of four channels: a block as one kernel
                              .eps = 1e-5f,
                              .threshold = SL_SPECIMEN_THRESHOLD };
    sl_attr chain = windows;
    chain.heads = 4; // of ten: a block as a chain of kernels
    sl_value image = m->s->image = sl_graph_input(m->g, "image", &shape);
    sl_value x = sl_graph_add(m->g, SL_OP_PIXEL_UNSHUFFLE, "pixels", &pixels,
                              (sl_value[SL_MAX_INPUTS]) { image }, NULL, 0);
    x = conv(m, x, 3 * FACTOR * FACTOR, WIDE, &stem, 1);
    sl_value scores = predict(m, x, WIDE, &windows);
    tell(m, scores, "the prediction");
    sl_value list = sl_graph_add(m->g, SL_OP_SELECT, "select", &windows,
                                 (sl_value[SL_MAX_INPUTS]) { scores }, NULL, 0);
    tell(m, sl_graph_second_output(m->g, list), "the choice of windows");
    sl_value skip = block(m, x, list, WIDE, &windows);
    tell(m, skip, "the block");
    x = upconv(m, conv(m, skip, WIDE, DEEP, &down, 1), skip);
    x = block(m, x, list, 2 * WIDE, &chain);
    tell(m, x, "the way down and up");
    x = conv(m, x, 2 * WIDE, 4 * FACTOR * FACTOR, &last, 0.1f);
    sl_value sure = simple(m, SL_OP_CERTAINTY, &sides, scores);
    tell(m, sure, "the certainty");
    x = sl_graph_add(m->g, SL_OP_GATE, "gate", &pixels,
                     (sl_value[SL_MAX_INPUTS]) { image, x, sure }, NULL, 0);
    tell(m, x, "the picture");
    build_soft(m, image, skip);
    build_long_products(m);
}

// Windows of different brightness, with texture.
static void draw(maker *m)
{
    float *at = m->s->picture;
    m->s->sides[0] = WIDTH - 3.5f; // where some boxes end
    m->s->sides[1] = HEIGHT - 2.25f;
    for (uint32_t y = 0; y < HEIGHT; y++)
        for (uint32_t x = 0; x < WIDTH; x++)
            for (uint32_t k = 0; k < 3; k++) {
                float level = 0.1f * (float)((x / 16 * 3 + y / 16 * 5 + k) % 8);
                *at++ = level + 0.1f + 0.1f * noise(m);
            }
}

sl_status sl_specimen_new(sl_ctx *ctx, sl_specimen *out)
{
    *out = (sl_specimen) { 0 };
    sl_status st = sl_graph_new(ctx, &out->graph);
    if (st != SL_OK)
        return st;
    maker m = { .s = out, .g = out->graph, .state = 1 };
    build(&m);
    st = out->graph->status;
    if (st == SL_OK && !(out->picture = sl_alloc(ctx, HEIGHT, WIDTH * 3 * sizeof(float))))
        st = SL_ERR_NOMEM;
    if (st == SL_OK)
        draw(&m);
    else
        sl_specimen_free(out);
    return st;
}

void sl_specimen_free(sl_specimen *specimen)
{
    sl_graph_free(specimen->graph);
    sl_arena_free(&specimen->weights);
    free(specimen->picture);
    *specimen = (sl_specimen) { 0 };
}
