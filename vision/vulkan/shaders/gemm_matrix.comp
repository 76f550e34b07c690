// SPDX-License-Identifier: MIT
// c = act(a b + bias) + residual in f16, on the device's own matrix units: cooperative matrices,
// whose products of f16 are summed in f32. Slices of a and b pass through shared memory, the next
// ones on their way in registers while one is being multiplied; each subgroup keeps SUB_ROWS x
// SUB_COLUMNS matrices of sums, and lays them down one by one for the epilogue. Numbers travel by
// eight, 16 bytes at a time. Built for VK_KHR_cooperative_matrix, or VK_NV_cooperative_matrix where
// the compiler is older than that (KHR is not defined). The subgroup's size is asked for with the
// pipeline. Tests build it EMULATED, for devices without such units.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require
#ifdef KHR
#extension GL_KHR_cooperative_matrix : require
#elif !defined(EMULATED)
#extension GL_NV_cooperative_matrix : require
#endif
#pragma use_vulkan_memory_model
#include "common.glsl"
#include "gemm.glsl"

layout(local_size_x = 256) in;

layout(constant_id = 10) const uint MM = 16;   // a matrix of sums is MM x MN, of MK products each
layout(constant_id = 11) const uint MN = 16;
layout(constant_id = 12) const uint MK = 16;
layout(constant_id = 13) const uint SUB_ROWS = 1;
layout(constant_id = 14) const uint SUB_COLUMNS = 1;
layout(constant_id = 15) const uint SUBGROUPS = 8; // of this workgroup
layout(constant_id = 16) const uint A_BY_EIGHT = 0; // k, strides and channels are multiples of eight

layout(std430, binding = 1) readonly buffer A8 { uvec4 a8[]; };
layout(std430, binding = 2) readonly buffer B8 { uvec4 b8[]; };
layout(std430, binding = 4) readonly buffer Residual8 { uvec4 residual8[]; };
layout(std430, binding = 5) buffer C8 { uvec4 c8[]; };

const uint TK = 32;
const uint A_STRIDE = TK / 8 + 1, B_STRIDE = TN / 8 + 1; // in eights; no two rows on the same banks
const uint A_LOADS = TM * TK / 8 / 256, B_LOADS = TN * TK / 8 / 256; // of eight, by each thread
const uint GRID_COLUMNS = TN / (MN * SUB_COLUMNS), GRID_ROWS = TM / (MM * SUB_ROWS);

shared uvec4 a_tile[TM * A_STRIDE];
shared uvec4 b_tile[TK * B_STRIDE];
shared float laid[SUBGROUPS * MM * MN];

#ifdef EMULATED
#include "emulated_matrix.glsl"
#elif defined(KHR)
#define SUMS coopmat<float, gl_ScopeSubgroup, MM, MN, gl_MatrixUseAccumulator>
#define LEFT coopmat<float16_t, gl_ScopeSubgroup, MM, MK, gl_MatrixUseA>
#define RIGHT coopmat<float16_t, gl_ScopeSubgroup, MK, MN, gl_MatrixUseB>
#define LOAD(m, from, at, stride) \
    coopMatLoad(m, from, at, stride, gl_CooperativeMatrixLayoutRowMajor)
#define STORE(m, to, at, stride) \
    coopMatStore(m, to, at, stride, gl_CooperativeMatrixLayoutRowMajor)
#define MULTIPLY_ADD coopMatMulAdd
#define NO_SUMS SUMS(0.0)
#else
#define SUMS fcoopmatNV<32, gl_ScopeSubgroup, MM, MN>
#define LEFT fcoopmatNV<16, gl_ScopeSubgroup, MM, MK>
#define RIGHT fcoopmatNV<16, gl_ScopeSubgroup, MK, MN>
#define LOAD(m, from, at, stride) coopMatLoadNV(m, from, at, stride, false)
#define STORE(m, to, at, stride) coopMatStoreNV(m, to, at, stride, false)
#define MULTIPLY_ADD coopMatMulAddNV
#define NO_SUMS SUMS(0.0)
#endif

uvec4 packed(vec4 low, vec4 high)
{
    return uvec4(packFloat2x16(f16vec2(low.xy)), packFloat2x16(f16vec2(low.zw)),
                 packFloat2x16(f16vec2(high.xy)), packFloat2x16(f16vec2(high.zw)));
}

uvec4 load_eight(uint row, uint k_at, uint row_count)
{
    if (A_BY_EIGHT == 0)
        return packed(load_a(row, k_at, row_count), load_a(row, k_at + 4, row_count));
    if (row >= row_count || k_at >= k)
        return uvec4(0);
    if (A_FROM == ROWS)
        return a8[(row * lda + k_at) / 8];
    uint tap = k_at / channels;
    int y = int(row / out_width * stride + tap / side) - int(pad);
    int x = int(row % out_width * stride + tap % side) - int(pad);
    if (y < 0 || x < 0 || y >= int(in_height) || x >= int(in_width))
        return uvec4(0);
    return a8[((uint(y) * in_width + uint(x)) * channels + k_at % channels) / 8];
}

