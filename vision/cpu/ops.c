// SPDX-License-Identifier: MIT
// cpu/ops.c: which op is computed by whom.
#include "cpu/op.h"

static const sl_cpu_op none = { 0 };

static const sl_cpu_op *const ops[SL_OP_COUNT] = {
    [SL_OP_PIXEL_UNSHUFFLE] = &sl_cpu_pixel_unshuffle,
    [SL_OP_CONV2D] = &sl_cpu_conv2d,
    [SL_OP_UPCONV_CONCAT] = &sl_cpu_upconv_concat,
    [SL_OP_GATE] = &sl_cpu_gate,
    [SL_OP_CERTAINTY] = &sl_cpu_certainty,
    [SL_OP_PREDICT] = &sl_cpu_predict,
    [SL_OP_SELECT] = &sl_cpu_select,
    [SL_OP_WINDOW_BLOCK] = &sl_cpu_window_block,
    [SL_OP_WINDOW_GATHER] = &sl_cpu_window_gather,
    [SL_OP_WINDOW_SCATTER] = &sl_cpu_window_scatter,
    [SL_OP_LAYER_NORM] = &sl_cpu_layer_norm,
    [SL_OP_LINEAR] = &sl_cpu_linear,
    [SL_OP_WINDOW_ATTENTION] = &sl_cpu_window_attention,
    [SL_OP_WINDOW_DWCONV] = &sl_cpu_window_dwconv,
    [SL_OP_ADD_POSITION] = &sl_cpu_add_position,
    [SL_OP_CLASS_TOKENS] = &sl_cpu_class_tokens,
    [SL_OP_SOFT_ATTENTION] = &sl_cpu_soft_attention,
    [SL_OP_ATTENTION] = &sl_cpu_attention,
    [SL_OP_ROWS] = &sl_cpu_rows,
    [SL_OP_MEAN] = &sl_cpu_mean,
    [SL_OP_UNIT] = &sl_cpu_unit,
    [SL_OP_ADD_NEAREST] = &sl_cpu_add_nearest,
    [SL_OP_CANDIDATES] = &sl_cpu_candidates,
};

const sl_cpu_op *sl_cpu_op_get(sl_op op)
{
    return (unsigned)op < SL_OP_COUNT && ops[op] ? ops[op] : &none;
}
