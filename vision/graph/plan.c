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
    sl_status st = check_value(plan, value);
    if (st == SL_OK)
        st = check_list(plan, &plan->graph->values[value], data);
    return st == SL_OK ? plan->ops->write(plan, value, data) : st;
}

sl_status sl_plan_run(sl_plan *plan)
{
    return plan->ops->run(plan);
}

sl_status sl_plan_read(sl_plan *plan, sl_value value, void *data)
{
    sl_status st = check_value(plan, value);
    return st == SL_OK ? plan->ops->read(plan, value, data) : st;
}

void sl_plan_profile(sl_plan *plan, bool on)
{
    plan->ops->profile(plan, on);
}
