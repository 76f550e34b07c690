// SPDX-License-Identifier: MIT
// pipeline/bench.c: how fast a model runs on this machine, and where the time goes.
#include "pipeline/network.h"
#include "tensor/json.h"

#define DEFAULT_SIDE 512
#define DEFAULT_REPEATS 5
#define MAX_REPEATS 10000

typedef struct family {
    const char *name;
    sl_profile_entry sum; // over all timed runs
} family;

typedef struct bench {
    sl_ctx *ctx;
    const sl_model *model;
    const sl_bench_options *options;
    uint32_t width, height;
    unsigned repeats;
    sl_device *device;
    sl_network network;
    double *seconds; // [repeats], sorted after the runs
    double compile_seconds, first_seconds, total_seconds;
    sl_window_count windows;
    double gflops, gbytes;        // measured peak of the device
    family families[SL_OP_COUNT]; // no op has more than one
    size_t family_count;
} bench;

#define BOX_THRESHOLD 0.05f // of a detector's boxes, as detection takes them

static bool is_soft(const sl_model *model)
{
    return strcmp(model->architecture, "soft") == 0;
}

static bool is_retina(const sl_model *model)
{
    return strcmp(model->architecture, "soft-retinanet") == 0;
}

// Edges, gradients and fine texture: something for every predictor to look at, on every machine
// the same.
static void draw_scene(float *image, size_t height, size_t width)
{
    uint32_t state = 1;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            for (size_t k = 0; k < 3; k++) {
                state = state * 1664525u + 1013904223u;
                float noise = (float)(state >> 8) / 16777216.0f;
                float shade = (float)((x * (k + 1) + y) % 512) / 512.0f;
                float check = (x / 48 + y / 32) % 2 ? 0.3f : 0.0f;
                *image++ = 0.6f * shade + check + 0.1f * noise;
            }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static sl_status make_soft(bench *b)
{
    const sl_soft_options build = { .height = b->height, .width = b->width };
    double start = sl_seconds();
    sl_status st = sl_network_new_soft(b->ctx, b->model, b->device, &build, &b->network);
    b->compile_seconds = sl_seconds() - start;
    return st;
}

static sl_status make_retina(bench *b)
{
    sl_retina_options build = { .threshold = BOX_THRESHOLD };
    sl_status st = sl_retina_side(b->ctx, b->height, &build.height);
    if (st == SL_OK)
        st = sl_retina_side(b->ctx, b->width, &build.width);
    double start = sl_seconds();
    if (st == SL_OK)
        st = sl_network_new_retina(b->ctx, b->model, b->device, &build, &b->network);
    b->compile_seconds = sl_seconds() - start;
    return st;
}

static sl_status make_network(bench *b)
{
    const sl_bench_options *o = b->options;
    if (is_soft(b->model))
        return make_soft(b);
    if (is_retina(b->model))
        return make_retina(b);
    sl_lmd_build build = { .dense = o->dense, .given_lists = o->keep_share > 0 && !o->dense };
    sl_status st = sl_canvas_side(b->ctx, &b->model->lmd, b->height, &build.height);
    if (st == SL_OK)
        st = sl_canvas_side(b->ctx, &b->model->lmd, b->width, &build.width);
    double start = sl_seconds();
    if (st == SL_OK)
        st = sl_network_new(b->ctx, b->model, b->device, &build, &b->network);
    b->compile_seconds = sl_seconds() - start;
    if (st == SL_OK && build.given_lists)
        st = sl_network_give_lists(&b->network, (double)o->keep_share);
    return st;
}

static sl_status write_scene(bench *b)
{
    const sl_network *n = &b->network;
    float *image = sl_alloc(b->ctx, n->height, (size_t)n->width * 3 * sizeof(float));
    if (!image)
        return SL_ERR_NOMEM;
    draw_scene(image, n->height, n->width);
    sl_status st = sl_plan_write(n->plan, n->image, image);
    free(image);
    const float extent[] = { (float)b->width, (float)b->height };
    sl_value value = sl_graph_find_output(n->graph, "extent");
    if (st == SL_OK && value != SL_NO_VALUE)
        st = sl_plan_write(n->plan, value, extent);
    return st;
}

static sl_status time_run(bench *b, double *seconds)
{
    double start = sl_seconds();
    sl_status st = sl_plan_run(b->network.plan);
    *seconds = sl_seconds() - start;
    return st;
}

static sl_status run_all(bench *b)
{
    size_t total = (size_t)b->repeats + 1;
    sl_status st = sl_progress(b->ctx, 0, total);
    if (st == SL_OK)
        st = time_run(b, &b->first_seconds);
    if (st == SL_OK)
        st = sl_progress(b->ctx, 1, total);
    sl_plan_profile(b->network.plan, true);
    for (unsigned i = 0; i < b->repeats && st == SL_OK; i++) {
        st = time_run(b, &b->seconds[i]);
        b->total_seconds += b->seconds[i];
        if (st == SL_OK)
            st = sl_progress(b->ctx, i + 2, total);
    }
    if (st != SL_OK)
        return st;
    qsort(b->seconds, b->repeats, sizeof(*b->seconds), by_value);
    uint8_t *keep = sl_alloc(b->ctx, sl_network_max_windows(&b->network), 1);
    st = keep ? sl_network_count(&b->network, keep, &b->windows) : SL_ERR_NOMEM;
    free(keep);
    if (st == SL_OK)
        st = sl_device_peak(b->device, &b->gflops, &b->gbytes);
    return st;
}

static family *family_of(bench *b, const char *name)
{
    for (size_t i = 0; i < b->family_count; i++)
        if (strcmp(b->families[i].name, name) == 0)
            return &b->families[i];
    b->families[b->family_count].name = name;
    return &b->families[b->family_count++];
}

static sl_profile_entry sum_families(bench *b)
{
    const sl_graph *g = b->network.graph;
    sl_profile_entry all = { 0 };
    // A device that keeps no time of single operations leaves none to sum up.
    for (size_t i = 0; b->network.plan->profile && i < g->node_count; i++) {
        const sl_profile_entry *entry = &b->network.plan->profile[i];
        if (g->nodes[i].op == SL_OP_INPUT)
            continue;
        sl_profile_entry *sum = &family_of(b, sl_op_get(g->nodes[i].op)->family)->sum;
        sum->seconds += entry->seconds;
        sum->macs += entry->macs;
        sum->bytes += entry->bytes;
        all.seconds += entry->seconds;
        all.macs += entry->macs;
        all.bytes += entry->bytes;
    }
    return all;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static int by_seconds(const void *a, const void *b)
{
    double x = ((const family *)a)->sum.seconds, y = ((const family *)b)->sum.seconds;
    return (x < y) - (x > y);
}

// NULL where it is not known: such a member is left out.
static json_t *known(bool is_known, double x)
{
    return is_known ? json_real(x) : NULL;
}

static json_t *share_of_peak(const bench *b, double gflops)
{
    return known(b->gflops > 0, ratio(gflops, b->gflops));
}

static json_t *family_json(const bench *b, const family *f)
{
    double gflops = ratio(2e-9 * f->sum.macs, f->sum.seconds);
    double runs = b->repeats;
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:o*, s:f}", "family", f->name, "seconds",
                     f->sum.seconds / runs, "share", ratio(f->sum.seconds, b->total_seconds),
                     "gmac", 1e-9 * f->sum.macs / runs, "gflops", gflops, "share_of_peak",
                     share_of_peak(b, gflops), "gbytes_per_second",
                     ratio(1e-9 * f->sum.bytes, f->sum.seconds));
}

