// SPDX-License-Identifier: MIT
// tests/graph/soft.c: shape rules and costs of the ops of softmax-free transformers.
#include "../base/run.h"
#include "graph/graph.h"

static sl_graph *g;

static void set_up_graph(void)
{
    set_up();
    ck_ok(sl_graph_new(ctx, &g));
}

static void tear_down_graph(void)
{
    sl_graph_free(g);
    tear_down();
}

#define SHAPE(...) shape((const uint64_t[SL_MAX_RANK]) { __VA_ARGS__ })

static sl_shape shape(const uint64_t dim[SL_MAX_RANK]) // a side of 0 ends it
{
    sl_shape s = { 0 };
    for (; s.rank < SL_MAX_RANK && dim[s.rank]; s.rank++)
        s.dim[s.rank] = dim[s.rank];
    return s;
}

static sl_value input(sl_shape s)
{
    return sl_graph_input(g, "x", &s);
}

// A weight of a shape; nobody reads its values.
static const sl_tensor *weight(sl_shape s)
{
    static sl_tensor made[8];
    static unsigned turn;
    sl_tensor *t = &made[turn++ % 8];
    *t = (sl_tensor) { .name = "weight", .dtype = SL_F32, .shape = s };
    return t;
}

static sl_value add(sl_op op, const sl_attr *attr, sl_value a, sl_value b,
                    const sl_tensor *const *weights, size_t count)
{
    return sl_graph_add(g, op, "op", attr, (sl_value[SL_MAX_INPUTS]) { a, b }, weights, count);
}

static void gives(sl_value v, sl_shape wanted)
{
    char is[96], should[96];
    ck_ok(g->status);
    sl_shape_text(&g->values[v].shape, is, sizeof(is));
    sl_shape_text(&wanted, should, sizeof(should));
    ck_assert_str_eq(is, should);
}

// The failure is there, says `part`, and is taken away again.
static void refused(const char *part)
{
    ck_fails(g->status, SL_ERR_FORMAT, part);
    g->status = SL_OK;
}

START_TEST(square_roots)
{
    for (uint64_t n = 0; n < 300; n++) {
        uint64_t root = sl_square_root(n);
        ck_assert_uint_eq(root * root == n, root > 0 || n == 0);
    }
    ck_assert_uint_eq(sl_square_root((uint64_t)65536 * 65536), 65536);
    ck_assert_uint_eq(sl_square_root((uint64_t)65536 * 65536 - 1), 0);
    ck_assert_uint_eq(sl_square_root(UINT64_MAX), 0);
}
END_TEST

START_TEST(positions)
{
    sl_value x = input(SHAPE(5, 7, 6));
    const struct {
        uint64_t rows, side;
        bool has_class_row;
    } grids[] = { { 1, 1, false }, { 2, 1, true },  { 3, 0, false },
                  { 4, 2, false }, { 50, 7, true }, { 3136, 56, false } };
    for (size_t i = 0; i < SL_ARRAY_LEN(grids); i++) {
        bool has_class_row;
        const sl_tensor *w = weight(SHAPE(1, grids[i].rows, 6));
        ck_assert_uint_eq(sl_position_grid(w, &has_class_row), grids[i].side);
        ck_assert(has_class_row == grids[i].has_class_row);
        sl_value y = add(SL_OP_ADD_POSITION, NULL, x, 0, &w, 1);
        if (grids[i].side)
            gives(y, SHAPE(5, 7, 6));
        else
            refused("[1,g*g,C]");
        const sl_tensor *both[] = { w, weight(SHAPE(1, 1, 6)) };
        y = add(SL_OP_CLASS_TOKENS, NULL, x, 0, both, 2);
        if (grids[i].has_class_row)
            gives(y, SHAPE(36, 6));
        else
            refused("class_tokens");
    }
    const sl_tensor *other[] = { weight(SHAPE(1, 4, 5)), weight(SHAPE(4, 6)),
                                 weight(SHAPE(2, 4, 6)) };
    for (size_t i = 0; i < SL_ARRAY_LEN(other); i++) {
        add(SL_OP_ADD_POSITION, NULL, x, 0, &other[i], 1);
        refused("add_position");
    }
    const sl_tensor *narrow[] = { weight(SHAPE(1, 5, 6)), weight(SHAPE(1, 1, 5)) };
    add(SL_OP_CLASS_TOKENS, NULL, x, 0, narrow, 2);
    refused("class_tokens");
    ck_assert(sl_op_get(SL_OP_ADD_POSITION)->in_place && !sl_op_get(SL_OP_CLASS_TOKENS)->in_place);
}
END_TEST

