// SPDX-License-Identifier: MIT
// net/model.c: a model file as the program knows it: opened and checked, described, converted.
#include "net/net.h"

#include <jansson.h>

#define ARCHITECTURE "lmd-vit"
#define SMALLEST_HALF 1024 // elements: smaller tensors stay as they are, they weigh nothing

sl_status sl_model_open(sl_ctx *ctx, const char *path, sl_model **out)
{
    *out = NULL;
    sl_model *model = sl_alloc(ctx, 1, sizeof *model);
    if (!model)
        return SL_ERR_NOMEM;
    sl_status st = sl_tensor_set_open(ctx, path, &model->set);
    if (st != SL_OK)
        goto done;
    const char *stated = sl_tensor_set_meta(model->set, "architecture");
    if (stated && strcmp(stated, ARCHITECTURE) != 0) {
        st = sl_fail(ctx, SL_ERR_UNSUPPORTED,
                     "%s: a model of architecture \"%.64s\"; this version runs \"%s\"", path,
                     stated, ARCHITECTURE);
        goto done;
    }
    model->architecture = ARCHITECTURE;
    st = sl_lmd_config_read(ctx, model->set, &model->lmd);
    if (st == SL_OK)
        st = sl_lmd_check(ctx, model->set, &model->lmd);
    if (st != SL_OK)
        goto done;
    *out = model;
    model = NULL;
done:
    sl_model_free(model);
    return st;
}

void sl_model_free(sl_model *model)
{
    if (!model)
        return;
    sl_tensor_set_free(model->set);
    free(model);
}

// ---- description

static json_t *config_json(sl_ctx *ctx, const sl_model *model)
{
    char *text = sl_lmd_config_json(ctx, &model->lmd);
    json_t *config = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return config ? config : json_null();
}

static json_t *metadata_json(const sl_tensor_set *set)
{
    json_t *metadata = json_object();
    for (size_t i = 0; i < sl_tensor_set_meta_count(set); i++) {
        const char *key, *value;
        sl_tensor_set_meta_at(set, i, &key, &value);
        json_object_set_new(metadata, key, json_string(value));
    }
    return metadata;
}

static json_t *lines_json(char *text) // takes the text
{
    json_t *lines = json_array();
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
        if (*line)
            json_array_append_new(lines, json_string(line));
    free(text);
    return lines;
}

static uint32_t round_up(uint32_t side, uint32_t multiple)
{
    return (uint32_t)(((uint64_t)side + multiple - 1) / multiple * multiple);
}

// Multiply-accumulates by family of ops, and the ops themselves when asked for.
static sl_status describe_graph(sl_ctx *ctx, const sl_model *model, uint32_t width, uint32_t height,
                                bool graph, json_t *root)
{
    const uint32_t multiple = sl_lmd_multiple(&model->lmd);
    sl_lmd_build build = { .height = round_up(height, multiple),
                           .width = round_up(width, multiple) };
    sl_graph *g = NULL;
    sl_status st = sl_graph_new(ctx, &g);
    if (st == SL_OK)
        st = sl_lmd_vit_build(g, model->set, &model->lmd, &build);
    if (st != SL_OK)
        goto done;
    json_t *gmac = json_object();
    double total = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        double macs = sl_node_macs(g, &g->nodes[i]) * 1e-9;
        const char *family = sl_op_get(g->nodes[i].op)->family;
        if (macs > 0) {
            double before = json_real_value(json_object_get(gmac, family));
            json_object_set_new(gmac, family, json_real(before + macs));
            total += macs;
        }
    }
    json_object_set_new(gmac, "total", json_real(total));
    json_object_set_new(root, "gmac", gmac);
    json_object_set_new(root, "width", json_integer(width));
    json_object_set_new(root, "height", json_integer(height));
    json_object_set_new(root, "padded_width", json_integer(build.width));
    json_object_set_new(root, "padded_height", json_integer(build.height));
    if (graph) {
        char *dump = sl_graph_dump(ctx, g);
        st = dump ? SL_OK : SL_ERR_NOMEM;
        if (dump)
            json_object_set_new(root, "graph", lines_json(dump));
    }
done:
    sl_graph_free(g);
    return st;
}

sl_status sl_model_describe(sl_ctx *ctx, const sl_model *model, uint32_t width, uint32_t height,
                            bool graph, char **out)
{
    *out = NULL;
    if (width < 1 || height < 1 || width > 1u << 20 || height > 1u << 20)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "a size of %u x %u: sides of 1 to 1048576 pixels",
                       width, height);
    const sl_tensor_set *set = model->set;
    uint64_t parameters = 0, bytes = 0;
    json_t *types = json_object();
    for (size_t i = 0; i < sl_tensor_set_count(set); i++) {
        const sl_tensor *t = sl_tensor_set_at(set, i);
        size_t count = 0;
        if (t->dtype == SL_I64) // index buffers of official files are no parameters
            continue;
        if (sl_shape_elements(&t->shape, &count))
            parameters += count;
        bytes += t->bytes;
        const char *type = sl_dtype_name(t->dtype);
        json_object_set_new(types, type,
                            json_integer(json_integer_value(json_object_get(types, type)) + 1));
    }
    json_t *root = json_object();
    json_object_set_new(root, "file", json_string(sl_tensor_set_path(set)));
    json_object_set_new(root, "format",
                        json_string(sl_tensor_set_is_pth(set) ? "pytorch" : "safetensors"));
    json_object_set_new(root, "architecture", json_string(model->architecture));
    json_object_set_new(root, "config", config_json(ctx, model));
    json_object_set_new(root, "parameters", json_integer((json_int_t)parameters));
    json_object_set_new(root, "bytes", json_integer((json_int_t)bytes));
    json_object_set_new(root, "tensors", types);
    json_object_set_new(root, "multiple", json_integer(sl_lmd_multiple(&model->lmd)));
    json_object_set_new(root, "metadata", metadata_json(set));
    sl_status st = describe_graph(ctx, model, width, height, graph, root);
    if (st == SL_OK) {
        *out = json_dumps(root, JSON_INDENT(2));
        if (!*out)
            st = sl_fail(ctx, SL_ERR_FORMAT, "%s: its metadata is no valid UTF-8",
                         sl_tensor_set_path(set));
    }
    json_decref(root);
    return st;
}

