// SPDX-License-Identifier: MIT
// tools/bench/attention.c: the attention of stages 1 to 3 of SOFT-Tiny, all blocks together, on a
// square picture of SIDE pixels: the seconds of one run, the best of several.
//     attention-bench SIDE ratio|fixed|softmax [THREADS]
// ratio and fixed (49 landmarks) are SOFT's; softmax is what every query with every key would cost.
#include "cpu/cpu.h"

#define REPEATS 5
#define ENOUGH_SECONDS 1.0 // of repeats

typedef struct stage {
    uint64_t channels, stride;
    uint32_t heads, blocks, r, k;
} stage;

static const stage stages[] = { { 64, 4, 2, 1, 8, 9 },
                                { 128, 8, 4, 2, 4, 5 },
                                { 320, 16, 10, 3, 2, 3 } };

static float *noise(size_t count, float scale)
{
    uint32_t state = 1;
    float *x = sl_alloc(NULL, count, sizeof *x);
    for (size_t i = 0; x && i < count; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = scale * ((float)(state >> 8) / 8388608.0f - 1);
    }
    return x;
}

// A weight that the graph keeps for as long as it lives.
static const sl_tensor *weight(sl_graph *g, sl_shape shape, float scale)
{
    size_t count = 0;
    sl_tensor *t = sl_arena_alloc(g->ctx, &g->arena, 1, sizeof *t);
    if (!t || !sl_shape_elements(&shape, &count))
        return NULL;
    float *data = sl_arena_alloc(g->ctx, &g->arena, count, sizeof *data);
    float *made = noise(count, scale);
    if (data && made)
        memcpy(data, made, count * sizeof *data);
    free(made);
    *t = (sl_tensor) { "w", SL_F32, shape, data, count * sizeof *data };
    return data ? t : NULL;
}

// One op of a stage, its inputs "q" and "kv".
static void build(sl_graph *g, const stage *s, uint64_t side, const char *kind)
{
    uint64_t h = (side + s->stride - 1) / s->stride, d = s->channels / s->heads;
    bool is_softmax = strcmp(kind, "softmax") == 0;
    const sl_attr attr = { .heads = s->heads,
                           .factor = s->r,
                           .landmarks = strcmp(kind, "fixed") == 0 ? 49 : 0,
                           .inverse = SL_INVERSE_NORM,
                           .iterations = 20,
                           .eps = 1e-5f };
    const sl_tensor *w[] = { weight(g, (sl_shape) { 4, { d, d, s->r, s->r } }, 0.1f),
                             weight(g, (sl_shape) { 1, { d } }, 0.4f),
                             weight(g, (sl_shape) { 1, { d } }, 0.1f),
                             weight(g, (sl_shape) { 4, { s->heads, 1, s->k, s->k } }, 0.1f) };
    sl_value q = sl_graph_input(g, "q", &(sl_shape) { 3, { h, h, s->channels } });
    sl_value kv =
        sl_graph_input(g, "kv", &(sl_shape) { 3, { h, h, s->channels * (is_softmax ? 2 : 1) } });
    sl_value y = sl_graph_add(g, is_softmax ? SL_OP_ATTENTION : SL_OP_SOFT_ATTENTION, kind, &attr,
                              (sl_value[SL_MAX_INPUTS]) { q, kv }, w, is_softmax ? 0 : 4);
    sl_graph_output(g, y, "y");
}

static sl_status write_noise(sl_plan *plan, const char *name)
{
    sl_value v = sl_graph_find_output(plan->graph, name);
    float *x = noise(plan->graph->values[v].bytes / sizeof(float), 1);
    sl_status st = x ? sl_plan_write(plan, v, x) : SL_ERR_NOMEM;
    free(x);
    return st;
}

// The best seconds of some runs. They are 0 in the first place.
static sl_status time_plan(sl_plan *plan, double *best)
{
    double all = 0;
    sl_status st = SL_OK;
    for (int i = 0; i < REPEATS && all < ENOUGH_SECONDS && st == SL_OK; i++) {
        double start = sl_seconds();
        st = sl_plan_run(plan);
        double seconds = sl_seconds() - start;
        all += seconds;
        *best = i == 0 || seconds < *best ? seconds : *best;
    }
    return st;
}

static sl_status time_stage(sl_ctx *ctx, const stage *s, uint64_t side, const char *kind,
                            double *best)
{
    sl_graph *g = NULL;
    sl_cpu_weights *weights = NULL;
    sl_plan *plan = NULL;
    *best = 0;
    sl_status st = sl_graph_new(ctx, &g);
    if (st != SL_OK)
        return st;
    build(g, s, side, kind);
    st = g->status;
    if (st == SL_OK)
        st = sl_cpu_weights_new(ctx, &weights);
    if (st == SL_OK)
        st = sl_cpu_compile(ctx, g, SL_F32, weights, &plan);
    if (st == SL_OK)
        st = write_noise(plan, "q");
    if (st == SL_OK)
        st = write_noise(plan, "kv");
    if (st == SL_OK)
        st = time_plan(plan, best);
    sl_plan_free(plan);
    sl_cpu_weights_free(weights);
    sl_graph_free(g);
    return st;
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = { "ratio", "fixed", "softmax" };
    unsigned long side = argc >= 3 ? strtoul(argv[1], NULL, 10) : 0;
    bool is_known = false;
    for (size_t i = 0; argc >= 3 && i < SL_ARRAY_LEN(kinds); i++)
        is_known = is_known || strcmp(argv[2], kinds[i]) == 0;
    if (side < 32 || side > 8192 || !is_known) {
        fputs("usage: attention-bench SIDE ratio|fixed|softmax [THREADS]\n", stderr);
        return 2;
    }
    sl_ctx *ctx = NULL;
    sl_ctx_options options = { .threads = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 2 };
    sl_status st = sl_ctx_new(&options, &ctx);
    double seconds = 0, one;
    for (size_t i = 0; i < SL_ARRAY_LEN(stages) && st == SL_OK; i++) {
        st = time_stage(ctx, &stages[i], side, argv[2], &one);
        seconds += one * stages[i].blocks;
    }
    if (st != SL_OK)
        fprintf(stderr, "attention-bench: %s\n", ctx ? sl_ctx_message(ctx) : "no context");
    else
        printf("%.6f\n", seconds);
    sl_ctx_free(ctx);
    return st == SL_OK ? 0 : 1;
}
