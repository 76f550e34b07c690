// SPDX-License-Identifier: MIT
// vulkan/soft.c: softmax-free attention, O = K1 (inv(K2) (K1^T V)) and the convolved
// values. K1, tokens by landmarks, is made twice and kept never; what lies between, the landmarks
// and all that is theirs, is f32 whatever the program's precision.
#include "vulkan/soft.h"

#define SLICE_BYTES 8192    // of shared memory: half of what the standard promises
#define LANDMARK_ROWS 2     // of a workgroup, as in shaders/soft_landmarks.comp
#define LEAST_CHUNK 32      // tokens
#define WANTED_GROUPS 2048u // over all chunks: enough for large devices

// ---- sizes

static void plan_groups(sl_vk_soft *s)
{
    uint64_t most;
    s->lanes = (uint64_t)s->tokens * s->heads < (1u << 14) ? 32 : 64;
    s->mark_lanes = s->landmarks <= 32 ? 32 : 64;
    s->mark_blocks = (s->landmarks + s->mark_lanes - 1) / s->mark_lanes;
    most = WANTED_GROUPS / ((uint64_t)s->heads * s->mark_blocks);
    most = most < 8 ? 8 : most > 128 ? 128 : most;
    s->chunk = (uint32_t)((s->tokens + most - 1) / most);
    s->chunk = s->chunk < LEAST_CHUNK ? LEAST_CHUNK : s->chunk;
    s->chunks = (s->tokens + s->chunk - 1) / s->chunk;
}

static sl_vk_soft describe(const sl_vk_program *p, const sl_node *node)
{
    const uint64_t *dim = p->graph->values[node->in[0]].shape.dim;
    const sl_attr *attr = &node->attr;
    uint64_t grid[2];
    sl_landmark_grid(attr, dim[0], dim[1], grid);
    sl_vk_soft s = { .node = node,
                     .height = (uint32_t)dim[0],
                     .width = (uint32_t)dim[1],
                     .tokens = (uint32_t)(dim[0] * dim[1]),
                     .channels = (uint32_t)dim[2],
                     .heads = attr->heads,
                     .dim = (uint32_t)dim[2] / attr->heads,
                     .rows = (uint32_t)grid[0],
                     .columns = (uint32_t)grid[1],
                     .landmarks = (uint32_t)(grid[0] * grid[1]),
                     .is_pooled = attr->landmarks > 0 };
    s.depth = (s.dim + 3) / 4;
    plan_groups(&s);
    uint64_t numbers = (uint64_t)s.landmarks * s.heads * s.depth * 4;
    s.marks_bytes = sl_vk_align(numbers * sizeof(float));
    s.parts_bytes = sl_vk_align(s.chunks * numbers * sizeof(float));
    if (s.is_pooled)
        s.pooled_bytes = sl_vk_align((uint64_t)s.landmarks * attr->factor * attr->factor *
                                     s.channels * sizeof(float));
    sl_vk_soft_plan_inverse(p, &s);
    return s;
}

static size_t soft_scratch(sl_vk_program *p, const sl_node *node)
{
    const sl_vk_soft s = describe(p, node);
    size_t all = sl_vk_soft_inverse_scratch(&s);
    if (!sl_add(all, s.pooled_bytes + 2 * s.marks_bytes + s.parts_bytes, &all))
        return SIZE_MAX; // which the planner refuses
    return all;
}

// ---- landmarks

typedef struct pool_push {
    uint32_t cell_rows, cell_columns, height, width, channels;
} pool_push;

