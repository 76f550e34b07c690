// SPDX-License-Identifier: MIT
// c = act(a b + bias) + residual. A workgroup makes a tile of TM x TN; each thread keeps its sums in
// registers, of columns by four, slices of 16 along k pass through shared memory, and the next
// slice is on its way while one is being multiplied.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "gemm.glsl"

layout(local_size_x = 256) in;

layout(std430, binding = 4) readonly buffer Residual4 { NUMBERS residual4[]; };
layout(std430, binding = 5) buffer C4 { NUMBERS c4[]; };

const uint TK = 16;
const uint ACROSS = TN < 64 ? TN / 4 : 16, DOWN = 256 / ACROSS; // threads
const uint RM = TM / DOWN, RN = TN / 4 / ACROSS;                // rows and fours of columns of each
const uint A_LOADS = TM / 64, B_LOADS = (TN + 63) / 64; // of four numbers, by each thread

shared float a_tile[TK][TM + 1];
shared vec4 b_tile[TK][TN / 4];

void store_four(uint row, uint column, vec4 sum)
{
    if (C_BY_MANY == 0) {
        for (uint q = 0; q < 4; q++)
            if (column + q < n)
                store(row, column + q, sum[q]);
        return;
    }
    if (column >= n)
        return;
    uvec2 at = places_of(row, column);
    vec4 v = vec4(finished(sum.x, column), finished(sum.y, column + 1),
                  finished(sum.z, column + 2), finished(sum.w, column + 3));
    c4[at.y / 4] = NUMBERS(RESIDUAL != NONE ? v + vec4(residual4[at.x / 4]) : v);
}

void main()
{
    uint row_count = rows_there();
    uint row0 = group_index() * TM, column0 = gl_WorkGroupID.y * TN;
    uint t = gl_LocalInvocationIndex;
    uint tx = t % ACROSS, ty = t / ACROSS;
    vec4 sums[RM][RN];
    for (uint i = 0; i < RM; i++)
        for (uint j = 0; j < RN; j++)
            sums[i][j] = vec4(0.0);

    vec4 a_next[A_LOADS], b_next[B_LOADS];
    for (uint k0 = 0; k0 < k + TK; k0 += TK) {
        if (k0 > 0) {
            barrier();
            for (uint i = 0; i < A_LOADS; i++)
                for (uint q = 0; q < 4; q++)
                    a_tile[t % 4 * 4 + q][t / 4 + 64 * i] = a_next[i][q];
            for (uint i = 0; i < B_LOADS; i++) {
                uint at = t + 256 * i;
                if (at < TK * TN / 4)
                    b_tile[at / (TN / 4)][at % (TN / 4)] = b_next[i];
            }
            barrier();
        }
        if (k0 < k) {
            for (uint i = 0; i < A_LOADS; i++)
                a_next[i] = load_a(row0 + t / 4 + 64 * i, k0 + t % 4 * 4, row_count);
            for (uint i = 0; i < B_LOADS; i++) {
                uint at = t + 256 * i;
                if (at < TK * TN / 4)
                    b_next[i] = vec4(
                        b4[((k0 + at / (TN / 4)) * n_padded + column0) / 4 + at % (TN / 4)]);
            }
        }
        if (k0 > 0)
            for (uint kk = 0; kk < TK; kk++) {
                vec4 b_row[RN];
                for (uint j = 0; j < RN; j++)
                    b_row[j] = b_tile[kk][tx + ACROSS * j];
                for (uint i = 0; i < RM; i++) {
                    float x = a_tile[kk][ty + DOWN * i];
                    for (uint j = 0; j < RN; j++)
                        sums[i][j] += x * b_row[j];
                }
            }
    }
    for (uint i = 0; i < RM; i++)
        for (uint j = 0; j < RN; j++) {
            uint row = row0 + ty + DOWN * i, column = column0 + 4 * (tx + ACROSS * j);
            if (row < row_count)
                store_four(row, column, sums[i][j]);
        }
}