static json_t *run_json(const bench *b, const sl_profile_entry *all)
{
    unsigned n = b->repeats;
    double median = (b->seconds[(n - 1) / 2] + b->seconds[n / 2]) / 2;
    double megapixels = 1e-6 * (double)b->network.width * b->network.height;
    double gmac = 1e-9 * all->macs / n, gflops = ratio(2 * gmac, median);
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:o*, s:o*, s:o*, s:o*}", "compile_seconds",
                     b->compile_seconds, "first_run_seconds", b->first_seconds, "median_seconds",
                     median, "min_seconds", b->seconds[0], "ms_per_megapixel",
                     1e3 * median / megapixels, "gmac", known(gmac > 0, gmac), "gflops",
                     known(gmac > 0, gflops), "share_of_peak",
                     gmac > 0 ? share_of_peak(b, gflops) : NULL, "kept_share",
                     known(b->windows.all > 0, ratio(b->windows.computed, b->windows.all)));
}

static sl_status write_json(bench *b, char **out)
{
    sl_profile_entry all = sum_families(b);
    const sl_network *n = &b->network;
    qsort(b->families, b->family_count, sizeof(*b->families), by_seconds);
    json_t *families = json_array();
    for (size_t i = 0; i < b->family_count; i++)
        json_array_append_new(families, family_json(b, &b->families[i]));
    json_t *root = json_pack(
        "{s:o, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:I, s:I}", "model",
        sl_json_path(b->ctx, sl_tensor_set_path(b->model->set)), "architecture",
        b->model->architecture, "device", n->plan->device, "precision",
        sl_precision_name(sl_device_precision(b->device)), "threads",
        (int)sl_pool_size(b->ctx->pool), "width", (int)b->width, "height", (int)b->height,
        "padded_width", (int)n->width, "padded_height", (int)n->height, "repeats", (int)b->repeats,
        "keep_share_asked", (double)b->options->keep_share, "memory_bytes",
        (json_int_t)n->plan->memory_bytes, "weight_bytes", (json_int_t)n->plan->weight_bytes);
    json_t *run = run_json(b, &all);
    json_t *peak = json_pack("{s:f, s:f}", "gflops", b->gflops, "gbytes_per_second", b->gbytes);
    *out = NULL;
    if (root && run && peak && json_array_size(families) == b->family_count &&
        json_object_update(root, run) == 0 &&
        (b->gflops <= 0 || json_object_set(root, "peak", peak) == 0) &&
        json_object_set(root, "families", families) == 0)
        *out = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(root);
    json_decref(run);
    json_decref(peak);
    json_decref(families);
    return *out ? SL_OK
                : sl_fail(b->ctx, SL_ERR_NOMEM, "out of memory for the figures of a benchmark");
}

