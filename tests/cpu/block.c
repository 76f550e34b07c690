// SPDX-License-Identifier: MIT
// tests/cpu/block.c: the fused window block against plain loops in double, and against the same
// block composed of single ops.
#include "backend.h"
#include "reference.h"
#include "testing.h"

#include <math.h>

typedef struct block_case {
    uint64_t seed;
    ref_windows m;
    size_t channels, heads, hidden, windows, kept;
    bool has_list, has_modulator;
    test_op *t;
    const float *w[SL_BLOCK_WEIGHTS];
    const int32_t *list;
} block_case;

static void block_weights(block_case *b)
{
    size_t c = b->channels, h = b->hidden, side = 2 * b->m.window - 1;
    const uint64_t dims[SL_BLOCK_WEIGHTS][4] = {
        { c },
        { c },
        { b->m.window * b->m.window, c },
        { side * side, b->heads },
        { c, c },
        { c },
        { 2 * c, c },
        { 2 * c },
        { c, c },
        { c },
        { c },
        { c },
        { h, c },
        { h },
        { h, 1, 3, 3 },
        { h },
        { c, h },
        { c },
    };
    for (unsigned i = 0; i < SL_BLOCK_WEIGHTS; i++) {
        bool is_matrix = dims[i][1] > 1 && i > SL_BLOCK_BIAS_TABLE && i != SL_BLOCK_DW_W;
        float scale = is_matrix ? 1.7f / sqrtf((float)dims[i][1]) : 0.7f;
        if (i != SL_BLOCK_MODULATOR || b->has_modulator)
            b->w[i] =
                test_op_weight(b->t, i, scale, dims[i][0], dims[i][1], dims[i][2], dims[i][3]);
    }
}

static sl_attr block_attr(const block_case *b)
{
    return (sl_attr) { .window = (uint32_t)b->m.window,
                       .shift = (uint32_t)b->m.shift,
                       .heads = (uint32_t)b->heads,
                       .rows = (uint32_t)(b->m.height / b->m.window),
                       .columns = (uint32_t)(b->m.width / b->m.window),
                       .eps = 1e-5f };
}

// Lists: none, empty, one window, some, all.
static block_case block_case_new(uint64_t seed, size_t w, size_t heads, size_t head_dim, int list)
{
    test_rng rng = test_seed(seed);
    block_case b = { .seed = seed, .heads = heads, .channels = heads * head_dim };
    b.m = (ref_windows) { w * test_range(&rng, 1, 3), w * test_range(&rng, 1, 4), w, 0 };
    b.m.shift = test_range(&rng, 0, 1) * (w / 2);
    b.hidden = test_range(&rng, 0, 2) ? 4 * b.channels : 2 * b.channels + 3;
    b.has_modulator = test_range(&rng, 0, 1);
    b.windows = ref_window_count(&b.m);
    size_t kept[] = { b.windows, 0, 1, (b.windows + 1) / 2, b.windows };
    b.has_list = list > 0;
    b.kept = kept[list];
    sl_attr attr = block_attr(&b);
    b.t = test_op_new(SL_OP_WINDOW_BLOCK, &attr, seed);
    test_op_input(b.t, 0, b.m.height, b.m.width, b.channels);
    if (b.has_list)
        b.list = test_op_list(b.t, 1, b.windows, b.kept);
    block_weights(&b);
    return b;
}

static block_case random_case(uint64_t seed)
{
    static const size_t head_dims[] = { 8, 24, 32, 24, 32, 5, 11 };
    test_rng rng = test_seed(~seed);
    size_t w = test_range(&rng, 0, 2) ? 8 : test_range(&rng, 2, 6);
    size_t d = head_dims[test_range(&rng, 0, SL_ARRAY_LEN(head_dims) - 1)];
    return block_case_new(seed, w, test_range(&rng, 1, 3), d, (int)(seed % 5));
}

