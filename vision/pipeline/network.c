// SPDX-License-Identifier: MIT
// pipeline/network.c: a model compiled for one size of canvas, with its window maps at hand.
#include "pipeline/network.h"

#define MAX_CANVAS_SIDE (1u << 20)

sl_status sl_threshold_check(sl_ctx *ctx, float threshold)
{
    if (threshold == 0.0f || (threshold > 0.0f && threshold < 1.0f)) // false for a NaN
        return SL_OK;
    return sl_fail(ctx, SL_ERR_ARGUMENT,
                   "a keep threshold of %g; give a number between 0 and 1, or 0 for the model's",
                   (double)threshold);
}

sl_status sl_canvas_side(sl_ctx *ctx, const sl_lmd_config *config, uint32_t length, uint32_t *out)
{
    uint64_t multiple = sl_lmd_multiple(config);
    uint64_t side = (length + multiple - 1) / multiple * multiple;
    if (length == 0 || side > MAX_CANVAS_SIDE)
        return sl_fail(ctx, SL_ERR_LIMIT, "a picture side of %u pixels; keep it from 1 to %u",
                       length, MAX_CANVAS_SIDE);
    *out = (uint32_t)side;
    return SL_OK;
}

static sl_value find_map(const sl_network *n, const char *kind, uint32_t layer, uint32_t parity)
{
    char layer_name[32], name[64];
    sl_lmd_layer_name(&n->config, layer, layer_name, sizeof(layer_name));
    snprintf(name, sizeof(name), "%s/%s.%u", kind, layer_name, parity);
    return sl_graph_find_output(n->graph, name);
}

static void fill_map(sl_network *n, uint32_t layer, uint32_t parity)
{
    const sl_lmd_config *c = &n->config;
    sl_block_map *map = &n->maps[layer][parity];
    uint32_t scale = c->unshuffle << sl_lmd_layer_level(c, layer);
    map->blocks = (c->depths[layer] + 1 - parity) / 2;
    if (map->blocks == 0)
        return;
    map->side = c->window * scale;
    map->shift = sl_lmd_shift(c, layer, parity) * scale;
    map->rows = n->height / map->side;
    map->columns = n->width / map->side;
    map->keep = find_map(n, "keep", layer, parity);
    map->scores = find_map(n, "scores", layer, parity);
    map->list = find_map(n, "list", layer, parity);
}

static sl_status build(sl_ctx *ctx, const sl_model *model, const sl_lmd_build *options,
                       sl_graph **out)
{
    sl_status st = sl_graph_new(ctx, out);
    if (st == SL_OK)
        st = sl_lmd_vit_build(*out, model->set, &model->lmd, options);
    if (st == SL_OK)
        st = (*out)->status;
    if (st != SL_OK) {
        sl_graph_free(*out);
        *out = NULL;
    }
    return st;
}

sl_status sl_network_new(sl_ctx *ctx, const sl_model *model, sl_device *device,
                         const sl_lmd_build *options, sl_network *out)
{
    double start = sl_trace_start(ctx);
    *out =
        (sl_network) { .config = model->lmd, .height = options->height, .width = options->width };
    sl_status st = build(ctx, model, options, &out->graph);
    if (st != SL_OK)
        goto done;
    st = sl_device_compile(device, out->graph, &out->plan);
    if (st != SL_OK)
        goto done;
    out->image = sl_graph_find_output(out->graph, "image");
    out->output = sl_graph_find_output(out->graph, "output");
    for (uint32_t layer = 0; layer < out->config.layers; layer++)
        for (uint32_t parity = 0; parity < 2; parity++)
            fill_map(out, layer, parity);
done:
    if (st != SL_OK)
        sl_network_free(out);
    sl_trace_end(ctx, "compile", start);
    return st;
}

// Takes what building the graph came to.
static sl_status compile(sl_network *n, sl_device *device, sl_status built)
{
    sl_status st = built == SL_OK ? sl_device_compile(device, n->graph, &n->plan) : built;
    if (st == SL_OK)
        n->image = sl_graph_find_output(n->graph, "image");
    else
        sl_network_free(n);
    return st;
}

sl_status sl_network_new_soft(sl_ctx *ctx, const sl_model *model, sl_device *device,
                              const sl_soft_options *options, sl_network *out)
{
    double start = sl_trace_start(ctx);
    *out = (sl_network) { .height = options->height, .width = options->width };
    sl_status st = sl_graph_new(ctx, &out->graph);
    st = compile(out, device, st == SL_OK ? sl_soft_build(out->graph, model, options) : st);
    sl_trace_end(ctx, "compile", start);
    return st;
}

