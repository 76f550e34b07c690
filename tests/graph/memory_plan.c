// SPDX-License-Identifier: MIT
// tests/graph/memory_plan.c: no two values that live at the same time share memory; the arena is no
// larger than it has to be; builders refuse what does not fit.
#include "graph/graph.h"

#include <check.h>

static sl_ctx *ctx;

static void setup(void)
{
    ck_assert_int_eq(sl_ctx_new(NULL, &ctx), SL_OK);
}

static void teardown(void)
{
    sl_ctx_free(ctx);
}

static unsigned state;
static unsigned draw(unsigned below) // a small linear congruential generator: same on every machine
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
}

// A chain with random skips, made of ops without weights.
static sl_graph *random_graph(unsigned seed, unsigned nodes)
{
    sl_graph *g;
    state = seed;
    ck_assert_int_eq(sl_graph_new(ctx, &g), SL_OK);
    const sl_shape shape = { .rank = 3, .dim = { 16, 16, 1 + draw(5) } };
    sl_value x = sl_graph_input(g, "image", &shape);
    const sl_attr window = { .window = 4, .shift = 2 * draw(2) };
    for (unsigned i = 0; i < nodes; i++) {
        if (draw(3) == 0) { // to windows and back, in place on x
            sl_value base = sl_graph_add(g, SL_OP_PIXEL_UNSHUFFLE, "copy",
                                         &(sl_attr) { .factor = 1 }, (sl_value[3]) { x }, NULL, 0);
            sl_value t = sl_graph_add(g, SL_OP_WINDOW_GATHER, "gather", &window,
                                      (sl_value[3]) { x }, NULL, 0);
            x = sl_graph_add(g, SL_OP_WINDOW_SCATTER, "scatter", &window, (sl_value[3]) { base, t },
                             NULL, 0);
        } else {
            sl_value from = g->values[x].shape.dim[0] == 16 ? x : 1;
            x = sl_graph_add(g, SL_OP_PIXEL_UNSHUFFLE, "copy", &(sl_attr) { .factor = 1 },
                             (sl_value[3]) { from }, NULL, 0);
        }
    }
    sl_graph_output(g, x, "output");
    ck_assert_msg(g->status == SL_OK, "%s", sl_ctx_message(ctx));
    return g;
}

// Runs the graph on paper: every place remembers who wrote it last; a reader must find its value.
// Places are multiples of SL_ALIGN, so one look for each of those is enough.
static void check_plan(const sl_graph *g, const sl_memory_plan *plan, const size_t *scratch)
{
    sl_value *owner = sl_alloc(ctx, plan->total, sizeof *owner);
    for (size_t n = 0; n < g->node_count; n++) {
        const sl_node *node = &g->nodes[n];
        const sl_op_info *info = sl_op_get(node->op);
        for (size_t i = 0; i < scratch[n]; i += SL_ALIGN)
            owner[plan->scratch_offset[n] + i] = SL_NO_VALUE;
        for (unsigned k = 0; k < SL_MAX_INPUTS; k++)
            for (size_t i = 0; node->in[k] && i < g->values[node->in[k]].bytes; i += SL_ALIGN)
                ck_assert_uint_eq(owner[plan->value_offset[node->in[k]] + i], node->in[k]);
        for (unsigned k = 0; k < info->outputs || (k == 0 && node->op == SL_OP_INPUT); k++)
            for (size_t i = 0; i < g->values[node->out[k]].bytes; i += SL_ALIGN)
                owner[plan->value_offset[node->out[k]] + i] = node->out[k];
        for (size_t i = 0; i < scratch[n]; i += SL_ALIGN)
            ck_assert_uint_eq(owner[plan->scratch_offset[n] + i], SL_NO_VALUE);
    }
    for (size_t v = 1; v < g->value_count; v++)
        for (size_t i = 0; g->values[v].output && i < g->values[v].bytes; i += SL_ALIGN)
            ck_assert_uint_eq(owner[plan->value_offset[v] + i], v);
    free(owner);
}

START_TEST(lives_never_overlap)
{
    sl_graph *g = random_graph(900 + (unsigned)_i, 1 + (unsigned)_i);
    size_t *scratch = sl_alloc(ctx, g->node_count, sizeof *scratch);
    for (size_t n = 0; n < g->node_count; n++)
        scratch[n] = draw(2) ? draw(5000) : 0;
    sl_memory_plan plan;
    ck_assert_msg(sl_memory_plan_new(ctx, g, NULL, scratch, &plan) == SL_OK, "%s",
                  sl_ctx_message(ctx));
    check_plan(g, &plan, scratch);
    sl_memory_plan_free(&plan);
    free(scratch);
    sl_graph_free(g);
}
END_TEST

START_TEST(memory_is_reused)
{
    sl_graph *g = random_graph(5, 40);
    sl_memory_plan plan;
    ck_assert_int_eq(sl_memory_plan_new(ctx, g, NULL, NULL, &plan), SL_OK);
    size_t sum = 0;
    for (size_t v = 1; v < g->value_count; v++)
        sum += g->values[v].bytes;
    ck_assert_uint_lt(plan.total * 4, sum);
    sl_memory_plan_free(&plan);
    sl_graph_free(g);
}
END_TEST