static sl_status check_options(sl_ctx *ctx, const sl_model *model, const sl_bench_options *o)
{
    if ((is_soft(model) || is_retina(model)) && (o->dense || o->keep_share != 0))
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "%s: this model has no windows; leave out what is said of them",
                       sl_tensor_set_path(model->set));
    if (o->repeats > MAX_REPEATS)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%u repeats; keep it under %u", o->repeats,
                       MAX_REPEATS + 1);
    if (!(o->keep_share >= 0.0f && o->keep_share <= 1.0f)) // true for a NaN
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "a share of %g windows; give a number above 0 and up to 1, or 0 for the "
                       "predictors' choice",
                       (double)o->keep_share);
    return SL_OK;
}

sl_status sl_model_bench(sl_ctx *ctx, const sl_model *model, const sl_bench_options *options,
                         char **out)
{
    static const sl_bench_options defaults = { 0 };
    if (!options)
        options = &defaults;
    uint32_t usual[2] = { DEFAULT_SIDE, DEFAULT_SIDE };
    if (is_soft(model))
        usual[0] = usual[1] = model->soft.image;
    if (is_retina(model))
        memcpy(usual, model->retina.image, sizeof(usual));
    bench b = { .ctx = ctx,
                .model = model,
                .options = options,
                .width = options->width ? options->width : usual[0],
                .height = options->height ? options->height : usual[1],
                .repeats = options->repeats ? options->repeats : DEFAULT_REPEATS };
    *out = NULL;
    sl_status st = check_options(ctx, model, options);
    if (st != SL_OK)
        return st;
    b.seconds = sl_alloc(ctx, b.repeats, sizeof(*b.seconds));
    if (!b.seconds)
        return SL_ERR_NOMEM;
    st = sl_device_open(ctx, options->device, &b.device);
    if (st == SL_OK)
        st = sl_device_set_precision(b.device, options->precision);
    if (st == SL_OK)
        st = make_network(&b);
    if (st == SL_OK)
        st = write_scene(&b);
    if (st == SL_OK)
        st = run_all(&b);
    if (st == SL_OK)
        st = write_json(&b, out);
    sl_network_free(&b.network);
    sl_device_close(b.device);
    free(b.seconds);
    return st;
}
