// SPDX-License-Identifier: MIT
// c = act(a b + bias) + residual in f16, on the device's own matrix units: cooperative matrices,
// whose products of f16 are summed in f32. Slices of a and b pass through shared memory; each
// subgroup keeps SUB_ROWS x SUB_COLUMNS matrices of sums, and lays them down one by one for the
// epilogue. Built for VK_KHR_cooperative_matrix, or VK_NV_cooperative_matrix where the compiler is
// older than that (KHR is not defined). The subgroup's size is asked for with the pipeline.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#ifdef KHR
#extension GL_KHR_cooperative_matrix : require
#else
#extension GL_NV_cooperative_matrix : require
#endif
#pragma use_vulkan_memory_model
#include "common.glsl"
#include "gemm.glsl"

layout(local_size_x = 256) in;

layout(constant_id = 9) const uint MM = 16;   // a matrix of sums is MM x MN, of MK products each
layout(constant_id = 10) const uint MN = 16;
layout(constant_id = 11) const uint MK = 16;
layout(constant_id = 12) const uint SUB_ROWS = 1;
layout(constant_id = 13) const uint SUB_COLUMNS = 1;
layout(constant_id = 14) const uint SUBGROUPS = 8; // of this workgroup

const uint TK = 32;
const uint A_STRIDE = TK + 8, B_STRIDE = TN + 8; // no two rows on the same banks
const uint GRID_COLUMNS = TN / (MN * SUB_COLUMNS), GRID_ROWS = TM / (MM * SUB_ROWS);

#ifdef KHR
#define SUMS coopmat<float, gl_ScopeSubgroup, MM, MN, gl_MatrixUseAccumulator>
#define LEFT coopmat<float16_t, gl_ScopeSubgroup, MM, MK, gl_MatrixUseA>
#define RIGHT coopmat<float16_t, gl_ScopeSubgroup, MK, MN, gl_MatrixUseB>
#define LOAD(m, from, at, stride) \
    coopMatLoad(m, from, at, stride, gl_CooperativeMatrixLayoutRowMajor)
#define STORE(m, to, at, stride) \
    coopMatStore(m, to, at, stride, gl_CooperativeMatrixLayoutRowMajor)
#define MULTIPLY_ADD coopMatMulAdd
#else
#define SUMS fcoopmatNV<32, gl_ScopeSubgroup, MM, MN>
#define LEFT fcoopmatNV<16, gl_ScopeSubgroup, MM, MK>
#define RIGHT fcoopmatNV<16, gl_ScopeSubgroup, MK, MN>
#define LOAD(m, from, at, stride) coopMatLoadNV(m, from, at, stride, false)
#define STORE(m, to, at, stride) coopMatStoreNV(m, to, at, stride, false)
#define MULTIPLY_ADD coopMatMulAddNV
#endif

shared float16_t a_tile[TM * A_STRIDE];
shared float16_t b_tile[TK * B_STRIDE];
shared float laid[SUBGROUPS * MM * MN];

void fill_tiles(uint row0, uint column0, uint k0, uint row_count)
{
    uint t = gl_LocalInvocationIndex;
    for (uint at = t; at < TM * TK / 4; at += 256) {
        uint row = at / (TK / 4), k_at = at % (TK / 4) * 4;
        vec4 v = load_a(row0 + row, k0 + k_at, row_count);
        for (uint q = 0; q < 4; q++)
            a_tile[row * A_STRIDE + k_at + q] = float16_t(v[q]);
    }
    uint k_padded = (k + 15) / 16 * 16;
    for (uint at = t; at < TK * TN / 4; at += 256) {
        uint k_at = at / (TN / 4), column = at % (TN / 4) * 4;
        NUMBERS v = NUMBERS(0.0);
        if (k0 + k_at < k_padded)
            v = b4[((k0 + k_at) * n_padded + column0 + column) / 4];
        for (uint q = 0; q < 4; q++)
            b_tile[k_at * B_STRIDE + column + q] = v[q];
    }
}

void main()
{
    uint row_count = rows_there();
    uint row0 = gl_WorkGroupID.x * TM, column0 = gl_WorkGroupID.y * TN;
    uint sub_row = gl_SubgroupID / GRID_COLUMNS * SUB_ROWS * MM;
    uint sub_column = gl_SubgroupID % GRID_COLUMNS * SUB_COLUMNS * MN;
    bool has_part = gl_SubgroupID < GRID_ROWS * GRID_COLUMNS; // a small tile leaves some idle
    SUMS sums[SUB_ROWS * SUB_COLUMNS];
    for (uint i = 0; i < SUB_ROWS * SUB_COLUMNS; i++)
        sums[i] = SUMS(0.0);

    for (uint k0 = 0; k0 < k; k0 += TK) {
        barrier();
        fill_tiles(row0, column0, k0, row_count);
        barrier();
        if (has_part)
            for (uint kk = 0; kk < TK; kk += MK) {
                RIGHT right[SUB_COLUMNS];
                for (uint j = 0; j < SUB_COLUMNS; j++)
                    LOAD(right[j], b_tile, kk * B_STRIDE + sub_column + j * MN, B_STRIDE);
                for (uint i = 0; i < SUB_ROWS; i++) {
                    LEFT left;
                    LOAD(left, a_tile, (sub_row + i * MM) * A_STRIDE + kk, A_STRIDE);
                    for (uint j = 0; j < SUB_COLUMNS; j++)
                        sums[i * SUB_COLUMNS + j] =
                            MULTIPLY_ADD(left, right[j], sums[i * SUB_COLUMNS + j]);
                }
            }
    }
    uint own = gl_SubgroupID * MM * MN;
    for (uint i = 0; i < SUB_ROWS * SUB_COLUMNS; i++) {
        barrier();
        if (has_part)
            STORE(sums[i], laid, own, MN);
        barrier();
        if (has_part)
            for (uint at = gl_SubgroupInvocationID; at < MM * MN; at += gl_SubgroupSize) {
                uint row = row0 + sub_row + i / SUB_COLUMNS * MM + at / MN;
                uint column = column0 + sub_column + i % SUB_COLUMNS * MN + at % MN;
                if (row < row_count && column < n)
                    store(row, column, laid[own + at]);
            }
    }
}
