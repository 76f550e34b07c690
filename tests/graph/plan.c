// SPDX-License-Identifier: MIT
// tests/graph/plan.c: what holds for the plan of every backend: which values may be written and
// read, window lists that are checked, and the bytes that profiles count.
#include "../base/run.h"
#include "graph/graph.h"

// A backend that only counts what reaches it.
typedef struct counter {
    sl_plan plan;
    unsigned writes, reads, runs;
} counter;

static sl_status count_write(sl_plan *plan, sl_value value, const void *data)
{
    (void)value, (void)data;
    ((counter *)plan)->writes++;
    return SL_OK;
}

static sl_status count_read(sl_plan *plan, sl_value value, void *data)
{
    (void)value, (void)data;
    ((counter *)plan)->reads++;
    return SL_OK;
}

static sl_status count_run(sl_plan *plan)
{
    ((counter *)plan)->runs++;
    return SL_OK;
}

static const sl_plan_ops counting = { .write = count_write, .run = count_run, .read = count_read };

// y = x w + b over four windows of one row, of which the list says how many.
typedef struct network {
    sl_graph *graph;
    sl_value x, list, y;
    float data[48 * 48 + 48];
    sl_tensor weight[2];
    counter counter;
} network;

static void network_new(network *n)
{
    *n = (network) { 0 };
    n->weight[0] = (sl_tensor) { "w", SL_F32, { 2, { 48, 48 } }, n->data, 48 * 48 * 4 };
    n->weight[1] = (sl_tensor) { "b", SL_F32, { 1, { 48 } }, n->data + 48 * 48, 48 * 4 };
    const sl_tensor *weights[] = { &n->weight[0], &n->weight[1] };
    ck_ok(sl_graph_new(ctx, &n->graph));
    n->x = sl_graph_input(n->graph, "x", &(sl_shape) { 2, { 4, 48 } });
    n->list = sl_graph_input_typed(n->graph, "list", SL_I32, &(sl_shape) { 1, { 8 } });
    n->y = sl_graph_add(n->graph, SL_OP_LINEAR, "linear", &(sl_attr) { 0 },
                        (sl_value[SL_MAX_INPUTS]) { n->x, 0, n->list }, weights, 2);
    ck_ok(n->graph->status);
    n->counter.plan = (sl_plan) { .ops = &counting, .ctx = ctx, .graph = n->graph };
}

START_TEST(lists_from_outside_are_checked)
{
    static const int32_t bad[][8] = {
        { -1, 0, 0, 0, 0, 1, 2, 3 }, { 5, 0, 0, 0, 0, 1, 2, 3 },  { 2, 0, 0, 0, 1, 1, 0, 0 },
        { 2, 0, 0, 0, 3, 1, 0, 0 },  { 1, 0, 0, 0, -1, 0, 0, 0 }, { 1, 0, 0, 0, 4, 0, 0, 0 },
    };
    static const int32_t good[][8] = {
        { 2, 0, 0, 0, 1, 3, 77, -5 }, // what is behind is not looked at
        { 0, 0, 0, 0, -1, -1, -1, -1 },
        { 4, 9, 9, 9, 0, 1, 2, 3 },
    };
    network n;
    network_new(&n);
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        ck_fails(sl_plan_write(&n.counter.plan, n.list, bad[i]), SL_ERR_ARGUMENT, "list");
    ck_assert_uint_eq(n.counter.writes, 0); // none reached the backend
    for (size_t i = 0; i < SL_ARRAY_LEN(good); i++)
        ck_ok(sl_plan_write(&n.counter.plan, n.list, good[i]));
    ck_assert_uint_eq(n.counter.writes, SL_ARRAY_LEN(good));
    sl_graph_free(n.graph);
}
END_TEST

START_TEST(only_inputs_and_outputs_are_reached)
{
    network n;
    float x[4 * 48] = { 0 };
    network_new(&n);
    sl_plan *plan = &n.counter.plan;
    ck_fails(sl_plan_read(plan, n.y, x), SL_ERR_ARGUMENT, "no input or output");
    ck_fails(sl_plan_write(plan, SL_NO_VALUE, x), SL_ERR_ARGUMENT, "no input or output");
    ck_fails(sl_plan_write(plan, 1000, x), SL_ERR_ARGUMENT, "value 1000");
    ck_assert_uint_eq(n.counter.writes + n.counter.reads, 0);
    sl_graph_output(n.graph, n.y, "y");
    ck_ok(sl_plan_write(plan, n.x, x));
    ck_ok(sl_plan_run(plan));
    ck_ok(sl_plan_read(plan, n.y, x));
    ck_assert_uint_eq(n.counter.writes, 1);
    ck_assert_uint_eq(n.counter.runs, 1);
    ck_assert_uint_eq(n.counter.reads, 1);
    sl_graph_free(n.graph);
}
END_TEST

// A share of the activations, and all of the weights.
START_TEST(bytes_are_counted)
{
    network n;
    network_new(&n);
    const sl_node *node = &n.graph->nodes[n.graph->values[n.y].producer];
    double activations = 2 * 4 * 48 * 4 + 8 * 4, weights = 48 * 48 * 4 + 48 * 4;
    ck_assert_double_eq(sl_node_bytes(n.graph, node, NULL, 1), activations + weights);
    ck_assert_double_eq(sl_node_bytes(n.graph, node, NULL, 0.25), activations / 4 + weights);
    ck_assert_double_eq(sl_node_bytes(n.graph, node, NULL, 0), weights);
    const size_t half[] = { 99, 4 * 48 * 2, 8 * 4, 4 * 48 * 2 }; // x, list, y in another precision
    ck_assert_double_eq(sl_node_bytes(n.graph, node, half, 1), 2 * 4 * 48 * 2 + 8 * 4 + weights);
    sl_graph_free(n.graph);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("plan");
    tcase_add_test(tests, lists_from_outside_are_checked);
    tcase_add_test(tests, only_inputs_and_outputs_are_reached);
    tcase_add_test(tests, bytes_are_counted);
    return run_case("graph/plan", tests);
}
