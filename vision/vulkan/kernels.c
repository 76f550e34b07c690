// SPDX-License-Identifier: MIT
// vulkan/kernels.c: the shaders, compiled to SPIR-V when the program is built.
#include "vulkan/vk.h"

#include "vulkan/arguments.spv.h"
#include "vulkan/attention.spv.h"
#include "vulkan/attention-half.spv.h"
#include "vulkan/block.spv.h"
#include "vulkan/block-half.spv.h"
#include "vulkan/candidate_box.spv.h"
#include "vulkan/candidate_box-half.spv.h"
#include "vulkan/candidate_pick.spv.h"
#include "vulkan/candidate_score.spv.h"
#include "vulkan/candidate_score-half.spv.h"
#include "vulkan/certainty.spv.h"
#include "vulkan/columns.spv.h"
#include "vulkan/columns-half.spv.h"
#include "vulkan/copy.spv.h"
#include "vulkan/dwconv.spv.h"
#include "vulkan/dwconv-half.spv.h"
#include "vulkan/gate.spv.h"
#include "vulkan/gate-half.spv.h"
#include "vulkan/gemm.spv.h"
#include "vulkan/gemm-half.spv.h"
#include "vulkan/gemm_matrix-half.spv.h"
#include "vulkan/global.spv.h"
#include "vulkan/global-half.spv.h"
#include "vulkan/mean.spv.h"
#include "vulkan/mean-half.spv.h"
#include "vulkan/multiply.spv.h"
#include "vulkan/nearest.spv.h"
#include "vulkan/nearest-half.spv.h"
#include "vulkan/norm.spv.h"
#include "vulkan/norm-half.spv.h"
#include "vulkan/position.spv.h"
#include "vulkan/position-half.spv.h"
#include "vulkan/rows.spv.h"
#include "vulkan/rows-half.spv.h"
#include "vulkan/score.spv.h"
#include "vulkan/score-half.spv.h"
#include "vulkan/select.spv.h"
#include "vulkan/skip.spv.h"
#include "vulkan/skip-half.spv.h"
#include "vulkan/soft_conv.spv.h"
#include "vulkan/soft_conv-half.spv.h"
#include "vulkan/soft_gather.spv.h"
#include "vulkan/soft_invert.spv.h"
#include "vulkan/soft_kernel.spv.h"
#include "vulkan/soft_landmarks.spv.h"
#include "vulkan/soft_landmarks-half.spv.h"
#include "vulkan/soft_pool.spv.h"
#include "vulkan/soft_pool-half.spv.h"
#include "vulkan/soft_product.spv.h"
#include "vulkan/soft_spread.spv.h"
#include "vulkan/soft_spread-half.spv.h"
#include "vulkan/soft_start.spv.h"
#include "vulkan/soft_sums.spv.h"
#include "vulkan/soft_sums-half.spv.h"
#include "vulkan/unit.spv.h"
#include "vulkan/unit-half.spv.h"
#include "vulkan/unshuffle.spv.h"
#include "vulkan/unshuffle-half.spv.h"
#include "vulkan/window.spv.h"
#include "vulkan/window-half.spv.h"

#define SHADER(shader, count)                                                                      \
    {                                                                                              \
        .name = #shader, .code = sl_spv_##shader, .bytes = sizeof(sl_spv_##shader),                \
        .buffers = (count)                                                                         \
    }

