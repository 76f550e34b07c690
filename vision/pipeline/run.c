// SPDX-License-Identifier: MIT
// pipeline/run.c: one raw tensor through a model; through an LMD-ViT the way the official
// evaluation does it.
#include "pipeline/network.h"

typedef struct run {
    sl_ctx *ctx;
    const char *output_dir;
    bool overwrite;
    sl_network network;
    sl_blob storage; // behind `input`
    sl_tensor input; // f32 [H,W,3]
    size_t height, width;
    float *canvas;  // [network.height, network.width, 3]: input, then output
    float *cropped; // [H,W,3]
    uint8_t *keep;
} run;

static sl_status read_input(run *r, const char *path)
{
    sl_status st = sl_input_read(r->ctx, path, &r->storage, &r->input);
    if (st != SL_OK)
        return st;
    r->height = (size_t)r->input.shape.dim[0];
    r->width = (size_t)r->input.shape.dim[1];
    return SL_OK;
}

// NAME of "DIR/keep/NAME.npy", for every block of every layer in turn; false behind the last.
static bool next_block(const sl_lmd_config *config, uint32_t *layer, uint32_t *block)
{
    while (*layer < config->layers && *block >= config->depths[*layer]) {
        ++*layer;
        *block = 0;
    }
    return *layer < config->layers;
}

static char *keep_path(const run *r, const sl_lmd_config *config, uint32_t layer, uint32_t block)
{
    char name[32];
    sl_lmd_layer_name(config, layer, name, sizeof(name));
    return sl_format(r->ctx, "%s/keep/%s.%u.npy", r->output_dir, name, block);
}

static sl_status check_targets(const run *r, const sl_lmd_config *config)
{
    char *last = sl_format(r->ctx, "%s/output.npy", r->output_dir);
    sl_status st = sl_target_check(r->ctx, last, r->overwrite);
    for (uint32_t layer = 0, block = 0; st == SL_OK && next_block(config, &layer, &block); block++)
        st = sl_target_check(r->ctx, keep_path(r, config, layer, block), r->overwrite);
    return st;
}

static sl_status make_network(run *r, const sl_model *model, sl_device *device,
                              const sl_run_options *options)
{
    sl_lmd_build build = { .threshold = options->keep_threshold,
                           .dense = options->dense,
                           .composed = options->composed };
    sl_status st = sl_canvas_side(r->ctx, &model->lmd, (uint32_t)r->height, &build.height);
    if (st == SL_OK)
        st = sl_canvas_side(r->ctx, &model->lmd, (uint32_t)r->width, &build.width);
    if (st == SL_OK)
        st = sl_network_new(r->ctx, model, device, &build, &r->network);
    if (st != SL_OK)
        return st;
    r->canvas = sl_alloc(r->ctx, build.height, (size_t)build.width * 3 * sizeof(float));
    r->cropped = sl_alloc(r->ctx, r->height, r->width * 3 * sizeof(float));
    r->keep = sl_alloc(r->ctx, sl_network_max_windows(&r->network), 1);
    return r->canvas && r->cropped && r->keep ? SL_OK : SL_ERR_NOMEM;
}

static void drop_network(run *r)
{
    sl_network_free(&r->network);
    free(r->canvas);
    free(r->cropped);
    free(r->keep);
    r->canvas = r->cropped = NULL;
    r->keep = NULL;
}

// The picture's row on the canvas, which centres it.
static float *canvas_row(const run *r, size_t y)
{
    size_t top = (r->network.height - r->height) / 2, left = (r->network.width - r->width) / 2;
    return r->canvas + ((top + y) * r->network.width + left) * 3;
}

