// SPDX-License-Identifier: MIT
// cpu/ops.c: which op is computed by whom.
#include "cpu/op.h"

static const sl_cpu_op none = { 0 };

static const sl_cpu_op *const ops[SL_OP_COUNT] = {
    [SL_OP_PIXEL_UNSHUFFLE] = &sl_cpu_pixel_unshuffle,
    [SL_OP_CONV2D] = &sl_cpu_conv2d,
    [SL_OP_UPCONV_CONCAT] = &sl_cpu_upconv_concat,
    [SL_OP_GATE] = &sl_cpu_gate,
    [SL_OP_SELECT] = &sl_cpu_select,
    [SL_OP_LAYER_NORM] = &sl_cpu_layer_norm,
    [SL_OP_LINEAR] = &sl_cpu_linear,
};

const sl_cpu_op *sl_cpu_op_get(sl_op op)
{
    return (unsigned)op < SL_OP_COUNT && ops[op] ? ops[op] : &none;
}