typedef struct soft_case {
    sl_attr attr;
    uint64_t h, w, c, d, r, heads, k; // of the map, and of the weights
} soft_case;

static const soft_case published = { .attr = { .heads = 2, .factor = 8, .iterations = 20 },
                                     .h = 56,
                                     .w = 57,
                                     .c = 64,
                                     .d = 32,
                                     .r = 8,
                                     .heads = 2,
                                     .k = 9 };

static sl_value add_soft(const soft_case *c)
{
    sl_value q = input(SHAPE(c->h, c->w, c->c)), v = input(SHAPE(c->h, c->w, c->c));
    const sl_tensor *w[] = { weight(SHAPE(c->d, c->d, c->r, c->r)), weight(SHAPE(c->d)),
                             weight(SHAPE(c->d)), weight(SHAPE(c->heads, 1, c->k, c->k)) };
    return add(SL_OP_SOFT_ATTENTION, &c->attr, q, v, w, 4);
}

START_TEST(soft_attention)
{
    gives(add_soft(&published), SHAPE(56, 57, 64));
    soft_case c = published;
    c.attr.landmarks = 49;
    c.h = c.w = 3; // a pooled map may be as small as it likes
    gives(add_soft(&c), SHAPE(3, 3, 64));
    c.attr.landmarks = 48;
    add_soft(&c);
    refused("no square");
    c.attr.landmarks = 1;
    gives(add_soft(&c), SHAPE(3, 3, 64));
    c.attr.inverse = SL_INVERSE_NORM;
    add_soft(&c);
    refused("one or two landmarks");

    c = published;
    c.h = 7;
    add_soft(&c);
    refused("too small for a landmark");
    c.h = 8;
    c.w = 15;
    gives(add_soft(&c), SHAPE(8, 15, 64));
    c.attr.inverse = SL_INVERSE_NORM;
    add_soft(&c);
    refused("one or two landmarks");
    c.w = 23;
    add_soft(&c);
    refused("one or two landmarks");
    c.w = 24;
    gives(add_soft(&c), SHAPE(8, 24, 64));

    c = published;
    c.h = c.w = 1024;
    gives(add_soft(&c), SHAPE(1024, 1024, 64));
    c.w = 1032;
    add_soft(&c);
    ck_fails(g->status, SL_ERR_LIMIT, "more than 16384 landmarks");
    g->status = SL_OK;
}
END_TEST

START_TEST(soft_attention_is_held_to_its_weights)
{
    soft_case bad[10];
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        bad[i] = published;
    bad[0].attr.heads = 3;
    bad[1].attr.heads = 0;
    bad[2].attr.factor = 4;
    bad[3].attr.factor = 0;
    bad[4].d = 16;
    bad[5].k = 8;
    bad[6].heads = 1;
    bad[7].r = 7;
    bad[8].k = 65;
    bad[9] = (soft_case) { .attr = { .heads = 1, .factor = 1, .iterations = 1 },
                           .h = 4,
                           .w = 4,
                           .c = 132,
                           .d = 132,
                           .r = 1,
                           .heads = 1,
                           .k = 1 };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        add_soft(&bad[i]);
        refused("do not fit together");
    }
    soft_case c = published;
    c.attr.iterations = 0;
    add_soft(&c);
    refused("iterations");
    c.attr.iterations = 20;
    c.attr.inverse = (sl_inverse)2;
    add_soft(&c);
    refused("inverse");
    sl_value q = input(SHAPE(56, 57, 64)), v = input(SHAPE(57, 56, 64));
    const sl_tensor *w[4] = { weight(SHAPE(1)), weight(SHAPE(1)), weight(SHAPE(1)),
                              weight(SHAPE(1)) };
    add(SL_OP_SOFT_ATTENTION, &published.attr, q, v, w, 4);
    refused("of one shape");
}
END_TEST

