// SPDX-License-Identifier: MIT
// graph/plan.c: the calls that every backend's plan answers.
#include "graph/graph.h"

static double bytes_of(const sl_graph *g, const size_t *bytes, sl_value value)
{
    if (value == SL_NO_VALUE)
        return 0;
    return (double)(bytes ? bytes[value] : g->values[value].bytes);
}

double sl_node_bytes(const sl_graph *g, const sl_node *node, const size_t *bytes, double share)
{
    double moved = 0, weights = 0;
    for (unsigned i = 0; i < SL_MAX_INPUTS; i++)
        moved += bytes_of(g, bytes, node->in[i]);
    for (unsigned i = 0; i < SL_MAX_OUTPUTS; i++)
        moved += bytes_of(g, bytes, node->out[i]);
    for (unsigned i = 0; i < SL_MAX_WEIGHTS; i++)
        weights += node->weight[i] ? (double)node->weight[i]->bytes : 0;
    return moved * share + weights;
}

void sl_plan_free(sl_plan *plan)
{
    if (plan)
        plan->ops->free(plan);
}

static sl_status check_value(const sl_plan *plan, sl_value value)
{
    if (value == SL_NO_VALUE || value >= plan->graph->value_count ||
        !plan->graph->values[value].output)
        return sl_fail(plan->ctx, SL_ERR_ARGUMENT, "value %u is no input or output of the plan",
                       value);
    return SL_OK;
}

// A list that comes from outside is believed by the ops behind it, so it is checked here.
static sl_status check_list(const sl_plan *plan, const sl_value_info *info, const void *data)
{
    const int32_t *list = data;
    if (info->dtype != SL_I32 || info->bytes < 4 * sizeof *list)
        return SL_OK;
    size_t windows = info->bytes / sizeof *list - 4;
    if (list[0] < 0 || (size_t)list[0] > windows)
        return sl_fail(plan->ctx, SL_ERR_ARGUMENT,
                       "window list %s: %d windows; it has room for %zu", info->output, list[0],
                       windows);
    for (int32_t i = 0, last = -1; i < list[0]; last = list[4 + i], i++)
        if (list[4 + i] <= last || (size_t)list[4 + i] >= windows)
            return sl_fail(plan->ctx, SL_ERR_ARGUMENT,
                           "window list %s: entry %d is %d; entries ascend and stay below %zu",
                           info->output, i, list[4 + i], windows);
    return SL_OK;
}

sl_status sl_plan_write(sl_plan *plan, sl_value value, const void *data)
{
    double start = sl_trace_start(plan->ctx);
    sl_status st = check_value(plan, value);
    if (st == SL_OK)
        st = check_list(plan, &plan->graph->values[value], data);
    if (st == SL_OK)
        st = plan->ops->write(plan, value, data);
    sl_trace_end(plan->ctx, "write", start);
    return st;
}

// What a trace wants of a run: a profile, which has the times, and room for every op and the run.
static void prepare_trace(sl_plan *plan)
{
    if (!plan->ctx->trace)
        return;
    if (!plan->is_traced && !plan->profile)
        sl_plan_profile(plan, true); // once: a device without timestamps has none
    plan->is_traced = true;
    plan->track = sl_trace_track(plan->ctx, plan->device, plan->clock);
    sl_trace_reserve(plan->ctx, plan->graph->node_count + 1);
}

sl_status sl_plan_run(sl_plan *plan)
{
    prepare_trace(plan);
    double start = sl_trace_start(plan->ctx);
    sl_status st = plan->ops->run(plan);
    sl_trace_end(plan->ctx, "run", start);
    return st;
}

unsigned sl_plan_overlap(sl_plan *plan)
{
    // Times of ops are of one run at a time.
    bool is_possible = plan->ops->overlap && !plan->profile && !plan->ctx->trace;
    plan->is_overlapped = is_possible && plan->ops->overlap(plan) == SL_OK;
    return plan->is_overlapped ? 2 : 1;
}

sl_status sl_plan_submit(sl_plan *plan)
{
    return plan->is_overlapped ? plan->ops->submit(plan) : sl_plan_run(plan);
}

sl_status sl_plan_wait(sl_plan *plan)
{
    return plan->is_overlapped ? plan->ops->wait(plan) : SL_OK;
}

void sl_plan_trace(const sl_plan *plan, const sl_node *node, double start, double seconds,
                   double macs)
{
    const sl_op_info *info = sl_op_get(node->op);
    if (!plan->ctx->trace)
        return;
    sl_span span = { .family = info->family,
                     .start = start,
                     .seconds = seconds,
                     .macs = macs,
                     .track = plan->track };
    snprintf(span.name, sizeof(span.name), "%s", node->label ? node->label : info->name);
    sl_trace_add(plan->ctx, &span);
}

sl_status sl_plan_read(sl_plan *plan, sl_value value, void *data)
{
    double start = sl_trace_start(plan->ctx);
    sl_status st = check_value(plan, value);
    if (st == SL_OK)
        st = plan->ops->read(plan, value, data);
    sl_trace_end(plan->ctx, "read", start);
    return st;
}

void sl_plan_profile(sl_plan *plan, bool on)
{
    plan->is_overlapped = false;
    plan->ops->profile(plan, on);
}