static sl_status run_network(run *r)
{
    const sl_network *n = &r->network;
    size_t row_floats = r->width * 3, row_bytes = row_floats * sizeof(float);
    for (size_t y = 0; y < r->height; y++)
        memcpy(canvas_row(r, y), (const uint8_t *)r->input.data + y * row_bytes, row_bytes);
    sl_status st = sl_plan_write(n->plan, n->image, r->canvas);
    if (st == SL_OK)
        st = sl_plan_run(n->plan);
    if (st == SL_OK)
        st = sl_plan_read(n->plan, n->output, r->canvas);
    for (size_t y = 0; y < r->height && st == SL_OK; y++)
        memcpy(r->cropped + y * row_floats, canvas_row(r, y), row_bytes);
    return st;
}

// On the CPU where the device fails, or has no room: there is but one tile.
static sl_status compute(run *r, const sl_model *model, sl_device *device,
                         const sl_run_options *options)
{
    for (;;) {
        sl_status st = make_network(r, model, device, options);
        if (st == SL_OK)
            st = run_network(r);
        if (!sl_device_may_fall_back(device, st))
            return st;
        drop_network(r);
        st = sl_device_fall_back(device, st);
        if (st != SL_OK)
            return st;
    }
}

static sl_status write_map(const run *r, uint32_t layer, uint32_t block)
{
    const sl_block_map *map = &r->network.maps[layer][block % 2];
    sl_tensor t = { .name = "keep",
                    .dtype = SL_U8,
                    .shape = { 2, { map->rows, map->columns } },
                    .data = r->keep,
                    .bytes = (size_t)map->rows * map->columns };
    sl_status st = sl_network_keep(&r->network, map, r->keep);
    if (st != SL_OK)
        return st;
    char *path = keep_path(r, &r->network.config, layer, block);
    st = path ? sl_npy_write(r->ctx, path, r->overwrite, &t) : SL_ERR_NOMEM;
    free(path);
    return st;
}

static sl_status write_output(const run *r)
{
    sl_tensor t = { .name = "output",
                    .dtype = SL_F32,
                    .shape = { 3, { r->height, r->width, 3 } },
                    .data = r->cropped,
                    .bytes = r->height * r->width * 3 * sizeof(float) };
    char *path = sl_format(r->ctx, "%s/output.npy", r->output_dir);
    sl_status st = path ? sl_npy_write(r->ctx, path, r->overwrite, &t) : SL_ERR_NOMEM;
    free(path);
    return st;
}

// output.npy comes last: where it is, all is.
static sl_status write_files(const run *r)
{
    char *dir = sl_format(r->ctx, "%s/keep", r->output_dir);
    sl_status st = dir ? sl_make_dir(r->ctx, dir) : SL_ERR_NOMEM;
    free(dir);
    for (uint32_t layer = 0, block = 0;
         st == SL_OK && next_block(&r->network.config, &layer, &block); block++)
        st = write_map(r, layer, block);
    return st != SL_OK ? st : write_output(r);
}

sl_status sl_model_run(sl_ctx *ctx, const sl_model *model, const char *input,
                       const char *output_dir, const sl_run_options *options)
{
    static const sl_run_options defaults = { 0 };
    if (!options)
        options = &defaults;
    if (strcmp(model->architecture, "lmd-vit") != 0)
        return sl_maps_run(ctx, model, input, output_dir, options);
    run r = { .ctx = ctx, .output_dir = output_dir, .overwrite = options->overwrite };
    sl_device *device = NULL;
    sl_status st = sl_device_open(ctx, options->device, &device);
    if (st == SL_OK)
        st = sl_device_set_precision(device, options->precision);
    if (st == SL_OK)
        st = sl_threshold_check(ctx, options->keep_threshold);
    if (st == SL_OK)
        st = check_targets(&r, &model->lmd);
    double decoding = sl_trace_start(ctx);
    if (st == SL_OK)
        st = read_input(&r, input);
    sl_trace_end(ctx, "decode", decoding);
    if (st == SL_OK)
        st = compute(&r, model, device, options);
    double start = sl_trace_start(ctx);
    if (st == SL_OK)
        st = write_files(&r);
    sl_trace_end(ctx, "encode", start);
    drop_network(&r);
    sl_device_close(device);
    sl_blob_free(&r.storage);
    return st;
}