static sl_status emit_pool(sl_vk_program *p, const sl_vk_soft *s, sl_vk_range pooled)
{
    const sl_vk_windows all = { .chunk = 1 };
    uint32_t r = s->node->attr.factor;
    pool_push push = { s->rows * r, s->columns * r, s->height, s->width, s->channels };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_SOFT_POOL) },
                         .buffer = { sl_vk_value(p, s->node->in[0]), pooled },
                         .writes = 1u << 1,
                         .push_bytes = sizeof(push) };
    memcpy(d.push, &push, sizeof(push));
    uint64_t numbers = (uint64_t)push.cell_rows * push.cell_columns * s->channels;
    sl_status st = sl_vk_groups(p, &all, numbers, 256, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

// [d,d,r,r], channels going out first, as [r * r * d, d rounded up to fours].
static sl_status fill_landmarks(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                                size_t numbers)
{
    const uint64_t *dim = node->weight[first]->shape.dim;
    size_t d = (size_t)dim[0], taps = (size_t)(dim[2] * dim[3]), wide = numbers / (taps * d);
    float *plain = sl_alloc(ctx, d * d * taps, sizeof(*plain)); // the tensor's size, which exists
    if (!plain)
        return SL_ERR_NOMEM;
    sl_tensor_to_f32(node->weight[first], plain);
    for (size_t o = 0; o < d; o++)
        for (size_t c = 0; c < d; c++)
            for (size_t tap = 0; tap < taps; tap++)
                out[(tap * d + c) * wide + o] = plain[(o * d + c) * taps + tap];
    free(plain);
    return SL_OK;
}

typedef struct landmarks_push {
    uint32_t landmarks, columns, width, channels, heads;
    float eps;
} landmarks_push;

static sl_status emit_landmarks(sl_vk_program *p, const sl_vk_soft *s, sl_vk_range pooled,
                                sl_vk_range marks)
{
    const sl_vk_windows all = { .chunk = 1 };
    uint32_t r = s->node->attr.factor;
    landmarks_push push = { s->landmarks, s->columns, s->is_pooled ? s->columns * r : s->width,
                            s->channels,  s->heads,   s->node->attr.eps };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_SOFT_LANDMARKS),
                                  .spec_count = 3,
                                  .spec = { s->dim, r, s->is_pooled } },
                         .buffer = { [0] = sl_vk_value(p, s->node->in[0]), [5] = marks },
                         .writes = 1u << 5,
                         .push_bytes = sizeof(push) };
    if (s->is_pooled)
        d.buffer[1] = pooled;
    memcpy(d.push, &push, sizeof(push));
    size_t numbers = (size_t)r * r * s->dim * s->depth * 4;
    sl_status st = sl_vk_weight(p, s->node, SL_SOFT_LANDMARK_W, SL_VK_LANDMARKS, numbers,
                                fill_landmarks, &d.buffer[2]);
    if (st == SL_OK)
        st = sl_vk_plain(p, s->node, SL_SOFT_NORM_W, &d.buffer[3]);
    if (st == SL_OK)
        st = sl_vk_plain(p, s->node, SL_SOFT_NORM_B, &d.buffer[4]);
    if (st == SL_OK)
        st = sl_vk_groups(p, &all, (uint64_t)s->landmarks * s->heads, LANDMARK_ROWS, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

// ---- over the tokens

typedef struct conv_push {
    uint32_t height, width, channels, head_dim, side;
} conv_push;

static sl_status emit_conv(sl_vk_program *p, const sl_vk_soft *s)
{
    const sl_vk_windows all = { .chunk = 1 };
    conv_push push = { s->height, s->width, s->channels, s->dim,
                       (uint32_t)s->node->weight[SL_SOFT_CONV_W]->shape.dim[2] };
    sl_vk_dispatch d = {
        .key = { .kernel = sl_vk_variant(p, SL_VK_SOFT_CONV) },
        .buffer = { [0] = sl_vk_value(p, s->node->in[1]), [2] = sl_vk_value(p, s->node->out[0]) },
        .writes = 1u << 2,
        .push_bytes = sizeof(push)
    };
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_plain(p, s->node, SL_SOFT_CONV_W, &d.buffer[1]);
    if (st == SL_OK)
        st = sl_vk_groups(p, &all, (uint64_t)s->tokens * s->channels, 256, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

// Rows of two matrices that fit a slice of shared memory.
static uint32_t rows_of_slice(const sl_vk_soft *s)
{
    uint32_t rows = SLICE_BYTES / (2 * 16 * s->depth);
    return rows > 64 ? 64 : rows;
}

typedef struct sums_push {
    uint32_t tokens, chunk, landmarks, heads, head_dim;
} sums_push;

static sl_status emit_sums(sl_vk_program *p, const sl_vk_soft *s, sl_vk_range marks,
                           sl_vk_range parts)
{
    sums_push push = { s->tokens, s->chunk, s->landmarks, s->heads, s->dim };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_SOFT_SUMS),
                                  .spec_count = 3,
                                  .spec = { s->mark_lanes, s->depth, rows_of_slice(s) } },
                         .buffer = { sl_vk_value(p, s->node->in[0]), sl_vk_value(p, s->node->in[1]),
                                     marks, parts },
                         .writes = 1u << 3,
                         .push_bytes = sizeof(push),
                         .groups = { s->chunks, s->mark_blocks, s->heads },
                         .slot = SL_VK_NO_SLOT };
    memcpy(d.push, &push, sizeof(push));
    return sl_vk_emit(p, &d);
}