// x [N,C] of one window, as the specification has it.
static void reference_window(const block_case *b, size_t index, double *x)
{
    size_t n = b->m.window * b->m.window, c = b->channels, m = b->hidden;
    const float *const *w = b->w;
    double *a = malloc(n * c * sizeof *a), *q = malloc(n * c * sizeof *q);
    double *kv = malloc(2 * n * c * sizeof *kv), *y = malloc(n * m * sizeof *y);
    double *z = malloc(n * m * sizeof *z);
    ck_assert(a && q && kv && y && z);
    ref_norm(x, n, c, w[SL_BLOCK_NORM1_W], w[SL_BLOCK_NORM1_B], w[SL_BLOCK_MODULATOR], n, 1e-5, a);
    ref_linear(a, n, c, w[SL_BLOCK_Q_W], w[SL_BLOCK_Q_B], c, q);
    ref_linear(a, n, c, w[SL_BLOCK_KV_W], w[SL_BLOCK_KV_B], 2 * c, kv);
    ref_attention(&b->m, index, q, kv, w[SL_BLOCK_BIAS_TABLE], b->heads, c, a);
    ref_linear(a, n, c, w[SL_BLOCK_PROJ_W], w[SL_BLOCK_PROJ_B], c, q);
    for (size_t i = 0; i < n * c; i++)
        x[i] += q[i];
    ref_norm(x, n, c, w[SL_BLOCK_NORM2_W], w[SL_BLOCK_NORM2_B], NULL, n, 1e-5, a);
    ref_linear(a, n, c, w[SL_BLOCK_FF1_W], w[SL_BLOCK_FF1_B], m, y);
    for (size_t i = 0; i < n * m; i++)
        y[i] = ref_gelu(y[i]);
    ref_dwconv(y, b->m.window, m, w[SL_BLOCK_DW_W], w[SL_BLOCK_DW_B], z);
    for (size_t i = 0; i < n * m; i++)
        z[i] = ref_gelu(z[i]);
    ref_linear(z, n, m, w[SL_BLOCK_FF2_W], w[SL_BLOCK_FF2_B], c, q);
    for (size_t i = 0; i < n * c; i++)
        x[i] += q[i];
    free(z);
    free(y);
    free(kv);
    free(q);
    free(a);
}

static size_t map_floats(const block_case *b)
{
    return b->m.height * b->m.width * b->channels;
}

// The map behind the block; is_kept, per pixel, may be NULL.
static double *reference_map(const block_case *b, bool *is_kept)
{
    size_t n = b->m.window * b->m.window, c = b->channels;
    double *map = ref_doubles(b->t->in[0], map_floats(b));
    double *x = malloc(n * c * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < b->kept; i++) {
        size_t index = b->list ? (size_t)b->list[4 + i] : i;
        for (size_t t = 0; t < n; t++) // windows do not overlap: reading the result is reading x
            memcpy(x + t * c, map + ref_pixel(&b->m, index, t) * c, c * sizeof *x);
        reference_window(b, index, x);
        for (size_t t = 0; t < n; t++) {
            memcpy(map + ref_pixel(&b->m, index, t) * c, x + t * c, c * sizeof *x);
            if (is_kept)
                is_kept[ref_pixel(&b->m, index, t)] = true;
        }
    }
    free(x);
    return map;
}

START_TEST(block_agrees_with_loops)
{
    block_case b = random_case(2000 + (uint64_t)_i);
    double *want = reference_map(&b, NULL);
    test_op_agrees(b.t, want, 1e-5 * ref_range(want, map_floats(&b)));
    free(want);
    test_op_free(b.t);
}
END_TEST

// Wider than a slice: of heads (128 channels) and of hidden channels (256), with rests.
START_TEST(block_agrees_in_slices)
{
    static const size_t heads[] = { 5, 7, 1 }, head_dims[] = { 32, 24, 136 };
    block_case b = block_case_new(2100 + (uint64_t)_i, 8, heads[_i], head_dims[_i], 3);
    double *want = reference_map(&b, NULL);
    test_op_agrees(b.t, want, 1e-5 * ref_range(want, map_floats(&b)));
    free(want);
    test_op_free(b.t);
}
END_TEST

START_TEST(pruned_windows_keep_their_bits)
{
    block_case b = random_case(2200 + (uint64_t)_i);
    size_t c = b.channels, pixels = b.m.height * b.m.width;
    bool *is_kept = calloc(pixels, sizeof *is_kept);
    float *got = malloc(map_floats(&b) * sizeof *got);
    ck_assert(is_kept && got);
    free(reference_map(&b, is_kept));
    uint32_t *bits = b.t->in[0]; // NaN and subnormal numbers have to get through as well
    for (size_t i = 0; i < pixels; i++)
        if (!is_kept[i])
            bits[i * c] = i % 2 ? 0x7fc12345u : 1u;
    for (int level = 0; level < test_backend_levels(); level++) {
        test_op_run(b.t, test_backend_level(level), 2, (void *[SL_MAX_OUTPUTS]) { got });
        for (size_t i = 0; i < pixels; i++)
            if (!is_kept[i])
                ck_assert_mem_eq(got + i * c, (float *)b.t->in[0] + i * c, c * sizeof *got);
    }
    free(got);
    free(is_kept);
    test_op_free(b.t);
}
END_TEST

// ---- the composed form

