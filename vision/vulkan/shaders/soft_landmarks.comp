// SPDX-License-Identifier: MIT
// The landmarks of softmax-free attention: each a patch of queries times a matrix, then LayerNorm
// and GELU. A workgroup makes ROWS of them. Its threads are fours of channels going out times
// slices of the numbers coming in, whose sums meet in shared memory. Bound in: soft.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(constant_id = 0) const uint DIM = 32;   // channels of a head
layout(constant_id = 1) const uint SIDE = 8;   // of a patch
layout(constant_id = 2) const uint POOLED = 0; // whether patches are of `pooled`

const uint ROWS = 2, DEPTH = (DIM + 3) / 4, SLICES = 256 / DEPTH;

layout(push_constant) uniform Push {
    uint landmarks, columns; // columns of landmarks
    uint width, channels, heads;
    float eps;
};

layout(std430, binding = 0) readonly buffer Q { NUMBER q[]; };          // [.., width, channels]
layout(std430, binding = 1) readonly buffer Pooled { float pooled[]; }; // the same
layout(std430, binding = 2) readonly buffer Matrix { vec4 matrix[]; };  // [SIDE^2 * DIM, DEPTH]
layout(std430, binding = 3) readonly buffer Weight { float weight[]; };
layout(std430, binding = 4) readonly buffer Bias { float bias[]; };
layout(std430, binding = 5) buffer Out { vec4 result[]; }; // [heads, landmarks, DEPTH]

shared vec4 part[ROWS][256];
shared vec4 line[ROWS][DEPTH];

// Where row's patch begins; rows run over landmarks, then over heads.
uint patch_of(uint row)
{
    uint at = min(row, landmarks * heads - 1), landmark = at / heads;
    uint y = landmark / columns * SIDE, x = landmark % columns * SIDE;
    return (y * width + x) * channels + at % heads * DIM;
}

void multiply(uint first_row)
{
    uint t = gl_LocalInvocationIndex, four = t % DEPTH, slice = t / DEPTH;
    uint from[ROWS];
    vec4 sums[ROWS];
    for (uint i = 0; i < ROWS; i++) {
        from[i] = patch_of(first_row + i);
        sums[i] = vec4(0.0);
    }
    if (slice < SLICES)
        for (uint k = slice; k < SIDE * SIDE * DIM; k += SLICES) {
            uint tap = k / DIM, at = (tap / SIDE * width + tap % SIDE) * channels + k % DIM;
            vec4 w = matrix[k * DEPTH + four];
            for (uint i = 0; i < ROWS; i++)
                sums[i] += w * (POOLED != 0 ? pooled[from[i] + at] : float(q[from[i] + at]));
        }
    for (uint i = 0; i < ROWS; i++)
        part[i][t] = sums[i];
}

// Of the DIM numbers of a line: what does not belong to them is 0.
float sum_of_line(uint i, float mean, bool squares)
{
    float sum = 0.0;
    for (uint c = 0; c < DIM; c++) {
        float v = line[i][c / 4][c % 4] - mean;
        sum += squares ? v * v : v;
    }
    return sum;
}

void main()
{
    uint first_row = group_index() * ROWS;
    uint i = gl_LocalInvocationIndex / DEPTH, four = gl_LocalInvocationIndex % DEPTH;
    float scale = inversesqrt(sqrt(float(DIM))); // of the queries
    multiply(first_row);
    barrier();
    if (i < ROWS) {
        vec4 sum = vec4(0.0);
        for (uint slice = 0; slice < SLICES; slice++)
            sum += part[i][slice * DEPTH + four];
        line[i][four] = scale * sum;
    }
    barrier();
    uint row = first_row + i;
    if (i >= ROWS || row >= landmarks * heads)
        return;
    float mean = sum_of_line(i, 0.0, false) / float(DIM);
    float factor = inversesqrt(sum_of_line(i, mean, true) / float(DIM) + eps);
    vec4 v = vec4(0.0);
    for (uint c = 0; c < 4; c++) {
        uint channel = 4 * four + c;
        if (channel < DIM)
            v[c] = activate(ACT_GELU, 0.0, (line[i][four][c] - mean) * factor * weight[channel]
                            + bias[channel]);
    }
    result[(row % heads * landmarks + row / heads) * DEPTH + four] = v;
}
