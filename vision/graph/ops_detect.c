// SPDX-License-Identifier: MIT
// graph/ops_detect.c: shape rules of the ops of detectors.
#include "graph/rules.h"

sl_status sl_shape_add_nearest(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0), *coarse = input(g, node, 1);
    (void)dtype;
    if (!is_map(x) || !is_map(coarse) || x->shape.dim[2] != coarse->shape.dim[2])
        return sl_rule_refuse(g, node, "wants two maps of as many channels");
    out[0] = x->shape;
    return SL_OK;
}

static bool anchors_fit(const sl_node *node, const sl_shape *cls, const sl_shape *reg)
{
    const sl_tensor *w = node->weight[0];
    uint64_t anchors = w && w->shape.rank == 2 ? w->shape.dim[0] : 0;
    return anchors > 0 && w->shape.dim[1] == 2 && cls->dim[2] % anchors == 0 &&
           reg->dim[2] % 4 == 0 && reg->dim[2] / 4 == anchors && cls->dim[0] == reg->dim[0] &&
           cls->dim[1] == reg->dim[1];
}

sl_status sl_shape_candidates(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *cls = input(g, node, 0), *reg = input(g, node, 1);
    const sl_value_info *extent = input(g, node, 2);
    const sl_attr *a = &node->attr;
    if (!is_map(cls) || !is_map(reg) || extent->dtype != SL_F32 || extent->shape.rank != 1 ||
        extent->shape.dim[0] != 2 || !anchors_fit(node, &cls->shape, &reg->shape))
        return sl_rule_refuse(g, node,
                              "wants logits [h,w,A*K], deltas [h,w,A*4], an extent [2] and a "
                              "weight [A,2]");
    if (a->stride < 1 || a->stride > 65536 || !(a->threshold >= 0 && a->threshold < 1) ||
        a->limit < 1 || a->limit > SL_MAX_CANDIDATES)
        return sl_rule_refuse(g, node,
                              "wants a stride, a threshold from 0 to below 1 and a limit of 1 to "
                              "4096 rows");
    if (elements(&cls->shape) > UINT32_MAX || elements(&reg->shape) > UINT32_MAX)
        return sl_rule_limit(g, node, "more than 2^32 logits; use smaller pictures");
    out[0] = (sl_shape) { .rank = 2, .dim = { a->limit, SL_CANDIDATE_COLUMNS } };
    out[1] = (sl_shape) { .rank = 1, .dim = { 4 } };
    dtype[1] = SL_I32;
    return SL_OK;
}
