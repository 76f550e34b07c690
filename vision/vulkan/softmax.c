// SPDX-License-Identifier: MIT
// vulkan/softmax.c: attention over all rows, which no window bounds.
#include "vulkan/program.h"

#define SLICE_BYTES 8192 // of keys and values: half of the memory that the standard promises
#define KEY_GROUP 4      // as in shaders/global.comp

typedef struct attention_push {
    uint32_t rows, channels, head_dim;
} attention_push;

static sl_status attention_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    const sl_value_info *q = &p->graph->values[node->in[0]];
    uint32_t channels = (uint32_t)q->shape.dim[q->shape.rank - 1];
    uint64_t rows = q->bytes / sizeof(float) / channels;
    attention_push push = { (uint32_t)rows, channels, channels / node->attr.heads };
    uint32_t depth = (push.head_dim + 3) / 4, keys = SLICE_BYTES / (2 * 16 * depth);
    uint32_t queries = rows <= 32 ? 32 : 64;
    keys = keys > 64 ? 64 : keys / KEY_GROUP * KEY_GROUP;
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_GLOBAL),
                                  .spec_count = 3,
                                  .spec = { queries, depth, keys } },
                         .buffer = { sl_vk_value(p, node->in[0]), sl_vk_value(p, node->in[1]),
                                     sl_vk_value(p, node->out[0]) },
                         .writes = 1u << 2,
                         .push_bytes = sizeof(push) };
    const sl_vk_windows all = { .chunk = 1 };
    (void)scratch;
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_groups(p, &all, rows, queries, node->attr.heads, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

const sl_vk_op sl_vk_global_attention = { .emit = attention_emit };
