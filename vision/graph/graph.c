// SPDX-License-Identifier: MIT
// graph/graph.c: the builder: nodes and values appended one by one, each checked by its op's rule.
#include "graph/graph.h"

#define MAX_NODES 100000u // far beyond any model

sl_status sl_graph_new(sl_ctx *ctx, sl_graph **out)
{
    *out = NULL;
    sl_graph *g = sl_alloc(ctx, 1, sizeof *g);
    if (!g)
        return SL_ERR_NOMEM;
    g->ctx = ctx;
    g->value_count = 1; // SL_NO_VALUE
    *out = g;
    return SL_OK;
}

void sl_graph_free(sl_graph *g)
{
    if (!g)
        return;
    free(g->nodes);
    free(g->values);
    sl_arena_free(&g->arena);
    free(g);
}

// Room for one more element in a growing array of `size`-byte elements.
static bool grow(sl_graph *g, void **array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return true;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    void *bigger = sl_alloc(g->ctx, wanted, size);
    if (!bigger) {
        g->status = SL_ERR_NOMEM;
        return false;
    }
    if (*array)
        memcpy(bigger, *array, count * size);
    free(*array);
    *array = bigger;
    *capacity = wanted;
    return true;
}

static sl_value add_value(sl_graph *g, sl_dtype dtype, const sl_shape *shape, uint32_t producer)
{
    size_t elements, bytes;
    if (!sl_shape_elements(shape, &elements) || !sl_mul(elements, sl_dtype_size(dtype), &bytes)) {
        char text[128];
        sl_shape_text(shape, text, sizeof text);
        g->status = sl_fail(g->ctx, SL_ERR_LIMIT, "a tensor of shape %s is too large", text);
        return SL_NO_VALUE;
    }
    if (!grow(g, (void **)&g->values, &g->value_capacity, g->value_count, sizeof *g->values))
        return SL_NO_VALUE;
    sl_value v = (sl_value)g->value_count++;
    g->values[v] =
        (sl_value_info) { .dtype = dtype, .shape = *shape, .bytes = bytes, .producer = producer };
    return v;
}

static sl_node *add_node(sl_graph *g, sl_op op, const char *label)
{
    if (g->node_count >= MAX_NODES) {
        g->status = sl_fail(g->ctx, SL_ERR_LIMIT, "a graph of more than %u ops", MAX_NODES);
        return NULL;
    }
    if (!grow(g, (void **)&g->nodes, &g->node_capacity, g->node_count, sizeof *g->nodes))
        return NULL;
    const char *copy = sl_arena_strdup(g->ctx, &g->arena, label ? label : "");
    if (!copy) {
        g->status = SL_ERR_NOMEM;
        return NULL;
    }
    sl_node *node = &g->nodes[g->node_count];
    *node = (sl_node) { .op = op, .label = copy };
    return node;
}

sl_value sl_graph_input_typed(sl_graph *g, const char *name, sl_dtype dtype, const sl_shape *shape)
{
    if (g->status != SL_OK)
        return SL_NO_VALUE;
    sl_node *node = add_node(g, SL_OP_INPUT, name);
    if (!node)
        return SL_NO_VALUE;
    sl_value v = add_value(g, dtype, shape, (uint32_t)g->node_count);
    if (v == SL_NO_VALUE)
        return v;
    node->out[0] = v;
    g->values[v].output = node->label;
    g->node_count++;
    return v;
}

sl_value sl_graph_input(sl_graph *g, const char *name, const sl_shape *shape)
{
    return sl_graph_input_typed(g, name, SL_F32, shape);
}

static sl_status check_inputs(sl_graph *g, const sl_node *node, const sl_op_info *info)
{
    for (unsigned i = 0; i < SL_MAX_INPUTS; i++) {
        if (node->in[i] >= g->value_count)
            return sl_fail(g->ctx, SL_ERR_ARGUMENT, "%s %s: input %u is no value of this graph",
                           info->name, node->label, i);
        bool present = node->in[i] != SL_NO_VALUE;
        if (i < info->inputs_min && !present)
            return sl_fail(g->ctx, SL_ERR_ARGUMENT, "%s %s: input %u is missing", info->name,
                           node->label, i);
        if (i >= info->inputs_max && present)
            return sl_fail(g->ctx, SL_ERR_ARGUMENT, "%s %s takes %u inputs", info->name,
                           node->label, info->inputs_max);
    }
    return SL_OK;
}