// ---- conversion

typedef struct conversion {
    sl_tensor *tensors;
    size_t count;
    void **owned; // data that was converted
    sl_meta *meta;
    size_t meta_count;
} conversion;

static bool is_kept(const sl_tensor *t) // index buffers are derived, never stored
{
    return t->dtype != SL_I64;
}

static sl_status to_half(sl_ctx *ctx, sl_tensor *t, void **owned)
{
    size_t count;
    if (!sl_shape_elements(&t->shape, &count))
        return sl_fail(ctx, SL_ERR_LIMIT, "tensor %s is too large", t->name);
    float *values = sl_alloc(ctx, count, sizeof *values);
    uint16_t *half = sl_alloc(ctx, count, sizeof *half);
    sl_status st = values && half ? SL_OK : SL_ERR_NOMEM;
    if (st != SL_OK)
        goto done;
    sl_tensor_to_f32(t, values);
    for (size_t i = 0; i < count; i++) {
        half[i] = sl_f32_to_f16(values[i]);
        if ((half[i] & 0x7c00) == 0x7c00) {
            st = sl_fail(ctx, SL_ERR_FORMAT,
                         "tensor %s holds %g, which f16 cannot; convert without --half", t->name,
                         (double)values[i]);
            goto done;
        }
    }
    t->dtype = SL_F16;
    t->data = *owned = half;
    t->bytes = count * sizeof *half;
    half = NULL;
done:
    free(values);
    free(half);
    return st;
}

static sl_status collect_tensors(sl_ctx *ctx, const sl_model *model, bool half, conversion *c)
{
    size_t total = sl_tensor_set_count(model->set);
    c->tensors = sl_alloc(ctx, total, sizeof *c->tensors);
    c->owned = sl_alloc(ctx, total, sizeof *c->owned);
    if (!c->tensors || !c->owned)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < total; i++) {
        const sl_tensor *t = sl_tensor_set_at(model->set, i);
        size_t count;
        if (!is_kept(t))
            continue;
        c->tensors[c->count] = *t;
        bool shrink = half && t->shape.rank >= 2 && sl_shape_elements(&t->shape, &count) &&
                      count >= SMALLEST_HALF && sl_dtype_size(t->dtype) > 2;
        if (shrink) {
            sl_status st = to_half(ctx, &c->tensors[c->count], &c->owned[c->count]);
            if (st != SL_OK)
                return st;
        }
        c->count++;
    }
    return SL_OK;
}

// Metadata of the source goes along; architecture and config are always stated.
static sl_status collect_meta(sl_ctx *ctx, const sl_model *model, const char *config, conversion *c)
{
    size_t total = sl_tensor_set_meta_count(model->set);
    const char *path = sl_tensor_set_path(model->set), *slash = strrchr(path, '/');
    c->meta = sl_alloc(ctx, total + 3, sizeof *c->meta);
    if (!c->meta)
        return SL_ERR_NOMEM;
    c->meta[c->meta_count++] = (sl_meta) { "architecture", model->architecture };
    c->meta[c->meta_count++] = (sl_meta) { "config", config };
    for (size_t i = 0; i < total; i++) {
        sl_meta m;
        sl_tensor_set_meta_at(model->set, i, &m.key, &m.value);
        if (strcmp(m.key, "architecture") != 0 && strcmp(m.key, "config") != 0)
            c->meta[c->meta_count++] = m;
    }
    if (!sl_tensor_set_meta(model->set, "converted_from"))
        c->meta[c->meta_count++] = (sl_meta) { "converted_from", slash ? slash + 1 : path };
    return SL_OK;
}

sl_status sl_model_convert(sl_ctx *ctx, const sl_model *model, const char *path,
                           const sl_convert_options *options)
{
    const sl_convert_options none = { 0 };
    if (!options)
        options = &none;
    conversion c = { 0 };
    char *config = sl_lmd_config_json(ctx, &model->lmd);
    sl_status st = config ? SL_OK : SL_ERR_NOMEM;
    if (st == SL_OK)
        st = collect_tensors(ctx, model, options->half, &c);
    if (st == SL_OK)
        st = collect_meta(ctx, model, config, &c);
    if (st == SL_OK)
        st = sl_safetensors_write(ctx, path, options->overwrite, c.tensors, c.count, c.meta,
                                  c.meta_count);
    for (size_t i = 0; i < c.count; i++)
        free(c.owned[i]);
    free(c.owned);
    free(c.tensors);
    free(c.meta);
    free(config);
    return st;
}