static const sl_vk_shader shaders[SL_VK_KERNEL_COUNT] = {
    [SL_VK_GEMM] = SHADER(gemm, 7),
    [SL_VK_NORM] = SHADER(norm, 6),
    [SL_VK_ATTENTION] = SHADER(attention, 5),
    [SL_VK_DWCONV] = SHADER(dwconv, 5),
    [SL_VK_WINDOW] = SHADER(window, 3),
    [SL_VK_COLUMNS] = SHADER(columns, 4),
    [SL_VK_SCORE] = SHADER(score, 3),
    [SL_VK_SELECT] = SHADER(select, 3),
    [SL_VK_ARGUMENTS] = SHADER(arguments, 3),
    [SL_VK_UNSHUFFLE] = SHADER(unshuffle, 2),
    [SL_VK_GATE] = SHADER(gate, 4),
    [SL_VK_CERTAINTY] = SHADER(certainty, 3),
    [SL_VK_SKIP] = SHADER(skip, 2),
    [SL_VK_COPY] = SHADER(copy, 2),
    [SL_VK_MULTIPLY] = SHADER(multiply, 2),
    [SL_VK_BLOCK] = SHADER(block, 8),
    [SL_VK_POSITION] = SHADER(position, 4),
    [SL_VK_ROWS] = SHADER(rows, 2),
    [SL_VK_MEAN] = SHADER(mean, 3),
    [SL_VK_UNIT] = SHADER(unit, 2),
    [SL_VK_GLOBAL] = SHADER(global, 3),
    [SL_VK_SOFT_POOL] = SHADER(soft_pool, 2),
    [SL_VK_SOFT_LANDMARKS] = SHADER(soft_landmarks, 6),
    [SL_VK_SOFT_CONV] = SHADER(soft_conv, 3),
    [SL_VK_SOFT_SUMS] = SHADER(soft_sums, 4),
    [SL_VK_SOFT_SPREAD] = SHADER(soft_spread, 4),
    [SL_VK_SOFT_INVERT] = SHADER(soft_invert, 4),
    [SL_VK_SOFT_KERNEL] = SHADER(soft_kernel, 3),
    [SL_VK_SOFT_START] = SHADER(soft_start, 4),
    [SL_VK_SOFT_PRODUCT] = SHADER(soft_product, 5),
    [SL_VK_SOFT_GATHER] = SHADER(soft_gather, 3),
    [SL_VK_NEAREST] = SHADER(nearest, 2),
    [SL_VK_CANDIDATE_SCORE] = SHADER(candidate_score, 4),
    [SL_VK_CANDIDATE_PICK] = SHADER(candidate_pick, 5),
    [SL_VK_CANDIDATE_BOX] = SHADER(candidate_box, 6),
    [SL_VK_HALF + SL_VK_GEMM] = SHADER(gemm_half, 7),
    [SL_VK_HALF + SL_VK_NORM] = SHADER(norm_half, 6),
    [SL_VK_HALF + SL_VK_ATTENTION] = SHADER(attention_half, 5),
    [SL_VK_HALF + SL_VK_DWCONV] = SHADER(dwconv_half, 5),
    [SL_VK_HALF + SL_VK_WINDOW] = SHADER(window_half, 3),
    [SL_VK_HALF + SL_VK_COLUMNS] = SHADER(columns_half, 4),
    [SL_VK_HALF + SL_VK_SCORE] = SHADER(score_half, 3),
    [SL_VK_HALF + SL_VK_UNSHUFFLE] = SHADER(unshuffle_half, 2),
    [SL_VK_HALF + SL_VK_GATE] = SHADER(gate_half, 4),
    [SL_VK_HALF + SL_VK_SKIP] = SHADER(skip_half, 2),
    [SL_VK_HALF + SL_VK_BLOCK] = SHADER(block_half, 8),
    [SL_VK_HALF + SL_VK_POSITION] = SHADER(position_half, 4),
    [SL_VK_HALF + SL_VK_ROWS] = SHADER(rows_half, 2),
    [SL_VK_HALF + SL_VK_MEAN] = SHADER(mean_half, 3),
    [SL_VK_HALF + SL_VK_UNIT] = SHADER(unit_half, 2),
    [SL_VK_HALF + SL_VK_GLOBAL] = SHADER(global_half, 3),
    [SL_VK_HALF + SL_VK_SOFT_POOL] = SHADER(soft_pool_half, 2),
    [SL_VK_HALF + SL_VK_SOFT_LANDMARKS] = SHADER(soft_landmarks_half, 6),
    [SL_VK_HALF + SL_VK_SOFT_CONV] = SHADER(soft_conv_half, 3),
    [SL_VK_HALF + SL_VK_SOFT_SUMS] = SHADER(soft_sums_half, 4),
    [SL_VK_HALF + SL_VK_SOFT_SPREAD] = SHADER(soft_spread_half, 4),
    [SL_VK_HALF + SL_VK_NEAREST] = SHADER(nearest_half, 2),
    [SL_VK_HALF + SL_VK_CANDIDATE_SCORE] = SHADER(candidate_score_half, 4),
    [SL_VK_HALF + SL_VK_CANDIDATE_BOX] = SHADER(candidate_box_half, 6),
    [SL_VK_HALF + SL_VK_GEMM_MATRIX] = { .name = "gemm_matrix_half",
                                         .code = sl_spv_gemm_matrix_half,
                                         .bytes = sizeof(sl_spv_gemm_matrix_half),
                                         .buffers = 7,
                                         .by_subgroup = true },
};

const sl_vk_shader *sl_vk_shader_get(sl_vk_kernel kernel)
{
    return &shaders[kernel];
}
