// SPDX-License-Identifier: MIT
// tools/bench/gemm_gpu.c: one linear layer on a Vulkan device at the shapes of the published
// network, by the device's own clock. A line each: rows, K, N, GFLOP/s by the median of some runs,
// as gpu.py times PyTorch.
//     gemm-gpu DEVICE f32|f16 NUMBERS    (of the larger matrix of each product: input or output)
#include "vulkan/vulkan.h"

#define WARM 3 // runs that do not count
#define REPEATS 10
#define LEAST 2048u // a row of the widest
#define MOST (1u << 28)

static const uint64_t shapes[][2] = {
    { 32, 32 },    { 32, 128 },   { 128, 32 },  { 64, 64 },    { 64, 256 },
    { 256, 64 },   { 128, 128 },  { 128, 512 }, { 512, 128 },  { 256, 256 },
    { 256, 1024 }, { 1024, 256 }, { 512, 512 }, { 512, 2048 }, { 2048, 512 },
};

typedef struct layer {
    sl_graph *graph;
    sl_value x;
    float *data, *input;
    sl_tensor weight, bias;
} layer;

static sl_status layer_new(sl_ctx *ctx, uint64_t rows, uint64_t k, uint64_t n, layer *l)
{
    l->data = sl_alloc(ctx, (n + 1) * k + n, sizeof(*l->data));
    l->input = sl_alloc(ctx, rows * k, sizeof(*l->input));
    sl_status st = l->data && l->input ? sl_graph_new(ctx, &l->graph) : SL_ERR_NOMEM;
    if (st != SL_OK)
        return st;
    for (size_t i = 0; i < n * k; i++)
        l->data[i] = (float)(i * 104729 % 2001) * 1e-3f - 1.0f;
    for (size_t i = 0; i < rows * k; i++)
        l->input[i] = (float)(i * 7919 % 2001) * 1e-3f - 1.0f;
    l->weight = (sl_tensor) { "w", SL_F32, { 2, { n, k } }, l->data, n * k * sizeof(float) };
    l->bias = (sl_tensor) { "b", SL_F32, { 1, { n } }, l->data + n * k, n * sizeof(float) };
    const sl_tensor *weights[] = { &l->weight, &l->bias };
    l->x = sl_graph_input(l->graph, "x", &(sl_shape) { 2, { rows, k } });
    sl_value y = sl_graph_add(l->graph, SL_OP_LINEAR, "linear", &(sl_attr) { 0 },
                              (sl_value[SL_MAX_INPUTS]) { l->x }, weights, 2);
    sl_graph_output(l->graph, y, "y");
    return l->graph->status;
}

static void layer_free(layer *l)
{
    sl_graph_free(l->graph);
    free(l->data);
    free(l->input);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static sl_status time_plan(sl_plan *plan, uint32_t node, double *rate)
{
    sl_status st = SL_OK;
    double seconds[WARM + REPEATS];
    for (int i = 0; i < WARM + REPEATS && st == SL_OK; i++) {
        sl_plan_profile(plan, true); // zeroes
        if (!plan->profile)
            return sl_fail(plan->ctx, SL_ERR_UNSUPPORTED, "the device keeps no time of operations");
        st = sl_plan_run(plan);
        seconds[i] = plan->profile[node].seconds;
    }
    if (st != SL_OK)
        return st;
    const double *timed = seconds + WARM;
    qsort(seconds + WARM, REPEATS, sizeof(*seconds), ascending);
    double median = (timed[(REPEATS - 1) / 2] + timed[REPEATS / 2]) / 2;
    *rate = 2e-9 * plan->profile[node].macs / median;
    return SL_OK;
}

static sl_status run_shape(sl_ctx *ctx, sl_vk_device *device, sl_dtype precision, uint64_t numbers,
                           const uint64_t shape[2])
{
    uint64_t widest = shape[0] > shape[1] ? shape[0] : shape[1], rows = numbers / widest;
    layer l = { 0 };
    sl_plan *plan = NULL;
    double rate = 0;
    sl_status st = layer_new(ctx, rows, shape[0], shape[1], &l);
    if (st == SL_OK)
        st = sl_vk_compile(ctx, device, l.graph, precision, &plan);
    if (st == SL_OK)
        st = sl_plan_write(plan, l.x, l.input);
    if (st == SL_OK)
        st = time_plan(plan, (uint32_t)l.graph->node_count - 1, &rate);
    if (st == SL_OK)
        printf("%llu %llu %llu %.1f\n", (unsigned long long)rows, (unsigned long long)shape[0],
               (unsigned long long)shape[1], rate);
    sl_plan_free(plan);
    layer_free(&l);
    return st;
}

int main(int argc, char **argv)
{
    sl_ctx *ctx = NULL;
    sl_vk_device *device = NULL;
    uint64_t numbers = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
    if (numbers < LEAST || numbers > MOST ||
        (strcmp(argv[2], "f32") != 0 && strcmp(argv[2], "f16") != 0)) {
        fprintf(stderr, "usage: gemm-gpu DEVICE f32|f16 NUMBERS, %u to %u\n", LEAST, MOST);
        return 2;
    }
    sl_status st = sl_ctx_new(NULL, &ctx);
    if (st == SL_OK)
        st = sl_vk_open(ctx, argv[1], &device);
    for (size_t i = 0; i < SL_ARRAY_LEN(shapes) && st == SL_OK; i++)
        st = run_shape(ctx, device, strcmp(argv[2], "f16") == 0 ? SL_F16 : SL_F32, numbers,
                       shapes[i]);
    if (st != SL_OK)
        fprintf(stderr, "gemm-gpu: %s\n", sl_ctx_message(ctx));
    sl_vk_close(device);
    sl_ctx_free(ctx);
    return st == SL_OK ? 0 : 1;
}
