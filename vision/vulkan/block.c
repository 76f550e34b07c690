// SPDX-License-Identifier: MIT
// vulkan/block.c: an LMD-ViT block, as one kernel (fused.c) or as eight over packed windows. Wide
// maps go through the eight in chunks of windows, which share the scratch memory.
#include "vulkan/program.h"

#define SCRATCH_BYTES ((uint64_t)64 << 20) // of a chunk, about
// On a card with much memory. These are 17,000 rows of 192 channels in f32, 140,000 of 24: they
// fill a large card, and more would only be taken from the tiles, as --memory bounds both.
#define MOST_SCRATCH_BYTES ((uint64_t)128 << 20)
#define USUALLY_FUSED 64u // channels, where nothing was measured and there are no matrix units

typedef struct block {
    const sl_node *node;
    uint32_t channels, hidden, tokens, windows, chunk;
    uint32_t height, width;
    uint64_t rows_bytes, wide_bytes, hidden_bytes; // [chunk * N, C], the larger of 3C and M, M
    sl_vk_range norm1_w, norm1_b, modulator, table, qkv, qkv_b, proj, proj_b, norm2_w, norm2_b, ff1,
        ff1_b, taps, dw_b, ff2, ff2_b;
} block;

// Between two of a chunk's eight kernels the device waits for the last of the first: a card with
// many processors wants large chunks.
static uint64_t scratch_bytes(const sl_vk_info *info)
{
    uint64_t bytes = info->type == SL_VK_DISCRETE ? info->memory_bytes / 64 : 0;
    return bytes < SCRATCH_BYTES        ? SCRATCH_BYTES
           : bytes > MOST_SCRATCH_BYTES ? MOST_SCRATCH_BYTES
                                        : bytes;
}

static block describe(const sl_vk_program *p, const sl_node *node)
{
    const uint64_t *dim = p->graph->values[node->in[0]].shape.dim, number = sl_vk_number(p);
    block b = { .node = node,
                .height = (uint32_t)dim[0],
                .width = (uint32_t)dim[1],
                .channels = (uint32_t)dim[2],
                .hidden = (uint32_t)node->weight[SL_BLOCK_FF1_W]->shape.dim[0],
                .tokens = node->attr.window * node->attr.window };
    uint64_t wide = b.hidden > 3 * b.channels ? b.hidden : 3 * b.channels;
    uint64_t window_bytes = b.tokens * number * (2 * b.channels + wide + b.hidden);
    b.windows = (uint32_t)(dim[0] * dim[1] / b.tokens);
    uint64_t fit = scratch_bytes(&p->device->info) / window_bytes;
    b.chunk = fit < 1 ? 1 : fit > b.windows ? b.windows : (uint32_t)fit;
    uint64_t rows = (uint64_t)b.chunk * b.tokens * number;
    b.rows_bytes = sl_vk_align(rows * b.channels);
    b.wide_bytes = sl_vk_align(rows * wide);
    b.hidden_bytes = sl_vk_align(rows * b.hidden);
    return b;
}

// The ways of a block: the chain, or one kernel that takes so many hidden channels at a time.
static const uint32_t slices[] = { 0, 32, 64 };

static uint32_t slice_of(sl_vk_program *p, const sl_node *node)
{
    sl_vk_want want = { .question = { .question = SL_VK_WHICH_FORM }, .ways = 1, .node = node };
    block b = describe(p, node);
    for (uint32_t i = 1; i < SL_ARRAY_LEN(slices); i++)
        if (p->device->block_form != SL_VK_CHAIN && sl_vk_fused_fits(p, node, slices[i]))
            want.ways |= 1u << i;
    bool by_matrix = p->half && p->device->info.matrix.m > 0;
    if ((b.channels <= USUALLY_FUSED && !by_matrix) || p->device->block_form == SL_VK_FUSED)
        want.usual = want.ways >> 1 & 1;
    if (p->device->block_form == SL_VK_FUSED && want.ways > 1)
        want.ways &= ~1u;
    want.windows = b.windows;
    const uint32_t about[] = {
        p->half, b.channels, b.hidden, node->attr.heads, sl_vk_size_class(b.windows), b.tokens
    };
    memcpy(want.question.about, about, sizeof(about));
    return slices[sl_vk_choose(p, &want)];
}

static size_t block_scratch(sl_vk_program *p, const sl_node *node)
{
    if (slice_of(p, node) && !p->is_draft) // a draft is made before it is known
        return 0;
    block b = describe(p, node);
    return 2 * b.rows_bytes + b.wide_bytes + b.hidden_bytes;
}

// ---- weights

