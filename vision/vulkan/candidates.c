// SPDX-License-Identifier: MIT
// vulkan/candidates.c: the ends of a detector: maps onto finer ones, and the best boxes of a level,
// chosen and decoded without the host. Twin: cpu/candidates.c
#include "vulkan/program.h"

// ---- maps onto finer ones

typedef struct nearest_push {
    uint32_t count, height, width, channels, coarse_height, coarse_width;
} nearest_push;

static sl_status nearest_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    const sl_value_info *x = &p->graph->values[node->in[0]];
    const uint64_t *fine = x->shape.dim, *coarse = p->graph->values[node->in[1]].shape.dim;
    const sl_vk_windows all = { .chunk = 1 };
    nearest_push push = { (uint32_t)(x->bytes / sizeof(float)),
                          (uint32_t)fine[0],
                          (uint32_t)fine[1],
                          (uint32_t)fine[2],
                          (uint32_t)coarse[0],
                          (uint32_t)coarse[1] };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_NEAREST) },
                         .buffer = { sl_vk_value(p, node->in[1]), sl_vk_value(p, node->out[0]) },
                         .writes = 1u << 1,
                         .push_bytes = sizeof(push) };
    (void)scratch; // in place: the planner gave the output the map's memory
    if (x->bytes / sizeof(float) > UINT32_MAX || fine[0] * coarse[0] > UINT32_MAX ||
        fine[1] * coarse[1] > UINT32_MAX)
        return sl_fail(p->ctx, SL_ERR_LIMIT, "%s: a map of %llu x %llu is too large", node->label,
                       (unsigned long long)fine[0], (unsigned long long)fine[1]);
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_groups(p, &all, push.count, 256, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

// ---- the best boxes of a level

#define BLOCK 4096u // scores of a workgroup
#define BINS 1024u
#define LEVELS 3u // histograms of ten bits each

typedef enum pick_step { CLEAR, SECOND, THIRD, COUNT, GATHER } pick_step;

typedef struct layout { // of the scratch memory
    uint32_t count, blocks, limit;
    uint64_t key_bytes, histogram_bytes, block_bytes, chosen_bytes;
} layout;

static layout lay_out(const sl_vk_program *p, const sl_node *node)
{
    layout l = { .count = (uint32_t)(p->graph->values[node->in[0]].bytes / sizeof(float)),
                 .limit = node->attr.limit };
    l.blocks = l.count / BLOCK + (l.count % BLOCK != 0);
    l.key_bytes = sl_vk_align((uint64_t)l.count * sizeof(uint32_t));
    l.histogram_bytes = sl_vk_align(LEVELS * BINS * sizeof(uint32_t));
    l.block_bytes = sl_vk_align((uint64_t)l.blocks * 2 * sizeof(uint32_t));
    l.chosen_bytes = sl_vk_align((uint64_t)l.limit * 2 * sizeof(uint32_t));
    return l;
}

static size_t candidates_scratch(sl_vk_program *p, const sl_node *node)
{
    layout l = lay_out(p, node);
    return l.key_bytes + l.histogram_bytes + l.block_bytes + l.chosen_bytes;
}

typedef struct places {
    sl_vk_range keys, histograms, blocks, chosen, counts;
} places;

static places find_places(const sl_vk_program *p, const sl_node *node, const layout *l,
                          sl_vk_range scratch)
{
    uint64_t at = l->key_bytes;
    places s = { .keys = sl_vk_part(scratch, 0, l->key_bytes),
                 .counts = sl_vk_value(p, node->out[1]) };
    s.histograms = sl_vk_part(scratch, at, l->histogram_bytes);
    s.blocks = sl_vk_part(scratch, at += l->histogram_bytes, l->block_bytes);
    s.chosen = sl_vk_part(scratch, at + l->block_bytes, l->chosen_bytes);
    return s;
}

typedef struct score_push {
    uint32_t count;
    float threshold;
} score_push;

static sl_status emit_scores(sl_vk_program *p, const sl_node *node, const layout *l,
                             const places *s)
{
    const score_push push = { l->count, node->attr.threshold };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_CANDIDATE_SCORE) },
                         .buffer = { sl_vk_value(p, node->in[0]), s->keys, s->histograms,
                                     s->counts },
                         .writes = 1u << 1 | 1u << 2 | 1u << 3,
                         .push_bytes = sizeof(push),
                         .groups = { l->blocks, 1, 1 },
                         .slot = SL_VK_NO_SLOT };
    memcpy(d.push, &push, sizeof(push));
    return sl_vk_emit(p, &d);
}

typedef struct pick_push {
    uint32_t count, limit, blocks;
} pick_push;

static sl_status emit_pick(sl_vk_program *p, const layout *l, const places *s, pick_step step)
{
    const pick_push push = { l->count, l->limit, l->blocks };
    sl_vk_dispatch d = {
        .key = { .kernel = SL_VK_CANDIDATE_PICK, .spec_count = 1, .spec = { step } },
        .buffer = { s->keys, s->histograms, s->blocks, s->chosen, s->counts },
        .push_bytes = sizeof(push),
        .groups = { step == CLEAR ? 1 : l->blocks, 1, 1 },
        .slot = SL_VK_NO_SLOT
    };
    switch (step) {
    case CLEAR:
        d.writes = 1u << 1 | 1u << 4;
        break;
    case SECOND:
    case THIRD:
        d.writes = 1u << 1;
        break;
    case COUNT:
        d.writes = 1u << 2;
        break;
    case GATHER:
        d.writes = 1u << 3 | 1u << 4;
        break;
    }
    memcpy(d.push, &push, sizeof(push));
    return sl_vk_emit(p, &d);
}

typedef struct box_push {
    uint32_t limit, width, anchors, classes;
    float stride;
} box_push;

static sl_status emit_boxes(sl_vk_program *p, const sl_node *node, const places *s)
{
    const uint64_t *cls = p->graph->values[node->in[0]].shape.dim;
    uint32_t anchors = (uint32_t)node->weight[0]->shape.dim[0];
    const box_push push = { node->attr.limit, (uint32_t)cls[1], anchors, (uint32_t)cls[2] / anchors,
                            (float)node->attr.stride };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_CANDIDATE_BOX) },
                         .buffer = { [0] = s->chosen,
                                     [1] = sl_vk_value(p, node->in[1]),
                                     [3] = sl_vk_value(p, node->in[2]),
                                     [4] = sl_vk_value(p, node->out[0]),
                                     [5] = s->counts },
                         .writes = 1u << 4 | 1u << 5,
                         .push_bytes = sizeof(push),
                         .groups = { (node->attr.limit + 63) / 64, 1, 1 },
                         .slot = SL_VK_NO_SLOT };
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_plain(p, node, 0, &d.buffer[2]);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

static sl_status candidates_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    layout l = lay_out(p, node);
    places s = find_places(p, node, &l, scratch);
    if (sl_vk_is_half(p, node->in[2]))
        return sl_fail(p->ctx, SL_ERR_UNSUPPORTED,
                       "%s: in f16 a picture's extent must be an input; use f32", node->label);
    sl_status st = emit_pick(p, &l, &s, CLEAR);
    if (st == SL_OK)
        st = emit_scores(p, node, &l, &s);
    for (pick_step step = SECOND; step <= GATHER && st == SL_OK; step++)
        st = emit_pick(p, &l, &s, step);
    return st == SL_OK ? emit_boxes(p, node, &s) : st;
}

const sl_vk_op sl_vk_add_nearest = { .emit = nearest_emit };
const sl_vk_op sl_vk_candidates = { .scratch = candidates_scratch, .emit = candidates_emit };