typedef struct gather_push {
    uint32_t landmarks, side, matrix, depth, heads, chunks;
} gather_push;

static sl_status emit_gather(sl_vk_program *p, const sl_vk_soft *s, sl_vk_range inverse,
                             sl_vk_range parts, sl_vk_range values)
{
    gather_push push = { s->landmarks, s->side, s->matrix, s->depth, s->heads, s->chunks };
    sl_vk_dispatch d = { .key = { .kernel = SL_VK_SOFT_GATHER },
                         .buffer = { inverse, parts, values },
                         .writes = 1u << 2,
                         .push_bytes = sizeof(push),
                         .groups = { (s->landmarks + 63) / 64, s->depth, s->heads },
                         .slot = SL_VK_NO_SLOT };
    memcpy(d.push, &push, sizeof(push));
    return sl_vk_emit(p, &d);
}

typedef struct spread_push {
    uint32_t tokens, landmarks, heads, head_dim;
} spread_push;

static sl_status emit_spread(sl_vk_program *p, const sl_vk_soft *s, sl_vk_range marks,
                             sl_vk_range values)
{
    const sl_vk_windows all = { .chunk = 1 };
    spread_push push = { s->tokens, s->landmarks, s->heads, s->dim };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_SOFT_SPREAD),
                                  .spec_count = 3,
                                  .spec = { s->lanes, s->depth, rows_of_slice(s) } },
                         .buffer = { sl_vk_value(p, s->node->in[0]), marks, values,
                                     sl_vk_value(p, s->node->out[0]) },
                         .writes = 1u << 3,
                         .push_bytes = sizeof(push) };
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_groups(p, &all, s->tokens, s->lanes, s->heads, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

// The inverse keeps a few workgroups busy for long: the sums and the convolution, which need
// nothing of it, stand right behind, without a barrier between them.
static sl_status soft_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    const sl_vk_soft s = describe(p, node);
    uint64_t at = s.pooled_bytes;
    sl_vk_range pooled = sl_vk_part(scratch, 0, s.pooled_bytes), inverse;
    sl_vk_range marks = sl_vk_part(scratch, at, s.marks_bytes);
    sl_vk_range values = sl_vk_part(scratch, at += s.marks_bytes, s.marks_bytes);
    sl_vk_range parts = sl_vk_part(scratch, at += s.marks_bytes, s.parts_bytes);
    sl_vk_range rest = sl_vk_part(scratch, at + s.parts_bytes, 0);
    sl_status st = s.is_pooled ? emit_pool(p, &s, pooled) : SL_OK;
    if (st == SL_OK)
        st = emit_landmarks(p, &s, pooled, marks);
    if (st == SL_OK)
        st = sl_vk_emit_soft_inverse(p, &s, marks, rest, &inverse);
    if (st == SL_OK)
        st = emit_sums(p, &s, marks, parts);
    if (st == SL_OK)
        st = emit_conv(p, &s);
    if (st == SL_OK)
        st = emit_gather(p, &s, inverse, parts, values);
    return st == SL_OK ? emit_spread(p, &s, marks, values) : st;
}

const sl_vk_op sl_vk_soft_attention = { .scratch = soft_scratch, .emit = soft_emit };