static sl_status fill_qkv(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                          size_t numbers)
{
    size_t c = (size_t)node->weight[first]->shape.dim[0];
    float *plain = sl_alloc(ctx, 3 * c * c, sizeof(*plain));
    (void)numbers;
    if (!plain)
        return SL_ERR_NOMEM;
    sl_tensor_to_f32(node->weight[SL_BLOCK_Q_W], plain);
    sl_tensor_to_f32(node->weight[SL_BLOCK_KV_W], plain + c * c);
    for (size_t r = 0; r < 3 * c; r++)
        for (size_t k = 0; k < c; k++)
            sl_vk_matrix_put(out, 3 * c, c, r, k, plain[r * c + k]);
    free(plain);
    return SL_OK;
}

static sl_status fill_qkv_bias(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                               size_t numbers)
{
    (void)ctx;
    sl_tensor_to_f32(node->weight[first], out);
    sl_tensor_to_f32(node->weight[SL_BLOCK_KV_B], out + numbers / 3);
    return SL_OK;
}

sl_status sl_vk_qkv(sl_vk_program *p, const sl_node *node, sl_vk_range *out)
{
    size_t c = (size_t)node->weight[SL_BLOCK_Q_W]->shape.dim[0];
    return sl_vk_weight(p, node, SL_BLOCK_Q_W, SL_VK_QKV, sl_vk_matrix_numbers(3 * c, c), fill_qkv,
                        out);
}

static sl_status find_weights(sl_vk_program *p, block *b)
{
    static const struct {
        sl_block_weight weight;
        size_t range;
    } plain[] = {
        { SL_BLOCK_NORM1_W, offsetof(block, norm1_w) },
        { SL_BLOCK_NORM1_B, offsetof(block, norm1_b) },
        { SL_BLOCK_MODULATOR, offsetof(block, modulator) },
        { SL_BLOCK_BIAS_TABLE, offsetof(block, table) },
        { SL_BLOCK_PROJ_B, offsetof(block, proj_b) },
        { SL_BLOCK_NORM2_W, offsetof(block, norm2_w) },
        { SL_BLOCK_NORM2_B, offsetof(block, norm2_b) },
        { SL_BLOCK_FF1_B, offsetof(block, ff1_b) },
        { SL_BLOCK_DW_B, offsetof(block, dw_b) },
        { SL_BLOCK_FF2_B, offsetof(block, ff2_b) },
    };
    const sl_node *node = b->node;
    size_t c = b->channels;
    sl_status st = SL_OK;
    for (size_t i = 0; i < SL_ARRAY_LEN(plain) && st == SL_OK; i++)
        if (node->weight[plain[i].weight])
            st = sl_vk_plain(p, node, plain[i].weight,
                             (sl_vk_range *)(void *)((char *)b + plain[i].range));
    if (st == SL_OK)
        st = sl_vk_qkv(p, node, &b->qkv);
    if (st == SL_OK)
        st = sl_vk_weight(p, node, SL_BLOCK_Q_B, SL_VK_QKV_BIAS, 3 * c, fill_qkv_bias, &b->qkv_b);
    if (st == SL_OK)
        st = sl_vk_matrix(p, node, SL_BLOCK_PROJ_W, &b->proj);
    if (st == SL_OK)
        st = sl_vk_matrix(p, node, SL_BLOCK_FF1_W, &b->ff1);
    if (st == SL_OK)
        st = sl_vk_matrix(p, node, SL_BLOCK_FF2_W, &b->ff2);
    if (st == SL_OK)
        st = sl_vk_taps(p, node, SL_BLOCK_DW_W, &b->taps);
    return st;
}

// ---- one chunk

typedef struct chunk {
    sl_vk_windows windows;
    sl_vk_range map, rows, normed, wide, hidden; // wide: q, k, v; then the hidden layer
} chunk;

static sl_vk_gemm product(const block *b, const chunk *k, sl_vk_range a, uint32_t lda,
                          sl_vk_range weight, sl_vk_range bias, sl_vk_range c, uint32_t n)
{
    return (sl_vk_gemm) { .a = a,
                          .lda = lda,
                          .k = lda,
                          .b = weight,
                          .bias = bias,
                          .c = c,
                          .n = n,
                          .ldc = n,
                          .ldr = b->channels,
                          .windows = &k->windows,
                          .window = b->node->attr.window,
                          .shift = b->node->attr.shift,
                          .height = b->height,
                          .width = b->width };
}

