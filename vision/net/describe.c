// SPDX-License-Identifier: MIT
// net/describe.c: what a model is and what a picture costs, as JSON.
#include "net/parts.h"
#include "tensor/json.h"

#define MAX_SIDE (1u << 20)

static json_t *metadata_json(const sl_tensor_set *set)
{
    json_t *metadata = json_object();
    for (size_t i = 0; i < sl_tensor_set_meta_count(set); i++) {
        const char *key, *value;
        sl_tensor_set_meta_at(set, i, &key, &value);
        sl_json_set(&metadata, key, json_string(value));
    }
    return metadata;
}

static json_t *lines_json(char *text) // takes the text
{
    json_t *lines = json_array();
    char *rest = text;
    bool complete = lines != NULL;
    for (char *line = strsep(&rest, "\n"); line && complete; line = strsep(&rest, "\n"))
        complete = !*line || json_array_append_new(lines, json_string(line)) == 0;
    free(text);
    if (complete)
        return lines;
    json_decref(lines);
    return NULL;
}

// What was measured, of activations or of features, was not learnt.
static bool is_parameter(const sl_tensor *t)
{
    return !strstr(t->name, ".running_") && strncmp(t->name, "reject.", strlen("reject.")) != 0;
}

static uint32_t round_up(uint32_t side, uint32_t multiple)
{
    return (uint32_t)(((uint64_t)side + multiple - 1) / multiple * multiple);
}

static void add_number(json_t **object, const char *key, double more)
{
    double before = json_real_value(json_object_get(*object, key));
    sl_json_set(object, key, json_real(before + more));
}

// Multiply-accumulates by family of ops. Newton's iterations stand apart, as in what is published.
static json_t *cost_json(const sl_graph *g)
{
    json_t *gmac = json_object();
    double total = 0, inverses = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        double inverse = sl_node_inverse_macs(g, &g->nodes[i]) * 1e-9;
        double macs = sl_node_macs(g, &g->nodes[i]) * 1e-9 - inverse;
        if (macs > 0)
            add_number(&gmac, sl_op_get(g->nodes[i].op)->family, macs);
        total += macs;
        inverses += inverse;
    }
    sl_json_set(&gmac, "total", json_real(total));
    if (inverses > 0)
        sl_json_set(&gmac, "inverses_apart", json_real(inverses));
    return gmac;
}

// The costs, and the ops themselves when asked for.
static sl_status describe_graph(sl_ctx *ctx, const sl_model *model, uint32_t width, uint32_t height,
                                uint32_t multiple, bool graph, json_t **root)
{
    uint32_t padded_width = round_up(width, multiple), padded_height = round_up(height, multiple);
    sl_graph *g = NULL;
    sl_status st = sl_graph_new(ctx, &g);
    if (st == SL_OK)
        st = sl_model_kind(model)->build(g, model, padded_height, padded_width);
    if (st != SL_OK)
        goto done;
    sl_json_set(root, "gmac", cost_json(g));
    sl_json_set(root, "width", json_integer(width));
    sl_json_set(root, "height", json_integer(height));
    if (multiple > 1) {
        sl_json_set(root, "padded_width", json_integer(padded_width));
        sl_json_set(root, "padded_height", json_integer(padded_height));
    }
    if (graph) {
        char *dump = sl_graph_dump(ctx, g);
        st = dump ? SL_OK : SL_ERR_NOMEM;
        if (dump)
            sl_json_set(root, "graph", lines_json(dump));
    }
done:
    sl_graph_free(g);
    return st;
}

sl_status sl_model_describe(sl_ctx *ctx, const sl_model *model, uint32_t width, uint32_t height,
                            bool graph, char **out)
{
    *out = NULL;
    uint32_t usual_width, usual_height, multiple;
    sl_model_kind(model)->sides(model, &usual_width, &usual_height, &multiple);
    width = width ? width : usual_width;
    height = height ? height : usual_height;
    if (width > MAX_SIDE || height > MAX_SIDE)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "a size of %u x %u: sides of 1 to %u pixels", width,
                       height, MAX_SIDE);
    const sl_tensor_set *set = model->set;
    char *config = NULL;
    sl_status st = sl_model_kind(model)->config_json(ctx, model, NULL, false, &config);
    if (st != SL_OK)
        return st;
    uint64_t parameters = 0, bytes = 0;
    json_t *types = json_object();
    for (size_t i = 0; i < sl_tensor_set_count(set); i++) {
        const sl_tensor *t = sl_tensor_set_at(set, i);
        size_t count = 0;
        if (t->dtype == SL_I64) // index buffers and counters of official files
            continue;
        if (is_parameter(t) && sl_shape_elements(&t->shape, &count))
            parameters += count;
        bytes += t->bytes;
        const char *type = sl_dtype_name(t->dtype);
        sl_json_set(&types, type,
                    json_integer(json_integer_value(json_object_get(types, type)) + 1));
    }
    json_t *root = json_object();
    sl_json_set(&root, "file", sl_json_path(ctx, sl_tensor_set_path(set)));
    sl_json_set(&root, "format",
                json_string(sl_tensor_set_is_pth(set) ? "pytorch" : "safetensors"));
    sl_json_set(&root, "architecture", json_string(model->architecture));
    sl_json_set(&root, "config", json_loads(config, 0, NULL));
    sl_json_set(&root, "parameters", json_integer((json_int_t)parameters));
    sl_json_set(&root, "bytes", json_integer((json_int_t)bytes));
    sl_json_set(&root, "tensors", types);
    if (multiple > 1)
        sl_json_set(&root, "multiple", json_integer(multiple));
    sl_json_set(&root, "metadata", metadata_json(set));
    st = describe_graph(ctx, model, width, height, multiple, graph, &root);
    if (st == SL_OK)
        st = sl_json_text(ctx, root, JSON_INDENT(2), out);
    else
        json_decref(root);
    free(config);
    return st;
}
