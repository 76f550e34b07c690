// SPDX-License-Identifier: MIT
// graph/ops_soft.c: shape rules and costs of the ops of softmax-free transformers.
#include "graph/rules.h"

#define MAX_HEAD_DIM 128
#define MAX_ITERATIONS 1000
#define MAX_LANDMARKS 16384 // the inverse of more would take hours, and gigabytes

uint64_t sl_square_root(uint64_t n)
{
    uint64_t low = 0, high = (uint64_t)1 << 16;
    while (low < high) { // the least root whose square is not below n
        uint64_t middle = (low + high) / 2;
        if (middle * middle < n)
            low = middle + 1;
        else
            high = middle;
    }
    return low * low == n ? low : 0;
}

uint64_t sl_position_grid(const sl_tensor *embedding, bool *has_class_row)
{
    *has_class_row = false;
    if (!embedding || embedding->shape.rank != 3 || embedding->shape.dim[0] != 1)
        return 0;
    uint64_t rows = embedding->shape.dim[1], side = sl_square_root(rows);
    if (side == 0 && rows > 1) {
        side = sl_square_root(rows - 1);
        *has_class_row = side > 0;
    }
    return side;
}

void sl_landmark_grid(const sl_attr *attr, uint64_t height, uint64_t width, uint64_t grid[2])
{
    grid[0] = grid[1] = sl_square_root(attr->landmarks);
    if (attr->landmarks > 0)
        return;
    grid[0] = height / attr->factor;
    grid[1] = width / attr->factor;
}

// ---- rules

static bool has_rows(const sl_value_info *v) // [..,C], f32, nothing empty
{
    return v->dtype == SL_F32 && v->shape.rank >= 1 && elements(&v->shape) > 0;
}

static uint64_t channels_of(const sl_value_info *v)
{
    return v->shape.dim[v->shape.rank - 1];
}

// The side of the grid in weight 0, whose rows have the map's channels; 0: it does not fit.
static uint64_t position_side(const sl_graph *g, const sl_node *node, bool *has_class_row)
{
    uint64_t side = sl_position_grid(node->weight[0], has_class_row);
    if (!is_map(input(g, node, 0)) ||
        (side > 0 && node->weight[0]->shape.dim[2] != input(g, node, 0)->shape.dim[2]))
        return 0;
    return side;
}

sl_status sl_shape_add_position(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    bool has_class_row;
    (void)dtype;
    if (position_side(g, node, &has_class_row) == 0)
        return sl_rule_refuse(g, node, "wants a map and a weight [1,g*g,C] or [1,g*g+1,C]");
    out[0] = input(g, node, 0)->shape;
    return SL_OK;
}

sl_status sl_shape_class_tokens(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    bool has_class_row;
    (void)dtype;
    if (position_side(g, node, &has_class_row) == 0 || !has_class_row ||
        !weight_is(node, 1, 3, 1, 1, x->shape.dim[2], 0))
        return sl_rule_refuse(g, node, "wants a map and weights [1,g*g+1,C] and [1,1,C]");
    out[0] =
        (sl_shape) { .rank = 2, .dim = { 1 + x->shape.dim[0] * x->shape.dim[1], x->shape.dim[2] } };
    return SL_OK;
}

static bool soft_weights_fit(const sl_node *node, uint64_t d)
{
    uint64_t r = node->attr.factor;
    const sl_tensor *conv = node->weight[SL_SOFT_CONV_W];
    uint64_t k = conv && conv->shape.rank == 4 ? conv->shape.dim[2] : 0;
    return weight_is(node, SL_SOFT_LANDMARK_W, 4, d, d, r, r) &&
           is_vector(node, SL_SOFT_NORM_W, d) && is_vector(node, SL_SOFT_NORM_B, d) && k % 2 == 1 &&
           k < 64 && weight_is(node, SL_SOFT_CONV_W, 4, node->attr.heads, 1, k, k);
}