// Eight of row `row` from `column` on, whose sums begin at `from`.
void store_eight(uint row, uint column, uint from)
{
    float v[8];
    uvec2 at = places_of(row, column);
    for (uint q = 0; q < 8; q++)
        v[q] = finished(laid[from + q], column + q);
    if (RESIDUAL != NONE) {
        uvec4 other = residual8[at.x / 8];
        for (uint q = 0; q < 4; q++) {
            vec2 two = vec2(unpackFloat2x16(other[q]));
            v[2 * q] += two.x;
            v[2 * q + 1] += two.y;
        }
    }
    c8[at.y / 8] = packed(vec4(v[0], v[1], v[2], v[3]), vec4(v[4], v[5], v[6], v[7]));
}

// Matrix i of this subgroup's sums, whose place in the tile is (row, column), lies at `own`.
void finish(uint own, uint row, uint column, uint row_count)
{
    for (uint at = gl_SubgroupInvocationID; at < MM * MN / 8; at += gl_SubgroupSize) {
        uint own_row = row + at / (MN / 8), first = column + at % (MN / 8) * 8, from = own + at * 8;
        if (own_row >= row_count)
            continue;
        if (C_BY_MANY != 0) {
            if (first < n)
                store_eight(own_row, first, from);
        } else {
            for (uint q = 0; q < 8; q++)
                if (first + q < n)
                    store(own_row, first + q, laid[from + q]);
        }
    }
}

void main()
{
    uint row_count = rows_there(), k_padded = (k + 15) / 16 * 16;
    uint row0 = group_index() * TM, column0 = gl_WorkGroupID.y * TN, t = gl_LocalInvocationIndex;
    uint sub_row = gl_SubgroupID / GRID_COLUMNS * SUB_ROWS * MM;
    uint sub_column = gl_SubgroupID % GRID_COLUMNS * SUB_COLUMNS * MN;
    bool has_part = gl_SubgroupID < GRID_ROWS * GRID_COLUMNS; // a small tile leaves some idle
    if (row0 >= row_count) // the same for all threads of the group
        return;
    SUMS sums[SUB_ROWS * SUB_COLUMNS]; // in registers only where every loop over them is unrolled
    [[unroll]] for (uint i = 0; i < SUB_ROWS * SUB_COLUMNS; i++)
        sums[i] = NO_SUMS;

    uvec4 a_next[A_LOADS], b_next[B_LOADS];
    for (uint k0 = 0; k0 < k + TK; k0 += TK) {
        if (k0 > 0) {
            barrier();
            [[unroll]] for (uint i = 0; i < A_LOADS; i++) {
                uint at = t + 256 * i;
                a_tile[at / (TK / 8) * A_STRIDE + at % (TK / 8)] = a_next[i];
            }
            [[unroll]] for (uint i = 0; i < B_LOADS; i++) {
                uint at = t + 256 * i;
                b_tile[at / (TN / 8) * B_STRIDE + at % (TN / 8)] = b_next[i];
            }
            barrier();
        }
        if (k0 < k) {
            [[unroll]] for (uint i = 0; i < A_LOADS; i++) {
                uint at = t + 256 * i;
                a_next[i] = load_eight(row0 + at / (TK / 8), k0 + at % (TK / 8) * 8, row_count);
            }
            [[unroll]] for (uint i = 0; i < B_LOADS; i++) {
                uint at = t + 256 * i, k_at = k0 + at / (TN / 8);
                b_next[i] = k_at < k_padded
                    ? b8[(k_at * n_padded + column0) / 8 + at % (TN / 8)] : uvec4(0);
            }
        }
        if (k0 > 0 && has_part)
            [[unroll]] for (uint kk = 0; kk < TK; kk += MK) {
                RIGHT right[SUB_COLUMNS];
                [[unroll]] for (uint j = 0; j < SUB_COLUMNS; j++)
                    LOAD(right[j], b_tile, kk * B_STRIDE + (sub_column + j * MN) / 8, B_STRIDE);
                [[unroll]] for (uint i = 0; i < SUB_ROWS; i++) {
                    LEFT left;
                    LOAD(left, a_tile, (sub_row + i * MM) * A_STRIDE + kk / 8, A_STRIDE);
                    [[unroll]] for (uint j = 0; j < SUB_COLUMNS; j++)
                        sums[i * SUB_COLUMNS + j] =
                            MULTIPLY_ADD(left, right[j], sums[i * SUB_COLUMNS + j]);
                }
            }
    }
    if (!has_part)
        return;
    uint own = gl_SubgroupID * MM * MN;
    // Only this subgroup reads what it lays down.
    [[unroll]] for (uint i = 0; i < SUB_ROWS * SUB_COLUMNS; i++) {
        STORE(sums[i], laid, own, MN);
        controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared,
                       gl_SemanticsAcquireRelease);
        finish(own, row0 + sub_row + i / SUB_COLUMNS * MM,
               column0 + sub_column + i % SUB_COLUMNS * MN, row_count);
        controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared,
                       gl_SemanticsAcquireRelease);
    }
}
