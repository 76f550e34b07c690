// SPDX-License-Identifier: MIT
// vulkan/soft.h: softmax-free attention as its two files share it: soft.c, which goes over
// the tokens, and soft_inverse.c, which inverts the kernel matrix of the landmarks.
#ifndef SL_VULKAN_SOFT_H
#define SL_VULKAN_SOFT_H

#include "vulkan/program.h"

typedef struct sl_vk_soft {
    const sl_node *node;
    uint32_t height, width, tokens, channels, heads;
    uint32_t dim, depth;                 // channels of a head, and in fours, rounded up
    uint32_t rows, columns, landmarks;   // the grid of landmarks, and their number
    uint32_t side;                       // landmarks, rounded up to fours: numbers of a row
    uint32_t matrix;                     // numbers of a head's matrix, up to the next binding
    uint32_t blocks;                     // of 256 landmarks
    uint32_t lanes, mark_lanes;          // workgroups over tokens, over landmarks
    uint32_t mark_blocks, chunk, chunks; // of landmarks in workgroups; of tokens, and their number
    bool is_pooled;                      // to a grid that does not depend on the map
    bool in_shared;                      // the inverse fits the memory of a workgroup
    uint64_t pooled_bytes, marks_bytes, parts_bytes; // scratch: pooled, marks, values, parts, ...
    uint64_t matrix_bytes, sums_bytes, rest_bytes;   // and what the inverse wants
} sl_vk_soft;

// The inverse's part of the description, and the scratch that it wants: matrices, row sums, alphas
// and residuals. SIZE_MAX: more than there can be.
void sl_vk_soft_plan_inverse(const sl_vk_program *p, sl_vk_soft *s);
size_t sl_vk_soft_inverse_scratch(const sl_vk_soft *s);

// marks: [heads, landmarks, depth, 4] f32. *inverse: [heads, matrix] f32, each transposed, rows of
// `side` numbers.
sl_status sl_vk_emit_soft_inverse(sl_vk_program *p, const sl_vk_soft *s, sl_vk_range marks,
                                  sl_vk_range scratch, sl_vk_range *inverse);

#endif