// Inputs are written before the first node runs, wherever they stand: no earlier node may use their
// place.
START_TEST(a_late_input_has_its_place_from_the_start)
{
    const sl_shape shape = { .rank = 3, .dim = { 16, 16, 4 } };
    const sl_attr same = { .factor = 1 };
    sl_graph *g;
    sl_memory_plan plan;
    ck_assert_int_eq(sl_graph_new(ctx, &g), SL_OK);
    sl_value x = sl_graph_input(g, "image", &shape), early[3];
    for (unsigned i = 0; i < 3; i++)
        early[i] = x =
            sl_graph_add(g, SL_OP_PIXEL_UNSHUFFLE, "early", &same, (sl_value[3]) { x }, NULL, 0);
    sl_value late = sl_graph_input(g, "late", &shape);
    sl_graph_add(g, SL_OP_PIXEL_UNSHUFFLE, "use", &same, (sl_value[3]) { late }, NULL, 0);
    ck_assert_int_eq(sl_memory_plan_new(ctx, g, NULL, NULL, &plan), SL_OK);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_ne(plan.value_offset[early[i]], plan.value_offset[late]);
    sl_memory_plan_free(&plan);
    sl_graph_free(g);
}
END_TEST

START_TEST(overwritten_input_is_refused)
{
    sl_graph *g;
    sl_memory_plan plan;
    const sl_attr window = { .window = 4 };
    ck_assert_int_eq(sl_graph_new(ctx, &g), SL_OK);
    sl_value x = sl_graph_input(g, "image", &(sl_shape) { .rank = 3, .dim = { 8, 8, 2 } });
    x = sl_graph_add(g, SL_OP_PIXEL_UNSHUFFLE, "copy", &(sl_attr) { .factor = 1 },
                     (sl_value[3]) { x }, NULL, 0);
    sl_value t =
        sl_graph_add(g, SL_OP_WINDOW_GATHER, "gather", &window, (sl_value[3]) { x }, NULL, 0);
    sl_graph_add(g, SL_OP_WINDOW_SCATTER, "scatter", &window, (sl_value[3]) { x, t }, NULL, 0);
    sl_graph_add(g, SL_OP_PIXEL_UNSHUFFLE, "late", &(sl_attr) { .factor = 1 }, (sl_value[3]) { x },
                 NULL, 0);
    ck_assert_int_eq(g->status, SL_OK);
    ck_assert_int_eq(sl_memory_plan_new(ctx, g, NULL, NULL, &plan), SL_ERR_ARGUMENT);
    sl_graph_free(g);
}
END_TEST

START_TEST(misfits_are_refused)
{
    const struct {
        sl_op op;
        sl_attr attr;
        const char *says;
    } bad[] = {
        { SL_OP_PIXEL_UNSHUFFLE, { .factor = 3 }, "multiples of the factor" },
        { SL_OP_PIXEL_UNSHUFFLE, { .factor = 0 }, "multiples of the factor" },
        { SL_OP_WINDOW_GATHER, { .window = 3 }, "whole windows" },
        { SL_OP_WINDOW_GATHER, { .window = 4, .shift = 4 }, "whole windows" },
        { SL_OP_SELECT, { 0 }, "scores" },
        { SL_OP_GATE, { .factor = 1 }, "input 1 is missing" },
        { SL_OP_CONV2D, { .stride = 1 }, "0 weights given" },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        sl_graph *g;
        ck_assert_int_eq(sl_graph_new(ctx, &g), SL_OK);
        sl_value x = sl_graph_input(g, "image", &(sl_shape) { .rank = 3, .dim = { 8, 8, 4 } });
        sl_graph_add(g, bad[i].op, "here", &bad[i].attr, (sl_value[3]) { x }, NULL, 0);
        ck_assert_int_ne(g->status, SL_OK);
        ck_assert_msg(strstr(sl_ctx_message(ctx), bad[i].says), "%zu: %s", i, sl_ctx_message(ctx));
        ck_assert_uint_eq(sl_graph_add(g, SL_OP_WINDOW_GATHER, "later", &bad[i].attr,
                                       (sl_value[3]) { x }, NULL, 0),
                          SL_NO_VALUE);
        sl_graph_free(g);
    }
}
END_TEST

START_TEST(dump_names_every_node)
{
    sl_graph *g = random_graph(7, 12);
    char *text = sl_graph_dump(ctx, g);
    ck_assert_ptr_nonnull(text);
    size_t lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    ck_assert_uint_eq(lines, g->node_count);
    ck_assert_ptr_nonnull(strstr(text, "pixel_unshuffle"));
    free(text);
    sl_graph_free(g);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("graph");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, lives_never_overlap, 0, 40);
    tcase_add_test(tc, memory_is_reused);
    tcase_add_test(tc, a_late_input_has_its_place_from_the_start);
    tcase_add_test(tc, overwritten_input_is_refused);
    tcase_add_test(tc, misfits_are_refused);
    tcase_add_test(tc, dump_names_every_node);
    Suite *s = suite_create("graph");
    suite_add_tcase(s, tc);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