sl_status sl_network_new_retina(sl_ctx *ctx, const sl_model *model, sl_device *device,
                                const sl_retina_options *options, sl_network *out)
{
    double start = sl_trace_start(ctx);
    *out = (sl_network) { .height = options->height, .width = options->width };
    sl_status st = sl_graph_new(ctx, &out->graph);
    st = compile(out, device, st == SL_OK ? sl_retina_build(out->graph, model, options) : st);
    sl_trace_end(ctx, "compile", start);
    return st;
}

sl_status sl_retina_side(sl_ctx *ctx, uint64_t length, uint32_t *out)
{
    if (length < 1 || length > MAX_CANVAS_SIDE)
        return sl_fail(ctx, SL_ERR_LIMIT, "a picture side of %llu pixels; keep it from 1 to %u",
                       (unsigned long long)length, MAX_CANVAS_SIDE);
    *out = (uint32_t)((length + SL_RETINA_MULTIPLE - 1) / SL_RETINA_MULTIPLE * SL_RETINA_MULTIPLE);
    return SL_OK;
}

void sl_network_free(sl_network *network)
{
    sl_plan_free(network->plan);
    sl_graph_free(network->graph);
    *network = (sl_network) { 0 };
}

sl_status sl_network_memory(sl_ctx *ctx, const sl_model *model, const sl_device *device,
                            const sl_lmd_build *options, size_t *out)
{
    sl_graph *graph = NULL;
    sl_status st = build(ctx, model, options, &graph);
    if (st == SL_OK)
        st = sl_device_memory(device, graph, out);
    sl_graph_free(graph);
    return st;
}

// Window i of `windows` is in when the line of slope kept / windows takes a step at i.
static bool is_spread(size_t i, size_t kept, size_t windows)
{
    return (i + 1) * kept / windows > i * kept / windows;
}

static void spread(int32_t *list, size_t kept, size_t windows)
{
    size_t count = 0;
    for (size_t i = 0; i < windows; i++)
        if (is_spread(i, kept, windows))
            list[4 + count++] = (int32_t)i;
    list[0] = (int32_t)count;
}

sl_status sl_network_give_lists(sl_network *n, double share)
{
    sl_ctx *ctx = n->graph->ctx;
    sl_status st = SL_OK;
    int32_t *list = sl_alloc(ctx, sl_network_max_windows(n) + 4, sizeof(*list));
    if (!list)
        return SL_ERR_NOMEM;
    for (uint32_t layer = 0; layer < n->config.layers; layer++)
        for (uint32_t parity = 0; parity < 2 && st == SL_OK; parity++) {
            sl_block_map *map = &n->maps[layer][parity];
            if (map->list == SL_NO_VALUE)
                continue;
            size_t windows = (size_t)map->rows * map->columns;
            size_t kept = (size_t)(share * (double)windows + 0.5);
            map->given = kept < 1 ? 1 : kept > windows ? windows : kept;
            memset(list, 0, (windows + 4) * sizeof(*list));
            spread(list, map->given, windows);
            st = sl_plan_write(n->plan, map->list, list);
        }
    free(list);
    return st;
}

size_t sl_network_max_windows(const sl_network *n)
{
    size_t most = 1;
    for (uint32_t layer = 0; layer < n->config.layers; layer++)
        for (uint32_t parity = 0; parity < 2; parity++) {
            size_t windows = (size_t)n->maps[layer][parity].rows * n->maps[layer][parity].columns;
            most = windows > most ? windows : most;
        }
    return most;
}

sl_status sl_network_keep(const sl_network *n, const sl_block_map *map, uint8_t *keep)
{
    size_t windows = (size_t)map->rows * map->columns;
    if (map->list == SL_NO_VALUE && map->keep != SL_NO_VALUE)
        return sl_plan_read(n->plan, map->keep, keep);
    for (size_t i = 0; i < windows; i++)
        keep[i] = map->list == SL_NO_VALUE || is_spread(i, map->given, windows);
    return SL_OK;
}

sl_status sl_network_count(const sl_network *n, uint8_t *keep, sl_window_count *count)
{
    for (uint32_t layer = 0; layer < n->config.layers; layer++)
        for (uint32_t parity = 0; parity < 2; parity++) {
            const sl_block_map *map = &n->maps[layer][parity];
            if (map->blocks == 0)
                continue;
            sl_status st = sl_network_keep(n, map, keep);
            if (st != SL_OK)
                return st;
            size_t windows = (size_t)map->rows * map->columns, kept = 0;
            for (size_t i = 0; i < windows; i++)
                kept += keep[i] != 0;
            count->computed += (double)kept * map->blocks;
            count->all += (double)windows * map->blocks;
        }
    return SL_OK;
}