START_TEST(soft_attention_counts_its_products)
{
    sl_value y = add_soft(&published);
    const sl_node *node = &g->nodes[g->values[y].producer];
    double n = 56 * 57, m = 7 * 7, c = 64;
    double inverses = 2 * 20 * 2 * m * m * m;
    ck_assert_double_eq(sl_node_inverse_macs(g, node), inverses);
    ck_assert_double_eq(sl_node_macs(g, node),
                        m * c * 32 * 64 + 3 * n * m * c + 2 * m * m * c + n * c * 81 + inverses);
    ck_assert_double_eq(sl_node_inverse_macs(g, &g->nodes[0]), 0);
}
END_TEST

START_TEST(attention)
{
    sl_attr heads = { .heads = 4 };
    sl_value y =
        add(SL_OP_ATTENTION, &heads, input(SHAPE(50, 128)), input(SHAPE(50, 256)), NULL, 0);
    gives(y, SHAPE(50, 128));
    ck_assert_double_eq(sl_node_macs(g, &g->nodes[g->values[y].producer]), 2. * 50 * 50 * 128);
    y = add(SL_OP_ATTENTION, &heads, input(SHAPE(7, 6, 128)), input(SHAPE(7, 6, 256)), NULL, 0);
    gives(y, SHAPE(7, 6, 128));
    add(SL_OP_ATTENTION, &heads, input(SHAPE(50, 128)), input(SHAPE(49, 256)), NULL, 0);
    refused("do not fit");
    add(SL_OP_ATTENTION, &heads, input(SHAPE(50, 128)), input(SHAPE(50, 128)), NULL, 0);
    refused("do not fit");
    add(SL_OP_ATTENTION, &heads, input(SHAPE(50, 126)), input(SHAPE(50, 252)), NULL, 0);
    refused("do not fit");
    add(SL_OP_ATTENTION, &heads, input(SHAPE(50, 516)), input(SHAPE(50, 1032)), NULL, 0);
    refused("do not fit");
    add(SL_OP_ATTENTION, &heads, input(SHAPE(128)), input(SHAPE(256)), NULL, 0);
    refused("wants rows");
}
END_TEST

START_TEST(rows_means_and_lengths)
{
    sl_value x = input(SHAPE(50, 6)), map = input(SHAPE(4, 5, 6));
    const struct {
        sl_attr attr;
        sl_shape wanted; // rank 0: refused
    } cases[] = {
        { { .first = 1, .rows = 7, .columns = 7 }, SHAPE(7, 7, 6) },
        { { .first = 0, .rows = 1, .columns = 0 }, SHAPE(6) },
        { { .first = 49, .rows = 1, .columns = 0 }, SHAPE(6) },
        { { .first = 2, .rows = 7, .columns = 7 }, { 0 } },
        { { .first = 50, .rows = 1, .columns = 0 }, { 0 } },
        { { .first = 0, .rows = 0, .columns = 7 }, { 0 } },
        { { .first = 0, .rows = 2, .columns = 0 }, { 0 } },
        { { .first = UINT32_MAX, .rows = 1, .columns = 1 }, { 0 } },
        { { .first = 0, .rows = UINT32_MAX, .columns = UINT32_MAX }, { 0 } },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_value y = add(SL_OP_ROWS, &cases[i].attr, x, 0, NULL, 0);
        if (cases[i].wanted.rank)
            gives(y, cases[i].wanted);
        else
            refused("more rows than there are");
    }
    gives(add(SL_OP_MEAN, NULL, x, 0, NULL, 0), SHAPE(6));
    gives(add(SL_OP_MEAN, NULL, map, 0, NULL, 0), SHAPE(6));
    gives(add(SL_OP_UNIT, NULL, map, 0, NULL, 0), SHAPE(4, 5, 6));
    sl_value numbers = sl_graph_input_typed(g, "n", SL_I32, &(sl_shape) { 1, { 6 } });
    static const sl_op ops[] = { SL_OP_ROWS, SL_OP_MEAN, SL_OP_UNIT };
    for (size_t i = 0; i < SL_ARRAY_LEN(ops); i++) {
        add(ops[i], &(sl_attr) { .rows = 1 }, numbers, 0, NULL, 0);
        refused("wants rows");
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("soft");
    tcase_add_test(tests, square_roots);
    tcase_add_test(tests, positions);
    tcase_add_test(tests, soft_attention);
    tcase_add_test(tests, soft_attention_is_held_to_its_weights);
    tcase_add_test(tests, soft_attention_counts_its_products);
    tcase_add_test(tests, attention);
    tcase_add_test(tests, rows_means_and_lengths);
    return run_case_with("graph/soft", tests, set_up_graph, tear_down_graph);
}