sl_status sl_shape_soft_attention(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *q = input(g, node, 0), *v = input(g, node, 1);
    const sl_attr *a = &node->attr;
    uint64_t grid[2];
    (void)dtype;
    if (!is_map(q) || v->dtype != SL_F32 || !sl_shape_equal(&q->shape, &v->shape))
        return sl_rule_refuse(g, node, "wants queries and values of one shape [h,w,C]");
    if (a->heads < 1 || q->shape.dim[2] % a->heads || q->shape.dim[2] / a->heads > MAX_HEAD_DIM ||
        a->factor < 1 || a->factor > 64 || !soft_weights_fit(node, q->shape.dim[2] / a->heads))
        return sl_rule_refuse(g, node, "weights, heads and channels do not fit together");
    if ((a->inverse != SL_INVERSE_SOFT && a->inverse != SL_INVERSE_NORM) || a->iterations < 1 ||
        a->iterations > MAX_ITERATIONS)
        return sl_rule_refuse(g, node, "wants an inverse and 1 to 1000 iterations");
    sl_landmark_grid(a, q->shape.dim[0], q->shape.dim[1], grid);
    if (grid[0] < 1 || grid[1] < 1)
        return sl_rule_refuse(g, node,
                              "the map is too small for a landmark, or their number is no "
                              "square");
    if (grid[0] > MAX_LANDMARKS / grid[1])
        return sl_rule_limit(g, node, "more than 16384 landmarks; give a smaller picture");
    if (a->inverse == SL_INVERSE_NORM && grid[0] * grid[1] < SL_NORM_LEAST_LANDMARKS)
        return sl_rule_refuse(g, node, "SOFT-Norm is not defined for one or two landmarks");
    out[0] = q->shape;
    return SL_OK;
}

sl_status sl_shape_global_attention(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *q = input(g, node, 0), *kv = input(g, node, 1);
    (void)dtype;
    if (!has_rows(q) || q->shape.rank < 2 || kv->dtype != SL_F32)
        return sl_rule_refuse(g, node, "wants rows of queries, keys and values");
    sl_shape wanted = q->shape;
    wanted.dim[wanted.rank - 1] *= 2;
    if (!sl_shape_equal(&kv->shape, &wanted) || node->attr.heads < 1 ||
        channels_of(q) % node->attr.heads || channels_of(q) / node->attr.heads > MAX_HEAD_DIM)
        return sl_rule_refuse(g, node, "queries, keys and heads do not fit together");
    out[0] = q->shape;
    return SL_OK;
}

sl_status sl_shape_rows(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    const sl_attr *a = &node->attr;
    (void)dtype;
    if (!has_rows(x))
        return sl_rule_refuse(g, node, "wants rows of channels");
    uint64_t c = channels_of(x), rows = elements(&x->shape) / c;
    uint64_t taken = a->columns > 0 ? (uint64_t)a->rows * a->columns : a->rows;
    if (taken < 1 || (a->columns == 0 && taken > 1) || a->first >= rows || taken > rows - a->first)
        return sl_rule_refuse(g, node, "takes more rows than there are, or none");
    out[0] =
        a->columns > 0 ? map_shape(a->rows, a->columns, c) : (sl_shape) { .rank = 1, .dim = { c } };
    return SL_OK;
}

sl_status sl_shape_mean(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    (void)dtype;
    if (!has_rows(x))
        return sl_rule_refuse(g, node, "wants rows of channels");
    out[0] = (sl_shape) { .rank = 1, .dim = { channels_of(x) } };
    return SL_OK;
}

sl_status sl_shape_unit(sl_graph *g, sl_node *node, sl_shape out[], sl_dtype dtype[])
{
    const sl_value_info *x = input(g, node, 0);
    (void)dtype;
    if (!has_rows(x))
        return sl_rule_refuse(g, node, "wants rows of channels");
    out[0] = x->shape;
    return SL_OK;
}

// ---- costs

static double landmarks_of(const sl_graph *g, const sl_node *node)
{
    const uint64_t *dim = input(g, node, 0)->shape.dim;
    uint64_t grid[2];
    sl_landmark_grid(&node->attr, dim[0], dim[1], grid);
    return (double)grid[0] * (double)grid[1];
}

double sl_node_inverse_macs(const sl_graph *g, const sl_node *node)
{
    if (node->op != SL_OP_SOFT_ATTENTION)
        return 0;
    double m = landmarks_of(g, node);
    return 2.0 * node->attr.iterations * node->attr.heads * m * m * m;
}

double sl_macs_soft_attention(const sl_graph *g, const sl_node *node)
{
    const uint64_t *conv = node->weight[SL_SOFT_LANDMARK_W]->shape.dim;
    double m = landmarks_of(g, node), all = size_of(g, node->in[0]);
    double c = (double)input(g, node, 0)->shape.dim[2];
    double k = (double)node->weight[SL_SOFT_CONV_W]->shape.dim[2];
    double landmarks = m * c * (double)(conv[1] * conv[2] * conv[3]);
    // Two kernel matrices and the three products with them.
    return landmarks + 3 * all * m + 2 * m * m * c + all * k * k + sl_node_inverse_macs(g, node);
}

double sl_macs_global_attention(const sl_graph *g, const sl_node *node)
{
    double c = (double)channels_of(input(g, node, 0));
    return size_of(g, node->in[0]) * 2 * (size_of(g, node->in[0]) / c);
}