sl_value sl_graph_add(sl_graph *g, sl_op op, const char *label, const sl_attr *attr,
                      const sl_value inputs[SL_MAX_INPUTS], const sl_tensor *const *weights,
                      size_t weight_count)
{
    if (g->status != SL_OK)
        return SL_NO_VALUE;
    const sl_op_info *info = sl_op_get(op);
    sl_node *node = add_node(g, op, label);
    if (!node)
        return SL_NO_VALUE;
    if (attr)
        node->attr = *attr;
    memcpy(node->in, inputs, sizeof node->in);
    if (weight_count < info->weights_min || weight_count > info->weights_max) {
        g->status =
            sl_fail(g->ctx, SL_ERR_ARGUMENT, "%s %s: %zu weights given, %u to %u wanted",
                    info->name, node->label, weight_count, info->weights_min, info->weights_max);
        return SL_NO_VALUE;
    }
    for (size_t i = 0; i < weight_count; i++)
        node->weight[i] = weights[i];

    sl_shape shape[SL_MAX_OUTPUTS] = { 0 };
    sl_dtype dtype[SL_MAX_OUTPUTS] = { SL_F32, SL_F32 };
    g->status = check_inputs(g, node, info);
    if (g->status == SL_OK)
        g->status = info->shape(g, node, shape, dtype);
    if (g->status != SL_OK)
        return SL_NO_VALUE;
    for (unsigned i = 0; i < info->outputs; i++) {
        node->out[i] = add_value(g, dtype[i], &shape[i], (uint32_t)g->node_count);
        if (node->out[i] == SL_NO_VALUE)
            return SL_NO_VALUE;
    }
    sl_value first = node->out[0];
    g->node_count++;
    return first;
}

sl_value sl_graph_second_output(const sl_graph *g, sl_value first)
{
    if (first == SL_NO_VALUE || first >= g->value_count)
        return SL_NO_VALUE;
    return g->nodes[g->values[first].producer].out[1];
}

void sl_graph_output(sl_graph *g, sl_value value, const char *name)
{
    if (g->status != SL_OK || value == SL_NO_VALUE || value >= g->value_count)
        return;
    g->values[value].output = sl_arena_strdup(g->ctx, &g->arena, name);
    if (!g->values[value].output)
        g->status = SL_ERR_NOMEM;
}

sl_value sl_graph_find_output(const sl_graph *g, const char *name)
{
    for (size_t v = 1; v < g->value_count; v++)
        if (g->values[v].output && strcmp(g->values[v].output, name) == 0)
            return (sl_value)v;
    return SL_NO_VALUE;
}

static int dump_node(const sl_graph *g, size_t i, char *line, size_t size)
{
    const sl_node *node = &g->nodes[i];
    const sl_op_info *info = sl_op_get(node->op);
    char inputs[256] = "", outputs[256] = "";
    for (unsigned k = 0; k < SL_MAX_INPUTS; k++) {
        if (node->in[k] == SL_NO_VALUE)
            continue;
        size_t used = strlen(inputs);
        snprintf(inputs + used, sizeof inputs - used, "%s%%%u", used ? ", " : "", node->in[k]);
    }
    for (unsigned k = 0; k < info->outputs; k++) {
        char shape[96];
        size_t used = strlen(outputs);
        sl_shape_text(&g->values[node->out[k]].shape, shape, sizeof shape);
        snprintf(outputs + used, sizeof outputs - used, "%s%%%u %s%s", used ? ", " : "",
                 node->out[k], sl_dtype_name(g->values[node->out[k]].dtype), shape);
    }
    char gmac[32];
    snprintf(gmac, sizeof gmac, "%.3f", sl_node_macs(g, node) * 1e-9);
    sl_number_point(gmac);
    return snprintf(line, size, "%4zu  %-16s %-22s %s <- (%s)  %s GMAC\n", i, info->name,
                    node->label, outputs, inputs, gmac);
}

char *sl_graph_dump(sl_ctx *ctx, const sl_graph *g)
{
    sl_blob text = { 0 };
    size_t capacity = 0;
    char line[1024];
    for (size_t i = 0; i < g->node_count; i++) {
        int length = dump_node(g, i, line, sizeof line);
        size_t kept = (size_t)length < sizeof line ? (size_t)length : sizeof line - 1;
        if (sl_blob_append(ctx, &text, &capacity, line, kept) != SL_OK)
            goto failed;
    }
    if (sl_blob_append(ctx, &text, &capacity, "", 1) != SL_OK)
        goto failed;
    return (char *)text.data;
failed:
    sl_blob_free(&text);
    return NULL;
}
