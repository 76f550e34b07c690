// SPDX-License-Identifier: MIT
// cpu/cpu.c: compiles a graph into calls over one arena, and runs them.
#include "cpu/weights.h"

typedef struct cpu_plan {
    sl_plan plan;
    const sl_kernels *kernels, *kernels_bf16; // the latter NULL where they are not asked for
    sl_cpu_weights *weights;                  // where the arena comes from and goes
    sl_cpu_arena arena;
    size_t *value_offset; // by value
    sl_cpu_call *calls;   // by node
} cpu_plan;

// ---- running

static uint8_t *value_at(const cpu_plan *p, sl_value value)
{
    return value == SL_NO_VALUE ? NULL : p->arena.data + p->value_offset[value];
}

// Which share of the windows a node computes, 1 for a node without a list.
static double kept_share(const cpu_plan *p, const sl_node *node)
{
    const sl_op_info *info = sl_op_get(node->op);
    if (!info->takes_list || node->in[info->inputs_max - 1] == SL_NO_VALUE)
        return 1;
    sl_value list = node->in[info->inputs_max - 1];
    double windows = (double)p->plan.graph->values[list].shape.dim[0] - 4;
    return windows > 0 ? *(const int32_t *)(const void *)value_at(p, list) / windows : 0;
}

static void run_profiled(cpu_plan *p, size_t n)
{
    const sl_node *node = &p->plan.graph->nodes[n];
    sl_profile_entry *entry = &p->plan.profile[n];
    double start = sl_seconds();
    sl_cpu_op_get(node->op)->run(&p->calls[n]);
    double seconds = sl_seconds() - start, share = kept_share(p, node);
    double macs = sl_node_macs(p->plan.graph, node) * share;
    entry->seconds += seconds;
    entry->macs += macs;
    entry->bytes += sl_node_bytes(p->plan.graph, node, NULL, share);
    sl_plan_trace(&p->plan, node, start, seconds, macs);
}

static sl_status plan_run(sl_plan *plan)
{
    cpu_plan *p = (cpu_plan *)plan;
    for (size_t n = 0; n < plan->graph->node_count; n++) {
        sl_op op = plan->graph->nodes[n].op;
        if (op == SL_OP_INPUT)
            continue;
        if (plan->profile)
            run_profiled(p, n);
        else
            sl_cpu_op_get(op)->run(&p->calls[n]);
    }
    return SL_OK;
}

static sl_status plan_write(sl_plan *plan, sl_value value, const void *data)
{
    memcpy(value_at((cpu_plan *)plan, value), data, plan->graph->values[value].bytes);
    return SL_OK;
}

static sl_status plan_read(sl_plan *plan, sl_value value, void *data)
{
    memcpy(data, value_at((cpu_plan *)plan, value), plan->graph->values[value].bytes);
    return SL_OK;
}

static void plan_profile(sl_plan *plan, bool on)
{
    free(plan->profile);
    plan->profile = NULL;
    if (on) // without memory there is no profile, which the caller sees
        plan->profile = sl_alloc(plan->ctx, plan->graph->node_count, sizeof *plan->profile);
}

static void plan_free(sl_plan *plan)
{
    cpu_plan *p = (cpu_plan *)plan;
    sl_cpu_arena_give(p->weights, &p->arena);
    free(p->value_offset);
    free(p->calls);
    free(plan->profile);
    free(p);
}

static const sl_plan_ops cpu_plan_ops = {
    .free = plan_free,
    .write = plan_write,
    .run = plan_run,
    .read = plan_read,
    .profile = plan_profile,
};

// ---- compiling

static sl_status check_ops(sl_ctx *ctx, const sl_graph *g)
{
    if (g->status != SL_OK)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "a graph whose building failed cannot be compiled");
    for (size_t n = 0; n < g->node_count; n++) {
        const sl_node *node = &g->nodes[n];
        if (node->op != SL_OP_INPUT && !sl_cpu_op_get(node->op)->run)
            return sl_fail(ctx, SL_ERR_UNSUPPORTED, "the CPU backend has no kernel for %s (%s)",
                           sl_op_get(node->op)->name, node->label);
    }
    return SL_OK;
}

