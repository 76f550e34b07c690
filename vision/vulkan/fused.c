// SPDX-License-Identifier: MIT
// vulkan/fused.c: an LMD-ViT block as one kernel, a workgroup a window: for levels that are shallow
// enough for a window to stay in shared memory. It wants no scratch memory.
#include "vulkan/program.h"

#define WINDOW 8u
#define TOKENS (WINDOW * WINDOW)
#define MOST_SHARED 32768u // what all but the smallest devices have; two such groups fit in most
#define MOST_CHANNELS 128u // of the window, whose sums a group keeps in registers
#define MOST_HEAD 64u      // channels: a thread keeps a query

typedef struct fused_push {
    uint32_t windows, shift, height, width, heads, hidden4, channels4, head4, ld_qkv, ld_proj,
        ld_ff1, ld_ff2;
    float eps;
} fused_push;

typedef struct shape {
    uint32_t height, width, channels, heads, hidden;
} shape;

static shape shape_of(const sl_vk_program *p, const sl_node *node)
{
    const uint64_t *dim = p->graph->values[node->in[0]].shape.dim;
    return (shape) { .height = (uint32_t)dim[0],
                     .width = (uint32_t)dim[1],
                     .channels = (uint32_t)dim[2],
                     .heads = node->attr.heads,
                     .hidden = (uint32_t)node->weight[SL_BLOCK_FF1_W]->shape.dim[0] };
}

// As shaders/block.comp declares it.
static uint64_t shared_bytes(const sl_vk_program *p, const shape *s, uint32_t slice)
{
    uint32_t head = s->channels / s->heads, wide = head > slice ? head : slice;
    uint64_t fours = (s->channels / 4 | 1) + (wide / 4 | 1);
    return TOKENS * fours * 4 * sl_vk_number(p) + 256 * sizeof(float);
}

bool sl_vk_fused_fits(const sl_vk_program *p, const sl_node *node, uint32_t slice)
{
    const sl_vk_limits *limits = &p->device->info.limits;
    shape s = shape_of(p, node);
    uint32_t head = s.channels / s.heads;
    uint64_t most = limits->shared_bytes < MOST_SHARED ? limits->shared_bytes : MOST_SHARED;
    return node->attr.window == WINDOW && s.channels % 4 == 0 && head % 4 == 0 &&
           s.hidden % 4 == 0 && s.channels <= MOST_CHANNELS && head <= MOST_HEAD &&
           shared_bytes(p, &s, slice) <= most;
}

// ---- weights

// All vectors, one behind the other, and the modulator and the taps; the order is the kernel's.
static sl_status fill_vectors(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                              size_t numbers)
{
    static const sl_block_weight order[] = { SL_BLOCK_NORM1_B, SL_BLOCK_MODULATOR, SL_BLOCK_Q_B,
                                             SL_BLOCK_KV_B,    SL_BLOCK_PROJ_B,    SL_BLOCK_NORM2_W,
                                             SL_BLOCK_NORM2_B, SL_BLOCK_FF2_B,     SL_BLOCK_FF1_B,
                                             SL_BLOCK_DW_B };
    size_t channels = (size_t)node->weight[first]->shape.dim[0];
    size_t hidden = (size_t)node->weight[SL_BLOCK_DW_B]->shape.dim[0];
    float *end = out + numbers - 9 * hidden, *plain = sl_alloc(ctx, hidden, 9 * sizeof(*plain));
    if (!plain)
        return SL_ERR_NOMEM;
    sl_tensor_to_f32(node->weight[first], out);
    out += channels;
    for (size_t i = 0; i < SL_ARRAY_LEN(order); i++) {
        const sl_tensor *t = node->weight[order[i]];
        size_t count = TOKENS * channels; // a modulator that is missing adds zeros
        if (t) {
            sl_tensor_to_f32(t, out);
            sl_shape_elements(&t->shape, &count);
        }
        out += count;
    }
    sl_tensor_to_f32(node->weight[SL_BLOCK_DW_W], plain);
    for (size_t c = 0; c < hidden; c++)
        for (size_t tap = 0; tap < 9; tap++)
            end[tap * hidden + c] = plain[c * 9 + tap];
    free(plain);
    return SL_OK;
}

static sl_status find_weights(sl_vk_program *p, const sl_node *node, const shape *s,
                              sl_vk_range buffer[SL_VK_MAX_BUFFERS])
{
    size_t vectors = 73 * (size_t)s->channels + 11 * (size_t)s->hidden;
    sl_status st = sl_vk_weight(p, node, SL_BLOCK_NORM1_W, SL_VK_BLOCK_VECTORS, vectors,
                                fill_vectors, &buffer[2]);
    if (st == SL_OK)
        st = sl_vk_plain(p, node, SL_BLOCK_BIAS_TABLE, &buffer[3]);
    if (st == SL_OK)
        st = sl_vk_qkv(p, node, &buffer[4]);
    if (st == SL_OK)
        st = sl_vk_matrix(p, node, SL_BLOCK_PROJ_W, &buffer[5]);
    if (st == SL_OK)
        st = sl_vk_matrix(p, node, SL_BLOCK_FF1_W, &buffer[6]);
    return st == SL_OK ? sl_vk_matrix(p, node, SL_BLOCK_FF2_W, &buffer[7]) : st;
}

// ---- the dispatch

// A row of a matrix of that many columns, in fours. One row is kept as 16 are.
static uint32_t row_fours(uint32_t columns)
{
    return (uint32_t)(sl_vk_matrix_numbers(columns, 1) / 16 / 4);
}

sl_status sl_vk_emit_fused(sl_vk_program *p, const sl_node *node, uint32_t slice)
{
    shape s = shape_of(p, node);
    const sl_vk_windows w = { .list = node->in[1],
                              .chunk = s.height / WINDOW * (s.width / WINDOW) };
    bool has_list = node->in[1] != SL_NO_VALUE;
    fused_push push = { .windows = w.chunk,
                        .shift = node->attr.shift,
                        .height = s.height,
                        .width = s.width,
                        .heads = s.heads,
                        .hidden4 = s.hidden / 4,
                        .channels4 = s.channels / 4,
                        .head4 = s.channels / s.heads / 4,
                        .ld_qkv = row_fours(3 * s.channels),
                        .ld_proj = row_fours(s.channels),
                        .ld_ff1 = row_fours(s.hidden),
                        .ld_ff2 = row_fours(s.channels),
                        .eps = node->attr.eps };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_BLOCK),
                                  .spec_count = 4,
                                  .spec = { s.channels / 4, s.channels / s.heads / 4, slice / 4,
                                            has_list } },
                         .buffer = { sl_vk_value(p, node->out[0]), sl_vk_value(p, node->in[1]) },
                         .writes = 1,
                         .push_bytes = sizeof(push) };
    sl_status st = find_weights(p, node, &s, d.buffer);
    memcpy(d.push, &push, sizeof(push));
    if (st == SL_OK)
        st = sl_vk_groups(p, &w, 1, 1, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}
