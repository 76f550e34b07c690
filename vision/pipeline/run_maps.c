// SPDX-License-Identifier: MIT
// pipeline/run_maps.c: one raw tensor through a SOFT or a detector: all that its graph gives, each
// in a file.
#include "pipeline/network.h"

typedef struct run {
    sl_ctx *ctx;
    const sl_model *model;
    const char *output_dir;
    bool overwrite;
    sl_blob storage; // behind `input`
    sl_tensor input; // f32 [H,W,3]
    sl_network network;
    const char *const *names; // the last one is written last: where it is, all is
    size_t name_count;
} run;

static const char *const soft_names[] = { "stage1", "stage2", "stage3",    "stage4",
                                          "pool3",  "pool4",  "embedding", "logits" };
static const char *const retina_names[] = { "cls_P3", "cls_P4", "cls_P5", "cls_P6", "cls_P7",
                                            "reg_P3", "reg_P4", "reg_P5", "reg_P6", "reg_P7" };

static bool is_soft(const run *r)
{
    return strcmp(r->model->architecture, "soft") == 0;
}

static char *path_of(const run *r, const char *name)
{
    return sl_format(r->ctx, "%s/%s.npy", r->output_dir, name);
}

static sl_status check_arguments(const run *r, const sl_run_options *options)
{
    if (options->composed || options->dense || options->keep_threshold != 0)
        return sl_fail(r->ctx, SL_ERR_ARGUMENT,
                       "%s: this model has no windows; leave out what is said of them",
                       sl_tensor_set_path(r->model->set));
    sl_status st = SL_OK;
    for (size_t i = 0; i < r->name_count && st == SL_OK; i++)
        st = sl_target_check(r->ctx, path_of(r, r->names[i]), r->overwrite);
    return st;
}

static sl_status make_soft(run *r, sl_device *device)
{
    const sl_soft_options options = { .height = (uint32_t)r->input.shape.dim[0],
                                      .width = (uint32_t)r->input.shape.dim[1],
                                      .outputs = SL_SOFT_ALL };
    if (r->input.shape.dim[0] > UINT32_MAX || r->input.shape.dim[1] > UINT32_MAX)
        return sl_fail(r->ctx, SL_ERR_LIMIT, "a picture of more than %u pixels along a side",
                       UINT32_MAX);
    return sl_network_new_soft(r->ctx, r->model, device, &options, &r->network);
}

static sl_status make_retina(run *r, sl_device *device)
{
    sl_retina_options options = { .raw = true };
    sl_status st = sl_retina_side(r->ctx, r->input.shape.dim[0], &options.height);
    if (st == SL_OK)
        st = sl_retina_side(r->ctx, r->input.shape.dim[1], &options.width);
    return st == SL_OK ? sl_network_new_retina(r->ctx, r->model, device, &options, &r->network)
                       : st;
}

// The picture on the canvas, which it fills or has zeros to the right and below.
static sl_status write_picture(const run *r)
{
    const sl_network *n = &r->network;
    size_t row = (size_t)r->input.shape.dim[1] * 3 * sizeof(float);
    size_t canvas_row = (size_t)n->width * 3;
    float *pixels = sl_alloc(r->ctx, n->height, canvas_row * sizeof(float));
    if (!pixels)
        return SL_ERR_NOMEM;
    for (size_t y = 0; y < r->input.shape.dim[0]; y++)
        memcpy(pixels + y * canvas_row, (const uint8_t *)r->input.data + y * row, row);
    sl_status st = sl_plan_write(n->plan, n->image, pixels);
    free(pixels);
    return st;
}

static sl_status run_network(run *r, sl_device *device)
{
    sl_status st = is_soft(r) ? make_soft(r, device) : make_retina(r, device);
    if (st == SL_OK)
        st = write_picture(r);
    return st == SL_OK ? sl_plan_run(r->network.plan) : st;
}

// On the CPU where the device fails, or has no room.
static sl_status compute(run *r, sl_device *device)
{
    for (;;) {
        sl_status st = run_network(r, device);
        if (!sl_device_may_fall_back(device, st))
            return st;
        sl_network_free(&r->network);
        st = sl_device_fall_back(device, st);
        if (st != SL_OK)
            return st;
    }
}

static sl_status write_output(const run *r, const char *name)
{
    sl_value value = sl_graph_find_output(r->network.graph, name);
    if (value == SL_NO_VALUE) // a backbone has no logits
        return SL_OK;
    const sl_value_info *info = &r->network.graph->values[value];
    void *data = sl_alloc(r->ctx, info->bytes, 1);
    char *path = path_of(r, name);
    sl_tensor t = { name, info->dtype, info->shape, data, info->bytes };
    sl_status st = data && path ? sl_plan_read(r->network.plan, value, data) : SL_ERR_NOMEM;
    if (st == SL_OK)
        st = sl_npy_write(r->ctx, path, r->overwrite, &t);
    free(path);
    free(data);
    return st;
}

static sl_status write_files(const run *r)
{
    double start = sl_trace_start(r->ctx);
    sl_status st = sl_make_dir(r->ctx, r->output_dir);
    for (size_t i = 0; i < r->name_count && st == SL_OK; i++)
        st = write_output(r, r->names[i]);
    sl_trace_end(r->ctx, "encode", start);
    return st;
}

sl_status sl_maps_run(sl_ctx *ctx, const sl_model *model, const char *input, const char *output_dir,
                      const sl_run_options *options)
{
    run r = {
        .ctx = ctx, .model = model, .output_dir = output_dir, .overwrite = options->overwrite
    };
    r.names = is_soft(&r) ? soft_names : retina_names;
    r.name_count = is_soft(&r) ? SL_ARRAY_LEN(soft_names) : SL_ARRAY_LEN(retina_names);
    sl_device *device = NULL;
    sl_status st = sl_device_open(ctx, options->device, &device);
    if (st == SL_OK)
        st = sl_device_set_precision(device, options->precision);
    if (st == SL_OK)
        st = check_arguments(&r, options);
    double decoding = sl_trace_start(ctx);
    if (st == SL_OK)
        st = sl_input_read(ctx, input, &r.storage, &r.input);
    sl_trace_end(ctx, "decode", decoding);
    if (st == SL_OK)
        st = compute(&r, device);
    if (st == SL_OK)
        st = write_files(&r);
    sl_network_free(&r.network);
    sl_device_close(device);
    sl_blob_free(&r.storage);
    return st;
}