static sl_status plan_memory(sl_ctx *ctx, const sl_graph *g, const sl_kernels *kernels,
                             sl_memory_plan *out)
{
    *out = (sl_memory_plan) { 0 };
    sl_status st = check_ops(ctx, g);
    if (st != SL_OK)
        return st;
    size_t *scratch = sl_alloc(ctx, g->node_count, sizeof *scratch);
    if (!scratch)
        return SL_ERR_NOMEM;
    for (size_t n = 0; n < g->node_count; n++) {
        const sl_cpu_op *op = sl_cpu_op_get(g->nodes[n].op);
        if (op->scratch)
            scratch[n] = op->scratch(g, &g->nodes[n], kernels, sl_pool_size(ctx->pool));
    }
    st = sl_memory_plan_new(ctx, g, NULL, scratch, out);
    free(scratch);
    return st;
}

sl_status sl_cpu_memory(sl_ctx *ctx, const sl_graph *graph, size_t *out)
{
    sl_simd level;
    sl_memory_plan memory = { 0 };
    *out = 0;
    sl_status st = sl_cpu_simd(ctx, &level);
    if (st == SL_OK)
        st = plan_memory(ctx, graph, sl_kernels_get(level), &memory);
    *out = memory.total;
    sl_memory_plan_free(&memory);
    return st;
}

static sl_status make_call(sl_ctx *ctx, cpu_plan *p, sl_cpu_weights *weights, size_t n,
                           size_t scratch_offset)
{
    const sl_graph *g = p->plan.graph;
    const sl_node *node = &g->nodes[n];
    bool in_bf16 = p->kernels_bf16 && sl_cpu_op_get(node->op)->takes_bf16;
    sl_cpu_call *call = &p->calls[n];
    *call = (sl_cpu_call) { .graph = g,
                            .node = node,
                            .kernels = in_bf16 ? p->kernels_bf16 : p->kernels,
                            .pool = ctx->pool,
                            .scratch = p->arena.data + scratch_offset };
    for (unsigned i = 0; i < SL_MAX_INPUTS; i++)
        call->in[i] = value_at(p, node->in[i]);
    for (unsigned i = 0; i < SL_MAX_OUTPUTS; i++)
        call->out[i] = value_at(p, node->out[i]);
    return sl_cpu_weights_prepare(ctx, weights, g, node, call->kernels, &call->state);
}

bool sl_cpu_has_bf16(sl_ctx *ctx)
{
    sl_simd level;
    return sl_cpu_simd(ctx, &level) == SL_OK && sl_kernels_get_bf16(level);
}

static sl_status find_kernels(sl_ctx *ctx, sl_dtype precision, cpu_plan *p)
{
    sl_simd level;
    sl_status st = sl_cpu_simd(ctx, &level);
    if (st != SL_OK)
        return st;
    p->kernels = sl_kernels_get(level);
    if (precision == SL_BF16)
        p->kernels_bf16 = sl_kernels_get_bf16(level);
    if (precision != SL_F32 && !p->kernels_bf16)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED, "this processor does not compute in %s",
                       sl_dtype_name(precision));
    return SL_OK;
}

sl_status sl_cpu_compile(sl_ctx *ctx, const sl_graph *graph, sl_dtype precision,
                         sl_cpu_weights *weights, sl_plan **out)
{
    sl_memory_plan memory = { 0 };
    *out = NULL;
    cpu_plan *p = sl_alloc(ctx, 1, sizeof *p);
    if (!p)
        return SL_ERR_NOMEM;
    p->plan = (sl_plan) { .ops = &cpu_plan_ops, .ctx = ctx, .graph = graph };
    p->plan.clock = "host";
    p->weights = weights;
    sl_status st = find_kernels(ctx, precision, p);
    if (st == SL_OK)
        st = plan_memory(ctx, graph, p->kernels, &memory);
    if (st == SL_OK)
        st = sl_cpu_arena_take(ctx, weights, memory.total, &p->arena);
    if (st != SL_OK)
        goto done;
    p->value_offset = memory.value_offset;
    memory.value_offset = NULL;
    p->calls = sl_alloc(ctx, graph->node_count, sizeof *p->calls);
    if (!p->calls)
        st = SL_ERR_NOMEM;
    for (size_t n = 0; st == SL_OK && n < graph->node_count; n++)
        st = make_call(ctx, p, weights, n, memory.scratch_offset[n]);
    if (st != SL_OK)
        goto done;
    snprintf(p->plan.device, sizeof p->plan.device, "cpu (%s, %s%u threads)",
             sl_simd_name(p->kernels->level), p->kernels_bf16 ? "bf16, " : "",
             sl_pool_size(ctx->pool));
    p->plan.memory_bytes = memory.total;
    p->plan.weight_bytes = sl_cpu_weights_bytes(weights);
    *out = &p->plan;
    p = NULL;
done:
    sl_memory_plan_free(&memory);
    if (p)
        plan_free(&p->plan);
    return st;
}
