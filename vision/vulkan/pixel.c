// SPDX-License-Identifier: MIT
// vulkan/pixel.c: the two ends of the network, and the table of ops.
#include "vulkan/program.h"

typedef struct unshuffle_push {
    uint32_t count, width, channels, factor;
} unshuffle_push;

sl_status sl_vk_emit_unshuffle(sl_vk_program *p, sl_value from, uint32_t factor, sl_vk_range to)
{
    const sl_value_info *x = &p->graph->values[from];
    const sl_vk_windows all = { .chunk = 1 };
    if (sl_vk_is_half(p, from))
        return sl_fail(p->ctx, SL_ERR_UNSUPPORTED, "%s: only pictures are unshuffled in f16",
                       p->graph->nodes[p->node].label);
    unshuffle_push push = { (uint32_t)(x->bytes / sizeof(float)), (uint32_t)x->shape.dim[1],
                            (uint32_t)x->shape.dim[2], factor };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_UNSHUFFLE) },
                         .buffer = { sl_vk_value(p, from), to },
                         .writes = 2,
                         .push_bytes = sizeof(push) };
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_groups(p, &all, push.count, 256, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

static sl_status unshuffle_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    (void)scratch;
    return sl_vk_emit_unshuffle(p, node->in[0], node->attr.factor, sl_vk_value(p, node->out[0]));
}

typedef struct gate_push {
    uint32_t pixels, width, factor, has_sure;
    float nothing, all;
} gate_push;

static sl_status gate_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    const uint64_t *dim = p->graph->values[node->out[0]].shape.dim;
    const sl_vk_windows all = { .chunk = 1 };
    gate_push push = {
        (uint32_t)(dim[0] * dim[1]), (uint32_t)dim[1],   node->attr.factor ? node->attr.factor : 1,
        node->in[2] != SL_NO_VALUE,  node->attr.fade[0], node->attr.fade[1]
    };
    sl_value sure = node->in[2] ? node->in[2] : node->in[0]; // not read
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_GATE) },
                         .buffer = { sl_vk_value(p, node->in[0]), sl_vk_value(p, node->in[1]),
                                     sl_vk_value(p, sure), sl_vk_value(p, node->out[0]) },
                         .writes = 8,
                         .push_bytes = sizeof(push) };
    (void)scratch;
    if (sl_vk_is_half(p, node->in[0]))
        return sl_fail(p->ctx, SL_ERR_UNSUPPORTED, "%s: only a picture is gated in f16",
                       node->label);
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_groups(p, &all, push.pixels, 256, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

typedef struct certainty_push {
    uint32_t pixels, width, window, shift, rows, columns, has_least; // rows, columns: of windows
} certainty_push;

static sl_status certainty_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    const uint64_t *scores = p->graph->values[node->in[0]].shape.dim;
    const uint64_t *dim = p->graph->values[node->out[0]].shape.dim;
    const sl_vk_windows all = { .chunk = 1 };
    certainty_push push = { (uint32_t)(dim[0] * dim[1]), (uint32_t)dim[1],
                            node->attr.window,           node->attr.shift,
                            (uint32_t)scores[0],         (uint32_t)scores[1],
                            node->in[1] != SL_NO_VALUE };
    sl_value least = node->in[1] ? node->in[1] : node->in[0]; // not read
    sl_vk_dispatch d = { .key = { .kernel = SL_VK_CERTAINTY },
                         .buffer = { sl_vk_value(p, node->in[0]), sl_vk_value(p, least),
                                     sl_vk_value(p, node->out[0]) },
                         .writes = 4,
                         .push_bytes = sizeof(push) };
    (void)scratch;
    if (dim[0] * dim[1] > UINT32_MAX)
        return sl_fail(p->ctx, SL_ERR_LIMIT, "%s: %llu x %llu pixels; use smaller tiles",
                       node->label, (unsigned long long)dim[1], (unsigned long long)dim[0]);
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_groups(p, &all, push.pixels, 256, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

// The host writes inputs before a run.
static sl_status input_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    (void)p;
    (void)node;
    (void)scratch;
    return SL_OK;
}

const sl_vk_op sl_vk_pixel_unshuffle = { .emit = unshuffle_emit };
const sl_vk_op sl_vk_gate = { .emit = gate_emit };
static const sl_vk_op certainty = { .emit = certainty_emit };
static const sl_vk_op input = { .emit = input_emit };
static const sl_vk_op none = { 0 };

static const sl_vk_op *const ops[SL_OP_COUNT] = {
    [SL_OP_INPUT] = &input,
    [SL_OP_PIXEL_UNSHUFFLE] = &sl_vk_pixel_unshuffle,
    [SL_OP_CONV2D] = &sl_vk_conv2d,
    [SL_OP_UPCONV_CONCAT] = &sl_vk_upconv_concat,
    [SL_OP_GATE] = &sl_vk_gate,
    [SL_OP_CERTAINTY] = &certainty,
    [SL_OP_PREDICT] = &sl_vk_predict,
    [SL_OP_SELECT] = &sl_vk_select,
    [SL_OP_WINDOW_BLOCK] = &sl_vk_window_block,
    [SL_OP_WINDOW_GATHER] = &sl_vk_window_gather,
    [SL_OP_WINDOW_SCATTER] = &sl_vk_window_scatter,
    [SL_OP_LAYER_NORM] = &sl_vk_layer_norm,
    [SL_OP_LINEAR] = &sl_vk_linear,
    [SL_OP_WINDOW_ATTENTION] = &sl_vk_window_attention,
    [SL_OP_WINDOW_DWCONV] = &sl_vk_window_dwconv,
    [SL_OP_ADD_POSITION] = &sl_vk_add_position,
    [SL_OP_CLASS_TOKENS] = &sl_vk_class_tokens,
    [SL_OP_SOFT_ATTENTION] = &sl_vk_soft_attention,
    [SL_OP_ATTENTION] = &sl_vk_global_attention,
    [SL_OP_ROWS] = &sl_vk_rows,
    [SL_OP_MEAN] = &sl_vk_mean,
    [SL_OP_UNIT] = &sl_vk_unit,
    [SL_OP_ADD_NEAREST] = &sl_vk_add_nearest,
    [SL_OP_CANDIDATES] = &sl_vk_candidates,
};

const sl_vk_op *sl_vk_op_get(sl_op op)
{
    return (unsigned)op < SL_OP_COUNT && ops[op] ? ops[op] : &none;
}