static sl_value add(sl_graph *g, const block_case *b, sl_op op, sl_act act, sl_value x, sl_value y,
                    sl_value z, int first, int second, int third)
{
    const int at[] = { first, second, third };
    const sl_tensor *weights[3] = { 0 };
    sl_attr attr = block_attr(b);
    attr.act = act;
    for (size_t i = 0; i < 3; i++)
        if (at[i] >= 0 && b->t->weight[at[i]].data)
            weights[i] = &b->t->weight[at[i]];
    size_t count = third >= 0 && weights[2] ? 3 : second >= 0 ? 2 : first >= 0 ? 1 : 0;
    return sl_graph_add(g, op, "op", &attr, (sl_value[SL_MAX_INPUTS]) { x, y, z }, weights, count);
}

static sl_value compose(sl_graph *g, const block_case *b, sl_value x, sl_value list)
{
    const sl_act none = SL_ACT_NONE, gelu = SL_ACT_GELU;
    sl_value r = add(g, b, SL_OP_WINDOW_GATHER, none, x, list, 0, -1, -1, -1);
    sl_value a = add(g, b, SL_OP_LAYER_NORM, none, r, list, 0, SL_BLOCK_NORM1_W, SL_BLOCK_NORM1_B,
                     SL_BLOCK_MODULATOR);
    sl_value q = add(g, b, SL_OP_LINEAR, none, a, 0, list, SL_BLOCK_Q_W, SL_BLOCK_Q_B, -1);
    sl_value kv = add(g, b, SL_OP_LINEAR, none, a, 0, list, SL_BLOCK_KV_W, SL_BLOCK_KV_B, -1);
    a = add(g, b, SL_OP_WINDOW_ATTENTION, none, q, kv, list, SL_BLOCK_BIAS_TABLE, -1, -1);
    r = add(g, b, SL_OP_LINEAR, none, a, r, list, SL_BLOCK_PROJ_W, SL_BLOCK_PROJ_B, -1);
    a = add(g, b, SL_OP_LAYER_NORM, none, r, list, 0, SL_BLOCK_NORM2_W, SL_BLOCK_NORM2_B, -1);
    a = add(g, b, SL_OP_LINEAR, gelu, a, 0, list, SL_BLOCK_FF1_W, SL_BLOCK_FF1_B, -1);
    a = add(g, b, SL_OP_WINDOW_DWCONV, gelu, a, list, 0, SL_BLOCK_DW_W, SL_BLOCK_DW_B, -1);
    r = add(g, b, SL_OP_LINEAR, none, a, r, list, SL_BLOCK_FF2_W, SL_BLOCK_FF2_B, -1);
    return add(g, b, SL_OP_WINDOW_SCATTER, none, x, r, list, -1, -1, -1);
}

static void run_composed(const block_case *b, float *out)
{
    sl_ctx *ctx = NULL;
    sl_graph *g = NULL;
    sl_value list = SL_NO_VALUE;
    ck_assert_int_eq(sl_ctx_new(NULL, &ctx), SL_OK);
    ck_assert_int_eq(sl_graph_new(ctx, &g), SL_OK);
    sl_value x = sl_graph_input(g, "x", &b->t->shape[0]);
    if (b->list)
        list = sl_graph_input_typed(g, "list", SL_I32, &b->t->shape[1]);
    sl_value copy = sl_graph_add(g, SL_OP_PIXEL_UNSHUFFLE, "copy", &(sl_attr) { .factor = 1 },
                                 (sl_value[SL_MAX_INPUTS]) { x }, NULL, 0);
    sl_value y = compose(g, b, copy, list);
    sl_graph_output(g, y, "y");
    test_plan compiled = test_backend_compile(ctx, g);
    sl_plan *plan = compiled.plan;
    ck_assert_int_eq(sl_plan_write(plan, x, b->t->in[0]), SL_OK);
    if (b->list)
        ck_assert_int_eq(sl_plan_write(plan, list, b->list), SL_OK);
    ck_assert_int_eq(sl_plan_run(plan), SL_OK);
    ck_assert_int_eq(sl_plan_read(plan, y, out), SL_OK);
    test_backend_free(&compiled);
    sl_graph_free(g);
    sl_ctx_free(ctx);
}

START_TEST(block_agrees_with_composed_ops)
{
    block_case b = random_case(2300 + (uint64_t)_i);
    float *composed = malloc(map_floats(&b) * sizeof *composed);
    ck_assert_ptr_nonnull(composed);
    run_composed(&b, composed);
    double *want = ref_doubles(composed, map_floats(&b));
    test_op_agrees(b.t, want, 1e-5 * ref_range(want, map_floats(&b)));
    free(want);
    free(composed);
    test_op_free(b.t);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { block_agrees_with_loops, block_agrees_in_slices,
                             pruned_windows_keep_their_bits, block_agrees_with_composed_ops };
    const int loops[] = { 25, 3, test_backend_is_half() ? 0 : 10, 15 }; // f16 rounds the input
    return test_main("cpu-block", tests, loops, SL_ARRAY_LEN(tests));
}
