// SPDX-License-Identifier: MIT
// graph/plan.c: the calls that every backend's plan answers.
#include "graph/graph.h"

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

sl_status sl_plan_write(sl_plan *plan, sl_value value, const void *data)
{
    sl_status st = check_value(plan, value);
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
