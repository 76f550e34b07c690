// SPDX-License-Identifier: MIT
// graph/rules.h: what shape rules and costs are written with. For the op table's files alone.
#ifndef SL_GRAPH_RULES_H
#define SL_GRAPH_RULES_H

#include "graph/graph.h"

// A shape rule that fails says which op, where, and the shapes that it saw.
sl_status sl_rule_refuse(sl_graph *g, const sl_node *node, const char *why);
// The same where the picture is to blame, not the network: SL_ERR_LIMIT.
sl_status sl_rule_limit(sl_graph *g, const sl_node *node, const char *why);

static inline const sl_value_info *input(const sl_graph *g, const sl_node *node, unsigned i)
{
    return &g->values[node->in[i]];
}

static inline uint64_t elements(const sl_shape *shape)
{
    size_t n = 0;
    return sl_shape_elements(shape, &n) ? n : 0;
}

// Does weight i exist with this shape? rank 0 ends the list of sides.
static inline bool weight_is(const sl_node *node, unsigned i, unsigned rank, uint64_t a, uint64_t b,
                             uint64_t c, uint64_t d)
{
    const sl_tensor *w = node->weight[i];
    const uint64_t side[4] = { a, b, c, d };
    if (!w || w->shape.rank != rank)
        return false;
    for (unsigned k = 0; k < rank; k++)
        if (w->shape.dim[k] != side[k])
            return false;
    return true;
}

static inline bool is_vector(const sl_node *node, unsigned i, uint64_t n)
{
    return weight_is(node, i, 1, n, 0, 0, 0);
}

static inline bool is_matrix(const sl_node *node, unsigned i, uint64_t rows, uint64_t columns)
{
    return weight_is(node, i, 2, rows, columns, 0, 0);
}

static inline bool is_map(const sl_value_info *v) // [H,W,C], f32, nothing empty
{
    return v->dtype == SL_F32 && v->shape.rank == 3 && v->shape.dim[0] > 0 && v->shape.dim[1] > 0 &&
           v->shape.dim[2] > 0;
}

static inline sl_shape map_shape(uint64_t h, uint64_t w, uint64_t c)
{
    return (sl_shape) { .rank = 3, .dim = { h, w, c } };
}

static inline double size_of(const sl_graph *g, sl_value v)
{
    return (double)elements(&g->values[v].shape);
}

// The rules of SOFT's ops (ops_soft.c).
typedef sl_status sl_shape_rule(sl_graph *g, sl_node *node, sl_shape out[SL_MAX_OUTPUTS],
                                sl_dtype dtype[SL_MAX_OUTPUTS]);
sl_shape_rule sl_shape_add_position, sl_shape_class_tokens, sl_shape_soft_attention,
    sl_shape_global_attention, sl_shape_rows, sl_shape_mean, sl_shape_unit;
// Those of detectors' ops (ops_detect.c).
sl_shape_rule sl_shape_add_nearest, sl_shape_candidates;
double sl_macs_soft_attention(const sl_graph *g, const sl_node *node);
double sl_macs_global_attention(const sl_graph *g, const sl_node *node);

#endif