static sl_status emit_attention(sl_vk_program *p, const block *b, const chunk *k)
{
    const sl_attr *attr = &b->node->attr;
    uint32_t c = b->channels;
    sl_vk_norm norm = { .x = k->map,
                        .y = k->normed,
                        .weight = b->norm1_w,
                        .bias = b->norm1_b,
                        .add = b->modulator,
                        .channels = c,
                        .tokens = b->tokens,
                        .windows = &k->windows,
                        .from_map = true,
                        .window = attr->window,
                        .shift = attr->shift,
                        .height = b->height,
                        .width = b->width,
                        .eps = attr->eps };
    sl_vk_gemm qkv = product(b, k, k->normed, c, b->qkv, b->qkv_b, k->wide, 3 * c);
    sl_vk_attention attention = { .q = k->wide,
                                  .kv = k->wide,
                                  .table = b->table,
                                  .out = k->normed,
                                  .ldq = 3 * c,
                                  .ldkv = 3 * c,
                                  .k_at = c,
                                  .v_at = 2 * c,
                                  .ldo = c,
                                  .heads = attr->heads,
                                  .head_dim = c / attr->heads,
                                  .window = attr->window,
                                  .shift = attr->shift,
                                  .rows = b->height / attr->window,
                                  .columns = b->width / attr->window,
                                  .windows = &k->windows };
    sl_vk_gemm proj = product(b, k, k->normed, c, b->proj, b->proj_b, k->rows, c);
    proj.add = SL_VK_RESIDUAL_WINDOWS;
    proj.residual = k->map;
    sl_status st = sl_vk_emit_norm(p, &norm);
    if (st == SL_OK)
        st = sl_vk_emit_gemm(p, &qkv);
    if (st == SL_OK)
        st = sl_vk_emit_attention(p, &attention);
    return st == SL_OK ? sl_vk_emit_gemm(p, &proj) : st;
}

static sl_status emit_feed_forward(sl_vk_program *p, const block *b, const chunk *k)
{
    uint32_t c = b->channels, m = b->hidden;
    sl_vk_norm norm = { .x = k->rows,
                        .y = k->normed,
                        .weight = b->norm2_w,
                        .bias = b->norm2_b,
                        .channels = c,
                        .tokens = b->tokens,
                        .windows = &k->windows,
                        .eps = b->node->attr.eps };
    sl_vk_gemm ff1 = product(b, k, k->normed, c, b->ff1, b->ff1_b, k->wide, m);
    ff1.act = SL_ACT_GELU;
    sl_vk_dwconv dwconv = { .x = k->wide,
                            .y = k->hidden,
                            .taps = b->taps,
                            .bias = b->dw_b,
                            .window = b->node->attr.window,
                            .channels = m,
                            .act = SL_ACT_GELU,
                            .windows = &k->windows };
    sl_vk_gemm ff2 = product(b, k, k->hidden, m, b->ff2, b->ff2_b, k->map, c);
    ff2.to = SL_VK_TO_WINDOWS;
    ff2.add = SL_VK_RESIDUAL_ROWS;
    ff2.residual = k->rows;
    sl_status st = sl_vk_emit_norm(p, &norm);
    if (st == SL_OK)
        st = sl_vk_emit_gemm(p, &ff1);
    if (st == SL_OK)
        st = sl_vk_emit_dwconv(p, &dwconv);
    return st == SL_OK ? sl_vk_emit_gemm(p, &ff2) : st;
}

static sl_status emit_chain(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    block b = describe(p, node);
    sl_status st = find_weights(p, &b);
    chunk k = { .windows = { .list = node->in[1] },
                .map = sl_vk_value(p, node->out[0]), // in place
                .rows = sl_vk_part(scratch, 0, b.rows_bytes),
                .normed = sl_vk_part(scratch, b.rows_bytes, b.rows_bytes),
                .wide = sl_vk_part(scratch, 2 * b.rows_bytes, b.wide_bytes),
                .hidden = sl_vk_part(scratch, 2 * b.rows_bytes + b.wide_bytes, b.hidden_bytes) };
    for (uint32_t first = 0; first < b.windows && st == SL_OK; first += b.chunk) {
        k.windows.first = first;
        k.windows.chunk = b.windows - first < b.chunk ? b.windows - first : b.chunk;
        st = emit_attention(p, &b, &k);
        if (st == SL_OK)
            st = emit_feed_forward(p, &b, &k);
    }
    return st;
}

static sl_status block_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    uint32_t slice = slice_of(p, node);
    sl_status st = SL_OK;
    if (slice)
        st = sl_vk_emit_fused(p, node, slice);
    // A draft takes both ways: how fast the chain is depends on what it wants to know itself.
    return st == SL_OK && (!slice || p->is_draft) ? emit_chain(p, node, scratch) : st;
}

const sl_vk_op sl_vk_window_block = { .scratch = block_scratch, .emit = block_emit };
